/**
 * An incremental backup of a SQLite database (better-sqlite3, WAL). Worker threads write rows in
 * transactions and are killed in them, again and again; each tick the rows of an epoch are copied.
 * In the end the copy has to equal the database, row for row.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import Database from 'better-sqlite3'
import { DirtyTracker } from 'dirtyring'
import { args, verdict } from '../programs/support.mjs'
import { exitOf, pick, randomFrom, sleep, until, within } from '../programs/threads.mjs'
import {
  BEGUN,
  COMMITTED,
  DYING,
  MARKED,
  OUTSIDE,
  PLACE,
  TRANSACTIONS,
  WORDS,
  WRITTEN,
} from './sqlite-backup-places.mjs'

const {
  kills = 30,
  order = 'batch',
  synchronous = 'NORMAL',
  rows = 2000,
  everyMs = 10,
  seed = 1,
} = args
const WRITERS = 3
/** Most often a thread is terminated at any instant. */
const WAYS = ['terminate', 'terminate', 'terminate', 'exit', 'throw', 'overflow', 'loop']
const PLACES = [MARKED, BEGUN, WRITTEN, COMMITTED]
const PLACE_NAMES = ['outside', 'marked', 'begun', 'written', 'committed']

const began = performance.now()
const random = randomFrom(seed)
const folder = mkdtempSync(join(tmpdir(), 'dirtyring-'))
const path = join(folder, 'rows.db')
const db = new Database(path)
db.pragma('journal_mode = WAL')
db.exec('CREATE TABLE rows (id INTEGER PRIMARY KEY, version INTEGER NOT NULL)')
const insert = db.prepare('INSERT INTO rows VALUES (?, 0)')
db.transaction(() => {
  for (let id = 0; id < rows; id += 2) insert.run(id)
})()

const tracker = await DirtyTracker.create({ maxWriters: 2 * WRITERS })

// -------------------------------------------------------------------------------------- the backup
const everyRow = db.prepare('SELECT id, version FROM rows')
const oneRow = db.prepare('SELECT version FROM rows WHERE id = ?').pluck()
const readAll = () => new Map(everyRow.all().map(({ id, version }) => [id, version]))
let backup = readAll()

function copyRow(id) {
  const version = oneRow.get(id)
  if (version === undefined) backup.delete(id)
  else backup.set(id, version)
}

/**
 * Reads the rows from the database itself: after the epoch was handed out, so each COMMIT before
 * its marks is visible.
 */
function copy(epoch) {
  if (!epoch.exact) {
    backup = readAll()
    found.inexact++
    return
  }
  for (const id of epoch.ids()) copyRow(id)
  if (epoch.size > 0) found.epochs++
  found.copied += epoch.size
}

// -------------------------------------------------------------------------------------- the deaths
const found = { epochs: 0, inexact: 0, copied: 0, transactions: 0, kills: 0, inATransaction: 0 }
const ways = {}
const places = {}
const errors = []
const expectedOf = { throw: /^dies$/, overflow: /Maximum call stack/ }

/** One writer, from its start to its death. */
async function live(number) {
  const way = WAYS[number % WAYS.length]
  const words = new Int32Array(new SharedArrayBuffer(WORDS * 4))
  const placeOfDeath = PLACES[pick(random, PLACES.length)]
  const transactionOfDeath = way === 'terminate' ? Infinity : 1 + pick(random, 8)
  const workerData = {
    handle: tracker.handle,
    path,
    words,
    order,
    rows,
    synchronous,
    way,
    placeOfDeath,
    transactionOfDeath,
    seed: number + 1,
  }
  const worker = new Worker(new URL('sqlite-backup-writer.mjs', import.meta.url), { workerData })
  const exit = exitOf(worker)
  let said = ''
  worker.on('error', (error) => (said = error.message))
  if (way === 'terminate') {
    const enough = 1 + pick(random, 6)
    await until(
      () => Atomics.load(words, TRANSACTIONS) >= enough || said !== '',
      'some transactions',
    )
    // At any instant of the next one, COMMIT's own time included.
    for (
      const end = performance.now() + random() * 2;
      performance.now() < end && Atomics.load(words, PLACE) === OUTSIDE;
    );
    for (const end = performance.now() + random() * 0.3; performance.now() < end;);
  }
  if (way === 'loop')
    await until(() => Atomics.load(words, DYING) === 1 || said !== '', 'an endless loop')
  if (way === 'terminate' || way === 'loop') await worker.terminate()
  await exit

  const place = PLACE_NAMES[Atomics.load(words, PLACE)]
  found.kills++
  found.transactions += Atomics.load(words, TRANSACTIONS)
  if (place !== 'outside') found.inATransaction++
  ways[way] = (ways[way] ?? 0) + 1
  places[place] = (places[place] ?? 0) + 1
  if (!(expectedOf[way] ?? /^$/).test(said))
    errors.push(`a writer that was to die by ${way}: ${said}`)
}

// ---------------------------------------------------------------------------------------------- go
let started = 0
const lives = Array.from({ length: WRITERS }, async () => {
  while (found.inATransaction < kills || started < kills) await live(started++)
})
let isOver = false
const ticks = (async () => {
  while (!isOver) {
    await sleep(everyMs)
    await tracker.consume(copy)
  }
})()
await Promise.all(lives)
isOver = true
await ticks
const { harvested } = tracker.stats()
await within(tracker.stop({ consume: copy }), 'stop()')

const original = readAll()
const differing = [...new Set([...original.keys(), ...backup.keys()])].filter(
  (id) => original.get(id) !== backup.get(id),
)
verdict({
  order,
  ...found,
  ways,
  places,
  rows: original.size,
  missing: differing.length,
  harvested,
  unsettled: tracker.stats().unsettled.length,
  ms: Math.round(performance.now() - began),
  errors,
})
db.close()
rmSync(folder, { recursive: true })
