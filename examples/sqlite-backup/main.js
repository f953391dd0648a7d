/**
 * An incremental backup of a SQLite database. Threads write to the database and are killed, again
 * and again. Every 50 ms the rows that changed are copied, and no others. In the end the copy must
 * equal the database.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import Database from 'better-sqlite3'
import { DirtyTracker } from 'dirtyring'

const { values } = parseArgs({ options: { kills: { type: 'string', default: '40' } } })
const KILLS = Number(values.kills)
const WRITERS = 3
const ROWS = 20_000

const folder = mkdtempSync(join(tmpdir(), 'sqlite-backup-'))
const path = join(folder, 'store.db')
const db = new Database(path)
db.prepare('ATTACH ? AS copy').run(join(folder, 'copy.db'))
for (const file of ['main', 'copy']) {
  db.exec(`PRAGMA ${file}.journal_mode = WAL; PRAGMA ${file}.synchronous = NORMAL`)
  db.exec(`CREATE TABLE ${file}.accounts (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL)`)
}
const insert = db.prepare('INSERT INTO main.accounts VALUES (?, 100)')
db.transaction(() => {
  for (let id = 0; id < ROWS; id++) insert.run(id)
})()

// ------------------------------------------------------------------------------------- the backup
const forget = db.prepare('DELETE FROM copy.accounts WHERE id = ?')
const copy = db.prepare('INSERT INTO copy.accounts SELECT * FROM main.accounts WHERE id = ?')
const copyRows = db.transaction((ids) => {
  for (const id of ids) {
    forget.run(id)
    copy.run(id) // inserts nothing if the row was deleted
  }
})
const copyEverything = db.transaction(() => {
  db.exec('DELETE FROM copy.accounts; INSERT INTO copy.accounts SELECT * FROM main.accounts')
})

const done = { epochs: 0, copied: 0, committed: 0, killed: 0 }

/** Reads the rows after it got the epoch: each COMMIT before the marks is visible then. */
function backUp(epoch) {
  if (epoch.exact) copyRows(epoch.ids())
  else copyEverything()
  epoch.commit() // if a copy throws, the keys come back in the next epoch
  done.epochs++
  done.copied += epoch.size
}

// ------------------------------------------------------------------------------------ the writers
const tracker = await DirtyTracker.create()

/** Starts a writer, kills it in the middle of its work, and starts the next one. */
async function writeAndDie() {
  while (done.killed < KILLS) {
    const committed = new Int32Array(new SharedArrayBuffer(4))
    const workerData = { handle: tracker.handle, path, rows: ROWS, committed }
    const worker = new Worker(new URL('writer.js', import.meta.url), { workerData })
    const enough = 100 * Math.random()
    while (Atomics.load(committed, 0) <= enough) await sleep(5)
    await worker.terminate() // anywhere: before, inside or after a COMMIT
    done.killed++
    done.committed += committed[0]
  }
}

const writers = Array.from({ length: WRITERS }, writeAndDie)
void Promise.all(writers).then(() => tracker.stop())

copyEverything() // a backup begins with everything
for await (const epoch of tracker.epochs({ everyMs: 50 })) {
  backUp(epoch)
  if (done.epochs % 20 === 0) console.log(`epoch ${epoch.id}: ${epoch.size} of ${ROWS} rows copied`)
}

// ------------------------------------------------------------------------------------ the verdict
const differing = db
  .prepare(
    `SELECT count(DISTINCT id) FROM (
       SELECT * FROM (SELECT * FROM main.accounts EXCEPT SELECT * FROM copy.accounts)
       UNION ALL
       SELECT * FROM (SELECT * FROM copy.accounts EXCEPT SELECT * FROM main.accounts))`,
  )
  .pluck()
  .get()

console.log(`transactions   ${done.committed}, by ${done.killed} writers, all of them killed`)
console.log(`epochs         ${done.epochs}, ${tracker.stats().harvested} keys of killed writers`)
console.log(`rows copied    ${done.copied}, full copies: ${done.epochs * ROWS}`)
console.log(differing === 0 ? 'the copy equals the store' : `the copy lacks ${differing} changes`)
process.exitCode = differing === 0 ? 0 : 1

db.close()
rmSync(folder, { recursive: true })
