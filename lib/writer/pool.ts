import { checkFunction } from '../check.js'
import { trackerKey } from '../memory/identity.js'
import { attachMemory } from '../memory/memory.js'
import type { TrackerHandle } from '../options.js'
import { isStopped } from '../ring/lane.js'
import { forgetStopped, onForget } from './lanes.js'
import { openWriterIn } from './open.js'
import { stalledError } from './wait.js'
import { laneOf, type Writer } from './writer.js'

/**
 * This thread's writers from threadWriter(), by their tracker's identity: a handle received twice
 * is two objects.
 */
const threadWriters = new Map<string, Writer>()

onForget(() => {
  for (const [key, writer] of threadWriters)
    if (writer.closed || isStopped(laneOf(writer))) threadWriters.delete(key)
})

/**
 * Returns this thread's writer for a tracker. The first call opens it, and later calls return the
 * same one, whichever copy of the handle they pass; once it is closed, the next call opens another.
 * For threads that receive a handle with every task.
 *
 * @param handle - `tracker.handle`, as another thread of this process sent it.
 * @returns The writer; use it on this thread only.
 * @throws What {@link openWriter} throws.
 *
 * @example
 * ```js
 * import { threadWriter } from 'dirtyring'
 *
 * const copy = structuredClone(tracker.handle) // as every message brings one
 * console.log(threadWriter(copy) === threadWriter(tracker.handle)) // true
 * ```
 */
export function threadWriter(handle: TrackerHandle): Writer {
  const memory = attachMemory(handle, 'tracker')
  const key = trackerKey(memory.words)
  let writer = threadWriters.get(key)
  if (writer !== undefined && !writer.closed && !isStopped(laneOf(writer))) return writer
  forgetStopped()
  writer = openWriterIn(memory)
  threadWriters.set(key, writer)
  return writer
}

/**
 * Runs `use` with this thread's writer ({@link threadWriter}), and flushes when `use` has returned,
 * settled or thrown. So a finished task is a published task. Timers of a pool's worker do not run
 * between tasks, so `flushIntervalMs` does not help there.
 *
 * @param handle - `tracker.handle`, as another thread of this process sent it.
 * @param use - Marks keys; may be async.
 * @returns What `use` returns. If that is a promise: another one, which settles when the keys are
 * published too.
 * @throws What `use`, {@link threadWriter} and `flush()` throw.
 * @throws DirtyRingError `ERR_DIRTYRING_STALLED` when the ring is full and this thread may not wait
 * (`onFull: 'reject'`). The keys stay staged then, and are published with the next batch.
 *
 * @example
 * ```js
 * // main.js
 * import { Piscina } from 'piscina'
 * import { DirtyTracker } from 'dirtyring'
 *
 * const tracker = await DirtyTracker.create()
 * const pool = new Piscina({ filename: new URL('./task.js', import.meta.url).href, maxThreads: 2 })
 * const { handle } = tracker
 * await Promise.all([pool.run({ handle, rows: [1, 2] }), pool.run({ handle, rows: [2, 3] })])
 * await tracker.consume((epoch) => console.log(epoch.size)) // 3
 * await pool.destroy()
 * await tracker.stop()
 * ```
 *
 * ```js
 * // task.js
 * import { withWriter } from 'dirtyring'
 *
 * export default ({ handle, rows }) =>
 *   withWriter(handle, (dirty) => {
 *     for (const id of rows) dirty.mark(id)
 *   })
 * ```
 */
export function withWriter<T>(handle: TrackerHandle, use: (writer: Writer) => T): T {
  checkFunction('use', use)
  const writer = threadWriter(handle)
  const publishAll = (): void => {
    // A batch() around this call takes the marks along.
    if (laneOf(writer).batching) return
    if (!writer.flush())
      throw stalledError(laneOf(writer), 0, 0, 'the ring is full, and this thread may not wait')
  }
  let result: T
  try {
    result = use(writer)
  } catch (error) {
    flushQuietly(writer)
    throw error
  }
  if (typeof (result as { then?: unknown } | null | undefined)?.then !== 'function') {
    publishAll()
    return result
  }
  return Promise.resolve(result).then(
    (value) => {
      publishAll()
      return value
    },
    (error: unknown) => {
      flushQuietly(writer)
      throw error
    },
  ) as T
}

/** After the caller's own failure, which the caller has to see. What does not fit stays staged. */
function flushQuietly(writer: Writer): void {
  try {
    writer.flush()
  } catch {
    // It stays staged.
  }
}
