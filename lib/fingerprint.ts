// MurmurHash3_x86_128 by Austin Appleby (public domain): four 32-bit words of state, blocks of four
// words, so Math.imul does all of it. The answer's first two words are the low and the high half of
// a key.

import { checkByteOrder } from './byte-order.js'
import { checkBag, typedArrayName, viewLength } from './check.js'
import { invalidArg, outOfRange } from './errors.js'

// When the library is loaded: a fingerprint must be the same on every machine.
checkByteOrder()

/**
 * 64 bits, 0n to 2^64-1. As a pair: `high << 32n | low`. SQLite takes it as
 * `BigInt.asIntN(64, fingerprint)`.
 */
export type Fingerprint = bigint

/**
 * Computes the 64-bit fingerprint of a string or of bytes: the first 64 bits of
 * MurmurHash3_x86_128. It is the same on every machine and in every version.
 *
 * In the reference implementation's words h1 is the low half and h2 the high half, both unsigned:
 * `h2 << 32n | h1`. That is bytes 0 to 7 of the digest, read as one little-endian number. A string
 * is hashed as UTF-8, so it has the fingerprint of its encoded bytes. A lone surrogate counts as
 * U+FFFD.
 *
 * Not cryptographic: an attacker who chooses the keys can make two of them collide. Among n other
 * keys the odds that any two collide are about n^2 / 2^65: 2.7e-8 for 1 million keys, 2.7e-4 for
 * 100 million.
 *
 * Any thread may call it. If another thread writes to bytes in shared memory meanwhile, the
 * fingerprint may be that of no state which the bytes were in.
 *
 * @param key - A string or a Uint8Array (a Buffer is one), of any length.
 * @param options - `seed`: a namespace, a whole number from 0 to 2^32-1, default 0. Methods that
 * take a text key use seed 0. To mark a key of another namespace, mark its fingerprint:
 * `writer.mark(fingerprint(key, { seed }))`.
 * @returns The fingerprint, which is a key itself.
 * @throws TypeError `ERR_DIRTYRING_INVALID_ARG` for a key or a seed of another type, and for a
 * second argument that is not an options object.
 * @throws RangeError `ERR_DIRTYRING_OUT_OF_RANGE` for a seed out of range.
 *
 * @example
 * ```js
 * import { fingerprint } from 'dirtyring'
 *
 * console.log(fingerprint('Hello, world!', { seed: 123 }) === 0x5a1aacd761c9129en) // true
 * console.log(fingerprint('é') === fingerprint(new Uint8Array([0xc3, 0xa9]))) // true
 * ```
 */
export function fingerprint(
  key: string | Uint8Array,
  options?: { seed?: number | undefined },
): Fingerprint {
  digest(key, options === undefined ? 0 : seedOf(options))
  return stateAs64[0]
}

function seedOf(options: { seed?: number | undefined }): number {
  if (typeof options === 'number')
    throw invalidArg('options', 'a plain object', options, 'Pass a seed as { seed }.')
  checkBag('options', options, ['seed'])
  const { seed = 0 } = options
  if (typeof seed !== 'number') throw invalidArg('options.seed', 'a number', seed)
  if (seed >>> 0 !== seed) throw outOfRange('options.seed', 'a whole number from 0 to 2^32-1', seed)
  return seed
}

/**
 * The fingerprint of a string with seed 0, without a bigint: the low half to `out[at]`, the high
 * half to `out[at + 1]`.
 *
 * @internal
 */
export function hashText(text: string, out: Int32Array, at: number): void {
  digestString(text, 0)
  out[at] = state[0]
  out[at + 1] = state[1]
}

/**
 * The same for bytes: a Uint8Array, and its length, that the caller has checked.
 *
 * @internal
 */
export function hashBytes(bytes: Uint8Array, length: number, out: Int32Array, at: number): void {
  begin(0)
  finish(bytes, length, length)
  out[at] = state[0]
  out[at + 1] = state[1]
}

/**
 * All four words of the digest, for a comparison with other implementations.
 *
 * @internal
 */
export function hash128(key: string | Uint8Array, seed: number, out: Int32Array): void {
  digest(key, seed)
  out.set(state)
}

// One of each for the module is enough: no code of others runs between begin() and finish().

/** h1 to h4, and the digest in the end. */
const state = new Int32Array(4)
const stateAs64 = new BigUint64Array(state.buffer)

/** The key's last bytes, where they do not fill a block: what is missing counts as zeros. */
const tail = new Int32Array(4)

/**
 * Bytes of a string that are encoded and hashed at a time: whole blocks, whose last character may
 * hang over by three bytes.
 */
const CHUNK = 1024
const chunk = new Uint8Array(CHUNK + 3)

// Called through here because V8 looks `text.charCodeAt` up anew for every character once it has
// met more than four kinds of string there (flat, sliced, concatenated, interned, of one byte or
// two): 11 ns a character instead of 3 (Node 20).
// eslint-disable-next-line @typescript-eslint/unbound-method
const { charCodeAt, codePointAt } = String.prototype

function digest(key: string | Uint8Array, seed: number): void {
  if (typeof key === 'string') digestString(key, seed)
  else if (typedArrayName(key) === 'Uint8Array') digestBytes(key, seed)
  else throw invalidArg('key', 'a string or a Uint8Array', key)
}

function digestBytes(bytes: Uint8Array, seed: number): void {
  const length = viewLength(bytes, 'key')
  begin(seed)
  finish(bytes, length, length)
}

function digestString(text: string, seed: number): void {
  const { length } = text
  begin(seed)
  if (length <= CHUNK && copyAscii(text)) finish(chunk, length, length)
  else digestUtf8(text)
}

/**
 * Copies the key to the chunk, one loop that does nothing else: nearly every key is ASCII. False if
 * it is not.
 */
function copyAscii(text: string): boolean {
  const { length } = text
  for (let i = 0; i < length; i++) {
    const unit = charCodeAt.call(text, i)
    if (unit >= 0x80) return false
    chunk[i] = unit
  }
  return true
}

function digestUtf8(text: string): void {
  const { length } = text
  let filled = 0
  let absorbed = 0
  for (let i = 0; i < length; i++) {
    let point = codePointAt.call(text, i)!
    if (point < 0x80) {
      chunk[filled++] = point
    } else {
      if (point < 0x800) {
        chunk[filled++] = 0xc0 | (point >> 6)
      } else {
        if (point > 0xffff) {
          i++
          chunk[filled++] = 0xf0 | (point >> 18)
          chunk[filled++] = 0x80 | ((point >> 12) & 0x3f)
        } else {
          if (point >= 0xd800 && point <= 0xdfff) point = 0xfffd
          chunk[filled++] = 0xe0 | (point >> 12)
        }
        chunk[filled++] = 0x80 | ((point >> 6) & 0x3f)
      }
      chunk[filled++] = 0x80 | (point & 0x3f)
    }
    if (filled >= CHUNK) {
      absorb(chunk, CHUNK)
      chunk.copyWithin(0, CHUNK, filled)
      filled -= CHUNK
      absorbed += CHUNK
    }
  }
  finish(chunk, filled, absorbed + filled)
}

// Words are read and multiplied in place, without helpers but the tiny rotl(): V8 stops inlining in
// a function this large, and a block then takes up to four times as long (Node 20). Bytes are put
// together by shifts because a view may begin at any offset.

const C1 = 0x239b961b
const C2 = 0xab0e9789
const C3 = 0x38b34ae5
const C4 = 0xa1e38b93

function begin(seed: number): void {
  state[0] = state[1] = state[2] = state[3] = seed
}

/** Takes in the whole blocks among the first `end` bytes. */
function absorb(bytes: Uint8Array, end: number): void {
  let h1 = state[0]
  let h2 = state[1]
  let h3 = state[2]
  let h4 = state[3]
  for (let i = 0; i + 16 <= end; i += 16) {
    const k1 = bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24)
    const k2 = bytes[i + 4] | (bytes[i + 5] << 8) | (bytes[i + 6] << 16) | (bytes[i + 7] << 24)
    const k3 = bytes[i + 8] | (bytes[i + 9] << 8) | (bytes[i + 10] << 16) | (bytes[i + 11] << 24)
    const k4 = bytes[i + 12] | (bytes[i + 13] << 8) | (bytes[i + 14] << 16) | (bytes[i + 15] << 24)
    h1 =
      (Math.imul(rotl(h1 ^ Math.imul(rotl(Math.imul(k1, C1), 15), C2), 19) + h2, 5) + 0x561ccd1b) |
      0
    h2 =
      (Math.imul(rotl(h2 ^ Math.imul(rotl(Math.imul(k2, C2), 16), C3), 17) + h3, 5) + 0x0bcaa747) |
      0
    h3 =
      (Math.imul(rotl(h3 ^ Math.imul(rotl(Math.imul(k3, C3), 17), C4), 15) + h4, 5) + 0x96cd1c35) |
      0
    h4 =
      (Math.imul(rotl(h4 ^ Math.imul(rotl(Math.imul(k4, C4), 18), C1), 13) + h1, 5) + 0x32ac3b17) |
      0
  }
  state[0] = h1
  state[1] = h2
  state[2] = h3
  state[3] = h4
}

/** Takes in the first `end` bytes, the last of the key's `length`: the state is the digest then. */
function finish(bytes: Uint8Array, end: number, length: number): void {
  absorb(bytes, end)
  tail[0] = tail[1] = tail[2] = tail[3] = 0
  for (let i = end - (end % 16); i < end; i++) tail[(i >> 2) & 3] |= bytes[i] << (8 * (i & 3))

  let h1 = state[0] ^ Math.imul(rotl(Math.imul(tail[0], C1), 15), C2)
  let h2 = state[1] ^ Math.imul(rotl(Math.imul(tail[1], C2), 16), C3)
  let h3 = state[2] ^ Math.imul(rotl(Math.imul(tail[2], C3), 17), C4)
  let h4 = state[3] ^ Math.imul(rotl(Math.imul(tail[3], C4), 18), C1)

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
  state[0] = h1
  state[1] = h1 + h2
  state[2] = h1 + h3
  state[3] = h1 + h4
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
