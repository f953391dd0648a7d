import { setTimeout } from '../timers.js'
import {
  type AggregatorThread,
  type HandleMessage,
  isHandleMessage,
  type Platform,
} from './platform.js'

/**
 * The parts of the web platform that this file uses, so that the library compiles without "dom".
 */
interface WebWorker {
  postMessage(message: unknown): void
  terminate(): void
  addEventListener(type: 'error', listener: (event: { message?: string }) => void): void
}
interface WorkerScope {
  addEventListener?(type: string, listener: (event: { data?: unknown }) => void): void
  removeEventListener(type: string, listener: (event: { data?: unknown }) => void): void
}
declare const Worker:
  (new (url: URL, options: { type: 'module'; name: string }) => WebWorker) | undefined

const scope = globalThis as unknown as WorkerScope & { document?: unknown }

export const platform: Platform = {
  threadId: undefined,
  ancestors: [],
  announceParent: () => undefined,
  canBlock: () => scope.document === undefined,
  turn: () => new Promise((resolve) => setTimeout(resolve, 0)),

  startWorker() {
    // Use typeof: if the name is not declared, any other mention of it throws a ReferenceError.
    if (typeof Worker === 'undefined')
      throw new Error('this runtime has no Worker: pass aggregator: "inline"')
    return aggregatorThread(
      new Worker(new URL('../aggregator/worker.js', import.meta.url), {
        type: 'module',
        name: 'dirtyring aggregator',
      }),
      true,
    )
  },

  adoptWorker: (worker) => (isWorker(worker) ? aggregatorThread(worker, false) : undefined),

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
      listener(event.data.dirtyringAggregate, event.data.isAlone)
    }
    scope.addEventListener('message', receive)
  },

  warn(message) {
    console.warn(message)
  },
}

function isWorker(worker: unknown): worker is WebWorker {
  return (
    typeof worker === 'object' &&
    worker !== null &&
    'postMessage' in worker &&
    'terminate' in worker
  )
}

/**
 * After terminate() the worker's code may still run for a moment, so the worker keeps its role for
 * this time.
 */
const TERMINATED_MS = 50

/**
 * A page sees a worker's errors, but not its end. If a worker dies without an error, only its
 * silence tells.
 */
function aggregatorThread(worker: WebWorker, isAlone: boolean): AggregatorThread {
  let tell: (cause: string) => void = () => undefined
  let isEnding = false
  const end = (cause: string): void => {
    if (isEnding) return
    isEnding = true
    worker.terminate()
    setTimeout(() => tell(cause), TERMINATED_MS)
  }
  worker.addEventListener('error', ({ message }) =>
    end(message === undefined || message === '' ? 'the worker failed' : message),
  )
  return {
    threadId: undefined,
    postHandle: (handle) =>
      worker.postMessage({ dirtyringAggregate: handle, isAlone } satisfies HandleMessage),
    onExit: (listener) => (tell = listener),
    terminate() {
      end('terminated')
      return Promise.resolve()
    },
  }
}
