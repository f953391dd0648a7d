import type { SealedEpoch } from '../../epochs/sealed-epoch.js'
import { FAILED } from '../../memory/map.js'
import type { Waiting } from '../../signal.js'
import { nowMs } from '../../timers.js'
import type { Cut, EpochCounts } from '../handed-out.js'
import type { PendingCall } from '../long-waits.js'
import { requestStop, stagedKeys, takeLast } from '../outbox.js'
import type { Context, PendingKind } from './kind.js'

/** A call of stop() that waits for the last epoch. */
interface Stopping extends Waiting<SealedEpoch> {
  /** nowMs() at the call. */
  readonly startedAt: number
  /** Hands the last epoch out. */
  readonly handOut: (last: Cut) => SealedEpoch
}

/** The STOP token, and the last epoch, which it seals. */
export class LastSeal implements PendingKind {
  /** Called before the last epoch is handed out. */
  onFinish: () => void = () => undefined
  readonly #context: Context
  readonly #counts: EpochCounts
  #stopping: Stopping | undefined

  constructor(context: Context, counts: EpochCounts) {
    this.#context = context
    this.#counts = counts
  }

  /**
   * Queues STOP behind all other tokens. Resolves with the last epoch when each published key is in
   * it or in an earlier one.
   */
  request(startedAt: number, handOut: (last: Cut) => SealedEpoch): Promise<SealedEpoch> {
    const finished = new Promise<SealedEpoch>((resolve, reject) => {
      this.#stopping = { resolve, reject, startedAt, handOut }
    })
    requestStop(this.#context.outbox)
    this.#context.poke()
    return finished
  }

  collect(): void {
    const { memory, outbox, lifecycle } = this.#context
    const stopping = this.#stopping
    // An aggregator that failed has delivered no last epoch.
    if (stopping === undefined || Atomics.load(memory.words, FAILED) !== 0) return
    const last = takeLast(outbox)
    if (last === undefined) return
    this.#stopping = undefined
    const staged = stagedKeys(outbox)
    this.#counts.sealed++
    this.onFinish()
    try {
      const sealMs = nowMs() - stopping.startedAt
      const epoch = stopping.handOut({ ...last, staged, sealMs, last: true })
      lifecycle.finish()
      stopping.resolve(epoch)
    } catch (error) {
      stopping.reject(error)
    }
  }

  get isPending(): boolean {
    return this.#stopping !== undefined
  }

  get isAwaited(): boolean {
    return this.isPending
  }

  fail(reason: unknown): void {
    this.#stopping?.reject(reason)
    this.#stopping = undefined
  }

  waits(): PendingCall[] {
    return this.#stopping === undefined ? [] : [{ call: 'stop()', wait: this.#stopping }]
  }
}
