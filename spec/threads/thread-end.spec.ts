import { describe, expect, it } from '@jest/globals'
import { runProgram } from '../support/program.js'

const INVALID = 'ERR_DIRTYRING_INVALID_ARG'
const STOPPED = 'ERR_DIRTYRING_STOPPED'

describe('a thread that ends', () => {
  const ids = [0, 1, 2, 3, 4]

  it('has published what it had staged, or is harvested when it was terminated', async () => {
    const published = { staged: 5, ids, harvested: 0, batches: 1, open: [false] }

    expect(await runProgram('thread-end', { case: 'watched' })).toEqual({
      end: published,
      exit: published,
      crash: published,
      terminate: { staged: 5, ids, harvested: 5, batches: 0, open: [false] },
    })
  })

  it('publishes by itself also when nobody watches it; terminated, it keeps its lane, and stop() says what that means', async () => {
    const published = { staged: 5, ids, harvested: 0, batches: 1, open: [false], last: 'exact' }

    expect(await runProgram('thread-end', { case: 'unwatched' })).toEqual({
      end: published,
      exit: published,
      terminate: {
        staged: 5,
        ids: [],
        harvested: 0,
        batches: 0,
        open: [true],
        last: 'unpublished',
      },
    })
  })

  it('is watched by itself when it was started after create(), and by watch() when before', async () => {
    const verdict = await runProgram('thread-end', { case: 'watch' })

    expect(verdict.same).toBe(true)
    expect(verdict.twice[1]).toBe(verdict.twice[0])
    expect(verdict.automatic).toEqual([2, 2]) // this program's own listener, and the tracker's
    expect(verdict.errors).toEqual({
      nothing: INVALID,
      zero: INVALID,
      number: INVALID,
      object: INVALID,
    })
    expect(verdict.harvest).toEqual({ staged: 5, ids, harvested: 5, batches: 0, open: [false] })
    expect(verdict.counts).toEqual([1, 1]) // one for all trackers, for good
  })

  it('is harvested by watch() also when it has ended already, and once', async () => {
    expect(await runProgram('thread-end', { case: 'watchLate' })).toEqual({
      harvest: { staged: 5, ids, harvested: 5, batches: 0, open: [false] },
      before: 0,
      same: true,
      twice: 5,
    })
  })

  it('may have writers of many trackers, on a thread with many trackers, without a warning', async () => {
    expect(await runProgram('thread-end', { case: 'many' })).toEqual({
      warnings: [],
      sizes: Array.from({ length: 12 }, () => 13),
    })
  })

  it('leaves its writer to the next thread, again and again', async () => {
    const verdict = await runProgram('thread-end', { case: 'reused' })

    expect(verdict.ids).toEqual(
      Array.from({ length: 5 }, () => [0, 'ERR_DIRTYRING_NO_WRITER_SLOT']),
    )
    expect(verdict).toMatchObject({ size: 15, harvested: 15 })
  })

  it('that does not turn while the tracker stops: the last epoch says that keys were not published', async () => {
    const verdict = await runProgram('thread-end', { case: 'stopped' })

    expect(verdict).toMatchObject({
      size: 0,
      exact: false,
      reason: 'unpublished',
      code: STOPPED,
      close: 'closed',
      open: STOPPED,
    })
    expect(verdict.says).toContain('5 keys')
  })
})
