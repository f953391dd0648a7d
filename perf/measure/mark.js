/**
 * What a mark costs on the writer's thread, its publications included, in each of the ways there
 * are. ns a mark; see bench.js. A process a way.
 */
import { recover, takeRole } from '../../dist/aggregator/state.js'
import { IDLE, step } from '../../dist/aggregator/step.js'
import { DirtyTracker, fingerprint, TxnBuffer } from '../../dist/index.js'
import { attachMemory } from '../../dist/memory/memory.js'
import { args } from '../harness/args.js'
import { bench, each } from '../harness/bench.js'
import { nameOf, textIn, textOf, TEXTS } from '../harness/texts.js'

const KEYS = 4096
const MANY = 64
/** Keys of a transaction. */
const FEW = 16

// Only this program consumes, between the timed calls, so that the writer alone is timed. The ring
// has a slot for each key, for the ways that flush each key.
const tracker = await DirtyTracker.create({
  aggregator: 'none',
  flushIntervalMs: 0,
  capacity: 2 * KEYS,
  laneTextBytes: 2 ** 21,
})
const aggregator = takeRole(attachMemory(tracker.handle, 'tracker'), 1)
recover(aggregator)
const writer = tracker.openWriter()

const ids = Array.from({ length: KEYS }, (_, i) => (i * 7919) % 2000)
const bigints = ids.map((id) => fingerprint(`user:${id}`))
const text = textIn(args.name)
const texts = text === undefined ? [] : ids.map((id) => textOf(id, text))
const bytes = texts.map((key) => Buffer.from(key))
const many = BigUint64Array.from(bigints.slice(0, MANY))
const manyLanes = new Uint32Array(many.buffer)
const manyIds = ids.slice(0, MANY)
const manyWords = Uint32Array.from(manyIds)
const manyTexts = texts.slice(0, MANY)
const txn = new TxnBuffer(1)
const markFew = () => {
  for (let i = 0; i < FEW; i++) writer.markPair(ids[i], i)
}
const markHot = () => {
  for (let i = 0; i < MANY; i++) writer.markPair(7, 7)
}
const ofTexts = Object.fromEntries(
  TEXTS.flatMap((one) => [
    [`mark(string), ${nameOf(one)}`, (i) => writer.mark(texts[i])],
    [`mark(bytes), ${nameOf(one)}`, (i) => writer.mark(bytes[i])],
  ]),
)

bench(
  Object.fromEntries(
    Object.entries({
      'empty loop': (i) => ids[i],
      'markPair(low, high)': (i) => writer.markPair(ids[i], i),
      'markPair(low, high), one hot key, suppressed': () => writer.markPair(7, 7),
      // Inside batch() no key is suppressed.
      [`markPair(low, high), one hot key, stored: batch(fn) of ${MANY}`]: (i) =>
        i % MANY === 0 && writer.batch(markHot),
      'mark(id)': (i) => writer.mark(ids[i]),
      'mark(id), one hot key, suppressed': () => writer.mark(7),
      'mark(bigint)': (i) => writer.mark(bigints[i]),
      ...ofTexts,
      'markPair(low, high) and flush()': (i) => writer.markPair(ids[i], i) && writer.flush(),
      'flush(), nothing staged': () => writer.flush(),
      [`markMany(BigUint64Array of ${MANY})`]: (i) => i % MANY === 0 && writer.markMany(many),
      [`markMany(${MANY} ids)`]: (i) => i % MANY === 0 && writer.markMany(manyIds),
      [`markMany(Uint32Array of ${MANY} ids)`]: (i) => i % MANY === 0 && writer.markMany(manyWords),
      [`markMany(${MANY} strings), ${nameOf(16)}`]: (i) =>
        i % MANY === 0 && writer.markMany(manyTexts),
      [`markPairs(Uint32Array of ${MANY} keys)`]: (i) =>
        i % MANY === 0 && writer.markPairs(manyLanes),
      [`batch(fn) of ${FEW} marks`]: (i) => i % FEW === 0 && writer.batch(markFew),
      [`TxnBuffer: markPair(low, high), flushTo() every ${FEW}`](i) {
        txn.markPair(ids[i], i)
        return i % FEW === FEW - 1 && txn.flushTo(writer)
      },
    }).map(([name, call]) => [name, each(KEYS, call)]),
  ),
  KEYS,
  {
    after() {
      while (step(aggregator) !== IDLE);
    },
  },
)
