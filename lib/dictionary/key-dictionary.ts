import { badHandle, DirtyRingError, invalidArg, outOfRange, type ErrorCode } from '../errors.js'
import { typedArrayName } from '../fingerprint.js'
import type { SharedWords } from '../memory/map.js'
import { allocate, checkHost } from '../memory/memory.js'
import { randomSeed, secretsOf } from '../set/mix.js'
import {
  addKey,
  confirm,
  D_MAGIC,
  D_MAX_KEYS,
  D_SECRETS,
  D_SPACE,
  D_VERSION,
  DICTIONARY_MAGIC,
  DICTIONARY_VERSION,
  dictionarySize,
  findKey,
  idsTaken,
  openDictionary,
  placeOf,
  placeWritten,
  type Dictionary,
} from './core.js'

const MAX_KEYS_MAX = 2 ** 24
const MAX_BYTES_MAX = 2 ** 32 - 2 ** 28
const BYTES_PER_KEY = 32

/** A key on its way in or out, as words and as bytes. Grows for the longest key there was. */
let scratch = new Int32Array(64)
let scratchBytes = new Uint8Array(scratch.buffer)

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/**
 * Strings or bytes ↔ small numbers, shared by all threads, append-only: mark the number, and read the key back. No collisions and no bigints, unlike a
 * fingerprint. A string is its UTF-8 bytes (a lone surrogate counts as U+FFFD), so `'a'` and its one byte are one key. Nothing is ever removed: for key
 * spaces that fit.
 *
 * Any number of threads may use it at once, each through an object of its own from {@link KeyDictionary.attach}. It is lock-free, and a thread may be
 * terminated in it at any instruction; that leaves out a number, and the room for a key. Numbers go up from 0 without gaps but for those.
 *
 * @example
 * ```js
 * import { KeyDictionary } from 'dirtyring'
 * const names = KeyDictionary.create({ maxKeys: 100_000 })
 * const id = names.id('user:7')            // 0: mark this
 * console.log(names.key(id))               // user:7
 * console.log(names.find('user:8'))        // undefined
 * const same = KeyDictionary.attach(names.handle) // in another thread
 * console.log(same.id('user:7') === id)    // true
 * ```
 */
export class KeyDictionary {
  /** Pass it to other threads of this process, in workerData or postMessage. */
  readonly handle: unknown
  readonly #d: Dictionary
  /** Ids below this have been counted in `#size`, but for those in `#open`, which nobody had given to a key. */
  #counted = 0
  #size = 0
  #open: number[] = []

  private constructor(words: SharedWords) {
    this.handle = { dirtyringDictionary: DICTIONARY_VERSION, buffer: words.buffer }
    this.#d = openDictionary(words)
  }

  /**
   * maxKeys: 1 to 2^24, default 1,048,576. maxBytes: room for the keys' bytes, each key rounded up to 4 bytes and 4 more, 8 to 4,026,531,840, default
   * 32 × maxKeys. Both reserve memory, 12 to 20 bytes a key beside its bytes; pages count when first touched. Throws TypeError, RangeError, and
   * `ERR_DIRTYRING_NO_SHARED_MEMORY`.
   */
  static create(options: { maxKeys?: number | undefined; maxBytes?: number | undefined } = {}): KeyDictionary {
    if (typeof options !== 'object' || (options as unknown) === null) throw invalidArg('options', 'an object', options)
    const maxKeys = whole('options.maxKeys', options.maxKeys, 1, MAX_KEYS_MAX, 2 ** 20)
    const maxBytes = whole('options.maxBytes', options.maxBytes, 8, MAX_BYTES_MAX, Math.max(maxKeys * BYTES_PER_KEY, 8))
    checkHost()
    const space = Math.ceil(maxBytes / 4)
    const words = new Int32Array(allocate(dictionarySize(maxKeys, space) * 4)) as SharedWords
    const { seedLo, mulLo, mulHi } = secrets()
    words[D_VERSION] = DICTIONARY_VERSION
    words[D_MAX_KEYS] = maxKeys
    words[D_SPACE] = space
    words[D_SECRETS] = seedLo
    words[D_SECRETS + 1] = mulLo
    words[D_SECRETS + 2] = mulHi
    words[D_MAGIC] = DICTIONARY_MAGIC
    return new KeyDictionary(words)
  }

  /** The dictionary of a handle from another thread. Throws TypeError with `ERR_DIRTYRING_BAD_HANDLE` or `ERR_DIRTYRING_VERSION`. */
  static attach(handle: unknown): KeyDictionary {
    const { dirtyringDictionary: version, buffer } = Object(handle) as { dirtyringDictionary?: unknown; buffer?: unknown }
    if (typeof version !== 'number') throw badHandle(`"handle" expected dictionary.handle, got ${handle === null ? 'null' : typeof handle}`)
    if (version !== DICTIONARY_VERSION) {
      const message = `"handle" expected dictionary layout version ${DICTIONARY_VERSION}, got ${version}: two versions of dirtyring are loaded`
      throw Object.assign(new TypeError(message), { code: 'ERR_DIRTYRING_VERSION' satisfies ErrorCode })
    }
    if (Object.prototype.toString.call(buffer) !== '[object SharedArrayBuffer]') {
      throw badHandle(
        `"handle" expected a SharedArrayBuffer in handle.buffer, got something else: handles work between the threads of one process only, and not as JSON`,
      )
    }
    const { byteLength } = buffer as SharedArrayBuffer
    const words = new Int32Array(buffer as SharedArrayBuffer, 0, byteLength >>> 2) as SharedWords
    const isOurs =
      words.length > D_SPACE && words[D_MAGIC] === DICTIONARY_MAGIC && dictionarySize(words[D_MAX_KEYS], words[D_SPACE]) * 4 === byteLength
    if (!isOurs) throw badHandle(`"handle" expected memory of a KeyDictionary, got ${byteLength} bytes of something else`)
    return new KeyDictionary(words)
  }

  /** Keys that have a number. Looks at each new one once. */
  get size(): number {
    const taken = idsTaken(this.#d)
    const open = this.#open
    for (let id = this.#counted; id < taken; id++) open.push(id)
    this.#counted = taken
    this.#open = open.filter((id) => this.#placeOf(id) < 0)
    this.#size += open.length - this.#open.length
    return this.#size
  }

  /** Bytes of shared memory reserved. */
  get byteLength(): number {
    return this.#d.words.byteLength
  }

  /**
   * The key's number, the same in every thread; given to it now if it had none. Throws `ERR_DIRTYRING_DICTIONARY_FULL` when there is no number, or no room
   * for the bytes, left: all that is in stays, and is found. Throws TypeError for what is neither a string nor bytes.
   */
  id(key: string | Uint8Array): number {
    const length = encode(key)
    const id = addKey(this.#d, scratch, length)
    if (id < 0) throw this.#full(length)
    return id
  }

  /** Its number if it has one. Throws TypeError for what is neither a string nor bytes. */
  find(key: string | Uint8Array): number | undefined {
    const id = findKey(this.#d, scratch, encode(key))
    return id < 0 ? undefined : id
  }

  /** The key, as text (bytes that are no UTF-8 come out as U+FFFD). RangeError for a number that was never given out, TypeError for what is none. */
  key(id: number): string {
    const length = this.#read(id)
    return decoder.decode(scratchBytes.subarray(0, length))
  }

  /** The key, as a copy of its bytes. Throws what key() throws. */
  bytes(id: number): Uint8Array {
    const length = this.#read(id)
    return scratchBytes.slice(0, length)
  }

  /** One line, never the memory. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `KeyDictionary { size: ${this.size}, maxKeys: ${this.#d.maxKeys}, byteLength: ${this.byteLength} }`
  }

  /** The bytes of an id into the scratch; returns how many. */
  #read(id: number): number {
    if (typeof id !== 'number') throw invalidArg('id', 'a number', id)
    const isOne = Number.isInteger(id) && id >= 0 && id < this.#d.maxKeys
    const at = isOne ? this.#placeOf(id) : -1
    if (at < 0) throw outOfRange('id', 'a number that id() gave out', id)
    return this.#copy(at)
  }

  /** Where the bytes of an id lie; -1 if no key has it. Of one whose thread has not come to say so, or never will, the table knows. */
  #placeOf(id: number): number {
    const d = this.#d
    const place = placeOf(d, id)
    if (place >= 0) return place
    const at = placeWritten(d, id)
    // What somebody is still writing may be anything, also no length.
    if (at < 0 || d.words[at] < 0 || at + 1 + d.words[at] / 4 > d.end) return -1
    if (findKey(d, scratch, this.#copy(at)) !== id) return -1
    confirm(d, id, at)
    return at
  }

  #copy(at: number): number {
    const { words } = this.#d
    const length = words[at]
    reserve(length)
    scratch.set(words.subarray(at + 1, at + 1 + ((length + 3) >>> 2)))
    return length
  }

  #full(length: number): DirtyRingError {
    const { maxKeys, end, space, words } = this.#d
    const why =
      idsTaken(this.#d) >= maxKeys
        ? `all ${maxKeys} numbers (maxKeys) are taken`
        : `${(end - space) * 4} bytes (maxBytes) are too few for another key of ${length}`
    return new DirtyRingError('ERR_DIRTYRING_DICTIONARY_FULL', `the dictionary is full: ${why}, of ${words.byteLength} bytes of memory`)
  }
}

/** A key's bytes into the scratch, the last word filled up with zeros; returns how many bytes. */
function encode(key: string | Uint8Array): number {
  if (typeof key !== 'string') return encodeBytes(key)
  const { length } = key
  reserve(length)
  const last = length >>> 2
  scratch[last] = 0
  let i = 0
  for (let word = 0; word < last; word++, i += 4) {
    const a = key.charCodeAt(i)
    const b = key.charCodeAt(i + 1)
    const c = key.charCodeAt(i + 2)
    const d = key.charCodeAt(i + 3)
    if ((a | b | c | d) > 127) return encodeUtf8(key)
    scratch[word] = a | (b << 8) | (c << 16) | (d << 24)
  }
  let tail = 0
  for (let shift = 0; i < length; i++, shift += 8) {
    const code = key.charCodeAt(i)
    if (code > 127) return encodeUtf8(key)
    tail |= code << shift
  }
  scratch[last] = tail
  return length
}

function encodeUtf8(key: string): number {
  reserve(key.length * 3)
  const { written } = encoder.encodeInto(key, scratchBytes)
  scratchBytes.fill(0, written, (written + 3) & ~3)
  return written
}

function encodeBytes(key: Uint8Array): number {
  if (typedArrayName(key) !== 'Uint8Array') throw invalidArg('key', 'a string or a Uint8Array', key)
  const { length } = key
  reserve(length)
  scratchBytes.set(key)
  scratchBytes.fill(0, length, (length + 3) & ~3)
  return length
}

/** Room for so many bytes, and a word more. */
function reserve(bytes: number): void {
  if (bytes + 4 <= scratchBytes.length) return
  scratch = new Int32Array((bytes >>> 1) + 2)
  scratchBytes = new Uint8Array(scratch.buffer)
}

/** What mixes the table: of the platform's crypto. */
function secrets(): { seedLo: number; mulLo: number; mulHi: number } {
  const words = secretsOf(randomSeed())
  return { seedLo: words[0], mulLo: words[1], mulHi: words[3] }
}

function whole(name: string, value: unknown, min: number, max: number, byDefault: number): number {
  if (value === undefined) return byDefault
  if (typeof value !== 'number') throw invalidArg(name, 'a number', value)
  if (!Number.isInteger(value) || value < min || value > max) throw outOfRange(name, `a whole number, ${min} to ${max}`, value)
  return value
}
