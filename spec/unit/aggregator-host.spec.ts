import '../support/clock.js' // first: it holds the clock that the library takes when it is loaded
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import type { DirtyRingError } from '../../lib/errors.js'
import {
  ERROR_LENGTH,
  ERROR_TEXT,
  FAILED,
  FINISHED,
  HEAD,
  ITERATIONS,
  OWNER,
  PANICS,
  PARKED,
  PROGRESS,
  RETRYING,
  TAIL,
} from '../../lib/memory/map.js'
import type { Memory } from '../../lib/memory/memory.js'
import type { ResolvedOptions } from '../../lib/options.js'
import { patience } from '../../lib/patience.js'
import { NOP, STOP } from '../../lib/ring/token.js'
import { AggregatorHost } from '../../lib/tracker/aggregator-host.js'
import { control } from '../support/aggregators.js'
import { holdClock } from '../support/clock.js'
import { until } from '../support/in-process.js'
import { smallMemory } from '../support/steps.js'

type Factory = Exclude<ResolvedOptions['aggregator'], string>

/** A worker whose end no host reports. It takes the role when it gets the handle. */
class PageWorker {
  isTerminated = false
  #fail: (event: { message: string }) => void = () => undefined
  readonly #memory: Memory

  constructor(memory: Memory) {
    this.#memory = memory
  }

  postMessage(): void {
    const { words } = this.#memory
    words[ITERATIONS] += 1
    Atomics.store(words, OWNER, 500)
  }

  terminate(): void {
    this.isTerminated = true
  }

  addEventListener(_: string, listener: (event: { message: string }) => void): void {
    this.#fail = listener
  }

  fails(message: string): void {
    this.#fail({ message })
  }
}

const usual = { ...patience }
const hosts: AggregatorHost[] = []
let clock: ReturnType<typeof holdClock>
let memory: Memory
let workers: PageWorker[]
let failures: DirtyRingError[]
let restarts: [number, string][]

beforeEach(() => {
  clock = holdClock()
  patience.silenceMs = 1000
  memory = smallMemory()
  workers = []
  failures = []
  restarts = []
})

afterEach(async () => {
  clock.end()
  Object.assign(patience, usual)
  for (const host of hosts.splice(0)) await host.end()
})

function hostOf(kind: ResolvedOptions['aggregator']): AggregatorHost {
  const host = new AggregatorHost(memory, kind)
  host.onFailure = (error) => void failures.push(error)
  host.onRestart = (...told) => void restarts.push(told)
  hosts.push(host)
  return host
}

const newWorker = (() => {
  const worker = new PageWorker(memory)
  workers.push(worker)
  return worker
}) as unknown as Factory

/** A host whose worker has the role, and a ring that holds a token. */
async function openHost(factory: Factory = newWorker): Promise<AggregatorHost> {
  const host = hostOf(factory)
  await host.start()
  control(memory, NOP)
  return host
}

/** How many looks, each `ms` after the one before, until `isOver`; at most 30. */
function looks(
  host: AggregatorHost,
  isOver: () => boolean,
  { isStopping = false, ms = 200, between = (): void => undefined } = {},
): number {
  host.lookForLife(isStopping)
  for (let count = 0; count < 30; count++) {
    if (isOver()) return count
    between()
    clock.pass(ms)
    host.lookForLife(isStopping)
  }
  return 30
}

const firstIsTerminated = () => workers[0].isTerminated

/** As the aggregator does it when a step throws. */
function panics(text: string): void {
  const { words } = memory
  for (let i = 0; i < text.length; i++) words[ERROR_TEXT + i] = text.charCodeAt(i)
  words[ERROR_LENGTH] = text.length
  words[PANICS] += 1
}

describe('A worker whose end the host does not report', () => {
  it('is terminated after the time of silence, if tokens wait, and another one takes its place', async () => {
    const host = await openHost()
    expect(looks(host, firstIsTerminated)).toBe(5)
    await until(() => restarts.length > 0)
    expect([restarts, workers.length, failures]).toEqual([
      [[1, 'it showed no sign of life']],
      2,
      [],
    ])
    expect(host.health()).toMatchObject({
      state: 'running',
      healthy: true,
      restarts: 1,
      lastError: 'it showed no sign of life',
    })
    // The next one has all of the time, and its own cause.
    expect(looks(host, () => workers[1].isTerminated, { ms: 100 })).toBe(10)
    await until(() => restarts.length > 1)
    workers[2].fails('planted')
    await until(() => restarts.length > 2)
    expect(restarts.slice(1)).toEqual([
      [2, 'it showed no sign of life'],
      [3, 'planted'],
    ])
  })

  it('is not blamed for the time in which this thread did not look', async () => {
    const host = await openHost()
    expect(looks(host, firstIsTerminated, { ms: 60_000 })).toBe(5)
  })

  it.each([
    ['HEAD', [HEAD]],
    ['PROGRESS', [PROGRESS]],
    ['ITERATIONS', [ITERATIONS]],
    ['HEAD and PROGRESS', [HEAD, PROGRESS]],
    ['HEAD and ITERATIONS', [HEAD, ITERATIONS]],
    ['PROGRESS and ITERATIONS', [PROGRESS, ITERATIONS]],
  ])('lives as long as its counters rise: %s', async (_, counters) => {
    const host = await openHost()
    memory.words[TAIL] = 100
    const between = (): void => counters.forEach((at) => memory.words[at]++)
    expect(looks(host, firstIsTerminated, { between })).toBe(30)
    expect(looks(host, firstIsTerminated)).toBe(5)
  })

  it('may be silent while nothing waits in the ring, and once it has finished', async () => {
    const host = hostOf(newWorker)
    await host.start()
    expect(looks(host, firstIsTerminated)).toBe(30)
    control(memory, NOP)
    memory.words[FINISHED] = 1
    expect(looks(host, firstIsTerminated)).toBe(30)
    expect(looks(host, firstIsTerminated, { isStopping: true })).toBe(30)
  })

  it('is given up while the tracker stops, even if nothing waits in the ring', async () => {
    const host = hostOf(newWorker)
    await host.start()
    expect(host.isAbsent).toBe(false)
    expect(looks(host, firstIsTerminated, { isStopping: true })).toBe(5)
    await until(() => failures.length > 0)
    expect(failures[0].code).toBe('ERR_DIRTYRING_AGGREGATOR_FAILED')
    expect(failures[0].message).toBe('the aggregator cannot be started: it showed no sign of life')
    expect([host.isAbsent, workers.length, memory.words[OWNER]]).toEqual([true, 1, 0])
    expect(host.describeWait()).toBe(
      'for the aggregator, which has ended (it showed no sign of life). ' +
        'Call stop(): it delivers what is published.',
    )
  })

  it('is given up while the tracker stops, if its successor does not come', async () => {
    let come: (worker: PageWorker) => void = () => undefined
    const host = await openHost((handle) =>
      workers.length === 0
        ? newWorker(handle)
        : new Promise((resolve) => (come = resolve as typeof come)),
    )
    workers[0].fails('planted')
    await until(() => host.health().state === 'restarting')
    expect(host.health().healthy).toBe(false)
    expect(host.describeWait()).toBe(
      "for the aggregator's worker, which has not started yet (planted). " +
        'Check that its script loads.',
    )
    expect(looks(host, () => failures.length > 0)).toBe(30)
    expect(looks(host, () => failures.length > 0, { isStopping: true })).toBe(5)
    expect(host.isAbsent).toBe(true)
    // It comes too late.
    const late = new PageWorker(memory)
    come(late)
    await until(() => late.isTerminated)
    expect([host.isAbsent, restarts, failures.length]).toEqual([true, [], 1])
  })

  it('has no successor if it fails after the end', async () => {
    const host = await openHost()
    await host.end()
    workers[0].fails('too late')
    await new Promise((resolve) => setTimeout(resolve, 100)) // the host hears of it later
    expect([workers.length, restarts, failures]).toEqual([1, [], []])
  })

  it('is not looked at if the host gives its number', async () => {
    const worker = new Worker("require('worker_threads').parentPort.on('message', () => {})", {
      eval: true,
    })
    const host = hostOf(() => worker)
    memory.words[OWNER] = worker.threadId + 1
    await host.start()
    control(memory, NOP)
    let hasEnded = false
    worker.on('exit', () => (hasEnded = true))
    for (const isStopping of [false, true])
      expect(looks(host, () => hasEnded, { isStopping })).toBe(30)
    expect(memory.words[OWNER]).toBe(worker.threadId + 1)
    await host.end()
    expect(hasEnded).toBe(true)
  })
})

describe('describeWait() and health()', () => {
  it("name runAggregator() where the caller's threads run the aggregator", async () => {
    const host = hostOf('none')
    await host.start()
    expect(host.isAbsent).toBe(true)
    expect(host.describeWait()).toBe(
      'for the aggregator, which no thread runs. Call runAggregator(tracker.handle) in a worker.',
    )
    expect(host.health()).toMatchObject({ state: 'absent', healthy: false, finished: false })
    memory.words[OWNER] = 7
    expect([host.isAbsent, host.health().state]).toEqual([false, 'running'])
  })

  it('tell a worker that starts from one that gives no answer', async () => {
    const host = hostOf(newWorker)
    expect(host.describeWait()).toBe(
      "for the aggregator's worker, which has not started yet. Check that its script loads.",
    )
    expect(host.health()).toMatchObject({ state: 'starting', healthy: true })
    await host.start()
    expect(host.describeWait()).toBe(
      'for the aggregator, which gives no answer. Check that its thread is not blocked. ' +
        'Look at tracker.health() and tracker.dump().',
    )
    expect(host.health()).not.toHaveProperty('lastError')
    memory.words[OWNER] = 0
    expect([host.isAbsent, host.describeWait()]).toEqual([
      false, // another worker will come
      'for the aggregator, which has ended. Call stop(): it delivers what is published.',
    ])
    await host.end()
    expect(host.isAbsent).toBe(true)
  })

  it('name the failure of a step that is tried again', async () => {
    const host = await openHost()
    panics('a planted failure')
    memory.words[RETRYING] = 10
    expect(host.describeWait()).toBe(
      'for the aggregator, which fails at a step and tries again (a planted failure). ' +
        'See tracker.dump().',
    )
    expect(host.health()).toMatchObject({ state: 'backing-off', healthy: false, panics: 1 })
  })

  it("name what a worker died of, until its successor's step fails", async () => {
    const host = await openHost()
    panics('a first failure')
    expect(host.health().lastError).toBe('a first failure')
    workers[0].fails('the end of a worker')
    await until(() => restarts.length > 0)
    expect(host.health()).toMatchObject({ panics: 1, lastError: 'the end of a worker' })
    panics('a second failure')
    expect(host.health()).toMatchObject({ panics: 2, lastError: 'a second failure' })
  })
})

describe("An aggregator on the tracker's thread", () => {
  it('says that it sleeps, so that a publisher wakes it', async () => {
    const host = hostOf('inline')
    await host.start()
    expect([memory.words[PARKED], host.health().state, host.isAbsent]).toEqual([
      1,
      'running',
      false,
    ])
  })

  it('gives its role back when it has finished', async () => {
    const host = hostOf('inline')
    await host.start()
    control(memory, STOP)
    host.pump()
    expect([memory.words[OWNER], host.health().state, failures]).toEqual([0, 'finished', []])
    expect(host.isAbsent).toBe(false)
  })

  it('gives its role back when it cannot continue, and tells why', async () => {
    const host = hostOf('inline')
    await host.start()
    panics('a planted failure')
    memory.words[FAILED] = 1
    host.pump()
    expect(failures.map(({ code }) => code)).toEqual(['ERR_DIRTYRING_CORRUPT'])
    expect([memory.words[OWNER], host.isAbsent]).toEqual([0, true])
    expect(host.describeWait()).toBe(
      'for the aggregator, which has ended (a planted failure). ' +
        'Call stop(): it delivers what is published.',
    )
    host.pump()
    expect(failures).toHaveLength(1)
  })

  it('takes over part by part, and leaves the role free between the parts', () => {
    memory = smallMemory({ capacity: 8192 })
    const host = hostOf('none')
    for (let i = 0; i < 5000; i++) control(memory, NOP)
    expect([host.hasBacklog, host.takeOver(), memory.words[HEAD]]).toEqual([true, false, 4096])
    expect([memory.words[OWNER], host.isAbsent]).toEqual([0, true])
    expect([host.hasBacklog, host.takeOver(), memory.words[HEAD]]).toEqual([true, true, 5000])
    expect([memory.words[OWNER], host.hasBacklog]).toEqual([0, false])
  })

  it('loses its role when its thread has ended, and not when another one has', () => {
    const host = hostOf('none')
    memory.words[OWNER] = 78
    host.release(78)
    expect(memory.words[OWNER]).toBe(78)
    host.release(77)
    expect(memory.words[OWNER]).toBe(0)
  })
})

describe('a worker of the library', () => {
  it('is sent no view of the memory: Deno takes half a minute for one', async () => {
    const posted = jest.spyOn(Worker.prototype, 'postMessage')
    const host = hostOf('worker')
    await host.start()
    const [[message]] = posted.mock.calls
    posted.mockRestore()

    const views: string[] = []
    const look = (value: unknown, path: string): void => {
      if (ArrayBuffer.isView(value)) views.push(path)
      else if (isObject(value)) for (const [k, v] of Object.entries(value)) look(v, `${path}.${k}`)
    }
    look(message, 'message')
    expect(views).toEqual([])
    expect(message).toMatchObject({ dirtyringAggregate: { buffer: memory.words.buffer } })
  })
})

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}
