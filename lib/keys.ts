// Turns the keys that callers pass into pairs, the low and the high half of 64 bits, as int32; and,
// where texts are kept, into pairs and texts. Every method that takes keys reads them here.

import { argumentName, isEngineError, typedArrayName, viewLength, wordsOf } from './check.js'
import { invalidArg, isRevoked, outOfRange } from './errors.js'
import { type Fingerprint, hashBytes, hashText } from './fingerprint.js'
import type { KeyKind } from './memory/settings.js'
import type { TextList } from './ring/lane.js'
import { encodeBytes, encodeText, packBytes, packText, scratch } from './text/encode.js'
import { digest } from './text/murmur.js'

export type { Fingerprint }

/**
 * Names the thing that changed. Every method that takes a key follows one rule:
 *
 * - number: an id, a whole number from 0 to 2^53-1. It is the key itself, and an epoch gives it
 *   back.
 * - bigint: the 64 bits of the key, 0n to 2^64-1. For a signed id pass `BigInt.asUintN(64, id)`.
 * - string or Uint8Array: the text, or the bytes, themselves. An epoch gives them back as they were
 *   marked, lone surrogates included. A text and bytes of the same content are two keys. (In a
 *   FingerprintSet, and where a tracker has no memory for text, the key is the {@link fingerprint}
 *   instead. That is so with `maxStringsPerEpoch: 0`, and in `epoch.has()` with `keys: 'number'` or
 *   'bigint'.)
 *
 * The id 7 and the bigint 7n are one key, and the string '7' is another. **Numeric keys up to
 * 2^53-1 come back as numbers**, also those that were marked as bigints. A value of another type is
 * a TypeError `ERR_DIRTYRING_INVALID_ARG`. A number or bigint outside its range is a RangeError
 * `ERR_DIRTYRING_OUT_OF_RANGE`. Both store nothing.
 *
 * A method that takes one key ignores all further arguments, so `keys.forEach(writer.mark, writer)`
 * marks the keys. A key that is a pair of 32-bit numbers has methods of its own (`markPair`,
 * `hasPair`, `addPair`): `mark(7)` is `markPair(7, 0)`, and `mark(2 ** 32 + 5)` is `markPair(5,
 * 1)`.
 *
 * @example
 * ```js
 * writer.mark(42)
 * writer.mark(42n) // the same key once more
 * writer.mark(0xcbf29ce484222325n)
 * writer.mark('user:42')
 * await tracker.consume((epoch) => {
 *   console.log(epoch.size, epoch.has(42), epoch.has('42')) // 3 true false
 * })
 * ```
 */
export type Key = number | bigint | string | Uint8Array

/**
 * The type of the keys that come back, by the kind that `create({ keys })` names.
 *
 * @example
 * ```ts
 * import type { KeyOf } from 'dirtyring'
 *
 * const path: KeyOf<'string'> = '/users/7'
 * console.log(path) // /users/7
 * ```
 */
export type KeyOf<Kind extends KeyKind> = Kind extends 'string'
  ? string
  : Kind extends 'number'
    ? number
    : Kind extends 'bigint'
      ? bigint
      : Kind extends 'bytes'
        ? Uint8Array
        : Key

/**
 * Holds many keys. A string and a Uint8Array are not lists, because each of them is one key.
 *
 * Each value of a BigInt64Array counts as 64 bits (-1n is 2^64-1). Each value of a Uint32Array is
 * an id; for pairs use `markPairs`. An array or a Set may mix kinds of key. The library reads the
 * length once.
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

/** Methods of a typed array that write to it, or that give a view which can be written to. */
type Writes = 'copyWithin' | 'fill' | 'reverse' | 'set' | 'sort' | 'subarray'

/**
 * A BigUint64Array without what writes. `slice()` gives a copy that may be written to.
 *
 * @example
 * ```js
 * writer.markMany([7, 8])
 * const copy = await tracker.consume((epoch) => epoch.bigints.slice())
 * console.log(copy.sort().join()) // 7,8
 * ```
 */
export type ReadonlyBigints = Omit<BigUint64Array, Writes | number> & {
  readonly [index: number]: bigint
}

/**
 * A Uint32Array without what writes: low, high, low, high and so on. `slice()` gives a copy that
 * may be written to.
 *
 * @example
 * ```js
 * writer.markPair(7, 2)
 * await tracker.consume((epoch) => console.log(epoch.pairs[0], epoch.pairs[1])) // 7 2
 * ```
 */
export type ReadonlyPairs = Omit<Uint32Array, Writes | number> & {
  readonly [index: number]: number
}

const TWO_POW_32 = 2 ** 32
const MAX_BIGINT = 2n ** 64n - 1n

const pairOfBigint = new Int32Array(2)
const bigintBits = new BigUint64Array(pairOfBigint.buffer)

/** A text's length in bytes << 1 | kind: what a lane and an epoch keep beside it. */
const BYTES = 1

/** Room for the texts of a usual batch, and for its keys. */
const FIRST_TEXT_WORDS = 4096
const FIRST_KEYS = 512
/** What a thread keeps for its next list at most. */
const SPARE_TEXT_WORDS = 2 ** 16

/**
 * Takes the texts of a list that is read.
 *
 * @internal
 */
export interface TextSink {
  /**
   * Takes the text of the key whose pair goes to `out[at]`, and writes the pair. Returns false and
   * takes nothing if all texts would take more than `most` words; the first always goes in. `name`
   * is as readKey() has it.
   */
  take(
    key: string | Uint8Array,
    out: Int32Array,
    at: number,
    most: number,
    name: string | number,
  ): boolean
}

/**
 * The texts of a list of keys, in the form that a lane takes them.
 *
 * @internal
 */
export class Texts implements TextList, TextSink {
  words = new Int32Array(FIRST_TEXT_WORDS)
  size = 0
  /** Room for the pairs of the list's keys. */
  readonly pairs = new Int32Array(2 * FIRST_KEYS)
  #longest = 0
  #largest = 0

  /** Wherever the texts begin in the ring, one of them may have to skip less than its own size. */
  get needed(): number {
    return this.size === 0 ? 0 : this.size + this.#largest + 1
  }

  /** Texts that no other call has until giveBack(). `longest`: how many bytes each may have. */
  static spare(longest: number): Texts {
    const texts = spareTexts ?? new Texts()
    spareTexts = undefined
    texts.#longest = longest
    texts.clear()
    return texts
  }

  /** For the next spare() on this thread: so a list costs no allocation. */
  static giveBack(texts: Texts): void {
    if (texts.words.length <= SPARE_TEXT_WORDS) spareTexts = texts
  }

  clear(): void {
    this.size = 0
    this.#largest = 0
  }

  /** Words that the encoded text takes. */
  static sizeOf(head: number): number {
    return 2 + (((head >>> 1) + 3) >>> 2)
  }

  take(
    key: string | Uint8Array,
    out: Int32Array,
    at: number,
    most: number,
    name: string | number,
  ): boolean {
    const head = encodeKey(key, this.#longest, name)
    const { size } = this
    const end = size + Texts.sizeOf(head)
    if (end > most && size > 0) return false
    const words = end > this.words.length ? this.#grow(end) : this.words
    const source = scratch.words
    out[at] = digest[0]
    out[at + 1] = digest[1]
    words[size] = at >>> 1
    words[size + 1] = head
    for (let to = size + 2, i = 0; to < end; to++, i++) words[to] = source[i]
    this.size = end
    if (end - size > this.#largest) this.#largest = end - size
    return true
  }

  #grow(least: number): Int32Array {
    const larger = new Int32Array(Math.max(least, this.words.length * 2))
    larger.set(this.words.subarray(0, this.size))
    this.words = larger
    return larger
  }
}

let spareTexts: Texts | undefined

/**
 * Encodes a text key into the scratch of text/encode.ts, with its digest. Returns its head.
 *
 * @param longest - How many bytes it may have.
 * @throws RangeError `ERR_DIRTYRING_OUT_OF_RANGE` for more.
 * @internal
 */
export function encodeKey(
  key: string | Uint8Array,
  longest: number,
  name: string | number = 'key',
): number {
  const isText = typeof key === 'string'
  // A character has at least one byte, so a text that cannot fit is not encoded.
  const least = isText ? key.length : viewLength(key, name)
  if (least > longest) throw tooLong(name, longest, least)
  const bytes = isText ? encodeText(key) : encodeBytes(key, least)
  if (bytes > longest) throw tooLong(name, longest, bytes)
  return (bytes << 1) | (isText ? 0 : BYTES)
}

/**
 * Encodes a text key into the scratch of text/encode.ts, without its digest. Returns its head.
 *
 * @internal
 */
export function encodeForLookup(key: string | Uint8Array): number {
  return typeof key === 'string'
    ? packText(key) << 1
    : (packBytes(key, viewLength(key, 'key')) << 1) | BYTES
}

function tooLong(name: string | number, longest: number, bytes: number): RangeError {
  return outOfRange(
    argumentName(name),
    `a key of at most ${longest} bytes (half of laneTextBytes, less 16)`,
    bytes,
    'Raise laneTextBytes, or mark the fingerprint() of such a key.',
  )
}

/**
 * Whether a key is a text or bytes. Throws nothing, and runs no code of the caller's.
 *
 * @internal
 */
export function isTextKey(key: unknown): key is string | Uint8Array {
  return typeof key === 'string' || typedArrayName(key) === 'Uint8Array'
}

/**
 * Throws invalidArg unless a key is of the kind that the tracker was made with.
 *
 * @internal
 */
export function checkKind(key: unknown, kind: KeyKind, name: string | number = 'key'): void {
  if (kind === 'any') return
  const isOfKind = kind === 'bytes' ? typedArrayName(key) === 'Uint8Array' : typeof key === kind
  if (!isOfKind) throw otherKind(kind, name, key)
}

/**
 * The same for a pair, which is a numeric key: an id only if its high half is small enough. `index`:
 * it is that pair of a list.
 *
 * @internal
 */
export function checkPairOfKind(low: number, high: number, kind: KeyKind, index?: number): void {
  if (kind === 'string' || kind === 'bytes')
    throw otherKind(kind, index === undefined ? 'low' : `pairs[${2 * index}]`, low)
  if (kind === 'number' && isHalf(high) && high >>> 0 > HIGH_MAX) {
    const name = index === undefined ? 'high' : `pairs[${2 * index + 1}]`
    const most = `at most ${HIGH_MAX}, the high half of 2^53-1`
    throw outOfRange(name, most, high, MADE_WITH(kind))
  }
}

/**
 * The same for many pairs.
 *
 * @internal
 */
export function checkPairsOfKind(pairs: Pairs, kind: KeyKind): void {
  const count = pairCount(pairs)
  if (kind === 'bigint') return // each pair is one
  for (let i = 0; i < count; i++) checkPairOfKind(pairs[2 * i], pairs[2 * i + 1], kind, i)
}

/** The high half of 2^53 - 1. */
export const HIGH_MAX = 0x1fffff

const MADE_WITH = (kind: KeyKind): string => `The tracker was made with keys: '${kind}'.`

/** The error for a key of another kind. */
function otherKind(kind: KeyKind, name: string | number, got: unknown): TypeError {
  const expected = { any: 'a key', bytes: 'a Uint8Array' } as Readonly<Record<string, string>>
  return invalidArg(argumentName(name), expected[kind] ?? `a ${kind}`, got, MADE_WITH(kind))
}

/**
 * Writes one key as a pair: the low half to `out[at]`, the high half to `out[at + 1]`. A text is
 * written by its fingerprint. Writes nothing when it throws. Runs no code of the caller's.
 *
 * @param name - What an error calls the key. A number is its index in `keys`: only an error puts it
 * into words.
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
    hashText(key, out, at)
  } else if (typeof key === 'bigint') {
    if (key < 0n || key > MAX_BIGINT)
      throw outOfRange(
        argumentName(name),
        'a bigint from 0n to 2^64-1',
        key,
        key < 0n ? SIGNED : '',
      )
    bigintBits[0] = key
    out[at] = pairOfBigint[0]
    out[at + 1] = pairOfBigint[1]
  } else if (typedArrayName(key) === 'Uint8Array') {
    hashBytes(key, viewLength(key, name), out, at)
  } else {
    throw invalidArg(argumentName(name), 'a whole number, a bigint, a string or a Uint8Array', key)
  }
}

const SIGNED = 'For a signed id pass BigInt.asUintN(64, id).'

/**
 * Whether a value can be a half of a pair: a whole number from -2^31 to 2^32-1. Runs no code of the
 * caller's.
 *
 * @internal
 */
export function isHalf(value: unknown): boolean {
  return typeof value === 'number' && (value >>> 0 === value || (value | 0) === value)
}

/**
 * Throws badPair() unless both are halves of a pair.
 *
 * @internal
 */
export function checkPair(low: unknown, high: unknown): void {
  if (!isHalf(low) || !isHalf(high)) throw badPair(low, high)
}

/**
 * The error for two values of which at least one is not a half of a pair.
 *
 * @internal
 */
export function badPair(low: unknown, high: unknown): TypeError | RangeError {
  const [name, got] = isHalf(low) ? ['high', high] : ['low', low]
  if (typeof got !== 'number') return invalidArg(name, 'a number', got)
  const advice = Number.isSafeInteger(got) && got > 0 ? 'For an id up to 2^53-1 use one key.' : ''
  return outOfRange(name, 'a whole number from -2^31 to 2^32-1', got, advice)
}

/**
 * A list of keys after one look: its kind, and how many keys it has. Reading it may run code of the
 * caller's (a getter, an iterator), and that code may do anything, also to the list. So read it
 * into a scratch that nothing else has, and look at all other state after that.
 *
 * @internal
 */
export interface KeySource {
  readonly keys: KeyList | ReadonlyBigints
  readonly kind: '64 bits' | 'ids' | 'array' | 'set'
  readonly count: number
  /** The pairs of a list of 64-bit values, where they lie. */
  readonly pairs: Int32Array | undefined
  /** The index of the next key to read. */
  next: number
  /** Of a set: where the next key comes from. */
  values: SetValues | undefined
  /** The next key, if it was read from a set and its text did not fit into the part before. */
  held: readonly [Key] | undefined
  /** Keys of another kind are refused. */
  readonly only: KeyKind
  /** The texts of the keys that were read last. Undefined: texts are read as fingerprints. */
  readonly texts: TextSink | undefined
}

/** The values of a set, one after the other. */
interface SetValues {
  readonly next: () => IteratorResult<Key>
  /** The list was not read to its end. */
  readonly close: () => void
}

/**
 * Looks at a list. Throws invalidArg for a value that is not a KeyList and for a length that is not
 * a number, and outOfRange for a number that is not a length. readKeys() checks the keys.
 *
 * @internal
 */
export function openKeys(
  keys: KeyList | ReadonlyBigints,
  only: KeyKind = 'any',
  texts?: TextSink,
): KeySource {
  const kind = listKind(keys)
  if (kind === undefined) {
    const hint = isKey(keys) ? 'To pass one key, wrap it in an array.' : ''
    throw invalidArg(
      'keys',
      'a BigUint64Array, a BigInt64Array, a Uint32Array, an array or a Set of keys',
      keys,
      hint,
    )
  }
  const count = countOf(keys, kind)
  const pairs = kind === '64 bits' ? wordsOf(keys, count * 2) : undefined
  if (count > 0 && kind === '64 bits') checkKind(0n, only, 'keys')
  if (count > 0 && kind === 'ids') checkKind(0, only, 'keys')
  return { keys, kind, count, pairs, next: 0, values: undefined, held: undefined, only, texts }
}

function countOf(keys: KeyList | ReadonlyBigints, kind: KeySource['kind']): number {
  switch (kind) {
    case '64 bits':
    case 'ids':
      return viewLength(keys, 'keys')
    case 'array':
      return checkCount('keys.length', (keys as readonly Key[]).length)
    case 'set':
      return sizeOf(keys as ReadonlySet<Key>)
  }
}

/**
 * Writes the list's next keys as pairs, from `out[at]` on: `count` of them, or fewer if their texts
 * take more than `textWords`; at least one. Returns how many. Throws what readKey() throws, with the
 * index of the key. After the last key it throws invalidArg for a set that has more or fewer values
 * than its size says. `out` may be partly written then.
 *
 * @internal
 */
export function readKeys(
  source: KeySource,
  out: Int32Array,
  at: number,
  count: number,
  textWords = Infinity,
): number {
  const { keys, kind, next } = source
  switch (kind) {
    case '64 bits':
      out.set(source.pairs!.subarray(next * 2, (next + count) * 2), at)
      break
    case 'ids':
      for (let i = 0; i < count; i++) {
        out[at + 2 * i] = (keys as Uint32Array)[next + i]
        out[at + 2 * i + 1] = 0
      }
      break
    case 'array':
    case 'set':
      return readEach(source, out, at, count, textWords)
  }
  source.next = next + count
  return count
}

function readEach(
  source: KeySource,
  out: Int32Array,
  at: number,
  count: number,
  textWords: number,
): number {
  const { keys, kind, texts, only, next } = source
  const takesIds = only === 'any' || only === 'number'
  const values = kind === 'set' ? (source.values ??= valuesOf(keys as ReadonlySet<Key>)) : undefined
  try {
    for (let i = 0; i < count; i++) {
      const index = next + i
      let key: Key
      if (values === undefined) {
        key = (keys as readonly Key[])[index]
      } else if (source.held !== undefined) {
        ;[key] = source.held
        source.held = undefined
      } else {
        const result = values.next()
        if (result.done === true) throw otherSize(source, index)
        key = result.value
      }
      if (typeof key === 'number' && key >>> 0 === key && takesIds) {
        out[at + 2 * i] = key
        out[at + 2 * i + 1] = 0
        continue
      }
      if (only !== 'any') checkKind(key, only, index)
      if (texts !== undefined && isTextKey(key)) {
        if (!texts.take(key, out, at + 2 * i, textWords, index)) {
          source.held = values === undefined ? undefined : [key]
          source.next = index
          return i
        }
      } else {
        readKey(key, out, at + 2 * i, index)
      }
    }
    source.next = next + count
    if (values !== undefined && source.next === source.count && values.next().done !== true)
      throw otherSize(source, 'more')
  } catch (error) {
    values?.close()
    throw error
  }
  return count
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
 * All keys of a list as pairs. Those of 64-bit values stay where they lie; those of another list
 * are in a scratch that nothing else has: in `room`, from its start, if they fit there. Throws what
 * readKeys() throws, and outOfRange when this machine lacks the memory.
 *
 * @internal
 */
export function readAll(source: KeySource, room?: Int32Array): Int32Array {
  const { count, kind } = source
  if (source.pairs !== undefined) return source.pairs
  if (room !== undefined && room.length >= 2 * count) {
    readKeys(source, room, 0, count)
    return room
  }
  let pairs = pairsFor(kind === 'ids' ? count : Math.min(count, FIRST_PART))
  for (let done = 0; ;) {
    const end = pairs.length / 2
    readKeys(source, pairs, done * 2, end - done)
    if (end === count) return pairs
    done = end
    const larger = pairsFor(Math.min(count, done * 2))
    larger.set(pairs)
    pairs = larger
  }
}

/**
 * Room for `count` pairs. Throws outOfRange when this machine lacks the memory.
 *
 * @internal
 */
export function pairsFor(count: number, name = 'keys'): Int32Array {
  try {
    return new Int32Array(count * 2)
  } catch (cause) {
    throw Object.assign(outOfRange(name, 'a size that this machine has the memory for', count), {
      cause,
    })
  }
}

/**
 * Throws outOfRange if a lane cannot hold `count` keys even when it is empty.
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

/** Pairs one after the other: low, high, low, high and so on. */
export type Pairs = Uint32Array | Int32Array | ReadonlyPairs

/**
 * Counts the pairs of a list. Throws invalidArg for another type, and outOfRange for an odd length.
 *
 * @internal
 */
export function pairCount(pairs: Pairs): number {
  const name = typedArrayName(pairs)
  if (name !== 'Uint32Array' && name !== 'Int32Array')
    throw invalidArg('pairs', 'a Uint32Array or an Int32Array', pairs)
  const length = viewLength(pairs, 'pairs')
  if (length % 2 !== 0)
    throw outOfRange('pairs', 'of an even length', length, 'Each key has a low and a high half.')
  return length / 2
}

/** A pair (as uint32) back as the id that was marked. RangeError above 2^53 - 1. */
export function idFrom(low: number, high: number): number {
  if (high <= HIGH_MAX) return high * TWO_POW_32 + low
  const advice =
    'Large bigints, and fingerprints, come back as 64 bits: read them with for...of or `bigints`.'
  throw outOfRange('key', 'an id from 0 to 2^53-1', bigintFrom(low, high), advice)
}

/** A pair (as uint32) back as a bigint. */
export function bigintFrom(low: number, high: number): bigint {
  pairOfBigint[0] = low
  pairOfBigint[1] = high
  return bigintBits[0]
}

/** A pair (as uint32) back as a key: a number up to 2^53 - 1, else a bigint. */
export function keyFrom(low: number, high: number): number | bigint {
  return high <= HIGH_MAX ? high * TWO_POW_32 + low : bigintFrom(low, high)
}
