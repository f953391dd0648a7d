import {
  getEnvironmentData,
  isMainThread,
  parentPort,
  setEnvironmentData,
  threadId,
  Worker,
} from 'node:worker_threads'
import { setImmediate } from '../timers.js'
import {
  type AggregatorThread,
  type HandleMessage,
  isHandleMessage,
  type Platform,
} from './platform.js'

/**
 * The thread ids of the workers that this thread has started since the library was loaded. A worker
 * that has ended no longer knows its own id.
 */
const threadIds = new WeakMap<Worker, number>()
const startListeners = new Set<(worker: unknown) => void>()
const endListeners = new Set<() => void>()
/** The library adds one 'exit' listener to a worker: an emitter warns at its eleventh listener. */
const exitListeners = new WeakMap<Worker, Set<(threadId: number) => void>>()

/**
 * The environment data in which a thread leaves its thread id, and those of the threads above it.
 * The threads that it starts read them, because a worker cannot ask for its parent's id.
 */
const ANCESTRY = 'dirtyring.ancestry'

function readAncestors(): readonly number[] {
  const ancestry = (getEnvironmentData(ANCESTRY) ?? []) as unknown as readonly number[]
  // If the first id is this thread's own, another copy of the library has left it here.
  return ancestry[0] === threadId ? ancestry.slice(1) : ancestry
}

const ancestors = readAncestors()

// One listener serves all trackers, because the eleventh listener of an emitter prints a warning.
process.on('worker', (worker) => {
  threadIds.set(worker, worker.threadId)
  for (const listener of startListeners) listener(worker)
})

export const platform: Platform = {
  threadId,
  ancestors,
  announceParent() {
    setEnvironmentData(ANCESTRY, [threadId, ...ancestors])
  },
  canBlock: () => true,
  turn: () => new Promise((resolve) => setImmediate(resolve)),

  startWorker() {
    const worker = new Worker(new URL('../aggregator/worker.js', import.meta.url), {
      name: 'dirtyring aggregator',
      // --input-type is for the text of `node -e`. A worker that inherits it, and runs a file, does
      // not start.
      ...(process.execArgv.some((arg) => arg.startsWith('--input-type')) ? { execArgv: [] } : {}),
    })
    worker.unref()
    return aggregatorThread(worker, true)
  },

  adoptWorker(worker) {
    if (!(worker instanceof Worker) || worker.threadId === -1) return undefined
    worker.unref()
    return aggregatorThread(worker, false)
  },

  watchWorker(worker, onExit) {
    if (!(worker instanceof Worker)) return undefined
    const hasEnded = worker.threadId === -1 // -1 from the 'exit' event on
    const id = hasEnded ? threadIds.get(worker) : worker.threadId
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

  onWorkerStart(listener) {
    startListeners.add(listener)
    return () => {
      startListeners.delete(listener)
    }
  },

  onThreadEnd(listener) {
    // One hook serves all listeners of the thread.
    if (endListeners.size === 0) process.once('exit', () => endListeners.forEach((end) => end()))
    endListeners.add(listener)
  },

  onHandle(listener) {
    if (isMainThread || parentPort === null) return
    const port = parentPort
    port.on('message', function receive(message: unknown) {
      if (!isHandleMessage(message)) return
      port.off('message', receive)
      listener(message.dirtyringAggregate, message.isAlone)
    })
  },

  warn(message) {
    process.emitWarning(message, 'DirtyRingWarning')
  },
}

/**
 * Listens to a worker's end, once. This is a function of its own because the worker keeps the
 * closure that is made here, and V8 keeps with a closure all that any closure of the same call
 * uses. Made in watchWorker(), it would keep the first `onExit`, and so that tracker's memory.
 */
function exitListenersOf(worker: Worker, id: number): Set<(threadId: number) => void> {
  const known = exitListeners.get(worker)
  if (known !== undefined) return known
  const listeners = new Set<(threadId: number) => void>()
  exitListeners.set(worker, listeners)
  worker.once('exit', () => {
    for (const listener of listeners) listener(id)
  })
  return listeners
}

function aggregatorThread(worker: Worker, isAlone: boolean): AggregatorThread {
  let cause = ''
  // Listen, because an error in the worker would end this process otherwise. The worker's exit
  // follows, and tells that the role is free.
  worker.on('error', (error) => {
    cause = error instanceof Error ? error.message : String(error)
  })
  return {
    threadId: worker.threadId,
    postHandle(handle) {
      worker.postMessage({ dirtyringAggregate: handle, isAlone } satisfies HandleMessage)
    },
    onExit(listener) {
      worker.once('exit', (code) => listener(cause === '' ? `exit code ${code}` : cause))
    },
    async terminate() {
      await worker.terminate()
    },
  }
}
