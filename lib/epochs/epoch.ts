import type { Key, ReadonlyBigints, ReadonlyPairs } from '../keys.js'
import type { Clock } from './clock.js'

/**
 * Says why an epoch is not exact:
 *
 * - 'fresh': the consumer's position can't be served, or it has none; see {@link Consumer}
 * - 'everything': a change was marked that no list of keys describes, of all keys or of a namespace
 * - 'fault': a part of the aggregator's work failed again and again, and was given up
 * - 'unpublished': the tracker stopped while writers had keys staged
 * - 'overflow': more distinct keys than `maxKeysPerEpoch`, `maxStringsPerEpoch` or
 *   `maxStringBytesPerEpoch`
 *
 * An epoch with several reasons names the first of them in this order.
 */
export type InexactReason = 'fresh' | 'overflow' | 'everything' | 'unpublished' | 'fault'

/**
 * What an epoch holds: numeric keys, and texts. If the epoch is not exact, some of its keys are
 * missing in the list. Each member that walks or lists the keys then throws
 * `ERR_DIRTYRING_INEXACT` at once. `has()` always answers, and `listed()` gives the part that is
 * known.
 */
export interface EpochKeys<K extends Key = Key> {
  /** Distinct keys listed: all of them if the epoch is exact, else a lower bound. */
  readonly size: number
  /** Walks the keys as they were marked: numbers, then texts, each in order of first mark. */
  [Symbol.iterator](): IterableIterator<K>
  /** Walks the keys that are listed, exact or not. */
  listed(): IterableIterator<K>
  /**
   * Walks the keys as numbers. RangeError at once when one of them is above 2^53-1 or a text.
   */
  ids(): IterableIterator<number>
  /** Walks the keys as strings. RangeError at once when there are others. */
  strings(): IterableIterator<string>
  /** Walks the numeric keys of an epoch that may have both: numbers up to 2^53-1, bigints above. */
  numbers(): IterableIterator<number | bigint>
  /** Walks the strings and the bytes of an epoch that may have both. */
  texts(): IterableIterator<string | Uint8Array>
  /** The keys as 64-bit numbers. RangeError when there are texts. */
  readonly bigints: ReadonlyBigints
  /** The keys as pairs: low, high, low, high and so on. RangeError when there are texts. */
  readonly pairs: ReadonlyPairs
  /** Calls `visit` for each key as a pair. RangeError when there are texts. */
  forEachPair(visit: (low: number, high: number, index: number) => void): void
  /**
   * Whether a key may have been marked: never false for one that was. `falsePositives` says how
   * often it is true for another key.
   */
  has(key: Key): boolean
  /** The same for a pair. */
  hasPair(low: number, high: number): boolean
  /** Whether the list of keys is complete. */
  readonly exact: boolean
  /** Why it is not. */
  readonly reason: InexactReason | undefined
  /**
   * What the keys are, compared with those that were marked:
   *
   * - 'exact': the list has all of them, and no other
   * - 'superset': the list has a part of them. `has()` is true for each of them, and for a few others
   * - 'everything': treat all keys as dirty; `has()` is true for every key
   *
   * This is about the keys outside of `everythingIn`.
   */
  readonly precision: 'exact' | 'superset' | 'everything'
  /**
   * The probability that `has()` is true for a key that was not marked, 0 to 1: 0 if the epoch is
   * exact, 1 for 'everything'.
   */
  readonly falsePositives: number
  /**
   * The namespaces that changed as a whole: `has()` is true for each of their keys. An epoch with
   * any is not exact.
   */
  readonly everythingIn: readonly number[]
}

/** What every reader of epochs hands out: the keys, and the two ways to settle them. */
export interface Epoch<K extends Key = Key> extends EpochKeys<K>, Disposable, AsyncDisposable {
  /** The number of the epoch. */
  readonly id: number
  /** Whether the epoch is settled, and how. */
  readonly state: 'sealed' | 'committed' | 'restored'
  /** Whether no epoch comes after it. */
  readonly last: boolean
  /** Where its reader stands once this epoch is dealt with: to be stored with the data. */
  readonly clock: Clock
  /** Where its reader stood before; undefined: nowhere, so that the epoch is 'fresh'. */
  readonly since: Clock | undefined
  /** Says that the keys were dealt with. */
  commit(): void
  /** Gives the keys back to the open epoch. */
  restore(): Promise<void>
}
