import { describe, expect, it } from '@jest/globals'
import { fingerprint, TxnBuffer } from '../../lib/index.js'
import { openHeld, openInline, range, sortedIds, thrown, turns } from '../support/in-process.js'
import { take, expectAccounts } from '../support/writing.js'

describe('TxnBuffer', () => {
  it('gathers keys in order, repetitions included, and publishes them as one batch', async () => {
    const { tracker, hand } = await openHeld({ batchSize: 2 })
    const writer = tracker.openWriter()
    const txn = new TxnBuffer(7n)
    expect([txn.txnId, txn.size, txn.isEmpty]).toEqual([7n, 0, true])
    txn.record(3)
    txn.record(1n)
    txn.record('a')
    txn.record(new Uint8Array([1]))
    txn.record(5, 6)
    txn.record(0)
    txn.recordLanes(-1, 2 ** 32 + 1)
    txn.recordKey('a', 9)
    txn.recordKey('a')
    txn.recordMany([3, 4n])
    expect([txn.size, txn.isEmpty, writer.staged]).toEqual([11, false, 0])
    expect(tracker.stats().queued).toBe(0)
    expect(txn.flushTo(writer)).toBe(true)
    expect([txn.size, txn.isEmpty, writer.staged]).toEqual([0, true, 0])
    expect(tracker.stats().queued).toBe(1)
    const pending = tracker.advanceEpoch()
    hand.run()
    const expected = [
      3n,
      1n,
      fingerprint('a'),
      fingerprint(new Uint8Array([1])),
      0x600000005n,
      0n,
      0x1ffffffffn,
      fingerprint('a', 9),
      4n,
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
    txn.record(2)
    expect(txn.flushTo(writer)).toBe(true)
    hand.run()
    expect(tracker.stats()).toMatchObject({ batches: 1, keys: 2 })
  })

  it('drain() gives the keys, as a copy, and empties the buffer', () => {
    const txn = new TxnBuffer(1)
    txn.recordMany([5, 0, 5])
    const keys = txn.drain()
    expect(Object.prototype.toString.call(keys)).toBe('[object BigUint64Array]')
    expect([...keys]).toEqual([5n, 0n, 5n])
    expect([txn.size, txn.isEmpty, txn.drain().length]).toEqual([0, true, 0])
    txn.record(6)
    expect([...keys]).toEqual([5n, 0n, 5n])
    expect([...txn.drain()]).toEqual([6n])
  })

  it('clear() forgets the keys', async () => {
    const tracker = await openInline()
    const txn = new TxnBuffer(1)
    txn.recordMany(range(0, 100))
    txn.clear()
    expect([txn.size, txn.isEmpty]).toEqual([0, true])
    txn.record(7)
    txn.flushTo(tracker.openWriter())
    expect(await take(tracker)).toEqual([7n])
  })

  it('grows from any expected size', () => {
    for (const expectedKeys of [0, 1, 3, 16, 1000]) {
      const txn = new TxnBuffer(1, expectedKeys)
      for (const id of range(0, 40)) txn.record(id)
      txn.recordMany(range(40, 700))
      for (const id of range(740, 60)) txn.recordLanes(id, 0)
      expect([...txn.drain()]).toEqual(range(0, 800).map(BigInt))
    }
  })

  it('keeps its keys when it is refused, and gives them when there is room', async () => {
    const { tracker, hand } = await openHeld({ laneCapacity: 8, onFull: 'reject' })
    const writer = tracker.openWriter()
    writer.markMany(range(0, 6))
    const txn = new TxnBuffer(1)
    txn.recordMany([10, 11, 12])
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
    txn.recordMany(range(0, 5))
    expect(thrown(() => txn.flushTo(writer))).toMatchObject({
      name: 'RangeError',
      code: 'ERR_DIRTYRING_OUT_OF_RANGE',
    })
    expect(txn.size).toBe(5)
    txn.clear()
    writer.markMany([1])
    txn.recordMany(range(0, 4))
    expect(thrown(() => txn.flushTo(writer)).code).toBe('ERR_DIRTYRING_STALLED')
    expect(txn.size).toBe(4)
    const closed = tracker.openWriter()
    closed.close()
    expect(thrown(() => txn.flushTo(closed)).code).toBe('ERR_DIRTYRING_CLOSED')
    hand.release()
    await tracker.stop()
    expect(thrown(() => txn.flushTo(writer)).code).toBe('ERR_DIRTYRING_STOPPED')
    expect([...txn.drain()]).toEqual([0n, 1n, 2n, 3n])
  })

  it('records nothing of a list of which one is no key', () => {
    const txn = new TxnBuffer(1)
    txn.record(1)
    expect(thrown(() => txn.recordMany([2, 3, -1])).message).toContain('keys[2]')
    expect(thrown(() => txn.record(1.5)).code).toBe('ERR_DIRTYRING_OUT_OF_RANGE')
    expect(thrown(() => txn.record({} as never)).code).toBe('ERR_DIRTYRING_INVALID_ARG')
    expect(thrown(() => txn.recordKey('a', -1)).code).toBe('ERR_DIRTYRING_OUT_OF_RANGE')
    expect(thrown(() => txn.recordKey(5 as never)).code).toBe('ERR_DIRTYRING_INVALID_ARG')
    expect([...txn.drain()]).toEqual([1n])
  })

  it('may go to any number of writers and trackers, one after the other', async () => {
    const [a, b] = [await openInline(), await openInline()]
    const [writerA, writerB] = [a.openWriter(), b.openWriter()]
    const txn = new TxnBuffer(1)
    txn.record(1)
    txn.flushTo(writerA)
    txn.record(2)
    txn.flushTo(writerB)
    await turns(1)
    expect([await take(a), await take(b)]).toEqual([[1n], [2n]])
  })
})
