import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import type { SharedWords } from '../../lib/memory/map.js'
import { keyedHash } from '../../lib/set/sip.js'

const rotl = (x: number, bits: number): number => ((x << bits) | (x >>> (32 - bits))) >>> 0
const add = (x: number, y: number): number => (x + y) >>> 0

/** HalfSipHash-c-d over whole blocks, as the paper's figure has it; the last block is one of them. */
function halfSipHash(c: number, d: number, blocks: number[], k0: number, k1: number): number {
  let [v0, v1, v2, v3] = [k0, k1, k0 ^ 0x6c796765, k1 ^ 0x74656462].map((word) => word >>> 0)
  const rounds = (count: number): void => {
    for (let i = 0; i < count; i++) {
      v0 = add(v0, v1)
      v1 = (rotl(v1, 5) ^ v0) >>> 0
      v0 = rotl(v0, 16)
      v2 = add(v2, v3)
      v3 = (rotl(v3, 8) ^ v2) >>> 0
      v0 = add(v0, v3)
      v3 = (rotl(v3, 7) ^ v0) >>> 0
      v2 = add(v2, v1)
      v1 = (rotl(v1, 13) ^ v2) >>> 0
      v2 = rotl(v2, 16)
    }
  }
  for (const block of blocks) {
    v3 = (v3 ^ block) >>> 0
    rounds(c)
    v0 = (v0 ^ block) >>> 0
  }
  v2 = (v2 ^ 0xff) >>> 0
  rounds(d)
  return (v1 ^ v3) >>> 0
}

/** The blocks of the original: the last one has the bytes that are left, and the length above them. */
function blocksOf(bytes: Uint8Array): number[] {
  const padded = new Uint8Array((bytes.length & ~3) + 4)
  padded.set(bytes)
  padded[padded.length - 1] = bytes.length
  return Array.from(new Uint32Array(padded.buffer))
}

const K0 = 0x03020100
const K1 = 0x07060504
const counting = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i)

describe('the hash that places texts', () => {
  // The first of the published vectors for the key 00 01 … 07 and the bytes 00 01 02 …, those of
  // HalfSipHash-2-4 from its authors (as little-endian words), those of 1-3 from Linux (hsiphash on
  // 32-bit machines).
  it.each([
    [2, 4, [0x5b9f35a9, 0xb85a4727, 0x03a662fa, 0x04e7fe8a]],
    [1, 3, [0x5814c896, 0xe7e864ca, 0xbc4b0e30, 0x01539939, 0x7e059ea6, 0x88e3d89b, 0xa0080b65]],
  ])('is compared with a HalfSipHash-%d-%d that gives the published vectors', (c, d, vectors) => {
    const found = vectors.map((_, length) => halfSipHash(c, d, blocksOf(counting(length)), K0, K1))
    expect(found).toEqual(vectors)
  })

  const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })

  it('is HalfSipHash-1-3 of the words and of the length with the kind', () => {
    fc.assert(
      fc.property(
        fc.array(word, { maxLength: 12 }),
        fc.nat({ max: 3 }),
        fc.boolean(),
        fc.nat({ max: 5 }),
        word,
        word,
        (key, missing, isBytes, at, k0, k1) => {
          const byteLength = Math.max(0, 4 * key.length - missing)
          const lengthAndKind = (byteLength << 1) | Number(isBytes)
          const size = Math.ceil(byteLength / 4)
          const words = new Int32Array(new SharedArrayBuffer(4 * (at + key.length + 2))).fill(
            -1,
          ) as SharedWords
          words.set(key, at)
          const blocks = [...key.slice(0, size), lengthAndKind]
          expect(keyedHash(words, at, lengthAndKind, k0, k1)).toBe(
            halfSipHash(1, 3, blocks, k0, k1) | 0,
          )
        },
      ),
      { numRuns: 500 },
    )
  })

  it('tells texts apart by their kind and by zeros at their end, and depends on both secrets', () => {
    const words = new Int32Array(new SharedArrayBuffer(16)) as SharedWords
    const all = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16].flatMap((length) => [
      keyedHash(words, 0, length << 1, K0, K1),
      keyedHash(words, 0, (length << 1) | 1, K0, K1),
      keyedHash(words, 0, length << 1, K0 + 1, K1),
      keyedHash(words, 0, length << 1, K0, K1 + 1),
    ])
    expect(new Set(all).size).toBe(all.length)
  })
})
