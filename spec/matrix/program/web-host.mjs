/** Web Workers: in a page, and in Bun and Deno. */
const isPage = typeof document !== 'undefined'
const inBrowser = typeof process === 'undefined'

export const webHost = (place) => ({
  threads: 'web',
  place,
  /** A page's main thread may not sleep. */
  mayBlock: !isPage,
  inBrowser,
  /** Bun tells of a Web Worker's end; no other runtime does. */
  showsWorkerEnds: typeof Bun === 'object',
  showsAggregatorEnds: false,
  settled,
  /** Deno does not end the thread of a Web Worker that never turns. */
  endsBusyWorkers: typeof Deno === 'undefined',
  aggregatorWorker: () => newWorker('aggregator'),
  /** A page sees its worker's errors, and not that it was terminated. */
  killAggregator: (worker) => worker.postMessage('throw'),

  async start(name) {
    const worker = newWorker(name)
    return {
      worker,
      receive: (listener) => worker.addEventListener('message', ({ data }) => listener(data)),
      onError: (listener) =>
        worker.addEventListener('error', (event) => listener(event.message || 'no message')),
      send: (message) => worker.postMessage(message),
      async terminate() {
        worker.terminate()
        await settled()
      },
    }
  },
})

/**
 * A worker in Firefox that has terminated a worker of its own, and starts another one at once,
 * stands still for ever, also without this library.
 */
const settled = () => new Promise((resolve) => setTimeout(resolve, 100))

function newWorker(name) {
  return new Worker(new URL(`./web-${name}.mjs`, import.meta.url), { type: 'module' })
}
