import { expect } from '@jest/globals'
import type { DirtyTracker } from '../../lib/index.js'
import { sortedIds } from './in-process.js'

/** Seal, read the ids, commit. */
export async function take(tracker: DirtyTracker): Promise<number[]> {
  const epoch = await tracker.advanceEpoch()
  expect(epoch.exact).toBe(true)
  const ids = sortedIds(epoch)
  epoch.commit()
  return ids
}
