/**
 * How long a cut takes, with an aggregator on its own thread that is idle, and `keys` keys an
 * epoch; floor: a message to an idle worker and back instead. Prints one JSON line, a histogram in
 * µs.
 */
import { DirtyTracker } from '../../dist/index.js'
import { args, echoWorker, message, report, unlessQuick } from '../harness/args.js'
import { Histogram } from '../harness/histogram.js'

const { keys, floor = false } = args
const TIMES = unlessQuick(300, 20)
/** Not counted: what is timed is not the compiler. */
const WARM_UP = unlessQuick(100, 2)
const times = new Histogram()
if (floor) {
  const worker = echoWorker()
  for (let i = -WARM_UP; i < TIMES; i++) {
    const began = performance.now()
    worker.postMessage(i)
    await message(worker)
    if (i >= 0) times.add((performance.now() - began) * 1000)
  }
  await worker.terminate()
} else {
  const tracker = await DirtyTracker.create()
  const writer = tracker.openWriter()
  for (let epoch = -WARM_UP; epoch < TIMES; epoch++) {
    for (let i = 0; i < keys; i++) writer.mark(i)
    await tracker.drained()
    const began = performance.now()
    const sealed = await tracker.advanceEpoch()
    if (epoch >= 0) times.add((performance.now() - began) * 1000)
    sealed.commit()
  }
  await tracker.stop()
}
report(times.summary())
