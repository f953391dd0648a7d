import { describe, expect, it } from '@jest/globals'
import { runProgram } from '../support/program.js'

const FAILED = 'ERR_DIRTYRING_AGGREGATOR_FAILED'

describe("a host that tells a worker's errors but not its end, as a page does: an aggregator's worker that dies", () => {
  const stops = { exact: true, state: 'finished' }

  it('by an error is seen to be dead, terminated and replaced, and loses nothing', async () => {
    expect(await runProgram('browser', { case: 'error' })).toEqual({
      first: [1],
      dead: 'restarting',
      second: [2],
      restarts: [{ restarts: 1, cause: 'as told' }],
      last: [3],
      ...stops,
      terminated: [true, true],
    })
  })

  it('in silence is replaced when tokens wait and nothing moves', async () => {
    expect(await runProgram('browser', { case: 'silence' })).toEqual({
      second: [2],
      restarts: 1,
      lastError: 'it showed no sign of life',
      last: [3],
      ...stops,
      workers: 2,
    })
  })

  it("in silence does not keep stop() waiting: the page's own thread delivers the rest", async () => {
    expect(await runProgram('browser', { case: 'stopping' })).toEqual({
      last: [2, 3, 4, 5, 6, 7, 8, 9],
      ...stops,
      terminated: [true],
      later: 'ERR_DIRTYRING_STOPPED',
    })
  })

  it('while it starts is an error of create(), is tried again later, and does not keep stop() waiting', async () => {
    expect(await runProgram('browser', { case: 'starting' })).toEqual({
      rejected: FAILED,
      again: [1],
      last: [2],
      ...stops,
    })
  })

  it('at the moment at which it takes the role gives the role back', async () => {
    expect(await runProgram('browser', { case: 'unnoticed' })).toEqual({
      first: [1],
      last: [],
      ...stops,
      restarts: 1,
    })
  })

  it('or cannot exist, because nothing declares Worker, is an error of create() that names the way out', async () => {
    expect(await runProgram('browser', { case: 'undeclared' })).toEqual({
      code: FAILED,
      message: expect.stringContaining('pass aggregator: "inline"'),
    })
  })
})
