import { describe, expect, it } from '@jest/globals'
import {
  BATCHES,
  EVENTS,
  HARVESTED,
  KEYS,
  LANE_BATCHES,
  LANE_DELIVERED,
  laneAt,
  layoutOf,
} from '../../lib/memory/map.js'
import { resolveOptions, type TrackerOptions } from '../../lib/options.js'
import { DirtyTracker } from '../../lib/tracker/tracker.js'

const options: TrackerOptions = {
  capacity: 8,
  laneCapacity: 16,
  maxWriters: 3,
  epochSlots: 3,
  maxKeysPerEpoch: 200,
  batchSize: 4,
  flushIntervalMs: 0,
  aggregator: 'inline',
}

const CARRY = 2 ** 32

/** All counters just below their wraps, so that each of them wraps within a few rounds. */
async function createBelow(below: number, more: TrackerOptions = {}) {
  const layout = layoutOf(resolveOptions({ ...options, ...more }))
  const totals = [EVENTS, BATCHES, KEYS, HARVESTED]
  for (let writer = 0; writer < layout.maxWriters; writer++) {
    totals.push(laneAt(layout, writer) + LANE_DELIVERED, laneAt(layout, writer) + LANE_BATCHES)
  }
  return DirtyTracker.createAt(
    { ...options, ...more },
    {
      position: 2 ** 30 - below * 3,
      laneEnd: 2 ** 31 - below * 2,
      epoch: 2 ** 19 - below,
      generation: 2 ** 13 - below,
      totals: totals.map((at) => [at, CARRY - below]),
    },
  )
}

const sorted = (keys: Iterable<number>): number[] => [...keys].sort((a, b) => a - b)

describe.each([1, 2, 5, 9])('With every counter %d below its wrap or so', (below) => {
  it('C1, C2: every epoch has exactly the keys of its time', async () => {
    const tracker = await createBelow(below)
    let next = 0
    for (let round = 0; round < 30; round++) {
      const writers = [tracker.openWriter(), tracker.openWriter()]
      const marked: number[] = []
      for (let i = 0; i < 11; i++) {
        marked.push(next)
        expect(writers[i & 1].mark(next++)).toBe(true)
      }
      expect(writers[0].markMany([next, next + 1])).toBe(true)
      marked.push(next++, next++)
      const epoch = await tracker.advanceEpoch()
      expect(epoch.id).toBe(2 ** 19 - below + round)
      expect(epoch.exact).toBe(true)
      expect(sorted(epoch.ids())).toEqual(marked)
      expect(marked.every((id) => epoch.has(id)) && !epoch.has(next)).toBe(true)
      epoch.commit()
      for (const writer of writers) writer.close()
      await tracker.drained()
    }
    const last = await tracker.stop()
    expect([last.size, last.exact, last.id]).toEqual([0, true, 2 ** 19 - below + 30])
  })

  it('C7: restored keys come back in the next epoch, others stay gone', async () => {
    const tracker = await createBelow(below)
    const writer = tracker.openWriter()
    let pending: number[] = []
    for (let round = 0; round < 12; round++) {
      const marked = [round * 3, round * 3 + 1, round * 3 + 2]
      expect(writer.markMany(marked)).toBe(true)
      const epoch = await tracker.advanceEpoch()
      expect(sorted(epoch.ids())).toEqual(sorted([...pending, ...marked]))
      if (round % 3 === 2) {
        epoch.commit()
        pending = []
      } else {
        pending = [...epoch.ids()]
        await epoch.restore()
      }
    }
    const last = await tracker.stop()
    expect(last.size).toBe(pending.length)
  })

  it('C7: an epoch that is held over the wrap still has its own keys, and is told from the others', async () => {
    const tracker = await createBelow(below)
    const writer = tracker.openWriter()
    writer.mark(1)
    const held = await tracker.advanceEpoch()
    for (let round = 0; round < 12; round++) {
      writer.mark(100 + round)
      const epoch = await tracker.advanceEpoch()
      expect([...epoch.ids()]).toEqual([100 + round])
      epoch.commit()
    }
    expect([...held.ids()]).toEqual([1])
    writer.mark(2)
    const restored = held.restore()
    const next = await tracker.advanceEpoch()
    await restored
    expect(sorted(next.ids())).toEqual([1, 2])
    next.commit()
    await tracker.stop()
  })

  it('C8, C12: lanes are freed and harvested, and the accounts are right', async () => {
    const tracker = await createBelow(below)
    let marked = 0
    for (let round = 0; round < 20; round++) {
      const writer = tracker.openWriter()
      expect(writer.id).toBe(0)
      for (let i = 0; i < 6; i++) writer.mark(marked++)
      writer.close() // two of them are still staged
      await tracker.drained()
    }
    const { events, batches, keys, harvested, distinct, staged, queued, writers } = tracker.stats()
    const start = CARRY - below
    expect({ batches, keys, harvested, distinct, staged, queued }).toEqual({
      batches: start + 20,
      keys: start + 80,
      harvested: start + 40,
      distinct: 120,
      staged: 0,
      queued: 0,
    })
    expect(events).toBe(start + 40)
    expect(writers[0]).toMatchObject({
      open: false,
      marked: start + 120,
      delivered: start + 120,
      inFlight: 0,
      staged: 0,
      batches: start + 20,
    })
    const last = await tracker.stop()
    expect(sorted(last.ids())).toEqual(Array.from({ length: marked }, (_, id) => id))
  })

  it('C6, C9: nothing is lost when lane and ring are full, nor by stop()', async () => {
    const tracker = await createBelow(below, { capacity: 2, onFull: 'reject' })
    const writers = [tracker.openWriter(), tracker.openWriter(), tracker.openWriter()]
    const marked: number[] = []
    for (let id = 0; id < 190; id++) if (writers[id % 3].mark(id)) marked.push(id)
    expect(marked.length).toBeGreaterThan(40)
    const last = await tracker.stop()
    expect([last.exact, last.reason]).toEqual([true, undefined])
    expect(sorted(last.ids())).toEqual(marked)
    expect(() => writers[0].mark(1)).toThrow(
      expect.objectContaining({ code: 'ERR_DIRTYRING_STOPPED' }),
    )
  })
})
