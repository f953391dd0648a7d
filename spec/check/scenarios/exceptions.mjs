/** Scenarios of exceptions, and of everything at once; ../scenarios.mjs says what a scenario is. */
import { holdsBatch, publishes } from './bodies.mjs'

/** @type {import('../types.js').Scenario[]} */
export const scenarios = [
  // ------------------------------------------------------------------------------------- exceptions
  {
    name: 'exceptions: a writer goes on with the same lane',
    memory: { capacity: 2, maxWriters: 1 },
    throws: 1,
    quick: { preemptions: 1, deaths: 0, throws: 1 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.tries(w.mark(lane, 1))
        yield* w.tries(w.flush(lane))
        yield* w.tries(w.markMany(lane, [2, 3]))
        yield* w.tries(w.flush(lane))
        yield* w.flushWaiting(lane)
      },
    },
  },
  {
    name: 'exceptions: a writer that waits goes on with the same lane',
    memory: { capacity: 1, laneCapacity: 2, maxWriters: 1 },
    throws: 1,
    quick: { preemptions: 0, deaths: 0, throws: 1 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        for (const keys of [
          [1, 2],
          [3, 4],
          [5, 6],
        ]) {
          yield* w.tries(w.markManyWaiting(lane, keys))
          yield* w.tries(w.flushWaiting(lane))
        }
        yield* w.flushWaiting(lane)
      },
    },
  },
  {
    name: 'exceptions: the aggregator recovers from a batch, growth in the middle of it',
    memory: { capacity: 2, maxWriters: 1, smallestTable: 4 },
    throws: 2,
    repeats: true,
    quick: { preemptions: 0, deaths: 1, throws: 1, together: 1 },
    setUp: holdsBatch,
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.markMany(lane, [101, 0, 8])
        yield* w.flush(lane)
      },
    },
  },
  {
    name: 'exceptions: the aggregator recovers from SEAL, RESTORE and STOP',
    memory: { capacity: 2, maxWriters: 1 },
    throws: 2,
    repeats: true,
    quick: { preemptions: 0, deaths: 0, throws: 1 },
    setUp: holdsBatch,
    threads: {
      *tracker(w) {
        const epoch = yield* w.tracker.advance()
        yield* w.tracker.restored(yield* w.tracker.restore(epoch))
        yield* w.tracker.stop()
      },
    },
  },

  // -------------------------------------------------------------------------------------- all of it
  {
    name: 'all: two writers, one closes; seal, restore, seal, stop',
    memory: { capacity: 2, laneCapacity: 2, maxWriters: 2, epochSlots: 2 },
    repeats: true,
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        for (const key of [1, 0, 3]) if (!(yield* w.markWaiting(lane, key))) return
        yield* w.close(lane)
      },
      writerB: publishes(11, 12),
      *tracker(w) {
        const first = yield* w.tracker.advance()
        yield* w.tracker.restore(first)
        const second = yield* w.tracker.advance()
        yield* w.tracker.commit(second)
        yield* w.tracker.join()
        yield* w.tracker.stop()
      },
    },
  },
]
