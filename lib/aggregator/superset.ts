import {
  epochAt,
  FLAG_OVERFLOW,
  FLAG_SATURATED,
  FORM_CLEARING,
  FORM_EXACT,
  FORM_FILLING,
  FORM_FILTER,
  SLOT_FORM,
} from '../memory/map.js'
import { filterBits } from '../memory/slot.js'
import { filterPairs, filterRecords, filterTexts, filterUnite } from '../set/filter.js'
import { HEAD_AT, recordWords } from '../set/text-set.js'
import { publishCount, publishFill, raiseFlag, storeTexts } from './publish.js'
import type { SlotState } from './state.js'
import { clearCells, reportProgress } from './table.js'

/**
 * How an epoch that is full goes on: the memory of its table of numbers turns into a filter, in
 * place. The filter takes all that the log and the arena hold, and from then on every key. The form
 * says how far that came, so that a successor goes on:
 *
 * ```
 *  EXACT     the counts are published, then the overflow is said
 *  CLEARING  a successor clears once more
 *  FILLING   nothing is cleared any more; a successor fills once more, which changes nothing
 *  FILTER
 * ```
 */

/** Keys, or texts, between two signs of progress. */
const STEP_KEYS = 1024
/** Words of a filter between two signs of progress. */
const STEP_WORDS = 65536
/** With more of its bits set a filter is wrong about every third key. */
const SATURATED = 0.85

/** Turns an exact epoch into a superset. */
export function turn(a: SlotState): void {
  if (a.form !== FORM_EXACT) return
  publishCount(a)
  storeTexts(a)
  raiseFlag(a, FLAG_OVERFLOW)
  setForm(a, FORM_CLEARING)
  completeTurn(a)
}

/** Goes on with a turn, from any form but EXACT. */
export function completeTurn(a: SlotState): void {
  const { set, texts, filter } = a
  if (a.form === FORM_CLEARING) {
    clearCells(a, filter.at, a.memory.layout.filterCells)
    filter.fill = 0
    publishFill(a)
    setForm(a, FORM_FILLING)
  }
  if (a.form === FORM_FILLING) {
    addKeys(a, set.log, set.log + set.count * 2)
    addRecords(a, texts.arena, texts.arena + texts.end)
    setForm(a, FORM_FILTER)
  }
}

function setForm(a: SlotState, form: number): void {
  a.form = form
  Atomics.store(a.words, a.openAt + SLOT_FORM, form)
}

/** Adds the keys in words[at .. end) to the filter. Can be done again. */
export function addKeys(a: SlotState, at: number, end: number): void {
  const { words, filter } = a
  while (at < end) {
    const stop = Math.min(at + STEP_KEYS * 2, end)
    filterPairs(filter, words, at, stop)
    noteFill(a)
    at = stop
    if (at < end) reportProgress(words)
  }
}

/** Adds the texts whose places words[list + from .. list + to) name. Can be done again. */
export function addTexts(a: SlotState, list: number, from: number, to: number): void {
  filterTexts(a.filter, list, from, to)
  noteFill(a)
}

/** Adds the texts of the records at [at .. end), which hold together. Can be done again. */
export function addRecords(a: SlotState, at: number, end: number): void {
  const { words } = a
  while (at < end) {
    let stop = at
    for (let i = 0; i < STEP_KEYS && stop < end; i++) stop += recordWords(words[stop + HEAD_AT])
    filterRecords(a.filter, at, stop)
    noteFill(a)
    at = stop
    if (at < end) reportProgress(words)
  }
}

/** Adds the words [from .. to) of the filter of another slot. Can be done again. */
export function addFilter(a: SlotState, slot: number, from: number, to: number): void {
  const { words, filter } = a
  const { layout } = a.memory
  const source = epochAt(layout, slot) + layout.table
  for (; from < to; from += STEP_WORDS) {
    filterUnite(filter, source, from, Math.min(from + STEP_WORDS, to))
    noteFill(a)
    reportProgress(words)
  }
}

function noteFill(a: SlotState): void {
  publishFill(a)
  if (a.filter.fill > SATURATED * filterBits(a.memory.layout)) raiseFlag(a, FLAG_SATURATED)
}
