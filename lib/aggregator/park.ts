import { PARKED, slotAt } from '../memory/map.js'
import { emptyWord, lapOf } from '../ring/token.js'
import type { Aggregator } from './state.js'

/** Tells whether the ring holds something at head: one load. */
export function hasWork(a: Aggregator): boolean {
  const { words, memory, head } = a
  const { layout } = memory
  return Atomics.load(words, slotAt(layout, head)) !== emptyWord(lapOf(head, layout.capacityBits))
}

/**
 * Announces that this thread is going to sleep, and looks once more. If it returns true, sleep on
 * PARKED while that is 1.
 *
 * A producer fills its ring slot before it loads PARKED. So either the producer sees the 1, or this
 * look sees its token (Dekker's handshake). The sleep has an end only for a producer that dies
 * between the two.
 */
export function announceSleep(a: Aggregator): boolean {
  Atomics.store(a.words, PARKED, 1)
  if (!hasWork(a)) return true
  Atomics.store(a.words, PARKED, 0)
  return false
}

/** Sleeps until a token is published, for `ms` at most. */
export function park(a: Aggregator, ms: number): void {
  if (announceSleep(a)) Atomics.wait(a.words, PARKED, 1, ms)
  Atomics.store(a.words, PARKED, 0)
}
