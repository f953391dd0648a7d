// Whatever names a thing that changed, turned into two int32 lanes. Every method that takes keys
// reads them here.

import { argumentName, isEngineError, typedArrayName, viewLength, wordsOf } from './check.js'
import { invalidArg, isRevoked, outOfRange } from './errors.js'
import { hashBytes, hashKey, type Fingerprint } from './fingerprint.js'

export type { Fingerprint }

/**
 * Whatever names the thing that changed; one rule, in every method that takes a key:
 *
 * - number: an id of yours, a whole number 0 to 2^53-1. It is the key itself, exact, and `ids()`
 *   gives it back.
 * - bigint: the 64 bits themselves, 0n to 2^64-1. A signed id: `BigInt.asUintN(64, id)`.
 * - string or Uint8Array: hashed by fingerprint() with seed 0. That is one way.
 *
 * So the id 7 and the bigint 7n are one key, and the string '7' is another. Anything else is a
 * TypeError `ERR_DIRTYRING_INVALID_ARG`, a number or bigint outside its range a RangeError
 * `ERR_DIRTYRING_OUT_OF_RANGE`, and nothing is stored then.
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
 * Many keys at once. Not a string and not a Uint8Array: each of those is one Key. The values of a
 * BigInt64Array are taken as 64 bits (-1n is 2^64-1), those of a Uint32Array as ids, each one key.
 * An array or a Set may mix kinds of key.
 *
 * @example
 * ```js
 * writer.markMany([42, 'user:42', 7n])
 * writer.markMany(new Set(['user:42', 'user:43']))
 * writer.markMany(BigUint64Array.of(1n, 2n))
 * await tracker.consume((epoch) => console.log(epoch.size)) // 6
 * ```
 */
export type KeyList =
  BigUint64Array | BigInt64Array | Uint32Array | readonly Key[] | ReadonlySet<Key>

const TWO_POW_32 = 2 ** 32
const MAX_BIGINT = 2n ** 64n - 1n

const lanesOfBigint = new Int32Array(2)
const bigintBits = new BigUint64Array(lanesOfBigint.buffer)

/**
 * Writes the lanes of one key: lo to `out[at]`, hi to `out[at + 1]`; nothing when it throws. Runs
 * no code of the caller's.
 *
 * @param name - what an error calls the key; a number is its index in `keys`, put into words only
 * when an error needs them
 * @internal
 */
export function readKey(
  key: Key,
  out: Int32Array,
  at: number,
  name: string | number = 'key',
): void {
  if (typeof key === 'number') {
    if (!Number.isSafeInteger(key) || key < 0)
      throw outOfRange(argumentName(name), 'a whole number from 0 to 2^53-1', key)
    out[at] = key
    out[at + 1] = key / TWO_POW_32
  } else if (typeof key === 'string') {
    hashKey(key, 0, out, at)
  } else if (typeof key === 'bigint') {
    if (key < 0n || key > MAX_BIGINT)
      throw outOfRange(
        argumentName(name),
        'a bigint from 0n to 2^64-1',
        key,
        key < 0n ? SIGNED : '',
      )
    bigintBits[0] = key
    out[at] = lanesOfBigint[0]
    out[at + 1] = lanesOfBigint[1]
  } else if (typedArrayName(key) === 'Uint8Array') {
    hashBytes(key, viewLength(key, name), out, at)
  } else {
    throw invalidArg(argumentName(name), 'a whole number, a bigint, a string or a Uint8Array', key)
  }
}

const SIGNED = 'A signed id has its 64 bits as BigInt.asUintN(64, id).'

/**
 * Checks two lanes that are taken modulo 2^32. Whatever else is no number would run code of the
 * caller's where it is stored, or be an error of the engine's.
 *
 * @internal
 */
export function checkLanes(lo: unknown, hi: unknown): void {
  if (typeof lo !== 'number' || typeof hi !== 'number') throw noLanes(lo, hi)
}

/**
 * The error for two lanes of which one is no number.
 *
 * @internal
 */
export function noLanes(lo: unknown, hi: unknown): TypeError {
  return typeof lo !== 'number'
    ? invalidArg('lo', 'a number', lo)
    : invalidArg('hi', 'a number', hi)
}

/**
 * A list of keys that was looked at once: what it is, and how many keys it has. To read it may run
 * code of the caller's (a getter, an iterator), which may do anything, also to the list. So read it
 * into a scratch that nothing else has, and look at the state of all other things after that.
 *
 * @internal
 */
export interface KeySource {
  readonly keys: KeyList
  readonly kind: '64 bits' | 'ids' | 'array' | 'set'
  readonly count: number
  /** The lanes of a list of 64-bit values, where they lie. */
  readonly lanes: Int32Array | undefined
  /** The index of the next key to read. */
  next: number
  /** Of a set: where the next key comes from. */
  values: SetValues | undefined
}

/** The values of a set, one after the other. */
interface SetValues {
  readonly next: () => IteratorResult<Key>
  /** The list was not read to its end. */
  readonly close: () => void
}

/**
 * Looks at a list. Throws invalidArg for whatever is no KeyList, and for a length that is no
 * number; outOfRange for one that is no length. The keys themselves are readKeys()'s to check.
 *
 * @internal
 */
export function openKeys(keys: KeyList): KeySource {
  const kind = listKind(keys)
  switch (kind) {
    case '64 bits': {
      const count = viewLength(keys, 'keys')
      return { keys, kind, count, lanes: wordsOf(keys, count * 2), next: 0, values: undefined }
    }
    case 'ids':
      return {
        keys,
        kind,
        count: viewLength(keys, 'keys'),
        lanes: undefined,
        next: 0,
        values: undefined,
      }
    case 'array':
      return {
        keys,
        kind,
        count: checkCount('keys.length', (keys as readonly Key[]).length),
        lanes: undefined,
        next: 0,
        values: undefined,
      }
    case 'set':
      return {
        keys,
        kind,
        count: sizeOf(keys as ReadonlySet<Key>),
        lanes: undefined,
        next: 0,
        values: undefined,
      }
    case undefined: {
      const hint = isKey(keys) ? 'To pass one key, wrap it in an array.' : ''
      throw invalidArg(
        'keys',
        'a BigUint64Array, a BigInt64Array, a Uint32Array, an array or a Set of keys',
        keys,
        hint,
      )
    }
  }
}

/**
 * Writes the lanes of the list's next `count` keys, lo, hi, lo, hi ..., from `out[at]` on. Throws
 * what readKey() throws, with the index of the key; and invalidArg for a set that has more or fewer
 * values than its size says, once the last key is read. `out` may be partly written then.
 *
 * @internal
 */
export function readKeys(source: KeySource, out: Int32Array, at: number, count: number): void {
  const { keys, kind, next } = source
  source.next += count
  switch (kind) {
    case '64 bits':
      out.set(source.lanes!.subarray(next * 2, (next + count) * 2), at)
      return
    case 'ids':
      for (let i = 0; i < count; i++) {
        out[at + 2 * i] = (keys as Uint32Array)[next + i]
        out[at + 2 * i + 1] = 0
      }
      return
    case 'array':
      for (let i = 0; i < count; i++)
        readKey((keys as readonly Key[])[next + i], out, at + 2 * i, next + i)
      return
    case 'set':
      readValues(source, next, out, at, count)
  }
}

function readValues(
  source: KeySource,
  first: number,
  out: Int32Array,
  at: number,
  count: number,
): void {
  const values = (source.values ??= valuesOf(source.keys as ReadonlySet<Key>))
  try {
    for (let i = 0; i < count; i++) {
      const result = values.next()
      if (result.done === true) throw otherSize(source, first + i)
      readKey(result.value, out, at + 2 * i, first + i)
    }
    if (source.next === source.count && values.next().done !== true) throw otherSize(source, 'more')
  } catch (error) {
    values.close()
    throw error
  }
}

function otherSize({ count }: KeySource, got: unknown): TypeError {
  return invalidArg('keys', `a Set of as many values as its size says, ${count}`, got)
}

/**
 * Keys that are read before more room for them is reserved: a list that only says that it is long
 * must not cost the memory.
 */
const FIRST_PART = 16384

/**
 * All keys of a list as lanes: those of 64-bit values where they lie, of any other list in a
 * scratch that nothing else has. Throws what readKeys() throws, and outOfRange for more than this
 * machine has the memory for.
 *
 * @internal
 */
export function readAll(source: KeySource): Int32Array {
  const { count, kind } = source
  if (source.lanes !== undefined) return source.lanes
  let lanes = lanesFor(kind === 'ids' ? count : Math.min(count, FIRST_PART))
  for (let done = 0; ;) {
    const end = lanes.length / 2
    readKeys(source, lanes, done * 2, end - done)
    if (end === count) return lanes
    done = end
    const larger = lanesFor(Math.min(count, done * 2))
    larger.set(lanes)
    lanes = larger
  }
}

/**
 * Room for the lanes of so many keys. Throws outOfRange where this machine has not the memory.
 *
 * @internal
 */
export function lanesFor(count: number, name = 'keys'): Int32Array {
  try {
    return new Int32Array(count * 2)
  } catch (cause) {
    throw Object.assign(outOfRange(name, 'a size that this machine has the memory for', count), {
      cause,
    })
  }
}

/**
 * Checks that so many keys can be in one lane at all.
 *
 * @internal
 */
export function checkFits(name: string, count: number, laneCapacity: number): void {
  if (count <= laneCapacity) return
  const advice =
    'To mark more keys than a lane holds, pass { atomic: false }, or raise laneCapacity.'
  throw outOfRange(name, `at most ${laneCapacity} keys (laneCapacity)`, count, advice)
}

// The getter and the methods of the engine, for a Set of any realm: a subclass may have others.
const { get: sizeGetter } = Object.getOwnPropertyDescriptor(Set.prototype, 'size') as {
  get: (this: unknown) => number
}
// eslint-disable-next-line @typescript-eslint/unbound-method
const setValues = Set.prototype.values
const { next: setNext } = Object.getPrototypeOf(new Set().values()) as {
  next: (this: unknown) => IteratorResult<Key>
}

function isRealSet(keys: unknown): keys is Set<Key> {
  try {
    sizeGetter.call(keys)
    return true
  } catch {
    return false
  }
}

function sizeOf(keys: ReadonlySet<Key>): number {
  if (isRealSet(keys)) return sizeGetter.call(keys)
  try {
    return checkCount('keys.size', keys.size)
  } catch (cause) {
    if (!isEngineError(cause)) throw cause
    throw Object.assign(
      invalidArg(
        'keys',
        'a Set whose size can be read',
        keys,
        'Of a Proxy of a Set it cannot: pass the Set.',
      ),
      { cause },
    )
  }
}

function valuesOf(keys: ReadonlySet<Key>): SetValues {
  if (isRealSet(keys)) {
    const values = setValues.call(keys)
    return { next: () => setNext.call(values), close: () => undefined }
  }
  const values: unknown = typeof keys.values === 'function' ? keys.values() : undefined
  const { next } = Object(values) as { next?: unknown }
  if (typeof next !== 'function')
    throw invalidArg('keys', 'a Set whose values() gives an iterator', keys)
  return {
    next() {
      const result: unknown = next.call(values)
      if (typeof result === 'object' && result !== null) return result as IteratorResult<Key>
      throw invalidArg('keys', 'a Set whose iterator gives objects', result)
    },
    close() {
      try {
        const { return: end } = values as { return?: unknown }
        if (typeof end === 'function') end.call(values)
      } catch {
        // The caller is told what was wrong with the keys.
      }
    },
  }
}

function checkCount(name: string, count: unknown): number {
  if (typeof count !== 'number') throw invalidArg(name, 'a number', count)
  if (!Number.isInteger(count) || count < 0 || count >= TWO_POW_32)
    throw outOfRange(name, 'a whole number from 0 to 2^32-1', count)
  return count
}

/**
 * How a list is to be read, by what it is rather than by instanceof: it may come from another
 * realm.
 */
function listKind(keys: unknown): KeySource['kind'] | undefined {
  switch (typedArrayName(keys)) {
    case 'BigUint64Array':
    case 'BigInt64Array':
      return '64 bits'
    case 'Uint32Array':
      return 'ids'
    default:
  }
  if (typeof keys !== 'object' || keys === null || isRevoked(keys)) return undefined
  if (Array.isArray(keys)) return 'array'
  return isRealSet(keys) || Object.prototype.toString.call(keys) === '[object Set]'
    ? 'set'
    : undefined
}

function isKey(value: unknown): boolean {
  return (
    ['number', 'bigint', 'string'].includes(typeof value) || typedArrayName(value) === 'Uint8Array'
  )
}

/**
 * How many keys a list of lanes has. Throws invalidArg for another type, outOfRange for an odd
 * length.
 *
 * @internal
 */
export function laneCount(lanes: Uint32Array | Int32Array): number {
  const name = typedArrayName(lanes)
  if (name !== 'Uint32Array' && name !== 'Int32Array')
    throw invalidArg('lanes', 'a Uint32Array or an Int32Array', lanes)
  const length = viewLength(lanes, 'lanes')
  if (length % 2 !== 0) throw outOfRange('lanes', 'of an even length', length)
  return length / 2
}

/** A key's lanes (as uint32) back as the id that was marked. RangeError above 2^53 - 1. */
export function idFrom(lo: number, hi: number): number {
  if (hi <= 0x1fffff) return hi * TWO_POW_32 + lo
  const advice =
    'Text, bytes and larger bigints come back as 64-bit fingerprints: read them as bigints, with for...of or `keys`. ' +
    'To have text itself back, mark its number in a KeyDictionary.'
  throw outOfRange('key', 'an id from 0 to 2^53-1', (BigInt(hi) << 32n) | BigInt(lo), advice)
}
