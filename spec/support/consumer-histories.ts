import { expect } from '@jest/globals'
import fc from 'fast-check'
import {
  attachEpoch,
  type Clock,
  type Consumer,
  type DirtyTracker,
  type Key,
  type SealedEpoch,
  type Writer,
} from '../../lib/index.js'
import type { Start } from '../../lib/ring/start.js'
import { type Hand, holdAggregator, nameOf, openHeld, rejected, turns } from './in-process.js'
import { STOPPED } from './stopping.js'

/** Keys that an epoch holds exactly, of either kind. */
const MAX = 48

type Event =
  | { readonly do: 'mark'; readonly from: number; readonly count: number; readonly isText: boolean }
  | { readonly do: 'run'; readonly steps: number }
  | { readonly do: 'death' | 'turn' | 'drain' | 'everything' }
  | {
      readonly do: 'cut' | 'try' | 'commit' | 'restore' | 'abort' | 'close' | 'reopen'
      readonly who: number
    }
  | { readonly do: 'open'; readonly who: number; readonly how: 'fresh' | 'now' | 'clock' | 'old' }

export interface ConsumerHistory {
  readonly consumers: number
  readonly capacity: number
  readonly start: Start
  readonly kernel: 'js' | 'wasm'
  readonly events: readonly Event[]
}

const who = fc.nat(3)

const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 9,
    arbitrary: fc.record({
      do: fc.constant('mark' as const),
      from: fc.nat(200),
      count: fc.oneof(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 }), fc.nat(60)),
      isText: fc.boolean(),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('run' as const),
      steps: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.constant(1000)),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom('death' as const, 'turn' as const, 'drain' as const, 'drain' as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('everything' as const) }) },
  {
    weight: 14,
    arbitrary: fc.record({
      do: fc.constantFrom('cut' as const, 'cut' as const, 'cut' as const, 'try' as const),
      who,
    }),
  },
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constantFrom('commit' as const, 'commit' as const, 'restore' as const),
      who,
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom('abort' as const, 'close' as const, 'reopen' as const),
      who,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('open' as const),
      who,
      how: fc.constantFrom('fresh' as const, 'now' as const, 'clock' as const, 'old' as const),
    }),
  },
)

export const consumerHistories: fc.Arbitrary<ConsumerHistory> = fc.record({
  consumers: fc.integer({ min: 1, max: 4 }),
  capacity: fc.constantFrom(2, 8, 64),
  start: fc.record({
    position: fc.constantFrom(0, 2 ** 30 - 3),
    epoch: fc.constantFrom(0, 2 ** 19 - 3),
  }),
  kernel: fc.constantFrom('js' as const, 'wasm' as const),
  events: fc.array(event, { maxLength: 70, size: 'max' }),
})

/** What happened, over all histories: so that a spec can see that all of it did. */
export const seenInHistories = {
  exact: 0,
  superset: 0,
  everything: 0,
  fresh: 0,
  served: 0,
  restored: 0,
  united: 0,
  lastEpochs: 0,
}

/** A name, and what the model knows of the consumer that has it. */
interface Seat {
  readonly name: string
  consumer: Consumer | undefined
  /** The first epoch that it has not dealt with; undefined while it is fresh. */
  from: number | undefined
  calls: Call[]
  held: { readonly epoch: SealedEpoch; readonly keys: string[] } | undefined
  /** What it has stored: the clock, and the epoch after the one that the clock is of. */
  stored: { readonly clock: Clock; readonly from: number } | undefined
  /** The same, some time ago. */
  old: { readonly clock: Clock; readonly from: number } | undefined
}

interface Call {
  /** Undefined for a call that can't be aborted. */
  readonly controller: AbortController | undefined
  isAborted: boolean
}

/**
 * Runs a history and holds it against plain Sets: which keys were published in which epoch. An epoch
 * of a consumer has what was published in all epochs since its position. Publication and cuts happen
 * on this thread, so the model knows them exactly, wherever the aggregator stands.
 */
export class ConsumerTrial {
  readonly #history: ConsumerHistory
  readonly #tracker: DirtyTracker
  readonly #writer: Writer
  readonly #seats: Seat[]
  readonly #published = new Map<number, Map<string, Key>>()
  readonly #everything = new Set<number>()
  readonly #closedHeld: SealedEpoch[] = []
  readonly #errors: unknown[] = []
  #hand: Hand
  #isStopping = false

  private constructor(history: ConsumerHistory, tracker: DirtyTracker, hand: Hand) {
    this.#history = history
    this.#tracker = tracker
    this.#hand = hand
    this.#writer = tracker.openWriter()
    this.#seats = Array.from({ length: history.consumers }, (_, i) => ({
      name: `c${i}`,
      consumer: undefined,
      from: undefined,
      calls: [],
      held: undefined,
      stored: undefined,
      old: undefined,
    }))
  }

  static async open(history: ConsumerHistory): Promise<ConsumerTrial> {
    const { consumers, capacity, start, kernel } = history
    const { tracker, hand } = await openHeld(
      {
        maxConsumers: consumers,
        maxKeysPerEpoch: MAX,
        maxStringsPerEpoch: MAX,
        maxStringBytesPerEpoch: 2 ** 14,
        laneCapacity: 256,
        maxWriters: 1,
        onFull: 'reject',
        capacity,
        kernel,
      },
      start,
    )
    return new ConsumerTrial(history, tracker, hand)
  }

  async run(): Promise<void> {
    for (const seat of this.#seats) this.#open(seat, 'now')
    for (const each of this.#history.events) {
      await this.#happen(each)
      for (let i = 0; i < 10; i++) await Promise.resolve() // what is resolved is delivered
      if (this.#errors.length > 0) throw this.#errors[0]
    }
    await this.#stop()
  }

  async #happen(event: Event): Promise<void> {
    const seat = 'who' in event ? this.#seats[event.who % this.#seats.length] : undefined
    switch (event.do) {
      case 'mark':
        this.#mark(event.from, event.count, event.isText)
        break
      case 'run':
        this.#hand.run(event.steps)
        break
      case 'death':
        this.#hand.run(1)
        this.#hand.release()
        this.#hand = holdAggregator(this.#tracker)
        break
      case 'turn':
        await turns(1)
        break
      case 'drain':
        await this.#drain()
        break
      case 'everything':
        await this.#drain()
        this.#everything.add(this.#tracker.epoch)
        this.#tracker.markEverything()
        break
      case 'cut':
        this.#cut(seat!)
        break
      case 'try':
        this.#try(seat!)
        break
      case 'commit':
      case 'restore':
        this.#settle(seat!, event.do)
        break
      case 'abort':
        this.#abort(seat!)
        break
      case 'close':
        this.#close(seat!)
        break
      case 'reopen':
        await this.#takeAll(seat!)
        this.#mark(7 * event.who, 3, false)
        this.#close(seat!)
        this.#open(seat!, 'clock')
        break
      case 'open':
        this.#close(seat!)
        this.#open(seat!, event.how)
        break
    }
  }

  #mark(from: number, count: number, isText: boolean): void {
    const keys = Array.from({ length: count }, (_, i) =>
      isText ? `text ${(from + i) % 250}` : (from + i) % 250,
    )
    while (!this.#writer.markMany(keys)) this.#hand.run(1)
    while (!this.#writer.flush()) this.#hand.run(1)
    const into = this.#published.get(this.#tracker.epoch) ?? new Map<string, Key>()
    for (const key of keys) into.set(nameOf(key), key)
    this.#published.set(this.#tracker.epoch, into)
  }

  #open(seat: Seat, how: 'fresh' | 'now' | 'clock' | 'old'): void {
    const tracker = this.#tracker
    // A closed consumer whose epoch is in hand keeps its place.
    if (this.#closedHeld.length > 0) {
      for (const epoch of this.#closedHeld.splice(0)) epoch.commit()
    }
    const known = how === 'clock' ? seat.stored : how === 'old' ? seat.old : undefined
    const { name } = seat
    if (how === 'now') {
      seat.consumer = tracker.consumer(name, { from: 'now' })
      seat.from = tracker.epoch
    } else {
      const before = tracker.epoch
      seat.consumer = tracker.consumer(name, { since: known?.clock })
      if (seat.consumer.clock === undefined) {
        if (known?.from === before) throw new Error('a clock of now is not served')
        seat.from = undefined
      } else {
        if (known === undefined) throw new Error('without a clock a consumer is fresh')
        for (let epoch = known.from; epoch < before; epoch++)
          if ((this.#published.get(epoch)?.size ?? 0) > 0 || this.#everything.has(epoch))
            throw new Error(`a clock is served, and the keys of epoch ${epoch} are gone`)
        seenInHistories.served++
        seat.from = known.from
      }
    }
    seat.old = seat.stored
  }

  /** The seat deals with all there is. */
  async #takeAll(seat: Seat): Promise<void> {
    for (let i = 0; i < 2; i++) {
      await this.#drain()
      this.#settle(seat, 'commit')
      if (i === 0) this.#cut(seat)
    }
  }

  #abort({ calls }: Seat): void {
    const at = calls.findIndex(({ controller }) => controller !== undefined)
    if (at < 0) return
    const [call] = calls.splice(at, 1)
    call.isAborted = true
    call.controller!.abort('aborted')
  }

  #close(seat: Seat): void {
    for (const call of seat.calls.splice(0)) call.isAborted = true
    seat.consumer?.close()
    seat.consumer = undefined
    if (seat.held !== undefined) {
      this.#look(seat.held)
      this.#closedHeld.push(seat.held.epoch)
    }
    seat.held = undefined
  }

  #cut(seat: Seat): void {
    const { consumer } = seat
    if (consumer === undefined || seat.calls.length > 2) return
    const call = { controller: new AbortController(), isAborted: false }
    seat.calls.push(call)
    this.#await(seat, call, consumer.advanceEpoch({ signal: call.controller.signal }))
  }

  #try(seat: Seat): void {
    const { consumer } = seat
    if (consumer === undefined) return
    const before = this.#tracker.epoch
    const cut = consumer.tryAdvanceEpoch()
    if (cut === undefined) return
    expect(this.#tracker.epoch).toBeGreaterThan(before)
    const call: Call = { controller: undefined, isAborted: false }
    seat.calls.push(call)
    this.#await(seat, call, cut)
  }

  #await(seat: Seat, call: Call, cut: Promise<SealedEpoch>): void {
    cut
      .then((epoch) => this.#deliver(seat, call, epoch))
      .catch((error: unknown) => {
        const isRefused = this.#isStopping && (error as { code?: string }).code === STOPPED
        if (!call.isAborted && !isRefused) this.#errors.push(error)
      })
  }

  #deliver(seat: Seat, call: Call, epoch: SealedEpoch): void {
    if (call.isAborted) {
      epoch.commit() // of a consumer that was closed at the same moment
      return
    }
    if (seat.held !== undefined) throw new Error('a second epoch, and the first one is in hand')
    seat.calls.splice(seat.calls.indexOf(call), 1)
    const keys = this.#check(seat, epoch)
    if (epoch.exact && epoch.size === 0) return
    seat.held = { epoch, keys }
  }

  /** C14, C15, C16: the epoch has exactly what its consumer has not dealt with. */
  #check(seat: Seat, epoch: SealedEpoch, from = seat.from): string[] {
    const elsewhere = attachEpoch(epoch.handle)
    const isFresh = from === undefined
    expect([epoch.reason === 'fresh', epoch.since === undefined]).toEqual([isFresh, isFresh])
    expect([elsewhere.precision, elsewhere.reason]).toEqual([epoch.precision, epoch.reason])
    const expected = new Map<string, Key>()
    let isEverything = false
    let parts = 0
    for (let id = from ?? epoch.id; id <= epoch.id; id++) {
      const published = this.#published.get(id)
      if (published !== undefined) parts++
      for (const [name, key] of published ?? []) expected.set(name, key)
      if (this.#everything.has(id)) isEverything = true
    }
    if (parts > 1) seenInHistories.united++
    for (const key of expected.values())
      if (!epoch.has(key) || !elsewhere.has(key))
        throw new Error(`epoch ${epoch.id} of ${seat.name} lacks ${nameOf(key)}`)
    const texts = [...expected.values()].filter((key) => typeof key === 'string').length
    const fits = texts <= MAX && expected.size - texts <= MAX
    const listed = Array.from(epoch.listed(), nameOf)
    seenInHistories[isFresh ? 'fresh' : epoch.precision]++
    if (isFresh || isEverything) {
      expect([epoch.exact, epoch.precision]).toEqual([false, 'everything'])
    } else if (fits) {
      expect([epoch.id, epoch.reason, epoch.size]).toEqual([epoch.id, undefined, expected.size])
      expect([...epoch].map(nameOf).sort()).toEqual([...expected.keys()].sort())
      expect([...elsewhere].map(nameOf)).toEqual(listed)
    } else {
      expect([epoch.exact, epoch.reason]).toEqual([false, 'overflow'])
    }
    const foreign = listed.filter((name) => !expected.has(name))
    if (foreign.length > 0 && !isFresh)
      throw new Error(`epoch ${epoch.id} of ${seat.name} has ${foreign.join()}, marked elsewhere`)
    return listed
  }

  /** Nothing has changed an epoch in hand. */
  #look({ epoch, keys }: { epoch: SealedEpoch; keys: string[] }): void {
    expect(Array.from(epoch.listed(), nameOf)).toEqual(keys)
    expect(Array.from(attachEpoch(epoch.handle).listed(), nameOf)).toEqual(keys)
  }

  #settle(seat: Seat, how: 'commit' | 'restore'): void {
    const { held } = seat
    if (held === undefined) return
    this.#look(held)
    const { epoch } = held
    seat.held = undefined
    if (how === 'commit') {
      seat.from = epoch.id + 1
      seat.stored = { clock: epoch.clock, from: epoch.id + 1 }
      epoch.commit()
      expect(seat.consumer!.clock).toBe(epoch.clock)
    } else {
      seenInHistories.restored++
      epoch.restore().catch((error: unknown) => this.#errors.push(error))
    }
  }

  async #drain(): Promise<void> {
    let isDrained = false
    const waiting = this.#tracker.drained().then(() => (isDrained = true))
    while (!isDrained) {
      this.#hand.run()
      void this.#tracker.drained() // has the tracker look at what was done, at once
      await turns(1)
    }
    await waiting
    this.#hand.run()
  }

  async #stop(): Promise<void> {
    this.#isStopping = true // what waits for its turn is refused
    this.#hand.release()
    const stopped = await this.#tracker.stop({ graceMs: 0 })
    expect([stopped.size, stopped.exact, stopped.state]).toEqual([0, true, 'committed'])
    await turns(1)
    if (this.#errors.length > 0) throw this.#errors[0]
    for (const seat of this.#seats) {
      if (seat.consumer === undefined) continue
      const { held } = seat
      if (held !== undefined) this.#look(held)
      const last = await seat.consumer.advanceEpoch()
      seenInHistories.lastEpochs++
      expect(last.last).toBe(true)
      // What it has in hand is not in its last epoch. While it is fresh, that one is fresh too.
      const from =
        seat.from === undefined ? undefined : held === undefined ? seat.from : held.epoch.id + 1
      const keys = this.#check(seat, last, from)
      held?.epoch.commit()
      this.#look({ epoch: last, keys })
      last.commit()
      expect((await rejected(seat.consumer.advanceEpoch())).code).toBe(STOPPED)
    }
    for (const epoch of this.#closedHeld) epoch.commit()
    expect(this.#tracker.stats().unsettled).toEqual([])
  }
}
