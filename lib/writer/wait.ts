import { corruptTexts, DirtyRingError } from '../errors.js'
import { cannotContinue } from '../memory/failure.js'
import {
  FAILED,
  HEAD,
  LANE_TEXT_BROKEN,
  LANE_WAIT_US,
  LANE_WAITING,
  LANE_WAITS,
  OWNER,
  PROGRESS,
  STARTING,
  TRACKER_THREAD,
} from '../memory/map.js'
import { threadIdFor } from '../memory/thread.js'
import { addTotal } from '../memory/total.js'
import { patience } from '../patience.js'
import { platform } from '../platform/current.js'
import { hostsAny, pumpHosted } from '../ring/hosted.js'
import {
  hasRoom,
  isStopped,
  type Lane,
  publish,
  roomNow,
  roomOf,
  setDue,
  sleepForRoom,
} from '../ring/lane.js'
import { type AbortSignalLike, until } from '../signal.js'
import { nap, nowMs } from '../timers.js'

/**
 * A writer looks at least this often: the thread that was to wake it may have died between two
 * instructions.
 */
const SLICE_MS = 10
/** Naps before a sleep, because a sleep costs both sides more: another thread has to end it. */
const NAPS = 2

/** When a call gives up that may wait more than once. */
export interface WaitLimit {
  /** Of performance.now(); undefined before its first wait. */
  until: number | undefined
  readonly maxWaitMs: number
}

/**
 * Waits until `count` keys have room (0: until what is staged is published). False when there is no
 * room, and this thread may not wait or is not to wait. Throws ERR_DIRTYRING_STALLED after
 * `maxWaitMs`, and ERR_DIRTYRING_STOPPED when the tracker stops.
 */
export function waitForRoom(
  lane: Lane,
  count: number,
  text: number,
  mayWait: boolean,
  limit: WaitLimit,
): boolean {
  const { words, header } = lane
  if (hostsAny()) {
    // The aggregator is on this very thread: no other thread makes room.
    pumpHosted()
    if (isThere(lane, count, text)) return true
  }
  if (!mayWait || !platform.canBlock()) return false
  const started = nowMs()
  limit.until ??= started + limit.maxWaitMs
  addTotal(words, header + LANE_WAITS, 1)
  try {
    sleepUntilThere(lane, count, text, started, limit)
  } finally {
    Atomics.store(words, header + LANE_WAITING, 0)
    addTotal(words, header + LANE_WAIT_US, Math.round((nowMs() - started) * 1000))
  }
  return true
}

function sleepUntilThere(
  lane: Lane,
  count: number,
  text: number,
  started: number,
  limit: WaitLimit,
): void {
  const checkWait = limitsOf(lane, count, text, started, limit)
  // Not for a little room: looking all the time would take the aggregator's line away from it.
  const worthIt = Math.max(count, lane.capacity >>> 1)
  for (let i = 0; i < NAPS; i++) {
    nap()
    if (roomNow(lane) >= worthIt) break
  }
  if (isThere(lane, count, text) && (count === 0 || roomOf(lane) >= worthIt)) return
  for (;;) {
    const left = limit.until! - nowMs()
    if (hostsAny()) pumpHosted()
    if (sleepForRoom(lane, count, text, hostsAny() ? 1 : Math.max(0, Math.min(left, SLICE_MS))))
      return
    checkWait()
  }
}

/**
 * Returns the check that a wait makes now and then: it throws after `maxWaitMs`. The tracker's own
 * thread cannot see its aggregator die while it sleeps, so it also gives up when the aggregator
 * makes no progress for a while. A worker that is starting counts as progress: it starts without
 * this thread's help.
 */
function limitsOf(
  lane: Lane,
  count: number,
  text: number,
  started: number,
  limit: WaitLimit,
): () => void {
  const isTrackerThread = lane.words[TRACKER_THREAD] === threadIdFor(lane.memory) + 1
  let progress = progressOf(lane)
  let progressAt = started
  return () => {
    checkLane(lane, text)
    const now = nowMs()
    if (progressOf(lane) !== progress || isStarting(lane)) {
      progress = progressOf(lane)
      progressAt = now
    }
    if (now >= limit.until!)
      throw stalledError(lane, count, text, `waited ${limit.maxWaitMs} ms (maxWaitMs)`)
    const { noProgressMs } = patience
    if (isTrackerThread && now - progressAt >= noProgressMs) {
      const why = `the aggregator has made no progress for ${noProgressMs} ms`
      const advice = 'this thread cannot start it again while it sleeps'
      throw stalledError(lane, count, text, `${why}, and ${advice}`)
    }
  }
}

/** The same without blocking this thread, and without an end of its own. */
export function waitForRoomAsync(
  lane: Lane,
  count: number,
  text: number,
  signal: AbortSignalLike | undefined,
): Promise<void> {
  return until(
    () => {
      checkLane(lane, text)
      if (isThere(lane, count, text)) return true
      if (hostsAny()) pumpHosted()
      return isThere(lane, count, text)
    },
    SLICE_MS,
    signal,
  )
}

function checkLane(lane: Lane, text: number): void {
  const { words, header } = lane
  if (!lane.open) throw closedError(lane)
  if (isStopped(lane)) throw stoppedError(lane)
  // The aggregator does not know where the next text lies, so no room for texts can come.
  if (text > 0 && words[header + LANE_TEXT_BROKEN] !== 0) throw corruptTexts(lane.id)
  if (Atomics.load(lane.words, FAILED) !== 0) throw cannotContinue(lane.words)
}

let isThreadEnding = false

/** From here on the writers of this thread are closed because the thread ends. */
export function noteThreadEnd(): void {
  isThreadEnding = true
}

export function closedError(lane: Lane): DirtyRingError {
  const why = isThreadEnding ? ', because its thread is ending. Mark before the thread ends.' : ''
  return new DirtyRingError('ERR_DIRTYRING_CLOSED', `writer ${lane.id} is closed${why}`)
}

/** With onFull 'wait', on a thread that may not sleep. */
export function wouldBlockError(lane: Lane, count: number, text: number): DirtyRingError {
  const state = `no ${roomFor(lane, count, text)}, and this thread may not sleep; nothing of this call was stored`
  const advice = `Await writer.waitForRoom() first, or choose onFull: 'reject'.`
  return new DirtyRingError('ERR_DIRTYRING_WOULD_BLOCK', `writer ${lane.id}: ${state}. ${advice}`)
}

function roomFor(lane: Lane, count: number, text: number): string {
  if (text === 0) return `room for ${count} keys in its lane of ${lane.capacity}`
  const bytes = `${text * 4} bytes of text in its lane of ${lane.textWords * 4}`
  return `room for ${count} keys in its lane of ${lane.capacity}, or for ${bytes}`
}

function isThere(lane: Lane, count: number, text: number): boolean {
  const there = count === 0 ? publish(lane) : hasRoom(lane, count, text)
  setDue(lane)
  return there
}

/** Changes with every step of the aggregator. */
function progressOf(lane: Lane): number {
  return (Atomics.load(lane.words, HEAD) + Atomics.load(lane.words, PROGRESS)) | 0
}

/** Whether a worker of the tracker's is starting and does not have the role yet. */
function isStarting({ words }: Lane): boolean {
  return Atomics.load(words, STARTING) !== 0 && Atomics.load(words, OWNER) === 0
}

export function stoppedError(lane: Lane): DirtyRingError {
  const left = (lane.end - lane.published) | 0
  const lost =
    left === 0
      ? ''
      : `; ${left} keys marked before were never published, and the last epoch says "unpublished"`
  return new DirtyRingError(
    'ERR_DIRTYRING_STOPPED',
    `writer ${lane.id}: the tracker has stopped${lost}`,
  )
}

export function stalledError(lane: Lane, count: number, text: number, why: string): DirtyRingError {
  const wanted = count === 0 ? 'free slot in the ring' : roomFor(lane, count, text)
  const left = count === 0 ? 'what was marked stays staged' : 'nothing of this call was stored'
  return new DirtyRingError(
    'ERR_DIRTYRING_STALLED',
    `writer ${lane.id}: no ${wanted}: ${why}; ${left}`,
  )
}
