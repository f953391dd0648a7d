/**
 * Scenarios of a thread that reads an epoch which the tracker settles meanwhile, with the functions
 * of epochs/live that attachEpoch() uses; ../scenarios.mjs says what a scenario is.
 */
import { filterIn, keyName, textOf, textsIn } from '../memory.mjs'
import { say } from '../parts.mjs'
import { Failure } from '../runtime.mjs'

const TEXT = { maxStringsPerEpoch: 4, maxStringBytesPerEpoch: 16, laneTextBytes: 64 }

function liveSlot({ core, words, layout }, { id, slot }) {
  const stampAt = core.epochAt(layout, slot) + core.SLOT_STAMP
  return { words, stampAt, stamp: core.stampOf(id) }
}

function checkSame(what, got, wanted) {
  if (got.join(' ') === wanted.join(' ')) return
  throw new Failure('invariant', `a reader was given ${what} ${got}, and the epoch has ${wanted}`)
}

/**
 * Reads the numbers and the texts of an epoch, a key a block, and the texts in one: each is right,
 * or the epoch is settled.
 */
function* walks(w) {
  const { core, layout } = w
  const message = yield* w.received()
  const { slot, keys, header } = message
  const live = liveSlot(w, message)
  const at = core.epochAt(layout, slot)
  const pair = new Int32Array(2)
  for (let k = 0; k < header.count; k++) {
    if (!(yield* core.copyBlock(live, at + layout.log + 2 * k, pair, 2))) {
      say(k)
      w.results.read = k
      return
    }
    checkSame('key', [keyName(pair[0], pair[1])], [keys[k]])
  }
  w.results.read = header.count
  if (header.textEnd === 0) return
  const arena = new Int32Array(header.textEnd)
  if (!(yield* core.copyBlock(live, at + layout.arena, arena, header.textEnd))) return
  // eslint-disable-next-line require-yield
  const get = function* (i) {
    return arena[i]
  }
  checkSame('texts', yield* textsIn(core, get, 0, header.textEnd), keys.slice(header.count))
  w.results.read = keys.length
}

/** has(): a key of the epoch is in it, and the other is not. */
export const asks = (known, other) =>
  function* (w) {
    const { core, layout, words } = w
    const message = yield* w.received()
    const { slot, header } = message
    const live = liveSlot(w, message)
    const at = core.epochAt(layout, slot)
    const set = {
      words,
      table: at + layout.table,
      shift: core.shiftFor(layout.smallestTable * 2 ** header.growth),
      zero: header.zero,
      ...core.secretsAt(words, core.SECRETS),
    }
    w.results.answers = []
    for (const [key, wanted] of [
      [known, core.PRESENT],
      [other, core.ABSENT],
    ]) {
      const answer = yield* core.findNumber(live, set, key, 0)
      say(answer)
      w.results.answers.push(answer)
      if (answer === core.SETTLED) return
      if (answer !== wanted) throw new Failure('invariant', `a reader's has(${key}) is ${answer}`)
    }
  }

/** The same of a superset. */
const asksSuperset = (known, other) =>
  function* (w) {
    const message = yield* w.received()
    const filter = filterIn(w.core, w, message.slot)
    for (const [key, wanted] of [
      [known, w.core.PRESENT],
      [other, w.core.ABSENT],
    ]) {
      const answer = yield* w.core.findFiltered(liveSlot(w, message), filter, key, 0)
      say(answer)
      if (answer === w.core.SETTLED) return
      if (answer !== wanted) throw new Failure('invariant', `a reader's has(${key}) is ${answer}`)
    }
  }

/** The same, for the first text of the epoch. */
const asksText = (name) =>
  function* (w) {
    const { core, layout, words } = w
    const message = yield* w.received()
    const { slot, header, hash } = message
    const at = core.epochAt(layout, slot)
    const set = {
      words,
      arena: at + layout.arena,
      table: at + layout.textTable,
      shift: core.shiftFor(layout.smallestTextTable * 2 ** header.textGrowth),
      end: header.textEnd,
    }
    const { source, head } = textOf(name)
    const answer = yield* core.findText(liveSlot(w, message), set, source, head, hash)
    say(answer)
    w.results.answer = answer
    if (answer === core.ABSENT) throw new Failure('invariant', `a reader's has('${name}') is false`)
  }

/** Marks these, once the slot of the first epoch is open again. */
const marksLater = (mark) =>
  function* (w) {
    const lane = yield* w.open()
    yield* w.untilSo(() => w.results.isUsedAgain === true)
    yield* mark(w, lane)
    yield* w.flush(lane)
  }

/** Hands out the first epoch, settles it, and makes a cut that uses its slot again. */
const settles = (how) =>
  function* (w) {
    const { tracker } = w
    const first = yield* tracker.advance()
    yield* tracker.postHandle(first)
    if (how === 'commit') yield* tracker.commit(first)
    else yield* tracker.restored(yield* tracker.restore(first))
    yield* tracker.advance()
    w.results.isUsedAgain = true
    w.run.event()
  }

const seeds = ({ seed }) => seed([100, 101])

/** @type {import('../types.js').Scenario[]} */
export const scenarios = [
  {
    name: 'reader: walks an epoch that is committed, and its slot is used again',
    memory: { capacity: 2, laneCapacity: 2, maxWriters: 1, epochSlots: 2, maxKeysPerEpoch: 4 },
    readers: true,
    killWriters: false,
    killAggregator: false,
    quick: { preemptions: 1, deaths: 0, stales: 1 },
    setUp: seeds,
    threads: {
      writerA: marksLater((w, lane) => w.markMany(lane, [1, 2])),
      reader: walks,
      tracker: settles('commit'),
    },
  },
  {
    name: 'reader: walks an epoch that is restored, and its slot is used again',
    memory: { capacity: 2, laneCapacity: 2, maxWriters: 1, epochSlots: 2, maxKeysPerEpoch: 4 },
    start: { epoch: 2 ** 32 - 2 },
    readers: true,
    killWriters: false,
    killAggregator: false,
    quick: { preemptions: 1, deaths: 0, stales: 1 },
    setUp: seeds,
    threads: {
      writerA: marksLater((w, lane) => w.mark(lane, 1)),
      reader: walks,
      tracker: settles('restore'),
    },
  },
  {
    name: 'reader: asks for a number while the table is cleared for the next epoch',
    memory: { capacity: 2, laneCapacity: 2, maxWriters: 1, epochSlots: 2, maxKeysPerEpoch: 4 },
    readers: true,
    killWriters: false,
    killAggregator: false,
    quick: { preemptions: 1, deaths: 0, stales: 1 },
    setUp: seeds,
    threads: {
      writerA: marksLater((w, lane) => w.mark(lane, 1)),
      reader: asks(100, 1),
      tracker: settles('commit'),
    },
  },
  {
    name: 'reader: asks a superset for a number while its slot is used again',
    memory: { capacity: 2, laneCapacity: 2, maxWriters: 1, epochSlots: 2, maxKeysPerEpoch: 1 },
    readers: true,
    killWriters: false,
    killAggregator: false,
    quick: { preemptions: 1, deaths: 0, stales: 1 },
    setUp: seeds,
    threads: {
      writerA: marksLater((w, lane) => w.mark(lane, 1)),
      reader: asksSuperset(101, 1),
      tracker: settles('commit'),
    },
  },
  {
    name: 'reader: walks texts of an epoch that is committed, and its slot is used again',
    memory: { ...TEXT, capacity: 2, laneCapacity: 4, maxWriters: 1, epochSlots: 2 },
    readers: true,
    killWriters: false,
    killAggregator: false,
    quick: { preemptions: 1, deaths: 0, stales: 1 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.markText(lane, 'ab')
        yield* w.markText(lane, 'c')
        yield* w.flush(lane)
        w.results.isPublished = true
        w.run.event()
        yield* w.untilSo(() => w.results.isUsedAgain === true)
        yield* w.markText(lane, 'defgh')
        yield* w.flush(lane)
      },
      reader: walks,
      *tracker(w) {
        yield* w.untilSo(() => w.results.isPublished === true)
        yield* settles('commit')(w)
      },
    },
  },
  {
    name: 'reader: asks for a text while the slot is used again',
    memory: { ...TEXT, capacity: 2, laneCapacity: 4, maxWriters: 1, epochSlots: 2 },
    readers: true,
    killWriters: false,
    killAggregator: false,
    quick: { preemptions: 1, deaths: 0, stales: 1 },
    threads: {
      *writerA(w) {
        const lane = yield* w.open()
        yield* w.markText(lane, 'ab')
        yield* w.flush(lane)
        w.results.isPublished = true
        w.run.event()
        yield* w.untilSo(() => w.results.isUsedAgain === true)
        yield* w.markText(lane, 'defgh')
        yield* w.flush(lane)
      },
      reader: asksText('ab'),
      *tracker(w) {
        yield* w.untilSo(() => w.results.isPublished === true)
        yield* settles('commit')(w)
      },
    },
  },
]
