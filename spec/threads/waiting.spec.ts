import { describe, expect, it } from '@jest/globals'
import { runProgram } from '../support/program.js'

const STALLED = 'ERR_DIRTYRING_STALLED'
const STOPPED = 'ERR_DIRTYRING_STOPPED'

describe('a writer that finds no room', () => {
  it('sleeps until the aggregator has made room', async () => {
    expect(await runProgram('waiting', { case: 'wakes' })).toEqual({
      held: 64,
      stillAsleep: true,
      stored: 10_000,
      complete: true,
      waitMs: true,
    })
  })

  it('throws after maxWaitMs, with nothing of the call stored and everything before it kept', async () => {
    const verdict = await runProgram('waiting', { case: 'stalls' })

    expect(verdict.mark).toMatchObject({
      stored: 64,
      code: STALLED,
      message: expect.stringContaining('60 ms (maxWaitMs)'),
    })
    expect(verdict).toMatchObject({
      flush: STALLED,
      staged: 32,
      rejected: 1,
      marked: 65,
      complete: true,
    })
  })

  it('returns false at once with onFull reject', async () => {
    const verdict = await runProgram('waiting', { case: 'rejects' })

    expect(verdict).toEqual({
      stored: 64,
      flushed: false,
      rejected: 1,
      marked: 65,
      waits: 0,
      published: 64,
    })
  })

  it('throws ERR_DIRTYRING_STOPPED when the tracker stops meanwhile', async () => {
    expect(await runProgram('waiting', { case: 'stopped' })).toEqual({
      code: STOPPED,
      prefix: true,
      later: STOPPED,
    })
  })

  it("on the tracker's own thread does not sleep for ever when the aggregator has died", async () => {
    expect(await runProgram('waiting', { case: 'trackerThread' })).toEqual({
      code: STALLED,
      kept: true,
      complete: true,
    })
  })

  it.each([
    { by: 'progress', how: 'waits on while the aggregator makes progress' },
    { by: 'start', how: 'waits on while a worker is on its way to the role' },
  ])("on the tracker's own thread $how", async ({ by }) => {
    expect(await runProgram('waiting', { case: 'prolonged', by })).toEqual({
      outcome: 'nothing',
      waitedLonger: true,
      complete: true,
    })
  })

  it("on the tracker's own thread gives up without progress and without a starting worker, and after maxWaitMs in any case", async () => {
    const outcome = (says: string) => ({ code: STALLED, message: expect.stringContaining(says) })
    expect(await runProgram('waiting', { case: 'prolonged', by: 'nothing' })).toMatchObject({
      outcome: outcome('no progress for 150 ms'),
      complete: true,
    })
    expect(await runProgram('waiting', { case: 'prolonged', by: 'maxWaitMs' })).toMatchObject({
      outcome: outcome('400 ms (maxWaitMs)'),
      waitedLonger: true,
      complete: true,
    })
  })

  it("on the tracker's own thread waits for the aggregator's worker that the tracker is starting again", async () => {
    expect(await runProgram('waiting', { case: 'restarting' })).toEqual({
      before: 0,
      role: 0,
      complete: true,
      after: 0,
    })
  })

  it("on another thread than the tracker's has maxWaitMs alone, whatever the aggregator does", async () => {
    expect(await runProgram('waiting', { case: 'otherThread' })).toEqual({
      stored: 1000,
      complete: true,
    })
  })

  it("on the aggregator's own thread makes room by itself", async () => {
    expect(await runProgram('waiting', { case: 'inline' })).toEqual({
      refused: 0,
      many: true,
      stored: 10_000,
      complete: true,
    })
  })

  it("keeps its thread's keys out of a cut until it publishes: epoch.staged says how many; after flushed() it has them all", async () => {
    expect(await runProgram('waiting', { case: 'flushed' })).toEqual({
      first: { ids: [], staged: 5 },
      blocked: 'TimeoutError',
      left: 0,
      second: { ids: [0, 1, 2, 3, 4, 5, 6], staged: 0 },
    })
  })

  it('publishes by the clock, and not with an interval of 0', async () => {
    expect(await runProgram('waiting', { case: 'clock' })).toEqual({
      on: { first: { batches: 1, staged: 0 }, ids: [0, 1, 2, 3, 4] },
      off: { first: { batches: 0, staged: 3 }, ids: [0, 1, 2, 3, 4] },
    })
  })
})
