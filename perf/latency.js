/**
 * One writer thread at a steady rate (0: as fast as it goes) of uniform keys, an epoch every 20 ms. Prints one JSON line:
 * the cut, from advanceEpoch() to the hand-out, in ms; and what eight marks in a row take, in µs, beside the same eight calls of an empty function, in the
 * same thread, paced alike. Tables grow under way, at 1 million distinct keys to their full size.
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { DirtyTracker, openWriter } from '../dist/index.js'
import { uniformKeys } from './keys.js'

const GROUP = 8

if (isMainThread) {
  const { rate, distinct, seconds = 3 } = JSON.parse(process.argv[2])
  const tracker = await DirtyTracker.create({ maxKeysPerEpoch: 2 ** 22 })
  const worker = new Worker(new URL(import.meta.url), { workerData: { handle: tracker.handle, rate, distinct, seconds } })
  const done = new Promise((resolve) => worker.once('message', resolve))
  const cuts = []
  let running = true
  void done.then(() => (running = false))
  for await (const _ of ticks(20)) {
    if (!running) break
    const began = performance.now()
    const epoch = await tracker.advanceEpoch()
    cuts.push(performance.now() - began)
    epoch.commit()
  }
  console.log(JSON.stringify({ rate, distinct, seal: histogram(cuts), ...(await done) }))
  await tracker.stop()
  await worker.terminate()
} else {
  const { handle, rate, distinct, seconds } = workerData
  const writer = openWriter(handle)
  const lanes = new Int32Array(uniformKeys(1 << 20, distinct).buffer)
  let sink = 0
  const calls = {
    mark: (i) => writer.mark(lanes[2 * i], lanes[2 * i + 1]),
    empty: (i) => (sink ^= lanes[2 * i] ^ lanes[2 * i + 1]),
  }
  const result = {}
  for (const round of ['warm', 'timed']) {
    for (const [name, call] of Object.entries(calls)) {
      const { times, count, ms } = paced(call, rate, round === 'warm' ? 0.5 : seconds)
      if (round === 'warm') continue
      result[name] = histogram(times)
      if (name === 'mark') result.mKeysPerSecond = count / ms / 1000
    }
  }
  parentPort.postMessage(result)
}

/** Groups of calls, each begun when the rate says so; how long each took, in µs. */
function paced(call, rate, seconds) {
  const groupMs = rate > 0 ? (GROUP / rate) * 1000 : 0
  const times = new Float64Array(Math.min(4e6, rate > 0 ? Math.ceil((seconds * rate) / GROUP) : 4e6))
  const began = performance.now()
  let groups = 0
  for (let now = began, due = began; now < began + seconds * 1000 && groups < times.length; due += groupMs) {
    while (now < due) now = performance.now()
    const i = (groups * GROUP) & 0xfffff
    for (let k = 0; k < GROUP; k++) call(i + k)
    const after = performance.now()
    times[groups++] = (after - now) * 1000
    now = after
  }
  return { times: times.subarray(0, groups), count: groups * GROUP, ms: performance.now() - began }
}

function histogram(times) {
  const sorted = Float64Array.from(times).sort()
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), p9999: at(0.9999), max: sorted.at(-1), count: sorted.length }
}

async function* ticks(ms) {
  for (;;) yield await new Promise((resolve) => setTimeout(resolve, ms))
}
