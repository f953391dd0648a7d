import { corrupt, corruptTextsOf, type DirtyRingError } from '../errors.js'
import {
  BATCHES,
  CUR,
  epochAt,
  FLAG_FAULT,
  FORM_FILTER,
  HARVESTED,
  INTENT_BATCHES,
  INTENT_DELIVERED,
  INTENT_HARVESTED,
  INTENT_KEYS,
  INTENT_TEXT_END,
  KEYS,
  LANE_DELIVERED,
  LANE_EVERYTHING,
  LANE_KEYS,
  LANE_OWNER,
  LANE_READ_END,
  LANE_STAGED_END,
  LANE_TEXT,
  LANE_TEXT_READ,
  SLOT_RESTORED,
  slotAt,
  STOP_POSITION,
  STOPPED,
} from '../memory/map.js'
import { openCheckOf, readSealedSlot, readSlot } from '../memory/slot.js'
import { setTotal } from '../memory/total.js'
import { freeLane } from '../ring/lane.js'
import {
  advance,
  CLOSE,
  curWord,
  EPOCH_MASK,
  epochDistance,
  epochOfPayload,
  EVERYTHING,
  generationOf,
  generationOfPayload,
  isBatch,
  kindOf,
  NO_KIND,
  NOP,
  payloadOf,
  POISON,
  REAP,
  RESTORE,
  SEAL,
  slotOfPayload,
  STOP,
} from '../ring/token.js'
import { filterWords } from '../set/filter.js'
import { textsHold } from '../set/text-set.js'
import { beginMerges } from './merges.js'
import { insertKeys } from './open-epoch.js'
import { publishCount, raiseEverything, raiseFlag, raiseFlags } from './publish.js'
import { type Aggregator, emptySlot, enterSlot, storeSlot } from './state.js'
import { addFilter, turn } from './superset.js'
import { insertMixed, insertRecords, passTexts } from './texts.js'
import { signal } from './wake.js'

/** The batches of the intent: puts the writer's next keys into the open epoch. */
export function takeBatches(a: Aggregator, lane: number): void {
  const { words } = a
  if (lane < 0) throw corruptToken(a)
  const { start, count } = a
  // a predecessor did it, and died before it freed the ring slots
  if (a.readEnds[a.writer] !== start) {
    giveTextRoom(a, lane, words[INTENT_TEXT_END])
    return
  }
  if (!holds(a, lane, count)) {
    throw new Error(
      `a batch of ${count} keys, ` +
        `where its lane holds ${(words[lane + LANE_STAGED_END] - start) | 0}`,
    )
  }
  insertLane(a, lane, start, count)
  publishCount(a)
  passBatches(a, lane)
}

/** Tells whether a lane holds so many keys from the intent's start on. */
export function holds(a: Aggregator, lane: number, count: number): boolean {
  const { words, start, writer } = a
  const { layout } = a.memory
  if (((a.stagedSeen[writer] - start) | 0) >= count) return true
  const staged = words[lane + LANE_STAGED_END]
  const there = (staged - start) | 0
  if (there < count || there > layout.laneCapacity) return false
  a.stagedSeen[writer] = staged
  return true
}

/** Counts the batches of the intent, and gives their writer room. */
function passBatches(a: Aggregator, lane: number): void {
  const { words } = a
  setTotal(words, BATCHES, INTENT_BATCHES, a.tokens)
  setTotal(words, KEYS, INTENT_KEYS, a.count)
  passKeys(a, lane, a.count)
}

function passKeys(a: Aggregator, lane: number, n: number): void {
  const { words } = a
  setTotal(words, lane + LANE_DELIVERED, INTENT_DELIVERED, n)
  giveRoom(a, lane, (a.start + n) | 0)
}

/**
 * The room for keys first: as long as LANE_READ_END is the intent's start, a successor reads the
 * keys again, and their texts. Once it is not, the successor needs the place that only the intent
 * has.
 */
function giveRoom(a: Aggregator, lane: number, readEnd: number): void {
  const { words, textEnd } = a
  words[INTENT_TEXT_END] = textEnd
  a.readEnds[a.writer] = readEnd
  Atomics.store(words, lane + LANE_READ_END, readEnd)
  giveTextRoom(a, lane, textEnd)
}

function giveTextRoom(a: Aggregator, lane: number, textEnd: number): void {
  if (a.textReads[a.writer] === textEnd) return
  a.textReads[a.writer] = textEnd
  Atomics.store(a.words, lane + LANE_TEXT_READ, textEnd)
}

/** All other tokens. Each can be done again from its beginning: its guard says what was done. */
export function takeControl(a: Aggregator, token: number, lane: number): void {
  const payload = payloadOf(token)
  switch (kindOf(token)) {
    case SEAL:
      seal(a, slotOfPayload(payload), epochOfPayload(payload))
      break
    case RESTORE:
      restore(a, slotOfPayload(payload), epochOfPayload(payload))
      break
    case EVERYTHING:
      raiseEverything(a, payload + 1)
      break
    case CLOSE:
    case REAP:
      free(a, lane, generationOfPayload(payload))
      break
    case STOP:
      if (a.stopPosition >= 0) break
      Atomics.store(a.words, STOPPED, 1)
      Atomics.store(a.words, STOP_POSITION, advance(a.head, 1) + 1)
      a.stopPosition = advance(a.head, 1)
      break
    case NOP:
      break
    // step() passes a POISON by: another one was put into the ring.
    case POISON:
    case NO_KIND:
      throw corruptToken(a)
  }
  signal(a)
}

/**
 * SEAL(slot, epoch): the tokens after it belong to `epoch`, in the epoch slot `slot`. The tracker
 * made the cut when it put the token into the ring. The aggregator seals the open epoch here. ZFS
 * closes its transaction groups in the same way: one is open while earlier ones are written out.
 */
function seal(a: Aggregator, slot: number, epoch: number): void {
  const { words, memory } = a
  const { layout } = memory
  // otherwise a predecessor did it, and died before it freed the token's ring slot
  if (epoch !== a.epoch || slot !== a.slot) {
    if (epochDistance(epoch, a.epoch) !== 1 || slot >= layout.epochSlots || slot === a.slot)
      throw corruptToken(a)
    storeSlot(a, a.epoch)
    emptySlot(a, slot, openCheckOf(epoch))
    a.lastTextGrowth = a.textGrowth
    a.lastGrowth = a.growth
    Atomics.store(words, CUR, curWord(epoch, slot))
    a.epoch = epoch
    enterSlot(a, slot)
  }
  if (layout.maxConsumers > 0) beginMerges(a, (epoch - 1) & EPOCH_MASK)
}

/**
 * RESTORE(slot, epoch): puts a sealed epoch's keys, and its reasons not to be exact, into the open
 * epoch. A superset makes a superset of it. Before that come the keys that it lists, as long as the
 * open epoch lists keys.
 */
function restore(a: Aggregator, slot: number, epoch: number): void {
  const { words, memory } = a
  const header = readSealedSlot(memory, slot, epoch)
  const { count, textEnd, textCount, textBytes } = header
  const at = epochAt(memory.layout, slot)
  if (Atomics.load(words, at + SLOT_RESTORED) === epoch + 1) return
  const arena = at + memory.layout.arena
  if (!textsHold(words, arena, arena + textEnd, textCount, textBytes)) throw corruptTextsOf(slot)
  const log = at + memory.layout.log
  insertKeys(a, log, log + count * 2)
  publishCount(a)
  if (textEnd > 0) insertRecords(a, arena, arena + textEnd)
  if (header.form === FORM_FILTER) {
    turn(a)
    addFilter(a, slot, 0, filterWords(a.filter))
  }
  raiseFlags(a, header)
  Atomics.store(words, at + SLOT_RESTORED, epoch + 1)
}

/**
 * CLOSE and REAP(writer, generation): harvests the keys that the writer staged and did not publish,
 * and frees its lane.
 */
function free(a: Aggregator, lane: number, generation: number): void {
  const { words, memory } = a
  if (lane < 0) throw corruptToken(a)
  const owner = Atomics.load(words, lane + LANE_OWNER)
  if (generationOf(owner) !== generation) return
  const { start } = a
  const n = (words[lane + LANE_STAGED_END] - start) | 0
  if (n < 0 || n > memory.layout.laneCapacity)
    throw new Error(`a lane holds ${n} keys, of ${memory.layout.laneCapacity} that it can`)
  insertLane(a, lane, start, n)
  publishCount(a)
  const everything = Atomics.load(words, lane + LANE_EVERYTHING)
  if (everything !== 0) raiseEverything(a, everything)
  setTotal(words, HARVESTED, INTENT_HARVESTED, n)
  passKeys(a, lane, n)
  freeLane(words, lane, owner, n)
}

/**
 * Gives up on a token that failed again and again. The epoch says so, and no thread waits for the
 * token for ever.
 */
export function abandon(a: Aggregator, token: number, lane: number): void {
  const { words, memory } = a
  const { layout } = memory
  raiseFlag(a, FLAG_FAULT)
  const payload = payloadOf(token)
  if (isBatch(token)) {
    if (a.readEnds[a.writer] !== a.start) {
      giveTextRoom(a, lane, words[INTENT_TEXT_END])
      return
    }
    // Without its keys' number the aggregator would take each later batch for other keys.
    if (!holds(a, lane, a.count)) throw corruptToken(a)
    passLane(a, lane, a.count)
    passBatches(a, lane)
  } else if (kindOf(token) === RESTORE) {
    const slot = slotOfPayload(payload)
    readSlot(memory, slot)
    Atomics.store(words, epochAt(layout, slot) + SLOT_RESTORED, epochOfPayload(payload) + 1)
  } else if (lane >= 0) {
    const owner = Atomics.load(words, lane + LANE_OWNER)
    if (generationOf(owner) !== generationOfPayload(payload)) return
    const staged = words[lane + LANE_STAGED_END]
    const n = (staged - a.start) | 0
    a.textEnd = a.textStart
    if (n >= 0 && n <= layout.laneCapacity) {
      passLane(a, lane, n)
      passKeys(a, lane, n)
    } else {
      giveRoom(a, lane, staged)
    }
    freeLane(words, lane, owner, 0)
  }
  signal(a)
}

/** The error for a token at head that no part of the library puts into the ring. */
function corruptToken(a: Aggregator): DirtyRingError {
  return corrupt(a.head, a.words[slotAt(a.memory.layout, a.head)])
}

/**
 * Tells whether a lane has texts. While it has none, their memory is not touched. The word may be
 * newer than the keys in hand, which have no texts then; it is never older than one that has. It is
 * read again by an atomic load, which is ordered behind the NO_TEXT that the writer put into the
 * ring before it.
 */
export function hasText(a: Aggregator, lane: number): boolean {
  const { words, memory } = a
  if (memory.layout.laneTextWords === 0 || words[lane + LANE_TEXT] === 0) return false
  return Atomics.load(words, lane + LANE_TEXT) !== 0
}

/** Finds where the texts of the keys [a.start .. a.start + n) end, and inserts nothing. */
function passLane(a: Aggregator, lane: number, n: number): void {
  if (hasText(a, lane)) passTexts(a, lane, a.start, n)
  else a.textEnd = a.textStart
}

/** Inserts the keys [start .. start + n) of a lane. They may run across the lane's end. */
function insertLane(a: Aggregator, lane: number, start: number, n: number): void {
  if (hasText(a, lane)) {
    insertMixed(a, lane, start, n)
    return
  }
  a.textEnd = a.textStart
  const { laneCapacity } = a.memory.layout
  const first = start & (laneCapacity - 1)
  const keys = lane + LANE_KEYS
  const run = Math.min(n, laneCapacity - first)
  insertKeys(a, keys + first * 2, keys + (first + run) * 2)
  if (run < n) insertKeys(a, keys, keys + (n - run) * 2)
}
