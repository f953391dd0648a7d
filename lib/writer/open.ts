import { DirtyRingError } from '../errors.js'
import { LANE_OWNER, laneAt } from '../memory/map.js'
import { attachMemory, checkIdentity, type Memory } from '../memory/memory.js'
import { settingsOf } from '../memory/settings.js'
import { ancestorIds, threadIdFor } from '../memory/thread.js'
import type { TrackerHandle } from '../options.js'
import { hostsAny, pumpHosted } from '../ring/hosted.js'
import { type Lane, type NoLane, openLane } from '../ring/lane.js'
import { isOwned } from '../ring/token.js'
import { clockFor } from './clock.js'
import { addLane, forgetStopped } from './lanes.js'
import { watchWorkersForWriter } from './watch-workers.js'
import { makeWriter, type Writer } from './writer.js'

/**
 * Opens a writer on the calling thread, from a tracker's handle received from another thread. The
 * writer publishes and closes by itself when its thread ends normally. When the thread is
 * terminated, a tracker that watches it harvests the keys.
 *
 * @param handle - `tracker.handle`, as another thread of this process sent it.
 * @returns The writer; use it on this thread only.
 * @throws TypeError `ERR_DIRTYRING_BAD_HANDLE` or `ERR_DIRTYRING_VERSION` for another value.
 * @throws DirtyRingError `ERR_DIRTYRING_NO_WRITER_SLOT` when `maxWriters` are open, and
 * `ERR_DIRTYRING_STOPPED`.
 *
 * @example
 * ```js
 * // main.js
 * import { Worker } from 'node:worker_threads'
 * import { DirtyTracker } from 'dirtyring'
 *
 * const tracker = await DirtyTracker.create()
 * const workerData = tracker.handle
 * const worker = new Worker(new URL('./writer.js', import.meta.url), { workerData })
 * await new Promise((resolve) => worker.once('exit', resolve))
 * await tracker.consume((epoch) => console.log(...epoch.ids())) // 42
 * await tracker.stop()
 * ```
 *
 * ```js
 * // writer.js
 * import { workerData } from 'node:worker_threads'
 * import { openWriter } from 'dirtyring'
 *
 * const dirty = openWriter(workerData)
 * dirty.mark(42)
 * ```
 */
export function openWriter(handle: TrackerHandle): Writer {
  return openWriterIn(attachMemory(handle, 'tracker'))
}

/** The same in memory that is attached already. */
export function openWriterIn(memory: Memory): Writer {
  checkIdentity(memory.words)
  const { batchSize, flushIntervalMs, onFull, maxWaitMs, keys } = settingsOf(memory.words)
  const open = (): Lane | NoLane =>
    openLane(memory, threadIdFor(memory), batchSize, clockFor(flushIntervalMs), ancestorIds())
  let lane = open()
  if (lane === 'none-free' && hostsAny()) {
    pumpHosted() // closed ones may be waiting for an aggregator on this very thread
    lane = open()
  }
  if (lane === 'stopped')
    throw new DirtyRingError('ERR_DIRTYRING_STOPPED', 'the tracker has stopped')
  if (lane === 'none-free') throw noWriterSlot(memory)
  const writer = makeWriter(lane, { onFull, maxWaitMs, keys })
  forgetStopped()
  addLane(lane)
  watchWorkersForWriter(memory, forgetStopped)
  return writer
}

function noWriterSlot(memory: Memory): DirtyRingError {
  const { words, layout } = memory
  let owned = 0
  for (let id = 0; id < layout.maxWriters; id++)
    if (isOwned(Atomics.load(words, laneAt(layout, id) + LANE_OWNER))) owned++
  const taken = `all ${layout.maxWriters} (maxWriters) are taken`
  const why = `${owned} of them open or waiting for the aggregator to close or reap them`
  return new DirtyRingError('ERR_DIRTYRING_NO_WRITER_SLOT', `no free writer: ${taken}, ${why}`)
}
