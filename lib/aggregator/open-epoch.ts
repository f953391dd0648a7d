import { FLAG_OVERFLOW, SLOT_COUNT, SLOT_FLAGS, SLOT_GROWTH, SLOT_ZERO } from '../memory/map.js'
import { keysAt } from '../memory/table-size.js'
import { indexLog, insertRun, shiftFor } from '../set/kernel.js'
import type { Aggregator } from './state.js'
import { clearCells, reportProgress } from './table.js'

/** Notes why the open epoch is not exact. */
export function raiseFlag(a: Aggregator, flags: number): void {
  a.flags |= flags
  a.words[a.openAt + SLOT_FLAGS] = a.flags
}

/**
 * Inserts the keys in words[at .. end) into the open epoch. Grows the table if it is full; if the
 * epoch is full, raises FLAG_OVERFLOW.
 */
export function insertKeys(a: Aggregator, at: number, end: number): void {
  const { words, set } = a
  const { maxKeysPerEpoch } = a.memory.layout
  while (at < end) {
    const stop = Math.min(at + 8192, end)
    at = insertRun(set, words, at, stop)
    if (at < stop) {
      if (set.count < maxKeysPerEpoch) {
        grow(a)
      } else {
        // The epoch is full, and this key is not in it. No more keys go in.
        raiseFlag(a, FLAG_OVERFLOW)
        return
      }
    } else if (at < end) {
      reportProgress(words)
    }
  }
}

/**
 * Makes the table larger, in place: twice as large, or eight times if the last epoch needed that.
 * The last step may be sixteen times, so that no small step is left at the largest number of keys.
 * The log is complete, keys that are not counted yet included. The new size is stored after the
 * table.
 */
function grow(a: Aggregator): void {
  const { words, set } = a
  const expected = a.lastGrowth - a.growth
  const by = expected <= GROWTH_MAX + 1 ? Math.max(1, expected) : GROWTH_MAX
  const cells = 2 ** (32 - set.shift + by)
  clearCells(a, set.table, cells)
  setCells(a, cells)
  reindex(a)
  a.growth += by
  words[a.openAt + SLOT_GROWTH] = a.growth
}

/**
 * Doublings at once. All growth together then indexes a seventh of the keys again, instead of all.
 * An epoch much smaller than the last one clears little.
 */
const GROWTH_MAX = 3

/** Stores the log's count. From here on the keys are in, even if this thread dies. */
export function publishCount(a: Aggregator): void {
  const { words, set, openAt } = a
  words[openAt + SLOT_ZERO] = set.zero ? 1 : 0
  Atomics.store(words, openAt + SLOT_COUNT, set.count)
}

export function setCells(a: Aggregator, cells: number): void {
  a.set.shift = shiftFor(cells)
  a.set.limit = keysAt(a.memory.layout, cells)
}

/** Enters the whole log into the table, which is clear, and key 0 into the flag beside it. */
export function reindex(a: Aggregator): void {
  const { set } = a
  for (let from = 0; from < set.count; from += 4096) {
    indexLog(set, from, Math.min(from + 4096, set.count))
    reportProgress(a.words)
  }
}
