/** Workers that workers start: this program is the main thread, and every thread below it. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { isMainThread, parentPort, threadId, Worker, workerData } from 'node:worker_threads'
import { Piscina } from 'piscina'
import {
  DirtyTracker,
  openWriter,
  runAggregator,
  threadWriter,
  watchWorkers,
} from '../../../dist/index.js'
import { args, verdict } from './support.mjs'
import { until, within } from './threads.mjs'

const url = new URL(import.meta.url)
const KEYS = 1000
const options = { maxWriters: 4, maxKeysPerEpoch: 100_000, flushIntervalMs: 0, batchSize: 64 }

/**
 * Marks `KEYS` keys from its number on, tells each one that has returned, and never ends by itself.
 */
function markForEver(writer, number, marked) {
  for (let i = 0; i < KEYS - 1; i++) {
    writer.mark(number * KEYS + i)
    Atomics.store(marked, number, i + 1)
  }
  for (;;);
}

/** A task of a pool. */
export default function task({ handle, number, marked }) {
  markForEver(threadWriter(handle), number, marked)
}

const newCounters = () => new Int32Array(new SharedArrayBuffer(64 * 4))

/** Every key of which a mark has returned is in the epoch. */
async function countLost(tracker, marked) {
  const epoch = await within(tracker.advanceEpoch(), 'an epoch')
  const ids = new Set(epoch.ids())
  let lost = 0
  marked.forEach((count, number) => {
    for (let i = 0; i < count; i++) if (!ids.has(number * KEYS + i)) lost++
  })
  epoch.commit()
  return { exact: epoch.exact, lost, found: ids.size >= marked.reduce((a, b) => a + b) }
}

const isFree = (tracker) => tracker.stats().writers.every(({ open }) => !open)

const main = {
  /** A pool inside a worker, whose tasks are aborted. */
  async pool({ how }) {
    const tracker = await DirtyTracker.create(options)
    const marked = newCounters()
    const middle = new Worker(url, {
      workerData: { role: 'pool', handle: tracker.handle, marked, how },
    })
    const told = await within(
      new Promise((resolve, reject) => middle.once('message', resolve).once('error', reject)),
      'eight aborted tasks',
    )
    const isOpen = ({ open, threadId: id }) => open && id !== middle.threadId
    await until(() => !tracker.stats().writers.some(isOpen), 'all lanes to be free')
    const result = {
      ...told,
      ...(await countLost(tracker, marked)),
      harvested: tracker.stats().harvested > 0,
    }
    await within(tracker.stop(), 'stop()')
    middle.postMessage('end')
    await within(
      new Promise((resolve) => middle.once('exit', resolve)),
      'the end of the middle thread',
    )
    return result
  },

  /**
   * The middle thread is terminated, with workers below it that mark, and one below one of those.
   */
  async terminated() {
    const tracker = await DirtyTracker.create(options)
    const marked = newCounters()
    const harvests = []
    tracker.on('harvest', (harvest) => harvests.push(harvest))
    const middle = new Worker(url, {
      workerData: { role: 'middle', handle: tracker.handle, marked },
    })
    await until(
      () => marked.slice(0, 3).every((count) => count === KEYS - 1),
      'three threads that mark',
    )
    const open = tracker.stats().writers.filter((each) => each.open)
    await within(middle.terminate(), 'terminate()')
    await until(() => isFree(tracker), 'all lanes to be free')
    const result = await countLost(tracker, marked)
    await within(tracker.stop(), 'stop()')
    const owners = (list) => list.map((each) => each.threadId).sort((a, b) => a - b)
    return {
      open: open.length,
      ...result,
      toldOfAll: owners(open).join() === owners(harvests).join(),
    }
  },

  /** The highest of three threads is terminated; only the lowest has a writer. */
  async chain() {
    const tracker = await DirtyTracker.create(options)
    const marked = newCounters()
    const top = new Worker(url, {
      workerData: { role: 'link', handle: tracker.handle, marked, links: 2 },
    })
    await until(() => marked[0] === KEYS - 1, 'a thread that marks')
    const open = tracker.stats().writers.filter((each) => each.open)
    await within(top.terminate(), 'terminate()')
    await until(() => isFree(tracker), 'all lanes to be free')
    const result = await countLost(tracker, marked)
    await within(tracker.stop(), 'stop()')
    return { open: open.length, ...result }
  },

  /** The aggregator runs two threads down, and the thread between is terminated. */
  async role() {
    const tracker = await DirtyTracker.create({ ...options, aggregator: 'none' })
    const middle = new Worker(url, { workerData: { role: 'host', handle: tracker.handle } })
    const writer = tracker.openWriter()
    writer.mark(1)
    const before = await within(
      tracker.consume((epoch) => [...epoch.ids()]),
      'an epoch',
    )
    writer.mark(2)
    await within(middle.terminate(), 'terminate()')
    const last = await within(tracker.stop(), 'stop()')
    return { before, last: [...last.ids()], exact: last.exact }
  },

  /** What is left in a thread that goes on, when a tracker has stopped or the watch has ended. */
  async left() {
    const middle = new Worker(url, { workerData: { role: 'left' } })
    const call = (message) =>
      within(
        new Promise((resolve, reject) => {
          middle.once('message', resolve).once('error', reject)
          middle.postMessage(message)
        }),
        message.what,
      )
    const first = await DirtyTracker.create(options)
    await call({ what: 'watch', handle: first.handle })
    await within(first.stop(), 'stop()')
    const afterStop = await call({ what: 'collect' })
    const second = await DirtyTracker.create(options)
    await call({ what: 'watch', handle: second.handle, end: true })
    const afterEnd = await call({ what: 'collect' })
    await within(second.stop(), 'stop()')
    const third = await DirtyTracker.create(options)
    await call({ what: 'write', handle: third.handle })
    await within(third.stop(), 'stop()')
    const afterWriting = await call({ what: 'collect' })
    await middle.terminate()
    return { afterStop, afterEnd, afterWriting }
  },
}

const below = {
  async pool({ handle, marked, how }) {
    const ends = how === 'writer' ? [] : [watchWorkers(handle), watchWorkers(handle)]
    if (how === 'writer') openWriter(handle)
    ends.pop()?.() // the other one still watches
    const pool = new Piscina({ filename: url.href, minThreads: 1, maxThreads: 2 })
    let aborted = 0
    for (let number = 0; number < 8; number++) {
      const controller = new AbortController()
      const run = pool.run({ handle, number, marked }, { signal: controller.signal })
      run.catch(() => undefined)
      await until(() => Atomics.load(marked, number) > number * 100, 'marks')
      controller.abort()
      await run.catch(({ name }) => (aborted += name === 'AbortError' ? 1 : 0))
    }
    await pool.destroy()
    parentPort.postMessage({ aborted })
    await new Promise((resolve) => parentPort.once('message', resolve))
  },

  middle({ handle, marked }) {
    watchWorkers(handle)
    new Worker(url, { workerData: { role: 'leaf', handle, marked, number: 0 } })
    new Worker(url, { workerData: { role: 'branch', handle, marked, number: 1 } })
  },

  branch({ handle, marked, number }) {
    const writer = openWriter(handle)
    new Worker(url, { workerData: { role: 'leaf', handle, marked, number: number + 1 } })
    setTimeout(() => markForEver(writer, number, marked))
  },

  link({ handle, marked, links }) {
    watchWorkers(handle)
    const role = links > 1 ? 'link' : 'leaf'
    new Worker(url, { workerData: { role, handle, marked, number: 0, links: links - 1 } })
  },

  host({ handle }) {
    watchWorkers(handle)
    new Worker(url, { workerData: { role: 'aggregator', handle } })
  },

  aggregator: ({ handle }) => runAggregator(handle),

  leaf: ({ handle, marked, number }) => markForEver(openWriter(handle), number, marked),

  left() {
    let memory
    setFlagsFromString('--expose-gc')
    const collectGarbage = runInNewContext('gc')
    const doings = {
      watch({ handle, end }) {
        memory = new WeakRef(handle.buffer)
        const stop = watchWorkers(handle)
        if (end) stop()
      },
      write({ handle }) {
        memory = new WeakRef(handle.buffer)
        openWriter(handle).mark(1)
      },
      async collect() {
        const collected = until(
          () => {
            collectGarbage()
            return memory.deref() === undefined
          },
          'the memory to be let go',
          3000,
        )
        const isGone = await collected.then(
          () => true,
          () => false,
        )
        return {
          isGone,
          listeners: process.listenerCount('worker'),
          handles: process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length,
        }
      },
    }
    parentPort.on('message', async ({ what, ...rest }) =>
      parentPort.postMessage(await doings[what](rest)),
    )
  },
}

if (isMainThread) verdict(await main[args.case](args))
else if (workerData?.role !== undefined && threadId > 0) await below[workerData.role](workerData)
