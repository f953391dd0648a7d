/**
 * The store behind the web cache: of each row the version, in shared memory, so that each thread
 * reads and writes it, and a row outlives the thread that wrote it. Beside it is what only the
 * oracle reads.
 */
const [ROWS, WRITES, IS_OVER] = [0, 1, 2]

export function createStore(room, rows) {
  const store = openStore({
    versions: new SharedArrayBuffer(4 * room),
    birthdays: new SharedArrayBuffer(8 * room),
    counts: new SharedArrayBuffer(64),
    times: new SharedArrayBuffer(64),
  })
  store.versions.fill(1, 0, rows)
  Atomics.store(store.counts, ROWS, rows)
  return store
}

export function openStore(shared) {
  const versions = new Int32Array(shared.versions)
  const birthdays = new Float64Array(shared.birthdays)
  const counts = new Int32Array(shared.counts)
  const times = new Float64Array(shared.times)
  return {
    shared,
    versions,
    counts,
    birthdays,
    rows: () => Math.min(Atomics.load(counts, ROWS), versions.length),
    writes: () => Atomics.load(counts, WRITES),
    isOver: () => Atomics.load(counts, IS_OVER) === 1,
    end: () => Atomics.store(counts, IS_OVER, 1),
    /** A row that was never written; undefined when there is no room. */
    newRow() {
      const row = Atomics.add(counts, ROWS, 1)
      return row < versions.length ? row : undefined
    },
    write(row) {
      if (versions[row] === 0) birthdays[row] = milliseconds()
      Atomics.add(versions, row, 1)
    },
    addWrites: (count) => Atomics.add(counts, WRITES, count),
    /** Latencies count of rows that are born after it. */
    timedFrom: () => times[0],
    timeFromNow: () => (times[0] = milliseconds()),
  }
}

/** The address of the page that shows a row. */
export const keyOf = (row) => `/p/${row}?v=${(row * 7919) % 10_007}`

export const rowOf = (key) => Number(key.slice(3, key.indexOf('?')))

/** On one clock for all threads. */
export const milliseconds = () => Number(process.hrtime.bigint()) / 1e6
