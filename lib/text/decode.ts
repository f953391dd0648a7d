// Text and bytes on their way out of words, which other threads may see. What is read is copied
// first: the decoders of some hosts refuse shared memory, and each word is read once.

import { bufferOver, decoder, type HostBuffer } from './host.js'

/**
 * A copy of bytes in memory that is not shared. Written so that TypeScript 5.4, where typed arrays
 * have no type parameter, reads it too; from 5.7 on it is `Uint8Array<ArrayBuffer>`.
 */
export type Bytes = ReturnType<Uint8Array['slice']>

interface Copy {
  readonly words: Int32Array
  readonly bytes: Uint8Array
  readonly buffer: HostBuffer | undefined
}

function copyOf(size: number): Copy {
  const words = new Int32Array(size)
  const bytes = new Uint8Array(words.buffer)
  return { words, bytes, buffer: bufferOver?.(words.buffer) }
}

const usual = copyOf(1024)

const { fromCharCode } = String

/** The top bit of each byte: none is set in ASCII. */
const NOT_ASCII = 0x80808080 | 0

/**
 * The text of WTF-8 in words: what encodeText() wrote, exactly. Of other bytes, each part that no
 * text has comes back as U+FFFD.
 */
export function decodeText(words: Int32Array, at: number, byteLength: number): string {
  if (byteLength <= 16) {
    const text = decodeShort(words, at, byteLength)
    if (text !== undefined) return text
  }
  const size = (byteLength + 3) >>> 2
  const copy = size <= usual.words.length ? usual : copyOf(size)
  const into = copy.words
  let all = 0
  for (let i = 0; i < size; i++) all |= into[i] = words[at + i]
  return (all & NOT_ASCII) === 0 ? readAscii(copy, byteLength) : readWtf8(copy, byteLength)
}

/** A copy of the bytes. */
export function decodeBytes(words: Int32Array, at: number, byteLength: number): Bytes {
  const size = (byteLength + 3) >>> 2
  const { words: into, bytes } = size <= usual.words.length ? usual : copyOf(size)
  for (let i = 0; i < size; i++) into[i] = words[at + i]
  return bytes.slice(0, byteLength)
}

/**
 * Up to 16 characters of ASCII: 28 ns instead of 49 for 16 (Node 20 to 24). Undefined where
 * another way is better. Up to 12 characters the engine makes one piece of what is put together.
 */
function decodeShort(words: Int32Array, at: number, length: number): string | undefined {
  const size = length >>> 2
  const a = size > 0 ? words[at] : 0
  const b = size > 1 ? words[at + 1] : 0
  const c = size > 2 ? words[at + 2] : 0
  const d = size > 3 ? words[at + 3] : 0
  const rest = length & 3
  const last = rest > 0 ? words[at + size] : 0
  if (((a | b | c | d | last) & NOT_ASCII) !== 0) return undefined
  let text = ''
  switch (size) {
    case 1:
      text = fromCharCode(a & 0xff, (a >> 8) & 0xff, (a >> 16) & 0xff, a >>> 24)
      break
    case 2:
      text = fromCharCode(
        a & 0xff,
        (a >> 8) & 0xff,
        (a >> 16) & 0xff,
        a >>> 24,
        b & 0xff,
        (b >> 8) & 0xff,
        (b >> 16) & 0xff,
        b >>> 24,
      )
      break
    case 3:
      if (rest > 0 && bufferOver !== undefined) return undefined
      text = fromCharCode(
        a & 0xff,
        (a >> 8) & 0xff,
        (a >> 16) & 0xff,
        a >>> 24,
        b & 0xff,
        (b >> 8) & 0xff,
        (b >> 16) & 0xff,
        b >>> 24,
        c & 0xff,
        (c >> 8) & 0xff,
        (c >> 16) & 0xff,
        c >>> 24,
      )
      break
    case 4:
      return fromCharCode(
        a & 0xff,
        (a >> 8) & 0xff,
        (a >> 16) & 0xff,
        a >>> 24,
        b & 0xff,
        (b >> 8) & 0xff,
        (b >> 16) & 0xff,
        b >>> 24,
        c & 0xff,
        (c >> 8) & 0xff,
        (c >> 16) & 0xff,
        c >>> 24,
        d & 0xff,
        (d >> 8) & 0xff,
        (d >> 16) & 0xff,
        d >>> 24,
      )
  }
  if (rest === 0) return text
  if (rest === 1) return text + fromCharCode(last & 0xff)
  const two = fromCharCode(last & 0xff, (last >> 8) & 0xff)
  return text + (rest === 2 ? two : two + fromCharCode((last >> 16) & 0xff))
}

function readAscii({ bytes, buffer }: Copy, length: number): string {
  if (buffer !== undefined) return buffer.latin1Slice(0, length)
  if (decoder !== undefined) return decoder.decode(bytes.subarray(0, length))
  return readUnits(bytes, length)
}

function readWtf8(copy: Copy, length: number): string {
  const { bytes, buffer } = copy
  if (hasSurrogates(bytes, length)) return readUnits(bytes, length)
  if (buffer !== undefined) return buffer.utf8Slice(0, length)
  if (decoder !== undefined) return decoder.decode(bytes.subarray(0, length))
  return readUnits(bytes, length)
}

/** UTF-8 has no bytes for surrogates, so the host's decoders take them for other than text. */
function hasSurrogates(bytes: Uint8Array, length: number): boolean {
  for (let i = 0; i < length - 2; i++) if (isSurrogateAt(bytes, i, length)) return true
  return false
}

function isSurrogateAt(bytes: Uint8Array, i: number, length: number): boolean {
  return bytes[i] === 0xed && i + 2 < length && bytes[i + 1] >> 5 === 5 && bytes[i + 2] >> 6 === 2
}

/** UTF-16 units that are made a string at a time. */
const PART = 4096

/** Without the host: as its decoders do, and lone surrogates come back. */
function readUnits(bytes: Uint8Array, length: number): string {
  const units: number[] = []
  let text = ''
  for (let i = 0; i < length;) {
    const first = bytes[i++]
    if (first < 0x80) {
      units.push(first)
    } else if (isSurrogateAt(bytes, i - 1, length) && !isHalfOfPair(bytes, i - 1, length)) {
      units.push(0xd000 | ((bytes[i] & 0x3f) << 6) | (bytes[i + 1] & 0x3f))
      i += 2
    } else {
      const more = first < 0xc2 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : first < 0xf5 ? 3 : 0
      let point = first & (0x3f >> more)
      let taken = 0
      for (; taken < more && i < length; taken++) {
        const byte = bytes[i]
        // What would be longer than needed, a surrogate, or more than U+10FFFF ends here.
        const least = taken > 0 ? 0x80 : first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80
        const most = taken > 0 ? 0xbf : first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf
        if (byte < least || byte > most) break
        point = (point << 6) | (byte & 0x3f)
        i++
      }
      if (more === 0 || taken < more) units.push(0xfffd)
      else if (point < 0x10000) units.push(point)
      else units.push(0xd7c0 + (point >> 10), 0xdc00 | (point & 0x3ff))
    }
    if (units.length >= PART) {
      text += fromCharCode(...units)
      units.length = 0
    }
  }
  return text + fromCharCode(...units)
}

/** A pair has four bytes in WTF-8: two surrogates that would make one are no text. */
function isHalfOfPair(bytes: Uint8Array, i: number, length: number): boolean {
  const isHigh = bytes[i + 1] < 0xb0
  const other = isHigh ? i + 3 : i - 3
  if (!isSurrogateAt(bytes, other, length)) return false
  return bytes[other + 1] < 0xb0 !== isHigh
}
