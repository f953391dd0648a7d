/** Commits transactions in each of the ways there are, and undoes some. */
import { workerData } from 'node:worker_threads'
import { openWriter, TxnBuffer } from 'dirtyring'
import { randomFrom, sleep } from '../programs/threads.mjs'
import { COMMITTED, LANE_CAPACITY, ROLLED_BACK, rowOf, sizeOf } from './transactions-rows.mjs'

const { handle, committed, counts, writer, seed } = workerData
const random = randomFrom(seed * 100 + writer)
const dirty = openWriter(handle)
const buffer = new TxnBuffer(0, LANE_CAPACITY)

/** From here on the store has the transaction. */
function commit(transaction) {
  Atomics.store(committed, transaction, COMMITTED)
}

/** Gathered on the way, published after the commit. One buffer serves all. */
async function buffered(transaction, rows) {
  buffer.reset(transaction)
  for (const row of rows) buffer.mark(row)
  if (random() < 0.2) {
    buffer.clear() // rolled back: no other thread has seen a key of it
    return Atomics.add(counts, 3, 1)
  }
  commit(transaction)
  await publish()
  Atomics.add(counts, 1, 1)
}

/** onFull 'reject': false says that nothing was stored, and the keys are still in the buffer. */
async function publish() {
  while (!buffer.flushTo(dirty)) {
    Atomics.add(counts, 6, 1)
    await dirty.waitForRoom(buffer.size)
  }
}

/** The marks are staged before the commit and published after it; also when it throws. */
async function inABatch(transaction, rows) {
  await dirty.waitForRoom(rows.length) // a mark that finds no room inside a batch throws
  try {
    dirty.batch(() => {
      for (const row of rows) dirty.mark(row)
      if (random() < 0.3) {
        Atomics.store(committed, transaction, ROLLED_BACK)
        throw new Error('rolled back')
      }
      commit(transaction)
    })
    Atomics.add(counts, 2, 1)
  } catch (error) {
    if (error.message !== 'rolled back') throw error
    Atomics.add(counts, 8, 1)
  }
}

/**
 * More rows than a lane takes: in parts, in as many epochs as it happens to be, or as a change of
 * everything.
 */
async function long(transaction, rows) {
  buffer.reset(transaction)
  buffer.markMany(rows)
  commit(transaction)
  try {
    await publish()
  } catch (error) {
    if (error.code !== 'ERR_DIRTYRING_OUT_OF_RANGE') throw error // the keys are still there
  }
  if (random() < 0.7) {
    // What was stored has left the buffer: so only the rest is tried again.
    while (!buffer.flushTo(dirty, { atomic: false })) await dirty.waitForRoom()
    Atomics.add(counts, 4, 1)
  } else {
    dirty.markEverything()
    Atomics.add(counts, 5, 1)
  }
}

/** So many at most between two checkpoints, however slow those are. */
const TRANSACTIONS_A_CHECKPOINT = 50

for (
  let transaction = 0;
  transaction < committed.length && Atomics.load(counts, 0) === 0;
  transaction++
) {
  const rows = Array.from({ length: sizeOf(writer, transaction) }, (_, place) =>
    rowOf(writer, transaction, place),
  )
  if (rows.length > LANE_CAPACITY) await long(transaction, rows)
  else if (random() < 0.5) await buffered(transaction, rows)
  else await inABatch(transaction, rows)
  if (transaction % 2 === 0) await sleep(1)
  while (
    transaction >= (Atomics.load(counts, 7) + 1) * TRANSACTIONS_A_CHECKPOINT &&
    Atomics.load(counts, 0) === 0
  )
    await sleep(1)
}
