import { afterAll, describe, expect, it } from '@jest/globals'
import { runProgram } from '../support/program.js'

const WRITERS = 4
/** Below 2^32: totals carry into their high word on the way. */
const JUST_BELOW_2_32 = 2 ** 32 - 10_000

const loads = [
  { name: 'the defaults', marks: 2_200_000, epochs: 210 },
  {
    name: 'a ring of 2 batches and large lanes, marks refused',
    options: { capacity: 2, laneCapacity: 4096, onFull: 'reject' },
  },
  {
    name: 'a ring of 4 batches of one key',
    options: { capacity: 4, laneCapacity: 4096, batchSize: 1 },
  },
  {
    name: 'a ring of 64 batches and lanes of 64 keys, marks refused',
    options: { capacity: 64, laneCapacity: 64, batchSize: 16, onFull: 'reject' },
  },
  {
    name: 'lanes of 8 keys',
    marks: 200_000,
    options: { capacity: 4, laneCapacity: 8, batchSize: 3 },
  },
  {
    name: 'lanes of one key and two epoch slots',
    marks: 60_000,
    options: { capacity: 2, laneCapacity: 1, epochSlots: 2 },
  },
  {
    name: 'counters about to wrap, a small ring',
    options: { capacity: 4, laneCapacity: 256, flushIntervalMs: 0 },
    start: {
      position: 2 ** 30 - 1000,
      laneEnd: 2 ** 31 - 10_000,
      epoch: 2 ** 19 - 20,
      generation: 2 ** 13 - 1,
    },
    totalsFrom: JUST_BELOW_2_32,
  },
  {
    name: 'counters about to wrap, the default ring',
    start: { position: 2 ** 30 - 1, laneEnd: -10_000, epoch: 2 ** 19 - 2, generation: 2 ** 13 - 2 },
    totalsFrom: JUST_BELOW_2_32,
  },
]

describe('writers in worker threads, while epochs are cut, committed, restored and aborted', () => {
  const run = { marked: 0, aborted: 0, restored: 0, together: 0 }

  it.each(loads.map((load, i) => ({ ...load, seed: 101 + i })))(
    'lose and invent nothing with $name',
    async ({ name: _, ...load }) => {
      const verdict = await runProgram('stress', {
        marks: 400_000,
        epochs: 60,
        writers: WRITERS,
        ...load,
      })

      expect(verdict).toMatchObject({
        errors: [],
        refusedAtOnce: 1,
        healthy: true,
        closedAll: true,
      })
      expect(verdict.accounts).toEqual([true, true, true, true])
      expect(verdict.marked).toBeGreaterThanOrEqual(load.marks ?? 400_000)
      expect(verdict.epochs).toBeGreaterThanOrEqual(load.epochs ?? 60)
      expect(verdict.committed).toBeGreaterThan(0)
      expect(verdict.groupedKeys).toBeGreaterThan(0)
      if (load.options?.onFull === 'reject' && load.options.laneCapacity === 64)
        expect(verdict.refused).toBeGreaterThan(0)
      if (load.options?.laneCapacity === 8) expect(verdict.waits).toBeGreaterThan(0)
      if (load.start !== undefined) expect(verdict.lastEpoch).toBeGreaterThan(2 ** 19)
      for (const count of ['marked', 'aborted', 'restored', 'together'] as const)
        run[count] += Number(verdict[count])
    },
  )

  afterAll(() => {
    // What the seeds and the machine's timing made of it: each of these happened.
    expect(run.marked).toBeGreaterThan(2_000_000)
    expect(run.aborted).toBeGreaterThan(0)
    expect(run.restored).toBeGreaterThan(0)
    expect(run.together).toBeGreaterThan(0)
  })
})
