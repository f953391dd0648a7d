import { expect } from '@jest/globals'
import type { DirtyTracker } from '../../lib/index.js'
import { sortedIds } from './in-process.js'

/** Seal, read the keys, commit. */
export async function take(tracker: DirtyTracker): Promise<bigint[]> {
  const epoch = await tracker.advanceEpoch()
  expect(epoch.exact).toBe(true)
  const keys = [...epoch.bigints]
  epoch.commit()
  return keys
}

export async function takeIds(tracker: DirtyTracker): Promise<number[]> {
  const epoch = await tracker.advanceEpoch()
  expect(epoch.exact).toBe(true)
  const ids = sortedIds(epoch)
  epoch.commit()
  return ids
}

/** C12, at a quiet moment. */
export function expectAccounts(tracker: DirtyTracker, offered?: number): void {
  const { writers } = tracker.stats()
  for (const {
    marked,
    delivered,
    inFlight,
    staged,
    suppressed,
    rejected: refused,
    published,
  } of writers) {
    expect(marked).toBe(delivered + inFlight + staged + suppressed + refused)
    expect(published).toBe(delivered + inFlight)
  }
  if (offered !== undefined)
    expect(writers.reduce((sum, { marked }) => sum + marked, 0)).toBe(offered)
}
