import { LINE, type SharedWords } from '../memory/map.js'

/**
 * A dictionary of byte strings, shared by all threads: append-only, exact, lock-free. Plain
 * functions over its words.
 *
 * ```
 * ┌──────────┬───────┬───────┬──────────────────┬────────────────────┬────────────────────────────┐
 * │ identity │ ids   │ space │ entries          │ table              │ space                      │
 * │          │ taken │ taken │ an id: its cell  │ a cell: its record │ record: id, length, bytes …│
 * └──────────┴───────┴───────┴──────────────────┴────────────────────┴────────────────────────────┘
 * ```
 *
 * A new key: take an id and space, write the record, say in the id's entry which cell of the table
 * it is about to go to, then put it there by one compareExchange. From that
 * point on the key has its number: every thread that loads the cell sees the record. Cells are
 * never emptied, so a key is in the first cell, from its home on, that no other key has; two
 * threads with the same key meet there. The second one takes the first one's number, and keeps what
 * it took for its next key.
 *
 * An id is a key's once the cell that its entry names leads to a record that has it. Nothing is
 * left to be done then, so a thread may be terminated at any instruction: it leaves nothing behind
 * but an unused id and unused space.
 */

/** "DDIC" */
export const DICTIONARY_MAGIC = 0x44444943
export const DICTIONARY_VERSION = 1

// Identity: written once, by create().
export const D_MAGIC = 0
export const D_VERSION = 1
export const D_MAX_KEYS = 2
/** Words of the space for records. */
export const D_SPACE = 3
/** Three words that mix the table: a seed and two odd factors. */
export const D_SECRETS = 4

/** Any thread: ids taken. */
export const D_IDS = LINE
/** Any thread: words of the space taken. */
export const D_USED = 2 * LINE
/**
 * The id's thread, until the id is a key's: the number of the cell that it is in, or was last about
 * to go to.
 */
const D_ENTRIES = 3 * LINE

// A record: its thread's alone until a cell leads to it, and never changed from then on.
const RECORD_ID = 0
/** In bytes, a uint32. */
const RECORD_LENGTH = 1
/** The last word is filled up with zeros. */
const RECORD_BYTES = 2

/** What one thread knows of a dictionary, and has taken and not used. */
export interface Dictionary {
  readonly words: SharedWords
  readonly maxKeys: number
  readonly table: number
  /** A hash's high bits are its home cell's number: hash >>> shift. */
  readonly shift: number
  /**
   * A cell is 0, or where its record is in the space, + 1, in so many low bits; above them are as
   * many of the hash's low bits as there is room for.
   */
  readonly placeBits: number
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

/** Half of the cells stay empty, or more. */
function shiftFor(maxKeys: number): number {
  return Math.clz32(2 * maxKeys - 1)
}

/** Words of the whole memory. */
export function dictionarySize(maxKeys: number, spaceWords: number): number {
  return D_ENTRIES + maxKeys + 2 ** (32 - shiftFor(maxKeys)) + spaceWords
}

/** One's way in memory that create() has labelled. */
export function openDictionary(words: SharedWords): Dictionary {
  const maxKeys = words[D_MAX_KEYS]
  const spaceWords = words[D_SPACE]
  const end = dictionarySize(maxKeys, spaceWords)
  return {
    words,
    maxKeys,
    table: D_ENTRIES + maxKeys,
    shift: shiftFor(maxKeys),
    placeBits: 32 - Math.clz32(spaceWords),
    space: end - spaceWords,
    end,
    seed: words[D_SECRETS],
    mulA: words[D_SECRETS + 1],
    mulB: words[D_SECRETS + 2],
    id: -1,
    at: 0,
    room: 0,
  }
}

/**
 * The id of a key, `length` bytes in key's words, the last one filled up with zeros; -1 if it has
 * none.
 */
export function findKey(d: Dictionary, key: Int32Array, length: number): number {
  const { words, table, shift, placeBits } = d
  const hash = hashOf(d, key, length)
  const lastCell = -1 >>> shift
  for (let x = hash >>> shift; ; x = (x + 1) & lastCell) {
    const cell = Atomics.load(words, table + x)
    if (cell === 0) return -1
    if ((cell ^ (hash << placeBits)) >>> placeBits === 0) {
      const record = recordOf(d, cell)
      if (isKeyAt(words, record, key, length)) return words[record + RECORD_ID]
    }
  }
}

/** The same, and one is given to it if it has none. -1 when there is no id, or no space, for it. */
export function addKey(d: Dictionary, key: Int32Array, length: number): number {
  const { words, table, shift, placeBits, space } = d
  const hash = hashOf(d, key, length)
  const lastCell = -1 >>> shift
  for (let x = hash >>> shift; ; x = (x + 1) & lastCell) {
    let cell = Atomics.load(words, table + x)
    if (cell === 0) {
      if (prepare(d, x, key, length)) {
        const { id, at } = d
        const size = recordSize(length)
        cell = Atomics.compareExchange(words, table + x, 0, (hash << placeBits) | (at - space + 1))
        if (cell === 0) {
          // ^ linearization point: the key has this number. No call may come (it could throw)
          // before `d` says that what the thread had taken is used.
          d.id = -1
          d.at += size
          d.room -= size
          return id
        }
      } else {
        // There was no id left, or no space. Another thread may have put this very key here since,
        // with the last of it.
        cell = Atomics.load(words, table + x)
        if (cell === 0) return -1
      }
    }
    if ((cell ^ (hash << placeBits)) >>> placeBits === 0) {
      const record = recordOf(d, cell)
      if (isKeyAt(words, record, key, length)) return words[record + RECORD_ID]
    }
  }
}

/** The record of the key that has an id; -1 if none has. */
export function recordWith(d: Dictionary, id: number): number {
  const { words, table } = d
  const cell = Atomics.load(words, table + Atomics.load(words, D_ENTRIES + id))
  if (cell === 0) return -1
  // An entry is only a claim: the cell that it names may have become another key's.
  const record = recordOf(d, cell)
  return words[record + RECORD_ID] === id ? record : -1
}

/** How many bytes the key of a record has. */
export function lengthOf(d: Dictionary, record: number): number {
  return d.words[record + RECORD_LENGTH] >>> 0
}

/** The key of a record, into words. */
export function copyKey(d: Dictionary, record: number, into: Int32Array): void {
  const { words } = d
  const count = ((words[record + RECORD_LENGTH] >>> 0) + 3) >>> 2
  for (let i = 0; i < count; i++) into[i] = words[record + RECORD_BYTES + i]
}

/** Ids taken, a key's or not. */
export function idsTaken(d: Dictionary): number {
  return Atomics.load(d.words, D_IDS)
}

/** Words of the record of a key of so many bytes. */
function recordSize(length: number): number {
  return RECORD_BYTES + ((length + 3) >>> 2)
}

function recordOf(d: Dictionary, cell: number): number {
  return d.space + (cell & ((1 << d.placeBits) - 1)) - 1
}

/**
 * An id, a record, and an entry that names the cell. False when there is no id or no space left.
 */
function prepare(d: Dictionary, cell: number, key: Int32Array, length: number): boolean {
  const { words, space, end } = d
  const size = recordSize(length)
  if (d.id < 0) d.id = take(words, D_IDS, 1, d.maxKeys)
  if (d.id < 0) return false
  if (d.room < size) {
    const from = take(words, D_USED, size, end - space)
    if (from < 0) return false
    d.at = space + from
    d.room = size
  }
  const { id, at } = d
  words[at + RECORD_ID] = id
  words[at + RECORD_LENGTH] = length
  for (let i = RECORD_BYTES; i < size; i++) words[at + i] = key[i - RECORD_BYTES]
  Atomics.store(words, D_ENTRIES + id, cell)
  return true
}

/** So many of what a word counts, up to `max`: the first of them; -1 when there are fewer left. */
function take(words: SharedWords, counter: number, count: number, max: number): number {
  for (;;) {
    const taken = Atomics.load(words, counter)
    if (taken + count > max) return -1
    if (Atomics.compareExchange(words, counter, taken, taken + count) === taken) return taken
  }
}

function isKeyAt(words: SharedWords, record: number, key: Int32Array, length: number): boolean {
  if (words[record + RECORD_LENGTH] >>> 0 !== length) return false
  const size = recordSize(length)
  for (let i = RECORD_BYTES; i < size; i++)
    if (words[record + i] !== key[i - RECORD_BYTES]) return false
  return true
}

/** 32 bits that cannot be predicted without the seed and the factors. */
export function hashOf(d: Dictionary, key: Int32Array, length: number): number {
  const { mulA, mulB } = d
  const count = (length + 3) >>> 2
  let hash = d.seed
  for (let i = 0; i < count; i++) {
    hash = Math.imul(hash ^ key[i], mulA)
    hash = Math.imul(((hash << 15) | (hash >>> 17)) ^ (hash >>> 11), mulB)
  }
  // Behind the products: a length that came before the first word could be taken back by it.
  hash ^= length
  hash = Math.imul(hash ^ (hash >>> 16), mulA)
  return hash ^ (hash >>> 15)
}
