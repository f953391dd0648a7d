import { describe, expect, it } from '@jest/globals'
import {
  BatchRing,
  fingerprint,
  FingerprintSet,
  KeyDictionary,
  TxnBuffer,
} from '../../lib/index.js'
import { expectError, INVALID_ARG, OUT_OF_RANGE } from '../support/bad-input.js'
import { bigintOf, openInline, thrown } from '../support/in-process.js'

describe('C11: invalid keys', () => {
  const wrong: [key: unknown, kind: { name: string; code: string }, part: string][] = [
    [-1, OUT_OF_RANGE, 'got -1'],
    [1.5, OUT_OF_RANGE, 'got 1.5'],
    [NaN, OUT_OF_RANGE, 'got NaN'],
    [Infinity, OUT_OF_RANGE, 'got Infinity'],
    [-Infinity, OUT_OF_RANGE, 'got -Infinity'],
    [2 ** 53, OUT_OF_RANGE, 'got 9007199254740992'],
    [-1n, OUT_OF_RANGE, 'got -1n'],
    [2n ** 64n, OUT_OF_RANGE, 'got 18446744073709551616n'],
    [undefined, INVALID_ARG, 'got undefined'],
    [null, INVALID_ARG, 'got null'],
    [true, INVALID_ARG, 'got true'],
    [{}, INVALID_ARG, 'got an instance of Object'],
    [[1], INVALID_ARG, 'got an instance of Array'],
    [new Uint16Array(1), INVALID_ARG, 'got an instance of Uint16Array'],
    [new DataView(new ArrayBuffer(8)), INVALID_ARG, 'got an instance of DataView'],
    [new ArrayBuffer(8), INVALID_ARG, 'got an instance of ArrayBuffer'],
    [() => 1, INVALID_ARG, 'got function'],
    [Symbol('key'), INVALID_ARG, 'got Symbol(key)'],
  ]

  it.each(wrong)(
    '%p is one clear error in every method that takes a key, and nothing is marked',
    async (key: any, kind, part) => {
      const tracker = await openInline()
      const writer = tracker.openWriter()
      writer.markMany([1, 2])
      const epoch = await tracker.advanceEpoch()
      writer.mark(5)
      const txn = new TxnBuffer(1)
      const before = tracker.stats()
      for (const act of [() => writer.mark(key), () => txn.mark(key), () => epoch.has(key)]) {
        expectError(thrown(act), kind, '"key" must be', part)
      }
      expectError(
        thrown(() => writer.markMany([7, 8, key])),
        kind,
        '"keys[2]" must be',
        part,
      )
      expectError(
        thrown(() => writer.markMany(new Set([7, key]))),
        kind,
        '"keys[1]" must be',
        part,
      )
      expectError(
        thrown(() => txn.markMany([key])),
        kind,
        '"keys[0]" must be',
        part,
      )
      expect(tracker.stats()).toEqual(before)
      expect([writer.staged, txn.size]).toEqual([1, 0])
      epoch.commit()
      expect([...(await tracker.advanceEpoch()).bigints]).toEqual([5n])
    },
  )

  it('a value that is not a list is a TypeError, and so is one key', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const txn = new TxnBuffer(1)
    const before = tracker.stats()
    for (const list of [
      undefined,
      null,
      5,
      5n,
      {},
      new Map([[1, 2]]),
      [1][Symbol.iterator](),
      new Float64Array(1),
      new Int32Array(2),
      () => 1,
    ] as never[]) {
      for (const act of [() => writer.markMany(list), () => txn.markMany(list)])
        expectError(thrown(act), INVALID_ARG, '"keys" must be')
    }
    for (const key of ['text', new Uint8Array([1, 2])] as never[]) {
      for (const act of [() => writer.markMany(key), () => txn.markMany(key)]) {
        expectError(
          thrown(act),
          INVALID_ARG,
          '"keys" must be',
          'To pass one key, wrap it in an array.',
        )
      }
    }
    expect(thrown(() => writer.markMany({} as never)).message).toMatch(
      /^"keys" must be .* of keys, got an instance of Object$/,
    )
    for (const lanes of [
      undefined,
      null,
      [1, 2],
      new BigUint64Array(1),
      new Uint8Array(2),
      new Float32Array(2),
      'ab',
    ] as never[]) {
      expectError(
        thrown(() => writer.markPairs(lanes)),
        INVALID_ARG,
        '"pairs" must be a Uint32Array or an Int32Array',
      )
    }
    for (const lanes of [new Uint32Array(1), new Int32Array(3)]) {
      expectError(
        thrown(() => writer.markPairs(lanes)),
        OUT_OF_RANGE,
        '"pairs" must be of an even length',
        `got ${lanes.length}`,
      )
    }
    expect(tracker.stats()).toEqual(before)
    expect(txn.size).toBe(0)
  })

  it.each<[keys: 'string' | 'bytes' | 'number' | 'bigint', expected: string, key: any, list: any]>([
    ['string', 'a string', 7, new Uint32Array([7])],
    ['string', 'a string', 7n, new BigUint64Array([7n])],
    ['string', 'a string', 7n, new BigInt64Array([7n])],
    ['bytes', 'a Uint8Array', 7, new Uint32Array([7])],
    ['bytes', 'a Uint8Array', 'text', new BigUint64Array([7n])],
    ['number', 'a number', 7n, new BigUint64Array([7n])],
    ['number', 'a number', 'text', new BigInt64Array([7n])],
    ['bigint', 'a bigint', 7, new Uint32Array([7])],
  ])(
    'a tracker made with keys: %p says that a key must be %s',
    async (keys, expected, key: any, list: any) => {
      const tracker = await openInline({ keys })
      const writer = tracker.openWriter()
      const advice = `The tracker was made with keys: '${keys}'.`
      for (const [name, act] of [
        ['key', () => writer.mark(key)],
        ['keys[0]', () => writer.markMany([key])],
        ['keys', () => writer.markMany(list)],
      ] as const)
        expectError(thrown(act), INVALID_ARG, `"${name}" must be ${expected}, got`, advice)
      expect(writer.markMany(list.subarray(1))).toBe(true)
      expect(tracker.stats().writers[0].marked).toBe(0)
    },
  )

  it('a text that is too long for the lane says what to raise, and what to do instead', async () => {
    const tracker = await openInline({ laneTextBytes: 4096 })
    const writer = tracker.openWriter()
    for (const key of ['x'.repeat(2033), new Uint8Array(2033)])
      for (const [name, act] of [
        ['key', () => writer.mark(key)],
        ['keys[1]', () => writer.markMany(['a', key])],
      ] as const)
        expect(thrown(act)).toMatchObject({
          ...OUT_OF_RANGE,
          message:
            `"${name}" must be a key of at most 2032 bytes (half of laneTextBytes, less 16), ` +
            'got 2033. Raise laneTextBytes, or mark the fingerprint() of such a key.',
        })
    expect(tracker.stats().writers[0].marked).toBe(0)
  })

  it('fingerprints, keys with a seed and transaction ids are checked too', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.markMany([1])
    const epoch = await tracker.advanceEpoch()
    writer.mark(2)
    const txn = new TxnBuffer(1)
    const before = tracker.stats()
    for (const key of [5, 5n, undefined, null, [], new Uint16Array(2)] as never[]) {
      expectError(
        thrown(() => fingerprint(key)),
        INVALID_ARG,
        '"key" must be a string or a Uint8Array',
      )
    }
    for (const options of [7, 0, '7', null, [7], () => 7] as never[]) {
      expectError(
        thrown(() => fingerprint('a', options)),
        INVALID_ARG,
        '"options" must be a plain object',
      )
    }
    expectError(
      thrown(() => ['a', 'b'].map(fingerprint as never)),
      INVALID_ARG,
      'Pass a seed as { seed }.',
    )
    for (const seed of [-1, 1.5, 2 ** 32, NaN]) {
      for (const act of [
        () => writer.mark(fingerprint('a', { seed })),
        () => txn.mark(fingerprint('a', { seed })),
        () => epoch.has(fingerprint('a', { seed })),
      ]) {
        expectError(thrown(act), OUT_OF_RANGE, '"options.seed" must be', `got ${seed}`)
      }
    }
    expectError(
      thrown(() => writer.mark(fingerprint('a', { seed: '1' as never }))),
      INVALID_ARG,
      '"options.seed" must be a number',
    )
    expectError(
      thrown(() => writer.tagTxn(undefined as never)),
      INVALID_ARG,
      '"txnId" must be a number or a bigint',
    )
    for (const id of [null, '1', {}] as never[]) {
      expectError(
        thrown(() => writer.tagTxn(id)),
        INVALID_ARG,
        '"txnId" must be a number or a bigint',
      )
      expectError(
        thrown(() => new TxnBuffer(id)),
        INVALID_ARG,
        '"txnId" must be a number or a bigint',
      )
    }
    for (const expected of [-1, 0.5, NaN, Infinity, 2 ** 30]) {
      expectError(
        thrown(() => new TxnBuffer(1, expected)),
        OUT_OF_RANGE,
        '"expectedKeys" must be',
        `got ${expected}`,
      )
    }
    expectError(
      thrown(() => new TxnBuffer(1, '5' as never)),
      INVALID_ARG,
      '"expectedKeys" must be a number',
    )
    expect(tracker.stats()).toEqual(before)
    expect([writer.staged, txn.size]).toEqual([1, 0])
  })

  it('a TxnBuffer flushes to a Writer and to nothing else, and keeps its keys', () => {
    const txn = new TxnBuffer(1)
    txn.mark(1)
    for (const writer of [undefined, null, {}, 5] as never[])
      expectError(
        thrown(() => txn.flushTo(writer)),
        INVALID_ARG,
        '"writer" must be',
      )
    expect(txn.size).toBe(1)
  })
})

describe('C11: a view of memory that this thread no longer has', () => {
  it('is one clear error in every function that takes a view, and nothing is stored', async () => {
    const detached = <V extends { buffer: ArrayBufferLike }>(view: V): V => {
      structuredClone(view.buffer, { transfer: [view.buffer as ArrayBuffer] })
      return view
    }
    const bytes = detached(new Uint8Array(8))
    const keys = detached(new BigUint64Array(8))
    const ids = detached(new Uint32Array(8))
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark('')
    const epoch = await tracker.advanceEpoch()
    writer.mark(5)
    const txn = new TxnBuffer(1)
    const set = new FingerprintSet()
    const dictionary = KeyDictionary.create({ maxKeys: 4 })
    dictionary.id('')
    const ring = BatchRing.create({ capacity: 2, laneCapacity: 2, maxWriters: 1 })
    const producer = ring.openProducer()
    const before = tracker.stats()
    for (const act of [
      () => writer.mark(bytes),
      () => writer.mark(bytes),
      () => writer.markMany(keys),
      () => writer.markMany(keys, { atomic: false }),
      () => writer.markMany(ids),
      () => writer.markMany([1, bytes]),
      () => writer.markMany(new Set([bytes])),
      () => writer.markPairs(ids),
      () => writer.markPairs(ids, { atomic: false }),
      () => txn.mark(bytes),
      () => txn.mark(bytes),
      () => txn.markMany(keys),
      () => txn.markMany([bytes]),
      () => epoch.has(bytes),
      () => epoch.has(bytes),
      () => set.add(bytes),
      () => set.addMany(ids),
      () => set.has(bytes),
      () => fingerprint(bytes),
      () => dictionary.id(bytes),
      () => dictionary.find(bytes),
      () => producer.push(keys),
    ]) {
      expectError(thrown(act), INVALID_ARG, 'detached or out of bounds')
    }
    expect(tracker.stats()).toEqual(before)
    expect([txn.size, set.size, dictionary.size, ring.drain(() => undefined)]).toEqual([0, 0, 1, 0])
    epoch.commit()
    expect([...(await tracker.advanceEpoch()).bigints]).toEqual([5n])
  })
})

describe('C11: a list whose keys run code of the caller', () => {
  /** A list of these keys, where the reading of the key at `at` runs `run`. */
  const listWith = (keys: number[], at: number, run: () => unknown): number[] =>
    Object.defineProperty([...keys], at, {
      get: () => {
        run()
        return keys[at]
      },
    })

  it('markMany(): what that code marks is stored, before the list; when it throws, the list is not', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    expect(writer.markMany(listWith([10, 11, 12], 1, () => writer.markMany([20, 21])))).toBe(true)
    const own = new Error('of the list')
    const failing = listWith([30, 31], 1, () => {
      writer.mark(22)
      throw own
    })
    expect(thrown(() => writer.markMany(failing))).toBe(own)
    expect([...(await tracker.advanceEpoch()).ids()]).toEqual([1, 20, 21, 10, 11, 12, 22])
  })

  it('markMany(): a writer that it closes takes no more keys', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    expect(thrown(() => writer.markMany(listWith([1, 2], 1, () => writer.close()))).code).toBe(
      'ERR_DIRTYRING_CLOSED',
    )
    expect((await tracker.advanceEpoch()).size).toBe(0)
  })

  it('TxnBuffer.markMany(): what it marks in the same buffer is kept, also where the buffer grows or is cleared', () => {
    const txn = new TxnBuffer(1, 0)
    txn.mark(1)
    txn.markMany(
      listWith([10, 11], 1, () =>
        txn.markMany(Uint32Array.from({ length: 100 }, (_, i) => 100 + i)),
      ),
    )
    expect(txn.drain().map(bigintOf)).toEqual([
      1n,
      ...Array.from({ length: 100 }, (_, i) => BigInt(100 + i)),
      10n,
      11n,
    ])
    txn.markMany([1, 2, 3])
    txn.markMany(listWith([10, 11], 0, () => txn.clear()))
    expect(txn.drain().map(bigintOf)).toEqual([10n, 11n])
    const failing = listWith([10, 11], 1, () => {
      txn.mark(5)
      txn.mark(-1)
    })
    expectError(
      thrown(() => txn.markMany(failing)),
      OUT_OF_RANGE,
      'got -1',
    )
    expect(txn.drain().map(bigintOf)).toEqual([5n])
  })

  it('addMany(): what it adds to the same set counts for itself', () => {
    const set = new FingerprintSet({ expectedKeys: 0 })
    expect(set.addMany(listWith([1, 2, 3], 2, () => expect(set.addMany([2, 50])).toBe(2)))).toBe(2)
    expect([...set.ids()]).toEqual([2, 50, 1, 3])
  })
})

describe('C11: more keys than there is room for', () => {
  it('markMany() and markPairs(): a RangeError that says what to do instead, before the list is read', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const advice =
      'To mark more keys than a lane holds, pass { atomic: false }, or raise laneCapacity.'
    for (const act of [
      () => writer.markMany(new Array(2 ** 32 - 1)),
      () =>
        writer.markMany(
          new Proxy(new Array(1025), {
            get: (keys, name) => (name === 'length' ? 1025 : thrown(() => keys)),
          }),
        ),
      () => writer.markMany(new Uint32Array(1025)),
      () => writer.markMany(new BigUint64Array(1025)),
      () => writer.markMany(new Set(Array.from({ length: 1025 }, (_, i) => i))),
      () => writer.markPairs(new Uint32Array(2050)),
    ]) {
      expectError(
        thrown(act),
        OUT_OF_RANGE,
        'must be at most 1024 keys (laneCapacity), got ',
        advice,
      )
    }
    expectError(
      thrown(() => new TxnBuffer(1).markMany(new Array(2 ** 32 - 1))),
      OUT_OF_RANGE,
      `at most ${2 ** 29} in one buffer, got ${2 ** 32 - 1}`,
    )
    expect(writer.markMany([1])).toBe(true)
    expect([...(await tracker.advanceEpoch()).ids()]).toEqual([1])
  })

  it('markMany() with atomic: false reads a list part by part, a quarter of a lane at a time', async () => {
    const tracker = await openInline({ maxKeysPerEpoch: 2 ** 16 })
    const writer = tracker.openWriter()
    const COUNT = 10_000
    const ahead: number[] = []
    const keys = new Proxy([], {
      get: (_, name) => {
        if (name === 'length') return COUNT
        ahead.push(Number(name) - tracker.stats().writers[0].marked)
        return Number(name)
      },
    })
    expect(writer.markMany(keys, { atomic: false })).toBe(true)
    expect(ahead).toHaveLength(COUNT)
    expect(Math.max(...ahead)).toBe(1024 / 4 - 1)
    const epoch = await tracker.advanceEpoch()
    expect([epoch.size, epoch.has(0), epoch.has(COUNT - 1)]).toEqual([COUNT, true, true])
  })

  it('markMany() with atomic: false stops at the first invalid key of a list whose length is a lie', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    expectError(
      thrown(() =>
        writer.markMany(Object.assign(new Array(2 ** 32 - 1), { 0: 1, 1: 2 }), { atomic: false }),
      ),
      INVALID_ARG,
      '"keys[2]"',
    )
    expect(writer.mark(7)).toBe(true)
    expect([...(await tracker.advanceEpoch()).ids()]).toEqual([7])
  })

  it('a list whose length is no number does not block the writer', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    for (const length of ['2', NaN, 1.5, 100]) {
      const keys = new Proxy([1, 2], {
        get: (list, name) => (name === 'length' ? length : Reflect.get(list, name)),
      })
      for (const atomic of [true, false])
        expect(thrown(() => writer.markMany(keys, { atomic })).code).toMatch(/^ERR_DIRTYRING_/)
      expect(writer.mark(7)).toBe(true)
    }
    expect([...(await tracker.advanceEpoch()).ids()]).toEqual([7])
  })
})

describe('C11: numbers that are taken modulo 2^32', () => {
  it.each([['1'], [1n], [null], [Symbol('1')], [{ valueOf: () => 1 }], [[1]]])(
    'are a TypeError where they are none: %p',
    (odd: any) => {
      const txn = new TxnBuffer(1)
      const set = new FingerprintSet()
      for (const act of [
        () => txn.markPair(odd, 1),
        () => txn.markPair(1, odd),
        () => txn.markPair(odd, 1),
        () => txn.markPair(1, odd),
        () => set.addPair(odd, 1),
        () => set.addPair(1, odd),
        () => set.hasPair(odd, 1),
        () => set.hasPair(1, odd),
      ]) {
        expectError(thrown(act), INVALID_ARG, 'must be a number, got ')
      }
      expect([txn.size, set.size]).toEqual([0, 0])
    },
  )
})
