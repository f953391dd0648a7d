/**
 * How long a cut takes, with an aggregator on its own thread that is idle, and `keys` keys an epoch; floor: a message to an idle worker and back instead.
 * Prints one JSON line, a histogram in µs.
 */
import { DirtyTracker } from '../dist/index.js'
import { args, echoWorker, message, report, unlessQuick } from './args.js'
import { Histogram } from './histogram.js'

const { keys, floor = false } = args
const TIMES = unlessQuick(300, 20)
const times = new Histogram()
if (floor) {
  const worker = echoWorker()
  for (let i = 0; i < TIMES; i++) {
    const began = performance.now()
    worker.postMessage(i)
    await message(worker)
    times.add((performance.now() - began) * 1000)
  }
  await worker.terminate()
} else {
  const tracker = await DirtyTracker.create()
  const writer = tracker.openWriter()
  for (let epoch = 0; epoch < TIMES; epoch++) {
    for (let i = 0; i < keys; i++) writer.mark(i)
    await tracker.drained()
    const began = performance.now()
    const sealed = await tracker.advanceEpoch()
    times.add((performance.now() - began) * 1000)
    sealed.commit()
  }
  await tracker.stop()
}
report(times.summary())
