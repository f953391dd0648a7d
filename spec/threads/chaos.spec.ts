import { describe, expect, it } from '@jest/globals'
import { runProgram } from '../support/program.js'

describe('threads that die in every way, inside every public call', () => {
  it('lose nothing that they marked, and invent nothing (C2, C6, C8)', async () => {
    const verdict = await runProgram('chaos', { seed: 3 }, { timeoutMs: 120_000 })

    expect(verdict).toMatchObject({ errors: [], unsettled: 0 })
    for (const [call, ways] of Object.entries(verdict.deaths)) {
      for (const [way, deaths] of Object.entries(ways as object))
        expect({ [`${call}, ${way}`]: deaths }).not.toEqual({ [`${call}, ${way}`]: 0 })
    }
    expect(verdict.inside).toBeGreaterThan(verdict.writers / 2)
    expect(verdict.aggregators).toBeGreaterThanOrEqual(12)
    expect(verdict.harvested).toBeGreaterThan(0)
    expect(verdict.restored).toBeGreaterThan(0)
  }, 120_000)
})
