import {
  LANE_ANCESTORS,
  LANE_OWNER,
  LANE_THREAD,
  laneAt,
  OWNER,
  ROLE_ANCESTORS,
  ROLE_OF,
  type SharedWords,
} from '../memory/map.js'
import type { Memory } from '../memory/memory.js'
import { hasAncestor, storeAncestors } from './ancestors.js'
import { push } from './ring.js'
import { controlToken, generationOf, isOwned, isOwnedBy, REAP, writerPayload } from './token.js'

/** A lane whose owner has ended. The generation tells this owner from the next one. */
export interface Orphan {
  readonly writer: number
  readonly generation: number
  /** Full id of the thread that had it. */
  readonly threadId: number
}

/**
 * Any thread: finds the lanes of a thread that has ended, and those of the threads below it. A
 * thread's end is the end of all threads that it started.
 *
 * Threads that have ended store nothing more, so one look finds all their lanes. If a lane is freed
 * meanwhile, its REAP does nothing.
 */
export function orphansOf(memory: Memory, threadId: number): Orphan[] {
  const { words, layout } = memory
  const orphans: Orphan[] = []
  const ended = [threadId]
  for (let i = 0; i < ended.length; i++) {
    const thread = ended[i]
    for (let writer = 0; writer < layout.maxWriters; writer++) {
      const lane = laneAt(layout, writer)
      const owner = Atomics.load(words, lane + LANE_OWNER)
      if (!isOwned(owner)) continue
      const full = Atomics.load(words, lane + LANE_THREAD)
      // 0: the thread died between its claim and its id, so the low bits must do.
      const isOwn = full === thread + 1 || (full === 0 && isOwnedBy(owner, thread))
      const isBelow = full !== 0 && hasAncestor(words, lane + LANE_ANCESTORS, thread)
      if (!isOwn && !isBelow) continue
      // The lanes of a thread below are found with its own id.
      if (isOwn)
        orphans[orphans.length] = { writer, generation: generationOf(owner), threadId: thread }
      else if (ended.indexOf(full - 1) < 0) ended[ended.length] = full - 1
    }
  }
  return orphans
}

/** Any thread: asks the aggregator to harvest such a lane. Returns false if the ring is full. */
export function pushReap(memory: Memory, orphan: Orphan): boolean {
  return push(memory, controlToken(REAP, writerPayload(orphan.writer, orphan.generation)))
}

/** Any thread: tells whether the lane is not freed yet. */
export function isOrphan(memory: Memory, orphan: Orphan): boolean {
  const { words, layout } = memory
  const owner = Atomics.load(words, laneAt(layout, orphan.writer) + LANE_OWNER)
  return generationOf(owner) === orphan.generation
}

/** The thread that has the role notes the threads above it, because their end is its own. */
export function noteRole(words: SharedWords, threadId: number, ancestors: readonly number[]): void {
  Atomics.store(words, ROLE_OF, 0) // while the words below are of two owners
  storeAncestors(words, ROLE_ANCESTORS, ancestors)
  Atomics.store(words, ROLE_OF, threadId + 1)
}

/**
 * Any thread: frees the aggregator's role if a thread that has ended had it, or a thread below
 * that one.
 */
export function releaseRole(words: SharedWords, threadId: number): void {
  const owner = Atomics.load(words, OWNER)
  if (owner === 0) return
  const isBelow =
    Atomics.load(words, ROLE_OF) === owner && hasAncestor(words, ROLE_ANCESTORS, threadId)
  if (owner === threadId + 1 || isBelow) Atomics.compareExchange(words, OWNER, owner, 0)
}
