import { patience } from '../patience.js'
import { watching } from '../platform/watching.js'
import { nowMs } from '../timers.js'
import type { Listeners } from './events.js'

/** A promise of the tracker that is pending. */
export interface PendingCall {
  /** The same object as long as it is pending. */
  readonly wait: object
  /** As the user wrote it: 'advanceEpoch()'. */
  readonly call: string
  /**
   * What it waits for and what helps, in the form "for …: …. Call …." Without it the call waits for
   * the aggregator.
   */
  readonly forWhat?: () => string
}

/**
 * Says once, by a process warning, what a call has waited for. Calls of one kind that wait together
 * are one warning. While there is a listener for 'stall' there is no warning, because the listener
 * is told.
 */
export class LongWaits {
  readonly #listeners: Listeners
  #since = new Map<object, number>()
  /** Calls that wait for too long now, and of which a warning was given. */
  #told = new Set<string>()

  constructor(listeners: Listeners) {
    this.#listeners = listeners
  }

  /**
   * Call it now and then while anything is pending, with all pending calls. Call it once more, with
   * none, when nothing is.
   */
  look(pending: readonly PendingCall[], forAggregator: () => string): void {
    const now = nowMs()
    const since = new Map<object, number>()
    const late = new Set<string>()
    for (const { wait, call, forWhat = forAggregator } of pending) {
      const from = this.#since.get(wait) ?? now
      since.set(wait, from)
      if (now - from < patience.warningMs) continue
      if (!this.#told.has(call) && !late.has(call) && this.#listeners.count('stall') === 0) {
        watching.warn(
          `${call} has waited ${Math.round(patience.warningMs / 100) / 10} s ${forWhat()}`,
        )
      }
      late.add(call)
    }
    this.#since = since
    this.#told = late
  }
}

/** For an advance that waits for a slot. */
export function forSlot(unsettled: readonly number[]): string {
  if (unsettled.length === 0)
    return 'for a free epoch slot: the epochs before it are not handed out yet'
  const [epochs, them] =
    unsettled.length === 1
      ? [`epoch ${unsettled[0]} is`, 'it']
      : [`epochs ${unsettled.join(', ')} are`, 'them']
  return `for a free epoch slot: ${epochs} not settled. Call commit() or restore() on ${them}.`
}

/** For writers that do not publish. */
export function forWriters(writers: readonly number[]): string {
  const [who, have] =
    writers.length === 1
      ? [`writer ${writers[0]}`, 'has']
      : [`writers ${writers.join(', ')}`, 'have']
  return (
    `for ${who}, which ${have} not published: no event loop turns there. ` +
    "Call flush() on the writer's thread, or pass a signal to flushed()."
  )
}
