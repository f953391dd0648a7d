/**
 * One life of a process with named consumers, each of which copies the store into a database of its
 * own, with its position. The process ends well, with its state saved, or dies at a place that it
 * is told. It prints one line for each thing that happens.
 */
import { existsSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { DirtyTracker } from 'dirtyring'
import { loadState, saveState } from 'dirtyring/node'
import { args } from '../programs/support.mjs'
import { exitOf, pick, randomFrom, sleep, within } from '../programs/threads.mjs'
import { Copy, openDatabase, promiseAll, STOP, TRANSACTIONS, wordsOf } from './consumers-store.mjs'

const {
  folder,
  seed,
  rows,
  maxKeysPerEpoch,
  /** Whether the state is loaded and saved. */
  keeps,
  /** Wrong: 'now' takes the copy for a full one at each start. */
  position,
  /** Wrong: 'again' does not rename the state file. */
  loads,
  /** The consumers that are opened, with their paces in ms. */
  opens,
  runMs,
  /** Where it kills itself, and at which pass; undefined: nowhere. */
  place,
  pass,
  /** Whether the last epochs are taken, and no copy fails. */
  isLast,
} = args
const WRITERS = 2
const random = randomFrom(seed)
const say = (line) => writeSync(1, `${JSON.stringify(line)}\n`)

let passes = 0
function reach(here) {
  if (here === place && ++passes === pass) process.kill(process.pid, 'SIGKILL')
}

const statePath = join(folder, 'dirtyring.state')
const path = join(folder, 'store.db')
const store = openDatabase(path)
const shared = wordsOf(rows)
promiseAll(store, rows, shared)
const { words, promised, deleted } = shared

async function load() {
  if (!keeps) return undefined
  if (loads === 'once') return loadState(statePath)
  return existsSync(statePath) ? readFileSync(statePath) : undefined
}

const resume = await load()
say({ loaded: resume !== undefined })
reach('loaded')
const tracker = await DirtyTracker.create({
  maxConsumers: 3,
  maxWriters: 4,
  maxKeysPerEpoch,
  resume,
})

// ----------------------------------------------------------------------------------- the consumers
class Replica {
  #hasCopied = false

  constructor(name) {
    this.name = name
    this.copy = new Copy(join(folder, `${name}.db`), store)
    const { clock } = this.copy
    const options = position === 'now' ? { from: 'now' } : { since: clock }
    this.consumer = tracker.consumer(name, options)
    say({ opened: name, clock })
  }

  /** Copies an epoch. `due` is what was promised before its cut. */
  take(epoch, due) {
    const { name, copy } = this
    const { reason, precision } = epoch
    const fails = !isLast && this.#hasCopied && random() < 0.1
    const taken = copy.take(epoch, () => {
      reach('copying')
      if (fails) throw new Error('the copy fails')
    })
    reach('copied')
    this.#hasCopied = true
    say({ copied: name, reason, precision, taken, behind: copy.behind(due, deleted) })
  }

  async consume() {
    const due = promised.slice()
    try {
      await this.consumer.consume((epoch) => this.take(epoch, due))
      say({ committed: this.name })
      reach('committed')
    } catch (error) {
      if (error.message !== 'the copy fails') throw error
    }
  }

  async run(everyMs) {
    while (!isOver) {
      await this.consume()
      await sleep(everyMs)
    }
  }
}

// ---------------------------------------------------------------------------------------------- go
let isOver = false
const openAll = () => Object.keys(opens).map((name) => new Replica(name))
const opensLate = random() < 0.5
let replicas = opensLate ? [] : openAll()
const exits = Array.from({ length: WRITERS }, (_, i) => {
  const workerData = {
    handle: tracker.handle,
    path,
    rows,
    buffer: words.buffer,
    seed: seed * 10 + i,
    everyMs: 1,
    forgets: 0,
  }
  return exitOf(new Worker(new URL('consumers-writer.mjs', import.meta.url), { workerData }))
})
while (Atomics.load(words, TRANSACTIONS) === 0) await sleep(1)
if (opensLate) replicas = openAll()
say({ writing: true })
const running = replicas.map((replica) => replica.run(opens[replica.name]))
await Promise.race([sleep(runMs), Promise.all(running)])
Atomics.store(words, STOP, 1)
await within(Promise.all(exits), 'the end of the writers')
isOver = true
await within(Promise.all(running), 'the end of the consumers')

if (!isLast && replicas.length > 0 && random() < 0.5) {
  // Stored, and not committed: the clock of the copy is ahead of what the tracker knows.
  const replica = replicas[pick(random, replicas.length)]
  const due = promised.slice()
  const epoch = await within(replica.consumer.advanceEpoch(), 'an epoch')
  try {
    replica.take(epoch, due)
    say({ left: replica.name })
  } catch (error) {
    if (error.message !== 'the copy fails') throw error
  }
}
await within(tracker.stop(), 'stop()')
if (isLast) for (const replica of replicas) await replica.consume()
reach('stopped')
if (keeps) await saveState(statePath, tracker)
say({ ended: true, transactions: Atomics.load(words, TRANSACTIONS) })
reach('saved')
for (const { copy } of replicas) copy.close()
store.close()
