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
 *
 * With `consumers` each of so many named consumers has a copy and a pace of its own. They commit,
 * restore and throw; two of seven also close, and open again; one sleeps while nothing is marked.
 */
import { Worker } from 'node:worker_threads'
import { DirtyTracker, fingerprint, openWriter } from '../../../dist/index.js'
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
  /** Named consumers, 0 to 7; 0: the tracker's own epochs. */
  consumers = 0,
  /** Wrong: the number of a consumer that commits what it has not saved. */
  forgets = -1,
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
  thrown: 0,
  closed: 0,
  fresh: 0,
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
  ...(consumers > 0 ? { maxConsumers: consumers, maxKeysPerEpoch: 2 ** 16 } : {}),
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
    /** What each reader's copy has. */
    saved: readers.map(() => new Int32Array(KEYS)),
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
/** Paces in ms. The slowest one makes backlogs that many cuts of the others are united in. */
const PACES = [1, 5, everyMs, 20, 60, 250, 1000]
/** These close from time to time. A fresh epoch hides what is lost, so the others do not. */
const CLOSING = [2, 4]
/** This one has an epochs() loop that sleeps while nothing is marked. */
const SLEEPING = 3
const over = new AbortController()
/** A key of the main thread's, and the number of the last one that it has marked: see check(). */
const PROBE = 2 ** 52
let probes = 0
let mayBeInexact = false

/**
 * What reads epochs, and has a copy of its own: the tracker, or a named consumer.
 */
class Reader {
  /** The last probe whose epoch is saved: so is all that was published before it. */
  probed = 0
  #source
  #clock
  #isFirst = true

  constructor(number) {
    this.number = number
    this.name = `consumer ${number}`
    this.everyMs = consumers === 0 ? everyMs : PACES[number]
    this.closes = CLOSING.includes(number)
    this.sleeps = number === SLEEPING
    this.#source = consumers === 0 ? tracker : tracker.consumer(this.name, { from: 'now' })
    this.counts = { epochs: 0, restored: 0, thrown: 0, closed: 0, fresh: 0 }
  }

  save(epoch) {
    const { number, name } = this
    found.epochs++
    this.counts.epochs++
    if (!epoch.exact) {
      const isFresh = epoch.reason === 'fresh' && this.closes
      if (isFresh) this.counts.fresh++
      else if (!mayBeInexact) blame(`epoch ${epoch.id} of ${name} is not exact: ${epoch.reason}`)
      found[isFresh ? 'fresh' : 'inexact']++
      for (const { values, saved } of journals)
        for (let key = 0; key < KEYS; key++) saved[number][key] = Atomics.load(values, key)
      this.probed = probes
      return
    }
    found.keys += epoch.size
    for (const marked of epoch) {
      if (isProbe(marked)) {
        this.probed = Math.max(this.probed, marked - PROBE)
        continue
      }
      const [marker, key] = placeOf(marked)
      const journal = journals[marker]
      if (journal === undefined || Atomics.load(journal.named, key) === 0)
        blame(`epoch ${epoch.id} of ${name} has the key ${marked}`)
      else journal.saved[number][key] = Atomics.load(journal.values, key)
    }
  }

  async checkpoint() {
    const chance = random()
    const what = `an epoch of ${this.name}`
    if (consumers > 0 && chance > 0.85) {
      this.counts.thrown++
      found.thrown++
      const fails = () => {
        throw new Error('the checkpoint fails')
      }
      const call = within(this.#source.consume(fails), what, 60_000)
      await call.catch((error) => {
        if (error.message !== 'the checkpoint fails') throw error
      })
      return
    }
    const epoch = await within(this.#source.advanceEpoch(), what, 60_000)
    if (chance < 0.2) {
      this.counts.restored++
      found.restored++
      if (this.number === forgets) {
        this.probed = probes
        epoch.commit()
      } else await within(epoch.restore(), 'a restore', 60_000)
      return
    }
    if (this.closes && chance < 0.3) {
      this.#reopen(epoch)
      return
    }
    this.save(epoch)
    epoch.commit()
    this.#clock = epoch.clock
    this.#isFirst = false
  }

  /** Closes it in the middle of an epoch, and opens it again where its copy stands. */
  #reopen(epoch) {
    this.counts.closed++
    found.closed++
    this.#source.close()
    if (random() < 0.5) epoch.commit()
    else epoch.restore()
    const since = this.#isFirst ? undefined : this.#clock
    this.#source = tracker.consumer(this.name, { since })
  }

  /** A loop that sleeps, until it is all over, or until its body throws. */
  async #sleepAndWake() {
    const { everyMs } = this
    for await (const epoch of this.#source.epochs({
      everyMs,
      whenDirty: true,
      signal: over.signal,
    })) {
      const chance = random()
      if (chance < 0.15) {
        this.counts.restored++
        found.restored++
        await within(epoch.restore(), 'a restore', 60_000)
      } else if (chance < 0.3) {
        this.counts.thrown++
        found.thrown++
        throw new Error('the checkpoint fails')
      } else {
        this.save(epoch)
        epoch.commit()
      }
    }
  }

  async run() {
    while (this.sleeps && !isOver) {
      await this.#sleepAndWake().catch((error) => {
        if (error.message !== 'the checkpoint fails') throw error
      })
    }
    while (!isOver) {
      const end = performance.now() + this.everyMs
      do await sleep(1)
      while (performance.now() < end && !isOver && !isChecking)
      await this.checkpoint()
    }
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

function isProbe(marked) {
  return typeof marked === 'number' && marked > PROBE && marked <= PROBE + probes
}

let isChecking = false

/**
 * All writers so far are dead: what they were promised is in each copy that has a key which is
 * marked now.
 */
async function check() {
  await within(tracker.drained(), 'drained()', 60_000)
  isChecking = true
  const writer = openWriter(tracker.handle)
  probes++
  await until(() => writer.mark(PROBE + probes), 'the mark of a probe', 60_000)
  await until(() => writer.flush(), 'the publication of a probe', 60_000)
  writer.close()
  const isSaved = ({ probed }) => probed === probes
  await until(() => readers.every(isSaved) || hasFailed, 'a checkpoint of each reader', 60_000)
  for (const [marker, { call, way, promised, saved }] of journals.entries()) {
    for (let key = 0; key < KEYS; key++) {
      const due = Atomics.load(promised, key)
      for (const { number, name } of readers) {
        if (saved[number][key] < due)
          blame(
            `lost for ${name}: key ${key} of writer ${marker}, which died by ${way} in ${call}: ${saved[number][key]} of ${due}`,
          )
      }
    }
  }
  isChecking = false
}

// ---------------------------------------------------------------------------------------------- go
let isOver = false
let isQuiet = false
let hasFailed = false
const readers = Array.from({ length: Math.max(1, consumers) }, (_, number) => new Reader(number))
const saving = Promise.all(readers.map((reader) => reader.run()))
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
over.abort()
await saving
const { harvested, writers: lanes } = tracker.stats()
for (const { id, open, threadId } of lanes)
  if (open) blame(`the lane ${id} of dead thread ${threadId} is still taken`)
function saveLast(epoch, reader) {
  reader.save(epoch)
  // An epoch that is everything counts as the probe's, so the probe itself may come after it.
  const keys = [...epoch.listed()].filter((marked) => !isProbe(marked))
  if (keys.length > 0)
    blame(
      `the last epoch of ${reader.name} has ${keys.length} keys, after a checkpoint that all writers were dead before`,
    )
}
if (consumers === 0) {
  const last = await within(tracker.stop(), 'stop()', 60_000)
  saveLast(last, readers[0])
  last.commit()
} else {
  const ofName = new Map(readers.map((reader) => [reader.name, reader]))
  const consume = (epoch, { name }) => saveLast(epoch, ofName.get(name))
  await within(tracker.stop({ consume }), 'stop()', 60_000)
}
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
  consumers: consumers > 0 ? readers.map(({ counts }) => counts) : undefined,
  ms: Math.round(performance.now() - began),
  errors,
})
