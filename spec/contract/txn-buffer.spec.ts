import { describe, expect, it } from '@jest/globals'
import { fingerprint, TxnBuffer } from '../../lib/index.js'
import { expectError, INVALID_ARG } from '../support/bad-input.js'
import { openHeld, openInline, range, sortedIds, thrown, turns } from '../support/in-process.js'
import { expectAccounts, take } from '../support/writing.js'

describe('TxnBuffer', () => {
  it('gathers keys in order, repetitions included, and publishes them as one batch', async () => {
    const { tracker, hand } = await openHeld({ batchSize: 2 })
    const writer = tracker.openWriter()
    const txn = new TxnBuffer(7n)
    expect([txn.txnId, txn.size]).toEqual([7n, 0])
    txn.mark(3)
    txn.mark(1n)
    txn.mark('a')
    txn.mark(new Uint8Array([1]))
    txn.markPair(5, 6)
    txn.mark(0)
    txn.markPair(-1, 1)
    txn.mark(fingerprint('a', { seed: 9 }))
    txn.mark('a')
    txn.markMany([3, 4n])
    expect([txn.size, writer.staged]).toEqual([11, 0])
    expect(tracker.stats().queued).toBe(0)
    expect(txn.flushTo(writer)).toBe(true)
    expect([txn.size, writer.staged]).toEqual([0, 0])
    expect(tracker.stats().queued).toBe(1)
    const pending = tracker.advanceEpoch()
    hand.run()
    const expected = [
      3,
      1,
      0x600000005,
      0,
      0x1ffffffff,
      fingerprint('a', { seed: 9 }),
      4,
      'a',
      Uint8Array.of(1),
    ]
    expect([...(await pending)]).toEqual(expected)
    expect(tracker.stats()).toMatchObject({ batches: 1, keys: 11 })
  })

  it('flushes together with what its writer has staged, and an empty one is true and no batch', async () => {
    const { tracker, hand } = await openHeld()
    const writer = tracker.openWriter()
    const txn = new TxnBuffer(1)
    writer.mark(1)
    expect(txn.flushTo(writer)).toBe(true)
    expect(writer.staged).toBe(1)
    txn.mark(2)
    expect(txn.flushTo(writer)).toBe(true)
    hand.run()
    expect(tracker.stats()).toMatchObject({ batches: 1, keys: 2 })
  })

  it('drain() gives the keys, as a copy, and empties the buffer', () => {
    const txn = new TxnBuffer(1)
    txn.markMany([5, 0, 5])
    const keys = txn.drain()
    expect(keys).toEqual([5, 0, 5])
    expect([txn.size, txn.drain()]).toEqual([0, []])
    txn.mark(2n ** 53n)
    txn.mark(2 ** 53 - 1)
    expect(keys).toEqual([5, 0, 5])
    expect(txn.drain()).toEqual([2n ** 53n, 2 ** 53 - 1])
  })

  it('has() and the iterator know what was marked since, and forget what has left', async () => {
    const tracker = await openInline({ laneCapacity: 16, batchSize: 16, onFull: 'reject' })
    const writer = tracker.openWriter()
    const txn = new TxnBuffer()
    expect([txn.txnId, txn.has(1)]).toEqual([0, false])
    for (const id of [1, 2]) {
      txn.mark(id)
      expect([txn.has(id), txn.has(id + 1)]).toEqual([true, false])
    }
    txn.markPairs(Uint32Array.of(7, 2))
    expect([txn.has((2n << 32n) | 7n), [...txn]]).toEqual([true, [1, 2, 2 ** 33 + 7]])
    for (const empty of [
      () => txn.clear(),
      () => txn.reset(),
      () => txn.drain(),
      () => txn.flushTo(writer),
    ]) {
      txn.mark(5)
      expect(txn.has(5)).toBe(true)
      empty()
      expect([txn.has(5), [...txn]]).toEqual([false, []])
    }
    expect(() => txn.has(-1)).toThrow(RangeError)
    expect(() => txn.has({} as never)).toThrow(TypeError)
  })

  it('clear() forgets the keys', async () => {
    const tracker = await openInline()
    const txn = new TxnBuffer(1)
    txn.markMany(range(0, 100))
    txn.clear()
    expect(txn.size).toBe(0)
    txn.mark(7)
    txn.flushTo(tracker.openWriter())
    expect(await take(tracker)).toEqual([7n])
  })

  it('grows from any expected size', () => {
    for (const expectedKeys of [0, 1, 3, 16, 1000]) {
      const txn = new TxnBuffer(1, expectedKeys)
      for (const id of range(0, 40)) txn.mark(id)
      txn.markMany(range(40, 700))
      for (const id of range(740, 60)) txn.markPair(id, 0)
      expect([...txn.drain()]).toEqual(range(0, 800))
    }
  })

  it('keeps its keys when it is refused, and gives them when there is room', async () => {
    const { tracker, hand } = await openHeld({ laneCapacity: 8, onFull: 'reject' })
    const writer = tracker.openWriter()
    writer.markMany(range(0, 6))
    const txn = new TxnBuffer(1)
    txn.markMany([10, 11, 12])
    expect(txn.flushTo(writer)).toBe(false)
    expect(txn.size).toBe(3)
    hand.run()
    expect(txn.flushTo(writer)).toBe(true)
    const pending = tracker.advanceEpoch()
    hand.run()
    expect(sortedIds(await pending)).toEqual([...range(0, 6), 10, 11, 12])
    expectAccounts(tracker, 12)
  })

  it('keeps its keys when it throws: beyond laneCapacity, stalled, closed or stopped', async () => {
    const { tracker, hand } = await openHeld({ laneCapacity: 4, maxWaitMs: 5 })
    const writer = tracker.openWriter()
    const txn = new TxnBuffer(1)
    txn.markMany(range(0, 5))
    expect(thrown(() => txn.flushTo(writer))).toMatchObject({
      name: 'RangeError',
      code: 'ERR_DIRTYRING_OUT_OF_RANGE',
    })
    expect(txn.size).toBe(5)
    txn.clear()
    writer.markMany([1])
    txn.markMany(range(0, 4))
    expect(thrown(() => txn.flushTo(writer)).code).toBe('ERR_DIRTYRING_STALLED')
    expect(txn.size).toBe(4)
    const closed = tracker.openWriter()
    closed.close()
    expect(thrown(() => txn.flushTo(closed)).code).toBe('ERR_DIRTYRING_CLOSED')
    hand.release()
    await tracker.stop()
    expect(thrown(() => txn.flushTo(writer)).code).toBe('ERR_DIRTYRING_STOPPED')
    expect(txn.drain()).toEqual([0, 1, 2, 3])
  })

  it('marks nothing of a list in which one value is not a key', () => {
    const txn = new TxnBuffer(1)
    txn.mark(1)
    expect(thrown(() => txn.markMany([2, 3, -1])).message).toContain('keys[2]')
    expect(thrown(() => txn.mark(1.5)).code).toBe('ERR_DIRTYRING_OUT_OF_RANGE')
    expect(thrown(() => txn.mark({} as never)).code).toBe('ERR_DIRTYRING_INVALID_ARG')
    expect(thrown(() => txn.mark(fingerprint('a', { seed: -1 }))).code).toBe(
      'ERR_DIRTYRING_OUT_OF_RANGE',
    )
    expect(thrown(() => txn.markPairs(new Uint32Array(3))).code).toBe('ERR_DIRTYRING_OUT_OF_RANGE')
    expect(txn.drain()).toEqual([1])
  })

  it('may go to any number of writers and trackers, one after the other', async () => {
    const [a, b] = [await openInline(), await openInline()]
    const [writerA, writerB] = [a.openWriter(), b.openWriter()]
    const txn = new TxnBuffer(1)
    txn.mark(1)
    txn.flushTo(writerA)
    txn.mark(2)
    txn.flushTo(writerB)
    await turns(1)
    expect([await take(a), await take(b)]).toEqual([[1n], [2n]])
  })

  it('refuses to flush to itself, and keeps the keys', () => {
    const txn = new TxnBuffer()
    txn.markMany([1, 2])
    const error = thrown(() => txn.flushTo(txn as never))
    expect(error.code).toBe('ERR_DIRTYRING_INVALID_ARG')
    expect(error.message).toBe('"writer" must be a Writer, got an instance of TxnBuffer')
    expect([...txn]).toEqual([1, 2])
  })

  it('refuses to flush into another TxnBuffer, which publishes nothing, and keeps the keys', () => {
    const [txn, other] = [new TxnBuffer(), new TxnBuffer()]
    txn.markMany([1, 2])
    for (const atomic of [true, false]) {
      const error = thrown(() => txn.flushTo(other as never, { atomic }))
      expectError(error, INVALID_ARG, '"writer" must be a Writer, got an instance of TxnBuffer')
    }
    expect([[...txn], [...other]]).toEqual([[1, 2], []])
  })

  it('ends when what it flushes to marks in the same buffer, and keeps those keys', () => {
    const txn = new TxnBuffer()
    txn.markMany([1, 2])
    const other = {
      markPairs: (pairs: Int32Array) => txn.markPairs(pairs.map((half) => half * 10)),
    }
    expect(txn.flushTo(other as never)).toBe(false)
    expect([...txn]).toEqual([10, 20])
  })
})
