/**
 * The doctor's worker: marks some ids, says so, and either ends or stays as it is, with keys
 * staged, until it is terminated.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { openWriter, type TrackerHandle } from '../index.js'

export interface ProbeData {
  readonly handle: TrackerHandle
  readonly firstId: number
  readonly published: number
  /** More ids after those, of which none is published. 0: this worker ends. */
  readonly staged: number
}

const LINGER_MS = 60_000

const { handle, firstId, published, staged } = workerData as ProbeData
const writer = openWriter(handle)
for (let i = 0; i < published; i++) writer.mark(firstId + i)
writer.flush()
for (let i = 0; i < staged; i++) writer.mark(firstId + published + i)
parentPort?.postMessage(writer.staged)
// Not by the event loop: that would publish what is staged.
if (staged > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LINGER_MS)
