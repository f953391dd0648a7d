import { PARKED, slotAt } from '../memory/map.js'
import { emptyWord, lapOf } from '../ring/token.js'
import type { Aggregator } from './state.js'

/** Whether the ring holds something at head: one load. */
export function hasWork(a: Aggregator): boolean {
  const { words, memory, head } = a
  const { layout } = memory
  return Atomics.load(words, slotAt(layout, head)) !== emptyWord(lapOf(head, layout.capacityBits))
}

/**
 * Say that this thread is going to sleep, and look once more. True: sleep on PARKED while it is 1.
 * A publisher fills its slot before it loads PARKED, so either it sees the 1, or this look sees its
 * token: no publication needs the sleep's end. The end is for publishers that die between the two.
 */
export function announceSleep(a: Aggregator): boolean {
  Atomics.store(a.words, PARKED, 1)
  if (!hasWork(a)) return true
  Atomics.store(a.words, PARKED, 0)
  return false
}

/** Sleep until something is published, for `ms` at most. */
export function park(a: Aggregator, ms: number): void {
  if (announceSleep(a)) Atomics.wait(a.words, PARKED, 1, ms)
  Atomics.store(a.words, PARKED, 0)
}
