import { describe, expect, it } from '@jest/globals'
import {
  type DirtyTracker,
  fingerprint,
  type SealedEpoch,
  threadWriter,
  TxnBuffer,
  withWriter,
  type Writer,
} from '../../lib/index.js'
import { LANE_ATTN, laneAt } from '../../lib/memory/map.js'
import {
  bigintOf,
  type Hand,
  isPending,
  nearTheEndOfTheStack,
  openHeld,
  openInline,
  range,
  sortedIds,
  thrown,
  until,
} from '../support/in-process.js'

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
    txn.markMany([7, 8])
    const result = writer.batch(() => {
      writer.mark(1)
      writer.markPair(2, 0)
      writer.mark(3n)
      writer.mark(fingerprint('four', { seed: 4 }))
      writer.markMany([5, 6])
      txn.flushTo(writer)
      writer.markPairs(new Uint32Array([9, 0]), { atomic: false })
      writer.markMany([])
      expect([writer.staged, writer.room, tracker.stats().queued]).toEqual([9, 1024 - 9, 0])
      return 'done'
    })

    expect(result).toBe('done')
    expect([writer.staged, tracker.stats().queued]).toEqual([0, 1])
    const pending = tracker.advanceEpoch()
    hand.run()
    expect([...(await pending).bigints]).toEqual([
      1n,
      2n,
      3n,
      fingerprint('four', { seed: 4 }),
      5n,
      6n,
      7n,
      8n,
      9n,
    ])
    expect(tracker.stats()).toMatchObject({ batches: 1, keys: 9 })
  })

  it('C6: leaves the lane usable where the stack ends in it: later marks are staged and published', async () => {
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

  it('C8: is published when it throws as well, whole, and the error is the same', async () => {
    const { tracker, hand } = await openHeld({ batchSize: 2 })
    const writer = tracker.openWriter()
    const mine = new Error('mine')
    const error = thrown(() =>
      writer.batch(() => {
        writer.markMany(range(10, 5))
        throw mine
      }),
    )

    expect(error).toBe(mine)
    expect([writer.staged, tracker.stats().queued, offered(tracker)]).toEqual([0, 1, 5])
    writer.mark(2)
    expect(await take(tracker, hand)).toEqual([2, ...range(10, 5)])
  })

  it('joins the batch that it is within, also when it throws: everything goes out when the outermost ends', async () => {
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
      expect(tracker.stats().queued).toBe(0)
      writer.mark(4)
    })
    hand.run()

    expect(tracker.stats()).toMatchObject({ batches: 1, keys: 4 })
    expect(await take(tracker, hand)).toEqual([1, 2, 3, 4])
  })

  it('is synchronous: a promise, or another object with a then(), is a TypeError, and its marks are published', async () => {
    const { tracker, hand } = await openHeld()
    const writer = tracker.openWriter()
    const promising: (() => unknown)[] = [
      async () => {
        writer.mark(1)
        await Promise.resolve()
        // an unhandled rejection would fail this spec
        throw new Error('the caller sees the TypeError instead')
      },
      () => {
        writer.mark(2)
        return { then: () => undefined }
      },
    ]
    for (const use of promising) {
      const error = thrown(() => writer.batch(use))
      expect(error).toMatchObject({ name: 'TypeError', code: 'ERR_DIRTYRING_INVALID_ARG' })
      expect(error.message).toContain('batch() is synchronous')
    }
    for (const use of [undefined, null, 5, Promise.resolve()] as never[]) {
      expect(thrown(() => writer.batch(use)).message).toContain('"use" must be a function, got')
    }
    expect(await take(tracker, hand)).toEqual([1, 2])
  })

  it('C8: is in the lane while it runs: a harvest takes it, also half-way', async () => {
    const { tracker, hand } = await openHeld()
    const writer = tracker.openWriter()
    writer.batch(() => {
      writer.markMany([1, 2])
      writer.batch(() => writer.mark(3))
      expect([writer.staged, tracker.stats().staged]).toEqual([3, 3])
      void tracker.reap(writer.id) // as if its thread had died here
      hand.run()
      expect(tracker.stats()).toMatchObject({ distinct: 3, harvested: 3 })
    })
  })

  it('publishes what was staged before it, and nothing of its own, when a publication falls due meanwhile', async () => {
    const { tracker, hand } = await openHeld({ batchSize: 4 })
    const writer = tracker.openWriter()
    for (const why of [
      'by size',
      'as the tracker asks',
      'at flush()',
      'at advanceEpoch()',
    ] as const) {
      writer.mark(1)
      writer.batch(() => {
        writer.mark(2)
        if (why === 'by size') for (const id of range(10, 8)) writer.mark(id)
        if (why === 'as the tracker asks')
          void tracker.flushed({ signal: AbortSignal.abort() }).catch(() => undefined)
        if (why === 'as the tracker asks')
          Atomics.add(hand.memory.words, laneAt(hand.memory.layout, writer.id) + LANE_ATTN, 2)
        if (why === 'at flush()') expect(writer.flush()).toBe(false)
        if (why === 'at advanceEpoch()') void tracker.advanceEpoch().then((epoch) => epoch.commit())
        writer.mark(3)
        hand.run()
        expect([why, tracker.stats().writers[0].inFlight, writer.staged]).toEqual([
          why,
          0,
          why === 'by size' ? 10 : 2,
        ])
      })
      hand.run()
      expect([why, writer.staged]).toEqual([why, 0])
      expect(await take(tracker, hand)).toEqual(expect.arrayContaining([2, 3]))
    }
  })

  it('C5: suppresses no mark: a key that was staged before it may be published and cut before its write is visible', async () => {
    const { tracker, hand } = await openHeld({ batchSize: 16, laneCapacity: 1024 })
    const writer = tracker.openWriter()
    for (let round = 0; round < 300; round++) {
      for (let i = 0; i < 16; i++) writer.mark(7) // so that suppression is on
      hand.run()
    }
    const before = tracker.stats().writers[0].suppressed
    expect(before).toBeGreaterThan(0)
    writer.mark(7)
    let first: Promise<SealedEpoch> | undefined
    writer.batch(() => {
      writer.mark(7) // the new value is not visible yet
      first = tracker.advanceEpoch() // publishes the 7 that was there before
      hand.run()
    })
    expect([...(await first!).ids()]).toEqual([7])
    expect(await take(tracker, hand)).toEqual([7])
  })

  it('C6: a mark that finds no room in it throws, with onFull reject too, and those before it are published', async () => {
    const { tracker, hand } = await openHeld({ laneCapacity: 4, onFull: 'reject' })
    const writer = tracker.openWriter()
    writer.markMany([0, 1])
    for (const mark of [
      () => writer.markMany([3, 4, 5]),
      () => range(3, 3).forEach((id) => writer.mark(id)),
    ]) {
      const error = thrown(() =>
        writer.batch(() => {
          writer.mark(2)
          mark()
        }),
      )
      expect(error).toMatchObject({ code: 'ERR_DIRTYRING_STALLED' })
      expect(error.message).toContain("onFull is 'reject'")
      expect(await take(tracker, hand)).toEqual(expect.arrayContaining([2]))
      writer.markMany([0, 1])
    }
  })

  it('C10: waits in it for the room that keys before it take, and throws ERR_DIRTYRING_STALLED when none comes', async () => {
    const { tracker, hand } = await openHeld({ laneCapacity: 4, maxWaitMs: 5 })
    const writer = tracker.openWriter()
    writer.markMany([0, 1])
    const error = thrown(() => writer.batch(() => writer.markMany([2, 3, 4])))
    expect([error.code, writer.staged, writer.room]).toEqual(['ERR_DIRTYRING_STALLED', 0, 2])
    expect(await take(tracker, hand)).toEqual([0, 1])
    const inline = await openInline({ laneCapacity: 4 })
    const own = inline.openWriter()
    for (const round of range(0, 5)) own.batch(() => own.markMany(range(round * 4, 4)))
    own.markMany(range(20, 3))
    own.batch(() => range(23, 4).forEach((id) => own.mark(id))) // room comes one after the other
    await inline.drained()
    expect(inline.stats()).toMatchObject({ distinct: 27 })
  })

  it('of more keys than laneCapacity is a RangeError before any wait, and a mark that fits goes on', async () => {
    for (const onFull of ['wait', 'reject'] as const) {
      const { tracker, hand } = await openHeld({ laneCapacity: 8, batchSize: 8, onFull })
      const writer = tracker.openWriter()
      for (const mark of [
        () => range(10, 9).forEach((id) => writer.mark(id)),
        () => writer.markMany(range(11, 8)),
      ]) {
        const error = thrown(() =>
          writer.batch(() => {
            writer.mark(10)
            mark()
          }),
        )
        expect(error).toMatchObject({ name: 'RangeError', code: 'ERR_DIRTYRING_OUT_OF_RANGE' })
        expect(error.message).toContain('that marks at most 8 keys (laneCapacity)')
        expect(await take(tracker, hand)).toEqual(expect.arrayContaining([10]))
      }
      expect(writer.batch(() => range(20, 8).map((id) => writer.mark(id)))).toEqual(
        Array(8).fill(true),
      )
      expect(await take(tracker, hand)).toEqual(range(20, 8))
    }
  })

  it('in a full ring goes out with the next publication, still whole, and by the clock if none follows', async () => {
    const { tracker, hand } = await openHeld({ capacity: 2, batchSize: 1 })
    const writer = tracker.openWriter()
    for (const id of [0, 1]) writer.mark(id)
    writer.batch(() => writer.markMany([2, 3, 4]))
    expect(writer.staged).toBe(3)
    hand.run(1)
    writer.mark(5)
    expect([writer.staged, await take(tracker, hand)]).toEqual([0, range(0, 6)])

    const clocked = await openHeld({ capacity: 2, batchSize: 1, flushIntervalMs: 1 })
    const other = clocked.tracker.openWriter()
    for (const id of [0, 1]) other.mark(id)
    other.batch(() => other.mark(2))
    await until(() => {
      clocked.hand.run()
      return other.staged === 0
    })
  })

  it('withWriter() in it joins it', async () => {
    const { tracker, hand } = await openHeld()
    const writer = threadWriter(tracker.handle)
    writer.batch(() => {
      withWriter(tracker.handle, (same) => same.mark(1))
      expect([writer.staged, tracker.stats().queued]).toEqual([1, 0])
      writer.mark(2)
    })
    hand.run()
    expect(tracker.stats()).toMatchObject({ batches: 1, keys: 2 })
  })

  it('close() in it is ERR_DIRTYRING_BUSY; of a closed writer it is ERR_DIRTYRING_CLOSED, of a stopped one ERR_DIRTYRING_STOPPED', async () => {
    const tracker = await openInline()
    const [busy, closed, stopped] = [
      tracker.openWriter(),
      tracker.openWriter(),
      tracker.openWriter(),
    ]
    closed.close()
    let called = false
    const use = () => {
      called = true
    }
    expect(thrown(() => closed.batch(use)).code).toBe('ERR_DIRTYRING_CLOSED')
    busy.batch(() => {
      busy.mark(1)
      expect(thrown(() => busy.close()).code).toBe('ERR_DIRTYRING_BUSY')
      busy.mark(2)
    })
    busy.close()
    expect(sortedIds(await tracker.stop())).toEqual([1, 2])
    expect(thrown(() => stopped.batch(use)).code).toBe('ERR_DIRTYRING_STOPPED')
    expect(called).toBe(false)
  })
})

describe('atomic: false', () => {
  it('takes lists of any length, in as many batches as it needs', async () => {
    const tracker = await openInline({ laneCapacity: 8, batchSize: 8 })
    const writer = tracker.openWriter()
    expect(writer.markMany(range(0, 100), { atomic: false })).toBe(true)
    expect(
      writer.markPairs(Int32Array.from(range(100, 100).flatMap((id) => [id, 0])), {
        atomic: false,
      }),
    ).toBe(true)
    const txn = new TxnBuffer(1)
    txn.markMany(range(200, 100))
    expect([txn.flushTo(writer, { atomic: false }), txn.size === 0]).toEqual([true, true])
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
    txn.markMany(range(20, 12))
    expect([txn.flushTo(writer, { atomic: false }), txn.size]).toEqual([false, 4])
    hand.run()
    expect([txn.flushTo(writer, { atomic: false }), txn.size]).toEqual([true, 0])
    expect(await take(tracker, hand)).toEqual(range(20, 12))
  })

  it('true, or nothing said, is one batch: beyond laneCapacity a RangeError, and a TxnBuffer keeps its keys', async () => {
    const tracker = await openInline({ laneCapacity: 8, batchSize: 8 })
    const writer = tracker.openWriter()
    const txn = new TxnBuffer(1)
    txn.markMany(range(0, 9))
    for (const options of [undefined, {}, { atomic: undefined }, { atomic: true }]) {
      for (const mark of [
        () => writer.markMany(range(0, 9), options),
        () => txn.flushTo(writer, options),
      ]) {
        expect(thrown(mark)).toMatchObject({
          name: 'RangeError',
          code: 'ERR_DIRTYRING_OUT_OF_RANGE',
        })
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
    writer.markEverything()
    const first = tracker.advanceEpoch()
    writer.mark(2)
    const second = tracker.advanceEpoch()
    hand.run()
    const epoch = await first
    expect([
      epoch.exact,
      epoch.reason,
      epoch.has(12345),
      ...Array.from(epoch.listed(), bigintOf),
    ]).toEqual([false, 'everything', true, 1n])
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

  it('C6: of a writer cannot be refused: in a full ring it goes out with the next publication, or by the clock', async () => {
    for (const onFull of ['reject', 'wait'] as const) {
      const { tracker, hand } = await openHeld({
        capacity: 2,
        batchSize: 1,
        onFull,
        maxWaitMs: 0,
        flushIntervalMs: onFull === 'wait' ? 1 : 0,
      })
      const writer = tracker.openWriter()
      for (const id of [1, 2, 3]) writer.mark(id)
      writer.markEverything()
      const flushed = tracker.flushed()
      expect(await isPending(flushed)).toBe(true)
      hand.run()
      if (onFull === 'reject') expect(writer.flush()).toBe(true)
      await until(() => !hand.run() && tracker.stats().writers[0].staged === 0)
      await flushed
      const pending = tracker.advanceEpoch()
      hand.run()
      expect((await pending).reason).toBe('everything')
    }
  })

  it('of a writer that dies or closes with it pending comes with the harvest, and does not stay in the lane', async () => {
    const { tracker, hand } = await openHeld({ capacity: 2, batchSize: 1 })
    for (const leave of [
      (writer: Writer) => writer.close(),
      (writer: Writer) => tracker.reap(writer.id),
    ]) {
      const writer = tracker.openWriter()
      for (const id of [1, 2]) writer.mark(id)
      writer.markEverything()
      leave(writer)
      await until(() => !hand.run() && tracker.stats().writers.every(({ open }) => !open))
      const pending = tracker.advanceEpoch()
      hand.run()
      const epoch = await pending
      expect(epoch.reason).toBe('everything')
      epoch.commit()
      tracker.openWriter().close()
      await until(() => !hand.run() && tracker.stats().writers.every(({ open }) => !open))
      const next = tracker.advanceEpoch()
      hand.run()
      expect((await next).exact).toBe(true)
    }
  })

  it('inside batch() goes out with the batch, not before', async () => {
    const { tracker, hand } = await openHeld()
    const writer = tracker.openWriter()
    let first: Promise<SealedEpoch> | undefined
    writer.batch(() => {
      writer.markEverything()
      first = tracker.advanceEpoch()
      hand.run()
    })
    const second = tracker.advanceEpoch()
    hand.run()
    expect([(await first!).exact, (await second).reason]).toEqual([true, 'everything'])
  })

  it('pending at stop() makes the last epoch inexact', async () => {
    const { tracker, hand } = await openHeld({ capacity: 2, batchSize: 1 })
    const writer = tracker.openWriter()
    for (const id of [1, 2]) writer.mark(id)
    writer.markEverything()
    const stopping = tracker.stop({ graceMs: 0 })
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setTimeout(resolve, 2))
    await until(() => !hand.run() && tracker.health().finished)
    expect((await stopping).reason).toBe('everything')
  })
})
