import { loadContents } from '../aggregator/load.js'
import { checkBag, checkWhole } from '../check.js'
import { type Clock, clockOf, epochOfClock, instanceOf, readClock } from '../epochs/clock.js'
import { makeEpoch, type SealedEpoch } from '../epochs/sealed-epoch.js'
import { DirtyRingError, invalidArg, isRevoked, outOfRange } from '../errors.js'
import { epochAt, LANE_EVERYTHING_MARKED, laneAt, NAMESPACES_MAX } from '../memory/map.js'
import { settingsOf } from '../memory/settings.js'
import { NAMESPACE_MAX, readSealedSlot } from '../memory/slot.js'
import { EPOCH_MASK } from '../ring/token.js'
import { queueMicrotask } from '../timers.js'
import { publishOwn } from '../writer/lanes.js'
import { Consumer, type ConsumerParts, makeConsumer } from './consumer.js'
import type { Control } from './control.js'
import type { Cut, HandedOut } from './handed-out.js'
import type { Hold } from './hold.js'
import { type ConsumerLag, lagOf, lookAtLast } from './lag.js'
import { lastSlotOf, openPlace, type Outbox, takeLastOf } from './outbox.js'
import type { Place } from './places.js'
import { Reader } from './reader.js'
import { contentOf, type Lineage, type SavedState } from './saved.js'
import { readShared } from './stats.js'

/** Options of {@link DirtyTracker.consumer}. */
export interface ConsumerOptions {
  /**
   * The {@link SealedEpoch.clock} that the consumer stored with its data. Undefined, or one that
   * can't be served: the consumer is fresh.
   */
  since?: Clock | undefined
  /** 'now': a full copy was just made, so the consumer begins here and is not fresh. */
  from?: 'now' | undefined
  /**
   * Only the keys of these namespaces: pairs by their high half, 0 to 2^22 - 1. Ids below 2^32 and
   * text keys are in namespace 0. 1 to 24 of them. Default: all keys.
   */
  namespaces?: readonly number[] | undefined
}

/** An open consumer. */
interface Entry {
  readonly name: string
  readonly place: Place
  readonly epochs: HandedOut
  readonly reader: Reader
  readonly consumer: Consumer
  /** Where it stood when it was resumed, and the position that this is in the epochs of this tracker. */
  readonly resumed: { readonly since: Clock | undefined; readonly position: number } | undefined
  /** Its last epoch was handed out. */
  hasLast: boolean
}

const NAME_MAX = 128

/** What was marked in the tracker, compared with what a consumer's epochs have had. */
interface Cover {
  /** Nothing was marked before it was opened, or all keys were taken for dirty since. */
  isWhole: boolean
  /** How many epochs it had committed then. */
  commits: number
  /** The number of the open epoch when the consumer was opened. */
  readonly openedIn: number
}

/** The named consumers of a tracker: their names, their positions, and what stop() gives them. */
export class Consumers {
  readonly #control: Control
  readonly #max: number
  /** In the order in which they were opened. */
  readonly #open = new Map<string, Entry>()
  /** Resumed, and not opened yet. */
  readonly #waiting = new Map<string, Entry>()
  /** The trackers that were resumed, the newest first. */
  #lineage: readonly Lineage[] = []
  /** Nothing was marked in the epochs after #emptyFrom, up to #emptyTo. */
  #emptyFrom = -2
  #emptyTo = -2
  /** What stop() resolves with. Undefined before stop(). */
  #sealed: Promise<SealedEpoch> | undefined
  #last: Cut | undefined
  #result: Promise<SealedEpoch> | undefined

  constructor(control: Control, max: number) {
    this.#control = control
    this.#max = max
  }

  /** Throws if this tracker has named consumers, and is read as if it had none. */
  checkNone(): void {
    if (this.#max === 0) return
    throw new DirtyRingError(
      'ERR_DIRTYRING_BUSY',
      `the epochs of this tracker belong to its named consumers (maxConsumers is ${this.#max}). ` +
        'Call tracker.consumer(name), and read them there',
    )
  }

  open(name: string, options: ConsumerOptions): Consumer {
    checkName(name)
    const { since, from, namespaces } = checkOptions(options)
    if (namespaces !== undefined) this.#checkNamespaces()
    const { outbox, lifecycle, memory } = this.#control
    lifecycle.checkRunning()
    const waiting = this.#waiting.get(name)
    if (waiting !== undefined) {
      this.#waiting.delete(name)
      if (from === undefined && this.#goesOn(waiting, since, namespaces)) {
        this.#open.set(name, waiting)
        return waiting.consumer
      }
      waiting.reader.close()
    }
    this.#checkRoom(name)
    const known = since === undefined ? undefined : this.#serve(since)
    if (from === 'now') publishOwn(memory)
    const isFresh = from === undefined && known === undefined
    const place = openPlace(outbox, isFresh, from === 'now', namespaces)
    queueMicrotask(() => this.#control.poke()) // behind the caller's lock
    const entry = this.#enter(name, place, known ?? outbox.epoch - 1, undefined)
    this.#open.set(name, entry)
    return entry.consumer
  }

  #enter(name: string, place: Place, position: number, resumed: Entry['resumed']): Entry {
    const { outbox, memory } = this.#control
    const epochs = this.#control.openHandedOut(position, place, (after, id) =>
      this.#noteEmpty(after, id),
    )
    const reader = new Reader(this.#control, epochs, { name, place })
    const cover = { isWhole: isUnmarked(outbox), commits: 0, openedIn: outbox.epoch }
    const parts: ConsumerParts = {
      name,
      reader,
      clock: () => {
        const at = epochs.position
        return at === undefined ? undefined : clockOf(memory.words, at)
      },
      lag: () => lagOf(outbox, place, epochs),
      close: () => {
        if (this.#open.get(name)?.reader === reader) this.#open.delete(name)
        reader.close()
      },
      hold: () => this.#hold(name, place, epochs, reader, cover, resumed),
    }
    const consumer = makeConsumer(parts)
    return { name, place, epochs, reader, consumer, resumed, hasLast: false }
  }

  /** See Hold. `cover` says what the consumer's epochs have had so far. */
  #hold(
    name: string,
    place: Place,
    epochs: HandedOut,
    reader: Reader,
    cover: Cover,
    resumed: Entry['resumed'],
  ): Hold {
    const { outbox, memory, lifecycle, sleepers, flushes } = this.#control
    const parts = reader.hold()
    if (isUnmarked(outbox)) cover.isWhole = true
    if (place.isFresh && place.held < 0) {
      // Cuts since it was opened have kept nothing for it. If there was nothing, it misses nothing.
      if (cover.openedIn !== outbox.epoch && !isUnmarked(outbox)) cover.isWhole = false
      if (cover.isWhole) place.isFresh = false
    }
    // stop() hands the last epoch out although they are in hand, and they may be committed later.
    const { epochs: ofOthers } = epochs
    const isWhole = (): boolean =>
      cover.isWhole &&
      cover.commits === epochs.commits &&
      ofOthers.every(({ state }) => state !== 'sealed')
    return {
      ...parts,
      name,
      wanted: place.wanted,
      resumed: resumed?.since,
      get clock() {
        const { position } = epochs
        if (resumed !== undefined && position === resumed.position) return resumed.since
        return position === undefined ? undefined : clockOf(memory.words, position)
      },
      get isWhole() {
        return isWhole()
      },
      get isDirty() {
        return sleepers.isAwake(place)
      },
      get isClosed() {
        return reader.isClosed
      },
      get isStopCalled() {
        return lifecycle.isStopCalled
      },
      flushed: (signal) => flushes.request(signal),
      onStop: (wake) => lifecycle.onStop(wake),
      settle: (epoch, asEverything) => {
        const wasWhole = isWhole()
        epoch.commit()
        cover.isWhole = wasWhole || asEverything
        cover.commits = epochs.commits
      },
    }
  }

  /** Before any other thread has the memory: puts back what a tracker that stopped had left. */
  resume({ lineage, consumers }: SavedState): void {
    this.#lineage = lineage
    const { memory, outbox } = this.#control
    if (consumers.length > this.#max) {
      throw new DirtyRingError(
        'ERR_DIRTYRING_NO_CONSUMER_SLOT',
        `options.resume has ${consumers.length} consumers, and maxConsumers is ${this.#max}. ` +
          'Raise maxConsumers, or forget some before the tracker is saved',
      )
    }
    const staging = epochAt(memory.layout, outbox.openSlot) + memory.layout.arena
    const position = outbox.epoch - 1
    for (const { name, since, namespaces, contents } of consumers) {
      const place = openPlace(outbox, since === undefined, false, namespaces)
      if (since !== undefined && contents.length > 0) {
        const slot = outbox.freeSlots.pop()!
        const { arenaWords } = memory.layout
        loadContents(memory, slot, position & EPOCH_MASK, contents, staging, arenaWords)
        place.backlog = slot
      }
      this.#waiting.set(name, this.#enter(name, place, position, { since, position }))
    }
  }

  /** Drops a consumer that was resumed and is not opened. Returns false if there is none. */
  forget(name: string): boolean {
    checkName(name)
    const waiting = this.#waiting.get(name)
    if (waiting === undefined) return false
    this.#waiting.delete(name)
    waiting.reader.close()
    return true
  }

  /** After stop(): what the consumers have not dealt with. */
  save(): SavedState {
    const { memory, outbox } = this.#control
    const instance = instanceOf(memory.words)
    const consumers = [...this.#open.values(), ...this.#waiting.values()].map((entry) => {
      const { name, place, epochs, resumed, hasLast } = entry
      const { position } = epochs
      const isWhereItWas = resumed !== undefined && position === resumed.position
      const clock = position === undefined ? undefined : clockOf(memory.words, position)
      const since = isWhereItWas ? resumed.since : clock
      const contents = since === undefined ? [] : epochs.contents()
      if (since !== undefined && !hasLast) {
        const slot = lastSlotOf(outbox, place)
        contents.push(
          contentOf(memory, slot, readSealedSlot(memory, slot, outbox.epoch & EPOCH_MASK)),
        )
      }
      return { name, since, namespaces: place.wanted, contents }
    })
    const used = new Set(consumers.map(({ since }) => readClock(since ?? '')?.instance))
    const oldest = this.#lineage.findLastIndex((each) => used.has(each.instance))
    const lineage = [{ instance, upTo: outbox.epoch }, ...this.#lineage.slice(0, oldest + 1)]
    return { lineage, consumers }
  }

  /**
   * Whether a consumer that was resumed goes on for the owner of a clock: all that was sealed after
   * the clock is in its backlog.
   */
  #goesOn(
    { place, resumed }: Entry,
    clock: Clock | undefined,
    namespaces: readonly number[] | undefined,
  ): boolean {
    const [own, saved] = [namespaces, place.wanted].map((list) => [...(list ?? [])].sort().join())
    if (clock === undefined || resumed?.since === undefined || own !== saved) return false
    const [at, from] = [this.#ageOf(clock), this.#ageOf(resumed.since)]
    if (at === undefined || from === undefined) return false
    return at.index === from.index ? at.epoch >= from.epoch : at.index < from.index
  }

  /** Where a clock of a tracker that was resumed stands: of the newest one the index is 0. */
  #ageOf(clock: Clock): { index: number; epoch: number } | undefined {
    const read = readClock(clock)
    const index = this.#lineage.findIndex(({ instance }) => instance === read?.instance)
    if (read === undefined || index < 0 || read.epoch > this.#lineage[index].upTo) return undefined
    return { index, epoch: read.epoch }
  }

  /** For stats(). */
  get lags(): ({ name: string } & ConsumerLag)[] {
    const { outbox } = this.#control
    return [...this.#open.values(), ...this.#waiting.values()].map(({ name, place, epochs }) => ({
      name,
      ...lagOf(outbox, place, epochs),
    }))
  }

  /**
   * What one call of stop() gives. Each consumer has a last epoch of its own, and the caller gets
   * one that is settled and has no keys.
   *
   * @param seal - seals the last epoch; called once, with what hands it out
   */
  stop(
    consume: ((epoch: SealedEpoch, consumer: Consumer) => unknown) | undefined,
    seal: (handOut: (last: Cut) => SealedEpoch) => Promise<SealedEpoch>,
  ): Promise<SealedEpoch> {
    const sealed = (this.#sealed ??= this.#begin(seal))
    if (consume === undefined) return this.#result ?? sealed
    let before: Promise<unknown> | undefined = this.#result
    const consumed: Promise<unknown>[] = []
    for (const { reader, consumer } of this.#open.values()) {
      if (reader.isHeld) continue // its holder gets the last epoch
      before = reader.last.consume(sealed, (epoch) => consume(epoch, consumer), before)
      consumed.push(before)
    }
    const result = allOf(consumed, sealed)
    this.#result = result
    result.catch(() => {
      if (this.#result === result) this.#result = undefined // the next call may deal with it
    })
    return result
  }

  /** After stop(): the consumers whose last epoch has keys, and no owner. */
  get left(): { names: string[]; keys: number } {
    const { outbox } = this.#control
    const names: string[] = []
    let keys = 0
    for (const { name, place, reader } of this.#open.values()) {
      const last = lookAtLast(outbox, place)
      if (!reader.last.isFree || (last.keys === 0 && last.precision === 'exact')) continue
      names.push(name)
      keys += last.keys
    }
    return { names, keys }
  }

  async #begin(
    seal: (handOut: (last: Cut) => SealedEpoch) => Promise<SealedEpoch>,
  ): Promise<SealedEpoch> {
    const sealed = seal((last) => this.#noteLast(last))
    for (const entry of this.#open.values()) {
      entry.reader.beginStop(async () => {
        await sealed
        return this.#handOutLast(entry)
      })
    }
    return sealed
  }

  /** An epoch for the caller of stop(): each consumer gets its own. */
  #noteLast(last: Cut): SealedEpoch {
    this.#last = last
    const { memory } = this.#control
    const { id, staged } = last
    const keeper = this.#control.openHandedOut(id)
    return makeEpoch({ memory, slot: -1, id, staged, keeper, last: true, since: id })
  }

  #handOutLast(entry: Entry): SealedEpoch {
    const { place, epochs } = entry
    entry.hasLast = true
    return epochs.handOut({ ...this.#last!, slot: takeLastOf(this.#control.outbox, place) })
  }

  /** A text that is marked by its fingerprint has a high half that names no namespace. */
  #checkNamespaces(): void {
    const { words, layout } = this.#control.memory
    const { keys } = settingsOf(words)
    if (layout.maxStringsPerEpoch > 0 || keys === 'number' || keys === 'bigint') return
    throw outOfRange(
      'options.namespaces',
      'undefined where text is marked by its fingerprint (maxStringsPerEpoch: 0)',
      'namespaces',
      "Give create() the option keys: 'number', or room for text.",
    )
  }

  #checkRoom(name: string): void {
    const { places } = this.#control.outbox
    if (this.#open.has(name)) {
      throw new DirtyRingError(
        'ERR_DIRTYRING_CONSUMER_TAKEN',
        `consumer ${JSON.stringify(name)} is open. Close it before, or choose another name`,
      )
    }
    if (places.length < this.#max) return
    const names = [...this.#open.keys(), ...this.#waiting.keys()]
    const open = names.map((each) => JSON.stringify(each)).join(', ')
    const held = places.length - names.length
    const closed = held === 0 ? '' : ` and ${held} closed, with an epoch that is not settled`
    throw new DirtyRingError(
      'ERR_DIRTYRING_NO_CONSUMER_SLOT',
      `this tracker has room for ${this.#max} named consumers (maxConsumers)` +
        `${places.length === 0 ? '' : `: open are ${open === '' ? 'none' : open}${closed}`}. ` +
        'Raise the option maxConsumers of create(), or close one; forget() one that was resumed',
    )
  }

  /**
   * The epoch up to which the owner of a clock has dealt with all. Undefined if something was
   * sealed since then, which no consumer keeps for that owner; and for any other text.
   */
  #serve(clock: Clock): number | undefined {
    const { outbox, memory } = this.#control
    const epoch = epochOfClock(memory.words, clock)
    const now = outbox.epoch - 1
    if (epoch === undefined || epoch > now) return undefined
    const isEmptySince = this.#emptyTo === now && epoch >= this.#emptyFrom
    return epoch === now || isEmptySince ? epoch : undefined
  }

  #noteEmpty(since: number, id: number): void {
    if (id <= this.#emptyTo) return
    if (since < this.#emptyFrom || since > this.#emptyTo) this.#emptyFrom = since
    this.#emptyTo = id
  }
}

/** Rejects with the first error, once all are settled: one consumer does not disturb another. */
async function allOf<T>(all: readonly Promise<unknown>[], result: Promise<T>): Promise<T> {
  const outcomes = await Promise.allSettled(all)
  const failed = outcomes.find(({ status }) => status === 'rejected')
  if (failed !== undefined) throw (failed as PromiseRejectedResult).reason as Error
  return result
}

/** Whether nothing has been marked so far: no key, and not everything. */
function isUnmarked({ memory, isEverythingMarked }: Outbox): boolean {
  const { words, layout } = memory
  if (isEverythingMarked) return false
  for (let id = 0; id < layout.maxWriters; id++)
    if (words[laneAt(layout, id) + LANE_EVERYTHING_MARKED] !== 0) return false
  return readShared(memory).writers.every(({ marked }) => marked === 0)
}

function checkName(name: unknown): void {
  if (typeof name === 'string' && name !== '' && name.length <= NAME_MAX) return
  const expected = `a string of 1 to ${NAME_MAX} characters`
  throw invalidArg('name', expected, name, 'Give each reader a name, as in consumer("index").')
}

/** Checks the two options that say where a reader begins. */
export function checkPosition(since: unknown, from: unknown): void {
  if (since !== undefined && typeof since !== 'string') {
    const advice =
      'Pass the epoch.clock that was stored, or undefined if there is none: ' +
      'then the first epoch says that all keys are dirty.'
    throw invalidArg('options.since', 'a string, or undefined', since, advice)
  }
  if (from !== undefined && typeof from !== 'string')
    throw invalidArg('options.from', `'now', or undefined`, from)
  if (from !== undefined && from !== 'now') {
    const advice = 'A stored clock goes into options.since.'
    throw outOfRange('options.from', `'now', or undefined`, from, advice)
  }
  if (from !== undefined && since !== undefined) {
    const advice = 'Give one of the two: since to go on, from to begin now.'
    throw invalidArg('options.from', 'undefined beside options.since', from, advice)
  }
}

function checkOptions(options: ConsumerOptions): ConsumerOptions {
  checkBag('options', options, ['since', 'from', 'namespaces'])
  const { since, from, namespaces } = options
  checkPosition(since, from)
  return { since, from, namespaces: checkNamespaces(namespaces) }
}

function checkNamespaces(list: unknown): readonly number[] | undefined {
  if (list === undefined) return undefined
  const expected = `an array of 1 to ${NAMESPACES_MAX} namespaces`
  if (isRevoked(list) || !Array.isArray(list))
    throw invalidArg('options.namespaces', expected, list)
  const length: unknown = list.length // a Proxy's may be anything
  if (typeof length !== 'number' || !(length >= 1 && length <= NAMESPACES_MAX))
    throw outOfRange('options.namespaces', expected, length)
  const namespaces = new Set<number>()
  for (let i = 0; i < length; i++)
    namespaces.add(checkWhole(`options.namespaces[${i}]`, list[i], 0, NAMESPACE_MAX))
  return [...namespaces]
}
