/**
 * What a mark costs on the writer's thread, its publications included, in each of the ways there
 * are. ns a mark; see bench.js. A process a way.
 */
import { recover, takeRole } from '../../dist/aggregator/state.js'
import { IDLE, step } from '../../dist/aggregator/step.js'
import { DirtyTracker, fingerprint, TxnBuffer } from '../../dist/index.js'
import { attachMemory } from '../../dist/memory/memory.js'
import { bench, each } from '../harness/bench.js'

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
})
const aggregator = takeRole(attachMemory(tracker.handle, 'tracker'), 1)
recover(aggregator)
const writer = tracker.openWriter()

const ids = Array.from({ length: KEYS }, (_, i) => (i * 7919) % 2000)
const bigints = ids.map((id) => fingerprint(`user:${id}`))
const texts = Object.fromEntries(
  [8, 16, 32, 128].map((length) => [length, ids.map((id) => `${id}:`.padEnd(length, 'x'))]),
)
const bytes = Object.fromEntries(
  Object.entries(texts).map(([length, strings]) => [
    length,
    strings.map((text) => Buffer.from(text)),
  ]),
)
const many = BigUint64Array.from(bigints.slice(0, MANY))
const manyLanes = new Uint32Array(many.buffer)
const txn = new TxnBuffer(1)
const markFew = () => {
  for (let i = 0; i < FEW; i++) writer.markPair(ids[i], i)
}

bench(
  Object.fromEntries(
    Object.entries({
      'empty loop': (i) => ids[i],
      'markPair(low, high)': (i) => writer.markPair(ids[i], i),
      'markPair(low, high), one hot key': () => writer.markPair(7, 7),
      'mark(id)': (i) => writer.mark(ids[i]),
      'mark(bigint)': (i) => writer.mark(bigints[i]),
      'mark(string), 8 bytes': (i) => writer.mark(texts[8][i]),
      'mark(string), 16 bytes': (i) => writer.mark(texts[16][i]),
      'mark(string), 32 bytes': (i) => writer.mark(texts[32][i]),
      'mark(string), 128 bytes': (i) => writer.mark(texts[128][i]),
      'mark(bytes), 32 bytes': (i) => writer.mark(bytes[32][i]),
      'markPair(low, high) and flush()': (i) => writer.markPair(ids[i], i) && writer.flush(),
      'flush(), nothing staged': () => writer.flush(),
      [`markMany(BigUint64Array of ${MANY})`]: (i) => i % MANY === 0 && writer.markMany(many),
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
