import { BATCHES, PARKED } from '../memory/map.js'
import { attachMemory, checkIdentity, type Memory } from '../memory/memory.js'
import { ancestorIds, threadIdFor } from '../memory/thread.js'
import { lowOf } from '../memory/total.js'
import type { TrackerHandle } from '../options.js'
import { platform } from '../platform/current.js'
import { hosted, TOKENS_PER_RUN } from '../ring/hosted.js'
import { noteRole } from '../ring/reap.js'
import { clearTimeout, nap, nowMs, setTimeout } from '../timers.js'
import { whenNotified } from '../wait-async.js'
import { announceSleep, hasWork, park } from './park.js'
import { type Aggregator, leaveRole } from './state.js'
import { FINISHED_ALL, IDLE } from './step.js'
import { BACKING_OFF, Supervisor } from './supervisor.js'
import { reportProgress } from './table.js'

/** How long this thread works or sleeps before its event loop turns. */
const TURN_MS = 5
/**
 * A sleep: short while work was recent, longer when idle. Its end matters only if a producer dies
 * between its store and its wake-up. A user's thread sleeps for a shorter time, because its event
 * loop has other work.
 */
const SLEEP_MS_MIN = 10
const SLEEP_MS_MAX = 100
const SLEEP_MS_MAX_ALONE = 1000
/**
 * Naps before a sleep, after batches. A sleep costs both sides more, because a producer has to end
 * it. During a nap the writers have their core for themselves.
 */
const NAPS = 4

/** Takes the aggregator's role, and puts a supervisor into this thread's list. */
export function host(memory: Memory): Supervisor {
  const threadId = threadIdFor(memory)
  const supervisor = new Supervisor(memory, threadId)
  noteRole(memory.words, threadId, ancestorIds())
  hosted.add(supervisor)
  return supervisor
}

/** Takes it out of the list, and frees the role. */
export function unhost(supervisor: Supervisor): void {
  hosted.delete(supervisor)
  leaveRole(supervisor.aggregator)
}

/**
 * Run the aggregator on the calling thread until the tracker stops: for workers that you start
 * yourself, with `aggregator: 'none'`.
 *
 * The thread is its own: it sleeps in `Atomics.wait`, a tenth of a second at most, and its event
 * loop turns in between. Rejects with `ERR_DIRTYRING_AGGREGATOR_TAKEN` while another one runs, with
 * `ERR_DIRTYRING_BAD_HANDLE` or `ERR_DIRTYRING_VERSION` for a handle that is none, and with
 * `ERR_DIRTYRING_CORRUPT` or `ERR_DIRTYRING_AGGREGATOR_FAILED` if it cannot continue.
 *
 * @example
 * ```js
 * // main.js
 * import { Worker } from 'node:worker_threads'
 * import { DirtyTracker } from 'dirtyring'
 *
 * const tracker = await DirtyTracker.create({ aggregator: 'none' })
 * new Worker(new URL('./aggregator.js', import.meta.url), { workerData: tracker.handle })
 * tracker.openWriter().mark(42)
 * await tracker.consume((epoch) => console.log(...epoch.ids())) // 42
 * await tracker.stop()
 * ```
 *
 * ```js
 * // aggregator.js
 * import { workerData } from 'node:worker_threads'
 * import { runAggregator } from 'dirtyring'
 *
 * await runAggregator(workerData)
 * ```
 */
export async function runAggregator(handle: TrackerHandle): Promise<void> {
  return run(attachMemory(handle, 'tracker'), SLEEP_MS_MAX)
}

/**
 * The same in a worker that the library started: nothing else needs its event loop, so it sleeps
 * for longer.
 */
export async function runAggregatorAlone(memory: Memory): Promise<void> {
  checkIdentity(memory.words)
  return run(memory, SLEEP_MS_MAX_ALONE)
}

async function run(memory: Memory, sleepMsMax: number): Promise<void> {
  const supervisor = host(memory)
  const { aggregator } = supervisor
  try {
    let sleepMs = SLEEP_MS_MIN
    let naps = 0
    let lastTurn = nowMs()
    for (;;) {
      const { head } = aggregator
      const batches = batchesOf(aggregator)
      const result = supervisor.run(TOKENS_PER_RUN)
      if (result === FINISHED_ALL) return
      if (aggregator.head !== head) sleepMs = SLEEP_MS_MIN
      if (result === BACKING_OFF && platform.canBlock()) supervisor.sleepOff()
      if (batchesOf(aggregator) !== batches) naps = NAPS
      // A turn comes before a sleep and not after it, because a woken aggregator has work to do.
      if (!platform.canBlock() || nowMs() - lastTurn >= TURN_MS) {
        if (result === IDLE && !platform.canBlock() && announceSleep(aggregator))
          await sleepAsync(supervisor, sleepMs)
        else await platform.turn()
        lastTurn = nowMs()
      } else if (result === IDLE && !napUntilWork(supervisor, naps)) {
        naps = 0
        reportProgress(aggregator.words)
        park(aggregator, sleepMs)
        sleepMs = hasWork(aggregator) ? SLEEP_MS_MIN : Math.min(sleepMs * 2, sleepMsMax)
      }
    }
  } finally {
    unhost(supervisor)
  }
}

/**
 * Until something is published, or `ms` are over. Keeps this thread's event loop alive, which
 * waitAsync alone does not.
 */
function sleepAsync(supervisor: Supervisor, ms: number): Promise<void> {
  return new Promise((resolve) => {
    let over = false // the timer and the wake-up are both on their way: the first one counts
    const wake = (): void => {
      if (over) return
      over = true
      clearTimeout(timer)
      Atomics.store(supervisor.aggregator.words, PARKED, 0)
      resolve()
    }
    const timer = setTimeout(wake, ms)
    whenWoken(supervisor, wake, ms)
  })
}

/**
 * Calls back when a publisher wakes this thread, which announced that it sleeps, or after `ms`.
 * Without waitAsync the caller's timer has to do.
 */
export function whenWoken(supervisor: Supervisor, callback: () => void, ms: number): void {
  const { words } = supervisor.aggregator
  whenNotified(words, PARKED, 1, ms, callback)
}

/**
 * Takes so many naps at most, and returns true as soon as there is work. A nap is not announced, so
 * a producer does not spend time on waking this thread.
 */
function napUntilWork({ aggregator }: Supervisor, naps: number): boolean {
  for (let i = 0; i < naps && !hasWork(aggregator); i++) nap()
  return hasWork(aggregator)
}

/** Batches handled, modulo 2^32. */
function batchesOf({ words }: Aggregator): number {
  return lowOf(words, BATCHES)
}
