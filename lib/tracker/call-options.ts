import { checkBag, checkBoolean, checkChoice, checkFunction, checkWhole } from '../check.js'
import type { SealedEpoch } from '../epochs/sealed-epoch.js'
import { TIMER_MS_MAX } from '../memory/settings.js'
import { type AbortSignalLike, signalOf } from '../signal.js'
import type { Consumer } from './consumer.js'

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
  /**
   * Sleeps while nothing is marked, instead of a cut every `everyMs`. The first published key after
   * a cut wakes the loop. Then it waits `everyMs`, so that marks gather, and cuts. Default false.
   */
  whenDirty?: boolean | undefined
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
   *
   * With named consumers it is called for each of them, one after the other. If it rejects for one
   * of them, the others are dealt with before stop() rejects.
   */
  consume?: ((epoch: SealedEpoch, consumer?: Consumer) => unknown) | undefined
}

/** How long stop() gives open writers to publish, by default. */
const GRACE_MS = 100

export function checkAdvance(options: AdvanceOptions): {
  signal: AbortSignalLike | undefined
  onBusy: 'wait' | 'reject'
} {
  const signal = signalOf(options, 'onBusy')
  const { onBusy = 'wait' } = options
  return { signal, onBusy: checkChoice('options.onBusy', onBusy, ['wait', 'reject']) }
}

export function checkEpochs(options: EpochsOptions): {
  everyMs: number
  signal: AbortSignalLike | undefined
  skipEmpty: boolean
  whenDirty: boolean
} {
  const signal = signalOf(options, 'everyMs', 'skipEmpty', 'whenDirty')
  const everyMs = checkWhole('options.everyMs', options.everyMs, 0, TIMER_MS_MAX)
  const { skipEmpty = true, whenDirty = false } = options
  checkBoolean('options.skipEmpty', skipEmpty)
  checkBoolean('options.whenDirty', whenDirty)
  return { everyMs, signal, skipEmpty, whenDirty }
}

export function checkStop(options: StopOptions): {
  graceMs: number
  consume: StopOptions['consume']
} {
  checkBag('options', options, ['graceMs', 'consume'])
  const { graceMs = GRACE_MS, consume } = options
  checkWhole('options.graceMs', graceMs, 0, TIMER_MS_MAX)
  if (consume !== undefined) checkFunction('options.consume', consume)
  return { graceMs, consume }
}
