/**
 * Some writers at a steady rate, each on a thread with a turning event loop, and a consumer that
 * takes an epoch every `epochMs` and reads it, for some seconds. Prints one JSON line: what was
 * marked, the cuts, what eight marks in a row take, waits, processor time, keys lost.
 *
 * kind: 'dirtyring', or a floor: 'Set<bigint>, a thread its own' (marks go into one that is thrown
 * away every epoch; Set<string> with text) or 'empty loop'. text: the keys are strings of so many
 * bytes; 0: they are numbers. rate: marks a second, of all writers together; 0: as fast as
 * they go. burstMs: that rate in bursts so far apart. txn: marks are recorded, and published in
 * transactions of about so many. stallMs: once, the consumer holds an epoch for so long.
 */
import { setImmediate } from 'node:timers/promises'
import { isMainThread, parentPort, workerData } from 'node:worker_threads'
import { DirtyTracker, memoryFootprint, openWriter, TxnBuffer } from '../../dist/index.js'
import { args, message, report, sleep, startThread, unlessQuick } from '../harness/args.js'
import { Histogram } from '../harness/histogram.js'
import { idOfLane, Seen, stream } from '../harness/keys.js'
import { idOf, tableOf } from '../harness/texts.js'

const GROUP = 8
/** Marks between two turns of the event loop, of a writer that is as fast as it goes. */
const SLICE = 8192
/** A group that takes longer was stopped, by a full lane or by the scheduler. */
const STOPPED_US = 50
/** Keys of a writer's stream; it begins again when it has used them all. */
const STREAM = unlessQuick(2 ** 20, 2 ** 12)

if (isMainThread) {
  report(
    await lead({
      kind: 'dirtyring',
      writers: 1,
      rate: 1e6,
      distinct: 100_000,
      epochMs: 100,
      stallMs: 0,
      text: 0,
      seconds: 3,
      options: {},
      ...args,
    }),
  )
  process.exit()
} else {
  await write(workerData)
}

async function lead(load) {
  const { writers, distinct, options } = load
  const [seconds, warmUp] = unlessQuick([load.seconds, 0.5], [0.1, 0.02])
  const tracker = await DirtyTracker.create(options)
  const streams = Array.from({ length: writers }, (_, i) =>
    stream({ ...load, count: STREAM }, i + 1),
  )
  const threads = streams.map(({ buffer }) =>
    startThread(import.meta.url, { ...load, buffer, handle: tracker.handle }),
  )
  await Promise.all(threads.map((thread) => message(thread)))
  const totals = () => sumsOf(tracker.stats().writers, ['marked', 'suppressed', 'waits', 'batches'])
  const phase = (duration) => {
    const done = Promise.all(threads.map((thread) => message(thread)))
    for (const thread of threads) thread.postMessage(duration)
    return done
  }

  let stalled = load.stallMs
  await consume(tracker, load, phase(warmUp), () => undefined)
  const [before, cpuBefore, began] = [totals(), process.cpuUsage(), performance.now()]
  const seen = new Seen(distinct)
  const cuts = new Histogram()
  const sizes = []
  let inexact = 0
  const done = await consume(tracker, load, phase(seconds), async (epoch, ms) => {
    if (ms !== undefined) cuts.add(ms * 1000)
    sizes.push(epoch.size)
    if (!epoch.exact) inexact++
    if (load.text > 0) {
      for (const key of epoch.exact ? epoch : epoch.listed()) seen.addId(idOf(key, load.text))
    } else {
      seen.add(
        epoch.exact
          ? epoch.pairs
          : new Uint32Array(BigUint64Array.from(epoch.listed(), BigInt).buffer),
      )
    }
    if (stalled > 0) {
      await sleep(stalled)
      stalled = 0
    }
  })
  const ms = performance.now() - began
  const { user, system } = process.cpuUsage(cpuBefore)
  const after = totals()
  const marked = done.reduce((sum, { count }) => sum + count, 0)
  const expected = Seen.of(
    distinct,
    streams.map(({ buffer }, i) => new Int32Array(buffer, 0, 2 * Math.min(STREAM, done[i].count))),
  ).size
  sizes.sort((a, b) => a - b)
  const { queuedPeak } = tracker.stats()
  await tracker.stop()
  return {
    ...load,
    marked,
    mKeysPerSecond: marked / ms / 1000,
    cpuSeconds: (user + system) / 1e6,
    cpuShare: (user + system) / ms / 1000,
    cpuNs: ((user + system) * 1000) / marked,
    epochs: sizes.length,
    keysAnEpoch: { median: sizes[sizes.length >> 1], max: sizes.at(-1) },
    inexact,
    seal: cuts.summary(),
    mark: Histogram.merged(done.map(({ times }) => times)),
    stopped: done.reduce((sum, { stoppedMs }) => sum + stoppedMs, 0) / writers / ms,
    batches: after.batches - before.batches,
    waits: after.waits - before.waits,
    suppressed: (after.suppressed - before.suppressed) / Math.max(1, after.marked - before.marked),
    queuedPeak,
    mib: memoryFootprint(options).total / 2 ** 20,
    ...(load.kind === 'dirtyring' ? { lost: expected - seen.size } : {}),
  }
}

/**
 * An epoch every epochMs until the writers are `done`, and the one with the rest. `use` gets it and
 * how long its cut took, in ms; none for the last one.
 */
async function consume(tracker, { epochMs }, done, use) {
  let running = true
  void done.then(() => (running = false))
  for (
    let due = performance.now() + epochMs;
    running;
    due = Math.max(due + epochMs, performance.now())
  ) {
    await Promise.race([done, sleep(due - performance.now())])
    if (!running) break
    const began = performance.now()
    const epoch = await tracker.advanceEpoch()
    await use(epoch, performance.now() - began)
    epoch.commit()
  }
  await tracker.consume((epoch) => use(epoch))
  return done
}

function sumsOf(rows, names) {
  return Object.fromEntries(
    names.map((name) => [name, rows.reduce((sum, row) => sum + row[name], 0)]),
  )
}

async function write(load) {
  const mark = marking(load)
  parentPort.on('message', async (seconds) =>
    parentPort.postMessage(await pace(load, mark, seconds)),
  )
  parentPort.postMessage('ready')
}

/** { group(i, count): mark the stream's keys from i on; flush() } */
function marking({ kind, handle, buffer, txn, epochMs, text, distinct }) {
  const lanes = new Int32Array(buffer)
  const names = text > 0 && kind !== 'empty loop' ? namesOf(lanes, distinct, text) : undefined
  if (kind === 'empty loop') {
    let sink = 0
    return {
      group(i, count) {
        for (let k = i; k < i + count; k++) sink ^= lanes[2 * k] ^ lanes[2 * k + 1]
      },
      flush: () => sink,
    }
  }
  if (kind.startsWith('Set<')) {
    const keys = names ?? new BigUint64Array(buffer)
    let set = new Set()
    setInterval(() => (set = new Set()), epochMs).unref()
    return {
      group(i, count) {
        for (let k = i; k < i + count; k++) set.add(keys[k])
      },
      flush: () => set.size,
    }
  }
  const writer = openWriter(handle)
  if (names !== undefined) {
    return {
      group(i, count) {
        for (let k = i; k < i + count; k++) writer.mark(names[k])
      },
      flush: () => writer.flush(),
    }
  }
  const buffered = new TxnBuffer(0)
  return {
    group:
      txn === undefined
        ? (i, count) => {
            for (let k = i; k < i + count; k++) writer.markPair(lanes[2 * k], lanes[2 * k + 1])
          }
        : (i, count) => {
            for (let k = i; k < i + count; k++) buffered.markPair(lanes[2 * k], lanes[2 * k + 1])
            buffered.flushTo(writer)
          },
    flush: () => writer.flush(),
  }
}

/** The stream's keys as strings. */
function namesOf(lanes, distinct, text) {
  const table = tableOf(distinct, text)
  return Array.from({ length: lanes.length / 2 }, (_, i) => table[idOfLane(lanes[2 * i])])
}

/**
 * Groups of marks as the rate has them due, from the stream's beginning: how many, and how long a
 * group took.
 */
async function pace({ rate, writers, burstMs = 1, txn = GROUP }, { group, flush }, seconds) {
  const times = new Histogram()
  const aBurst = ((rate / writers) * burstMs) / 1000
  const began = performance.now()
  const end = began + seconds * 1000
  let count = 0
  let stoppedMs = 0
  for (let now = began; now < end;) {
    const due =
      rate === 0 ? count + SLICE : Math.ceil(aBurst * Math.floor((now - began) / burstMs + 1))
    while (count < due && now < end) {
      const size = Math.min(lengthOf(txn, count), STREAM - (count % STREAM))
      group(count % STREAM, size)
      const after = performance.now()
      const us = (after - now) * 1000
      times.add(us)
      if (us > STOPPED_US) stoppedMs += after - now
      count += size
      now = after
    }
    if (rate === 0) await setImmediate()
    else await sleep(Math.max(0, burstMs * Math.ceil((now - began) / burstMs) - (now - began)))
    now = performance.now()
  }
  flush()
  return { count, times: times.summary(), stoppedMs }
}

/** Of a transaction: from about half to one and a half of what is usual. */
function lengthOf(txn, count) {
  return txn === GROUP ? GROUP : txn + ((count * 7) % txn) - (txn >> 1)
}
