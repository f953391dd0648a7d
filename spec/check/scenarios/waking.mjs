/**
 * Scenarios of epochs() loops that sleep until something is marked; ../scenarios.mjs says what a
 * scenario is. A loop's sleep has no end but a signal, also after a death.
 */
import { Failure } from '../runtime.mjs'
import { holdsBatch, offers } from './bodies.mjs'

const ONE = { capacity: 4, maxWriters: 1 }
/** Two named consumers: the ring and the epoch slots that they need. */
const TWO = { capacity: 4, maxWriters: 1, maxConsumers: 2, epochSlots: 6 }

/** A loop wakes, and cuts: the epoch has something. */
function* wakes(w) {
  yield* w.tracker.untilDirty()
  const { keys, exact } = yield* w.tracker.advance()
  if (exact && keys.length === 0) throw new Failure('invariant', 'a loop woke, and has nothing')
}

/** A writer that publishes a key once the tracker has made a cut. */
const afterTheCut = (...keys) =>
  /** @param {import('../model.mjs').World} w */
  function* (w) {
    const lane = yield* w.open()
    yield* w.untilSo(() => w.results.cut === true)
    for (const key of keys) yield* w.mark(lane, key)
    yield* w.flush(lane)
  }

function cut(w) {
  w.results.cut = true
  w.run.event()
}

/** @type {import('../types.js').Scenario[]} */
export const scenarios = [
  {
    name: 'waking: against a batch',
    memory: ONE,
    killWriters: false,
    quick: { preemptions: 1, together: 1 },
    threads: { writerA: offers(1), tracker: wakes },
  },
  {
    name: 'waking: against a batch of texts',
    memory: { ...ONE, maxStringsPerEpoch: 4 },
    killWriters: false,
    quick: { preemptions: 1, together: 1 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.markText(lane, 'one')
        yield* w.flush(lane)
      },
      tracker: wakes,
    },
  },
  {
    name: 'waking: against markEverything()',
    memory: ONE,
    killWriters: false,
    quick: { preemptions: 1, together: 1 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.everything(lane)
        yield* w.flush(lane)
      },
      tracker: wakes,
    },
  },
  {
    name: 'waking: against a harvest',
    memory: ONE,
    killWriters: false,
    exits: true,
    quick: { preemptions: 1, together: 1 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.mark(lane, 1)
      },
      tracker: wakes,
    },
  },
  {
    name: 'waking: against a restore',
    memory: ONE,
    quick: { preemptions: 1, together: 1 },
    setUp: holdsBatch,
    threads: {
      *tracker(w) {
        yield* w.tracker.restore(yield* w.tracker.advance())
        yield* wakes(w)
      },
    },
  },
  {
    name: 'waking: a cut of another caller takes the first key',
    memory: ONE,
    killWriters: false,
    quick: { preemptions: 0 },
    setUp: holdsBatch,
    threads: {
      writerA: afterTheCut(2),
      *tracker(w) {
        yield* w.core.wantDirty(w.tracker.outbox)
        yield* w.tracker.seal()
        cut(w)
        yield* wakes(w)
      },
    },
  },
  {
    name: 'waking: the slot of the next epoch held keys',
    memory: ONE,
    killWriters: false,
    quick: { preemptions: 0 },
    setUp: holdsBatch,
    threads: {
      writerA: afterTheCut(2),
      *tracker(w) {
        yield* w.tracker.commit(yield* w.tracker.advance())
        yield* w.tracker.seal()
        cut(w)
        yield* wakes(w)
      },
    },
  },
  {
    name: 'waking: a consumer sleeps, and another one takes the key',
    memory: TWO,
    killWriters: false,
    quick: { preemptions: 0 },
    threads: {
      writerA: offers(1),
      *tracker(w) {
        const { outbox } = w.tracker
        const [one, other] = [w.core.newPlace(false), w.core.newPlace(false)]
        outbox.places.push(one, other)
        const ticket = { place: one, epoch: undefined }
        w.core.requestSeal(outbox, ticket)
        yield* w.tracker.untilDirty(other)
        const count = (slot) => w.words[w.core.epochAt(w.layout, slot) + w.core.SLOT_COUNT]
        if (count(other.backlog) + count(outbox.openSlot) !== 1)
          throw new Failure('invariant', 'a consumer woke, and has nothing')
        yield* w.tracker.sealed(ticket)
      },
    },
  },
]
