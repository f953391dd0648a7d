import { isHandleMessage, type AggregatorThread, type Platform } from './platform.js'
import { setTimeout } from '../timers.js'

/** The little of the web platform that is used here, so that the library compiles without "dom". */
interface WebWorker {
  postMessage(message: unknown): void
  terminate(): void
  addEventListener(type: 'error', listener: (event: { message?: string }) => void): void
}
interface WorkerScope {
  addEventListener?(type: string, listener: (event: { data?: unknown }) => void): void
  removeEventListener(type: string, listener: (event: { data?: unknown }) => void): void
}
declare const Worker: (new (url: URL, options: { type: 'module'; name: string }) => WebWorker) | undefined

const scope = globalThis as unknown as WorkerScope & { document?: unknown }

export const platform: Platform = {
  threadId: undefined,
  canBlock: () => scope.document === undefined,
  turn: () => new Promise((resolve) => setTimeout(resolve, 0)),

  startWorker() {
    if (typeof Worker === 'undefined') throw new Error('this runtime has no Worker: pass aggregator: "inline"')
    return aggregatorThread(
      new Worker(new URL('../aggregator/worker.js', import.meta.url), { type: 'module', name: 'dirtyring aggregator' }),
    )
  },

  adoptWorker: (worker) => (isWorker(worker) ? aggregatorThread(worker) : undefined),

  watchWorker(worker) {
    if (!isWorker(worker)) return undefined
    throw new Error('a page cannot see a worker end: let the worker close its writers')
  },

  onWorkerStart: () => () => undefined,

  onThreadEnd(listener) {
    scope.addEventListener?.('pagehide', listener)
  },

  onHandle(listener) {
    if (scope.document !== undefined || scope.addEventListener === undefined) return
    const receive = (event: { data?: unknown }): void => {
      if (!isHandleMessage(event.data)) return
      scope.removeEventListener('message', receive)
      listener(event.data.dirtyringAggregate)
    }
    scope.addEventListener('message', receive)
  },

  warn(message) {
    console.warn(message)
  },
}

function isWorker(worker: unknown): worker is WebWorker {
  return typeof worker === 'object' && worker !== null && 'postMessage' in worker && 'terminate' in worker
}

/** A page sees errors, but no exit: a worker that fails to load is reported, one that dies later is not. */
function aggregatorThread(worker: WebWorker): AggregatorThread {
  let terminated = (): void => undefined
  return {
    threadId: undefined,
    postHandle: (handle) => worker.postMessage({ dirtyringAggregate: handle }),
    onExit(listener) {
      terminated = () => listener('terminated')
      worker.addEventListener('error', (event) => {
        worker.terminate()
        listener(event.message ?? 'the worker failed')
      })
    },
    terminate() {
      worker.terminate()
      terminated()
      return Promise.resolve()
    },
  }
}
