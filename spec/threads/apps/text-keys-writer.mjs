/**
 * Marks new keys of its own, and between them keys that all threads mark, until it is terminated.
 */
import { workerData } from 'node:worker_threads'
import { openWriter } from 'dirtyring'

const { handle, marked, writer } = workerData
const dirty = openWriter(handle)

for (let n = 0; n < 1000; n++) dirty.mark(`shared:${n}`)
for (let n = 0; n < 30_000; n++) {
  dirty.mark(`user:${writer}:${n}`)
  Atomics.store(marked, writer, n + 1)
  dirty.mark(`shared:${n % 1000}`)
}
Atomics.wait(marked, writer, 30_000) // to be terminated
