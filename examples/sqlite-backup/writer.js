/** Moves money between accounts, one transaction after the other, until it is killed. */
import { workerData } from 'node:worker_threads'
import Database from 'better-sqlite3'
import { openWriter } from 'dirtyring'

const { handle, path, rows, committed } = workerData
const dirty = openWriter(handle)
const db = new Database(path, { timeout: 30_000 })
db.pragma('synchronous = NORMAL')

const add = db.prepare('UPDATE accounts SET balance = balance + ? WHERE id = ?')
const transfer = db.transaction((from, to, amount) => {
  add.run(-amount, from)
  add.run(amount, to)
})

const anyRow = () => Math.floor(rows * Math.random())

for (;;) {
  const [from, to] = [anyRow(), anyRow()]
  await dirty.waitForRoom(2) // before the transaction, because a mark inside it must find room
  dirty.batch(() => {
    dirty.mark(from) // staged, in no epoch yet
    dirty.mark(to)
    transfer.immediate(from, to, 1) // BEGIN IMMEDIATE, the writes, COMMIT
  }) // published; if this thread was killed inside, the tracker collects the marks
  Atomics.add(committed, 0, 1)
}
