/**
 * One fresh process, one measurement: how long until every key that one writer thread marks is in a set on another thread.
 *
 *   node perf/pipeline.js '{"kind":"dirtyring","distinct":2000}'
 *
 * Prints one JSON line. Kinds: dirtyring; postMessage, transferred batches of 1,024 keys into a Set<bigint>.
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { DirtyTracker, openWriter } from '../dist/index.js'
import { uniformKeys } from './keys.js'

const BATCH_OF_PEER = 1024
const now = () => performance.timeOrigin + performance.now()

if (isMainThread) await measure(JSON.parse(process.argv[2]))
else await write(workerData)

async function measure({ kind, distinct, count = 8_000_000, batchSize = 64 }) {
  const receiver = kind === 'dirtyring' ? await dirtyring(distinct, batchSize) : postMessages(distinct)
  const writer = new Worker(new URL(import.meta.url), { workerData: { kind, distinct, count, handle: receiver.handle } })
  receiver.listen?.(writer)
  await message(writer) // ready, and warm
  await receiver.settle(count)
  await receiver.clear()
  await new Promise((resolve) => setTimeout(resolve, 300))
  const cpuBefore = process.cpuUsage()
  const done = message(writer)
  writer.postMessage('go')
  const { startedAt, markMs } = await done
  await receiver.settle(count)
  const ms = now() - startedAt
  const cpu = process.cpuUsage(cpuBefore)
  const result = {
    kind,
    distinct,
    count,
    ms,
    mKeysPerSecond: count / ms / 1000,
    markNs: (markMs * 1e6) / count,
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
  }
  console.log(JSON.stringify({ ...result, ...(await receiver.result()) }))
  await writer.terminate()
}

async function dirtyring(distinct, batchSize) {
  const tracker = await DirtyTracker.create({ batchSize, maxKeysPerEpoch: Math.max(2 ** 20, distinct) })
  return {
    handle: tracker.handle,
    clear: () => tracker.consume(() => undefined),
    settle: () => tracker.drained(),
    async result() {
      const epoch = await tracker.stop()
      const [{ waits, waitMs, batches }] = tracker.stats().writers
      return { distinctSeen: epoch.size, exact: epoch.exact, waits, waitMs, keysPerBatch: Math.round(tracker.stats().keys / batches) }
    },
  }
}

function postMessages() {
  const set = new Set()
  let received = 0
  let wake = () => undefined
  return {
    listen(writer) {
      writer.on('message', (keys) => {
        if (!(keys instanceof BigUint64Array)) return
        for (let i = 0; i < keys.length; i++) set.add(keys[i])
        received += keys.length
        wake()
      })
    },
    async clear() {
      set.clear()
      received = 0
    },
    async settle(count) {
      while (received < count) await new Promise((resolve) => (wake = resolve))
    },
    result: async () => ({ distinctSeen: set.size }),
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

async function write({ kind, distinct, count, handle }) {
  const keys = uniformKeys(count, distinct)
  const send = kind === 'dirtyring' ? marker(handle, keys) : messenger(keys)
  send(count) // the same once before: what is timed is neither the compiler nor the collector of this program's own arrays
  parentPort.postMessage('ready')
  await new Promise((resolve) => parentPort.once('message', resolve))
  const startedAt = now()
  send(count)
  parentPort.postMessage({ startedAt, markMs: now() - startedAt })
}

function marker(handle, keys) {
  const writer = openWriter(handle)
  const lanes = new Int32Array(keys.buffer) // int32: a lane above 2^31 would be a double on its way
  return (count) => {
    for (let i = 0; i < count; i++) writer.mark(lanes[2 * i], lanes[2 * i + 1])
    writer.flush()
  }
}

function messenger(keys) {
  return (count) => {
    for (let at = 0; at < count; at += BATCH_OF_PEER) {
      const batch = keys.slice(at, Math.min(at + BATCH_OF_PEER, count))
      parentPort.postMessage(batch, [batch.buffer])
    }
  }
}
