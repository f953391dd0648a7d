/** What a measuring script is told, as JSON, and the one line of JSON that it answers with. */
import { Worker } from 'node:worker_threads'

export const args = JSON.parse(process.argv[2] ?? '{}')

/** `full`, or `quick` where only the shape of the answer matters. */
export function unlessQuick(full, quick) {
  return args.quick ? quick : full
}

export function report(result) {
  console.log(JSON.stringify(result))
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** A thread that runs the script, and is told the same. */
export function startThread(url, workerData, options = {}) {
  return new Worker(new URL(url), { ...options, workerData, argv: process.argv.slice(2) })
}

/** A worker that sends back what it is sent: what waking another thread and being woken costs. */
export function echoWorker() {
  const code = `const { parentPort } = require('node:worker_threads'); parentPort.on('message', (it) => parentPort.postMessage(it))`
  return new Worker(code, { eval: true })
}

/** The next message of a worker that `isOne`. */
export function message(worker, isOne = () => true) {
  return new Promise((resolve, reject) => {
    worker.once('error', reject)
    worker.on('message', function listen(value) {
      if (!isOne(value)) return
      worker.off('message', listen)
      worker.off('error', reject)
      resolve(value)
    })
  })
}
