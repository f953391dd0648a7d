/** How long a cut takes, with an aggregator on its own thread that is idle, and `keys` keys an epoch. Prints one JSON line, in ms. */
import { DirtyTracker } from '../dist/index.js'

const { keys } = JSON.parse(process.argv[2])
const tracker = await DirtyTracker.create()
const writer = tracker.openWriter()
for (let epoch = 0; epoch < 300; epoch++) {
  for (let i = 0; i < keys; i++) writer.mark(i)
  await tracker.drained()
  const sealed = await tracker.advanceEpoch()
  sealed.commit()
}
const { mean, p50, p99, max } = tracker.stats().sealMs
console.log(JSON.stringify({ 'keys an epoch': keys, p50: p50.toFixed(3), p99: p99.toFixed(3), max: max.toFixed(3), mean: mean.toFixed(3) }))
await tracker.stop()
