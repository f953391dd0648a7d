/** Streams of keys, the same ones for the same arguments, whatever is measured with them. */
import { randomFrom } from '../../dist/demo/random.js'

/** A key's lanes are its id + 1 times these: odd, so that an id can be read back. */
const SPREAD_LO = 0x9e3779b1
const SPREAD_HI = 0x85ebca6b
const INVERSE_LO = inverseOf(SPREAD_LO)

/**
 * `count` keys of `distinct` ids, spread over 64 bits. skew: 0 is uniform, else that of a Zipf
 * distribution. hot: the share of them that are one and the same key.
 *
 * @returns {BigUint64Array} on shared memory
 */
export function stream({ count, distinct, skew = 0, hot = 0 }, seed = 1) {
  const next = randomFrom(seed)
  const draw = skew > 0 ? zipf(distinct, skew, next) : () => Math.floor(next() * distinct)
  const keys = new BigUint64Array(new SharedArrayBuffer(count * 8))
  const lanes = new Uint32Array(keys.buffer)
  for (let i = 0; i < count; i++) {
    const id = hot > 0 && next() < hot ? 0 : draw()
    lanes[2 * i] = Math.imul(id + 1, SPREAD_LO)
    lanes[2 * i + 1] = Math.imul(id + 1, SPREAD_HI)
  }
  return keys
}

/** `count` keys drawn uniformly from `distinct` ones. */
export function uniformKeys(count, distinct, seed = 1) {
  return stream({ count, distinct }, seed)
}

/** Every id from `from` to `to`, once, in no order that a table would like. */
export function everyKey(from, to) {
  const lanes = new Uint32Array((to - from) * 2)
  for (let id = from; id < to; id++) {
    lanes[2 * (id - from)] = Math.imul(id + 1, SPREAD_LO)
    lanes[2 * (id - from) + 1] = Math.imul(id + 1, SPREAD_HI)
  }
  return new BigUint64Array(lanes.buffer)
}

/** The id of a key, by its low lane. */
export function idOfLane(low) {
  return Math.imul(low, INVERSE_LO) - 1
}

/** Which ids were seen: what a plain Set would say, for less. */
export class Seen {
  size = 0
  #ids

  constructor(distinct) {
    this.#ids = new Uint8Array(distinct)
  }

  /** lanes: lo, hi, lo, hi …, as in an epoch. */
  add(lanes) {
    for (let i = 0; i < lanes.length; i += 2) this.addId(idOfLane(lanes[i]))
  }

  addId(id) {
    if (this.#ids[id] === 0) {
      this.#ids[id] = 1
      this.size++
    }
  }

  /** Two lanes views on a stream's first `count` keys. */
  static of(distinct, streams) {
    const seen = new Seen(distinct)
    for (const lanes of streams) seen.add(lanes)
    return seen
  }
}

/**
 * Ids with a Zipfian skew, as YCSB draws them (Gray et al., "Quickly generating billion-record
 * synthetic databases").
 */
function zipf(ids, theta, next) {
  const zeta = zetaOf(ids, theta)
  const alpha = 1 / (1 - theta)
  const eta = (1 - (2 / ids) ** (1 - theta)) / (1 - (1 + 0.5 ** theta) / zeta)
  return () => {
    const u = next()
    if (u * zeta < 1) return 0
    if (u * zeta < 1 + 0.5 ** theta) return 1
    return Math.min(ids - 1, Math.floor(ids * (eta * u - eta + 1) ** alpha))
  }
}

const zetas = new Map()

/** A second of work for 10 million ids, so once for all streams. */
function zetaOf(ids, theta) {
  const name = `${ids} ${theta}`
  if (!zetas.has(name)) {
    let zeta = 0
    for (let i = 1; i <= ids; i++) zeta += i ** -theta
    zetas.set(name, zeta)
  }
  return zetas.get(name)
}

/**
 * Modulo 2^32, of an odd number; each round of Newton's method doubles the bits that are right, of
 * which an odd number has three.
 */
function inverseOf(odd) {
  let inverse = odd
  for (let round = 0; round < 4; round++) inverse = Math.imul(inverse, 2 - Math.imul(odd, inverse))
  return inverse
}
