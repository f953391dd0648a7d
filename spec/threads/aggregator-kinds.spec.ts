import { describe, expect, it } from '@jest/globals'
import {
  FAILED as FAILED_WORD,
  HEAD,
  LANE_READ_END,
  laneAt,
  type Layout,
} from '../../lib/memory/map.js'
import { attachMemory } from '../../lib/memory/memory.js'
import { emptyWord } from '../../lib/ring/token.js'
import { openInline, range, rejected, sortedIds } from '../support/in-process.js'
import { runProgram } from '../support/program.js'
import { watchAccesses } from '../support/steps.js'

const TAKEN = 'ERR_DIRTYRING_AGGREGATOR_TAKEN'
const INVALID = 'ERR_DIRTYRING_INVALID_ARG'
const FAILED = 'ERR_DIRTYRING_AGGREGATOR_FAILED'
const CORRUPT = 'ERR_DIRTYRING_CORRUPT'

const LANE_READ_END_OF_0 = (layout: Layout): number => laneAt(layout, 0) + LANE_READ_END

describe('the option aggregator', () => {
  it.each(['worker', 'function', 'inline'])(
    '%s: the aggregator runs, and no other thread can take its role',
    async (kind) => {
      const verdict = await runProgram('aggregators', { case: 'kind', kind })

      expect(verdict).toMatchObject({
        after: 'running',
        healthy: true,
        iterated: true,
        handle: true,
        exact: true,
        lastSize: 8001,
      })
      expect(['starting', 'running']).toContain(verdict.before)
      expect(verdict.taken).toEqual([TAKEN, TAKEN, TAKEN])
      expect(verdict.finished).toMatchObject({
        state: 'finished',
        finished: true,
        healthy: true,
        panics: 0,
        restarts: 0,
      })
    },
  )

  it('none: no aggregator runs until a thread calls runAggregator(), which ends with the tracker', async () => {
    const verdict = await runProgram('aggregators', { case: 'kind', kind: 'none' })

    expect(verdict).toMatchObject({
      before: 'absent',
      running: 'running',
      after: 'running',
      exact: true,
      lastSize: 8001,
      ended: 'ended',
    })
    expect(verdict.taken).toEqual([TAKEN, TAKEN])
    expect(verdict.finished).toMatchObject({ state: 'finished', finished: true, healthy: true })
  })

  it('none: another thread takes over from one that dies, and nothing is lost', async () => {
    expect(await runProgram('aggregators', { case: 'replaced' })).toEqual({
      states: Array.from({ length: 5 }, () => 'running'),
      stored: 50_000,
      exact: true,
      complete: true,
    })
  })

  it('none, and no aggregator ever came: stop() delivers it all', async () => {
    const verdict = await runProgram('aggregators', { case: 'neverRun' }, { timeoutMs: 20_000 })

    expect(Number(verdict.first) + Number(verdict.lastSize)).toBe(1100)
    expect(verdict.health).toMatchObject({ state: 'finished', finished: true })
  })

  it('a function that gives no aggregator makes create() reject, and says why', async () => {
    const verdict = await runProgram('aggregators', { case: 'refused' })

    const must = '"options.aggregator" must be a function that returns a Worker, got an instance of'
    expect(verdict).toEqual({
      ended: [
        INVALID,
        `${must} Worker. This one has ended: start a new Worker at each call, and return it ` +
          'before it ends.',
      ],
      noWorkerMessage: `${must} Object. Its script is import 'dirtyring/aggregator'.`,
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

  it('an aggregator that cannot be started again is given up: calls reject, and stop() still delivers what was published', async () => {
    const verdict = await runProgram('aggregators', { case: 'givenUp' })

    expect(verdict).toMatchObject({ pending: FAILED, later: FAILED, stopped: ['last epoch', 1] })
    // At once after a death that followed work; then 10 ms after a start that failed, and twice as
    // long each time.
    expect(verdict.starts).toBe(9)
    expect(verdict.gaps).toHaveLength(7)
    verdict.gaps.forEach((ms: number, i: number) => expect(ms).toBeGreaterThan(10 * 2 ** i - 1.5))
    expect(verdict.health).toMatchObject({
      healthy: false,
      lastError: expect.stringContaining('exit code 3'),
    })
  })
})

describe('stop(), when the aggregator cannot continue', () => {
  it('delivers the rest where a start never comes to its end', async () => {
    expect(await runProgram('aggregators', { case: 'never' })).toEqual({
      size: 1000,
      exact: true,
      state: 'finished',
      starts: 2,
    })
  })

  it("settles where 'inline' threw, and delivers all that was published if the role is free", async () => {
    const tracker = await openInline()
    const { words } = attachMemory(tracker.handle, 'tracker')
    const writer = tracker.openWriter()
    writer.mark(1)
    Atomics.store(words, FAILED_WORD, 1)
    expect((await rejected(tracker.drained())).code).toBe(CORRUPT)
    expect(tracker.health()).toMatchObject({ state: 'absent', healthy: false })
    Atomics.store(words, FAILED_WORD, 0)
    expect(sortedIds(await tracker.stop())).toEqual([1])
  })

  it("settles where 'inline' lost its role to an aggregator that has left", async () => {
    const tracker = await openInline()
    const { words, layout } = attachMemory(tracker.handle, 'tracker')
    const writer = tracker.openWriter()
    for (const id of range(0, 10)) writer.mark(id)
    writer.flush()
    let wasFaster = false
    const drained = watchAccesses(
      (kind, index) => {
        // The other one frees the slot of the batch that this one has in hand, and goes on.
        if (
          kind !== 'store' ||
          index !== layout.ring ||
          words[LANE_READ_END_OF_0(layout)] === 0 ||
          wasFaster
        )
          return
        wasFaster = true
        Atomics.store(words, layout.ring, emptyWord(1))
        Atomics.store(words, HEAD, 1)
      },
      () => tracker.drained(),
    )
    const outcome = await rejected(drained)
    expect([wasFaster, outcome.code]).toEqual([true, TAKEN])
    writer.mark(10)
    expect(sortedIds(await tracker.stop())).toEqual(range(0, 11))
    expect(tracker.health().state).toBe('finished')
  })
})

describe('memory that the library never writes', () => {
  it('a token that cannot be handled is tried again with backoff, given up, and reported; the next epoch is exact', async () => {
    const verdict = await runProgram('corrupt-memory', { case: 'givenUp' })

    expect(verdict.backedOff).toBe(true)
    expect(verdict.least).toMatchObject({ healthy: false, restarts: 0, lastError: 'planted' })
    expect(verdict.first).toEqual({ exact: false, reason: 'fault', ids: [1, 2], hasAll: true })
    expect(verdict.second).toEqual({ exact: true, ids: [3] })
    expect(verdict.after).toMatchObject({ panics: 8, healthy: true, state: 'running' })
  })

  it('a token whose cause is put right before the last try is handled, and its epoch is exact', async () => {
    const verdict = await runProgram('corrupt-memory', { case: 'transient' })

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

  it('a word that no part of the library writes ends every wait with an error', async () => {
    expect(await runProgram('corrupt-memory', { case: 'corrupt' }, { timeoutMs: 30_000 })).toEqual({
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
