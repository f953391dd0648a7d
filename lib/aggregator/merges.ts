import { corruption, corruptSlot, corruptTextsOf } from '../errors.js'
import {
  epochAt,
  FLAG_FAULT,
  FORM_FILTER,
  GATHERED_KEYS,
  GATHERED_MAX,
  JOB_EPOCH,
  JOB_FAILURES,
  JOB_FILTER,
  JOB_INDEX,
  JOB_KEYS,
  JOB_TEXTS,
  PLAN_COUNTS,
  PLAN_MERGES,
  planAt,
  SLOT_DIRTY,
  SLOT_EPOCH,
} from '../memory/map.js'
import { choiceOf, isNewTarget, readChoice, readPlan, sourceOf, targetOf } from '../memory/plan.js'
import { openCheckOf, readSealedSlot, readSlot, type SlotHeader } from '../memory/slot.js'
import { keysAt, textsAt } from '../memory/table-size.js'
import { HEAD_AT, recordWords, textsHold } from '../set/text-set.js'
import { insertKeys } from './open-epoch.js'
import { publishCount, raiseFlag, raiseFlags } from './publish.js'
import { type Aggregator, emptySlot, enterSlot, loadSlot, recoverSlot, storeSlot } from './state.js'
import { addFilter, turn } from './superset.js'
import { insertRecords } from './texts.js'
import { signal } from './wake.js'

/**
 * The merges of a plan (memory/plan.ts), behind the cut that they follow. They are made in steps,
 * between which the aggregator handles batches. What another cut needs waits until all are done:
 * so every slot is free for a later cut's use, as the tracker counts it.
 *
 * Each step stores the keys, then their count, then how far it came. After a death the step is done
 * again: it finds its keys there. SLOT_DIRTY says that a table may hold keys that are not counted.
 */

/** Keys, or texts, of a step. */
const STEP_KEYS = 1024
/** Words of text of a step. */
const STEP_TEXT = 16_384
/** Words of a filter of a step. */
const STEP_WORDS = 65_536
/** A merge that fails so often is given up. */
const FAILURES_MAX = 8

/** Begins the merges that follow the seal of an epoch. Does nothing if they have begun already. */
export function beginMerges(a: Aggregator, epoch: number): void {
  const { words } = a
  if (words[JOB_EPOCH] === epoch + 1) return
  const count = readPlan(words, epoch)
  Atomics.store(words, JOB_EPOCH, 0)
  words[JOB_KEYS] = 0
  words[JOB_TEXTS] = 0
  words[JOB_FILTER] = 0
  words[JOB_FAILURES] = 0
  Atomics.store(words, JOB_INDEX, 0)
  Atomics.store(words, JOB_EPOCH, epoch + 1)
  a.jobEpoch = epoch
  a.mergesLeft = count
  a.target.slot = -1
}

/** The merges that a predecessor has not made. */
export function recoverMerges(a: Aggregator): void {
  const { words } = a
  a.mergesLeft = 0
  a.target.slot = -1
  if (a.memory.layout.maxConsumers === 0 || words[JOB_EPOCH] === 0) return
  a.jobEpoch = words[JOB_EPOCH] - 1
  const left = readPlan(words, a.jobEpoch) - words[JOB_INDEX]
  if (left < 0 || words[JOB_INDEX] < 0)
    throw corruption(`the aggregator has made ${words[JOB_INDEX]} merges, and the plan has fewer`)
  a.mergesLeft = left
}

/** Makes a step of the merge in hand. */
export function stepMerge(a: Aggregator): void {
  const { words, memory, target } = a
  const { layout } = memory
  const merge = words[planAt(a.jobEpoch) + PLAN_MERGES + words[JOB_INDEX]]
  const source = sourceOf(merge)
  const slot = targetOf(merge)
  if (source === slot || slot === a.slot || slot >= layout.epochSlots)
    throw corruptSlot(slot, `cannot take the keys of slot ${source}`)
  if (words[JOB_FAILURES] >= FAILURES_MAX) {
    giveUp(a, slot, isNewTarget(merge))
    return
  }
  const choice = choiceOf(merge)
  if (target.slot < 0) a.chosen = choice < 0 ? undefined : readChoice(words, choice)
  const from = readSource(a, source)
  if (target.slot !== slot) enterTarget(a, slot, isNewTarget(merge), from)
  const at = epochAt(layout, source)
  if (words[JOB_KEYS] < from.count) {
    const done = Math.min(words[JOB_KEYS] + STEP_KEYS, from.count)
    insertChosen(a, at + layout.log + words[JOB_KEYS] * 2, at + layout.log + done * 2)
    publishCount(target)
    words[JOB_KEYS] = done
  } else if (words[JOB_TEXTS] < from.textEnd) {
    const arena = at + layout.arena
    const done = textsOfStep(a, arena, words[JOB_TEXTS], from.textEnd)
    if (wants(a, 0)) insertRecords(target, arena + words[JOB_TEXTS], arena + done)
    words[JOB_TEXTS] = done
  } else if (from.form === FORM_FILTER && words[JOB_FILTER] < layout.filterCells * 2) {
    turn(target)
    const done = Math.min(words[JOB_FILTER] + STEP_WORDS, layout.filterCells * 2)
    addFilter(target, source, words[JOB_FILTER], done)
    words[JOB_FILTER] = done
  } else {
    raiseFlags(target, { ...from, namespaces: from.namespaces.filter((each) => wants(a, each)) })
    endMerge(a)
  }
}

/** Whether the consumer that the merge is for wants a namespace. Texts are in namespace 0. */
function wants({ chosen }: Aggregator, namespace: number): boolean {
  return chosen === undefined || chosen.includes(namespace)
}

/** Inserts those of the keys in words[at .. end) that are wanted. */
function insertChosen(a: Aggregator, at: number, end: number): void {
  const { words, target, chosen } = a
  if (chosen === undefined) {
    insertKeys(target, at, end)
    return
  }
  let n = 0
  for (; at < end; at += 2) {
    if (!chosen.includes(words[at + 1] >>> 0)) continue
    words[GATHERED_KEYS + n * 2] = words[at]
    words[GATHERED_KEYS + n * 2 + 1] = words[at + 1]
    n++
    if (n < GATHERED_MAX) continue
    insertKeys(target, GATHERED_KEYS, GATHERED_KEYS + n * 2)
    n = 0
  }
  insertKeys(target, GATHERED_KEYS, GATHERED_KEYS + n * 2)
}

/** Where a step ends that begins so many words behind the arena's begin. */
function textsOfStep(a: Aggregator, arena: number, from: number, end: number): number {
  const { words } = a
  let at = from
  for (let i = 0; i < STEP_KEYS && at < end && at - from < STEP_TEXT; i++)
    at += recordWords(words[arena + at + HEAD_AT])
  return at
}

/** The header of the slot that is merged into another. Its texts are checked once. */
function readSource(a: Aggregator, source: number): SlotHeader {
  const { words, memory } = a
  const at = epochAt(memory.layout, source)
  const header = readSealedSlot(memory, source, words[at + SLOT_EPOCH])
  if (a.target.slot >= 0) return header
  const arena = at + memory.layout.arena
  const { textEnd, textCount, textBytes } = header
  if (!textsHold(words, arena, arena + textEnd, textCount, textBytes)) throw corruptTextsOf(source)
  return header
}

/** Points a.target at the slot that takes the keys. */
function enterTarget(a: Aggregator, slot: number, isNew: boolean, from: SlotHeader): void {
  const { words, memory, target } = a
  const { layout } = memory
  const at = epochAt(layout, slot)
  const hasBegun = words[JOB_KEYS] > 0 || words[JOB_TEXTS] > 0 || words[JOB_FILTER] > 0
  const wasDirty = words[at + SLOT_DIRTY] !== 0
  if (isNew && !hasBegun) {
    words[at + SLOT_DIRTY] = 1
    emptySlot(a, slot, openCheckOf(a.jobEpoch))
    enterSlot(target, slot)
  } else if (wasDirty) {
    recoverSlot(target, slot, readSlot(memory, slot))
  } else {
    loadSlot(target, slot, readSealedSlot(memory, slot, words[at + SLOT_EPOCH]))
    words[at + SLOT_DIRTY] = 1
  }
  // How large the tables will be, if all the keys are new.
  const { smallestTable, largestTable, smallestTextTable, largestTextTable } = layout
  target.lastGrowth = growthFor(target.set.count + from.count, smallestTable, largestTable, (n) =>
    keysAt(layout, n),
  )
  target.lastTextGrowth = growthFor(
    target.texts.count + from.textCount,
    smallestTextTable,
    largestTextTable,
    (n) => textsAt(layout, n),
  )
}

function growthFor(
  keys: number,
  smallest: number,
  largest: number,
  keysOf: (cells: number) => number,
): number {
  let growth = 0
  while (smallest * 2 ** growth < largest && keysOf(smallest * 2 ** growth) < keys) growth++
  return growth
}

/** The merge has failed again and again: the target says so, and the next merge can go on. */
function giveUp(a: Aggregator, slot: number, isNew: boolean): void {
  const { words, memory, target } = a
  const at = epochAt(memory.layout, slot)
  if (isNew && words[JOB_KEYS] === 0 && words[JOB_TEXTS] === 0) {
    words[at + SLOT_DIRTY] = 1
    emptySlot(a, slot, openCheckOf(a.jobEpoch))
    enterSlot(target, slot)
  } else if (target.slot !== slot) {
    recoverSlot(target, slot, readSlot(memory, slot))
  }
  raiseFlag(target, FLAG_FAULT)
  endMerge(a)
}

/** From here on the target may be read, and handed out. */
function endMerge(a: Aggregator): void {
  const { words, memory, target } = a
  storeSlot(target, a.jobEpoch)
  words[epochAt(memory.layout, target.slot) + SLOT_DIRTY] = 0
  target.slot = -1
  words[JOB_KEYS] = 0
  words[JOB_TEXTS] = 0
  words[JOB_FILTER] = 0
  words[JOB_FAILURES] = 0
  Atomics.store(words, JOB_INDEX, words[JOB_INDEX] + 1)
  a.mergesLeft--
  const own = words[planAt(a.jobEpoch) + PLAN_COUNTS] >>> 8
  if (words[JOB_INDEX] === own || a.mergesLeft === 0) signal(a)
}
