import { ANCESTORS_MAX, type SharedWords } from '../memory/map.js'

/**
 * Stores a thread's list of the threads above it; its first word last, so that a list which is seen
 * is a whole one.
 */
export function storeAncestors(words: SharedWords, at: number, ancestors: readonly number[]): void {
  const count = Math.min(ancestors.length, ANCESTORS_MAX)
  for (let i = count; i < ANCESTORS_MAX; i++) Atomics.store(words, at + i, 0)
  for (let i = count - 1; i >= 0; i--) Atomics.store(words, at + i, ancestors[i] + 1)
}

/** Whether such a list names a thread. */
export function hasAncestor(words: SharedWords, at: number, threadId: number): boolean {
  for (let i = 0; i < ANCESTORS_MAX; i++) {
    const ancestor = Atomics.load(words, at + i)
    if (ancestor === 0) return false
    if (ancestor === threadId + 1) return true
  }
  return false
}
