/**
 * What is explored. Each scenario is small: two or three threads beside the aggregator, a ring of
 * one or two slots, a few keys. `quick` are the bounds at which `npm test` goes through all of it;
 * without, it is too large for that, and a seeded slice is run. README.md shows how to write one.
 */
import { scenarios as batchRingScenarios } from './batch-ring.mjs'
import { scenarios as dictionaryScenarios } from './dictionary.mjs'

/**
 * A writer that marks and publishes each of these, one batch after the other, waiting where it has
 * to; then its thread ends.
 */
const publishes = (...keys) =>
  function* (w) {
    const lane = yield* w.open()
    for (const key of keys) {
      if (!(yield* w.markWaiting(lane, key))) return
      if (!(yield* w.flushWaiting(lane))) return
    }
  }

/** The same, and it does not wait: what finds the ring full stays staged. */
const offers = (...keys) =>
  function* (w) {
    const lane = yield* w.open()
    for (const key of keys) {
      yield* w.mark(lane, key)
      yield* w.flush(lane)
    }
  }

/**
 * A writer that publishes these batches, however far the aggregator has come; what finds the ring
 * full stays staged.
 */
const inBatches = (...batches) =>
  function* (w) {
    const lane = yield* w.open()
    for (const batch of batches) {
      yield* w.markMany(lane, batch)
      yield* w.flush(lane)
    }
  }

/**
 * A writer that publishes a batch in each of these epochs, which the tracker cuts and commits one
 * after the other.
 */
const inRounds = (...batches) => ({
  *writerA(w) {
    const lane = yield* w.open()
    for (let round = 0; round < batches.length; round++) {
      if (batches[round].length > 0) yield* w.markMany(lane, batches[round])
      yield* w.flushWaiting(lane)
      w.results.published = round
      w.run.event()
      yield* w.untilSo(() => (w.results.sealed ?? -1) >= round)
    }
  },
  *tracker(w) {
    for (let round = 0; round < batches.length; round++) {
      yield* w.tracker.wait(() => (w.results.published ?? -1) >= round)
      yield* w.tracker.commit(yield* w.tracker.advance())
      w.results.sealed = round
      w.run.event()
    }
  },
})

export const scenarios = [
  // -------------------------------------------------------------------------------------- the ring
  {
    name: 'push: two producers, two slots, nobody consumes',
    memory: { capacity: 2 },
    aggregator: false,
    quick: {},
    threads: { writerA: offers(1, 2), writerB: offers(11, 12) },
  },
  {
    name: 'push: three producers, four slots, nobody consumes',
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
    quick: {},
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
    quick: {},
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

  // ------------------------------------------------------------------------------------- the lanes
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
    quick: { preemptions: 1 },
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
    quick: { preemptions: 0, deaths: 2 },
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
    quick: { preemptions: 1, deaths: 1 },
    threads: { writerA: inBatches([1], [2]), writerB: inBatches([3]) },
  },
  {
    name: 'run: the aggregator recovers from an exception in the middle of it, and dies',
    memory: { capacity: 4, laneCapacity: 8, maxWriters: 1, smallestTable: 4 },
    throws: 1,
    killWriters: false,
    quick: { preemptions: 0, deaths: 1, throws: 1 },
    threads: { writerA: inBatches([1, 2], [0, 8]) },
  },

  // ------------------------------------------------------------------------------------ the epochs
  {
    name: 'seal: concurrent with a publish of a writer that dies',
    memory: { capacity: 1, maxWriters: 1 },
    killAggregator: false,
    quick: {},
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
    quick: { preemptions: 1 },
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
    quick: {},
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
    quick: {},
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
    name: 'everything: said once is said, and not in the next epoch of its slot',
    memory: { capacity: 1, maxWriters: 1, epochSlots: 2 },
    quick: { preemptions: 1 },
    threads: {
      *tracker(w) {
        yield* w.tracker.everything()
        yield* w.tracker.commit(yield* w.tracker.advance())
        yield* w.tracker.commit(yield* w.tracker.advance())
      },
    },
  },

  // -------------------------------------------------------------------------------------- the sets
  {
    name: 'set: overflow in the middle of a batch',
    memory: { capacity: 2, maxWriters: 1, maxKeysPerEpoch: 2 },
    quick: { preemptions: 1 },
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

  // ----------------------------------------------------------------------- open, close, reap, stop
  {
    name: 'open: two writers claim one lane',
    memory: { capacity: 1, maxWriters: 1 },
    cold: true,
    quick: {},
    aggregator: false,
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        if (typeof lane !== 'string') yield* w.mark(lane, 1)
      },
      *writerB(w) {
        const lane = yield* w.open()
        if (typeof lane !== 'string') yield* w.mark(lane, 11)
      },
    },
  },
  {
    name: 'open: a writer that dies while it claims a lane',
    memory: { capacity: 2, maxWriters: 1 },
    cold: true,
    exits: true,
    quick: { preemptions: 1 },
    setUp: holdsBatch,
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        if (typeof lane !== 'string') yield* w.mark(lane, 1)
      },
      *tracker(w) {
        yield* w.tracker.join()
        yield* w.tracker.drained()
      },
    },
  },
  {
    name: 'close: and the next owner of the lane',
    memory: { capacity: 2, laneCapacity: 2, maxWriters: 1 },
    start: { generation: 2 ** 13 - 1, laneEnd: -1 },
    cold: true,
    quick: { preemptions: 1, deaths: 0 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        if (typeof lane === 'string') return
        yield* w.mark(lane, 1)
        yield* w.flush(lane)
        yield* w.mark(lane, 2)
        yield* w.close(lane)
      },
      *writerB(w) {
        const lane = yield* w.openWhenFree()
        yield* w.mark(lane, 11)
        yield* w.flush(lane)
      },
      *tracker(w) {
        yield* w.tracker.join()
      },
    },
  },
  {
    name: 'reap: late, when the lane has its next owner',
    memory: { capacity: 2, laneCapacity: 2, maxWriters: 1 },
    exits: true,
    killAggregator: false,
    killWriters: false,
    quick: { preemptions: 1, deaths: 0 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        // and its thread ends: the tracker may find the lane still owned, and send REAP behind
        // CLOSE
        yield* w.close(lane)
      },
      *tracker(w) {
        yield* w.tracker.join('writerA')
      },
      *nextOwner(w) {
        const lane = yield* w.openWhenFree()
        yield* w.mark(lane, 2)
        yield* w.flush(lane)
        yield* w.mark(lane, 3)
      },
    },
  },
  {
    name: 'reap: a writer that ended with keys staged',
    memory: { capacity: 1, maxWriters: 1 },
    exits: true,
    quick: { preemptions: 1 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.mark(lane, 1)
        yield* w.markMany(lane, [2, 3]) // these are published
        yield* w.mark(lane, 4)
      },
      *tracker(w) {
        yield* w.tracker.join('writerA')
        yield* w.tracker.advance()
      },
    },
  },
  {
    name: 'stop: nothing in flight',
    memory: { capacity: 2, maxWriters: 1 },
    quick: {},
    threads: {
      *tracker(w) {
        yield* w.tracker.stop()
      },
    },
  },
  {
    name: 'stop: races a publish, one slot',
    memory: { capacity: 1, maxWriters: 1 },
    quick: { preemptions: 1 },
    threads: {
      writerA: offers(1),
      *tracker(w) {
        yield* w.tracker.stop()
      },
    },
  },
  {
    name: 'stop: races a publish, two slots',
    memory: { capacity: 2, maxWriters: 1 },
    quick: { deaths: 0 },
    threads: {
      writerA: offers(1, 2),
      *tracker(w) {
        yield* w.tracker.stop()
      },
    },
  },
  {
    name: 'stop: behind a batch, races a publish',
    memory: { capacity: 2, maxWriters: 1 },
    start: { position: 1 },
    quick: { preemptions: 2, deaths: 0 },
    threads: {
      writerA: offers(1),
      *tracker(w) {
        yield* w.tracker.stop()
      },
    },
  },
  {
    name: 'stop: keys that stay staged are said to be',
    memory: { capacity: 2, maxWriters: 1 },
    quick: {},
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.mark(lane, 1)
      },
      *tracker(w) {
        yield* w.tracker.join()
        yield* w.tracker.stop()
      },
    },
  },
  {
    name: 'stop: a writer waits for a slot',
    memory: { capacity: 1, maxWriters: 1 },
    threads: {
      writerA: publishes(1, 2),
      *tracker(w) {
        yield* w.tracker.stop()
      },
    },
  },
  {
    name: 'stop: everything in flight',
    memory: { capacity: 2, maxWriters: 2 },
    repeats: true,
    threads: {
      writerA: offers(1, 2),
      writerB: offers(11),
      *tracker(w) {
        const epoch = yield* w.tracker.advance()
        yield* w.tracker.restore(epoch)
        yield* w.tracker.seal()
        yield* w.tracker.ask()
        yield* w.tracker.stop()
      },
    },
  },
  {
    name: 'stop: next to the wrap of positions, by an aggregator that dies twice',
    memory: { capacity: 2, maxWriters: 1 },
    start: { position: 2 ** 30 - 1 },
    quick: { preemptions: 0, deaths: 2 },
    setUp: holdsBatch,
    threads: {
      *tracker(w) {
        yield* w.tracker.stop()
      },
    },
  },
  {
    name: 'ask: writers are asked to publish',
    memory: { capacity: 2, maxWriters: 1 },
    quick: { preemptions: 1 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        for (const key of [1, 2]) yield* w.mark(lane, key)
      },
      *tracker(w) {
        yield* w.tracker.ask()
        yield* w.tracker.drained()
      },
    },
  },

  {
    name: 'stop: against a writer that marks until it is refused, one slot',
    memory: { capacity: 1, laneCapacity: 2, maxWriters: 1, batchSize: 1 },
    quick: { preemptions: 2, deaths: 0 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        for (const key of [1, 2, 3]) if (!(yield* w.mark(lane, key))) return
      },
      *tracker(w) {
        yield* w.tracker.stop()
      },
    },
  },
  {
    name: 'stop: against a writer that marks the same key until it is refused',
    memory: { capacity: 1, laneCapacity: 4, maxWriters: 1 },
    repeats: true,
    quick: { preemptions: 2, deaths: 0 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        lane.recent = new Int32Array(256)
        for (const key of [1, 1, 1]) if (!(yield* w.mark(lane, key))) return
      },
      *tracker(w) {
        yield* w.tracker.stop()
      },
    },
  },
  {
    name: 'stop: against a batch of many',
    memory: { capacity: 1, laneCapacity: 4, maxWriters: 1 },
    quick: { preemptions: 2, deaths: 0 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        if (yield* w.markMany(lane, [1, 2])) yield* w.markMany(lane, [3, 4])
      },
      *tracker(w) {
        yield* w.tracker.stop()
      },
    },
  },
  {
    name: 'stop: no aggregator is left, and the tracker takes over',
    memory: { capacity: 2, maxWriters: 1 },
    aggregator: false,
    quick: { preemptions: 2, deaths: 0 },
    threads: {
      writerA: offers(1, 2),
      *tracker(w) {
        const { tracker } = w
        tracker.outbox.isClosing = true
        yield* tracker.refuse()
        w.core.requestStop(tracker.outbox)
        while (!(yield* tracker.takeOver()));
      },
    },
  },
  {
    name: 'cut: its caller is aborted before it, and after it',
    memory: { capacity: 2, maxWriters: 1, epochSlots: 2 },
    repeats: true,
    quick: { preemptions: 1, deaths: 0 },
    threads: {
      writerA: offers(1, 2),
      *tracker(w) {
        const first = yield* w.tracker.seal()
        const second = yield* w.tracker.seal() // waits for a slot
        yield* w.tracker.abandon(second)
        if (first.epoch === undefined) yield* w.tracker.abandon(first)
        else yield* w.tracker.commit(first.epoch) // it was handed out before
        yield* w.tracker.drained()
        yield* w.tracker.advance()
      },
    },
  },
  {
    name: 'cut: now or never, in a full ring too',
    memory: { capacity: 1, maxWriters: 1 },
    quick: { preemptions: 1, deaths: 0 },
    threads: {
      writerA: offers(1),
      *tracker(w) {
        const ticket = yield* w.tracker.trySeal()
        if (ticket !== undefined) yield* w.tracker.sealed(ticket)
        yield* w.tracker.advance()
      },
    },
  },

  // --------------------------------------------------------------------------------------- batch()
  {
    name: 'batch: staged in the lane, harvested after a death in it',
    memory: { capacity: 2, maxWriters: 1 },
    exits: true,
    quick: { preemptions: 1 },
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
    quick: { preemptions: 1 },
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
    quick: { preemptions: 2, deaths: 0 },
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
    quick: { preemptions: 2, deaths: 0 },
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

  // ------------------------------------------------------------------------------ markEverything()
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

  // --------------------------------------------------------------------------------------- parking
  {
    name: 'parking: against a batch',
    memory: { capacity: 2, maxWriters: 1 },
    quick: { preemptions: 3 },
    threads: { writerA: offers(1) },
  },
  {
    name: 'parking: against SEAL, RESTORE, EVERYTHING and REAP',
    memory: { capacity: 4, maxWriters: 1 },
    quick: { preemptions: 1 },
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
    name: 'parking: a token of somebody who died, and the tracker waits for it',
    memory: { capacity: 2, maxWriters: 1 },
    killAggregator: false,
    quick: {},
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

  // ------------------------------------------------------------------------------------ exceptions
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
    quick: { preemptions: 0, deaths: 1, throws: 1 },
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

  // ------------------------------------------------------------------------------------- all of it
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

  // -------------------------------------------------------------------------------- the dictionary
  ...dictionaryScenarios,

  // ------------------------------------------------------------------------------------- BatchRing
  ...batchRingScenarios,
]

/**
 * Two keys, 100 and 101, are in the open epoch already, as if an earlier batch had brought them.
 */
function holdsBatch({ seed }) {
  seed([100, 101])
}
