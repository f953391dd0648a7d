import { workerData } from 'node:worker_threads'
import { openWriter } from 'dirtyring'

const writer = openWriter(workerData.handle)
for (let row = workerData.first; row < workerData.first + 1000; row++) writer.mark(row)
