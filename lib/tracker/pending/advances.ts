import type { SealedEpoch } from '../../epochs/sealed-epoch.js'
import { SEAL } from '../../ring/token.js'
import type { Waiting } from '../../signal.js'
import { nowMs } from '../../timers.js'
import type { EpochCounts, HandedOut } from '../handed-out.js'
import { stopped } from '../lifecycle.js'
import { forSlot, type PendingCall } from '../long-waits.js'
import { abandonSeal, canSealNow, requestSeal, takeSealed, TOO_LATE } from '../outbox.js'
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
  get canSealNow(): boolean {
    return canSealNow(this.#context.outbox)
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
    if (this.#context.lifecycle.failure !== undefined) return false
    const isMade = this.#sender.trySeal(advance)
    this.#context.poke()
    return isMade
  }

  /**
   * Withdraws the call of a caller that was aborted. Returns false if that comes too late: after
   * stop() no later epoch can take the keys.
   */
  abandon(advance: Advance): boolean {
    const { outbox } = this.#context
    const before = outbox.restoring.length
    const how = abandonSeal(outbox, advance)
    if (outbox.restoring.length > before) this.#counts.restored++
    this.#context.poke()
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
    const { waiting, sealing } = this.#context.outbox
    const inRing = sealing.flatMap(({ ticket }) =>
      ticket === undefined ? [] : [ticket as Advance],
    )
    for (const advance of [...(waiting as Advance[]), ...inRing, ...this.#queued()]) {
      this.abandon(advance)
      advance.reject(reason)
    }
  }

  waits(): PendingCall[] {
    const { waiting, sealing } = this.#context.outbox
    const call = 'advanceEpoch()'
    const inRing = sealing
      .filter(({ abandoned }) => !abandoned)
      .map(({ ticket }) => ticket as Advance)
    const forWhat = (): string => forSlot(this.#unsettled())
    return [
      ...waiting.map((wait) => ({ call, wait, forWhat })),
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
      listeners.tell('stall', { what: 'epoch-slot', waitedMs, unsettled: this.#unsettled() })
    }
  }

  /** The calls whose SEAL has an epoch slot, and waits for room in the ring. */
  #queued(): Advance[] {
    return this.#context.outbox.queue
      .filter(({ kind }) => kind === SEAL)
      .map(({ ticket }) => ticket as Advance)
  }
}
