import { randomWords } from '../random-words.js'

/**
 * How a key finds its home cell.
 *
 * ```
 *  x = (lo ^ seedLo) * mulLo                          mix lo
 *  x ^= rotl((hi ^ seedHi) * mulHi, 16)               mix hi beside it, half a turn away
 *  x = (rotl(x, 11) ^ x >>> 3) * mulMix               let every bit reach the top
 *  home = x >>> shift
 * ```
 *
 * A product's low bits know nothing of a factor's high bits, so a difference in the top bits of a
 * lane comes out in the top bits and nowhere else. Two lanes simply added or xored would cancel
 * there: 65,536 crafted keys go to 256 values whatever the factors are. Hence the half turn between
 * them, and the last multiplication over both. All constants are secret, because against known ones
 * keys can be made whose products lie close together, or undo a shift. Without the secrets no
 * caller can choose keys that crowd, and sequential ids spread evenly.
 *
 * The same lines stand in each loop of kernel.ts: called as a function they would cost as much
 * again (Node 20).
 */
export interface Secrets {
  readonly seedLo: number
  readonly mulLo: number
  readonly seedHi: number
  readonly mulHi: number
  readonly mulMix: number
}

/** The secrets that begin at `at`. */
export function secretsAt(words: ArrayLike<number>, at: number): Secrets {
  return {
    seedLo: words[at],
    mulLo: words[at + 1],
    seedHi: words[at + 2],
    mulHi: words[at + 3],
    mulMix: words[at + 4],
  }
}

/** The key of the texts' hash that begins at `at`. */
export function textSecretsAt(
  words: ArrayLike<number>,
  at: number,
): { readonly key0: number; readonly key1: number } {
  return { key0: words[at], key1: words[at + 1] }
}

/**
 * The seven secret words for a seed: what is xored to a lane, and odd factors with no long run of
 * equal bits; then the key of the texts' hash (sip.ts).
 */
export function secretsOf(seed: number): Int32Array {
  let state = seed | 0
  const draw = (): number => {
    // MurmurHash3's finalizer over a Weyl sequence: every seed its own stream.
    state = (state + 0x9e3779b9) | 0
    let x = state
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
    return x ^ (x >>> 16)
  }
  const drawFactor = (): number => {
    for (;;) {
      const factor = draw() | 1
      if (longestRun(factor) <= 5) return factor
    }
  }
  return Int32Array.of(draw(), drawFactor(), draw(), drawFactor(), drawFactor(), draw(), draw())
}

/** A seed from the platform's crypto. */
export function randomSeed(): number {
  return randomWords(1)[0]
}

/**
 * The longest run of equal bits: a factor with a long one sends some sequences of keys close
 * together.
 */
function longestRun(word: number): number {
  let longest = 0
  let run = 0
  for (let bit = 0; bit < 32; bit++) {
    run = bit > 0 && ((word >>> bit) & 1) === ((word >>> (bit - 1)) & 1) ? run + 1 : 1
    if (run > longest) longest = run
  }
  return longest
}
