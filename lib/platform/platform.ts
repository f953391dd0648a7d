/**
 * What the library needs of its host beyond the language: one interface, one file a host (node.ts,
 * browser.ts), chosen by the package's `imports` conditions. Nothing else in the library names a
 * host's API.
 */
export interface Platform {
  /**
   * This thread's number, unique among the living and the dead of this process; undefined where the
   * host gives none.
   */
  readonly threadId: number | undefined
  /**
   * The numbers of the threads above this one that called announceParent() before they started the
   * thread below them, the nearest first.
   */
  readonly ancestors: readonly number[]
  /** Lets the threads that this thread starts from now on know its number, where the host can. */
  announceParent(): void
  /** Whether this thread may sleep in Atomics.wait. */
  canBlock(): boolean
  /** One turn of this thread's event loop. */
  turn(): Promise<void>
  /** Start the package's own aggregator worker; it waits for postHandle(). */
  startWorker(): AggregatorThread
  /**
   * The same for a running worker of the user's, which does not keep the process alive from here
   * on; undefined if it is none.
   */
  adoptWorker(worker: unknown): AggregatorThread | undefined
  /**
   * Call back, once, when a worker has ended; at once if it had. Returns the function that ends it;
   * undefined if it is no worker. Throws where a worker's end, or its number, can't be seen.
   */
  watchWorker(worker: unknown, onExit: (threadId: number) => void): (() => void) | undefined
  /**
   * Call back for every worker that this thread starts from now on. Returns the function that ends
   * it.
   */
  onWorkerStart(listener: (worker: unknown) => void): () => void
  /** Call back when this thread ends of its own accord. */
  onThreadEnd(listener: () => void): void
  /**
   * In a worker: call back with the handle that postHandle() sends, and whether the library started
   * this worker, for nothing else.
   */
  onHandle(listener: (handle: unknown, isAlone: boolean) => void): void
  /** Tell the user of something that no caller is there to be told. */
  warn(message: string): void
}

/** A worker that runs the aggregator, seen from the tracker's thread. */
export interface AggregatorThread {
  /**
   * Undefined where the host gives none: such a host does not report a worker's end either, only
   * its errors.
   */
  readonly threadId: number | undefined
  postHandle(handle: unknown): void
  /** Calls back once, when the worker runs no more code of its own; `cause` in a few words. */
  onExit(listener: (cause: string) => void): void
  terminate(): Promise<void>
}

/** What postHandle() sends, so that a user's worker can have messages of its own. */
export interface HandleMessage {
  readonly dirtyringAggregate: unknown
  /** The library started the worker. */
  readonly isAlone: boolean
}

export function isHandleMessage(message: unknown): message is HandleMessage {
  return typeof message === 'object' && message !== null && 'dirtyringAggregate' in message
}
