import { checkWhole, isEngineError } from '../check.js'
import { invalidArg, isRevoked, outOfRange } from '../errors.js'
import { hashKey } from '../fingerprint.js'
import {
  checkLanes,
  lanesFor,
  openKeys,
  readAll,
  readKey,
  type Key,
  type KeyList,
} from '../keys.js'
import { isAtomic, laneOf, partOf, type Writer } from './writer.js'

/** 2^30 words: more than the largest lane takes. */
const KEYS_MAX = 2 ** 29

/**
 * Keys of one transaction, gathered on one thread and published together at its commit. Nothing is
 * shared before {@link TxnBuffer.flushTo}; use it on one thread.
 *
 * @example
 * ```js
 * import { TxnBuffer } from 'dirtyring'
 *
 * const txn = new TxnBuffer(7n)
 * txn.record('account:1')
 * txn.record('account:2')
 * console.log(txn.size, txn.flushTo(writer), txn.size) // 2 true 0
 * await tracker.consume((epoch) => console.log(epoch.has('account:1') && epoch.has('account:2'))) // true
 *
 * txn.reset(8n)
 * txn.record('account:3')
 * txn.clear() // rolled back: nobody ever saw it
 * ```
 */
export class TxnBuffer {
  #txnId: number | bigint
  #lanes: Int32Array
  #size = 0

  /**
   * expectedKeys: room to begin with, 0 to 2^29, default 16; it grows. Throws TypeError and
   * RangeError.
   */
  constructor(txnId: number | bigint, expectedKeys = 16) {
    checkTxnId(txnId)
    checkWhole('expectedKeys', expectedKeys, 0, KEYS_MAX)
    this.#txnId = txnId
    this.#lanes = lanesFor(expectedKeys, 'expectedKeys')
  }

  /** The transaction's number: yours, and a tag only. */
  get txnId(): number | bigint {
    return this.#txnId
  }

  /** Keys recorded, repetitions included. */
  get size(): number {
    return this.#size
  }

  /** Nothing is recorded. */
  get isEmpty(): boolean {
    return this.#size === 0
  }

  /**
   * Record a key, in any of the forms that `writer.mark()` takes. Throws TypeError or RangeError
   * for what is none, and records nothing then.
   */
  record(key: Key): void
  record(lo: number, hi: number): void
  record(key: Key, hi?: number): void {
    if (hi !== undefined) {
      this.recordLanes(key as number, hi)
      return
    }
    this.#reserve(1)
    readKey(key, this.#lanes, this.#size * 2)
    this.#size++
  }

  /**
   * Two lanes, numbers, taken modulo 2^32. TypeError for anything else, RangeError beyond 2^29
   * keys, as for all that records.
   */
  recordLanes(lo: number, hi: number): void {
    checkLanes(lo, hi)
    this.#reserve(1)
    this.#lanes[this.#size * 2] = lo
    this.#lanes[this.#size * 2 + 1] = hi
    this.#size++
  }

  /** A string or bytes, by `fingerprint(key, seed)`. */
  recordKey(key: string | Uint8Array, seed = 0): void {
    this.#reserve(1)
    const at = this.#size * 2
    hashKey(key, seed, this.#lanes.subarray(at, at + 2))
    this.#size++
  }

  /** All of them, or, where one is no key, none. */
  recordMany(keys: KeyList): void {
    const source = openKeys(keys)
    checkCount(source.count)
    const lanes = readAll(source)
    // A getter or an iterator in the list may have recorded into this buffer meanwhile: its keys
    // come before these.
    this.#reserve(source.count)
    this.#lanes.set(lanes, this.#size * 2)
    this.#size += source.count
  }

  /** The keys, in the order recorded; the buffer is empty after it. */
  drain(): BigUint64Array {
    const keys = new BigUint64Array(this.#lanes.slice(0, this.#size * 2).buffer)
    this.#size = 0
    return keys
  }

  /** Forget the keys: the transaction was rolled back. */
  clear(): void {
    this.#size = 0
  }

  /**
   * clear(), and another transaction: one buffer serves many. Throws TypeError for what is no id,
   * and keeps the keys then.
   */
  reset(txnId: number | bigint): void {
    checkTxnId(txnId)
    this.#txnId = txnId
    this.#size = 0
  }

  /**
   * Publish the keys as one atomic batch. True: stored, and the buffer is empty. False: not stored,
   * and the keys are still here, as they are when it throws: RangeError beyond the writer's
   * `laneCapacity`, and what `writer.markMany()` throws. For more keys than that there are `atomic:
   * false`, as many batches as it takes, where what was stored leaves the buffer even if the rest
   * was not; and `writer.markEverything()`.
   */
  flushTo(writer: Writer, options?: { atomic?: boolean | undefined }): boolean {
    const isWriter =
      !isRevoked(writer) &&
      typeof (writer as Partial<Writer> | null | undefined)?.markLanes === 'function'
    if (!isWriter) throw invalidArg('writer', 'a Writer', writer)
    const part = isAtomic(options) ? this.#size : partOf(laneOf(writer))
    let stored = 0
    try {
      do {
        const end = Math.min(stored + part, this.#size)
        if (!writer.markLanes(this.#lanes.subarray(stored * 2, end * 2))) break
        stored = end
      } while (stored < this.#size)
    } catch (cause) {
      if (!isEngineError(cause)) throw cause
      // a Proxy of one, or another object with a method of that name
      throw Object.assign(invalidArg('writer', 'a Writer', writer), { cause })
    } finally {
      this.#lanes.copyWithin(0, stored * 2, this.#size * 2)
      this.#size = Math.max(0, this.#size - stored)
    }
    return this.#size === 0
  }

  #reserve(count: number): void {
    const needed = this.#size + count
    const room = this.#lanes.length / 2
    if (needed <= room) return
    checkCount(needed)
    const larger = lanesFor(Math.min(Math.max(needed, room * 2, 16), KEYS_MAX))
    larger.set(this.#lanes.subarray(0, this.#size * 2))
    this.#lanes = larger
  }
}

function checkCount(count: number): void {
  if (count > KEYS_MAX) throw outOfRange('keys', `at most ${KEYS_MAX} in one buffer`, count)
}

function checkTxnId(txnId: unknown): void {
  if (typeof txnId !== 'number' && typeof txnId !== 'bigint')
    throw invalidArg('txnId', 'a number or a bigint', txnId)
}
