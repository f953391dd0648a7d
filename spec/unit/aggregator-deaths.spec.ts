import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import {
  FAILED,
  FINISHED,
  HEAD,
  ITERATIONS,
  OWNER,
  PARKED,
  RETRYING,
  STARTING,
} from '../../lib/memory/map.js'
import type { Memory } from '../../lib/memory/memory.js'
import type { AggregatorThread } from '../../lib/platform/platform.js'
import { NOP } from '../../lib/ring/token.js'
import type { AggregatorHost as Host } from '../../lib/tracker/aggregator-host.js'

/** The library's clock stands still. Its timers never go off by themselves. */
interface Timer {
  callback: () => void
  ms: number
  isCleared: boolean
}
let now = 0
let timeouts: Timer[] = []
let intervals: Timer[] = []

/** A worker that does nothing by itself. */
class Thread implements AggregatorThread {
  readonly threadId: number | undefined
  readonly posted: any[] = []
  terminations = 0
  exit: (cause: string) => void = () => undefined

  constructor(threadId?: number) {
    this.threadId = threadId
  }

  postHandle(handle: unknown): void {
    this.posted.push(handle)
  }

  onExit(listener: (cause: string) => void): void {
    this.exit = listener
  }

  terminate(): Promise<void> {
    this.terminations++
    return Promise.resolve()
  }
}

let startWorker: () => AggregatorThread

const timers = await import('../../lib/timers.js')
const workers = await import('../../lib/platform/aggregator-worker.js')
jest.resetModules()
const held =
  (list: () => Timer[]) =>
  (callback: () => void, ms: number): Timer => {
    const timer = { callback, ms, isCleared: false }
    list().push(timer)
    return timer
  }
const clear = (timer: Timer | undefined): void => {
  if (timer !== undefined) timer.isCleared = true
}
jest.unstable_mockModule('../../lib/timers.js', () => ({
  ...timers,
  nowMs: () => now,
  setTimeout: held(() => timeouts),
  clearTimeout: clear,
  setInterval: held(() => intervals),
  clearInterval: clear,
}))
jest.unstable_mockModule('../../lib/platform/aggregator-worker.js', () => ({
  ...workers,
  adoptWorker: (worker: unknown) =>
    worker instanceof Thread ? worker : workers.adoptWorker(worker),
  startWorker: () => startWorker(),
}))

const { AggregatorHost } = await import('../../lib/tracker/aggregator-host.js')
const { backoffMs } = await import('../../lib/backoff.js')
const { handleOf } = await import('../../lib/memory/memory.js')
const { patience } = await import('../../lib/patience.js')
const { control } = await import('../support/aggregators.js')
const { isPending, rejected, turns, until } = await import('../support/in-process.js')
const { smallMemory } = await import('../support/steps.js')

const { silenceMs } = patience
const ROLE = 500
const CANNOT = 'the aggregator cannot be started: '

let memory: Memory
let threads: Thread[]
let failures: Error[]
let restarts: [number, string][]
let hosts: Host[]

beforeEach(() => {
  timeouts = []
  intervals = []
  memory = smallMemory()
  threads = []
  failures = []
  restarts = []
  hosts = []
})

afterEach(async () => {
  jest.restoreAllMocks()
  patience.silenceMs = silenceMs
  for (const host of hosts) await host.end()
})

function hostOf(kind: unknown): Host {
  const host = new AggregatorHost(memory, kind as never)
  host.onFailure = (error) => void failures.push(error)
  host.onRestart = (...told) => void restarts.push(told)
  hosts.push(host)
  return host
}

const newThread = (): Thread => {
  threads.push(new Thread())
  return threads.at(-1)!
}

/** As the aggregator does it when it takes the role. */
function takesRole(owner = ROLE): void {
  memory.words[ITERATIONS]++
  Atomics.store(memory.words, OWNER, owner)
  Atomics.notify(memory.words, OWNER)
}

/** A host of one of these kinds, and its start, which has posted the handle. */
async function starting(kind: unknown = newThread): Promise<{ host: Host; start: Promise<void> }> {
  const host = hostOf(kind)
  const start = host.start()
  start.catch(() => undefined)
  await turns(1)
  return { host, start }
}

async function up(kind: unknown = newThread): Promise<Host> {
  const { host, start } = await starting(kind)
  takesRole()
  intervals.at(-1)!.callback()
  await start
  return host
}

const pending = (timer: Timer): boolean => !timer.isCleared
const msOf = (list: Timer[]): number[] => list.map(({ ms }) => ms)

/** Many looks, between each of which all the time of silence passes. */
function looks(host: Host, isStopping: boolean): void {
  patience.silenceMs = 200
  for (let i = 0; i < 4; i++) {
    host.lookForLife(isStopping)
    now += 200
  }
}

describe('A start of the aggregator', () => {
  it('is over when the worker has the role, and not before', async () => {
    const { host, start } = await starting()
    expect([memory.words[STARTING], msOf(timeouts), msOf(intervals)]).toEqual([1, [30_000], [2]])
    intervals[0].callback()
    expect(await isPending(start)).toBe(true)
    expect(host.health().state).toBe('starting')
    // Without a wake-up: the next look sees it.
    Atomics.store(memory.words, OWNER, ROLE)
    intervals[0].callback()
    await start
    expect([memory.words[STARTING], [...timeouts, ...intervals].some(pending)]).toEqual([0, false])
  })

  it('is over at the wake-up, also if the role is free again by then', async () => {
    const { start } = await starting()
    takesRole()
    memory.words[OWNER] = 0
    await start
  })

  it('is not over when the wait for the wake-up is', async () => {
    let end = (_: 'timed-out'): void => undefined
    jest.spyOn(Atomics, 'waitAsync').mockImplementation((() => ({
      async: true,
      value: new Promise((resolve) => (end = resolve)),
    })) as never)
    const { start } = await starting()
    end('timed-out')
    expect(await isPending(start)).toBe(true)
    timeouts[0].callback()
    expect(threads[0].terminations).toBe(1)
    threads[0].exit('terminated')
    expect((await rejected(start)).message).toBe(
      `${CANNOT}it did not take the tracker's handle for 30000 ms`,
    )
  })

  it('fails when the worker ends before it has the role; no other worker is started', async () => {
    const { host, start } = await starting()
    threads[0].exit('planted')
    expect(await rejected(start)).toMatchObject({
      code: 'ERR_DIRTYRING_AGGREGATOR_FAILED',
      message: `${CANNOT}planted`,
    })
    expect([
      host.health().state,
      threads.length,
      [...timeouts, ...intervals].some(pending),
    ]).toEqual(['starting', 1, false])
  })

  it('fails when the tracker stops before its worker is there', async () => {
    let come: (thread: Thread) => void = () => undefined
    const { host, start } = await starting(() => new Promise((resolve) => (come = resolve)))
    await host.end()
    const late = new Thread()
    come(late)
    expect((await rejected(start)).message).toBe(
      `${CANNOT}the tracker stopped before its worker was there`,
    )
    expect([late.terminations, late.posted]).toEqual([1, []])
  })

  it('tells why the host starts no worker', async () => {
    const cause = new Error('planted')
    startWorker = () => {
      throw cause
    }
    const error = await rejected(hostOf('worker').start())
    expect([error.message, error.cause]).toEqual([`${CANNOT}planted`, cause])
  })

  it("gives a user's worker the handle, and the library's the layout beside it", async () => {
    startWorker = newThread
    await starting('worker')
    await starting()
    const { buffer } = memory.words
    expect(threads.map(({ posted }) => posted)).toEqual([
      [{ ...handleOf(memory), layout: memory.layout }],
      [handleOf(memory)],
    ])
    expect(threads[0].posted[0].buffer).toBe(buffer)
  })

  it.each([
    [{ threadId: -1 }, 'This one has ended: start a new Worker at each call, and return it'],
    [{ threadId: 1 }, "Its script is import 'dirtyring/aggregator'."],
    [undefined, "Its script is import 'dirtyring/aggregator'."],
    [null, "Its script is import 'dirtyring/aggregator'."],
  ])('refuses what is no worker: %p', async (worker, advice) => {
    const error = await rejected(hostOf(() => worker).start())
    expect(error).toMatchObject({ name: 'TypeError', code: 'ERR_DIRTYRING_INVALID_ARG' })
    expect(error.message).toMatch(
      /^"options.aggregator" must be a function that returns a Worker, got /,
    )
    expect(error.message).toContain(`. ${advice}`)
  })
})

describe('The role of a worker that has ended', () => {
  it('is free, if the host gives its number, also if the role was held when it started', async () => {
    memory.words[OWNER] = 77
    const thread = new Thread(ROLE - 1)
    const { start } = await starting(() => thread)
    intervals[0].callback()
    await start
    memory.words[OWNER] = ROLE
    thread.exit('planted')
    expect(memory.words[OWNER]).toBe(0)
  })

  it("stays another thread's, which had it when the worker started", async () => {
    memory.words[OWNER] = 77
    const { start } = await starting()
    intervals[0].callback()
    await start
    threads[0].exit('planted')
    expect(memory.words[OWNER]).toBe(77)
  })

  it("stays another thread's, which took it from the worker", async () => {
    await up()
    memory.words[OWNER] = 77
    threads[0].exit('planted')
    expect(memory.words[OWNER]).toBe(77)
  })
})

describe('Workers that end', () => {
  it('have a successor at once if they lived, and later and later if they did not', async () => {
    const host = await up()
    memory.words[ITERATIONS]++
    threads[0].exit('the first')
    expect([host.health().state, memory.words[OWNER]]).toEqual(['restarting', 0])
    await turns(1)
    expect([threads.length, timeouts.filter(pending).length]).toEqual([2, 1]) // its 30 s
    for (let deaths = 1; deaths < 8; deaths++) {
      timeouts = []
      threads.at(-1)!.exit(`death ${deaths}`)
      await turns(1)
      expect([threads.length, msOf(timeouts)]).toEqual([deaths + 1, [backoffMs(deaths)]])
      expect(host.health()).toMatchObject({
        state: 'restarting',
        lastError: `${CANNOT}death ${deaths}`,
      })
      timeouts[0].callback()
      await turns(1)
    }
    expect([threads.length, failures]).toEqual([9, []])
    threads.at(-1)!.exit('the last')
    await turns(1)
    expect(failures.map(({ message }) => message)).toEqual([
      `${CANNOT}8 times in a row, the last time with: ${CANNOT}the last`,
    ])
    expect([threads.length, restarts, host.isAbsent]).toEqual([9, [], true])
  })

  it('are counted anew once one has lived', async () => {
    const host = await up()
    for (let round = 1; round < 4; round++) {
      threads.at(-1)!.exit('after its life')
      await turns(1)
      timeouts = []
      threads.at(-1)!.exit('at its start')
      await turns(1)
      expect(msOf(timeouts)).toEqual([backoffMs(1)])
      timeouts[0].callback()
      await turns(1)
      takesRole()
      intervals.at(-1)!.callback()
      await until(() => restarts.length === round)
      expect([host.health().restarts, host.health().state]).toEqual([round, 'running'])
    }
  })

  it('have no successor once the tracker has ended', async () => {
    const host = await up()
    threads[0].exit('after its life')
    await turns(1)
    threads[1].exit('at its start')
    await turns(1)
    await host.end()
    timeouts.at(-1)!.callback()
    await turns(1)
    expect([msOf(timeouts).at(-1), threads.length]).toEqual([10, 2])
  })

  it('have none that counts if it takes the role while the tracker ends', async () => {
    const host = await up()
    threads[0].exit('planted')
    await turns(1)
    await host.end()
    expect(threads[1].terminations).toBe(1)
    takesRole()
    intervals.at(-1)!.callback()
    await turns(1)
    memory.words[OWNER] = 0
    expect([restarts, host.health().restarts, host.isAbsent]).toEqual([[], 0, true])
  })

  it('have none once the aggregator has finished', async () => {
    const host = await up()
    memory.words[FINISHED] = 1
    threads[0].exit('planted')
    await turns(1)
    expect([threads.length, failures, host.health()]).toMatchObject([
      1,
      [],
      { state: 'finished', healthy: true, finished: true },
    ])
    expect(host.health()).not.toHaveProperty('lastError')
  })

  it('have none if the aggregator cannot continue; the tracker is told', async () => {
    const host = await up()
    expect(host.health()).toMatchObject({ state: 'running', healthy: true })
    memory.words[FAILED] = 1
    expect(host.health()).toMatchObject({ state: 'running', healthy: false })
    threads[0].exit('planted')
    await turns(1)
    expect(failures).toMatchObject([{ code: 'ERR_DIRTYRING_CORRUPT' }])
    expect([threads.length, host.health().state]).toEqual([1, 'absent'])
  })
})

describe('lookForLife()', () => {
  it.each(['none', 'inline'])('starts no worker beside the kind %s', async (kind) => {
    startWorker = newThread
    const host = hostOf(kind)
    await host.start()
    control(memory, NOP)
    memory.words[RETRYING] = 1
    for (const isStopping of [false, true]) looks(host, isStopping)
    await turns(1)
    expect([threads, failures]).toEqual([[], []])
  })

  it('leaves a worker alone whose end the host reports', async () => {
    const thread = new Thread(ROLE - 1)
    const host = await up(() => thread)
    control(memory, NOP)
    for (const isStopping of [false, true]) looks(host, isStopping)
    expect(thread.terminations).toBe(0)
  })

  it('leaves a worker alone that is starting, until the tracker stops', async () => {
    const host = await up()
    control(memory, NOP)
    threads[0].exit('planted')
    await turns(1)
    looks(host, false)
    expect(threads.map(({ terminations }) => terminations)).toEqual([0, 0])
    looks(host, true)
    expect(threads[1].terminations).toBe(1)
  })
})

describe("An aggregator on the tracker's thread", () => {
  it('has one timer: a long one while it is idle, a short one while tokens are left', async () => {
    memory = smallMemory({ capacity: 16_384 })
    const { words } = memory
    const host = hostOf('inline')
    await host.start()
    host.pump()
    expect([msOf(timeouts), words[PARKED]]).toEqual([[500], 1])

    for (let i = 0; i < 9000; i++) control(memory, NOP)
    host.pump()
    words[PARKED] = 0
    host.pump()
    expect([words[HEAD], msOf(timeouts), timeouts[0].isCleared]).toEqual([8192, [500, 1], true])
    // The wake-up that the long one went with is on its way, and counts no more.
    Atomics.notify(words, PARKED)
    await turns(3)
    timeouts[0].callback()
    expect([words[HEAD], words[PARKED], timeouts.length]).toEqual([8192, 0, 2])

    timeouts[1].callback()
    expect([words[HEAD], msOf(timeouts), words[PARKED]]).toEqual([9000, [500, 1, 500], 1])
    expect(timeouts.map(({ isCleared }) => isCleared)).toEqual([true, true, false])
    control(memory, NOP)
    Atomics.notify(words, PARKED)
    await until(() => words[HEAD] === 9001)
    expect([timeouts.map(({ isCleared }) => isCleared), words[PARKED]]).toEqual([
      [true, true, true, false],
      1,
    ])
  })

  it('ends with the tracker, and gives its role back', async () => {
    const host = hostOf('inline')
    await host.start()
    expect([memory.words[OWNER] === 0, timeouts[0].isCleared]).toEqual([false, false])
    await host.end()
    expect([memory.words[OWNER], timeouts[0].isCleared]).toEqual([0, true])
  })
})
