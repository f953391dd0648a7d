/**
 * The loops of ../kernel.ts, ../text-set.ts and ../filter.ts in WebAssembly, over the very same bytes:
 * AssemblyScript, a dialect of TypeScript that this project's tsc does not see. compile.js makes
 * binary.ts of it. Places are byte addresses; nothing is kept here but the secrets, and nothing is
 * published: results go back to the caller, who stores them. A decorator of AssemblyScript stands in
 * a comment that compile.js takes away, so that formatters can read the file.
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
/** The same for texts, whose records need as much again. */
const TEXTS_FAR_SHIFT = 16

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

/** HalfSipHash-1-3 of ../sip.ts: the payload is at `at`, its length and kind are `head`. */
// @inline
function keyedHash(at: usize, head: u32, key0: i32, key1: i32): u32 {
  let v0 = key0
  let v1 = key1
  let v2 = key0 ^ 0x6c796765
  let v3 = key1 ^ 0x74656462
  for (const end = at + sizeOf(head); at < end; at += 4) {
    const word = load<i32>(at)
    v3 ^= word
    v0 += v1
    v1 = rotl<i32>(v1, 5) ^ v0
    v0 = rotl<i32>(v0, 16)
    v2 += v3
    v3 = rotl<i32>(v3, 8) ^ v2
    v0 += v3
    v3 = rotl<i32>(v3, 7) ^ v0
    v2 += v1
    v1 = rotl<i32>(v1, 13) ^ v2
    v2 = rotl<i32>(v2, 16)
    v0 ^= word
  }
  v3 ^= head
  v0 += v1
  v1 = rotl<i32>(v1, 5) ^ v0
  v0 = rotl<i32>(v0, 16)
  v2 += v3
  v3 = rotl<i32>(v3, 8) ^ v2
  v0 += v3
  v3 = rotl<i32>(v3, 7) ^ v0
  v2 += v1
  v1 = rotl<i32>(v1, 13) ^ v2
  v2 = rotl<i32>(v2, 16)
  v0 ^= head
  v2 ^= 0xff
  for (let i = 0; i < 3; i++) {
    v0 += v1
    v1 = rotl<i32>(v1, 5) ^ v0
    v0 = rotl<i32>(v0, 16)
    v2 += v3
    v3 = rotl<i32>(v3, 8) ^ v2
    v0 += v3
    v3 = rotl<i32>(v3, 7) ^ v0
    v2 += v1
    v1 = rotl<i32>(v1, 13) ^ v2
    v2 = rotl<i32>(v2, 16)
  }
  return v1 ^ v3
}

/** Bytes that a head's payload takes, in whole words. */
// @inline
function sizeOf(head: u32): usize {
  return ((head >>> 1) + 3) & ~3
}

/** Whether the record at `record` has this head, and the payload of the entry at `entry`. */
// @inline
function isRecordOf(record: usize, entry: usize, head: u32): bool {
  if (load<u32>(record, 4) != head) return false
  let left = sizeOf(head)
  let different: u64 = 0
  for (; left >= 8; left -= 8, record += 8, entry += 8)
    different |= load<u64>(record, 8) ^ load<u64>(entry, 8)
  if (left != 0) different |= load<u32>(record, 8) ^ load<u32>(entry, 8)
  return different == 0
}

/**
 * Insert the texts at the word indexes that are at [list .. end), 256 at most. The new ones go to
 * the arena at `tail`, as long as there is room for so many texts and bytes, and into the table.
 * Returns texts taken << 9 | new texts.
 *
 * First come all hashes. Of a table that does not fit the cache then come all home cells, and all
 * records that those name, as in findHomes(). Then comes the work.
 */
export function insertTexts(
  list: usize,
  end: usize,
  arena: usize,
  tail: usize,
  table: usize,
  shift: i32,
  texts: i32,
  bytes: u32,
  key0: i32,
  key1: i32,
): i32 {
  const hashes = scratch
  let to = hashes
  for (let place = list; place < end; place += 4, to += 4) {
    const entry: usize = load<u32>(place) << 2
    store<u32>(to, keyedHash(entry + 8, load<u32>(entry, 4), key0, key1))
  }
  // A place is a word index + 1.
  const before = arena - 4
  if (shift < TEXTS_FAR_SHIFT) {
    let sum: u32 = 0
    for (let from = hashes; from < to; from += 4) sum |= load<u32>(homeCell(from, table, shift))
    for (let from = hashes; from < to; from += 4)
      sum |= load<u32>(before + (load<u32>(homeCell(from, table, shift)) << 2))
    sink = sum
  }
  const tableEnd: usize = table + ((<usize>8) << (32 - shift))
  let added = 0
  let from = hashes
  for (let place = list; place < end; place += 4, from += 4) {
    const entry: usize = load<u32>(place) << 2
    const head = load<u32>(entry, 4)
    const hash = load<u32>(from)
    let cell = homeCell(from, table, shift)
    let seen = load<u64>(cell)
    while (<u32>seen != 0) {
      if (
        <u32>(seen >> 32) == hash &&
        isRecordOf(before + ((<usize>(<u32>seen)) << 2), entry, head)
      )
        break
      cell += 8
      if (cell == tableEnd) cell = table
      seen = load<u64>(cell)
    }
    if (<u32>seen != 0) continue
    const length = head >>> 1
    if (added == texts || length > bytes) return ((<i32>((place - list) >> 2)) << 9) | added
    bytes -= length
    added++
    store<u64>(tail, (<u64>hash) | ((<u64>head) << 32))
    store<u64>(cell, (<u64>((tail - before) >> 2)) | ((<u64>hash) << 32))
    tail += 8
    let payload = entry + 8
    let left = sizeOf(head)
    for (; left >= 8; left -= 8, tail += 8, payload += 8) store<u64>(tail, load<u64>(payload))
    if (left != 0) {
      store<u32>(tail, load<u32>(payload))
      tail += 4
    }
  }
  return ((<i32>((end - list) >> 2)) << 9) | added
}

/** The home cell of the hash at `at`. */
// @inline
function homeCell(at: usize, table: usize, shift: i32): usize {
  return table + ((load<u32>(at) >>> shift) << 3)
}

/** Enter the records at [at .. end) of the arena, known to be distinct and absent, into the table. */
export function indexTexts(at: usize, end: usize, arena: usize, table: usize, shift: i32): void {
  const tableEnd: usize = table + ((<usize>8) << (32 - shift))
  const before = arena - 4
  if (shift < TEXTS_FAR_SHIFT) {
    let sum: u32 = 0
    for (let record = at; record < end; record += sizeOf(load<u32>(record, 4)) + 8)
      sum |= load<u32>(homeCell(record, table, shift))
    sink = sum
  }
  for (let record = at; record < end; record += sizeOf(load<u32>(record, 4)) + 8) {
    let cell = homeCell(record, table, shift)
    while (load<u32>(cell) != 0) {
      cell += 8
      if (cell == tableEnd) cell = table
    }
    store<u64>(cell, (<u64>((record - before) >> 2)) | ((<u64>load<u32>(record)) << 32))
  }
}

// ------------------------------------------------------------------------------------- the filter

/** Bytes of the keys whose blocks are found, and fetched, together. */
const BLOCKS_GROUP: usize = 128 << 3
/** With a shift below this a filter is larger than 1 MiB. */
const FILTER_FAR_SHIFT = 16

/** Every bit of x to every bit of the answer: murmur's fmix32. */
// @inline
function scatter(value: i32): i32 {
  let x: u32 = <u32>value
  x = (x ^ (x >>> 16)) * 0x85ebca6b
  x = (x ^ (x >>> 13)) * 0xc2b2ae35
  return <i32>(x ^ (x >>> 16))
}

/** The address of a key's block, and in the high half what chooses its bits: ../filter.ts. */
// @inline
function blockOf(lo: i32, hi: i32, filter: usize, shift: i32): u64 {
  const y = hi ^ scatter(lo ^ 0x9e3779b9)
  const x = lo ^ scatter(y ^ 0x243f6a88)
  const block: u32 = ((<u32>(y ^ scatter(x ^ 0xb7e15162))) >>> 1) >>> shift
  return (<u64>(<u32>filter + (block << 5))) | ((<u64>(<u32>x)) << 32)
}

/** Sets two of a key's bits. Returns how many were not set. */
// @inline
function setTwo(block: usize, x: u32, salt0: u32, salt1: u32): i32 {
  const first: u64 = (x * salt0) >>> 27
  const second: u64 = (x * salt1) >>> 27
  const bits = ((<u64>1) << first) | ((<u64>0x100000000) << second)
  const seen = load<u64>(block)
  store<u64>(block, seen | bits)
  return <i32>popcnt(bits & ~seen)
}

/** Sets the bits of the keys whose blocks are at [scratch .. end). Returns how many were not set. */
function setBits(end: usize, shift: i32): i32 {
  if (shift < FILTER_FAR_SHIFT) {
    let sum: u64 = 0
    for (let from = scratch; from < end; from += 8) sum |= load<u64>(load<u32>(from))
    sink = sum
  }
  let added = 0
  for (let from = scratch; from < end; from += 8) {
    const block: usize = load<u32>(from)
    const x = load<u32>(from, 4)
    added +=
      setTwo(block, x, 0x47b6137b, 0x44974d91) +
      setTwo(block + 8, x, 0x8824ad5b, 0xa2b7289d) +
      setTwo(block + 16, x, 0x705495c7, 0x2df1424b) +
      setTwo(block + 24, x, 0x9efc4947, 0x5c6bfb31)
  }
  return added
}

/** Insert the pairs at [at .. end), 4,096 at most. Returns how many bits were not set. */
export function filterPairs(at: usize, end: usize, filter: usize, shift: i32): i32 {
  let added = 0
  while (at < end) {
    const stop = min(end - at, BLOCKS_GROUP) + at
    let to = scratch
    for (; at < stop; at += 8, to += 8)
      store<u64>(to, blockOf(load<i32>(at), load<i32>(at, 4), filter, shift))
    added += setBits(to, shift)
  }
  return added
}

/** Insert the texts at the word indexes that are at [list .. end), 4,096 at most. */
export function filterTexts(list: usize, end: usize, filter: usize, shift: i32): i32 {
  let added = 0
  while (list < end) {
    const stop = min(end - list, BLOCKS_GROUP >> 1) + list
    let to = scratch
    for (; list < stop; list += 4, to += 8)
      storeBlockOf(to, (<usize>load<u32>(list)) << 2, filter, shift)
    added += setBits(to, shift)
  }
  return added
}

/** Insert the texts of the records at [at .. end), 4,096 at most. */
export function filterRecords(at: usize, end: usize, filter: usize, shift: i32): i32 {
  let added = 0
  while (at < end) {
    let to = scratch
    for (; at < end && to < scratch + BLOCKS_GROUP; to += 8) {
      storeBlockOf(to, at, filter, shift)
      at += sizeOf(load<u32>(at, 4)) + 8
    }
    added += setBits(to, shift)
  }
  return added
}

/** Set at [at .. end) what is set from `source` on. Returns how many bits were not set. */
export function filterUnite(at: usize, end: usize, source: usize): i32 {
  let added: u64 = 0
  for (; at < end; at += 8, source += 8) {
    const seen = load<u64>(at)
    const more = load<u64>(source) & ~seen
    if (more == 0) continue
    store<u64>(at, seen | more)
    added += popcnt(more)
  }
  return <i32>added
}

/** The bits that are set at [at .. end). */
export function filterCount(at: usize, end: usize): i32 {
  let count: u64 = 0
  for (; at < end; at += 8) count += popcnt(load<u64>(at))
  return <i32>count
}

function mixed(word: u32, factor: u32, bits: u32, next: u32): u32 {
  return rotl<u32>(word * factor, bits) * next
}

/** Stores the block of the text whose payload is at entry + 8, by its hash: ../filter.ts. */
function storeBlockOf(to: usize, entry: usize, filter: usize, shift: i32): void {
  const length = load<u32>(entry, 4) >>> 1
  let at = entry + 8
  let h1: u32 = 0
  let h2: u32 = 0
  let h3: u32 = 0
  let h4: u32 = 0
  let rest = length
  for (;;) {
    const k1 = rest > 0 ? mixed(load<u32>(at), 0x239b961b, 15, 0xab0e9789) : 0
    const k2 = rest > 4 ? mixed(load<u32>(at, 4), 0xab0e9789, 16, 0x38b34ae5) : 0
    const k3 = rest > 8 ? mixed(load<u32>(at, 8), 0x38b34ae5, 17, 0xa1e38b93) : 0
    const k4 = rest > 12 ? mixed(load<u32>(at, 12), 0xa1e38b93, 18, 0x239b961b) : 0
    h1 ^= k1
    h2 ^= k2
    h3 ^= k3
    h4 ^= k4
    if (rest < 16) break
    h1 = (rotl<u32>(h1, 19) + (h2 ^ k2)) * 5 + 0x561ccd1b
    h2 = (rotl<u32>(h2, 17) + (h3 ^ k3)) * 5 + 0x0bcaa747
    h3 = (rotl<u32>(h3, 15) + (h4 ^ k4)) * 5 + 0x96cd1c35
    h4 = (rotl<u32>(h4, 13) + h1) * 5 + 0x32ac3b17
    at += 16
    rest -= 16
  }
  h1 ^= length
  h2 ^= length
  h3 ^= length
  h4 ^= length
  h1 = h1 + h2 + h3 + h4
  h2 = <u32>scatter(<i32>(h1 + h2))
  h3 = <u32>scatter(<i32>(h1 + h3))
  h4 = <u32>scatter(<i32>(h1 + h4))
  h1 = <u32>scatter(<i32>h1) + h2 + h3 + h4
  store<u64>(to, blockOf(<i32>h1, <i32>(h1 + h2), filter, shift))
}
