/**
 * How long until all is as before: a writer's thread is terminated, the aggregator's is, a
 * checkpoint of many keys failed, an epoch overflowed. Prints one JSON line: { times, in ms;
 * floors, in ms, of the same without a tracker; lost }.
 */
import { Worker } from 'node:worker_threads'
import { DirtyTracker } from '../../dist/index.js'
import { args, message, report, unlessQuick } from '../harness/args.js'
import { everyKey } from '../harness/keys.js'

const TIMES = unlessQuick(9, 1)
const MANY = unlessQuick(1_000_000, 10_000)
/** Keys that a killed writer had staged: not a whole batch. */
const STAGED = 37

const faults = { worker, aggregator, restore, overflow }
const result = { times: [], floors: [], lost: 0 }
await faults[args.fault]()
report(result)

async function worker() {
  // or nothing keeps the process until the harvest
  const tracker = (await DirtyTracker.create({ flushIntervalMs: 0 })).ref()
  for (let i = 0; i < TIMES; i++) {
    const writer = await idle('./idle-writer.js', { handle: tracker.handle, keys: STAGED })
    const harvested = new Promise((resolve) => tracker.on('harvest', resolve))
    result.times.push(await msOf(async () => (await writer.terminate(), await harvested)))
    await tracker.consume(({ size }) => (result.lost += STAGED - size))
    const bare = await idle('./idle-writer.js', {})
    result.floors.push(await msOf(() => bare.terminate()))
  }
  await tracker.stop()
}

async function aggregator() {
  let current
  const start = () =>
    (current = new Worker(new URL('../../dist/aggregator/worker.js', import.meta.url)))
  const tracker = await DirtyTracker.create({ aggregator: start })
  const writer = tracker.openWriter()
  for (let i = 0; i < TIMES; i++) {
    writer.mark(1)
    await tracker.drained()
    const died = new Promise((resolve) => current.once('exit', resolve))
    void current.terminate()
    result.times.push(
      await msOf(async () => {
        await died
        for (let id = 0; id < STAGED; id++) writer.mark(id)
        writer.flush()
        await tracker.drained()
      }),
    )
    await tracker.consume(({ size }) => (result.lost += STAGED - size))
    let bare
    result.floors.push(await msOf(async () => (bare = await idle('./idle-writer.js', {}))))
    await bare.terminate()
  }
  await tracker.stop()
}

async function restore() {
  const tracker = await DirtyTracker.create({ maxKeysPerEpoch: 2 * MANY })
  const lanes = new Int32Array(everyKey(0, MANY).buffer)
  tracker.openWriter().markPairs(lanes, { atomic: false })
  let epoch = await tracker.advanceEpoch()
  for (let i = 0; i < TIMES; i++) {
    result.times.push(await msOf(() => epoch.restore()))
    epoch = await tracker.advanceEpoch()
    result.lost += MANY - epoch.size
    const keys = epoch.bigints
    result.floors.push(
      await msOf(() => {
        const set = new Set()
        for (let k = 0; k < keys.length; k++) set.add(keys[k])
        return set
      }),
    )
  }
  epoch.commit()
  await tracker.stop()
}

/** From the first cut that says so to the next exact epoch in hand. */
async function overflow() {
  const limit = MANY / 10
  const lanes = new Int32Array(everyKey(0, limit + 1).buffer)
  const tracker = await DirtyTracker.create({ maxKeysPerEpoch: limit })
  const writer = tracker.openWriter()
  const cuts = async (isExact) => {
    await tracker.consume(({ exact }) => (result.lost += exact === isExact ? 0 : 1))
    writer.mark(1)
    writer.flush()
    await tracker.consume(({ exact, size }) => (result.lost += exact && size === 1 ? 0 : 1))
  }
  for (let i = 0; i < TIMES; i++) {
    writer.markPairs(lanes, { atomic: false })
    await tracker.drained()
    result.times.push(await msOf(() => cuts(false)))
    writer.markPairs(lanes.subarray(0, 2 * limit), { atomic: false })
    await tracker.drained()
    result.floors.push(await msOf(() => cuts(true)))
  }
  await tracker.stop()
}

async function msOf(act) {
  const began = performance.now()
  await act()
  return performance.now() - began
}

/** A worker that has said that it runs. */
async function idle(script, workerData) {
  const thread = new Worker(new URL(script, import.meta.url), { workerData })
  await message(thread)
  return thread
}
