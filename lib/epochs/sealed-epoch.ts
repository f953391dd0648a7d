import { DirtyRingError, invalidArg } from '../errors.js'
import { hashKey } from '../fingerprint.js'
import { idFrom, readKey, type Fingerprint, type Key } from '../keys.js'
import { epochAt, FLAG_EVERYTHING, FLAG_FAULT, FLAG_OVERFLOW, FLAG_UNPUBLISHED, SECRETS } from '../memory/map.js'
import { checkIdentity, type Memory } from '../memory/memory.js'
import { readSealedSlot, type SlotHeader } from '../memory/slot.js'
import { EPOCH_MASK } from '../ring/token.js'
import { contains, shiftFor, type SetState } from '../set/kernel.js'
import { secretsAt } from '../set/mix.js'

const scratch = new Int32Array(2)

/** What a sealed epoch asks of the tracker that handed it out. */
export interface EpochKeeper {
  /** The slot is free. */
  commit(epoch: SealedEpoch): void
  /** Resolves when the keys are in the open epoch. Throws when there is none any more. */
  restore(epoch: SealedEpoch): Promise<void>
}

/**
 * A closed epoch: its distinct keys, until it is settled by `commit()` or `restore()`, whichever comes first; what comes later does nothing.
 *
 * The keys are views on shared memory: not to be used after the epoch is settled, when asking for them throws `ERR_DIRTYRING_SETTLED`. Leaving a `using`
 * scope without `commit()` restores. An exact epoch without keys holds no memory, and need not be settled. Belongs to the tracker's thread; `keys` and
 * `lanes` may be read by any.
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
  /** Counted from 0. Numbers of epochs whose advanceEpoch() was aborted after the cut are skipped. */
  readonly id: number
  /** Distinct keys held. */
  readonly size: number
  /** False: treat every key as dirty; `reason` says why. `has()` and `hasKey()` are then true for every key; the list is only a part. */
  readonly exact: boolean
  /**
   * - 'everything': a change that no list of keys describes
   * - 'fault': a part of the aggregator's work failed again and again, and was given up
   * - 'unpublished': the tracker stopped while writers had keys staged
   * - 'overflow': more than `maxKeysPerEpoch` distinct keys
   */
  readonly reason?: 'overflow' | 'everything' | 'unpublished' | 'fault'
  /**
   * Keys that open writers had marked and not published at the cut: they are in a later epoch. An indication, of a moment at which writers go on; 0 after
   * `await tracker.flushed()` if nobody has marked since.
   */
  readonly staged: number
  readonly #memory: Memory
  readonly #slot: number
  readonly #header: SlotHeader
  readonly #keeper: EpochKeeper
  #set: SetState | undefined
  #state: 'sealed' | 'committed' | 'restored' = 'sealed'
  #restoring: Promise<void> | undefined

  /** @internal */
  constructor(memory: Memory, slot: number, id: number, staged: number, keeper: EpochKeeper) {
    const header = readSealedSlot(memory, slot, id & EPOCH_MASK)
    const { flags } = header
    this.#memory = memory
    this.#slot = slot
    this.#keeper = keeper
    this.id = id
    this.staged = staged
    this.#header = header
    this.size = header.count
    this.exact = flags === 0
    const reason = reasonFor(flags)
    if (reason !== undefined) this.reason = reason
  }

  /** Who settled it, if anybody has. */
  get state(): 'sealed' | 'committed' | 'restored' {
    return this.#state
  }

  /**
   * The keys in order of first mark, as a view on shared memory; copy what must live longer (`keys.slice()`). May be posted to a worker, which must be done
   * with it before you settle. Throws `ERR_DIRTYRING_SETTLED`, as all that gives keys does.
   */
  get keys(): BigUint64Array {
    const { buffer, byteOffset } = this.#log()
    return new BigUint64Array(buffer, byteOffset, this.size)
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
    const { buffer, byteOffset } = this.#log()
    return new Uint32Array(buffer, byteOffset, this.size * 2)
  }

  /** The keys as numbers, for those who mark ids. RangeError at a key above 2^53 - 1. */
  *ids(): IterableIterator<number> {
    const lanes = this.lanes
    for (let i = 0; i < lanes.length; i += 2) {
      this.#check()
      yield idFrom(lanes[i], lanes[i + 1])
    }
  }

  /** Visit the keys in order of first mark, lanes as uint32, without a bigint for each. Throws TypeError for what is no function. */
  forEach(visit: (lo: number, hi: number, index: number) => void): void {
    if (typeof visit !== 'function') throw invalidArg('visit', 'a function', visit)
    const lanes = this.lanes
    for (let i = 0; i < lanes.length; i += 2) {
      this.#check()
      visit(lanes[i], lanes[i + 1], i >>> 1)
    }
  }

  /** Whether a key, in any form that `writer.mark()` takes, is in; true for every key when the epoch is not exact. */
  has(key: Key): boolean
  has(lo: number, hi: number): boolean
  has(key: Key, hi?: number): boolean {
    if (hi !== undefined) return this.#has((key as number) | 0, hi | 0)
    readKey(key, scratch, 0)
    return this.#has(scratch[0], scratch[1])
  }

  /** Whether a string or bytes, by `fingerprint(key, seed)`, is in. */
  hasKey(key: string | Uint8Array, seed = 0): boolean {
    hashKey(key, seed, scratch)
    return this.#has(scratch[0], scratch[1])
  }

  /** The keys as bigints, in order of first mark. `lanes` and `ids()` take a fraction of the time. */
  *[Symbol.iterator](): IterableIterator<Fingerprint> {
    const keys = this.keys
    for (let i = 0; i < keys.length; i++) {
      this.#check()
      yield keys[i]
    }
  }

  /** The keys were dealt with: the memory is used again. Idempotent; nothing after restore(). */
  commit(): void {
    if (this.#state !== 'sealed') return
    this.#state = 'committed'
    this.#keeper.commit(this)
  }

  /**
   * They were not: the keys join the open epoch. Resolves when they have; an `advanceEpoch()` called after this, even without awaiting it, has them.
   * Idempotent; nothing after commit(). After stop() there is no open epoch: rejects with `ERR_DIRTYRING_STOPPED`, and the keys stay readable; so it is when the aggregator
   * cannot go on, with that error.
   */
  restore(): Promise<void> {
    if (this.#state === 'committed') return Promise.resolve()
    try {
      this.#restoring ??= this.#keeper.restore(this)
    } catch (error) {
      return Promise.reject(error)
    }
    this.#state = 'restored'
    // Rejected when the aggregator cannot go on: nobody has taken the keys, and nobody will take their memory.
    this.#restoring.catch(() => {
      this.#state = 'sealed'
      this.#restoring = undefined
    })
    return this.#restoring
  }

  /** restore(), unless settled. */
  [Symbol.dispose](): void {
    this.restore().catch(() => undefined) // only after stop(), when there is nothing to be done about it
  }

  /** The same, awaited. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.restore().catch(() => undefined)
  }

  /** One line, never the memory. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `SealedEpoch { id: ${this.id}, size: ${this.size}, exact: ${this.exact}, state: '${this.#state}' }`
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

  #check(): void {
    if (this.#state === 'sealed') return
    throw new DirtyRingError('ERR_DIRTYRING_SETTLED', `epoch ${this.id} is ${this.#state}: its keys are gone; copy what must live longer`)
  }
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
