import { corruptSlot } from '../errors.js'
import {
  FLAG_FAULT,
  FORM_EXACT,
  GATHERED_KEYS,
  GATHERED_MAX,
  GATHERED_TEXTS,
  LANE_KEYS,
  LANE_TEXT_BROKEN,
  SLOT_TEXT_GROWTH,
} from '../memory/map.js'
import { textsAt } from '../memory/table-size.js'
import { NO_TEXT } from '../ring/token.js'
import { shiftFor } from '../set/kernel.js'
import { HEAD_AT, indexTexts, insertTexts, recordWords, textBytesOf } from '../set/text-set.js'
import { insertKeys } from './open-epoch.js'
import { publishTexts, raiseFlag } from './publish.js'
import type { Aggregator, SlotState } from './state.js'
import { addTexts, turn } from './superset.js'
import { clearCells, reportProgress } from './table.js'

/**
 * Inserts the keys [start .. start + n) of a lane that has texts, and notes in `a.textEnd` where
 * their texts end. Takes the numbers, and the places of the texts, out of the lane, because each
 * kind goes into a set of its own by the run.
 */
export function insertMixed(a: Aggregator, lane: number, start: number, n: number): void {
  const { words } = a
  const { laneCapacity } = a.memory.layout
  const keys = lane + LANE_KEYS
  a.textEnd = a.textStart
  let numbers = 0
  let texts = 0
  let next = findText(a, lane, start, 0, n)
  for (let i = 0; i < n && next >= 0; i++) {
    if (i === next) {
      words[GATHERED_TEXTS + texts++] = a.textAt
      next = findText(a, lane, start, i + 1, n)
      if (texts < GATHERED_MAX) continue
      insertGathered(a, texts)
      texts = 0
    } else {
      const at = keys + (((start + i) & (laneCapacity - 1)) << 1)
      words[GATHERED_KEYS + 2 * numbers] = words[at]
      words[GATHERED_KEYS + 2 * numbers + 1] = words[at + 1]
      if (++numbers < GATHERED_MAX) continue
      insertKeys(a, GATHERED_KEYS, GATHERED_KEYS + 2 * numbers)
      numbers = 0
    }
  }
  if (numbers > 0) insertKeys(a, GATHERED_KEYS, GATHERED_KEYS + 2 * numbers)
  if (texts > 0) insertGathered(a, texts)
  publishTexts(a)
}

/** Notes in `a.textEnd` where the texts of the keys [start .. start + n) end, and inserts none. */
export function passTexts(a: Aggregator, lane: number, start: number, n: number): void {
  a.textEnd = a.textStart
  let next = findText(a, lane, start, 0, n)
  while (next >= 0 && next < n) next = findText(a, lane, start, next + 1, n)
}

/**
 * Looks at the entry at `a.textEnd`. If it belongs to one of the keys [start + from .. start + n),
 * notes its place in `a.textAt`, moves `a.textEnd` behind it, and returns the key's index. If no
 * text of these keys is left, returns n. If the entry cannot be one of the library's, breaks the
 * lane and returns -1: where the next entry lies is then unknown.
 *
 * The tag may be newer than the keys: its writer goes on meanwhile. It then names a later key. Only
 * a tag that names one of the keys makes the rest of its entry safe to read.
 */
function findText(a: Aggregator, lane: number, start: number, from: number, n: number): number {
  const { words, textEnd } = a
  const { laneCapacity, laneText, laneTextWords } = a.memory.layout
  if (words[lane + LANE_TEXT_BROKEN] !== 0) return breakLane(a, lane)
  const mask = laneTextWords - 1
  const tag = words[lane + laneText + (textEnd & mask)]
  if (tag === NO_TEXT) return n
  const index = (Math.abs(tag) - 1 - start) & (2 * laneCapacity - 1)
  if (index >= n) return n
  const place = tag > 0 ? textEnd : ((textEnd | mask) + 1) | 0
  const at = lane + laneText + (place & mask)
  const head = words[at + HEAD_AT]
  const size = recordWords(head)
  const used = (place + size - a.textStart) | 0
  const holds =
    index >= from &&
    words[at] === Math.abs(tag) &&
    (place & mask) + size <= laneTextWords &&
    used > 0 &&
    used < laneTextWords
  if (!holds || head < 0) return breakLane(a, lane)
  a.textAt = at
  a.textEnd = (place + size) | 0
  return index
}

/** The lane's texts do not hold together: each batch of it makes its epoch inexact from here on. */
function breakLane(a: Aggregator, lane: number): number {
  a.words[lane + LANE_TEXT_BROKEN] = 1
  a.textEnd = a.textStart
  raiseFlag(a, FLAG_FAULT)
  return -1
}

/** Inserts a sealed epoch's texts, the records at [arena .. end), which hold together. */
export function insertRecords(a: SlotState, arena: number, end: number): void {
  const { words } = a
  let texts = 0
  for (let at = arena; at < end;) {
    const size = recordWords(words[at + HEAD_AT])
    words[GATHERED_TEXTS + texts++] = at
    at += size
    if (texts < GATHERED_MAX && at < end) continue
    insertGathered(a, texts)
    reportProgress(words)
    texts = 0
  }
  publishTexts(a)
}

/** Inserts the texts whose places are gathered, and publishes them. */
export function insertPlaces(a: SlotState, n: number): void {
  insertGathered(a, n)
  publishTexts(a)
}

/**
 * Inserts the texts whose places are gathered into the epoch. Grows their table if it is full. If
 * the epoch is full, turns it into a superset, which takes every text.
 */
function insertGathered(a: SlotState, n: number): void {
  const { texts } = a
  const { maxStringsPerEpoch } = a.memory.layout
  if (texts.end === 0 && a.form === FORM_EXACT) clearCells(a, texts.table, 2 ** (32 - texts.shift))
  let i = 0
  while (i < n && a.form === FORM_EXACT) {
    i = insertTexts(texts, GATHERED_TEXTS, i, n)
    if (i === n) return
    if (texts.count === texts.limit && texts.count < maxStringsPerEpoch) growTexts(a)
    else turn(a) // no room for this text, in number or in bytes
  }
  if (i < n) addTexts(a, GATHERED_TEXTS, i, n)
}

/**
 * Makes the texts' table larger, in place: as large as the last epoch's, if that takes four
 * doublings at most, otherwise by three; by two if the last epoch's was no larger. The records are
 * complete, those that are not published yet included. The new size is stored after the table.
 */
function growTexts(a: SlotState): void {
  const { texts, words } = a
  const { largestTextTable } = a.memory.layout
  const cells = 2 ** (32 - texts.shift)
  const by = doublings(a.lastTextGrowth - a.textGrowth)
  const larger = Math.min(cells * 2 ** by, largestTextTable)
  clearCells(a, texts.table, larger)
  setTextCells(a, larger)
  reindexTexts(a, texts.end)
  a.textGrowth += Math.log2(larger / cells)
  words[a.openAt + SLOT_TEXT_GROWTH] = a.textGrowth
}

/** Doublings at once, as open-epoch.ts has them; and without a guess. */
const GROWTH_MAX = 3
const GROWTH = 2

/** `expected`: the doublings between a table and the last epoch's. */
function doublings(expected: number): number {
  if (expected > GROWTH_MAX + 1) return GROWTH_MAX
  return expected > 0 ? expected : GROWTH
}

export function setTextCells(a: SlotState, cells: number): void {
  a.texts.shift = shiftFor(cells)
  a.texts.limit = textsAt(a.memory.layout, cells)
}

/**
 * Enters the arena's records up to `end` into the table, which is clear.
 *
 * @throws ERR_DIRTYRING_CORRUPT if the records do not hold together.
 */
export function reindexTexts(a: SlotState, end: number): void {
  const { texts, words } = a
  texts.count = 0
  texts.bytes = 0
  for (let from = 0; from < end;) {
    let to = from
    for (let i = 0; i < GATHERED_MAX && to < end; i++) {
      const head = words[texts.arena + to + HEAD_AT]
      to += recordWords(head)
      texts.bytes += textBytesOf(head)
      if (head < 0 || to > end || ++texts.count > texts.limit)
        throw corruptSlot(a.slot, `has texts that do not hold together at word ${from}`)
    }
    indexTexts(texts, from, to)
    from = to
    reportProgress(words)
  }
  texts.end = end
}
