import { describe, expect, it } from '@jest/globals'
import { fingerprint, TxnBuffer, type DirtyTracker } from '../lib/index.js'
import { nearTheEndOfTheStack, openHeld, openInline, range, sortedIds, thrown, type Hand } from './support/in-process.js'

/** Seal with a held aggregator, read the ids, commit. */
async function take(tracker: DirtyTracker, hand: Hand): Promise<number[]> {
  const pending = tracker.advanceEpoch()
  hand.run()
  const epoch = await pending
  const ids = sortedIds(epoch)
  epoch.commit()
  return ids
}

/** Every mark that was offered, by the accounts of all writers. */
function offered(tracker: DirtyTracker): number {
  return tracker.stats().writers.reduce((sum, { marked }) => sum + marked, 0)
}

describe('batch()', () => {
  it('is one atomic batch of everything that is marked in it, in any form, published when it returns', async () => {
    const { tracker, hand } = await openHeld({ batchSize: 2 })
    const writer = tracker.openWriter()
    const txn = new TxnBuffer(1)
    txn.recordMany([7, 8])
    const result = writer.batch(() => {
      writer.mark(1)
      writer.mark(2, 0)
      writer.markFingerprint(3n)
      writer.markKey('four', 4)
      writer.markMany([5, 6])
      txn.flushTo(writer)
      writer.markLanes(new Uint32Array([9, 0]), { atomic: false })
      writer.markMany([])
      expect([writer.staged, writer.room, tracker.stats().queued]).toEqual([9, 1024 - 9, 0])
      return 'done'
    })

    expect(result).toBe('done')
    expect([writer.staged, tracker.stats().queued]).toEqual([0, 1])
    const pending = tracker.advanceEpoch()
    hand.run()
    expect([...(await pending)]).toEqual([1n, 2n, 3n, fingerprint('four', 4), 5n, 6n, 7n, 8n, 9n])
    expect(tracker.stats()).toMatchObject({ batches: 1, keys: 9 })
  })

  it('C6: leaves the lane as it was where the stack ends in it: later marks are staged', async () => {
    const { tracker, hand } = await openHeld({ maxWriters: 64 })
    const writers = range(0, 40).map((size) => {
      const writer = tracker.openWriter()
      nearTheEndOfTheStack(() => writer.batch(() => undefined), size)
      writer.mark(size)
      expect([writer.flush(), writer.staged]).toEqual([true, 0])
      return writer
    })
    const pending = tracker.advanceEpoch()
    hand.run()
    expect(sortedIds(await pending)).toEqual(range(0, writers.length))
  })

  it('publishes what was staged before it together with it', async () => {
    const { tracker, hand } = await openHeld()
    const writer = tracker.openWriter()
    writer.mark(1)
    writer.batch(() => writer.mark(2))
    hand.run()
    expect(tracker.stats()).toMatchObject({ batches: 1, keys: 2 })
  })

  it('is forgotten when it throws: nothing of it is marked, what was staged before stays, and the error is the same', async () => {
    const { tracker, hand } = await openHeld({ batchSize: 2 })
    const writer = tracker.openWriter()
    writer.mark(1)
    const mine = new Error('mine')
    const error = thrown(() =>
      writer.batch(() => {
        writer.markMany(range(10, 5))
        throw mine
      }),
    )

    expect(error).toBe(mine)
    expect([writer.staged, writer.room, offered(tracker)]).toEqual([1, 1023, 1])
    writer.mark(2)
    expect(await take(tracker, hand)).toEqual([1, 2])
  })

  it('joins the batch that it is within; if it throws and that is caught, it alone is forgotten', async () => {
    const { tracker, hand } = await openHeld()
    const writer = tracker.openWriter()
    writer.batch(() => {
      writer.mark(1)
      writer.batch(() => writer.mark(2))
      expect(tracker.stats().queued).toBe(0)
      thrown(() =>
        writer.batch(() => {
          writer.mark(3)
          throw new Error('caught')
        }),
      )
      writer.mark(4)
    })
    hand.run()

    expect(tracker.stats()).toMatchObject({ batches: 1, keys: 3 })
    expect(await take(tracker, hand)).toEqual([1, 2, 4])
    thrown(() =>
      writer.batch(() => {
        writer.batch(() => writer.mark(5))
        throw new Error('of the outer one')
      }),
    )
    expect(await take(tracker, hand)).toEqual([])
  })

  it('is synchronous: a promise, or whatever else has a then(), is a TypeError, and nothing of it is marked', async () => {
    const { tracker, hand } = await openHeld()
    const writer = tracker.openWriter()
    const promising: (() => unknown)[] = [
      async () => void writer.mark(1),
      () => {
        writer.mark(2)
        return { then: () => undefined }
      },
    ]
    for (const use of promising) {
      const error = thrown(() => writer.batch(use))
      expect(error).toMatchObject({ name: 'TypeError', code: 'ERR_DIRTYRING_INVALID_ARG' })
      expect(error.message).toContain('"use" expected a function that returns when its marks are made')
    }
    for (const use of [undefined, null, 5, Promise.resolve()] as never[]) {
      expect(thrown(() => writer.batch(use)).message).toContain('"use" expected a function, got')
    }
    expect(offered(tracker)).toBe(0)
    writer.mark(3)
    expect(await take(tracker, hand)).toEqual([3])
  })

  it('of more keys than laneCapacity is a RangeError, and nothing of it is marked, also when it ignores that', async () => {
    const { tracker, hand } = await openHeld({ laneCapacity: 8, batchSize: 8 })
    const writer = tracker.openWriter()
    writer.mark(1)
    for (const mark of [() => range(10, 9).forEach((id) => writer.mark(id)), () => (writer.mark(10), writer.markMany(range(11, 8)))]) {
      const ignoring = () => void thrown(mark)
      for (const use of [mark, ignoring, () => writer.batch(ignoring)]) {
        const error = thrown(() => writer.batch(use))
        expect(error).toMatchObject({ name: 'RangeError', code: 'ERR_DIRTYRING_OUT_OF_RANGE' })
        expect(error.message).toContain('at most 8 keys (laneCapacity)')
      }
    }
    expect([writer.staged, offered(tracker)]).toEqual([1, 1])
    writer.flush()
    hand.run()
    expect(writer.batch(() => range(20, 8).map((id) => writer.mark(id)))).toEqual(Array(8).fill(true))
    expect(await take(tracker, hand)).toEqual([1, ...range(20, 8)])
  })

  it('C6: with onFull reject, tells which marks found no room, and publishes the others', async () => {
    const { tracker, hand } = await openHeld({ laneCapacity: 4, onFull: 'reject' })
    const writer = tracker.openWriter()
    writer.markMany([0, 1])
    const stored = writer.batch(() => [writer.mark(2), writer.markMany([3, 4]), writer.mark(5), writer.mark(6)])

    expect(stored).toEqual([true, false, true, false])
    expect(tracker.stats().writers[0]).toMatchObject({ marked: 7, rejected: 3, inFlight: 4 })
    expect(await take(tracker, hand)).toEqual([0, 1, 2, 5])
  })

  it('C10: with onFull wait, waits for room as a whole when it returns, and throws ERR_DIRTYRING_STALLED with nothing of it stored', async () => {
    const { tracker, hand } = await openHeld({ laneCapacity: 4, maxWaitMs: 5 })
    const writer = tracker.openWriter()
    writer.markMany([0, 1])
    let reached = false
    const error = thrown(() =>
      writer.batch(() => {
        writer.markMany([2, 3, 4])
        reached = true
      }),
    )

    expect([reached, error.code, writer.staged, writer.room]).toEqual([true, 'ERR_DIRTYRING_STALLED', 0, 2])
    expect(await take(tracker, hand)).toEqual([0, 1])
    const inline = await openInline({ laneCapacity: 4 })
    const own = inline.openWriter()
    for (const round of range(0, 5)) own.batch(() => own.markMany(range(round * 4, 4)))
    await inline.drained()
    expect(inline.stats()).toMatchObject({ batches: 5, distinct: 20 })
  })

  it('in a full ring goes out with the next publication, still whole', async () => {
    const { tracker, hand } = await openHeld({ capacity: 2, batchSize: 1 })
    const writer = tracker.openWriter()
    for (const id of [0, 1]) writer.mark(id)
    writer.batch(() => writer.markMany([2, 3, 4]))
    expect(writer.staged).toBe(3)
    hand.run(1)
    writer.mark(5)
    expect([writer.staged, await take(tracker, hand)]).toEqual([0, range(0, 6)])
  })

  it('of a writer that is closed, in it or before, is ERR_DIRTYRING_CLOSED, and of a stopped one ERR_DIRTYRING_STOPPED', async () => {
    const tracker = await openInline()
    const [closing, closed, stopped] = [tracker.openWriter(), tracker.openWriter(), tracker.openWriter()]
    closed.close()
    let called = false
    const use = () => {
      called = true
    }
    expect(thrown(() => closed.batch(use)).code).toBe('ERR_DIRTYRING_CLOSED')
    expect(
      thrown(() =>
        closing.batch(() => {
          closing.mark(1)
          closing.close()
        }),
      ).code,
    ).toBe('ERR_DIRTYRING_CLOSED')
    expect((await tracker.stop()).size).toBe(0)
    expect(thrown(() => stopped.batch(use)).code).toBe('ERR_DIRTYRING_STOPPED')
    expect(called).toBe(false)
  })
})

describe('atomic: false', () => {
  it('takes lists of any length, as as many batches as it takes', async () => {
    const tracker = await openInline({ laneCapacity: 8, batchSize: 8 })
    const writer = tracker.openWriter()
    expect(writer.markMany(range(0, 100), { atomic: false })).toBe(true)
    expect(writer.markLanes(Int32Array.from(range(100, 100).flatMap((id) => [id, 0])), { atomic: false })).toBe(true)
    const txn = new TxnBuffer(1)
    txn.recordMany(range(200, 100))
    expect([txn.flushTo(writer, { atomic: false }), txn.isEmpty]).toEqual([true, true])
    await tracker.drained()
    expect(tracker.stats().batches).toBeGreaterThan(300 / 8)
    expect(sortedIds(await tracker.advanceEpoch())).toEqual(range(0, 300))
    expect(offered(tracker)).toBe(300)
  })

  it('false says that a part may be stored: all of it, marked again, is there; of a TxnBuffer the stored part has left it', async () => {
    const { tracker, hand } = await openHeld({ laneCapacity: 8, onFull: 'reject' })
    const writer = tracker.openWriter()
    expect(writer.markMany(range(0, 12), { atomic: false })).toBe(false)
    expect(await take(tracker, hand)).toEqual(range(0, 8))
    const txn = new TxnBuffer(1)
    txn.recordMany(range(20, 12))
    expect([txn.flushTo(writer, { atomic: false }), txn.size]).toEqual([false, 4])
    hand.run()
    expect([txn.flushTo(writer, { atomic: false }), txn.size]).toEqual([true, 0])
    expect(await take(tracker, hand)).toEqual(range(20, 12))
  })

  it('true, or nothing said, is one batch: beyond laneCapacity a RangeError, and a TxnBuffer keeps its keys', async () => {
    const tracker = await openInline({ laneCapacity: 8, batchSize: 8 })
    const writer = tracker.openWriter()
    const txn = new TxnBuffer(1)
    txn.recordMany(range(0, 9))
    for (const options of [undefined, {}, { atomic: undefined }, { atomic: true }]) {
      for (const mark of [() => writer.markMany(range(0, 9), options), () => txn.flushTo(writer, options)]) {
        expect(thrown(mark)).toMatchObject({ name: 'RangeError', code: 'ERR_DIRTYRING_OUT_OF_RANGE' })
      }
    }
    expect([txn.size, offered(tracker)]).toEqual([9, 0])
  })
})

describe('markEverything()', () => {
  it('of a writer makes the epoch it lands in inexact, reason everything, and that one only', async () => {
    const { tracker, hand } = await openHeld()
    const writer = tracker.openWriter()
    writer.mark(1)
    expect(writer.markEverything()).toBe(true)
    const first = tracker.advanceEpoch()
    writer.mark(2)
    const second = tracker.advanceEpoch()
    hand.run()
    const epoch = await first
    expect([epoch.exact, epoch.reason, epoch.has(12345), ...epoch.listed()]).toEqual([false, 'everything', true, 1n])
    expect([(await second).exact, (await second).reason]).toEqual([true, undefined])
  })

  it('of the tracker holds for an advanceEpoch() called after it, and comes back with a restore', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    tracker.markEverything()
    const epoch = await tracker.advanceEpoch()
    expect([epoch.exact, epoch.reason, epoch.size]).toEqual([false, 'everything', 0])
    expect(tracker.stats().unsettled).toEqual([0]) // it has to be dealt with
    void epoch.restore()
    writer.mark(1)
    const next = await tracker.advanceEpoch()
    expect([next.exact, next.reason, next.size]).toEqual([false, 'everything', 1])
    next.commit()
    expect((await tracker.advanceEpoch()).exact).toBe(true)
    await tracker.stop()
    expect(thrown(() => tracker.markEverything()).code).toBe('ERR_DIRTYRING_STOPPED')
    expect(thrown(() => writer.markEverything()).code).toBe('ERR_DIRTYRING_STOPPED')
  })

  it('of a writer is false with onFull reject where this thread runs the aggregator of another tracker only', async () => {
    const { tracker } = await openHeld({ capacity: 2, onFull: 'reject' })
    await openInline()
    const writer = tracker.openWriter()
    expect([writer.markEverything(), writer.markEverything(), writer.markEverything()]).toEqual([true, true, false])
  })

  it('C6: of a writer is false with onFull reject where the ring is full, and ERR_DIRTYRING_STALLED with wait', async () => {
    for (const onFull of ['reject', 'wait'] as const) {
      const { tracker, hand } = await openHeld({ capacity: 2, batchSize: 1, onFull, maxWaitMs: 5 })
      const writer = tracker.openWriter()
      for (const id of [1, 2]) writer.mark(id)
      if (onFull === 'reject') expect(writer.markEverything()).toBe(false)
      else expect(thrown(() => writer.markEverything()).code).toBe('ERR_DIRTYRING_STALLED')
      const pending = tracker.advanceEpoch()
      await Promise.resolve(hand.run())
      await new Promise((resolve) => setTimeout(resolve, 5))
      hand.run()
      expect((await pending).exact).toBe(true)
      expect(writer.markEverything()).toBe(true)
    }
  })
})
