import { afterEach, describe, expect, it, jest } from '@jest/globals'
import type { TrackerOptions } from '../../lib/index.js'
import { LANE_ATTN, laneAt, STOPPED, TAIL } from '../../lib/memory/map.js'

/** The library's timers that wait, and the waits of writers for the tracker's request. */
const timers: { callback: () => void; ms: number; isUnref: boolean }[] = []
const ears: { ms: number; hear: () => void }[] = []
const INTERVAL = 37

const real = await import('../../lib/timers.js')
jest.resetModules()
jest.unstable_mockModule('../../lib/timers.js', () => ({
  ...real,
  setTimeout: (callback: () => void, ms: number) => {
    if (ms !== INTERVAL) return real.setTimeout(callback, ms)
    timers.push({ callback, ms, isUnref: false })
    return timers.at(-1)
  },
  unref: (timer: any) => {
    if (timers.includes(timer)) timer.isUnref = true
    else real.unref(timer)
  },
}))
const { openHeld, range } = await import('../support/in-process.js')

const { waitAsync } = Atomics

/** A tracker whose writers publish what stays staged for a while. */
async function open(options: TrackerOptions = {}) {
  const { tracker, hand } = await openHeld({
    capacity: 4,
    laneCapacity: 64,
    batchSize: 8,
    flushIntervalMs: INTERVAL,
    onFull: 'reject',
    ...options,
  })
  const { words, layout } = hand.memory
  const attn = laneAt(layout, 0) + LANE_ATTN
  jest.spyOn(Atomics, 'waitAsync').mockImplementation(((w: any, at: number, v: number, ms: any) => {
    if (at !== attn || w.length !== words.length) return (waitAsync as any)(w, at, v, ms)
    if (w[at] !== v) return { async: false, value: 'not-equal' }
    return { async: true, value: new Promise<void>((hear) => ears.push({ ms, hear })) }
  }) as any)
  return { tracker, hand, words, attn }
}

const fire = () => timers.shift()!.callback()
const settle = () => new Promise((resolve) => setImmediate(resolve))

afterEach(() => {
  jest.restoreAllMocks()
  for (const { callback } of timers.splice(0)) callback()
  timers.length = 0
  ears.length = 0
})

describe("the clock of a thread's writers", () => {
  it('is one timer for all of them, armed by the first key; it keeps no thread alive', async () => {
    const { tracker } = await open()
    const [one, two] = [tracker.openWriter(), tracker.openWriter()]
    expect(timers).toEqual([])
    one.mark(1)
    expect(timers).toMatchObject([{ ms: INTERVAL, isUnref: true }])
    one.mark(2)
    two.mark(3)
    expect(timers.length).toBe(1)
    fire()
    expect([one.staged, two.staged, timers.length]).toEqual([0, 0, 0])
    two.mark(4)
    expect([two.staged, timers.length]).toEqual([1, 1])
    fire()
    expect(two.staged).toBe(0)
  })

  it('is tried again while the ring is full, and not longer', async () => {
    const { tracker, hand } = await open()
    const writer = tracker.openWriter()
    for (const id of range(0, 32)) writer.mark(id)
    writer.mark(32)
    expect(writer.staged).toBe(1)
    fire()
    expect([writer.staged, timers.length]).toEqual([1, 1])
    fire()
    hand.run()
    fire()
    expect([writer.staged, timers.length]).toEqual([0, 0])
  })

  it('is at rest once the tracker has stopped, or its ring is corrupt', async () => {
    const { tracker, words, hand } = await open()
    const writer = tracker.openWriter()
    for (const id of range(0, 33)) writer.mark(id)
    words[STOPPED] = 1
    fire()
    expect([writer.staged, timers.length]).toEqual([1, 0])
    words[STOPPED] = 0
    hand.run()
    writer.mark(34)
    expect(timers.length).toBe(1)
    words.fill(-1, hand.memory.layout.ring, hand.memory.layout.ring + 4)
    fire()
    expect(timers.length).toBe(0)
  })

  it('publishes nothing of a writer that is closed', async () => {
    const { tracker, words } = await open()
    const writer = tracker.openWriter()
    writer.mark(1)
    writer.close()
    const tail = words[TAIL]
    fire()
    expect([words[TAIL], timers.length]).toEqual([tail, 0])
  })

  it('is never armed with an interval of 0', async () => {
    const { tracker } = await open({ flushIntervalMs: 0 })
    const writer = tracker.openWriter()
    writer.mark(1)
    expect([writer.staged, timers.length]).toEqual([1, 0])
  })
})

describe('an idle writer', () => {
  it('publishes when the tracker asks for it, again and again, until it is closed', async () => {
    const { tracker, words, attn } = await open()
    const writer = tracker.openWriter()
    for (const id of [1, 2]) {
      writer.mark(id)
      words[attn] += 2
      expect(ears.map(({ ms }) => ms)).toEqual([60_000])
      ears.shift()!.hear()
      await settle()
      expect(writer.staged).toBe(0)
    }
    writer.close()
    ears.shift()!.hear()
    await settle()
    expect(ears).toEqual([])
  })

  it('is asked while it begins to listen', async () => {
    const { tracker, words, attn } = await open()
    const writer = tracker.openWriter()
    writer.mark(1)
    ears.shift()!.hear()
    await Promise.resolve()
    words[attn] += 2
    ears.shift()?.hear()
    await settle()
    expect([writer.staged, ears.length]).toEqual([0, 1])
  })

  it('hears no more of a tracker that has stopped, nor where its ring is corrupt', async () => {
    const { tracker, words, attn, hand } = await open()
    const writer = tracker.openWriter()
    writer.mark(1)
    words.fill(-1, hand.memory.layout.ring, hand.memory.layout.ring + 4)
    words[attn] += 2
    ears.shift()!.hear()
    await settle()
    expect(ears).toEqual([])
    expect(writer.staged).toBe(1)
  })

  it('does not listen where the host has no Atomics.waitAsync()', async () => {
    const { tracker } = await open()
    const mocked = Atomics.waitAsync
    Object.assign(Atomics, { waitAsync: undefined })
    try {
      expect(tracker.openWriter().mark(1)).toBe(true)
    } finally {
      Object.assign(Atomics, { waitAsync: mocked })
    }
    expect(ears).toEqual([])
  })
})
