/**
 * Threads that commit transactions, and a checkpoint that fails in every third epoch: what
 * consume() does not get saved comes back with the next epoch, and whatever happens, all of a
 * transaction is in one epoch.
 */
import { Worker } from 'node:worker_threads'
import { DirtyTracker } from 'dirtyring'
import { args, verdict } from '../programs/support.mjs'
import { exitOf, sleep, within } from '../programs/threads.mjs'
import {
  COMMITTED,
  LANE_CAPACITY,
  readRow,
  ROLLED_BACK,
  rowOf,
  sizeOf,
} from './transactions-rows.mjs'

const { epochs = 90, seed = 1 } = args
const WRITERS = 3
const TRANSACTIONS_MAX = 20_000

/**
 * The store: of each transaction of each writer whether it is committed, or was rolled back after
 * its marks.
 */
const committed = Array.from(
  { length: WRITERS },
  () => new Uint8Array(new SharedArrayBuffer(TRANSACTIONS_MAX)),
)
const counts = new Int32Array(new SharedArrayBuffer(64))

const tracker = await DirtyTracker.create({
  onFull: 'reject',
  laneCapacity: LANE_CAPACITY,
  maxWriters: WRITERS,
})

// ---------------------------------------------------------------------------------- the checkpoint
/** Rows that are on the disk of this application. */
let disk = new Set()
let checkpoints = 0

/** All or nothing: of a checkpoint that fails nothing is there. */
async function checkpoint(epoch) {
  if (epoch.exact && epoch.size === 0) return
  found.epochs++
  const rows = epoch.exact ? [...epoch.ids()] : [...allRows()]
  if (epoch.exact) checkWhole(rows)
  else found.inexact++
  await sleep(1) // the disk takes its time, and may be full
  if (++checkpoints % 3 === 0) throw new Error('disk full')
  for (const row of rows) disk.add(row)
  found.keys += epoch.size
}

function* allRows(states = [COMMITTED]) {
  for (let writer = 0; writer < WRITERS; writer++) {
    for (let transaction = 0; transaction < TRANSACTIONS_MAX; transaction++) {
      if (!states.includes(Atomics.load(committed[writer], transaction))) continue
      for (let place = 0; place < sizeOf(writer, transaction); place++)
        yield rowOf(writer, transaction, place)
    }
  }
}

async function takeCheckpoint() {
  try {
    await tracker.consume(checkpoint)
  } catch (error) {
    if (error.message !== 'disk full') throw error
    found.failed++ // its rows are in the next epoch
  }
}

// -------------------------------------------------------------------------------------- the oracle
const found = { epochs: 0, inexact: 0, failed: 0, keys: 0, torn: 0 }

/**
 * A row tells its transaction, and that how many rows it has. Those beyond a lane are allowed to
 * come in parts.
 */
function checkWhole(rows) {
  const counted = new Map()
  for (const row of rows) {
    const { writer, transaction } = readRow(row)
    const id = rowOf(writer, transaction, 0)
    counted.set(id, (counted.get(id) ?? 0) + 1)
  }
  for (const [id, count] of counted) {
    const { writer, transaction } = readRow(id)
    const size = sizeOf(writer, transaction)
    if (count !== size && size <= LANE_CAPACITY) found.torn++
  }
}

// ---------------------------------------------------------------------------------------------- go
const workers = Array.from({ length: WRITERS }, (_, writer) => {
  const workerData = { handle: tracker.handle, committed: committed[writer], counts, writer, seed }
  return new Worker(new URL('transactions-writer.mjs', import.meta.url), { workerData })
})
const exits = workers.map((worker) => exitOf(worker))

while (found.epochs < epochs) {
  await sleep(10)
  await takeCheckpoint()
  Atomics.add(counts, 7, 1)
}
Atomics.store(counts, 0, 1)
const exitCodes = await Promise.all(exits)
checkpoints = 2 // the next one fails: the last epochs have its rows
await takeCheckpoint()
await takeCheckpoint()
const last = await within(tracker.stop(), 'stop()')

const should = new Set(allRows())
const may = new Set(allRows([COMMITTED, ROLLED_BACK]))
verdict({
  ...found,
  rows: should.size,
  lost: [...should].filter((row) => !disk.has(row)).length,
  invented: [...disk].filter((row) => !may.has(row)).length,
  tooMany: [...disk].filter((row) => may.has(row) && !should.has(row)).length,
  left: last.size,
  restored: tracker.stats().restored,
  unsettled: tracker.stats().unsettled.length,
  buffered: counts[1],
  batches: counts[2],
  undone: counts[3],
  thrown: counts[8],
  long: counts[4],
  everything: counts[5],
  waited: counts[6],
  exitCodes,
})
