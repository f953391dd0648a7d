/**
 * For recovery.js: a thread that marks some keys, publishes nothing, and waits to be terminated;
 * without a handle, a thread that waits.
 */
import { parentPort, workerData } from 'node:worker_threads'

const { handle, keys } = workerData
if (handle !== undefined) {
  const { openWriter } = await import('../../dist/index.js')
  const writer = openWriter(handle)
  for (let id = 0; id < keys; id++) writer.mark(id)
}
parentPort.on('message', () => undefined)
parentPort.postMessage('ready')
