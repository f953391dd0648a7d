import { Buffer } from 'node:buffer'
import { checkFunction, checkWhole } from '../check.js'
import { checkIds, notExact, otherKeys } from '../epochs/common.js'
import type { EpochKeys, InexactReason } from '../epochs/epoch.js'
import {
  bigintFrom,
  checkPair,
  idFrom,
  isTextKey,
  type Key,
  keyFrom,
  readKey,
  type ReadonlyBigints,
  type ReadonlyPairs,
} from '../keys.js'
import type { SharedWords } from '../memory/map.js'
import {
  BLOCK_WORDS,
  falsePositivesOf,
  type Filter,
  filterHas,
  filterPairs,
} from '../set/filter.js'
import { FingerprintSet } from '../set/fingerprint-set.js'
import { encodeBytes, encodeText, packText } from '../text/encode.js'
import { digest } from '../text/murmur.js'
import { EVERYTHING_IN_MAX, type FilterBlocks, type KeyMessage } from './decode.js'

/**
 * How many keys an epoch made of messages holds exactly. With more it is a superset. Its filter
 * takes 4 bytes for each of `maxKeysPerEpoch`, or as much as a filter that arrives. It takes 16 MiB
 * at most.
 */
export interface EpochLimits {
  /** Distinct numeric keys, 1 to 2^28. Each takes 24 to 48 bytes. */
  readonly maxKeysPerEpoch?: number | undefined
  /** Distinct text keys, 1 to 2^24. */
  readonly maxStringsPerEpoch?: number | undefined
  /** Bytes of all text keys together, 1 to 2^31-1. */
  readonly maxStringBytesPerEpoch?: number | undefined
}

/** The names of the limits, for a bag of options that has them. */
export const LIMITS = ['maxKeysPerEpoch', 'maxStringsPerEpoch', 'maxStringBytesPerEpoch'] as const

/** Checks the limits among options, and returns them. */
export function checkLimits(name: string, options: Readonly<Record<string, unknown>>): EpochLimits {
  const limits: { -readonly [N in keyof EpochLimits]: EpochLimits[N] } = {}
  for (const limit of LIMITS) {
    const value = options[limit]
    if (value !== undefined) limits[limit] = checkWhole(`${name}.${limit}`, value, 1, MOST[limit])
  }
  return limits
}

const MOST = {
  maxKeysPerEpoch: 2 ** 28,
  maxStringsPerEpoch: 2 ** 24,
  maxStringBytesPerEpoch: 0x7fffffff,
}

const MAX_KEYS = 1_000_000
const MAX_STRING_BYTES = 2 ** 25
/** The bits of a filter, for each key that a union holds exactly. */
const BITS_PER_KEY = 32
const BLOCK_BITS = BLOCK_WORDS * 32
/** log2 of the blocks of the largest filter: 16 MiB. */
const BLOCKS_LOG2_MAX = 19
/** A filter of which more is set says yes to nearly every key. */
const SATURATED = 0.85
/** The first that applies is the reason. */
const REASONS: readonly InexactReason[] = [
  'fresh',
  'everything',
  'fault',
  'unpublished',
  'overflow',
]

const pair = new Int32Array(2) as unknown as SharedWords

/** What a union knows. */
interface UnionState {
  numbers: FingerprintSet
  readonly strings: Set<string>
  /** By their bytes, one a UTF-16 unit. */
  readonly byteKeys: Map<string, Uint8Array>
  textBytes: number
  precision: EpochKeys['precision']
  readonly reasons: Set<InexactReason>
  readonly namespaces: Set<number>
  /** Of a superset. */
  filter: Filter | undefined
  /** All messages with numbers say so; undefined: there was none. */
  isBigint: boolean | undefined
  hasPrints: boolean
  /** Some of the numbers are fingerprints of texts that were marked in another process. */
  hidesTexts: boolean
}

function emptyState(): UnionState {
  return {
    numbers: new FingerprintSet(),
    strings: new Set(),
    byteKeys: new Map(),
    textBytes: 0,
    precision: 'exact',
    reasons: new Set(),
    namespaces: new Set(),
    filter: undefined,
    isBigint: undefined,
    hasPrints: false,
    hidesTexts: false,
  }
}

let stateOf: (keys: UnionKeys) => UnionState

/**
 * The keys of a {@link KeyUnion}, to be read: the members of EpochKeys, with the rules and the
 * errors of a sealed epoch. A class made of this one says when they can no longer be read, and what
 * an error calls them.
 */
export class UnionKeys<K extends Key = Key> implements EpochKeys<K> {
  readonly #state: UnionState

  static {
    stateOf = (keys) => keys.#state
  }

  /** @internal Those of another union, which is not copied. */
  protected constructor(union?: UnionKeys) {
    this.#state = union === undefined ? emptyState() : union.#state
  }

  /** @internal Whether it stands for no key at all. */
  get isEmpty(): boolean {
    return this.size === 0 && this.exact
  }

  get size(): number {
    return this.#state.numbers.size + this.#textCount
  }

  get exact(): boolean {
    return this.precision === 'exact' && this.#state.namespaces.size === 0
  }

  get reason(): InexactReason | undefined {
    return REASONS.find((each) => this.#state.reasons.has(each))
  }

  get precision(): EpochKeys['precision'] {
    const { precision, hidesTexts } = this.#state
    return precision === 'exact' && hidesTexts ? 'superset' : precision
  }

  get falsePositives(): number {
    if (this.#state.precision === 'exact') return 0 // or once in 2^64 / size, with fingerprints
    const filter = this.#state.filter
    return filter === undefined ? 1 : falsePositivesOf(filter.fill / bitsOf(filter))
  }

  get everythingIn(): readonly number[] {
    return [...this.#state.namespaces].sort((a, b) => a - b)
  }

  /** A view, valid until a key is added. */
  get bigints(): ReadonlyBigints {
    this.#checkNumeric('bigints')
    return this.#state.numbers.bigints
  }

  /** A view, valid until a key is added. */
  get pairs(): ReadonlyPairs {
    this.#checkNumeric('pairs')
    return this.#state.numbers.pairs
  }

  ids(): IterableIterator<number> {
    this.#checkNumeric('ids()')
    const { pairs } = this.#state.numbers
    checkIds(pairs)
    return this.#eachNumber(pairs, idFrom)
  }

  forEachPair(visit: (low: number, high: number, index: number) => void): void {
    checkFunction('visit', visit)
    this.#checkNumeric('forEachPair()')
    const { pairs } = this.#state.numbers
    for (let i = 0; i < pairs.length; i += 2) {
      this.checkReadable()
      visit(pairs[i], pairs[i + 1], i >>> 1)
    }
  }

  strings(): IterableIterator<string> {
    this.#checkExact()
    const { size } = this.#state.numbers
    if (size > 0) throw otherKeys('strings()', `${size} numeric keys`)
    if (this.#state.byteKeys.size > 0) throw otherKeys('strings()', 'keys of bytes')
    return this.#eachText() as IterableIterator<string>
  }

  numbers(): IterableIterator<number | bigint> {
    this.#checkExact()
    return this.#eachNumber(this.#state.numbers.pairs, this.#from)
  }

  texts(): IterableIterator<string | Uint8Array> {
    this.#checkExact()
    return this.#eachText()
  }

  listed(): IterableIterator<K> {
    this.checkReadable()
    return this.#eachKey()
  }

  [Symbol.iterator](): IterableIterator<K> {
    this.#checkExact()
    return this.#eachKey()
  }

  has(key: Key): boolean {
    readKey(key, pair, 0)
    const low = pair[0]
    const high = pair[1]
    this.checkReadable()
    if (!isTextKey(key)) return this.#has(low, high)
    if (this.#state.namespaces.has(0) || this.#hasText(key)) return true
    return this.#state.hasPrints && this.#has(low, high)
  }

  hasPair(low: number, high: number): boolean {
    checkPair(low, high)
    this.checkReadable()
    return this.#has(low | 0, high | 0)
  }

  /** What console.log() prints: one line, and not the keys. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `KeyUnion { size: ${this.size}, precision: '${this.precision}' }`
  }

  /** @internal Called before keys are read: throws once they are gone. */
  protected checkReadable(): void {
    // They are never gone.
  }

  /** @internal What an error calls them: 'epoch 7'. */
  protected get calledName(): string {
    return 'the epoch'
  }

  get #textCount(): number {
    return this.#state.strings.size + this.#state.byteKeys.size
  }

  get #from(): (low: number, high: number) => number | bigint {
    return this.#state.isBigint === true ? bigintFrom : keyFrom
  }

  #has(low: number, high: number): boolean {
    if (this.#state.namespaces.has(high >>> 0) || this.#state.precision === 'everything')
      return true
    return this.#state.filter === undefined
      ? this.#state.numbers.hasPair(low, high)
      : filterHas(this.#state.filter, low, high)
  }

  #hasText(key: string | Uint8Array): boolean {
    if (this.#state.precision === 'everything') return true
    if (this.#state.filter !== undefined) {
      if (typeof key === 'string') encodeText(key)
      else encodeBytes(key, key.length)
      return filterHas(this.#state.filter, digest[0], digest[1])
    }
    if (typeof key === 'string') return this.#state.strings.has(key)
    return this.#state.byteKeys.size > 0 && this.#state.byteKeys.has(nameOf(key))
  }

  *#eachNumber<T>(pairs: Uint32Array, from: (low: number, high: number) => T): IterableIterator<T> {
    for (let i = 0; i < pairs.length; i += 2) {
      this.checkReadable()
      yield from(pairs[i], pairs[i + 1])
    }
  }

  *#eachText(): IterableIterator<string | Uint8Array> {
    for (const text of this.#state.strings) {
      this.checkReadable()
      yield text
    }
    for (const bytes of this.#state.byteKeys.values()) {
      this.checkReadable()
      yield bytes.slice()
    }
  }

  *#eachKey(): IterableIterator<K> {
    yield* this.#eachNumber(this.#state.numbers.pairs, this.#from) as Iterable<K>
    yield* this.#eachText() as Iterable<K>
  }

  #checkNumeric(member: string): void {
    this.#checkExact()
    if (this.#textCount > 0) throw otherKeys(member, `${this.#textCount} text keys`)
  }

  #checkExact(): void {
    this.checkReadable()
    if (!this.exact) throw notExact(this.calledName, this.reason)
  }
}

/**
 * Unites keys of several messages in ordinary memory, of which it takes no more than its limits
 * say: beyond them it is a superset, and then everything. One thread's.
 */
export class KeyUnion<K extends Key = Key> extends UnionKeys<K> {
  readonly #state: UnionState
  readonly #maxKeys: number
  readonly #maxStrings: number
  readonly #maxStringBytes: number

  constructor(limits: EpochLimits = {}) {
    super()
    this.#state = stateOf(this)
    this.#maxKeys = limits.maxKeysPerEpoch ?? MAX_KEYS
    this.#maxStrings = limits.maxStringsPerEpoch ?? MAX_KEYS
    this.#maxStringBytes = limits.maxStringBytesPerEpoch ?? MAX_STRING_BYTES
  }

  /** Adds the keys of a message. Adding it again changes nothing. */
  add(message: KeyMessage): void {
    const { pairs, strings, byteKeys } = message
    this.#addState(message.everythingIn, message.reason === undefined ? [] : [message.reason])
    if (message.hasPrints) this.#state.hasPrints = true
    if (message.hidesTexts) this.#state.hidesTexts = true
    if (pairs.length > 0) this.#state.isBigint = message.isBigint && this.#state.isBigint !== false
    if (message.precision === 'everything') this.#becomeEverything()
    this.#addPairs(pairs)
    this.#addStrings(strings, message.stringBytes)
    this.#addByteKeys(byteKeys)
    if (message.filter !== undefined) this.#addFilter(message.filter)
  }

  /** Adds all keys of another union, which stays as it is. */
  absorb(other: UnionKeys): void {
    const { reasons, namespaces, precision, filter, isBigint, ...keys } = stateOf(other)
    this.#addState(namespaces, reasons)
    if (keys.hasPrints) this.#state.hasPrints = true
    if (keys.hidesTexts) this.#state.hidesTexts = true
    if (isBigint !== undefined) this.#state.isBigint = isBigint && this.#state.isBigint !== false
    if (precision === 'everything') this.#becomeEverything()
    this.#addPairs(keys.numbers.pairs)
    this.#addStrings(keys.strings)
    this.#addByteKeys(keys.byteKeys.values())
    if (filter !== undefined)
      this.#addFilter({ blocksLog2: 31 - filter.shift, from: 0, words: filter.words })
  }

  /** From now on it stands for all keys. */
  everything(reason: InexactReason): void {
    this.#addState([], [reason])
    this.#becomeEverything()
  }

  /** From now on it stands for all keys of a namespace. */
  everythingInNamespace(namespace: number, reason: InexactReason): void {
    this.#addState([namespace], [reason])
  }

  /** Takes all keys out, and all that is known of them. */
  clear(): void {
    this.#state.numbers = new FingerprintSet()
    this.#state.strings.clear()
    this.#state.byteKeys.clear()
    this.#state.textBytes = 0
    this.#state.precision = 'exact'
    this.#state.reasons.clear()
    this.#state.namespaces.clear()
    this.#state.filter = undefined
    this.#state.isBigint = undefined
    this.#state.hasPrints = false
    this.#state.hidesTexts = false
  }

  #addState(namespaces: Iterable<number>, reasons: Iterable<InexactReason>): void {
    for (const reason of reasons) this.#state.reasons.add(reason)
    for (const namespace of namespaces) this.#state.namespaces.add(namespace)
    if (this.#state.namespaces.size > EVERYTHING_IN_MAX) {
      this.#state.namespaces.clear()
      this.everything('everything')
    }
  }

  #addPairs(pairs: Uint32Array): void {
    if (this.#state.precision === 'everything' || pairs.length === 0) return
    const room = this.#maxKeys - this.#state.numbers.size
    if (this.#state.precision === 'exact' && pairs.length / 2 > room) {
      // It may have most of them.
      let at = 0
      for (; at < pairs.length && this.#state.numbers.size < this.#maxKeys; at += 2)
        this.#state.numbers.addPair(pairs[at], pairs[at + 1])
      for (; at < pairs.length && this.#state.numbers.hasPair(pairs[at], pairs[at + 1]);) at += 2
      if (at === pairs.length) return
      this.#overflow()
    }
    if (this.#state.precision === 'exact') this.#state.numbers.addPairs(pairs)
    else this.#filterPairs(pairs)
  }

  /** `lengths`: how many bytes each has. If it is not there, they are counted. */
  #addStrings(strings: Iterable<string>, lengths?: readonly number[]): void {
    let i = -1
    for (const text of strings) {
      i++
      if (this.#state.precision === 'everything') return
      if (this.#state.precision === 'exact') {
        if (this.#state.strings.has(text)) continue
        if (this.#hasRoom(lengths === undefined ? packText(text) : lengths[i])) {
          this.#state.strings.add(text)
          continue
        }
        this.#overflow()
      }
      encodeText(text)
      this.#filterDigest()
    }
  }

  #addByteKeys(byteKeys: Iterable<Uint8Array>): void {
    for (const bytes of byteKeys) {
      if (this.#state.precision === 'everything') return
      if (this.#state.precision === 'exact') {
        const name = nameOf(bytes)
        if (this.#state.byteKeys.has(name)) continue
        if (this.#hasRoom(bytes.length)) {
          this.#state.byteKeys.set(name, bytes)
          continue
        }
        this.#overflow()
      }
      encodeBytes(bytes, bytes.length)
      this.#filterDigest()
    }
  }

  /** Whether a text more is within the limits. If so, it counts. */
  #hasRoom(bytes: number): boolean {
    const { strings, byteKeys, textBytes } = this.#state
    if (strings.size + byteKeys.size >= this.#maxStrings) return false
    if (textBytes + bytes > this.#maxStringBytes) return false
    this.#state.textBytes += bytes
    return true
  }

  #overflow(): void {
    this.#state.reasons.add('overflow')
    this.#becomeSuperset()
  }

  /** What is listed stays listed, and later keys go into the filter only. */
  #becomeSuperset(): void {
    if (this.#state.precision !== 'exact') return
    this.#state.precision = 'superset'
    this.#state.filter = filterOf(Math.min(blocksLog2For(this.#maxKeys), BLOCKS_LOG2_MAX))
    this.#filterPairs(this.#state.numbers.pairs)
    for (const text of this.#state.strings) {
      encodeText(text)
      this.#filterDigest()
    }
    for (const bytes of this.#state.byteKeys.values()) {
      encodeBytes(bytes, bytes.length)
      this.#filterDigest()
    }
  }

  #becomeEverything(): void {
    this.#state.precision = 'everything'
    this.#state.filter = undefined
  }

  #filterPairs(pairs: Uint32Array): void {
    const filter = this.#state.filter
    if (filter === undefined) return
    const words = new Int32Array(pairs.buffer, pairs.byteOffset, pairs.length)
    filterPairs(filter, words as unknown as SharedWords, 0, words.length)
    this.#checkSaturated(filter)
  }

  #filterDigest(): void {
    const filter = this.#state.filter
    if (filter === undefined) return
    pair[0] = digest[0]
    pair[1] = digest[1]
    filterPairs(filter, pair, 0, 2)
    this.#checkSaturated(filter)
  }

  #checkSaturated(filter: Filter): void {
    if (filter.fill > SATURATED * bitsOf(filter)) this.#becomeEverything()
  }

  /** The reason is with the message. */
  #addFilter(blocks: FilterBlocks): void {
    if (this.#state.precision === 'everything') return
    this.#becomeSuperset()
    if (this.#state.filter === undefined) return // it was everything at once
    const wanted = Math.min(blocks.blocksLog2, BLOCKS_LOG2_MAX)
    if (wanted > 31 - this.#state.filter.shift)
      this.#state.filter = enlarged(this.#state.filter, wanted)
    addBlocks(this.#state.filter, blocks)
    this.#checkSaturated(this.#state.filter)
  }
}

/** Bytes as a text that a Map compares by its content. */
function nameOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
}

function blocksLog2For(keys: number): number {
  return Math.max(0, Math.ceil(Math.log2((keys * BITS_PER_KEY) / BLOCK_BITS)))
}

function bitsOf({ shift }: Filter): number {
  return 2 ** (31 - shift) * BLOCK_BITS
}

function filterOf(blocksLog2: number): Filter {
  const words = new Int32Array(2 ** blocksLog2 * BLOCK_WORDS) as unknown as SharedWords
  return { words, at: 0, shift: 31 - blocksLog2, fill: 0, native: undefined }
}

/** The same filter with more blocks: the keys of each block may now choose several. */
function enlarged(filter: Filter, blocksLog2: number): Filter {
  const larger = filterOf(blocksLog2)
  const blocks = { blocksLog2: 31 - filter.shift, from: 0, words: filter.words }
  addBlocks(larger, blocks)
  return larger
}

/**
 * Adds blocks of a filter of any size. The top bits of a hash choose the block: a smaller filter's
 * block goes into each block that its keys may now choose, and several of a larger filter go into
 * one.
 */
function addBlocks(filter: Filter, { blocksLog2, from, words }: FilterBlocks): void {
  const own = 31 - filter.shift
  const repeats = 2 ** Math.max(0, own - blocksLog2)
  const folds = Math.max(0, blocksLog2 - own)
  const into = filter.words
  let fill = 0
  for (let at = 0, block = from; at < words.length; at += BLOCK_WORDS, block++) {
    let to = (folds > 0 ? block >>> folds : block * repeats) * BLOCK_WORDS
    for (let i = 0; i < repeats; i++, to += BLOCK_WORDS) {
      for (let k = 0; k < BLOCK_WORDS; k++) {
        const word = into[to + k]
        const more = words[at + k] & ~word
        if (more === 0) continue
        into[to + k] = word | more
        fill += countBits(more)
      }
    }
  }
  filter.fill += fill
}

function countBits(word: number): number {
  word -= (word >>> 1) & 0x55555555
  word = (word & 0x33333333) + ((word >>> 2) & 0x33333333)
  return Math.imul((word + (word >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}
