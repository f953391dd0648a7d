import { checkBag, checkChoice, checkWhole, wordsOf } from '../check.js'
import { outOfRange } from '../errors.js'
import {
  checkPair,
  idFrom,
  type Key,
  keyFrom,
  type KeyList,
  openKeys,
  pairCount,
  type Pairs,
  readAll,
  readKey,
  type ReadonlyBigints,
} from '../keys.js'
import type { SharedWords } from '../memory/map.js'
import { OPTIONS } from '../memory/settings.js'
import { cellsFor, keysFor } from '../memory/table-size.js'
import { cellsOf, contains, indexLog, insertRun, type SetState, shiftFor } from './kernel.js'
import { randomSeed, type Secrets, secretsAt, secretsOf } from './mix.js'
import { nativeKernel, reserveNative, SCRATCH_WORDS } from './native/native.js'

const scratch = words(2)
const KEYS_MAX = 2 ** 28
/** Words of the staging area that a set with WebAssembly has. */
const STAGING = 8192

/**
 * Holds distinct 64-bit keys in typed arrays, in order of insertion. A text goes in by its
 * `fingerprint()`, and does not come back. The set grows, and it is seeded, so that an attacker
 * cannot choose keys that crowd.
 *
 * It also serves a second, slower consumer: add each epoch's keys to a set of its own. Use a set on
 * one thread.
 *
 * @example
 * ```js
 * import { FingerprintSet } from 'dirtyring'
 *
 * const set = new FingerprintSet({ expectedKeys: 1000 })
 * console.log(set.add(42), set.add(42)) // true false
 * console.log(set.addMany([1, 'user:7'])) // 2
 * console.log(set.size, set.has('user:7')) // 3 true
 * ```
 */
export class FingerprintSet {
  #set: SetState

  /**
   * Makes an empty set.
   *
   * @param options - `expectedKeys`: room to begin with, 0 to 2^28 keys, default 64.
   *
   * `seed`: 0 to 2^32-1. It decides where keys lie in the memory and nothing else. Default: from
   * the platform's crypto.
   *
   * `kernel`: 'wasm' for WebAssembly, up to two to three times as fast in addMany(), for large sets
   * that live long. Each such set reserves 8 to 10 GiB of address space (not memory) until it is
   * collected, and its `bigints` and `pairs` are views on a SharedArrayBuffer. If WebAssembly is
   * not available, now or when the set grows, the set uses TypeScript. 'auto' (the default) and
   * 'js' mean TypeScript.
   * @throws TypeError `ERR_DIRTYRING_INVALID_ARG` and RangeError `ERR_DIRTYRING_OUT_OF_RANGE`.
   */
  constructor(
    options: {
      expectedKeys?: number | undefined
      seed?: number | undefined
      kernel?: 'auto' | 'wasm' | 'js' | undefined
    } = {},
  ) {
    checkBag('options', options, ['expectedKeys', 'seed', 'kernel'])
    const { expectedKeys = 64, seed = randomSeed(), kernel = 'auto' } = options
    checkWhole('options.expectedKeys', expectedKeys, 0, KEYS_MAX)
    checkWhole('options.seed', seed, 0, 2 ** 32 - 1)
    checkChoice('options.kernel', kernel, OPTIONS.kernel.choices)
    this.#set = allocate(
      cellsFor(Math.max(expectedKeys, 1)),
      secretsAt(secretsOf(seed), 0),
      kernel === 'wasm',
    )
  }

  /**
   * Adds a key. Further arguments are ignored, so `keys.filter(set.add, set)` keeps the new keys.
   *
   * @param key - In any form that `writer.mark()` takes.
   * @returns True if the key was new.
   * @throws TypeError `ERR_DIRTYRING_INVALID_ARG` for a value that is not a key.
   * @throws RangeError `ERR_DIRTYRING_OUT_OF_RANGE` for a key out of range, and beyond 2^28 keys.
   */
  add(key: Key): boolean {
    readKey(key, scratch, 0)
    return this.#addScratch()
  }

  /**
   * Adds a key of two 32-bit numbers.
   *
   * @param low - A whole number from -2^31 to 2^32-1.
   * @param high - The same.
   * @returns True if the key was new.
   * @throws What {@link FingerprintSet.add} throws.
   *
   * @example
   * ```js
   * import { FingerprintSet } from 'dirtyring'
   *
   * const set = new FingerprintSet()
   * console.log(set.addPair(7, 2), set.hasPair(7, 2), set.has((2n << 32n) | 7n)) // true true true
   * ```
   */
  addPair(low: number, high: number): boolean {
    checkPair(low, high)
    scratch[0] = low
    scratch[1] = high
    return this.#addScratch()
  }

  #addScratch(): boolean {
    const before = this.#set.count
    this.#insert(scratch, 2)
    return this.#set.count !== before
  }

  /**
   * Adds many keys.
   *
   * @param keys - A list as `writer.markMany()` takes it.
   * @returns How many keys were new.
   * @throws TypeError `ERR_DIRTYRING_INVALID_ARG` and RangeError `ERR_DIRTYRING_OUT_OF_RANGE` for a
   * value that is not a list of keys. Nothing was added then.
   * @throws RangeError `ERR_DIRTYRING_OUT_OF_RANGE` beyond 2^28 keys.
   */
  addMany(keys: KeyList | ReadonlyBigints): number {
    const source = openKeys(keys)
    return this.#addAll(readAll(source), source.count)
  }

  /**
   * Adds many pairs: low, high, low, high and so on.
   *
   * @param pairs - An epoch's `pairs`, for instance.
   * @returns How many keys were new.
   * @throws What {@link FingerprintSet.addMany} throws, and RangeError for an odd length.
   *
   * @example
   * ```js
   * import { FingerprintSet } from 'dirtyring'
   *
   * const backlog = new FingerprintSet()
   * writer.markPair(7, 2)
   * await tracker.consume((epoch) => console.log(backlog.addPairs(epoch.pairs))) // 1
   * ```
   */
  addPairs(pairs: Pairs): number {
    const count = pairCount(pairs)
    return this.#addAll(wordsOf(pairs, count * 2), count)
  }

  #addAll(pairs: Int32Array, count: number): number {
    const before = this.#set.count
    this.#insert(pairs as SharedWords, count * 2)
    return this.#set.count - before
  }

  /**
   * Tells whether a key is in the set. Further arguments are ignored.
   *
   * @param key - In any form that `writer.mark()` takes.
   * @throws TypeError `ERR_DIRTYRING_INVALID_ARG` and RangeError `ERR_DIRTYRING_OUT_OF_RANGE`.
   */
  has(key: Key): boolean {
    readKey(key, scratch, 0)
    return contains(this.#set, scratch[0], scratch[1])
  }

  /**
   * Tells whether a key of two 32-bit numbers is in the set.
   *
   * @param low - A whole number from -2^31 to 2^32-1.
   * @param high - The same.
   * @throws What {@link FingerprintSet.has} throws.
   */
  hasPair(low: number, high: number): boolean {
    checkPair(low, high)
    return contains(this.#set, low | 0, high | 0)
  }

  /** Distinct keys held. */
  get size(): number {
    return this.#set.count
  }

  /** The keys in order of insertion, as 64-bit numbers: a view, valid until the set changes. */
  get bigints(): BigUint64Array {
    return new BigUint64Array(this.#set.words.buffer, this.#set.log * 4, this.size)
  }

  /** The same as pairs: low, high, low, high and so on. */
  get pairs(): Uint32Array {
    return new Uint32Array(this.#set.words.buffer, this.#set.log * 4, this.size * 2)
  }

  /**
   * Walks the keys as numbers, in order of insertion; keys added meanwhile too.
   *
   * @throws RangeError `ERR_DIRTYRING_OUT_OF_RANGE` at a key above 2^53-1.
   */
  *ids(): IterableIterator<number> {
    for (let i = 0; i < this.size; i++) {
      const at = this.#set.log + i * 2
      yield idFrom(this.#set.words[at] >>> 0, this.#set.words[at + 1] >>> 0)
    }
  }

  /**
   * Walks the keys in order of insertion, numbers up to 2^53-1 and bigints above; keys added
   * meanwhile too.
   */
  *[Symbol.iterator](): IterableIterator<number | bigint> {
    for (let i = 0; i < this.size; i++) {
      const at = this.#set.log + i * 2
      yield keyFrom(this.#set.words[at] >>> 0, this.#set.words[at + 1] >>> 0)
    }
  }

  /** Removes all keys, and keeps the memory. */
  clear(): void {
    const set = this.#set
    set.words.fill(0, set.table, set.table + cellsOf(set) * 2)
    set.count = 0
    set.zero = false
  }

  #insert(source: SharedWords, end: number): void {
    for (let at = 0; at < end;) {
      const set = this.#set // another one once it has grown, and perhaps without WebAssembly
      const stop = set.native === undefined ? end : Math.min(end, at + STAGING)
      const reached =
        set.native === undefined
          ? insertRun(set, source, at, stop)
          : at + insertStaged(set, source, at, stop)
      if (reached < stop) this.#grow()
      at = reached
    }
  }

  #grow(): void {
    const old = this.#set
    if (old.count >= KEYS_MAX)
      throw outOfRange('set', `a set of at most ${KEYS_MAX} keys`, old.count + 1)
    const set = allocate(cellsOf(old) * 2, old, old.native !== undefined)
    set.words.set(old.words.subarray(old.log, old.log + old.count * 2), set.log)
    set.count = old.count
    set.zero = old.zero
    indexLog(set, 0, set.count)
    this.#set = set
  }
}

/**
 * The log first, then the table; with WebAssembly a staging area and its scratch before both.
 * No other thread sees this memory, though its type says so.
 */
function allocate(cells: number, secrets: Secrets, wantsNative: boolean): SetState {
  const limit = keysFor(cells)
  const { seedLo, mulLo, seedHi, mulHi, mulMix } = secrets
  const size = limit * 2 + cells * 2
  const memory = wantsNative ? reserveNative((STAGING + SCRATCH_WORDS + size) * 4) : undefined
  const native = nativeKernel(memory, secrets, STAGING)
  const log = native === undefined ? 0 : STAGING + SCRATCH_WORDS
  return {
    words: native === undefined ? words(size) : (new Int32Array(memory!.buffer) as SharedWords),
    log,
    table: log + limit * 2,
    shift: shiftFor(cells),
    limit,
    count: 0,
    zero: false,
    native,
    seedLo,
    mulLo,
    seedHi,
    mulHi,
    mulMix,
  }
}

/**
 * Copies words to the staging area at the beginning of the set's memory, because WebAssembly
 * reaches no other. Returns the words taken.
 */
function insertStaged(set: SetState, source: SharedWords, from: number, to: number): number {
  set.words.set(source.subarray(from, to))
  return insertRun(set, set.words, 0, to - from)
}

function words(length: number): SharedWords {
  try {
    return new Int32Array(length) as unknown as SharedWords
  } catch (cause) {
    throw Object.assign(
      outOfRange(
        'options.expectedKeys',
        'a size that this machine has the memory for, in bytes',
        length * 4,
      ),
      { cause },
    )
  }
}
