/**
 * The set by itself: one kind of set that holds `distinct` keys. ns a key: 'new' fills a set that
 * was cleared (a Set anew), 'known' adds keys that are in, in no order, in batches of 64 where it
 * can; 'in' and 'not in' look keys up. See bench.js.
 */
import { FingerprintSet } from '../../dist/index.js'
import { args, report, unlessQuick } from '../harness/args.js'
import { nsOf } from '../harness/bench.js'
import { everyKey, uniformKeys } from '../harness/keys.js'

const { kind, distinct } = args
const BATCH = 64
const DRAWN = unlessQuick(65_536, 1024)
const every = everyKey(0, distinct)
const known = new BigUint64Array(uniformKeys(DRAWN, distinct))
const others = everyKey(distinct, distinct + DRAWN)

const kinds = {
  'empty loop': emptyLoop,
  'TypeScript kernel': () => ours('js'),
  'WebAssembly kernel': () => ours('wasm'),
  'Set<bigint>': () => theirs((keys) => keys),
  'Set<number>': () =>
    theirs((keys) => Float64Array.from(keys, (key) => Number(key & 0x1fffffffffffffn))),
}
const { fill, empty, add, has } = kinds[kind]()
const row = { new: nsOf(fill, distinct, { before: empty }) }
row.known = nsOf(add, DRAWN)
row.in = nsOf(has.known, DRAWN)
row['not in'] = nsOf(has.others, DRAWN)
report(row)

function ours(kernel) {
  const set = new FingerprintSet({ kernel, expectedKeys: distinct })
  const addBatches = (keys) => {
    const batches = Array.from({ length: Math.ceil(keys.length / BATCH) }, (_, i) =>
      keys.subarray(i * BATCH, (i + 1) * BATCH),
    )
    return () => batches.reduce((count, batch) => count + set.addMany(batch), 0)
  }
  const look = (keys) => {
    const lanes = new Int32Array(keys.buffer)
    return () => {
      let found = 0
      for (let i = 0; i < lanes.length; i += 2) if (set.hasPair(lanes[i], lanes[i + 1])) found++
      return found
    }
  }
  return {
    fill: addBatches(every),
    empty: () => set.clear(),
    add: addBatches(known),
    has: { known: look(known), others: look(others) },
  }
}

function theirs(keysOf) {
  let set
  const addAll = (keys) => () => {
    for (let i = 0; i < keys.length; i++) set.add(keys[i])
  }
  const look = (keys) => () => {
    let found = 0
    for (let i = 0; i < keys.length; i++) if (set.has(keys[i])) found++
    return found
  }
  return {
    fill: addAll(keysOf(every)),
    empty: () => (set = new Set()),
    add: addAll(keysOf(known)),
    has: { known: look(keysOf(known)), others: look(keysOf(others)) },
  }
}

function emptyLoop() {
  const walk = (keys) => {
    const lanes = new Int32Array(keys.buffer)
    return () => {
      let sum = 0
      for (let i = 0; i < lanes.length; i += 2) sum ^= lanes[i] ^ lanes[i + 1]
      return sum
    }
  }
  return {
    fill: walk(every),
    empty: () => undefined,
    add: walk(known),
    has: { known: walk(known), others: walk(others) },
  }
}
