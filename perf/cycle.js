/** Epoch after epoch of 2 million marks against one that only fills, an aggregator on its own thread, this thread marking. Prints one JSON line, M keys/s. */
import { DirtyTracker } from '../dist/index.js'
import { uniformKeys } from './keys.js'

const MARKS = 2_000_000
const EPOCHS = 8
const { distinct } = JSON.parse(process.argv[2])
const lanes = new Int32Array(uniformKeys(MARKS, distinct).buffer)
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

const commit = () => tracker.consume(() => undefined)
const result = {}
for (let round = 0; round < 3; round++) {
  result.filling = await run(() => tracker.drained())
  await commit()
  result.cycling = await run(commit)
}
console.log(JSON.stringify(result))
await tracker.stop()
