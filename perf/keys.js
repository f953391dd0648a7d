/**
 * `count` keys drawn uniformly from `distinct` ones, spread over 64 bits: the same stream for the same arguments, whoever is measured with it.
 *
 * @returns {BigUint64Array}
 */
export function uniformKeys(count, distinct, seed = 1) {
  const keys = new BigUint64Array(count)
  const lanes = new Uint32Array(keys.buffer)
  let state = seed | 0
  for (let i = 0; i < count; i++) {
    state = (state + 0x6d2b79f5) | 0 // mulberry32
    let x = Math.imul(state ^ (state >>> 15), 1 | state)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    const id = Math.floor((((x ^ (x >>> 14)) >>> 0) / 2 ** 32) * distinct)
    lanes[2 * i] = Math.imul(id + 1, 0x9e3779b1)
    lanes[2 * i + 1] = Math.imul(id + 1, 0x85ebca6b)
  }
  return keys
}
