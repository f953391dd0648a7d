/**
 * The keys of an epoch as bytes that another process reads: `decodeEpoch()` of dirtyring/cluster.
 * An epoch is one message, or several if it is large. Each message is a set by itself, so readers
 * unite them in any order, and more than once.
 *
 * | bytes | |
 * |---|---|
 * | 2 | `DR` |
 * | 1 | the version of this encoding |
 * | 1 | flags: MESSAGE_* |
 * | 1 | precision: 0 exact, 1 superset, 2 everything; << 4, the reason: its place in REASONS |
 * | | the namespaces that changed as a whole: how many, then differences |
 * | | how many numbers, and if there are any: the length of what follows, and differences |
 * | | how many strings, how many byte keys, and if there are any: the length, and the texts |
 * | | with MESSAGE_FILTER: see below |
 * | 4 | CRC-32 of all before |
 *
 * Every number but the last is a varint of 7 bits a byte, the low ones first. The numeric keys are
 * sorted, and each one is what it adds to the one before. The texts are sorted too: first the
 * strings, as WTF-8, then the byte keys. Each one is how many bytes it shares with the one before
 * (0 for the first of each kind), how many more it has, and those. If a part is deflated, its
 * length is followed by the length of the deflated bytes.
 *
 * A superset is its filter (set/filter.ts): log2 of the filter's blocks, the first block that is
 * here, how many are here, and their words. All other blocks of that filter are empty, as far as
 * this message knows.
 */
import { crc32 } from '../crc32.js'
import { readKey } from '../keys.js'
import { FLAG_FRESH, type SharedWords } from '../memory/map.js'
import type { SlotHeader } from '../memory/slot.js'
import { TEXT_HEADER } from '../memory/table-size.js'
import {
  BLOCK_WORDS,
  type Filter,
  filterFold,
  filterPairs,
  filterWords,
  hashPayload,
  keysIn,
} from '../set/filter.js'
import { HEAD_AT, recordWords, textBytesOf } from '../set/text-set.js'
import { precisionOf, reasonFor, textFrom } from './common.js'
import type { EpochKeys, InexactReason } from './epoch.js'

export const MESSAGE_VERSION = 1
/** The numbers, or the texts, are deflated. */
export const MESSAGE_NUMBERS_DEFLATED = 1
export const MESSAGE_TEXTS_DEFLATED = 2
export const MESSAGE_FILTER = 4
/** The numeric keys come back as bigints, whatever their size. */
export const MESSAGE_BIGINTS = 8
/** Texts are among the numbers, by their fingerprints. */
export const MESSAGE_PRINTS = 16
/** Texts were marked that do not leave their process: the list is not what was marked. */
export const MESSAGE_HIDES_TEXTS = 32

export const PRECISIONS: readonly EpochKeys['precision'][] = ['exact', 'superset', 'everything']
/** Each at the place that stands for it in a message. */
export const REASONS: readonly (InexactReason | undefined)[] = [
  undefined,
  'fresh',
  'everything',
  'fault',
  'unpublished',
  'overflow',
]

/** Bytes of numbers and texts that a message has at most before they are deflated. */
export const RAW_MAX = 2 ** 20
/** Bytes that all texts of a message have at most, together. */
export const TEXTS_MAX = 2 ** 23
/** What a message is at most, unless its maker is told otherwise: below the 1 MiB of most engines. */
const PART_BYTES = 900_000
/** What a message has beside its numbers, its texts or its filter. */
const OVERHEAD = 192
/** A filter of a superset is folded while it keeps so many bits a key. */
const BITS_PER_KEY = 10
/** A difference of two keys. */
const VARINT_MAX = 10
/** Numbers of which a key takes fewer bytes are deflated, if that makes them shorter. */
const DEFLATE_BELOW = 3
/** Fewer bytes are not worth it. */
const DEFLATE_FROM = 64
/** Twice as fast as 6, and the result is a twentieth longer. */
const LEVEL = 4
const BLOCK_BYTES = BLOCK_WORDS * 4
const BLOCK_BITS = BLOCK_WORDS * 32

/** How to encode; not for users. */
export interface EncodeOptions {
  /** Bytes of a message at most, 4,096 to 2^20. Default 900,000. */
  readonly maxBytes?: number | undefined
  /** 'fingerprint': texts do not leave the process. Default 'exact'. */
  readonly text?: 'exact' | 'fingerprint' | undefined
  /** The caller knows better that its reader is not fresh. */
  readonly isNotFresh?: boolean | undefined
}

/** What is encoded: words of a sealed slot, or a copy of them. */
export interface Encodable {
  readonly words: SharedWords
  readonly header: SlotHeader
  /** Word index of the first pair, and of the first text. */
  readonly log: number
  readonly arena: number
  /** Of a superset. */
  readonly filter: Filter | undefined
  readonly isBigint: boolean
  readonly hasPrints: boolean
}

/** Encodes an epoch: one message or more. */
export function encodeKeys(from: Encodable, options: EncodeOptions): Uint8Array[] {
  const { maxBytes = PART_BYTES, text = 'exact' } = options
  const { header } = from
  const { flags, precision } = whatTravels(header, options)
  const isOfSome = precision === 'everything' && header.wanted !== undefined
  const hidesTexts = text === 'fingerprint' && header.textCount > 0
  const hasPrints = from.hasPrints || hidesTexts
  const common = {
    reason: reasonFor(flags),
    // A reader of some namespaces has no keys of others: all of these are everything.
    namespaces: isOfSome ? union(header.namespaces, header.wanted) : union(header.namespaces, []),
    flags:
      (from.isBigint ? MESSAGE_BIGINTS : 0) |
      (hasPrints ? MESSAGE_PRINTS : 0) |
      (hidesTexts ? MESSAGE_HIDES_TEXTS : 0),
  }
  const room = maxBytes - OVERHEAD
  if (precision === 'everything')
    return [messageOf({ ...common, precision: isOfSome ? 'exact' : precision })]
  if (precision === 'superset') return filterMessages(common, foldedFilter(from), room)

  const numbers = numberParts(sortedPairs(from, text), room)
  const { parts: texts, long } = text === 'exact' ? textParts(from, room) : NO_TEXTS
  const messages: Uint8Array[] = []
  const last = numbers.at(-1)
  const first = texts[0]
  const areOne =
    last !== undefined && first !== undefined && last.raw.length + first.raw.length <= room
  if (areOne) numbers.pop()
  for (const each of numbers) messages.push(messageOf({ ...common, precision, numbers: each }))
  texts.forEach((each, i) => {
    const before = i === 0 && areOne ? last : undefined
    messages.push(messageOf({ ...common, precision, numbers: before, texts: each }))
  })
  if (long.length > 0) messages.push(...longMessages(from, long, common, room))
  if (messages.length === 0) messages.push(messageOf({ ...common, precision }))
  return messages
}

/** What a header says to a reader as the options have it. */
export function whatTravels(
  header: SlotHeader,
  { isNotFresh = false }: EncodeOptions,
): { readonly flags: number; readonly precision: EpochKeys['precision'] } {
  const flags = isNotFresh ? header.flags & ~FLAG_FRESH : header.flags
  return { flags, precision: precisionOf({ ...header, flags }) }
}

/** Numbers or texts of a message. */
interface Part {
  readonly raw: Uint8Array
  /** Numbers, or strings and byte keys. */
  readonly counts: readonly number[]
}

interface FilterPart {
  /** Of the whole filter. */
  readonly blocksLog2: number
  readonly from: number
  readonly words: Int32Array
}

interface Common {
  readonly reason: InexactReason | undefined
  readonly namespaces: readonly number[]
  readonly flags: number
}

interface Message extends Common {
  readonly precision: EpochKeys['precision']
  readonly numbers?: Part | undefined
  readonly texts?: Part | undefined
  readonly filter?: FilterPart | undefined
}

const EMPTY = new Uint8Array(0)
const NO_TEXTS: { readonly parts: Part[]; readonly long: number[] } = { parts: [], long: [] }

function messageOf({ precision, reason, namespaces, flags, ...parts }: Message): Uint8Array {
  const numbers = parts.numbers ?? { raw: EMPTY, counts: [0] }
  const texts = parts.texts ?? { raw: EMPTY, counts: [0, 0] }
  const filter = parts.filter
  const isThin = numbers.raw.length < DEFLATE_BELOW * numbers.counts[0]
  const fewerNumbers = isThin ? deflated(numbers.raw) : undefined
  const fewerTexts = deflated(texts.raw)
  const storedNumbers = fewerNumbers ?? numbers.raw
  const storedTexts = fewerTexts ?? texts.raw
  const filterBytes =
    filter === undefined
      ? EMPTY
      : new Uint8Array(filter.words.buffer, filter.words.byteOffset, filter.words.byteLength)
  const out = new Out(OVERHEAD + storedNumbers.length + storedTexts.length + filterBytes.length)
  out.byte(0x44)
  out.byte(0x52)
  out.byte(MESSAGE_VERSION)
  out.byte(
    flags |
      (fewerNumbers === undefined ? 0 : MESSAGE_NUMBERS_DEFLATED) |
      (fewerTexts === undefined ? 0 : MESSAGE_TEXTS_DEFLATED) |
      (filter === undefined ? 0 : MESSAGE_FILTER),
  )
  out.byte(PRECISIONS.indexOf(precision) | (REASONS.indexOf(reason) << 4))
  out.differences(namespaces)
  out.part(numbers, storedNumbers, fewerNumbers !== undefined)
  out.part(texts, storedTexts, fewerTexts !== undefined)
  if (filter !== undefined) {
    out.byte(filter.blocksLog2)
    out.varint(filter.from)
    out.varint(filter.words.length / BLOCK_WORDS)
    out.all(filterBytes)
  }
  return out.end()
}

/** Bytes that grow from the left. */
class Out {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(room: number) {
    this.#bytes = new Uint8Array(room)
  }

  byte(value: number): void {
    this.#bytes[this.#at++] = value
  }

  varint(value: number): void {
    this.#at = writeVarint(this.#bytes, this.#at, value)
  }

  /** Sorted numbers: how many, and the differences. */
  differences(values: readonly number[]): void {
    this.varint(values.length)
    let before = 0
    for (const value of values) {
      this.varint(value - before)
      before = value
    }
  }

  part({ raw, counts }: Part, stored: Uint8Array, isDeflated: boolean): void {
    for (const count of counts) this.varint(count)
    if (raw.length === 0) return
    this.varint(raw.length)
    if (isDeflated) this.varint(stored.length)
    this.all(stored)
  }

  all(bytes: Uint8Array): void {
    this.#bytes.set(bytes, this.#at)
    this.#at += bytes.length
  }

  /** What is there, with its checksum. */
  end(): Uint8Array {
    let crc = crc32(this.#bytes.subarray(0, this.#at))
    for (let i = 0; i < 4; i++, crc >>>= 8) this.byte(crc & 255)
    return this.#bytes.slice(0, this.#at)
  }
}

/** Writes a whole number below 2^32. Returns where it ends. */
function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  for (; value > 0x7f; value >>>= 7) bytes[at++] = (value & 0x7f) | 0x80
  bytes[at++] = value
  return at
}

/** Sorted, each once. */
function union(some: readonly number[], others: readonly number[]): number[] {
  return [...new Set([...some, ...others])].sort((a, b) => a - b)
}

/** The numeric keys, sorted; with `text: 'fingerprint'` the fingerprints of texts are among them. */
function sortedPairs(from: Encodable, text: 'exact' | 'fingerprint'): Uint32Array {
  const { words, log, header } = from
  const prints = text === 'fingerprint' ? header.textCount : 0
  const keys = new BigUint64Array(header.count + prints)
  const pairs = new Int32Array(keys.buffer)
  pairs.set(words.subarray(log, log + header.count * 2))
  if (prints > 0) {
    let to = header.count * 2
    const end = from.arena + header.textEnd
    for (let at = from.arena; at < end; at += recordWords(words[at + HEAD_AT]), to += 2)
      readKey(textFrom(words, at + TEXT_HEADER, words[at + HEAD_AT]), pairs, to)
  }
  keys.sort()
  return new Uint32Array(keys.buffer)
}

/** The differences of sorted pairs, in parts of at most `room` bytes. Equal ones count once. */
function numberParts(pairs: Uint32Array, room: number): Part[] {
  const parts: Part[] = []
  const { length } = pairs
  for (let i = 0; i < length;) {
    const bytes = new Uint8Array(Math.min(room, (length - i) * (VARINT_MAX / 2)))
    const most = bytes.length - VARINT_MAX
    let at = 0
    let count = 0
    let low = 0
    let high = 0
    for (; i < length && at <= most; i += 2) {
      let x = pairs[i] - low
      let y = pairs[i + 1] - high
      if (count > 0 && (x | y) === 0) continue
      if (x < 0) {
        x += 2 ** 32
        y--
      }
      low = pairs[i]
      high = pairs[i + 1]
      count++
      while (y > 0) {
        bytes[at++] = (x & 0x7f) | 0x80
        x = ((x >>> 7) | (y << 25)) >>> 0
        y >>>= 7
      }
      for (; x > 0x7f; x >>>= 7) bytes[at++] = (x & 0x7f) | 0x80
      bytes[at++] = x
    }
    parts.push({ raw: bytes.subarray(0, at), counts: [count] })
  }
  return parts
}

/** The texts in parts of at most `room` bytes; `long`: where those lie that no part has room for. */
function textParts(from: Encodable, room: number): { parts: Part[]; long: number[] } {
  const { words, arena, header } = from
  const source = new Uint8Array(words.buffer, words.byteOffset, words.byteLength)
  const parts: Part[] = []
  const long: number[] = []
  const bytes = new Uint8Array(room)
  let at = 0
  let all = 0
  let counts = [0, 0]
  const flush = (): void => {
    if (at > 0) parts.push({ raw: bytes.slice(0, at), counts })
    at = 0
    all = 0
    counts = [0, 0]
  }
  for (const kind of [0, 1]) {
    let before = -1
    const places = placesOf(words, arena, arena + header.textEnd, kind)
    for (const place of sortedPlaces(words, places)) {
      const length = textBytesOf(words[place + HEAD_AT])
      if (length + VARINT_MAX > room) {
        long.push(place)
        continue
      }
      let shared = before < 0 ? 0 : sharedBytes(words, before, place)
      if (at + VARINT_MAX + length - shared > room || all + length > TEXTS_MAX) {
        flush()
        shared = 0
      }
      at = writeVarint(bytes, at, shared)
      at = writeVarint(bytes, at, length - shared)
      const start = (place + TEXT_HEADER) * 4
      for (let i = start + shared; i < start + length; i++) bytes[at++] = source[i]
      all += length
      counts[kind]++
      before = place
    }
  }
  flush()
  return { parts, long }
}

/** Where the texts lie that are strings (0), or byte keys (1). */
function placesOf(words: SharedWords, at: number, end: number, kind: number): Int32Array {
  const places: number[] = []
  for (; at < end; at += recordWords(words[at + HEAD_AT]))
    if ((words[at + HEAD_AT] & 1) === kind) places.push(at)
  return Int32Array.from(places)
}

/** Up to this many are sorted by insertion. */
const FEW = 10

/**
 * In the order of their bytes, the shorter one first where only zeros follow. A quicksort by one
 * word of the texts after another: a word that many have in common is compared once for each. 5
 * times as fast as sort() with a function that compares two texts (100,000 of 20 bytes, Node 20).
 */
function sortedPlaces(words: SharedWords, places: Int32Array): Int32Array {
  // Ranges that are left, and how many words all texts of one have in common.
  const left = [0, places.length, 0]
  while (left.length > 0) {
    const depth = left.pop()!
    const end = left.pop()!
    const from = left.pop()!
    if (end - from <= FEW) {
      insertionSort(words, places, from, end)
      continue
    }
    // A caller who chooses keys can't foresee it.
    const middle = from + Math.floor(Math.random() * (end - from))
    const pivot = wordAt(words, places[middle], depth)
    let less = from
    let more = end
    for (let i = from; i < more;) {
      const place = places[i]
      const word = wordAt(words, place, depth)
      if (word < pivot) {
        places[i++] = places[less]
        places[less++] = place
      } else if (word > pivot) {
        places[i] = places[--more]
        places[more] = place
      } else {
        i++
      }
    }
    left.push(from, less, depth, more, end, depth)
    if (pivot >= 0) left.push(less, more, depth + 1)
    else insertionSort(words, places, less, more) // they are the same, but for zeros at the end
  }
  return places
}

/** Word `k` of a text, in the order of its bytes; -1 behind the end. */
function wordAt(words: SharedWords, place: number, k: number): number {
  if (k * 4 >= textBytesOf(words[place + HEAD_AT])) return -1
  const word = words[place + TEXT_HEADER + k]
  return ((word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) >>> 0
}

function insertionSort(words: SharedWords, places: Int32Array, from: number, end: number): void {
  for (let i = from + 1; i < end; i++) {
    const place = places[i]
    let to = i
    for (; to > from && isAfter(words, places[to - 1], place); to--) places[to] = places[to - 1]
    places[to] = place
  }
}

function isAfter(words: SharedWords, a: number, b: number): boolean {
  const lengthA = textBytesOf(words[a + HEAD_AT])
  const lengthB = textBytesOf(words[b + HEAD_AT])
  const shared = sharedBytes(words, a, b)
  if (shared === lengthA || shared === lengthB) return lengthA > lengthB
  return byteOf(words, a, shared) > byteOf(words, b, shared)
}

function byteOf(words: SharedWords, place: number, i: number): number {
  return (words[place + TEXT_HEADER + (i >>> 2)] >>> (8 * (i & 3))) & 255
}

/** How many bytes two texts have in common at their beginnings. */
function sharedBytes(words: SharedWords, a: number, b: number): number {
  const most = Math.min(textBytesOf(words[a + HEAD_AT]), textBytesOf(words[b + HEAD_AT]))
  const end = (most + 3) >>> 2
  for (let k = 0; k < end; k++) {
    const others = words[a + TEXT_HEADER + k] ^ words[b + TEXT_HEADER + k]
    if (others !== 0) return Math.min(most, k * 4 + ((31 - Math.clz32(others & -others)) >>> 3))
  }
  return most
}

/** A superset of texts that are too long for a message. */
function longMessages(
  { words }: Encodable,
  places: readonly number[],
  common: Common,
  room: number,
): Uint8Array[] {
  const filter = emptyFilter(blocksLog2For(places.length))
  const pair = new Int32Array(2) as unknown as SharedWords
  for (const place of places) {
    hashPayload(words, place + TEXT_HEADER, words[place + HEAD_AT], pair)
    filterPairs(filter, pair, 0, 2)
  }
  return filterMessages({ ...common, reason: common.reason ?? 'overflow' }, filter, room)
}

function filterMessages(common: Common, filter: Filter, room: number): Uint8Array[] {
  const blocksLog2 = 31 - filter.shift
  const blocks = 2 ** blocksLog2
  const most = Math.floor(room / BLOCK_BYTES)
  const messages: Uint8Array[] = []
  for (let from = 0; from < blocks; from += most) {
    const words = filter.words.subarray(
      from * BLOCK_WORDS,
      Math.min(blocks, from + most) * BLOCK_WORDS,
    )
    const part = { blocksLog2, from, words }
    messages.push(messageOf({ ...common, precision: 'superset', filter: part }))
  }
  return messages
}

/** The filter of a superset, no larger than its keys need. */
function foldedFilter({ filter, header }: Encodable): Filter {
  const { words, at, shift } = filter!
  const bits = 2 ** (31 - shift) * BLOCK_BITS
  const keys = keysIn(header.fill / bits, bits)
  const folded = emptyFilter(Math.min(31 - shift, blocksLog2For(keys)))
  filterFold(folded, words.subarray(at, at + filterWords(filter!)))
  return folded
}

/** log2 of the blocks that so many keys need. */
function blocksLog2For(keys: number): number {
  return Math.max(0, Math.ceil(Math.log2((keys * BITS_PER_KEY) / BLOCK_BITS)))
}

/** In memory of its own. */
function emptyFilter(blocksLog2: number): Filter {
  return {
    words: new Int32Array(2 ** blocksLog2 * BLOCK_WORDS) as unknown as SharedWords,
    at: 0,
    shift: 31 - blocksLog2,
    fill: 0,
    native: undefined,
  }
}

/** What deflate makes of bytes, if that is less and the host has it. */
function deflated(bytes: Uint8Array): Uint8Array | undefined {
  if (bytes.length < DEFLATE_FROM) return undefined
  const fewer = zlibOfHost()?.deflateRawSync(bytes, { level: LEVEL })
  return fewer !== undefined && fewer.length < bytes.length ? fewer : undefined
}

/** Node's. A page has none; and an import would stop bundlers for pages. */
function zlibOfHost(): typeof import('node:zlib') | undefined {
  const { process } = globalThis as { process?: Partial<NodeJS.Process> }
  return typeof process?.getBuiltinModule === 'function'
    ? process.getBuiltinModule('node:zlib')
    : undefined
}
