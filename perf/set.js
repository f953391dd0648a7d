/**
 * The set by itself, with benchmark.js: ns a key, by its distinct keys, for both kernels, Set<bigint> and Set<number>. Prints one JSON line.
 * Every set holds all the keys before it is timed: 'add' is of keys that are in, in batches of 64, as in a pipeline that has seen them; 'has' likewise.
 */
import Benchmark from 'benchmark'
import { FingerprintSet } from '../dist/index.js'
import { uniformKeys } from './keys.js'

const { distinct } = JSON.parse(process.argv[2])
const BATCHES = 1024
const keys = new BigUint64Array(uniformKeys(BATCHES * 64, distinct))
const numbers = Float64Array.from(keys, (key) => Number(key & 0x1fffffffffffffn))
const batches = Array.from({ length: BATCHES }, (_, i) => keys.subarray(i * 64, i * 64 + 64))
const every = uniformKeys(distinct * 12, distinct, 2) // all but a few in a million of them

const sets = {
  'TypeScript kernel': ours('js'),
  'WebAssembly kernel': ours('wasm'),
  'Set<bigint>': theirs(new Set(), keys, every),
  'Set<number>': theirs(new Set(), numbers, numbers),
}
const row = { 'distinct keys': distinct }
for (const [name, { add, has }] of Object.entries(sets)) {
  row[`${name}, add`] = nsOf(add)
  row[`${name}, has`] = nsOf(has)
}
console.log(JSON.stringify(row))

function ours(kernel) {
  const set = new FingerprintSet({ kernel, expectedKeys: distinct })
  set.addMany(new BigUint64Array(every))
  const lanes = new Int32Array(keys.buffer)
  return {
    add: () => batches.forEach((batch) => set.addMany(batch)),
    has() {
      let found = 0
      for (let i = 0; i < lanes.length; i += 2) if (set.has(lanes[i], lanes[i + 1])) found++
      return found
    },
  }
}

function theirs(set, stream, first) {
  for (const key of first) set.add(key)
  return {
    add() {
      for (let i = 0; i < stream.length; i++) set.add(stream[i])
    },
    has() {
      let found = 0
      for (let i = 0; i < stream.length; i++) if (set.has(stream[i])) found++
      return found
    },
  }
}

function nsOf(run) {
  const bench = new Benchmark('', run, { maxTime: 0.5, minSamples: 10 })
  bench.run()
  const sorted = bench.stats.sample.toSorted((a, b) => a - b)
  return ((sorted[sorted.length >> 1] * 1e9) / (BATCHES * 64)).toFixed(1)
}
