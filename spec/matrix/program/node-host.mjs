/** Threads of node:worker_threads: in Node, Bun and Deno. */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'

export const nodeHost = (place) => ({
  threads: 'node',
  place,
  mayBlock: true,
  showsWorkerEnds: true,
  showsAggregatorEnds: true,
  settled: async () => undefined,
  endsBusyWorkers: true,
  cluster: () => import('dirtyring/cluster'),
  ipc: () => import('dirtyring/ipc'),
  /** A child process that publishes by IPC what it marks. */
  forkPublisher: () =>
    fork(fileURLToPath(new URL('./node-publisher.mjs', import.meta.url)), {
      serialization: 'advanced',
    }),
  /** A worker of the user's that runs the aggregator. */
  aggregatorWorker: () => new Worker(new URL('./node-aggregator.mjs', import.meta.url)),
  killAggregator: (worker) => worker.terminate(),

  async start(name) {
    const worker = new Worker(new URL(`./node-${name}.mjs`, import.meta.url))
    return {
      worker,
      receive: (listener) => worker.on('message', listener),
      onError: (listener) => worker.on('error', (error) => listener(error?.stack ?? String(error))),
      send: (message) => worker.postMessage(message),
      terminate: () => worker.terminate(),
    }
  },
})
