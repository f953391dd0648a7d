/**
 * One fresh process, one measurement: how long until every key that some writer threads mark is in a set on another thread.
 *
 *   node perf/pipeline.js '{"kind":"dirtyring","distinct":2000}'
 *
 * Prints one JSON line. Kinds: dirtyring, dirtyring js (the TypeScript kernel); postMessage (transferred batches of 1,024 keys into a Set<bigint>),
 * ringbuf.js (batches of 64 into a Set<bigint>). The same stream was sent four times before: what is timed is neither the compiler nor
 * the first touch of memory.
 *
 * A kind is receive(), on the main thread: { handles, one a writer; settle(count, sent): all of them are in the set; clear(); result() }; and send(), on a
 * writer's thread: a function that sends `count` keys.
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { DirtyTracker, openWriter } from '../dist/index.js'
import { uniformKeys, zipfKeys } from './keys.js'

const BATCH_OF_POST_MESSAGE = 1024
const WARM_UP = 4
const now = () => performance.timeOrigin + performance.now()

const kinds = {
  dirtyring: { receive: dirtyring, send: marker },
  'dirtyring js': { receive: dirtyring, send: marker },
  postMessage: { receive: postMessages, send: messenger },
  'ringbuf.js': { load: async () => (await import('./peers/channels.js')).ringbuf },
}

if (isMainThread) {
  const args = { count: 8_000_000, writers: 1, batchSize: 64, capacity: 1024, ids: 0, epochMs: 0, ...JSON.parse(process.argv[2]) }
  console.log(JSON.stringify({ ...args, ...(await measure(args)) }))
  process.exit()
} else {
  await write(workerData)
}

async function kindOf(name) {
  const kind = kinds[name]
  return kind.load === undefined ? kind : kind.load()
}

async function measure(args) {
  const { kind, count, writers, epochMs } = args
  const streams = streamsOf(args)
  const share = Math.floor(count / writers)
  const receiver = await (await kindOf(kind)).receive(args)
  const threads = receiver.handles.map((handle, i) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: { kind, share, handle, buffer: streams[i].buffer } })
    receiver.listen?.(worker)
    return worker
  })
  await Promise.all(threads.map(message))
  const round = async () => {
    const sent = Promise.all(threads.map(message))
    for (const thread of threads) thread.postMessage('go')
    await receiver.settle(share * writers, sent)
    const ended = now()
    return { sent: await sent, ended }
  }
  for (let i = 0; i < WARM_UP; i++) {
    await round()
    await receiver.clear()
  }
  await new Promise((resolve) => setTimeout(resolve, 300))
  const ticking = epochMs > 0 ? receiver.tick(epochMs) : undefined
  const cpuBefore = process.cpuUsage()
  const { sent, ended } = await round()
  const { user, system } = process.cpuUsage(cpuBefore)
  ticking?.()
  const ms = ended - Math.min(...sent.map(({ startedAt }) => startedAt))
  return {
    ms,
    mKeysPerSecond: (share * writers) / ms / 1000,
    cpuNs: ((user + system) * 1000) / (share * writers),
    ...(await receiver.result()),
  }
}

/** One stream a writer; with `ids`, skewed over so many. */
function streamsOf({ count, writers, distinct, ids }) {
  return Array.from({ length: writers }, (_, i) =>
    ids > 0 ? zipfKeys(Math.floor(count / writers), ids, 0.99, i + 1) : uniformKeys(Math.floor(count / writers), distinct, i + 1),
  )
}

async function dirtyring({ kind, writers, batchSize, capacity }) {
  const kernel = kind === 'dirtyring js' ? 'js' : 'auto'
  const tracker = await DirtyTracker.create({ batchSize, capacity, maxKeysPerEpoch: 2 ** 24, kernel })
  const totals = () =>
    tracker.stats().writers.reduce((sum, { waits, waitMs }) => ({ waits: sum.waits + waits, waitMs: sum.waitMs + waitMs }))
  let before
  return {
    handles: Array.from({ length: writers }, () => tracker.handle),
    async clear() {
      await tracker.consume(() => undefined)
      before = totals()
    },
    async settle(_count, sent) {
      await sent
      await tracker.drained()
    },
    tick(ms) {
      const timer = setInterval(() => void tracker.consume(() => undefined), ms)
      return () => clearInterval(timer)
    },
    async result() {
      const { waits, waitMs } = totals()
      const epoch = await tracker.stop()
      return { distinctSeen: epoch.size, kernel: tracker.kernel, waits: waits - before.waits, waitMs: waitMs - before.waitMs }
    },
  }
}

function postMessages({ writers }) {
  const set = new Set()
  let received = 0
  let wake = () => undefined
  return {
    handles: Array.from({ length: writers }),
    listen(writer) {
      writer.on('message', (keys) => {
        if (!(keys instanceof BigUint64Array)) return
        for (let i = 0; i < keys.length; i++) set.add(keys[i])
        received += keys.length
        wake()
      })
    },
    clear() {
      set.clear()
      received = 0
    },
    async settle(count) {
      while (received < count) await new Promise((resolve) => (wake = resolve))
    },
    result: () => ({ distinctSeen: set.size }),
  }
}

/** The next message that is no batch of keys. */
function message(worker) {
  return new Promise((resolve) => {
    worker.on('message', function listen(value) {
      if (value instanceof BigUint64Array) return
      worker.off('message', listen)
      resolve(value)
    })
  })
}

async function write({ kind, share, handle, buffer }) {
  const send = (await kindOf(kind)).send(handle, new BigUint64Array(buffer))
  parentPort.on('message', () => {
    const startedAt = now()
    send(share)
    parentPort.postMessage({ startedAt })
  })
  parentPort.postMessage('ready')
}

function marker(handle, keys) {
  const writer = openWriter(handle)
  const lanes = new Int32Array(keys.buffer) // int32: a lane above 2^31 would be a double on its way
  return (count) => {
    for (let i = 0; i < count; i++) writer.mark(lanes[2 * i], lanes[2 * i + 1])
    writer.flush()
  }
}

function messenger(_handle, keys) {
  return (count) => {
    for (let at = 0; at < count; at += BATCH_OF_POST_MESSAGE) {
      const batch = new BigUint64Array(Math.min(BATCH_OF_POST_MESSAGE, count - at))
      batch.set(keys.subarray(at, at + batch.length))
      parentPort.postMessage(batch, [batch.buffer])
    }
  }
}
