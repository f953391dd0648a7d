// Text and bytes on their way in: as words, and their fingerprint. All is written into memory that
// only this thread has, because the host's writers may write there in any order, and more than once.

import { bytesOf } from '../check.js'
import { bufferOver, encoder, type HostBuffer } from './host.js'
import { absorb, begin, finish, hashAscii, hashWords } from './murmur.js'

/**
 * UTF-16 units of a long text that are encoded at a time where only its fingerprint is wanted. Each
 * takes three bytes at most.
 */
const PIECE = 4096
const usual = new Int32Array(PIECE)
const usualBytes = new Uint8Array(usual.buffer)

/** Up to this length the loop is faster than a call of the host's writer (Node 20 to 26). */
const SHORT = 24
/** Up to this length the loop is faster than a call of set(). */
const SHORT_BYTES = 64

/**
 * What encodeText(), encodeBytes(), packText() and packBytes() wrote last. It holds until one of
 * them, or a function of fingerprint.ts, is called again.
 */
export const scratch = {
  /** From the first word on. The last word used is filled up with zeros. */
  words: usual,
  /** The same memory. */
  bytes: usualBytes,
}

// eslint-disable-next-line @typescript-eslint/unbound-method
const { charCodeAt } = String.prototype // see murmur.ts
const { isWellFormed } = String.prototype as { isWellFormed?: (this: string) => boolean }

/**
 * Writes a text to the scratch as WTF-8: UTF-8, in which a lone surrogate has three bytes of its
 * own. So two different strings have different bytes. Returns how many bytes; the digest of them,
 * with seed 0, is in `digest`.
 */
export function encodeText(text: string): number {
  const isShort = text.length <= SHORT
  if (isShort) {
    reserve(0)
    if (hashAscii(text, usual, 0)) return text.length
  }
  const length = isShort ? writeUnits(text, 0, true) : writeText(text)
  hashWords(scratch.words, length, 0)
  return length
}

/** The same for bytes, of which the caller has checked the length. */
export function encodeBytes(bytes: Uint8Array, length: number): number {
  packBytes(bytes, length)
  hashWords(scratch.words, length, 0)
  return length
}

/** encodeText() without the digest. */
export function packText(text: string): number {
  if (text.length > SHORT) return writeText(text)
  return pack(text) ? text.length : writeUnits(text, 0, true)
}

/** encodeBytes() without the digest. */
export function packBytes(bytes: Uint8Array, length: number): number {
  reserve(length)
  const { words } = scratch
  if (length > SHORT_BYTES) {
    words[length >>> 2] = 0
    scratch.bytes.set(bytesOf(bytes, length))
    return length
  }
  // By shifts: a word that is read soon after its bytes were stored one by one has to wait for them.
  const whole = length >>> 2
  let i = 0
  for (let at = 0; at < whole; at++, i += 4)
    words[at] = bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24)
  let word = 0
  for (let shift = 0; i < length; i++, shift += 8) word |= bytes[i] << shift
  words[whole] = word
  return length
}

/**
 * The digest of a text, in which a lone surrogate counts as U+FFFD, in `digest`. What is in the
 * scratch then is of no use.
 */
export function hashText(text: string, seed: number): void {
  const { length } = text
  if (length <= SHORT) {
    reserve(0)
    if (!hashAscii(text, usual, seed)) hashWords(usual, writeUnits(text, 0, false), seed)
  } else if (length <= PIECE) {
    reserve(3 * length)
    hashWords(usual, writeUtf8(text, 0), seed)
  } else {
    hashLongText(text, seed)
  }
}

/** Piece by piece: what does not fill a block goes before the next piece. */
function hashLongText(text: string, seed: number): void {
  const { length } = text
  reserve(0)
  begin(seed)
  let absorbed = 0
  let filled = 0
  for (let from = 0; from < length;) {
    let to = Math.min(from + PIECE, length)
    if (to < length && (charCodeAt.call(text, to - 1) & 0xfc00) === 0xd800) to-- // half of a pair
    filled = writeUtf8(text.slice(from, to), filled)
    const end = (filled >>> 4) << 2
    absorb(usual, 0, end)
    usual.copyWithin(0, end, end + 4)
    absorbed += 4 * end
    filled &= 15
    from = to
  }
  finish(usual, 0, absorbed + filled)
}

/** Packs a short text's characters into words. False if they are not ASCII. */
function pack(text: string): boolean {
  const { length } = text
  reserve(0)
  const whole = length >>> 2
  let all = 0
  let i = 0
  for (let at = 0; at < whole; at++, i += 4) {
    const a = charCodeAt.call(text, i)
    const b = charCodeAt.call(text, i + 1)
    const c = charCodeAt.call(text, i + 2)
    const d = charCodeAt.call(text, i + 3)
    if ((a | b | c | d) > 0x7f) return false
    usual[at] = a | (b << 8) | (c << 16) | (d << 24)
  }
  let word = 0
  for (let shift = 0; i < length; i++, shift += 8) {
    const unit = charCodeAt.call(text, i)
    all |= unit
    word |= unit << shift
  }
  usual[whole] = word
  return all <= 0x7f
}

function writeText(text: string): number {
  const { length } = text
  reserve(3 * length)
  const written = writeUtf8(text, 0)
  // Every character beyond ASCII has more bytes than UTF-16 units.
  return written === length || isWell(text) ? written : writeUnits(text, 0, true)
}

function isWell(text: string): boolean {
  return isWellFormed === undefined ? isWellBySight(text) : isWellFormed.call(text)
}

function isWellBySight(text: string): boolean {
  const { length } = text
  for (let i = 0; i < length; i++) {
    const unit = charCodeAt.call(text, i)
    if ((unit & 0xf800) !== 0xd800) continue
    // charCodeAt() of the end is NaN, of which the bits are 0.
    if (unit > 0xdbff || (charCodeAt.call(text, ++i) & 0xfc00) !== 0xdc00) return false
  }
  return true
}

/**
 * Writes a text to the scratch as UTF-8, from byte `at` on, and fills the last word up with zeros.
 * There is room for three bytes a unit, so all of it is written. Returns where it ends.
 */
function writeUtf8(text: string, at: number): number {
  let end: number
  if (encoder !== undefined) {
    const into = at === 0 ? scratch.bytes : scratch.bytes.subarray(at)
    const { read, written } = encoder.encodeInto(text, into)
    // Without an error, a writer may stop early.
    if (read !== text.length) return writeUnits(text, at, false)
    end = at + written
  } else if (bufferOver !== undefined) {
    end = at + bufferOfScratch().write(text, at)
  } else {
    return writeUnits(text, at, false)
  }
  clearTail(end)
  return end
}

let buffer: HostBuffer | undefined

function bufferOfScratch(): HostBuffer {
  const memory = scratch.words.buffer
  if (buffer?.buffer !== memory) buffer = bufferOver!(memory)
  return buffer
}

/** The same without the host. Lone surrogates are kept, or written as U+FFFD. */
function writeUnits(text: string, at: number, keep: boolean): number {
  const { length } = text
  const { bytes } = scratch
  for (let i = 0; i < length; i++) {
    let point = charCodeAt.call(text, i)
    if (point < 0x80) {
      bytes[at++] = point
      continue
    }
    if (point < 0x800) {
      bytes[at++] = 0xc0 | (point >> 6)
    } else {
      if ((point & 0xf800) === 0xd800) {
        const next = point < 0xdc00 ? charCodeAt.call(text, i + 1) : 0
        if ((next & 0xfc00) === 0xdc00) {
          i++
          point = 0x10000 + ((point & 0x3ff) << 10) + (next & 0x3ff)
        } else if (!keep) {
          point = 0xfffd
        }
      }
      if (point > 0xffff) {
        bytes[at++] = 0xf0 | (point >> 18)
        bytes[at++] = 0x80 | ((point >> 12) & 0x3f)
      } else {
        bytes[at++] = 0xe0 | (point >> 12)
      }
      bytes[at++] = 0x80 | ((point >> 6) & 0x3f)
    }
    bytes[at++] = 0x80 | (point & 0x3f)
  }
  clearTail(at)
  return at
}

/** Fills the last word up with zeros. */
function clearTail(end: number): void {
  scratch.words[end >>> 2] &= ~(-1 << (8 * (end & 3)))
}

/**
 * Makes room for `bytes` bytes, and a word behind them. A long key gets memory of its own, which
 * the next short key drops.
 */
export function reserve(bytes: number): void {
  if (bytes >= usualBytes.length) {
    scratch.words = new Int32Array((bytes >>> 2) + 1)
    scratch.bytes = new Uint8Array(scratch.words.buffer)
  } else if (scratch.words !== usual) {
    scratch.words = usual
    scratch.bytes = usualBytes
  }
}
