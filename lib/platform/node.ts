import { isMainThread, parentPort, threadId, Worker } from 'node:worker_threads'
import { isHandleMessage, type AggregatorThread, type Platform } from './platform.js'

const startListeners = new Set<(worker: unknown) => void>()
const endListeners = new Set<() => void>()
/** One listener of ours for a worker, however many trackers watch it: the eleventh of an emitter prints a warning. */
const exitListeners = new WeakMap<Worker, ((threadId: number) => void)[]>()

export const platform: Platform = {
  threadId,
  canBlock: () => true,
  turn: () => new Promise((resolve) => setImmediate(resolve)),

  startWorker() {
    const worker = new Worker(new URL('../aggregator/worker.js', import.meta.url), {
      name: 'dirtyring aggregator',
      // --input-type is for the text of `node -e`, and a worker that inherits it with a file does not start.
      ...(process.execArgv.some((arg) => arg.startsWith('--input-type')) ? { execArgv: [] } : {}),
    })
    worker.unref()
    return aggregatorThread(worker)
  },

  adoptWorker: (worker) => (worker instanceof Worker && worker.threadId !== -1 ? aggregatorThread(worker) : undefined),

  watchWorker(worker, onExit) {
    if (!(worker instanceof Worker)) return false
    const id = worker.threadId // inside 'exit' it is -1
    if (id === -1) throw new Error('the worker has ended: the writers it may have had can no longer be told apart')
    const listeners = exitListeners.get(worker)
    if (listeners !== undefined) {
      listeners.push(onExit)
      return true
    }
    const first = [onExit]
    exitListeners.set(worker, first)
    worker.once('exit', () => {
      for (const listener of first) listener(id)
    })
    return true
  },

  onWorkerStart(listener) {
    if (startListeners.size === 0) process.on('worker', announceWorker)
    startListeners.add(listener)
    return () => {
      startListeners.delete(listener)
      if (startListeners.size === 0) process.off('worker', announceWorker)
    }
  },

  onThreadEnd(listener) {
    // One hook for the thread, for the same reason.
    if (endListeners.size === 0) process.once('exit', () => endListeners.forEach((end) => end()))
    endListeners.add(listener)
  },

  onHandle(listener) {
    if (isMainThread || parentPort === null) return
    const port = parentPort
    port.on('message', function receive(message: unknown) {
      if (!isHandleMessage(message)) return
      port.off('message', receive)
      listener(message.dirtyringAggregate)
    })
  },

  warn(message) {
    process.emitWarning(message, 'DirtyRingWarning')
  },
}

function announceWorker(worker: Worker): void {
  for (const listener of startListeners) listener(worker)
}

function aggregatorThread(worker: Worker): AggregatorThread {
  let cause = ''
  // Without a listener an error in the worker would end this process; its exit follows, and says that the role is free.
  worker.on('error', (error) => {
    cause = error instanceof Error ? error.message : String(error)
  })
  return {
    threadId: worker.threadId,
    postHandle(handle) {
      worker.postMessage({ dirtyringAggregate: handle })
    },
    onExit(listener) {
      worker.once('exit', (code) => listener(cause === '' ? `exit code ${code}` : cause))
    },
    async terminate() {
      await worker.terminate()
    },
  }
}
