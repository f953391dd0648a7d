// The lanes of the calling thread's writers: what the thread has to publish and to close, and when.

import { LANE_WAKE } from '../memory/map.js'
import { type Memory, sameMemory } from '../memory/memory.js'
import { platform } from '../platform/current.js'
import { watching } from '../platform/watching.js'
import { hostsAny, pumpHosted } from '../ring/hosted.js'
import { closeLane, isRingClosed, isStopped, type Lane, publish } from '../ring/lane.js'
import { nowMs, setTimeout, unref } from '../timers.js'
import { listen, unwatchLane, watchLane } from './clock.js'
import { noteThreadEnd } from './wait.js'

/** The lanes of this thread's open writers, of all trackers. */
const openLanes = new Set<Lane>()

/**
 * Lanes whose CLOSE may not be in the ring: the ring was full and a timer tries again, or an
 * exception struck.
 */
const leaving = new Set<Lane>()

let isHooked = false

/** A writer was opened: from here on its lane is published by the clock and at the thread's end. */
export function addLane(lane: Lane): void {
  openLanes.add(lane)
  watchLane(lane)
  listen(lane)
  if (isHooked) return
  isHooked = true
  watching.onThreadEnd({ end: endThread, pause: publishAll })
}

/** Nothing is left to do for the lane at the thread's end. */
function forgetLane(lane: Lane): void {
  openLanes.delete(lane)
  unwatchLane(lane)
}

const alsoForget = new Set<() => void>()

/** Another list that keeps lanes: forgetStopped() calls `forget`. */
export function onForget(forget: () => void): void {
  alsoForget.add(forget)
}

/** Drops the lanes of trackers that have stopped, because a lane keeps its tracker's memory. */
export function forgetStopped(): void {
  for (const lane of openLanes) if (isStopped(lane)) forgetLane(lane)
  for (const lane of leaving) if (isStopped(lane)) leaving.delete(lane)
  for (const forget of alsoForget) forget()
}

/**
 * Publishes what this thread's writers of one tracker have staged. What a full ring does not take
 * stays staged. True if the ring took all of it.
 */
export function publishOwn(memory: Memory): boolean {
  let isAll = true
  for (const lane of openLanes) {
    if (
      (lane.end === lane.published && lane.everything === 0) ||
      !sameMemory(lane.memory, memory) ||
      publish(lane)
    )
      continue
    if (hostsAny()) {
      pumpHosted()
      if (publish(lane)) continue
    }
    isAll = false
  }
  return isAll
}

/** How long close() waits for a full ring before it leaves the rest to a timer. */
const CLOSE_WAIT_MS = 1000

/**
 * Closes a lane. Throws what closeLane() throws: a DirtyRingError means a corrupt ring, where no
 * further try can succeed; after another error the next call tries again.
 */
export function closeForGood(lane: Lane): void {
  leaving.add(lane) // so that the thread's end makes up for an exception below
  forgetLane(lane)
  Atomics.notify(lane.words, lane.attnAt) // ends listen()
  leave(lane, CLOSE_WAIT_MS)
}

/** The ring is corrupt, and takes no token of this lane. */
export function giveUp(lane: Lane): void {
  leaving.delete(lane)
}

/** The thread stops for a while, and may never go on: what it has staged must not wait for it. */
function publishAll(): void {
  for (const lane of openLanes) {
    try {
      publish(lane)
    } catch {
      // A corrupt ring: the next mark throws, and its caller sees why.
    }
  }
}

function endThread(): void {
  noteThreadEnd()
  for (const lane of new Set([...openLanes, ...leaving])) {
    try {
      // Not once it has been closed: its CLOSE may be in the ring, and take with it what is staged.
      if (lane.open) publish(lane)
      closeLane(lane) // takes with it what a full ring did not
    } catch {
      // A corrupt ring. The other lanes may be of other trackers, so go on with them.
    }
  }
}

/**
 * Pushes CLOSE, which takes what is staged with it. While the ring is full the lane stays this
 * thread's, so that a death in between loses nothing.
 */
function leave(lane: Lane, waitMs: number): void {
  const { words, header } = lane
  const deadline = nowMs() + waitMs
  while (!closeLane(lane) && !isRingClosed(words)) {
    if (hostsAny()) {
      pumpHosted()
      if (closeLane(lane)) break
    }
    if (nowMs() >= deadline || !platform.canBlock()) {
      leaving.add(lane)
      unref(setTimeout(() => leaveLater(lane), 10))
      return
    }
    Atomics.wait(words, header + LANE_WAKE, Atomics.load(words, header + LANE_WAKE), 1)
  }
  leaving.delete(lane)
}

/**
 * leave(), from a timer. An error has no caller there, and would end the thread. A corrupt ring
 * takes no token, so nothing is left to try.
 */
function leaveLater(lane: Lane): void {
  try {
    leave(lane, 0)
  } catch {
    leaving.delete(lane)
  }
}
