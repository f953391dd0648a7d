/** Scenarios of threads and lanes that come and go, and of stop(); ../scenarios.mjs says what a scenario is. */
import { holdsBatch, offers, publishes } from './bodies.mjs'

/** @type {import('../types.js').Scenario[]} */
export const scenarios = [
  // ------------------------------------------------------------------------ open, close, reap, stop
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
    quick: { preemptions: 1, together: 1 },
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
    quick: { preemptions: 1, together: 1 },
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
    quick: { preemptions: 1, together: 1 },
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
    name: 'stop: the last epoch says that keys stay staged',
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
    quick: { preemptions: 1, deaths: 0 },
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
    quick: { preemptions: 1, deaths: 0 },
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
    name: 'cut: at once or not at all, in a full ring too',
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
]
