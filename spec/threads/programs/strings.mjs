/** Threads that mark texts and are killed: what the next epoch has of them. */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { DirtyTracker, openWriter } from '../../../dist/index.js'
import { verdict } from './support.mjs'
import { exitOf, within } from './threads.mjs'

const bytes = Uint8Array.of(0, 255, 1)

const marks = {
  /** Two batches published, three keys staged. */
  staged(writer) {
    for (const key of ['a', 1, 'lone \ud800', bytes, 2, 'row 2', '']) writer.mark(key)
    ready()
  },
  /** The batch has begun, and what it marked is in no token. */
  batch(writer) {
    writer.mark('before')
    writer.batch(() => {
      writer.mark('row 1')
      writer.markMany([7, bytes, '\u{1f680}'])
      ready()
    })
  },
  /** What an earlier owner of the lane left in the text ring is no text of the next one. */
  again(writer) {
    writer.markMany(['one', 'two', 'three'])
    for (let id = 100; id < 110; id++) writer.mark(id)
    ready()
  },
}

/** This thread does not go on by itself: it is killed here. */
function ready() {
  parentPort.postMessage('ready')
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
}

if (isMainThread) {
  const results = {}
  for (const name of Object.keys(marks)) {
    const tracker = await DirtyTracker.create({
      batchSize: 2,
      flushIntervalMs: 0,
      maxWriters: 1,
      laneTextBytes: 1024,
    })
    const epochs = []
    for (let i = 0; i < 2; i++) {
      const worker = new Worker(new URL(import.meta.url), {
        workerData: { handle: tracker.handle, name },
      })
      const exit = exitOf(worker)
      await within(new Promise((resolve) => worker.once('message', resolve)), 'the marks')
      await worker.terminate()
      await exit
      await within(tracker.drained(), 'drained()')
      const epoch = await within(tracker.advanceEpoch(), 'an epoch')
      epochs.push([
        epoch.exact,
        ...Array.from(epoch, (key) => (typeof key === 'object' ? [...key] : key)),
      ])
      epoch.commit()
    }
    results[name] = { epochs, harvested: tracker.stats().harvested }
    await within(tracker.stop(), 'stop()')
  }
  verdict(results)
} else {
  marks[workerData.name](openWriter(workerData.handle))
}
