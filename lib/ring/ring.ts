import { corrupt, corruptLane } from '../errors.js'
import { LANE_READ_END, PARKED, slotAt, TAIL } from '../memory/map.js'
import type { Memory } from '../memory/memory.js'
import { advance, classify, emptyWord, fullWord, lapOf, PASSED, TAKEN, UNKNOWN } from './token.js'

/**
 * Any thread: put one token into the ring. False when the ring is full.
 *
 * The claim is the publication: a slot's word goes from EMPTY(lap) to FULL(lap, token) in one
 * compareExchange, so nobody can be found halfway. The tail only says where to look first; whoever
 * finds a slot taken moves it on for whoever did not get to.
 *
 * A writer's publish() in ring/lane.ts is this loop again, written out: nothing may stand between
 * its slot's compareExchange and its next statement.
 */
export function push(memory: Memory, token: number): boolean {
  const { words, layout } = memory
  for (;;) {
    const tail = Atomics.load(words, TAIL)
    const lap = lapOf(tail, layout.capacityBits)
    const slot = slotAt(layout, tail)
    const seen = Atomics.load(words, slot)
    if (seen === emptyWord(lap)) {
      if (Atomics.compareExchange(words, slot, seen, fullWord(lap, token)) === seen) {
        // ^ linearization point of the token
        Atomics.compareExchange(words, TAIL, tail, advance(tail, 1))
        wakeAggregator(words)
        return true
      }
    } else if (!lookAgain(memory, tail, seen, lap)) {
      return false
    }
  }
}

/**
 * What a producer does about a slot that is not EMPTY(lap): true, look at the tail again; false,
 * the ring is full.
 */
export function lookAgain(memory: Memory, tail: number, seen: number, lap: number): boolean {
  const { words } = memory
  const kind = classify(seen, lap, memory.layout.capacityBits)
  if (kind === TAKEN || kind === PASSED) {
    // Somebody filled it and did not move the tail, or it has even been consumed since: help.
    Atomics.compareExchange(words, TAIL, tail, advance(tail, 1))
    return true
  }
  // Of the lap before: full. EMPTY of an earlier lap: the tail overtook, which the aggregator is
  // about to heal. Either, if the tail was not stale. A corrupt word that looks like the lap before
  // is found in peek(), when the aggregator comes to it.
  if (Atomics.load(words, TAIL) !== tail) return true
  if (kind === UNKNOWN) throw corrupt(tail, seen) // never run the tail forward over an unknown word
  return false
}

/** Any thread: the position after everything that is in the ring now, with the tail moved there. */
export function settledTail(memory: Memory): number {
  const { words, layout } = memory
  for (;;) {
    const tail = Atomics.load(words, TAIL)
    const lap = lapOf(tail, layout.capacityBits)
    const seen = Atomics.load(words, slotAt(layout, tail))
    if (seen === emptyWord(lap) || !lookAgain(memory, tail, seen, lap)) return tail
  }
}

/**
 * After a token was put in: one load, unless the aggregator sleeps. `notify` takes a process-wide
 * lock even with nobody there.
 */
export function wakeAggregator(words: Memory['words']): void {
  // Everybody: beside the one who sleeps a waitAsync of its last sleep, which a timer ended, may
  // still be in the queue, and before it.
  if (Atomics.load(words, PARKED) !== 0 && Atomics.compareExchange(words, PARKED, 1, 0) === 1)
    Atomics.notify(words, PARKED)
}

/**
 * A writer: how far the aggregator has read its lane, which holds the keys up to `end`.
 *
 * @throws ERR_DIRTYRING_CORRUPT when that is beyond what was staged, or more than a lane behind it.
 */
export function readEndOf(memory: Memory, header: number, end: number): number {
  const readEnd = Atomics.load(memory.words, header + LANE_READ_END)
  const unread = (end - readEnd) | 0
  if (unread < 0 || unread > memory.layout.laneCapacity) throw corruptLane(readEnd, end)
  return readEnd
}
