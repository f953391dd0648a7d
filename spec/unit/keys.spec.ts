import { runInNewContext } from 'node:vm'
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { fingerprint } from '../../lib/fingerprint.js'
import {
  checkFits,
  checkPair,
  checkPairOfKind,
  checkPairsOfKind,
  encodeForLookup,
  encodeKey,
  HIGH_MAX,
  idFrom,
  isHalf,
  type Key,
  keyFrom,
  type KeyList,
  openKeys,
  pairCount,
  pairsFor,
  readAll,
  readKey,
  readKeys,
  Texts,
} from '../../lib/keys.js'

/** The key as the 64 bits its lanes make, read at an odd place between two guards. */
function bitsOf(key: Key): bigint {
  const out = new Int32Array(4).fill(-7)
  readKey(key, out, 1)
  expect([out[0], out[3]]).toEqual([-7, -7])
  return (BigInt(out[2] >>> 0) << 32n) | BigInt(out[1] >>> 0)
}

function bitsOfAll(keys: KeyList): bigint[] {
  const source = openKeys(keys)
  const { count } = source
  const out = new Int32Array(2 * count + 2).fill(-7)
  readKeys(source, out, 1, count)
  expect([out[0], out.at(-1)]).toEqual([-7, -7])
  return Array.from(
    { length: count },
    (_, i) => (BigInt(out[2 * i + 2] >>> 0) << 32n) | BigInt(out[2 * i + 1] >>> 0),
  )
}

function thrownBy(run: () => unknown): any {
  try {
    run()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

const invalidArg = expect.objectContaining({ name: 'TypeError', code: 'ERR_DIRTYRING_INVALID_ARG' })
const outOfRange = expect.objectContaining({
  name: 'RangeError',
  code: 'ERR_DIRTYRING_OUT_OF_RANGE',
})
const MAX = 2n ** 64n - 1n

describe('one key', () => {
  test('a number is the key itself, to the last bit', () => {
    for (const id of [
      0,
      -0,
      1,
      2 ** 31 - 1,
      2 ** 31,
      2 ** 32 - 1,
      2 ** 32,
      2 ** 32 + 1,
      2 ** 52,
      Number.MAX_SAFE_INTEGER,
    ]) {
      expect(bitsOf(id)).toBe(BigInt(id))
    }
    fc.assert(fc.property(fc.maxSafeNat(), (id) => expect(bitsOf(id)).toBe(BigInt(id))))
  })

  test('a bigint is the 64 bits themselves', () => {
    for (const bits of [0n, 1n, 2n ** 32n, 2n ** 63n - 1n, 2n ** 63n, MAX])
      expect(bitsOf(bits)).toBe(bits)
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: MAX }), (bits) => expect(bitsOf(bits)).toBe(bits)),
    )
  })

  test('a string and bytes are their fingerprint with seed 0', () => {
    for (const key of [
      '',
      'user:42',
      'é\ud800',
      Buffer.from('user:42'),
      new Uint8Array(new SharedArrayBuffer(9), 3, 5),
    ]) {
      expect(bitsOf(key)).toBe(fingerprint(key, { seed: 0 }))
    }
    expect(bitsOf(runInNewContext('Uint8Array.of(1, 2)') as Uint8Array)).toBe(
      fingerprint(Uint8Array.of(1, 2)),
    )
  })

  test.each([
    [-1],
    [0.5],
    [NaN],
    [Infinity],
    [-Infinity],
    [2 ** 53],
    [-1n],
    [2n ** 64n],
    [-(2n ** 64n)],
    [2n ** 64n + 1n],
  ])('a number or bigint out of range is a RangeError, and writes nothing: %p', (key) => {
    const out = new Int32Array(2).fill(-7)
    const error = thrownBy(() => readKey(key, out, 0, 'fp'))
    expect(error).toEqual(outOfRange)
    expect(error.message).toMatch(/^"fp" must be a (whole number|bigint) from /)
    expect(out).toEqual(Int32Array.of(-7, -7))
  })

  test.each([
    [undefined],
    [null],
    [true],
    [Symbol('s')],
    [{}],
    [[1]],
    [() => 1],
    [Int8Array.of(1)],
    [new Uint8ClampedArray(1)],
    [new ArrayBuffer(8)],
  ])('anything else is a TypeError, and writes nothing: %p', (key: any) => {
    const out = new Int32Array(2).fill(-7)
    const error = thrownBy(() => readKey(key, out, 0))
    expect(error).toEqual(invalidArg)
    expect(error.message).toMatch(
      /^"key" must be a whole number, a bigint, a string or a Uint8Array, got /,
    )
    expect(out).toEqual(Int32Array.of(-7, -7))
  })
})

describe('a pair', () => {
  test('each half is a whole number from -2^31 to 2^32-1', () => {
    for (const half of [0, -0, 1, -1, 2 ** 31, 2 ** 32 - 1, -(2 ** 31)])
      expect([half, isHalf(half)]).toEqual([half, true])
    for (const none of [2 ** 32, -(2 ** 31) - 1, 0.5, NaN, Infinity, 2 ** 53, '1', 1n, undefined])
      expect([none, isHalf(none)]).toEqual([none, false])
    const runsCode = { valueOf: () => expect('a call').toBe('none') }
    expect(isHalf(runsCode)).toBe(false)
  })

  test('an id that is too large for a half is told what to do; a fraction is not', () => {
    const large = thrownBy(() => checkPair(0, 2 ** 33 + 7))
    expect(large).toEqual(outOfRange)
    expect(large.message).toBe(
      '"high" must be a whole number from -2^31 to 2^32-1, got 8589934599. For an id up to 2^53-1 use one key.',
    )
    for (const [low, got] of [
      [1.5, '1.5'],
      [-(2 ** 31) - 1, '-2147483649'],
    ] as const)
      expect(thrownBy(() => checkPair(low, 0)).message).toMatch(new RegExp(`got ${got}$`))
  })

  test('comes back as a number up to 2^53 - 1, else as a bigint', () => {
    expect(keyFrom(7, 0)).toBe(7)
    expect(keyFrom(2 ** 32 - 1, 0x1fffff)).toBe(Number.MAX_SAFE_INTEGER)
    expect(keyFrom(0, 0x200000)).toBe(2n ** 53n)
    expect(keyFrom(2 ** 32 - 1, 2 ** 32 - 1)).toBe(MAX)
  })
})

describe('a list of keys', () => {
  test('each kind of list has its keys in order', () => {
    expect(bitsOfAll([7, 7n, 'a', Buffer.from('b')])).toEqual([
      7n,
      7n,
      fingerprint('a'),
      fingerprint('b'),
    ])
    expect(bitsOfAll(new Set<Key>(['a', 2 ** 40, MAX]))).toEqual([fingerprint('a'), 2n ** 40n, MAX])
    expect(bitsOfAll(BigUint64Array.of(0n, 1n, MAX))).toEqual([0n, 1n, MAX])
    expect(bitsOfAll(BigInt64Array.of(-1n, -(2n ** 63n)))).toEqual([MAX, 2n ** 63n])
    expect(bitsOfAll(Uint32Array.of(0, 1, 0xffffffff))).toEqual([0n, 1n, 0xffffffffn])
  })

  test('an empty list of each kind has no keys', () => {
    for (const keys of [
      [],
      new Set<Key>(),
      new BigUint64Array(),
      new BigInt64Array(),
      new Uint32Array(),
    ])
      expect(bitsOfAll(keys)).toEqual([])
  })

  test('a view is read where it lies, in shared memory too', () => {
    for (const buffer of [new ArrayBuffer(64), new SharedArrayBuffer(64)]) {
      new BigUint64Array(buffer).set([9n, 9n, 1n, MAX, 9n])
      expect(bitsOfAll(new BigUint64Array(buffer, 16, 2))).toEqual([1n, MAX])
      expect(bitsOfAll(new BigInt64Array(buffer, 16, 2))).toEqual([1n, MAX])
      expect(bitsOfAll(new Uint32Array(buffer, 20, 2))).toEqual([0n, 0xffffffffn])
    }
  })

  test('lists of another realm are lists', () => {
    for (const list of [
      '[1, 2]',
      'new Set([1, 2])',
      'BigUint64Array.of(1n, 2n)',
      'BigInt64Array.of(1n, 2n)',
      'Uint32Array.of(1, 2)',
    ]) {
      expect(bitsOfAll(runInNewContext(list) as KeyList)).toEqual([1n, 2n])
    }
  })

  test('a key that is none is named by its index', () => {
    const sparse = Object.assign(new Array<Key>(3), { 0: 1, 2: 3 })
    for (const keys of [[1, null], new Set([1, {}]), sparse] as any[]) {
      const error = thrownBy(() => readAll(openKeys(keys)))
      expect(error).toEqual(invalidArg)
      expect(error.message).toMatch(/^"keys\[1\]" must be /)
    }
    const error = thrownBy(() => readAll(openKeys([1, 2, -1])))
    expect(error).toEqual(outOfRange)
    expect(error.message).toMatch(/^"keys\[2\]" must be /)
  })

  test.each([['key'], [new Uint8Array(8)], [Buffer.alloc(8)], [7], [7n]])(
    'one key is no list, and the error says what to do: %p',
    (key: any) => {
      const error = thrownBy(() => openKeys(key))
      expect(error).toEqual(invalidArg)
      expect(error.message).toMatch(
        /^"keys" must be a BigUint64Array, .*, got .*\. To pass one key, wrap it in an array\.$/,
      )
    },
  )

  test.each([
    [undefined],
    [null],
    [{ length: 1, 0: 1 }],
    [[1].values()],
    [new Map()],
    [Int32Array.of(1)],
    [Float64Array.of(1)],
    [new Uint8ClampedArray(8)],
    [new ArrayBuffer(8)],
    [new DataView(new ArrayBuffer(8))],
  ])('anything else is no list: %p', (keys: any) => {
    const error = thrownBy(() => openKeys(keys))
    expect(error).toEqual(invalidArg)
    expect(error.message).toMatch(
      /^"keys" must be a BigUint64Array, a BigInt64Array, a Uint32Array, an array or a Set of keys, got /,
    )
  })
})

describe('a list of pairs', () => {
  test('a low and a high half are one key', () => {
    expect(pairCount(new Uint32Array(6))).toBe(3)
    expect(pairCount(new Int32Array(new SharedArrayBuffer(8)))).toBe(1)
    expect(pairCount(new Uint32Array())).toBe(0)
  })

  test('an odd length is a RangeError', () => {
    const error = thrownBy(() => pairCount(new Uint32Array(3)))
    expect(error).toEqual(outOfRange)
    expect(error.message).toBe(
      '"pairs" must be of an even length, got 3. Each key has a low and a high half.',
    )
  })

  test.each([
    [undefined],
    [null],
    [[1, 2]],
    [new BigUint64Array(2)],
    [new Float64Array(2)],
    [new Uint8Array(2)],
  ])('another type is a TypeError: %p', (lanes: any) => {
    const error = thrownBy(() => pairCount(lanes))
    expect(error).toEqual(invalidArg)
    expect(error.message).toMatch(/^"pairs" must be a Uint32Array or an Int32Array, got /)
  })
})

/**
 * Views of memory that this thread no longer has: transferred to another thread, or past the end of
 * a buffer that shrank.
 */
function lostViews<V>(
  make: (buffer: ArrayBuffer, byteOffset?: number, length?: number) => V,
): [what: string, view: V][] {
  const transferred = new ArrayBuffer(64)
  const detached = make(transferred)
  structuredClone(transferred, { transfer: [transferred] })
  const shrunk = new ArrayBuffer(64, { maxByteLength: 64 })
  const fixed = make(shrunk, 32, 2)
  const tracking = make(shrunk, 32)
  shrunk.resize(16)
  return [
    ['detached', detached],
    ['of a fixed length, on a buffer that shrank', fixed],
    ['as long as its buffer, which shrank', tracking],
  ]
}

describe('a view that is detached or out of bounds', () => {
  const says = (name: string): unknown =>
    expect.stringMatching(new RegExp(`^"${name}" must be a view .*detached or out of bounds`))

  test.each(lostViews((...at) => new Uint8Array(...at)))('is no key: %s', (_, view) => {
    const out = new Int32Array(2).fill(-7)
    for (const [act, name] of [
      [() => readKey(view, out, 0), 'key'],
      [() => readKey(view, out, 0, 3), 'keys\\[3\\]'],
      [() => fingerprint(view), 'key'],
    ] as const) {
      const error = thrownBy(act)
      expect(error).toEqual(invalidArg)
      expect(error.message).toEqual(says(name))
    }
    expect(out).toEqual(Int32Array.of(-7, -7))
  })

  test.each([
    ...lostViews((...at) => new BigUint64Array(...at)),
    ...lostViews((...at) => new BigInt64Array(...at)),
    ...lostViews((...at) => new Uint32Array(...at)),
  ])('is no list: %s', (_, view) => {
    const error = thrownBy(() => openKeys(view))
    expect(error).toEqual(invalidArg)
    expect(error.message).toEqual(says('keys'))
  })

  test.each(lostViews((...at) => new Uint32Array(...at)))('has no pairs: %s', (_, view) => {
    const error = thrownBy(() => pairCount(view))
    expect(error).toEqual(invalidArg)
    expect(error.message).toEqual(says('pairs'))
  })

  test('of another realm is found out too', () => {
    const view = runInNewContext('new Uint8Array(8)') as Uint8Array<ArrayBuffer>
    structuredClone(view.buffer, { transfer: [view.buffer] })
    expect(thrownBy(() => readKey(view, new Int32Array(2), 0))).toEqual(invalidArg)
  })

  test('differs from an empty one, which is a key and a list', () => {
    const buffer = new ArrayBuffer(8, { maxByteLength: 64 })
    expect(bitsOf(new Uint8Array(buffer, 8))).toBe(fingerprint(''))
    expect(bitsOfAll(new Uint32Array(buffer, 8))).toEqual([])
  })
})

describe('what a list says of itself', () => {
  /** A Proxy of an array with another length. */
  const withLength = (length: unknown, keys: Key[] = [1, 2]): KeyList =>
    new Proxy(keys, {
      get: (target, name) => (name === 'length' ? length : Reflect.get(target, name)),
    })
  /** An object that says it is a Set. */
  const withSize = (size: unknown, values: () => unknown): any => ({
    [Symbol.toStringTag]: 'Set',
    size,
    values,
  })

  test.each([['2'], [undefined], [null], [2n], [Symbol('2')], [[2]]])(
    'a length or size that is no number is a TypeError: %p',
    (length) => {
      expect(thrownBy(() => openKeys(withLength(length)))).toEqual(invalidArg)
      expect(thrownBy(() => openKeys(withSize(length, () => [1, 2].values())))).toEqual(invalidArg)
    },
  )

  test.each([[NaN], [1.5], [-1], [2 ** 32], [Infinity]])(
    'a length or size that is none is a RangeError: %p',
    (length) => {
      expect(thrownBy(() => openKeys(withLength(length)))).toEqual(outOfRange)
      expect(thrownBy(() => openKeys(withSize(length, () => [1, 2].values())))).toEqual(outOfRange)
    },
  )

  test('its length is read once', () => {
    let reads = 0
    const keys = new Proxy([1, 2], {
      get: (target, name) => (name === 'length' ? (reads++, 2) : Reflect.get(target, name)),
    })
    expect(readAll(openKeys(keys))).toEqual(Int32Array.of(1, 0, 2, 0))
    expect(reads).toBe(1)
  })

  test('a key that is not there is named by its index', () => {
    expect(thrownBy(() => readAll(openKeys(withLength(100)))).message).toMatch(
      /^"keys\[2\]" must be .*, got undefined$/,
    )
  })

  test.each([
    ['fewer', 3, 2],
    ['more', 1, 2],
    ['none at all', 2, 0],
    ['more than none', 0, 1],
  ])('a set that gives %s is a TypeError: it says %d and gives %d', (_, size, count) => {
    const error = thrownBy(() =>
      readAll(openKeys(withSize(size, () => [7, 8].slice(0, count).values()))),
    )
    expect(error).toEqual(invalidArg)
    expect(error.message).toMatch(
      `"keys" must be a Set of as many values as its size says, ${size}, got ${count > size ? '"more"' : count}`,
    )
  })

  test('a set that never ends is left after one value more than it said, and is told so', () => {
    let given = 0
    let isClosed = false
    function* endless(): Generator<number> {
      try {
        for (;;) yield given++
      } finally {
        isClosed = true
      }
    }
    expect(thrownBy(() => readAll(openKeys(withSize(5, endless))))).toEqual(invalidArg)
    expect([given, isClosed]).toEqual([6, true])
  })

  test('a real Set is what it is, whatever its class says', () => {
    class Odd extends Set<number> {
      override get size(): number {
        return 100
      }
      override values(): any {
        return [7].values()
      }
      override get [Symbol.toStringTag](): any {
        return 'Odd'
      }
    }
    expect(bitsOfAll(new Odd([1, 2]))).toEqual([1n, 2n])
  })

  test('a typed array is what it is, whatever it says', () => {
    const keys = Object.defineProperties(BigUint64Array.of(1n, 2n), {
      length: { value: 1 },
      byteOffset: { value: 8 },
      buffer: { value: new ArrayBuffer(64) },
      [Symbol.toStringTag]: { value: 'Uint32Array' },
    })
    expect(bitsOfAll(keys)).toEqual([1n, 2n])
    const bytes = Object.defineProperties(Uint8Array.of(1, 2), {
      length: { value: 1 },
      [Symbol.toStringTag]: { value: 'Uint16Array' },
    })
    expect(bitsOf(bytes)).toBe(fingerprint(Uint8Array.of(1, 2)))
  })

  test.each<[what: string, list: any]>([
    ['a Proxy of a Set', new Proxy(new Set([1]), {})],
    ['a revoked Proxy', revoked()],
    ['a set without values()', withSize(1, undefined as never)],
    ['a set whose values() gives nothing', withSize(1, () => undefined)],
    ['a set whose iterator gives no objects', withSize(1, () => ({ next: () => 7 }))],
    ['a set whose iterator has no next()', withSize(1, () => ({}))],
  ])('%s is one clear error', (_, list) => {
    expect(thrownBy(() => readAll(openKeys(list)))).toEqual(invalidArg)
  })

  test('an error of its own is thrown as it is', () => {
    const own = new Error('of the list')
    const fail = (): never => {
      throw own
    }
    for (const list of [
      Object.defineProperty([1], 0, { get: fail }),
      new Proxy([1], { get: fail }),
      Object.defineProperty(withSize(1, fail), 'size', { get: fail }),
      withSize(1, fail),
      withSize(1, () => ({ next: fail })),
      withSize(1, () => ({ next: () => ({ done: false, value: {} }), return: fail })),
    ]) {
      const error = thrownBy(() => readAll(openKeys(list)))
      expect([
        own,
        expect.objectContaining({ message: expect.stringContaining('"keys[0]"') }),
      ]).toContainEqual(error)
    }
  })

  test('a list that only says that it is long does not cost the memory', () => {
    const before = process.memoryUsage().arrayBuffers
    expect(thrownBy(() => readAll(openKeys(new Array(2 ** 32 - 1))))).toEqual(invalidArg)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 24)
  })

  test('a list is read on from where it was left', () => {
    for (const make of [
      (keys: number[]) => keys,
      (keys: number[]) => new Set(keys),
      (keys: number[]) => Uint32Array.from(keys),
      (keys: number[]) => BigInt64Array.from(keys, BigInt),
    ]) {
      const source = openKeys(make([1, 2, 3, 4, 5]))
      const out = new Int32Array(6)
      readKeys(source, out, 0, 2)
      readKeys(source, out, 2, 2)
      expect(out).toEqual(Int32Array.of(1, 0, 3, 0, 4, 0))
      readKeys(source, out, 4, 1)
      expect(out).toEqual(Int32Array.of(1, 0, 3, 0, 5, 0))
    }
    const many = Array.from({ length: 50_000 }, (_, i) => i)
    expect(bitsOfAll(many)).toEqual(many.map(BigInt))
    expect(readAll(openKeys(many))).toEqual(
      Int32Array.from({ length: 100_000 }, (_, i) => (i % 2 === 0 ? i / 2 : 0)),
    )
  })
})

function revoked(): unknown {
  const { proxy, revoke } = Proxy.revocable([], {})
  revoke()
  return proxy
}

describe('messages name the usual way out', () => {
  test('a negative bigint: its 64 bits', () => {
    expect(thrownBy(() => bitsOf(-1n)).message).toBe(
      '"key" must be a bigint from 0n to 2^64-1, got -1n. For a signed id pass BigInt.asUintN(64, id).',
    )
    expect(bitsOf(BigInt.asUintN(64, -1n))).toBe(MAX)
    expect(thrownBy(() => bitsOf(2n ** 64n)).message).not.toContain('asUintN')
  })

  test('a key that is no id: that it may be a fingerprint, and what to read instead', () => {
    expect(idFrom(0xffffffff, 0x1fffff)).toBe(Number.MAX_SAFE_INTEGER)
    const error = thrownBy(() => idFrom(0, 0x200000))
    expect(error).toEqual(outOfRange)
    expect(error.message).toMatch(
      /^"key" must be an id from 0 to 2\^53-1, got 9007199254740992n\. Large bigints, and fingerprints, come back as 64 bits: .*for\.\.\.of or `bigints`\.$/,
    )
  })
})

describe('the number that two halves of a key make', () => {
  test('it goes up to 2^53 - 1, and beyond that is a RangeError that names the number', () => {
    expect([
      idFrom(7, 0),
      idFrom(0xffffffff, 0),
      idFrom(1, 1),
      idFrom(0xffffffff, 0x1fffff),
    ]).toEqual([7, 2 ** 32 - 1, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER])
    const error = thrownBy(() => idFrom(5, 0x200000))
    expect(error).toEqual(outOfRange)
    expect(error.message).toMatch(/^"key" must be an id from 0 to 2\^53-1, got 9007199254740997n/)
  })
})

describe('the texts of a list', () => {
  test('need room for all of them and for a gap as large as the largest, and none without texts', () => {
    const texts = Texts.spare(100)
    expect(texts.needed).toBe(0)
    const out = new Int32Array(6)
    for (const [i, length] of [9, 40, 3].entries())
      texts.take('x'.repeat(length), out, 2 * i, Infinity, i)
    const sizes = [9, 40, 3].map((length) => Texts.sizeOf(length << 1))
    expect([texts.size, texts.needed]).toEqual([
      sizes[0] + sizes[1] + sizes[2],
      sizes[0] + 2 * sizes[1] + sizes[2] + 1,
    ])
    texts.clear()
    expect([texts.size, texts.needed]).toEqual([0, 0])
    Texts.giveBack(texts)
  })
})

describe('what a thread keeps for its next list', () => {
  test('is the room for the pairs of 512 keys', () => {
    const { pairs } = Texts.spare(100)
    const ids = Array.from({ length: 513 }, (_, i) => i)
    expect(readAll(openKeys(ids.slice(1)), pairs)).toBe(pairs)
    expect(readAll(openKeys(ids), pairs)).not.toBe(pairs)
  })

  test('are the texts of the list before, unless those were large', () => {
    const texts = Texts.spare(2 ** 20)
    Texts.giveBack(texts)
    expect(Texts.spare(2 ** 20)).toBe(texts)
    texts.take('x'.repeat(2 ** 18), new Int32Array(2), 0, Infinity, 0)
    Texts.giveBack(texts)
    expect(Texts.spare(2 ** 20)).not.toBe(texts)
  })
})

describe('what an error about keys says, word for word', () => {
  const real = new Set([1])
  const iterable = (values: unknown): unknown => ({
    [Symbol.toStringTag]: 'Set',
    size: 1,
    values: () => values,
  })
  const cases: [what: string, act: () => unknown, says: string][] = [
    [
      '-1n',
      () => bitsOf(-1n),
      '"key" must be a bigint from 0n to 2^64-1, got -1n. For a signed id pass BigInt.asUintN(64, id).',
    ],
    [
      '2^64',
      () => bitsOf(MAX + 1n),
      '"key" must be a bigint from 0n to 2^64-1, got 18446744073709551616n',
    ],
    ['low', () => checkPair('1', undefined), '"low" must be a number, got "1"'],
    ['high', () => checkPair(1, undefined), '"high" must be a number, got undefined'],
    [
      'a list that is too long',
      () => checkFits('keys', 9, 8),
      '"keys" must be at most 8 keys (laneCapacity), got 9. To mark more keys than a lane holds, pass { atomic: false }, or raise laneCapacity.',
    ],
    [
      'memory',
      () => pairsFor(2 ** 52),
      '"keys" must be a size that this machine has the memory for, got 4503599627370496',
    ],
    [
      'a length',
      () => openKeys(new Proxy([1], { get: () => 1.5 })),
      '"keys.length" must be a whole number from 0 to 2^32-1, got 1.5',
    ],
    [
      'a length of 2^32',
      () => openKeys(new Proxy([1], { get: () => 2 ** 32 })),
      '"keys.length" must be a whole number from 0 to 2^32-1, got 4294967296',
    ],
    [
      'a length that is no number',
      () => openKeys(new Proxy([1], { get: () => '1' })),
      '"keys.length" must be a number, got "1"',
    ],
    [
      'a size',
      () => openKeys({ [Symbol.toStringTag]: 'Set', size: -1 } as never),
      '"keys.size" must be a whole number from 0 to 2^32-1, got -1',
    ],
    [
      'a Proxy of a Set',
      () => openKeys(new Proxy(real, {})),
      '"keys" must be a Set whose size can be read, got an instance of Set. Of a Proxy of a Set it cannot: pass the Set.',
    ],
    [
      'no iterator',
      () => readAll(openKeys(iterable({}) as never)),
      '"keys" must be a Set whose values() gives an iterator, got an instance of Object',
    ],
    [
      'no values()',
      () => readAll(openKeys({ [Symbol.toStringTag]: 'Set', size: 1 } as never)),
      '"keys" must be a Set whose values() gives an iterator, got an instance of Object',
    ],
    [
      'results that are none',
      () => readAll(openKeys(iterable({ next: () => null }) as never)),
      '"keys" must be a Set whose iterator gives objects, got null',
    ],
    [
      'results that are numbers',
      () => readAll(openKeys(iterable({ next: () => 5 }) as never)),
      '"keys" must be a Set whose iterator gives objects, got 5',
    ],
    [
      'values that are fewer',
      () => readAll(openKeys(iterable([].values()) as never)),
      '"keys" must be a Set of as many values as its size says, 1, got 0',
    ],
    [
      'values that are more',
      () => readAll(openKeys(iterable([1, 2].values()) as never)),
      '"keys" must be a Set of as many values as its size says, 1, got "more"',
    ],
  ]

  test.each(cases)('%s', (_, act, says) => {
    expect(thrownBy(act).message).toBe(says)
  })

  test('of another kind than the tracker takes: which half of which pair', () => {
    const pairs = new Uint32Array(8)
    pairs[7] = HIGH_MAX + 1
    expect(thrownBy(() => checkPairsOfKind(pairs, 'number')).message).toBe(
      `"pairs[7]" must be at most ${HIGH_MAX}, the high half of 2^53-1, got ${HIGH_MAX + 1}. The tracker was made with keys: 'number'.`,
    )
    expect(thrownBy(() => checkPairOfKind(5, 0, 'string', 3)).message).toBe(
      `"pairs[6]" must be a string, got 5. The tracker was made with keys: 'string'.`,
    )
  })

  test('of a list of no pairs: none', () => {
    expect(() => checkPairsOfKind(new Uint32Array(0), 'string')).not.toThrow()
  })

  test('that are too long by the number of their characters alone', () => {
    expect(thrownBy(() => encodeKey('é'.repeat(11), 10)).message).toContain(', got 11. ')
    expect(thrownBy(() => encodeKey('é'.repeat(6), 10)).message).toContain(', got 12. ')
  })

  test('that are looked up, and whose memory is gone', () => {
    const bytes = new Uint8Array(4)
    structuredClone(bytes, { transfer: [bytes.buffer] })
    expect(thrownBy(() => encodeForLookup(bytes)).message).toContain('"key" must be a view of ')
  })

  test('what the engine said is its cause', () => {
    expect(thrownBy(() => pairsFor(2 ** 52)).cause).toBeInstanceOf(RangeError)
    expect(thrownBy(() => openKeys(new Proxy(real, {}))).cause).toBeInstanceOf(TypeError)
  })

  test('as many keys as a lane holds fit', () => {
    expect(() => checkFits('keys', 8, 8)).not.toThrow()
  })

  test('an iterator without return() is left alone, and one with it is closed, whatever that throws', () => {
    let closed = 0
    const closing = {
      next: () => null,
      return: () => {
        closed++
        throw new Error('of its own')
      },
    }
    expect(thrownBy(() => readAll(openKeys(iterable(closing) as never)))).toEqual(invalidArg)
    expect(closed).toBe(1)
    expect(
      thrownBy(() => readAll(openKeys(iterable({ next: () => null, return: 5 }) as never))),
    ).toEqual(invalidArg)
  })

  test('a list of more keys than are read at once is read to its end, in order', () => {
    for (const count of [16_384, 16_385, 40_000, 70_000]) {
      const ids = Array.from({ length: count }, (_, i) => i)
      for (const keys of [ids, new Set(ids), Uint32Array.from(ids)]) {
        const lanes = readAll(openKeys(keys))
        expect(lanes.length).toBe(2 * count)
        expect(lanes.every((lane, i) => lane === (i % 2 === 0 ? i / 2 : 0))).toBe(true)
      }
    }
  })
})
