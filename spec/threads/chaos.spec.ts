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
  it('lose and invent nothing for seven consumers, each at its own pace (C2, C8, C14)', async () => {
    const args = { seed: 3, consumers: 7, writers: 30, aggregators: 6 }
    const verdict = await runProgram('chaos', args, { timeoutMs: 120_000 })

    expect(verdict).toMatchObject({ errors: [], unsettled: 0 })
    expect(verdict.writers).toBeGreaterThanOrEqual(30)
    expect(verdict.aggregators).toBeGreaterThanOrEqual(6)
    expect(verdict.consumers).toHaveLength(7)
    for (const { epochs } of verdict.consumers) expect(epochs).toBeGreaterThan(1)
    for (const way of ['restored', 'thrown', 'closed', 'fresh', 'harvested'])
      expect({ [way]: verdict[way] }).not.toEqual({ [way]: 0 })
  }, 120_000)

  it('lose keys for the one consumer that commits what it has not saved', async () => {
    const args = { seed: 3, consumers: 7, writers: 20, aggregators: 0, forgets: 1 }
    const { errors } = await runProgram('chaos', args, { timeoutMs: 120_000 })

    expect(errors.length).toBeGreaterThan(0)
    for (const error of errors) expect(error).toMatch(/^lost for consumer 1: key /)
  }, 120_000)
})
