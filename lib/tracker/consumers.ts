import { checkBag } from '../check.js'
import { type Clock, clockOf, epochOfClock } from '../epochs/clock.js'
import { makeEpoch, type SealedEpoch } from '../epochs/sealed-epoch.js'
import { DirtyRingError, invalidArg, outOfRange } from '../errors.js'
import { queueMicrotask } from '../timers.js'
import { publishOwn } from '../writer/lanes.js'
import { Consumer, type ConsumerParts, makeConsumer } from './consumer.js'
import type { Control } from './control.js'
import type { Cut, HandedOut } from './handed-out.js'
import { type ConsumerLag, lagOf, lookAtLast } from './lag.js'
import { openPlace, takeLastOf } from './outbox.js'
import type { Place } from './places.js'
import { Reader } from './reader.js'

/** Options of {@link DirtyTracker.consumer}. */
export interface ConsumerOptions {
  /**
   * The {@link SealedEpoch.clock} that the consumer stored with its data. Undefined, or one that
   * can't be served: the consumer is fresh.
   */
  since?: Clock | undefined
  /** 'now': a full copy was just made, so the consumer begins here and is not fresh. */
  from?: 'now' | undefined
}

/** An open consumer. */
interface Entry {
  readonly name: string
  readonly place: Place
  readonly epochs: HandedOut
  readonly reader: Reader
  readonly consumer: Consumer
}

const NAME_MAX = 128

/** The named consumers of a tracker: their names, their positions, and what stop() gives them. */
export class Consumers {
  readonly #control: Control
  readonly #max: number
  /** In the order in which they were opened. */
  readonly #open = new Map<string, Entry>()
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
    const { since, from } = checkOptions(options)
    const { outbox, lifecycle, memory } = this.#control
    lifecycle.checkRunning()
    this.#checkRoom(name)
    const known = since === undefined ? undefined : this.#serve(since)
    if (from === 'now') publishOwn(memory)
    const isFresh = from === undefined && known === undefined
    const place = openPlace(outbox, isFresh, from === 'now')
    queueMicrotask(() => this.#control.poke()) // behind the caller's lock
    const position = known ?? outbox.epoch - 1
    const epochs = this.#control.openHandedOut(position, place, (after, id) =>
      this.#noteEmpty(after, id),
    )
    const reader = new Reader(this.#control, epochs, { name, place })
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
    }
    const consumer = makeConsumer(parts)
    this.#open.set(name, { name, place, epochs, reader, consumer })
    return consumer
  }

  /** For stats(). */
  get lags(): ({ name: string } & ConsumerLag)[] {
    const { outbox } = this.#control
    return [...this.#open.values()].map(({ name, place, epochs }) => ({
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

  #handOutLast({ place, epochs }: Entry): SealedEpoch {
    return epochs.handOut({ ...this.#last!, slot: takeLastOf(this.#control.outbox, place) })
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
    const open = [...this.#open.keys()].map((each) => JSON.stringify(each)).join(', ')
    const held = places.length - this.#open.size
    const closed = held === 0 ? '' : ` and ${held} closed, with an epoch that is not settled`
    throw new DirtyRingError(
      'ERR_DIRTYRING_NO_CONSUMER_SLOT',
      `this tracker has room for ${this.#max} named consumers (maxConsumers)` +
        `${places.length === 0 ? '' : `: open are ${open === '' ? 'none' : open}${closed}`}. ` +
        'Raise the option maxConsumers of create(), or close one',
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

function checkName(name: unknown): void {
  if (typeof name === 'string' && name !== '' && name.length <= NAME_MAX) return
  const expected = `a string of 1 to ${NAME_MAX} characters`
  throw invalidArg('name', expected, name, 'Give each reader a name, as in consumer("index").')
}

function checkOptions(options: ConsumerOptions): ConsumerOptions {
  const { since, from } = checkBag('options', options, ['since', 'from'])
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
    const advice = 'Give one of the two: since to go on, from to begin behind a full copy.'
    throw invalidArg('options.from', 'undefined beside options.since', from, advice)
  }
  return { since, from }
}
