/**
 * Incremental backup of an LMDB store that several threads write to. The cut is made inside the
 * store's write lock, together with a read snapshot: so the keys of each epoch are exactly what
 * differs between one snapshot and the next, and are copied while the writers go on.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { DirtyTracker } from 'dirtyring'
import { open } from 'lmdb'
import { args, verdict } from '../programs/support.mjs'
import { exitOf, within } from '../programs/threads.mjs'

const { rounds = 500, keys = 'ids', capacity, triesMin = 0, seed = 1 } = args
const WRITERS = 3

const folder = mkdtempSync(join(tmpdir(), 'dirtyring-'))
const location = { path: join(folder, 'store'), noSync: true }
const store = open(location)
const rows = store.openDB('rows')
const copy = open({ path: join(folder, 'copy'), noSync: true })

const tracker = await DirtyTracker.create({
  keys: keys === 'ids' ? 'number' : 'string',
  capacity,
  maxWriters: WRITERS,
  maxKeysPerEpoch: 10_000,
})

/**
 * The epoch and the snapshot of one moment, in which no thread writes. Undefined if the cut could
 * not be made in that moment.
 */
function cut() {
  return store.transactionSync(() => {
    const sealed = tracker.tryAdvanceEpoch()
    // no slot is free, or the ring is full: try again, outside the lock
    if (sealed === undefined) return undefined
    // else it may be the snapshot that this turn of the event loop has read from before
    store.resetReadTxn()
    return { sealed, snapshot: store.useReadTransaction() }
  })
}

/**
 * Copies what has changed since the last one. Returns its keys, and looks at the snapshot with
 * `inspect` before it is let go.
 */
async function backUp(inspect) {
  let made
  while ((made = cut()) === undefined) {
    found.triedAgain++
    await tracker.drained()
  }
  const { sealed, snapshot: transaction } = made
  const epoch = await sealed
  const copied = new Set()
  copy.transactionSync(() => {
    for (const key of epoch) {
      const row = rows.get(key, { transaction })
      if (row === undefined) copy.remove(key)
      else copy.put(key, row)
      copied.add(key)
    }
  })
  epoch.commit()
  inspect(transaction, copied)
  transaction.done()
}

// -------------------------------------------------------------------------------------- the oracle
const found = { rounds: 0, copied: 0, lost: 0, invented: 0, triedAgain: 0, behind: 0, caughtUp: 0 }
/** Of the last snapshot: the version of each row. */
let before = new Map()
/** Rows that were marked after the lock was given up, too late for the cut that has their write. */
const behind = new Set()

/** Whether the writer of this row marks it after its transaction. */
const isMarkedAfter = (key) => keys === 'ids' && key >= 200

function compare(transaction, copied) {
  const now = new Map()
  for (const { key, value } of rows.getRange({ transaction })) now.set(key, value.version)
  for (const key of new Set([...before.keys(), ...now.keys(), ...copied])) {
    const hasChanged = before.get(key) !== now.get(key)
    if (copied.has(key) && behind.delete(key)) found.caughtUp++
    if (hasChanged === copied.has(key)) continue
    if (isMarkedAfter(key)) {
      if (!hasChanged || behind.has(key)) continue
      behind.add(key)
      found.behind++
    } else if (hasChanged) found.lost++
    // A row that came and went between two snapshots was written, though neither has it.
    else if (now.has(key)) found.invented++
  }
  before = now
  found.rounds++
  found.copied += copied.size
}

/** Rows that are not the same in both. */
function differences() {
  const asText = (db) =>
    new Map([...db.getRange()].map(({ key, value }) => [key, JSON.stringify(value)]))
  const [original, copied] = [asText(rows), asText(copy)]
  return [...new Set([...original.keys(), ...copied.keys()])].filter(
    (key) => original.get(key) !== copied.get(key),
  ).length
}

// ---------------------------------------------------------------------------------------------- go
const counts = new Int32Array(new SharedArrayBuffer(64))
const workers = Array.from({ length: WRITERS }, (_, writer) => {
  const workerData = { handle: tracker.handle, location, counts, keys, writer, seed }
  return new Worker(new URL('lmdb-backup-writer.mjs', import.meta.url), { workerData })
})
const exits = workers.map((worker) => exitOf(worker))

while (found.rounds < rounds || found.triedAgain < triesMin) {
  const enough = Atomics.load(counts, 1) + WRITERS
  while (Atomics.load(counts, 1) < enough) await new Promise((resolve) => setImmediate(resolve))
  // an application reads from its store: what it reads is of one moment, to the end of this turn
  rows.get(0)
  await backUp(compare)
}
Atomics.store(counts, 0, 1)
const exitCodes = await Promise.all(exits)
await backUp(compare)
const last = await within(tracker.stop(), 'stop()')

verdict({
  ...found,
  rows: before.size,
  stillBehind: behind.size,
  differences: differences(),
  transactions: counts[1],
  undone: counts[2],
  unsettled: tracker.stats().unsettled.length,
  left: last.size,
  exitCodes,
})
await store.close()
await copy.close()
rmSync(folder, { recursive: true })
