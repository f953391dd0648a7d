import type { SharedWords } from '../memory/map.js'
import type { Secrets } from './mix.js'

/**
 * A set of 64-bit keys over an array of words. The log holds the distinct keys in order of
 * insertion and is the truth. The table is an index of the log: open addressing, linear probing,
 * cells of two words (low, high). (0, 0) is an empty cell, so key 0 is a flag beside the table. No
 * key is deleted.
 *
 * A plain record. The aggregator keeps one over shared memory. A FingerprintSet keeps one over its
 * own memory.
 */
export interface SetState extends Secrets {
  words: SharedWords
  /** Word index of the log's first key. */
  log: number
  /** Word index of the table's first cell. */
  table: number
  /** 32 - log2(cells). */
  shift: number
  /** Keys that the table takes at its size. */
  limit: number
  /** Keys in the log. */
  count: number
  /** Key 0 is in. */
  zero: boolean
  /**
   * The same loops in WebAssembly, if `words` lie in its memory. They write the same bytes, and are
   * faster.
   */
  native: NativeKernel | undefined
}

/** The exports of native/kernel.as.ts. Places are byte addresses, modulo 2^32. */
export interface NativeKernel {
  /** Takes at most NATIVE_RUN keys. Returns keys taken << 14 | new keys << 1 | key 0 is in. */
  insertRun(
    at: number,
    end: number,
    tail: number,
    full: number,
    table: number,
    shift: number,
    zero: number,
  ): number
  /** Returns 1 if key 0 is in the log. */
  indexLog(at: number, end: number, table: number, shift: number): number
  /** Not for key 0. Returns 1 if the key is in the table. */
  contains(lo: number, hi: number, table: number, shift: number): number
  /**
   * Takes at most 256 texts, whose word indexes are at [list .. end). Their records go to
   * `tail`, while there is room for so many texts and bytes. Returns texts taken << 9 | new texts.
   */
  insertTexts(
    list: number,
    end: number,
    arena: number,
    tail: number,
    table: number,
    shift: number,
    texts: number,
    bytes: number,
    key0: number,
    key1: number,
  ): number
  /** Enters the records at [at .. end). */
  indexTexts(at: number, end: number, arena: number, table: number, shift: number): void
  clear(at: number, end: number): void
  /** Of filter.ts. Each returns how many bits were not set, or are. At most 4,096 keys, or texts. */
  filterPairs(at: number, end: number, filter: number, shift: number): number
  filterTexts(list: number, end: number, filter: number, shift: number): number
  filterRecords(at: number, end: number, filter: number, shift: number): number
  filterUnite(at: number, end: number, source: number): number
  filterCount(at: number, end: number): number
}

const NATIVE_RUN = 4096

/** The table's size, from its smallest up to 2^31 cells. */
export function cellsOf(set: SetState): number {
  return 2 ** (32 - set.shift)
}

export function shiftFor(cells: number): number {
  return Math.clz32(cells) + 1
}

/**
 * Inserts the keys in source[at .. end), as words low, high, low, high … With a native kernel,
 * `source` must be the set's own words. Returns `end` if all keys are in. Otherwise returns the
 * place of the first new key that the set has no room for: let the set grow, and call again from
 * there. A key goes to the log first, then to the table. A reader of the log waits for the count,
 * which is stored later.
 */
export function insertRun(set: SetState, source: SharedWords, at: number, end: number): number {
  if (set.native !== undefined) return insertNative(set, set.native, at, end)
  const { words, table, shift, limit, seedLo, mulLo, seedHi, mulHi, mulMix } = set
  const mask = (1 << (32 - shift)) - 1
  let tail = set.log + (set.count << 1)
  const full = set.log + (limit << 1)
  for (; at < end; at += 2) {
    const lo = source[at]
    const hi = source[at + 1]
    if ((lo | hi) === 0) {
      if (set.zero) continue
      if (tail === full) break
      words[tail] = 0
      words[tail + 1] = 0
      tail += 2
      set.zero = true
      continue
    }
    const y = Math.imul(hi ^ seedHi, mulHi)
    let x = Math.imul(lo ^ seedLo, mulLo) ^ ((y << 16) | (y >>> 16))
    x = Math.imul(((x << 11) | (x >>> 21)) ^ (x >>> 3), mulMix) >>> shift
    // The usual case, a key that is in its home cell, takes one branch. `| 0` spares an overflow
    // check. Both together make the loop a tenth faster (Node 20).
    let cell = (table + (x << 1)) | 0
    let a = words[cell]
    let b = words[(cell + 1) | 0]
    if (((a ^ lo) | (b ^ hi)) === 0) continue
    while ((a | b) !== 0 && ((a ^ lo) | (b ^ hi)) !== 0) {
      x = (x + 1) & mask
      cell = (table + (x << 1)) | 0
      a = words[cell]
      b = words[(cell + 1) | 0]
    }
    if ((a | b) !== 0) continue
    if (tail === full) break
    words[tail] = lo
    words[tail + 1] = hi
    tail += 2
    words[cell] = lo
    words[cell + 1] = hi
  }
  set.count = (tail - set.log) >> 1
  return at
}

/** insertRun() in WebAssembly. It can reach set.words only, so `source` must be set.words. */
function insertNative(set: SetState, native: NativeKernel, at: number, end: number): number {
  while (at < end) {
    const stop = Math.min(at + NATIVE_RUN * 2, end)
    const tail = set.log + (set.count << 1)
    const full = set.log + (set.limit << 1)
    const done = native.insertRun(
      at << 2,
      stop << 2,
      tail << 2,
      full << 2,
      set.table << 2,
      set.shift,
      set.zero ? 1 : 0,
    )
    set.count += (done >>> 1) & 0x1fff
    set.zero = (done & 1) !== 0
    at += (done >>> 14) << 1
    if (at < stop) break
  }
  return at
}

/** Enters log[from .. to) into the table. The caller knows that these keys are distinct and new. */
export function indexLog(set: SetState, from: number, to: number): void {
  if (set.native !== undefined) {
    if (
      set.native.indexLog(
        (set.log + (from << 1)) << 2,
        (set.log + (to << 1)) << 2,
        set.table << 2,
        set.shift,
      ) === 1
    )
      set.zero = true
    return
  }
  const { words, table, shift, seedLo, mulLo, seedHi, mulHi, mulMix } = set
  const mask = (1 << (32 - shift)) - 1
  const end = set.log + (to << 1)
  for (let at = set.log + (from << 1); at < end; at += 2) {
    const lo = words[at]
    const hi = words[at + 1]
    if ((lo | hi) === 0) {
      set.zero = true
      continue
    }
    const y = Math.imul(hi ^ seedHi, mulHi)
    let x = Math.imul(lo ^ seedLo, mulLo) ^ ((y << 16) | (y >>> 16))
    x = Math.imul(((x << 11) | (x >>> 21)) ^ (x >>> 3), mulMix) >>> shift
    let cell = table + (x << 1)
    while ((words[cell] | words[cell + 1]) !== 0) {
      x = (x + 1) & mask
      cell = table + (x << 1)
    }
    words[cell] = lo
    words[cell + 1] = hi
  }
}

/** The home cell of a key that is not 0, as each loop here finds it. */
export function homeOf(secrets: Secrets, shift: number, lo: number, hi: number): number {
  const { seedLo, mulLo, seedHi, mulHi, mulMix } = secrets
  const y = Math.imul(hi ^ seedHi, mulHi)
  const x = Math.imul(lo ^ seedLo, mulLo) ^ ((y << 16) | (y >>> 16))
  return Math.imul(((x << 11) | (x >>> 21)) ^ (x >>> 3), mulMix) >>> shift
}

/** Returns whether a key is in. Any thread that has been given the set may call it. */
export function contains(set: SetState, lo: number, hi: number): boolean {
  if ((lo | hi) === 0) return set.zero
  const { words, table, shift, seedLo, mulLo, seedHi, mulHi, mulMix } = set
  const mask = (1 << (32 - shift)) - 1
  const y = Math.imul(hi ^ seedHi, mulHi)
  let x = Math.imul(lo ^ seedLo, mulLo) ^ ((y << 16) | (y >>> 16))
  x = Math.imul(((x << 11) | (x >>> 21)) ^ (x >>> 3), mulMix) >>> shift
  for (;;) {
    const a = words[table + (x << 1)]
    const b = words[table + (x << 1) + 1]
    if ((a | b) === 0) return false
    if (a === lo && b === hi) return true
    x = (x + 1) & mask
  }
}
