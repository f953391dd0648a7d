// Whatever names a thing that changed, turned into two int32 lanes. Every method that takes keys reads them here.

import { invalidArg, outOfRange } from './errors.js'
import { hashKey, typedArrayName, type Fingerprint } from './fingerprint.js'

export type { Fingerprint }

/**
 * Whatever names the thing that changed; one rule, in every method that takes a key:
 *
 * - number: an id of yours, a whole number 0 to 2^53-1. It is the key itself, exact, and `ids()` gives it back.
 * - bigint: the 64 bits themselves, 0n to 2^64-1. A signed id: `BigInt.asUintN(64, id)`.
 * - string or Uint8Array: hashed by fingerprint() with seed 0. That is one way.
 *
 * So the id 7 and the bigint 7n are one key, and the string '7' is another. Anything else is a TypeError `ERR_DIRTYRING_INVALID_ARG`, a number
 * or bigint outside its range a RangeError `ERR_DIRTYRING_OUT_OF_RANGE`, and nothing is stored then.
 *
 * @example
 * ```js
 * writer.mark(42)
 * writer.mark(42n) // the same key once more
 * writer.mark(0xcbf29ce484222325n)
 * writer.mark('user:42')
 * await tracker.consume((epoch) => console.log(epoch.size, epoch.has(42), epoch.has('42'))) // 3 true false
 * ```
 */
export type Key = number | bigint | string | Uint8Array

/**
 * Many keys at once. Not a string and not a Uint8Array: each of those is one Key. The values of a BigInt64Array are taken as 64 bits (-1n is
 * 2^64-1), those of a Uint32Array as ids, each one key. An array or a Set may mix kinds of key.
 *
 * @example
 * ```js
 * writer.markMany([42, 'user:42', 7n])
 * writer.markMany(new Set(['user:42', 'user:43']))
 * writer.markMany(BigUint64Array.of(1n, 2n))
 * await tracker.consume((epoch) => console.log(epoch.size)) // 6
 * ```
 */
export type KeyList = BigUint64Array | BigInt64Array | Uint32Array | readonly Key[] | ReadonlySet<Key>

const TWO_POW_32 = 2 ** 32
const MAX_BIGINT = 2n ** 64n - 1n

const lanesOfBigint = new Int32Array(2)
const bigintBits = new BigUint64Array(lanesOfBigint.buffer)

/**
 * Writes the lanes of one key: lo to `out[at]`, hi to `out[at + 1]`; nothing when it throws.
 *
 * @param name - what an error calls the key; a number is its index in `keys`, put into words only when an error needs them
 * @internal
 */
export function readKey(key: Key, out: Int32Array, at: number, name: string | number = 'key'): void {
  if (typeof key === 'number') {
    if (!Number.isSafeInteger(key) || key < 0) throw outOfRange(nameOf(name), 'a whole number, 0 to 2^53-1', key)
    out[at] = key
    out[at + 1] = key / TWO_POW_32
  } else if (typeof key === 'string') {
    hashKey(key, 0, out, at)
  } else if (typeof key === 'bigint') {
    if (key < 0n || key > MAX_BIGINT) throw outOfRange(nameOf(name), 'a bigint, 0n to 2^64-1', key)
    bigintBits[0] = key
    out[at] = lanesOfBigint[0]
    out[at + 1] = lanesOfBigint[1]
  } else if (typedArrayName(key) === 'Uint8Array') {
    hashKey(key, 0, out, at)
  } else {
    throw invalidArg(nameOf(name), 'a whole number, a bigint, a string or a Uint8Array', key)
  }
}

function nameOf(name: string | number): string {
  return typeof name === 'number' ? `keys[${name}]` : name
}

/**
 * How many keys the list has. Throws invalidArg for whatever is no KeyList; the keys themselves are readKeys()'s to check.
 *
 * @internal
 */
export function keyCount(keys: KeyList): number {
  switch (listKind(keys)) {
    case '64 bits':
    case 'ids':
    case 'array':
      return (keys as ArrayLike<unknown>).length
    case 'set':
      return (keys as ReadonlySet<Key>).size
    case undefined: {
      const hint = isKey(keys) ? ' (one key: wrap it in an array)' : ''
      throw invalidArg('keys', `a BigUint64Array, a BigInt64Array, a Uint32Array, an array or a Set of keys${hint}`, keys)
    }
  }
}

/**
 * Writes the lanes of the list's first `count` keys, lo, hi, lo, hi ..., from `out[at]` on. Throws what keyCount() and readKey() throw, with
 * the index of the key; `out` may be partly written then, so it must be a scratch of the caller's.
 *
 * @param count - how many keys `out` has room for. Pass what keyCount() said: a list over growable memory may have become longer since
 * @internal
 */
export function readKeys(keys: KeyList, out: Int32Array, at: number, count = keyCount(keys)): void {
  switch (listKind(keys)) {
    case '64 bits': {
      const { buffer, byteOffset } = keys as BigUint64Array
      out.set(new Int32Array(buffer, byteOffset, 2 * count), at)
      return
    }
    case 'ids':
      for (let i = 0; i < count; i++) {
        out[at + 2 * i] = (keys as Uint32Array)[i]
        out[at + 2 * i + 1] = 0
      }
      return
    case 'array':
      for (let i = 0; i < count; i++) readKey((keys as readonly Key[])[i], out, at + 2 * i, i)
      return
    case 'set': {
      // Not for...of: the room in `out` decides how many are taken, and a set with fewer gives an undefined, which is no key.
      const values = (keys as ReadonlySet<Key>).values()
      for (let i = 0; i < count; i++) readKey(values.next().value as Key, out, at + 2 * i, i)
      return
    }
    case undefined:
      keyCount(keys)
  }
}

/** How a list is to be read, by what it is rather than by instanceof: it may come from another realm. */
function listKind(keys: unknown): '64 bits' | 'ids' | 'array' | 'set' | undefined {
  switch (typedArrayName(keys)) {
    case 'BigUint64Array':
    case 'BigInt64Array':
      return '64 bits'
    case 'Uint32Array':
      return 'ids'
    default:
  }
  if (Array.isArray(keys)) return 'array'
  return Object.prototype.toString.call(keys) === '[object Set]' ? 'set' : undefined
}

function isKey(value: unknown): boolean {
  return ['number', 'bigint', 'string'].includes(typeof value) || typedArrayName(value) === 'Uint8Array'
}

/**
 * How many keys a list of lanes has. Throws invalidArg for another type, outOfRange for an odd length.
 *
 * @internal
 */
export function laneCount(lanes: Uint32Array | Int32Array): number {
  const name = typedArrayName(lanes)
  if (name !== 'Uint32Array' && name !== 'Int32Array') throw invalidArg('lanes', 'a Uint32Array or an Int32Array', lanes)
  if (lanes.length % 2 !== 0) throw outOfRange('lanes', 'an even length', lanes.length)
  return lanes.length / 2
}

/** A key's lanes (as uint32) back as the id that was marked. RangeError above 2^53 - 1. */
export function idFrom(lo: number, hi: number): number {
  if (hi > 0x1fffff) throw outOfRange('key', 'an id, 0 to 2^53 - 1', (BigInt(hi) << 32n) | BigInt(lo))
  return hi * 2 ** 32 + lo
}
