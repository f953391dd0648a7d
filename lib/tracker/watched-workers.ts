import { platform } from '#platform'
import { invalidArg } from '../errors.js'

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

  /** From here on every worker that this thread starts is watched. */
  watchAll(): void {
    this.#endAutomatic = platform.onWorkerStart((worker) => this.watch(worker))
  }

  watch(worker: unknown): void {
    if (typeof worker === 'object' && worker !== null && this.#watched.has(worker)) return
    let unwatch: (() => void) | undefined
    try {
      unwatch = platform.watchWorker(worker, (threadId) => {
        if (unwatch !== undefined) this.#unwatch.delete(unwatch)
        this.#onEnd(threadId)
      })
    } catch (cause) {
      throw Object.assign(invalidArg('worker', 'a Worker whose number is known', worker), { cause })
    }
    if (unwatch === undefined) throw invalidArg('worker', 'a Worker of node:worker_threads', worker)
    this.#unwatch.add(unwatch)
    this.#watched.add(worker as object)
  }

  end(): void {
    this.#endAutomatic()
    for (const unwatch of this.#unwatch) unwatch()
  }
}
