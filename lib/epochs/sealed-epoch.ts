import { checkFunction } from '../check.js'
import { DirtyRingError } from '../errors.js'
import { hashKey } from '../fingerprint.js'
import { checkLanes, idFrom, readKey, type Fingerprint, type Key } from '../keys.js'
import {
  epochAt,
  FLAG_EVERYTHING,
  FLAG_FAULT,
  FLAG_OVERFLOW,
  FLAG_UNPUBLISHED,
  SECRETS,
} from '../memory/map.js'
import { checkIdentity, type Memory } from '../memory/memory.js'
import { readSealedSlot, type SlotHeader } from '../memory/slot.js'
import { EPOCH_MASK } from '../ring/token.js'
import { contains, shiftFor, type SetState } from '../set/kernel.js'
import { secretsAt } from '../set/mix.js'

const scratch = new Int32Array(2)
/** High half of 2^53 - 1. */
const MAX_HIGH = 0x1fffff

/** What a sealed epoch asks of the tracker that handed it out. */
export interface EpochKeeper {
  /** The slot is free. */
  commit(epoch: SealedEpoch): void
  /** Resolves when the keys are in the open epoch. Throws when there is none any more. */
  restore(epoch: SealedEpoch): Promise<void>
}

/**
 * A closed epoch: its distinct keys, until it is settled by `commit()` or `restore()`, whichever
 * comes first; what comes later does nothing.
 *
 * The keys are views on shared memory: not to be used after the epoch is settled, when asking for
 * them throws `ERR_DIRTYRING_SETTLED`. Leaving a `using` scope without `commit()` restores. An
 * exact epoch without keys holds no memory, and need not be settled. Belongs to the tracker's
 * thread; `keys` and `lanes` may be read by any.
 *
 * If the epoch is not exact, some of its keys are missing in the list. Everything that walks or
 * lists the keys then throws `ERR_DIRTYRING_INEXACT` at once, because a caller who took the part
 * for the whole would lose the rest. `has()` always answers, and `listed()` gives the part that is
 * known.
 *
 * @example
 * ```js
 * import { DirtyTracker } from 'dirtyring'
 * const tracker = await DirtyTracker.create()
 * tracker.openWriter().mark(42)
 * const epoch = await tracker.advanceEpoch()
 * try {
 *   for (const id of epoch.ids()) console.log(id) // 42
 *   epoch.commit()
 * } finally {
 *   await epoch.restore() // does nothing after commit(); after a throw the keys come back in the next epoch
 * }
 * await tracker.stop()
 * ```
 */
export class SealedEpoch {
  /**
   * Counted from 0. Numbers of epochs whose advanceEpoch() was aborted after the cut are skipped.
   */
  readonly id: number
  /** Distinct keys held: all of them if the epoch is exact, else a lower bound. */
  readonly size: number
  /**
   * False: treat every key as dirty; `reason` says why. `has()` and `hasKey()` are then true for
   * every key, what lists the keys throws, and `listed()` gives the part that is known.
   */
  readonly exact: boolean
  /**
   * - 'everything': a change that no list of keys describes
   * - 'fault': a part of the aggregator's work failed again and again, and was given up
   * - 'unpublished': the tracker stopped while writers had keys staged
   * - 'overflow': more than `maxKeysPerEpoch` distinct keys
   *
   * An epoch with several reasons names the first of them in this order.
   */
  readonly reason?: 'overflow' | 'everything' | 'unpublished' | 'fault'
  /**
   * Keys that open writers had marked and not published at the cut: they are in a later epoch. An
   * indication, of a moment at which writers go on; 0 after `await tracker.flushed()` if nobody has
   * marked since.
   */
  readonly staged: number
  /**
   * True for the epoch that stop() sealed: no epoch comes after it. `restore()` on it rejects with
   * `ERR_DIRTYRING_STOPPED`. A `using` scope that ends without `commit()` leaves it readable, and
   * does not throw.
   */
  readonly last: boolean
  readonly #memory: Memory
  readonly #slot: number
  readonly #header: SlotHeader
  readonly #keeper: EpochKeeper
  #set: SetState | undefined
  #state: 'sealed' | 'committed' | 'restored' = 'sealed'
  #restoring: Promise<void> | undefined
  /** For a twin: the epoch that it shows, and whether the twin may settle it. */
  #original: { readonly epoch: SealedEpoch; readonly isOwner: () => boolean } | undefined

  /** @internal */
  constructor(
    memory: Memory,
    slot: number,
    id: number,
    staged: number,
    keeper: EpochKeeper,
    last = false,
  ) {
    const header = readSealedSlot(memory, slot, id & EPOCH_MASK)
    const { flags } = header
    this.#memory = memory
    this.#slot = slot
    this.#keeper = keeper
    this.id = id
    this.staged = staged
    this.last = last
    this.#header = header
    this.size = header.count
    this.exact = flags === 0
    const reason = reasonFor(flags)
    if (reason !== undefined) this.reason = reason
  }

  /**
   * @internal The last epoch once more, for a caller that does not own it: the same keys, readable
   * also after the owner has settled the epoch. `commit()` and `restore()` on it do nothing until
   * `isOwner` is true; from then on they are the epoch's own.
   */
  twin(isOwner: () => boolean): SealedEpoch {
    const twin = new SealedEpoch(
      this.#memory,
      this.#slot,
      this.id,
      this.staged,
      this.#keeper,
      this.last,
    )
    twin.#original = { epoch: this, isOwner }
    return twin
  }

  /**
   * 'committed' after commit(), 'restored' after restore(), whichever came first; 'sealed' until
   * then.
   */
  get state(): 'sealed' | 'committed' | 'restored' {
    if (this.#original === undefined) return this.#state
    return this.#original.isOwner() ? this.#original.epoch.state : 'sealed'
  }

  /**
   * The keys in order of first mark, as a view on shared memory; copy what must live longer
   * (`keys.slice()`). May be posted to a worker, which must be done with it before you settle.
   * Throws `ERR_DIRTYRING_SETTLED` and `ERR_DIRTYRING_INEXACT`, as all that lists the keys does.
   */
  get keys(): BigUint64Array {
    this.#checkExact()
    return this.#keys()
  }

  /**
   * The same memory as lanes lo, hi, lo, hi …: no bigint for each key.
   *
   * @example
   * ```js
   * const [row, table] = [7, 2]
   * writer.mark(row, table)
   * await tracker.consume(({ lanes }) => {
   *   for (let i = 0; i < lanes.length; i += 2) console.log('row', lanes[i], 'of table', lanes[i + 1]) // row 7 of table 2
   * })
   * ```
   */
  get lanes(): Uint32Array {
    this.#checkExact()
    const { buffer, byteOffset } = this.#log()
    return new Uint32Array(buffer, byteOffset, this.size * 2)
  }

  /**
   * The keys as numbers, for callers that mark ids. Throws RangeError if a key is above 2^53 - 1,
   * at once and not half-way.
   */
  ids(): IterableIterator<number> {
    const lanes = this.lanes
    for (let i = 1; i < lanes.length; i += 2)
      if (lanes[i] > MAX_HIGH) idFrom(lanes[i - 1], lanes[i])
    return this.#eachId(lanes)
  }

  *#eachId(lanes: Uint32Array): IterableIterator<number> {
    for (let i = 0; i < lanes.length; i += 2) {
      this.#check()
      yield idFrom(lanes[i], lanes[i + 1])
    }
  }

  /**
   * Visit the keys in order of first mark, lanes as uint32, without a bigint for each. Throws
   * TypeError if `visit` is not a function.
   */
  forEach(visit: (lo: number, hi: number, index: number) => void): void {
    checkFunction('visit', visit)
    const lanes = this.lanes
    for (let i = 0; i < lanes.length; i += 2) {
      this.#check()
      visit(lanes[i], lanes[i + 1], i >>> 1)
    }
  }

  /**
   * The keys that are listed, as bigints, whether the epoch is exact or not. If it is not exact,
   * this is only a part of them: save these first, for example, and then all the other rows.
   *
   * @example
   * ```js
   * writer.mark(42)
   * tracker.markEverything()
   * await tracker.consume((epoch) => console.log(epoch.exact, ...epoch.listed(), epoch.has(43))) // false 42n true
   * ```
   */
  listed(): IterableIterator<Fingerprint> {
    return this.#eachKey(this.#keys())
  }

  /**
   * Whether a key, in any form that `writer.mark()` takes, is in. True for every key if the epoch
   * is not exact.
   */
  has(key: Key): boolean
  has(lo: number, hi: number): boolean
  has(key: Key, hi?: number): boolean {
    if (hi !== undefined) {
      checkLanes(key, hi)
      return this.#has((key as number) | 0, hi | 0)
    }
    readKey(key, scratch, 0)
    return this.#has(scratch[0], scratch[1])
  }

  /** Whether a string or bytes, by `fingerprint(key, seed)`, is in. */
  hasKey(key: string | Uint8Array, seed = 0): boolean {
    hashKey(key, seed, scratch)
    return this.#has(scratch[0], scratch[1])
  }

  /**
   * The keys as bigints, in order of first mark. `lanes` and `ids()` take a fraction of the time.
   */
  [Symbol.iterator](): IterableIterator<Fingerprint> {
    return this.#eachKey(this.keys)
  }

  *#eachKey(keys: BigUint64Array): IterableIterator<Fingerprint> {
    for (let i = 0; i < keys.length; i++) {
      this.#check()
      yield keys[i]
    }
  }

  /** The keys were dealt with: the memory is used again. Idempotent; nothing after restore(). */
  commit(): void {
    if (this.#original !== undefined) {
      if (this.#original.isOwner()) this.#original.epoch.commit()
      return
    }
    if (this.#state !== 'sealed') return
    this.#state = 'committed'
    this.#keeper.commit(this)
  }

  /**
   * They were not: the keys join the open epoch. Resolves when they have; an `advanceEpoch()`
   * called after this, even without awaiting it, has them. Idempotent; nothing after commit().
   * After stop() there is no open epoch: rejects with `ERR_DIRTYRING_STOPPED`, and the keys stay
   * readable; so it is when the aggregator cannot go on, with that error.
   */
  restore(): Promise<void> {
    if (this.#original !== undefined)
      return this.#original.isOwner() ? this.#original.epoch.restore() : Promise.resolve()
    if (this.#state === 'committed') return Promise.resolve()
    if (this.last) return Promise.reject(cannotRestore(this))
    try {
      this.#restoring ??= this.#keeper.restore(this)
    } catch (error) {
      return Promise.reject(error)
    }
    this.#state = 'restored'
    // Rejected when the aggregator cannot go on: nobody has taken the keys, and nobody will take
    // their memory.
    this.#restoring.catch(() => {
      this.#state = 'sealed'
      this.#restoring = undefined
    })
    return this.#restoring
  }

  /** restore(), unless settled. */
  [Symbol.dispose](): void {
    // only after stop(), when there is nothing to be done about it
    this.restore().catch(() => undefined)
  }

  /** The same, awaited. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.restore().catch(() => undefined)
  }

  /** One line, never the memory. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `SealedEpoch { id: ${this.id}, size: ${this.size}, exact: ${this.exact}, state: '${this.state}' }`
  }

  #has(lo: number, hi: number): boolean {
    this.#check()
    if (!this.exact) return true
    if (this.size === 0) return false
    this.#set ??= setOf(this.#memory, this.#slot, this.#header)
    return contains(this.#set, lo, hi)
  }

  #log(): { buffer: ArrayBufferLike; byteOffset: number } {
    this.#check()
    if (this.size === 0) return { buffer: new ArrayBuffer(0), byteOffset: 0 }
    const { words, layout } = this.#memory
    return { buffer: words.buffer, byteOffset: (epochAt(layout, this.#slot) + layout.log) * 4 }
  }

  #keys(): BigUint64Array {
    const { buffer, byteOffset } = this.#log()
    return new BigUint64Array(buffer, byteOffset, this.size)
  }

  #checkExact(): void {
    this.#check()
    if (this.exact) return
    throw new DirtyRingError(
      'ERR_DIRTYRING_INEXACT',
      `epoch ${this.id} is not exact ('${this.reason}'): a list of its keys would be only a part of them. Ask has() for each row that you hold, or treat all rows as dirty; listed() gives the part that is known`,
    )
  }

  #check(): void {
    const { state } = this
    if (state === 'sealed') return
    throw new DirtyRingError(
      'ERR_DIRTYRING_SETTLED',
      `epoch ${this.id} is ${state}: its keys are gone; copy what must live longer`,
    )
  }
}

/** The error of a restore() after stop(). */
export function cannotRestore({ id }: SealedEpoch): DirtyRingError {
  return new DirtyRingError(
    'ERR_DIRTYRING_STOPPED',
    `epoch ${id} cannot be restored: the tracker has stopped; its keys are still here to be dealt with`,
  )
}

/** Any thread that a sealed slot was handed to: its set, to look into. */
function setOf(memory: Memory, slot: number, { count, growth, zero }: SlotHeader): SetState {
  const { words, layout } = memory
  const at = epochAt(layout, slot)
  checkIdentity(words)
  return {
    words,
    log: at + layout.log,
    table: at + layout.table,
    shift: shiftFor(layout.smallestTable * 2 ** growth),
    limit: 0,
    count,
    zero,
    native: undefined,
    ...secretsAt(words, SECRETS),
  }
}

function reasonFor(flags: number): SealedEpoch['reason'] {
  if ((flags & FLAG_EVERYTHING) !== 0) return 'everything'
  if ((flags & FLAG_FAULT) !== 0) return 'fault'
  if ((flags & FLAG_UNPUBLISHED) !== 0) return 'unpublished'
  if ((flags & FLAG_OVERFLOW) !== 0) return 'overflow'
  return undefined
}
