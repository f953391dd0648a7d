import {
  CUR,
  epochAt,
  HEAD,
  LANE_OWNER,
  LANE_PUBLISHED,
  LANE_READ_END,
  LANE_STAGED_END,
  laneAt,
  SLOT_CHECK,
  slotAt,
  TAIL,
} from '../memory/map.js'
import type { Memory } from '../memory/memory.js'
import { openCheckOf } from '../memory/slot.js'
import { beginTotal } from '../memory/total.js'
import { advance, curWord, emptyWord, EPOCH_MASK, freeOwner, lapOf } from './token.js'

/**
 * Where the counters begin, which otherwise begin at 0. With it a check can begin just below the
 * wrap of each.
 */
export interface Start {
  /** Ring position, 30 bits. */
  readonly position?: number
  /** The three ends of every lane, 32 bits. */
  readonly laneEnd?: number
  /** Epoch number; the memory keeps 19 bits of it. */
  readonly epoch?: number
  /** Every lane's generation, 13 bits. */
  readonly generation?: number
  /** Words of totals (map.ts), with the value each begins at. */
  readonly totals?: readonly (readonly [at: number, value: number])[]
}

/**
 * Brings fresh memory to the state after so many tokens, keys, epochs and owners. Call it before
 * any other thread has the memory.
 */
export function startAt(memory: Memory, start: Start): void {
  const { words, layout } = memory
  const { position = 0, laneEnd = 0, epoch = 0, generation = 0, totals = [] } = start
  for (let i = 0; i < layout.capacity; i++) {
    const next = advance(position, i)
    words[slotAt(layout, next)] = emptyWord(lapOf(next, layout.capacityBits))
  }
  words[TAIL] = position
  words[HEAD] = position
  words[CUR] = curWord(epoch & EPOCH_MASK, 0)
  if (layout.epochSlots > 0)
    words[epochAt(layout, 0) + SLOT_CHECK] = openCheckOf(epoch & EPOCH_MASK)
  for (let writer = 0; writer < layout.maxWriters; writer++) {
    const lane = laneAt(layout, writer)
    words[lane + LANE_OWNER] = freeOwner(generation)
    words[lane + LANE_STAGED_END] = laneEnd
    words[lane + LANE_PUBLISHED] = laneEnd
    words[lane + LANE_READ_END] = laneEnd
  }
  for (const [at, value] of totals) beginTotal(words, at, value)
}
