import type { SharedWords } from '../memory/map.js'

/**
 * HalfSipHash-1-3 (Aumasson and Bernstein) with 32 bits of result: a hash that cannot be predicted
 * without its secret `k0` and `k1`, so that no caller can choose texts that crowd a table.
 *
 * Takes the words of a text or of bytes from `at` on, `lengthAndKind >>> 1` bytes, the last word
 * filled up with zeros. The last block is `lengthAndKind` itself: it has 32 bits, where the
 * original has 8 bits of the length above up to three bytes. So a text with more zeros at its end,
 * and the same bytes of another kind, have another last block.
 */
export function keyedHash(
  words: SharedWords,
  at: number,
  lengthAndKind: number,
  k0: number,
  k1: number,
): number {
  let v0 = k0 | 0
  let v1 = k1 | 0
  let v2 = k0 ^ 0x6c796765
  let v3 = k1 ^ 0x74656462
  const end = at + (((lengthAndKind >>> 1) + 3) >>> 2)
  for (; at < end; at++) {
    const word = words[at]
    v3 ^= word
    v0 = (v0 + v1) | 0
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
    v0 = (v0 << 16) | (v0 >>> 16)
    v2 = (v2 + v3) | 0
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
    v0 = (v0 + v3) | 0
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
    v2 = (v2 + v1) | 0
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
    v2 = (v2 << 16) | (v2 >>> 16)
    v0 ^= word
  }
  v3 ^= lengthAndKind
  v0 = (v0 + v1) | 0
  v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
  v0 = (v0 << 16) | (v0 >>> 16)
  v2 = (v2 + v3) | 0
  v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
  v0 = (v0 + v3) | 0
  v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
  v2 = (v2 + v1) | 0
  v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
  v2 = (v2 << 16) | (v2 >>> 16)
  v0 ^= lengthAndKind
  v2 ^= 0xff
  for (let i = 0; i < 3; i++) {
    v0 = (v0 + v1) | 0
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
    v0 = (v0 << 16) | (v0 >>> 16)
    v2 = (v2 + v3) | 0
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
    v0 = (v0 + v3) | 0
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
    v2 = (v2 + v1) | 0
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
    v2 = (v2 << 16) | (v2 >>> 16)
  }
  return v1 ^ v3
}
