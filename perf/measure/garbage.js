/**
 * What marks leave for the garbage collector, in the writer's isolate and in the aggregator's, from
 * one epoch to the next: collections, and bytes allocated. kind: 'dirtyring', or a floor: 'empty
 * loop' (nothing is marked), 'Set<bigint>' (the writer's thread keeps one). Prints one JSON line.
 * Bytes are the growth of the heap, which is what was allocated as long as nothing was collected.
 */
import { PerformanceObserver } from 'node:perf_hooks'
import { getHeapStatistics } from 'node:v8'
import { isMainThread, MessageChannel, workerData } from 'node:worker_threads'
import { DirtyTracker, openWriter } from '../../dist/index.js'
import { args, report, startThread, unlessQuick } from '../harness/args.js'

const MARKS = unlessQuick(20_000_000, 50_000)
const ROLES = ['writer', 'aggregator']

if (isMainThread) {
  const ports = {}
  const thread = (role, handle) => {
    const { port1, port2 } = new MessageChannel()
    ports[role] = port1
    return startThread(import.meta.url, { role, handle, port: port2 }, { transferList: [port2] })
  }
  const ask = (role, what) =>
    new Promise((resolve) => (ports[role].once('message', resolve), ports[role].postMessage(what)))
  const counts = async () =>
    Object.fromEntries(
      await Promise.all(ROLES.map(async (role) => [role, await ask(role, 'count')])),
    )
  const tracker = await DirtyTracker.create({ aggregator: () => thread('aggregator') })
  thread('writer', tracker.handle)
  let result
  for (let round = 0; round < 3; round++) {
    // The last round is the one that counts: compiled, in memory used before.
    await tracker.consume(() => undefined)
    const before = await counts()
    await ask('writer', 'mark')
    await tracker.drained()
    const after = await counts()
    result = Object.fromEntries(
      ROLES.map((role) => [
        role,
        {
          collections: after[role].collections - before[role].collections,
          bytes: after[role].bytes - before[role].bytes,
        },
      ]),
    )
  }
  report({ marks: MARKS, waits: tracker.stats().writers[0].waits, ...result })
  process.exit()
} else {
  const { role, handle, port } = workerData
  let collections = 0
  new PerformanceObserver((list) => (collections += list.getEntries().length)).observe({
    entryTypes: ['gc'],
  })
  if (role === 'aggregator') await import('dirtyring/aggregator')
  const act = role === 'writer' ? acts()[args.kind ?? 'dirtyring'] : undefined
  port.on('message', (what) => {
    if (what === 'mark') act()
    // The observer is told of a collection only when the event loop has turned.
    setTimeout(
      () => port.postMessage({ collections, bytes: getHeapStatistics().used_heap_size }),
      20,
    )
  })

  function acts() {
    const writer = openWriter(handle)
    const set = new Set()
    let sink = 0
    return {
      dirtyring() {
        for (let i = 0; i < MARKS; i++) writer.markPair(i % 5000, i & 3)
        writer.flush()
      },
      'empty loop'() {
        for (let i = 0; i < MARKS; i++) sink ^= (i % 5000) ^ (i & 3)
        return sink
      },
      'Set<bigint>, one thread'() {
        for (let i = 0; i < MARKS; i++) set.add((BigInt(i & 3) << 32n) | BigInt(i % 5000))
      },
    }
  }
}
