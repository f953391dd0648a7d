/** Cells of a table when an epoch begins, unless a whole epoch needs fewer. */
export const SMALLEST_TABLE = 1024
/**
 * Up to this many cells a table is kept at a quarter of its room, beyond at a half: while it fits
 * the cache, memory buys speed.
 */
const SPARSE_CELLS = 2 ** 18

/** The keys that a table of so many cells takes before it has to grow. */
export function keysFor(cells: number): number {
  return cells <= SPARSE_CELLS ? cells >>> 2 : cells >>> 1
}

/** The keys that a table of so many cells takes in an epoch of at most so many keys. */
export function keysAt(layout: { readonly maxKeysPerEpoch: number }, cells: number): number {
  return Math.min(keysFor(cells), layout.maxKeysPerEpoch)
}

/** The cells of the smallest table that takes so many keys. */
export function cellsFor(keys: number): number {
  let cells = 4
  while (keysFor(cells) < keys) cells *= 2
  return cells
}
