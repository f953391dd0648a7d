import { BY_LIBRARY, checkByLibrary } from '../check.js'
import type { Clock } from '../epochs/clock.js'
import type { SealedEpoch } from '../epochs/sealed-epoch.js'
import type { Key } from '../keys.js'
import type { AdvanceOptions, EpochsOptions } from './call-options.js'
import type { EpochReader } from './epoch-reader.js'
import type { Hold } from './hold.js'
import type { ConsumerLag } from './lag.js'
import type { Reader } from './reader.js'

/** What a consumer is made of. */
export interface ConsumerParts {
  readonly name: string
  readonly reader: Reader
  readonly clock: () => Clock | undefined
  readonly lag: () => ConsumerLag
  readonly close: () => void
  readonly hold: () => Hold
}

/** The constructor, for the tracker. */
export let makeConsumer: (parts: ConsumerParts) => Consumer

/**
 * Takes a consumer's epochs for a part of the library: any other reader of them gets
 * `ERR_DIRTYRING_BUSY`. Throws what a loop of that consumer would throw, and undefined comes back for
 * what is no consumer of this copy of the library.
 */
export let holdConsumer: (consumer: unknown) => Hold | undefined

/**
 * Reads a tracker's epochs at a pace of its own: {@link DirtyTracker.consumer} opens one. What one
 * consumer does changes nothing of what another one gets. Each of them gets every key that was
 * published since its position, once.
 *
 * A consumer has one epoch at a time. What is sealed meanwhile is united in its backlog, which has
 * room for as many keys as an epoch: beyond that it becomes a superset. So a consumer that is slow,
 * or never reads at all, costs a fixed amount of memory.
 *
 * A consumer that stands nowhere yet is fresh. Its first epoch has the reason 'fresh': all keys are
 * dirty for it. It stays fresh until an epoch that said so is committed.
 *
 * It belongs to the tracker's thread.
 *
 * @example
 * ```js
 * import { DirtyTracker } from 'dirtyring'
 *
 * const tracker = await DirtyTracker.create({ maxConsumers: 2 })
 * const cache = tracker.consumer('cache', { from: 'now' })
 * const index = tracker.consumer('index', { since: undefined }) // the first start
 * tracker.openWriter().mark(42)
 * await cache.consume((epoch) => console.log(...epoch.ids())) // 42
 * await index.consume(({ exact, reason }) => console.log(exact, reason)) // false fresh
 * await tracker.stop()
 * ```
 */
export class Consumer<K extends Key = Key> implements EpochReader<SealedEpoch<K>>, Disposable {
  /** The name that it was opened with. */
  readonly name: string
  readonly #parts: ConsumerParts

  static {
    makeConsumer = (parts) => new Consumer(BY_LIBRARY, parts)
    holdConsumer = (consumer) =>
      isObject(consumer) && #parts in consumer ? consumer.#parts.hold() : undefined
  }

  private constructor(pass: typeof BY_LIBRARY, parts: ConsumerParts) {
    checkByLibrary(pass, 'Consumer', 'Call tracker.consumer(name).')
    this.name = parts.name
    this.#parts = parts
  }

  /**
   * Its position: that of the last epoch that it has committed. Until then, the one that it was
   * opened with. Undefined while it is fresh.
   */
  get clock(): Clock | undefined {
    return this.#parts.clock()
  }

  /**
   * How far it is behind. A consumer whose `ms` grows does not read; one whose `precision` is not
   * 'exact' should read more often, or needs a larger `maxKeysPerEpoch`.
   *
   * @example
   * ```js
   * import { DirtyTracker } from 'dirtyring'
   * const tracker = await DirtyTracker.create({ maxConsumers: 1 })
   * const index = tracker.consumer('index', { from: 'now' })
   * tracker.openWriter().mark(42)
   * await tracker.drained()
   * console.log(index.lag.keys, index.lag.precision) // 1 exact
   * await tracker.stop()
   * ```
   */
  get lag(): ConsumerLag {
    return this.#parts.lag()
  }

  /**
   * Cuts, and resolves with what was published since this consumer's last cut, and with what it gave
   * back. As long as it has an epoch that is not settled, the call waits.
   *
   * After stop() the first call gives the last epoch (`epoch.last`), unless an epochs() loop or
   * `stop({ consume })` has it.
   *
   * @param options - `signal` aborts the call, with nothing lost. `onBusy: 'reject'` rejects where
   * the call would wait
   * @returns a promise of the sealed epoch, for `commit()` or `restore()`
   * @throws (rejects with) `signal.reason` if aborted; `ERR_DIRTYRING_NO_EPOCH_SLOT` if an epoch of
   * this consumer is not settled, or another call waits, and `onBusy` is 'reject';
   * `ERR_DIRTYRING_BUSY` while an epochs() loop of this consumer runs; `ERR_DIRTYRING_CLOSED` after
   * close(); `ERR_DIRTYRING_STOPPED` after stop(); the error that the tracker cannot recover from;
   * TypeError and RangeError if an option is not allowed
   */
  async advanceEpoch(options: AdvanceOptions = {}): Promise<SealedEpoch<K>> {
    return this.#parts.reader.advanceEpoch(options) as Promise<SealedEpoch<K>>
  }

  /**
   * Makes the cut before it returns, or does nothing and returns undefined: see
   * {@link DirtyTracker.tryAdvanceEpoch}. It returns undefined if the ring has no room, if other
   * tokens of the tracker wait for room, and if an epoch of this consumer is not settled.
   *
   * @returns a promise of the epoch, to be awaited outside the lock, or undefined
   * @throws `ERR_DIRTYRING_BUSY` while an epochs() loop of this consumer runs,
   * `ERR_DIRTYRING_CLOSED` after close(), `ERR_DIRTYRING_STOPPED` after stop(), and errors that the
   * tracker cannot recover from
   */
  tryAdvanceEpoch(): Promise<SealedEpoch<K>> | undefined {
    return this.#parts.reader.tryAdvanceEpoch() as Promise<SealedEpoch<K>> | undefined
  }

  /**
   * Seals an epoch, hands it to `use`, and commits it when `use` returns or resolves. If `use`
   * throws or rejects, the epoch is restored: the next one has its keys.
   *
   * @param use - deals with the epoch
   * @param options - as for advanceEpoch()
   * @returns a promise of what `use` returns
   * @throws (rejects with) the error of `use`, and with what advanceEpoch() rejects with
   */
  async consume<T>(
    use: (epoch: SealedEpoch<K>) => T | PromiseLike<T>,
    options: AdvanceOptions = {},
  ): Promise<T> {
    return this.#parts.reader.consume(use as (epoch: SealedEpoch) => T | PromiseLike<T>, options)
  }

  /**
   * Yields an epoch every `everyMs`, and the last one after stop(): see
   * {@link DirtyTracker.epochs}. close() ends the loop without an error.
   *
   * @param options - `everyMs` from 0 to 2^31 - 1. `signal` ends the loop, without an error
   * @returns an iterator, for `for await`
   * @throws TypeError and RangeError if an option is not allowed, at once
   *
   * @example
   * ```js
   * import { DirtyTracker } from 'dirtyring'
   * const tracker = await DirtyTracker.create({ maxConsumers: 1 })
   * const cache = tracker.consumer('cache', { from: 'now' })
   * tracker.openWriter().mark('/users/7')
   * setTimeout(() => tracker.stop(), 50)
   * for await (const epoch of cache.epochs({ everyMs: 10 })) {
   *   console.log(epoch.has('/users/7'), epoch.last) // true false | false true
   *   epoch.commit()
   * }
   * ```
   */
  epochs(options: EpochsOptions): AsyncIterableIterator<SealedEpoch<K>> {
    return this.#parts.reader.epochs(options) as AsyncIterableIterator<SealedEpoch<K>>
  }

  /**
   * Ends this consumer: nothing is kept for it any more. Its name is free, pending calls reject with
   * `ERR_DIRTYRING_CLOSED`, and a running loop ends.
   *
   * An epoch that it has in hand stays readable. commit() and restore() then do the same: they free
   * its memory. Until that, it counts for `maxConsumers`. A second close() does nothing.
   */
  close(): void {
    this.#parts.close()
  }

  /** Calls close(). */
  [Symbol.dispose](): void {
    this.close()
  }

  /** One line. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    const { keys, epochs, precision } = this.lag
    const name = JSON.stringify(this.name)
    return `Consumer { name: ${name}, keys: ${keys}, epochs: ${epochs}, precision: '${precision}' }`
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}
