import { platform } from '#platform'
import { hostsAny, pumpHosted } from '../aggregator/run.js'
import { threadIdFor } from '../platform/thread.js'
import { DirtyRingError, invalidArg, outOfRange } from '../errors.js'
import { hashKey } from '../fingerprint.js'
import { keyCount, laneCount, readKey, readKeys, type Fingerprint, type Key, type KeyList } from '../keys.js'
import { LANE_OWNER, LANE_REJECTED, LANE_WAKE, laneAt } from '../memory/map.js'
import { attachMemory, sameMemory, settingsOf, type Memory } from '../memory/memory.js'
import { addTotal } from '../memory/total.js'
import { closeLane, isStopped, openLane, publish, stage, stageMany, type Lane, type NoLane } from '../ring/lane.js'
import { THREAD_MASK } from '../ring/token.js'
import { unref } from '../timers.js'
import { clockFor, listen, unwatchLane, watchLane } from './clock.js'
import { stoppedError, waitForRoom } from './wait.js'

/** Where one key's lanes are put on their way; never held across a call that could come back here. */
const scratch = new Int32Array(2)

/** The open writers of this thread, of all trackers. */
const openWriters = new Set<Writer>()
let hooked = false

/** A writer's lane, for the modules that move keys into it. */
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
 * const tracker = await DirtyTracker.create()
 * const writer = tracker.openWriter()
 * writer.mark(42)               // an id of yours
 * writer.mark('user:7')         // a string, by its fingerprint
 * writer.flush()                // true: the next epoch has both
 * const epoch = await tracker.advanceEpoch()
 * console.log(epoch.size)       // 2
 * epoch.commit()
 * await tracker.stop()
 * ```
 */
export class Writer {
  /** Number of the lane, 0 to `maxWriters` - 1. Given to another writer once this one is closed and its keys are consumed. */
  readonly id: number
  readonly #lane: Lane
  readonly #waiting: Waiting
  #txnId: number | bigint | undefined

  static {
    laneOf = (writer) => writer.#lane
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
   * RangeError when there are more than `laneCapacity`. As mark() in all else.
   *
   * @example
   * ```js
   * writer.markMany([1, 2, 'user:7'])
   * writer.markMany(new BigUint64Array([1n, 2n]))
   * ```
   */
  markMany(keys: KeyList): boolean {
    const count = keyCount(keys)
    if (count === 0) return this.#stageMany([], 0, 'keys')
    const lanes = keys instanceof BigUint64Array ? new Int32Array(keys.buffer, keys.byteOffset, count * 2) : new Int32Array(count * 2)
    if (!(keys instanceof BigUint64Array)) readKeys(keys, lanes, 0, count)
    return this.#stageMany(lanes, count, 'keys')
  }

  /** The same for lanes lo, hi, lo, hi …: an epoch's `lanes`, for instance. RangeError for an odd length. */
  markLanes(lanes: Uint32Array | Int32Array): boolean {
    return this.#stageMany(lanes, laneCount(lanes), 'lanes')
  }

  /** Marks that follow belong to this transaction; keys staged for another one are published first. A tag: it makes nothing atomic and undoes nothing. */
  begin(txnId: number | bigint): void {
    if (typeof txnId !== 'number' && typeof txnId !== 'bigint') throw invalidArg('txnId', 'a number or a bigint', txnId)
    this.#check()
    if (this.#txnId !== txnId) publish(this.#lane)
    this.#txnId = txnId
  }

  /**
   * Publish what is staged as one batch. True once nothing is staged: the next cut has all of it. With `onFull: 'wait'` it waits for a full ring, with
   * 'reject' it returns false. Throws `ERR_DIRTYRING_STALLED` after `maxWaitMs`, and `ERR_DIRTYRING_STOPPED` when staged keys can't be delivered any more.
   */
  flush(): boolean {
    const lane = this.#lane
    if (!lane.open || publish(lane)) return true
    if (isStopped(lane)) throw stoppedError(lane)
    return waitForRoom(lane, 0, this.#waiting.onFull === 'wait', this.#waiting.maxWaitMs)
  }

  /** Keys marked and not yet published. */
  get staged(): number {
    return this.#lane.open ? (this.#lane.end - this.#lane.published) | 0 : 0
  }

  get closed(): boolean {
    return !this.#lane.open
  }

  /** Publish, and give the writer's slot back once everything is consumed. Idempotent, also after stop(); marks after it throw `ERR_DIRTYRING_CLOSED`. */
  close(): void {
    if (!this.#lane.open) return
    openWriters.delete(this)
    unwatchLane(this.#lane)
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
    while (this.#makeRoom(1)) if (stage(this.#lane, lo, hi)) return true
    return false
  }

  #stageMany(lanes: ArrayLike<number>, count: number, name: string): boolean {
    const lane = this.#lane
    this.#check()
    if (count === 0) return true
    if (count > lane.capacity) throw outOfRange(name, `at most ${lane.capacity} keys (laneCapacity)`, count)
    if (stageMany(lane, lanes, count)) return true
    while (this.#makeRoom(count)) if (stageMany(lane, lanes, count)) return true
    return false
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
    if (!lane.open) throw new DirtyRingError('ERR_DIRTYRING_CLOSED', `writer ${lane.id} is closed`)
    if (isStopped(lane)) throw stoppedError(lane)
  }
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
 * // writer.js, a worker started with { workerData: tracker.handle }
 * import { workerData } from 'node:worker_threads'
 * import { openWriter } from 'dirtyring'
 * const dirty = openWriter(workerData)
 * dirty.mark(42)
 * ```
 */
export function openWriter(handle: unknown): Writer {
  return openWriterIn(attachMemory(handle, 'tracker'))
}

export function openWriterIn(memory: Memory): Writer {
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
  openWriters.add(writer)
  watchLane(lane)
  listen(lane)
  if (!hooked) {
    hooked = true
    platform.onThreadEnd(endThread)
  }
  return writer
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
  const deadline = performance.now() + waitMs
  while (!closeLane(lane) && !isStopped(lane)) {
    if (hostsAny()) pumpHosted()
    if (performance.now() >= deadline || !platform.canBlock()) {
      leaving.add(lane)
      unref(setTimeout(() => leave(lane, 0), 10))
      return
    }
    if (!hostsAny()) Atomics.wait(words, header + LANE_WAKE, Atomics.load(words, header + LANE_WAKE), 1)
  }
  leaving.delete(lane)
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
