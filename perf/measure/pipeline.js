/**
 * One fresh process, one measurement: how long until every key that some writer threads mark is in
 * a set on another thread.
 *
 *   node perf/measure/pipeline.js '{"kind":"dirtyring","distinct":2000}'
 *
 * Prints one JSON line. Kinds: dirtyring, dirtyring js (the TypeScript kernel); postMessage
 * (transferred batches of 1,024 keys into a Set<bigint>), ringbuf.js (batches of 64 into a
 * Set<bigint>); and two floors with one thread and no channel, 'Set<bigint>, one thread' and 'empty
 * loop'. The same stream was sent before, four times where that is quick: what is timed is neither
 * the compiler nor the first touch of memory.
 *
 * A kind is receive(), on the main thread: { handles, one a writer; settle(count, sent): all of
 * them are in the set; clear(); result() }; and send(), on a writer's thread: a function that sends
 * `count` keys. Or it is alone(), which takes the keys.
 *
 * With epochMs, dirtyring's epochs are taken and read meanwhile. `lost`: ids that were sent, and
 * seen in no epoch or set.
 */
import { isMainThread, parentPort, workerData } from 'node:worker_threads'
import { DirtyTracker, openWriter } from '../../dist/index.js'
import { args as given, message, report, sleep, startThread, unlessQuick } from '../harness/args.js'
import { Seen, stream } from '../harness/keys.js'

const BATCH_OF_POST_MESSAGE = 1024
const now = () => performance.timeOrigin + performance.now()

const kinds = {
  dirtyring: { receive: dirtyring, send: marker, warmUps: 4 },
  'dirtyring js': { receive: dirtyring, send: marker, warmUps: 4 },
  postMessage: { receive: postMessages, send: messenger, warmUps: 1 },
  'ringbuf.js': { load: async () => (await import('../peers/channels.js')).ringbuf },
  'Set<bigint>, one thread': { alone: fillSet, warmUps: 1 },
  'empty loop': { alone: walk, warmUps: 4 },
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
  await write(workerData)
}

async function kindOf(name) {
  const kind = kinds[name]
  return kind.load === undefined ? kind : kind.load()
}

async function measure(args) {
  const { kind: name, writers, distinct, epochMs } = args
  const kind = await kindOf(name)
  const share = Math.floor(args.count / writers)
  const sent = share * writers
  const streams = Array.from({ length: writers }, (_, i) =>
    stream({ ...args, count: share }, i + 1),
  )
  const seen = new Seen(distinct)
  const { round, result, clear, tick } = kind.alone
    ? aloneWith(kind.alone, streams)
    : await withThreads(name, kind, args, streams, seen)
  for (let i = 0; i < unlessQuick(kind.warmUps, 1); i++) {
    await round()
    await clear()
  }
  await sleep(unlessQuick(300, 0))
  const ticking = epochMs > 0 ? tick?.(epochMs) : undefined
  const cpuBefore = process.cpuUsage()
  const ms = await round()
  const { user, system } = process.cpuUsage(cpuBefore)
  await ticking?.()
  const { distinctSeen, ...more } = await result()
  const expected = Seen.of(
    distinct,
    streams.map((keys) => new Int32Array(keys.buffer)),
  ).size
  return {
    ms,
    mKeysPerSecond: sent / ms / 1000,
    cpuSeconds: (user + system) / 1e6,
    cpuNs: ((user + system) * 1000) / sent,
    expected,
    lost: distinctSeen === undefined ? undefined : expected - distinctSeen,
    ...more,
  }
}

async function withThreads(name, kind, args, streams, seen) {
  const share = streams[0].length
  const receiver = await kind.receive(args, seen)
  const threads = receiver.handles.map((handle, i) => {
    const worker = startThread(import.meta.url, {
      kind: name,
      share,
      handle,
      buffer: streams[i].buffer,
    })
    receiver.listen?.(worker)
    return worker
  })
  await Promise.all(threads.map((thread) => message(thread, isNoBatch)))
  const round = async () => {
    const sent = Promise.all(threads.map((thread) => message(thread, isNoBatch)))
    for (const thread of threads) thread.postMessage('go')
    await receiver.settle(share * threads.length, sent)
    const ended = now()
    return ended - Math.min(...(await sent).map(({ startedAt }) => startedAt))
  }
  return { ...receiver, round }
}

/** Of a kind that has neither threads nor a channel. */
function aloneWith(take, streams) {
  let result
  const round = () => {
    const began = performance.now()
    result = take(streams)
    return performance.now() - began
  }
  return { round, clear: () => undefined, result: () => result }
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

function isNoBatch(value) {
  return !(value instanceof BigUint64Array)
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
    for (let i = 0; i < count; i++) writer.markPair(lanes[2 * i], lanes[2 * i + 1])
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
