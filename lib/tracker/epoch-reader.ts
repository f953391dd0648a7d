import type { Epoch } from '../epochs/epoch.js'
import type { SealedEpoch } from '../epochs/sealed-epoch.js'
import type { AdvanceOptions, EpochsOptions } from './tracker.js'

/** Reads epochs, one after the other: a {@link DirtyTracker} is one. */
export interface EpochReader<E extends Epoch = SealedEpoch> {
  /** Cuts, and resolves with the epoch. Calls are served in order. */
  advanceEpoch(options?: AdvanceOptions): Promise<E>
  /** Cuts, and hands the epoch to `use`: commits when `use` resolves, restores when it rejects. */
  consume<T>(use: (epoch: E) => T | PromiseLike<T>, options?: AdvanceOptions): Promise<T>
  /** Walks an epoch every `everyMs`, and the last one. */
  epochs(options: EpochsOptions): AsyncIterableIterator<E>
}
