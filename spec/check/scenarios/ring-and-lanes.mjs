/** Scenarios of the ring, and of lanes; ../scenarios.mjs says what a scenario is. */
import { inBatches, offers, publishes } from './bodies.mjs'

/** @type {import('../types.js').Scenario[]} */
export const scenarios = [
  // --------------------------------------------------------------------------------------- the ring
  {
    name: 'push: two producers, two slots, no consumer',
    memory: { capacity: 2 },
    aggregator: false,
    quick: {},
    threads: { writerA: offers(1, 2), writerB: offers(11, 12) },
  },
  {
    name: 'push: three producers, four slots, no consumer',
    memory: { capacity: 4, maxWriters: 3 },
    aggregator: false,
    quick: {},
    threads: { writerA: offers(1, 2), writerB: offers(11), writerC: offers(21) },
  },
  {
    name: 'ring: one slot, one producer, three laps',
    memory: { capacity: 1, maxWriters: 1 },
    quick: { preemptions: 1 },
    threads: { writerA: publishes(1, 2, 3) },
  },
  {
    name: 'ring: one slot, two producers that do not wait',
    memory: { capacity: 1 },
    quick: { preemptions: 1, together: 1 },
    threads: { writerA: offers(1), writerB: offers(11) },
  },
  {
    name: 'ring: one slot, two producers that do not wait, two laps',
    memory: { capacity: 1 },
    threads: { writerA: offers(1, 2), writerB: offers(11) },
  },
  {
    name: 'ring: one slot, two producers that wait',
    memory: { capacity: 1 },
    threads: { writerA: publishes(1, 2), writerB: publishes(11) },
  },
  {
    name: 'ring: two slots, two producers, two laps',
    memory: { capacity: 2 },
    threads: { writerA: publishes(1, 2), writerB: publishes(11, 12) },
  },
  {
    name: 'ring: two slots, three producers',
    memory: { capacity: 2, maxWriters: 3 },
    threads: { writerA: publishes(1), writerB: publishes(11, 12), writerC: publishes(21) },
  },
  {
    name: 'ring: four slots, two producers, three laps',
    memory: { capacity: 4 },
    threads: { writerA: publishes(1, 2, 3, 4, 5, 6), writerB: publishes(11, 12, 13, 14, 15, 16) },
  },
  {
    name: 'ring: next to the wrap of positions',
    memory: { capacity: 2 },
    start: { position: 2 ** 30 - 1, laneEnd: -1 },
    threads: { writerA: publishes(1, 2), writerB: publishes(11) },
  },
  {
    name: 'ring: one slot, one producer, two laps, next to the wrap of laps',
    memory: { capacity: 1, maxWriters: 1 },
    start: { position: 2 ** 29 - 1 },
    quick: { preemptions: 1, together: 1 },
    threads: { writerA: publishes(1, 2) },
  },
  {
    name: 'ring: a tail that has overtaken is healed',
    memory: { capacity: 2, maxWriters: 1 },
    healing: true,
    quick: { preemptions: 1 },
    setUp({ core, words }) {
      words[core.TAIL] = 1 // as if a producer had moved it after sleeping through 2^30 tokens
    },
    threads: { writerA: publishes(1, 2) },
  },

  // -------------------------------------------------------------------------------------- the lanes
  {
    name: 'lane: full, with waiting',
    memory: { capacity: 2, laneCapacity: 2, maxWriters: 1 },
    quick: {},
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.markManyWaiting(lane, [1, 2])
        yield* w.flushWaiting(lane)
        yield* w.markManyWaiting(lane, [3, 4])
        yield* w.flushWaiting(lane)
      },
    },
  },
  {
    name: 'lane: full of staged keys, the ring full of others',
    memory: { capacity: 1, laneCapacity: 1 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.markWaiting(lane, 1)
        yield* w.markWaiting(lane, 2)
      },
      writerB: publishes(11),
    },
  },
  {
    name: 'lane: batches as long as the lane, next to its wrap',
    memory: { capacity: 2, laneCapacity: 2, maxWriters: 1 },
    start: { laneEnd: 2 ** 31 - 2 },
    quick: {},
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        for (const keys of [
          [1, 0],
          [3, 4],
        ]) {
          yield* w.markManyWaiting(lane, keys)
          yield* w.flushWaiting(lane)
        }
      },
    },
  },
  {
    name: 'lane: keys staged behind a batch that is being taken',
    memory: { capacity: 2, laneCapacity: 4, maxWriters: 1 },
    quick: { stales: 2 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.mark(lane, 1)
        yield* w.flush(lane)
        yield* w.mark(lane, 2)
        yield* w.mark(lane, 3)
        yield* w.flush(lane)
        yield* w.mark(lane, 4)
      },
    },
  },
  {
    name: 'lane: a key marked again, while it is staged and once it is published',
    memory: { capacity: 2, laneCapacity: 4, maxWriters: 1 },
    repeats: true,
    exits: true,
    quick: { preemptions: 1, together: 1 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        lane.recent = new Int32Array(256)
        yield* w.mark(lane, 1)
        yield* w.mark(lane, 1)
        yield* w.flush(lane)
        yield* w.mark(lane, 1)
        yield* w.mark(lane, 1)
      },
      *tracker(w) {
        yield* w.tracker.advance()
        yield* w.tracker.join('writerA')
      },
    },
  },
  {
    name: 'lane: batches by size',
    memory: { capacity: 2, laneCapacity: 4, maxWriters: 1, batchSize: 2 },
    quick: {},
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        for (const key of [1, 2, 3, 4]) yield* w.markWaiting(lane, key)
      },
    },
  },
  {
    name: 'run: batches of one writer behind each other, by an aggregator that dies twice',
    memory: { capacity: 4, laneCapacity: 8, maxWriters: 1 },
    start: { position: 2 ** 30 - 2, laneEnd: 2 ** 31 - 2 },
    killWriters: false,
    quick: { preemptions: 0, deaths: 1 },
    threads: { writerA: inBatches([1, 2, 3, 4], [5], [6]) },
  },
  {
    name: 'run: a cut between batches of one writer, which dies',
    memory: { capacity: 4, laneCapacity: 8, maxWriters: 1 },
    quick: { preemptions: 0, deaths: 1 },
    threads: {
      writerA: inBatches([1], [2], [3]),
      *tracker(w) {
        yield* w.tracker.advance()
      },
    },
  },
  {
    name: 'run: batches of two writers, the ring full',
    memory: { capacity: 2, laneCapacity: 8, maxWriters: 2 },
    quick: { preemptions: 1, deaths: 1, together: 1 },
    threads: { writerA: inBatches([1], [2]), writerB: inBatches([3]) },
  },
  {
    name: 'run: the aggregator recovers from an exception in the middle of it, and dies',
    memory: { capacity: 4, laneCapacity: 8, maxWriters: 1, smallestTable: 4 },
    throws: 1,
    killWriters: false,
    quick: { preemptions: 0, deaths: 1, throws: 1, together: 1 },
    threads: { writerA: inBatches([1, 2], [0, 8]) },
  },
]
