import { FORM_EXACT, SLOT_GROWTH } from '../memory/map.js'
import { keysAt } from '../memory/table-size.js'
import { indexLog, insertRun, shiftFor } from '../set/kernel.js'
import type { SlotState } from './state.js'
import { addKeys, turn } from './superset.js'
import { clearCells, reportProgress } from './table.js'

/**
 * Inserts the keys in words[at .. end) into the epoch. Grows the table if it is full. If the epoch
 * is full, turns it into a superset, which takes every key.
 */
export function insertKeys(a: SlotState, at: number, end: number): void {
  const { words, set } = a
  const { maxKeysPerEpoch } = a.memory.layout
  while (at < end && a.form === FORM_EXACT) {
    const stop = Math.min(at + 8192, end)
    at = insertRun(set, words, at, stop)
    if (at < stop) {
      if (set.count < maxKeysPerEpoch) {
        grow(a)
      } else {
        turn(a) // the epoch is full, and this key is not in it
      }
    } else if (at < end) {
      reportProgress(words)
    }
  }
  if (at < end) addKeys(a, at, end)
}

/**
 * Makes the table larger, in place: twice as large, or eight times if the last epoch needed that.
 * The last step may be sixteen times, so that no small step is left at the largest number of keys.
 * The log is complete, keys that are not counted yet included. The new size is stored after the
 * table.
 */
function grow(a: SlotState): void {
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

export function setCells(a: SlotState, cells: number): void {
  a.set.shift = shiftFor(cells)
  a.set.limit = keysAt(a.memory.layout, cells)
}

/** Enters the whole log into the table, which is clear, and key 0 into the flag beside it. */
export function reindex(a: SlotState): void {
  const { set } = a
  for (let from = 0; from < set.count; from += 4096) {
    indexLog(set, from, Math.min(from + 4096, set.count))
    reportProgress(a.words)
  }
}
