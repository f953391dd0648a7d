import {
  BATCHES,
  EVENTS,
  HARVESTED,
  HEAD,
  KEYS,
  LANE_BATCHES,
  LANE_DELIVERED,
  LANE_IN_FLIGHT_PEAK,
  LANE_OWNER,
  LANE_PUBLISHED,
  LANE_READ_END,
  LANE_REJECTED,
  LANE_STAGED_END,
  LANE_SUPPRESSED,
  LANE_THREAD,
  LANE_WAIT_US,
  LANE_WAITS,
  laneAt,
  QUEUED_PEAK,
  TAIL,
} from '../memory/map.js'
import type { Memory } from '../memory/memory.js'
import { readTotal } from '../memory/total.js'
import type { MemoryFootprint } from '../options.js'
import { distance, isOwned } from '../ring/token.js'

/**
 * One writer, by its number: what all the threads that had this number did since the tracker began.
 * At any quiet moment `marked = delivered + inFlight + staged + suppressed + rejected` and
 * `published = delivered + inFlight`. Counts of keys, exact to 2^53.
 */
export interface WriterStats {
  /** The writer's number: {@link Writer.id}. */
  id: number
  /** Some thread has it. */
  open: boolean
  /** Marks offered. */
  marked: number
  /** Marks published, consumed or not. */
  published: number
  /** Batches published. */
  batches: number
  /** Marked and not published. */
  staged: number
  /** Refused: a mark returned false, or threw for want of room. */
  rejected: number
  /** Times that a mark or a flush slept for room. */
  waits: number
  /** Of the thread that has it; -1 when none does. */
  threadId: number
  /** Consumed by the aggregator, harvested ones included. */
  delivered: number
  /** Published and not consumed. */
  inFlight: number
  /**
   * Marks of keys that were staged already, and are published with them: looked for while a tenth
   * of the marks are such.
   */
  suppressed: number
  /** The most keys that were in flight when this writer published. */
  inFlightPeak: number
  /** Time slept for room, in ms. */
  waitMs: number
}

/**
 * What a tracker has done so far: see {@link DirtyTracker.stats}. Counts, exact to 2^53.
 *
 * @example
 * ```js
 * writer.markMany([1, 2, 2])
 * await tracker.drained()
 * const { keys, distinct, writers } = tracker.stats()
 * console.log(keys, distinct, writers[0].delivered) // 3 2 3
 * ```
 */
export interface TrackerStats {
  /** Number of the open epoch. */
  epoch: number
  /** Tokens the aggregator handled: batches and all others. */
  events: number
  /** Batches received. */
  batches: number
  /** Keys received in batches, duplicates included. */
  keys: number
  /** Distinct keys in the open epoch. */
  distinct: number
  /** Tokens waiting in the ring now. */
  queued: number
  /** The most that the aggregator found there when it looked, every few tokens. */
  queuedPeak: number
  /** Epochs sealed. */
  sealed: number
  /** Of them restored, also by the library itself, after an abort. */
  restored: number
  /** Of them committed. */
  committed: number
  /** Those that said 'overflow'; again, when such a one is restored into another. */
  overflows: number
  /** Keys that were staged by writers that closed or died. */
  harvested: number
  /** Epochs handed out and not settled: ids, oldest first. The leak detector. */
  unsettled: number[]
  /** Keys staged in all open writers. */
  staged: number
  /** From the call of advanceEpoch() to the hand-out, all epochs so far, in ms. */
  sealMs: {
    /** How many there were. */
    count: number
    /** The mean of all. */
    mean: number
    /** Half of them took no longer. */
    p50: number
    /** 99 of 100 took no longer. */
    p99: number
    /** The longest. */
    max: number
  }
  /** Every writer there was, by number. */
  writers: WriterStats[]
  /** Bytes of shared memory reserved. */
  bytes: MemoryFootprint
}

/** What of the stats is in shared memory; any thread. */
export function readShared(
  memory: Memory,
): Pick<
  TrackerStats,
  'events' | 'batches' | 'keys' | 'queued' | 'queuedPeak' | 'harvested' | 'staged' | 'writers'
> {
  const { words, layout } = memory
  const writers: WriterStats[] = []
  for (let id = 0; id < layout.maxWriters; id++) {
    const writer = readWriter(memory, id)
    if (writer.open || writer.marked !== 0) writers.push(writer)
  }
  const queued = Math.max(0, distance(Atomics.load(words, TAIL), Atomics.load(words, HEAD)))
  return {
    events: readTotal(words, EVENTS),
    batches: readTotal(words, BATCHES),
    keys: readTotal(words, KEYS),
    queued,
    queuedPeak: Math.max(words[QUEUED_PEAK], queued),
    harvested: readTotal(words, HARVESTED),
    staged: writers.reduce((sum, { open, staged }) => sum + (open ? staged : 0), 0),
    writers,
  }
}

function readWriter(memory: Memory, id: number): WriterStats {
  const { words } = memory
  const at = laneAt(memory.layout, id)
  const open = isOwned(Atomics.load(words, at + LANE_OWNER))
  const delivered = readTotal(words, at + LANE_DELIVERED)
  const readEnd = Atomics.load(words, at + LANE_READ_END)
  const unread = Math.max(0, (Atomics.load(words, at + LANE_STAGED_END) - readEnd) | 0)
  // A killed writer's `published` may lag behind what was consumed.
  const inFlight = Math.min(
    unread,
    Math.max(0, (Atomics.load(words, at + LANE_PUBLISHED) - readEnd) | 0),
  )
  const rejected = readTotal(words, at + LANE_REJECTED)
  const suppressed = readTotal(words, at + LANE_SUPPRESSED)
  return {
    id,
    open,
    marked: delivered + unread + suppressed + rejected,
    published: delivered + inFlight,
    batches: readTotal(words, at + LANE_BATCHES),
    staged: unread - inFlight,
    rejected,
    waits: readTotal(words, at + LANE_WAITS),
    threadId: open ? Atomics.load(words, at + LANE_THREAD) - 1 : -1,
    delivered,
    inFlight,
    suppressed,
    inFlightPeak: words[at + LANE_IN_FLIGHT_PEAK],
    waitMs: readTotal(words, at + LANE_WAIT_US) / 1000,
  }
}
