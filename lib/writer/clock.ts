import { attend, isStopped, type Lane, type LaneClock, publish, setDue } from '../ring/lane.js'
import { setTimeout, unref } from '../timers.js'
import { whenNotified } from '../wait-async.js'

/** Looks after no lane: for an interval of 0. */
const never: LaneClock = { armed: true, arm: () => undefined }

const clocks = new Map<number, FlushClock>()

/** This thread's clock for an interval. */
export function clockFor(intervalMs: number): LaneClock {
  if (intervalMs === 0) return never
  let clock = clocks.get(intervalMs)
  if (clock === undefined) clocks.set(intervalMs, (clock = new FlushClock(intervalMs)))
  return clock
}

/** From here on the lane's clock publishes what stays staged. */
export function watchLane(lane: Lane): void {
  if (lane.clock instanceof FlushClock) lane.clock.lanes.add(lane)
}

export function unwatchLane(lane: Lane): void {
  if (lane.clock instanceof FlushClock) lane.clock.lanes.delete(lane)
}

/**
 * One timer for all writers of a thread that have the same interval: armed by the first key staged,
 * it publishes what is still staged when it fires. It never keeps the thread alive, never blocks,
 * and never throws.
 */
class FlushClock implements LaneClock {
  armed = false
  readonly lanes = new Set<Lane>()
  readonly #intervalMs: number

  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs
  }

  arm(): void {
    unref(setTimeout(() => this.#look(), this.#intervalMs))
    this.armed = true // last: if this throws, the next key tries again
  }

  #look(): void {
    let leftOver = false
    for (const lane of this.lanes) if (!tryPublish(lane)) leftOver = true
    if (leftOver) {
      this.arm()
      return
    }
    this.armed = false
    for (const lane of this.lanes) setDue(lane) // its next key has to arm the clock
  }
}

/** False if keys are left, to try again for. */
function tryPublish(lane: Lane): boolean {
  try {
    return publish(lane) || isStopped(lane)
  } catch {
    return true // a corrupt ring: the next mark throws, and its caller sees why
  }
}

/** How long one wait of listen() lasts: the engine keeps something for each until then. */
const LISTEN_MS = 60_000

/**
 * While this thread is idle: publish when the tracker asks for it. Does not keep the thread alive.
 * Marks look for themselves.
 */
export function listen(lane: Lane): void {
  if (!lane.open || isStopped(lane)) return
  whenNotified(lane.words, lane.attnAt, lane.attn, LISTEN_MS, () => {
    try {
      if (lane.open) attend(lane)
    } catch {
      return // a corrupt ring: the next mark throws, and its caller sees why
    }
    listen(lane)
  })
}
