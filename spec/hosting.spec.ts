import { describe, expect, it } from '@jest/globals'
import { runProgram } from './support/program.js'

const TAKEN = 'ERR_DIRTYRING_AGGREGATOR_TAKEN'
const INVALID = 'ERR_DIRTYRING_INVALID_ARG'
const FAILED = 'ERR_DIRTYRING_AGGREGATOR_FAILED'
const CORRUPT = 'ERR_DIRTYRING_CORRUPT'

describe('who runs the aggregator', () => {
  it.each(['worker', 'function', 'inline'])('%s: runs, and nobody else can', async (kind) => {
    const verdict = await runProgram('aggregators', { case: 'kind', kind })

    expect(verdict).toMatchObject({ after: 'running', healthy: true, iterated: true, handle: true, exact: true, lastSize: 8001 })
    expect(['starting', 'running']).toContain(verdict.before)
    expect(verdict.taken).toEqual([TAKEN, TAKEN, TAKEN])
    expect(verdict.finished).toMatchObject({ state: 'finished', finished: true, healthy: true, panics: 0, restarts: 0 })
  })

  it('none: nobody, until some thread calls runAggregator(), which ends with the tracker', async () => {
    const verdict = await runProgram('aggregators', { case: 'kind', kind: 'none' })

    expect(verdict).toMatchObject({ before: 'absent', running: 'running', after: 'running', exact: true, lastSize: 8001, ended: 'ended' })
    expect(verdict.taken).toEqual([TAKEN, TAKEN])
    expect(verdict.finished).toMatchObject({ state: 'finished', finished: true, healthy: true })
  })

  it('none: a runner that dies is replaced by another one, and nothing is lost', async () => {
    expect(await runProgram('aggregators', { case: 'replaced' })).toEqual({
      states: Array.from({ length: 5 }, () => 'running'),
      stored: 50_000,
      exact: true,
      complete: true,
    })
  })

  it('none, and nobody ever came: stop() delivers it all', async () => {
    const verdict = await runProgram('aggregators', { case: 'nobody' }, { timeoutMs: 20_000 })

    expect(Number(verdict.first) + Number(verdict.lastSize)).toBe(1100)
    expect(verdict.health).toMatchObject({ state: 'finished', finished: true })
  })

  it('a function that gives no aggregator makes create() reject, and says why', async () => {
    const verdict = await runProgram('aggregators', { case: 'refused' })

    expect(verdict).toEqual({
      nothing: INVALID,
      noWorker: INVALID,
      throws: 'MINE',
      rejects: 'MINE',
      exits: FAILED,
      crashes: FAILED,
      message: expect.stringContaining('no luck'),
      another: FAILED,
    })
  })

  it('one that cannot be started again is given up: calls reject, and stop() still delivers what was published', async () => {
    const verdict = await runProgram('aggregators', { case: 'givenUp' })

    expect(verdict).toMatchObject({ pending: FAILED, later: FAILED, stopped: ['last epoch', 1] })
    expect(verdict.starts).toBeGreaterThan(2)
    expect(verdict.health).toMatchObject({ healthy: false, lastError: expect.stringContaining('exit code 3') })
  })
})

describe('memory that the library never writes', () => {
  it('a token that cannot be handled is tried again with backoff, given up, and said; the next epoch is exact', async () => {
    const verdict = await runProgram('faults', { case: 'givenUp' })

    expect(verdict.backedOff).toBe(true)
    expect(verdict.least).toMatchObject({ healthy: false, restarts: 0, lastError: expect.stringContaining('writer') })
    expect(verdict.first).toEqual({ exact: false, reason: 'fault', ids: [1, 2], hasAll: true })
    expect(verdict.second).toEqual({ exact: true, ids: [3] })
    expect(verdict.after).toMatchObject({ panics: 8, healthy: true, state: 'running' })
  })

  it('what is put right before that costs nothing', async () => {
    const verdict = await runProgram('faults', { case: 'transient' })

    expect(verdict).toMatchObject({
      state: 'backing-off',
      lastError: expect.stringContaining('10 keys'),
      exact: true,
      stats: 10,
      healthy: true,
    })
    expect(verdict.ids).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect(verdict.panics).toBeGreaterThanOrEqual(3)
    expect(verdict.panics).toBeLessThan(8)
  })

  it('a word that nobody can have written ends every wait with an error', async () => {
    expect(await runProgram('faults', { case: 'corrupt' }, { timeoutMs: 30_000 })).toEqual({
      running: CORRUPT,
      pending: 'nothing', // its cut was made before that word
      later: CORRUPT,
      drained: CORRUPT,
      sleeper: CORRUPT,
      stop: CORRUPT,
      healthy: false,
    })
  })
})
