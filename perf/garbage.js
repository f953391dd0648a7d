/**
 * What marks leave for the garbage collector, in the writer's isolate and in the aggregator's, from one epoch to the next: collections, and bytes
 * allocated, a million marks. Prints one JSON line. Bytes are the growth of the heap, which is what was allocated as long as nothing was collected.
 */
import { PerformanceObserver } from 'node:perf_hooks'
import { getHeapStatistics } from 'node:v8'
import { isMainThread, MessageChannel, Worker, workerData } from 'node:worker_threads'
import { DirtyTracker, openWriter } from '../dist/index.js'

const MARKS = 20_000_000

if (isMainThread) {
  const ports = {}
  const thread = (role, handle) => {
    const { port1, port2 } = new MessageChannel()
    ports[role] = port1
    return new Worker(new URL(import.meta.url), { workerData: { role, handle, port: port2 }, transferList: [port2] })
  }
  const ask = (role, what) => new Promise((resolve) => (ports[role].once('message', resolve), ports[role].postMessage(what)))
  const tracker = await DirtyTracker.create({ aggregator: () => thread('aggregator') })
  thread('writer', tracker.handle)
  const row = {}
  for (const isWarm of [false, false, true]) {
    await tracker.consume(() => undefined)
    const before = { writer: await ask('writer', 'count'), aggregator: await ask('aggregator', 'count') }
    await ask('writer', 'mark')
    await tracker.drained()
    for (const role of ['writer', 'aggregator']) {
      const { collections, bytes } = await ask(role, 'count')
      if (!isWarm) continue
      row[`${role}: collections`] = ((collections - before[role].collections) / MARKS) * 1e6
      row[`${role}: bytes`] = Math.round(((bytes - before[role].bytes) / MARKS) * 1e6)
    }
  }
  console.log(JSON.stringify({ marks: MARKS, ...row }))
  process.exit()
} else {
  const { role, handle, port } = workerData
  let collections = 0
  new PerformanceObserver((list) => (collections += list.getEntries().length)).observe({ entryTypes: ['gc'] })
  if (role === 'aggregator') await import('dirtyring/aggregator')
  const writer = role === 'writer' ? openWriter(handle) : undefined
  const mark = () => {
    for (let i = 0; i < MARKS; i++) writer.mark(i % 5000, i & 3)
    writer.flush()
  }
  port.on('message', (what) => {
    if (what === 'mark') mark()
    // The observer is told of a collection only when the event loop has turned.
    setTimeout(() => port.postMessage({ collections, bytes: getHeapStatistics().used_heap_size }), 20)
  })
}
