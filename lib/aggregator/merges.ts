import { corruptJob, corruptSlot, corruptTextsOf } from '../errors.js'
import {
  epochAt,
  FLAG_FAULT,
  FORM_FILTER,
  GATHERED_KEYS,
  GATHERED_MAX,
  JOB,
  JOB_FAILURES,
  SLOT_DIRTY,
  SLOT_EPOCH,
} from '../memory/map.js'
import {
  choiceOf,
  epochOfJob,
  hasPlan,
  indexOfJob,
  isJob,
  isNewTarget,
  jobWord,
  readChoice,
  readPlan,
  sourceOf,
  targetOf,
} from '../memory/plan.js'
import { openCheckOf, readSealedSlot, readSlot, type SlotHeader } from '../memory/slot.js'
import { keysAt, textsAt } from '../memory/table-size.js'
import { EPOCH_MASK } from '../ring/token.js'
import { HEAD_AT, recordWords, textsHold } from '../set/text-set.js'
import { insertKeys } from './open-epoch.js'
import { raiseFlag, raiseFlags } from './publish.js'
import {
  type Aggregator,
  emptySlot,
  enterSlot,
  isSealAtHead,
  loadSlot,
  recoverSlot,
  storeSlot,
} from './state.js'
import { addFilter, turn } from './superset.js'
import { insertRecords } from './texts.js'
import { signal } from './wake.js'

/**
 * The merges of a plan (memory/plan.ts), behind the cut that they follow. They are made in steps,
 * between which the aggregator handles batches. What another cut needs waits until all are done:
 * so every slot is free for a later cut's use, as the tracker counts it.
 *
 * One word says how many merges are made. How far the one in hand has come, only the aggregator
 * knows: a successor begins it anew, and finds its keys there. SLOT_DIRTY says that a table may hold
 * keys that are not counted.
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
  if (a.jobEpoch === epoch) return
  a.plan = readPlan(a.words, epoch)
  a.mergesLeft = a.plan.merges.length
  a.jobEpoch = epoch
  a.jobIndex = 0
  nextMerge(a)
}

/** The merge that `jobIndex` names comes next, and all before it are made. */
function nextMerge(a: Aggregator): void {
  const { words } = a
  a.target.slot = -1
  words[JOB_FAILURES] = 0
  a.job = jobWord(a.jobEpoch, a.jobIndex)
  Atomics.store(words, JOB, a.job)
}

/** The merges that a predecessor has not made. */
export function recoverMerges(a: Aggregator): void {
  const { words } = a
  const job = Atomics.load(words, JOB)
  a.job = job
  a.jobEpoch = -1
  a.mergesLeft = 0
  a.target.slot = -1
  if (a.memory.layout.maxConsumers === 0) return
  if (job === 0) {
    // A predecessor that has executed a cut has begun its merges, if it has freed the token.
    if (hasPlan(words, (a.epoch - 1) & EPOCH_MASK) && !isSealAtHead(a)) throw corruptJob(job)
    return
  }
  if (!isJob(job)) throw corruptJob(job)
  a.jobEpoch = epochOfJob(job)
  a.jobIndex = indexOfJob(job)
  a.plan = readPlan(words, a.jobEpoch)
  a.mergesLeft = a.plan.merges.length - a.jobIndex
  if (a.mergesLeft < 0) throw corruptJob(job)
}

/** Makes a step of the merge in hand. */
export function stepMerge(a: Aggregator): void {
  const { words, memory, target } = a
  const { layout } = memory
  const merge = a.plan.merges[a.jobIndex]
  const source = sourceOf(merge)
  const slot = targetOf(merge)
  if (source === slot || slot === a.slot || slot >= layout.epochSlots)
    throw corruptSlot(slot, `cannot take the keys of slot ${source}`)
  if (words[JOB_FAILURES] >= FAILURES_MAX) {
    giveUp(a, slot, isNewTarget(merge))
    return
  }
  const isBegun = target.slot === slot
  const from = readSource(a, source, !isBegun)
  if (!isBegun) beginMerge(a, slot, isNewTarget(merge), choiceOf(merge), from)
  const at = epochAt(layout, source)
  const { doneKeys, doneTexts, doneFilter } = a
  if (doneKeys < from.count) {
    a.doneKeys = Math.min(doneKeys + STEP_KEYS, from.count)
    insertChosen(a, at + layout.log + doneKeys * 2, at + layout.log + a.doneKeys * 2)
  } else if (doneTexts < from.textEnd) {
    const arena = at + layout.arena
    a.doneTexts = textsOfStep(a, arena, doneTexts, from.textEnd)
    if (wants(a, 0)) insertRecords(target, arena + doneTexts, arena + a.doneTexts)
  } else if (from.form === FORM_FILTER && doneFilter < layout.filterCells * 2) {
    turn(target)
    a.doneFilter = Math.min(doneFilter + STEP_WORDS, layout.filterCells * 2)
    addFilter(target, source, doneFilter, a.doneFilter)
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
function readSource(a: Aggregator, source: number, isFirst: boolean): SlotHeader {
  const { words, memory } = a
  const at = epochAt(memory.layout, source)
  const header = readSealedSlot(memory, source, words[at + SLOT_EPOCH])
  if (!isFirst) return header
  const arena = at + memory.layout.arena
  const { textEnd, textCount, textBytes } = header
  if (!textsHold(words, arena, arena + textEnd, textCount, textBytes)) throw corruptTextsOf(source)
  return header
}

function beginMerge(
  a: Aggregator,
  slot: number,
  isNew: boolean,
  choice: number,
  from: SlotHeader,
): void {
  const { words, target } = a
  a.chosen = choice < 0 ? undefined : readChoice(words, choice)
  a.doneKeys = 0
  a.doneTexts = 0
  a.doneFilter = 0
  enterTarget(a, slot, isNew)
  // How large the tables will be, if all the keys are new.
  const { layout } = a.memory
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

/**
 * Points a.target at the slot that takes the keys. What a predecessor has put into a new one is
 * cleared.
 */
function enterTarget(a: Aggregator, slot: number, isNew: boolean): void {
  const { words, memory, target } = a
  const at = epochAt(memory.layout, slot)
  if (isNew) {
    words[at + SLOT_DIRTY] = 1
    emptySlot(a, slot, openCheckOf(a.jobEpoch))
    enterSlot(target, slot)
  } else if (words[at + SLOT_DIRTY] !== 0) {
    recoverSlot(target, slot, readSlot(memory, slot))
  } else {
    loadSlot(target, slot, readSealedSlot(memory, slot, words[at + SLOT_EPOCH]))
    words[at + SLOT_DIRTY] = 1
  }
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
  if (a.target.slot !== slot) enterTarget(a, slot, isNew)
  raiseFlag(a.target, FLAG_FAULT)
  endMerge(a)
}

/** From here on the target may be read, and handed out. */
function endMerge(a: Aggregator): void {
  const { words, memory, target } = a
  storeSlot(target, a.jobEpoch)
  words[epochAt(memory.layout, target.slot) + SLOT_DIRTY] = 0
  a.jobIndex++
  a.mergesLeft--
  nextMerge(a)
  if (a.jobIndex === a.plan.own || a.mergesLeft === 0) signal(a)
}
