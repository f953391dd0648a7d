import { platform } from '#platform'
import { hostsAny, pumpHosted } from '../aggregator/run.js'
import { ancestorIds, threadIdFor } from '../platform/thread.js'
import { DirtyRingError, invalidArg, outOfRange } from '../errors.js'
import { hashKey } from '../fingerprint.js'
import {
  checkFits,
  laneCount,
  lanesFor,
  noLanes,
  openKeys,
  readAll,
  readKey,
  readKeys,
  type Fingerprint,
  type Key,
  type KeyList,
} from '../keys.js'
import { LANE_OWNER, LANE_REJECTED, LANE_WAKE, laneAt, TRACKER_ID } from '../memory/map.js'
import { attachMemory, checkIdentity, sameMemory, type Memory } from '../memory/memory.js'
import { settingsOf } from '../memory/settings.js'
import { addTotal } from '../memory/total.js'
import {
  beginBatch,
  closeLane,
  endBatch,
  isRingClosed,
  isStopped,
  markEverything,
  openLane,
  publish,
  roomInBatch,
  roomNow,
  stage,
  stageMany,
  type Lane,
  type NoLane,
} from '../ring/lane.js'
import { THREAD_MASK } from '../ring/token.js'
import { checkBag, checkBoolean, checkFunction, checkWhole, wordsOf } from '../check.js'
import { signalOf, throwIfAborted, type AbortSignalLike } from '../signal.js'
import { nowMs, setTimeout, unref } from '../timers.js'
import { watchWorkersForWriter } from './watch-workers.js'
import { clockFor, listen, unwatchLane, watchLane } from './clock.js'
import {
  closedError,
  noteThreadEnd,
  stalledError,
  stoppedError,
  waitForRoom,
  waitForRoomAsync,
  wouldBlockError,
} from './wait.js'

/**
 * Where one key's lanes are put on their way; never held across a call that could come back here.
 */
const scratch = new Int32Array(2)

/** The open writers of this thread, of all trackers. */
const openWriters = new Set<Writer>()
let hooked = false

/**
 * A writer's lane, for the modules that move keys into it. Throws for what is no Writer of this
 * copy of the library.
 */
export let laneOf: (writer: Writer) => Lane

/**
 * The size of a batch and when to publish it are the tracker's; how a writer waits is written here.
 */
interface Waiting {
  readonly onFull: 'wait' | 'reject'
  readonly maxWaitMs: number
}

/**
 * Marks the keys that the calling thread writes. Open one with {@link openWriter} or
 * `tracker.openWriter()`; use it on that thread only.
 *
 * A mark is *staged*; it is *published*, and so in the next cut, when a batch is full, at {@link
 * Writer.flush}, or `flushIntervalMs` later. Mark a key after its new value can be read by others,
 * or inside one critical section with the write.
 *
 * @example
 * ```js
 * import { DirtyTracker } from 'dirtyring'
 *
 * const tracker = await DirtyTracker.create()
 * const writer = tracker.openWriter()
 * writer.mark(42) // an id of yours
 * writer.mark('user:7') // a string, by its fingerprint
 * console.log(writer.staged, writer.flush(), writer.staged) // 2 true 0
 * await tracker.consume((epoch) => console.log(epoch.size)) // 2
 * await tracker.stop()
 * ```
 */
export class Writer {
  /**
   * Number of the lane, 0 to `maxWriters` - 1. Given to another writer once this one is closed and
   * its keys are consumed.
   */
  readonly id: number
  readonly #lane: Lane
  readonly #waiting: Waiting
  #txnId: number | bigint | undefined
  /**
   * A close() has begun and not come to its end: an exception struck in it, so that the next one
   * tries again.
   */
  #closing = false

  static {
    laneOf = (writer) => {
      if (!(#lane in writer))
        throw invalidArg('writer', 'a Writer of this copy of the library', writer)
      return writer.#lane
    }
  }

  /** @internal Use openWriter(). */
  constructor(lane: Lane, waiting: Waiting) {
    this.id = lane.id
    this.#lane = lane
    this.#waiting = waiting
  }

  /**
   * Mark a key: an id (a whole number to 2^53 - 1), a bigint (the 64 bits), a string or bytes (by
   * their fingerprint), or two lanes `(lo, hi)`, which are taken modulo 2^32 and not checked, for
   * hot loops.
   *
   * True if stored. False only with `onFull: 'reject'` outside batch(), when the lane is full:
   * nothing was stored then. With 'wait' it sleeps for room; on a thread that may not block (a
   * page's main thread) it throws `ERR_DIRTYRING_WOULD_BLOCK`. Throws TypeError or RangeError for
   * what is no key, `ERR_DIRTYRING_STALLED` after `maxWaitMs`, `ERR_DIRTYRING_CLOSED` and
   * `ERR_DIRTYRING_STOPPED`; nothing was stored then.
   *
   * @example
   * ```js
   * writer.mark(42) // an id
   * writer.mark('user:7') // a string: its fingerprint
   * writer.mark(7, 2) // two lanes: row 7 of table 2
   * writer.mark((2n << 32n) | 7n) // the same key, as a bigint
   * await tracker.consume((epoch) => console.log(epoch.size)) // 3
   * ```
   */
  mark(lo: number, hi: number): boolean
  mark(key: Key): boolean
  mark(key: Key, hi?: number): boolean {
    if (hi === undefined) {
      readKey(key, scratch, 0)
      return this.#stage(scratch[0], scratch[1])
    }
    if (typeof key !== 'number' || typeof hi !== 'number') throw noLanes(key, hi)
    return this.#stage(key, hi)
  }

  /** Mark a fingerprint: 0n to 2^64 - 1. As mark() in all else. */
  markFingerprint(fp: Fingerprint): boolean {
    if (typeof fp !== 'bigint') throw invalidArg('fp', 'a bigint', fp)
    readKey(fp, scratch, 0, 'fp')
    return this.#stage(scratch[0], scratch[1])
  }

  /**
   * Mark a string or bytes by `fingerprint(key, seed)`; seed: uint32, a namespace of yours, default
   * 0. As mark() in all else.
   */
  markKey(key: string | Uint8Array, seed = 0): boolean {
    hashKey(key, seed, scratch)
    return this.#stage(scratch[0], scratch[1])
  }

  /**
   * Mark many keys as one atomic batch: all of them in one epoch, or false and none of them. An
   * empty list is true, and no batch. RangeError when there are more than `laneCapacity`. `atomic:
   * false`: any length, as as many batches as it takes; when it is false, or throws, a part may be
   * stored: mark all of it again. As mark() in all else.
   *
   * @example
   * ```js
   * writer.markMany([1, 2, 'user:7'])
   * writer.markMany(new BigUint64Array([1n, 2n]))
   * writer.markMany(new Uint32Array(100_000).map((_, i) => i), { atomic: false }) // more than a lane holds
   * await tracker.consume((epoch) => console.log(epoch.size)) // 100001
   * ```
   */
  markMany(keys: KeyList, options?: { atomic?: boolean | undefined }): boolean {
    const atomic = isAtomic(options)
    const source = openKeys(keys)
    const { count } = source
    const part = partOf(this.#lane)
    if (atomic || count <= part) {
      checkFits('keys', count, this.#lane.capacity)
      return this.#stageMany(readAll(source), count, 'keys')
    }
    const scratch = source.lanes === undefined ? lanesFor(part) : undefined
    for (let from = 0; from < count; from += part) {
      const taken = Math.min(part, count - from)
      if (scratch !== undefined) readKeys(source, scratch, 0, taken)
      if (
        !this.#stageMany(
          scratch?.subarray(0, taken * 2) ?? source.lanes!.subarray(from * 2, (from + taken) * 2),
          taken,
          'keys',
        )
      )
        return false
    }
    return true
  }

  /**
   * The same for lanes lo, hi, lo, hi …: an epoch's `lanes`, for instance. RangeError for an odd
   * length.
   *
   * @example
   * ```js
   * writer.markLanes(Uint32Array.of(7, 2, 8, 2)) // rows 7 and 8 of table 2
   * await tracker.consume((epoch) => console.log(epoch.has(8, 2))) // true
   * ```
   */
  markLanes(lanes: Uint32Array | Int32Array, options?: { atomic?: boolean | undefined }): boolean {
    const atomic = isAtomic(options)
    const count = laneCount(lanes)
    const part = partOf(this.#lane)
    if (atomic || count <= part) {
      checkFits('lanes', count, this.#lane.capacity)
      return this.#stageMany(lanes, count, 'lanes')
    }
    const words = wordsOf(lanes, count * 2)
    for (let from = 0; from < count; from += part) {
      const taken = Math.min(part, count - from)
      if (!this.#stageMany(words.subarray(from * 2, (from + taken) * 2), taken, 'lanes'))
        return false
    }
    return true
  }

  /**
   * Makes everything that `use` marks one atomic batch, in one epoch. The keys are staged at once
   * and published when `use` returns or throws; when the thread dies inside it, the tracker
   * harvests them. So mark first, then write and COMMIT inside `use`: no committed write is missed.
   * An exception may come after COMMIT, and a key too many is harmless; what a rollback should
   * forget is gathered in a {@link TxnBuffer} and cleared.
   *
   * While the ring is full the batch stays staged, still whole. A batch within a batch joins it,
   * and so does withWriter(). Keys that were staged before it may be published meanwhile. A long
   * batch holds up `tracker.flushed()`; if the tracker stops before the batch ends, the last epoch
   * says 'unpublished'.
   *
   * @param use - marks keys and does what belongs to them, synchronously
   * @returns what `use` returns
   * @throws what `use` throws, after its marks are published; TypeError `ERR_DIRTYRING_INVALID_ARG`
   * for a promise, whose marks are published too; `ERR_DIRTYRING_CLOSED` and
   * `ERR_DIRTYRING_STOPPED` before `use` is called. Inside `use`, a mark that finds no room throws,
   * with `onFull: 'reject'` as well, so that no COMMIT goes ahead unmarked: RangeError
   * `ERR_DIRTYRING_OUT_OF_RANGE` beyond `laneCapacity` keys, `ERR_DIRTYRING_STALLED`,
   * `ERR_DIRTYRING_WOULD_BLOCK` or `ERR_DIRTYRING_STOPPED`
   *
   * @example
   * ```js
   * const rows = new Map()
   * writer.batch(() => {
   *   writer.mark('from:1')
   *   writer.mark('to:2')
   *   rows.set('from:1', 90).set('to:2', 110) // BEGIN, write, COMMIT
   * })
   * await tracker.consume((epoch) => console.log(epoch.has('from:1'), epoch.has('to:2'))) // true true
   * ```
   */
  batch<T>(use: () => T): T {
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
   * Says that a change happened which no list of keys describes (a bulk load, a truncate): the
   * epoch at hand says `exact: false`, reason 'everything'. It needs no room: a full ring delays
   * it, a batch() takes it along, and so does a harvest.
   *
   * @throws `ERR_DIRTYRING_CLOSED`, `ERR_DIRTYRING_STOPPED`, `ERR_DIRTYRING_CORRUPT`
   *
   * @example
   * ```js
   * writer.markEverything()
   * await tracker.consume((epoch) => console.log(epoch.exact, epoch.reason)) // false everything
   * ```
   */
  markEverything(): void {
    const lane = this.#lane
    this.#check()
    if (!markEverything(lane)) throw stoppedError(lane)
    if (lane.everything && !lane.batching && hostsAny()) {
      pumpHosted()
      publish(lane)
    }
  }

  /**
   * Marks that follow belong to this transaction; keys staged for another one are published first.
   * A tag: it makes nothing atomic and undoes nothing; for that there are batch() and TxnBuffer.
   * Throws TypeError, `ERR_DIRTYRING_CLOSED` and `ERR_DIRTYRING_STOPPED`.
   */
  begin(txnId: number | bigint): void {
    if (typeof txnId !== 'number' && typeof txnId !== 'bigint')
      throw invalidArg('txnId', 'a number or a bigint', txnId)
    this.#check()
    if (this.#txnId !== txnId) publish(this.#lane)
    this.#txnId = txnId
  }

  /**
   * Publish what is staged as one batch. True once nothing is staged: the next cut has all of it.
   * With `onFull: 'wait'` it waits for a full ring; with 'reject', and on a thread that may not
   * block, it returns false. Inside batch() it publishes what was staged before the batch, and
   * returns false. Throws `ERR_DIRTYRING_STALLED` after `maxWaitMs`, and `ERR_DIRTYRING_STOPPED`
   * when staged keys can't be delivered any more.
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
    return waitForRoom(lane, 0, this.#waiting.onFull === 'wait', this.#waiting.maxWaitMs)
  }

  /** Keys marked and not yet published, those of a batch() at hand included. */
  get staged(): number {
    return this.#lane.open ? (this.#lane.end - this.#lane.published) | 0 : 0
  }

  /**
   * Keys that can be marked now without waiting or refusal. Only this thread uses it up, so it is a
   * promise: look at it before you commit. 0 when closed or stopped.
   */
  get room(): number {
    return this.#lane.open && !isStopped(this.#lane) ? roomNow(this.#lane) : 0
  }

  /**
   * Resolves when `keys` (1 to `laneCapacity`, default 1) fit. Never blocks the thread; looks every
   * 10 ms at least. Rejects with `signal.reason`, with `ERR_DIRTYRING_CLOSED` and
   * `ERR_DIRTYRING_STOPPED`, and with TypeError and RangeError for bad input.
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
    options: { signal?: AbortSignalLike | undefined } = {},
  ): Promise<void> {
    const { capacity } = this.#lane
    checkWhole('keys', keys, 1, capacity, 'laneCapacity')
    const signal = signalOf(options)
    throwIfAborted(signal)
    this.#check()
    await waitForRoomAsync(this.#lane, keys, signal)
  }

  /** close() was called, here or because the thread ends. */
  get closed(): boolean {
    return !this.#lane.open
  }

  /**
   * Publishes, and gives the writer's slot back once everything is consumed. Idempotent, also after
   * stop(); marks after it throw `ERR_DIRTYRING_CLOSED`.
   *
   * @throws `ERR_DIRTYRING_BUSY` inside batch()
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
    leaving.add(lane) // so the thread's end makes up for an exception below
    forget(this)
    Atomics.notify(lane.words, lane.attnAt) // ends listen()
    try {
      leave(lane, CLOSE_WAIT_MS)
    } catch (error) {
      if (!(error instanceof DirtyRingError)) throw error
      // A corrupt ring: no further try can succeed.
      this.#closing = false
      leaving.delete(lane)
      throw error
    }
    this.#closing = false
  }

  /** close() */
  [Symbol.dispose](): void {
    this.close()
  }

  /** One line, never the memory. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `Writer { id: ${this.id}, staged: ${this.staged}, closed: ${this.closed} }`
  }

  #stage(lo: number, hi: number): boolean {
    if (stage(this.#lane, lo, hi)) return true
    while (this.#makeRoom(1)) if (stage(this.#lane, lo, hi)) return true
    return false
  }

  #stageMany(lanes: ArrayLike<number>, count: number, name: string): boolean {
    const lane = this.#lane
    this.#check()
    if (count === 0) return true
    if (count > lane.capacity)
      throw outOfRange(name, `at most ${lane.capacity} keys (laneCapacity)`, count)
    if (stageMany(lane, lanes, count)) return true
    while (this.#makeRoom(count)) if (stageMany(lane, lanes, count)) return true
    return false
  }

  /**
   * After a mark was refused: true when there is room now. False if the caller is to be told that
   * nothing was stored.
   */
  #makeRoom(count: number): boolean {
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
      there = waitForRoom(lane, count, this.#waiting.onFull === 'wait', this.#waiting.maxWaitMs)
      if (!there && this.#waiting.onFull === 'wait') throw wouldBlockError(lane, count)
      if (!there && lane.batching)
        throw stalledError(
          lane,
          count,
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
 * Keys that are put into a lane at a time when they need not be in one epoch: so that the
 * aggregator takes some while others come.
 */
export function partOf(lane: Lane): number {
  return Math.max(1, lane.capacity >>> 2)
}

/** An option bag with `atomic`, checked. */
export function isAtomic(options: { atomic?: boolean | undefined } = {}): boolean {
  checkBag('options', options, ['atomic'])
  const { atomic = true } = options
  return checkBoolean('options.atomic', atomic)
}

/**
 * A writer on the calling thread, from a tracker's handle received from another one. It publishes
 * and closes by itself when its thread ends of its own accord; of a thread that is terminated, a
 * tracker that watches it harvests the keys.
 *
 * Throws TypeError with `ERR_DIRTYRING_BAD_HANDLE` or `ERR_DIRTYRING_VERSION`,
 * `ERR_DIRTYRING_NO_WRITER_SLOT` when `maxWriters` are open, and `ERR_DIRTYRING_STOPPED`.
 *
 * @example
 * ```js
 * // main.js
 * import { Worker } from 'node:worker_threads'
 * import { DirtyTracker } from 'dirtyring'
 *
 * const tracker = await DirtyTracker.create()
 * const worker = new Worker(new URL('./writer.js', import.meta.url), { workerData: tracker.handle })
 * await new Promise((resolve) => worker.once('exit', resolve))
 * await tracker.consume((epoch) => console.log(...epoch.ids())) // 42
 * await tracker.stop()
 * ```
 *
 * ```js
 * // writer.js
 * import { workerData } from 'node:worker_threads'
 * import { openWriter } from 'dirtyring'
 *
 * const dirty = openWriter(workerData)
 * dirty.mark(42)
 * ```
 */
export function openWriter(handle: unknown): Writer {
  return openWriterIn(attachMemory(handle, 'tracker'))
}

export function openWriterIn(memory: Memory): Writer {
  checkIdentity(memory.words)
  const { batchSize, flushIntervalMs, onFull, maxWaitMs } = settingsOf(memory.words)
  const open = (): Lane | NoLane =>
    openLane(memory, threadIdFor(memory), batchSize, clockFor(flushIntervalMs), ancestorIds())
  let lane = open()
  if (lane === 'none-free' && hostsAny()) {
    pumpHosted() // closed ones may be waiting for an aggregator on this very thread
    lane = open()
  }
  if (lane === 'stopped')
    throw new DirtyRingError('ERR_DIRTYRING_STOPPED', 'the tracker has stopped')
  if (lane === 'none-free') throw noWriterSlot(memory)
  const writer = new Writer(lane, { onFull, maxWaitMs })
  forgetStopped()
  openWriters.add(writer)
  watchLane(lane)
  listen(lane)
  watchWorkersForWriter(memory, forgetStopped)
  if (!hooked) {
    hooked = true
    platform.onThreadEnd(endThread)
  }
  return writer
}

/**
 * This thread's writers from threadWriter(), by their tracker's identity: a handle received twice
 * is two objects.
 */
const threadWriters = new Map<string, Writer>()

/**
 * This thread's writer for a tracker: opened at the first call, the same one ever after, whichever
 * copy of the handle it is asked with; another one once that is closed. For threads that are given
 * a handle with every task. Throws what openWriter() throws.
 *
 * @example
 * ```js
 * import { threadWriter } from 'dirtyring'
 *
 * const copy = structuredClone(tracker.handle) // as every message brings one
 * console.log(threadWriter(copy) === threadWriter(tracker.handle)) // true
 * ```
 */
export function threadWriter(handle: unknown): Writer {
  const memory = attachMemory(handle, 'tracker')
  const key = `${memory.words[TRACKER_ID]},${memory.words[TRACKER_ID + 1]}`
  let writer = threadWriters.get(key)
  if (writer !== undefined && !writer.closed && !isStopped(laneOf(writer))) return writer
  forgetStopped()
  writer = openWriterIn(memory)
  threadWriters.set(key, writer)
  return writer
}

/**
 * Run `use` with this thread's writer ({@link threadWriter}), and flush when it has returned,
 * settled or thrown: a finished task is a published task. Timers of a pool's worker do not run
 * between tasks, so `flushIntervalMs` does not help there.
 *
 * Returns what `use` returns; of a promise, one that settles when its keys are published too.
 * Throws what `use` and flush() throw, and `ERR_DIRTYRING_STALLED` where `onFull: 'reject'` and the
 * ring is full: the keys stay staged then, and go out with the next batch.
 *
 * @example
 * ```js
 * // main.js
 * import { Piscina } from 'piscina'
 * import { DirtyTracker } from 'dirtyring'
 *
 * const tracker = await DirtyTracker.create()
 * const pool = new Piscina({ filename: new URL('./task.js', import.meta.url).href, maxThreads: 2 })
 * await Promise.all([pool.run({ handle: tracker.handle, rows: [1, 2] }), pool.run({ handle: tracker.handle, rows: [2, 3] })])
 * await tracker.consume((epoch) => console.log(epoch.size)) // 3
 * await pool.destroy()
 * await tracker.stop()
 * ```
 *
 * ```js
 * // task.js
 * import { withWriter } from 'dirtyring'
 *
 * export default ({ handle, rows }) =>
 *   withWriter(handle, (dirty) => {
 *     for (const id of rows) dirty.mark(id)
 *   })
 * ```
 */
export function withWriter<T>(handle: unknown, use: (writer: Writer) => T): T {
  checkFunction('use', use)
  const writer = threadWriter(handle)
  const publishAll = (): void => {
    // A batch() around this call takes the marks along.
    if (laneOf(writer).batching) return
    if (!writer.flush())
      throw stalledError(laneOf(writer), 0, 'the ring is full, and this thread may not wait')
  }
  let result: T
  try {
    result = use(writer)
  } catch (error) {
    flushQuietly(writer)
    throw error
  }
  if (typeof (result as { then?: unknown } | null | undefined)?.then !== 'function') {
    publishAll()
    return result
  }
  return Promise.resolve(result).then(
    (value) => {
      publishAll()
      return value
    },
    (error: unknown) => {
      flushQuietly(writer)
      throw error
    },
  ) as T
}

/**
 * What a batch or a task returns, if it is no promise: its marks are published by then, and what it
 * does later would be unmarked.
 */
function synchronous<T>(result: T): T {
  if (typeof (result as { then?: unknown } | null | undefined)?.then !== 'function') return result
  // The TypeError below is what the caller is told; the promise, if it is a real one, would end the
  // process when it rejects.
  if (result instanceof Promise) result.catch(() => undefined)
  throw invalidArg(
    'use',
    'a function that returns no promise',
    result,
    'batch() is synchronous: all marks and writes must be made when the function returns.',
  )
}

/** After an exception of the caller's own, which is what the caller has to be told. */
function endBatchQuietly(lane: Lane): void {
  try {
    endBatch(lane)
  } catch {
    // A corrupt ring: the next mark says so.
  }
}

/**
 * After a failure of the caller's own, which is what it has to be told. What can't be published
 * stays staged.
 */
function flushQuietly(writer: Writer): void {
  try {
    writer.flush()
  } catch {
    // it stays staged
  }
}

/**
 * There is nothing more to do for it when its thread ends; and this list would keep the memory of a
 * tracker that has stopped.
 */
function forget(writer: Writer): void {
  openWriters.delete(writer)
  unwatchLane(laneOf(writer))
}

function forgetStopped(): void {
  for (const writer of openWriters) if (isStopped(laneOf(writer))) forget(writer)
  for (const lane of leaving) if (isStopped(lane)) leaving.delete(lane)
  for (const [key, writer] of threadWriters)
    if (writer.closed || isStopped(laneOf(writer))) threadWriters.delete(key)
}

/**
 * Publishes what this thread's writers of one tracker have staged; what a full ring does not take
 * stays staged. True if the ring took all of it.
 */
export function publishOwn(memory: Memory): boolean {
  let isAll = true
  for (const writer of openWriters) {
    const lane = laneOf(writer)
    if (
      (lane.end === lane.published && !lane.everything) ||
      !sameMemory(lane.memory, memory) ||
      publish(lane)
    )
      continue
    if (hostsAny()) {
      pumpHosted()
      if (publish(lane)) continue
    }
    isAll = false
  }
  return isAll
}

/**
 * Lanes whose CLOSE may not be in the ring: it found the ring full, and a timer tries again, or an
 * exception struck.
 */
const leaving = new Set<Lane>()

function endThread(): void {
  noteThreadEnd()
  for (const lane of new Set([...[...openWriters].map(laneOf), ...leaving])) {
    try {
      // Not once it has been closed: its CLOSE may be in the ring, and take with it what is staged.
      if (lane.open) publish(lane)
      closeLane(lane) // takes with it what a full ring did not
    } catch {
      // A corrupt ring: it has nothing to do with the other lanes, and there is nobody left to be
      // told.
    }
  }
}

/** How long close() waits for a full ring before it leaves the rest to a timer. */
const CLOSE_WAIT_MS = 1000

/**
 * Push CLOSE, which takes what is staged with it. While the ring is full the lane stays this
 * thread's, so that a death in between loses nothing.
 */
function leave(lane: Lane, waitMs: number): void {
  const { words, header } = lane
  const deadline = nowMs() + waitMs
  while (!closeLane(lane) && !isRingClosed(words)) {
    if (hostsAny()) {
      pumpHosted()
      if (closeLane(lane)) break
    }
    if (nowMs() >= deadline || !platform.canBlock()) {
      leaving.add(lane)
      unref(setTimeout(() => leaveLater(lane), 10))
      return
    }
    Atomics.wait(words, header + LANE_WAKE, Atomics.load(words, header + LANE_WAKE), 1)
  }
  leaving.delete(lane)
}

/**
 * leave(), from a timer: an error has no caller to go to there, and would end the thread. A corrupt
 * ring takes no token any more, so nothing is left to try.
 */
function leaveLater(lane: Lane): void {
  try {
    leave(lane, 0)
  } catch {
    leaving.delete(lane)
  }
}

function noWriterSlot(memory: Memory): DirtyRingError {
  const { words, layout } = memory
  let owned = 0
  for (let id = 0; id < layout.maxWriters; id++)
    if ((Atomics.load(words, laneAt(layout, id) + LANE_OWNER) & THREAD_MASK) !== 0) owned++
  return new DirtyRingError(
    'ERR_DIRTYRING_NO_WRITER_SLOT',
    `no free writer: all ${layout.maxWriters} (maxWriters) are taken, ${owned} of them open or waiting for the aggregator to close or reap them`,
  )
}
