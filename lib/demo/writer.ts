/**
 * A worker that writes rows and marks each one. An application needs two parts of it: openWriter()
 * and put().
 */
import { setImmediate, setTimeout } from 'node:timers/promises'
import { workerData } from 'node:worker_threads'
import { openWriter, type TrackerHandle } from '../index.js' // you write: from 'dirtyring'
import { MarkLog } from './oracle.js'
import { randomFrom } from './random.js'
import { Store } from './store.js'
import { zipfian } from './workload.js'

export interface WriterData {
  handle: TrackerHandle
  number: number
  store: SharedArrayBuffer
  rowBytes: number
  /** Shared, one word: the row that this writer is about to write and mark, + 1. 0 means no row. */
  hand: Int32Array
  /** Shared, one word: not 0 when the writers must end. */
  ending: Int32Array
  log: Int32Array
  clock: Int32Array
  /** If undefined, the writer writes every row once, in order, and ends. */
  load: { theta: number; zeta: number; seed: number; rate: number } | undefined
}

/**
 * Rows between two turns of this thread's event loop. The library's flush timer needs the turns.
 */
const ROWS_PER_TURN = 1024
/** After a pause a thread catches up with at most the rows of so many seconds at once. */
const CATCH_UP_S = 0.05

const { handle, number, rowBytes, hand, ending, load, ...shared } = workerData as WriterData
const dirty = openWriter(handle)
const store = new Store(shared.store, rowBytes)
const log = new MarkLog(shared.log, shared.clock)
const nap = new Int32Array(new SharedArrayBuffer(4))

function put(row: number, value: number): void {
  // This thread may be terminated at any instruction, so also between the write and the mark. The
  // mark can't go first: a cut between the two would hand out a row before its new value is there.
  // So the writer notes the row first. If the thread dies, the main thread marks the noted row.
  hand[0] = row + 1
  store.write(row, value)
  log.add(row)
  // mark() is false only with onFull 'reject'. The row is written, so the mark must be made.
  while (!dirty.mark(row)) Atomics.wait(nap, 0, 0, 1)
  hand[0] = 0
  if (dirty.staged === 0) log.stamp()
}

const nextRow =
  load === undefined ? undefined : zipfian(store.rows, load.theta, load.zeta, randomFrom(load.seed))
const rowsMax = load === undefined ? store.rows : Infinity
const rate = load?.rate ?? 0
let written = 0
let due = 0
let lastTurn = performance.now()
while (written < rowsMax && Atomics.load(ending, 0) === 0) {
  const now = performance.now()
  if (rate === 0) due = ROWS_PER_TURN
  else
    due = Math.min(
      due + ((now - lastTurn) / 1000) * rate,
      Math.max(ROWS_PER_TURN, rate * CATCH_UP_S),
    )
  lastTurn = now
  const count = log.hasRoom(ROWS_PER_TURN)
    ? Math.floor(Math.min(due, ROWS_PER_TURN, rowsMax - written))
    : 0
  for (let i = 0; i < count; i++) {
    put(nextRow?.() ?? written, (number + 1) * 0x1000000 + (written & 0xffff) * 16 + 1)
    written++
  }
  due -= count
  if (dirty.staged === 0 && log.isStale) log.stamp()
  if (count === ROWS_PER_TURN) await setImmediate()
  else await setTimeout(1)
}
// Nothing to do at the end: a thread that is not terminated publishes its staged keys when it ends.
