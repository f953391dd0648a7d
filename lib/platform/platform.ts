/**
 * What every thread of the library needs of its host beyond the language. Each kind of host has one
 * file that implements this and Watching (node.ts, web.ts). current.ts and watching.ts choose.
 * Beside timers.ts, no other file of the library names a host's API.
 */
export interface Platform {
  /**
   * This thread's number. No other thread of this process has it, or had it before. Undefined if
   * the host gives none.
   */
  readonly threadId: number | undefined
  /**
   * The numbers of the threads above this one that called announceParent() before they started the
   * thread below them, the nearest first.
   */
  readonly ancestors: readonly number[]
  /** Whether this thread may sleep in Atomics.wait. */
  canBlock(): boolean
  /** Resolves after one turn of this thread's event loop. */
  turn(): Promise<void>
}

/**
 * What a host tells of the ends of threads. Apart from Platform, because the aggregator's worker
 * needs none of it.
 */
export interface Watching {
  /** Tells this thread's number to the threads that it starts from now on, if the host can. */
  announceParent(): void
  /**
   * Calls back once when a worker has ended, at once if it has ended already. Returns the function
   * that stops watching, or undefined if the value is not a worker. Throws if the host does not
   * show a worker's end or its number.
   */
  watchWorker(worker: unknown, onExit: (threadId: number) => void): (() => void) | undefined
  /**
   * Calls back for every worker that this thread starts from now on. Returns the function that
   * stops the calls.
   */
  onWorkerStart(listener: (worker: unknown) => void): () => void
  /**
   * Calls `end` when this thread ends without being terminated, and `pause` when it stops for a
   * while, from which it may not come back.
   */
  onThreadEnd(listeners: { readonly end: () => void; readonly pause: () => void }): void
  /** Prints a warning, if there is no caller to throw at. */
  warn(message: string): void
}

/** As debuggers and lists of threads show it. */
export const WORKER_NAME = 'dirtyring aggregator'

/** A worker that runs the aggregator, seen from the tracker's thread. */
export interface AggregatorThread {
  /**
   * Undefined if the host gives none. Such a host reports a worker's errors, but not its end.
   */
  readonly threadId: number | undefined
  postHandle(handle: unknown): void
  /** Calls back once, when the worker runs no more code. `cause` says why it ended. */
  onExit(listener: (cause: string) => void): void
  terminate(): Promise<void>
}

/** The message of postHandle(). Its form tells it from other messages to a user's worker. */
export interface HandleMessage {
  readonly dirtyringAggregate: unknown
}

export type HandleListener = (handle: unknown) => void

export function isHandleMessage(message: unknown): message is HandleMessage {
  return typeof message === 'object' && message !== null && 'dirtyringAggregate' in message
}
