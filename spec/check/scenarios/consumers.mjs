/** Scenarios of several named consumers; ../scenarios.mjs says what a scenario is. */
import { Failure } from '../runtime.mjs'
import { inBatches } from './bodies.mjs'
import { asks } from './readers.mjs'

const SMALL = { capacity: 2, laneCapacity: 8, maxWriters: 1 }
const TEXT = { maxStringsPerEpoch: 4, maxStringBytesPerEpoch: 24, laneTextBytes: 128 }

const lanes = new WeakMap()

/** A writer of the tracker's own thread publishes these as one batch. */
function* marks(w, ...keys) {
  if (!lanes.has(w)) lanes.set(w, yield* w.open())
  yield* w.markManyWaiting(lanes.get(w), keys)
  yield* w.flushWaiting(lanes.get(w))
}

const seeds =
  (...keys) =>
  ({ seed }) =>
    seed(keys)

/** Cuts for each of them in turn, then asks for all. */
function* advanceAll(w, ...order) {
  for (const k of order) {
    const consumer = w.consumers.all[k]
    yield* w.consumers.advance(consumer)
    yield* w.consumers.commit(consumer)
  }
}

/** @type {import('../types.js').Scenario[]} */
export const scenarios = [
  {
    name: 'consumers: an epoch is copied for another, by an aggregator that dies',
    memory: SMALL,
    consumers: 2,
    quick: { preemptions: 0, deaths: 1 },
    setUp: seeds(100, 0, 101),
    threads: {
      *tracker(w) {
        yield* advanceAll(w, 0, 1)
      },
    },
  },
  {
    name: 'consumers: an epoch is united with a backlog, by an aggregator that dies',
    memory: SMALL,
    consumers: 2,
    repeats: true,
    quick: { preemptions: 0, deaths: 1 },
    setUp: seeds(100, 0, 101),
    threads: {
      *tracker(w) {
        const [one, two] = w.consumers.all
        yield* w.consumers.advance(one)
        yield* marks(w, 101, 1, 2)
        yield* w.consumers.advance(two)
        yield* w.consumers.commit(two)
        yield* w.consumers.commit(one)
        yield* advanceAll(w, 0)
      },
    },
  },
  {
    name: 'consumers: two cut at once, and a batch comes between',
    memory: { ...SMALL, capacity: 4 },
    consumers: 2,
    killWriters: false,
    quick: { preemptions: 1, deaths: 0 },
    setUp: seeds(100, 101, 102),
    threads: {
      writerA: inBatches([1, 2]),
      *tracker(w) {
        const [one, two] = w.consumers.all
        const first = yield* w.consumers.seal(one)
        const second = yield* w.consumers.seal(two)
        yield* w.consumers.sealed(second)
        yield* w.consumers.sealed(first)
      },
    },
  },
  {
    name: 'consumers: batches, a close and everything beside the steps of a merge',
    memory: { ...SMALL, capacity: 4 },
    consumers: 3,
    killWriters: false,
    repeats: true,
    quick: { preemptions: 0, deaths: 1 },
    setUp: seeds(100, 101, 102, 103, 104),
    threads: {
      *tracker(w) {
        const lane = yield* w.open()
        const [one, two] = w.consumers.all
        const ticket = yield* w.consumers.seal(one)
        yield* w.markMany(lane, [1, 2])
        yield* w.flushWaiting(lane)
        yield* w.everything(lane)
        yield* w.mark(lane, 3)
        yield* w.close(lane)
        yield* w.consumers.sealed(ticket)
        yield* w.consumers.advance(two)
      },
    },
  },
  {
    name: 'consumers: cuts follow while merges of the first are left',
    memory: { ...SMALL, capacity: 4 },
    consumers: 3,
    quick: { preemptions: 0, deaths: 1 },
    setUp: seeds(100, 101, 102),
    threads: {
      *tracker(w) {
        const tickets = []
        for (const consumer of w.consumers.all) tickets.push(yield* w.consumers.seal(consumer))
        for (const ticket of tickets) yield* w.consumers.sealed(ticket)
      },
    },
  },
  {
    name: 'consumers: a slot is opened by the cut that follows its merges',
    memory: SMALL,
    consumers: 2,
    quick: { preemptions: 0, deaths: 1 },
    setUp: seeds(100, 101),
    threads: {
      *tracker(w) {
        const [one, two] = w.consumers.all
        yield* w.consumers.advance(one)
        yield* w.consumers.restore(one)
        yield* marks(w, 1)
        const first = yield* w.consumers.seal(two)
        const second = yield* w.consumers.seal(one)
        yield* w.consumers.sealed(first)
        yield* w.consumers.sealed(second)
      },
    },
  },
  {
    name: 'consumers: a stop while merges are left, and one last epoch for each',
    memory: SMALL,
    consumers: 3,
    quick: { preemptions: 0, deaths: 1 },
    setUp: seeds(100, 101, 102),
    threads: {
      *tracker(w) {
        yield* w.consumers.seal(w.consumers.all[0])
        yield* w.tracker.stop()
        for (const consumer of w.consumers.all) yield* w.consumers.last(consumer)
      },
    },
  },
  {
    name: 'consumers: a stop unites what was given back with the last epoch',
    memory: SMALL,
    consumers: 2,
    repeats: true,
    quick: { preemptions: 0, deaths: 1 },
    setUp: seeds(100),
    threads: {
      *tracker(w) {
        const [one, two] = w.consumers.all
        yield* w.consumers.advance(one)
        yield* marks(w, 1)
        yield* w.consumers.advance(two)
        yield* w.consumers.restore(one)
        yield* marks(w, 2, 1)
        yield* w.tracker.stop()
        for (const consumer of w.consumers.all) yield* w.consumers.last(consumer)
      },
    },
  },
  {
    name: 'consumers: one gives its epoch back while another cuts',
    memory: SMALL,
    consumers: 2,
    quick: { preemptions: 0, deaths: 1 },
    setUp: seeds(100, 101),
    threads: {
      *tracker(w) {
        const [one, two] = w.consumers.all
        yield* w.consumers.advance(one)
        yield* marks(w, 1)
        const ticket = yield* w.consumers.seal(two)
        yield* w.consumers.restore(one)
        yield* marks(w, 2)
        yield* w.consumers.advance(one)
        yield* w.consumers.commit(one)
        yield* w.consumers.sealed(ticket)
      },
    },
  },
  {
    name: 'consumers: one asks for two epochs at once',
    memory: SMALL,
    consumers: 2,
    quick: { preemptions: 0, deaths: 1 },
    setUp: seeds(100, 101),
    threads: {
      *tracker(w) {
        const [one] = w.consumers.all
        const first = yield* w.consumers.seal(one)
        const second = yield* w.consumers.seal(one)
        yield* w.consumers.sealed(first)
        yield* w.consumers.commit(one)
        yield* w.consumers.sealed(second)
      },
    },
  },
  {
    name: 'consumers: a cut is aborted in the ring, and asked for again',
    memory: SMALL,
    consumers: 2,
    quick: { preemptions: 0, deaths: 1 },
    setUp: seeds(100, 101),
    threads: {
      *tracker(w) {
        const [one, two] = w.consumers.all
        yield* w.consumers.seal(one)
        yield* w.consumers.abandon(one)
        const ticket = yield* w.consumers.seal(two)
        yield* w.consumers.advance(one)
        yield* w.consumers.sealed(ticket)
      },
    },
  },
  {
    name: 'consumers: one closes with an epoch in hand, and another is opened',
    memory: SMALL,
    consumers: 2,
    quick: { preemptions: 0, deaths: 1 },
    setUp: seeds(100, 101),
    threads: {
      *tracker(w) {
        const [one, two] = w.consumers.all
        yield* w.consumers.advance(one)
        yield* w.consumers.close(one)
        yield* marks(w, 1)
        yield* w.consumers.advance(two)
        yield* w.consumers.commit(one)
        const three = yield* w.consumers.open()
        yield* w.consumers.commit(two)
        yield* w.consumers.advance(two)
        yield* w.consumers.advance(three)
      },
    },
  },
  {
    name: 'consumers: one closes with a cut in flight',
    memory: SMALL,
    consumers: 2,
    quick: { preemptions: 0, deaths: 1 },
    setUp: seeds(100, 101),
    threads: {
      *tracker(w) {
        const [one, two] = w.consumers.all
        yield* w.consumers.seal(one)
        yield* w.consumers.abandon(one)
        yield* w.consumers.close(one)
        const three = yield* w.consumers.open(true)
        yield* w.consumers.advance(three)
        yield* w.consumers.advance(two)
      },
    },
  },
  {
    name: 'consumers: a cut waits in the queue, and who has a backlog changes meanwhile',
    memory: { ...SMALL, capacity: 1 },
    consumers: 2,
    quick: { preemptions: 0, deaths: 1 },
    threads: {
      *tracker(w) {
        const [one, two] = w.consumers.all
        yield* marks(w, 100, 101)
        yield* w.consumers.advance(one)
        yield* marks(w, 1)
        const ticket = yield* w.consumers.seal(two) // it may find the ring full
        yield* w.consumers.restore(one)
        yield* w.consumers.sealed(ticket)
        yield* w.consumers.advance(one)
      },
    },
  },
  {
    name: 'consumers: a fresh one stays fresh until it commits',
    memory: SMALL,
    consumers: 2,
    fresh: true,
    quick: { preemptions: 0, deaths: 1 },
    setUp: seeds(100, 101),
    threads: {
      *tracker(w) {
        const [one, two] = w.consumers.all
        yield* w.consumers.advance(one)
        yield* w.consumers.restore(one)
        yield* marks(w, 1)
        yield* w.consumers.advance(one)
        yield* w.consumers.advance(two)
        yield* w.consumers.commit(one)
        yield* marks(w, 2)
        yield* w.consumers.advance(one)
      },
    },
  },
  {
    name: 'consumers: plans of many cuts, before the aggregator carries out the first',
    memory: { ...SMALL, capacity: 64 },
    consumers: 2,
    killAggregator: false,
    quick: { preemptions: 0, deaths: 0 },
    setUp: seeds(100),
    threads: {
      *tracker(w) {
        const [one, two] = w.consumers.all
        const ticket = yield* w.consumers.seal(one)
        yield* w.consumers.close(two)
        for (let k = 0; k < 20; k++) yield* w.consumers.close(yield* w.consumers.open())
        yield* w.consumers.sealed(ticket)
      },
    },
  },
  {
    name: 'consumers: backlogs that become full, by an aggregator that dies',
    memory: { ...SMALL, maxKeysPerEpoch: 2 },
    consumers: 2,
    repeats: true,
    quick: { preemptions: 0, deaths: 1 },
    setUp: seeds(100, 101),
    threads: {
      *tracker(w) {
        const [one, two] = w.consumers.all
        yield* w.consumers.advance(one)
        yield* marks(w, 101, 1)
        yield* w.consumers.advance(two)
        yield* w.consumers.commit(one)
        yield* marks(w, 2, 3, 4)
        yield* w.consumers.advance(one)
        yield* w.consumers.commit(two)
        yield* w.consumers.advance(two)
      },
    },
  },
  {
    name: 'consumers: a copy in a slot that is used again',
    memory: SMALL,
    consumers: 3,
    repeats: true,
    quick: { preemptions: 0, deaths: 0 },
    setUp: seeds(100, 101),
    threads: {
      *tracker(w) {
        for (let round = 0; round < 3; round++) {
          yield* advanceAll(w, 0, 1, 2)
          yield* marks(w, 100, 101)
        }
        const [one, two, three] = w.consumers.all
        yield* w.consumers.close(two)
        yield* w.consumers.close(three)
        yield* w.consumers.open()
        yield* w.consumers.open()
        yield* marks(w, 101, 100)
        yield* w.consumers.advance(one)
      },
    },
  },
  {
    name: 'consumers: texts of backlogs, by an aggregator that dies',
    memory: { ...SMALL, ...TEXT },
    consumers: 2,
    repeats: true,
    quick: { preemptions: 0, deaths: 1 },
    threads: {
      *tracker(w) {
        const [one, two] = w.consumers.all
        yield* marks(w, 1, 'ab', 'c')
        yield* w.consumers.advance(one)
        yield* marks(w, 'c', 'defgh', 2)
        yield* w.consumers.advance(two)
        yield* w.consumers.commit(one)
        yield* marks(w, 'i')
        yield* w.consumers.advance(one)
      },
    },
  },
  {
    name: 'consumers: exceptions of the aggregator in merges',
    memory: SMALL,
    consumers: 2,
    throws: 1,
    repeats: true,
    quick: { preemptions: 0, deaths: 0, throws: 1 },
    setUp: seeds(100, 0, 101),
    threads: {
      *tracker(w) {
        const [one, two] = w.consumers.all
        yield* w.consumers.advance(one)
        yield* marks(w, 101, 1, 2)
        yield* w.consumers.advance(two)
        yield* w.tracker.stop()
      },
    },
  },
  {
    name: 'consumers: a synchronous cut is made now, or leaves no trace',
    memory: { ...SMALL, capacity: 1 },
    consumers: 2,
    quick: { preemptions: 1, deaths: 0 },
    threads: {
      *tracker(w) {
        const [one, two] = w.consumers.all
        const ticket = yield* w.consumers.trySeal(one)
        if (yield* w.consumers.trySeal(one))
          throw new Failure('invariant', 'a consumer has two cuts at once')
        yield* marks(w, 1)
        if (ticket !== undefined) yield* w.consumers.sealed(ticket)
        yield* w.consumers.advance(two)
      },
    },
  },
  {
    name: 'reader: asks for a number in an epoch that a consumer gives back, and that is merged into',
    memory: { ...SMALL, laneCapacity: 2, maxKeysPerEpoch: 4 },
    consumers: 1,
    readers: true,
    killAggregator: false,
    repeats: true,
    quick: { preemptions: 1, deaths: 0, stales: 1 },
    setUp: seeds(100, 101),
    threads: {
      reader: asks(100, 1),
      *tracker(w) {
        const [one] = w.consumers.all
        yield* w.tracker.postHandle(yield* w.consumers.advance(one))
        yield* w.consumers.restore(one)
        yield* marks(w, 1, 2)
        yield* w.consumers.advance(one)
      },
    },
  },
]
