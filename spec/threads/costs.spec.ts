import { describe, expect, it } from '@jest/globals'
import { runProgram } from '../support/program.js'

describe('costs', () => {
  it('an idle tracker with idle writers sleeps', async () => {
    const verdict = await runProgram('idle', { ms: 10_000 })

    // Ten sleeps a second; the share of a core that the verdict names as well depends on the
    // machine.
    expect(verdict.rounds).toBeLessThan(200)
    expect(verdict.rounds).toBeGreaterThan(0)
    expect(verdict).toMatchObject({ staged: 0, size: 2 })
  })

  it('marks allocate nothing', async () => {
    const { marks, lanes, ids, objects } = await runProgram('allocation', { marks: 5_000_000 })

    expect(objects.allocated).toBeGreaterThan(marks * 12) // so one object a mark would show
    expect(lanes.allocated).toBeLessThan(marks / 4)
    expect(ids.allocated).toBeLessThan(marks / 4)
    expect(lanes.kept).toBeLessThan(marks / 10)
    expect(ids.kept).toBeLessThan(marks / 10)
  })
})
