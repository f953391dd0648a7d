import { describe, expect, it } from '@jest/globals'
import { fingerprint, type Key, type KeyList, TxnBuffer, type Writer } from '../../lib/index.js'
import { nameOf, openHeld, openInline, range, thrown, until } from '../support/in-process.js'
import { expectAccounts, take, takeIds } from '../support/writing.js'

describe('a mark, in every form', () => {
  const bytes = new Uint8Array([9, 8, 7])
  it.each<[string, (writer: Writer) => boolean, Key]>([
    ['an id', (writer) => writer.mark(42), 42n],
    ['the largest id', (writer) => writer.mark(2 ** 53 - 1), 2n ** 53n - 1n],
    ['an id above 2^32', (writer) => writer.mark(2 ** 32 + 7), 2n ** 32n + 7n],
    ['an id of 2^31', (writer) => writer.mark(2 ** 31), 2n ** 31n],
    ['minus zero', (writer) => writer.mark(-0), 0n],
    [
      'a bigint',
      (writer) => writer.mark(123456789012345678901n % 2n ** 64n),
      123456789012345678901n % 2n ** 64n,
    ],
    ['the largest bigint', (writer) => writer.mark(2n ** 64n - 1n), 2n ** 64n - 1n],
    [
      'a signed bigint, made unsigned',
      (writer) => writer.mark(BigInt.asUintN(64, -5n)),
      2n ** 64n - 5n,
    ],
    ['a string', (writer) => writer.mark('user:7'), 'user:7'],
    ['the empty string', (writer) => writer.mark(''), ''],
    ['bytes', (writer) => writer.mark(bytes), bytes],
    ['a Buffer', (writer) => writer.mark(Buffer.from(bytes)), bytes],
    ['a pair, uint32', (writer) => writer.markPair(0xfffffffe, 0x80000001), 0x80000001fffffffen],
    ['a pair, int32', (writer) => writer.markPair(-2, -0x7fffffff), 0x80000001fffffffen],
    [
      'a fingerprint',
      (writer) => writer.mark(fingerprint('a', { seed: 9 })),
      fingerprint('a', { seed: 9 }),
    ],
    [
      'a key with a seed',
      (writer) => writer.mark(fingerprint('a', { seed: 2 ** 32 - 1 })),
      fingerprint('a', { seed: 2 ** 32 - 1 }),
    ],
    [
      'a key of bytes with a seed',
      (writer) => writer.mark(fingerprint(bytes, { seed: 3 })),
      fingerprint(bytes, { seed: 3 }),
    ],
  ])('%s is stored, and comes back', async (_, mark, key) => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    expect(mark(writer)).toBe(true)
    const epoch = await tracker.advanceEpoch()
    expect([...epoch].map(nameOf)).toEqual([nameOf(key)])
    expect(epoch.has(key)).toBe(true)
  })

  const mixed: Key[] = [1, 2n, 'three', new Uint8Array([4]), 2 ** 40]
  const mixedKeys: Key[] = [1, 2, 2 ** 40, 'three', new Uint8Array([4])]
  it.each<[string, KeyList, Key[]]>([
    ['a BigUint64Array', new BigUint64Array([1n, 2n ** 64n - 1n, 0n]), [1n, 2n ** 64n - 1n, 0n]],
    ['a part of a BigUint64Array', new BigUint64Array([1n, 2n, 3n, 4n]).subarray(1, 3), [2n, 3n]],
    ['a BigInt64Array, as 64 bits', new BigInt64Array([1n, -1n]), [1n, 2n ** 64n - 1n]],
    [
      'a part of a BigInt64Array',
      new BigInt64Array([1n, -2n, 3n]).subarray(1),
      [2n ** 64n - 2n, 3n],
    ],
    ['a Uint32Array of ids', new Uint32Array([5, 2 ** 32 - 1]), [5n, 2n ** 32n - 1n]],
    ['an array of keys in every form', mixed, mixedKeys],
    ['a Set of keys', new Set(mixed), mixedKeys],
    ['shared memory', new BigUint64Array(new SharedArrayBuffer(16)).fill(6n), [6n]],
  ])('markMany() takes %s, and so does TxnBuffer', async (_, keys, expected) => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const takeNames = (): Promise<string[]> => tracker.consume((epoch) => Array.from(epoch, nameOf))
    expect(writer.markMany(keys)).toBe(true)
    expect(await takeNames()).toEqual(expected.map(nameOf))
    const txn = new TxnBuffer(1)
    txn.markMany(keys)
    expect(txn.flushTo(writer)).toBe(true)
    expect(await takeNames()).toEqual(expected.map(nameOf))
  })

  it('markPairs() takes pairs of either type, an epoch of another tracker for instance', async () => {
    const [tracker, other] = [await openInline(), await openInline()]
    const [writer, otherWriter] = [tracker.openWriter(), other.openWriter()]
    expect(writer.markPairs(new Int32Array([-1, 5]))).toBe(true)
    expect(writer.markPairs(new Uint32Array([3, 2 ** 31]))).toBe(true)
    const epoch = await tracker.advanceEpoch()
    expect([...epoch.bigints]).toEqual([0x5ffffffffn, 0x8000000000000003n])
    expect(otherWriter.markPairs(epoch.pairs)).toBe(true)
    epoch.commit()
    expect(await take(other)).toEqual([0x5ffffffffn, 0x8000000000000003n])
  })

  it('a text key means itself in every tracker; its fingerprint, of any seed, is another key', async () => {
    for (const tracker of [await openInline(), await openInline()]) {
      const writer = tracker.openWriter()
      const txn = new TxnBuffer(1)
      writer.mark('a')
      txn.mark('b')
      writer.mark(fingerprint('c', { seed: 1 }))
      txn.mark(fingerprint('d', { seed: 1 }))
      txn.flushTo(writer)
      const epoch = await tracker.advanceEpoch()
      expect(Array.from(epoch, nameOf).sort()).toEqual(
        ['a', 'b', fingerprint('c', { seed: 1 }), fingerprint('d', { seed: 1 })].map(nameOf).sort(),
      )
      expect(
        ['a', 'b', 'c', 'd'].map((key) => [
          epoch.has(key),
          epoch.has(fingerprint(key)),
          epoch.has(fingerprint(key, { seed: 1 })),
        ]),
      ).toEqual([
        [true, false, false],
        [true, false, false],
        [false, false, true],
        [false, false, true],
      ])
    }
  })

  it("a Uint32Array's values are ids, each one key: an epoch's pairs go through markPairs(), or other keys would be marked", async () => {
    const [tracker, other] = [await openInline(), await openInline()]
    tracker.openWriter().markMany([7, 2 ** 32 + 8])
    const pairs = (await tracker.advanceEpoch()).pairs.slice()
    expect([...pairs]).toEqual([7, 0, 8, 1])
    const writer = other.openWriter()
    writer.markMany(pairs)
    expect(await take(other)).toEqual([7n, 0n, 8n, 1n])
    writer.markPairs(pairs)
    expect(await take(other)).toEqual([7n, 2n ** 32n + 8n])
  })

  it.each<[string, number, number, string]>([
    ['2^33 + 7', 2 ** 33 + 7, 0, 'low'],
    ['2^32', 0, 2 ** 32, 'high'],
    ['-2^31 - 1', -(2 ** 31) - 1, 0, 'low'],
    ['NaN', NaN, 0, 'low'],
    ['1.5', 0, 1.5, 'high'],
    ['Infinity', 0, -Infinity, 'high'],
  ])('C11: half a pair is a whole number of 32 bits, not %s', async (_, low, high, name) => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const txn = new TxnBuffer()
    const epoch = await tracker.advanceEpoch()
    const error = { name: 'RangeError', code: 'ERR_DIRTYRING_OUT_OF_RANGE' }
    for (const call of [
      () => writer.markPair(low, high),
      () => txn.markPair(low, high),
      () => epoch.hasPair(low, high),
    ]) {
      expect(thrown(call)).toMatchObject(error)
      expect(thrown(call).message).toContain(
        `"${name}" must be a whole number from -2^31 to 2^32-1`,
      )
    }
    expect([writer.staged, txn.size]).toEqual([0, 0])
  })

  it('one key is one argument: what follows is ignored', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const txn = new TxnBuffer()
    ;[100, 200, 300].forEach(writer.mark, writer)
    ;['a', 'b'].forEach(txn.mark, txn)
    new Map([['x', 400]]).forEach(writer.mark, writer)
    ;(writer.mark as (...keys: unknown[]) => boolean)('users', 7)
    txn.flushTo(writer)
    const epoch = await tracker.advanceEpoch()
    const expected = [100, 200, 300, 400, 'users', 'a', 'b']
    expect(expected.filter(epoch.has, epoch)).toEqual(expected)
    expect([1, 2, 7].filter(epoch.has, epoch)).toEqual([])
    expect([epoch.size, epoch.hasPair(0, 7)]).toEqual([7, false])
  })

  it('an empty list is true, and no batch', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    for (const empty of [
      [],
      new Set<Key>(),
      new BigUint64Array(0),
      new BigInt64Array(0),
      new Uint32Array(0),
    ]) {
      expect(writer.markMany(empty)).toBe(true)
    }
    expect(writer.markPairs(new Uint32Array(0))).toBe(true)
    await tracker.drained()
    expect(tracker.stats()).toMatchObject({ batches: 0, tokens: 0, queued: 0 })
    writer.mark(1)
    expect(writer.markMany([])).toBe(true)
    expect(writer.staged).toBe(1)
  })

  it('more keys than laneCapacity are a RangeError that names both, and nothing is marked', async () => {
    const tracker = await openInline({ laneCapacity: 16, batchSize: 16 })
    const writer = tracker.openWriter()
    writer.mark(1)
    for (const tooMany of [
      () => writer.markMany(range(0, 17)),
      () => writer.markPairs(new Uint32Array(34)),
    ]) {
      const error = thrown(tooMany)
      expect(error).toMatchObject({ name: 'RangeError', code: 'ERR_DIRTYRING_OUT_OF_RANGE' })
      expect(error.message).toMatch(/at most 16 keys \(laneCapacity\), got 17/)
    }
    expect(writer.staged).toBe(1)
    expectAccounts(tracker, 1)
    expect(await take(tracker)).toEqual([1n])
    expect(writer.markMany(range(0, 16))).toBe(true)
    expect(await takeIds(tracker)).toEqual(range(0, 16))
  })
})

describe('publishing', () => {
  it('a full batch is published without a further call', async () => {
    const tracker = await openInline({ batchSize: 5 })
    const writer = tracker.openWriter()
    const staged: number[] = []
    for (const id of range(0, 12)) {
      writer.mark(id)
      staged.push(writer.staged)
    }
    expect(staged).toEqual([1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2])
    expect(tracker.stats().writers[0]).toMatchObject({
      batches: 2,
      published: 10,
      staged: 2,
      marked: 12,
    })
  })

  it('with a batch size of 1 every mark is published', async () => {
    const tracker = await openInline({ batchSize: 1 })
    const writer = tracker.openWriter()
    for (const id of range(0, 10)) {
      writer.mark(id)
      expect(writer.staged).toBe(0)
    }
    expect(tracker.stats().writers[0].batches).toBe(10)
  })

  it('flush() publishes what was marked, as one batch', async () => {
    const { tracker, hand } = await openHeld()
    const writer = tracker.openWriter()
    for (const id of range(0, 7)) writer.mark(id)
    expect(tracker.stats()).toMatchObject({ queued: 0, staged: 7 })
    expect(writer.flush()).toBe(true)
    expect(tracker.stats()).toMatchObject({ queued: 1, staged: 0 })
    expect(writer.flush()).toBe(true) // nothing staged: no batch
    hand.run()
    expect(tracker.stats()).toMatchObject({ queued: 0, batches: 1, keys: 7, distinct: 7 })
  })

  it('markMany() publishes at once what is staged, and itself, as one batch', async () => {
    const { tracker, hand } = await openHeld()
    const writer = tracker.openWriter()
    writer.mark(1)
    writer.markMany([2, 3])
    expect(writer.staged).toBe(0)
    hand.run()
    expect(tracker.stats()).toMatchObject({ batches: 1, keys: 3 })
  })

  it('markMany() publishes what is staged ahead of itself, if both do not fit', async () => {
    const { tracker, hand } = await openHeld({ laneCapacity: 8, batchSize: 8, onFull: 'reject' })
    const writer = tracker.openWriter()
    for (const id of range(0, 4)) writer.mark(id)
    expect(writer.markMany(range(10, 8))).toBe(false)
    expect(writer.staged).toBe(0)
    hand.run()
    expect(writer.markMany(range(10, 8))).toBe(true)
    hand.run()
    expect(tracker.stats()).toMatchObject({ batches: 2, keys: 12 })
    expectAccounts(tracker, 20)
  })

  it('a staged key is published after flushIntervalMs, again and again', async () => {
    const tracker = await openInline({ flushIntervalMs: 1 })
    const [a, b] = [tracker.openWriter(), tracker.openWriter()]
    for (const id of range(0, 5)) {
      a.mark(id)
      if (id % 2 === 0) b.mark(100 + id)
      expect(a.staged).toBe(1)
      await until(() => a.staged === 0 && b.staged === 0)
    }
    await until(() => tracker.stats().distinct === 8)
  })

  it('a flushIntervalMs of 0 is never', async () => {
    const [never, soon] = [
      await openInline({ flushIntervalMs: 0 }),
      await openInline({ flushIntervalMs: 1 }),
    ]
    const [patient, hasty] = [never.openWriter(), soon.openWriter()]
    patient.mark(1)
    for (const id of range(0, 3)) {
      hasty.mark(id)
      await until(() => hasty.staged === 0)
    }
    expect(patient.staged).toBe(1)
  })

  it('the interval tries again while the ring is full, and cares for other trackers of the thread meanwhile', async () => {
    const { tracker, hand } = await openHeld({ capacity: 2, batchSize: 1, flushIntervalMs: 1 })
    const other = await openInline({ flushIntervalMs: 1 })
    const stopped = await openInline({ flushIntervalMs: 1 })
    const [writer, otherWriter] = [tracker.openWriter(), other.openWriter()]
    stopped.openWriter().mark(1)
    await stopped.stop()
    for (const id of range(0, 5)) writer.mark(id)
    expect(writer.staged).toBe(3)
    otherWriter.mark(1)
    await until(() => otherWriter.staged === 0)
    expect(writer.staged).toBe(3)
    hand.run()
    await until(() => writer.staged === 0)
    hand.run()
    expect(tracker.stats()).toMatchObject({ batches: 3, keys: 5 })
  })
})

describe('tagTxn()', () => {
  it('publishes what was staged for another transaction, and nothing for the same one', async () => {
    const { tracker, hand } = await openHeld()
    const writer = tracker.openWriter()
    writer.tagTxn(1)
    writer.mark(1)
    writer.tagTxn(1)
    writer.mark(2)
    expect(writer.staged).toBe(2)
    writer.tagTxn(2n)
    expect(writer.staged).toBe(0)
    writer.mark(3)
    writer.tagTxn(3)
    writer.tagTxn(4)
    hand.run()
    expect(tracker.stats()).toMatchObject({ batches: 2, keys: 3 })
  })

  it('publishes what was staged before the first transaction', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    writer.tagTxn(0)
    expect(writer.staged).toBe(0)
  })

  it('makes nothing atomic: a full batch is published within a transaction too', async () => {
    const tracker = await openInline({ batchSize: 2 })
    const writer = tracker.openWriter()
    writer.tagTxn(1)
    for (const id of range(0, 5)) writer.mark(id)
    expect(writer.staged).toBe(1)
  })

  it('leaves the keys staged when the ring is full, and loses none', async () => {
    const { tracker, hand } = await openHeld({ capacity: 2, onFull: 'reject' })
    const writer = tracker.openWriter()
    for (const id of range(0, 5)) {
      writer.tagTxn(id)
      writer.mark(id)
    }
    expect(writer.staged).toBe(3)
    hand.run()
    writer.tagTxn(5)
    expect(writer.staged).toBe(0)
    hand.run()
    expect(tracker.stats()).toMatchObject({ distinct: 5, batches: 3 })
  })
})
