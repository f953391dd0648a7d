import { describe, expect, it } from '@jest/globals'
import { epochAt, laneAt, LINE, QUEUED_PEAK, SLOT_COUNT } from '../../lib/memory/map.js'
import { NOP } from '../../lib/ring/token.js'
import { readShared } from '../../lib/tracker/stats.js'
import { control, open } from '../support/aggregators.js'
import { smallMemory } from '../support/steps.js'

describe('the stats in shared memory', () => {
  it('have the largest number of queued tokens, also of those that the aggregator has not seen', () => {
    const memory = smallMemory()
    for (let i = 0; i < 3; i++) control(memory, NOP)
    for (const [peak, wanted] of [
      [0, 3],
      [2, 3],
      [5, 5],
    ]) {
      memory.words[QUEUED_PEAK] = peak
      expect(readShared(memory)).toMatchObject({ queued: 3, queuedPeak: wanted })
    }
  })

  it('have the number of the thread of each writer that is open', () => {
    const memory = smallMemory()
    for (const threadId of [77, 0]) open(memory, threadId)
    expect(readShared(memory).writers).toMatchObject([
      { id: 0, open: true, threadId: 77 },
      { id: 1, open: true, threadId: 0 },
    ])
  })

  it('have no writer behind the last one, where the first epoch slot begins', () => {
    const memory = smallMemory({ maxWriters: 14, laneCapacity: 32 })
    const { words, layout } = memory
    expect(epochAt(layout, 0)).toBe(laneAt(layout, 14) + LINE)
    for (let count = 0; count < 8; count++) {
      words[epochAt(layout, 0) + SLOT_COUNT] = count
      expect(readShared(memory).writers).toEqual([])
    }
  })
})
