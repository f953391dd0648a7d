/** Writes rows, and marks each after its write, until it is told to end. */
import { workerData } from 'node:worker_threads'
import { withWriter } from 'dirtyring'
import { pick, randomFrom } from '../programs/threads.mjs'

const { handle, rows, counts, writer, seed } = workerData
const random = randomFrom(seed + 100 * (writer + 1))

while (Atomics.load(counts, 0) === 0) {
  withWriter(handle, (dirty) => {
    for (let i = 0; i < 40; i++) {
      const row = pick(random, rows.length)
      Atomics.add(rows, row, 1)
      dirty.mark(`/rows/${row}`)
    }
  })
  Atomics.add(counts, 1, 40)
  Atomics.wait(counts, 2, 0, 1) // for a millisecond
}
