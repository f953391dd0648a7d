import { BY_LIBRARY, checkByLibrary, checkFunction } from '../check.js'
import { corruptTextsOf, DirtyRingError } from '../errors.js'
import {
  bigintFrom,
  checkPair,
  encodeForLookup,
  idFrom,
  isTextKey,
  type Key,
  keyFrom,
  readKey,
  type ReadonlyBigints,
  type ReadonlyPairs,
} from '../keys.js'
import { epochAt, FLAG_FRESH } from '../memory/map.js'
import { checkIdentity, type Memory } from '../memory/memory.js'
import { hasTexts, keyKindOf } from '../memory/settings.js'
import { EMPTY_SLOT, readSealedSlot, type SlotHeader } from '../memory/slot.js'
import { TEXT_HEADER } from '../memory/table-size.js'
import { EPOCH_MASK } from '../ring/token.js'
import { type Filter, filterHas } from '../set/filter.js'
import { contains, type SetState } from '../set/kernel.js'
import { containsText, HEAD_AT, recordWords, type TextSet, textsHold } from '../set/text-set.js'
import { scratch as encoded } from '../text/encode.js'
import { digest, hashWords } from '../text/murmur.js'
import { type Clock, clockOf } from './clock.js'
import {
  checkIds,
  checkNoTexts,
  falsePositivesIn,
  filterOf,
  namespaceSays,
  notExact,
  otherKeys,
  precisionOf,
  reasonFor,
  setOf,
  settled,
  textFrom,
  textsOf,
} from './common.js'
import { encodeKeys, type EncodeOptions, whatTravels } from './encode.js'
import type { Epoch, EpochKeys, InexactReason } from './epoch.js'
import { type EpochHandle, epochHandleOf } from './handle.js'

const scratch = new Int32Array(2)

/** What a sealed epoch asks of the tracker that handed it out. */
export interface EpochKeeper {
  /** The slot is free. */
  commit(epoch: SealedEpoch): void
  /** Resolves when the keys are in the open epoch. Throws when no epoch is open any more. */
  restore(epoch: SealedEpoch): Promise<void>
}

/** What an epoch is made of. */
export interface SealedParts {
  readonly memory: Memory
  /** -1: it has no keys, and is settled from the beginning. */
  readonly slot: number
  readonly id: number
  /** See {@link SealedEpoch.staged}. */
  readonly staged: number
  readonly keeper: EpochKeeper
  readonly last: boolean
  /** The epoch up to which its reader has dealt with all; undefined: the reader is fresh. */
  readonly since: number | undefined
  /** The namespaces that its reader reads; undefined: all. */
  readonly wanted?: readonly number[] | undefined
}

/** The constructor, for the tracker. */
export let makeEpoch: (parts: SealedParts) => SealedEpoch

/** {@link SealedEpoch.encode}, for a cluster's publisher. */
export let encodeSealed: (epoch: SealedEpoch, options: EncodeOptions) => Uint8Array[]

/**
 * Holds the distinct keys of a closed epoch until the consumer settles it. The first `commit()` or
 * `restore()` settles it; later calls of either do nothing.
 *
 * `bigints` and `pairs` are views on shared memory: do not use them after the epoch is settled.
 * Asking for them then throws `ERR_DIRTYRING_SETTLED`. Leaving a `using` scope without `commit()`
 * restores. An exact epoch without keys takes no slot, and need not be settled. An epoch belongs
 * to the tracker's thread. Another thread reads its keys through `handle` and
 * {@link attachEpoch}, which notices when the epoch is settled.
 *
 * If the epoch is not exact, some of its keys are missing in the list. Each member that walks or
 * lists the keys then throws `ERR_DIRTYRING_INEXACT` at once, because a caller would take the part
 * for the whole and lose the rest. `has()` always answers, and `listed()` gives the part that is
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
 *   await epoch.restore() // does nothing after commit(); after a throw it gives the keys back
 * }
 * await tracker.stop()
 * ```
 */
export class SealedEpoch<K extends Key = Key> implements Epoch<K> {
  /**
   * The number of the epoch, from 0. An epoch whose advanceEpoch() was aborted after the cut is
   * handed out to no caller, and its number is skipped.
   */
  readonly id: number
  /** Distinct keys held: all of them if the epoch is exact, else a lower bound. */
  readonly size: number
  /**
   * Whether the list of keys is complete. If it is not, ask `has()` for each row that you hold, or
   * treat every key as dirty; `reason` says why. What lists the keys then throws, and `listed()`
   * gives the part that is known.
   */
  readonly exact: boolean
  /** Why the epoch is not exact; undefined if it is. */
  readonly reason: InexactReason | undefined
  /**
   * What the keys are, compared with what was marked. An epoch that only has too many keys is a
   * 'superset': `has()` then still tells most clean keys from dirty ones. With so many keys that it
   * could not (about 30 times `maxKeysPerEpoch`), and for every other reason, it is 'everything'.
   */
  readonly precision: EpochKeys['precision']
  /**
   * The probability that `has()` is true for a key that was not marked, from 0 to 1. It is 0 if the
   * epoch is exact and 1 for 'everything'. A superset of twelve times `maxKeysPerEpoch` (of the
   * default, 1,048,576) has 0.01. An estimate, for keys that were not chosen to collide.
   *
   * @example
   * ```js
   * import { DirtyTracker } from 'dirtyring'
   * const tracker = await DirtyTracker.create({ maxKeysPerEpoch: 1000 })
   * const writer = tracker.openWriter()
   * for (let id = 0; id < 2000; id++) writer.mark(id)
   * await tracker.consume((epoch) => {
   *   console.log(epoch.precision, epoch.has(1999)) // superset true
   *   console.log(epoch.falsePositives < 0.001) // true
   * })
   * await tracker.stop()
   * ```
   */
  readonly falsePositives: number
  /**
   * The namespaces that changed as a whole, by `markEverything(namespace)`: `has()` is true for each
   * of their keys. An epoch with any is not exact; `precision` is about the other keys.
   */
  readonly everythingIn: readonly number[]
  /**
   * Keys that open writers had marked and not published at the cut: a later epoch has them. Only an
   * indication, because writers go on meanwhile. 0 after `await tracker.flushed()` if no writer has
   * marked since.
   */
  readonly staged: number
  /**
   * Whether stop() sealed this epoch: no epoch comes after it. `restore()` on it rejects with
   * `ERR_DIRTYRING_STOPPED`. A `using` scope that ends without `commit()` leaves it readable, and
   * does not throw.
   */
  readonly last: boolean
  readonly #parts: SealedParts
  readonly #memory: Memory
  readonly #slot: number
  readonly #header: SlotHeader
  readonly #keeper: EpochKeeper
  readonly #bigints: boolean
  /** Not where the kind of keys has no texts. */
  readonly #mayHaveText: boolean
  #set: SetState | undefined
  #texts: TextSet | undefined
  #filter: Filter | undefined
  #isChecked = false
  #state: 'sealed' | 'committed' | 'restored' = 'sealed'
  #restoring: Promise<void> | undefined
  /** For a twin: the epoch that it shows, and whether the twin may settle it. */
  #original: { readonly epoch: SealedEpoch; readonly isOwner: () => boolean } | undefined
  #handle: EpochHandle | undefined

  static {
    makeEpoch = (parts) => new SealedEpoch(BY_LIBRARY, parts)
    encodeSealed = (epoch, options) => epoch.#encode(options)
  }

  private constructor(pass: typeof BY_LIBRARY, parts: SealedParts) {
    checkByLibrary(pass, 'SealedEpoch', 'Call tracker.advanceEpoch() or tracker.consume().')
    const { memory, slot, id, staged, keeper, last } = parts
    const header = slot < 0 ? EMPTY_SLOT : headerOf(parts)
    const { flags } = header
    if (slot < 0) this.#state = 'committed'
    this.#parts = parts
    this.#memory = memory
    this.#slot = slot
    this.#keeper = keeper
    this.id = id
    this.staged = staged
    this.last = last
    this.#header = header
    this.size = header.count + header.textCount
    checkIdentity(memory.words) // the kind of keys is in it
    const keys = keyKindOf(memory.words)
    this.#bigints = keys === 'bigint'
    this.#mayHaveText = hasTexts(keys)
    this.exact = flags === 0
    this.reason = reasonFor(flags)
    this.everythingIn = header.namespaces
    this.precision = precisionOf(header)
    this.falsePositives = falsePositivesIn(memory.layout, header)
  }

  /**
   * Where the reader stands once this epoch is dealt with. Store it with the data, in the same
   * transaction: {@link DirtyTracker.consumer} takes it as `since`.
   *
   * @example
   * ```js
   * import { DirtyTracker } from 'dirtyring'
   * const tracker = await DirtyTracker.create({ maxConsumers: 1 })
   * const rows = tracker.consumer('rows', { from: 'now' })
   * tracker.openWriter().mark(42)
   * const stored = await rows.consume((epoch) => epoch.clock)
   * console.log(rows.clock === stored) // true
   * await tracker.stop()
   * ```
   */
  get clock(): Clock {
    return clockOf(this.#memory.words, this.id)
  }

  /**
   * Where the reader stood before: the clock of the last epoch that it has committed. Undefined if
   * it stands nowhere yet; the epoch then has the reason 'fresh'.
   */
  get since(): Clock | undefined {
    const { since } = this.#parts
    return since === undefined ? undefined : clockOf(this.#memory.words, since)
  }

  /**
   * @internal The last epoch once more, for a caller that does not own it: the same keys, readable
   * also after the owner has settled the epoch. `commit()` and `restore()` on it do nothing until
   * `isOwner` is true; from then on they are the epoch's own.
   */
  twin(isOwner: () => boolean): SealedEpoch<K> {
    const twin = new SealedEpoch<K>(BY_LIBRARY, this.#parts)
    twin.#original = { epoch: this as unknown as SealedEpoch, isOwner }
    return twin
  }

  /** 'sealed' until commit() or restore(); then 'committed' or 'restored', after the first call. */
  get state(): 'sealed' | 'committed' | 'restored' {
    if (this.#original === undefined) return this.#state
    return this.#original.isOwner() ? this.#original.epoch.state : 'sealed'
  }

  /**
   * Goes to other threads of this process, in workerData or by postMessage: {@link attachEpoch}
   * reads the keys there. Commit when that thread says that it is done.
   */
  get handle(): EpochHandle {
    const original = this.#original
    if (original?.isOwner() === true) return original.epoch.handle
    // No epoch comes after the one that a twin shows, so its slot is never used again.
    this.#handle ??= epochHandleOf(
      this.#memory,
      this.#slot,
      this.id,
      this.#header,
      original !== undefined,
    )
    return this.#handle
  }

  /**
   * The keys in order of first mark, as 64-bit numbers: a read-only view on shared memory. Copy
   * what must live longer (`slice()`). The view may be posted to a worker, which must be done with
   * it before the epoch is settled; better post `handle`.
   *
   * @throws RangeError `ERR_DIRTYRING_OUT_OF_RANGE` when the epoch has text keys.
   * @throws DirtyRingError `ERR_DIRTYRING_SETTLED` and `ERR_DIRTYRING_INEXACT`.
   */
  get bigints(): ReadonlyBigints {
    this.#checkNumeric('bigints')
    const { buffer, byteOffset } = this.#log()
    return new BigUint64Array(buffer, byteOffset, this.#header.count)
  }

  /**
   * The same memory as pairs: low, high, low, high and so on, without a bigint for each key.
   *
   * @throws RangeError `ERR_DIRTYRING_OUT_OF_RANGE` when the epoch has text keys.
   * @throws DirtyRingError `ERR_DIRTYRING_SETTLED` and `ERR_DIRTYRING_INEXACT`.
   *
   * @example
   * ```js
   * writer.markPair(7, 2) // row 7 of table 2
   * await tracker.consume(({ pairs }) => {
   *   for (let i = 0; i < pairs.length; i += 2) console.log('row', pairs[i], 'table', pairs[i + 1])
   *   // row 7 table 2
   * })
   * ```
   */
  get pairs(): ReadonlyPairs {
    this.#checkNumeric('pairs')
    return this.#pairs()
  }

  /**
   * Walks the keys as numbers, in order of first mark. For callers that mark ids.
   *
   * @throws RangeError `ERR_DIRTYRING_OUT_OF_RANGE` at once, not half-way, when a key is above
   * 2^53-1 or a text.
   * @throws DirtyRingError `ERR_DIRTYRING_SETTLED` and `ERR_DIRTYRING_INEXACT`.
   */
  ids(): IterableIterator<number> {
    this.#checkNumeric('ids()')
    const pairs = this.#pairs()
    checkIds(pairs)
    return this.#eachId(pairs)
  }

  *#eachId(pairs: Uint32Array): IterableIterator<number> {
    for (let i = 0; i < pairs.length; i += 2) {
      this.#check()
      yield idFrom(pairs[i], pairs[i + 1])
    }
  }

  /**
   * Calls `visit` for each key as a pair, in order of first mark, without a bigint for each.
   *
   * @param visit - Receives the low and the high half, each 0 to 2^32-1, and the key's index.
   * @throws TypeError `ERR_DIRTYRING_INVALID_ARG` if `visit` is not a function.
   * @throws RangeError `ERR_DIRTYRING_OUT_OF_RANGE` when the epoch has text keys.
   * @throws DirtyRingError `ERR_DIRTYRING_SETTLED` and `ERR_DIRTYRING_INEXACT`.
   */
  forEachPair(visit: (low: number, high: number, index: number) => void): void {
    checkFunction('visit', visit)
    this.#checkNumeric('forEachPair()')
    const pairs = this.#pairs()
    for (let i = 0; i < pairs.length; i += 2) {
      this.#check()
      visit(pairs[i], pairs[i + 1], i >>> 1)
    }
  }

  /**
   * Walks the keys as strings, in order of first mark. For callers that mark strings.
   *
   * @throws RangeError `ERR_DIRTYRING_OUT_OF_RANGE` at once, not half-way, when the epoch has
   * numeric keys or bytes.
   * @throws DirtyRingError `ERR_DIRTYRING_SETTLED` and `ERR_DIRTYRING_INEXACT`.
   *
   * @example
   * ```js
   * writer.mark('/users/7')
   * await tracker.consume((epoch) => console.log(...epoch.strings())) // /users/7
   * ```
   */
  strings(): IterableIterator<string> {
    this.#checkExact()
    const { count, textEnd } = this.#header
    if (count > 0) throw otherKeys('strings()', `${count} numeric keys`)
    const { words } = this.#memory
    const arena = this.#arena()
    for (let at = arena; at < arena + textEnd; at += recordWords(words[at + HEAD_AT]))
      if ((words[at + HEAD_AT] & 1) !== 0) throw otherKeys('strings()', 'keys of bytes')
    return this.#eachText() as IterableIterator<string>
  }

  /**
   * Walks the numeric keys, in order of first mark: numbers up to 2^53-1, bigints above (always
   * bigints with `keys: 'bigint'`). The epoch may have text keys beside them.
   *
   * @throws DirtyRingError `ERR_DIRTYRING_SETTLED` and `ERR_DIRTYRING_INEXACT`.
   *
   * @example
   * ```js
   * writer.mark(42)
   * writer.mark('/users/7')
   * await tracker.consume((epoch) => {
   *   console.log(...epoch.numbers(), ...epoch.texts()) // 42 /users/7
   * })
   * ```
   */
  numbers(): IterableIterator<number | bigint> {
    this.#checkExact()
    return this.#eachNumber(this.#pairs())
  }

  /**
   * Walks the text keys, in order of first mark: strings, and copies of bytes. The epoch may have
   * numeric keys beside them.
   *
   * @throws DirtyRingError `ERR_DIRTYRING_SETTLED` and `ERR_DIRTYRING_INEXACT`.
   */
  texts(): IterableIterator<string | Uint8Array> {
    this.#checkExact()
    return this.#eachText()
  }

  *#eachText(): IterableIterator<string | Uint8Array> {
    const { words } = this.#memory
    const arena = this.#arena()
    const end = arena + this.#header.textEnd
    for (let at = arena; at < end;) {
      this.#check()
      const head = words[at + HEAD_AT]
      const payload = at + TEXT_HEADER
      at += recordWords(head)
      yield textFrom(words, payload, head)
    }
  }

  *#eachNumber(pairs: Uint32Array): IterableIterator<number | bigint> {
    const from = this.#bigints ? bigintFrom : keyFrom
    for (let i = 0; i < pairs.length; i += 2) {
      this.#check()
      yield from(pairs[i], pairs[i + 1])
    }
  }

  /**
   * Walks the keys that are listed, whether the epoch is exact or not. If it is not exact, this is
   * only a part of them: save these first, for example, and then all the other rows.
   *
   * @throws DirtyRingError `ERR_DIRTYRING_SETTLED`.
   *
   * @example
   * ```js
   * writer.mark(42)
   * tracker.markEverything()
   * await tracker.consume((epoch) => {
   *   console.log(epoch.exact, ...epoch.listed(), epoch.has(43)) // false 42 true
   * })
   * ```
   */
  listed(): IterableIterator<K> {
    this.#check()
    return this.#eachKey()
  }

  /**
   * Tells whether a key is in the epoch: never false for a key that was marked. If the epoch is not
   * exact, it is also true for some other keys, or for all: see `falsePositives`. Further arguments
   * are ignored, so `keys.filter(epoch.has, epoch)` keeps the dirty keys.
   *
   * @param key - In any form that `writer.mark()` takes.
   * @throws TypeError `ERR_DIRTYRING_INVALID_ARG` and RangeError `ERR_DIRTYRING_OUT_OF_RANGE`.
   * @throws DirtyRingError `ERR_DIRTYRING_SETTLED`.
   */
  has(key: Key): boolean {
    if (isTextKey(key) && this.#memory.layout.maxStringsPerEpoch > 0) return this.#hasText(key)
    if (isTextKey(key) && !this.#mayHaveText) {
      this.#check()
      return this.precision === 'everything' // the tracker refuses texts
    }
    readKey(key, scratch, 0)
    if (isTextKey(key) && this.everythingIn.includes(0)) {
      this.#check()
      return true // its fingerprint tells no namespace
    }
    return this.#has(scratch[0], scratch[1])
  }

  /**
   * Tells whether a key of two 32-bit numbers is in the epoch.
   *
   * @param low - As `writer.markPair()` takes it.
   * @param high - The same.
   * @throws What {@link SealedEpoch.has} throws.
   */
  hasPair(low: number, high: number): boolean {
    checkPair(low, high)
    return this.#has(low | 0, high | 0)
  }

  /**
   * Walks the keys as they were marked: first the numeric ones, then strings and copies of bytes,
   * each in order of first mark. **A numeric key up to 2^53-1 comes back as a number, also if it was
   * marked as a bigint**; with `keys: 'bigint'` all come back as bigints. `pairs` and `ids()` take a
   * fraction of the time.
   *
   * @throws DirtyRingError `ERR_DIRTYRING_SETTLED` and `ERR_DIRTYRING_INEXACT`.
   */
  [Symbol.iterator](): IterableIterator<K> {
    this.#checkExact()
    return this.#eachKey()
  }

  *#eachKey(): IterableIterator<K> {
    if (this.#header.count > 0) yield* this.#eachNumber(this.#pairs()) as Iterable<K>
    if (this.#header.textCount > 0) yield* this.#eachText() as Iterable<K>
  }

  /**
   * Writes the keys as bytes for another process or another host: `decodeEpoch()` of
   * 'dirtyring/cluster' reads them there, and so does each later version of the library. Each
   * message is at most 900,000 bytes long, and stands for a part of the keys by itself, so a reader
   * may get them in any order. All of them together are the epoch, and an epoch without keys is one
   * message.
   *
   * A key takes 7 bytes if it is a fingerprint, and 1 to 1.3 if it is one of many row ids. An epoch
   * that is a superset travels as its filter, of 10 to 20 bits a key, without the keys that are
   * listed. A text of more than 899,000 bytes goes into a filter too. The call takes some
   * 0.3 µs for a number and 4 µs for a text, and sorts the keys: the order of first mark does not
   * travel.
   *
   * @returns One message or more, which are the caller's own.
   * @throws DirtyRingError `ERR_DIRTYRING_SETTLED`.
   *
   * @example
   * ```js
   * import { decodeEpoch } from 'dirtyring/cluster'
   *
   * writer.markMany([7, 8, '/users/7'])
   * const messages = await tracker.consume((epoch) => epoch.encode())
   * const keys = decodeEpoch(messages) // in another process
   * console.log(keys.size, keys.has('/users/7'), keys.has(9)) // 3 true false
   * ```
   */
  encode(): Uint8Array[] {
    return this.#encode({})
  }

  /**
   * Says that the keys were dealt with, so that the tracker uses the memory again. Does nothing for
   * a settled epoch.
   */
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
   * Gives the keys back, because they were not dealt with: they join the open epoch. A later
   * `advanceEpoch()` has them, also when it is called before this promise resolves. Does nothing
   * after commit(). Those of a named consumer are in its next epoch, and in no other consumer's.
   *
   * @returns A promise that resolves when the keys are in the open epoch.
   * @throws DirtyRingError `ERR_DIRTYRING_STOPPED` after stop(), because no epoch is open then; and
   * the aggregator's error when it cannot continue. The keys stay readable in both cases.
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
    // Rejected when the aggregator cannot continue: it has not taken the keys, and does not free
    // their memory.
    this.#restoring.catch(() => {
      this.#state = 'sealed'
      this.#restoring = undefined
    })
    return this.#restoring
  }

  /** Restores the epoch, unless it is settled. */
  [Symbol.dispose](): void {
    // restore() rejects only after stop(), and no caller can do anything about that here.
    this.restore().catch(() => undefined)
  }

  /** Restores the epoch, unless it is settled, and waits for that. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.restore().catch(() => undefined)
  }

  /** What console.log() prints: one line, and not the memory. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    const { id, size, exact, state } = this
    return `SealedEpoch { id: ${id}, size: ${size}, exact: ${exact}, state: '${state}' }`
  }

  #encode(options: EncodeOptions): Uint8Array[] {
    if (this.#slot >= 0) this.#check() // without a slot it has no keys, and is one message
    const { words, layout } = this.#memory
    const { precision } = whatTravels(this.#header, options)
    const at = epochAt(layout, this.#slot)
    return encodeKeys(
      {
        words,
        header: this.#header,
        log: at + layout.log,
        arena: this.#header.textCount === 0 ? at : this.#arena(),
        filter: precision === 'superset' ? filterOf(this.#memory, this.#slot) : undefined,
        isBigint: this.#bigints,
        hasPrints: this.#mayHaveText && layout.maxStringsPerEpoch === 0,
      },
      options,
    )
  }

  #has(low: number, high: number): boolean {
    this.#check()
    const known = namespaceSays(this.#header, high >>> 0)
    if (known !== undefined) return known
    if (this.precision !== 'exact') return this.#mayHave(low, high)
    if (this.#header.count === 0) return false
    this.#set ??= setOf(this.#memory, this.#slot, this.#header)
    return contains(this.#set, low, high)
  }

  #hasText(key: string | Uint8Array): boolean {
    this.#check()
    const head = encodeForLookup(key)
    const known = namespaceSays(this.#header, 0)
    if (known !== undefined) return known
    if (this.precision !== 'exact') {
      hashWords(encoded.words, head >>> 1, 0)
      return this.#mayHave(digest[0], digest[1])
    }
    if (this.#header.textCount === 0) return false
    this.#texts ??= textsOf(this.#memory, this.#slot, this.#header)
    return containsText(this.#texts, encoded.words, head)
  }

  /** has() of a superset, or of everything. */
  #mayHave(low: number, high: number): boolean {
    if (this.precision === 'everything') return true
    this.#filter ??= filterOf(this.#memory, this.#slot)
    return filterHas(this.#filter, low, high)
  }

  /** Word index of the first text. At the first call, checks that the texts hold together. */
  #arena(): number {
    const { words, layout } = this.#memory
    const { textEnd, textCount, textBytes } = this.#header
    const arena = epochAt(layout, this.#slot) + layout.arena
    if (!this.#isChecked && !textsHold(words, arena, arena + textEnd, textCount, textBytes))
      throw corruptTextsOf(this.#slot)
    this.#isChecked = true
    return arena
  }

  #log(): { buffer: ArrayBufferLike; byteOffset: number } {
    this.#check()
    if (this.#header.count === 0) return { buffer: new ArrayBuffer(0), byteOffset: 0 }
    const { words, layout } = this.#memory
    return { buffer: words.buffer, byteOffset: (epochAt(layout, this.#slot) + layout.log) * 4 }
  }

  #pairs(): Uint32Array {
    const { buffer, byteOffset } = this.#log()
    return new Uint32Array(buffer, byteOffset, this.#header.count * 2)
  }

  #checkNumeric(member: string): void {
    this.#checkExact()
    checkNoTexts(member, this.#header)
  }

  #checkExact(): void {
    this.#check()
    if (!this.exact) throw notExact(`epoch ${this.id}`, this.reason)
  }

  #check(): void {
    const { state } = this
    if (state !== 'sealed') throw settled(this.id, state)
  }
}

/** The header of its slot, and what is known of its reader. */
function headerOf({ memory, slot, id, since, wanted }: SealedParts): SlotHeader {
  const header = readSealedSlot(memory, slot, id & EPOCH_MASK)
  const flags = since === undefined ? header.flags | FLAG_FRESH : header.flags
  return { ...header, flags, wanted }
}

/** The error of a restore() after stop(). */
export function cannotRestore({ id }: SealedEpoch): DirtyRingError {
  return new DirtyRingError(
    'ERR_DIRTYRING_STOPPED',
    `epoch ${id} cannot be restored, because the tracker has stopped; its keys stay readable`,
  )
}
