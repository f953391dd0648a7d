/** The program of Node, and of Bun and Deno with node:worker_threads: prints one line an outcome. */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import * as library from 'dirtyring'
import { nodeHost } from './node-host.mjs'
import { runCases } from './run.mjs'

if (isMainThread) {
  const { place, ...args } = JSON.parse(process.argv[2])
  const tell = (line) => console.log(JSON.stringify(line))
  if (place === 'main') {
    await runCases({ library, host: nodeHost('main'), tell, ...args })
  } else {
    const worker = new Worker(new URL(import.meta.url), { workerData: args })
    await new Promise((resolve, reject) => {
      worker.on('message', (line) => (line.over ? resolve() : tell(line))).on('error', reject)
    })
    await worker.terminate()
  }
  tell({ over: true })
  process.exit(0)
} else {
  const tell = (line) => parentPort.postMessage(line)
  await runCases({ library, host: nodeHost('worker'), tell, ...workerData })
  tell({ over: true })
}
