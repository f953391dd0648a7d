import { describe, expect, it } from '@jest/globals'
import { runProgram } from '../support/program.js'

describe('seven named consumers, with workers that write and die', () => {
  it('C14, C15, C16: each has a copy that is equal to the store at the end', async () => {
    const verdict = await runProgram('consumers', { ms: 3000 })

    expect(verdict).toMatchObject({ different: [], unsettled: [], stopped: [0, true, 'committed'] })
    expect(verdict.names).toHaveLength(7)
    expect(verdict.lasts).toEqual(verdict.others)
    for (const what of ['exact', 'superset', 'fresh', 'thrown', 'reopened', 'skipped', 'written'])
      expect({ [what]: verdict[what] }).not.toEqual({ [what]: 0 })
  })
})
