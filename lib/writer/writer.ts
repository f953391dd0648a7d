import {
  BY_LIBRARY,
  checkBag,
  checkBoolean,
  checkByLibrary,
  checkFunction,
  checkWhole,
  wordsOf,
} from '../check.js'
import { DirtyRingError, invalidArg, outOfRange } from '../errors.js'
import {
  badPair,
  checkFits,
  checkKind,
  checkPairOfKind,
  checkPairsOfKind,
  encodeKey,
  isTextKey,
  type Key,
  type KeyList,
  type KeySource,
  openKeys,
  pairCount,
  type Pairs,
  pairsFor,
  readAll,
  readKey,
  readKeys,
  type ReadonlyBigints,
  Texts,
} from '../keys.js'
import { LANE_REJECTED } from '../memory/map.js'
import type { KeyKind } from '../memory/settings.js'
import { NAMESPACE_MAX } from '../memory/slot.js'
import { addTotal } from '../memory/total.js'
import { hostsAny, pumpHosted } from '../ring/hosted.js'
import {
  ALL,
  beginBatch,
  endBatch,
  isStopped,
  type Lane,
  markEverything,
  publish,
  roomInBatch,
  roomNow,
  stage,
  stageMany,
  stageText,
  textNeeded,
  textRoomInBatch,
  textRoomNow,
} from '../ring/lane.js'
import { type AbortSignalLike, signalOf, throwIfAborted } from '../signal.js'
import { scratch as encoded } from '../text/encode.js'
import { digest } from '../text/murmur.js'
import { closeForGood, giveUp } from './lanes.js'
import {
  closedError,
  stalledError,
  stoppedError,
  waitForRoom,
  waitForRoomAsync,
  type WaitLimit,
  wouldBlockError,
} from './wait.js'

/** One key on its way into the lane. Never held across a call that could come back here. */
const scratch = new Int32Array(2)

/**
 * A writer's lane, for the modules that move keys into it. Throws for a value that is not a Writer
 * of this copy of the library.
 */
export let laneOf: (writer: Writer) => Lane

/** The constructor, for the modules that open writers. */
export let makeWriter: (lane: Lane, rules: Rules) => Writer

/**
 * How a writer waits, and what it takes. The size of a batch, and when to publish it, are the
 * lane's.
 */
export interface Rules {
  readonly onFull: 'wait' | 'reject'
  readonly maxWaitMs: number
  readonly keys: KeyKind
}

/**
 * Takes marks: a {@link Writer} or a {@link TxnBuffer}. For libraries that ask their user for
 * either.
 *
 * @example
 * ```js
 * function saveAll(rows, dirty) {
 *   for (const { id } of rows) dirty.mark(id)
 * }
 * saveAll([{ id: 1 }, { id: 2 }], writer)
 * await tracker.consume((epoch) => console.log(...epoch.ids())) // 1 2
 * ```
 */
export interface Markable {
  /** Marks a key. True if it was stored. */
  mark(key: Key): boolean
  /** Marks a key of two 32-bit numbers. True if it was stored. */
  markPair(low: number, high: number): boolean
  /** Marks many keys. True if all were stored. */
  markMany(keys: KeyList): boolean
  /** Marks many pairs: low, high, low, high and so on. True if all were stored. */
  markPairs(pairs: Uint32Array | Int32Array): boolean
}

/**
 * Marks the keys that the calling thread writes. Open one with {@link openWriter} or
 * `tracker.openWriter()`, and use it on that thread only.
 *
 * A mark *stages* its key. The writer *publishes* staged keys when a batch is full, at {@link
 * Writer.flush}, or `flushIntervalMs` later; the next cut takes what is published. Mark a key after
 * other threads can read its new value, or inside one critical section with the write.
 *
 * @example
 * ```js
 * import { DirtyTracker } from 'dirtyring'
 *
 * const tracker = await DirtyTracker.create()
 * const writer = tracker.openWriter()
 * writer.mark(42) // an id of yours
 * writer.mark('user:7') // a string
 * console.log(writer.staged, writer.flush(), writer.staged) // 2 true 0
 * await tracker.consume((epoch) => console.log(...epoch)) // 42 user:7
 * await tracker.stop()
 * ```
 */
export class Writer implements Markable, Disposable {
  /**
   * The number of the writer's lane, 0 to `maxWriters` - 1. Another writer gets it once this one is
   * closed and its keys are consumed.
   */
  readonly id: number
  readonly #lane: Lane
  readonly #rules: Rules
  /** Texts are kept. Otherwise they are marked by their fingerprint. */
  readonly #keepsText: boolean
  #txnId: number | bigint | undefined
  /** A close() has begun and, because of an exception, not ended: the next one tries again. */
  #closing = false

  static {
    laneOf = (writer) => {
      if (!(#lane in writer))
        throw invalidArg('writer', 'a Writer of this copy of the library', writer)
      return writer.#lane
    }
    /**
     * Apart, because a check of the kind in Writer's own methods would make each markPair() a
     * quarter slower (Node 20).
     */
    class WriterOfKind extends Writer {
      override mark(key: Key): boolean {
        checkKind(key, this.#rules.keys)
        return super.mark(key)
      }

      override markPair(low: number, high: number): boolean {
        checkPairOfKind(low, high, this.#rules.keys)
        return super.markPair(low, high)
      }

      override markPairs(pairs: Pairs, options?: { atomic?: boolean | undefined }): boolean {
        checkPairsOfKind(pairs, this.#rules.keys)
        return super.markPairs(pairs, options)
      }
    }
    makeWriter = (lane, rules) =>
      new (rules.keys === 'any' ? Writer : WriterOfKind)(BY_LIBRARY, lane, rules)
  }

  private constructor(pass: typeof BY_LIBRARY, lane: Lane, rules: Rules) {
    checkByLibrary(pass, 'Writer', 'Call openWriter(handle) or tracker.openWriter().')
    this.id = lane.id
    this.#lane = lane
    this.#rules = rules
    this.#keepsText = lane.textWords > 0
  }

  /**
   * Marks a key. Further arguments are ignored, so `keys.forEach(writer.mark, writer)` marks the
   * keys. For a key of two 32-bit numbers there is {@link Writer.markPair}.
   *
   * @param key - A whole number from 0 to 2^53-1, a bigint of 64 bits, a string or a Uint8Array.
   * @returns True if the key was stored. False only with `onFull: 'reject'` outside batch(), when
   * the lane is full: nothing was stored then.
   * @throws TypeError `ERR_DIRTYRING_INVALID_ARG` or RangeError `ERR_DIRTYRING_OUT_OF_RANGE` for a
   * value that is not a key.
   * @throws DirtyRingError `ERR_DIRTYRING_STALLED` when the lane stays full for `maxWaitMs`,
   * `ERR_DIRTYRING_WOULD_BLOCK` when the lane is full and this thread may not block (a page's main
   * thread), `ERR_DIRTYRING_CLOSED` and `ERR_DIRTYRING_STOPPED`. Nothing was stored then.
   *
   * @example
   * ```js
   * import { fingerprint } from 'dirtyring'
   *
   * writer.mark(42) // an id
   * writer.mark('user:7') // a string: it comes back as it is
   * writer.mark(fingerprint('a long document')) // 64 bits, which do not lead back to the text
   * await tracker.consume((epoch) => console.log(...epoch)) // 42 … user:7
   * ```
   */
  mark(key: Key): boolean {
    // An id below 2^32 takes the short way: nearly every mark is one.
    if (typeof key === 'number' && key >>> 0 === key) return this.#stage(key, 0)
    return this.#markOther(key)
  }

  #markOther(key: Key): boolean {
    if (typeof key === 'number') {
      if (key >= 0 && key <= Number.MAX_SAFE_INTEGER && Math.floor(key) === key)
        return this.#stage(key | 0, (key / 2 ** 32) | 0)
    } else if (this.#keepsText && isTextKey(key)) {
      return this.#stageText(key)
    }
    readKey(key, scratch, 0)
    return this.#stage(scratch[0], scratch[1])
  }

  /**
   * Marks a key of two 32-bit numbers: a row and its table, or an entity and its component. The
   * fastest form. As a bigint the key is `high << 32n | low`; `markPair(7, 0)` is `mark(7)`.
   *
   * @param low - A whole number from -2^31 to 2^32-1. A negative one is the same as itself + 2^32.
   * @param high - The same.
   * @returns As {@link Writer.mark}.
   * @throws TypeError `ERR_DIRTYRING_INVALID_ARG` for a value that is not a number.
   * @throws RangeError `ERR_DIRTYRING_OUT_OF_RANGE` for another number.
   * @throws DirtyRingError As {@link Writer.mark}.
   *
   * @example
   * ```js
   * const [row, table] = [7, 2]
   * writer.markPair(row, table)
   * writer.mark((2n << 32n) | 7n) // the same key, as a bigint
   * await tracker.consume((epoch) => console.log(epoch.size, epoch.hasPair(7, 2))) // 1 true
   * ```
   */
  markPair(low: number, high: number): boolean {
    // isHalf(), written out: 0.2 ns instead of 0.5 to 1 (Node 20).
    if (
      typeof low === 'number' &&
      typeof high === 'number' &&
      (low >>> 0 === low || (low | 0) === low) &&
      (high >>> 0 === high || (high | 0) === high)
    )
      return this.#stage(low, high)
    throw badPair(low, high)
  }

  /**
   * Marks many keys as one atomic batch: all of them in one epoch, or none of them. An empty list
   * stores nothing and makes no batch.
   *
   * @param keys - At most `laneCapacity` keys.
   * @param options - `atomic`: default true. With false the list may have any length, and the
   * writer publishes as many batches as it takes. If such a call returns false or throws, a part
   * may be stored: mark the whole list again.
   * @returns True if the keys were stored, as {@link Writer.mark}.
   * @throws RangeError `ERR_DIRTYRING_OUT_OF_RANGE` for more than `laneCapacity` keys.
   * @throws What {@link Writer.mark} throws.
   *
   * @example
   * ```js
   * writer.markMany([1, 2, 'user:7'])
   * writer.markMany(new BigUint64Array([1n, 2n]))
   * const ids = new Uint32Array(100_000).map((_, i) => i) // more than a lane holds
   * writer.markMany(ids, { atomic: false })
   * await tracker.consume((epoch) => console.log(epoch.size)) // 100001
   * ```
   */
  markMany(keys: KeyList | ReadonlyBigints, options?: { atomic?: boolean | undefined }): boolean {
    const atomic = isAtomic(options)
    const texts = this.#keepsText ? Texts.spare(longestText(this.#lane)) : undefined
    const isStored = this.#markEach(openKeys(keys, this.#rules.keys, texts), atomic, texts)
    if (texts !== undefined) Texts.giveBack(texts)
    return isStored
  }

  #markEach(source: KeySource, atomic: boolean, texts: Texts | undefined): boolean {
    const { count } = source
    if (atomic) {
      checkFits('keys', count, this.#lane.capacity)
      if (source.kind === 'ids')
        return this.#stageMany(source.keys as Uint32Array, count, 'keys', undefined, true)
      return this.#stageMany(readAll(source, texts?.pairs), count, 'keys', texts)
    }
    const limit = this.#limit()
    const part = partOf(this.#lane)
    const scratch = source.pairs === undefined ? pairsFor(Math.min(part, count)) : undefined
    for (let from = 0; from < count;) {
      texts?.clear()
      const most = Math.min(part, count - from)
      const taken =
        scratch === undefined
          ? most
          : readKeys(source, scratch, 0, most, this.#lane.textWords >>> 2)
      const pairs = scratch ?? source.pairs!.subarray(from * 2, (from + taken) * 2)
      if (!this.#stageMany(pairs, taken, 'keys', texts, false, limit)) return false
      from += taken
    }
    return true
  }

  /**
   * Marks many pairs as one atomic batch, as {@link Writer.markMany} does for keys.
   *
   * @param pairs - Low, high, low, high and so on: an epoch's `pairs`, for instance.
   * @param options - `atomic`: as for {@link Writer.markMany}.
   * @returns True if the keys were stored.
   * @throws RangeError `ERR_DIRTYRING_OUT_OF_RANGE` for an odd length too.
   * @throws What {@link Writer.markMany} throws.
   *
   * @example
   * ```js
   * writer.markPairs(Uint32Array.of(7, 2, 8, 2)) // rows 7 and 8 of table 2
   * await tracker.consume((epoch) => console.log(epoch.hasPair(8, 2))) // true
   * ```
   */
  markPairs(pairs: Pairs, options?: { atomic?: boolean | undefined }): boolean {
    const atomic = isAtomic(options)
    const count = pairCount(pairs)
    const part = partOf(this.#lane)
    if (atomic || count <= part) {
      checkFits('pairs', count, this.#lane.capacity)
      return this.#stageMany(pairs, count, 'pairs')
    }
    const words = wordsOf(pairs, count * 2)
    const limit = this.#limit()
    for (let from = 0; from < count; from += part) {
      const taken = Math.min(part, count - from)
      const some = words.subarray(from * 2, (from + taken) * 2)
      if (!this.#stageMany(some, taken, 'pairs', undefined, false, limit)) return false
    }
    return true
  }

  /**
   * Makes everything that `use` marks one atomic batch, in one epoch. The keys are staged at once
   * and published when `use` returns or throws; when the thread dies inside it, the tracker
   * harvests them. So mark first, then write and COMMIT inside `use`: no committed write is missed.
   * The marks are published when `use` throws too, because the exception may come after COMMIT, and
   * a key too many is harmless. To forget keys at a rollback, gather them in a {@link TxnBuffer}.
   *
   * While the ring is full the batch stays staged, still whole. A batch within a batch joins it,
   * and so does withWriter(). Keys that were staged before it may be published meanwhile. A long
   * batch holds up `tracker.flushed()`; if the tracker stops before the batch ends, the last epoch
   * says 'unpublished'.
   *
   * Inside `use`, a mark that finds no room throws, with `onFull: 'reject'` as well, so that no
   * COMMIT goes ahead unmarked: RangeError `ERR_DIRTYRING_OUT_OF_RANGE` beyond `laneCapacity` keys,
   * `ERR_DIRTYRING_STALLED`, `ERR_DIRTYRING_WOULD_BLOCK` or `ERR_DIRTYRING_STOPPED`.
   *
   * @param use - Marks keys and makes the writes that belong to them. It is synchronous: the
   * compiler refuses an async function.
   * @returns What `use` returns.
   * @throws What `use` throws, after its marks are published.
   * @throws TypeError `ERR_DIRTYRING_INVALID_ARG` for a promise, whose marks are published too.
   * @throws DirtyRingError `ERR_DIRTYRING_CLOSED` and `ERR_DIRTYRING_STOPPED`, before `use` is
   * called.
   *
   * @example
   * ```js
   * const rows = new Map()
   * writer.batch(() => {
   *   writer.mark('from:1')
   *   writer.mark('to:2')
   *   rows.set('from:1', 90).set('to:2', 110) // BEGIN, write, COMMIT
   * })
   * await tracker.consume((epoch) => console.log(epoch.has('from:1'), epoch.size)) // true 2
   * ```
   */
  batch<T>(
    use: (() => T) &
      ([T] extends [never]
        ? unknown
        : T extends PromiseLike<unknown>
          ? 'batch() is synchronous only'
          : unknown),
  ): T {
    checkFunction('use', use)
    const lane = this.#lane
    this.#check()
    if (!beginBatch(lane)) return synchronous(use())
    let result: T
    try {
      result = use()
    } catch (error) {
      lane.batching = false // before any call: one could throw where the stack is at its end
      endBatchQuietly(lane)
      throw error
    }
    lane.batching = false
    endBatch(lane)
    return synchronous(result)
  }

  /**
   * Reports a change that no list of keys describes (a bulk load, a truncate). The open epoch then
   * says `exact: false`, reason 'everything'. The call needs no room, so it cannot be refused: a
   * full ring delays it, a batch() takes it along, and so does a harvest.
   *
   * @param namespace - Only the pairs with this high half have changed: 0 to 2^22-1. Text keys and
   * ids below 2^32 are in namespace 0. An epoch keeps 24 of them apart; with one more, everything
   * has changed.
   * @throws TypeError `ERR_DIRTYRING_INVALID_ARG` and RangeError `ERR_DIRTYRING_OUT_OF_RANGE` for
   * another namespace.
   * @throws DirtyRingError `ERR_DIRTYRING_CLOSED`, `ERR_DIRTYRING_STOPPED`,
   * `ERR_DIRTYRING_CORRUPT`.
   *
   * @example
   * ```js
   * writer.markEverything()
   * await tracker.consume((epoch) => console.log(epoch.exact, epoch.reason)) // false everything
   * writer.markEverything(2)
   * await tracker.consume((epoch) => {
   *   console.log(epoch.everythingIn, epoch.hasPair(7, 2), epoch.hasPair(7, 3)) // [ 2 ] true false
   * })
   * ```
   */
  markEverything(namespace?: number): void {
    const lane = this.#lane
    this.#check()
    if (namespace !== undefined) checkWhole('namespace', namespace, 0, NAMESPACE_MAX)
    if (!markEverything(lane, namespace === undefined ? ALL : namespace + 2))
      throw stoppedError(lane)
    if (lane.everything !== 0 && !lane.batching && hostsAny()) {
      pumpHosted()
      publish(lane)
    }
  }

  /**
   * Tags the marks that follow with a transaction. The writer first publishes keys that are staged
   * for another one. A tag makes nothing atomic and undoes nothing: for that there are batch() and
   * TxnBuffer.
   *
   * @param txnId - The transaction's number, as the caller counts them.
   * @throws TypeError `ERR_DIRTYRING_INVALID_ARG`.
   * @throws DirtyRingError `ERR_DIRTYRING_CLOSED` and `ERR_DIRTYRING_STOPPED`.
   *
   * @example
   * ```js
   * writer.tagTxn(1n)
   * writer.mark(42)
   * writer.tagTxn(2n)
   * console.log(writer.staged) // 0
   * ```
   */
  tagTxn(txnId: number | bigint): void {
    if (typeof txnId !== 'number' && typeof txnId !== 'bigint')
      throw invalidArg('txnId', 'a number or a bigint', txnId)
    this.#check()
    if (this.#txnId !== txnId) publish(this.#lane)
    this.#txnId = txnId
  }

  /**
   * Publishes the staged keys as one batch. With `onFull: 'wait'` it waits while the ring is full.
   *
   * @returns True once nothing is staged: the next cut has all of it. False when the ring is full
   * and `onFull` is 'reject' or this thread may not block. False inside batch(), where it publishes
   * only what was staged before the batch.
   * @throws DirtyRingError `ERR_DIRTYRING_STALLED` after `maxWaitMs`, and `ERR_DIRTYRING_STOPPED`
   * when staged keys cannot be delivered any more.
   *
   * @example
   * ```js
   * store.set(42, 'new')
   * writer.mark(42)
   * if (writer.flush()) console.log('the next cut has it') // the next cut has it
   * ```
   */
  flush(): boolean {
    const lane = this.#lane
    if (lane.batching) {
      publish(lane)
      return false
    }
    if (!lane.open || publish(lane)) return true
    if (isStopped(lane)) throw stoppedError(lane)
    return waitForRoom(lane, 0, 0, this.#rules.onFull === 'wait', this.#limit())
  }

  /** Keys marked and not yet published, those of a running batch() included. */
  get staged(): number {
    return this.#lane.open ? (this.#lane.end - this.#lane.published) | 0 : 0
  }

  /**
   * Keys that can be marked now without waiting or refusal. Only this thread uses the room up, so
   * the number holds until the next mark: look at it before you commit. 0 when closed or stopped.
   */
  get room(): number {
    return this.#lane.open && !isStopped(this.#lane) ? roomNow(this.#lane) : 0
  }

  /**
   * Bytes of text that can be marked now without waiting or refusal: as one text key, or as several
   * that count 12 bytes more each. It holds until the next mark, as {@link Writer.room} does. 0 when
   * closed or stopped, and with `maxStringsPerEpoch: 0`.
   *
   * @example
   * ```js
   * const path = '/users/7'
   * if (writer.roomForText < 3 * path.length) await writer.waitForRoom(1, { textBytes: 3 * path.length })
   * console.log(writer.mark(path)) // true
   * ```
   */
  get roomForText(): number {
    const lane = this.#lane
    if (!lane.open || isStopped(lane) || !this.#keepsText) return 0
    // Any text of at most half of the room fits wherever it begins.
    const words = (textRoomNow(lane) - 1) >> 1
    return Math.max(0, Math.min((words - 2) * 4, longestText(lane)))
  }

  /**
   * Resolves when `keys` keys fit. Never blocks the thread; looks at least every 10 ms.
   *
   * @param keys - A whole number from 1 to `laneCapacity`, default 1.
   * @param options - `textBytes`: as many bytes of text have to fit, as {@link Writer.roomForText}
   * counts them; 0, the default, to laneTextBytes / 2 - 16. `signal`: when it aborts, the promise
   * rejects with `signal.reason`.
   * @throws TypeError `ERR_DIRTYRING_INVALID_ARG` and RangeError `ERR_DIRTYRING_OUT_OF_RANGE`.
   * @throws DirtyRingError `ERR_DIRTYRING_CLOSED` and `ERR_DIRTYRING_STOPPED`.
   *
   * @example
   * ```js
   * const keys = [1, 2, 3]
   * if (writer.room < keys.length) await writer.waitForRoom(keys.length, { signal })
   * console.log(writer.markMany(keys)) // true
   * ```
   */
  async waitForRoom(
    keys = 1,
    options: { signal?: AbortSignalLike | undefined; textBytes?: number | undefined } = {},
  ): Promise<void> {
    const { capacity } = this.#lane
    checkWhole('keys', keys, 1, capacity, 'laneCapacity')
    const signal = signalOf(options, 'textBytes')
    const { textBytes = 0 } = options
    // A tracker that keeps no texts has room for each: it marks their fingerprints.
    const most = this.#keepsText ? longestText(this.#lane) : Number.MAX_SAFE_INTEGER
    checkWhole('options.textBytes', textBytes, 0, most)
    throwIfAborted(signal)
    this.#check()
    const text = textBytes === 0 || !this.#keepsText ? 0 : 2 * Texts.sizeOf(textBytes << 1) + 1
    await waitForRoomAsync(this.#lane, keys, text, signal)
  }

  /** Whether the writer is closed, by close() or because its thread ends. */
  get closed(): boolean {
    return !this.#lane.open
  }

  /**
   * Publishes the staged keys and gives the lane back, for another writer. Later marks throw
   * `ERR_DIRTYRING_CLOSED`. A second call does nothing; so does a call after stop().
   *
   * @throws DirtyRingError `ERR_DIRTYRING_BUSY` inside batch().
   */
  close(): void {
    const lane = this.#lane
    if (!lane.open && !this.#closing) return
    if (lane.batching) {
      throw new DirtyRingError(
        'ERR_DIRTYRING_BUSY',
        `writer ${this.id} is inside batch(): close it when batch() has returned`,
      )
    }
    this.#closing = true
    try {
      closeForGood(lane)
    } catch (error) {
      if (!(error instanceof DirtyRingError)) throw error
      // A corrupt ring: no further try can succeed.
      this.#closing = false
      giveUp(lane)
      throw error
    }
    this.#closing = false
  }

  /** Calls close(). */
  [Symbol.dispose](): void {
    this.close()
  }

  /** What console.log() prints: one line, and not the memory. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `Writer { id: ${this.id}, staged: ${this.staged}, closed: ${this.closed} }`
  }

  #stage(low: number, high: number): boolean {
    return stage(this.#lane, low, high) || this.#stageOnceThereIsRoom(low, high)
  }

  #stageOnceThereIsRoom(low: number, high: number): boolean {
    const limit = this.#limit()
    while (this.#makeRoom(1, limit, 0)) if (stage(this.#lane, low, high)) return true
    return false
  }

  #stageText(key: string | Uint8Array): boolean {
    const lane = this.#lane
    const longest = longestText(lane)
    const limit = this.#limit()
    for (;;) {
      // Again after each wait: an aggregator on this thread may have run code that marks texts.
      const head = encodeKey(key, longest)
      if (stageText(lane, digest[0], digest[1], encoded.words, head)) return true
      if (!this.#makeRoom(1, limit, textNeeded(lane, head))) return false
    }
  }

  /** At most as many keys as a lane holds. `areIds`: `keys` are ids and not pairs. */
  #stageMany(
    keys: ArrayLike<number>,
    count: number,
    name: string,
    texts?: Texts,
    areIds = false,
    limit = this.#limit(),
  ): boolean {
    const lane = this.#lane
    this.#check()
    if (count === 0) return true
    const list = texts === undefined || texts.size === 0 ? undefined : texts
    const text = list?.needed ?? 0
    if (text > lane.textWords) throw tooMuchText(name, lane, text)
    if (stageMany(lane, keys, count, list, areIds)) return true
    while (this.#makeRoom(count, limit, text))
      if (stageMany(lane, keys, count, list, areIds)) return true
    return false
  }

  /** When a call that waits gives up: all its waits together take maxWaitMs. */
  #limit(): WaitLimit {
    return { until: undefined, maxWaitMs: this.#rules.maxWaitMs }
  }

  /** After a mark was refused: true when there is room now, false if nothing is to be stored. */
  #makeRoom(count: number, limit: WaitLimit, text: number): boolean {
    const lane = this.#lane
    this.#check()
    let there = false
    try {
      if (lane.batching && roomInBatch(lane) < count) {
        throw outOfRange(
          'use',
          `a function that marks at most ${lane.capacity} keys (laneCapacity)`,
          ((lane.end - lane.batchStart) | 0) + count,
        )
      }
      if (lane.batching && textRoomInBatch(lane) < text) throw tooMuchText('use', lane, text)
      there = waitForRoom(lane, count, text, this.#rules.onFull === 'wait', limit)
      if (!there && this.#rules.onFull === 'wait') throw wouldBlockError(lane, count, text)
      if (!there && lane.batching)
        throw stalledError(
          lane,
          count,
          text,
          `onFull is 'reject', and inside batch() a mark must not be missed`,
        )
    } finally {
      if (!there) addTotal(lane.words, lane.header + LANE_REJECTED, count)
    }
    return there
  }

  #check(): void {
    const lane = this.#lane
    if (!lane.open) throw closedError(lane)
    if (isStopped(lane)) throw stoppedError(lane)
  }
}

/**
 * How many keys go into a lane at a time when they need not be in one epoch: the aggregator takes
 * some while others come.
 */
export function partOf(lane: Lane): number {
  return Math.max(1, lane.capacity >>> 2)
}

/** Bytes of the longest text key: with it any empty ring takes it, wherever it begins. */
export function longestText(lane: Lane): number {
  return lane.textWords * 2 - 16
}

function tooMuchText(name: string, lane: Lane, words: number): RangeError {
  return outOfRange(
    name,
    `of at most ${lane.textWords * 4} bytes of text (laneTextBytes), the largest key counted twice`,
    words * 4,
    'Raise laneTextBytes, or mark in parts: { atomic: false }.',
  )
}

/** The option `atomic` of a bag, checked. */
export function isAtomic(options: { atomic?: boolean | undefined } = {}): boolean {
  checkBag('options', options, ['atomic'])
  const { atomic = true } = options
  return checkBoolean('options.atomic', atomic)
}

/**
 * What a batch returns, if that is not a promise. The marks are published by then, and what the
 * promise does later would be unmarked.
 */
function synchronous<T>(result: T): T {
  if (typeof (result as { then?: unknown } | null | undefined)?.then !== 'function') return result
  // The caller sees the TypeError below. A real promise that rejects would end the process.
  if (result instanceof Promise) result.catch(() => undefined)
  throw invalidArg(
    'use',
    'a function that returns no promise',
    result,
    'batch() is synchronous: all marks and writes must be made when the function returns.',
  )
}

/** After the caller's own exception, which the caller has to see. */
function endBatchQuietly(lane: Lane): void {
  try {
    endBatch(lane)
  } catch {
    // A corrupt ring: the next mark says so.
  }
}
