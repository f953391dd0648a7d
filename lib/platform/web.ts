import { setTimeout } from '../timers.js'
import { mayBlock } from './may-block.js'
import {
  type AggregatorThread,
  type HandleListener,
  type HandleMessage,
  isHandleMessage,
  type Platform,
  type Watching,
  WORKER_NAME,
} from './platform.js'

/**
 * The parts of the web platform that this file uses, so that the library compiles without "dom".
 */
interface WebWorker {
  postMessage(message: unknown): void
  terminate(): void
  addEventListener(type: 'error', listener: (event: ErrorEvent) => void): void
}
interface ErrorEvent {
  readonly message?: string
  /** Keeps the error from this scope's own 'error' listeners, and from ending the process (Deno). */
  preventDefault?(): void
}
interface ScopeEvent {
  readonly data?: unknown
  readonly persisted?: boolean
}
/** What a page and a worker of a page have alike. */
interface Scope {
  readonly document?: unknown
  close?(): void
  addEventListener?(type: string, listener: (event: ScopeEvent) => void): void
  removeEventListener(type: string, listener: (event: ScopeEvent) => void): void
}
interface WebHost {
  readonly Worker:
    (new (url: string, options: { type: 'module'; name: string }) => WebWorker) | undefined
  readonly Blob: new (parts: string[], options: { type: string }) => object
  readonly URL: { createObjectURL(blob: object): string }
  readonly Deno?: unknown
  readonly MessageChannel: (new () => { readonly port1: Port; readonly port2: Port }) | undefined
}
interface Port {
  onmessage: () => void
  postMessage(message: unknown): void
  close(): void
}

/** The aggregator's code, where a worker finds it. One address serves all workers of this realm. */
let address: string | undefined

/** A page, or a worker of a page. */
export function webPlatform(): Platform {
  const canBlock = mayBlock()
  return {
    threadId: undefined,
    ancestors: [],
    canBlock: () => canBlock,
    turn: () => new Promise(afterTurn),
  }
}

/** What such a host tells of the ends of threads. */
export function webWatching(): Watching {
  const scope = globalThis as unknown as Scope
  return {
    announceParent: () => undefined,

    watchWorker(worker) {
      if (!isWebWorker(worker)) return undefined
      throw new Error('a page cannot see a worker end: let the worker close its writers')
    },

    onWorkerStart: () => () => undefined,

    onThreadEnd({ end, pause }) {
      // A page that goes into the back/forward cache may come back, and go on.
      scope.addEventListener?.('pagehide', ({ persisted }) =>
        persisted === true ? pause() : end(),
      )
    },

    warn(message) {
      console.warn(message)
    },
  }
}

/**
 * By a message, because a browser delays a timer that a timer's callback sets by 4 ms: a thread that
 * works for 5 ms between two turns would stand still nearly half of its time. Firefox delays it by a
 * second while the page is hidden. In Deno a worker that turns by messages goes on after terminate().
 */
function afterTurn(callback: () => void): void {
  const { MessageChannel, Deno } = globalThis as unknown as WebHost
  if (MessageChannel === undefined || Deno !== undefined) {
    setTimeout(callback, 0)
    return
  }
  const { port1, port2 } = new MessageChannel()
  port1.onmessage = () => {
    port1.close()
    callback()
  }
  port2.postMessage(undefined)
}

/** A Web Worker as the aggregator's worker. */
export function startWebWorker(code: string): AggregatorThread {
  const { Worker, Blob, URL } = globalThis as unknown as WebHost
  if (Worker === undefined) throw new Error('this runtime has no Worker: pass aggregator: "inline"')
  address ??= URL.createObjectURL(new Blob([code], { type: 'text/javascript' }))
  try {
    return aggregatorThread(
      new Worker(address, { type: 'module', name: WORKER_NAME }),
      true,
      WAY_OUT,
    )
  } catch (cause) {
    // Chromium ends its sentence, and Firefox does not.
    throw new Error(`${(cause as Error).message.replace(/\.$/, '')}${WAY_OUT}`, { cause })
  }
}

const WAY_OUT =
  '. If a Content-Security-Policy forbids workers from "blob:", allow it in worker-src, or pass ' +
  "aggregator: () => new Worker(…) with a worker whose script is: import 'dirtyring/aggregator'"

/** A Web Worker of the user's as the aggregator's worker; undefined if the value is none. */
export function adoptWebWorker(worker: unknown): AggregatorThread | undefined {
  return isWebWorker(worker) ? aggregatorThread(worker, false, '') : undefined
}

export function onWebHandle(listener: HandleListener): void {
  const scope = globalThis as unknown as Scope
  if (scope.document !== undefined || scope.addEventListener === undefined) return
  const receive = (event: ScopeEvent): void => {
    if (!isHandleMessage(event.data)) return
    scope.removeEventListener('message', receive)
    listener(event.data.dirtyringAggregate)
  }
  scope.addEventListener('message', receive)
}

/** Ends this worker, which has nothing left to do. */
export function endWebWorker(): void {
  const scope = globalThis as unknown as Scope
  scope.close?.()
}

function isWebWorker(worker: unknown): worker is WebWorker {
  return (
    typeof worker === 'object' &&
    worker !== null &&
    'postMessage' in worker &&
    'terminate' in worker &&
    'addEventListener' in worker
  )
}

/**
 * After terminate() the worker's code may still run for a moment, so the worker keeps its role for
 * this time.
 */
const TERMINATED_MS = 50
/**
 * How long a worker of the library's has to close itself before it is terminated. In Firefox a
 * worker that terminates a worker and at once starts another one may stand still for ever.
 */
const CLOSING_MS = 50

/**
 * A page sees a worker's errors, but not its end. If a worker dies without an error, only its
 * silence tells.
 */
function aggregatorThread(worker: WebWorker, isAlone: boolean, wayOut: string): AggregatorThread {
  let tell: (cause: string) => void = () => undefined
  let isEnding = false
  const end = (cause: string): void => {
    if (isEnding) return
    isEnding = true
    worker.terminate()
    setTimeout(() => tell(cause), TERMINATED_MS)
  }
  worker.addEventListener('error', (event) => {
    event.preventDefault?.()
    // Without a message: the script was not loaded.
    end(
      event.message === undefined || event.message === ''
        ? `the worker failed${wayOut}`
        : event.message,
    )
  })
  return {
    threadId: undefined,
    postHandle: (handle) =>
      worker.postMessage({ dirtyringAggregate: handle } satisfies HandleMessage),
    onExit: (listener) => (tell = listener),
    terminate() {
      if (isAlone) setTimeout(() => end('terminated'), CLOSING_MS)
      else end('terminated')
      return Promise.resolve()
    },
  }
}
