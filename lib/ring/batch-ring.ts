import {
  BY_LIBRARY,
  checkByLibrary,
  checkFunction,
  typedArrayName,
  viewLength,
  wordsOf,
} from '../check.js'
import { DirtyRingError, invalidArg, outOfRange } from '../errors.js'
import { LANE_KEYS, OWNER } from '../memory/map.js'
import { attachMemory, createMemory, handleOf, type Memory, sameMemory } from '../memory/memory.js'
import { threadIdFor } from '../memory/thread.js'
import { resolveRingOptions, type TrackerOptions } from '../options.js'
import { type AbortSignalLike, signalOf } from '../signal.js'
import { setTimeout, unref } from '../timers.js'
import { waitForBatch, walkBatches } from './batch-waits.js'
import { findBatch, passToken, type TakenToken, takeToken } from './drain.js'
import { closeLane, type Lane, openLane, publishMany } from './lane.js'

/**
 * The rings that this thread is draining now, the innermost last. onBatch may drain another ring.
 */
const draining: Memory[] = []

/** A producer stages nothing between two calls, so it needs no clock that publishes. */
const noClock = { armed: true, arm: (): void => undefined }

/** Gives BatchRing the private constructor of BatchProducer. */
let makeProducer: (lane: Lane) => BatchProducer

/**
 * Names a ring to other threads of this process. Pass it in workerData or by postMessage, and give
 * it to {@link BatchRing.attach} there.
 */
export interface RingHandle {
  /** Exists at compile time only: the compiler then refuses any other object as a handle. */
  readonly __brand: 'dirtyring.RingHandle'
}

/** One batch of {@link BatchRing.batches}: a copy, which the caller may keep. */
export interface RingBatch {
  /** The words that one push() has published. */
  keys: BigUint64Array
  /** `producer.id` of the producer that pushed them. */
  producerId: number
}

/** A ring by itself has no epochs, and no text. */
const NO_EPOCHS = {
  epochSlots: 0,
  maxKeysPerEpoch: 0,
  laneTextBytes: 0,
  maxStringsPerEpoch: 0,
  maxStringBytesPerEpoch: 0,
  maxConsumers: 0,
}

/**
 * Carries batches of 64-bit words from many producers to one consumer, in one order. It has the
 * lanes and the tokens of a tracker, and no epochs. Any number of threads may attach and push. One
 * of them is the consumer: it drains, waits, or walks the batches.
 *
 * @example
 * ```js
 * import { BatchRing } from 'dirtyring'
 *
 * const ring = BatchRing.create({ capacity: 64 })
 * const producer = BatchRing.attach(ring.handle).openProducer() // in another thread
 * console.log(producer.push(BigUint64Array.of(1n, 2n))) // true
 * ring.drain((batch, producerId) => console.log(producerId, batch.join())) // 0 1,2
 * ```
 */
export class BatchRing {
  /** Pass it to other threads of this process. */
  readonly handle: RingHandle
  readonly #memory: Memory

  private constructor(pass: typeof BY_LIBRARY, memory: Memory) {
    checkByLibrary(pass, 'BatchRing', 'Call BatchRing.create() or BatchRing.attach(handle).')
    this.#memory = memory
    this.handle = handleOf(memory) as unknown as RingHandle
  }

  /**
   * Makes a ring.
   *
   * @param options - Three options of a tracker: `capacity` in batches, `laneCapacity` in keys of
   * one producer, and `maxWriters`.
   * @throws TypeError `ERR_DIRTYRING_INVALID_ARG` and RangeError `ERR_DIRTYRING_OUT_OF_RANGE`.
   * @throws DirtyRingError `ERR_DIRTYRING_NO_SHARED_MEMORY`.
   */
  static create(
    options: Pick<TrackerOptions, 'capacity' | 'laneCapacity' | 'maxWriters'> = {},
  ): BatchRing {
    const geometry = resolveRingOptions(options)
    const batchSize = geometry.laneCapacity
    return new BatchRing(BY_LIBRARY, createMemory({ ...NO_EPOCHS, ...geometry, batchSize }, []))
  }

  /**
   * Opens a ring that another thread has made.
   *
   * @param handle - `ring.handle`.
   * @throws TypeError `ERR_DIRTYRING_BAD_HANDLE` or `ERR_DIRTYRING_VERSION`.
   */
  static attach(handle: RingHandle): BatchRing {
    return new BatchRing(BY_LIBRARY, attachMemory(handle, 'ring'))
  }

  /**
   * Opens a producer on the calling thread. If a producer's thread dies, its id is not used again.
   *
   * @throws DirtyRingError `ERR_DIRTYRING_NO_WRITER_SLOT` when `maxWriters` are open.
   */
  openProducer(): BatchProducer {
    const memory = this.#memory
    const lane = openLane(memory, threadIdFor(memory), memory.layout.laneCapacity, noClock)
    if (typeof lane === 'string') {
      throw new DirtyRingError(
        'ERR_DIRTYRING_NO_WRITER_SLOT',
        `no free producer: all ${memory.layout.maxWriters} (maxWriters) are taken`,
      )
    }
    return makeProducer(lane)
  }

  /**
   * Hands batches to `onBatch`, the oldest first. The first thread that drains becomes the
   * consumer. If `onBatch` throws, that batch counts as handed out.
   *
   * @param onBatch - Receives a view of the batch, valid during the call only, and the producer's
   * id.
   * @param limit - The most batches to hand out: a whole number from 0, or Infinity (the default).
   * @returns How many batches were handed out.
   * @throws TypeError `ERR_DIRTYRING_INVALID_ARG` and RangeError `ERR_DIRTYRING_OUT_OF_RANGE`.
   * @throws DirtyRingError `ERR_DIRTYRING_AGGREGATOR_TAKEN` when another thread is the consumer,
   * and when `onBatch` calls drain() of the same ring.
   */
  drain(onBatch: (keys: BigUint64Array, producerId: number) => void, limit = Infinity): number {
    checkFunction('onBatch', onBatch)
    if (typeof limit !== 'number') throw invalidArg('limit', 'a number', limit)
    const isLimit = limit === Infinity || (Number.isInteger(limit) && limit >= 0)
    if (!isLimit) throw outOfRange('limit', 'a whole number from 0 on, or Infinity', limit)
    this.#takeRole('drain')
    draining.push(this.#memory)
    try {
      let handed = 0
      while (handed < limit) {
        const token = takeToken(this.#memory)
        if (token === undefined) break
        try {
          if (token.lane < 0) continue
          handed++
          onBatch(viewOf(this.#memory, token), token.producer)
        } finally {
          passToken(this.#memory, token)
        }
      }
      return handed
    } finally {
      draining.pop()
    }
  }

  /**
   * Sleeps until there is a batch to drain. The calling thread becomes the consumer, as with
   * {@link BatchRing.drain}.
   *
   * @param ms - How long to sleep at most, in milliseconds: a number from 0, or Infinity (the
   * default). With 0 it only looks.
   * @returns True if there is a batch. False if `ms` have gone by.
   * @throws TypeError `ERR_DIRTYRING_INVALID_ARG` and RangeError `ERR_DIRTYRING_OUT_OF_RANGE`.
   * @throws DirtyRingError `ERR_DIRTYRING_WOULD_BLOCK` if there is no batch and this thread may not
   * sleep (a page's main thread); `ERR_DIRTYRING_AGGREGATOR_TAKEN` as {@link BatchRing.drain}.
   *
   * @example
   * ```js
   * import { BatchRing } from 'dirtyring'
   *
   * const ring = BatchRing.create({ capacity: 64 })
   * console.log(ring.wait(5)) // false
   * ring.openProducer().push(BigUint64Array.of(1n, 2n))
   * while (ring.wait(5)) ring.drain((batch) => console.log(batch.join())) // 1,2
   * ```
   */
  wait(ms = Infinity): boolean {
    if (typeof ms !== 'number') throw invalidArg('ms', 'a number', ms)
    if (!(ms >= 0)) throw outOfRange('ms', 'a number from 0 on, or Infinity', ms)
    this.#takeRole('wait')
    return waitForBatch(this.#memory, ms)
  }

  /**
   * Walks the batches as they come, the oldest first. It never blocks the thread, and lets the
   * event loop turn while there are many. The thread that walks becomes the consumer, as with
   * {@link BatchRing.drain}. A batch counts as handed out when next() resolves with it. While a
   * next() is pending, it keeps the thread alive.
   *
   * @param options - `signal`: when it aborts, the walk ends, without an error. Batches that were
   * not handed out stay in the ring.
   * @returns An iterator, for `for await`. Its next() rejects with `ERR_DIRTYRING_AGGREGATOR_TAKEN`
   * as {@link BatchRing.drain} throws it.
   * @throws TypeError `ERR_DIRTYRING_INVALID_ARG` at once.
   *
   * @example
   * ```js
   * import { BatchRing } from 'dirtyring'
   *
   * const ring = BatchRing.create({ capacity: 64 })
   * const producer = ring.openProducer()
   * setTimeout(() => producer.push(BigUint64Array.of(1n, 2n)), 5)
   * for await (const { keys, producerId } of ring.batches()) {
   *   console.log(producerId, keys.join()) // 0 1,2
   *   break
   * }
   * ```
   */
  batches(
    options: { signal?: AbortSignalLike | undefined } = {},
  ): AsyncIterableIterator<RingBatch> {
    return walkBatches(this.#memory, () => this.#take(), signalOf(options))
  }

  /** What console.log() prints: one line, and not the memory. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    const { capacity, laneCapacity, maxWriters } = this.#memory.layout
    const sizes = `laneCapacity: ${laneCapacity}, maxWriters: ${maxWriters}`
    return `BatchRing { capacity: ${capacity}, ${sizes} }`
  }

  /** Takes the oldest batch out of the ring, as a copy. */
  #take(): RingBatch | undefined {
    this.#takeRole('next')
    const memory = this.#memory
    if (!findBatch(memory)) return undefined
    const token = takeToken(memory)!
    try {
      const keys = new BigUint64Array(token.count)
      copyBatch(memory, token, keys)
      return { keys, producerId: token.producer }
    } finally {
      passToken(memory, token)
    }
  }

  #takeRole(call: string): void {
    const { words } = this.#memory
    const mine = threadIdFor(this.#memory) + 1
    const holder = Atomics.compareExchange(words, OWNER, 0, mine)
    if (holder !== 0 && holder !== mine) {
      throw new DirtyRingError(
        'ERR_DIRTYRING_AGGREGATOR_TAKEN',
        `thread ${holder - 1} is this ring's consumer`,
      )
    }
    if (draining.some((memory) => sameMemory(memory, this.#memory)))
      throw new DirtyRingError(
        'ERR_DIRTYRING_AGGREGATOR_TAKEN',
        `${call}() was called from within onBatch`,
      )
  }
}

/** Returns a view of the batch in the lane. A batch that runs across the lane's end is copied. */
function viewOf(memory: Memory, token: TakenToken): BigUint64Array {
  const { count } = token
  const { laneCapacity } = memory.layout
  const first = token.start & (laneCapacity - 1)
  if (first + count <= laneCapacity) return laneView(memory, token, first, count)
  const copy = new BigUint64Array(count)
  copyBatch(memory, token, copy)
  return copy
}

function copyBatch(memory: Memory, token: TakenToken, to: BigUint64Array): void {
  const { laneCapacity } = memory.layout
  const first = token.start & (laneCapacity - 1)
  const inFirstPart = Math.min(token.count, laneCapacity - first)
  to.set(laneView(memory, token, first, inFirstPart))
  if (inFirstPart < token.count)
    to.set(laneView(memory, token, 0, token.count - inFirstPart), inFirstPart)
}

function laneView(
  { words }: Memory,
  { lane }: TakenToken,
  first: number,
  count: number,
): BigUint64Array {
  return new BigUint64Array(words.buffer, (lane + LANE_KEYS) * 4 + first * 8, count)
}

/**
 * Pushes one thread's batches into a BatchRing. Open one with {@link BatchRing.openProducer}, and
 * use it on that thread only.
 *
 * @example
 * ```js
 * import { BatchRing } from 'dirtyring'
 *
 * const ring = BatchRing.create({ capacity: 2, laneCapacity: 4 })
 * const producer = ring.openProducer()
 * console.log(producer.push(BigUint64Array.of(1n, 2n, 3n))) // true
 * console.log(producer.push(BigUint64Array.of(4n, 5n))) // false
 * ring.drain(() => {})
 * console.log(producer.push(BigUint64Array.of(4n, 5n))) // true
 * producer.close()
 * ```
 */
export class BatchProducer {
  /** The number that drain() gives with each batch of this producer. */
  readonly id: number
  readonly #lane: Lane
  /** True if a close() has begun and an exception ended it. The next close() tries again. */
  #closing = false

  static {
    makeProducer = (lane) => new BatchProducer(BY_LIBRARY, lane)
  }

  private constructor(pass: typeof BY_LIBRARY, lane: Lane) {
    checkByLibrary(pass, 'BatchProducer', 'Call ring.openProducer().')
    this.id = lane.id
    this.#lane = lane
  }

  /**
   * Publishes a batch: all of it or none of it. For an empty batch it returns true, and hands
   * nothing out.
   *
   * @param batch - At most `laneCapacity` keys.
   * @returns False when the ring or this producer's lane is full.
   * @throws TypeError `ERR_DIRTYRING_INVALID_ARG` and RangeError `ERR_DIRTYRING_OUT_OF_RANGE`.
   * @throws DirtyRingError `ERR_DIRTYRING_CLOSED`.
   */
  push(batch: BigUint64Array): boolean {
    if (typedArrayName(batch) !== 'BigUint64Array')
      throw invalidArg('batch', 'a BigUint64Array', batch)
    const count = viewLength(batch, 'batch')
    const lane = this.#lane
    if (!lane.open)
      throw new DirtyRingError('ERR_DIRTYRING_CLOSED', `producer ${lane.id} is closed`)
    if (count > lane.capacity)
      throw outOfRange('batch', `at most ${lane.capacity} keys (laneCapacity)`, count)
    return count === 0 || publishMany(lane, wordsOf(batch, count * 2), count)
  }

  /**
   * Closes the producer. Its id becomes free when all that it pushed has been handed out. While the
   * ring is full the id stays taken, and a timer tries again. A second call does nothing.
   */
  close(): void {
    if (!this.#lane.open && !this.#closing) return
    this.#closing = true
    leave(this.#lane)
    this.#closing = false
  }
}

function leave(lane: Lane): void {
  if (!closeLane(lane)) unref(setTimeout(() => leaveLater(lane), 10))
}

/**
 * Calls leave() from a timer. An error has no caller there, and would end the thread. drain() tells
 * that the ring is corrupt.
 */
function leaveLater(lane: Lane): void {
  try {
    leave(lane)
  } catch {
    // A corrupt ring takes no token.
  }
}
