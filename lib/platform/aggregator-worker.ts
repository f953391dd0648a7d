// The aggregator's worker, on either kind of host. Apart from current.ts, because writers need none.

import { adoptThread, onThreadHandle, startThread } from './node.js'
import type { AggregatorThread, HandleListener } from './platform.js'
import { threadsOfNode } from './threads.js'
import { adoptWebWorker, endWebWorker, onWebHandle, startWebWorker } from './web.js'

/**
 * Starts a worker that runs `code`, a script that needs nothing beside it, and waits for
 * postHandle().
 */
export function startWorker(code: string): AggregatorThread {
  return threadsOfNode === undefined ? startWebWorker(code) : startThread(threadsOfNode, code)
}

/**
 * Takes a running worker of the user's as the aggregator's worker. From then on it does not keep
 * the process alive. Returns undefined if the value is not a worker. Bun and Deno have workers of
 * both kinds.
 */
export function adoptWorker(worker: unknown): AggregatorThread | undefined {
  const thread = threadsOfNode === undefined ? undefined : adoptThread(threadsOfNode, worker)
  return thread ?? adoptWebWorker(worker)
}

/** In a worker: calls back once, with the handle that postHandle() sends. */
export function onHandle(listener: HandleListener): void {
  if (threadsOfNode === undefined) onWebHandle(listener)
  else onThreadHandle(threadsOfNode, listener)
}

/** In a worker that the library started: ends it. A thread of Node ends by itself. */
export function endWorker(): void {
  if (threadsOfNode === undefined) endWebWorker()
}
