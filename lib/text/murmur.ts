// MurmurHash3_x86_128 by Austin Appleby (public domain): four 32-bit words of state, blocks of four
// words, so Math.imul does all of it. The digest's first two words are the low and the high half of
// a key.

/**
 * The state, and the digest in the end: h1 to h4. One for the thread is enough, because no code of
 * others runs between the calls that belong together.
 */
export const digest = new Int32Array(4)

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
    h1 =
      (Math.imul(rotl(h1 ^ Math.imul(rotl(Math.imul(words[at], C1), 15), C2), 19) + h2, 5) + N1) | 0
    h2 =
      (Math.imul(rotl(h2 ^ Math.imul(rotl(Math.imul(words[at + 1], C2), 16), C3), 17) + h3, 5) +
        N2) |
      0
    h3 =
      (Math.imul(rotl(h3 ^ Math.imul(rotl(Math.imul(words[at + 2], C3), 17), C4), 15) + h4, 5) +
        N3) |
      0
    h4 =
      (Math.imul(rotl(h4 ^ Math.imul(rotl(Math.imul(words[at + 3], C4), 18), C1), 13) + h1, 5) +
        N4) |
      0
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
  let h1 = digest[0]
  let h2 = digest[1]
  let h3 = digest[2]
  let h4 = digest[3]
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

/** The digest of `length` bytes in words, the last one filled up with zeros. */
export function hashWords(words: Int32Array, length: number, seed: number): void {
  const end = (length >>> 4) << 2
  begin(seed)
  absorb(words, 0, end)
  finish(words, end, length)
}

export function rotl(x: number, bits: number): number {
  return (x << bits) | (x >>> (32 - bits))
}

/** Every bit of x to every bit of the answer: murmur's fmix32. */
function avalanche(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
  return x ^ (x >>> 16)
}
