import {
  BY_LIBRARY,
  checkBag,
  checkByLibrary,
  checkWhole,
  typedArrayName,
  viewLength,
} from '../check.js'
import { badHandle, DirtyRingError, invalidArg, outOfRange } from '../errors.js'
import { checkHandle, checkVersion } from '../memory/handle.js'
import type { SharedWords } from '../memory/map.js'
import { allocate, checkHost } from '../memory/memory.js'
import { randomSeed, secretsOf } from '../set/mix.js'
import { type Bytes, decodeBytes, decodeText } from '../text/decode.js'
import { packBytes, packText, reserve, scratch } from '../text/encode.js'
import {
  addKey,
  copyKey,
  D_MAGIC,
  D_MAX_KEYS,
  D_SECRETS,
  D_SPACE,
  D_VERSION,
  type Dictionary,
  DICTIONARY_MAGIC,
  DICTIONARY_VERSION,
  dictionarySize,
  findKey,
  idsTaken,
  lengthOf,
  openDictionary,
  recordWith,
} from './core.js'

const MAX_KEYS_MAX = 2 ** 24
const MAX_BYTES_MIN = 8
const MAX_BYTES_MAX = 2 ** 32 - 2 ** 28
const BYTES_PER_KEY = 32

const HANDLES = {
  of: 'dictionary',
  versionName: 'dirtyringDictionary',
  version: DICTIONARY_VERSION,
  layout: 'dictionary layout',
}

/**
 * What travels to other threads of this process, in workerData or postMessage, for
 * {@link KeyDictionary.attach} there.
 */
export interface DictionaryHandle {
  /** At compile time only, so that no other object is taken for a handle. */
  readonly __brand: 'dirtyring.DictionaryHandle'
}

/**
 * Gives strings or bytes small numbers, the same in all threads. It is for programs that need such a
 * number: to index an array, or to pack a name into a pair. To get a string back from an epoch, mark
 * the string itself. A dictionary has no collisions. A string is its UTF-8 bytes, so
 * `'a'` and its one byte are one key. A lone surrogate has three bytes of its own (WTF-8), so every
 * string comes back as it was. Nothing is ever removed, so all keys have to fit.
 *
 * Numbers go up from 0. Any number of threads may use a dictionary at once, each through an object
 * of its own from {@link KeyDictionary.attach}; no thread waits for another one. A thread may be
 * terminated in it at any instruction: that costs at most one number, and room for one key. Two
 * threads that add the same new key at the same moment get one number. The other number that was
 * taken for it is the slower thread's next one, so there may be gaps.
 *
 * @example
 * ```js
 * import { KeyDictionary } from 'dirtyring'
 *
 * const names = KeyDictionary.create({ maxKeys: 100_000 })
 * writer.mark(names.id('user:7'))
 * writer.mark(names.id('user:9'))
 * await tracker.consume((epoch) => {
 *   for (const id of epoch.ids()) console.log(id, names.key(id)) // 0 user:7 | 1 user:9
 * })
 * console.log(names.find('user:8'), names.size) // undefined 2
 *
 * const same = KeyDictionary.attach(names.handle) // in another thread
 * console.log(same.id('user:9')) // 1
 * ```
 */
export class KeyDictionary {
  /** Pass it to other threads of this process, in workerData or postMessage, for attach() there. */
  readonly handle: DictionaryHandle
  readonly #d: Dictionary
  /** The longest key that there could ever be room for, in bytes. */
  readonly #longest: number
  /** Ids below this have been looked at by `size`; in `#open` are those that no key had. */
  #seen = 0
  #open: number[] = []

  private constructor(pass: typeof BY_LIBRARY, words: SharedWords) {
    const advice = 'Call KeyDictionary.create() or KeyDictionary.attach(handle).'
    checkByLibrary(pass, 'KeyDictionary', advice)
    const handle: unknown = { dirtyringDictionary: DICTIONARY_VERSION, buffer: words.buffer }
    this.handle = handle as DictionaryHandle
    this.#d = openDictionary(words)
    this.#longest = (this.#d.end - this.#d.space - 2) * 4
  }

  /**
   * Makes an empty dictionary. It reserves all its memory at once and never grows: 12 to 20 bytes a
   * key, and `maxBytes`. The operating system counts a page only when it is first touched.
   *
   * @param options - `maxKeys`: how many keys can have a number, 1 to 16,777,216, default
   * 1,048,576. A thread that adds a key holds a number of its own meanwhile. So where several
   * threads add keys at once, leave one number to spare for each.
   *
   * `maxBytes`: room for the keys in bytes, 8 to 4,026,531,840, default 32 × maxKeys. A key takes
   * its bytes rounded up to 4, and 8 more.
   * @throws TypeError `ERR_DIRTYRING_INVALID_ARG` for an option of the wrong type.
   * @throws RangeError `ERR_DIRTYRING_OUT_OF_RANGE` for an option out of range, and for more memory
   * than the machine has.
   * @throws DirtyRingError `ERR_DIRTYRING_NO_SHARED_MEMORY` without SharedArrayBuffer.
   */
  static create(
    options: { maxKeys?: number | undefined; maxBytes?: number | undefined } = {},
  ): KeyDictionary {
    checkBag('options', options, ['maxKeys', 'maxBytes'])
    const { maxKeys = 2 ** 20 } = options
    checkWhole('options.maxKeys', maxKeys, 1, MAX_KEYS_MAX)
    const { maxBytes = maxKeys * BYTES_PER_KEY } = options
    checkWhole('options.maxBytes', maxBytes, MAX_BYTES_MIN, MAX_BYTES_MAX)
    checkHost()
    const space = Math.ceil(maxBytes / 4)
    const words = new Int32Array(allocate(dictionarySize(maxKeys, space) * 4)) as SharedWords
    const [seed, mulA, , mulB] = secretsOf(randomSeed())
    words[D_VERSION] = DICTIONARY_VERSION
    words[D_MAX_KEYS] = maxKeys
    words[D_SPACE] = space
    words[D_SECRETS] = seed
    words[D_SECRETS + 1] = mulA
    words[D_SECRETS + 2] = mulB
    words[D_MAGIC] = DICTIONARY_MAGIC
    return new KeyDictionary(BY_LIBRARY, words)
  }

  /**
   * Opens the dictionary of a handle that another thread sent, for the calling thread.
   *
   * @param handle - `dictionary.handle`.
   * @throws TypeError `ERR_DIRTYRING_BAD_HANDLE` for another value, `ERR_DIRTYRING_VERSION` for the
   * handle of another version of dirtyring.
   */
  static attach(handle: DictionaryHandle): KeyDictionary {
    const { buffer } = checkHandle(handle, HANDLES)
    const { byteLength } = buffer
    const words = new Int32Array(buffer, 0, byteLength >>> 2) as SharedWords
    if (words[D_MAGIC] !== DICTIONARY_MAGIC) {
      const got = `got magic ${words[D_MAGIC]}`
      throw badHandle(`"handle.buffer" must be memory of a KeyDictionary, ${got}`)
    }
    checkVersion(words[D_VERSION], HANDLES)
    const expected = dictionarySize(words[D_MAX_KEYS], words[D_SPACE]) * 4
    if (byteLength !== expected) {
      const bytes = `${expected} bytes for ${words[D_MAX_KEYS]} keys`
      throw badHandle(`"handle.buffer" must have ${bytes}, got ${byteLength}`)
    }
    return new KeyDictionary(BY_LIBRARY, words)
  }

  /**
   * Keys that have a number, those of other threads included. The first call looks at every number
   * taken, about 50 ns each; later calls look only at new numbers.
   */
  get size(): number {
    const d = this.#d
    const isOpen = (id: number): boolean => recordWith(d, id) < 0
    const taken = idsTaken(d)
    const open = this.#open.filter(isOpen)
    for (let id = this.#seen; id < taken; id++) if (isOpen(id)) open.push(id)
    this.#seen = taken
    this.#open = open
    return taken - open.length
  }

  /** Bytes of shared memory reserved. */
  get byteLength(): number {
    return this.#d.words.byteLength
  }

  /**
   * Returns the key's number, and gives it one if it has none. For keys of 16 bytes it takes about
   * 60 ns when the processor's cache holds what is looked at, 250 ns when it does not, and 500 ns
   * for a new key (Node 20).
   *
   * @param key - A string or a Uint8Array (a Buffer is one), of any length that `maxBytes` has room
   * for, 0 included. If another thread writes to bytes in shared memory meanwhile, the number may
   * be that of no state which the bytes were in.
   * @returns A whole number from 0 to maxKeys - 1, the same in every thread.
   * @throws TypeError `ERR_DIRTYRING_INVALID_ARG` for a key of another type.
   * @throws DirtyRingError `ERR_DIRTYRING_DICTIONARY_FULL` for a new key when no number is left, or
   * no room for its bytes. Keys that have a number keep it, and a shorter key may still fit.
   */
  id(key: string | Uint8Array): number {
    const length = encode(key, this.#longest)
    const id = length > this.#longest ? -1 : addKey(this.#d, scratch.words, length)
    if (id < 0) throw this.#full(length)
    return id
  }

  /**
   * Looks a key up. Once id() has returned its number in one thread, every thread that learns of
   * that call finds it.
   *
   * @param key - As {@link KeyDictionary.id} takes it.
   * @returns The key's number; undefined if it has none.
   * @throws TypeError `ERR_DIRTYRING_INVALID_ARG` for a key of another type.
   */
  find(key: string | Uint8Array): number | undefined {
    const length = encode(key, this.#longest)
    const id = length > this.#longest ? -1 : findKey(this.#d, scratch.words, length)
    return id < 0 ? undefined : id
  }

  /**
   * Returns the key of a number as text: a string as it was. Of a key that was bytes, each part that
   * is no text comes back as U+FFFD: for such keys use {@link KeyDictionary.bytes}.
   *
   * @param id - What id() returned, in any thread.
   * @throws TypeError `ERR_DIRTYRING_INVALID_ARG` if `id` is not a number.
   * @throws RangeError `ERR_DIRTYRING_OUT_OF_RANGE` for a number that no key has.
   */
  key(id: number): string {
    const length = this.#read(id)
    return decodeText(scratch.words, 0, length)
  }

  /**
   * Returns the key of a number as bytes, a string as its UTF-8 (as WTF-8 if it has lone
   * surrogates).
   *
   * @param id - What id() returned, in any thread.
   * @returns A copy, in memory that is not shared.
   * @throws What {@link KeyDictionary.key} throws.
   */
  bytes(id: number): Bytes {
    const length = this.#read(id)
    return decodeBytes(scratch.words, 0, length)
  }

  /** What console.log() prints: one line, and not the memory. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    const sizes = `maxKeys: ${this.#d.maxKeys}, byteLength: ${this.byteLength}`
    return `KeyDictionary { size: ${this.size}, ${sizes} }`
  }

  /** Copies the bytes of an id's key to the scratch; returns how many. */
  #read(id: number): number {
    if (typeof id !== 'number') throw invalidArg('id', 'a number', id)
    const d = this.#d
    const isOne = Number.isInteger(id) && id >= 0 && id < d.maxKeys
    const record = isOne ? recordWith(d, id) : -1
    if (record < 0) throw outOfRange('id', 'a number that id() returned', id)
    const length = lengthOf(d, record)
    reserve(length)
    copyKey(d, record, scratch.words)
    return length
  }

  #full(length: number): DirtyRingError {
    const { maxKeys, end, space } = this.#d
    const what =
      idsTaken(this.#d) >= maxKeys
        ? `all ${maxKeys} numbers (maxKeys) are taken`
        : `its ${(end - space) * 4} bytes for keys (maxBytes) are too few`
    return new DirtyRingError(
      'ERR_DIRTYRING_DICTIONARY_FULL',
      `the dictionary is full: ${what}, and "key" is a new one of ${length} bytes. ` +
        'A key takes its bytes, rounded up to 4, and 8 more.',
    )
  }
}

/**
 * Writes a key's bytes to the scratch, and returns how many. For a key of more than `most` bytes it
 * only returns a number above that.
 */
function encode(key: string | Uint8Array, most: number): number {
  if (typeof key === 'string') return key.length > most ? key.length : packText(key)
  if (typedArrayName(key) !== 'Uint8Array') throw invalidArg('key', 'a string or a Uint8Array', key)
  const length = viewLength(key, 'key')
  return length > most ? length : packBytes(key, length)
}
