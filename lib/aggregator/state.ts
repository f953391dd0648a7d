import { DirtyRingError } from '../errors.js'
import {
  CUR,
  epochAt,
  HEAD,
  LANE_READ_END,
  laneAt,
  OWNER,
  SECRETS,
  SLOT_COUNT,
  SLOT_GROWTH,
  STOP_POSITION,
  type SharedWords,
} from '../memory/map.js'
import type { Memory } from '../memory/memory.js'
import { EPOCH_BITS, EPOCH_MASK } from '../ring/token.js'
import { indexLog, shiftFor, type SetState } from '../set/kernel.js'
import { secretsAt } from '../set/mix.js'
import { clearTable, keysAt, reportProgress } from './table.js'
import { wakeEveryWriter } from './wake.js'

/**
 * What the one thread that has the aggregator's role knows. All of it is a copy of shared words, or follows from them: recover() makes it anew, after a
 * death on another thread as after an exception on this one.
 */
export interface Aggregator {
  readonly memory: Memory
  readonly words: SharedWords
  /** Thread id + 1: what OWNER holds while the role is this thread's. */
  readonly owner: number
  /** Position of the next token. */
  head: number
  /** Position after the STOP token; -1 until there was one. */
  stopPosition: number
  /** Number of the open epoch, modulo 2^19. */
  epoch: number
  /** Its slot, and the word index of that slot's header. */
  slot: number
  slotAt: number
  /** Its keys. */
  readonly set: SetState
  /** SLOT_GROWTH of the epoch before it, as far as this thread knows: a guess at what it will need. */
  lastGrowth: number
  /** Of each lane, a LANE_STAGED_END that was read: its line is the writer's, and taking it away costs both sides. */
  readonly stagedSeen: Int32Array
  /** Tokens handled since writers were last looked after. */
  sinceChores: number
  /** Give up on the token at `head`: it has failed too often. */
  skip: boolean
}

/** Take the role, or say that somebody has it. The state is not usable before recover(). */
export function takeRole(memory: Memory, threadId: number): Aggregator {
  const { words } = memory
  const owner = threadId + 1
  const holder = Atomics.compareExchange(words, OWNER, 0, owner)
  if (holder !== 0) {
    throw new DirtyRingError('ERR_DIRTYRING_AGGREGATOR_TAKEN', `the aggregator runs already, on thread ${holder - 1}`)
  }
  Atomics.notify(words, OWNER)
  return newAggregator(memory, owner)
}

/** Give it back. */
export function leaveRole(a: Aggregator): void {
  Atomics.compareExchange(a.words, OWNER, a.owner, 0)
}

function newAggregator(memory: Memory, owner: number): Aggregator {
  const { words } = memory
  const set: SetState = {
    words,
    log: 0,
    table: 0,
    shift: 0,
    limit: 0,
    count: 0,
    zero: false,
    native: undefined,
    ...secretsAt(words, SECRETS),
  }
  const stagedSeen = new Int32Array(memory.layout.maxWriters)
  return {
    memory,
    words,
    owner,
    head: 0,
    stopPosition: -1,
    epoch: 0,
    slot: 0,
    slotAt: 0,
    set,
    lastGrowth: 0,
    stagedSeen,
    sinceChores: 0,
    skip: false,
  }
}

/**
 * Make the state from shared memory alone: after taking the role, and after anything that interrupted a step. The open epoch's table is rebuilt from the
 * log's published count, so what an interrupted step left in the table but not in the log is gone, and doing the step again finds those keys new.
 */
export function recover(a: Aggregator): void {
  const { words } = a
  a.head = Atomics.load(words, HEAD)
  a.stopPosition = Atomics.load(words, STOP_POSITION) - 1
  a.sinceChores = 0
  for (let writer = 0; writer < a.stagedSeen.length; writer++) a.stagedSeen[writer] = words[laneAt(a.memory.layout, writer) + LANE_READ_END]
  enterEpoch(a, Atomics.load(words, CUR))
  clearTable(a, 0, 2 ** (32 - a.set.shift))
  reindex(a)
  wakeEveryWriter(a)
}

/** Point the state at the open epoch that a CUR word names. */
export function enterEpoch(a: Aggregator, cur: number): void {
  const { words, set } = a
  const { layout } = a.memory
  a.slot = cur & 15
  a.epoch = (cur >>> 4) & EPOCH_MASK
  a.slotAt = epochAt(layout, a.slot)
  set.log = a.slotAt + layout.log
  set.table = a.slotAt + layout.table
  set.count = Atomics.load(words, a.slotAt + SLOT_COUNT)
  setCells(a, layout.smallestTable * 2 ** words[a.slotAt + SLOT_GROWTH])
}

/** The CUR word for an epoch in a slot. */
export function curWord(epoch: number, slot: number): number {
  return ((epoch & ((1 << EPOCH_BITS) - 1)) << 4) | slot
}

export function setCells(a: Aggregator, cells: number): void {
  a.set.shift = shiftFor(cells)
  a.set.limit = keysAt(a.memory.layout, cells)
}

/** Enter the whole log into the table, which is clear. */
export function reindex(a: Aggregator): void {
  const { set } = a
  set.zero = false
  for (let from = 0; from < set.count; from += 4096) {
    indexLog(set, from, Math.min(from + 4096, set.count))
    reportProgress(a.words)
  }
}
