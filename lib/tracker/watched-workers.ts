import { invalidArg } from '../errors.js'
import { watching } from '../platform/watching.js'

/** The workers whose end the tracker is told of. */
export class WatchedWorkers {
  readonly #onEnd: (threadId: number) => void
  readonly #watched = new WeakSet<object>()
  /** Of workers that run. A worker does not keep a tracker in memory that has stopped. */
  readonly #unwatch = new Set<() => void>()
  #endAutomatic: () => void = () => undefined

  constructor(onEnd: (threadId: number) => void) {
    this.#onEnd = onEnd
  }

  /**
   * From here on every worker that this thread starts is watched, of those whose end the host
   * tells. The host reports a worker in the middle of the user's program: nothing may be thrown.
   */
  watchAll(): void {
    this.#endAutomatic = watching.onWorkerStart((worker) => this.#tryWatch(worker))
  }

  watch(worker: unknown): void {
    if (this.#watched.has(worker as object)) return // false for a value that is no object
    let isWatched: boolean
    try {
      isWatched = this.#tryWatch(worker)
    } catch (cause) {
      throw Object.assign(invalidArg('worker', 'a Worker whose number is known', worker), { cause })
    }
    if (!isWatched) throw invalidArg('worker', 'a Worker of node:worker_threads', worker)
  }

  #tryWatch(worker: unknown): boolean {
    // Not const: of a worker that has ended the host tells before it returns.
    let unwatch: (() => void) | undefined = undefined as (() => void) | undefined
    unwatch = watching.watchWorker(worker, (threadId) => {
      this.#unwatch.delete(unwatch!)
      this.#onEnd(threadId)
    })
    if (unwatch === undefined) return false
    this.#unwatch.add(unwatch)
    this.#watched.add(worker as object)
    return true
  }

  end(): void {
    this.#endAutomatic()
    for (const unwatch of this.#unwatch) unwatch()
  }
}
