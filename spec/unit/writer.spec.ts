import { inspect } from 'node:util'
import { describe, expect, it } from '@jest/globals'
import type { DirtyTracker } from '../../lib/index.js'
import { LANE_EVERYTHING, laneAt, STOPPED } from '../../lib/memory/map.js'
import { attachMemory } from '../../lib/memory/memory.js'
import { openHeld, openInline, range, thrown } from '../support/in-process.js'

const small = { capacity: 4, laneCapacity: 64, batchSize: 1 }

/** Whether the writer's lane still has to say that no list describes a change. */
function saysEverything(tracker: DirtyTracker): boolean {
  const { words, layout } = attachMemory(tracker.handle, 'tracker')
  return words[laneAt(layout, 0) + LANE_EVERYTHING] === 1
}

describe('a writer', () => {
  it('is one line where it is printed', async () => {
    const { tracker } = await openHeld({ laneCapacity: 64 })
    const writer = tracker.openWriter()
    writer.mark(1)
    expect(inspect(writer)).toBe('Writer { id: 0, staged: 1, closed: false }')
    writer.close()
    expect(inspect([writer])).toContain('Writer { id: 0, staged: 0, closed: true }')
  })

  it('has no room when the tracker has stopped, or it is closed', async () => {
    const { tracker, hand } = await openHeld({ laneCapacity: 64 })
    const writer = tracker.openWriter()
    expect(writer.room).toBe(64)
    hand.memory.words[STOPPED] = 1
    expect(writer.room).toBe(0)
    hand.memory.words[STOPPED] = 0
    expect(writer.room).toBe(64)
    writer.close()
    expect(writer.room).toBe(0)
  })

  it('says which writer it is when it is closed inside batch()', async () => {
    const { tracker } = await openHeld()
    const writer = tracker.openWriter()
    const error = thrown(() => writer.batch(() => writer.close()))
    expect(error).toMatchObject({
      code: 'ERR_DIRTYRING_BUSY',
      message: 'writer 0 is inside batch(): close it when batch() has returned',
    })
    expect(writer.closed).toBe(false)
  })

  it('marks more keys than a lane holds, in parts, whatever holds them', async () => {
    const lists = [
      new BigUint64Array(range(0, 300).map(BigInt)),
      new Uint32Array(range(0, 300)),
      range(0, 300),
      new Set(range(0, 300)),
    ]
    for (const list of lists) {
      const tracker = await openInline({ ...small, capacity: 64 })
      expect(tracker.openWriter().markMany(list, { atomic: false })).toBe(true)
      const epoch = await tracker.advanceEpoch()
      expect([...epoch.ids()].sort((a, b) => a - b)).toEqual(range(0, 300))
    }
  })

  it('that hosts the aggregator has markEverything() in a full ring at once', async () => {
    const tracker = await openInline(small)
    const writer = tracker.openWriter()
    for (const id of range(0, 4)) writer.mark(id)
    expect(tracker.stats().queued).toBe(4)
    writer.markEverything()
    expect([tracker.stats().queued, saysEverything(tracker)]).toEqual([1, false])
  })

  it('that says everything inside batch() publishes it with the batch, not before', async () => {
    const tracker = await openInline(small)
    const writer = tracker.openWriter()
    for (const id of range(0, 4)) writer.mark(id)
    writer.batch(() => {
      writer.markEverything()
      expect([tracker.stats().queued, saysEverything(tracker)]).toEqual([4, true])
    })
  })

  it('that says everything in a full ring waits for the aggregator of another thread', async () => {
    await openInline()
    const { tracker, hand } = await openHeld(small)
    const writer = tracker.openWriter()
    for (const id of range(0, 4)) writer.mark(id)
    writer.markEverything()
    expect([tracker.stats().queued, saysEverything(tracker)]).toEqual([4, true])
    hand.run()
    writer.flush()
    expect([tracker.stats().queued, saysEverything(tracker)]).toEqual([1, false])
  })
})

describe('a thread that hosts the aggregator', () => {
  it('opens a writer as soon as one is closed, however few there may be', async () => {
    const tracker = await openInline({ maxWriters: 1 })
    for (const id of range(0, 5)) {
      const writer = tracker.openWriter()
      writer.mark(id)
      writer.close()
    }
    const writer = tracker.openWriter()
    expect(thrown(() => tracker.openWriter())).toMatchObject({
      code: 'ERR_DIRTYRING_NO_WRITER_SLOT',
      message:
        'no free writer: all 1 (maxWriters) are taken, 1 of them open or waiting for the ' +
        'aggregator to close or reap them',
    })
    writer.close()
  })

  it('has the keys of its writers in the next cut, although the ring is full', async () => {
    const tracker = await openInline(small)
    const writers = range(0, 3).map(() => tracker.openWriter())
    for (const [i, writer] of writers.entries())
      for (const id of range(0, 5)) writer.mark(10 * i + id)
    const epoch = await tracker.advanceEpoch()
    expect([epoch.size, epoch.staged]).toEqual([15, 0])
  })
})

describe('what one call or batch may have', () => {
  it('is said in bytes of text, and in keys', async () => {
    const { tracker } = await openHeld({ laneCapacity: 8 })
    const writer = tracker.openWriter()
    const texts = ['x', 'y', 'z'].map((each) => each.repeat(30_000))
    const advice = 'Raise laneTextBytes, or mark in parts: { atomic: false }.'
    expect(thrown(() => writer.markMany(texts))).toMatchObject({
      code: 'ERR_DIRTYRING_OUT_OF_RANGE',
      message:
        '"keys" must be of at most 65536 bytes of text (laneTextBytes), the largest key counted ' +
        `twice, got ${4 * 30_008 + 4}. ${advice}`,
    })
    const many = () => writer.batch(() => range(0, 9).forEach((id) => writer.mark(id)))
    expect(thrown(many).message).toBe(
      '"use" must be a function that marks at most 8 keys (laneCapacity), got 9',
    )
    const other = tracker.openWriter()
    const long = () => other.batch(() => texts.forEach((text) => other.mark(text)))
    expect(thrown(long).message).toContain('"use" must be of at most 65536 bytes of text')
    const use: any = async () => undefined
    const late = () => writer.batch(use)
    expect(thrown(late).message).toContain('"use" must be a function that returns no promise')
  })
})
