/** Scenarios of epochs that are full and turn into supersets; ../scenarios.mjs says what one is. */
import { filterIn, pairOf } from '../memory.mjs'
import { drive } from '../parts.mjs'
import { inRounds } from './bodies.mjs'

const SMALL = { capacity: 2, laneCapacity: 8, maxWriters: 1, maxKeysPerEpoch: 2 }
const TEXT = { maxStringsPerEpoch: 2, maxStringBytesPerEpoch: 24, laneTextBytes: 128 }

/** Marks each of these lists as one batch, the next one once the last one is published. */
const batches = (...lists) =>
  function* (w) {
    const lane = yield* w.open()
    for (const keys of lists) {
      yield* w.markManyWaiting(lane, keys)
      yield* w.flushWaiting(lane)
    }
  }

/** A restore of the first epoch, `seeded`, into one of which the writer has marked `keys`. */
const restoresInto = (keys) => ({
  *writerA(w) {
    const lane = yield* w.open()
    yield* w.untilSo(() => w.results.cut === true)
    yield* w.markManyWaiting(lane, keys)
    yield* w.flushWaiting(lane)
  },
  *tracker(w) {
    const first = yield* w.tracker.advance()
    w.results.cut = true
    w.run.event()
    yield* w.tracker.join('writerA')
    yield* w.tracker.restored(yield* w.tracker.restore(first))
  },
})

/**
 * An aggregator has died while it filled the filter, and the filter has a key that the log has not:
 * one that came meanwhile.
 */
function fills({ core, words, memory, seed }) {
  seed([100, 101])
  const at = core.epochAt(memory.layout, 0)
  for (let i = 0; i < memory.layout.filterCells * 2; i++) words[at + memory.layout.table + i] = 0
  words[at + core.SLOT_FLAGS] = core.FLAG_OVERFLOW
  words[at + core.SLOT_FORM] = core.FORM_FILLING
  const source = new Int32Array(pairOf(core, '7'))
  drive(core.filterPairs(filterIn(core, memory, 0), source, 0, 2))
}

/** @type {import('../types.js').Scenario[]} */
export const scenarios = [
  {
    name: 'superset: too many numbers, by an aggregator that dies twice',
    memory: SMALL,
    repeats: true,
    killWriters: false,
    quick: { preemptions: 0, deaths: 2 },
    threads: { writerA: batches([1, 2, 0, 3], [4, 1]) },
  },
  {
    name: 'superset: too many texts, by an aggregator that dies',
    memory: { ...SMALL, ...TEXT, maxKeysPerEpoch: 4 },
    repeats: true,
    killWriters: false,
    quick: { preemptions: 0, deaths: 1 },
    threads: { writerA: batches([1, 'a', 'b'], ['c', 2, 'a'], [3, 'd']) },
  },
  {
    name: 'superset: a cut that comes while an epoch turns',
    memory: { ...SMALL, capacity: 1, laneCapacity: 4, maxKeysPerEpoch: 1 },
    repeats: true,
    killWriters: false,
    quick: { preemptions: 0, deaths: 1 },
    threads: {
      writerA: batches([1, 2]),
      *tracker(w) {
        yield* w.tracker.advance()
      },
    },
  },
  {
    name: 'superset: a turn that fills goes on, and keeps what came meanwhile',
    memory: SMALL,
    cold: true,
    repeats: true,
    killWriters: false,
    quick: { preemptions: 0, deaths: 1 },
    setUp: fills,
    came: ['7'],
    threads: { writerA: batches([1]) },
  },
  {
    name: 'superset: restored into an exact epoch, by an aggregator that dies',
    memory: SMALL,
    repeats: true,
    killWriters: false,
    quick: { preemptions: 0, deaths: 1 },
    setUp: ({ seed }) => seed([100, 101, 102]),
    threads: restoresInto([100]),
  },
  {
    name: 'superset: an exact epoch is restored into it, by an aggregator that dies',
    memory: SMALL,
    repeats: true,
    killWriters: false,
    quick: { preemptions: 0, deaths: 1 },
    setUp: ({ seed }) => seed([100, 101]),
    threads: restoresInto([1, 2, 3]),
  },
  {
    name: 'superset: restored into a superset, by an aggregator that dies',
    memory: SMALL,
    repeats: true,
    killWriters: false,
    quick: { preemptions: 0, deaths: 1 },
    setUp: ({ seed }) => seed([100, 101, 102]),
    threads: restoresInto([1, 2, 3]),
  },
  {
    name: 'superset: its slot is used again',
    memory: { ...SMALL, epochSlots: 2 },
    repeats: true,
    killWriters: false,
    quick: { preemptions: 0, deaths: 1 },
    threads: inRounds([1, 2, 3], [4], [1, 5]),
  },
  {
    name: 'superset: exceptions of the aggregator',
    memory: { ...SMALL, ...TEXT },
    throws: 1,
    repeats: true,
    killWriters: false,
    quick: { preemptions: 0, deaths: 0, throws: 1 },
    threads: { writerA: batches([1, 'a', 2, 'b'], ['c', 3], [4]) },
  },
]
