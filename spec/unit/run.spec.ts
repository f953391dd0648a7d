import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import type { BatchRing, DirtyTracker } from '../../lib/index.js'
import { CAPACITY, FINISHED, HEAD, OWNER, PARKED, PROGRESS } from '../../lib/memory/map.js'
import type { Memory } from '../../lib/memory/memory.js'
import { controlToken, STOP } from '../../lib/ring/token.js'

/** What the aggregator's thread does, in order. Its clock stands still but for `sleep()`. */
const log: string[] = []
function note(what: string): void {
  log.push(what)
  if (log.length > 500) throw new Error('the aggregator never ends')
}
let now = 0
let canBlock = true
/** What happens in each sleep or turn of the event loop, one after the other; then the end. */
let script: (() => void)[] = []
let onNap = (): void => undefined
const held: { callback: () => void; ms: number; cleared: boolean }[] = []
let isHeld = false

const { platform: node } = await import('../../lib/platform/current.js')
const platform = {
  ...node,
  canBlock: () => canBlock,
  turn: async () => {
    note('turn')
    turned.shift()?.()
  },
}
let turned: (() => void)[] = []
const timers = await import('../../lib/timers.js')
jest.resetModules()
jest.unstable_mockModule('../../lib/platform/current.js', () => ({ platform }))
jest.unstable_mockModule('../../lib/timers.js', () => ({
  ...timers,
  nowMs: () => now,
  nap: () => {
    note('nap')
    onNap()
  },
  setTimeout: (callback: () => void, ms: number) => {
    if (!isHeld) return timers.setTimeout(callback, ms)
    held.push({ callback, ms, cleared: false })
    return held.at(-1)
  },
  clearTimeout: (timer: any) => {
    if (held.includes(timer)) timer.cleared = true
    else timers.clearTimeout(timer)
  },
}))

const library = await import('../../lib/index.js')
const { runAggregator, runAggregatorAlone } = await import('../../lib/aggregator/run.js')
const { hostsAny } = await import('../../lib/ring/hosted.js')
const { attachMemory } = await import('../../lib/memory/memory.js')
const { push } = await import('../../lib/ring/ring.js')

let tracker: DirtyTracker
let memory: Memory

const stop = (): void => void push(memory, controlToken(STOP, 0))
const nothing = (): void => undefined

function mark(id = 1): void {
  const writer = tracker.openWriter()
  writer.mark(id)
  writer.flush()
}

/** Each sleep takes so long. */
function sleepsTake(ms: number): void {
  jest.spyOn(Atomics, 'wait').mockImplementation(((
    _: unknown,
    at: number,
    value: number,
    to = 0,
  ) => {
    expect(at).toBe(PARKED)
    note(value === 1 ? `sleep ${to}` : `back off ${to}`)
    now += ms
    if (value === 1) (script.shift() ?? stop)()
    return 'timed-out'
  }) as any)
}

beforeEach(async () => {
  now = 1000
  canBlock = true
  tracker = await library.DirtyTracker.create({
    capacity: 8,
    laneCapacity: 64,
    maxWriters: 8,
    maxKeysPerEpoch: 4096,
    flushIntervalMs: 0,
    aggregator: 'none',
  })
  memory = attachMemory(tracker.handle, 'tracker')
})

afterEach(() => {
  jest.restoreAllMocks()
  for (const list of [log, script, held, turned]) list.length = 0
  onNap = nothing
  isHeld = false
})

describe("runAggregator(), on a thread that may block, and that is the user's", () => {
  it('sleeps twice as long each time, 100 ms at most, and then turns its loop', async () => {
    sleepsTake(5)
    script = Array(5).fill(nothing)
    await runAggregator(tracker.handle)
    expect(log).toEqual(
      [10, 20, 40, 80, 100, 100].flatMap((ms) => [`sleep ${ms}`, 'turn']).slice(0, -1),
    )
  })

  it('turns its event loop no more often than every 5 ms', async () => {
    sleepsTake(3)
    script = Array(3).fill(nothing)
    await runAggregator(tracker.handle)
    expect(log).toEqual(['sleep 10', 'sleep 20', 'turn', 'sleep 40', 'sleep 80'])
  })

  it('naps four times after a batch before it sleeps, for 10 ms again', async () => {
    sleepsTake(0)
    script = [nothing, () => mark(), nothing]
    await runAggregator(tracker.handle)
    const naps = Array(4).fill('nap')
    expect(log).toEqual(['sleep 10', 'sleep 20', ...naps, 'sleep 10', 'sleep 20'])
  })

  it('sleeps for 10 ms again after any token, and does not nap if it was no batch', async () => {
    sleepsTake(5)
    const writer = tracker.openWriter()
    turned = [nothing, () => writer.markEverything()]
    script = [nothing, nothing]
    await runAggregator(tracker.handle)
    expect(log.slice(0, 5)).toEqual(['sleep 10', 'turn', 'sleep 20', 'turn', 'sleep 10'])
  })

  it('does not sleep when it finds work in a nap', async () => {
    sleepsTake(0)
    script = [() => mark()]
    let naps = 0
    onNap = () => {
      if (++naps === 2) mark(2)
    }
    await runAggregator(tracker.handle)
    expect(log).toEqual(['sleep 10', ...Array(2 + 4).fill('nap'), 'sleep 10'])
  })

  it('does not sleep when work comes while it says that it is going to', async () => {
    sleepsTake(0)
    const store = Atomics.store
    jest.spyOn(Atomics, 'store').mockImplementation(((words: any, at: number, value: number) => {
      store(words, at, value)
      if (at === PARKED && value === 1 && words.length === memory.words.length) {
        expect(memory.words[PROGRESS]).toBeGreaterThan(0)
        stop()
      }
      return value
    }) as any)
    await runAggregator(tracker.handle)
    expect([log, memory.words[PARKED]]).toEqual([[], 0])
  })

  it('says that it sleeps while it does, and no longer', async () => {
    sleepsTake(0)
    const seen: number[] = []
    script = [() => seen.push(memory.words[PARKED]), () => (stop(), seen.push(memory.words[OWNER]))]
    await runAggregator(tracker.handle)
    expect(seen).toEqual([1, platform.threadId! + 1])
    expect([memory.words[PARKED], memory.words[OWNER], memory.words[FINISHED]]).toEqual([0, 0, 1])
  })

  it('waits 10 ms at most at a time until it tries again what has failed', async () => {
    sleepsTake(4)
    let failures = 2
    const store = Atomics.store
    jest.spyOn(Atomics, 'store').mockImplementation(((words: any, at: number, value: number) => {
      if (at === HEAD && failures-- > 0) throw new Error('planted')
      return store(words, at, value)
    }) as any)
    mark()
    await runAggregator(tracker.handle)
    const backOff = (...all: number[]) => all.map((ms) => `back off ${ms}`)
    expect(log.filter((each) => each.startsWith('back'))).toEqual(
      backOff(10, 6, 2, 10, 10, 10, 8, 4),
    )
    expect(log.filter((each) => each !== 'turn').slice(8)).toEqual([
      ...Array(4).fill('nap'),
      'sleep 10',
    ])
  })

  it('leaves the role when it ends, so that the thread hosts no aggregator', async () => {
    sleepsTake(0)
    script = [() => expect(hostsAny()).toBe(true)]
    script.push(stop)
    expect(hostsAny()).toBe(false)
    await runAggregator(tracker.handle)
    expect([hostsAny(), memory.words[OWNER]]).toEqual([false, 0])
  })

  it('leaves the role when it fails', async () => {
    sleepsTake(5)
    memory.words.fill(-1, memory.layout.ring, memory.layout.ring + 8)
    await expect(runAggregator(tracker.handle)).rejects.toMatchObject({
      code: 'ERR_DIRTYRING_CORRUPT',
    })
    expect([hostsAny(), memory.words[OWNER]]).toEqual([false, 0])
  })

  it("refuses a BatchRing's handle, and says what it expected", async () => {
    const ring: BatchRing = library.BatchRing.create({ capacity: 8, laneCapacity: 64 })
    const message = await runAggregator(ring.handle as never).catch((error: unknown) =>
      String(error),
    )
    expect(message).toContain('tracker')
  })
})

describe("the aggregator, on a thread that is its own and the library's", () => {
  it('refuses a memory whose beginning has changed', async () => {
    const words = memory.words.slice() as unknown as typeof memory.words
    words[CAPACITY]++
    const running = runAggregatorAlone({ ...memory, words })
    await expect(running).rejects.toMatchObject({ code: 'ERR_DIRTYRING_CORRUPT' })
  })

  it('sleeps twice as long each time, for a second at most', async () => {
    sleepsTake(5)
    script = Array(8).fill(nothing)
    await runAggregatorAlone(memory)
    const sleeps = log.filter((each) => each !== 'turn')
    expect(sleeps).toEqual([10, 20, 40, 80, 160, 320, 640, 1000, 1000].map((ms) => `sleep ${ms}`))
  })
})

describe('runAggregator(), on a thread that may not block', () => {
  const { waitAsync } = Atomics
  const ears: { ms: number; hear: () => void }[] = []
  const turns = () => new Promise((resolve) => setImmediate(resolve))

  beforeEach(() => {
    canBlock = false
    ears.length = 0
    jest.spyOn(Atomics, 'wait').mockImplementation(() => {
      throw new TypeError('Atomics.wait cannot be called in this context')
    })
    jest.spyOn(Atomics, 'waitAsync').mockImplementation(((
      words: any,
      at: number,
      v: any,
      ms: any,
    ) => {
      if (at !== PARKED) return (waitAsync as any)(words, at, v, ms)
      if (words[at] !== v) return { async: false, value: 'not-equal' }
      return { async: true, value: new Promise<void>((hear) => ears.push({ ms, hear })) }
    }) as any)
    isHeld = true
  })

  it('sleeps for 10 ms, woken by a timer, each time', async () => {
    const running = runAggregator(tracker.handle)
    await turns()
    expect(held.map(({ ms }) => ms)).toEqual([10])
    expect(ears.map(({ ms }) => ms)).toEqual([10])
    expect(memory.words[PARKED]).toBe(1)
    held[0].callback()
    await turns()
    expect(held.map(({ ms }) => ms)).toEqual([10, 10])
    stop()
    held[1].callback()
    await running
    expect([memory.words[PARKED], log.includes('nap')]).toEqual([0, false])
  })

  it('sleeps until a publisher wakes it, and has no timer left then', async () => {
    const running = runAggregator(tracker.handle)
    await turns()
    stop()
    ears[0].hear()
    await running
    expect(held.map(({ cleared }) => cleared)).toEqual([true])
    expect(memory.words[PARKED]).toBe(0)
  })

  it('is not woken again by what was on its way when its timer woke it', async () => {
    const running = runAggregator(tracker.handle)
    await turns()
    held[0].callback()
    await turns()
    expect(held.length).toBe(2)
    ears[0].hear()
    await turns()
    expect([held.length, memory.words[PARKED]]).toEqual([2, 1])
    stop()
    ears[1].hear()
    await running
  })

  it('sleeps by its timer alone where the host has no Atomics.waitAsync()', async () => {
    jest.restoreAllMocks()
    Object.assign(Atomics, { waitAsync: undefined })
    try {
      const running = runAggregator(tracker.handle)
      await turns()
      expect(held.length).toBe(1)
      stop()
      held[0].callback()
      await running
    } finally {
      Object.assign(Atomics, { waitAsync })
    }
  })

  it('does not sleep when a publisher was faster', async () => {
    jest.mocked(Atomics.waitAsync).mockImplementation((() => {
      stop()
      return { async: false, value: 'not-equal' }
    }) as any)
    await runAggregator(tracker.handle)
    expect(held.map(({ cleared }) => cleared)).toEqual([true])
  })

  it('turns its event loop while it waits to try again what has failed', async () => {
    let isFailing = true
    const store = Atomics.store
    jest.spyOn(Atomics, 'store').mockImplementation(((words: any, at: number, value: number) => {
      if (at === HEAD && isFailing) {
        isFailing = false
        throw new Error('planted')
      }
      return store(words, at, value)
    }) as any)
    mark()
    turned = Array(10).fill(() => (now += 1))
    const running = runAggregator(tracker.handle)
    await turns()
    expect([log, held.length]).toEqual([Array(10).fill('turn'), 1])
    stop()
    held[0].callback()
    await running
  })
})
