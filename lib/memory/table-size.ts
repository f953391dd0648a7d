/** Cells of a table when an epoch begins, unless a whole epoch needs fewer. */
export const SMALLEST_TABLE = 1024
/**
 * Up to this many cells a table is kept at a quarter of its room, beyond at a half: while it fits
 * the cache, memory buys speed.
 */
const SPARSE_CELLS = 2 ** 18

/**
 * The most cells whose memory a filter takes: 256 MiB, so that a word counts its bits. An epoch of
 * more than 2^24 keys has 32 bits a key or more all the same.
 */
export const FILTER_CELLS_MAX = 2 ** 25

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

/**
 * Words of memory that a text takes in an arena beside its payload: its hash, and its length and
 * kind.
 */
export const TEXT_HEADER = 2

/** Words of the payload of so many bytes. */
export function wordsFor(bytes: number): number {
  return (bytes + 3) >>> 2
}

/** Words of the arena that holds any so many texts of so many bytes together. */
export function arenaFor(texts: number, bytes: number): number {
  // Each text may fill its last word with a single byte.
  return Math.ceil((bytes + 3 * texts) / 4) + TEXT_HEADER * texts
}

/** The texts that a table of so many cells takes before it has to grow. */
export function textsFor(cells: number): number {
  return cells >>> 1
}

/** The cells of the smallest table that takes so many texts. */
export function textCellsFor(texts: number): number {
  let cells = 4
  while (textsFor(cells) < texts) cells *= 2
  return cells
}

/** The texts that a table of so many cells takes in an epoch of at most so many texts. */
export function textsAt(layout: { readonly maxStringsPerEpoch: number }, cells: number): number {
  return Math.min(textsFor(cells), layout.maxStringsPerEpoch)
}
