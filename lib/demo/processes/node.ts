/**
 * One process of the demo: workers that write and mark, and a publisher. An application needs of it:
 * create(), publishEpochs(), and close() at the end.
 */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { publishEpochs } from '../../cluster/index.js' // you write: from 'dirtyring/cluster'
import { DirtyTracker, type TrackerOptions } from '../../index.js' // you write: from 'dirtyring'
import { engineOfNode, type EngineSettings } from './engine.js'
import type { NodeWriterData } from './node-writer.js'

/** What the process is started with, as JSON. */
export interface NodeData extends Omit<NodeWriterData, 'handle' | 'shared'> {
  readonly engine: EngineSettings
  readonly name: string
  readonly writers: number
  readonly everyMs: number
  readonly tracker: TrackerOptions
}

/** What it tells, over the same channel as its epochs, if those go over IPC. */
export interface NodeReport {
  readonly written: number
}

const REPORT_MS = 100

const data = JSON.parse(process.argv[2]) as NodeData
const { place, writers, seed } = data
process.on('disconnect', () => process.exit(1)) // the demo has ended
process.on('SIGINT', () => undefined) // Ctrl-C reaches all: the demo ends this process

const engine = await engineOfNode(data.engine)
const tracker = await DirtyTracker.create({ ...data.tracker, maxConsumers: 1 })
const publisher = await publishEpochs(tracker.consumer('checkpoint'), {
  node: data.name,
  sink: engine.sink,
  everyMs: data.everyMs,
  namespaces: [place],
})

const shared = new Int32Array(new SharedArrayBuffer(8))
const workers = Array.from({ length: writers }, (_, i) => {
  const workerData = { ...data, handle: tracker.handle, seed: seed * 1000 + i, shared }
  return new Worker(new URL('./node-writer.js', import.meta.url), { workerData })
})
const ends = Promise.all(workers.map((worker) => once(worker, 'exit')))
const report = (): void => void process.send!({ written: Atomics.load(shared, 1) })
const reporting = setInterval(report, REPORT_MS)

for (let isOver = false; !isOver;) {
  const [message] = (await once(process, 'message')) as [unknown]
  isOver = message === 'end'
}
Atomics.store(shared, 0, 1)
await ends
clearInterval(reporting)
report()
await tracker.stop()
await publisher.close()
await engine.close()
process.removeAllListeners('disconnect')
process.disconnect()
