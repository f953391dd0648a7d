import { corrupt, corruptTail } from '../errors.js'
import { slotAt, TAIL } from '../memory/map.js'
import type { Memory } from '../memory/memory.js'
import {
  advance,
  BEHIND_FULL,
  classify,
  controlToken,
  distance,
  emptyWord,
  fullWord,
  lapOf,
  NOP,
  PASSED,
  TAKEN,
} from './token.js'

/** peek(): the ring is empty. */
export const NOTHING = 0
/** peek(): a predecessor freed this ring slot and died before it moved the head. Move the head. */
export const GONE = -1

/**
 * The ring's one consumer: returns the FULL word at its head, or NOTHING, or GONE.
 *
 * @throws ERR_DIRTYRING_CORRUPT
 */
export function peek(memory: Memory, head: number): number {
  const { words, layout } = memory
  const lap = lapOf(head, layout.capacityBits)
  const slot = slotAt(layout, head)
  for (;;) {
    const seen = Atomics.load(words, slot)
    if (seen === emptyWord(lap)) {
      const ahead = distance(Atomics.load(words, TAIL), head)
      // The tail falls behind by the token of a producer that died before it moved the tail. After
      // STOP it also falls behind by the last lap, which no producer fills.
      if (Math.abs(ahead) > layout.capacity * 2) throw corruptTail(advance(head, ahead), head)
      if (ahead <= 0) return NOTHING
      // The tail has overtaken this slot, because a producer slept through 2^30 tokens between two
      // instructions. No producer would fill the slot any more.
      Atomics.compareExchange(words, slot, seen, fullWord(lap, controlToken(NOP, 0)))
      continue
    }
    const kind = classify(seen, lap, layout.capacityBits)
    if (kind === TAKEN) return seen
    if (kind === PASSED) return GONE
    // Freed, and filled in the next lap, if the tail has come so far: GONE. Any other such word
    // would hold up the ring for good.
    if (kind === BEHIND_FULL && distance(Atomics.load(words, TAIL), head) >= layout.capacity)
      return GONE
    throw corrupt(head, seen)
  }
}

/**
 * Makes the ring slot at head EMPTY for its next lap. Returns false if its word is no longer what
 * peek() returned, because then another thread consumes too.
 */
export function freeSlot(memory: Memory, head: number, seen: number): boolean {
  const { words, layout } = memory
  const slot = slotAt(layout, head)
  const next = emptyWord(lapOf(advance(head, layout.capacity), layout.capacityBits))
  return Atomics.compareExchange(words, slot, seen, next) === seen
}
