import type { SealedEpoch } from '../epochs/sealed-epoch.js'
import { Loop } from './loop.js'

/**
 * A reader's last epoch, and which of its callers deals with it. The owner is the `consume` of a
 * stop(), else the epochs() loop that was running when stop() was called, else the caller of
 * stop(). Only the owner is handed the epoch itself; the others get its read-only twin.
 */
export class LastEpoch {
  /** What deals with the last epoch. Undefined: the caller of stop(). */
  owner: Loop | 'consume' | undefined
  #epoch: Promise<SealedEpoch> | undefined
  #seal: (() => Promise<SealedEpoch>) | undefined
  #isTaken = false
  /** What a further stop() without `consume` resolves with. */
  #result: Promise<SealedEpoch> | undefined
  #twin: SealedEpoch | undefined

  /** The epoch itself, for its owner. Undefined before stop(). */
  get epoch(): Promise<SealedEpoch> | undefined {
    return (this.#epoch ??= this.#seal?.())
  }

  /** No caller was handed the epoch, and none will be before it asks for it. */
  get isFree(): boolean {
    return this.#seal !== undefined && this.owner === undefined && !this.#isTaken
  }

  /**
   * stop() was called.
   *
   * @param loop - the epochs() loop that runs now
   * @param seal - hands the epoch out; called once, when it is needed
   */
  begin(loop: Loop | undefined, seal: () => Promise<SealedEpoch>): void {
    if (loop?.aborted === false) this.owner = loop
    this.#seal = seal
  }

  /** The epoch, for the first caller that asks, if it has no owner; undefined for the others. */
  take(): Promise<SealedEpoch> | undefined {
    if (!this.isFree) return undefined
    this.#isTaken = true
    return this.epoch
  }

  /** The caller that took the epoch does not want it any more. */
  putBack(): void {
    this.#isTaken = false
  }

  /**
   * What one call of stop() resolves with.
   *
   * @param loop - the epochs() loop that runs now
   * @param seal - seals the last epoch; called once
   */
  forStop(
    consume: ((epoch: SealedEpoch) => unknown) | undefined,
    loop: Loop | undefined,
    seal: () => Promise<SealedEpoch>,
  ): Promise<SealedEpoch> {
    if (this.#seal === undefined) this.begin(loop, seal)
    const epoch = this.epoch!
    if (consume === undefined && this.#result !== undefined) return this.#result
    const result =
      consume === undefined ? this.#forCaller(epoch) : this.consume(epoch, consume, this.#result)
    this.#result = result
    result.catch(() => {
      if (this.#result === result) this.#result = undefined // the next call may deal with it
    })
    return result
  }

  async #forCaller(last: Promise<SealedEpoch>): Promise<SealedEpoch> {
    const epoch = await last
    if (this.owner !== undefined) {
      this.#twin ??= epoch.twin(() => {
        const { owner } = this
        return owner === undefined || (owner !== 'consume' && owner.aborted && !owner.hasLast)
      })
    }
    return this.#twin ?? epoch
  }

  /**
   * Has `consume` deal with the epoch, and commits it.
   *
   * @param last - the epoch
   * @param before - what to wait for
   */
  async consume(
    last: Promise<unknown>,
    consume: (epoch: SealedEpoch) => unknown,
    before: Promise<unknown> | undefined,
  ): Promise<SealedEpoch> {
    if (!(this.owner instanceof Loop && this.owner.hasLast)) this.owner = 'consume'
    try {
      await last
      await before?.catch(() => undefined) // the `consume` of an earlier call
      const epoch = await this.epoch!
      if (epoch.state === 'sealed') {
        await consume(epoch)
        epoch.commit()
      }
      this.#isTaken = true
      return epoch
    } finally {
      if (this.owner === 'consume') this.owner = undefined
    }
  }
}
