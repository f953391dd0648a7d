import { PROGRESS, type SharedWords } from '../memory/map.js'
import type { SlotState } from './state.js'

/** Empties the first cells of a table of an epoch. */
export function clearCells(a: SlotState, table: number, cells: number): void {
  const { words } = a
  const end = table + cells * 2
  for (let at = table; at < end;) {
    const stop = Math.min(at + 8192, end)
    if (a.set.native !== undefined) {
      a.set.native.clear(at << 2, stop << 2)
      at = stop
    }
    for (; at < stop; at++) words[at] = 0
    reportProgress(words)
  }
}

/**
 * Shows that a long effect makes progress. The tracker's thread waits only as long as it sees some.
 */
export function reportProgress(words: SharedWords): void {
  Atomics.store(words, PROGRESS, (words[PROGRESS] + 1) | 0)
}
