import { platform } from '#platform'
import { hostsAny, pumpHosted } from '../aggregator/run.js'
import { threadIdFor } from '../platform/thread.js'
import { cannotGoOn } from '../aggregator/supervisor.js'
import { DirtyRingError } from '../errors.js'
import { FAILED, HEAD, LANE_READ_END, LANE_WAIT_MS, LANE_WAITS, PROGRESS, TRACKER_THREAD } from '../memory/map.js'
import { addTotal } from '../memory/total.js'
import { nap } from '../timers.js'
import { hasRoom, isStopped, publish, roomOf, setDue, sleepForRoom, type Lane } from '../ring/lane.js'

/** A writer looks up at least this often: whoever was to wake it may have died between two instructions. */
const SLICE_MS = 10
/** How long the tracker's thread, which can't see an exit while it sleeps, sleeps with no sign of life from the aggregator. */
const NO_PROGRESS_MS = 1000
/** Naps before a sleep that somebody has to end: that costs both sides more. */
const NAPS = 2

/**
 * Wait until `count` keys have room (0: until what is staged is published). False where waiting is not allowed, or not wanted, and there is no room.
 * Throws ERR_DIRTYRING_STALLED after `maxWaitMs`, ERR_DIRTYRING_STOPPED when the tracker stops.
 */
export function waitForRoom(lane: Lane, count: number, mayWait: boolean, maxWaitMs: number): boolean {
  const { words, header } = lane
  if (hostsAny()) {
    // The aggregator is on this very thread: nobody else will make room.
    pumpHosted()
    if (isThere(lane, count)) return true
  }
  if (!mayWait || !platform.canBlock()) return false
  const started = performance.now()
  addTotal(words, header + LANE_WAITS, 1)
  try {
    sleepUntilThere(lane, count, started, maxWaitMs)
  } finally {
    addTotal(words, header + LANE_WAIT_MS, Math.round(performance.now() - started))
  }
  return true
}

function sleepUntilThere(lane: Lane, count: number, started: number, maxWaitMs: number): void {
  const { words } = lane
  const isTrackerThread = words[TRACKER_THREAD] === threadIdFor(lane.memory) + 1
  let progress = progressOf(lane)
  let progressAt = started
  // Not for a little room: looking all the time would take the aggregator's line away from it.
  const worthIt = Math.max(count, lane.capacity >>> 1)
  for (let i = 0; i < NAPS; i++) {
    nap()
    lane.readEnd = Atomics.load(words, lane.header + LANE_READ_END)
    if (roomOf(lane) >= worthIt) break
  }
  if (isThere(lane, count) && (count === 0 || roomOf(lane) >= worthIt)) return
  for (;;) {
    const left = started + maxWaitMs - performance.now()
    if (hostsAny()) pumpHosted()
    if (sleepForRoom(lane, count, hostsAny() ? 1 : Math.max(0, Math.min(left, SLICE_MS)))) return
    if (isStopped(lane)) throw stoppedError(lane)
    if (Atomics.load(words, FAILED) !== 0) throw cannotGoOn(words)
    const now = performance.now()
    if (progressOf(lane) !== progress) {
      progress = progressOf(lane)
      progressAt = now
    }
    if (now >= started + maxWaitMs) throw stalledError(lane, count, `waited ${maxWaitMs} ms (maxWaitMs)`)
    if (isTrackerThread && now - progressAt >= NO_PROGRESS_MS) {
      throw stalledError(
        lane,
        count,
        `the aggregator has shown no progress for ${NO_PROGRESS_MS} ms, and this thread cannot start it again while it sleeps`,
      )
    }
  }
}

function isThere(lane: Lane, count: number): boolean {
  const there = count === 0 ? publish(lane) : hasRoom(lane, count)
  setDue(lane)
  return there
}

/** Changes while the aggregator does anything at all. */
function progressOf(lane: Lane): number {
  return (Atomics.load(lane.words, HEAD) + Atomics.load(lane.words, PROGRESS)) | 0
}

export function stoppedError(lane: Lane): DirtyRingError {
  const left = (lane.end - lane.published) | 0
  const lost = left === 0 ? '' : `; ${left} keys marked before were never published, and the last epoch says "unpublished"`
  return new DirtyRingError('ERR_DIRTYRING_STOPPED', `writer ${lane.id}: the tracker has stopped${lost}`)
}

function stalledError(lane: Lane, count: number, why: string): DirtyRingError {
  const wanted = count === 0 ? 'a slot in the ring' : `room for ${count} keys in its lane of ${lane.capacity}`
  return new DirtyRingError('ERR_DIRTYRING_STALLED', `writer ${lane.id}: no ${wanted}: ${why}; nothing of this call was stored`)
}
