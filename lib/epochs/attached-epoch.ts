import { checkFunction } from '../check.js'
import { corruptSlot, corruptTextsOf } from '../errors.js'
import {
  bigintFrom,
  checkPair,
  encodeForLookup,
  idFrom,
  isTextKey,
  type Key,
  keyFrom,
  pairsFor,
  readKey,
  type ReadonlyBigints,
  type ReadonlyPairs,
} from '../keys.js'
import { epochAt, type SharedWords, SLOT_STAMP } from '../memory/map.js'
import type { Memory } from '../memory/memory.js'
import { hasTexts, keyKindOf } from '../memory/settings.js'
import { type SlotHeader, stampOf } from '../memory/slot.js'
import { TEXT_HEADER } from '../memory/table-size.js'
import { type Filter, filterWords } from '../set/filter.js'
import type { SetState } from '../set/kernel.js'
import { keyedHash } from '../set/sip.js'
import { HEAD_AT, recordWords, type TextSet, textsHold } from '../set/text-set.js'
import { scratch as encoded } from '../text/encode.js'
import { digest, hashWords } from '../text/murmur.js'
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
import type { EpochKeys, InexactReason } from './epoch.js'
import { type EpochHandle, type EpochParts, readEpochHandle } from './handle.js'
import {
  type Answer,
  copyBlock,
  copyWords,
  findFiltered,
  findNumber,
  findText,
  isLive,
  type LiveSlot,
  PRESENT,
  SETTLED,
} from './live.js'

/** The words that are copied at once, and believed once the epoch was still live after that. */
const BLOCK = 1024
/** The same where all is copied before any of it is used. */
const COPY_BLOCK = 2 ** 16

const scratch = new Int32Array(2)

/**
 * Reads the keys of a sealed epoch on another thread: for a checkpoint that a worker writes, or a
 * pool that is told what changed. The members are those of {@link SealedEpoch}, and so are their
 * errors.
 *
 * The epoch is settled by the tracker's thread as always, at any moment. Its keys are copied in
 * blocks of at most 4 KiB, and each block is checked before any of its keys is given. So once the
 * epoch is settled, a reader gets `ERR_DIRTYRING_SETTLED`, and never the keys of another epoch;
 * keys of a block that was copied before may still come. `bigints` and `pairs` are copies. `size`,
 * `exact`, `reason`, `precision` and `falsePositives` are in the handle, and can always be read.
 *
 * @param handle - {@link SealedEpoch.handle}, from workerData or a message
 * @returns the keys, for this thread. The call does not throw when the epoch is settled; reading
 * does
 * @throws TypeError `ERR_DIRTYRING_BAD_HANDLE` for anything else, `ERR_DIRTYRING_VERSION` if it
 * comes from another version of the library
 *
 * @example
 * ```js
 * // main.js
 * import { Worker } from 'node:worker_threads'
 * import { DirtyTracker } from 'dirtyring'
 *
 * const tracker = await DirtyTracker.create()
 * const worker = new Worker(new URL('./writer.js', import.meta.url))
 * const writer = tracker.openWriter()
 * writer.mark('/users/7')
 * writer.mark('/users/9')
 * await tracker.consume(async (epoch) => {
 *   worker.postMessage(epoch.handle)
 *   await new Promise((resolve) => worker.once('message', resolve)) // then it is committed
 * })
 * await tracker.stop()
 * await worker.terminate()
 * ```
 *
 * ```js
 * // writer.js
 * import { parentPort } from 'node:worker_threads'
 * import { attachEpoch } from 'dirtyring'
 *
 * parentPort.on('message', (handle) => {
 *   const epoch = attachEpoch(handle)
 *   for (const path of epoch.strings()) console.log('save', path) // save /users/7 | save /users/9
 *   parentPort.postMessage('saved')
 * })
 * ```
 */
export function attachEpoch(handle: EpochHandle): EpochKeys {
  return new AttachedEpoch(readEpochHandle(handle))
}

/** {@link SealedEpoch.encode} on another thread. */
export function encodeAttached(handle: EpochHandle, options: EncodeOptions): Uint8Array[] {
  return new AttachedEpoch(readEpochHandle(handle)).encode(options)
}

class AttachedEpoch implements EpochKeys {
  readonly size: number
  readonly exact: boolean
  readonly reason: InexactReason | undefined
  readonly precision: EpochKeys['precision']
  readonly falsePositives: number
  readonly everythingIn: readonly number[]
  readonly #id: number
  readonly #slot: number
  readonly #header: SlotHeader
  /** Undefined for an exact epoch without keys, which has no slot. */
  readonly #memory: Memory | undefined
  readonly #live: LiveSlot | undefined
  readonly #from: (low: number, high: number) => number | bigint
  readonly #hasTexts: boolean
  /** Not where the kind of keys has no texts. */
  readonly #mayHaveText: boolean
  #set: SetState | undefined
  #texts: TextSet | undefined
  #filter: Filter | undefined

  constructor({ id, slot, isKept, header, memory }: EpochParts) {
    this.#id = id
    this.#slot = slot
    this.#header = header
    this.#memory = memory
    this.size = header.count + header.textCount
    this.exact = header.flags === 0
    this.reason = reasonFor(header.flags)
    this.precision = precisionOf(header)
    this.falsePositives = falsePositivesIn(memory?.layout, header)
    this.everythingIn = header.namespaces
    this.#live =
      memory === undefined
        ? undefined
        : {
            words: memory.words,
            stampAt: epochAt(memory.layout, slot) + SLOT_STAMP,
            stamp: isKept ? 0 : stampOf(id),
          }
    const keys = memory === undefined ? 'any' : keyKindOf(memory.words)
    this.#from = keys === 'bigint' ? bigintFrom : keyFrom
    this.#mayHaveText = hasTexts(keys)
    this.#hasTexts = memory !== undefined && memory.layout.maxStringsPerEpoch > 0
  }

  get bigints(): ReadonlyBigints {
    return new BigUint64Array(this.#copyOfPairs('bigints').buffer)
  }

  get pairs(): ReadonlyPairs {
    return this.#copyOfPairs('pairs')
  }

  ids(): IterableIterator<number> {
    this.#checkNumeric('ids()')
    for (const pairs of this.#blocks()) checkIds(pairs)
    return this.#eachId()
  }

  forEachPair(visit: (low: number, high: number, index: number) => void): void {
    checkFunction('visit', visit)
    this.#checkNumeric('forEachPair()')
    let index = 0
    for (const pairs of this.#blocks())
      for (let i = 0; i < pairs.length; i += 2) visit(pairs[i], pairs[i + 1], index++)
  }

  strings(): IterableIterator<string> {
    this.#checkExact()
    const { count } = this.#header
    if (count > 0) throw otherKeys('strings()', `${count} numeric keys`)
    const records = this.#records()
    while (records?.next(false) === true)
      if ((records.head & 1) !== 0) throw otherKeys('strings()', 'keys of bytes')
    return this.#eachText() as IterableIterator<string>
  }

  numbers(): IterableIterator<number | bigint> {
    this.#checkExact()
    return this.#eachNumber()
  }

  texts(): IterableIterator<string | Uint8Array> {
    this.#checkExact()
    return this.#eachText()
  }

  listed(): IterableIterator<Key> {
    this.#check()
    return this.#eachKey()
  }

  [Symbol.iterator](): IterableIterator<Key> {
    this.#checkExact()
    return this.#eachKey()
  }

  has(key: Key): boolean {
    if (this.#hasTexts && isTextKey(key)) return this.#hasText(key)
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

  hasPair(low: number, high: number): boolean {
    checkPair(low, high)
    return this.#has(low | 0, high | 0)
  }

  /** From a copy of what travels: the epoch may be settled meanwhile. */
  encode(options: EncodeOptions): Uint8Array[] {
    const { count, textCount, textEnd } = this.#header
    const { precision } = whatTravels(this.#header, options)
    const isSuperset = precision === 'superset'
    const hasList = precision === 'exact' && this.#memory !== undefined
    const log = hasList ? count * 2 : 0
    const arena = hasList && textCount > 0 ? textEnd : 0
    const filter = isSuperset ? filterOf(this.#memory!, this.#slot) : undefined
    const bits = filter === undefined ? 0 : filterWords(filter)
    const words = new Int32Array(log + arena + bits) as unknown as SharedWords
    if (this.#memory !== undefined) {
      const { layout } = this.#memory
      const at = epochAt(layout, this.#slot)
      this.#copy(at + layout.log, words, 0, log)
      this.#copy(at + layout.arena, words, log, arena)
      if (filter !== undefined) this.#copy(filter.at, words, 0, bits)
    }
    if (this.#memory !== undefined) this.#check() // without keys it is one message, also if settled
    if (arena > 0 && !textsHold(words, log, log + arena, textCount, this.#header.textBytes))
      throw corruptTextsOf(this.#slot)
    return encodeKeys(
      {
        words,
        header: this.#header,
        log: 0,
        arena: log,
        filter: filter === undefined ? undefined : { ...filter, words, at: 0 },
        isBigint: this.#from === bigintFrom,
        hasPrints: this.#memory !== undefined && this.#mayHaveText && !this.#hasTexts,
      },
      options,
    )
  }

  #copy(at: number, into: Int32Array, to: number, count: number): void {
    for (let from = 0; from < count; from += COPY_BLOCK) {
      const n = Math.min(COPY_BLOCK, count - from)
      copyWords(this.#live!.words, at + from, into, to + from, n)
      this.#check()
    }
  }

  /** What console.log() prints: one line, and not the memory. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `AttachedEpoch { id: ${this.#id}, size: ${this.size}, exact: ${this.exact} }`
  }

  *#eachId(): IterableIterator<number> {
    for (const pairs of this.#blocks())
      for (let i = 0; i < pairs.length; i += 2) yield idFrom(pairs[i], pairs[i + 1])
  }

  *#eachNumber(): IterableIterator<number | bigint> {
    const from = this.#from
    for (const pairs of this.#blocks())
      for (let i = 0; i < pairs.length; i += 2) yield from(pairs[i], pairs[i + 1])
  }

  *#eachText(): IterableIterator<string | Uint8Array> {
    const records = this.#records()
    while (records?.next(true) === true)
      yield textFrom(records.words, records.at + TEXT_HEADER, records.head)
  }

  *#eachKey(): IterableIterator<Key> {
    if (this.#header.count > 0) yield* this.#eachNumber()
    if (this.#header.textCount > 0) yield* this.#eachText()
  }

  /** The pairs of the numeric keys, in checked blocks. Each is valid until the next. */
  *#blocks(): IterableIterator<Uint32Array> {
    const { count } = this.#header
    if (this.#memory === undefined || count === 0) return
    const { layout } = this.#memory
    const log = epochAt(layout, this.#slot) + layout.log
    const block = new Int32Array(Math.min(BLOCK, count * 2))
    for (let from = 0; from < count * 2; from += BLOCK) {
      const n = Math.min(BLOCK, count * 2 - from)
      if (!copyBlock(this.#live!, log + from, block, n)) throw settled(this.#id, 'settled')
      yield new Uint32Array(block.buffer, 0, n)
    }
  }

  #copyOfPairs(member: string): Uint32Array {
    this.#checkNumeric(member)
    const { count } = this.#header
    const copy = new Uint32Array(pairsFor(count, member).buffer)
    let at = 0
    for (const pairs of this.#blocks()) {
      copy.set(pairs, at)
      at += pairs.length
    }
    return copy
  }

  #records(): Records | undefined {
    if (this.#memory === undefined) return undefined
    const { layout } = this.#memory
    const arena = epochAt(layout, this.#slot) + layout.arena
    return new Records(this.#live!, arena, this.#header.textEnd, this.#id, this.#slot)
  }

  #has(low: number, high: number): boolean {
    this.#check()
    const known = namespaceSays(this.#header, high >>> 0)
    if (known !== undefined) return known
    if (this.precision !== 'exact') return this.#mayHave(low, high)
    if (this.#memory === undefined || this.#header.count === 0) return false
    this.#set ??= setOf(this.#memory, this.#slot, this.#header)
    return this.#answer(findNumber(this.#live!, this.#set, low, high))
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
    if (this.#memory === undefined || this.#header.textCount === 0) return false
    this.#texts ??= textsOf(this.#memory, this.#slot, this.#header)
    const { key0, key1 } = this.#texts
    const { words } = encoded
    const hash = keyedHash(words as unknown as SharedWords, 0, head, key0, key1)
    return this.#answer(findText(this.#live!, this.#texts, words, head, hash))
  }

  /** has() of a superset, or of everything, which always has a slot. */
  #mayHave(low: number, high: number): boolean {
    if (this.precision === 'everything') return true
    this.#filter ??= filterOf(this.#memory!, this.#slot)
    return this.#answer(findFiltered(this.#live!, this.#filter, low, high))
  }

  #answer(answer: Answer): boolean {
    if (answer === SETTLED) throw settled(this.#id, 'settled')
    return answer === PRESENT
  }

  #checkNumeric(member: string): void {
    this.#checkExact()
    checkNoTexts(member, this.#header)
  }

  #checkExact(): void {
    this.#check()
    if (!this.exact) throw notExact(`epoch ${this.#id}`, this.reason)
  }

  #check(): void {
    const isSettled = this.#live === undefined ? this.#slot < 0 : !isLive(this.#live)
    if (isSettled) throw settled(this.#id, 'settled')
  }
}

/** Walks the records of an arena, in this thread's own memory. */
class Records {
  /** The record at hand begins at words[at]. */
  words: Int32Array
  at = 0
  head = 0
  readonly #live: LiveSlot
  readonly #arena: number
  readonly #end: number
  readonly #id: number
  readonly #slot: number
  readonly #block: Int32Array
  /** Where in the arena the block begins, and where it ends. */
  #blockFrom = 0
  #blockEnd = 0
  /** Where in the arena the next record begins. */
  #next = 0

  constructor(live: LiveSlot, arena: number, end: number, id: number, slot: number) {
    this.#live = live
    this.#arena = arena
    this.#end = end
    this.#id = id
    this.#slot = slot
    this.#block = new Int32Array(Math.min(BLOCK, end))
    this.words = this.#block
  }

  /** Goes to the next record; false behind the last one. `whole`: its payload is wanted too. */
  next(whole: boolean): boolean {
    const place = this.#next
    if (place >= this.#end) return false
    this.words = this.#block
    if (place + TEXT_HEADER > this.#blockEnd) this.#load(place)
    this.head = this.#block[place - this.#blockFrom + HEAD_AT]
    const size = recordWords(this.head)
    // The head is the epoch's own: the block was checked.
    if (this.head < 0 || place + size > this.#end) throw corruptSlot(this.#slot, 'has a torn text')
    this.#next = place + size
    this.at = place - this.#blockFrom
    if (!whole || this.#next <= this.#blockEnd) return true
    this.at = 0
    if (size <= BLOCK) this.#load(place)
    else this.words = this.#long(place, size)
    return true
  }

  /** A text that is longer than a block is copied piece by piece, and checked once. */
  #long(place: number, size: number): Int32Array {
    const words = new Int32Array(size)
    for (let from = 0; from < size; from += BLOCK) {
      const n = Math.min(BLOCK, size - from)
      copyWords(this.#live.words, this.#arena + place + from, words, from, n)
    }
    if (!isLive(this.#live)) throw settled(this.#id, 'settled')
    return words
  }

  #load(place: number): void {
    const n = Math.min(BLOCK, this.#end - place)
    this.#blockFrom = place
    this.#blockEnd = place + n
    if (n < TEXT_HEADER) throw corruptSlot(this.#slot, 'has a torn text')
    if (!copyBlock(this.#live, this.#arena + place, this.#block, n))
      throw settled(this.#id, 'settled')
  }
}
