/**
 * What keeps the memory of trackers that have stopped: for each way to use one, how many of some
 * memories each thread still holds after a collection, although its own code holds nothing.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import {
  DirtyTracker,
  openWriter,
  runAggregator,
  threadWriter,
  watchWorkers,
  withWriter,
} from '../../../dist/index.js'
import { args, verdict } from './support.mjs'
import { sleep, within } from './threads.mjs'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc')

/** Trackers of each way. */
const COUNT = 3
/** A memory that is let go of is collected by one of the first of so many collections. */
const COLLECTIONS = 20

/** How many of the objects are there after some collections. */
async function countAlive(refs) {
  let alive = refs.length
  for (let i = 0; i < COLLECTIONS && alive > 0; i++) {
    await sleep(10)
    gc()
    alive = 0
    for (const ref of refs) if (ref.deref() !== undefined) alive++
  }
  return alive
}

/** The two objects that hold a tracker's memory, without holding them. */
function refsOf({ buffer, native }) {
  return native === undefined
    ? [new WeakRef(buffer)]
    : [new WeakRef(buffer), new WeakRef(native), new WeakRef(native.buffer)]
}

const kept = []

/** What a worker does with the handle of a tracker. It holds nothing of it afterwards. */
const uses = {
  attaches: () => undefined,
  'opens a writer': (handle) => void openWriter(handle).mark(1),
  'has keys staged': (handle) => void openWriter(handle).markMany([1, 2, 3]),
  'closes its writer': (handle) => {
    const writer = openWriter(handle)
    writer.mark(1)
    writer.close()
  },
  'has a thread writer': (handle) => void threadWriter(handle).mark(1),
  'calls withWriter()': (handle) => withWriter(handle, (writer) => void writer.mark(1)),
  'watches its workers': (handle) => void watchWorkers(handle),
  'has a worker that it watches': (handle) => {
    watchWorkers(handle)
    kept.push(new Worker('setInterval(() => {}, 1e6)', { eval: true }))
  },
  'waits for room': (handle) => {
    const writer = openWriter(handle)
    while (writer.room > 0) writer.mark(writer.room)
    writer.waitForRoom(64).catch(() => undefined)
  },
  'runs the aggregator': (handle) => void runAggregator(handle),
  'keeps the handle': (handle) => void kept.push(handle),
}

/** What the tracker's thread does before it stops the tracker. It holds nothing afterwards. */
const lives = {
  'only stops': () => undefined,
  'has a writer': (tracker) => void tracker.openWriter().mark(1),
  'has a thread writer': (tracker) => void threadWriter(tracker.handle).mark(1),
  'cuts and settles': async (tracker) => {
    tracker.openWriter().mark(1)
    await tracker.consume(() => undefined)
    await tracker.advanceEpoch().then((epoch) => epoch.restore())
  },
  'leaves epochs unsettled': async (tracker) => {
    tracker.openWriter().mark(1)
    await tracker.advanceEpoch()
  },
  'listens and is awake': (tracker) => {
    for (const event of ['epoch', 'overflow', 'stall']) tracker.on(event, () => tracker)
    tracker.ref()
  },
  'runs a loop': (tracker) => {
    const run = async () => {
      for await (const epoch of tracker.epochs({ everyMs: 1 })) epoch.commit()
    }
    void run()
    return sleep(10)
  },
  'has a signal that lives on': (tracker) => {
    const { signal } = keptController
    return Promise.all([tracker.drained({ signal }), tracker.flushed({ signal })])
  },
  'watches a worker that lives on': (tracker) => void tracker.watch(otherWorker()),
  'harvests a worker': async (tracker) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: 'opens a writer' })
    worker.postMessage(tracker.handle)
    await new Promise((resolve) => worker.once('message', resolve))
    await worker.terminate()
  },
  'keeps the last epoch': (tracker) => void tracker.openWriter().mark(7),
}
const keptController = new AbortController()
let other
const otherWorker = () => (other ??= new Worker('setInterval(() => {}, 1e6)', { eval: true }))

const options = { kernel: args.kernel, maxKeysPerEpoch: 1000, laneCapacity: 64, maxWriters: 8 }

/** Each tracker lives, and stops, in a call of its own: nothing of it stays in a variable. */
async function liveOnce(aggregator, live, keeps) {
  const tracker = await DirtyTracker.create({ ...options, aggregator })
  await live(tracker)
  const last = await tracker.stop()
  if (keeps) kept.push(last)
  return refsOf(tracker.handle)
}

async function alone() {
  const result = {}
  for (const aggregator of ['inline', 'worker']) {
    for (const [name, live] of Object.entries(lives)) {
      if (aggregator === 'worker' && !args.isLong && name !== 'cuts and settles') continue
      const keeps = name === 'keeps the last epoch'
      const refs = []
      for (let i = 0; i < COUNT; i++) refs.push(...(await liveOnce(aggregator, live, keeps)))
      result[`${aggregator}: ${name}`] = [await countAlive(refs), refs.length]
    }
  }
  return result
}

/** The same with a worker that attaches, and does nothing once the trackers have stopped. */
async function useOnce(use, worker) {
  const aggregator = use === 'runs the aggregator' ? 'none' : 'inline'
  const flushIntervalMs = use === 'has keys staged' ? 0 : 10
  const tracker = await DirtyTracker.create({ ...options, aggregator, flushIntervalMs })
  worker.postMessage(tracker.handle)
  await new Promise((resolve) => worker.once('message', resolve))
  tracker.openWriter().mark(2)
  await tracker.consume(() => undefined)
  await tracker.stop()
  return refsOf(tracker.handle)
}

async function withWorkers() {
  const result = {}
  for (const use of Object.keys(uses)) {
    const worker = new Worker(new URL(import.meta.url), { workerData: use })
    const refs = []
    for (let i = 0; i < COUNT; i++) refs.push(...(await useOnce(use, worker)))
    const here = await countAlive(refs)
    worker.postMessage('count')
    const there = await within(new Promise((resolve) => worker.once('message', resolve)), use)
    result[use] = { here: [here, refs.length], there }
    await worker.terminate()
  }
  return result
}

if (isMainThread) {
  const own = await alone()
  const shared = await withWorkers()
  const read = kept.map((epoch) => [...epoch.ids()])
  await other?.terminate()
  verdict({ own, shared, read })
} else {
  const refs = []
  parentPort.on('message', async (message) => {
    if (message === 'count') {
      parentPort.postMessage([await countAlive(refs), refs.length])
    } else {
      uses[workerData](message)
      refs.push(...refsOf(message))
      parentPort.postMessage('done')
    }
  })
}
