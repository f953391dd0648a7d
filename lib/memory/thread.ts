import { platform } from '../platform/current.js'
import { trackerKey } from './identity.js'
import { THREADS } from './map.js'
import type { Memory } from './memory.js'

const drawnIds = new Map<string, number>()
/**
 * The first number that is drawn. Below are a host's own: in one process, threads may have numbers
 * of either kind.
 */
const DRAWN = 2 ** 30

/** This thread's number in a memory: the host's own, or one drawn from the memory's counter. */
export function threadIdFor(memory: Memory): number {
  if (platform.threadId !== undefined) return platform.threadId
  const { words } = memory
  const key = trackerKey(words)
  let id = drawnIds.get(key)
  if (id === undefined) drawnIds.set(key, (id = DRAWN + Atomics.add(words, THREADS, 1)))
  return id
}

/**
 * The numbers of the threads above this one, as far as the host can tell and they watch their
 * workers; the nearest first.
 */
export function ancestorIds(): readonly number[] {
  return platform.ancestors
}
