/** Threads of node:worker_threads: in Node, Bun and Deno. */
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
