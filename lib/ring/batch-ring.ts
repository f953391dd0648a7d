import { checkFunction, typedArrayName, viewLength, wordsOf } from '../check.js'
import { DirtyRingError, invalidArg, outOfRange } from '../errors.js'
import { LANE_KEYS, OWNER } from '../memory/map.js'
import { attachMemory, createMemory, handleOf, sameMemory, type Memory } from '../memory/memory.js'
import { resolveRingOptions, type TrackerOptions } from '../options.js'
import { threadIdFor } from '../platform/thread.js'
import { setTimeout, unref } from '../timers.js'
import { passToken, takeToken } from './drain.js'
import { closeLane, openLane, publishMany, type Lane } from './lane.js'

/**
 * The rings that this thread is draining right now, the innermost last: onBatch may drain another
 * one.
 */
const draining: Memory[] = []

/** Nothing is staged here between two calls, so there is nothing to look after. */
const noClock = { armed: true, arm: (): void => undefined }

/**
 * The ring by itself: batches of 64-bit words from many producers to one consumer, in one order.
 * The same lanes and the same tokens as a tracker's, and no epochs. Nothing wakes anybody: drain
 * when you like. Any number of threads may attach and push; one of them drains.
 *
 * @example
 * ```js
 * import { BatchRing } from 'dirtyring'
 *
 * const ring = BatchRing.create({ capacity: 64 })
 * const producer = BatchRing.attach(ring.handle).openProducer() // in another thread
 * console.log(producer.push(BigUint64Array.of(1n, 2n))) // true
 * console.log(ring.drain((batch, producerId) => console.log(producerId, batch.join()))) // 0 1,2 | 1
 * ```
 */
export class BatchRing {
  /** Pass it to other threads of this process. */
  readonly handle: unknown
  readonly #memory: Memory

  private constructor(memory: Memory) {
    this.#memory = memory
    this.handle = handleOf(memory)
  }

  /**
   * capacity in batches, laneCapacity in keys of one producer, as in a tracker's options. Throws
   * TypeError and RangeError.
   */
  static create(
    options: Pick<TrackerOptions, 'capacity' | 'laneCapacity' | 'maxWriters'> = {},
  ): BatchRing {
    const geometry = resolveRingOptions(options)
    const batchSize = geometry.laneCapacity
    return new BatchRing(
      createMemory({ ...geometry, batchSize, epochSlots: 0, maxKeysPerEpoch: 0 }, []),
    )
  }

  /**
   * The ring of a handle from another thread. Throws TypeError with `ERR_DIRTYRING_BAD_HANDLE` or
   * `ERR_DIRTYRING_VERSION`.
   */
  static attach(handle: unknown): BatchRing {
    return new BatchRing(attachMemory(handle, 'ring'))
  }

  /**
   * A producer on the calling thread. Throws `ERR_DIRTYRING_NO_WRITER_SLOT` when maxWriters are
   * open. The id of a producer whose thread died is not used again.
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
    return new BatchProducer(lane)
  }

  /**
   * Hand up to `limit` batches (default: all there are) to `onBatch`, oldest first; returns how
   * many. The view is valid during the call only. The first thread that drains is the consumer;
   * another one gets `ERR_DIRTYRING_AGGREGATOR_TAKEN`. If onBatch throws, that batch counts as
   * handed out.
   */
  drain(onBatch: (keys: BigUint64Array, producerId: number) => void, limit = Infinity): number {
    checkFunction('onBatch', onBatch)
    if (typeof limit !== 'number') throw invalidArg('limit', 'a number', limit)
    const isLimit = limit === Infinity || (Number.isInteger(limit) && limit >= 0)
    if (!isLimit) throw outOfRange('limit', 'a whole number from 0 on, or Infinity', limit)
    this.#takeRole()
    draining.push(this.#memory)
    try {
      let handed = 0
      while (handed < limit) {
        const token = takeToken(this.#memory)
        if (token === undefined) break
        try {
          if (token.lane < 0) continue
          handed++
          onBatch(this.#view(token.lane, token.start, token.count), token.producer)
        } finally {
          passToken(this.#memory, token)
        }
      }
      return handed
    } finally {
      draining.pop()
    }
  }

  /** One line, never the memory. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    const { capacity, laneCapacity, maxWriters } = this.#memory.layout
    return `BatchRing { capacity: ${capacity}, laneCapacity: ${laneCapacity}, maxWriters: ${maxWriters} }`
  }

  #takeRole(): void {
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
        'drain() was called from within onBatch',
      )
  }

  /** The batch where it lies, or, where it runs across the lane's end, a copy. */
  #view(lane: number, start: number, count: number): BigUint64Array {
    const { words, layout } = this.#memory
    const keys = new BigUint64Array(words.buffer, (lane + LANE_KEYS) * 4, layout.laneCapacity)
    const first = start & (layout.laneCapacity - 1)
    if (first + count <= layout.laneCapacity) return keys.subarray(first, first + count)
    const copy = new BigUint64Array(count)
    copy.set(keys.subarray(first))
    copy.set(keys.subarray(0, first + count - layout.laneCapacity), layout.laneCapacity - first)
    return copy
  }
}

/**
 * One thread's way into a BatchRing: use it on that thread. See {@link BatchRing.openProducer}.
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
  /** What drain() says of each batch: whose it is. */
  readonly id: number
  readonly #lane: Lane
  /**
   * A close() has begun and not come to its end: an exception struck in it, so that the next one
   * tries again.
   */
  #closing = false

  /** @internal */
  constructor(lane: Lane) {
    this.id = lane.id
    this.#lane = lane
  }

  /**
   * Publish a batch: all of it, or false and none, when the ring or this producer's lane is full.
   * An empty one is true, and nothing is handed out for it. Throws TypeError, RangeError for more
   * than laneCapacity keys, and `ERR_DIRTYRING_CLOSED`.
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
   * Give the producer's id back, once everything it pushed was handed out. Idempotent. While the
   * ring is full the id stays taken, and a timer tries again.
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
 * leave(), from a timer: an error has no caller to go to there, and would end the thread. drain()
 * says that the ring is corrupt.
 */
function leaveLater(lane: Lane): void {
  try {
    leave(lane)
  } catch {
    // nothing can be put into a corrupt ring any more
  }
}
