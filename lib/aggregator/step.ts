import { corrupt } from '../errors.js'
import {
  BATCHES,
  EVENTS,
  FINISHED,
  FLAG_UNPUBLISHED,
  HARVESTED,
  HEAD,
  INTENT_BATCHES,
  INTENT_CHECK,
  INTENT_COUNT,
  INTENT_DELIVERED,
  INTENT_EVENTS,
  INTENT_HARVESTED,
  INTENT_KEYS,
  INTENT_POSITION,
  INTENT_START,
  INTENT_TEXT_START,
  INTENT_TOKENS,
  KEYS,
  LANE_DELIVERED,
  LANE_EVERYTHING,
  LANE_OWNER,
  LANE_STAGED_END,
  laneAt,
  type Layout,
  OWNER,
  slotAt,
} from '../memory/map.js'
import type { Memory } from '../memory/memory.js'
import { saveTotal, setTotal } from '../memory/total.js'
import { freeSlot, GONE, NOTHING, peek } from '../ring/consume.js'
import {
  advance,
  batchCount,
  batchWriter,
  classify,
  CLOSE,
  controlToken,
  distance,
  emptyWord,
  EVERYTHING,
  fullWord,
  isBatch,
  isOwned,
  isSameWriter,
  kindOf,
  lapOf,
  NOP,
  payloadOf,
  POISON,
  REAP,
  SEAL,
  STOP,
  TAKEN,
  tokenOf,
  writerOfPayload,
} from '../ring/token.js'
import { abandon, hasText, holds, takeBatches, takeControl } from './effects.js'
import { beginMerges, stepMerge } from './merges.js'
import { isClean, raiseEverything } from './publish.js'
import { type Aggregator, intentCheck, storeSlot } from './state.js'
import { doChores, signal, tellDirty, wakeEveryWriter } from './wake.js'

/** step(): the ring is empty. */
export const IDLE = 0
/** step(): a token was handled, or a ring slot was put right. Call step() again. */
export const WORKED = 1
/** step(): everything that will ever be published has been delivered. */
export const FINISHED_ALL = 2
/** step(): another aggregator is alive, so this one must stop. */
export const LOST_ROLE = 3

export type StepResult = typeof IDLE | typeof WORKED | typeof FINISHED_ALL | typeof LOST_ROLE

/** Tokens after which the aggregator does its chores although the ring is not empty. */
const TOKENS_PER_CHORES = 16

/**
 * Batches of one writer that follow each other in the ring are handled together. A run has at most
 * this many tokens and keys, and at most half a lane of keys, so that its writer soon has room.
 */
const RUN_TOKENS = 16
const RUN_KEYS = 1024

/**
 * Handles what is at head: one token, or a run of batches of one writer.
 *
 * The thread can die at any instruction, and any call can throw. recover() and another step() then
 * continue from shared memory alone, because each step stores in this order:
 *
 *  1. intent: what the run starts from, and how many tokens and keys it has; last, its position
 *  2. effect: keys into the sets, then their counts; or what the control token asks for, with a guard
 *     against doing it twice
 *  3. readEnd, then the place behind the texts: room for the writer
 *  4. ring slots: EMPTY of the next lap, one after the other; room for all producers
 *  5. head
 *
 * After STOP the ring slots are poisoned instead of freed, so that no publication can succeed in
 * one. After one whole lap of poisoned slots the aggregator has finished.
 */
export function step(a: Aggregator): StepResult {
  const { memory, words, head, stopPosition } = a
  if (a.mergesLeft > 0) {
    mergeOnce(a)
    if (a.mergesLeft > 0 && !mayPassMerges(a)) {
      // The ring may stay as it is until all merges are made, and others wait for what was handled.
      if (a.sinceChores > 0) doChores(a)
      return WORKED
    }
  }
  if (stopPosition >= 0 && head === advance(stopPosition, memory.layout.capacity - 1))
    return finish(a)
  const stopping = stopPosition >= 0 && head !== advance(stopPosition, -1)
  const seen = peek(memory, head)
  if (seen === NOTHING) {
    if (!stopping) return IDLE
    poison(memory, head, emptyWord(lapOf(head, memory.layout.capacityBits)))
    return WORKED // poisoned, or a producer was faster: the next step() finds out which
  }
  if (seen === GONE && !isInHand(a)) {
    if (Atomics.load(words, OWNER) !== a.owner || Atomics.load(words, HEAD) !== head)
      return LOST_ROLE
    throw corrupt(head, words[slotAt(memory.layout, head)])
  }
  const token = tokenOf(seen)
  let tokens = 1
  if (seen !== GONE && token !== POISON_TOKEN) {
    tokens = handle(a, token)
    const isStop = kindOf(token) === STOP
    for (let i = 0; i < tokens && !isStop; i++) {
      const at = advance(head, i)
      const word = i === 0 ? seen : peek(memory, at)
      if (!(stopping ? poison(memory, at, word) : freeSlot(memory, at, word))) return LOST_ROLE
    }
  }
  moveHead(a, tokens)
  a.sinceChores += tokens
  if (a.sinceChores >= TOKENS_PER_CHORES) doChores(a)
  return WORKED
}

function mergeOnce(a: Aggregator): void {
  a.isMerging = true // an exception is then no fault of the token at head
  stepMerge(a)
  a.isMerging = false
}

/**
 * Tells whether the token at head may be handled while merges are left: it then changes the open
 * epoch only. All else waits for their end, because it may need their slots.
 */
function mayPassMerges(a: Aggregator): boolean {
  const { memory, head } = a
  const { layout } = memory
  const word = Atomics.load(a.words, slotAt(layout, head))
  if (classify(word, lapOf(head, layout.capacityBits), layout.capacityBits) !== TAKEN) return false
  const token = tokenOf(word)
  const kind = kindOf(token)
  return isBatch(token) || kind === CLOSE || kind === REAP || kind === EVERYTHING || kind === NOP
}

/**
 * Tells whether the intent names the token at head. Only for such a token can a predecessor have
 * freed the ring slot and not moved the head.
 */
function isInHand(a: Aggregator): boolean {
  const done = distance(a.head, a.intent - 1)
  return a.intent !== 0 && done >= 0 && done < a.tokens
}

const POISON_TOKEN = controlToken(POISON, 0)

/**
 * Makes the ring slot at head FULL for ever: this lap is its last. Returns false if its word is no
 * longer `seen`.
 */
function poison(memory: Memory, head: number, seen: number): boolean {
  const { words, layout } = memory
  const last = fullWord(lapOf(head, layout.capacityBits), POISON_TOKEN)
  return Atomics.compareExchange(words, slotAt(layout, head), seen, last) === seen
}

/** Makes steps 1 to 3 of step(). Returns how many tokens they handled, from head on. */
function handle(a: Aggregator, token: number): number {
  const { words, head } = a
  const { layout } = a.memory
  a.writer = writerOf(layout, token)
  const lane = a.writer < 0 ? -1 : laneAt(layout, a.writer)
  // An intent that names this token was stored by a predecessor that did not finish. Keep it: the
  // effect starts from it once more. If its run began before head, the set has all keys of the run,
  // and the run's ring slots before head are free.
  if (!isInHand(a)) saveIntent(a, token, lane)
  const { tokens } = a
  const done = distance(head, a.intent - 1)
  setTotal(words, EVENTS, INTENT_EVENTS, tokens)
  const kind = kindOf(token)
  const wasClean = isClean(a)
  if (a.skip && kind !== SEAL && kind !== STOP) abandon(a, token, lane)
  else if (isBatch(token)) takeBatches(a, lane)
  else takeControl(a, token, lane)
  if (wasClean && !isClean(a)) tellDirty(a)
  return tokens - done
}

function saveIntent(a: Aggregator, token: number, lane: number): void {
  const { words, head } = a
  // There is no intent until the last store, because the words between would belong to two intents.
  words[INTENT_POSITION] = 0
  saveTotal(words, EVENTS, INTENT_EVENTS)
  saveTotal(words, BATCHES, INTENT_BATCHES)
  saveTotal(words, KEYS, INTENT_KEYS)
  saveTotal(words, HARVESTED, INTENT_HARVESTED)
  a.start = 0
  a.textStart = 0
  a.tokens = 1
  a.count = 0
  if (lane >= 0) {
    a.start = a.readEnds[a.writer]
    a.textStart = a.textReads[a.writer]
    saveTotal(words, lane + LANE_DELIVERED, INTENT_DELIVERED)
    if (isBatch(token)) findRun(a, token, lane)
  }
  a.intent = head + 1
  words[INTENT_START] = a.start
  words[INTENT_TEXT_START] = a.textStart
  words[INTENT_TOKENS] = a.tokens
  words[INTENT_COUNT] = a.count
  words[INTENT_CHECK] = intentCheck(a)
  words[INTENT_POSITION] = a.intent
}

/**
 * Counts the batches from head on that are this writer's, and their keys. It stops before a batch
 * that the lane does not hold, so that a corrupt token fails alone. A lane with texts gets its room
 * back batch by batch, because a batch may have all of its text.
 */
function findRun(a: Aggregator, token: number, lane: number): void {
  const { words, memory, head } = a
  const { layout } = memory
  const { capacityBits } = layout
  const most = Math.min(RUN_KEYS, layout.laneCapacity >>> 1)
  const mostTokens = hasText(a, lane) ? 1 : RUN_TOKENS
  let tokens = 1
  let count = batchCount(layout, token)
  while (tokens < mostTokens) {
    const next = advance(head, tokens)
    const seen = Atomics.load(words, slotAt(layout, next))
    if (classify(seen, lapOf(next, capacityBits), capacityBits) !== TAKEN) break
    const other = tokenOf(seen)
    if (!isSameWriter(layout, token, other)) break
    const more = count + batchCount(layout, other)
    if (more > most || !holds(a, lane, more)) break
    count = more
    tokens++
  }
  a.tokens = tokens
  a.count = count
}

/** The writer that a token names; -1 if it names none, or one that does not exist. */
function writerOf(layout: Layout, token: number): number {
  const kind = kindOf(token)
  let writer = -1
  if (isBatch(token)) writer = batchWriter(layout, token)
  else if (kind === CLOSE || kind === REAP) writer = writerOfPayload(payloadOf(token))
  return writer < layout.maxWriters ? writer : -1
}

function moveHead(a: Aggregator, tokens: number): void {
  a.head = advance(a.head, tokens)
  a.skip = false
  Atomics.store(a.words, HEAD, a.head)
}

/**
 * Ends the last epoch: from here on no producer's compareExchange can succeed. Then come the merges
 * of the last epoch, if there are consumers to merge it for.
 */
function finish(a: Aggregator): StepResult {
  const { words, memory } = a
  const { maxConsumers } = memory.layout
  if (a.jobEpoch !== a.epoch) {
    sealLast(a)
    if (maxConsumers > 0) beginMerges(a, a.epoch)
    if (a.mergesLeft > 0) return WORKED
  }
  Atomics.store(words, FINISHED, 1)
  doChores(a)
  wakeEveryWriter(a)
  signal(a)
  return FINISHED_ALL
}

function sealLast(a: Aggregator): void {
  const { words, memory } = a
  let unpublished = false
  for (let writer = 0; writer < memory.layout.maxWriters; writer++) {
    const lane = laneAt(memory.layout, writer)
    if (!isOwned(Atomics.load(words, lane + LANE_OWNER))) continue
    if (words[lane + LANE_STAGED_END] !== a.readEnds[writer]) unpublished = true
    const everything = Atomics.load(words, lane + LANE_EVERYTHING)
    if (everything !== 0) raiseEverything(a, everything)
  }
  if (unpublished) a.flags |= FLAG_UNPUBLISHED
  storeSlot(a, a.epoch)
}
