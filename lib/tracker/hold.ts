import type { Clock } from '../epochs/clock.js'
import type { SealedEpoch } from '../epochs/sealed-epoch.js'
import type { AbortSignalLike } from '../signal.js'

/**
 * A named consumer's epochs in the hands of a part of the library, which is their only reader until
 * end(). On the tracker's thread.
 */
export interface Hold {
  readonly name: string
  /** The namespaces that the consumer reads; undefined: all. */
  readonly wanted: readonly number[] | undefined
  /** Where the consumer stands; of one that was resumed and has moved since, see `resumed`. */
  readonly clock: Clock | undefined
  /** Where the consumer stood when its tracker was resumed from saved bytes. */
  readonly resumed: Clock | undefined
  /**
   * Whether every key that was marked in this tracker is in an epoch to come, or was in one that
   * settle() has committed. If not, the holder must take all keys for dirty.
   */
  readonly isWhole: boolean
  /** Whether the next epoch would have something. */
  readonly isDirty: boolean
  /** Whether the consumer was closed: no epoch comes any more. */
  readonly isClosed: boolean
  /** Whether the tracker's stop() was called. */
  readonly isStopCalled: boolean
  /** As advanceEpoch(). */
  cut(signal?: AbortSignalLike): Promise<SealedEpoch>
  /** After stop(): the last epoch. */
  last(): Promise<SealedEpoch>
  /** As flushed() of the tracker. */
  flushed(signal?: AbortSignalLike): Promise<void>
  /** Calls `wake` when stop() is called. Returns what ends that. */
  onStop(wake: () => void): () => void
  /**
   * Commits an epoch that was dealt with.
   *
   * @param asEverything - all keys were taken for dirty, so from here on the holder misses none
   */
  settle(epoch: SealedEpoch, asEverything: boolean): void
  /** Others may read the consumer again. */
  end(): void
}
