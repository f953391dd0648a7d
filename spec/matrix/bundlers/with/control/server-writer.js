import { parentPort, workerData } from 'node:worker_threads'

const rows = Array.from({ length: 1000 }, (_, index) => workerData.first + index)
parentPort.postMessage(rows)
