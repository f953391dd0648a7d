import { expect } from '@jest/globals'
import fc from 'fast-check'
import {
  type DirtyTracker,
  type SealedEpoch,
  type TrackerOptions,
  TxnBuffer,
  type Writer,
} from '../../lib/index.js'
import type { Start } from '../../lib/ring/start.js'
import { type Hand, openHeld, openInline, turns } from './in-process.js'

/** One thing that happens. `writer` and `pick` are taken modulo what there is. */
export type Event =
  | { do: 'mark'; writer: number; key: number }
  | { do: 'markMany' | 'flushTo'; writer: number; key: number; count: number }
  | { do: 'flush' | 'begin' | 'reopen'; writer: number }
  | { do: 'run'; tokens: number }
  | { do: 'seal' | 'turn' | 'drain' }
  | { do: 'commit' | 'restore' | 'abandon'; pick: number }

export interface History {
  readonly options: TrackerOptions
  readonly start: Start
  readonly writers: number
  readonly events: readonly Event[]
}

const KEYS = 1500
const writer = fc.nat(2)
const key = fc.oneof(
  { weight: 1, arbitrary: fc.constant(0) },
  { weight: 4, arbitrary: fc.nat(12) },
  { weight: 3, arbitrary: fc.nat(KEYS - 1) },
)
const pick = fc.nat(3)
const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('mark' as const), writer, key }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constantFrom('markMany' as const, 'flushTo' as const),
      writer,
      key,
      count: fc.oneof(fc.nat(5), fc.nat(400)),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom('flush' as const, 'flush' as const, 'begin' as const, 'reopen' as const),
      writer,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('run' as const),
      tokens: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.constant(1000)),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom('seal' as const, 'seal' as const, 'turn' as const, 'drain' as const),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constantFrom('commit' as const, 'restore' as const, 'abandon' as const),
      pick,
    }),
  },
)

/** Beginnings of the free-running counters: 0, or just below where each of them wraps. */
const start: fc.Arbitrary<Start> = fc.record({
  position: fc.constantFrom(0, 2 ** 30 - 3),
  laneEnd: fc.constantFrom(0, 2 ** 31 - 9, 2 ** 32 - 9),
  epoch: fc.constantFrom(0, 2 ** 19 - 2),
  generation: fc.constantFrom(0, 2 ** 13 - 1),
})

export const histories: fc.Arbitrary<History> = fc.record({
  options: fc
    .record({
      capacityBits: fc.integer({ min: 1, max: 6 }),
      laneBits: fc.oneof(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 8, max: 11 })),
    })
    .chain(({ capacityBits, laneBits }) =>
      fc.record({
        capacity: fc.constant(2 ** capacityBits),
        laneCapacity: fc.constant(2 ** laneBits),
        batchSize: fc.integer({ min: 1, max: Math.min(2 ** laneBits, 20) }),
        epochSlots: fc.integer({ min: 2, max: 4 }),
        maxWriters: fc.constant(4),
        maxKeysPerEpoch: fc.constant(4096),
      }),
    ),
  start,
  writers: fc.integer({ min: 1, max: 3 }),
  events: fc.array(event, { maxLength: 60, size: 'max' }),
})

/** The key of a number: 0 stays 0; others are spread over both lanes. */
export function keyOf(index: number): bigint {
  return BigInt.asUintN(64, BigInt(index) * 0x9e3779b97f4a7c15n)
}

/** expect(), for what is looked at after each event: it would take most of the time. */
function must(isSo: boolean, otherwise: string): void {
  if (!isSo) throw new Error(otherwise)
}

interface Pen {
  writer: Writer
  /** Keys marked and not published, in order. */
  staged: bigint[]
  txnId: number
}

/** An advanceEpoch() that was called, the `call`th. */
interface Call {
  readonly call: number
  readonly controller: AbortController
  /** The epoch's number, once the cut is made. */
  id?: number
  epoch?: SealedEpoch
  gone?: boolean
}

/**
 * Keys given back while epoch `from` was open, or earlier: each is in an epoch up to that of
 * advanceEpoch() number `call`.
 */
interface Returned {
  readonly keys: ReadonlySet<bigint>
  readonly missing: Set<bigint>
  readonly from: number
  call: number
}

/**
 * Runs a history and holds it against a model of plain Sets. The model knows exactly which epoch
 * every published key is in: publication is seen in `writer.staged`, the cut in `tracker.epoch`,
 * and both happen on this thread. Only a restore behind a full ring has a few epochs to choose
 * from.
 */
export class Trial {
  readonly #history: History
  readonly #tracker: DirtyTracker
  readonly #hand: Hand | undefined
  readonly #pens: Pen[] = []
  readonly #published = new Map<number, Set<bigint>>()
  readonly #calls: Call[] = []
  #returned: Returned[] = []
  readonly #held: { epoch: SealedEpoch; keys: Set<bigint> }[] = []
  #epoch: number
  #nextId: number
  #offered = 0
  #rejected = 0
  #delivered = 0
  readonly #errors: unknown[] = []

  private constructor(history: History, tracker: DirtyTracker, hand: Hand | undefined) {
    this.#history = history
    this.#tracker = tracker
    this.#hand = hand
    this.#epoch = tracker.epoch
    this.#nextId = tracker.epoch
    for (let i = 0; i < history.writers; i++)
      this.#pens.push({ writer: tracker.openWriter(), staged: [], txnId: 0 })
  }

  /** With the aggregator in the history's hand; marks that find no room are refused. */
  static async held(history: History): Promise<Trial> {
    const { tracker, hand } = await openHeld(
      { ...history.options, onFull: 'reject' },
      history.start,
    )
    return new Trial(history, tracker, hand)
  }

  /** With the aggregator on this thread, at work as it likes; marks wait. */
  static async inline(history: History): Promise<Trial> {
    return new Trial(
      history,
      await openInline({ ...history.options, onFull: 'wait', maxWaitMs: 10 }, history.start),
      undefined,
    )
  }

  async run(): Promise<void> {
    try {
      for (const each of this.#history.events) {
        await this.#happen(each)
        this.#look()
      }
      await this.#finish()
    } finally {
      this.#hand?.release()
      await this.#tracker.stop({ graceMs: 0 })
    }
  }

  async #happen(event: Event): Promise<void> {
    const tracker = this.#tracker
    switch (event.do) {
      case 'mark': {
        const pen = this.#pen(event.writer)
        const key = keyOf(event.key)
        this.#offer(pen, [key], () => pen.writer.mark(key))
        break
      }
      case 'markMany':
      case 'flushTo': {
        const pen = this.#pen(event.writer)
        const count = Math.min(event.count, tracker.options.laneCapacity)
        const keys = Array.from({ length: count }, (_, i) => keyOf((event.key + i) % KEYS))
        const txn = new TxnBuffer(1, count)
        txn.markMany(keys)
        const list = BigUint64Array.from(keys)
        this.#offer(pen, keys, () =>
          event.do === 'markMany' ? pen.writer.markMany(list) : txn.flushTo(pen.writer),
        )
        break
      }
      case 'flush': {
        const pen = this.#pen(event.writer)
        const isFull = tracker.stats().queued === tracker.options.capacity
        const flushed = pen.writer.flush()
        must(flushed === (pen.writer.staged === 0), 'flush() is true once nothing is staged')
        must(flushed || isFull, 'flush() was refused, and the ring was not full')
        break
      }
      case 'begin':
        this.#pen(event.writer).writer.tagTxn(++this.#pen(event.writer).txnId)
        break
      case 'reopen':
        this.#reopen(event.writer)
        break
      case 'run':
        this.#hand?.run(event.tokens)
        break
      case 'turn':
        await turns(1)
        break
      case 'drain':
        await this.#drain()
        break
      case 'seal':
        this.#seal()
        break
      case 'commit':
      case 'restore':
        this.#settle(event.do, event.pick)
        break
      case 'abandon':
        this.#abandon(event.pick)
        break
    }
    // what the tracker has resolved is delivered
    for (let i = 0; i < 10; i++) await Promise.resolve()
  }

  #pen(i: number): Pen {
    return this.#pens[i % this.#pens.length]
  }

  /** C6: stored, or refused; and refused only for want of room. */
  #offer(pen: Pen, keys: bigint[], mark: () => boolean): void {
    const { staged, inFlight } = this.#statsOf(pen.writer)
    this.#offered += keys.length
    if (mark()) {
      pen.staged.push(...keys)
      return
    }
    expect(this.#hand).toBeDefined()
    expect(staged + inFlight + keys.length).toBeGreaterThan(this.#tracker.options.laneCapacity)
    this.#rejected += keys.length
  }

  #statsOf(writer: Writer): { staged: number; inFlight: number } {
    return (
      this.#tracker.stats().writers.find(({ id }) => id === writer.id) ?? { staged: 0, inFlight: 0 }
    )
  }

  /** What a closed writer has staged is harvested where its CLOSE token stands. */
  #reopen(i: number): void {
    const { capacity } = this.#tracker.options
    if (
      this.#tracker.stats().queued === capacity ||
      this.#tracker.stats().writers.filter(({ open }) => open).length > 3
    )
      return
    const pen = this.#pen(i)
    this.#look()
    pen.writer.close()
    this.#publish(pen.staged)
    pen.staged = []
    pen.writer = this.#tracker.openWriter()
    pen.txnId = 0
  }

  #seal(): void {
    const call: Call = { call: this.#calls.length, controller: new AbortController() }
    this.#calls.push(call)
    this.#tracker
      .advanceEpoch({ signal: call.controller.signal })
      .then((epoch) => this.#deliver(call, epoch))
      .catch((reason: unknown) => {
        if (reason !== 'abandoned') this.#errors.push(reason)
      })
    // advanceEpoch() publishes first, in the epoch that was open until now.
    for (const pen of this.#pens) this.#lookAt(pen)
  }

  /**
   * What this step has published went to the epoch that was open before it; then see whose cuts
   * were made.
   */
  #look(): void {
    if (this.#errors.length > 0) throw this.#errors[0]
    for (const pen of this.#pens) this.#lookAt(pen)
    while (this.#epoch < this.#tracker.epoch) {
      const call = this.#calls.find((each) => each.id === undefined && each.gone !== true)
      must(call !== undefined, 'a cut was made that no call asked for')
      call!.id = this.#epoch++
    }
    const { writers } = this.#tracker.stats()
    let [marked, refused] = [0, 0]
    for (const each of writers) {
      const sum = each.delivered + each.inFlight + each.staged + each.suppressed + each.rejected
      must(
        each.marked === sum,
        `writer ${each.id} marked ${each.marked}, of which ${sum} are accounted for`,
      )
      marked += each.marked
      refused += each.rejected
    }
    must(marked === this.#offered, `marked are ${marked}, offered were ${this.#offered}`)
    must(refused === this.#rejected, `rejected are ${refused}, refused were ${this.#rejected}`)
  }

  #lookAt(pen: Pen): void {
    const count = pen.staged.length - pen.writer.staged
    must(
      count >= 0,
      `writer ${pen.writer.id} has ${pen.writer.staged} keys staged, of ${pen.staged.length} marked`,
    )
    this.#publish(pen.staged.splice(0, count))
  }

  #publish(keys: readonly bigint[]): void {
    if (keys.length === 0) return
    const into = this.#published.get(this.#epoch) ?? new Set()
    for (const each of keys) into.add(each)
    this.#published.set(this.#epoch, into)
  }

  /** C1, C2, C3, C4, C7 in one comparison: the epoch is what the model says. */
  #deliver(call: Call, epoch: SealedEpoch): void {
    this.#look()
    call.epoch = epoch
    expect(epoch.id).toBe(call.id)
    expect(epoch.id).toBeGreaterThanOrEqual(this.#nextId)
    this.#nextId = epoch.id + 1
    this.#delivered++
    expect([epoch.exact, epoch.state]).toEqual([true, 'sealed'])
    const keys = new Set(epoch.bigints)
    expect(epoch.size).toBe(keys.size)
    const published = this.#published.get(epoch.id) ?? new Set()
    this.#published.delete(epoch.id)
    const allowed = new Set(published)
    for (const each of published)
      if (!keys.has(each))
        throw new Error(`epoch ${epoch.id} lacks ${each}, which was published in it`)
    this.#returned = this.#returned.filter((returned) => {
      if (returned.from > epoch.id) return true
      for (const each of returned.keys) {
        allowed.add(each)
        if (keys.has(each)) returned.missing.delete(each)
      }
      if (returned.call > call.call) return true
      if (returned.missing.size > 0)
        throw new Error(
          `epoch ${epoch.id} lacks ${[...returned.missing].join()}, which was given back before it`,
        )
      return false
    })
    for (const each of keys)
      if (!allowed.has(each))
        throw new Error(`epoch ${epoch.id} has ${each}, which no writer marked in it`)
    for (const each of [0n, keyOf(1), keyOf(KEYS + 1)]) expect(epoch.has(each)).toBe(keys.has(each))
    if (keys.size > 0) this.#held.push({ epoch, keys })
  }

  #settle(how: 'commit' | 'restore', pick: number): void {
    if (this.#held.length === 0) return
    const [{ epoch, keys }] = this.#held.splice(pick % this.#held.length, 1)
    expect(new Set(epoch.bigints)).toEqual(keys) // nothing has changed it since
    if (how === 'restore') this.#giveBack(keys)
    if (how === 'commit') epoch.commit()
    else epoch.restore().catch((error: unknown) => this.#errors.push(error))
  }

  /**
   * Called before it is done: doing it may free a slot, and make the cut of a call that waited for
   * one.
   */
  #giveBack(keys: Set<bigint>): void {
    this.#returned.push({
      keys,
      missing: new Set(keys),
      from: this.#tracker.epoch,
      call: this.#calls.length,
    })
  }

  #abandon(pick: number): void {
    this.#look()
    const open = this.#calls.filter((each) => each.epoch === undefined && each.gone !== true)
    if (open.length === 0) return
    const call = open[pick % open.length]
    call.gone = true
    if (call.id !== undefined) {
      // After the cut: what was in it, and whatever else may have been given back into it, comes
      // back.
      for (const returned of this.#returned)
        if (returned.from <= call.id) returned.call = this.#calls.length
      const keys = this.#published.get(call.id) ?? new Set()
      this.#published.delete(call.id)
      this.#giveBack(keys)
    }
    call.controller.abort('abandoned') // before it: no number is used
  }

  async #drain(): Promise<void> {
    let isDrained = false
    const waiting = this.#tracker.drained().then(() => (isDrained = true))
    this.#look()
    while (this.#hand !== undefined && !isDrained) {
      this.#hand.run()
      void this.#tracker.drained() // has the tracker look at what was done, at once
      this.#look()
      await turns(1)
    }
    await waiting
    this.#hand?.run()
    expect(this.#tracker.stats().queued).toBe(0)
  }

  /** Everything comes out in the end. */
  async #finish(): Promise<void> {
    for (let rounds = 0; ; rounds++) {
      if (rounds > 100) throw new Error('the history does not come to its end')
      for (const { epoch } of this.#held.splice(0)) epoch.commit()
      this.#look()
      for (const pen of this.#pens) {
        pen.writer.flush()
        this.#look()
      }
      await this.#drain()
      this.#look()
      const open = this.#calls.filter((each) => each.epoch === undefined && each.gone !== true)
      if (open.length > 0) continue
      if (this.#held.length > 0) continue
      if (
        this.#pens.every(({ staged }) => staged.length === 0) &&
        this.#returned.length === 0 &&
        this.#published.size === 0
      )
        break
      this.#seal()
      this.#look()
    }
    for (const pen of this.#pens) {
      pen.writer.close()
      await this.#drain()
    }
    const { unsettled, queued, staged, sealed } = this.#tracker.stats()
    expect({ unsettled, queued, staged }).toEqual({ unsettled: [], queued: 0, staged: 0 })
    expect(sealed).toBe(this.#calls.filter(({ id }) => id !== undefined).length)
    expect(this.#delivered).toBe(this.#calls.filter(({ gone }) => gone !== true).length)
    this.#hand?.release()
    const last = await this.#tracker.stop()
    if (this.#errors.length > 0) throw this.#errors[0]
    expect([last.size, last.exact]).toEqual([0, true])
  }
}
