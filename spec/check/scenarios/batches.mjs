/** Scenarios of batch() and markEverything(); ../scenarios.mjs says what a scenario is. */

/** @type {import('../types.js').Scenario[]} */
export const scenarios = [
  // ---------------------------------------------------------------------------------------- batch()
  {
    name: 'batch: staged in the lane, harvested after a death in it',
    memory: { capacity: 2, maxWriters: 1 },
    exits: true,
    quick: { preemptions: 1, together: 1 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.mark(lane, 1)
        yield* w.batch(lane, function* () {
          yield* w.mark(lane, 2)
          yield* w.mark(lane, 3)
        })
      },
      *tracker(w) {
        yield* w.tracker.join('writerA')
        yield* w.tracker.advance()
      },
    },
  },
  {
    name: 'batch: a publication that falls due in it takes what was staged before, and a cut',
    memory: { capacity: 2, maxWriters: 1, batchSize: 2 },
    quick: { preemptions: 1, deaths: 0 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.mark(lane, 1)
        yield* w.batch(lane, function* () {
          yield* w.mark(lane, 2) // a batch's size is reached
          yield* w.mark(lane, 3)
        })
      },
      *tracker(w) {
        yield* w.tracker.ask()
        yield* w.tracker.advance()
      },
    },
  },
  {
    name: 'batch: in a batch',
    memory: { capacity: 2, maxWriters: 1, batchSize: 1 },
    quick: { preemptions: 1, together: 1 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.batch(lane, function* () {
          yield* w.mark(lane, 1)
          yield* w.batch(lane, function* () {
            yield* w.mark(lane, 2)
          })
          yield* w.mark(lane, 3)
        })
      },
      *tracker(w) {
        yield* w.tracker.advance()
      },
    },
  },
  {
    name: 'batch: a key that was staged before it is marked again in it',
    memory: { capacity: 2, maxWriters: 1 },
    repeats: true,
    exits: true,
    quick: { preemptions: 1, deaths: 0 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        lane.recent = new Int32Array(256)
        yield* w.mark(lane, 1)
        yield* w.batch(lane, function* () {
          yield* w.mark(lane, 1)
          yield* w.flushInBatch(lane)
        })
      },
      *tracker(w) {
        yield* w.tracker.advance()
        yield* w.tracker.join('writerA')
      },
    },
  },
  {
    name: 'batch: exceptions in it',
    memory: { capacity: 2, maxWriters: 1, batchSize: 2 },
    throws: 1,
    quick: { preemptions: 0, deaths: 0, throws: 1 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.mark(lane, 1)
        yield* w.batch(lane, function* () {
          yield* w.tries(w.mark(lane, 2))
          yield* w.tries(w.markMany(lane, [3, 4]))
        })
        yield* w.flushWaiting(lane)
      },
      *tracker(w) {
        yield* w.tracker.advance()
      },
    },
  },
  {
    name: 'batch: it waits for the room of the keys before it',
    memory: { capacity: 2, laneCapacity: 4, maxWriters: 1, batchSize: 1 },
    quick: { preemptions: 1, deaths: 0 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        for (const key of [1, 2]) yield* w.markWaiting(lane, key)
        yield* w.batch(lane, function* () {
          for (const key of [3, 4, 5, 6]) yield* w.markWaiting(lane, key)
        })
        yield* w.flushWaiting(lane)
      },
    },
  },
  {
    name: 'batch: flushed() waits for its end',
    memory: { capacity: 2, maxWriters: 1 },
    quick: { preemptions: 1, deaths: 0 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.batch(lane, function* () {
          yield* w.mark(lane, 1)
          yield* w.mark(lane, 2)
        })
      },
      *tracker(w) {
        yield* w.tracker.flushed()
        yield* w.tracker.advance()
      },
    },
  },
  {
    name: 'batch: against stop',
    memory: { capacity: 1, maxWriters: 1, batchSize: 1 },
    quick: { preemptions: 2, deaths: 0 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.batch(lane, function* () {
          if (yield* w.mark(lane, 1)) yield* w.mark(lane, 2)
        })
      },
      *tracker(w) {
        yield* w.tracker.stop()
      },
    },
  },

  // ------------------------------------------------------------------------------- markEverything()
  {
    name: 'everything: in a ring with room, and in a full one',
    memory: { capacity: 1, maxWriters: 1, batchSize: 1 },
    quick: { preemptions: 1, deaths: 0 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.mark(lane, 1)
        yield* w.everything(lane)
        yield* w.flushWaiting(lane)
      },
      *tracker(w) {
        yield* w.tracker.advance()
      },
    },
  },
  {
    name: 'everything: in a batch, and a death in it',
    memory: { capacity: 2, maxWriters: 1 },
    quick: { preemptions: 0 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.batch(lane, function* () {
          yield* w.mark(lane, 1)
          yield* w.everything(lane)
          yield* w.mark(lane, 2)
        })
      },
      *tracker(w) {
        yield* w.tracker.advance()
        yield* w.tracker.join()
      },
    },
  },
  {
    name: 'everything: against stop',
    memory: { capacity: 1, maxWriters: 1, batchSize: 1 },
    quick: { preemptions: 2, deaths: 0 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.mark(lane, 1)
        yield* w.everything(lane)
      },
      *tracker(w) {
        yield* w.tracker.stop()
      },
    },
  },
]
