import { inspect } from 'node:util'
import { afterEach, describe, expect, it, jest } from '@jest/globals'
import { BatchRing, type DirtyTracker, openWriter, threadWriter, Writer } from '../../lib/index.js'
import { LANE_EVERYTHING, LANE_OWNER, laneAt, STOPPED } from '../../lib/memory/map.js'
import { attachMemory } from '../../lib/memory/memory.js'
import { isPending, openHeld, openInline, range, thrown } from '../support/in-process.js'

const small = { capacity: 4, laneCapacity: 64, batchSize: 1 }

/** Whether the writer's lane still has to say that no list describes a change. */
function saysEverything(tracker: DirtyTracker): boolean {
  const { words, layout } = attachMemory(tracker.handle, 'tracker')
  return words[laneAt(layout, 0) + LANE_EVERYTHING] === 1
}

afterEach(() => void jest.restoreAllMocks())

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

  it('of a tracker that takes any key has no check of their kinds in its way', async () => {
    const plain = (await openHeld()).tracker.openWriter()
    const ofKind = (await openHeld({ keys: 'number' })).tracker.openWriter()
    expect(Object.getPrototypeOf(plain)).toBe(Writer.prototype)
    expect(Object.getPrototypeOf(ofKind)).not.toBe(Writer.prototype)
  })

  it('says that the tracker has stopped, and no more where nothing was lost', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    await tracker.stop()
    expect(thrown(() => writer.mark(8)).message).toBe('writer 0: the tracker has stopped')
  })

  it('tells the aggregator once that it is closed, however often close() is called', async () => {
    const { tracker, hand } = await openHeld(small)
    const writer = tracker.openWriter()
    for (let i = 0; i < 3; i++) {
      writer.close()
      expect(tracker.stats().queued).toBe(1)
    }
    hand.run()
    writer.close()
    expect(tracker.stats().queued).toBe(0)
  })

  it('has room for a text when waitForRoom() says so, wherever it would lie', async () => {
    const { tracker, hand } = await openHeld({
      laneTextBytes: 1024, // 256 words
      laneCapacity: 64,
      onFull: 'reject',
    })
    const writer = tracker.openWriter()
    const fills = (bytes: number) => 'x'.repeat(bytes)
    writer.mark(fills(40)) // 12 words, which are read
    writer.flush()
    hand.run()
    for (const _ of range(0, 19)) writer.mark(fills(40))
    writer.mark(fills(12)) // 5 words: 11 are left behind it, and 23 in all
    const room = writer.waitForRoom(1, { textBytes: 40 })
    expect([await isPending(room), writer.mark(fills(40))]).toEqual([true, false])
    expect([writer.mark(fills(36)), writer.mark(fills(24))]).toEqual([true, true]) // 4 are left
    await writer.waitForRoom(42)
    expect(await isPending(writer.waitForRoom(1, { textBytes: 1 }))).toBe(true)
    hand.run()
    await room
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

describe('roomForText of a writer', () => {
  /** A text that takes so many words of the lane. */
  const textOf = (words: number): string => 'x'.repeat(4 * (words - 2))

  it('promises no text that is then refused, wherever in the lane that would begin', async () => {
    for (const first of [80, 81])
      for (const second of range(256 - 2 * first - 6, 13)) {
        const { tracker, hand } = await openHeld({ laneTextBytes: 1024, onFull: 'reject' })
        const writer = tracker.openWriter()
        expect(writer.mark(textOf(first))).toBe(true)
        writer.flush()
        hand.run()
        expect(writer.mark(textOf(second))).toBe(true)
        const room = writer.roomForText
        expect(room).toBeGreaterThan(200)
        expect([first, second, writer.mark('y'.repeat(room))]).toEqual([first, second, true])
      }
  })
})

describe('close() that an exception of the engine ends', () => {
  it('is made up for by the next call', async () => {
    const { tracker, hand } = await openHeld({ ...small, maxWriters: 1 })
    const writer = tracker.openWriter()
    for (const id of range(0, 4)) writer.mark(id) // and the ring is full
    jest.spyOn(Atomics, 'wait').mockImplementationOnce(() => {
      throw new RangeError('Maximum call stack size exceeded')
    })
    expect(thrown(() => writer.close()).message).toBe('Maximum call stack size exceeded')
    hand.run()
    writer.close()
    hand.run()
    expect(tracker.openWriter().mark(5)).toBe(true)
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
    const { words, layout } = attachMemory(tracker.handle, 'tracker')
    const behind = laneAt(layout, 1) + LANE_OWNER
    const kept = words[behind]
    words[behind] = words[laneAt(layout, 0) + LANE_OWNER] // counts for nothing: it is no lane's
    expect(thrown(() => tracker.openWriter())).toMatchObject({
      code: 'ERR_DIRTYRING_NO_WRITER_SLOT',
      message:
        'no free writer: all 1 (maxWriters) are taken, 1 of them open or waiting for the ' +
        'aggregator to close or reap them',
    })
    words[behind] = kept
    writer.close()
  })

  it('closes a writer with one token, although the ring is full', async () => {
    const tracker = await openInline(small)
    const writer = tracker.openWriter()
    for (const id of range(0, 4)) writer.mark(id)
    writer.close()
    expect(tracker.stats().queued).toBe(1)
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

describe('a cut', () => {
  it('takes along the markEverything() that a full ring has held back', async () => {
    const { tracker, hand } = await openHeld(small)
    const writer = tracker.openWriter()
    for (const id of range(0, 4)) writer.mark(id)
    writer.markEverything()
    hand.run()
    const pending = tracker.advanceEpoch()
    hand.run()
    const { exact, reason } = await pending
    expect([exact, reason]).toEqual([false, 'everything'])
  })

  it("is not made at once while one writer's keys have found the ring full", async () => {
    const { tracker, hand } = await openHeld({ ...small, batchSize: 64 })
    const writers = range(0, 3).map(() => tracker.openWriter())
    for (const id of range(0, 4)) {
      writers[0].mark(id)
      writers[0].flush()
    }
    writers[1].mark(10)
    writers[2].mark(20)
    const { compareExchange } = Atomics
    let attempts = 0
    const { layout } = hand.memory
    const isSlot = (at: number) => at >= layout.ring && at < layout.ring + layout.capacity
    jest.spyOn(Atomics, 'compareExchange').mockImplementation(((
      words: any,
      at: number,
      ...to: any
    ) => {
      if (isSlot(at) && attempts++ === 1) hand.run() // between the two writers' attempts
      return (compareExchange as any)(words, at, ...to)
    }) as any)
    expect(tracker.tryAdvanceEpoch()).toBeUndefined()
    expect(writers.map(({ staged }) => staged)).toEqual([0, 1, 0])
  })
})

describe('what one call or batch may have', () => {
  it('is said in bytes of text, and in keys', async () => {
    const { tracker, hand } = await openHeld({ laneCapacity: 8 })
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
    const second = tracker.openWriter()
    second.mark(1)
    second.flush()
    hand.run()
    const more = () => second.batch(() => range(2, 9).forEach((id) => second.mark(id)))
    expect(thrown(more).message).toContain('at most 8 keys (laneCapacity), got 9')
    const other = tracker.openWriter()
    const long = () => other.batch(() => texts.forEach((text) => other.mark(text)))
    expect(thrown(long).message).toContain('"use" must be of at most 65536 bytes of text')
    const use: any = async () => undefined
    expect(thrown(() => other.markMany(range(0, 9))).message).toBe(
      '"keys" must be at most 8 keys (laneCapacity), got 9. To mark more keys than a lane holds, ' +
        'pass { atomic: false }, or raise laneCapacity.',
    )
    expect(thrown(() => other.markPairs(new Uint32Array(18))).message).toContain(
      '"pairs" must be at most 8',
    )
    expect(thrown(() => other.markEverything(-1)).message).toContain('"namespace" must be')
    const late = () => writer.batch(use)
    expect(thrown(late).message).toContain('"use" must be a function that returns no promise')
  })

  it('may be all the text that a lane holds, also where its keys have to wait', async () => {
    const tracker = await openInline({ laneTextBytes: 1024, laneCapacity: 8, batchSize: 1 })
    const writer = tracker.openWriter()
    for (const id of range(0, 6)) writer.mark(id)
    const texts = [496, 248, 252].map((bytes) => 'x'.repeat(bytes)) // 126 + 64 + 65 words of 256
    writer.batch(() => texts.forEach((text) => writer.mark(text)))
    expect([...(await tracker.advanceEpoch())].slice(6)).toEqual(texts)
  })
})

describe('a handle', () => {
  it('of a ring is refused by the name of what it should be', () => {
    const ring = BatchRing.create()
    for (const open of [openWriter, threadWriter])
      expect(thrown(() => open(ring.handle as any)).message).toBe(
        '"handle" must be tracker.handle, got that of a BatchRing',
      )
  })
})
