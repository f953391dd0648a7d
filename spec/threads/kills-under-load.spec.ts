import { describe, expect, it } from '@jest/globals'
import { runProgram } from '../support/program.js'

const KILLS = 32

describe('writers that are terminated while they mark', () => {
  it.each([
    { name: 'in batches of 64' },
    {
      name: 'one key a batch, a ring of 4 batches',
      options: { capacity: 4, batchSize: 1 },
      start: { generation: 2 ** 13 - 12, laneEnd: -1000 },
    },
    // An atomic batch stays staged, and is harvested, only while the ring is full.
    {
      name: 'in atomic batches of 100 keys, a ring of 8 batches',
      options: { capacity: 8 },
      group: 100,
    },
    {
      name: 'in atomic batches of 37 keys, a ring of 4 batches, lanes of 256 keys',
      options: { capacity: 4, laneCapacity: 256 },
      group: 37,
    },
  ])('lose nothing that they marked: $name', async ({ name: _, ...load }) => {
    const verdict = await runProgram('kill-writers', { seed: 7, kills: KILLS, ...load })

    expect(verdict).toMatchObject({ errors: [], closedAll: true, healthy: true, lanes: 1 })
    expect(verdict.kills).toBeGreaterThanOrEqual(KILLS)
    expect(verdict.inFlight).toBeGreaterThanOrEqual(KILLS * 0.8)
    expect(verdict.harvested).toBeGreaterThan(0)
  })
})

describe('an aggregator that is terminated under load', () => {
  it.each([
    { name: 'with the defaults', stops: 8 },
    {
      name: 'with a ring of 4 batches',
      options: { capacity: 4 },
      start: { position: 2 ** 30 - 200, laneEnd: -50_000 },
      kills: 20,
      stops: 4,
    },
  ])('loses nothing and is started again, $name', async ({ name: _, ...load }) => {
    const { kills, stops } = { kills: KILLS, ...load }
    const verdict = await runProgram('kill-aggregator', { seed: 11, ...load, kills })

    expect(verdict.errors).toEqual([])
    expect(verdict.kills).toBeGreaterThanOrEqual(kills + stops)
    expect(verdict.inFlight).toBeGreaterThanOrEqual(kills * 0.8)
    expect(verdict.tokenInHand).toBeGreaterThan(0)
    expect(verdict.whileSealing).toBeGreaterThan(0)
    expect(verdict.whileRestoring).toBeGreaterThan(0)
    // Every death but those after the last word was said was answered by a new one.
    expect(verdict.restarts).toBeGreaterThanOrEqual(kills * 0.8)
    expect(verdict.restarts).toBeLessThanOrEqual(verdict.kills)
  })
})
