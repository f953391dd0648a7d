/** Epoch after epoch of 2 million marks against one that only fills, an aggregator on its own thread, this thread marking. Then the floor: a plain Set<bigint>, filled and cleared on this thread alone. Prints one JSON line, M keys/s. */
import { DirtyTracker } from '../dist/index.js'
import { args, report, unlessQuick } from './args.js'
import { Seen, uniformKeys } from './keys.js'

const MARKS = unlessQuick(2_000_000, 20_000)
const EPOCHS = unlessQuick(8, 2)
const { distinct } = args
const keys = uniformKeys(MARKS, distinct)
const lanes = new Int32Array(keys.buffer)
const tracker = await DirtyTracker.create({ maxKeysPerEpoch: 2 ** 22 })
const writer = tracker.openWriter()

async function run(afterEach) {
  const began = performance.now()
  for (let epoch = 0; epoch < EPOCHS; epoch++) {
    for (let i = 0; i < MARKS; i++) writer.mark(lanes[2 * i], lanes[2 * i + 1])
    writer.flush()
    await afterEach()
  }
  await tracker.drained()
  return (MARKS * EPOCHS) / (performance.now() - began) / 1000
}

const expected = Seen.of(distinct, [lanes]).size
const result = { lost: 0 }
const commit = () => tracker.consume(({ size }) => (result.lost += expected - size))
for (let round = 0; round < 3; round++) {
  result.filling = await run(() => tracker.drained())
  await commit()
  result.cycling = await run(commit)
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
