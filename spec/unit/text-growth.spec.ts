import { describe, expect, it } from '@jest/globals'
import { recover, takeRole } from '../../lib/aggregator/state.js'
import { IDLE, step } from '../../lib/aggregator/step.js'
import { SLOT_TEXT_COUNT, SLOT_TEXT_GROWTH } from '../../lib/memory/map.js'
import { createMemory } from '../../lib/memory/memory.js'
import { resolveOptions } from '../../lib/options.js'
import { type Lane, openLane, publish, stageText } from '../../lib/ring/lane.js'
import { push } from '../../lib/ring/ring.js'
import { controlToken, epochPayload, SEAL } from '../../lib/ring/token.js'
import { secretsOf } from '../../lib/set/mix.js'
import { noClock } from '../support/steps.js'

/**
 * Marks so many distinct texts in each of some epochs in a row. Returns, for each epoch, the
 * doublings that its table had, one after the other.
 */
function growthsOf(...epochs: number[]): number[][] {
  const memory = createMemory(
    resolveOptions({
      capacity: 8,
      laneCapacity: 64,
      maxWriters: 1,
      maxKeysPerEpoch: 10,
      maxStringsPerEpoch: 40_000,
      maxStringBytesPerEpoch: 160_000,
      epochSlots: 2,
    }),
    secretsOf(3),
  )
  const aggregator = takeRole(memory, 1)
  recover(aggregator)
  const lane = openLane(memory, 2, 64, noClock) as Lane
  return epochs.map((texts, epoch) => {
    const growths: number[] = []
    for (let id = 0; id < texts; id++) {
      stageText(lane, id, id, Int32Array.of(id), 8)
      if (id % 50 !== 49 && id !== texts - 1) continue
      publish(lane)
      while (step(aggregator) !== IDLE);
      const growth = memory.words[aggregator.openAt + SLOT_TEXT_GROWTH]
      if (growth !== growths.at(-1)) growths.push(growth)
    }
    expect(memory.words[aggregator.openAt + SLOT_TEXT_COUNT]).toBe(texts)
    push(memory, controlToken(SEAL, epochPayload((epoch + 1) % 2, epoch + 1)))
    while (step(aggregator) !== IDLE);
    return growths
  })
}

describe("The table of an epoch's texts", () => {
  it('grows to four times its size, and no further than a whole epoch needs', () => {
    expect(growthsOf(513)).toEqual([[0, 2]])
    expect(growthsOf(40_000)).toEqual([[0, 2, 4, 6, 7]])
  })

  it('grows in one step where the last epoch needed at most sixteen times as much, otherwise to eight times', () => {
    expect(growthsOf(5000, 5000)).toEqual([
      [0, 2, 4],
      [0, 4],
    ])
    expect(growthsOf(20_000, 20_000)).toEqual([
      [0, 2, 4, 6],
      [0, 3, 6],
    ])
    expect(growthsOf(600, 5000)).toEqual([
      [0, 2],
      [0, 2, 4],
    ])
  })

  it('grows again as without a last epoch once that was small', () => {
    expect(growthsOf(5000, 10, 5000)).toEqual([[0, 2, 4], [0], [0, 2, 4]])
  })
})
