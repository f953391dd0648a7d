import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import type { DirtyTracker, TrackerOptions } from '../../lib/index.js'
import { FINISHED, HARVESTED, OWNER, TRACKER_ID, TRACKER_THREAD } from '../../lib/memory/map.js'
import type { Memory } from '../../lib/memory/memory.js'
import { readTotal } from '../../lib/memory/total.js'

type OnStart = (worker: unknown) => void
type OnExit = (threadId: number) => void

/** A host that does what a spec says: the thread that runs has this number. */
const platform = {
  threadId: 1,
  ancestors: [] as number[],
  announceParent: () => {
    if (platform.threadId === HERE) announced()
  },
  canBlock: () => true,
  turn: () => new Promise((resolve) => setImmediate(resolve)),
  onWorkerStart: (listener: OnStart) => {
    if (platform.threadId === HERE) starts.add(listener) // the other threads start no workers
    return () => void starts.delete(listener)
  },
  watchWorker: (worker: unknown, onExit: OnExit) => {
    if (worker === 'no worker') return undefined
    const entry: [unknown, OnExit] = [worker, onExit]
    watched.add(entry)
    return () => void watched.delete(entry)
  },
  onThreadEnd: () => undefined,
  warn: () => undefined,
}
const announced = jest.fn()
const starts = new Set<OnStart>()
const watched = new Set<[unknown, OnExit]>()

/** Waits for the trackers' ends, each ended by the spec. */
const ears: ((outcome: string) => void)[] = []
const { waitAsync } = Atomics
const timers: { callback: () => void; ms: number }[] = []

jest.unstable_mockModule('../../lib/platform/current.js', () => ({ platform }))
jest.unstable_mockModule('../../lib/platform/watching.js', () => ({ watching: platform }))
const real = await import('../../lib/timers.js')
const retry = jest.fn((callback: () => void, ms: number) => {
  if (!isHeld) return real.setTimeout(callback, ms)
  timers.push({ callback, ms })
  return {}
})
let isHeld = false
jest.unstable_mockModule('../../lib/timers.js', () => ({ ...real, setTimeout: retry }))

const {
  BatchRing,
  DirtyTracker: Tracker,
  openWriter: openWriterHere,
  watchWorkers,
} = await import('../../lib/index.js')
const { attachMemory } = await import('../../lib/memory/memory.js')
const { holdAggregator } = await import('../support/in-process.js')
jest.resetModules()
// Another copy of the library is as another thread: it watches for itself.
const { openWriter } = await import('../../lib/index.js')

const TRACKER_ITS_OWN = 1
const HERE = 5
const WORKER = 80

let tracker: DirtyTracker
let memory: Memory

async function create(options: TrackerOptions = {}): Promise<void> {
  platform.threadId = TRACKER_ITS_OWN
  const small = { capacity: 4, laneCapacity: 64, maxWriters: 8, maxKeysPerEpoch: 4096 }
  tracker = await Tracker.create({
    ...small,
    flushIntervalMs: 0,
    onFull: 'reject',
    aggregator: 'none',
    ...options,
  })
  memory = attachMemory(tracker.handle, 'tracker')
  platform.threadId = HERE
}

/** Runs `body` as if on another thread. */
function on<T>(threadId: number, body: () => T): T {
  const before = platform.threadId
  platform.threadId = threadId
  try {
    return body()
  } finally {
    platform.threadId = before
  }
}

function start(worker: unknown): void {
  for (const listener of starts) listener(worker)
}

function end(threadId = WORKER): void {
  for (const entry of [...watched]) {
    watched.delete(entry)
    entry[1](threadId)
  }
}

/** A writer of a worker's that this thread starts, with three keys that are staged. */
function markInWorker(): void {
  const writer = on(WORKER, () => openWriter(tracker.handle))
  for (const id of [1, 2, 3]) writer.mark(id)
}

beforeEach(() => {
  jest.spyOn(Atomics, 'waitAsync').mockImplementation(((words: any, at: number, ...more: any[]) => {
    if (at !== FINISHED) return (waitAsync as any)(words, at, ...more)
    if (words[FINISHED] !== more[0]) return { async: false, value: 'not-equal' }
    expect(more).toEqual([0, 60_000])
    return { async: true, value: new Promise<string>((resolve) => ears.push(resolve)) }
  }) as any)
})

afterEach(async () => {
  isHeld = false
  Atomics.store(memory.words, FINISHED, 1)
  for (const ear of ears.splice(0)) ear('ok')
  await settle()
  jest.restoreAllMocks()
  announced.mockClear()
  for (const set of [starts, watched]) set.clear()
  timers.length = 0
})

/** The writers that are open. */
function open(): number[] {
  return tracker.stats().writers.flatMap(({ id, open }) => (open ? [id] : []))
}

const settle = () => new Promise((resolve) => setImmediate(resolve))

describe('watchWorkers()', () => {
  it('harvests the writers of a worker that ends, and those of no other thread', async () => {
    await create()
    const hand = holdAggregator(tracker)
    watchWorkers(tracker.handle)
    expect(announced).toHaveBeenCalledTimes(1)
    start('a worker')
    markInWorker()
    const other = on(WORKER + 1, () => openWriter(tracker.handle))
    other.mark(9)
    expect(watched.size).toBe(1)
    end()
    hand.run()
    expect(open()).toEqual([other.id])
    expect(readTotal(memory.words, HARVESTED)).toBe(3)
  })

  it('frees the role of the aggregator that a worker had when it ended', async () => {
    await create()
    watchWorkers(tracker.handle)
    start('a worker')
    Atomics.store(memory.words, OWNER, WORKER + 1)
    end()
    expect(memory.words[OWNER]).toBe(0)
  })

  it('tries again every few milliseconds while the ring is full', async () => {
    await create({ batchSize: 1 })
    const hand = holdAggregator(tracker)
    watchWorkers(tracker.handle)
    start('a worker')
    markInWorker()
    const full = on(WORKER + 1, () => openWriter(tracker.handle))
    for (const id of [7, 8, 9]) full.mark(id)
    isHeld = true
    end()
    expect(timers.map(({ ms }) => ms)).toEqual([5])
    end()
    timers.shift()!.callback()
    expect(timers.map(({ ms }) => ms)).toEqual([5])
    hand.run()
    timers.shift()!.callback()
    expect(timers).toEqual([])
    hand.run()
    expect(open()).toEqual([full.id])
  })

  it('has one retry at a time, however many workers end', async () => {
    await create({ batchSize: 1 })
    const hand = holdAggregator(tracker)
    watchWorkers(tracker.handle)
    for (const worker of ['one', 'two']) start(worker)
    markInWorker()
    on(WORKER + 1, () => openWriter(tracker.handle)).mark(4)
    isHeld = true
    const [first, second] = [...watched]
    first[1](WORKER)
    second[1](WORKER + 1)
    expect(timers.length).toBe(1)
    hand.run()
    timers.shift()!.callback()
    hand.run()
    expect(open()).toEqual([])
  })

  it('watches workers that start until the function that it returned is called', async () => {
    await create()
    const hand = holdAggregator(tracker)
    const leave = watchWorkers(tracker.handle)
    start('a worker')
    markInWorker()
    leave()
    expect(starts.size).toBe(0)
    expect(watched.size).toBe(1)
    end()
    hand.run()
    expect(open()).toEqual([])
    // With nothing left to watch, the next call begins anew.
    watchWorkers(tracker.handle)
    expect(announced).toHaveBeenCalledTimes(2)
    expect(starts.size).toBe(1)
  })

  it('goes on for one caller when another has ended its own', async () => {
    await create()
    const first = watchWorkers(tracker.handle)
    const second = watchWorkers(tracker.handle)
    expect([starts.size, announced.mock.calls.length]).toEqual([1, 1])
    first()
    expect(starts.size).toBe(1)
    second()
    second()
    expect(starts.size).toBe(0)
  })

  it('keeps a retry that is due after its caller has ended it', async () => {
    await create({ batchSize: 1 })
    const hand = holdAggregator(tracker)
    const leave = watchWorkers(tracker.handle)
    start('a worker')
    markInWorker()
    on(WORKER + 1, () => openWriter(tracker.handle)).mark(4)
    isHeld = true
    end()
    leave()
    watchWorkers(tracker.handle)()
    expect(announced).toHaveBeenCalledTimes(1)
    hand.run()
    timers.shift()!.callback()
    hand.run()
    expect(open().length).toBe(1)
    watchWorkers(tracker.handle)
    expect(announced).toHaveBeenCalledTimes(2)
  })

  it('ends by itself when the tracker stops', async () => {
    await create()
    watchWorkers(tracker.handle)
    start('a worker')
    expect(ears.length).toBe(1)
    Atomics.store(memory.words, FINISHED, 1)
    ears.shift()!('ok')
    await settle()
    expect([starts.size, watched.size]).toEqual([0, 0])
  })

  it('listens for the end of the tracker anew when one wait for it is over', async () => {
    await create()
    watchWorkers(tracker.handle)
    ears.shift()!('timed-out')
    await settle()
    expect([starts.size, ears.length]).toEqual([1, 1])
    ears.shift()!('ok')
    await settle()
    expect([starts.size, ears.length]).toEqual([0, 0])
  })

  it('ends when a worker ends after the tracker has stopped', async () => {
    await create()
    watchWorkers(tracker.handle)
    for (const worker of ['one', 'two']) start(worker)
    Atomics.store(memory.words, FINISHED, 1)
    const [first] = [...watched]
    first[1](WORKER)
    expect([starts.size, watched.has(first), watched.size]).toEqual([0, true, 1])
    ears.shift()!('ok')
    await settle()
    expect(ears.length).toBe(0)
  })

  it('ends at once when the tracker stops while it begins', async () => {
    await create()
    announced.mockImplementationOnce(() => {
      Atomics.store(memory.words, FINISHED, 1)
    })
    watchWorkers(tracker.handle)
    expect(starts.size).toBe(1)
    await settle()
    expect(starts.size).toBe(0)
  })

  it("watches nothing on the tracker's own thread, nor of a tracker that has stopped", async () => {
    await create()
    memory.words[TRACKER_THREAD] = HERE + 1
    watchWorkers(tracker.handle)()
    expect([starts.size, announced.mock.calls.length]).toEqual([0, 0])
    memory.words[TRACKER_THREAD] = TRACKER_ITS_OWN + 1
    Atomics.store(memory.words, FINISHED, 1)
    watchWorkers(tracker.handle)()
    expect([starts.size, announced.mock.calls.length]).toEqual([0, 0])
  })

  it('tells trackers apart by both words of their identity', async () => {
    await create()
    watchWorkers(tracker.handle)
    const id = memory.words[TRACKER_ID]
    await create()
    expect(memory.words[TRACKER_ID]).not.toBe(id)
    watchWorkers(tracker.handle)
    expect([starts.size, ears.length]).toEqual([2, 2])
  })

  it("refuses a BatchRing's handle, and says what it expected", async () => {
    const ring = BatchRing.create({ capacity: 8, laneCapacity: 64 })
    expect(() => watchWorkers(ring.handle as never)).toThrow('tracker')
    await create()
  })

  it('works where the host has no Atomics.waitAsync()', async () => {
    await create()
    const hand = holdAggregator(tracker)
    Object.assign(Atomics, { waitAsync: undefined })
    try {
      watchWorkers(tracker.handle)
    } finally {
      Object.assign(Atomics, { waitAsync })
    }
    start('a worker')
    markInWorker()
    end()
    hand.run()
    expect(open()).toEqual([])
  })

  it('looks for the end of the tracker now and then where the host has no Atomics.waitAsync()', async () => {
    await create()
    isHeld = true
    Object.assign(Atomics, { waitAsync: undefined })
    try {
      watchWorkers(tracker.handle)
      expect(timers.map(({ ms }) => ms)).toEqual([60_000])
      timers.shift()!.callback()
      expect([starts.size, timers.length]).toEqual([1, 1])
      Atomics.store(memory.words, FINISHED, 1)
      timers.shift()!.callback()
      expect([starts.size, timers.length]).toEqual([0, 0])
    } finally {
      Object.assign(Atomics, { waitAsync })
    }
  })

  it('leaves alone what is no worker', async () => {
    await create()
    const leave = watchWorkers(tracker.handle)
    start('no worker')
    leave()
    watchWorkers(tracker.handle)
    expect(announced).toHaveBeenCalledTimes(2)
  })

  it('gives up what it was to harvest when the ring is corrupt', async () => {
    await create()
    watchWorkers(tracker.handle)
    start('a worker')
    markInWorker()
    memory.words.fill(-1, memory.layout.ring, memory.layout.ring + 4)
    isHeld = true
    expect(() => end()).not.toThrow()
    expect(timers).toEqual([])
  })
})

describe('a writer', () => {
  it('watches the workers of its thread until the tracker stops, even when closed', async () => {
    await create()
    const hand = holdAggregator(tracker)
    const writer = openWriterHere(tracker.handle)
    start('a worker')
    markInWorker()
    writer.close()
    const leave = watchWorkers(tracker.handle)
    leave()
    expect(starts.size).toBe(1)
    end()
    hand.run()
    expect(open()).toEqual([])
    ears.shift()!('ok')
    await settle()
    expect(starts.size).toBe(0)
  })
})
