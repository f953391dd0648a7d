/**
 * The set's loops of ../kernel.ts in WebAssembly, over the very same bytes: AssemblyScript, a
 * dialect of TypeScript that this project's tsc does not see. compile.js makes binary.ts of it.
 * Places are byte addresses; nothing is kept here but the secrets, and nothing is published:
 * results go back to the caller, who stores them. A decorator of AssemblyScript stands in a comment
 * that compile.js takes away, so that formatters can read the file.
 */

let seedLo: i32
let mulLo: i32
let seedHi: i32
let mulHi: i32
let mulMix: i32

/** Byte address of 256 words, in which nothing lives from one call to the next. */
let scratch: usize
/** Somewhere for what is loaded for the sake of loading it. */
let sink: u64

/** Bytes of the keys whose cells are found, and fetched, together. */
const GROUP: usize = 256 << 3
/** Bytes of the keys of which a word of 64 bits says what is missing. */
const MASKED: usize = 64 << 3
/** With a shift below this a table is larger than 1 MiB, and so than a core's own cache. */
const FAR_SHIFT = 15

/**
 * Call it once, before all else. scratch: byte address of 256 words that only the kernel writes.
 */
export function init(
  seedLo_: i32,
  mulLo_: i32,
  seedHi_: i32,
  mulHi_: i32,
  mulMix_: i32,
  scratch_: usize,
): void {
  seedLo = seedLo_
  mulLo = mulLo_
  seedHi = seedHi_
  mulHi = mulHi_
  mulMix = mulMix_
  scratch = scratch_
}

/**
 * A key's home cell: ../mix.ts. The secrets as arguments, so that a loop keeps them in registers.
 */
// @inline
function homeOf(key: u64, table: usize, shift: i32, a: i32, b: i32, c: i32, d: i32, e: i32): u32 {
  const x: u32 = (((<i32>key) ^ a) * b) ^ rotl<i32>(((<i32>(key >> 32)) ^ c) * d, 16)
  return <u32>table + ((((rotl<u32>(x, 11) ^ (x >>> 3)) * <u32>e) >>> shift) << 3)
}

/**
 * The addresses of the home cells of the keys at [at .. end), 256 at most, into the scratch. Of a
 * table that does not fit the cache those cells are also loaded, in a loop so short that a
 * processor has dozens of them on their way at once: with the work on each key in between it would
 * be a few. Four keys a turn: the compiler does not unroll it, and half of a turn is the loop's
 * own.
 */
// @inline
function findHomes(
  at: usize,
  end: usize,
  table: usize,
  shift: i32,
  a: i32,
  b: i32,
  c: i32,
  d: i32,
  e: i32,
): void {
  let to = scratch
  for (; at + 32 <= end; at += 32, to += 16) {
    store<u32>(to, homeOf(load<u64>(at), table, shift, a, b, c, d, e))
    store<u32>(to, homeOf(load<u64>(at, 8), table, shift, a, b, c, d, e), 4)
    store<u32>(to, homeOf(load<u64>(at, 16), table, shift, a, b, c, d, e), 8)
    store<u32>(to, homeOf(load<u64>(at, 24), table, shift, a, b, c, d, e), 12)
  }
  for (; at < end; at += 8, to += 4)
    store<u32>(to, homeOf(load<u64>(at), table, shift, a, b, c, d, e))
  if (shift >= FAR_SHIFT) return
  let sum: u64 = 0
  let from = scratch
  for (; from + 16 <= to; from += 16) {
    sum |=
      load<u64>(load<u32>(from)) |
      load<u64>(load<u32>(from, 4)) |
      load<u64>(load<u32>(from, 8)) |
      load<u64>(load<u32>(from, 12))
  }
  for (; from < to; from += 4) sum |= load<u64>(load<u32>(from))
  sink = sum
}

/** 1 if the key at `at` is 0, or not in its home cell, whose address is at `home`. */
// @inline
function isMissing(at: usize, home: usize): u64 {
  const key = load<u64>(at)
  return (<u64>(load<u64>(load<u32>(home)) != key)) | (<u64>(key == 0))
}

/**
 * Insert the keys at [at .. end), 4,096 at most, whose new ones go to the log at `tail`, until it
 * is `full`, and into the table. Returns keys taken << 14 | new keys << 1 | key 0 is in.
 *
 * Most keys are in, and at home. Which of 64 are not is found without a branch, and what a branch
 * could be wrong about is left for those few.
 */
export function insertRun(
  at: usize,
  end: usize,
  tail: usize,
  full: usize,
  table: usize,
  shift: i32,
  zero: i32,
): i32 {
  const a = seedLo,
    b = mulLo,
    c = seedHi,
    d = mulHi,
    e = mulMix
  const tableEnd: usize = table + ((<usize>8) << (32 - shift))
  const from = at
  const start = tail
  while (at < end) {
    const stop = min(end - at, GROUP) + at
    findHomes(at, stop, table, shift, a, b, c, d, e)
    let homes = scratch
    for (let first = at; first < stop; homes += MASKED >> 1) {
      const last = min(stop - first, MASKED) + first
      let missing: u64 = 0
      let place = first
      let home = homes
      let bit: u64 = 0
      for (; place + 32 <= last; place += 32, home += 16, bit += 4) {
        const four =
          isMissing(place, home) |
          (isMissing(place + 8, home + 4) << 1) |
          (isMissing(place + 16, home + 8) << 2) |
          (isMissing(place + 24, home + 12) << 3)
        missing |= four << bit
      }
      for (; place < last; place += 8, home += 4, bit++) missing |= isMissing(place, home) << bit
      for (; missing != 0; missing &= missing - 1) {
        const i = <usize>ctz(missing)
        const here = first + (i << 3)
        const key = load<u64>(here)
        let cell: usize = load<u32>(homes + (i << 2))
        if (key == 0) {
          if (zero) continue
          if (tail == full) return resultOf(here - from, tail - start, zero)
          store<u64>(tail, 0)
          tail += 8
          zero = 1
          continue
        }
        let seen = load<u64>(cell)
        while (seen != 0 && seen != key) {
          cell += 8
          if (cell == tableEnd) cell = table
          seen = load<u64>(cell)
        }
        if (seen == key) continue
        if (tail == full) return resultOf(here - from, tail - start, zero)
        store<u64>(tail, key)
        tail += 8
        store<u64>(cell, key)
      }
      first = last
    }
    at = stop
  }
  return resultOf(end - from, tail - start, zero)
}

// @inline
function resultOf(taken: usize, added: usize, zero: i32): i32 {
  return ((<i32>(taken >> 3)) << 14) | ((<i32>(added >> 3)) << 1) | zero
}

/**
 * Enter the keys at [at .. end), known to be distinct and absent, into the table. 1 if key 0 is
 * among them.
 */
export function indexLog(at: usize, end: usize, table: usize, shift: i32): i32 {
  const a = seedLo,
    b = mulLo,
    c = seedHi,
    d = mulHi,
    e = mulMix
  const tableEnd: usize = table + ((<usize>8) << (32 - shift))
  let zero = 0
  while (at < end) {
    const stop = min(end - at, GROUP) + at
    findHomes(at, stop, table, shift, a, b, c, d, e)
    let home = scratch
    for (let place = at; place < stop; place += 8, home += 4) {
      const key = load<u64>(place)
      if (key == 0) {
        zero = 1
        continue
      }
      let cell: usize = load<u32>(home)
      while (load<u64>(cell) != 0) {
        cell += 8
        if (cell == tableEnd) cell = table
      }
      store<u64>(cell, key)
    }
    at = stop
  }
  return zero
}

/** 1 if a key, not 0, is in the table. */
export function contains(lo: i32, hi: i32, table: usize, shift: i32): i32 {
  const key = ((<u64>(<u32>hi)) << 32) | (<u64>(<u32>lo))
  const tableEnd: usize = table + ((<usize>8) << (32 - shift))
  let cell: usize = homeOf(key, table, shift, seedLo, mulLo, seedHi, mulHi, mulMix)
  let seen = load<u64>(cell)
  while (seen != 0 && seen != key) {
    cell += 8
    if (cell == tableEnd) cell = table
    seen = load<u64>(cell)
  }
  return <i32>(seen == key)
}

/** Zero the bytes at [at .. end). */
export function clear(at: usize, end: usize): void {
  memory.fill(at, 0, end - at)
}
