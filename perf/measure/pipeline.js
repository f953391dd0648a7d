/**
 * One fresh process, one measurement: how long until every key that some writer threads mark is in
 * a set on another thread.
 *
 *   node perf/measure/pipeline.js '{"kind":"dirtyring","distinct":2000}'
 *
 * Prints one JSON line. Kinds: dirtyring, dirtyring js (the TypeScript kernel); postMessage
 * (transferred batches of 1,024 keys into a Set<bigint>), ringbuf.js (batches of 64 into a
 * Set<bigint>); and two floors with one thread and no channel, 'Set<bigint>, one thread' and 'empty
 * loop'. See ../harness/pipeline.js for what a kind is.
 *
 * With epochMs, dirtyring's epochs are taken and read meanwhile. `lost`: ids that were sent, and
 * seen in no epoch or set.
 */
import { isMainThread, parentPort } from 'node:worker_threads'
import { DirtyTracker, openWriter } from '../../dist/index.js'
import { args as given, report, unlessQuick } from '../harness/args.js'
import { Seen, stream } from '../harness/keys.js'
import { postMessages, timePipeline, writeStream } from '../harness/pipeline.js'

const BATCH_OF_POST_MESSAGE = 1024

const kinds = {
  dirtyring: { receive: dirtyring, send: marker, warmUps: 4 },
  'dirtyring js': { receive: dirtyring, send: marker, warmUps: 4 },
  postMessage: { receive: keysOfMessages, send: messenger, warmUps: 1 },
  'ringbuf.js': { load: async () => (await import('../peers/channels.js')).ringbuf },
  'Set<bigint>, one thread': { alone: () => fillSet, warmUps: 1 },
  'empty loop': { alone: () => walk, warmUps: 4 },
}

if (isMainThread) {
  const count = unlessQuick(given.count ?? 8_000_000, 20_000)
  const args = {
    writers: 1,
    skew: 0,
    hot: 0,
    batchSize: 64,
    capacity: 1024,
    epochMs: 0,
    ...given,
    count,
  }
  report({ ...args, ...(await measure(args)) })
  process.exit()
} else {
  await writeStream(kinds)
}

async function measure(args) {
  const { writers, distinct, count } = args
  const share = Math.floor(count / writers)
  const streams = Array.from({ length: writers }, (_, i) =>
    stream({ ...args, count: share }, i + 1),
  )
  const { result, ...timed } = await timePipeline({
    url: import.meta.url,
    kinds,
    args,
    streams,
    seen: new Seen(distinct),
  })
  const { distinctSeen, ...more } = result
  const expected = Seen.of(
    distinct,
    streams.map((keys) => new Int32Array(keys.buffer)),
  ).size
  return {
    ...timed,
    expected,
    lost: distinctSeen === undefined ? undefined : expected - distinctSeen,
    ...more,
  }
}

function fillSet(streams) {
  const set = new Set()
  for (const keys of streams) for (let i = 0; i < keys.length; i++) set.add(keys[i])
  return { distinctSeen: set.size }
}

function walk(streams) {
  let sink = 0
  for (const { buffer } of streams) {
    const lanes = new Int32Array(buffer)
    for (let i = 0; i < lanes.length; i += 2) sink ^= lanes[i] ^ lanes[i + 1]
  }
  return { sink }
}

async function dirtyring({ kind, writers, batchSize, capacity, laneCapacity }, seen) {
  const kernel = kind === 'dirtyring js' ? 'js' : 'auto'
  const tracker = await DirtyTracker.create({
    batchSize,
    capacity,
    laneCapacity,
    maxKeysPerEpoch: 2 ** 24,
    kernel,
  })
  const totals = () =>
    Object.fromEntries(
      ['marked', 'suppressed', 'waits', 'waitMs'].map((name) => [
        name,
        tracker.stats().writers.reduce((sum, each) => sum + each[name], 0),
      ]),
    )
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
      let last = Promise.resolve()
      const timer = setInterval(
        () => (last = tracker.consume((epoch) => seen.add(epoch.pairs))),
        ms,
      )
      return () => (clearInterval(timer), last)
    },
    async result() {
      const after = totals()
      const [marked, suppressed, waits, waitMs] = Object.keys(after).map(
        (name) => after[name] - before[name],
      )
      const epoch = await tracker.stop()
      seen.add(epoch.pairs)
      return {
        distinctSeen: seen.size,
        kernel: tracker.kernel,
        suppressed: suppressed / marked,
        waits,
        waitMs,
      }
    },
  }
}

function keysOfMessages({ writers }) {
  return postMessages(writers, (set) => ({ distinctSeen: set.size }))
}

function marker(handle, buffer) {
  const writer = openWriter(handle)
  const lanes = new Int32Array(buffer) // int32: a lane above 2^31 would be a double on its way
  const count = lanes.length / 2
  return () => {
    for (let i = 0; i < count; i++) writer.markPair(lanes[2 * i], lanes[2 * i + 1])
    writer.flush()
  }
}

function messenger(_handle, buffer) {
  const keys = new BigUint64Array(buffer)
  return () => {
    for (let at = 0; at < keys.length; at += BATCH_OF_POST_MESSAGE) {
      const batch = new BigUint64Array(Math.min(BATCH_OF_POST_MESSAGE, keys.length - at))
      batch.set(keys.subarray(at, at + batch.length))
      parentPort.postMessage(batch, [batch.buffer])
    }
  }
}
