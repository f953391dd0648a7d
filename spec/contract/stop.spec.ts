import { afterEach, describe, expect, it, jest } from '@jest/globals'
import { type DirtyTracker, openWriter, TxnBuffer } from '../../lib/index.js'
import { FAILED } from '../../lib/memory/map.js'
import {
  holdAggregator,
  isPending,
  openHeld,
  openInline,
  openUnattended,
  range,
  rejected,
  sortedIds,
  sortedListed,
  thrown,
  turns,
  until,
} from '../support/in-process.js'
import { STOPPED } from '../support/stopping.js'

afterEach(() => {
  jest.restoreAllMocks()
})

/**
 * stop() refuses marks, waits a millisecond, and then puts STOP into the ring, or behind what is
 * queued.
 */
async function stopIsQueued(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setTimeout(resolve, 2))
}

describe('C9: stop()', () => {
  it('resolves with the last epoch, still to be settled, which has all that was published', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    ;(await tracker.advanceEpoch()).commit()
    writer.markMany([2, 3])
    const last = await tracker.stop()
    expect([last.id, last.exact, last.state]).toEqual([1, true, 'sealed'])
    expect(sortedIds(last)).toEqual([2, 3])
    expect([last.has(2), last.has(4)]).toEqual([true, false])
    expect(tracker.stats().unsettled).toEqual([1])
    last.commit()
    expect(last.state).toBe('committed')
    expect(tracker.stats().unsettled).toEqual([])
  })

  it('publishes first what the writers of the calling thread have staged', async () => {
    const tracker = await openInline()
    range(0, 5).forEach((id) => tracker.openWriter().mark(id))
    const last = await tracker.stop({ graceMs: 0 })
    expect([last.exact, ...sortedIds(last)]).toEqual([true, 0, 1, 2, 3, 4])
  })

  it('delivers everything that is in a full ring, key 0 included', async () => {
    for (const open of [openInline, openUnattended]) {
      const tracker = await open({ capacity: 8, batchSize: 1 })
      const writers = [tracker.openWriter(), tracker.openWriter()]
      for (const id of range(0, 8)) writers[id % 2].mark(id)
      expect(tracker.stats()).toMatchObject({ queued: 8, staged: 0 })
      const last = await tracker.stop()
      expect([last.exact, ...sortedIds(last)]).toEqual([true, ...range(0, 8)])
    }
  })

  it('is idempotent: a second stop() is the first, whenever it comes', async () => {
    const tracker = await openInline()
    tracker.openWriter().mark(1)
    const [first, second] = await Promise.all([tracker.stop(), tracker.stop({ graceMs: 5 })])
    expect(second).toBe(first)
    expect(await tracker.stop()).toBe(first)
    first.commit()
    expect(await tracker.stop()).toBe(first)
    await tracker[Symbol.asyncDispose]()
    expect(tracker.stats()).toMatchObject({ sealed: 1, committed: 1 })
  })

  it('refuses every later mark with ERR_DIRTYRING_STOPPED, and nothing is stored', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    const before = (await tracker.stop()).size
    const txn = new TxnBuffer(1)
    txn.mark(1)
    const marks: (() => unknown)[] = [
      () => writer.mark(2),
      () => writer.markPair(2, 0),
      () => writer.mark(2n),
      () => writer.mark('a'),
      () => writer.markMany([2]),
      () => writer.markMany([]),
      () => writer.markPairs(new Uint32Array(2)),
      () => writer.tagTxn(2),
      () => txn.flushTo(writer),
    ]
    for (const mark of [...marks, ...marks]) {
      const error = thrown(mark)
      expect(error.code).toBe(STOPPED)
      expect(error.message).toContain('the tracker has stopped')
    }
    expect([writer.staged, writer.flush(), txn.size, before]).toEqual([0, true, 1, 1])
    expect(tracker.stats().writers[0]).toMatchObject({
      marked: 1,
      delivered: 1,
      staged: 0,
      rejected: 0,
    })
  })

  it('refuses later writers, epochs and drains, and ends later iterations', async () => {
    const tracker = await openInline()
    await tracker.stop()
    expect(thrown(() => tracker.openWriter()).code).toBe(STOPPED)
    expect(thrown(() => openWriter(tracker.handle)).code).toBe(STOPPED)
    expect((await rejected(tracker.advanceEpoch())).code).toBe(STOPPED)
    expect((await rejected(tracker.advanceEpoch({ onBusy: 'reject' }))).code).toBe(STOPPED)
    expect((await rejected(tracker.drained())).code).toBe(STOPPED)
    let called = false
    expect((await rejected(tracker.consume(() => (called = true)))).code).toBe(STOPPED)
    expect(called).toBe(false)
    for await (const _ of tracker.epochs({ everyMs: 0, skipEmpty: false })) called = true
    expect(called).toBe(false)
    expect(tracker.epoch).toBe(0)
  })

  it('refuses an advanceEpoch() that is called while it is under way', async () => {
    const tracker = await openInline()
    const stopping = tracker.stop()
    expect((await rejected(tracker.advanceEpoch())).code).toBe(STOPPED)
    await stopping
  })

  it("says 'unpublished' when keys stay staged, and how many at the next call", async () => {
    const { tracker, hand } = await openHeld({ capacity: 2, batchSize: 1, onFull: 'reject' })
    const writer = tracker.openWriter()
    for (const id of range(0, 5)) writer.mark(id)
    expect(writer.staged).toBe(3)
    const stopping = tracker.stop({ graceMs: 0 })
    await stopIsQueued()
    await until(() => !hand.run() && tracker.health().finished)
    const last = await stopping
    expect([last.exact, last.reason]).toEqual([false, 'unpublished'])
    expect(sortedListed(last)).toEqual([0, 1])
    expect(last.has(4)).toBe(true)
    for (const act of [() => writer.mark(9), () => writer.flush()]) {
      const error = thrown(act)
      expect(error.code).toBe(STOPPED)
      expect(error.message).toContain('3 keys')
    }
    expect(tracker.stats().writers[0]).toMatchObject({
      marked: 5,
      delivered: 2,
      staged: 3,
      inFlight: 0,
    })
    writer.close()
  })

  it('gives open writers up to graceMs to publish, and has their keys then', async () => {
    const { tracker, hand } = await openHeld({ capacity: 2, batchSize: 1, onFull: 'reject' })
    const writer = tracker.openWriter()
    for (const id of range(0, 5)) writer.mark(id)
    const stopping = tracker.stop({ graceMs: 20_000 })
    expect(await isPending(stopping)).toBe(true)
    hand.run()
    expect(writer.flush()).toBe(true) // as a writer that has been asked does
    await until(() => !hand.run() && tracker.health().finished)
    const last = await stopping
    expect([last.exact, ...sortedIds(last)]).toEqual([true, 0, 1, 2, 3, 4])
  })

  it('asks open writers: the next mark publishes', async () => {
    const { tracker, hand } = await openHeld({ capacity: 2, batchSize: 1, onFull: 'reject' })
    const writer = tracker.openWriter()
    for (const id of range(0, 3)) writer.mark(id)
    const big = tracker.openWriter()
    big.mark(10)
    const stopping = tracker.stop({ graceMs: 20_000 })
    for (const [each, id] of [
      [writer, 3],
      [big, 11],
    ] as const) {
      hand.run()
      expect([each.staged, each.mark(id), each.staged]).toEqual([1, true, 0])
    }
    await until(() => !hand.run() && tracker.health().finished)
    const last = await stopping
    expect([last.exact, ...sortedIds(last)]).toEqual([true, 0, 1, 2, 3, 10, 11])
  })

  it('delivers a publication that succeeds while it is under way, wherever the aggregator stands', async () => {
    for (const steps of range(0, 9)) {
      const { tracker, hand } = await openHeld({ capacity: 4, batchSize: 64, onFull: 'reject' })
      const writer = tracker.openWriter()
      writer.markMany([0])
      const stopping = tracker.stop({ graceMs: 0 })
      const stored = [0]
      let confirmed = 1
      for (const id of range(1, 12)) {
        if (id === 1) hand.run(steps)
        try {
          if (writer.mark(id)) stored.push(id)
          if (writer.flush()) confirmed = stored.length
        } catch (error) {
          expect((error as { code: string }).code).toBe(STOPPED)
        }
        hand.run(1)
      }
      await until(() => !hand.run() && tracker.health().finished)
      const last = await stopping
      const { staged, inFlight } = tracker.stats().writers[0]
      expect(sortedListed(last)).toEqual(stored.slice(0, stored.length - staged))
      expect(last.size).toBeGreaterThanOrEqual(confirmed)
      expect([inFlight, last.exact]).toEqual([0, staged === 0])
    }
  })

  it('serves the epochs that were cut before it', async () => {
    const { tracker, hand } = await openHeld({ epochSlots: 4 })
    const writer = tracker.openWriter()
    writer.markMany([1])
    const first = tracker.advanceEpoch()
    writer.markMany([2])
    const second = tracker.advanceEpoch()
    writer.markMany([3])
    const stopping = tracker.stop({ graceMs: 0 })
    await until(() => !hand.run() && tracker.health().finished)
    expect([sortedIds(await first), sortedIds(await second), sortedIds(await stopping)]).toEqual([
      [1],
      [2],
      [3],
    ])
    expect(tracker.stats().unsettled).toEqual([0, 1, 2])
  })

  it('serves an epoch whose cut is queued because the ring is full', async () => {
    const { tracker, hand } = await openHeld({ capacity: 2, onFull: 'reject' })
    const writer = tracker.openWriter()
    writer.markMany([1])
    writer.markMany([2])
    const queued = tracker.advanceEpoch()
    const stopping = tracker.stop({ graceMs: 0 })
    await until(() => !hand.run() && tracker.health().finished)
    expect([sortedIds(await queued), sortedIds(await stopping)]).toEqual([[1, 2], []])
  })

  it('rejects the advanceEpoch() calls that wait for a slot, and their keys are in the last epoch', async () => {
    const tracker = await openInline({ epochSlots: 2 })
    const writer = tracker.openWriter()
    writer.mark(1)
    await tracker.advanceEpoch()
    const waiting = [tracker.advanceEpoch(), tracker.advanceEpoch()].map(rejected)
    writer.mark(2)
    const last = await tracker.stop()
    expect((await Promise.all(waiting)).map(({ code }) => code)).toEqual([STOPPED, STOPPED])
    expect([last.id, ...last.ids()]).toEqual([1, 2])
  })

  it('completes a restore that was under way', async () => {
    const { tracker, hand } = await openHeld()
    tracker.openWriter().markMany([1, 2])
    const pending = tracker.advanceEpoch()
    hand.run()
    const restoring = (await pending).restore()
    const stopping = tracker.stop({ graceMs: 0 })
    await until(() => !hand.run() && tracker.health().finished)
    await restoring
    expect(sortedIds(await stopping)).toEqual([1, 2])
  })

  it('leaves unsettled epochs readable; restore() on them rejects, and commit() is still possible', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.markMany([1, 2])
    const epoch = await tracker.advanceEpoch()
    writer.markMany([3])
    const last = await tracker.stop()
    for (const each of [epoch, last]) {
      const error = await rejected(each.restore())
      expect(error.code).toBe(STOPPED)
      expect(error.message).toContain(`epoch ${each.id} cannot be restored`)
      expect(each.state).toBe('sealed')
    }
    expect([sortedIds(epoch), sortedIds(last)]).toEqual([[1, 2], [3]])
    expect(tracker.stats().unsettled).toEqual([0, 1])
    epoch.commit()
    last.commit()
    expect([epoch.state, last.state]).toEqual(['committed', 'committed'])
    await epoch.restore() // settled: nothing to do
    expect(tracker.stats().unsettled).toEqual([])
    expect(thrown(() => epoch.bigints).code).toBe('ERR_DIRTYRING_SETTLED')
  })

  it('lets a scope be left without an unhandled rejection, and the keys stay readable', async () => {
    const tracker = await openInline()
    tracker.openWriter().mark(1)
    const epoch = await tracker.advanceEpoch()
    await tracker.stop()
    epoch[Symbol.dispose]()
    await epoch[Symbol.asyncDispose]()
    await turns(3)
    expect([epoch.state, ...epoch.ids()]).toEqual(['sealed', 1])
  })

  it('passes on the error of a consume() whose epoch can no longer be restored', async () => {
    const tracker = await openInline()
    tracker.openWriter().mark(1)
    const error = new Error('the checkpoint failed')
    const consuming = tracker.consume(async () => {
      await tracker.stop()
      throw error
    })
    expect(await rejected(consuming)).toBe(error)
    expect(tracker.stats().unsettled).toEqual([0])
  })

  it.each([2, 8])(
    'loses nothing when an advanceEpoch() is aborted while it is under way, in a ring of %d',
    async (capacity) => {
      const { tracker, hand } = await openHeld({ capacity })
      tracker.openWriter().markMany([1])
      hand.run()
      const controller = new AbortController()
      const advance = tracker.advanceEpoch({ signal: controller.signal }).then(sortedIds, () => [])
      const stopping = tracker.stop({ graceMs: 0 })
      controller.abort()
      await until(() => !hand.run() && tracker.health().finished)
      const last = await stopping
      const delivered = [...(await advance), ...(last.exact ? last.ids() : [1])]
      // whatever is still pending is given up, and does not keep this process alive
      Atomics.store(hand.memory.words, FAILED, 1)
      expect(delivered).toEqual([1])
    },
  )

  it('close() after it never throws, with keys staged and without, and twice', async () => {
    const { tracker, hand } = await openHeld({ capacity: 2, batchSize: 1, onFull: 'reject' })
    const [staging, quiet] = [tracker.openWriter(), tracker.openWriter()]
    for (const id of range(0, 5)) staging.mark(id)
    const stopping = tracker.stop({ graceMs: 0 })
    await until(() => !hand.run() && tracker.health().finished)
    await stopping
    for (const writer of [staging, quiet, staging, quiet]) {
      writer.close()
      writer[Symbol.dispose]()
      expect(writer.closed).toBe(true)
    }
  })

  it('delivers what a writer had that was closed before it', async () => {
    const tracker = await openInline({ capacity: 2 })
    const writers = range(0, 5).map(() => tracker.openWriter())
    writers.forEach((writer, i) => writer.mark(i))
    for (const writer of writers) writer.close()
    const last = await tracker.stop()
    expect([last.exact, ...sortedIds(last)]).toEqual([true, 0, 1, 2, 3, 4])
  })

  it("with aggregator 'none' and no aggregator running, does the aggregator's work itself", async () => {
    const tracker = await openUnattended({ capacity: 4, epochSlots: 4 })
    const writer = tracker.openWriter()
    writer.markMany([1])
    const first = tracker.advanceEpoch()
    writer.markMany([2])
    expect(await isPending(first)).toBe(true)
    expect(tracker.health().state).toBe('absent')
    const last = await tracker.stop()
    expect([sortedIds(await first), sortedIds(last)]).toEqual([[1], [2]])
    expect(tracker.health()).toMatchObject({ finished: true, state: 'finished' })
  })

  it("with aggregator 'none' and an aggregator that went away, goes on where that one stopped", async () => {
    const { tracker, hand } = await openHeld({ capacity: 8 })
    const writer = tracker.openWriter()
    for (const id of range(0, 7)) writer.markMany([id])
    hand.run(3)
    hand.release()
    const last = await tracker.stop()
    expect([last.exact, ...sortedIds(last)]).toEqual([true, ...range(0, 7)])
    expect(tracker.stats().batches).toBe(7)
  })

  it("with aggregator 'none', waits for the aggregator that runs, and for its successor", async () => {
    const { tracker, hand } = await openHeld({ capacity: 4 })
    tracker.openWriter().markMany([1])
    const stopping = tracker.stop()
    await stopIsQueued()
    hand.run(2) // the batch, and the stop itself
    expect(await isPending(stopping)).toBe(true)
    hand.release()
    const successor = holdAggregator(tracker)
    successor.run()
    expect(sortedIds(await stopping)).toEqual([1])
  })

  it.each([2, 4, 64])('comes to its end wherever the ring of %d stands', async (capacity) => {
    for (const position of [...range(0, capacity > 8 ? 5 : capacity + 1), 2 ** 30 - 2]) {
      const tracker = await openInline({ capacity }, { position })
      tracker.openWriter().markMany([1, 2])
      expect(sortedIds(await tracker.stop())).toEqual([1, 2])
    }
  })
})

describe('after stop()', () => {
  it('stats() and health() tell how it ended', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.markMany([1, 2])
    ;(await tracker.advanceEpoch()).commit()
    writer.markMany([3])
    expect(tracker.health()).toMatchObject({
      finished: false,
      healthy: true,
      state: 'running',
      panics: 0,
      restarts: 0,
    })
    await tracker.stop()
    const health = tracker.health()
    expect(health).toMatchObject({
      finished: true,
      healthy: true,
      state: 'finished',
      panics: 0,
      restarts: 0,
    })
    expect(health.iterations).toBeGreaterThan(0)
    expect('lastError' in health).toBe(false)
    expect(tracker.stats()).toMatchObject({
      epoch: 1,
      sealed: 2,
      committed: 1,
      keys: 3,
      batches: 2,
      staged: 0,
      unsettled: [1],
      queued: 0,
    })
    expect(tracker.stats().writers[0]).toMatchObject({
      marked: 3,
      delivered: 3,
      inFlight: 0,
      staged: 0,
    })
  })
})

describe('leaving the scope of a tracker', () => {
  const dispose = async (tracker: DirtyTracker): Promise<unknown[]> => {
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    await tracker[Symbol.asyncDispose]()
    return warn.mock.calls.map(([message]) => message)
  }

  it('stops the tracker, and warns of keys in a last epoch that no code took', async () => {
    const tracker = await openInline()
    tracker.openWriter().markMany([1, 2, 3])
    expect(await dispose(tracker)).toEqual([
      'a tracker was disposed of with 3 keys in its last epoch. ' +
        'Call stop() before, and settle the epoch that it gives you',
    ])
    expect(tracker.health().finished).toBe(true)
  })

  it('warns also of a last epoch that is not exact', async () => {
    const tracker = await openInline({ maxKeysPerEpoch: 1 })
    tracker.openWriter().markMany([1, 2])
    expect(await dispose(tracker)).toHaveLength(1)
  })

  it('does not warn of keys that an epochs() loop deals with', async () => {
    const tracker = await openInline()
    const pending = tracker.epochs({ everyMs: 1_000_000 }).next()
    tracker.openWriter().markMany([1, 2, 3])
    expect(await dispose(tracker)).toEqual([])
    expect(sortedIds((await pending).value)).toEqual([1, 2, 3])
  })

  it('warns of keys that an epochs() loop would have dealt with, had it not been aborted', async () => {
    const tracker = await openInline()
    const controller = new AbortController()
    tracker.openWriter().mark(1)
    const { value: epoch } = await tracker.epochs({ everyMs: 0, signal: controller.signal }).next()
    epoch.commit()
    tracker.openWriter().mark(2)
    controller.abort()
    expect(await dispose(tracker)).toHaveLength(1)
  })

  it('does not warn when the last epoch is empty, or when stop() was called', async () => {
    const [empty, stopped] = [await openInline(), await openInline()]
    const writer = empty.openWriter()
    writer.mark(1)
    ;(await empty.advanceEpoch()).commit()
    expect(await dispose(empty)).toEqual([])
    stopped.openWriter().mark(1)
    const stopping = stopped.stop()
    expect(await dispose(stopped)).toEqual([])
    expect((await stopping).size).toBe(1)
  })
})
