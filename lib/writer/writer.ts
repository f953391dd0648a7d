import { platform } from '#platform'
import { hostsAny, pumpHosted } from '../aggregator/run.js'
import { threadIdFor } from '../platform/thread.js'
import { DirtyRingError, invalidArg, outOfRange } from '../errors.js'
import { hashKey } from '../fingerprint.js'
import { keyCount, laneCount, readKey, readKeys, type Fingerprint, type Key, type KeyList } from '../keys.js'
import { LANE_OWNER, LANE_REJECTED, LANE_WAKE, laneAt, TRACKER_ID } from '../memory/map.js'
import { attachMemory, checkIdentity, sameMemory, settingsOf, type Memory } from '../memory/memory.js'
import { addTotal } from '../memory/total.js'
import { closeLane, isStopped, openLane, publish, roomNow, stage, stageMany, type Lane, type NoLane } from '../ring/lane.js'
import { controlToken, EVERYTHING, THREAD_MASK } from '../ring/token.js'
import { checkBag } from '../check.js'
import { signalOf, throwIfAborted, type AbortSignalLike } from '../signal.js'
import { nowMs, setTimeout, unref } from '../timers.js'
import { clockFor, listen, unwatchLane, watchLane } from './clock.js'
import { closedError, pushWaiting, stalledError, stoppedError, waitForRoom, waitForRoomAsync } from './wait.js'

/** Where one key's lanes are put on their way; never held across a call that could come back here. */
const scratch = new Int32Array(2)

/** The open writers of this thread, of all trackers. */
const openWriters = new Set<Writer>()
let hooked = false

/** A writer's lane, for the modules that move keys into it. Throws for what is no Writer of this copy of the library. */
export let laneOf: (writer: Writer) => Lane

/** The size of a batch and when to publish it are the tracker's; how a writer waits is written here. */
interface Waiting {
  readonly onFull: 'wait' | 'reject'
  readonly maxWaitMs: number
}

/**
 * Marks the keys that the calling thread writes. Open one with {@link openWriter} or `tracker.openWriter()`; use it on that thread only.
 *
 * A mark is *staged*; it is *published*, and so in the next cut, when a batch is full, at {@link Writer.flush}, or `flushIntervalMs` later. Mark a key
 * after its new value can be read by others, or inside one critical section with the write.
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
  /** Number of the lane, 0 to `maxWriters` - 1. Given to another writer once this one is closed and its keys are consumed. */
  readonly id: number
  readonly #lane: Lane
  readonly #waiting: Waiting
  #txnId: number | bigint | undefined
  /** Keys of the batch() that is being gathered, lo, hi …: `#held` of them. */
  #gathered = new Int32Array(0)
  #held = 0
  /** The batch that is being gathered was asked to take more than a lane does. */
  #tooLong = false

  static {
    laneOf = (writer) => {
      if (!(#lane in writer)) throw invalidArg('writer', 'a Writer of this copy of the library', writer)
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
   * Mark a key: an id (a whole number to 2^53 - 1), a bigint (the 64 bits), a string or bytes (by their fingerprint), or two lanes `(lo, hi)`, which are
   * taken modulo 2^32 and not checked, for hot loops.
   *
   * True if stored. False only with `onFull: 'reject'`, or on a thread that may not block, when the lane is full: nothing was stored then. With 'wait' it
   * sleeps for room. Throws TypeError or RangeError for what is no key, `ERR_DIRTYRING_STALLED` after `maxWaitMs`, `ERR_DIRTYRING_CLOSED` and
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
    return this.#stage(key as number, hi)
  }

  /** Mark a fingerprint: 0n to 2^64 - 1. As mark() in all else. */
  markFingerprint(fp: Fingerprint): boolean {
    if (typeof fp !== 'bigint') throw invalidArg('fp', 'a bigint', fp)
    readKey(fp, scratch, 0, 'fp')
    return this.#stage(scratch[0], scratch[1])
  }

  /** Mark a string or bytes by `fingerprint(key, seed)`; seed: uint32, a namespace of yours, default 0. As mark() in all else. */
  markKey(key: string | Uint8Array, seed = 0): boolean {
    hashKey(key, seed, scratch)
    return this.#stage(scratch[0], scratch[1])
  }

  /**
   * Mark many keys as one atomic batch: all of them in one epoch, or false and none of them. An empty list is true, and no batch.
   * RangeError when there are more than `laneCapacity`. `atomic: false`: any length, as as many batches as it takes; when it is false, or throws, a part may
   * be stored: mark all of it again. As mark() in all else.
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
    const count = keyCount(keys)
    if (count === 0) return this.#stageAll([], 0, 'keys', true)
    const lanes = keys instanceof BigUint64Array ? new Int32Array(keys.buffer, keys.byteOffset, count * 2) : new Int32Array(count * 2)
    if (!(keys instanceof BigUint64Array)) readKeys(keys, lanes, 0, count)
    return this.#stageAll(lanes, count, 'keys', atomic)
  }

  /**
   * The same for lanes lo, hi, lo, hi …: an epoch's `lanes`, for instance. RangeError for an odd length.
   *
   * @example
   * ```js
   * writer.markLanes(Uint32Array.of(7, 2, 8, 2)) // rows 7 and 8 of table 2
   * await tracker.consume((epoch) => console.log(epoch.has(8, 2))) // true
   * ```
   */
  markLanes(lanes: Uint32Array | Int32Array, options?: { atomic?: boolean | undefined }): boolean {
    const atomic = isAtomic(options)
    return this.#stageAll(lanes, laneCount(lanes), 'lanes', atomic)
  }

  /**
   * Everything that `use` marks is one atomic batch: in one epoch, published when `use` returns (with the next publication, still whole, where the ring is
   * full), and forgotten when it throws. A batch within a batch joins it. Synchronous only: TypeError for a promise.
   *
   * RangeError, and nothing marked, beyond `laneCapacity` keys. With `onFull: 'reject'` a mark for which there is no room is false, as outside; with 'wait'
   * the batch as a whole waits, when `use` has returned, and throws what mark() throws.
   *
   * @example
   * ```js
   * writer.batch(() => {
   *   writer.mark('from:1')
   *   writer.mark('to:2')
   * })
   * try {
   *   writer.batch(() => {
   *     writer.mark('from:3')
   *     throw new Error('the account is closed')
   *   })
   * } catch (error) {
   *   console.log(error.message) // the account is closed
   * }
   * await tracker.consume((epoch) => console.log(epoch.has('from:1'), epoch.has('to:2'), epoch.has('from:3'))) // true true false
   * ```
   */
  batch<T>(use: () => T): T {
    if (typeof use !== 'function') throw invalidArg('use', 'a function', use)
    const lane = this.#lane
    this.#check()
    const before = this.#held
    const isOutermost = !lane.held
    let held = before
    let result: T
    try {
      // Plain stores, here and below: a call could throw where the stack is at its end, and the lane would be held for ever.
      lane.held = true
      lane.due = lane.end
      result = use()
      if (typeof (result as { then?: unknown } | null | undefined)?.then === 'function') {
        throw invalidArg('use', 'a function that returns when its marks are made', result)
      }
      if (this.#tooLong) throw this.#batchTooLong()
      held = this.#held
    } finally {
      this.#held = isOutermost ? 0 : held
      if (isOutermost) {
        this.#tooLong = false
        lane.held = false
        lane.due = lane.end
      }
    }
    if (isOutermost && !this.#stageMany(this.#gathered, held, 'use')) throw stalledError(lane, held, 'this thread may not wait')
    return result
  }

  /**
   * A change that no list of keys describes (a bulk load, a truncate): the epoch it lands in says `exact: false`, reason 'everything'. False only with
   * `onFull: 'reject'` when the ring is full. Not part of a batch(): it holds at once. Throws what flush() throws.
   */
  markEverything(): boolean {
    this.#check()
    return pushWaiting(this.#lane, controlToken(EVERYTHING, 0), this.#waiting.onFull === 'wait', this.#waiting.maxWaitMs)
  }

  /**
   * Marks that follow belong to this transaction; keys staged for another one are published first. A tag: it makes nothing atomic and undoes nothing; for that
   * there are batch() and TxnBuffer. Throws TypeError, `ERR_DIRTYRING_CLOSED` and `ERR_DIRTYRING_STOPPED`.
   */
  begin(txnId: number | bigint): void {
    if (typeof txnId !== 'number' && typeof txnId !== 'bigint') throw invalidArg('txnId', 'a number or a bigint', txnId)
    this.#check()
    if (this.#txnId !== txnId) publish(this.#lane)
    this.#txnId = txnId
  }

  /**
   * Publish what is staged as one batch. True once nothing is staged: the next cut has all of it. With `onFull: 'wait'` it waits for a full ring, with
   * 'reject' it returns false. Throws `ERR_DIRTYRING_STALLED` after `maxWaitMs`, and `ERR_DIRTYRING_STOPPED` when staged keys can't be delivered any more.
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
    if (!lane.open || publish(lane)) return true
    if (isStopped(lane)) throw stoppedError(lane)
    return waitForRoom(lane, 0, this.#waiting.onFull === 'wait', this.#waiting.maxWaitMs)
  }

  /** Keys marked and not yet published, those of a batch() at hand included. */
  get staged(): number {
    return this.#lane.open ? ((this.#lane.end - this.#lane.published) | 0) + this.#held : 0
  }

  /** Keys that can be marked now without waiting or refusal. Only this thread uses it up, so it is a promise: look at it before you commit. 0 when closed or stopped. */
  get room(): number {
    return this.#lane.open && !isStopped(this.#lane) ? roomNow(this.#lane) - this.#held : 0
  }

  /**
   * Resolves when `keys` (1 to `laneCapacity`, default 1) fit. Never blocks the thread; looks every 10 ms at least. Rejects with `signal.reason`, with
   * `ERR_DIRTYRING_CLOSED` and `ERR_DIRTYRING_STOPPED`, and with TypeError and RangeError for bad input.
   *
   * @example
   * ```js
   * const keys = [1, 2, 3]
   * if (writer.room < keys.length) await writer.waitForRoom(keys.length, { signal })
   * console.log(writer.markMany(keys)) // true
   * ```
   */
  async waitForRoom(keys = 1, options: { signal?: AbortSignalLike | undefined } = {}): Promise<void> {
    const { capacity } = this.#lane
    if (typeof keys !== 'number') throw invalidArg('keys', 'a number', keys)
    if (!Number.isInteger(keys) || keys < 1 || keys > capacity)
      throw outOfRange('keys', `a whole number, 1 to ${capacity} (laneCapacity)`, keys)
    const signal = signalOf(options)
    throwIfAborted(signal)
    this.#check()
    await waitForRoomAsync(this.#lane, keys, signal)
  }

  /** close() was called, here or because the thread ends. */
  get closed(): boolean {
    return !this.#lane.open
  }

  /** Publish, and give the writer's slot back once everything is consumed. Idempotent, also after stop(); marks after it throw `ERR_DIRTYRING_CLOSED`. */
  close(): void {
    if (!this.#lane.open) return
    forget(this)
    Atomics.notify(this.#lane.words, this.#lane.attnAt) // ends listen()
    leave(this.#lane, CLOSE_WAIT_MS)
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
    if (this.#lane.held) {
      this.#check()
      if (!this.#reserve(1)) return false
      this.#gathered[this.#held * 2] = lo
      this.#gathered[this.#held * 2 + 1] = hi
      this.#held++
      return true
    }
    while (this.#makeRoom(1)) if (stage(this.#lane, lo, hi)) return true
    return false
  }

  #stageMany(lanes: ArrayLike<number>, count: number, name: string): boolean {
    const lane = this.#lane
    this.#check()
    if (count === 0) return true
    if (count > lane.capacity) throw outOfRange(name, `at most ${lane.capacity} keys (laneCapacity)`, count)
    if (lane.held) {
      if (!this.#reserve(count)) return false
      this.#gathered.set(lanes, this.#held * 2)
      this.#held += count
      return true
    }
    if (stageMany(lane, lanes, count)) return true
    while (this.#makeRoom(count)) if (stageMany(lane, lanes, count)) return true
    return false
  }

  /** At once, or, where they need not be in one epoch, a quarter of a lane at a time. */
  #stageAll(lanes: ArrayLike<number>, count: number, name: string, atomic: boolean): boolean {
    if (atomic || count <= partOf(this.#lane) || this.#lane.held) return this.#stageMany(lanes, count, name)
    for (let from = 0; from < count; from += partOf(this.#lane)) {
      const part = (lanes as Int32Array).subarray(from * 2, Math.min(from + partOf(this.#lane), count) * 2)
      if (!this.#stageMany(part, part.length / 2, name)) return false
    }
    return true
  }

  /** Room in #gathered for more keys of the batch() at hand. False where the batch would not find room for them in the lane and may not wait for it. */
  #reserve(count: number): boolean {
    const lane = this.#lane
    const size = this.#held + count
    if (size > lane.capacity) {
      this.#tooLong = true
      throw this.#batchTooLong()
    }
    if (this.#waiting.onFull === 'reject' && this.room < count) {
      addTotal(lane.words, lane.header + LANE_REJECTED, count)
      return false
    }
    if (size * 2 > this.#gathered.length) {
      const larger = new Int32Array(Math.min(Math.max(size * 2, this.#gathered.length * 2, 32), lane.capacity * 2))
      larger.set(this.#gathered)
      this.#gathered = larger
    }
    return true
  }

  #batchTooLong(): RangeError {
    return outOfRange('use', `to mark at most ${this.#lane.capacity} keys (laneCapacity)`, 'more')
  }

  /** After a mark was refused: true when there is room now. False if the caller is to be told that nothing was stored. */
  #makeRoom(count: number): boolean {
    const lane = this.#lane
    this.#check()
    let there = false
    try {
      there = waitForRoom(lane, count, this.#waiting.onFull === 'wait', this.#waiting.maxWaitMs)
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

/** Keys that are put into a lane at a time when they need not be in one epoch: so that the aggregator takes some while others come. */
export function partOf(lane: Lane): number {
  return Math.max(1, lane.capacity >>> 2)
}

/** An option bag with `atomic`, checked. */
export function isAtomic(options: { atomic?: boolean | undefined } = {}): boolean {
  checkBag('options', options, ['atomic'])
  const { atomic = true } = options
  if (typeof atomic !== 'boolean') throw invalidArg('options.atomic', 'a boolean', atomic)
  return atomic
}

/**
 * A writer on the calling thread, from a tracker's handle received from another one. It publishes and closes by itself when its thread ends of its own
 * accord; of a thread that is terminated, a tracker that watches it harvests the keys.
 *
 * Throws TypeError with `ERR_DIRTYRING_BAD_HANDLE` or `ERR_DIRTYRING_VERSION`, `ERR_DIRTYRING_NO_WRITER_SLOT` when `maxWriters` are open, and
 * `ERR_DIRTYRING_STOPPED`.
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
  const open = (): Lane | NoLane => openLane(memory, threadIdFor(memory), batchSize, clockFor(flushIntervalMs))
  let lane = open()
  if (lane === 'none-free' && hostsAny()) {
    pumpHosted() // closed ones may be waiting for an aggregator on this very thread
    lane = open()
  }
  if (lane === 'stopped') throw new DirtyRingError('ERR_DIRTYRING_STOPPED', 'the tracker has stopped')
  if (lane === 'none-free') throw noWriterSlot(memory)
  const writer = new Writer(lane, { onFull, maxWaitMs })
  for (const other of openWriters) if (isStopped(laneOf(other))) forget(other)
  openWriters.add(writer)
  watchLane(lane)
  listen(lane)
  if (!hooked) {
    hooked = true
    platform.onThreadEnd(endThread)
  }
  return writer
}

/** This thread's writers from threadWriter(), by their tracker's identity: a handle received twice is two objects. */
const threadWriters = new Map<string, Writer>()

/**
 * This thread's writer for a tracker: opened at the first call, the same one ever after, whichever copy of the handle it is asked with; another one once that
 * is closed. For threads that are given a handle with every task. Throws what openWriter() throws.
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
  for (const [each, other] of threadWriters) if (other.closed || isStopped(laneOf(other))) threadWriters.delete(each)
  writer = openWriterIn(memory)
  threadWriters.set(key, writer)
  return writer
}

/**
 * Run `use` with this thread's writer ({@link threadWriter}), and flush when it has returned, settled or thrown: a finished task is a published task. Timers
 * of a pool's worker do not run between tasks, so `flushIntervalMs` does not help there.
 *
 * Returns what `use` returns; of a promise, one that settles when its keys are published too. Throws what `use` and flush() throw, and
 * `ERR_DIRTYRING_STALLED` where `onFull: 'reject'` and the ring is full: the keys stay staged then, and go out with the next batch.
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
  if (typeof use !== 'function') throw invalidArg('use', 'a function', use)
  const writer = threadWriter(handle)
  const publishAll = (): void => {
    if (!writer.flush()) throw stalledError(laneOf(writer), 0, 'the ring is full, and this thread may not wait')
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

/** After a failure of the caller's own, which is what it has to be told. What can't be published stays staged. */
function flushQuietly(writer: Writer): void {
  try {
    writer.flush()
  } catch {
    // it stays staged
  }
}

/** There is nothing more to do for it when its thread ends; and this list would keep the memory of a tracker that has stopped. */
function forget(writer: Writer): void {
  openWriters.delete(writer)
  unwatchLane(laneOf(writer))
}

/** Publish what this thread's writers of one tracker have staged; what a full ring does not take stays staged. */
export function publishOwn(memory: Memory): void {
  for (const writer of openWriters) {
    const lane = laneOf(writer)
    if (lane.end === lane.published || !sameMemory(lane.memory, memory) || publish(lane) || !hostsAny()) continue
    pumpHosted()
    publish(lane)
  }
}

/** Lanes whose CLOSE found the ring full, and that a timer tries again for. */
const leaving = new Set<Lane>()

function endThread(): void {
  for (const lane of [...[...openWriters].map(laneOf), ...leaving]) {
    try {
      publish(lane)
      closeLane(lane) // takes with it what a full ring did not
    } catch {
      // A corrupt ring: it has nothing to do with the other lanes, and there is nobody left to be told.
    }
  }
}

/** How long close() waits for a full ring before it leaves the rest to a timer. */
const CLOSE_WAIT_MS = 1000

/** Push CLOSE, which takes what is staged with it. While the ring is full the lane stays this thread's, so that a death in between loses nothing. */
function leave(lane: Lane, waitMs: number): void {
  const { words, header } = lane
  const deadline = nowMs() + waitMs
  while (!closeLane(lane) && !isStopped(lane)) {
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

/** leave(), from a timer: an error has no caller to go to there, and would end the thread. A corrupt ring takes no token any more, so nothing is left to try. */
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
  for (let id = 0; id < layout.maxWriters; id++) if ((Atomics.load(words, laneAt(layout, id) + LANE_OWNER) & THREAD_MASK) !== 0) owned++
  return new DirtyRingError(
    'ERR_DIRTYRING_NO_WRITER_SLOT',
    `no free writer: all ${layout.maxWriters} (maxWriters) are taken, ${owned} of them open or waiting for the aggregator to close or reap them`,
  )
}
