// MurmurHash3_x86_128 by Austin Appleby (public domain): four 32-bit words of state, blocks of four
// words, so Math.imul does all of it. The digest's first two words are the low and the high half of
// a key.

import { isAligned, wordsOf } from '../check.js'

/**
 * The state, and the digest in the end: h1 to h4. One for the thread is enough, because no code of
 * others runs between the calls that belong together.
 */
export const digest = new Int32Array(4)

// Called through here because V8 looks `text.charCodeAt` up anew for every character once it has
// met more than four kinds of string there (flat, sliced, concatenated, interned, of one byte or
// two): 11 ns a character instead of 3 (Node 20).
// eslint-disable-next-line @typescript-eslint/unbound-method
const { charCodeAt } = String.prototype

// Not exported: the engine takes the value of an exported constant for one that changes (Node 20).
export const C1 = 0x239b961b
export const C2 = 0xab0e9789 | 0
export const C3 = 0x38b34ae5
export const C4 = 0xa1e38b93 | 0
export const N1 = 0x561ccd1b
export const N2 = 0x0bcaa747
export const N3 = 0x96cd1c35 | 0
export const N4 = 0x32ac3b17

export function begin(seed: number): void {
  digest[0] = digest[1] = digest[2] = digest[3] = seed
}

/** Takes in the blocks of words from `at` up to `end`. */
export function absorb(words: Int32Array, at: number, end: number): void {
  let h1 = digest[0]
  let h2 = digest[1]
  let h3 = digest[2]
  let h4 = digest[3]
  // Without helpers but the tiny rotl(): V8 stops inlining in a function this large, and a block
  // then takes up to four times as long (Node 20 to 24).
  for (; at < end; at += 4) {
    const k1 = Math.imul(rotl(Math.imul(words[at], C1), 15), C2)
    const k2 = Math.imul(rotl(Math.imul(words[at + 1], C2), 16), C3)
    const k3 = Math.imul(rotl(Math.imul(words[at + 2], C3), 17), C4)
    const k4 = Math.imul(rotl(Math.imul(words[at + 3], C4), 18), C1)
    h1 = (Math.imul(rotl(h1 ^ k1, 19) + h2, 5) + N1) | 0
    h2 = (Math.imul(rotl(h2 ^ k2, 17) + h3, 5) + N2) | 0
    h3 = (Math.imul(rotl(h3 ^ k3, 15) + h4, 5) + N3) | 0
    h4 = (Math.imul(rotl(h4 ^ k4, 13) + h1, 5) + N4) | 0
  }
  digest[0] = h1
  digest[1] = h2
  digest[2] = h3
  digest[3] = h4
}

/**
 * Takes in what is left of a key of `length` bytes: less than a block, from the word `at` on. The
 * last word is filled up with zeros. The state is the digest then.
 */
export function finish(words: Int32Array, at: number, length: number): void {
  finishFrom(digest[0], digest[1], digest[2], digest[3], words, at, length)
}

/** The digest of `length` bytes in words, the last one filled up with zeros. */
export function hashWords(words: Int32Array, length: number, seed: number): void {
  const end = (length >>> 4) << 2
  let h1 = seed | 0
  let h2 = h1
  let h3 = h1
  let h4 = h1
  let at = 0
  // Without helpers but the tiny rotl(): V8 stops inlining in a function this large, and a block
  // then takes up to four times as long (Node 20 to 24).
  for (; at < end; at += 4) {
    const k1 = Math.imul(rotl(Math.imul(words[at], C1), 15), C2)
    const k2 = Math.imul(rotl(Math.imul(words[at + 1], C2), 16), C3)
    const k3 = Math.imul(rotl(Math.imul(words[at + 2], C3), 17), C4)
    const k4 = Math.imul(rotl(Math.imul(words[at + 3], C4), 18), C1)
    h1 = (Math.imul(rotl(h1 ^ k1, 19) + h2, 5) + N1) | 0
    h2 = (Math.imul(rotl(h2 ^ k2, 17) + h3, 5) + N2) | 0
    h3 = (Math.imul(rotl(h3 ^ k3, 15) + h4, 5) + N3) | 0
    h4 = (Math.imul(rotl(h4 ^ k4, 13) + h1, 5) + N4) | 0
  }
  finishFrom(h1, h2, h3, h4, words, at, length)
}

/**
 * Packs the characters of a text of at most 31 into words and hashes them, in one pass: 10 ns less
 * than one after the other (16 characters, Node 20). False if they are not ASCII.
 */
export function hashAscii(text: string, words: Int32Array, seed: number): boolean {
  const { length } = text
  let h1 = seed | 0
  let h2 = h1
  let h3 = h1
  let h4 = h1
  let all = 0
  let i = 0
  let at = 0
  if (length >= 16) {
    let a = charCodeAt.call(text, 0)
    let b = charCodeAt.call(text, 1)
    let c = charCodeAt.call(text, 2)
    let d = charCodeAt.call(text, 3)
    all = a | b | c | d
    if (all > 0x7f) return false
    let word = a | (b << 8) | (c << 16) | (d << 24)
    words[0] = word
    h1 = (Math.imul(rotl(h1 ^ Math.imul(rotl(Math.imul(word, C1), 15), C2), 19) + h2, 5) + N1) | 0
    a = charCodeAt.call(text, 4)
    b = charCodeAt.call(text, 5)
    c = charCodeAt.call(text, 6)
    d = charCodeAt.call(text, 7)
    all |= a | b | c | d
    word = a | (b << 8) | (c << 16) | (d << 24)
    words[1] = word
    h2 = (Math.imul(rotl(h2 ^ Math.imul(rotl(Math.imul(word, C2), 16), C3), 17) + h3, 5) + N2) | 0
    a = charCodeAt.call(text, 8)
    b = charCodeAt.call(text, 9)
    c = charCodeAt.call(text, 10)
    d = charCodeAt.call(text, 11)
    all |= a | b | c | d
    word = a | (b << 8) | (c << 16) | (d << 24)
    words[2] = word
    h3 = (Math.imul(rotl(h3 ^ Math.imul(rotl(Math.imul(word, C3), 17), C4), 15) + h4, 5) + N3) | 0
    a = charCodeAt.call(text, 12)
    b = charCodeAt.call(text, 13)
    c = charCodeAt.call(text, 14)
    d = charCodeAt.call(text, 15)
    all |= a | b | c | d
    word = a | (b << 8) | (c << 16) | (d << 24)
    words[3] = word
    h4 = (Math.imul(rotl(h4 ^ Math.imul(rotl(Math.imul(word, C4), 18), C1), 13) + h1, 5) + N4) | 0
    if (all > 0x7f) return false
    i = 16
    at = 4
  }
  const first = at
  const whole = length & ~3
  for (; i < whole; i += 4) {
    const a = charCodeAt.call(text, i)
    const b = charCodeAt.call(text, i + 1)
    const c = charCodeAt.call(text, i + 2)
    const d = charCodeAt.call(text, i + 3)
    if ((a | b | c | d) > 0x7f) return false
    words[at++] = a | (b << 8) | (c << 16) | (d << 24)
  }
  let word = 0
  for (let shift = 0; i < length; i++, shift += 8) {
    const unit = charCodeAt.call(text, i)
    all |= unit
    word |= unit << shift
  }
  words[at] = word
  if (all > 0x7f) return false
  finishFrom(h1, h2, h3, h4, words, first, length)
  return true
}

/** Up to this length the loop is faster than a view of the words. */
const SHORT_VIEW = 256
const tail = new Int32Array(4)

/** The digest of bytes, where they lie. Where they begin at a whole word, long ones are read by words. */
export function hashView(bytes: Uint8Array, length: number, seed: number): void {
  const end = length & ~15
  begin(seed)
  if (length > SHORT_VIEW && isAligned(bytes)) absorb(wordsOf(bytes, end >>> 2), 0, end >>> 2)
  else absorbBytes(bytes, end)
  tail[0] = tail[1] = tail[2] = tail[3] = 0
  for (let i = end; i < length; i++) tail[(i >> 2) & 3] |= bytes[i] << (8 * (i & 3))
  finish(tail, 0, length)
}

/** absorb() for the first `end` bytes, which may begin anywhere. */
function absorbBytes(bytes: Uint8Array, end: number): void {
  let h1 = digest[0]
  let h2 = digest[1]
  let h3 = digest[2]
  let h4 = digest[3]
  for (let i = 0; i < end; i += 16) {
    let k1 = bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24)
    let k2 = bytes[i + 4] | (bytes[i + 5] << 8) | (bytes[i + 6] << 16) | (bytes[i + 7] << 24)
    let k3 = bytes[i + 8] | (bytes[i + 9] << 8) | (bytes[i + 10] << 16) | (bytes[i + 11] << 24)
    let k4 = bytes[i + 12] | (bytes[i + 13] << 8) | (bytes[i + 14] << 16) | (bytes[i + 15] << 24)
    k1 = Math.imul(rotl(Math.imul(k1, C1), 15), C2)
    k2 = Math.imul(rotl(Math.imul(k2, C2), 16), C3)
    k3 = Math.imul(rotl(Math.imul(k3, C3), 17), C4)
    k4 = Math.imul(rotl(Math.imul(k4, C4), 18), C1)
    h1 = (Math.imul(rotl(h1 ^ k1, 19) + h2, 5) + N1) | 0
    h2 = (Math.imul(rotl(h2 ^ k2, 17) + h3, 5) + N2) | 0
    h3 = (Math.imul(rotl(h3 ^ k3, 15) + h4, 5) + N3) | 0
    h4 = (Math.imul(rotl(h4 ^ k4, 13) + h1, 5) + N4) | 0
  }
  digest[0] = h1
  digest[1] = h2
  digest[2] = h3
  digest[3] = h4
}

/** The same with the state where the engine has it: in registers. */
function finishFrom(
  h1: number,
  h2: number,
  h3: number,
  h4: number,
  words: Int32Array,
  at: number,
  length: number,
): void {
  const rest = length & 15
  if (rest > 0) h1 ^= Math.imul(rotl(Math.imul(words[at], C1), 15), C2)
  if (rest > 4) h2 ^= Math.imul(rotl(Math.imul(words[at + 1], C2), 16), C3)
  if (rest > 8) h3 ^= Math.imul(rotl(Math.imul(words[at + 2], C3), 17), C4)
  if (rest > 12) h4 ^= Math.imul(rotl(Math.imul(words[at + 3], C4), 18), C1)

  h1 ^= length
  h2 ^= length
  h3 ^= length
  h4 ^= length

  h1 = (h1 + h2 + h3 + h4) | 0
  h2 = avalanche(h1 + h2)
  h3 = avalanche(h1 + h3)
  h4 = avalanche(h1 + h4)
  h1 = avalanche(h1)

  h1 = (h1 + h2 + h3 + h4) | 0
  digest[0] = h1
  digest[1] = h1 + h2
  digest[2] = h1 + h3
  digest[3] = h1 + h4
}

function rotl(x: number, bits: number): number {
  return (x << bits) | (x >>> (32 - bits))
}

/** Every bit of x to every bit of the answer: murmur's fmix32. */
function avalanche(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
  return x ^ (x >>> 16)
}
