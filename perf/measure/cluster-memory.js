/**
 * What a reader and a node keep in memory over `minutes`, by IPC. Three nodes publish every 100 ms
 * and each marks `keys` new ids a second. One of them is killed and replaced every five seconds.
 * Prints one JSON line.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { openCluster, publishEpochs } from '../../dist/cluster/index.js'
import { DirtyTracker } from '../../dist/index.js'
import { ipcHub, ipcSink } from '../../dist/ipc/index.js'
import { args, report, sleep, unlessQuick } from '../harness/args.js'

const keys = unlessQuick(args.keys, 100)
const ms = unlessQuick(args.minutes, 1 / 60) * 60_000
const SAMPLES = unlessQuick(15, 2)
const EVERY_MS = 100
const LIFE_MS = unlessQuick(5000, 500)

if (process.send) await node()
else await reader()

async function node() {
  const tracker = await DirtyTracker.create({ maxConsumers: 1 })
  const writer = tracker.openWriter()
  await publishEpochs(tracker.consumer('cluster'), { sink: ipcSink(), everyMs: EVERY_MS })
  let next = args.node * 2 ** 32
  setInterval(() => {
    for (let i = 0; i < keys / 100; i++) writer.mark(next++)
  }, 10)
  process.on('message', ({ measure }) => {
    if (measure) process.send({ memory: memory() })
  })
  process.send({ memory: memory() })
}

async function reader() {
  const hub = ipcHub()
  const start = async (number) => {
    const child = fork(process.argv[1], [JSON.stringify({ ...args, node: number })], {
      serialization: 'advanced',
      execArgv: ['--expose-gc'],
    })
    hub.add(child)
    await memoryOf(child)
    return child
  }
  const cluster = openCluster({ source: hub, from: 'now' })
  await cluster.ready()
  const children = [await start(0), await start(1), await start(2)]
  let nodes = children.length
  const end = new AbortController()
  const lives = (async () => {
    for (;;) {
      await sleep(LIFE_MS)
      if (end.signal.aborted) return
      children.pop().kill('SIGKILL')
      children.push(await start(nodes++))
    }
  })()
  const samples = []
  const sampled = (async () => {
    for (let i = 1; i <= SAMPLES; i++) {
      await sleep(ms / SAMPLES)
      const asked = memoryOf(children[0])
      children[0].send({ measure: true })
      samples.push({
        minute: (ms * i) / SAMPLES / 60_000,
        reader: memory(),
        node: await asked,
      })
    }
    end.abort()
  })()
  let read = 0
  let inexact = 0
  for await (const epoch of cluster.epochs({ everyMs: EVERY_MS, signal: end.signal })) {
    read += epoch.size
    if (!epoch.exact) inexact++
    epoch.commit()
  }
  await Promise.all([sampled, lives])
  for (const child of children) child.kill('SIGKILL')
  await cluster.close()
  report({ samples, nodes, read, inexact })
}

async function memoryOf(child) {
  for (;;) {
    const [message] = await once(child, 'message')
    if (message?.memory !== undefined) return message.memory
  }
}

/** In MiB, after a collection. */
function memory() {
  globalThis.gc()
  const { rss, heapUsed, external } = process.memoryUsage()
  return { heap: (heapUsed + external) / 2 ** 20, rss: rss / 2 ** 20 }
}
