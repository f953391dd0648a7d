/**
 * Each half of the pipeline alone on one thread: the kernels' inserts, and marks that only this
 * program takes away, between the timed batches. Then both again while another thread computes.
 * Prints one JSON line, M keys/s.
 */
import { Worker } from 'node:worker_threads'
import { recover, takeRole } from '../../dist/aggregator/state.js'
import { IDLE, step } from '../../dist/aggregator/step.js'
import { DirtyTracker } from '../../dist/index.js'
import { attachMemory } from '../../dist/memory/memory.js'
import { cellsFor, keysFor } from '../../dist/memory/table-size.js'
import { insertRun, shiftFor } from '../../dist/set/kernel.js'
import { secretsAt, secretsOf } from '../../dist/set/mix.js'
import { nativeKernel, reserveNative, SCRATCH_WORDS } from '../../dist/set/native/native.js'
import { args, report, sleep, unlessQuick } from '../harness/args.js'
import { uniformKeys } from '../harness/keys.js'

const COUNT = unlessQuick(4_000_000, 20_000)
const ROUNDS = unlessQuick(5, 1)
const { distinct } = args
const lanes = new Int32Array(uniformKeys(COUNT, distinct).buffer)
let sink = 0
const result = {
  empty: best(emptyLoop),
  js: best(inserts(false)),
  wasm: best(inserts(true)),
  mark: best(await marks()),
}
const busy = new Worker(
  'for (let x = 1; ; ) for (let i = 0; i < 1e6; i++) x = (Math.imul(x, 31) + i) | 0',
  { eval: true },
)
await sleep(100)
report({ ...result, wasmBusy: best(inserts(true)), markBusy: best(await marks()), sink })
await busy.terminate()
process.exit()

function emptyLoop() {
  const began = performance.now()
  for (let i = 0; i < lanes.length; i += 2) sink ^= lanes[i] ^ lanes[i + 1]
  return performance.now() - began
}

/** The last of some rounds: compiled, in memory used before. */
function best(round) {
  let ms = 0
  for (let i = 0; i < ROUNDS; i++) ms = round()
  return COUNT / ms / 1000
}

function inserts(isNative) {
  const cells = cellsFor(distinct)
  const limit = keysFor(cells)
  const source = 0
  const log = lanes.length
  const table = log + limit * 2
  const secrets = secretsAt(secretsOf(5), 0)
  const scratch = table + cells * 2
  const memory = reserveNative((scratch + SCRATCH_WORDS) * 4)
  const words = new Int32Array(memory.buffer)
  words.set(lanes, source)
  const native = isNative ? nativeKernel(memory, secrets, scratch) : undefined
  return () => {
    words.fill(0, table, scratch)
    const set = {
      words,
      log,
      table,
      shift: shiftFor(cells),
      limit,
      count: 0,
      zero: false,
      native,
      ...secrets,
    }
    const began = performance.now()
    for (let at = 0; at < lanes.length; at += 128) insertRun(set, words, at, at + 128)
    return performance.now() - began
  }
}

async function marks() {
  const tracker = await DirtyTracker.create({ aggregator: 'none', flushIntervalMs: 0 })
  const aggregator = takeRole(attachMemory(tracker.handle, 'tracker'), 1)
  recover(aggregator)
  const writer = tracker.openWriter()
  const mark = (from, to) => {
    for (let i = from; i < to; i++) writer.markPair(lanes[2 * i], lanes[2 * i + 1])
  }
  return () => {
    let ms = 0
    for (let at = 0; at < COUNT; at += 8192) {
      const began = performance.now()
      mark(at, Math.min(at + 8192, COUNT))
      ms += performance.now() - began
      while (step(aggregator) !== IDLE);
    }
    return ms
  }
}
