import type * as WorkerThreads from 'node:worker_threads'
import { messageOf } from '../errors.js'
import { setImmediate } from '../timers.js'
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

type Worker = WorkerThreads.Worker

/** As it was when the library was loaded. A page has none. */
const { process } = globalThis

/** A Web Worker of Bun, which has a thread id and tells its end. */
interface BunWorker {
  readonly threadId: number
  addEventListener(type: 'close', listener: () => void, options: { once: true }): void
}

/**
 * The environment data in which a thread leaves its thread id, and those of the threads above it.
 * The threads that it starts read them, because a worker cannot ask for its parent's id.
 */
const ANCESTRY = 'dirtyring.ancestry'

/** Node, Bun and Deno. They give `node:worker_threads`: an import would stop bundlers for pages. */
export function nodePlatform(threads: typeof WorkerThreads): Platform {
  const canBlock = mayBlock()
  return {
    threadId: threads.threadId,
    ancestors: ancestorsOf(threads),
    canBlock: () => canBlock,
    turn: () => new Promise((resolve) => setImmediate(resolve)),
  }
}

function ancestorsOf({ getEnvironmentData, threadId }: typeof WorkerThreads): readonly number[] {
  const ancestry = (getEnvironmentData(ANCESTRY) ?? []) as unknown as readonly number[]
  // If the first id is this thread's own, another copy of the library has left it here.
  return ancestry[0] === threadId ? ancestry.slice(1) : ancestry
}

/** What they tell of the ends of threads. */
export function nodeWatching(threads: typeof WorkerThreads): Watching {
  const { setEnvironmentData, threadId } = threads
  const ancestors = ancestorsOf(threads)
  const starts = new WorkerStarts()
  const endListeners = new Set<() => void>()
  /** Of each worker, those who wait for its end. */
  const exitListeners = new WeakMap<object, Set<(threadId: number) => void>>()

  const isThread = (worker: unknown): worker is Worker => worker instanceof threads.Worker

  /**
   * Listens to a worker's end, once. This is a function of its own because the worker keeps the
   * closure that is made here, and V8 keeps with a closure all that any closure of the same call
   * uses. Made in watchWorker(), it would keep the first `onExit`, and so that tracker's memory.
   */
  function exitListenersOf(
    worker: Worker | BunWorker,
    id: number,
  ): Set<(threadId: number) => void> {
    const known = exitListeners.get(worker)
    if (known !== undefined) return known
    const listeners = new Set<(threadId: number) => void>()
    exitListeners.set(worker, listeners)
    const tell = (): void => {
      for (const listener of listeners) listener(id)
    }
    if (isThread(worker)) shareListener(worker, 'exit', tell, 'once')
    else worker.addEventListener('close', tell, { once: true })
    return listeners
  }

  return {
    announceParent() {
      setEnvironmentData(ANCESTRY, [threadId, ...ancestors])
    },

    watchWorker(worker, onExit) {
      if (!isThread(worker) && !isBunWorker(worker)) return undefined
      const hasEnded = worker.threadId === -1 // -1 from the 'exit' event on
      const id = hasEnded ? starts.idOf(worker) : worker.threadId
      if (id === undefined)
        throw new Error(
          'the worker was started before the library was loaded, and has ended: ' +
            'its number is no longer known',
        )
      if (hasEnded) {
        onExit(id)
        return () => undefined
      }
      const listeners = exitListenersOf(worker, id).add(onExit)
      return () => {
        listeners.delete(onExit)
      }
    },

    onWorkerStart: (listener) => starts.listen(listener),

    onThreadEnd({ end }) {
      // One hook serves all listeners of the thread.
      if (endListeners.size === 0)
        shareListener(process, 'exit', () => endListeners.forEach((each) => each()), 'once')
      endListeners.add(end)
    },

    warn(message) {
      process.emitWarning(message, 'DirtyRingWarning')
    },
  }
}

/** What an emitter's listener has whose calls all copies of the library on the thread share. */
const SHARED = Symbol.for('dirtyring.listeners')

type Listener = (value: unknown) => void

/**
 * Listens to an emitter of Node. The library has one listener there, which serves all trackers and
 * all copies of the library, because an emitter prints a warning at its eleventh listener.
 */
function shareListener(
  emitter: NodeJS.EventEmitter,
  event: string,
  listener: Listener,
  how: 'on' | 'once',
): void {
  const there = emitter.listeners(event) as { readonly [SHARED]?: Set<Listener> }[]
  const known = there.find((each) => each[SHARED] !== undefined)
  if (known !== undefined) {
    known[SHARED]!.add(listener)
    return
  }
  const all = new Set([listener])
  const tell = (value: unknown): void => {
    for (const each of all) each(value)
  }
  emitter[how](event, Object.assign(tell, { [SHARED]: all }))
}

/** The workers that this thread starts. */
class WorkerStarts {
  /** A worker that has ended no longer knows its own id. */
  readonly #ids = new WeakMap<object, number>()
  readonly #listeners = new Set<(worker: unknown) => void>()
  readonly #channel: typeof import('node:diagnostics_channel')

  constructor() {
    this.#channel = process.getBuiltinModule('node:diagnostics_channel')
    // Bun tells here of its Web Workers as well.
    shareListener(process, 'worker', (worker) => this.#note(worker as object), 'on')
  }

  idOf(worker: object): number | undefined {
    return this.#ids.get(worker)
  }

  listen(listener: (worker: unknown) => void): () => void {
    if (this.#listeners.size === 0) this.#channel.subscribe(STARTS, this.#hear)
    this.#listeners.add(listener)
    return () => {
      this.#listeners.delete(listener)
      if (this.#listeners.size === 0) this.#channel.unsubscribe(STARTS, this.#hear)
    }
  }

  /**
   * The channel tells in test runners that give a test a `process` of its own, which never tells.
   * It is left when nothing listens, because it would keep a test's modules in memory.
   */
  readonly #hear = (message: unknown): void => this.#note((message as { worker: object }).worker)

  #note(worker: object): void {
    const { threadId } = worker as Worker
    if (this.#ids.has(worker) || threadId === -1) return // -1: ended before the host tells of it
    this.#ids.set(worker, threadId)
    for (const listener of this.#listeners) listener(worker)
  }
}

/** The channel on which Node and Deno tell of a worker, in its constructor. */
const STARTS = 'worker_threads'

function isBunWorker(worker: unknown): worker is BunWorker {
  return (
    typeof process.versions.bun === 'string' &&
    typeof worker === 'object' &&
    worker !== null &&
    'threadId' in worker &&
    'addEventListener' in worker
  )
}

/** A thread of Node as the aggregator's worker. */
export function startThread(threads: typeof WorkerThreads, code: string): AggregatorThread {
  let worker: Worker
  try {
    worker = new threads.Worker(code, { eval: true, name: WORKER_NAME })
  } catch (cause) {
    throw (cause as NodeJS.ErrnoException).code === 'ERR_ACCESS_DENIED'
      ? new Error(FORBIDDEN, { cause })
      : cause
  }
  worker.unref()
  return aggregatorThread(worker)
}

const FORBIDDEN =
  "Node's permissions forbid threads. " +
  'Start Node with --allow-worker, or pass aggregator: "inline"'

/** A worker of the user's as the aggregator's; undefined if it has ended, or is none. */
export function adoptThread(
  threads: typeof WorkerThreads,
  worker: unknown,
): AggregatorThread | undefined {
  if (!(worker instanceof threads.Worker) || worker.threadId === -1) return undefined
  worker.unref()
  return aggregatorThread(worker)
}

export function onThreadHandle(threads: typeof WorkerThreads, listener: HandleListener): void {
  const { isMainThread, parentPort } = threads
  if (isMainThread || parentPort === null) return
  parentPort.on('message', function receive(message: unknown) {
    if (!isHandleMessage(message)) return
    parentPort.off('message', receive)
    listener(message.dirtyringAggregate)
  })
}

function aggregatorThread(worker: Worker): AggregatorThread {
  let cause = ''
  // Listen, because an error in the worker would end this process otherwise. The worker's exit
  // follows, and tells that the role is free.
  worker.on('error', (error) => {
    cause = messageOf(error)
  })
  return {
    threadId: worker.threadId,
    postHandle(handle) {
      worker.postMessage({ dirtyringAggregate: handle } satisfies HandleMessage)
    },
    onExit(listener) {
      worker.once('exit', (code) => listener(cause === '' ? `exit code ${code}` : cause))
    },
    async terminate() {
      await worker.terminate()
    },
  }
}
