import type { SharedWords } from '../memory/map.js'
import { TEXT_HEADER, wordsFor } from '../memory/table-size.js'
import type { NativeKernel } from './kernel.js'
import { keyedHash } from './sip.js'

/**
 * A set of texts over an array of words. The arena holds the distinct texts in order of insertion
 * and is the truth: records of a hash, a head, and the payload. The table is an index of the arena:
 * open addressing, linear probing, cells of two words (place in the arena + 1, hash). A place of 0
 * is an empty cell. Texts are equal if their heads and all their words are, whatever their hashes.
 *
 * A plain record over shared memory, as set/kernel.ts has one for numbers.
 */
export interface TextSet {
  words: SharedWords
  /** Word index of the arena's first record. */
  arena: number
  /** Word index of the table's first cell. */
  table: number
  /** 32 - log2(cells). */
  shift: number
  /** Texts that the table takes at its size. */
  limit: number
  /** Bytes that all texts together may have. */
  readonly maxBytes: number
  /** Texts in the arena, and their bytes. */
  count: number
  bytes: number
  /** Words of the arena that the texts take. */
  end: number
  readonly key0: number
  readonly key1: number
  /** As in set/kernel.ts. */
  native: NativeKernel | undefined
}

/**
 * What follows a text's first word, the hash of a record or the tag of a lane's entry: its length in
 * bytes << 1 | 1 for bytes, 0 for characters. Then comes the payload, padded with zeros.
 */
export const HEAD_AT = 1
/** Bytes of a head's text. */
export function textBytesOf(head: number): number {
  return head >>> 1
}

/** Words of a record, and of a lane's entry, for a head. */
export function recordWords(head: number): number {
  return TEXT_HEADER + wordsFor(textBytesOf(head))
}

/**
 * Inserts the texts at the places that words[list + from .. list + to) name. A text goes to the
 * arena first, then to the table. Returns `to` if all texts are in. Otherwise returns the index of
 * the first new text that the set has no room for: in the table if `count` is `limit`, otherwise in
 * its bytes.
 */
export function insertTexts(set: TextSet, list: number, from: number, to: number): number {
  const { native } = set
  while (from < to) {
    const stop = Math.min(from + GROUP, to)
    from =
      native === undefined
        ? insertGroup(set, list, from, stop)
        : insertNative(set, native, list, from, stop)
    if (from < stop) break
  }
  return from
}

/** The most texts whose hashes, and cells, are found together. */
const GROUP = 256
/** The hashes, and a place for what is loaded for the sake of loading it. */
const hashes = new Int32Array(GROUP + 1)
/** With a shift below this a table and its records do not fit a core's own cache of 1 MiB. */
const FAR_SHIFT = 16

/**
 * First come all hashes. Of a table that does not fit the cache then come all home cells, and all
 * records that those name, in loops so short that a processor has dozens of them on their way at
 * once. (On the aggregator's own memory: no other thread writes it.)
 */
function insertGroup(set: TextSet, list: number, from: number, to: number): number {
  const { words, arena, table, shift, limit, maxBytes, key0, key1 } = set
  const mask = (1 << (32 - shift)) - 1
  const n = to - from
  for (let i = 0; i < n; i++) {
    const at = words[list + from + i]
    hashes[i] = keyedHash(words, at + TEXT_HEADER, words[at + HEAD_AT], key0, key1)
  }
  if (shift < FAR_SHIFT) {
    let sum = 0
    for (let i = 0; i < n; i++) sum |= words[table + ((hashes[i] >>> shift) << 1)]
    for (let i = 0; i < n; i++) sum |= words[arena + words[table + ((hashes[i] >>> shift) << 1)]]
    hashes[GROUP] = sum
  }
  for (let i = from; i < to; i++) {
    const at = words[list + i]
    const head = words[at + HEAD_AT]
    const length = head >>> 1
    const payload = (length + 3) >>> 2
    const hash = hashes[i - from]
    let x = hash >>> shift
    let cell = table + (x << 1)
    let place = words[cell]
    while (place !== 0) {
      if (words[cell + 1] === hash && isRecordOf(words, arena + place - 1, words, at, head)) break
      x = (x + 1) & mask
      cell = table + (x << 1)
      place = words[cell]
    }
    if (place !== 0) continue
    if (set.count === limit || set.bytes + length > maxBytes) return i
    const record = arena + set.end
    words[record] = hash
    words[record + HEAD_AT] = head
    for (let k = 0; k < payload; k++) words[record + TEXT_HEADER + k] = words[at + TEXT_HEADER + k]
    words[cell] = set.end + 1
    words[cell + 1] = hash
    set.count++
    set.bytes += length
    set.end += TEXT_HEADER + payload
  }
  return to
}

/** insertTexts() in WebAssembly, of a group. */
function insertNative(
  set: TextSet,
  native: NativeKernel,
  list: number,
  from: number,
  to: number,
): number {
  const { words, arena, table, shift, limit, maxBytes, key0, key1 } = set
  const done = native.insertTexts(
    (list + from) << 2,
    (list + to) << 2,
    arena << 2,
    (arena + set.end) << 2,
    table << 2,
    shift,
    limit - set.count,
    maxBytes - set.bytes,
    key0,
    key1,
  )
  const added = done & 0x1ff
  set.count += added
  for (let i = 0; i < added; i++) {
    const head = words[arena + set.end + HEAD_AT]
    set.bytes += textBytesOf(head)
    set.end += recordWords(head)
  }
  return from + (done >>> 9)
}

/**
 * Enters the records at [from .. to) of the arena into the table. The caller knows that they are
 * distinct and new, and counts them.
 */
export function indexTexts(set: TextSet, from: number, to: number): void {
  const { words, arena, table, shift, native } = set
  if (native !== undefined) {
    native.indexTexts((arena + from) << 2, (arena + to) << 2, arena << 2, table << 2, shift)
    return
  }
  const mask = (1 << (32 - shift)) - 1
  for (let place = from; place < to;) {
    const hash = words[arena + place]
    const head = words[arena + place + HEAD_AT]
    let x = hash >>> shift
    while (words[table + (x << 1)] !== 0) x = (x + 1) & mask
    words[table + (x << 1)] = place + 1
    words[table + (x << 1) + 1] = hash
    place += recordWords(head)
  }
}

/**
 * Tells whether the records at words[arena .. end) are so many texts of so many bytes. A length that
 * other code has changed would lead out of the arena, or make other texts of these.
 */
export function textsHold(
  words: SharedWords,
  arena: number,
  end: number,
  count: number,
  bytes: number,
): boolean {
  let at = arena
  while (at < end) {
    const length = words[at + HEAD_AT] >>> 1
    at += TEXT_HEADER + ((length + 3) >>> 2)
    bytes -= length
    count--
  }
  return at === end && count === 0 && bytes === 0
}

/**
 * Tells whether a text is in. `key` is the text in the caller's own memory: its payload begins at
 * `key[0]`. Any thread that has been given the set may call it.
 */
export function containsText(set: TextSet, key: Int32Array, head: number): boolean {
  const { words, arena, table, shift, key0, key1 } = set
  const source = key as SharedWords
  const hash = keyedHash(source, 0, head, key0, key1)
  const mask = (1 << (32 - shift)) - 1
  let x = hash >>> shift
  for (;;) {
    const cell = table + (x << 1)
    const place = words[cell]
    if (place === 0) return false
    if (
      words[cell + 1] === hash &&
      isRecordOf(words, arena + place - 1, source, -TEXT_HEADER, head)
    )
      return true
    x = (x + 1) & mask
  }
}

/** Tells whether the record at words[record] has this head, and the payload of source[at ..]. */
function isRecordOf(
  words: SharedWords,
  record: number,
  source: SharedWords,
  at: number,
  head: number,
): boolean {
  if (words[record + HEAD_AT] !== head) return false
  const size = recordWords(head)
  let k = TEXT_HEADER
  while (k < size && words[record + k] === source[at + k]) k++
  return k === size
}
