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
import type { ConsumerLag } from './lag.js'

/**
 * Tells what one writer has done, by its number: all the threads that had this number since the
 * tracker began. At any quiet moment `marked = delivered + inFlight + staged + suppressed +
 * rejected` and `published = delivered + inFlight`. Counts of keys, exact to 2^53.
 */
export interface WriterStats {
  /** The writer's number: {@link Writer.id}. */
  id: number
  /** A thread has it. */
  open: boolean
  /** Calls that marked a key, also those that were refused. */
  marked: number
  /** Marks published, consumed or not. */
  published: number
  /** Batches published. */
  batches: number
  /** Marked and not published. */
  staged: number
  /** Marks refused: the call returned false, or threw, because the lane was full. */
  rejected: number
  /** How often a mark or a flush slept for room. */
  waits: number
  /** The number of the thread that has it; -1 when none does. */
  threadId: number
  /** Consumed by the aggregator, harvested ones included. */
  delivered: number
  /** Published and not consumed. */
  inFlight: number
  /**
   * Marks of keys that were staged already: one publication serves both. The writer looks for them
   * while at least one mark of ten is such a repetition.
   */
  suppressed: number
  /** The most keys that were in flight when this writer published. */
  inFlightPeak: number
  /** Time slept for room, in ms. */
  waitMs: number
}

/**
 * Tells what a tracker has done so far: see {@link DirtyTracker.stats}. Counts are exact to 2^53.
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
  /** Tokens that the aggregator handled: batches and control tokens. */
  tokens: number
  /** Batches received. */
  batches: number
  /** Keys received in batches, duplicates included. */
  keys: number
  /** Distinct keys in the open epoch. */
  distinct: number
  /** Tokens waiting in the ring now. */
  queued: number
  /** The most tokens that the aggregator found there. It looks every few tokens. */
  queuedPeak: number
  /** Epochs sealed. */
  sealed: number
  /** Epochs restored, also those that the library restores after an abort. */
  restored: number
  /** Epochs committed. */
  committed: number
  /** Epochs with reason 'overflow'. One that is restored into another may count again. */
  overflows: number
  /** Keys that were staged by writers that closed or died. */
  harvested: number
  /** Numbers of the epochs handed out and not settled, oldest first. A growing list is a leak. */
  unsettled: number[]
  /** Keys staged in all open writers. */
  staged: number
  /** Times from the call of advanceEpoch() to the hand-out, of all epochs so far, in ms. */
  sealMs: {
    /** How many times there are. */
    count: number
    /** The mean. */
    mean: number
    /** Half of them took no longer. */
    p50: number
    /** 99 of 100 took no longer. */
    p99: number
    /** The longest. */
    max: number
  }
  /** The named consumers that are open, and how far each is behind: see {@link Consumer.lag}. */
  consumers: ({
    /** The name that it was opened with. */
    name: string
  } & ConsumerLag)[]
  /** Every writer that was opened, by number. */
  writers: WriterStats[]
  /** Bytes of shared memory reserved. */
  bytes: MemoryFootprint
}

/** Reads those of the stats that are in shared memory; on any thread. */
export function readShared(
  memory: Memory,
): Pick<
  TrackerStats,
  'tokens' | 'batches' | 'keys' | 'queued' | 'queuedPeak' | 'harvested' | 'staged' | 'writers'
> {
  const { words, layout } = memory
  const writers: WriterStats[] = []
  for (let id = 0; id < layout.maxWriters; id++) {
    const writer = readWriter(memory, id)
    if (writer.open || writer.marked !== 0) writers.push(writer)
  }
  const queued = Math.max(0, distance(Atomics.load(words, TAIL), Atomics.load(words, HEAD)))
  return {
    tokens: readTotal(words, EVENTS),
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
  // The aggregator may have consumed more than a killed writer had noted as published.
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
