/**
 * How a key finds its home cell.
 *
 * ```
 *  x = lo ^ secret₀;  x ^= x >>> 16;  x *= secret₁;  x ^= x >>> 15;      mix lo
 *  x ^= hi;           x *= secret₂;                                      fold in hi, mix again
 *  home = x >>> shift                                                    the top bits, which every bit of the key has reached
 * ```
 *
 * The multiplications are chained, because a sum of two products sends 65,536 crafted keys to 256 values whatever its constants. `x ^= x >>> 16` comes
 * before the first: without it a difference in the top bits of lo would pass the multiplication unchanged, and a difference in hi could cancel it. The
 * factors are secret, because against known ones keys can be made whose products lie close together. The top bits are taken, because a difference in
 * the top bits of hi reaches only those. So nobody without the secrets can choose keys that crowd, and sequential ids spread evenly.
 *
 * The same three lines stand in each loop of kernel.ts: called as a function they would cost as much again.
 */

/** The three secret words for a seed: one to add, two odd factors with no long run of equal bits. */
export function secretsOf(seed: number): Int32Array {
  const secrets = new Int32Array(3)
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
  secrets[0] = draw()
  secrets[1] = drawFactor()
  secrets[2] = drawFactor()
  return secrets
}

/** A seed from the platform's crypto. */
export function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]
}

/** The longest run of equal bits: a factor with a long one sends some sequences of keys close together. */
function longestRun(word: number): number {
  let longest = 0
  let run = 0
  for (let bit = 0; bit < 32; bit++) {
    run = bit > 0 && ((word >>> bit) & 1) === ((word >>> (bit - 1)) & 1) ? run + 1 : 1
    if (run > longest) longest = run
  }
  return longest
}
