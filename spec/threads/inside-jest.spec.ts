import { once } from 'node:events'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { describe, expect, it } from '@jest/globals'
import { DirtyTracker, type TrackerOptions } from '../../lib/index.js'

const built = pathToFileURL(fileURLToPath(new URL('../../dist/index.js', import.meta.url))).href

/** Marks, publishes nothing, says so, and stays. */
const WRITER = `
  const { parentPort, workerData } = require('node:worker_threads')
  import(${JSON.stringify(built)}).then(({ openWriter }) => {
    const writer = openWriter(workerData)
    for (let id = 0; id < 10; id++) writer.mark(id)
    parentPort.postMessage('marked')
    setInterval(() => undefined, 1000)
  })`

describe('inside a test of Jest, where `process` is a copy that tells of no worker', () => {
  it.each<Required<Pick<TrackerOptions, 'aggregator'>>>([
    { aggregator: 'worker' },
    { aggregator: 'inline' },
  ])('the marks of a terminated worker are collected: $aggregator', async ({ aggregator }) => {
    const tracker = await DirtyTracker.create({ aggregator, flushIntervalMs: 0 })
    const harvested = new Promise((resolve) => tracker.on('harvest', resolve))
    const worker = new Worker(WRITER, { eval: true, workerData: tracker.handle })
    await once(worker, 'message')
    await worker.terminate()
    await harvested
    const epoch = await tracker.advanceEpoch()
    expect([...epoch.ids()].toSorted()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    epoch.commit()
    await tracker.stop()
  })
})
