/** Scenarios of texts; ../scenarios.mjs says what a scenario is. */

/** A text ring of 16 words; a text of up to 4 bytes takes 3 of them, the longest 6. */
const TEXT = { maxStringsPerEpoch: 8, maxStringBytesPerEpoch: 64, laneTextBytes: 64 }
const LONG = 'abcdefghijklmnop'
const OTHER = 'ABCDEFGHIJKLMNOP'
/** Each of its words, read as a tag, names the end 8. */
const LOOKS_LIKE_TAGS = '\x09\x00\x00\x00'.repeat(4)

/** Marks each of these, texts and numbers, waiting where it has to. */
function* marksAll(w, lane, keys) {
  for (const key of keys) {
    const mark = typeof key === 'string' ? w.markTextWaiting(lane, key) : w.markWaiting(lane, key)
    if (!(yield* mark)) return false
  }
  return true
}

/** @type {import('../types.js').Scenario[]} */
export const scenarios = [
  {
    name: 'text: texts and numbers of one hash, in one batch',
    memory: { ...TEXT, capacity: 2, laneCapacity: 8, maxWriters: 1, textStart: 2 ** 31 - 6 },
    quick: { preemptions: 1, together: 1 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* marksAll(w, lane, [7, 'a', 'b', 1, 'a'])
        yield* w.flush(lane)
        yield* marksAll(w, lane, [7, 'b'])
        yield* w.flush(lane)
      },
    },
  },
  {
    name: 'text: a writer that dies anywhere, and the next owner marks numbers there',
    memory: { ...TEXT, capacity: 2, laneCapacity: 4, maxWriters: 1, textStart: 12 },
    cold: true,
    exits: true,
    killAggregator: false,
    quick: { preemptions: 0, deaths: 1 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        if (typeof lane === 'string') return
        yield* w.markText(lane, 'a')
        yield* w.markText(lane, LONG)
      },
      *writerB(w) {
        yield* w.untilSo(() => w.exits.length > 0)
        const lane = yield* w.openWhenFree()
        yield* w.mark(lane, 42)
        yield* w.flush(lane)
        yield* w.markText(lane, 'b')
        yield* w.mark(lane, 44)
        yield* w.flush(lane)
      },
      *tracker(w) {
        yield* w.tracker.join()
      },
    },
  },
  {
    name: 'text: a lane in which its last owner has left a tag',
    memory: { ...TEXT, capacity: 2, laneCapacity: 4, maxWriters: 1, textStart: 12 },
    cold: true,
    killWriters: false,
    quick: { preemptions: 1, deaths: 0, stales: 1 },
    setUp({ core, words, memory }) {
      const lane = core.laneAt(memory.layout, 0)
      words[lane + core.LANE_TEXT] = 1
      words[lane + memory.layout.laneText + 12] = 1 // it names the first key that is marked now
    },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.mark(lane, 42)
        yield* w.flush(lane)
        yield* w.markText(lane, 'b')
        yield* w.mark(lane, 44)
        yield* w.flush(lane)
      },
    },
  },
  {
    name: 'text: a full text ring, entries that wrap',
    memory: { ...TEXT, capacity: 2, laneCapacity: 8, maxWriters: 1 },
    quick: { preemptions: 1, deaths: 0 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* marksAll(w, lane, ['a', LONG, OTHER, 'b', LONG, 1, OTHER])
        yield* w.flushWaiting(lane)
      },
    },
  },
  {
    name: 'text: texts of other laps behind the last one',
    memory: { ...TEXT, capacity: 2, laneCapacity: 8, maxWriters: 1 },
    repeats: true,
    quick: { preemptions: 0, deaths: 0 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        // In the first lap the words of a text look like tags of the keys of the second.
        for (let lap = 0; lap < 2; lap++)
          for (let key = 0; key < 4; key++) {
            yield* marksAll(w, lane, lap === 0 ? [LOOKS_LIKE_TAGS] : ['a', 1, 2])
            yield* w.flushWaiting(lane)
          }
      },
    },
  },
  {
    name: 'text: keys staged behind a batch that is being taken',
    memory: { ...TEXT, capacity: 2, laneCapacity: 2, maxWriters: 1, textStart: 9 },
    killWriters: false,
    quick: { preemptions: 2, deaths: 0, stales: 2 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.markText(lane, 'a')
        yield* w.flush(lane)
        yield* w.markText(lane, 'b')
        yield* w.flush(lane)
        yield* w.markWaiting(lane, 9)
        yield* w.flush(lane)
      },
    },
  },
  {
    name: 'text: by an aggregator that dies twice',
    memory: { ...TEXT, capacity: 2, laneCapacity: 4, maxWriters: 1 },
    killWriters: false,
    quick: { preemptions: 0, deaths: 1 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* marksAll(w, lane, ['a', 5])
        yield* w.flush(lane)
        yield* marksAll(w, lane, ['b', 'a'])
        yield* w.flush(lane)
      },
    },
  },
  {
    name: 'text: room is given back by an aggregator that dies, and the writer goes on',
    memory: { ...TEXT, capacity: 2, laneCapacity: 4, maxWriters: 1, textStart: 3 },
    killWriters: false,
    quick: { preemptions: 1, deaths: 1 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* marksAll(w, lane, [LONG])
        yield* w.flushWaiting(lane)
        yield* marksAll(w, lane, [OTHER, 'a'])
        yield* w.flushWaiting(lane)
      },
    },
  },
  {
    name: 'text: close, and the next owner of the lane, by an aggregator that dies',
    memory: { ...TEXT, capacity: 2, laneCapacity: 4, maxWriters: 1, textStart: 12 },
    cold: true,
    killWriters: false,
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        if (typeof lane === 'string') return
        yield* w.markText(lane, LONG)
        yield* w.flush(lane)
        yield* w.markText(lane, 'a')
        yield* w.mark(lane, 1)
        yield* w.close(lane)
      },
      *writerB(w) {
        const lane = yield* w.openWhenFree()
        yield* w.mark(lane, 11)
        yield* w.markText(lane, 'b')
        yield* w.flushWaiting(lane)
      },
      *tracker(w) {
        yield* w.tracker.join()
      },
    },
  },
  {
    name: 'text: a cut, and a restore, by an aggregator that dies',
    memory: { ...TEXT, capacity: 2, laneCapacity: 4, maxWriters: 1, epochSlots: 2 },
    repeats: true,
    killWriters: false,
    quick: { preemptions: 0, deaths: 1 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* marksAll(w, lane, ['a', 1])
        yield* w.flushWaiting(lane)
        w.results.marked = true
        w.run.event()
        yield* w.untilSo(() => w.results.cut === true)
        yield* marksAll(w, lane, ['b', 1])
        yield* w.flushWaiting(lane)
      },
      *tracker(w) {
        yield* w.untilSo(() => w.results.marked === true)
        const epoch = yield* w.tracker.advance()
        w.results.cut = true
        w.run.event()
        yield* w.tracker.restore(epoch)
        yield* w.tracker.join('writerA')
        const next = yield* w.tracker.advance()
        yield* w.tracker.commit(next)
      },
    },
  },
  {
    name: 'text: markMany of texts and numbers, by a writer that dies',
    memory: { ...TEXT, capacity: 2, laneCapacity: 8, maxWriters: 1, textStart: 9 },
    exits: true,
    killAggregator: false,
    quick: { preemptions: 1, deaths: 1, together: 1 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.markMany(lane, [1, 'a', LONG, 2])
        yield* w.markMany(lane, ['b', 3])
        yield* w.flush(lane)
      },
      *tracker(w) {
        yield* w.tracker.join('writerA')
        yield* w.tracker.advance()
      },
    },
  },
  {
    name: 'text: exceptions, and the writer goes on with numbers',
    memory: { ...TEXT, capacity: 2, laneCapacity: 8, maxWriters: 1, textStart: 12 },
    throws: 1,
    quick: { preemptions: 0, deaths: 0, throws: 1 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.tries(w.markText(lane, 'a'))
        yield* w.mark(lane, 1)
        yield* w.tries(w.markMany(lane, [2, 'b', LONG]))
        yield* w.mark(lane, 3)
        yield* w.tries(w.markText(lane, 'c'))
        yield* w.mark(lane, 4)
        yield* w.flushWaiting(lane)
      },
    },
  },
  {
    name: 'text: exceptions of the aggregator',
    memory: { ...TEXT, capacity: 2, laneCapacity: 4, maxWriters: 1, smallestTextTable: 2 },
    throws: 1,
    killWriters: false,
    quick: { preemptions: 0, deaths: 1, throws: 1, together: 1 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* marksAll(w, lane, ['a', 'b', 'c', 'a'])
        yield* w.flush(lane)
      },
    },
  },
  {
    name: 'text: in a batch, harvested after a death in it',
    memory: { ...TEXT, capacity: 2, laneCapacity: 4, maxWriters: 1 },
    exits: true,
    repeats: true,
    quick: { preemptions: 0, deaths: 1 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.markText(lane, 'a')
        yield* w.batch(lane, function* () {
          yield* w.markText(lane, 'a')
          yield* w.flushInBatch(lane)
          yield* w.markText(lane, 'b')
        })
      },
      *tracker(w) {
        yield* w.tracker.join('writerA')
        yield* w.tracker.advance()
      },
    },
  },
  {
    name: 'text: growth of their table, in a slot that is used again',
    memory: {
      ...TEXT,
      capacity: 2,
      laneCapacity: 8,
      maxWriters: 1,
      epochSlots: 2,
      smallestTextTable: 2,
    },
    repeats: true,
    killWriters: false,
    quick: { preemptions: 0, deaths: 1 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        for (const [round, keys] of [['a', 'b', 'c'], ['d'], ['a', 'c', 'd']].entries()) {
          yield* w.untilSo(() => (w.results.round ?? 0) === round)
          yield* marksAll(w, lane, keys)
          yield* w.flushWaiting(lane)
          w.results.done = round + 1
          w.run.event()
        }
      },
      *tracker(w) {
        for (let round = 0; round < 2; round++) {
          yield* w.untilSo(() => w.results.done === round + 1)
          yield* w.tracker.commit(yield* w.tracker.advance())
          w.results.round = round + 1
          w.run.event()
        }
      },
    },
  },
  {
    name: 'text: more than an epoch holds, in number and in bytes',
    memory: {
      ...TEXT,
      capacity: 2,
      laneCapacity: 8,
      maxWriters: 1,
      maxStringsPerEpoch: 3,
      maxStringBytesPerEpoch: 20,
      laneTextBytes: 128,
    },
    repeats: true,
    killWriters: false,
    quick: { preemptions: 0, deaths: 1 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.markManyWaiting(lane, ['abcdefgh', LONG, 'b', 1])
        yield* w.flushWaiting(lane)
        yield* w.markManyWaiting(lane, ['c', 'd', 'b'])
        yield* w.flushWaiting(lane)
      },
    },
  },
  {
    name: 'text: stop, against a writer that marks texts',
    memory: { ...TEXT, capacity: 2, laneCapacity: 4, maxWriters: 1, batchSize: 1 },
    killAggregator: false,
    quick: { preemptions: 1, deaths: 0 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        if (!(yield* w.markText(lane, 'a'))) return
        yield* w.markText(lane, 'b')
      },
      *tracker(w) {
        yield* w.tracker.stop()
      },
    },
  },
]
