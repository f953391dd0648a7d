import type { SharedWords } from '../memory/map.js'
import { TEXT_HEADER } from '../memory/table-size.js'
import type { NativeKernel } from './kernel.js'
import { HEAD_AT, recordWords } from './text-set.js'

/**
 * A split-block Bloom filter over an array of words, in the form of Parquet and Impala. It finds
 * every key that went in, and says of some others that they are in. It keeps no key.
 *
 * ```
 *  block   8 words: one cache line or half of one. The high half of the mixed pair chooses it
 *  word i  one bit, which the top 5 bits of (low half of the mixed pair) * SALT[i] choose
 * ```
 *
 * A key sets 8 bits, one in each word of its block. Numbers and texts go into one filter: a number
 * by its pair, a text by the first 64 bits of MurmurHash3_x86_128 of its payload, which is the pair
 * that a writer stages for it. Two filters of one size unite by OR.
 *
 * All constants are public, because a filter may be read by another process. So a caller who chooses
 * the keys can make more of the wrong answers. No caller can hide a key.
 *
 * A plain record, as kernel.ts has one for a set.
 */
export interface Filter {
  words: SharedWords
  /** Word index of the first block. */
  at: number
  /** 31 - log2(blocks). */
  shift: number
  /** Bits that are set. */
  fill: number
  /** As in kernel.ts. */
  native: NativeKernel | undefined
}

/** Words of a block. */
export const BLOCK_WORDS = 8
/** The bits that a key sets. */
const BITS_PER_KEY = 8

/** Keys, and words, that a call of the native kernel takes: what it counts has to fit its answer. */
const NATIVE_KEYS = 4096
const NATIVE_WORDS = 2 ** 20

/** The `shift` of a filter that has the memory of a table of so many cells. */
export function filterShift(cells: number): number {
  return Math.clz32(cells) + 2
}

/** Words of a filter. */
export function filterWords({ shift }: Filter): number {
  return 2 ** (31 - shift) * BLOCK_WORDS
}

/**
 * Inserts the pairs in source[at .. end): low, high, low, high … With a native kernel, `source`
 * must be the filter's own words. What is inserted again changes nothing.
 */
export function filterPairs(filter: Filter, source: SharedWords, at: number, end: number): void {
  const { native, shift } = filter
  if (native === undefined) {
    const { words } = filter
    let added = 0
    for (; at < end; at += 2) added += setBits(words, filter.at, shift, source[at], source[at + 1])
    filter.fill += added
    return
  }
  while (at < end) {
    const stop = Math.min(at + NATIVE_KEYS * 2, end)
    filter.fill += native.filterPairs(at << 2, stop << 2, filter.at << 2, shift)
    at = stop
  }
}

/** Inserts the texts at the places that words[list + from .. list + to) name, 4,096 at most. */
export function filterTexts(filter: Filter, list: number, from: number, to: number): void {
  const { words, native, shift } = filter
  if (native === undefined) {
    for (let i = from; i < to; i++) {
      const at = words[list + i]
      hashPayload(words, at + TEXT_HEADER, words[at + HEAD_AT], pair)
      filter.fill += setBits(words, filter.at, shift, pair[0], pair[1])
    }
    return
  }
  filter.fill += native.filterTexts((list + from) << 2, (list + to) << 2, filter.at << 2, shift)
}

/** Inserts the texts of the records at words[at .. end), which hold together: 4,096 at most. */
export function filterRecords(filter: Filter, at: number, end: number): void {
  const { words, native, shift } = filter
  if (native === undefined) {
    for (; at < end; at += recordWords(words[at + HEAD_AT])) {
      hashPayload(words, at + TEXT_HEADER, words[at + HEAD_AT], pair)
      filter.fill += setBits(words, filter.at, shift, pair[0], pair[1])
    }
    return
  }
  filter.fill += native.filterRecords(at << 2, end << 2, filter.at << 2, shift)
}

const pair = new Int32Array(2)

/** Sets the bits of a pair. Returns how many were not set. */
function setBits(words: SharedWords, at: number, shift: number, lo: number, hi: number): number {
  const y = hi ^ scatter(lo ^ KEY_1)
  const x = lo ^ scatter(y ^ KEY_2)
  const block = (at + ((((y ^ scatter(x ^ KEY_3)) >>> 1) >>> shift) << 3)) | 0
  return (
    setBit(words, block, Math.imul(x, SALT_0)) +
    setBit(words, block + 1, Math.imul(x, SALT_1)) +
    setBit(words, block + 2, Math.imul(x, SALT_2)) +
    setBit(words, block + 3, Math.imul(x, SALT_3)) +
    setBit(words, block + 4, Math.imul(x, SALT_4)) +
    setBit(words, block + 5, Math.imul(x, SALT_5)) +
    setBit(words, block + 6, Math.imul(x, SALT_6)) +
    setBit(words, block + 7, Math.imul(x, SALT_7))
  )
}

/** Sets the bit that the top 5 bits of `choice` name. Returns 1 if it was not set. */
function setBit(words: SharedWords, at: number, choice: number): number {
  const word = words[at]
  const bit = choice >>> 27
  words[at] = word | (1 << bit)
  return ((word >>> bit) & 1) ^ 1
}

/** Tells whether a pair may be in. Any thread that has been given the filter may call it. */
export function filterHas(filter: Filter, lo: number, hi: number): boolean {
  const { words, shift } = filter
  const y = hi ^ scatter(lo ^ KEY_1)
  const x = lo ^ scatter(y ^ KEY_2)
  const block = filter.at + ((((y ^ scatter(x ^ KEY_3)) >>> 1) >>> shift) << 3)
  return (
    ((words[block] >>> (Math.imul(x, SALT_0) >>> 27)) &
      (words[block + 1] >>> (Math.imul(x, SALT_1) >>> 27)) &
      (words[block + 2] >>> (Math.imul(x, SALT_2) >>> 27)) &
      (words[block + 3] >>> (Math.imul(x, SALT_3) >>> 27)) &
      (words[block + 4] >>> (Math.imul(x, SALT_4) >>> 27)) &
      (words[block + 5] >>> (Math.imul(x, SALT_5) >>> 27)) &
      (words[block + 6] >>> (Math.imul(x, SALT_6) >>> 27)) &
      (words[block + 7] >>> (Math.imul(x, SALT_7) >>> 27)) &
      1) !==
    0
  )
}

/**
 * Sets all bits that are set in the words [from .. to) of another filter of the same size, whose
 * first block is at words[source]. Doing it again changes nothing.
 */
export function filterUnite(filter: Filter, source: number, from: number, to: number): void {
  const { words, native } = filter
  while (from < to) {
    const stop = Math.min(from + NATIVE_WORDS, to)
    if (native !== undefined) {
      filter.fill += native.filterUnite(
        (filter.at + from) << 2,
        (filter.at + stop) << 2,
        (source + from) << 2,
      )
      from = stop
    }
    for (; from < stop; from++) {
      const word = words[filter.at + from]
      const more = words[source + from] & ~word
      if (more === 0) continue
      words[filter.at + from] = word | more
      filter.fill += bitsOf(more)
    }
  }
}

/** Counts the set bits anew. */
export function filterCount(filter: Filter): void {
  const { words, native, at } = filter
  const end = at + filterWords(filter)
  let fill = 0
  for (let from = at; from < end;) {
    const stop = Math.min(from + NATIVE_WORDS, end)
    if (native !== undefined) {
      fill += native.filterCount(from << 2, stop << 2)
      from = stop
    }
    for (; from < stop; from++) fill += bitsOf(words[from])
  }
  filter.fill = fill
}

/**
 * Adds all that a filter of any size has, whose words are the caller's own. The top bits of a hash
 * choose the block: a smaller filter's block goes into each block that its keys may now choose, and
 * several blocks of a larger filter go into one. `fill` does not change.
 */
export function filterFold(filter: Filter, other: Int32Array): void {
  const { words, at } = filter
  const blocks = filterWords(filter) / BLOCK_WORDS
  const others = other.length / BLOCK_WORDS
  for (let i = 0; i < Math.max(blocks, others); i++) {
    const to = at + Math.floor((i * blocks) / Math.max(blocks, others)) * BLOCK_WORDS
    const from = Math.floor((i * others) / Math.max(blocks, others)) * BLOCK_WORDS
    for (let k = 0; k < BLOCK_WORDS; k++) words[to + k] |= other[from + k]
  }
}

/** The bits that are set in a word. */
function bitsOf(word: number): number {
  word -= (word >>> 1) & 0x55555555
  word = (word & 0x33333333) + ((word >>> 2) & 0x33333333)
  return Math.imul((word + (word >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}

/**
 * The probability that a filter of which this part of the bits is set says of a key that it is in,
 * and is wrong. `part` to the power of 8 would be too small, by a factor of six at a part of 0.2, because some
 * blocks have more keys than others. Keys fall into blocks as the Poisson distribution says: with
 * an average of m, a bit of a block stays 0 with probability e^(-m / 32) = 1 - part.
 */
export function falsePositivesOf(part: number): number {
  const stays = 31 / 32
  // The expectation of (1 - stays^n)^8 over n keys in a block, by the binomial theorem. Its terms
  // nearly cancel where the result is small; it is never below that of the average block.
  let sum = 0
  let choose = 1
  for (let k = 0; k <= BITS_PER_KEY; k++) {
    sum += (k % 2 === 0 ? choose : -choose) * (1 - part) ** (32 * (1 - stays ** k))
    choose = (choose * (BITS_PER_KEY - k)) / (k + 1)
  }
  return Math.min(1, Math.max(sum, part ** BITS_PER_KEY))
}

/** About how many keys are in a filter of so many bits, of which this part is set. */
export function keysIn(part: number, bits: number): number {
  return (-bits / BITS_PER_KEY) * Math.log(1 - Math.min(part, 1 - 1 / bits))
}

/**
 * The pair of a text whose payload begins at words[at], to `out`: the first 64 bits of
 * MurmurHash3_x86_128 with seed 0, as text/murmur.ts has it for a writer's own memory.
 */
export function hashPayload(words: SharedWords, at: number, head: number, out: Int32Array): void {
  const length = head >>> 1
  const end = at + ((length >>> 4) << 2)
  let h1 = 0
  let h2 = 0
  let h3 = 0
  let h4 = 0
  for (; at < end; at += 4) {
    h1 = (Math.imul(rotl(h1 ^ mixed(words[at], C1, 15, C2), 19) + h2, 5) + N1) | 0
    h2 = (Math.imul(rotl(h2 ^ mixed(words[at + 1], C2, 16, C3), 17) + h3, 5) + N2) | 0
    h3 = (Math.imul(rotl(h3 ^ mixed(words[at + 2], C3, 17, C4), 15) + h4, 5) + N3) | 0
    h4 = (Math.imul(rotl(h4 ^ mixed(words[at + 3], C4, 18, C1), 13) + h1, 5) + N4) | 0
  }
  const rest = length & 15
  if (rest > 0) h1 ^= mixed(words[at], C1, 15, C2)
  if (rest > 4) h2 ^= mixed(words[at + 1], C2, 16, C3)
  if (rest > 8) h3 ^= mixed(words[at + 2], C3, 17, C4)
  if (rest > 12) h4 ^= mixed(words[at + 3], C4, 18, C1)
  h1 ^= length
  h2 ^= length
  h3 ^= length
  h4 ^= length
  h1 = (h1 + h2 + h3 + h4) | 0
  h2 = scatter(h1 + h2)
  h3 = scatter(h1 + h3)
  h4 = scatter(h1 + h4)
  h1 = (scatter(h1) + h2 + h3 + h4) | 0
  out[0] = h1
  out[1] = h1 + h2
}

function mixed(word: number, factor: number, bits: number, next: number): number {
  return Math.imul(rotl(Math.imul(word, factor), bits), next)
}

function rotl(x: number, bits: number): number {
  return (x << bits) | (x >>> (32 - bits))
}

/** Every bit of x to every bit of the answer: murmur's fmix32. */
function scatter(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
  return x ^ (x >>> 16)
}

// Not exported: the engine takes the value of an exported constant for one that changes (Node 20).
/** Make three different functions of scatter(), each of which mixes one half into the other. */
const KEY_1 = 0x9e3779b9 | 0
const KEY_2 = 0x243f6a88
const KEY_3 = 0xb7e15162 | 0
/** Parquet's. */
const SALT_0 = 0x47b6137b
const SALT_1 = 0x44974d91
const SALT_2 = 0x8824ad5b | 0
const SALT_3 = 0xa2b7289d | 0
const SALT_4 = 0x705495c7
const SALT_5 = 0x2df1424b
const SALT_6 = 0x9efc4947 | 0
const SALT_7 = 0x5c6bfb31
/** Murmur's. */
const C1 = 0x239b961b
const C2 = 0xab0e9789 | 0
const C3 = 0x38b34ae5
const C4 = 0xa1e38b93 | 0
const N1 = 0x561ccd1b
const N2 = 0x0bcaa747
const N3 = 0x96cd1c35 | 0
const N4 = 0x32ac3b17
