import { HEAD, LANE_OWNER, LANE_READ_END, LANE_STAGED_END, laneAt, PARKED } from '../memory/map.js'
import type { Memory } from '../memory/memory.js'
import { freeSlot, GONE, NOTHING, peek } from './consume.js'
import { freeLane } from './lane.js'
import {
  advance,
  batchCount,
  batchWriter,
  CLOSE,
  generationOf,
  generationOfPayload,
  isBatch,
  kindOf,
  payloadOf,
  tokenOf,
  writerOfPayload,
} from './token.js'

/** The token at a BatchRing's head, in the consumer's hand. */
export interface TakenToken {
  readonly position: number
  /** The ring slot's word. */
  readonly seen: number
  /** Word index of the lane of a batch; -1 for any other token. */
  readonly lane: number
  readonly producer: number
  /** The batch's keys begin at this end of the lane. */
  readonly start: number
  readonly count: number
}

/**
 * The consumer of a BatchRing: returns the oldest token, or undefined if the ring is empty. Frees
 * the producer's lane if the token is a CLOSE.
 */
export function takeToken(memory: Memory): TakenToken | undefined {
  const { words, layout } = memory
  const position = Atomics.load(words, HEAD)
  const seen = peek(memory, position)
  if (seen === NOTHING) return undefined
  const token = seen === GONE ? 0 : tokenOf(seen)
  if (isBatch(token)) {
    const producer = batchWriter(layout, token)
    const lane = laneAt(layout, producer)
    return {
      position,
      seen,
      lane,
      producer,
      start: words[lane + LANE_READ_END],
      count: batchCount(layout, token),
    }
  }
  if (kindOf(token) === CLOSE) closeProducer(memory, payloadOf(token))
  return { position, seen, lane: -1, producer: -1, start: 0, count: 0 }
}

/** Passes a token: gives its producer the room back, and frees its ring slot. */
export function passToken(memory: Memory, token: TakenToken): void {
  const { words } = memory
  const { position, seen, lane, start, count } = token
  if (lane >= 0) Atomics.store(words, lane + LANE_READ_END, (start + count) | 0)
  if (seen !== GONE) freeSlot(memory, position, seen)
  Atomics.store(words, HEAD, advance(position, 1))
}

function closeProducer(memory: Memory, payload: number): void {
  const { words, layout } = memory
  const lane = laneAt(layout, writerOfPayload(payload))
  const owner = Atomics.load(words, lane + LANE_OWNER)
  if (generationOf(owner) !== generationOfPayload(payload)) return
  Atomics.store(words, lane + LANE_READ_END, words[lane + LANE_STAGED_END])
  freeLane(words, lane, owner, 0)
}

/**
 * The consumer of a BatchRing: passes the tokens that are no batch. Returns true if a batch is at
 * the head then, and false if the ring is empty.
 */
export function findBatch(memory: Memory): boolean {
  for (;;) {
    const token = takeToken(memory)
    if (token === undefined) return false
    if (token.lane >= 0) return true
    passToken(memory, token)
  }
}

/**
 * The consumer of a BatchRing: announces that it is going to sleep, and looks once more. If it
 * returns true, sleep on PARKED while that is 1. The handshake is that of announceSleep() in
 * aggregator/park.ts.
 *
 * The word stays 1 when no producer has set it to 0, because another sleep of the same thread may
 * stand on it. The next producer then notifies once too often.
 */
export function announceConsumerSleep(memory: Memory): boolean {
  Atomics.store(memory.words, PARKED, 1)
  return !findBatch(memory)
}

/** Sleeps until a batch is published, for `ms` at most. Returns true if there is a batch. */
export function sleepForBatch(memory: Memory, ms: number): boolean {
  if (!announceConsumerSleep(memory)) return true
  Atomics.wait(memory.words, PARKED, 1, ms)
  return findBatch(memory)
}
