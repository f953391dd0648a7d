/**
 * One measurement: how long until batches of words that one thread sends were all read on another
 * one.
 *
 *   node perf/measure/ring.js '{"kind":"BatchRing, wait()","batch":64}'
 *
 * Prints one JSON line. Kinds: BatchRing with wait() and drain(), or with batches(); ringbuf.js,
 * polled; postMessage, which copies a batch or transfers it; and a floor, 'empty loop': one thread
 * without a channel. Each kind fills a batch word by word, and reads it word by word.
 *
 * The same words were sent before, twice: what is timed is neither the compiler nor the first touch
 * of memory. `lost`: words that were sent and not read, and 1 if those that were read have another
 * sum.
 */
import { isMainThread, parentPort, workerData } from 'node:worker_threads'
import { BatchRing } from '../../dist/index.js'
import { args as given, message, report, sleep, startThread, unlessQuick } from '../harness/args.js'

/** The rings of both kinds hold so many words. */
const WORDS_IN_FLIGHT = 2 ** 14
const WARM_UPS = 2
function now() {
  return performance.timeOrigin + performance.now()
}

const kinds = {
  'BatchRing, wait()': { receive: waiting, send: pusher },
  'BatchRing, batches()': { receive: walking, send: pusher },
  'ringbuf.js': { load: async () => (await import('../peers/channels.js')).ringbufBatches },
  'postMessage, copied': { receive: messages, send: copier },
  'postMessage, transferred': { receive: messages, send: transferrer },
  'empty loop': { alone: fillAndRead },
}

/** What was received: a count, and the sum modulo 2^64. */
class Tally {
  count = 0
  sum = 0n

  take(words, count = words.length) {
    let { sum } = this
    for (let i = 0; i < count; i++) sum = BigInt.asUintN(64, sum + words[i])
    this.sum = sum
    this.count += count
  }
}

/** A batch's words by halves: a bigint for each word would cost more than the channel. */
const halvesOf = (words) => new Int32Array(words.buffer)

/** The words are 1, 2, 3 … */
function fill(halves, at) {
  for (let i = 0; i < halves.length; i += 2) halves[i] = at + (i >> 1) + 1
}
const sumTo = (count) => BigInt.asUintN(64, (BigInt(count) * (BigInt(count) + 1n)) / 2n)

async function kindOf(name) {
  const kind = kinds[name]
  return kind.load === undefined ? kind : kind.load()
}

if (isMainThread) {
  const { kind, batch } = given
  const count = Math.floor(unlessQuick(given.count, Math.min(given.count, 2000)) / batch) * batch
  report({ kind, batch, count, ...(await measure(kind, batch, count)) })
  process.exit()
} else {
  const { kind, batch, count, handle } = workerData
  const send = (await kindOf(kind)).send(handle, batch)
  parentPort.on('message', () => {
    const startedAt = now()
    send(count)
    parentPort.postMessage({ startedAt })
  })
  parentPort.postMessage({})
}

async function measure(name, batch, count) {
  const kind = await kindOf(name)
  const round = kind.alone
    ? aloneRound(kind.alone, batch, count)
    : await threadsRound(kind, name, batch, count)
  for (let i = 0; i < WARM_UPS; i++) await round()
  await sleep(unlessQuick(200, 0))
  const cpuBefore = process.cpuUsage()
  const { ms, tally } = await round()
  const { user, system } = process.cpuUsage(cpuBefore)
  return {
    ms,
    mWordsPerSecond: count / ms / 1000,
    cpuSeconds: (user + system) / 1e6,
    cpuNs: ((user + system) * 1000) / count,
    lost: count - tally.count + (tally.sum === sumTo(count) ? 0 : 1),
  }
}

function aloneRound(run, batch, count) {
  return () => {
    const tally = new Tally()
    const began = performance.now()
    run(tally, batch, count)
    return { ms: performance.now() - began, tally }
  }
}

async function threadsRound(kind, name, batch, count) {
  const { handle, receive, listen } = kind.receive(batch)
  const worker = startThread(import.meta.url, { kind: name, batch, count, handle })
  listen?.(worker)
  await message(worker, isNoBatch)
  return async () => {
    const tally = new Tally()
    const sent = message(worker, isNoBatch)
    worker.postMessage('go')
    await receive(tally, count)
    const ended = now()
    return { ms: ended - (await sent).startedAt, tally }
  }
}

function fillAndRead(tally, batch, count) {
  const words = new BigUint64Array(batch)
  const halves = halvesOf(words)
  for (let at = 0; at < count; at += batch) {
    fill(halves, at)
    tally.take(words)
  }
}

function isNoBatch(value) {
  return !(value instanceof BigUint64Array)
}

function openRing(batch) {
  return BatchRing.create({
    capacity: Math.min(2 ** 10, WORDS_IN_FLIGHT / batch),
    laneCapacity: WORDS_IN_FLIGHT,
    maxWriters: 1,
  })
}

function waiting(batch) {
  const ring = openRing(batch)
  return {
    handle: ring.handle,
    receive(tally, count) {
      while (tally.count < count) {
        ring.wait()
        ring.drain((words) => tally.take(words))
      }
    },
  }
}

function walking(batch) {
  const ring = openRing(batch)
  return {
    handle: ring.handle,
    async receive(tally, count) {
      for await (const { keys } of ring.batches()) {
        tally.take(keys)
        if (tally.count === count) break
      }
    },
  }
}

function pusher(handle, batch) {
  const producer = BatchRing.attach(handle).openProducer()
  const words = new BigUint64Array(batch)
  const halves = halvesOf(words)
  const idle = new Int32Array(new SharedArrayBuffer(4))
  return (count) => {
    for (let at = 0; at < count; at += batch) {
      fill(halves, at)
      while (!producer.push(words)) Atomics.wait(idle, 0, 0, 0.001)
    }
  }
}

function messages() {
  let take = () => undefined
  return {
    listen: (worker) => worker.on('message', (words) => isNoBatch(words) || take(words)),
    receive(tally, count) {
      return new Promise((resolve) => {
        take = (words) => {
          tally.take(words)
          if (tally.count === count) resolve()
        }
      })
    },
  }
}

function copier(_handle, batch) {
  const words = new BigUint64Array(batch)
  const halves = halvesOf(words)
  return (count) => {
    for (let at = 0; at < count; at += batch) {
      fill(halves, at)
      parentPort.postMessage(words)
    }
  }
}

function transferrer(_handle, batch) {
  return (count) => {
    for (let at = 0; at < count; at += batch) {
      const words = new BigUint64Array(batch)
      fill(halvesOf(words), at)
      parentPort.postMessage(words, [words.buffer])
    }
  }
}
