import { beforeAll, describe, expect, it } from '@jest/globals'
import { runProgram } from '../support/program.js'

let verdict: any
beforeAll(async () => {
  verdict = await runProgram('encoder')
})

describe("a publisher's encoder", () => {
  it('encodes small epochs on the calling thread', () => {
    expect(verdict.small).toEqual({ result: [true, true], started: 0, warnings: 0 })
  })

  it('starts one thread for all large epochs, which gives the bytes of epoch.encode()', () => {
    expect(verdict.large).toEqual({ result: [true, true], started: 1, warnings: 0 })
    expect(verdict.split).toEqual({ result: true, started: 1, warnings: 0 })
  })

  it.each([
    ['its file is not there, as in a bundled app', 'missing', 1],
    ['no thread can be started', 'refused', 0],
    ['the thread ends at its first epoch', 'dying', 1],
  ])('goes on alone, with one warning, where %s', (_, name, started) => {
    expect(verdict[name]).toEqual({ result: [true, true], started, warnings: 1 })
  })

  it('finishes what it has begun when it is closed, and works on without a thread', () => {
    expect(verdict.closed).toEqual({ result: [600, true], started: 1, warnings: 0 })
  })

  it('rejects with ERR_DIRTYRING_SETTLED for an epoch whose keys are gone', () => {
    expect(verdict.settled.result).toEqual({
      name: 'DirtyRingError',
      code: 'ERR_DIRTYRING_SETTLED',
    })
  })
})
