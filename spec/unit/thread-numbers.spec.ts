import { beforeEach, describe, expect, it, jest } from '@jest/globals'
import { THREADS, TRACKER_ID } from '../../lib/memory/map.js'
import { smallMemory } from '../support/steps.js'

const platform = { threadId: undefined as number | undefined, ancestors: [4, 0] }
jest.unstable_mockModule('../../lib/platform/current.js', () => ({ platform }))
const { ancestorIds, threadIdFor } = await import('../../lib/memory/thread.js')

beforeEach(() => {
  platform.threadId = undefined
})

describe("a thread's number in a memory", () => {
  it("is the host's where it gives one", () => {
    platform.threadId = 12
    expect([threadIdFor(smallMemory()), ancestorIds()]).toEqual([12, [4, 0]])
  })

  it('is drawn once for each memory where the host gives none', () => {
    const [one, other, third] = [smallMemory(), smallMemory(), smallMemory()]
    for (const [i, { words }] of [one, other, third].entries()) {
      words[TRACKER_ID] = 1 + (i >> 1)
      words[TRACKER_ID + 1] = i & 1
      words[THREADS] = 10 * i
    }
    const draw = () => [one, other, third].map(threadIdFor)
    const drawn = [0, 10, 20].map((count) => 2 ** 30 + count) // above a host's own numbers
    expect(draw()).toEqual(drawn)
    expect(draw()).toEqual(drawn)
    expect([one, other, third].map(({ words }) => words[THREADS])).toEqual([1, 11, 21])
  })
})
