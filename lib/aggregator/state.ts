import { corrupt, corruptCur, corruption, corruptTextsOf, DirtyRingError } from '../errors.js'
import {
  epochAt,
  FORM_EXACT,
  HEAD,
  INTENT_CHECK,
  INTENT_COUNT,
  INTENT_POSITION,
  INTENT_START,
  INTENT_TEXT_START,
  INTENT_TOKENS,
  LANE_STAGED_END,
  LANE_TEXT_READ,
  laneAt,
  OWNER,
  SECRETS,
  type SharedWords,
  SLOT_CHECK,
  SLOT_COUNT,
  SLOT_EPOCH,
  SLOT_FILL,
  SLOT_FLAGS,
  SLOT_FORM,
  SLOT_GROWTH,
  SLOT_NAMESPACES,
  SLOT_RESTORED,
  SLOT_TEXT_BYTES,
  SLOT_TEXT_COUNT,
  SLOT_TEXT_END,
  SLOT_TEXT_GROWTH,
  SLOT_ZERO,
  slotAt,
  STOP_POSITION,
  TAIL,
  TEXT_SECRETS,
} from '../memory/map.js'
import type { Memory } from '../memory/memory.js'
import type { Plan } from '../memory/plan.js'
import { checkOf, mixed, openCheckOf, readOpenSlot, type SlotHeader } from '../memory/slot.js'
import { readEndOf } from '../ring/ring.js'
import {
  advance,
  BEHIND_FULL,
  classify,
  controlToken,
  distance,
  epochOfCur,
  fullWord,
  isCur,
  isFull,
  kindOf,
  lapOf,
  PASSED,
  POISON,
  readCur,
  SEAL,
  slotOfCur,
  STOP,
  tokenOf,
} from '../ring/token.js'
import { type Filter, filterCount, filterShift } from '../set/filter.js'
import type { SetState } from '../set/kernel.js'
import { secretsAt, textSecretsAt } from '../set/mix.js'
import { type TextSet, textsHold } from '../set/text-set.js'
import { recoverMerges } from './merges.js'
import { reindex, setCells } from './open-epoch.js'
import { publishCount, publishFill } from './publish.js'
import { completeTurn } from './superset.js'
import { clearCells } from './table.js'
import { reindexTexts, setTextCells } from './texts.js'
import { signal, wakeEveryWriter } from './wake.js'

/** An epoch slot that keys go into: its header as this thread knows it, and its sets. */
export interface SlotState {
  readonly memory: Memory
  readonly words: SharedWords
  /** The slot, and the word index of its header. */
  slot: number
  openAt: number
  /** How often its tables have doubled, and its reasons not to be exact, FLAG_*. */
  growth: number
  textGrowth: number
  flags: number
  /** FORM_*. */
  form: number
  /** Namespaces that have changed as a whole. */
  readonly namespaces: number[]
  /** Its numbers. */
  readonly set: SetState
  /** Its texts. */
  readonly texts: TextSet
  /** Both, once the form is not EXACT any more. */
  readonly filter: Filter
  /**
   * SLOT_GROWTH and SLOT_TEXT_GROWTH of the epoch before it, as far as this thread knows: a guess at
   * what it will need.
   */
  lastGrowth: number
  lastTextGrowth: number
}

/**
 * What the one thread that has the aggregator's role knows: copies of shared words, and what
 * follows from them. Its slot is that of the open epoch. After a death on another thread, or an
 * exception on this one, recover() makes it anew and checks what it reads. In between this thread
 * believes its copies. It alone writes the words, so no part of the library has written a word that
 * differs.
 */
export interface Aggregator extends SlotState {
  /** Thread id + 1: what OWNER holds while the role is this thread's. */
  readonly owner: number
  /** Position of the next token. */
  head: number
  /** Position after the STOP token; -1 until there was one. */
  stopPosition: number
  /** Number of the open epoch, modulo 2^19. */
  epoch: number
  /**
   * The tokens in hand, as the INTENT words have them: position + 1 (0: none), how many, their
   * keys, and their writer's readEnd before them.
   */
  intent: number
  tokens: number
  count: number
  start: number
  /**
   * The place in the writer's text ring where the texts of the token in hand begin, the place behind
   * those found so far, and the word index of the last one found.
   */
  textStart: number
  textEnd: number
  textAt: number
  /** The writer that the token in hand names; -1: none, or none that there is. */
  writer: number
  /** Of each lane, its LANE_READ_END. */
  readonly readEnds: Int32Array
  /** Of each lane, its LANE_TEXT_READ. */
  readonly textReads: Int32Array
  /**
   * Of each lane, a LANE_STAGED_END that was read. Reading it takes the cache line away from the
   * writer, which costs both sides.
   */
  readonly stagedSeen: Int32Array
  /**
   * The merges behind the last cut (merges.ts): the epoch (mod 2^19) that it sealed (-1: no cut
   * yet) and how many are made.
   */
  jobEpoch: number
  jobIndex: number
  /** What JOB holds. */
  job: number
  /** How many are not made. */
  mergesLeft: number
  plan: Plan
  /** The slot that takes the keys of the merge in hand; -1: it is not begun yet. */
  readonly target: SlotState
  /** The namespaces that its consumer wants; undefined: all. */
  chosen: readonly number[] | undefined
  /** Of its source: the keys, the words of texts and the words of the filter that are done. */
  doneKeys: number
  doneTexts: number
  doneFilter: number
  /** The step in hand is one of a merge, and not of the token at head. */
  isMerging: boolean
  /** Tokens handled since the last doChores(). */
  sinceChores: number
  /** Give up on the token at `head`: it has failed too often. */
  skip: boolean
}

/** Takes the role, or throws if a thread has it. The state is not usable before recover(). */
export function takeRole(memory: Memory, threadId: number): Aggregator {
  const { words } = memory
  const owner = threadId + 1
  const holder = Atomics.compareExchange(words, OWNER, 0, owner)
  if (holder !== 0) {
    throw new DirtyRingError(
      'ERR_DIRTYRING_AGGREGATOR_TAKEN',
      `the aggregator runs already, on thread ${holder - 1}`,
    )
  }
  Atomics.notify(words, OWNER)
  return newAggregator(memory, owner)
}

/** Gives the role back. */
export function leaveRole(a: Aggregator): void {
  dropRole(a.words, a.owner)
}

/** Frees the role if OWNER still holds this word. Called for a thread that has ended. */
export function dropRole(words: SharedWords, owner: number): void {
  Atomics.compareExchange(words, OWNER, owner, 0)
}

function newAggregator(memory: Memory, owner: number): Aggregator {
  const { maxWriters } = memory.layout
  return {
    ...newSlotState(memory),
    target: newSlotState(memory),
    owner,
    head: 0,
    stopPosition: -1,
    epoch: 0,
    intent: 0,
    tokens: 0,
    count: 0,
    start: 0,
    textStart: 0,
    textEnd: 0,
    textAt: 0,
    writer: -1,
    readEnds: new Int32Array(maxWriters),
    textReads: new Int32Array(maxWriters),
    stagedSeen: new Int32Array(maxWriters),
    jobEpoch: -1,
    jobIndex: 0,
    job: 0,
    mergesLeft: 0,
    plan: { merges: [], own: 0 },
    chosen: undefined,
    doneKeys: 0,
    doneTexts: 0,
    doneFilter: 0,
    isMerging: false,
    sinceChores: 0,
    skip: false,
  }
}

export function newSlotState(memory: Memory): SlotState {
  const { words, layout } = memory
  return {
    memory,
    words,
    slot: -1,
    openAt: 0,
    growth: 0,
    textGrowth: 0,
    flags: 0,
    form: FORM_EXACT,
    namespaces: [],
    set: {
      words,
      log: 0,
      table: 0,
      shift: 0,
      limit: 0,
      count: 0,
      zero: false,
      native: undefined,
      ...secretsAt(words, SECRETS),
    },
    texts: {
      words,
      arena: 0,
      table: 0,
      shift: 0,
      limit: 0,
      maxBytes: layout.maxStringBytesPerEpoch,
      count: 0,
      bytes: 0,
      end: 0,
      ...textSecretsAt(words, TEXT_SECRETS),
      native: undefined,
    },
    filter: { words, at: 0, shift: filterShift(layout.filterCells), fill: 0, native: undefined },
    lastGrowth: 0,
    lastTextGrowth: 0,
  }
}

/**
 * Makes the state from shared memory alone: after taking the role, and after an interrupted step.
 *
 * The open epoch's table is rebuilt from the log, up to its published count. A key that an
 * interrupted step left in the table alone is gone. So the step, done again, finds that key new.
 */
export function recover(a: Aggregator): void {
  const { words } = a
  a.head = Atomics.load(words, HEAD)
  a.stopPosition = Atomics.load(words, STOP_POSITION) - 1
  a.sinceChores = 0
  checkPlace(a)
  for (let writer = 0; writer < a.readEnds.length; writer++) {
    const lane = laneAt(a.memory.layout, writer)
    a.readEnds[writer] = readEndOf(a.memory, lane, words[lane + LANE_STAGED_END])
    a.stagedSeen[writer] = a.readEnds[writer]
    a.textReads[writer] = Atomics.load(words, lane + LANE_TEXT_READ)
  }
  recoverIntent(a)
  recoverEpoch(a)
  recoverMerges(a)
  wakeEveryWriter(a)
  signal(a) // what a predecessor did, and did not tell
}

/**
 * Checks that a predecessor can have left HEAD here. Its ring slot is freed, or the one before it
 * is, and may be of the next lap since. After STOP the ring slots before it are poisoned. With a
 * head one too far, a token would lie in the ring for ever.
 */
function checkPlace(a: Aggregator): void {
  const { words, head, stopPosition } = a
  const { layout } = a.memory
  const { capacity, capacityBits } = layout
  if (stopPosition === -1 && isGone(a)) return // after STOP no slot is freed
  const last = advance(head, -1)
  const lap = lapOf(last, capacityBits)
  const seen = Atomics.load(words, slotAt(layout, last))
  const kind = classify(seen, lap, capacityBits)
  let isRight = kind === PASSED || kind === BEHIND_FULL
  if (stopPosition !== -1) {
    const beyond = distance(head, stopPosition)
    if (beyond === -1)
      isRight &&=
        Atomics.load(words, slotAt(layout, head)) ===
        fullWord(lapOf(head, capacityBits), controlToken(STOP, 0))
    else
      isRight =
        beyond >= 0 &&
        beyond < capacity &&
        seen === fullWord(lap, controlToken(beyond === 0 ? STOP : POISON, 0))
    isRight &&= stopPosition >= 0
  }
  if (!isRight) throw corrupt(last, seen)
}

/** Tells whether peek() would return GONE, and heals nothing. */
function isGone(a: Aggregator): boolean {
  const { words, head } = a
  const { layout } = a.memory
  const { capacity, capacityBits } = layout
  const seen = Atomics.load(words, slotAt(layout, head))
  const kind = classify(seen, lapOf(head, capacityBits), capacityBits)
  return (
    kind === PASSED ||
    (kind === BEHIND_FULL && distance(Atomics.load(words, TAIL), head) >= capacity)
  )
}

/** The tokens that a predecessor had in hand. */
function recoverIntent(a: Aggregator): void {
  const { words } = a
  a.intent = words[INTENT_POSITION]
  a.tokens = words[INTENT_TOKENS]
  a.count = words[INTENT_COUNT]
  a.start = words[INTENT_START]
  a.textStart = words[INTENT_TEXT_START]
  if (a.intent !== 0 && words[INTENT_CHECK] !== intentCheck(a)) {
    throw corruption(
      `the aggregator's intent of ${a.tokens} tokens and ${a.count} keys at ${a.intent - 1} ` +
        'is not what it wrote',
    )
  }
}

/** What INTENT_CHECK holds. */
export function intentCheck(a: Aggregator): number {
  return mixed(mixed(mixed(a.intent, a.tokens), mixed(a.count, a.start)), a.textStart)
}

/** The open epoch, as shared memory has it. */
function recoverEpoch(a: Aggregator): void {
  const cur = readCur(a.words)
  const slot = slotOfCur(cur)
  const epoch = epochOfCur(cur)
  if (!isCur(cur)) throw corruptCur(cur)
  const header = readOpenSlot(a.memory, slot, epoch)
  if (header.isSealed && a.stopPosition < 0 && !isSealAtHead(a)) {
    throw corruption(`CUR is ${cur}, and what that epoch's slot holds is sealed already`)
  }
  a.epoch = epoch
  recoverSlot(a, slot, header)
}

export function isSealAtHead(a: Aggregator): boolean {
  const word = Atomics.load(a.words, slotAt(a.memory.layout, a.head))
  return isFull(word) && kindOf(tokenOf(word)) === SEAL
}

/** Points the state at a slot whose tables hold exactly what its header counts. */
export function loadSlot(a: SlotState, slot: number, header: SlotHeader): void {
  const { set, texts } = a
  const { layout } = a.memory
  enterSlot(a, slot)
  a.growth = header.growth
  a.textGrowth = header.textGrowth
  a.flags = header.flags
  a.form = header.form
  a.namespaces.push(...header.namespaces)
  a.filter.fill = header.fill
  set.count = header.count
  set.zero = header.zero
  setCells(a, layout.smallestTable * 2 ** header.growth)
  texts.count = header.textCount
  texts.bytes = header.textBytes
  texts.end = header.textEnd
  setTextCells(a, layout.smallestTextTable * 2 ** header.textGrowth)
}

/**
 * The same, whatever its tables hold. A table is rebuilt. A filter is not, because it has keys that
 * nothing else has; only a turn that is not over goes on.
 */
export function recoverSlot(a: SlotState, slot: number, header: SlotHeader): void {
  loadSlot(a, slot, header)
  const { set, texts, filter } = a
  const { textCount, textBytes, textEnd } = header
  if (a.form !== FORM_EXACT) {
    if (!textsHold(a.words, texts.arena, texts.arena + textEnd, textCount, textBytes))
      throw corruptTextsOf(slot)
    filterCount(filter)
    completeTurn(a)
    publishFill(a)
    return
  }
  set.zero = false
  clearCells(a, set.table, 2 ** (32 - set.shift))
  reindex(a)
  texts.count = 0 // only the end is published for certain
  texts.bytes = 0
  if (textEnd === 0) return // the first text clears the table
  clearCells(a, texts.table, 2 ** (32 - texts.shift))
  reindexTexts(a, textEnd)
}

/** Points the state at a slot without keys. */
export function enterSlot(a: SlotState, slot: number): void {
  const { set, texts } = a
  const { layout } = a.memory
  a.slot = slot
  a.openAt = epochAt(layout, slot)
  a.growth = 0
  a.textGrowth = 0
  a.flags = 0
  a.form = FORM_EXACT
  a.namespaces.length = 0
  a.filter.at = a.openAt + layout.table
  a.filter.fill = 0
  set.log = a.openAt + layout.log
  set.table = a.openAt + layout.table
  set.count = 0
  set.zero = false
  setCells(a, layout.smallestTable)
  texts.arena = a.openAt + layout.arena
  texts.table = a.openAt + layout.textTable
  texts.count = 0
  texts.bytes = 0
  texts.end = 0
  setTextCells(a, layout.smallestTextTable)
}

/** Makes a slot one without keys, whatever it held. `check` is its SLOT_CHECK. */
export function emptySlot(a: SlotState, slot: number, check: number): void {
  const { words, memory } = a
  const at = epochAt(memory.layout, slot)
  words[at + SLOT_ZERO] = 0
  Atomics.store(words, at + SLOT_FORM, FORM_EXACT)
  words[at + SLOT_FILL] = 0
  words[at + SLOT_NAMESPACES] = 0
  words[at + SLOT_FLAGS] = 0
  words[at + SLOT_GROWTH] = 0
  Atomics.store(words, at + SLOT_COUNT, 0)
  Atomics.store(words, at + SLOT_RESTORED, 0)
  words[at + SLOT_TEXT_GROWTH] = 0
  words[at + SLOT_TEXT_COUNT] = 0
  words[at + SLOT_TEXT_BYTES] = 0
  Atomics.store(words, at + SLOT_TEXT_END, 0)
  words[at + SLOT_CHECK] = check
  const table = at + memory.layout.table
  for (let i = 0; i < memory.layout.smallestTable * 2; i++) words[table + i] = 0
}

/**
 * Stores a slot's whole header, with the hash that seals it as that epoch (mod 2^19). The words come
 * from this thread's record. So a word that other code has changed is right again before a thread
 * reads it.
 */
export function storeSlot(a: SlotState, epoch: number): void {
  const { words, set, texts, openAt } = a
  // The check of an open epoch, because the words below may be stored again, with another flag.
  words[openAt + SLOT_CHECK] = openCheckOf(epoch)
  words[openAt + SLOT_EPOCH] = epoch
  Atomics.store(words, openAt + SLOT_FLAGS, a.flags)
  words[openAt + SLOT_NAMESPACES] = a.namespaces.length
  for (let i = 0; i < a.namespaces.length; i++)
    words[openAt + SLOT_NAMESPACES + 1 + i] = a.namespaces[i]
  words[openAt + SLOT_GROWTH] = a.growth
  words[openAt + SLOT_TEXT_GROWTH] = a.textGrowth
  words[openAt + SLOT_TEXT_COUNT] = texts.count
  words[openAt + SLOT_TEXT_BYTES] = texts.bytes
  Atomics.store(words, openAt + SLOT_TEXT_END, texts.end)
  publishCount(a)
  Atomics.store(words, openAt + SLOT_FORM, a.form)
  publishFill(a)
  words[openAt + SLOT_CHECK] = checkOf(epoch, {
    count: set.count,
    growth: a.growth,
    zero: set.zero,
    flags: a.flags,
    textEnd: texts.end,
    textGrowth: a.textGrowth,
    textCount: texts.count,
    textBytes: texts.bytes,
    form: a.form,
    fill: a.filter.fill,
    namespaces: a.namespaces,
  })
}
