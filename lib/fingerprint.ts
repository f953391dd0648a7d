import { checkByteOrder } from './byte-order.js'
import { checkBag, typedArrayName, viewLength } from './check.js'
import { invalidArg, outOfRange } from './errors.js'
import { hashText as hashString } from './text/encode.js'
import { digest as state, hashView } from './text/murmur.js'

// When the library is loaded: a fingerprint must be the same on every machine.
checkByteOrder()

/**
 * 64 bits, 0n to 2^64-1. As a pair: `high << 32n | low`. SQLite takes it as
 * `BigInt.asIntN(64, fingerprint)`.
 */
export type Fingerprint = bigint

/**
 * Computes the 64-bit fingerprint of a string or of bytes: the first 64 bits of
 * MurmurHash3_x86_128. It is the same on every machine and in every version. It is for structures
 * that are keyed by it: a tracker keeps text keys themselves and needs no fingerprint of them.
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
 * mark or look up a text by its fingerprint use seed 0.
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
  hashKey(key, options === undefined ? 0 : seedOf(options))
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
  hashString(text, 0)
  out[at] = state[0]
  out[at + 1] = state[1]
}

/**
 * The same for bytes: a Uint8Array, and its length, that the caller has checked.
 *
 * @internal
 */
export function hashBytes(bytes: Uint8Array, length: number, out: Int32Array, at: number): void {
  hashView(bytes, length, 0)
  out[at] = state[0]
  out[at + 1] = state[1]
}

/**
 * All four words of the digest, for a comparison with other implementations.
 *
 * @internal
 */
export function hash128(key: string | Uint8Array, seed: number, out: Int32Array): void {
  hashKey(key, seed)
  out.set(state)
}

const stateAs64 = new BigUint64Array(state.buffer)

function hashKey(key: string | Uint8Array, seed: number): void {
  if (typeof key === 'string') hashString(key, seed)
  else if (typedArrayName(key) === 'Uint8Array') hashView(key, viewLength(key, 'key'), seed)
  else throw invalidArg('key', 'a string or a Uint8Array', key)
}
