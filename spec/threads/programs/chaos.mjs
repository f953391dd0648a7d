/**
 * Writers and aggregators die in every way a thread can, inside every public call, while a
 * checkpoint goes on. Each writer keeps a journal in shared memory:
 *
 *   named     1 before the key is marked for the first time: an epoch may have it
 *   values    the store: what a checkpoint copies
 *   promised  the value that the checkpoints have to have in the end: written once a mark has answered true, or, inside batch(), once the key is staged
 *
 * In the end each copy is at least as new as what was promised (nothing lost); no exact epoch has a
 * key that no journal names (nothing invented).
 */
import { Worker } from 'node:worker_threads'
import { DirtyTracker, fingerprint } from '../../../dist/index.js'
import {
  AGGREGATOR_WAYS,
  CALLS,
  FUSE,
  INSIDE,
  KEYS,
  READY,
  ROUNDS,
  STUCK,
  textOf,
  TEXTS,
  WAYS,
} from './chaos-calls.mjs'
import { args, verdict } from './support.mjs'
import { exitOf, pick, randomFrom, sleep, until, within } from './threads.mjs'

const {
  seed = 1,
  /** Writers that die, and aggregators: so many at least. */
  writers = CALLS.length * WAYS.length,
  aggregators = 12,
  /** Writers that live at a time. */
  atOnce = 3,
  everyMs = 8,
  options = {},
} = args
const began = performance.now()
const random = randomFrom(seed)
const errors = []
const blame = (what) => errors.length < 20 && errors.push(what)

// --------------------------------------------------------------------------------- the aggregators
const found = {
  started: 0,
  writers: 0,
  inside: 0,
  aggregators: 0,
  epochs: 0,
  inexact: 0,
  restored: 0,
  keys: 0,
  promised: 0,
}
const aggregatorDeaths = Object.fromEntries(AGGREGATOR_WAYS.map((way) => [way, 0]))
/** The aggregator at work, with the words by which it is told when to die. */
let aggregator

const tracker = await DirtyTracker.create({
  maxWriters: 10 * atOnce,
  laneCapacity: 512,
  capacity: 64,
  batchSize: 32,
  flushIntervalMs: 5,
  ...options,
  aggregator() {
    const way = AGGREGATOR_WAYS[pick(random, AGGREGATOR_WAYS.length)]
    const words = new Int32Array(new SharedArrayBuffer(64))
    const worker = new Worker(new URL('chaos-aggregator.mjs', import.meta.url), {
      workerData: { way, words },
      ...(way === 'heap' ? { resourceLimits: { maxOldGenerationSizeMb: 24 } } : {}),
    })
    // its death is what is wanted; the tracker starts another one
    worker.on('error', () => undefined)
    aggregator = { worker, way, words, exit: exitOf(worker, `the end of an aggregator by ${way}`) }
    return worker
  },
})

/** One after another, while the writers go on. */
async function killAggregators() {
  while (aggregators > 0 && !isQuiet) {
    const { worker, way, words, exit } = aggregator
    await until(
      () => Atomics.load(words, READY) === 1 && tracker.health().state === 'running',
      'an aggregator at work',
      60_000,
    )
    await sleep(pick(random, 30))
    if (way !== 'terminate') {
      Atomics.store(words, FUSE, 1 + pick(random, 3000))
      // Without work it would not get there; there is always a cut to come.
      if (way === 'loop')
        await until(
          () => Atomics.load(words, STUCK) === 1,
          'an aggregator in an endless loop',
          60_000,
        )
    }
    if (way === 'terminate' || way === 'loop') await worker.terminate()
    await within(exit, `the death of an aggregator by ${way}`, 60_000)
    found.aggregators++
    aggregatorDeaths[way]++
    await until(() => aggregator.worker !== worker, 'another aggregator', 60_000)
  }
}

// ------------------------------------------------------------------------------------- the writers
const journals = []
const markerOfText = new Map()
const deaths = Object.fromEntries(
  CALLS.map((call) => [call, Object.fromEntries(WAYS.map((way) => [way, 0]))]),
)
/** How a thread's end looks from outside. */
const looks = {
  terminate: /^$/,
  loop: /^$/,
  exit: /^$/,
  throw: /^dies$/,
  overflow: /Maximum call stack/,
  heap: /memory limit|out of memory/i,
}

async function live(marker, call, way) {
  const memory = () => new Int32Array(new SharedArrayBuffer(KEYS * 4))
  const journal = {
    call,
    way,
    named: memory(),
    values: memory(),
    promised: memory(),
    saved: new Int32Array(KEYS),
  }
  journals[marker] = journal
  for (let key = 0; key < TEXTS; key++)
    markerOfText.set(fingerprint(textOf(marker, key)), [marker, key])
  const words = new Int32Array(new SharedArrayBuffer(64))
  const { named, values, promised } = journal
  const workerData = {
    handle: tracker.handle,
    marker,
    call,
    way,
    words,
    named,
    values,
    promised,
    seed: seed * 10_000 + marker,
  }
  const worker = new Worker(new URL('chaos-writer.mjs', import.meta.url), {
    workerData,
    stderr: way === 'overflow', // Node writes there when the stack ends where a promise is made
    ...(way === 'heap' ? { resourceLimits: { maxOldGenerationSizeMb: 24 } } : {}),
  })
  const exit = exitOf(worker, `the end of a writer by ${way} in ${call}`)
  let said = ''
  worker.on('error', (error) => (said = `${error.message}`))
  if (way === 'terminate') {
    const enough = 1 + pick(random, 20)
    await until(
      () => Atomics.load(words, ROUNDS) >= enough || said !== '',
      `some rounds of ${call}`,
      60_000,
    )
    for (const end = performance.now() + random() * 0.2; performance.now() < end;);
  }
  if (way === 'loop')
    await until(
      () => Atomics.load(words, STUCK) === 1 || said !== '',
      `an endless loop in ${call}`,
      60_000,
    )
  if (way === 'terminate' || way === 'loop') await worker.terminate()
  await exit
  found.writers++
  if (Atomics.load(words, INSIDE) === 1) found.inside++
  deaths[call][way]++
  if (!looks[way].test(said))
    blame(`writer ${marker}, to die by ${way} in ${call}: ${said || 'it ended without a word'}`)
}

/** Every call of these with every way of dying, in a drawn order, again and again. */
function* plan(calls) {
  const all = calls.flatMap((call) => WAYS.map((way) => [call, way]))
  for (;;)
    yield* all
      .map((each) => [random(), each])
      .sort(([a], [b]) => a - b)
      .map(([, each]) => each)
}

/** Lets writers live and die until `isEnough`. */
async function liveAndDie(calls, isEnough) {
  const next = plan(calls)
  const one = async () => {
    while (!isEnough()) await live(found.started++, ...next.next().value)
  }
  await Promise.all(Array.from({ length: atOnce }, one))
}

// ---------------------------------------------------------------------------------- the checkpoint
let mayBeInexact = false

function save(epoch) {
  found.epochs++
  if (!epoch.exact) {
    if (!mayBeInexact) blame(`epoch ${epoch.id} is not exact: ${epoch.reason}`)
    found.inexact++
    for (const { values, saved } of journals)
      for (let key = 0; key < KEYS; key++) saved[key] = Atomics.load(values, key)
    return
  }
  found.keys += epoch.size
  for (const marked of epoch) {
    const [marker, key] = placeOf(marked)
    const journal = journals[marker]
    if (journal === undefined || Atomics.load(journal.named, key) === 0)
      blame(`epoch ${epoch.id} has the key ${marked}`)
    else journal.saved[key] = Atomics.load(journal.values, key)
  }
}

/** The writer and the key of what was marked: a pair, a text, its bytes or its fingerprint. */
function placeOf(marked) {
  if (typeof marked === 'number') {
    const [key, marker] = [marked % 2 ** 32, Math.floor(marked / 2 ** 32)]
    if (marker < journals.length && key >= TEXTS && key < KEYS) return [marker, key]
  }
  const bits =
    typeof marked === 'number' || typeof marked === 'bigint' ? BigInt(marked) : fingerprint(marked)
  return markerOfText.get(bits) ?? [-1, 0]
}

/** Checkpoints begun, and the number of the last one that was saved. */
let checkpoints = 0
let lastSaved = 0

async function takeCheckpoints() {
  while (!isOver) {
    await sleep(everyMs)
    const number = ++checkpoints
    const epoch = await within(tracker.advanceEpoch(), 'an epoch', 60_000)
    if (random() < 0.2) {
      found.restored++
      await within(epoch.restore(), 'a restore', 60_000)
    } else {
      save(epoch)
      epoch.commit()
      lastSaved = number
    }
  }
}

/**
 * All writers so far are dead: what they were promised is in the copies after the next checkpoint
 * that is saved.
 */
async function check() {
  await within(tracker.drained(), 'drained()', 60_000)
  const begun = checkpoints
  await until(() => lastSaved > begun || hasFailed, 'a checkpoint', 60_000)
  for (const [marker, { call, way, promised, saved }] of journals.entries()) {
    for (let key = 0; key < KEYS; key++) {
      const due = Atomics.load(promised, key)
      if (saved[key] < due)
        blame(
          `lost: key ${key} of writer ${marker}, which died by ${way} in ${call}: ${saved[key]} of ${due}`,
        )
    }
  }
}

// ---------------------------------------------------------------------------------------------- go
let isOver = false
let isQuiet = false
let hasFailed = false
const saving = takeCheckpoints()
saving.catch(() => (hasFailed = true))
const killing = killAggregators()

process.on('uncaughtExceptionMonitor', () => console.error(tracker.dump())) // something hangs
const everything = ['markEverything']
const withEverything = Math.ceil(writers / CALLS.length)
await liveAndDie(
  CALLS.filter((call) => !everything.includes(call)),
  () => found.started >= writers - withEverything && found.aggregators >= aggregators,
)
// An epoch that is not exact would hide what is lost.
await check()
mayBeInexact = true
const before = found.started
await liveAndDie(everything, () => found.started >= before + withEverything)
isQuiet = true
await killing
await check()
isOver = true
await saving
const { harvested, writers: lanes } = tracker.stats()
for (const { id, open, threadId } of lanes)
  if (open) blame(`the lane ${id} of dead thread ${threadId} is still taken`)
const last = await within(tracker.stop(), 'stop()', 60_000)
save(last)
if (last.size > 0)
  blame(
    `the last epoch has ${last.size} keys, after a checkpoint that all writers were dead before`,
  )
last.commit()
const { panics, lastError } = tracker.health()
for (const { promised } of journals) found.promised += promised.filter((due) => due > 0).length

const { started: _, ...counts } = found
verdict({
  seed,
  ...counts,
  harvested,
  panics,
  lastError: panics > 0 ? lastError : undefined,
  unsettled: tracker.stats().unsettled.length,
  deaths,
  aggregatorDeaths,
  ms: Math.round(performance.now() - began),
  errors,
})
