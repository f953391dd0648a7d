import { corrupt, corruptLane } from '../errors.js'
import { LANE_READ_END, PARKED, slotAt, TAIL } from '../memory/map.js'
import type { Memory } from '../memory/memory.js'
import { advance, classify, emptyWord, fullWord, lapOf, PASSED, TAKEN, UNKNOWN } from './token.js'

/**
 * Any thread: puts one token into the ring. Returns false if the ring is full.
 *
 * The claim is the publication: a ring slot's word goes from EMPTY(lap) to FULL(lap, token) in one
 * compareExchange. So no producer can die between the two. The tail only says where to look first.
 * A producer that finds a ring slot taken moves the tail on for one that died before it did.
 *
 * The laps come from Dmitry Vyukov's bounded MPMC queue, which numbers its cells in the same way.
 * It claims and publishes in two steps, because its cells hold more than a word. KVM's dirty ring
 * is the model for a ring of what has changed.
 *
 * A writer's publish() in ring/lane.ts is this loop again, written out: no call may stand between
 * the compareExchange of its ring slot and the next statement.
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
 * What a producer does about a ring slot that is not EMPTY(lap). Returns true if it must look at
 * the tail again, and false if the ring is full.
 */
export function lookAgain(memory: Memory, tail: number, seen: number, lap: number): boolean {
  const { words } = memory
  const kind = classify(seen, lap, memory.layout.capacityBits)
  if (kind === TAKEN || kind === PASSED) {
    // A producer filled it and has not moved the tail; the consumer may even have freed it: help.
    Atomics.compareExchange(words, TAIL, tail, advance(tail, 1))
    return true
  }
  // FULL of the lap before: the ring is full. EMPTY of an earlier lap: the tail overtook this slot,
  // and peek() heals it. Both hold only if the tail was not stale. A corrupt word that looks like
  // the lap before is found in peek(), when the aggregator comes to it.
  if (Atomics.load(words, TAIL) !== tail) return true
  if (kind === UNKNOWN) throw corrupt(tail, seen) // never run the tail forward over an unknown word
  return false
}

/** Any thread: moves the tail behind all tokens that are in the ring now. Returns that position. */
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
 * Wakes the aggregator after a token was put in. It costs one load unless the aggregator sleeps,
 * because `notify` takes a process-wide lock even if no thread waits.
 */
export function wakeAggregator(words: Memory['words']): void {
  // Notify all waiters: a waitAsync of the last sleep, which a timer ended, may still stand in the
  // queue before the present one.
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
