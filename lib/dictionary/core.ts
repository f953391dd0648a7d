import { LINE, type SharedWords } from '../memory/map.js'

/**
 * A dictionary of byte strings, shared by all threads: append-only, exact, lock-free. Plain functions over its words.
 *
 * ```
 *  ┌──────────┬────────┬──────┬─────────────────┬───────────────┬──────────────────────────────┐
 *  │ identity │ ids    │ space│ entries         │ table         │ space                        │
 *  │          │ taken  │ taken│ maxKeys × 1     │ cells × 1     │ length, bytes │ length, … │   │
 *  └──────────┴────────┴──────┴─────────────────┴───────────────┴──────────────────────────────┘
 * ```
 *
 * A new key: take an id and space, write the bytes, say in the id's entry where they are, then put the id into a cell of the table by one
 * compareExchange. That is the point at which the key has its number, for everybody: whoever loads the cell sees the bytes. A thread that is terminated
 * before it leaves nothing behind but an id and space that nobody uses; one that comes second takes the first one's number, and keeps what it took for its
 * next key.
 */

/** "DDIC" */
export const DICTIONARY_MAGIC = 0x44444943
export const DICTIONARY_VERSION = 1

// Identity: written once, by create().
export const D_MAGIC = 0
export const D_VERSION = 1
export const D_MAX_KEYS = 2
/** Words of the space for bytes. */
export const D_SPACE = 3
/** Three words that mix the table: a seed and two odd factors. */
export const D_SECRETS = 4
/** Any thread: ids taken. */
export const D_IDS = LINE
/** Any thread: words of the space taken. */
export const D_USED = 2 * LINE
/** An entry: 0, or where the id's bytes are, + 1, or, once it is in the table, the complement of where they are. */
const D_ENTRIES = 3 * LINE

/** A cell: 0, or 7 bits of the hash, then id + 1. */
const ID_BITS = 25
const ID_MASK = (1 << ID_BITS) - 1

/** What one thread knows of a dictionary, and has taken and not used. */
export interface Dictionary {
  readonly words: SharedWords
  readonly maxKeys: number
  readonly entries: number
  readonly table: number
  /** 32 - log2(cells). */
  readonly shift: number
  readonly space: number
  /** End of the space: the memory's. */
  readonly end: number
  readonly seed: number
  readonly mulA: number
  readonly mulB: number
  /** An id that is this thread's to give; -1: none. */
  id: number
  /** Space that is this thread's to write: where, and how many words. */
  at: number
  room: number
}

/** The cells of a table for so many keys: half of them stay empty. */
function cellsFor(maxKeys: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(2, maxKeys * 2)))
}

/** Words of the whole memory. */
export function dictionarySize(maxKeys: number, spaceWords: number): number {
  return D_ENTRIES + maxKeys + cellsFor(maxKeys) + spaceWords
}

/** One's way in memory that create() has labelled. */
export function openDictionary(words: SharedWords): Dictionary {
  const maxKeys = words[D_MAX_KEYS]
  const cells = cellsFor(maxKeys)
  const table = D_ENTRIES + maxKeys
  const space = table + cells
  return {
    words,
    maxKeys,
    entries: D_ENTRIES,
    table,
    shift: 32 - Math.log2(cells),
    space,
    end: space + words[D_SPACE],
    seed: words[D_SECRETS],
    mulA: words[D_SECRETS + 1],
    mulB: words[D_SECRETS + 2],
    id: -1,
    at: 0,
    room: 0,
  }
}

/** The id of a key, `length` bytes in key's words, the last one filled up with zeros; -1 if it has none. */
export function findKey(d: Dictionary, key: Int32Array, length: number): number {
  const { words, table, shift } = d
  const hash = hashOf(d, key, length)
  const mask = (1 << (32 - shift)) - 1
  for (let x = hash >>> shift; ; x = (x + 1) & mask) {
    const cell = Atomics.load(words, table + x)
    if (cell === 0) return -1
    const id = (cell & ID_MASK) - 1
    if (cell >>> ID_BITS === (hash & 127) && isAt(d, id, key, length)) return id
  }
}

/** The same, and one is given to it if it has none. -1 when there is no id, or no space, for it. */
export function addKey(d: Dictionary, key: Int32Array, length: number): number {
  const { words, table, shift } = d
  const hash = hashOf(d, key, length)
  const mask = (1 << (32 - shift)) - 1
  for (let x = hash >>> shift; ; x = (x + 1) & mask) {
    let cell = Atomics.load(words, table + x)
    if (cell === 0) {
      if (!prepare(d, key, length)) return -1
      cell = Atomics.compareExchange(words, table + x, 0, ((hash & 127) << ID_BITS) | (d.id + 1))
      if (cell === 0) {
        // ^ linearization point: the key has this number. No call may come before the thread's record says that what it had taken is used.
        const { id, at } = d
        d.id = -1
        d.room = 0
        Atomics.store(words, d.entries + id, ~at)
        return id
      }
      // Somebody else's key is there now: perhaps the same.
    }
    const id = (cell & ID_MASK) - 1
    if (cell >>> ID_BITS === (hash & 127) && isAt(d, id, key, length)) return id
  }
}

/** Where the bytes of an id lie that is in the table; -1 if it is not, or not known to be: then look for its key. */
export function placeOf(d: Dictionary, id: number): number {
  const entry = Atomics.load(d.words, d.entries + id)
  return entry < 0 ? ~entry : -1
}

/** Where the bytes of an id may lie, which may not have been given to any key; -1 if there are none. */
export function placeWritten(d: Dictionary, id: number): number {
  const entry = Atomics.load(d.words, d.entries + id)
  return entry < 0 ? ~entry : entry - 1
}

/** It was found in the table: say so, for whoever asks next. */
export function confirm(d: Dictionary, id: number, at: number): void {
  Atomics.store(d.words, d.entries + id, ~at)
}

/** Ids taken, given to a key or not. */
export function idsTaken(d: Dictionary): number {
  return Atomics.load(d.words, D_IDS)
}

/** An id and space, and the key in it: nobody else looks there. False when there is no id or no space left. */
function prepare(d: Dictionary, key: Int32Array, length: number): boolean {
  const { words } = d
  const count = (length + 3) >>> 2
  if (d.id < 0) d.id = take(words, D_IDS, 1, d.maxKeys)
  if (d.id < 0) return false
  if (d.room < count + 1) {
    const from = take(words, D_USED, count + 1, d.end - d.space)
    if (from < 0) return false
    d.at = d.space + from
    d.room = count + 1
  }
  words[d.at] = length
  for (let i = 0; i < count; i++) words[d.at + 1 + i] = key[i]
  Atomics.store(words, d.entries + d.id, d.at + 1)
  return true
}

/** So many of what a word counts, up to `max`: the first of them; -1 when there are fewer left. */
function take(words: SharedWords, at: number, count: number, max: number): number {
  for (;;) {
    const taken = Atomics.load(words, at)
    if (taken + count > max) return -1
    if (Atomics.compareExchange(words, at, taken, taken + count) === taken) return taken
  }
}

/** Whether an id that is in the table is this key's. */
function isAt(d: Dictionary, id: number, key: Int32Array, length: number): boolean {
  const { words } = d
  const at = placeWritten(d, id)
  if (words[at] !== length) return false
  const count = (length + 3) >>> 2
  for (let i = 0; i < count; i++) if (words[at + 1 + i] !== key[i]) return false
  return true
}

/** 32 bits that nobody can steer who does not know the factors. */
function hashOf(d: Dictionary, key: Int32Array, length: number): number {
  const { mulA, mulB } = d
  const count = (length + 3) >>> 2
  let hash = d.seed ^ length
  for (let i = 0; i < count; i++) {
    hash = Math.imul(hash ^ key[i], mulA)
    hash = Math.imul(((hash << 15) | (hash >>> 17)) ^ (hash >>> 11), mulB)
  }
  hash = Math.imul(hash ^ (hash >>> 16), mulA)
  return hash ^ (hash >>> 15)
}
