import { DirtyRingError } from '../errors.js'
import { PARKED } from '../memory/map.js'
import type { Memory } from '../memory/memory.js'
import { platform } from '../platform/current.js'
import { abortable, type AbortSignalLike, isAborted } from '../signal.js'
import { clearTimeout, nap, nowMs, setTimeout } from '../timers.js'
import { canWaitAsync, whenNotified } from '../wait-async.js'
import { announceConsumerSleep, findBatch, sleepForBatch } from './drain.js'
import { hostsAny, pumpHosted } from './hosted.js'

/** A sleep has an end because a producer may die between its push and its wake-up. */
const SLICE_MS = 100
/** How often a loop looks where the host has no waitAsync. */
const POLL_MS_MAX = 10
/** Naps before a sleep, because a producer has to end a sleep, and that costs it some µs. */
const NAPS = 4
/** How long a loop hands out batches before the thread's event loop turns. */
const TURN_MS = 5

/**
 * The consumer of a BatchRing: sleeps until there is a batch, for `ms` at most. Returns true if
 * there is one.
 */
export function waitForBatch(memory: Memory, ms: number): boolean {
  if (findBatch(memory)) return true
  if (ms === 0) return false
  if (!platform.canBlock()) {
    const advice = 'On this thread use batches(), or drain() now and then.'
    throw new DirtyRingError(
      'ERR_DIRTYRING_WOULD_BLOCK',
      `ring.wait(): there is no batch, and this thread may not sleep for one. ${advice}`,
    )
  }
  const end = nowMs() + ms
  for (let i = 0; i < NAPS && nowMs() < end; i++) {
    nap()
    if (findBatch(memory)) return true
  }
  for (;;) {
    const left = end - nowMs()
    if (left <= 0) return false
    // A producer may wait for an aggregator that runs on this very thread.
    if (hostsAny()) pumpHosted()
    if (sleepForBatch(memory, Math.min(left, hostsAny() ? 1 : SLICE_MS))) return true
  }
}

/**
 * Yields what `take` returns, and sleeps without blocking the thread while that is undefined. Ends
 * when the signal aborts, and when the caller has called return() or throw().
 */
export function walkBatches<T>(
  memory: Memory,
  take: () => T | undefined,
  signal: AbortSignalLike | undefined,
): AsyncIterableIterator<T> {
  let isReturned = false
  let wake: (() => void) | undefined
  const isOver = (): boolean => isReturned || isAborted(signal)
  const batches = generate(take, isOver, (ms) =>
    sleepAsync(memory, ms, signal, (own) => (wake = own)),
  )
  const end = batches.return.bind(batches)
  const fail = batches.throw.bind(batches)
  /** A next() that is pending ends now, not with the next batch. */
  const leave = (): void => {
    isReturned = true
    wake?.()
  }
  // Defined, not assigned: under --frozen-intrinsics an assignment throws.
  return Object.defineProperties(batches, {
    return: {
      value: (value: undefined) => {
        leave()
        return end(value)
      },
    },
    throw: {
      value: (error: unknown) => {
        leave()
        return fail(error)
      },
    },
  })
}

async function* generate<T>(
  take: () => T | undefined,
  isOver: () => boolean,
  sleep: (ms: number) => Promise<void>,
): AsyncGenerator<T, void, void> {
  let lastTurn = nowMs()
  let pollMs = 1
  while (!isOver()) {
    if (nowMs() - lastTurn >= TURN_MS) {
      await platform.turn()
      lastTurn = nowMs()
      continue
    }
    const taken = take()
    if (taken !== undefined) {
      pollMs = 1
      yield taken
      continue
    }
    try {
      await sleep(canWaitAsync() ? SLICE_MS : pollMs)
    } catch (error) {
      if (!isOver()) throw error // an abort is no error
    }
    pollMs = Math.min(pollMs * 2, POLL_MS_MAX)
    lastTurn = nowMs()
  }
}

/**
 * Until a batch is published, for `ms` at most, or until the function is called that `wakeBy`
 * receives. An abort rejects. The timer keeps the thread alive, which waitAsync alone does not.
 */
function sleepAsync(
  memory: Memory,
  ms: number,
  signal: AbortSignalLike | undefined,
  wakeBy: (wake: () => void) => void,
): Promise<void> {
  return abortable(signal, ({ resolve }) => {
    const wake = (): void => {
      clearTimeout(timer)
      resolve()
    }
    const timer = setTimeout(wake, ms)
    wakeBy(wake)
    try {
      if (!announceConsumerSleep(memory)) wake()
      else whenNotified(memory.words, PARKED, 1, ms, wake)
    } catch (error) {
      clearTimeout(timer)
      throw error // the ring is corrupt
    }
    return () => {
      clearTimeout(timer)
      return true
    }
  })
}
