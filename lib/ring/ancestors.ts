import { ANCESTORS_MAX, type SharedWords } from '../memory/map.js'

/**
 * Stores a thread's list of the threads above it. The first word is stored last, so that a reader
 * never sees a part of a list.
 */
export function storeAncestors(words: SharedWords, at: number, ancestors: readonly number[]): void {
  const count = Math.min(ancestors.length, ANCESTORS_MAX)
  for (let i = count; i < ANCESTORS_MAX; i++) Atomics.store(words, at + i, 0)
  for (let i = count - 1; i >= 0; i--) Atomics.store(words, at + i, ancestors[i] + 1)
}

/** Tells whether such a list names a thread. */
export function hasAncestor(words: SharedWords, at: number, threadId: number): boolean {
  for (let i = 0; i < ANCESTORS_MAX; i++) {
    const ancestor = Atomics.load(words, at + i)
    if (ancestor === 0) return false
    if (ancestor === threadId + 1) return true
  }
  return false
}
