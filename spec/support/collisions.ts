import { absorb, begin, digest } from '../../lib/text/murmur.js'

// The constants of MurmurHash3_x86_128.
const C1 = 0x239b961b
const C2 = 0xab0e9789
const C3 = 0x38b34ae5
const C4 = 0xa1e38b93
const N1 = 0x561ccd1b
const N2 = 0x0bcaa747
const N3 = 0x96cd1c35
const N4 = 0x32ac3b17

/** The factor that undoes an odd one, modulo 2^32: each step doubles the bits that are right. */
function inverseOf(factor: number): number {
  let inverse = factor
  for (let i = 0; i < 5; i++) inverse = Math.imul(inverse, (2 - Math.imul(factor, inverse)) | 0)
  return inverse
}

const rotr = (x: number, by: number): number => (x >>> by) | (x << (32 - by))
const FIFTH = inverseOf(5)

/**
 * So many keys of 32 bytes, all of one fingerprint(): the second block of each takes the hash from
 * wherever its first block left it to one and the same state.
 */
export function bytesOfOneHash(count: number): Uint8Array<ArrayBuffer>[] {
  const target = [1, 2, 3, 4]
  return Array.from({ length: count }, (_, i) => {
    const words = new Int32Array(8)
    words[0] = i
    begin(0)
    absorb(words, 0, 4)
    const [h1, h2, h3, h4] = digest
    const solve = (from: number, add: number, by: number, t: number, n: number): number =>
      rotr((Math.imul(t - n, FIFTH) - add) | 0, by) ^ from
    const unscramble = (mixed: number, first: number, by: number, second: number): number =>
      Math.imul(rotr(Math.imul(mixed, inverseOf(second)), by), inverseOf(first))
    words[4] = unscramble(solve(h1, h2, 19, target[0], N1), C1, 15, C2)
    words[5] = unscramble(solve(h2, h3, 17, target[1], N2), C2, 16, C3)
    words[6] = unscramble(solve(h3, h4, 15, target[2], N3), C3, 17, C4)
    words[7] = unscramble(solve(h4, target[0], 13, target[3], N4), C4, 18, C1)
    return new Uint8Array(words.buffer)
  })
}
