/**
 * A cut over `nodes` processes, each with a tracker and a publisher, over IPC: from the call to the
 * epoch. Each node marks `keys` new ids before each cut. Then all publish at a steady rate, and the
 * reader's processor time is taken. Prints one JSON line.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { openCluster, publishEpochs } from '../../dist/cluster/index.js'
import { DirtyTracker } from '../../dist/index.js'
import { ipcHub, ipcSink } from '../../dist/ipc/index.js'
import { args, report, sleep, unlessQuick } from '../harness/args.js'
import { Histogram } from '../harness/histogram.js'

const { nodes } = args
const keys = unlessQuick(args.keys, 100)
const cuts = unlessQuick(200, 5)
const steadyMs = unlessQuick(5000, 200)
const EVERY_MS = 100
const PAUSE_MS = 60

if (process.send) await node()
else await reader()

/** Marks when it is told to. Between cuts it publishes nothing by itself. */
async function node() {
  const tracker = await DirtyTracker.create({ maxConsumers: 1 })
  const writer = tracker.openWriter()
  const consumer = tracker.consumer('cluster')
  let publisher
  let next = 0
  let steady
  const mark = (count) => {
    for (let i = 0; i < count; i++) writer.mark(args.node * 2 ** 32 + next++)
  }
  const tell = (done) => process.send({ done, next })
  process.on('message', async ({ task }) => {
    if (task === undefined) return // a message of the hub
    const { open, count, rate, end } = task
    if (open !== undefined)
      publisher = await publishEpochs(consumer, { sink: ipcSink(), everyMs: open })
    if (count !== undefined) mark(count)
    if (rate !== undefined) steady = setInterval(() => mark(rate), 10)
    if (end === undefined) return tell('told')
    clearInterval(steady)
    await tracker.stop()
    await publisher.close()
    tell('ended')
    process.disconnect()
  })
}

async function reader() {
  const slow = await cutsOf(2 ** 31 - 1)
  const steady = await cpuOf()
  report({ ...slow, ...steady })
}

function start() {
  const children = Array.from({ length: nodes }, (_, i) =>
    fork(process.argv[1], [JSON.stringify({ ...args, node: i })], { serialization: 'advanced' }),
  )
  const source = ipcHub(children)
  const cluster = openCluster({ source, from: 'now', maxKeysPerEpoch: 4_000_000 })
  const tell = (what) =>
    Promise.all(
      children.map((child) => {
        const answer = nextOf(child, what.end === undefined ? 'told' : 'ended')
        child.send({ task: what })
        return answer
      }),
    )
  return { children, source, cluster, tell }
}

async function nextOf(child, done) {
  for (;;) {
    const [message] = await once(child, 'message')
    if (message?.done === done) return message
  }
}

/** Cuts one after the other. */
async function cutsOf(everyMs) {
  const { cluster, source, tell } = start()
  await cluster.ready()
  await tell({ open: everyMs })
  const cut = new Histogram()
  let seen = 0
  let inexact = 0
  for (let i = 0; i < cuts; i++) {
    await tell({ count: keys })
    await sleep(PAUSE_MS) // a node makes no more than 20 cuts a second
    const began = performance.now()
    await cluster.consume((epoch) => {
      cut.add((performance.now() - began) * 1000)
      seen += epoch.size
      if (!epoch.exact) inexact++
    })
  }
  await tell({ end: true })
  await cluster.close()
  await source.close()
  return { cut: cut.summary(), lost: nodes * cuts * keys - seen, inexact }
}

/** What a reader takes of its processor while all publish every 100 ms. */
async function cpuOf() {
  const { cluster, source, tell } = start()
  await cluster.ready()
  await tell({ open: EVERY_MS })
  await tell({ rate: keys / 10 })
  await sleep(steadyMs / 10)
  const before = process.cpuUsage()
  const began = performance.now()
  let read = 0
  const end = new AbortController()
  setTimeout(() => end.abort(), steadyMs)
  for await (const epoch of cluster.epochs({ everyMs: EVERY_MS, signal: end.signal })) {
    read += epoch.size
    epoch.commit()
  }
  const { user, system } = process.cpuUsage(before)
  const ms = performance.now() - began
  await tell({ end: true })
  await cluster.close()
  await source.close()
  return { cpu: (user + system) / 1000 / ms, keysPerSecond: (read / ms) * 1000 }
}
