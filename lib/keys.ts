import { invalidArg, outOfRange } from './errors.js'
import { hashKey, typedArrayName, type Fingerprint } from './fingerprint.js'

export type { Fingerprint }

/**
 * Whatever names the thing that changed. One rule, in every method that takes a key:
 *
 * - number: an id of yours, a whole number 0 to 2^53 - 1. It is the key: exact, and you get it back with `ids()`.
 * - bigint: the 64 bits themselves, 0n to 2^64 - 1 (a signed id: `BigInt.asUintN(64, id)`).
 * - string or bytes: hashed by `fingerprint()`, seed 0. One way.
 */
export type Key = number | bigint | string | Uint8Array

/**
 * Many keys at once; not a string and not a Uint8Array, each of which is one Key. A BigInt64Array's values are taken as 64 bits; a Uint32Array's values
 * are ids, each one key (for lanes there is `markLanes()`).
 */
export type KeyList = BigUint64Array | BigInt64Array | Uint32Array | readonly Key[] | ReadonlySet<Key>

const wide = new BigUint64Array(1)
const wideLanes = new Int32Array(wide.buffer)

/** Write a key's two lanes to out[at], out[at + 1]. Throws TypeError and RangeError, with nothing written. */
export function readKey(key: Key, out: Int32Array, at: number, name = 'key'): void {
  if (typeof key === 'number') {
    if (!(key >= 0 && key <= Number.MAX_SAFE_INTEGER) || Math.floor(key) !== key)
      throw outOfRange(name, 'a whole number, 0 to 2^53 - 1', key)
    out[at] = key | 0
    out[at + 1] = key / 2 ** 32
  } else if (typeof key === 'bigint') {
    wide[0] = key
    if (wide[0] !== key) throw outOfRange(name, 'a bigint, 0 to 2^64 - 1', key)
    out[at] = wideLanes[0]
    out[at + 1] = wideLanes[1]
  } else if (typeof key === 'string' || typedArrayName(key) === 'Uint8Array') {
    hashKey(key, 0, out, at)
  } else {
    throw invalidArg(name, 'a whole number, a bigint, a string or a Uint8Array', key)
  }
}

/** How many keys a list has. Throws TypeError for what is no KeyList. */
export function keyCount(keys: KeyList): number {
  const kind = typedArrayName(keys)
  if (kind === 'BigUint64Array' || kind === 'BigInt64Array' || kind === 'Uint32Array') return (keys as Uint32Array).length
  if (Array.isArray(keys)) return keys.length
  if (isSet(keys)) return keys.size
  const hint = typeof keys === 'string' || kind === 'Uint8Array' ? ' (one key: wrap it in an array)' : ''
  throw invalidArg('keys', `a BigUint64Array, a BigInt64Array, a Uint32Array of ids, an array or a Set of keys${hint}`, keys)
}

/** Write the lanes of `keyCount(keys)` keys from out[at] on. Throws what readKey() throws, with a part written. */
export function readKeys(keys: KeyList, out: Int32Array, at: number): void {
  const kind = typedArrayName(keys)
  if (kind === 'BigUint64Array' || kind === 'BigInt64Array') {
    const wideKeys = keys as BigUint64Array
    out.set(new Int32Array(wideKeys.buffer, wideKeys.byteOffset, wideKeys.length * 2), at)
  } else if (kind === 'Uint32Array') {
    const ids = keys as Uint32Array
    for (let i = 0; i < ids.length; i++) {
      out[at + 2 * i] = ids[i]
      out[at + 2 * i + 1] = 0
    }
  } else {
    let i = 0
    for (const key of keys as Iterable<Key>) {
      readKey(key, out, at + 2 * i, `keys[${i}]`)
      i++
    }
  }
}

/** How many keys an array of lanes has. Throws TypeError for another type, RangeError for an odd length. */
export function laneCount(lanes: Uint32Array | Int32Array): number {
  const kind = typedArrayName(lanes)
  if (kind !== 'Uint32Array' && kind !== 'Int32Array') throw invalidArg('lanes', 'a Uint32Array or an Int32Array', lanes)
  if (lanes.length % 2 !== 0) throw outOfRange('lanes', 'an even length', lanes.length)
  return lanes.length / 2
}

/** A key's lanes (as uint32) back as the id that was marked. RangeError above 2^53 - 1. */
export function idFrom(lo: number, hi: number): number {
  if (hi > 0x1fffff) throw outOfRange('key', 'an id, 0 to 2^53 - 1', (BigInt(hi) << 32n) | BigInt(lo))
  return hi * 2 ** 32 + lo
}

function isSet(value: unknown): value is ReadonlySet<Key> {
  return Object.prototype.toString.call(value) === '[object Set]' && typeof (value as Set<Key>).size === 'number'
}
