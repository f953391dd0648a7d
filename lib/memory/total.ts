import type { SharedWords } from './map.js'

/**
 * Totals that count to 2^53, as three words: hi, lo, hi again. One thread adds, any thread reads.
 *
 * Two words would tear at the carry. All but one addition in 2^32 / n touch `lo` alone, with a
 * plain store. The carry stores hi, lo, hi′ in this order. The reader reads them in reverse, and
 * looks again if hi ≠ hi′. (Leslie Lamport's rule of 1977 for reading while another writes.) A read
 * of `lo` during a store is a benign race: each value it held was the total at some moment.
 */
export const LO = 1
const HI_AGAIN = 2

/**
 * Stores `before + n` into the total at `at`, where `before` is the pair (hi, lo) at `beforeAt`.
 * Doing it twice gives the same total.
 */
export function setTotal(words: SharedWords, at: number, beforeAt: number, n: number): void {
  const before = words[beforeAt + 1]
  const lo = (before + n) | 0
  const hi = words[beforeAt] + (lo >>> 0 < before >>> 0 ? 1 : 0)
  if (words[at] === hi && words[at + HI_AGAIN] === hi) {
    words[at + LO] = lo
    return
  }
  Atomics.store(words, at, hi)
  Atomics.store(words, at + LO, lo)
  Atomics.store(words, at + HI_AGAIN, hi)
}

/** Gives a total its first value, before any other thread has the memory. */
export function beginTotal(words: SharedWords, at: number, value: number): void {
  words[at] = Math.floor(value / 2 ** 32)
  words[at + HI_AGAIN] = words[at]
  words[at + LO] = (value % 2 ** 32) | 0
}

/** The total modulo 2^32, for the thread that adds to it: whether it has moved. */
export function lowOf(words: SharedWords, at: number): number {
  return words[at + LO]
}

/** After the low word of a total has gone from 2^32 - 1 to 0: carries. */
export function carryTotal(words: SharedWords, at: number): void {
  const hi = words[at] + 1
  Atomics.store(words, at, hi)
  Atomics.store(words, at + HI_AGAIN, hi)
}

/** Adds to a total that this thread alone adds to. */
export function addTotal(words: SharedWords, at: number, n: number): void {
  setTotal(words, at, at, n)
}

/** Copies (hi, lo) of a total to where setTotal() will find it. */
export function saveTotal(words: SharedWords, at: number, saveAt: number): void {
  words[saveAt] = words[at]
  words[saveAt + 1] = words[at + LO]
}

/**
 * Any thread: returns the total. A thread that died within a carry leaves hi ≠ hi′ until its
 * successor runs. The reader does not wait for that.
 */
export function readTotal(words: SharedWords, at: number): number {
  let lo = 0
  let hi = 0
  for (let tries = 0; tries < 1000; tries++) {
    const again = Atomics.load(words, at + HI_AGAIN)
    lo = Atomics.load(words, at + LO)
    hi = Atomics.load(words, at)
    if (hi === again) break
  }
  return hi * 2 ** 32 + (lo >>> 0)
}
