/** A worker of a node's process: writes rows, and marks each one in a batch around the write. */
import { setImmediate, setTimeout } from 'node:timers/promises'
import { workerData } from 'node:worker_threads'
import { openWriter, type TrackerHandle } from '../../index.js' // you write: from 'dirtyring'
import { randomFrom } from '../random.js'
import { zipfian } from '../workload.js'
import { RowFile } from './row-file.js'

export interface NodeWriterData {
  readonly handle: TrackerHandle
  readonly path: string
  readonly rows: number
  readonly rowBytes: number
  /** The node's place: its rows are keys of this namespace. */
  readonly place: number
  readonly seed: number
  readonly theta: number
  readonly zeta: number
  /** Rows a second; 0: as fast as possible. */
  readonly rate: number
  /** Shared: word 0 is not 0 when the writers must end, word 1 counts the rows. */
  readonly shared: Int32Array
}

const ROWS_PER_TURN = 64

const { handle, path, rows, rowBytes, place, seed, theta, zeta, rate, shared } =
  workerData as NodeWriterData
const dirty = openWriter(handle)
const store = new RowFile(path, rows, rowBytes)
const random = randomFrom(seed)
const nextRow = zipfian(rows, theta, zeta, random)

function put(row: number): void {
  // The mark is published when the function returns, so after the write. A process that is killed
  // between the two has written a row that it never told of: the readers learn of its death.
  dirty.batch(() => {
    dirty.markPair(row, place)
    store.write(row, Math.floor(random() * 2 ** 31))
  })
}

let due = 0
let lastTurn = performance.now()
while (Atomics.load(shared, 0) === 0) {
  const now = performance.now()
  due = rate === 0 ? ROWS_PER_TURN : Math.min(ROWS_PER_TURN, due + ((now - lastTurn) / 1000) * rate)
  lastTurn = now
  const count = Math.floor(due)
  for (let i = 0; i < count; i++) put(nextRow())
  Atomics.add(shared, 1, count)
  due -= count
  if (count === ROWS_PER_TURN) await setImmediate()
  else await setTimeout(1)
}
dirty.close()
store.close()
