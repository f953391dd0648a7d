import { Worker } from 'node:worker_threads'
import { describe, expect, it, jest } from '@jest/globals'
import {
  fingerprint,
  openWriter,
  runAggregator,
  TxnBuffer,
  type DirtyTracker,
  type Key,
  type KeyList,
  type Writer,
} from '../../lib/index.js'
import { FAILED, LANE_ATTN, laneAt } from '../../lib/memory/map.js'
import { attachMemory } from '../../lib/memory/memory.js'
import {
  isPending,
  nearTheEndOfTheStack,
  openHeld,
  openInline,
  openUnattended,
  range,
  rejected,
  seeded,
  sortedIds,
  sortedListed,
  thrown,
  turns,
  until,
} from '../support/in-process.js'

/** Seal, read the keys, commit. */
async function take(tracker: DirtyTracker): Promise<bigint[]> {
  const epoch = await tracker.advanceEpoch()
  expect(epoch.exact).toBe(true)
  const keys = [...epoch.bigints]
  epoch.commit()
  return keys
}

async function takeIds(tracker: DirtyTracker): Promise<number[]> {
  const epoch = await tracker.advanceEpoch()
  expect(epoch.exact).toBe(true)
  const ids = sortedIds(epoch)
  epoch.commit()
  return ids
}

/** Everything that a held aggregator can do is done, and the tracker has seen it. */
async function drain(tracker: DirtyTracker, hand: { run(): boolean }): Promise<void> {
  const drained = tracker.drained()
  hand.run()
  await drained
}

/** C12, at a quiet moment. */
function expectAccounts(tracker: DirtyTracker, offered?: number): void {
  const { writers } = tracker.stats()
  for (const {
    marked,
    delivered,
    inFlight,
    staged,
    suppressed,
    rejected: refused,
    published,
  } of writers) {
    expect(marked).toBe(delivered + inFlight + staged + suppressed + refused)
    expect(published).toBe(delivered + inFlight)
  }
  if (offered !== undefined)
    expect(writers.reduce((sum, { marked }) => sum + marked, 0)).toBe(offered)
}

describe('a mark, in every form', () => {
  const bytes = new Uint8Array([9, 8, 7])
  it.each<[string, (writer: Writer) => boolean, bigint]>([
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
    ['a string', (writer) => writer.mark('user:7'), fingerprint('user:7')],
    ['the empty string', (writer) => writer.mark(''), fingerprint('')],
    ['bytes', (writer) => writer.mark(bytes), fingerprint(bytes)],
    ['a Buffer', (writer) => writer.mark(Buffer.from(bytes)), fingerprint(bytes)],
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
    expect([...epoch.bigints]).toEqual([key])
    expect(epoch.has(key)).toBe(true)
  })

  const mixed: Key[] = [1, 2n, 'three', new Uint8Array([4]), 2 ** 40]
  const mixedKeys = [1n, 2n, fingerprint('three'), fingerprint(new Uint8Array([4])), 2n ** 40n]
  it.each<[string, KeyList, bigint[]]>([
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
    expect(writer.markMany(keys)).toBe(true)
    expect(await take(tracker)).toEqual(expected)
    const txn = new TxnBuffer(1)
    txn.markMany(keys)
    expect(txn.flushTo(writer)).toBe(true)
    expect(await take(tracker)).toEqual(expected)
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

  it('a text key means fingerprint(key) with seed 0 in every tracker; another seed is a namespace', async () => {
    for (const tracker of [await openInline(), await openInline()]) {
      const writer = tracker.openWriter()
      const txn = new TxnBuffer(1)
      writer.mark('a')
      txn.mark('b')
      writer.mark(fingerprint('c', { seed: 1 }))
      txn.mark(fingerprint('d', { seed: 1 }))
      txn.flushTo(writer)
      const epoch = await tracker.advanceEpoch()
      expect(new Set(epoch.bigints)).toEqual(
        new Set([
          fingerprint('a', { seed: 0 }),
          fingerprint('b', { seed: 0 }),
          fingerprint('c', { seed: 1 }),
          fingerprint('d', { seed: 1 }),
        ]),
      )
      expect(
        ['a', 'b', 'c', 'd'].map((key) => [
          epoch.has(key),
          epoch.has(fingerprint(key, { seed: 1 })),
        ]),
      ).toEqual([
        [true, false],
        [true, false],
        [false, true],
        [false, true],
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
      expect(thrown(call).message).toContain(`"${name}" expected a whole number, -2^31 to 2^32-1`)
    }
    expect([writer.staged, txn.size]).toEqual([0, 0])
  })

  it('one key is one argument: what follows is ignored', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const txn = new TxnBuffer()
    ;[100, 200, 300].forEach(writer.mark, writer)
    ;['a', 'b'].forEach(txn.mark, txn)
    new Map([['x', 400]]).forEach(writer.mark as never, writer)
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
    expect(tracker.stats()).toMatchObject({ batches: 0, events: 0, queued: 0 })
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
  it('a full batch publishes itself: the batch size is not only the size of a buffer', async () => {
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

describe('begin()', () => {
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

describe('back-pressure', () => {
  it('C6: a full ring is no failure: marks are stored, and batches grow', async () => {
    const { tracker, hand } = await openHeld({
      capacity: 2,
      batchSize: 1,
      laneCapacity: 16,
      onFull: 'reject',
    })
    const writer = tracker.openWriter()
    for (const id of range(0, 10)) expect(writer.mark(id)).toBe(true)
    expect(writer.staged).toBe(8)
    expect(writer.flush()).toBe(false)
    hand.run(1)
    expect(writer.mark(10)).toBe(true)
    expect(writer.staged).toBe(0)
    hand.run()
    expect(tracker.stats()).toMatchObject({ batches: 3, keys: 11, distinct: 11 })
    expect(tracker.stats().writers[0]).toMatchObject({ batches: 3, rejected: 0, waits: 0 })
    expectAccounts(tracker, 11)
  })

  it('a full ring is tried again every batchSize keys', async () => {
    const { tracker, hand } = await openHeld({
      capacity: 2,
      batchSize: 4,
      laneCapacity: 64,
      onFull: 'reject',
    })
    const writer = tracker.openWriter()
    for (const id of range(0, 12)) writer.mark(id)
    expect(writer.staged).toBe(4)
    hand.run()
    for (const id of range(12, 3)) writer.mark(id)
    expect(writer.staged).toBe(7)
    writer.mark(15)
    expect(writer.staged).toBe(0)
    hand.run()
    expect(tracker.stats()).toMatchObject({ batches: 3, keys: 16 })
  })

  it('C6: onFull reject: a mark that finds the lane full is false, and nothing of it is stored', async () => {
    const { tracker, hand } = await openHeld({
      capacity: 4,
      batchSize: 2,
      laneCapacity: 4,
      onFull: 'reject',
    })
    const writer = tracker.openWriter()
    expect(range(0, 6).map((id) => writer.mark(id))).toEqual([true, true, true, true, false, false])
    expect([writer.markPair(6, 0), writer.mark('x'), writer.mark(7n), writer.mark('y')]).toEqual([
      false,
      false,
      false,
      false,
    ])
    expect([writer.markMany([8]), writer.markPairs(new Uint32Array([9, 0]))]).toEqual([
      false,
      false,
    ])
    expect(writer.markMany([])).toBe(true)
    expect(tracker.stats().writers[0]).toMatchObject({
      marked: 12,
      rejected: 8,
      inFlight: 4,
      staged: 0,
      waits: 0,
    })
    hand.run()
    expect(writer.mark(10)).toBe(true)
    writer.flush()
    hand.run()
    expect(tracker.stats().distinct).toBe(5)
    expectAccounts(tracker, 13)
    const pending = tracker.advanceEpoch()
    hand.run()
    expect(sortedIds(await pending)).toEqual([0, 1, 2, 3, 10])
  })

  it('C6: markMany() is all or nothing', async () => {
    const { tracker, hand } = await openHeld({ laneCapacity: 8, onFull: 'reject' })
    const writer = tracker.openWriter()
    expect(writer.markMany(range(0, 5))).toBe(true)
    expect(writer.markMany(range(10, 4))).toBe(false)
    expect(writer.markMany(range(20, 3))).toBe(true)
    expect(writer.markMany([30])).toBe(false)
    hand.run()
    const pending = tracker.advanceEpoch()
    hand.run()
    expect(sortedIds(await pending)).toEqual([0, 1, 2, 3, 4, 20, 21, 22])
    expect(tracker.stats().writers[0]).toMatchObject({ marked: 13, rejected: 5, delivered: 8 })
    expectAccounts(tracker, 13)
  })

  it('C10: onFull wait: a mark that nobody makes room for throws ERR_DIRTYRING_STALLED, and nothing is stored', async () => {
    const { tracker, hand } = await openHeld({ laneCapacity: 4, batchSize: 4, maxWaitMs: 5 })
    const writer = tracker.openWriter()
    writer.markMany([0, 1])
    writer.mark(2)
    writer.mark(3)
    for (const [offered, act] of [
      [1, () => writer.mark(4)],
      [1, () => writer.mark('x')],
      [2, () => writer.markMany([5, 6])],
    ] as const) {
      const error = thrown(act)
      expect(error.code).toBe('ERR_DIRTYRING_STALLED')
      expect(error.message).toMatch(
        new RegExp(
          `writer 0: no room for ${offered} keys in its lane of 4: waited 5 ms \\(maxWaitMs\\)`,
        ),
      )
    }
    expect(tracker.stats().writers[0]).toMatchObject({ marked: 8, rejected: 4, waits: 3 })
    expect(tracker.stats().writers[0].waitMs).toBeGreaterThan(0)
    expectAccounts(tracker, 8)
    hand.run()
    expect(writer.mark(7)).toBe(true)
    const pending = tracker.advanceEpoch()
    hand.run()
    expect(sortedIds(await pending)).toEqual([0, 1, 2, 3, 7])
  })

  it('C10: flush() throws it when the ring stays full, and the keys stay staged', async () => {
    const { tracker, hand } = await openHeld({ capacity: 2, batchSize: 1, maxWaitMs: 5 })
    const writer = tracker.openWriter()
    for (const id of range(0, 4)) writer.mark(id)
    const error = thrown(() => writer.flush())
    expect(error.code).toBe('ERR_DIRTYRING_STALLED')
    expect(error.message).toMatch(/slot in the ring: waited 5 ms/)
    expect(writer.staged).toBe(2)
    hand.run()
    expect(writer.flush()).toBe(true)
    await drain(tracker, hand)
    expect(tracker.stats().distinct).toBe(4)
  })

  it('C10: a maxWaitMs of 0 does not wait', async () => {
    const { tracker } = await openHeld({ laneCapacity: 1, maxWaitMs: 0 })
    const writer = tracker.openWriter()
    writer.mark(1)
    expect(thrown(() => writer.mark(2)).code).toBe('ERR_DIRTYRING_STALLED')
  })

  it("C10: the tracker's own thread stops waiting when the aggregator shows no progress, long before maxWaitMs", async () => {
    const { tracker } = await openHeld({ laneCapacity: 1, maxWaitMs: 2 ** 31 - 1 })
    const writer = tracker.openWriter()
    writer.mark(1)
    const error = thrown(() => writer.mark(2))
    expect(error.code).toBe('ERR_DIRTYRING_STALLED')
    expect(error.message).toContain('no progress')
  })

  it.each<[string, (writer: Writer) => unknown]>([
    ['markMany()', (writer) => writer.markMany([1, 2])],
    ['flush()', (writer) => writer.flush()],
    ['batch()', (writer) => writer.batch(() => writer.mark(1))],
  ])('C10: so it does in %s', async (_, act) => {
    const { tracker } = await openHeld({
      capacity: 2,
      batchSize: 1,
      laneCapacity: 4,
      maxWaitMs: 2 ** 31 - 1,
    })
    const writer = tracker.openWriter()
    for (const id of range(0, 4)) writer.mark(id)
    let looks = 0
    // time goes by in a hurry
    const clock = jest.spyOn(performance, 'now').mockImplementation(() => 150 * looks++)
    try {
      const error = thrown(() => act(writer))
      expect([error.code, looks < 50]).toEqual(['ERR_DIRTYRING_STALLED', true])
      expect(error.message).toContain('no progress')
    } finally {
      clock.mockRestore()
    }
  })

  it('C10: a thread that runs the aggregator by runAggregator() makes its own room, whatever its writer waits for', async () => {
    const tracker = await openUnattended({
      capacity: 2,
      laneCapacity: 8,
      batchSize: 1,
      maxWaitMs: 20,
    })
    const running = runAggregator(tracker.handle)
    const writer = tracker.openWriter()
    for (const id of range(0, 100)) expect(writer.mark(id)).toBe(true)
    expect(writer.markMany(range(100, 8))).toBe(true)
    writer.batch(() => writer.markMany(range(108, 8)))
    while (tracker.stats().queued < 2) writer.mark(115) // the ring is full
    writer.markEverything()
    expect(writer.flush()).toBe(true)
    for (const id of range(116, 8)) writer.mark(id)
    await writer.waitForRoom(8)
    expect(writer.room).toBe(8)
    for (const id of range(124, 8)) writer.mark(id)
    writer.close()
    const last = await tracker.stop()
    await running
    expect([last.reason, sortedListed(last)]).toEqual(['everything', range(0, 132)])
  })

  it.each([
    [2, 1],
    [2, 2],
    [2, 64],
    [4, 8],
    [64, 1],
  ])(
    'an inline aggregator never waits for itself: a ring of %d, lanes of %d',
    async (capacity, laneCapacity) => {
      const tracker = await openInline({
        capacity,
        laneCapacity,
        batchSize: 1,
        maxWaitMs: 20,
        maxKeysPerEpoch: 2 ** 16,
      })
      const writers = range(0, 5).map(() => tracker.openWriter())
      const expected = new Set<number>()
      let offered = 0
      for (const round of range(0, 100)) {
        for (const [i, writer] of writers.entries()) {
          const id = round * 1000 + i * 100
          expect(writer.mark(id)).toBe(true)
          expect(writer.markMany(range(id + 1, laneCapacity))).toBe(true)
          const txn = new TxnBuffer(id)
          txn.markMany(range(id + 30, Math.min(laneCapacity, 5)))
          expect(txn.flushTo(writer)).toBe(true)
          for (const each of [
            id,
            ...range(id + 1, laneCapacity),
            ...range(id + 30, Math.min(laneCapacity, 5)),
          ])
            expected.add(each)
          offered += 1 + laneCapacity + Math.min(laneCapacity, 5)
        }
      }
      for (const writer of writers) expect(writer.flush()).toBe(true)
      const ids = new Set(await takeIds(tracker))
      while (ids.size < expected.size) {
        const more = await takeIds(tracker)
        expect(more.length).toBeGreaterThan(0)
        for (const id of more) ids.add(id)
      }
      expect(ids).toEqual(expected)
      expectAccounts(tracker, offered)
      for (const writer of writers) writer.close()
      await tracker.drained()
      expect(tracker.stats().writers.filter(({ open }) => open)).toEqual([])
    },
  )
})

describe('room, and waitForRoom()', () => {
  it('room is a promise: so many keys can be marked now without waiting or refusal', async () => {
    const { tracker, hand } = await openHeld({
      capacity: 4,
      laneCapacity: 16,
      batchSize: 3,
      onFull: 'reject',
    })
    const [writer, other] = [tracker.openWriter(), tracker.openWriter()]
    const random = seeded(11)
    const rooms = new Set<number>()
    for (const round of range(0, 200)) {
      const { room } = writer
      rooms.add(room)
      const many = Math.floor(random() * (room + 1))
      other.mark(round)
      if (random() < 0.3) expect(writer.markMany(range(0, many))).toBe(true)
      else for (const id of range(0, many)) expect(writer.mark(id)).toBe(true)
      if (random() < 0.4) hand.run(1)
      if (random() < 0.2) hand.run()
    }
    expect([rooms.has(0), rooms.has(16), tracker.stats().writers[0].rejected]).toEqual([
      true,
      true,
      0,
    ])
    while (writer.room > 0) expect(writer.mark(1)).toBe(true)
    expect(writer.mark(2)).toBe(false)
    writer.close()
    expect(writer.room).toBe(0)
  })

  it('waitForRoom() resolves when so many keys fit, one if not told, and publishes what is staged if that is in their way', async () => {
    const { tracker, hand } = await openHeld({ laneCapacity: 8, batchSize: 8 })
    const writer = tracker.openWriter()
    await writer.waitForRoom(8)
    for (const id of range(0, 5)) writer.mark(id)
    await writer.waitForRoom(3)
    expect(writer.staged).toBe(5)
    const [all, four] = [writer.waitForRoom(8), writer.waitForRoom(4)]
    expect([await isPending(all), await isPending(four)]).toEqual([true, true])
    expect(writer.staged).toBe(0)
    hand.run()
    await Promise.all([all, four])
    writer.markMany(range(10, 8))
    const one = writer.waitForRoom()
    expect(await isPending(one)).toBe(true)
    hand.run()
    await one
    expect(writer.room).toBe(8)
  })

  it('waitForRoom() never blocks the thread, and rejects when the writer is closed or the tracker stops meanwhile', async () => {
    const { tracker, hand } = await openHeld({ laneCapacity: 4 })
    const [closing, staying] = [tracker.openWriter(), tracker.openWriter()]
    for (const writer of [closing, staying]) writer.markMany(range(0, 4))
    const sleeping = jest.spyOn(Atomics, 'wait')
    const [closed, stopped] = [rejected(closing.waitForRoom(2)), rejected(staying.waitForRoom())]
    await turns(3)
    expect(sleeping).not.toHaveBeenCalled()
    sleeping.mockRestore()
    closing.close()
    expect((await closed).code).toBe('ERR_DIRTYRING_CLOSED')
    hand.release()
    await tracker.stop({ graceMs: 0 })
    expect((await stopped).code).toBe('ERR_DIRTYRING_STOPPED')
    expect((await rejected(closing.waitForRoom())).code).toBe('ERR_DIRTYRING_CLOSED')
    expect((await rejected(staying.waitForRoom())).code).toBe('ERR_DIRTYRING_STOPPED')
  })
})

describe('opening and closing', () => {
  it('C6: where the stack ends in close(), a further close() gives the lane back, once, with what was staged', async () => {
    const { tracker, hand } = await openHeld({ maxWriters: 1, capacity: 1024 })
    const ids = range(0, 40)
    for (const id of ids) {
      const writer = tracker.openWriter()
      writer.mark(id)
      nearTheEndOfTheStack(() => writer.close(), id)
      writer.close()
      hand.run()
      expect(tracker.stats().writers.filter(({ open }) => open)).toEqual([])
    }
    const pending = tracker.advanceEpoch()
    hand.run()
    expect(sortedIds(await pending)).toEqual(ids)
    expect(tracker.health().panics).toBe(0)
  })

  it('close() is idempotent, and every mark after it throws ERR_DIRTYRING_CLOSED', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    expect(writer.closed).toBe(false)
    writer.close()
    writer.close()
    writer[Symbol.dispose]()
    expect(writer.closed).toBe(true)
    const txn = new TxnBuffer(1)
    txn.mark(1)
    const marks: (() => unknown)[] = [
      () => writer.mark(1),
      () => writer.markPair(1, 0),
      () => writer.mark(1n),
      () => writer.mark('a'),
      () => writer.markMany([1]),
      () => writer.markMany([]),
      () => writer.markPairs(new Uint32Array(2)),
      () => writer.tagTxn(1),
      () => txn.flushTo(writer),
    ]
    for (const mark of marks) {
      const error = thrown(mark)
      expect(error.code).toBe('ERR_DIRTYRING_CLOSED')
      expect(error.message).toContain(`writer ${writer.id} is closed`)
    }
    expect([writer.flush(), writer.staged, txn.size]).toEqual([true, 0, 1])
    expect(await take(tracker)).toEqual([])
  })

  it('C8: close() harvests what is staged, in the epoch that is open', async () => {
    const { tracker, hand } = await openHeld()
    const writer = tracker.openWriter()
    writer.markMany([1, 2])
    writer.mark(3)
    writer.mark(4)
    writer.close()
    const pending = tracker.advanceEpoch()
    hand.run()
    expect(sortedIds(await pending)).toEqual([1, 2, 3, 4])
    expect(tracker.stats()).toMatchObject({ harvested: 2, keys: 2, batches: 1, staged: 0 })
    expect(tracker.stats().writers[0]).toMatchObject({
      open: false,
      threadId: -1,
      marked: 4,
      delivered: 4,
      staged: 0,
    })
    expectAccounts(tracker, 4)
  })

  it('leaving its scope closes a writer', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(5)
    writer[Symbol.dispose]()
    expect(writer.closed).toBe(true)
    expect(await take(tracker)).toEqual([5n])
  })

  it('C8: close() loses nothing while the ring is full', async () => {
    const tracker = await openInline({ capacity: 2, batchSize: 1 })
    const writers = range(0, 4).map(() => tracker.openWriter())
    for (const [i, writer] of writers.entries()) for (const id of range(i * 10, 5)) writer.mark(id)
    for (const writer of writers) writer.close()
    await tracker.drained()
    expect(await takeIds(tracker)).toEqual([0, 10, 20, 30].flatMap((from) => range(from, 5)))
    expectAccounts(tracker, 20)
  })

  it('C10: close() comes to an end where the ring is full and nobody consumes; the rest is done without blocking the thread', async () => {
    const { tracker, hand } = await openHeld({ capacity: 2, batchSize: 1 })
    const writer = tracker.openWriter()
    for (const id of range(0, 4)) writer.mark(id)
    writer.close()
    expect([writer.closed, tracker.stats().writers[0].open]).toEqual([true, true])
    const sleeping = jest.spyOn(Atomics, 'wait')
    try {
      await new Promise((resolve) => setTimeout(resolve, 30))
      expect(sleeping).not.toHaveBeenCalled()
    } finally {
      sleeping.mockRestore()
    }
    await until(() => !hand.run() && !tracker.stats().writers[0].open)
    const pending = tracker.advanceEpoch()
    hand.run()
    expect(sortedIds(await pending)).toEqual([0, 1, 2, 3])
  })

  it('C10: close() comes to an end also where this thread runs the aggregator of another tracker', async () => {
    await openInline()
    const { tracker, hand } = await openHeld({ capacity: 2, batchSize: 1 })
    const writer = tracker.openWriter()
    for (const id of range(0, 4)) writer.mark(id)
    // Should close() not come back by itself, a bell on another thread tells its lane that the
    // tracker has stopped.
    const rang = new Int32Array(new SharedArrayBuffer(4))
    const { words, layout } = hand.memory
    const bell = new Worker(
      `const { words, at, rang } = require('node:worker_threads').workerData
       if (Atomics.wait(rang, 0, 0, 4000) === 'timed-out') { Atomics.store(rang, 0, 2); Atomics.or(words, at, 1) }`,
      { eval: true, workerData: { words, at: laneAt(layout, 0) + LANE_ATTN, rang } },
    )
    const gone = new Promise((resolve) => bell.once('exit', resolve))
    writer.close()
    const cameBack = Atomics.compareExchange(rang, 0, 0, 1) === 0
    Atomics.notify(rang, 0)
    await gone
    expect(cameBack).toBe(true)
  })

  it('a lane is given to the next writer once its keys are consumed, and the old writer cannot mark in it', async () => {
    const { tracker, hand } = await openHeld({ maxWriters: 1 })
    const first = tracker.openWriter()
    first.mark(1)
    first.close()
    expect(thrown(() => tracker.openWriter()).code).toBe('ERR_DIRTYRING_NO_WRITER_SLOT')
    hand.run()
    const second = tracker.openWriter()
    expect(second.id).toBe(first.id)
    second.mark(2)
    expect(thrown(() => first.mark(3)).code).toBe('ERR_DIRTYRING_CLOSED')
    first.close()
    expect([first.flush(), second.closed, second.staged]).toEqual([true, false, 1])
    second.markMany([4, 5])
    const pending = tracker.advanceEpoch()
    hand.run()
    expect(sortedIds(await pending)).toEqual([1, 2, 4, 5])
    expectAccounts(tracker, 4)
  })

  it.each([0, 8190])('lanes are used over and over, from generation %d on', async (generation) => {
    const tracker = await openInline(
      { maxWriters: 2, laneCapacity: 8 },
      { generation, laneEnd: 2 ** 31 - 20 },
    )
    for (const round of range(0, 20)) {
      const [a, b] = [tracker.openWriter(), tracker.openWriter()]
      for (const id of range(0, 5)) a.mark(round * 10 + id)
      b.markMany([round * 10 + 7])
      a.close()
      b.close()
      expect(await takeIds(tracker)).toEqual([...range(round * 10, 5), round * 10 + 7])
    }
    expectAccounts(tracker, 120)
    expect(tracker.stats().harvested).toBe(100)
  })

  it('throws ERR_DIRTYRING_NO_WRITER_SLOT when maxWriters are open, which changes nothing', async () => {
    const tracker = await openInline({ maxWriters: 2 })
    const [a] = [tracker.openWriter(), openWriter(tracker.handle)]
    for (const open of [() => tracker.openWriter(), () => openWriter(tracker.handle)]) {
      const error = thrown(open)
      expect(error.code).toBe('ERR_DIRTYRING_NO_WRITER_SLOT')
      expect(error.message).toMatch(/all 2 \(maxWriters\)/)
    }
    expect(tracker.stats().writers.map(({ id, open }) => [id, open])).toEqual([
      [0, true],
      [1, true],
    ])
    a.close()
    await tracker.drained()
    expect(tracker.openWriter().id).toBe(0)
  })

  it('a writer of the handle is as good as one of the tracker, and so is one of a copy of the handle', async () => {
    const tracker = await openInline()
    const writers = [
      tracker.openWriter(),
      openWriter(tracker.handle),
      openWriter(structuredClone(tracker.handle)),
    ]
    writers.forEach((writer, i) => writer.mark(i))
    expect(writers.map(({ id }) => id)).toEqual([0, 1, 2])
    expect(await takeIds(tracker)).toEqual([0, 1, 2]) // advanceEpoch() publishes them all
  })
})

describe('any number of trackers and writers on one thread', () => {
  it('keeps the keys of every tracker apart', async () => {
    const trackers = await Promise.all(
      range(0, 8).map((i) =>
        openInline(i % 2 === 0 ? {} : { capacity: 2, batchSize: 2, laneCapacity: 4 }),
      ),
    )
    const writers = trackers.flatMap((tracker, i) =>
      range(0, 3).map((j) => ({ i, j, writer: tracker.openWriter() })),
    )
    for (const k of range(0, 20))
      for (const { i, j, writer } of writers) writer.mark(i * 1000 + j * 100 + k)
    for (const [i, tracker] of trackers.entries()) {
      const ids = new Set(await takeIds(tracker))
      for (const { writer } of writers.filter((each) => each.i === i)) writer.flush()
      for (const id of await takeIds(tracker)) ids.add(id)
      expect([...ids].sort((a, b) => a - b)).toEqual(
        [0, 1, 2].flatMap((j) => range(i * 1000 + j * 100, 20)),
      )
      expectAccounts(tracker, 60)
    }
  })

  it('a cut publishes no other tracker, and one that stops does not disturb the others', async () => {
    const [a, b] = [await openInline(), await openInline()]
    const [writerA, writerB] = [a.openWriter(), b.openWriter()]
    writerA.mark(1)
    writerB.mark(2)
    expect(await take(a)).toEqual([1n])
    expect(writerB.staged).toBe(1)
    await a.stop()
    expect(thrown(() => writerA.mark(3)).code).toBe('ERR_DIRTYRING_STOPPED')
    expect(writerB.mark(4)).toBe(true)
    expect(await take(b)).toEqual([2n, 4n])
  })

  it('an aggregator of this thread that cannot go on disturbs no other tracker', async () => {
    const broken = await openInline()
    const fine = await openInline({ laneCapacity: 4, capacity: 2, batchSize: 1 })
    const { words } = attachMemory(broken.handle, 'tracker')
    Atomics.store(words, FAILED, 1)
    const writer = fine.openWriter()
    for (const id of range(0, 50)) expect(writer.mark(id)).toBe(true)
    writer.close()
    const seen = new Set(await takeIds(fine))
    for (const id of await takeIds(fine)) seen.add(id)
    expect(seen.size).toBe(50)
    expect((await rejected(broken.advanceEpoch())).code).toBe('ERR_DIRTYRING_CORRUPT')
  })
})

describe('C12: the accounts are right at any quiet moment', () => {
  it.each<['wait' | 'reject', number]>([
    ['reject', 1],
    ['reject', 8],
    ['wait', 8],
  ])(
    'over random marks, batches and harvests: onFull %s, lanes of %d',
    async (onFull, laneCapacity) => {
      const { tracker, hand } = await openHeld({
        capacity: 4,
        laneCapacity,
        batchSize: Math.min(3, laneCapacity),
        onFull,
        maxWaitMs: 0,
      })
      const random = seeded(laneCapacity)
      const pick = (below: number): number => Math.floor(random() * below)
      let writers = range(0, 3).map(() => tracker.openWriter())
      let offered = 0
      let refused = 0
      const offer = (count: number, mark: () => boolean): void => {
        offered += count
        let stored = false
        try {
          stored = mark()
        } catch (error) {
          expect((error as { code: string }).code).toBe('ERR_DIRTYRING_STALLED')
        }
        if (!stored) refused += count
      }
      for (let i = 0; i < 300; i++) {
        const writer = writers[pick(3)]
        const what = pick(10)
        if (what < 5) offer(1, () => writer.mark(pick(100)))
        else if (what < 7) {
          const count = pick(laneCapacity + 1)
          offer(count, () => writer.markMany(range(pick(100), count)))
        } else if (what === 7) hand.run(1 + pick(3))
        else if (what === 8 && tracker.stats().queued < 4) {
          writer.close()
          hand.run()
          writers = writers.map((each) => (each === writer ? tracker.openWriter() : each))
        } else if (what === 9 && tracker.stats().queued < 4) expect(writer.flush()).toBe(true)
        expectAccounts(tracker, offered)
        expect(tracker.stats().writers.reduce((sum, each) => sum + each.rejected, 0)).toBe(refused)
        expect(writers.map((each) => each.staged).reduce((a, b) => a + b)).toBe(
          tracker.stats().staged,
        )
      }
      expect(refused).toBeGreaterThan(0)
      hand.run()
      for (const writer of writers) writer.flush()
      hand.run()
      const { writers: all, staged } = tracker.stats()
      expect(staged).toBe(0)
      expect(all.reduce((sum, each) => sum + each.delivered, 0)).toBe(offered - refused)
    },
  )

  it('tells events, batches, keys, the queue and its peak', async () => {
    const { tracker, hand } = await openHeld({ batchSize: 2 })
    const writer = tracker.openWriter()
    for (const id of [1, 1, 2, 2, 3, 3, 4]) writer.mark(id)
    expect(tracker.stats()).toMatchObject({
      events: 0,
      batches: 0,
      keys: 0,
      distinct: 0,
      queued: 3,
      staged: 1,
    })
    expect(tracker.stats().writers[0]).toMatchObject({
      inFlight: 6,
      inFlightPeak: 6,
      batches: 3,
      delivered: 0,
    })
    hand.run(1)
    expect(tracker.stats()).toMatchObject({
      events: 3,
      batches: 3,
      keys: 6,
      distinct: 3,
      queued: 0,
    })
    const pending = tracker.advanceEpoch()
    hand.run()
    await pending
    expect(tracker.stats()).toMatchObject({
      events: 5,
      batches: 4,
      keys: 7,
      distinct: 0,
      queued: 0,
      epoch: 1,
      sealed: 1,
    })
    expect(tracker.stats().bytes.total).toBe(
      attachMemory(tracker.handle, 'tracker').words.byteLength,
    )
  })

  it('C6: with onFull reject, exactly the marks that were true come back', async () => {
    const { tracker, hand } = await openHeld({
      capacity: 2,
      laneCapacity: 4,
      batchSize: 2,
      onFull: 'reject',
    })
    const writers = [tracker.openWriter(), tracker.openWriter()]
    const random = seeded(5)
    const stored = new Set<number>()
    for (const id of range(0, 500)) {
      if (writers[id % 2].mark(id)) stored.add(id)
      if (random() < 0.2) hand.run(1)
    }
    expect(stored.size).toBeLessThan(500)
    const seen = new Set<number>()
    while (seen.size < stored.size) {
      const pending = tracker.advanceEpoch()
      await until(
        () => !hand.run() && tracker.stats().sealed === tracker.epoch && tracker.epoch > 0,
      )
      const epoch = await pending
      expect(epoch.size).toBeGreaterThan(0)
      for (const id of epoch.ids()) seen.add(id)
      epoch.commit()
    }
    expect(seen).toEqual(stored)
  })
})

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
      3n,
      1n,
      fingerprint('a'),
      fingerprint(new Uint8Array([1])),
      0x600000005n,
      0n,
      0x1ffffffffn,
      fingerprint('a', { seed: 9 }),
      4n,
    ]
    expect([...(await pending).bigints]).toEqual(expected)
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
})
