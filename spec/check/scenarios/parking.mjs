/** Scenarios of an aggregator that goes to sleep; ../scenarios.mjs says what a scenario is. */
import { offers } from './bodies.mjs'

/** @type {import('../types.js').Scenario[]} */
export const scenarios = [
  // ---------------------------------------------------------------------------------------- parking
  {
    name: 'parking: against a batch',
    memory: { capacity: 2, maxWriters: 1 },
    quick: { preemptions: 3 },
    threads: { writerA: offers(1) },
  },
  {
    name: 'parking: against SEAL, RESTORE, EVERYTHING and REAP',
    memory: { capacity: 4, maxWriters: 1 },
    quick: { preemptions: 1, together: 1 },
    threads: {
      *tracker(w) {
        const epoch = yield* w.tracker.advance()
        yield* w.tracker.restored(yield* w.tracker.restore(epoch))
        yield* w.tracker.everything()
        yield* w.tracker.drained()
        yield* w.tracker.reap(0, 0)
        yield* w.tracker.drained()
      },
    },
  },
  {
    name: 'parking: a token of a producer that died, and the tracker waits for it',
    memory: { capacity: 2, maxWriters: 1 },
    killAggregator: false,
    quick: { preemptions: 2, together: 2 },
    threads: {
      writerA: offers(1),
      *tracker(w) {
        yield* w.tracker.join()
        yield* w.tracker.drained()
      },
    },
  },
  {
    name: 'parking: against CLOSE, while another waits for the lane',
    memory: { capacity: 2, maxWriters: 1 },
    quick: {},
    killWriters: false,
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.close(lane)
        const again = yield* w.openWhenFree()
        yield* w.mark(again, 2)
        yield* w.flush(again)
      },
    },
  },
]
