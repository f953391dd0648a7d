import { describe, expect, it } from '@jest/globals'
import { runProgram } from '../support/program.js'

describe('epochs({ whenDirty }) beside an aggregator and a writer on threads of their own', () => {
  it('sleeps without a token or a cut, is woken by each key, and its process ends after it', async () => {
    const { idle, seen, sealed, done } = await runProgram('when-dirty', {})

    expect(idle).toMatchObject({ tokens: 0, sealed: 0 })
    expect(idle.looks).toBeLessThanOrEqual(3) // a look every 50 ms would be 20
    expect(seen).toEqual([1, 2, 3, 4, 5])
    expect(sealed).toBe(5)
    expect(done).toBe(true)
  })
})
