/**
 * One writer thread at a steady rate (0: as fast as it goes) of uniform keys, an epoch every
 * `everyMs`. Prints one JSON line of histograms, µs: the cut, from advanceEpoch() to the hand-out
 * (with `floor`, a message to an idle worker and back instead, and no cuts); what eight marks in a
 * row take, beside the same eight calls of an empty function, in the same thread, paced alike; and,
 * with `visible`, how long it is from a mark until its key is in the set, when the writer publishes
 * after `flushIntervalMs` at the latest. Tables grow under way, at 1 million distinct keys to their
 * full size. With `consumers`, so many named consumers cut in turn.
 */
import { isMainThread, parentPort, workerData } from 'node:worker_threads'
import { DirtyTracker, openWriter } from '../../dist/index.js'
import { LANE_READ_END, LANE_STAGED_END, laneAt } from '../../dist/memory/map.js'
import { attachMemory } from '../../dist/memory/memory.js'
import {
  args,
  echoWorker,
  message,
  report,
  sleep,
  startThread,
  unlessQuick,
} from '../harness/args.js'
import { Histogram } from '../harness/histogram.js'
import { uniformKeys } from '../harness/keys.js'

const GROUP = 8
const STREAM = unlessQuick(2 ** 20, 2 ** 12)
/** The sample of marks that are watched until they are in the set: enough under way for a lane. */
const WATCHED = 2 ** 13

if (isMainThread) {
  const load = {
    everyMs: 20,
    batchSize: 64,
    flushIntervalMs: 10,
    visible: false,
    floor: false,
    seconds: 3,
    maxKeysPerEpoch: 2 ** 22,
    consumers: 0,
    ...args,
  }
  const { maxKeysPerEpoch, batchSize, consumers: maxConsumers } = load
  const tracker = await DirtyTracker.create({ maxKeysPerEpoch, batchSize, maxConsumers })
  const readers = Array.from({ length: maxConsumers }, (_, i) =>
    tracker.consumer(`consumer ${i}`, { from: 'now' }),
  )
  if (maxConsumers === 0) readers.push(tracker)
  let turn = 0
  const worker = startThread(import.meta.url, { ...load, handle: tracker.handle })
  const cuts = new Histogram()
  const echo = load.floor ? echoWorker() : undefined
  let [isTimed, isRunning] = [false, true]
  void message(worker, (value) => value === 'timed').then(() => (isTimed = true))
  const done = message(worker, (value) => value !== 'timed')
  void done.then(() => (isTimed = isRunning = false))
  while (isRunning) {
    await sleep(load.everyMs)
    const began = performance.now()
    echo?.postMessage('there')
    const epoch = await (echo === undefined
      ? readers[turn++ % readers.length].advanceEpoch()
      : message(echo))
    if (isTimed) cuts.add((performance.now() - began) * 1000)
    if (echo === undefined) epoch.commit()
  }
  const waits = tracker.stats().writers[0].waits
  report({ ...load, seal: cuts.summary(), waits, ...(await done) })
  await tracker.stop()
  await worker.terminate()
  await echo?.terminate()
} else {
  const { handle, rate, distinct, seconds, visible, flushIntervalMs } = workerData
  const writer = openWriter(handle)
  const lanes = new Int32Array(uniformKeys(STREAM, distinct).buffer)
  let sink = 0
  const calls = {
    mark: (i) => writer.markPair(lanes[2 * i], lanes[2 * i + 1]),
    empty: (i) => (sink ^= lanes[2 * i] ^ lanes[2 * i + 1]),
  }
  const result = {}
  for (const name of visible ? ['mark'] : ['empty', 'mark']) {
    const watch = visible ? watching(handle, writer, flushIntervalMs) : undefined
    paced(calls[name], rate, unlessQuick(0.5, 0.01), watch)
    if (name === 'mark') parentPort.postMessage('timed')
    const { times, count, ms, visibility } = paced(
      calls[name],
      rate,
      unlessQuick(seconds, 0.05),
      watch,
    )
    result[name] = times
    if (name === 'mark') Object.assign(result, { mKeysPerSecond: count / ms / 1000, visibility })
  }
  parentPort.postMessage(result)
}

/** Groups of calls, each begun when the rate says so, and how long each took. */
function paced(call, rate, seconds, watch) {
  const times = new Histogram()
  const groupMs = rate > 0 ? (GROUP / rate) * 1000 : 0
  const began = performance.now()
  let groups = 0
  watch?.clear()
  for (let now = began, due = began; now < began + seconds * 1000; due += groupMs) {
    while (now < due) {
      now = performance.now()
      watch?.look(now)
    }
    const i = (groups * GROUP) % STREAM
    for (let k = 0; k < GROUP; k++) call(i + k)
    const after = performance.now()
    times.add((after - now) * 1000)
    groups++
    watch?.marked(after)
    watch?.look(after) // also by a writer that is behind its rate, and never waits
    now = after
  }
  return {
    times: times.summary(),
    count: groups * GROUP,
    ms: performance.now() - began,
    visibility: watch?.summary(),
  }
}

/**
 * The writer itself looks whether its keys are in the set, between its marks, so that no other
 * thread needs a processor for it. Its event loop does not turn, so it also publishes what the
 * flush clock would publish.
 */
function watching(handle, writer, flushIntervalMs) {
  const { words, layout } = attachMemory(handle, 'handle')
  const lane = laneAt(layout, writer.id)
  const ends = new Int32Array(WATCHED)
  const markedAt = new Float64Array(WATCHED)
  let [first, next] = [0, 0]
  let times = new Histogram()
  let flushedAt = performance.now()
  return {
    clear() {
      first = next
      times = new Histogram()
    },
    /** The last mark was at `now`. */
    marked(now) {
      if (next - first === WATCHED) return
      ends[next % WATCHED] = words[lane + LANE_STAGED_END]
      markedAt[next++ % WATCHED] = now
    },
    look(now) {
      if (now - flushedAt >= flushIntervalMs) {
        writer.flush()
        flushedAt = now
      }
      const readEnd = Atomics.load(words, lane + LANE_READ_END)
      for (; first < next && ((readEnd - ends[first % WATCHED]) | 0) >= 0; first++)
        times.add((now - markedAt[first % WATCHED]) * 1000)
    },
    summary: () => times.summary(),
  }
}
