/**
 * One SQLite store and three named consumers of it, each at its own pace: a checkpoint into a
 * second database, a search index that is down for seconds, and a cache that sleeps while nothing
 * is marked. Worker threads write in transactions, and are terminated again and again. In the end
 * each of the three has to equal the store.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { DirtyTracker } from 'dirtyring'
import { args, verdict } from '../programs/support.mjs'
import { exitOf, pick, randomFrom, sleep, until, within } from '../programs/threads.mjs'
import {
  Copy,
  differing,
  fill,
  openDatabase,
  promiseAll,
  rowsOf,
  TRANSACTIONS,
  wordsOf,
} from './consumers-store.mjs'

const {
  seed = 1,
  rows = 6000,
  /** Above what a second marks, below what three do: the backlog of the index becomes a superset. */
  maxKeysPerEpoch = 2048,
  /** Times that the index is down, and for how long. */
  downs = 1,
  downMs = 3000,
  kills = 8,
  forgets = 0,
} = args
const WRITERS = 3

const began = performance.now()
const random = randomFrom(seed)
const folder = mkdtempSync(join(tmpdir(), 'dirtyring-'))
const path = join(folder, 'store.db')
const store = openDatabase(path)
fill(store, rows)
const shared = wordsOf(rows)
promiseAll(store, rows, shared)
const { words, promised, deleted } = shared

const tracker = await DirtyTracker.create({ maxConsumers: 3, maxWriters: 8, maxKeysPerEpoch })
const found = { kills: 0, behind: 0, failed: 0, walked: 0, taken: 0, hits: 0, misses: 0 }
const epochs = {}
const errors = []

/** Counts what a consumer was handed. */
function note(name, { reason, precision, last }) {
  const counts = (epochs[name] ??= { exact: 0, superset: 0, everything: 0, fresh: 0, last: 0 })
  counts[precision]++
  if (reason === 'fresh') counts.fresh++
  if (last) counts.last++
}

// ---------------------------------------------------------------------------------- the checkpoint
const copy = new Copy(join(folder, 'copy.db'), store)

/** About every second, with its position beside its rows. */
async function checkpoint() {
  const consumer = tracker.consumer('checkpoint', { since: copy.clock })
  for (;;) {
    const due = promised.slice()
    const epoch = await consumer.advanceEpoch()
    copy.take(epoch)
    epoch.commit()
    note('checkpoint', epoch)
    found.behind += copy.behind(due, deleted)
    if (epoch.last) return
    for (let end = performance.now() + 1000; performance.now() < end && !isOver;) await sleep(10)
  }
}

// -------------------------------------------------------------------------------- the search index
const bodies = new Map()
const idsOfWord = new Map()
const readRow = store.prepare('SELECT version, body FROM rows WHERE id = ?')

function index(id) {
  for (const word of (bodies.get(id) ?? '').split(' ')) idsOfWord.get(word)?.delete(id)
  const row = readRow.get(id)
  if (row === undefined) bodies.delete(id)
  else {
    const text = `${row.version} ${row.body}`
    bodies.set(id, text)
    for (const word of text.split(' ')) {
      if (!idsOfWord.has(word)) idsOfWord.set(word, new Set())
      idsOfWord.get(word).add(id)
    }
  }
}

/** Brings the index up to date: from the list of an exact epoch, or by a walk over all rows. */
function update(epoch) {
  note('index', epoch)
  if (epoch.exact) {
    for (const id of epoch.ids()) index(id)
    return
  }
  const stored = store.prepare('SELECT id FROM rows').pluck().all()
  const ids = new Set([...stored, ...bodies.keys()])
  for (const id of ids) {
    if (epoch.precision === 'superset') found.walked++
    if (!epoch.has(id)) continue
    if (epoch.precision === 'superset') found.taken++
    index(id)
  }
}

/** Every 100 ms; while it is down, its body throws at first, and then it does not read at all. */
async function search() {
  const consumer = tracker.consumer('index', { since: undefined })
  let isLast = false
  const read = async () =>
    consumer.consume((epoch) => {
      update(epoch)
      isLast = epoch.last
    })
  const fail = async () => {
    const call = consumer.consume(() => {
      throw new Error('down')
    })
    await call.catch((error) => {
      if (error.message !== 'down') throw error
      found.failed++
    })
  }
  for (let down = 0; down < downs; down++) {
    for (let reads = 0; reads < 5; reads++) {
      await read()
      await sleep(100)
    }
    const start = performance.now()
    await until(() => found.kills > 0, 'a first death', 60_000)
    while (performance.now() - start < downMs / 2) {
      await fail()
      await sleep(100)
    }
    const isDown = () => performance.now() - start < downMs || consumer.lag.precision !== 'superset'
    await until(() => !isDown(), 'a backlog that is a superset', 60_000)
  }
  isSearchUp = true
  while (!isLast) {
    await read()
    if (!isOver) await sleep(100)
  }
}

// --------------------------------------------------------------------------------------- the cache
const cache = new Map()

/** Within 20 ms of a mark, and asleep while there is none. */
async function invalidate() {
  const consumer = tracker.consumer('cache', { from: 'now' })
  for await (const epoch of consumer.epochs({ everyMs: 20, whenDirty: true })) {
    note('cache', epoch)
    for (const id of cache.keys()) if (epoch.has(id)) cache.delete(id)
    epoch.commit()
  }
}

/** Requests: a row is read from the store once, and from the cache until it is invalidated. */
async function serve() {
  while (!isOver) {
    for (let requests = 0; requests < 50; requests++) {
      const id = pick(random, rows)
      if (cache.has(id)) found.hits++
      else {
        found.misses++
        const row = readRow.get(id)
        cache.set(id, row && `${row.version} ${row.body}`)
      }
    }
    await sleep(2)
  }
}

// ------------------------------------------------------------------------------------- the writers
async function live(number) {
  const workerData = {
    handle: tracker.handle,
    path,
    rows,
    buffer: words.buffer,
    seed: seed * 1000 + number,
    everyMs: 5,
    forgets,
  }
  const worker = new Worker(new URL('consumers-writer.mjs', import.meta.url), { workerData })
  const exit = exitOf(worker)
  let hasEnded = false
  worker.once('exit', () => (hasEnded = true))
  worker.on('error', (error) => errors.push(error.message))
  const enough = Atomics.load(words, TRANSACTIONS) + 20 + pick(random, 200)
  await until(() => Atomics.load(words, TRANSACTIONS) >= enough || hasEnded, 'work', 60_000)
  for (const end = performance.now() + random(); performance.now() < end;);
  if (hasEnded) errors.push(`writer ${number} ended by itself`)
  await worker.terminate()
  await exit
  found.kills++
}

// ---------------------------------------------------------------------------------------------- go
let isOver = false
let isSearchUp = false
let started = 0
const readers = [checkpoint(), search(), invalidate()]
readers.forEach((reader) => reader.catch((error) => errors.push(`${error.stack}`)))
const serving = serve()
const writing = Array.from({ length: WRITERS }, async () => {
  while ((!isSearchUp || found.kills < kills) && errors.length === 0) await live(started++)
})
await Promise.all(writing)
isOver = true
await serving
await within(tracker.stop(), 'stop()')
await within(Promise.all(readers), 'the last epochs')

const original = rowsOf(store)
const rebuilt = new Map()
for (const [id, text] of original)
  for (const word of text.split(' ')) rebuilt.set(`${word} in ${id}`, true)
const indexed = new Map()
for (const [word, ids] of idsOfWord) for (const id of ids) indexed.set(`${word} in ${id}`, true)
let stale = 0
for (const [id, text] of cache) if (text !== original.get(id)) stale++

const { consumers, unsettled } = tracker.stats()
verdict({
  seed,
  ...found,
  epochs,
  transactions: Atomics.load(words, TRANSACTIONS),
  rows: original.size,
  cached: cache.size,
  differing: { checkpoint: copy.differing, index: differing(rebuilt, indexed), cache: stale },
  left: consumers.filter(({ epochs, keys }) => keys > 0 || epochs > 0).map(({ name }) => name),
  unsettled: unsettled.length,
  ms: Math.round(performance.now() - began),
  errors,
})
copy.close()
store.close()
rmSync(folder, { recursive: true })
