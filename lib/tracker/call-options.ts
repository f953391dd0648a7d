import { checkBag } from '../check.js'
import type { SealedEpoch } from '../epochs/sealed-epoch.js'
import { invalidArg, outOfRange } from '../errors.js'
import { signalOf, type AbortSignalLike } from '../signal.js'

/** Options of {@link DirtyTracker.advanceEpoch} and {@link DirtyTracker.consume}. */
export interface AdvanceOptions {
  /**
   * Aborted before the cut: the epoch stays open. Aborted after it: the library gives the keys back
   * to the open epoch, and the epoch's number is skipped.
   */
  signal?: AbortSignalLike | undefined
  /**
   * When no epoch slot is free: 'wait' for one, or 'reject' at once with
   * `ERR_DIRTYRING_NO_EPOCH_SLOT`. Default 'wait'.
   */
  onBusy?: 'wait' | 'reject' | undefined
}

/** Options of {@link DirtyTracker.epochs}. */
export interface EpochsOptions {
  /**
   * Time between two cuts in ms, a whole number from 0 to 2^31 - 1. A slow body delays the next.
   */
  everyMs: number
  /** Ends the iteration, without an error. */
  signal?: AbortSignalLike | undefined
  /**
   * Leaves out epochs without keys. An epoch that is not exact is always yielded, and so is the
   * last one. Default true.
   */
  skipEmpty?: boolean | undefined
}

/** Options of {@link DirtyTracker.stop}. */
export interface StopOptions {
  /**
   * How long open writers are given to publish what they have staged, in ms, a whole number from 0
   * to 2^31 - 1. Default 100.
   */
  graceMs?: number | undefined
  /**
   * Deals with the last epoch. The epoch is committed when this returns or resolves. If it throws
   * or rejects, stop() rejects with the same error, the epoch stays readable, and stop() may be
   * called again. It must not await another stop(), with `consume` or without, because that call
   * waits for this one.
   */
  consume?: ((epoch: SealedEpoch) => unknown) | undefined
}

export const INTERVAL_MAX = 2 ** 31 - 1

export function checkAdvance(options: AdvanceOptions): {
  signal: AbortSignalLike | undefined
  onBusy: 'wait' | 'reject'
} {
  const signal = signalOf(options, 'onBusy')
  const { onBusy = 'wait' } = options
  if (typeof onBusy !== 'string') throw invalidArg('options.onBusy', `'wait' or 'reject'`, onBusy)
  if ((onBusy as string) !== 'wait' && (onBusy as string) !== 'reject')
    throw outOfRange('options.onBusy', `'wait' or 'reject'`, onBusy)
  return { signal, onBusy }
}

export function checkEpochs(options: EpochsOptions): {
  everyMs: number
  signal: AbortSignalLike | undefined
  skipEmpty: boolean
} {
  const signal = signalOf(options, 'everyMs', 'skipEmpty')
  const everyMs = wholeMs('options.everyMs', options.everyMs)
  const { skipEmpty = true } = options
  if (typeof skipEmpty !== 'boolean') throw invalidArg('options.skipEmpty', 'a boolean', skipEmpty)
  return { everyMs, signal, skipEmpty }
}

export function checkStop(options: StopOptions): {
  graceMs: number
  consume: StopOptions['consume']
} {
  checkBag('options', options, ['graceMs', 'consume'])
  const graceMs = options.graceMs === undefined ? 100 : wholeMs('options.graceMs', options.graceMs)
  const { consume } = options
  if (consume !== undefined && typeof consume !== 'function')
    throw invalidArg('options.consume', 'a function', consume)
  return { graceMs, consume }
}

function wholeMs(name: string, value: unknown): number {
  if (typeof value !== 'number') throw invalidArg(name, 'a number', value)
  if (!Number.isInteger(value) || value < 0 || value > INTERVAL_MAX)
    throw outOfRange(name, `a whole number of ms from 0 to ${INTERVAL_MAX}`, value)
  return value
}
