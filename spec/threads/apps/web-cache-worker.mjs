/**
 * Writes rows in small transactions at a steady rate, or as fast as it goes, and says which pages
 * have changed: each key before its row is written, in one batch with it. A thread that is
 * terminated in between has marked a page that did not change, and never missed one that did.
 */
import { setImmediate as turn } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { randomFrom, sleep } from '../programs/threads.mjs'
import { keyOf, milliseconds, openStore } from './web-cache-store.mjs'

const { kind, shared, handle, everyMs, rate, fresh, forget, seed } = workerData
const { open } = await import(`./web-cache-${kind}.mjs`)
const ROWS = 8
const TRANSACTIONS_A_TURN = 32

const store = openStore(shared)
const changes = open({ handle }, everyMs)
let [written, drawn] = [0, 0]

/**
 * Drawn before, so that they take no time later: below 0 is a new row; else one of those that are
 * there, most often of the same few.
 */
const random = randomFrom(seed)
const draws = Float64Array.from({ length: 2 ** 16 }, () => (random() < fresh ? -1 : random() ** 3))

function transaction() {
  const rows = store.rows()
  for (let i = 0; i < ROWS; i++) {
    const draw = draws[drawn++ % draws.length]
    const row = draw < 0 ? (store.newRow() ?? 0) : Math.floor(rows * draw)
    if (forget === 0 || row % forget !== 0) changes.mark(keyOf(row))
    store.write(row)
  }
}

parentPort.once('message', async () => {
  const began = milliseconds()
  while (!store.isOver()) {
    const due = rate === 0 ? Infinity : ((milliseconds() - began) / 1000) * rate
    for (let i = 0; i < TRANSACTIONS_A_TURN && written + ROWS <= due; i++) {
      changes.batch(transaction)
      store.addWrites(ROWS)
      written += ROWS
    }
    await (rate === 0 ? turn() : sleep(1))
  }
  changes.close()
})
parentPort.postMessage('ready')
