import { describe, expect, it } from '@jest/globals'
import { runProgram } from '../support/program.js'

describe('workers that read epochs which are settled under them', () => {
  it('get the keys of their epoch or ERR_DIRTYRING_SETTLED, and never other keys', async () => {
    const verdict = await runProgram('attached', { rounds: 1200 })

    expect(verdict).toMatchObject({ foreign: 0, errors: [], exitCodes: [0, 0] })
    expect(verdict.restored).toBeGreaterThan(50)
    for (const way of ['whole', 'midway', 'answers']) {
      expect({ [way]: verdict[way] }).not.toEqual({ [way]: 0 })
    }
  })

  it('of a named consumer: the same, also where what is given back grows in its place', async () => {
    const verdict = await runProgram('attached', { rounds: 300, named: true })

    expect(verdict).toMatchObject({ foreign: 0, errors: [], exitCodes: [0, 0] })
    for (const way of ['whole', 'midway', 'answers']) {
      expect({ [way]: verdict[way] }).not.toEqual({ [way]: 0 })
    }
  })

  it('of a named consumer: get keys of other epochs without the check', async () => {
    const verdict = await runProgram('attached', { rounds: 150, named: true, unchecked: true })

    expect(verdict.foreign).toBeGreaterThan(0)
  })

  it('get keys of other epochs without the check, so that this proof can fail', async () => {
    const verdict = await runProgram('attached', { rounds: 300, unchecked: true })

    expect(verdict.foreign).toBeGreaterThan(0)
  })
})
