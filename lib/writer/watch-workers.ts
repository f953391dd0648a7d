import { trackerKey } from '../memory/identity.js'
import { FINISHED, TRACKER_THREAD } from '../memory/map.js'
import { attachMemory, type Memory } from '../memory/memory.js'
import { threadIdFor } from '../memory/thread.js'
import type { TrackerHandle } from '../options.js'
import { watching } from '../platform/watching.js'
import { isOrphan, type Orphan, orphansOf, pushReap, releaseRole } from '../ring/reap.js'
import { setTimeout, unref } from '../timers.js'
import { whenNotified } from '../wait-async.js'

/** How soon a REAP that found the ring full is tried again. */
const RETRY_MS = 5
/**
 * How long one wait for the tracker's end lasts: the engine keeps something for each until then.
 */
const LISTEN_MS = 60_000

/** What this thread watches its workers for, by the tracker's identity. */
const watches = new Map<string, WorkerWatch>()

/**
 * Harvests the writers of the workers that the calling thread starts from now on, when they end or
 * are terminated. For a thread that starts workers of its own, because the tracker sees only the
 * end of the workers that its own thread starts. Opening a writer does the same for its thread, so
 * a thread that both marks and starts workers need not call it. The tracker's own thread need not
 * call it either.
 *
 * When the calling thread itself ends, its workers end with it; the tracker then harvests their
 * writers. Each thread between the tracker's and a writer's must have called this, or opened a
 * writer, before it started the next one; up to 16 threads are noted. The same holds for a thread
 * that calls runAggregator(): where no thread sees its end, stop() waits for it for ever. The
 * tracker tells no 'harvest' event of the writers that another thread harvests. In a browser no
 * thread sees the end of a worker: there the call does nothing.
 *
 * @param handle - `tracker.handle`.
 * @returns A function that ends the watch. Writers that are open on this thread go on watching. The
 * watch ends by itself when the tracker stops.
 * @throws TypeError `ERR_DIRTYRING_BAD_HANDLE` and `ERR_DIRTYRING_VERSION`.
 *
 * @example
 * ```js
 * // main.js
 * import { Worker } from 'node:worker_threads'
 * import { DirtyTracker } from 'dirtyring'
 *
 * const tracker = await DirtyTracker.create()
 * const workerData = tracker.handle
 * const server = new Worker(new URL('./server.js', import.meta.url), { workerData })
 * await new Promise((resolve) => server.once('message', resolve))
 * await tracker.drained()
 * await tracker.consume((epoch) => console.log(...epoch.ids())) // 1 2 3
 * await tracker.stop()
 * await server.terminate()
 * ```
 *
 * ```js
 * // server.js
 * import { parentPort, Worker, workerData } from 'node:worker_threads'
 * import { watchWorkers } from 'dirtyring'
 *
 * watchWorkers(workerData)
 * const worker = new Worker(new URL('./writer.js', import.meta.url), { workerData })
 * worker.once('message', async () => {
 *   await worker.terminate()
 *   parentPort.postMessage('harvested')
 * })
 * ```
 *
 * ```js
 * // writer.js
 * import { parentPort, workerData } from 'node:worker_threads'
 * import { openWriter } from 'dirtyring'
 *
 * const writer = openWriter(workerData)
 * for (const id of [1, 2, 3]) writer.mark(id)
 * parentPort.postMessage('marked, and not published')
 * for (;;); // until server.js terminates it
 * ```
 */
export function watchWorkers(handle: TrackerHandle): () => void {
  return watchFor({}, attachMemory(handle, 'tracker'))
}

/** Called when a tracker has stopped that this thread has, or had, a writer of. */
let tellWriters: () => void = () => undefined

/**
 * This thread has a writer: it watches its workers until the tracker stops, and then calls
 * `onStop`, which is the same function each time.
 */
export function watchWorkersForWriter(memory: Memory, onStop: () => void): void {
  tellWriters = onStop
  watchFor(watches, memory)
}

function watchFor(holder: object, memory: Memory): () => void {
  const { words } = memory
  // The tracker itself watches what its own thread starts.
  if (words[TRACKER_THREAD] === threadIdFor(memory) + 1 || Atomics.load(words, FINISHED) !== 0)
    return () => undefined
  const key = trackerKey(words)
  let watch = watches.get(key)
  if (watch === undefined)
    watches.set(key, (watch = new WorkerWatch(memory, () => watches.delete(key))))
  return watch.hold(holder)
}

/** One tracker, on one thread that is not the tracker's. */
class WorkerWatch {
  readonly #memory: Memory
  readonly #onEnd: () => void
  /** What it is needed for: calls of watchWorkers(), and this thread's writers together. */
  readonly #holders = new Set<object>()
  #endStarts: (() => void) | undefined
  readonly #unwatch = new Set<() => void>()
  #orphans: Orphan[] = []
  #isRetrying = false
  /** What the engine keeps until a wait for the tracker's end is over: this, until #end(). */
  readonly #ear: { watch: WorkerWatch | undefined } = { watch: this }

  constructor(memory: Memory, onEnd: () => void) {
    this.#memory = memory
    this.#onEnd = onEnd
    watching.announceParent()
    this.#listen()
  }

  /** Returns the function that lets the watch go. */
  hold(holder: object): () => void {
    this.#holders.add(holder)
    this.#endStarts ??= watching.onWorkerStart((worker) => this.#watch(worker))
    return () => {
      this.#holders.delete(holder)
      this.#endIfIdle()
    }
  }

  #watch(worker: unknown): void {
    const unwatch = watching.watchWorker(worker, (threadId) => {
      if (unwatch !== undefined) this.#unwatch.delete(unwatch)
      this.#bury(threadId)
      this.#endIfIdle()
    })
    if (unwatch !== undefined) this.#unwatch.add(unwatch)
  }

  /** A thread has ended, and with it those that it started: frees what they had of this tracker. */
  #bury(threadId: number): void {
    releaseRole(this.#memory.words, threadId)
    this.#orphans.push(...orphansOf(this.#memory, threadId))
    this.#reap()
  }

  #reap(): void {
    const memory = this.#memory
    try {
      this.#orphans = this.#orphans.filter(
        (orphan) => isOrphan(memory, orphan) && !pushReap(memory, orphan),
      )
    } catch {
      this.#orphans = [] // a corrupt ring: the tracker's own calls say so
    }
    if (Atomics.load(memory.words, FINISHED) !== 0) this.#end()
    if (this.#orphans.length === 0 || this.#isRetrying) return
    this.#isRetrying = true
    unref(
      setTimeout(() => {
        this.#isRetrying = false
        this.#reap()
        this.#endIfIdle()
      }, RETRY_MS),
    )
  }

  /**
   * With no holder left: workers that start are not watched any more, but those that run are until
   * they end.
   */
  #endIfIdle(): void {
    if (this.#holders.size > 0) return
    this.#endStarts?.()
    this.#endStarts = undefined
    if (this.#unwatch.size === 0 && this.#orphans.length === 0) this.#end()
  }

  /** The tracker wakes what sleeps on FINISHED when it ends. Does not keep the thread alive. */
  #listen(): void {
    const hear = hearerOf(this.#ear)
    if (whenNotified(this.#memory.words, FINISHED, 0, LISTEN_MS, hear)) return
    unref(setTimeout(() => hear('timed-out'), LISTEN_MS))
  }

  /** The tracker has stopped, or a wait is over. */
  hear(outcome: string): void {
    if (outcome === 'timed-out' && Atomics.load(this.#memory.words, FINISHED) === 0) this.#listen()
    else this.#end()
  }

  #end(): void {
    if (this.#ear.watch === undefined) return
    this.#ear.watch = undefined
    this.#endStarts?.()
    for (const unwatch of this.#unwatch) unwatch()
    this.#unwatch.clear()
    this.#orphans = []
    this.#onEnd()
    tellWriters()
  }
}

/** A function that holds nothing of a watch that is over. */
function hearerOf(ear: { readonly watch: WorkerWatch | undefined }): (outcome: string) => void {
  return (outcome) => ear.watch?.hear(outcome)
}
