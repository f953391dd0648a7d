/**
 * Epoch after epoch of 2 million marks, this thread marking, an aggregator on its own thread: marks
 * until they are in the set, and all of the time. Then the floor: a plain Set<bigint>, filled and
 * cleared on this thread alone. Prints one JSON line, M keys/s.
 */
import { DirtyTracker } from '../../dist/index.js'
import { args, report, unlessQuick } from '../harness/args.js'
import { Seen, uniformKeys } from '../harness/keys.js'

const MARKS = unlessQuick(2_000_000, 20_000)
const EPOCHS = unlessQuick(8, 2)
const { distinct } = args
const keys = uniformKeys(MARKS, distinct)
const lanes = new Int32Array(keys.buffer)
const tracker = await DirtyTracker.create({ maxKeysPerEpoch: 2 ** 22 })
const writer = tracker.openWriter()

const expected = Seen.of(distinct, [lanes]).size
const result = { lost: 0 }
for (let round = 0; round < 3; round++) {
  let filling = 0
  const began = performance.now()
  for (let epoch = 0; epoch < EPOCHS; epoch++) {
    const from = performance.now()
    for (let i = 0; i < MARKS; i++) writer.markPair(lanes[2 * i], lanes[2 * i + 1])
    await tracker.drained()
    filling += performance.now() - from
    await tracker.consume(({ size }) => (result.lost += expected - size))
  }
  result.filling = (MARKS * EPOCHS) / filling / 1000
  result.cycling = (MARKS * EPOCHS) / (performance.now() - began) / 1000
}
result.waits = tracker.stats().writers[0].waits
await tracker.stop()

const set = new Set()
for (let round = 0; round < 2; round++) {
  const began = performance.now()
  for (let i = 0; i < MARKS; i++) set.add(keys[i])
  set.clear()
  result.set = MARKS / (performance.now() - began) / 1000
}
report(result)
