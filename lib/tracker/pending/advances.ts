import type { SealedEpoch } from '../../epochs/sealed-epoch.js'
import { SEAL } from '../../ring/token.js'
import type { Waiting } from '../../signal.js'
import { nowMs, queueMicrotask } from '../../timers.js'
import type { EpochCounts, HandedOut } from '../handed-out.js'
import { stopped } from '../lifecycle.js'
import { forSlot, type PendingCall } from '../long-waits.js'
import {
  abandonSeal,
  canSealNow,
  GIVEN_BACK,
  requestSeal,
  takeSealed,
  TOO_LATE,
} from '../outbox.js'
import type { Place } from '../places.js'
import { SealTimes } from '../seal-times.js'
import type { Sender } from '../sender.js'
import type { Context, PendingKind } from './kind.js'

/** A call of advanceEpoch() or tryAdvanceEpoch() that is pending. */
export interface Advance extends Waiting<SealedEpoch> {
  /** nowMs() at the call. */
  readonly startedAt: number
  /** The epochs that the calling reader was handed. The sealed epoch joins them. */
  readonly epochs: HandedOut
  /** Of the named consumer that calls. */
  readonly place?: Place | undefined
  /** Listeners were told that it waits for a slot. */
  isTold?: boolean
}

/** Calls of advanceEpoch() and tryAdvanceEpoch(). */
export class Advances implements PendingKind {
  readonly sealTimes = new SealTimes()
  readonly #context: Context
  readonly #sender: Sender
  readonly #counts: EpochCounts
  /** Numbers of the epochs that hold slots, of all readers. */
  readonly #unsettled: () => number[]

  constructor(context: Context, sender: Sender, counts: EpochCounts, unsettled: () => number[]) {
    this.#context = context
    this.#sender = sender
    this.#counts = counts
    this.#unsettled = unsettled
  }

  /** Whether request() would cut at once, if the ring has room. */
  canSealNow(place: Place | undefined): boolean {
    return canSealNow(this.#context.outbox, place)
  }

  /**
   * Seals the open epoch when a slot is free, in the order of the calls. If a slot is free and the
   * ring has room, the cut is made before this returns.
   */
  request(advance: Advance): void {
    requestSeal(this.#context.outbox, advance)
    this.#context.poke()
  }

  /** Makes the cut now. If the cut would have to wait, returns false and changes nothing. */
  tryNow(advance: Advance): boolean {
    const isMade = this.#sender.trySeal(advance)
    if (advance.place === undefined) this.#context.poke()
    else queueMicrotask(() => this.#context.poke()) // behind the caller's lock
    return isMade
  }

  /** Ends all calls of a named consumer, before one of them can be answered. */
  refuse(place: Place, reason: unknown): void {
    for (const advance of this.#all()) {
      if (advance.place !== place) continue
      this.#abandon(advance)
      advance.reject(reason)
    }
  }

  /**
   * Withdraws the call of a caller that was aborted. Returns false if that comes too late: after
   * stop() no later epoch can take the keys.
   */
  abandon(advance: Advance): boolean {
    const isInTime = this.#abandon(advance)
    this.#context.poke()
    return isInTime
  }

  #abandon(advance: Advance): boolean {
    const { outbox } = this.#context
    const isGivenBack = outbox.sealing.some((each) => each.ticket === advance && !each.abandoned)
    const how = abandonSeal(outbox, advance)
    if (isGivenBack && how === GIVEN_BACK) this.#counts.restored++
    return how !== TOO_LATE
  }

  /** Rejects the calls that wait for a slot, because none becomes free for them any more. */
  refuseWaiting(): void {
    for (const advance of this.#context.outbox.waiting.splice(0))
      (advance as Advance).reject(stopped())
  }

  collect(): void {
    const { outbox } = this.#context
    for (let sealed = takeSealed(outbox); sealed !== undefined; sealed = takeSealed(outbox)) {
      this.#counts.sealed++
      if (sealed.abandoned) continue
      const { id, slot, staged } = sealed
      const advance = sealed.ticket as Advance
      if (advance.place?.isClosed === true) continue // too late to abandon it
      const sealMs = nowMs() - advance.startedAt
      this.sealTimes.add(sealMs)
      try {
        advance.resolve(advance.epochs.handOut({ id, slot, staged, sealMs, last: false }))
      } catch (error) {
        advance.reject(error)
        throw error
      }
    }
  }

  get isPending(): boolean {
    const { waiting, sealing } = this.#context.outbox
    return waiting.length + sealing.length > 0 || this.#queued().length > 0
  }

  get isAwaited(): boolean {
    const { waiting, sealing } = this.#context.outbox
    return (
      waiting.length > 0 || sealing.some(({ abandoned }) => !abandoned) || this.#queued().length > 0
    )
  }

  fail(reason: unknown): void {
    for (const advance of this.#all()) {
      this.abandon(advance)
      advance.reject(reason)
    }
  }

  /** Those that wait come first: none of them is let in when another one ends. */
  #all(): Advance[] {
    const { waiting, sealing } = this.#context.outbox
    const inRing = sealing.flatMap(({ ticket }) =>
      ticket === undefined ? [] : [ticket as Advance],
    )
    return [...(waiting as Advance[]), ...this.#queued(), ...inRing]
  }

  waits(): PendingCall[] {
    const { waiting, sealing } = this.#context.outbox
    const call = 'advanceEpoch()'
    const inRing = sealing
      .filter(({ abandoned }) => !abandoned)
      .map(({ ticket }) => ticket as Advance)
    return [
      ...(waiting as Advance[]).map((wait) => ({
        call,
        wait,
        forWhat: () => forSlot(this.#unsettledFor(wait)),
      })),
      ...this.#queued().map((wait) => ({ call, wait })),
      ...inRing.map((wait) => ({ call, wait })),
    ]
  }

  /** Tells listeners, once, of each call that has waited longer than `ms` for a slot. */
  lookForStalls(ms: number): void {
    const { outbox, listeners } = this.#context
    for (const advance of outbox.waiting as Advance[]) {
      const waitedMs = nowMs() - advance.startedAt
      if (advance.isTold === true || waitedMs <= ms) continue
      advance.isTold = true
      const unsettled = this.#unsettledFor(advance)
      listeners.tell('stall', { what: 'epoch-slot', waitedMs, unsettled })
    }
  }

  /** The epochs that a call waits for: a named consumer waits for its own only. */
  #unsettledFor({ place, epochs }: Advance): number[] {
    return place === undefined ? this.#unsettled() : epochs.unsettled
  }

  /** The calls whose SEAL has an epoch slot, and waits for room in the ring. */
  #queued(): Advance[] {
    return this.#context.outbox.queue
      .filter(({ kind }) => kind === SEAL)
      .map(({ ticket }) => ticket as Advance)
  }
}
