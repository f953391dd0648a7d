/** A worker thread that marks what it is told to. With `isHeld` it stays alive, nothing published. */
import { parentPort, workerData } from 'node:worker_threads'
import { openWriter } from 'dirtyring'

const { handle, ids, isHeld } = workerData
const writer = openWriter(handle)
for (const id of ids) writer.mark(id)
parentPort.postMessage('marked')
if (isHeld) setInterval(() => undefined, 1000)
