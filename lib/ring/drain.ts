import { HEAD, LANE_OWNER, LANE_READ_END, LANE_STAGED_END, laneAt } from '../memory/map.js'
import type { Memory } from '../memory/memory.js'
import { freeSlot, GONE, NOTHING, peek } from './consume.js'
import { freeLane } from './lane.js'
import {
  advance,
  BATCH,
  CLOSE,
  GENERATION_BITS,
  GENERATION_MASK,
  KIND_SHIFT,
  PAYLOAD_MASK,
  THREAD_BITS,
  tokenOf,
} from './token.js'

/** The token at a BatchRing's head, in the consumer's hand. */
export interface TakenToken {
  readonly position: number
  /** The ring slot's word. */
  readonly seen: number
  /** Word index of the lane of a batch; -1 for any other token. */
  readonly lane: number
  readonly producer: number
  /** The batch's keys: from this end on, so many. */
  readonly start: number
  readonly count: number
}

/**
 * The consumer of a BatchRing: the oldest token; undefined when there is none. A CLOSE is done with
 * here.
 */
export function takeToken(memory: Memory): TakenToken | undefined {
  const { words, layout } = memory
  const position = Atomics.load(words, HEAD)
  const seen = peek(memory, position)
  if (seen === NOTHING) return undefined
  const token = seen === GONE ? 0 : tokenOf(seen)
  if ((token & BATCH) !== 0) {
    const producer = (token & (BATCH - 1)) >>> layout.laneBits
    const lane = laneAt(layout, producer)
    return {
      position,
      seen,
      lane,
      producer,
      start: words[lane + LANE_READ_END],
      count: (token & (layout.laneCapacity - 1)) + 1,
    }
  }
  if (token >>> KIND_SHIFT === CLOSE) closeProducer(memory, token & PAYLOAD_MASK)
  return { position, seen, lane: -1, producer: -1, start: 0, count: 0 }
}

/** The token is done with: its producer has the room back, and its ring slot is free. */
export function passToken(memory: Memory, token: TakenToken): void {
  const { words } = memory
  const { position, seen, lane, start, count } = token
  if (lane >= 0) Atomics.store(words, lane + LANE_READ_END, (start + count) | 0)
  if (seen !== GONE) freeSlot(memory, position, seen)
  Atomics.store(words, HEAD, advance(position, 1))
}

function closeProducer(memory: Memory, payload: number): void {
  const { words, layout } = memory
  const lane = laneAt(layout, payload >>> GENERATION_BITS)
  const owner = Atomics.load(words, lane + LANE_OWNER)
  if (owner >>> THREAD_BITS !== (payload & GENERATION_MASK)) return
  Atomics.store(words, lane + LANE_READ_END, words[lane + LANE_STAGED_END])
  freeLane(words, lane, owner, 0)
}
