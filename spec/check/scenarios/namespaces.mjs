/**
 * Scenarios of namespaces that change as a whole, and of consumers that want some namespaces only;
 * ../scenarios.mjs says what a scenario is. An epoch keeps two namespaces apart here.
 */
const SMALL = { capacity: 2, laneCapacity: 8, maxWriters: 1 }
const TEXT = { maxStringsPerEpoch: 4, maxStringBytesPerEpoch: 24, laneTextBytes: 128 }

/** A key of a namespace. */
const of = (namespace, key) => namespace * 2 ** 32 + key

const seeds =
  (...keys) =>
  ({ seed }) =>
    seed(keys)

const lanes = new WeakMap()

function* laneOf(w) {
  if (!lanes.has(w)) lanes.set(w, yield* w.open())
  return lanes.get(w)
}

/** A writer of the tracker's own thread publishes these as one batch. */
function* marks(w, ...keys) {
  const lane = yield* laneOf(w)
  yield* w.markManyWaiting(lane, keys)
  yield* w.flushWaiting(lane)
}

/** The writer marks namespaces as a whole, the last one with no room in the ring. */
const marksAll = (...namespaces) =>
  function* (w) {
    const lane = yield* w.open()
    for (const namespace of namespaces) yield* w.everything(lane, namespace)
    yield* w.close(lane)
  }

/** @type {import('../types.js').Scenario[]} */
export const scenarios = [
  {
    name: 'namespaces: three change as a whole, and an epoch has room for two, by an aggregator that dies',
    memory: { ...SMALL, capacity: 4 },
    quick: { preemptions: 0, deaths: 1 },
    threads: {
      *tracker(w) {
        yield* w.tracker.everything(4)
        yield* w.tracker.everything(5)
        yield* w.tracker.everything(4)
        yield* w.tracker.commit(yield* w.tracker.advance())
        for (const namespace of [6, 7, 8]) yield* w.tracker.everything(namespace)
        yield* w.tracker.commit(yield* w.tracker.advance())
        yield* w.tracker.commit(yield* w.tracker.advance())
        yield* w.tracker.everything(9)
        yield* w.tracker.advance()
      },
    },
  },
  {
    name: 'namespaces: a restore takes them, by an aggregator that dies',
    memory: SMALL,
    quick: { preemptions: 0, deaths: 1 },
    threads: {
      *tracker(w) {
        for (const namespace of [4, 5]) yield* w.tracker.everything(namespace)
        const first = yield* w.tracker.advance()
        yield* w.tracker.everything(5)
        yield* w.tracker.restored(yield* w.tracker.restore(first))
        const second = yield* w.tracker.advance()
        yield* w.tracker.everything(6)
        yield* w.tracker.restored(yield* w.tracker.restore(second))
        yield* w.tracker.advance()
      },
    },
  },
  {
    name: 'namespaces: a writer marks two as a whole, and the ring is full',
    memory: { ...SMALL, capacity: 1 },
    quick: { preemptions: 1, deaths: 1, together: 1 },
    threads: {
      writerA: marksAll(4, 5),
      *tracker(w) {
        yield* w.tracker.advance()
        yield* w.tracker.join()
      },
    },
  },
  {
    name: 'namespaces: against stop',
    memory: { ...SMALL, capacity: 1 },
    consumers: 2,
    wanted: [[4], [5]],
    quick: { preemptions: 1, deaths: 1, together: 1 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.mark(lane, of(5, 1))
        yield* w.flush(lane)
        yield* w.everything(lane, 4)
      },
      *tracker(w) {
        yield* w.tracker.stop()
      },
    },
  },
  {
    name: 'namespaces: markEverything() of one beside the cuts of two consumers',
    memory: SMALL,
    consumers: 2,
    wanted: [[4], undefined],
    quick: { preemptions: 1, deaths: 1, together: 1 },
    setUp: seeds(of(4, 1), of(5, 2)),
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.everything(lane, 5)
        yield* w.everything(lane, 4)
      },
      *tracker(w) {
        const [some, all] = w.consumers.all
        yield* w.consumers.advance(some)
        yield* w.consumers.advance(all)
      },
    },
  },
  {
    name: 'namespaces: a consumer of some has a copy of them, by an aggregator that dies',
    memory: { ...SMALL, ...TEXT },
    consumers: 2,
    wanted: [[4, 6], undefined],
    repeats: true,
    quick: { preemptions: 0, deaths: 1 },
    threads: {
      *tracker(w) {
        const [some, all] = w.consumers.all
        yield* marks(w, of(4, 1), 1, of(5, 2), of(6, 3), 'ab')
        yield* w.consumers.advance(some)
        yield* w.tracker.everything(5)
        yield* marks(w, of(5, 4), of(6, 5), of(4, 1))
        yield* w.consumers.advance(all)
        yield* w.consumers.commit(some)
        yield* w.consumers.commit(all)
        yield* marks(w, of(6, 6), of(5, 6))
        yield* w.consumers.advance(some)
        yield* w.consumers.restore(some)
        yield* w.consumers.advance(all)
      },
    },
  },
  {
    name: 'namespaces: a consumer of numbers and texts without a namespace',
    memory: { ...SMALL, ...TEXT },
    consumers: 2,
    wanted: [[0], [4]],
    repeats: true,
    quick: { preemptions: 0, deaths: 1 },
    threads: {
      *tracker(w) {
        const [plain, other] = w.consumers.all
        yield* marks(w, 1, 'ab', of(4, 1))
        yield* w.consumers.advance(other)
        yield* marks(w, 'c', of(4, 2))
        yield* w.consumers.advance(plain)
      },
    },
  },
  {
    name: 'namespaces: a slot is copied into that has other keys, by an aggregator that dies',
    memory: SMALL,
    consumers: 1,
    wanted: [[4]],
    quick: { preemptions: 0, deaths: 1 },
    setUp: seeds(of(4, 1), of(5, 2)),
    threads: {
      *tracker(w) {
        const [some] = w.consumers.all
        yield* w.consumers.advance(some)
        yield* w.consumers.commit(some)
        yield* marks(w, of(4, 3))
        yield* w.consumers.advance(some)
      },
    },
  },
  {
    name: 'namespaces: merges of more than a backlog has room for',
    memory: SMALL,
    consumers: 3,
    wanted: [[4, 5, 6], undefined, [5]],
    quick: { preemptions: 0, deaths: 1 },
    threads: {
      *tracker(w) {
        const [some, all, one] = w.consumers.all
        for (const namespace of [4, 5]) yield* w.tracker.everything(namespace)
        yield* w.consumers.advance(all)
        yield* w.consumers.commit(all)
        for (const namespace of [5, 6]) yield* w.tracker.everything(namespace)
        yield* w.consumers.advance(all)
        yield* w.consumers.advance(some)
        yield* w.consumers.advance(one)
      },
    },
  },
  {
    name: 'namespaces: a superset is merged for a consumer of some',
    memory: { ...SMALL, maxKeysPerEpoch: 2 },
    consumers: 2,
    wanted: [[4], undefined],
    repeats: true,
    quick: { preemptions: 0, deaths: 1 },
    setUp: seeds(of(4, 1), of(5, 2)),
    threads: {
      *tracker(w) {
        const [some, all] = w.consumers.all
        yield* w.consumers.advance(all)
        yield* w.consumers.commit(all)
        yield* marks(w, of(5, 3), of(4, 4), of(4, 5))
        yield* w.consumers.advance(some)
        yield* w.consumers.advance(all)
      },
    },
  },
  {
    name: 'namespaces: last epochs, by an aggregator that dies',
    memory: SMALL,
    consumers: 3,
    wanted: [[4], [5], undefined],
    repeats: true,
    quick: { preemptions: 0, deaths: 1 },
    setUp: seeds(of(4, 1), of(5, 2)),
    threads: {
      *tracker(w) {
        const [four, five] = w.consumers.all
        yield* w.consumers.advance(four)
        yield* marks(w, of(4, 3), of(5, 3))
        yield* w.consumers.restore(four)
        yield* w.consumers.advance(five)
        yield* w.consumers.commit(five)
        yield* marks(w, of(4, 4))
        yield* w.tracker.everything(5)
        yield* w.tracker.stop()
        for (const consumer of w.consumers.all) yield* w.consumers.last(consumer)
      },
    },
  },
  {
    name: 'namespaces: choices come and go before the aggregator carries out the first plan',
    memory: { ...SMALL, capacity: 64 },
    consumers: 2,
    wanted: [[4], undefined],
    killAggregator: false,
    quick: { preemptions: 0, deaths: 0 },
    setUp: seeds(of(4, 1)),
    threads: {
      *tracker(w) {
        const [some, all] = w.consumers.all
        const ticket = yield* w.consumers.seal(all)
        yield* w.consumers.close(some)
        for (let k = 0; k < 12; k++)
          yield* w.consumers.close(yield* w.consumers.open(false, [5 + k]))
        yield* w.consumers.sealed(ticket)
      },
    },
  },
  {
    name: 'namespaces: exceptions of the aggregator',
    memory: SMALL,
    consumers: 1,
    wanted: [[4, 6]],
    throws: 1,
    repeats: true,
    quick: { preemptions: 0, deaths: 0, throws: 1 },
    setUp: seeds(of(4, 1), of(5, 2), of(6, 3)),
    threads: {
      *tracker(w) {
        const [some] = w.consumers.all
        for (const namespace of [4, 5]) yield* w.tracker.everything(namespace)
        yield* w.consumers.advance(some)
      },
    },
  },
]
