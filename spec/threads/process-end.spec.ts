import { describe, expect, it } from '@jest/globals'
import { runProgram } from '../support/program.js'

describe('a process', () => {
  it.each([
    { aggregator: 'worker', flushIntervalMs: 10 },
    { aggregator: 'worker', flushIntervalMs: 1_000_000 },
    { aggregator: 'inline', flushIntervalMs: 1_000_000 },
    { aggregator: 'none', flushIntervalMs: 1_000_000 },
    { aggregator: 'function', flushIntervalMs: 1_000_000 },
  ])(
    'is not kept alive by an idle tracker and a writer with keys staged: $aggregator, $flushIntervalMs ms',
    async (options) => {
      expect(
        await runProgram('process-end', { case: 'idle', ...options }, { timeoutMs: 10_000 }),
      ).toMatchObject({ staged: 1 })
    },
  )

  it('is kept alive by an advanceEpoch() that is pending', async () => {
    expect(await runProgram('process-end', { case: 'pending' }, { timeoutMs: 10_000 })).toEqual({
      ids: [2],
    })
  })

  it('is kept alive by each call that is pending, and by ref(), and no longer once it was aborted, and after unref()', async () => {
    const stayed = [
      'advanceEpoch(), its cut made',
      'epochs()',
      'epochs({ whenDirty })',
      'flushed()',
      'drained()',
      'waitForRoom()',
      'ref()',
    ]

    expect(await runProgram('process-end', { case: 'calls' }, { timeoutMs: 10_000 })).toEqual(
      stayed,
    )
  })

  it('of another memory is told that handles are for threads', async () => {
    const verdict = await runProgram('process-end', { case: 'fork' })

    expect(verdict.json).toEqual({
      code: 'ERR_DIRTYRING_BAD_HANDLE',
      name: 'TypeError',
      says: true,
    })
    // Here the host refuses to send it at all.
    expect(verdict.advanced).toEqual({ name: 'Error' })
  })
})
