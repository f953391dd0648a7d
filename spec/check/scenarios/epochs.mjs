/** Scenarios of epochs and their sets; ../scenarios.mjs says what a scenario is. */
import { holdsBatch, inRounds, offers, publishes } from './bodies.mjs'

/** @type {import('../types.js').Scenario[]} */
export const scenarios = [
  // ------------------------------------------------------------------------------------- the epochs
  {
    name: 'seal: concurrent with a publish of a writer that dies',
    memory: { capacity: 1, maxWriters: 1 },
    killAggregator: false,
    quick: { preemptions: 1, together: 1 },
    threads: {
      writerA: offers(1),
      *tracker(w) {
        yield* w.tracker.advance()
      },
    },
  },
  {
    name: 'seal: concurrent with a publish',
    memory: { capacity: 2, maxWriters: 1 },
    quick: { preemptions: 1, together: 1 },
    threads: {
      writerA: offers(1),
      *tracker(w) {
        const epoch = yield* w.tracker.advance()
        w.results.epoch = epoch.keys
      },
    },
  },
  {
    name: 'seal: two at once, concurrent with batches',
    memory: { capacity: 2, maxWriters: 1 },
    threads: {
      writerA: publishes(1, 2),
      *tracker(w) {
        const first = yield* w.tracker.seal()
        const second = yield* w.tracker.seal()
        yield* w.tracker.sealed(second)
        yield* w.tracker.sealed(first)
      },
    },
  },
  {
    name: 'seal: no slot is free until a commit',
    memory: { capacity: 2, maxWriters: 1, epochSlots: 2 },
    threads: {
      writerA: publishes(1, 2),
      *tracker(w) {
        const first = yield* w.tracker.advance()
        const ticket = yield* w.tracker.seal()
        yield* w.tracker.commit(first)
        yield* w.tracker.sealed(ticket)
      },
    },
  },
  {
    name: 'seal: a slot is used again',
    memory: { capacity: 2, maxWriters: 1, epochSlots: 2 },
    start: { epoch: 2 ** 19 - 1 },
    threads: {
      writerA: offers(1, 2),
      *tracker(w) {
        for (let k = 0; k < 2; k++) yield* w.tracker.commit(yield* w.tracker.advance())
        yield* w.tracker.join()
        yield* w.tracker.advance()
      },
    },
  },
  {
    name: 'seal: without writers, by an aggregator that dies',
    memory: { capacity: 1, maxWriters: 1, epochSlots: 2 },
    quick: { preemptions: 1, together: 1 },
    setUp: holdsBatch,
    threads: {
      *tracker(w) {
        yield* w.tracker.commit(yield* w.tracker.advance())
        yield* w.tracker.advance()
      },
    },
  },
  {
    name: 'restore: by an aggregator that dies',
    memory: { capacity: 2, maxWriters: 1 },
    quick: { preemptions: 1, together: 1 },
    setUp: holdsBatch,
    threads: {
      *tracker(w) {
        const epoch = yield* w.tracker.advance()
        yield* w.tracker.restored(yield* w.tracker.restore(epoch))
      },
    },
  },
  {
    name: 'restore: while batches are published',
    memory: { capacity: 2, maxWriters: 1 },
    repeats: true,
    threads: {
      writerA: offers(1, 2),
      *tracker(w) {
        const epoch = yield* w.tracker.advance()
        const ticket = yield* w.tracker.restore(epoch)
        yield* w.tracker.advance()
        yield* w.tracker.restored(ticket)
      },
    },
  },
  {
    name: 'restore: into the epoch of a seal that follows at once, slots used again',
    memory: { capacity: 1, maxWriters: 1, epochSlots: 2 },
    repeats: true,
    setUp: holdsBatch,
    threads: {
      *tracker(w) {
        const first = yield* w.tracker.advance()
        yield* w.tracker.restore(first)
        const second = yield* w.tracker.seal()
        yield* w.tracker.sealed(second)
      },
    },
  },
  {
    name: 'everything: one call makes one epoch inexact, and not the next one of its slot',
    memory: { capacity: 1, maxWriters: 1, epochSlots: 2 },
    quick: { preemptions: 1, together: 1 },
    threads: {
      *tracker(w) {
        yield* w.tracker.everything()
        yield* w.tracker.commit(yield* w.tracker.advance())
        yield* w.tracker.commit(yield* w.tracker.advance())
      },
    },
  },

  // --------------------------------------------------------------------------------------- the sets
  {
    name: 'set: overflow in the middle of a batch',
    memory: { capacity: 2, maxWriters: 1, maxKeysPerEpoch: 2 },
    quick: { preemptions: 1, together: 1 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.markMany(lane, [1, 0, 1, 3])
        yield* w.flush(lane)
      },
      *tracker(w) {
        yield* w.tracker.join()
        yield* w.tracker.advance()
      },
    },
  },
  {
    name: 'set: growth in the middle of a batch',
    memory: { capacity: 2, maxWriters: 1, smallestTable: 4 },
    quick: { preemptions: 1, deaths: 2 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.markMany(lane, [7, 0, 8, 7])
        yield* w.flush(lane)
      },
    },
  },
  {
    name: 'set: growth in a slot that is used again',
    memory: { capacity: 2, laneCapacity: 8, maxWriters: 1, epochSlots: 2, smallestTable: 4 },
    repeats: true,
    killWriters: false,
    quick: { preemptions: 0 },
    threads: inRounds([1, 2, 3, 4, 5], [5], [1, 2, 3, 4, 5]),
  },
  {
    name: 'set: the same keys in a slot that is used again',
    memory: { capacity: 2, laneCapacity: 8, maxWriters: 1, epochSlots: 2 },
    repeats: true,
    killWriters: false,
    quick: { preemptions: 0 },
    threads: inRounds([1, 2, 3], [], [3, 2, 1]),
  },
  {
    name: 'set: a batch of old and new keys, key 0 among them, by an aggregator that dies twice',
    memory: { capacity: 2, maxWriters: 1 },
    repeats: true,
    quick: { preemptions: 1, deaths: 2 },
    setUp: holdsBatch,
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.markMany(lane, [0, 101, 5])
        yield* w.flush(lane)
      },
    },
    killWriters: false,
  },
]
