type WorkerThreads = typeof import('node:worker_threads')

/**
 * Node's worker_threads, which Bun and Deno have as well; undefined where they do not serve. Found
 * when the library is loaded: programs delete `process` later, so that other code takes their host
 * for a browser.
 */
export const threadsOfNode: WorkerThreads | undefined = find()

function find(): WorkerThreads | undefined {
  const { process, WorkerGlobalScope } = globalThis as {
    process?: NodeJS.Process & { type?: string }
    WorkerGlobalScope?: new () => object
  }
  // A page of Electron may have `process`, but cannot start Node's workers.
  if (process?.type === 'renderer' || process?.type === 'worker') return undefined
  if (typeof process?.getBuiltinModule !== 'function') return undefined
  const threads = process.getBuiltinModule('node:worker_threads') as WorkerThreads | undefined
  // In a Web Worker of Deno they say that this is the main thread.
  const isUnknownToThem =
    threads?.isMainThread === true &&
    typeof WorkerGlobalScope === 'function' &&
    globalThis instanceof WorkerGlobalScope
  return isUnknownToThem ? undefined : threads
}
