/**
 * The set's loops of ../kernel.ts in WebAssembly, over the very same bytes: AssemblyScript, a dialect of TypeScript that this project's tsc does not
 * see. compile.js makes binary.ts of it. Places are byte addresses; nothing is kept here but the secrets, and nothing is published: results go back to
 * the caller, who stores them.
 */

let seedLo: i32
let mulLo: i32
let seedHi: i32
let mulHi: i32
let mulMix: i32

/** Once, before all else. */
export function init(seedLo_: i32, mulLo_: i32, seedHi_: i32, mulHi_: i32, mulMix_: i32): void {
  seedLo = seedLo_
  mulLo = mulLo_
  seedHi = seedHi_
  mulHi = mulHi_
  mulMix = mulMix_
}

/** A key's home cell: ../mix.ts. The secrets as arguments, so that a loop keeps them in registers. */
@inline
function homeOf(key: u64, shift: i32, a: i32, b: i32, c: i32, d: i32, e: i32): u32 {
  const x: u32 = ((<i32>key ^ a) * b) ^ rotl<i32>((<i32>(key >> 32) ^ c) * d, 16)
  return ((rotl<u32>(x, 11) ^ (x >>> 3)) * <u32>e) >>> shift
}

/**
 * Insert the keys at [at .. end), 4,096 at most, whose new ones go to the log at `tail`, until it is `full`, and into the table. Returns keys taken << 14 |
 * new keys << 1 | key 0 is in.
 */
export function insertRun(at: usize, end: usize, tail: usize, full: usize, table: usize, shift: i32, zero: i32): i32 {
  const a = seedLo, b = mulLo, c = seedHi, d = mulHi, e = mulMix
  const mask: u32 = (1 << (32 - shift)) - 1
  const from = at
  const start = tail
  for (; at < end; at += 8) {
    const key = load<u64>(at)
    if (key == 0) {
      if (zero) continue
      if (tail == full) break
      store<u64>(tail, 0)
      tail += 8
      zero = 1
      continue
    }
    let x = homeOf(key, shift, a, b, c, d, e)
    let cell = table + (<usize>x << 3)
    let seen = load<u64>(cell)
    if (seen == key) continue
    while (seen != 0 && seen != key) {
      x = (x + 1) & mask
      cell = table + (<usize>x << 3)
      seen = load<u64>(cell)
    }
    if (seen == key) continue
    if (tail == full) break
    store<u64>(tail, key)
    tail += 8
    store<u64>(cell, key)
  }
  return (<i32>((at - from) >> 3) << 14) | (<i32>((tail - start) >> 3) << 1) | zero
}

/** Enter the keys at [at .. end), known to be distinct and absent, into the table. 1 if key 0 is among them. */
export function indexLog(at: usize, end: usize, table: usize, shift: i32): i32 {
  const a = seedLo, b = mulLo, c = seedHi, d = mulHi, e = mulMix
  const mask: u32 = (1 << (32 - shift)) - 1
  let zero = 0
  for (; at < end; at += 8) {
    const key = load<u64>(at)
    if (key == 0) {
      zero = 1
      continue
    }
    let x = homeOf(key, shift, a, b, c, d, e)
    let cell = table + (<usize>x << 3)
    while (load<u64>(cell) != 0) {
      x = (x + 1) & mask
      cell = table + (<usize>x << 3)
    }
    store<u64>(cell, key)
  }
  return zero
}

/** 1 if a key, not 0, is in the table. */
export function contains(lo: i32, hi: i32, table: usize, shift: i32): i32 {
  const key = (<u64>(<u32>hi) << 32) | <u64>(<u32>lo)
  const mask: u32 = (1 << (32 - shift)) - 1
  let x = homeOf(key, shift, seedLo, mulLo, seedHi, mulHi, mulMix)
  let seen = load<u64>(table + (<usize>x << 3))
  while (seen != 0 && seen != key) {
    x = (x + 1) & mask
    seen = load<u64>(table + (<usize>x << 3))
  }
  return <i32>(seen == key)
}

/** Zero the bytes at [at .. end). */
export function clear(at: usize, end: usize): void {
  memory.fill(at, 0, end - at)
}
