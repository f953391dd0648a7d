/** What every test runner must be able to do; each case throws if it is not so. */
const assert = require('node:assert/strict')
const { once } = require('node:events')
const { join } = require('node:path')
const { Worker } = require('node:worker_threads')

const writer = join(__dirname, 'writer.mjs')
const options = { maxKeysPerEpoch: 1000, maxWriters: 4 }
const range = (from, to) => Array.from({ length: to - from }, (_, at) => from + at)
const idsOf = (epoch) => [...epoch.ids()].sort((a, b) => a - b)

exports.cases = {
  async 'a worker thread marks, and a cut has exactly its keys'({ DirtyTracker }) {
    const tracker = await DirtyTracker.create(options)
    const ids = range(0, 100)
    const worker = new Worker(writer, { workerData: { handle: tracker.handle, ids } })
    await once(worker, 'exit')
    const taken = await tracker.consume(idsOf)
    await tracker.stop()
    assert.deepEqual(taken, ids)
  },

  async 'a terminated worker is harvested by itself'({ DirtyTracker }) {
    const tracker = await DirtyTracker.create({ ...options, flushIntervalMs: 0 })
    const ids = range(0, 10)
    const worker = new Worker(writer, { workerData: { handle: tracker.handle, ids, isHeld: true } })
    await once(worker, 'message')
    const before = await tracker.consume(idsOf)
    await worker.terminate()
    await tracker.drained()
    const after = await tracker.consume(idsOf)
    const { harvested } = tracker.stats()
    await tracker.stop()
    assert.deepEqual({ before, after, harvested }, { before: [], after: ids, harvested: 10 })
  },

  async 'stop() delivers the last epoch'({ DirtyTracker }) {
    const tracker = await DirtyTracker.create(options)
    tracker.openWriter().mark(7)
    const last = await tracker.stop()
    assert.deepEqual(idsOf(last), [7])
    assert.equal(tracker.health().finished, true)
  },

  async 'an inline aggregator starts no thread'({ DirtyTracker }) {
    const tracker = await DirtyTracker.create({ ...options, aggregator: 'inline' })
    tracker.openWriter().mark(7)
    const taken = await tracker.consume(idsOf)
    await tracker.stop()
    assert.deepEqual(taken, [7])
  },

  async 'an error has its class and its code'({ DirtyTracker, isDirtyRingError }) {
    const error = await DirtyTracker.create({ capacity: 3 }).catch((thrown) => thrown)
    assert.equal(error.code, 'ERR_DIRTYRING_OUT_OF_RANGE')
    assert.equal(isDirtyRingError(error), true)
  },
}

/** Runs with the runner's fake timers, which stand still. */
exports.withFakeTimers = async ({ DirtyTracker }) => {
  const tracker = await DirtyTracker.create({ ...options, flushIntervalMs: 3 })
  const own = tracker.openWriter()
  own.mark(1)
  await tracker.flushed()
  const first = await tracker.consume(idsOf)
  own.mark(2)
  const last = await tracker.stop()
  assert.deepEqual([first, idsOf(last)], [[1], [2]])
}
