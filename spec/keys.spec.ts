import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { runInNewContext } from 'node:vm'
import { fingerprint } from '../lib/fingerprint.js'
import { keyCount, laneCount, readKey, readKeys, type Key, type KeyList } from '../lib/keys.js'

/** The key as the 64 bits its lanes make, read at an odd place between two guards. */
function bitsOf(key: Key): bigint {
  const out = new Int32Array(4).fill(-7)
  readKey(key, out, 1)
  expect([out[0], out[3]]).toEqual([-7, -7])
  return (BigInt(out[2] >>> 0) << 32n) | BigInt(out[1] >>> 0)
}

function bitsOfAll(keys: KeyList): bigint[] {
  const count = keyCount(keys)
  const out = new Int32Array(2 * count + 2).fill(-7)
  readKeys(keys, out, 1)
  expect([out[0], out.at(-1)]).toEqual([-7, -7])
  return Array.from({ length: count }, (_, i) => (BigInt(out[2 * i + 2] >>> 0) << 32n) | BigInt(out[2 * i + 1] >>> 0))
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
const outOfRange = expect.objectContaining({ name: 'RangeError', code: 'ERR_DIRTYRING_OUT_OF_RANGE' })
const MAX = 2n ** 64n - 1n

describe('one key', () => {
  test('a number is the key itself, to the last bit', () => {
    for (const id of [0, -0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 52, Number.MAX_SAFE_INTEGER]) {
      expect(bitsOf(id)).toBe(BigInt(id))
    }
    fc.assert(fc.property(fc.maxSafeNat(), (id) => expect(bitsOf(id)).toBe(BigInt(id))))
  })

  test('a bigint is the 64 bits themselves', () => {
    for (const bits of [0n, 1n, 2n ** 32n, 2n ** 63n - 1n, 2n ** 63n, MAX]) expect(bitsOf(bits)).toBe(bits)
    fc.assert(fc.property(fc.bigInt({ min: 0n, max: MAX }), (bits) => expect(bitsOf(bits)).toBe(bits)))
  })

  test('a string and bytes are their fingerprint with seed 0', () => {
    for (const key of ['', 'user:42', 'é\ud800', Buffer.from('user:42'), new Uint8Array(new SharedArrayBuffer(9), 3, 5)]) {
      expect(bitsOf(key)).toBe(fingerprint(key, 0))
    }
    expect(bitsOf(runInNewContext('Uint8Array.of(1, 2)') as Uint8Array)).toBe(fingerprint(Uint8Array.of(1, 2)))
  })

  test.each([[-1], [0.5], [NaN], [Infinity], [-Infinity], [2 ** 53], [-1n], [2n ** 64n], [-(2n ** 64n)], [2n ** 64n + 1n]])(
    'a number or bigint out of range is a RangeError, and writes nothing: %p',
    (key) => {
      const out = new Int32Array(2).fill(-7)
      const error = thrownBy(() => readKey(key, out, 0, 'fp'))
      expect(error).toEqual(outOfRange)
      expect(error.message).toMatch(/^"fp" expected a (whole number|bigint), /)
      expect(out).toEqual(Int32Array.of(-7, -7))
    },
  )

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
    expect(error.message).toMatch(/^"key" expected a whole number, a bigint, a string or a Uint8Array, got /)
    expect(out).toEqual(Int32Array.of(-7, -7))
  })
})

describe('a list of keys', () => {
  test('each kind of list has its keys in order', () => {
    expect(bitsOfAll([7, 7n, 'a', Buffer.from('b')])).toEqual([7n, 7n, fingerprint('a'), fingerprint('b')])
    expect(bitsOfAll(new Set<Key>(['a', 2 ** 40, MAX]))).toEqual([fingerprint('a'), 2n ** 40n, MAX])
    expect(bitsOfAll(BigUint64Array.of(0n, 1n, MAX))).toEqual([0n, 1n, MAX])
    expect(bitsOfAll(BigInt64Array.of(-1n, -(2n ** 63n)))).toEqual([MAX, 2n ** 63n])
    expect(bitsOfAll(Uint32Array.of(0, 1, 0xffffffff))).toEqual([0n, 1n, 0xffffffffn])
  })

  test('an empty list of each kind has no keys', () => {
    for (const keys of [[], new Set<Key>(), new BigUint64Array(), new BigInt64Array(), new Uint32Array()])
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
    for (const list of ['[1, 2]', 'new Set([1, 2])', 'BigUint64Array.of(1n, 2n)', 'BigInt64Array.of(1n, 2n)', 'Uint32Array.of(1, 2)']) {
      expect(bitsOfAll(runInNewContext(list) as KeyList)).toEqual([1n, 2n])
    }
  })

  test('a key that is none is named by its index', () => {
    const out = new Int32Array(8)
    const sparse = Object.assign(new Array<Key>(3), { 0: 1, 2: 3 })
    for (const keys of [[1, null], new Set([1, {}]), sparse] as any[]) {
      const error = thrownBy(() => readKeys(keys, out, 0))
      expect(error).toEqual(invalidArg)
      expect(error.message).toMatch(/^"keys\[1\]" expected /)
    }
    const error = thrownBy(() => readKeys([1, 2, -1], out, 0))
    expect(error).toEqual(outOfRange)
    expect(error.message).toMatch(/^"keys\[2\]" expected /)
  })

  test.each([['key'], [new Uint8Array(8)], [Buffer.alloc(8)]])('one key is no list, and the error says what to do: %p', (key: any) => {
    const error = thrownBy(() => keyCount(key))
    expect(error).toEqual(invalidArg)
    expect(error.message).toMatch(/^"keys" expected a BigUint64Array, .* \(one key: wrap it in an array\), got /)
  })

  test.each([
    [undefined],
    [null],
    [7],
    [7n],
    [{ length: 1, 0: 1 }],
    [[1].values()],
    [new Map()],
    [Int32Array.of(1)],
    [Float64Array.of(1)],
    [new Uint8ClampedArray(8)],
    [new ArrayBuffer(8)],
    [new DataView(new ArrayBuffer(8))],
  ])('anything else is no list: %p', (keys: any) => {
    const error = thrownBy(() => keyCount(keys))
    expect(error).toEqual(invalidArg)
    expect(error.message).toMatch(/^"keys" expected a BigUint64Array, a BigInt64Array, a Uint32Array/)
  })
})

describe('a list of lanes', () => {
  test('two lanes are one key', () => {
    expect(laneCount(new Uint32Array(6))).toBe(3)
    expect(laneCount(new Int32Array(new SharedArrayBuffer(8)))).toBe(1)
    expect(laneCount(new Uint32Array())).toBe(0)
  })

  test('an odd number of lanes is a RangeError', () => {
    const error = thrownBy(() => laneCount(new Uint32Array(3)))
    expect(error).toEqual(outOfRange)
    expect(error.message).toBe('"lanes" expected an even length, got 3')
  })

  test.each([[undefined], [null], [[1, 2]], [new BigUint64Array(2)], [new Float64Array(2)], [new Uint8Array(2)]])(
    'another type is a TypeError: %p',
    (lanes: any) => {
      const error = thrownBy(() => laneCount(lanes))
      expect(error).toEqual(invalidArg)
      expect(error.message).toMatch(/^"lanes" expected a Uint32Array or an Int32Array, got /)
    },
  )
})
