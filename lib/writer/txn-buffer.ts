import { bytesOf, checkWhole, isEngineError, viewLength } from '../check.js'
import { invalidArg, isRevoked, outOfRange } from '../errors.js'
import {
  checkPair,
  isTextKey,
  type Key,
  keyFrom,
  type KeyList,
  openKeys,
  pairCount,
  type Pairs,
  pairsFor,
  readAll,
  readKey,
  type ReadonlyBigints,
  type TextSink,
} from '../keys.js'
import type { Lane } from '../ring/lane.js'
import { FingerprintSet } from '../set/fingerprint-set.js'
import { isAtomic, laneOf, type Markable, partOf, type Writer } from './writer.js'

/** 2^30 words: more than the largest lane takes. */
const KEYS_MAX = 2 ** 29

/**
 * Gathers the keys of one transaction on one thread. Its commit publishes them together with
 * {@link TxnBuffer.flushTo}; its rollback clears them. Nothing is shared before flushTo(). Use a
 * buffer on one thread.
 *
 * @example
 * ```js
 * import { TxnBuffer } from 'dirtyring'
 *
 * const txn = new TxnBuffer(7n)
 * txn.mark('account:1')
 * txn.mark('account:2')
 * console.log(txn.size, txn.flushTo(writer), txn.size) // 2 true 0
 * await tracker.consume((epoch) => console.log(epoch.has('account:1'), epoch.size)) // true 2
 *
 * txn.reset(8n)
 * txn.mark('account:3')
 * txn.clear() // rolled back: no other thread ever saw it
 * ```
 */
export class TxnBuffer implements Markable {
  #txnId: number | bigint
  /** The keys in order; where a text stands, its pair is of no use. */
  #pairs: Int32Array
  #size = 0
  /** The texts, and where each of them stands. */
  #texts: (string | Uint8Array)[] = []
  #textAt: number[] = []
  /** For has(): the first `#indexed` keys. Made at its first call. */
  #index: FingerprintSet | undefined
  #textIndex: Set<string> | undefined
  #indexed = 0

  /**
   * Makes an empty buffer.
   *
   * @param txnId - The transaction's number, as the caller counts them. Default 0.
   * @param expectedKeys - Room to begin with, 0 to 2^29 keys, default 16. The buffer grows.
   * @throws TypeError `ERR_DIRTYRING_INVALID_ARG` and RangeError `ERR_DIRTYRING_OUT_OF_RANGE`.
   */
  constructor(txnId: number | bigint = 0, expectedKeys = 16) {
    checkTxnId(txnId)
    checkWhole('expectedKeys', expectedKeys, 0, KEYS_MAX)
    this.#txnId = txnId
    this.#pairs = pairsFor(expectedKeys, 'expectedKeys')
  }

  /** The transaction's number. The library does not read it. */
  get txnId(): number | bigint {
    return this.#txnId
  }

  /** Keys marked, repetitions included. */
  get size(): number {
    return this.#size
  }

  /**
   * Marks a key: the buffer keeps it until flushTo(), drain(), clear() or reset(). Bytes are read
   * at the call. Further arguments are ignored.
   *
   * @param key - In any form that `writer.mark()` takes.
   * @returns Always true.
   * @throws TypeError `ERR_DIRTYRING_INVALID_ARG` or RangeError `ERR_DIRTYRING_OUT_OF_RANGE` for a
   * value that is not a key, and RangeError beyond 2^29 keys. Nothing was stored then.
   */
  mark(key: Key): boolean {
    this.#reserve(1)
    if (isTextKey(key)) this.#addText(keep(key, 'key'), this.#size)
    else readKey(key, this.#pairs, this.#size * 2)
    this.#size++
    return true
  }

  /**
   * Marks a key of two 32-bit numbers.
   *
   * @param low - A whole number from -2^31 to 2^32-1.
   * @param high - The same.
   * @returns Always true.
   * @throws What {@link TxnBuffer.mark} throws.
   */
  markPair(low: number, high: number): boolean {
    checkPair(low, high)
    this.#reserve(1)
    this.#pairs[this.#size * 2] = low
    this.#pairs[this.#size * 2 + 1] = high
    this.#size++
    return true
  }

  /**
   * Marks many keys. If one of them is not a key, it marks none.
   *
   * @param keys - A list as `writer.markMany()` takes it, of any length.
   * @returns Always true.
   * @throws What {@link TxnBuffer.mark} throws.
   */
  markMany(keys: KeyList | ReadonlyBigints): boolean {
    const list = new KeptTexts()
    const source = openKeys(keys, 'any', list)
    checkCount(source.count)
    const pairs = readAll(source)
    const first = this.#append(pairs, source.count)
    for (const [index, text] of list.texts) this.#addText(text, first + index)
    return true
  }

  /**
   * Marks many pairs: low, high, low, high and so on.
   *
   * @param pairs - An epoch's `pairs`, for instance.
   * @returns Always true.
   * @throws What {@link TxnBuffer.mark} throws, and RangeError for an odd length.
   */
  markPairs(pairs: Pairs): boolean {
    const count = pairCount(pairs)
    checkCount(count)
    this.#append(pairs, count)
    return true
  }

  /**
   * Tells whether a key is in the buffer. The first call indexes the keys, and later calls index
   * only what is new.
   *
   * @param key - In any form that `writer.mark()` takes.
   * @throws TypeError `ERR_DIRTYRING_INVALID_ARG` and RangeError `ERR_DIRTYRING_OUT_OF_RANGE`.
   *
   * @example
   * ```js
   * import { TxnBuffer } from 'dirtyring'
   *
   * const txn = new TxnBuffer()
   * txn.mark('account:1')
   * console.log(txn.has('account:1'), txn.has('account:2')) // true false
   * ```
   */
  has(key: Key): boolean {
    this.#indexAll()
    if (isTextKey(key)) return this.#textIndex!.has(nameOf(keep(key, 'key')))
    return this.#index!.has(key) // also checks the key
  }

  #indexAll(): void {
    const numbers = (this.#index ??= new FingerprintSet())
    const texts = (this.#textIndex ??= new Set())
    let from = this.#indexed
    for (let t = this.#textFrom(from); t <= this.#texts.length; t++) {
      const to = t < this.#texts.length ? this.#textAt[t] : this.#size
      numbers.addPairs(this.#pairs.subarray(from * 2, to * 2))
      if (t < this.#texts.length) texts.add(nameOf(this.#texts[t]))
      from = to + 1
    }
    this.#indexed = this.#size
  }

  /**
   * Walks the keys as they were marked, in their order: a numeric key up to 2^53-1 as a number, a
   * larger one as a bigint.
   */
  *[Symbol.iterator](): IterableIterator<Key> {
    for (let i = 0; i < this.#size; i++) yield this.#slice(i, i + 1)[0]
  }

  /**
   * Empties the buffer.
   *
   * @returns The keys that it had, in the form and the order in which the iterator gives them.
   */
  drain(): Key[] {
    const keys = this.#slice(0, this.#size)
    this.#forget(this.#size)
    return keys
  }

  /** Forgets the keys, because the transaction was rolled back. */
  clear(): void {
    this.#forget(this.#size)
  }

  /**
   * Forgets the keys and begins another transaction, so that one buffer serves many.
   *
   * @param txnId - The new transaction's number. Without it the number stays as it is.
   * @throws TypeError `ERR_DIRTYRING_INVALID_ARG`. The keys stay then.
   */
  reset(txnId: number | bigint = this.#txnId): void {
    checkTxnId(txnId)
    this.#txnId = txnId
    this.#forget(this.#size)
  }

  /**
   * Publishes the keys as one atomic batch.
   *
   * @param writer - A writer of this thread.
   * @param options - `atomic`: default true. With false the writer publishes as many batches as it
   * takes. What was stored then leaves the buffer, also if the rest was not.
   * @returns True if all keys were stored: the buffer is empty then. If it is false, or throws, the
   * keys that were not stored are still in the buffer.
   * @throws RangeError `ERR_DIRTYRING_OUT_OF_RANGE` beyond the writer's `laneCapacity`: pass
   * `{ atomic: false }` then, or call `writer.markEverything()`.
   * @throws What `writer.markMany()` throws.
   */
  flushTo(writer: Writer, options?: { atomic?: boolean | undefined }): boolean {
    checkWriter(writer)
    // Once: another object with a method of that name may mark here meanwhile.
    const size = this.#size
    const lane = isAtomic(options) ? undefined : laneOf(writer)
    let stored = 0
    try {
      do {
        const end = lane === undefined ? size : this.#partEnd(stored, size, lane)
        const isStored =
          this.#textFrom(stored) === this.#textFrom(end)
            ? writer.markPairs(this.#pairs.subarray(stored * 2, end * 2))
            : writer.markMany(this.#slice(stored, end))
        if (!isStored) break
        stored = end
      } while (stored < size)
    } catch (cause) {
      if (!isEngineError(cause)) throw cause
      // A Proxy of a Writer, or another object with a method of that name.
      throw Object.assign(invalidArg('writer', 'a Writer', writer), { cause })
    } finally {
      if (stored > 0) this.#forget(stored)
    }
    return this.#size === 0
  }

  /** Where a part from `from` on ends, of which a lane takes several. */
  #partEnd(from: number, size: number, lane: Lane): number {
    let left = lane.textWords >>> 2
    const end = Math.min(from + partOf(lane), size)
    for (let t = this.#textFrom(from); t < this.#texts.length && this.#textAt[t] < end; t++) {
      // Three bytes a character are enough for any text.
      left -= 3 + this.#texts[t].length
      if (left < 0 && this.#textAt[t] > from) return this.#textAt[t]
    }
    return end
  }

  /** The keys from .. to, as they were marked. */
  #slice(from: number, to: number): Key[] {
    const keys: Key[] = []
    let t = this.#textFrom(from)
    for (let i = from; i < to; i++) {
      if (this.#textAt[t] === i) keys.push(this.#texts[t++])
      else keys.push(keyFrom(this.#pairs[i * 2] >>> 0, this.#pairs[i * 2 + 1] >>> 0))
    }
    return keys
  }

  /** The index of the first text at or behind a key. */
  #textFrom(at: number): number {
    let low = 0
    let high = this.#textAt.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#textAt[middle] < at) low = middle + 1
      else high = middle
    }
    return low
  }

  #addText(text: string | Uint8Array, at: number): void {
    this.#texts.push(text)
    this.#textAt.push(at)
  }

  /** Drops the first `count` keys. */
  #forget(count: number): void {
    const gone = this.#textFrom(count)
    this.#pairs.copyWithin(0, count * 2, this.#size * 2)
    this.#texts = this.#texts.slice(gone)
    this.#textAt = this.#textAt.slice(gone).map((at) => at - count)
    this.#size = Math.max(0, this.#size - count)
    if (this.#indexed === 0) return
    this.#indexed = 0
    this.#index?.clear()
    this.#textIndex?.clear()
  }

  /** Returns where the first of them stands. */
  #append(pairs: ArrayLike<number>, count: number): number {
    // A getter or an iterator in a list may have marked here meanwhile: its keys come before these.
    this.#reserve(count)
    const first = this.#size
    this.#pairs.set(pairs, first * 2)
    this.#size += count
    return first
  }

  #reserve(count: number): void {
    const needed = this.#size + count
    const room = this.#pairs.length / 2
    if (needed <= room) return
    checkCount(needed)
    const larger = pairsFor(Math.min(Math.max(needed, room * 2, 16), KEYS_MAX))
    larger.set(this.#pairs.subarray(0, this.#size * 2))
    this.#pairs = larger
  }
}

/** The texts of a list, kept as they are. */
class KeptTexts implements TextSink {
  readonly texts: [index: number, text: string | Uint8Array][] = []

  take(
    key: string | Uint8Array,
    _out: Int32Array,
    at: number,
    _most: number,
    name: string | number,
  ): boolean {
    this.texts.push([at >>> 1, keep(key, name)])
    return true
  }
}

/** A text that changes no more: a copy of bytes, because their owner may write to them. */
function keep(key: string | Uint8Array, name: string | number): string | Uint8Array {
  return typeof key === 'string' ? key : bytesOf(key, viewLength(key, name)).slice()
}

/** A string that no other text has. */
function nameOf(text: string | Uint8Array): string {
  return typeof text === 'string' ? `s${text}` : `b${text.join()}`
}

function checkCount(count: number): void {
  if (count > KEYS_MAX) throw outOfRange('keys', `at most ${KEYS_MAX} in one buffer`, count)
}

/**
 * Checks that a value looks like a Writer. It goes by the methods, so that a Writer of another copy
 * of the library counts. A TxnBuffer marks keys too, but it publishes none.
 */
function checkWriter(writer: unknown): void {
  const methods = isRevoked(writer) ? undefined : (writer as Partial<Writer & TxnBuffer> | null)
  if (typeof methods?.markPairs === 'function' && typeof methods.flushTo !== 'function') return
  throw invalidArg('writer', 'a Writer', writer)
}

function checkTxnId(txnId: unknown): void {
  if (typeof txnId !== 'number' && typeof txnId !== 'bigint')
    throw invalidArg('txnId', 'a number or a bigint', txnId)
}
