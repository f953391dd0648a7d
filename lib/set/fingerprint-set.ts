import { checkBag, checkChoice, checkWhole } from '../check.js'
import { outOfRange } from '../errors.js'
import {
  checkLanes,
  idFrom,
  openKeys,
  readAll,
  readKey,
  type Fingerprint,
  type Key,
  type KeyList,
} from '../keys.js'
import { cellsFor, keysFor, type SharedWords } from '../memory/map.js'
import { OPTIONS } from '../memory/settings.js'
import { cellsOf, contains, indexLog, insertRun, shiftFor, type SetState } from './kernel.js'
import { randomSeed, secretsAt, secretsOf, type Secrets } from './mix.js'
import { nativeKernel, reserveNative, SCRATCH_WORDS } from './native/native.js'

const scratch = words(2)
const KEYS_MAX = 2 ** 28
/** Words of the staging area that a set with WebAssembly has. */
const STAGING = 8192

/**
 * A set of distinct 64-bit keys in typed arrays: growing, in order of insertion, seeded so that
 * nobody can choose keys that crowd.
 *
 * Also the way to feed a second, slower consumer: add each epoch's keys to a set of its own.
 * Belongs to one thread.
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
   * expectedKeys: room to begin with, 0 to 2^28, default 64. seed: uint32, decides where keys lie
   * and nothing else; default from the platform's crypto. kernel: 'wasm' for WebAssembly, up to two
   * to three times as fast in addMany(), for large sets that live long: each reserves some 10 GiB
   * of address space (no memory) until it is collected, and its `keys` and `lanes` are views on a
   * SharedArrayBuffer. Where it is not to be had the TypeScript one is taken, now or when the set
   * grows. 'auto' and 'js' mean TypeScript. Throws TypeError and RangeError.
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
   * Add a key, in any form that `writer.mark()` takes. True if it was new. RangeError beyond 2^28
   * keys.
   */
  add(lo: number, hi: number): boolean
  add(key: Key): boolean
  add(key: Key, hi?: number): boolean {
    if (hi === undefined) {
      readKey(key, scratch, 0)
    } else {
      checkLanes(key, hi)
      scratch[0] = key as number
      scratch[1] = hi
    }
    const before = this.#set.count
    this.#insert(scratch, 2)
    return this.#set.count !== before
  }

  /**
   * Add many; how many were new. Throws TypeError and RangeError for what is no list of keys, and
   * adds nothing then; RangeError beyond 2^28 keys.
   */
  addMany(keys: KeyList): number {
    const source = openKeys(keys)
    const lanes = readAll(source)
    const before = this.#set.count
    this.#insert(lanes as SharedWords, source.count * 2)
    return this.#set.count - before
  }

  /** Whether two lanes, numbers, taken modulo 2^32, are in. */
  has(lo: number, hi: number): boolean
  /** Whether a key, in any form that `writer.mark()` takes, is in. */
  has(key: Key): boolean
  has(key: Key, hi?: number): boolean {
    if (hi !== undefined) {
      checkLanes(key, hi)
      return contains(this.#set, (key as number) | 0, hi | 0)
    }
    readKey(key, scratch, 0)
    return contains(this.#set, scratch[0], scratch[1])
  }

  /** Distinct keys held. */
  get size(): number {
    return this.#set.count
  }

  /** The keys in order of insertion: a view, good until the set changes. */
  get keys(): BigUint64Array {
    return new BigUint64Array(this.#set.words.buffer, this.#set.log * 4, this.size)
  }

  /** The same as lanes lo, hi, lo, hi … */
  get lanes(): Uint32Array {
    return new Uint32Array(this.#set.words.buffer, this.#set.log * 4, this.size * 2)
  }

  /**
   * The keys as numbers. RangeError at a key above 2^53 - 1. Keys added meanwhile are visited too.
   */
  *ids(): IterableIterator<number> {
    for (let i = 0; i < this.size; i++) {
      const at = this.#set.log + i * 2
      yield idFrom(this.#set.words[at] >>> 0, this.#set.words[at + 1] >>> 0)
    }
  }

  /** The keys as bigints, in order of insertion. Keys added meanwhile are visited too. */
  *[Symbol.iterator](): IterableIterator<Fingerprint> {
    for (let i = 0; i < this.size; i++) yield this.keys[i]
  }

  /** Remove all keys; the memory is kept. */
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
 * Nobody else sees this memory, whatever its type says.
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
 * WebAssembly reaches the set's own memory only: by way of the staging area at its beginning.
 * Returns the words taken.
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
        'a size that this machine has the memory for',
        `${length * 4} bytes`,
      ),
      { cause },
    )
  }
}
