/** Streams of keys, the same for the same arguments, whoever is measured with them. */

/** `count` keys drawn uniformly from `distinct` ones, spread over 64 bits. */
export function uniformKeys(count, distinct, seed = 1) {
  const next = mulberry32(seed)
  return keysOf(count, () => Math.floor(next() * distinct))
}

/** `count` keys of `ids` ones with a Zipfian skew, as YCSB draws them (Gray et al., "Quickly generating billion-record synthetic databases"). */
export function zipfKeys(count, ids, theta = 0.99, seed = 1) {
  const next = mulberry32(seed)
  let zeta = 0
  for (let i = 1; i <= ids; i++) zeta += i ** -theta
  const alpha = 1 / (1 - theta)
  const eta = (1 - (2 / ids) ** (1 - theta)) / (1 - (1 + 0.5 ** theta) / zeta)
  return keysOf(count, () => {
    const u = next()
    if (u * zeta < 1) return 0
    if (u * zeta < 1 + 0.5 ** theta) return 1
    return Math.min(ids - 1, Math.floor(ids * (eta * u - eta + 1) ** alpha))
  })
}

/** @returns {BigUint64Array} */
function keysOf(count, draw) {
  const keys = new BigUint64Array(new SharedArrayBuffer(count * 8))
  const lanes = new Uint32Array(keys.buffer)
  for (let i = 0; i < count; i++) {
    const id = draw()
    lanes[2 * i] = Math.imul(id + 1, 0x9e3779b1)
    lanes[2 * i + 1] = Math.imul(id + 1, 0x85ebca6b)
  }
  return keys
}

function mulberry32(seed) {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let x = Math.imul(state ^ (state >>> 15), 1 | state)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }
}
