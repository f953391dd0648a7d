import { platform } from '#platform'
import { patience } from '../patience.js'
import { nowMs } from '../timers.js'
import type { Listeners } from './events.js'

/** A promise of the tracker that is pending. */
export interface PendingCall {
  /** The same object as long as it is pending. */
  readonly wait: object
  /** As the user wrote it: 'advanceEpoch()'. */
  readonly call: string
  /** What it waits for and what helps, in the form "for …: …. Call …." */
  readonly forWhat: () => string
}

/**
 * Says once, by a process warning, what a call has been waiting for all the time. Calls of one kind
 * that wait together are one warning. A listener for 'stall' is told of waits anyway, so then there
 * is no warning.
 */
export class LongWaits {
  readonly #listeners: Listeners
  #since = new Map<object, number>()
  /** Calls of which one has waited too long, and that was told. */
  #told = new Set<string>()

  constructor(listeners: Listeners) {
    this.#listeners = listeners
  }

  /**
   * To be called now and then while anything is pending, with all that is; once more, with nothing,
   * when nothing is.
   */
  look(pending: readonly PendingCall[]): void {
    const now = nowMs()
    const since = new Map<object, number>()
    const late = new Set<string>()
    for (const { wait, call, forWhat } of pending) {
      const from = this.#since.get(wait) ?? now
      since.set(wait, from)
      if (now - from < patience.warningMs) continue
      if (!this.#told.has(call) && !late.has(call) && this.#listeners.count('stall') === 0) {
        platform.warn(
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
  return `for ${who}, which ${have} not published: no event loop turns there. Call flush() on the writer's thread, or pass a signal to flushed().`
}
