/**
 * Writes rows of a SQLite database in transactions, until it dies: in the way that it is told, at
 * the place that it is told.
 */
import { workerData } from 'node:worker_threads'
import Database from 'better-sqlite3'
import { openWriter } from 'dirtyring'
import { pick, randomFrom } from '../programs/threads.mjs'
import {
  BEGUN,
  COMMITTED,
  DYING,
  MARKED,
  OUTSIDE,
  PLACE,
  TRANSACTIONS,
  WRITTEN,
} from './sqlite-backup-places.mjs'

const {
  handle,
  path,
  words,
  order,
  rows,
  synchronous,
  way,
  placeOfDeath,
  transactionOfDeath,
  seed,
} = workerData
const random = randomFrom(seed)
const db = new Database(path, { timeout: 60_000 })
db.pragma(`synchronous = ${synchronous}`)
const dirty = openWriter(handle)

// -------------------------------------------------------------------------------- the transactions
const replace = db.prepare('INSERT OR REPLACE INTO rows (id, version) VALUES (?, ?)')
const update = db.prepare('UPDATE rows SET version = ? WHERE id = ?')
const remove = db.prepare('DELETE FROM rows WHERE id = ?')
let versions = 0

function change(id) {
  const version = seed * 2 ** 20 + ++versions
  const what = random()
  if (what < 0.1) remove.run(id)
  else if (what < 0.3) replace.run(id, version)
  else update.run(version, id)
}

const transaction = db.transaction((changed, fails) => {
  reach(BEGUN)
  changed.forEach(change)
  reach(WRITTEN)
  if (fails === 'before COMMIT') throw new Error('rolled back')
})

function write(changed, fails) {
  transaction.immediate(changed, fails)
  reach(COMMITTED)
  if (fails === 'after COMMIT') throw new Error('after COMMIT')
}

function mark(changed) {
  for (const id of changed) dirty.mark(id)
  reach(MARKED)
}

const orders = {
  /**
   * Right: the marks are staged before COMMIT and published after it. If this thread dies in
   * between, they are harvested.
   */
  batch: (changed, fails) =>
    dirty.batch(() => {
      mark(changed)
      write(changed, fails)
    }),
  /** Wrong: rows that are committed when this thread dies, or throws, are never marked. */
  after(changed, fails) {
    write(changed, fails)
    mark(changed)
  },
  /**
   * Wrong: a mark that is published before COMMIT lets the backup copy the old row, and no further
   * mark follows.
   */
  before(changed, fails) {
    mark(changed)
    dirty.flush()
    write(changed, fails)
  },
}

// --------------------------------------------------------------------------------------- the death
let transactions = 0

function reach(place) {
  Atomics.store(words, PLACE, place)
  if (transactions >= transactionOfDeath && place === placeOfDeath) die()
}

function die() {
  Atomics.store(words, DYING, 1)
  if (way === 'exit') process.exit(0)
  if (way === 'throw') throw new Error('dies')
  if (way === 'overflow') dive(0)
  if (way === 'loop') for (;;);
}

/** The stack ends in a mark or beside it. */
function dive(depth) {
  if (depth % 64 === 0) dirty.mark(pick(random, rows))
  dive(depth + 1)
}

for (;;) {
  const changed = Array.from({ length: 1 + pick(random, 8) }, () => pick(random, rows))
  const chance = random()
  const fails = chance < 0.1 ? 'before COMMIT' : chance < 0.2 ? 'after COMMIT' : undefined
  // a mark that finds no room inside a batch throws
  if (dirty.room < changed.length) await dirty.waitForRoom(changed.length)
  transactions++
  try {
    orders[order](changed, fails)
  } catch (error) {
    if (error.message !== 'rolled back' && error.message !== 'after COMMIT') throw error
  }
  Atomics.store(words, PLACE, OUTSIDE)
  Atomics.add(words, TRANSACTIONS, 1)
  // Its event loop turns from time to time, as in an application: the flush clock runs, too.
  if (transactions % 4 === 0) await new Promise((resolve) => setImmediate(resolve))
}
