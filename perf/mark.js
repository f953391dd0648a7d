/**
 * What a mark costs on the writer's thread, for one kind of key, with benchmark.js. Prints one JSON line: ns a call; without a name, the names there are.
 * A process a kind: a call site that has seen one kind of key is what applications have.
 */
import Benchmark from 'benchmark'
import { DirtyTracker, fingerprint } from '../dist/index.js'
import { recover, takeRole } from '../dist/aggregator/state.js'
import { IDLE, step } from '../dist/aggregator/step.js'
import { attachMemory } from '../dist/memory/memory.js'

const KEYS = 4096

// Nobody consumes but this program, between the timed calls: what is timed is the writer alone, its publications included.
const tracker = await DirtyTracker.create({ aggregator: 'none', flushIntervalMs: 0 })
const aggregator = takeRole(attachMemory(tracker.handle, 'tracker'), 1)
recover(aggregator)
const writer = tracker.openWriter()

const ids = Array.from({ length: KEYS }, (_, i) => (i * 7919) % 2000)
const bigints = ids.map((id) => fingerprint(`user:${id}`))
const texts = [8, 32, 128].map((length) => ids.map((id) => `${id}:`.padEnd(length, 'x')))
const many = BigUint64Array.from(bigints.slice(0, 64))

const loops = {
  'empty loop': () => undefined,
  'mark(lo, hi)': (i) => writer.mark(ids[i], i),
  'mark(id)': (i) => writer.mark(ids[i]),
  'mark(bigint)': (i) => writer.mark(bigints[i]),
  'mark(string), 8 bytes': (i) => writer.mark(texts[0][i]),
  'mark(string), 32 bytes': (i) => writer.mark(texts[1][i]),
  'mark(string), 128 bytes': (i) => writer.mark(texts[2][i]),
  'markMany(64 keys), a key': (i) => i % 64 === 0 && writer.markMany(many),
}

const { name } = JSON.parse(process.argv[2])
const samples = []
// benchmark.js decides how often; the time is that of the calls alone, without the consumer's.
const run = () => {
  const call = loops[name]
  const before = process.hrtime.bigint()
  for (let i = 0; i < KEYS; i++) call(i)
  samples.push(Number(process.hrtime.bigint() - before) / KEYS)
  while (step(aggregator) !== IDLE);
}
if (name === undefined) {
  console.log(JSON.stringify(Object.keys(loops)))
} else {
  new Benchmark(name, run, { maxTime: 1, minSamples: 50 }).run()
  samples.sort((a, b) => a - b)
  console.log(JSON.stringify(samples[samples.length >> 1]))
}
