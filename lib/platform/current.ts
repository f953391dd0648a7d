import { nodePlatform } from './node.js'
import type { Platform } from './platform.js'
import { webPlatform } from './web.js'

/**
 * Chosen when the library is loaded, by what the host has: a bundler that is told nothing, or is
 * told of another host than the one that runs its output, chooses nothing.
 */
export const platform: Platform = choose()

function choose(): Platform {
  const threads = threadsOfNode()
  return threads === undefined ? webPlatform() : nodePlatform(threads)
}

/** Node's worker_threads, which Bun and Deno have as well; undefined where they do not serve. */
function threadsOfNode(): typeof import('node:worker_threads') | undefined {
  const { process, WorkerGlobalScope } = globalThis as {
    process?: NodeJS.Process & { type?: string }
    WorkerGlobalScope?: new () => object
  }
  // A page of Electron may have `process`, but cannot start Node's workers.
  if (process?.type === 'renderer' || process?.type === 'worker') return undefined
  if (typeof process?.getBuiltinModule !== 'function') return undefined
  const threads = process.getBuiltinModule('node:worker_threads') as
    typeof import('node:worker_threads') | undefined
  // In a Web Worker of Deno they say that this is the main thread.
  const isUnknownToThem =
    threads?.isMainThread === true &&
    typeof WorkerGlobalScope === 'function' &&
    globalThis instanceof WorkerGlobalScope
  return isUnknownToThem ? undefined : threads
}
