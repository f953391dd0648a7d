import { checkFunction } from '../check.js'
import type { SealedEpoch } from '../epochs/sealed-epoch.js'
import { DirtyRingError } from '../errors.js'
import { abortable, type AbortSignalLike, isAborted, throwIfAborted } from '../signal.js'
import { clearTimeout, nowMs, setTimeout } from '../timers.js'
import { publishOwn } from '../writer/lanes.js'
import {
  type AdvanceOptions,
  checkAdvance,
  checkEpochs,
  type EpochsOptions,
} from './call-options.js'
import type { Control } from './control.js'
import type { HandedOut } from './handed-out.js'
import { LastEpoch } from './last-epoch.js'
import { Loop } from './loop.js'
import type { Advance } from './pending/advances.js'
import type { Place } from './places.js'

/** When an epochs() loop cuts, and which epochs it yields. */
type Pace = Pick<ReturnType<typeof checkEpochs>, 'everyMs' | 'skipEmpty' | 'whenDirty'>

/**
 * Makes cuts, is handed the epochs, and settles them. It owns the epochs that it was handed, the
 * epochs() loop that runs, and the last epoch. The tracker has one reader; each further reader
 * would be another object of this class.
 */
export class Reader {
  /** The epochs that it was handed and has not settled. */
  readonly epochsInHand: HandedOut
  readonly last = new LastEpoch()
  readonly #control: Control
  /** Of a named consumer. */
  readonly #place: Place | undefined
  /** The epochs() loop that has begun and not ended. */
  #loop: Loop | undefined

  constructor(control: Control, place?: Place) {
    this.#control = control
    this.#place = place
    this.epochsInHand = control.openHandedOut()
  }

  async advanceEpoch(options: AdvanceOptions): Promise<SealedEpoch> {
    const { signal, onBusy } = checkAdvance(options)
    this.#control.lifecycle.checkRunning()
    this.#checkFree()
    return this.#cut(signal, onBusy)
  }

  tryAdvanceEpoch(): Promise<SealedEpoch> | undefined {
    const { lifecycle, advances, memory } = this.#control
    const startedAt = nowMs()
    lifecycle.checkRunning()
    this.#checkFree()
    if (!publishOwn(memory)) return undefined
    let isCut = false
    const epoch = new Promise<SealedEpoch>((resolve, reject) => {
      isCut = advances.tryNow({ resolve, reject, startedAt, epochs: this.epochsInHand })
    })
    if (lifecycle.failure === undefined) return isCut ? epoch : undefined
    epoch.catch(() => undefined)
    throw lifecycle.failure as Error
  }

  async consume<T>(
    use: (epoch: SealedEpoch) => T | PromiseLike<T>,
    options: AdvanceOptions,
  ): Promise<T> {
    checkFunction('use', use)
    const epoch = await this.advanceEpoch(options)
    try {
      const result = await use(epoch)
      epoch.commit()
      return result
    } catch (error) {
      await epoch[Symbol.asyncDispose]()
      throw error
    }
  }

  epochs(options: EpochsOptions): AsyncIterableIterator<SealedEpoch> {
    const { signal, ...pace } = checkEpochs(options)
    const loop = new Loop(signal)
    const epochs = this.#generate(loop, pace)
    const end = epochs.return.bind(epochs)
    epochs.return = (value) => {
      loop.end()
      return end(value)
    }
    return epochs
  }

  /** Resolves with what a call of stop() gives. `seal` seals the last epoch, and is called once. */
  stop(
    consume: ((epoch: SealedEpoch) => unknown) | undefined,
    seal: () => Promise<SealedEpoch>,
  ): Promise<SealedEpoch> {
    return this.last.forStop(consume, this.#loop, seal)
  }

  async #cut(signal: AbortSignalLike | undefined, onBusy: 'wait' | 'reject'): Promise<SealedEpoch> {
    const { lifecycle, advances, memory } = this.#control
    const startedAt = nowMs()
    lifecycle.checkRunning()
    throwIfAborted(signal)
    if (onBusy === 'reject' && !advances.canSealNow) throw this.#noSlot()
    publishOwn(memory)
    return abortable(signal, (waiting) => {
      const advance: Advance = { ...waiting, startedAt, epochs: this.epochsInHand }
      advances.request(advance)
      return () => advances.abandon(advance)
    })
  }

  /** The generator behind epochs(): the epochs of #cuts(), then the last one if it owns that. */
  async *#generate(loop: Loop, pace: Pace): AsyncGenerator<SealedEpoch, void> {
    const { last } = this
    if (loop.aborted || this.#control.lifecycle.isStopCalled) return
    this.#checkFree()
    this.#loop = loop
    try {
      yield* this.#cuts(loop, pace)
      if (loop.aborted) return
      const epoch = await last.epoch!
      if (loop.aborted || last.owner !== loop) return
      loop.hasLast = true
      yield epoch
    } finally {
      if (this.#loop === loop) this.#loop = undefined
      if (last.owner === loop && !loop.hasLast) last.owner = undefined
    }
  }

  /** The epochs before the last one. Ends when the loop is aborted, and when stop() is called. */
  async *#cuts(
    loop: Loop,
    { everyMs, skipEmpty, whenDirty }: Pace,
  ): AsyncGenerator<SealedEpoch, void> {
    const { lifecycle, sleepers } = this.#control
    let next = nowMs() + everyMs
    for (;;) {
      if (whenDirty && !sleepers.isAwake(this.#place)) {
        await this.#untilDirty(loop)
        next = nowMs() + everyMs
      }
      await this.#sleep(next - nowMs(), loop)
      if (loop.aborted || lifecycle.isStopCalled) return
      next = Math.max(next, nowMs()) + everyMs
      let epoch: SealedEpoch
      try {
        epoch = await this.#cut(loop, 'wait')
      } catch (error) {
        if (loop.aborted || lifecycle.isStopCalled) return // stop() reports the error
        throw error
      }
      if (skipEmpty && epoch.exact && epoch.size === 0) continue
      try {
        yield epoch
      } finally {
        if (epoch.state === 'sealed') await epoch[Symbol.asyncDispose]()
      }
      // After stop() the epoch could not be restored: the body gets it once more.
      if (epoch.state === 'sealed' && lifecycle.isStopCalled && !loop.aborted) yield epoch
    }
  }

  /**
   * Sleeps for `ms`, or until the loop is aborted, or until stop(). The timer keeps the process
   * alive, because the loop's caller waits for an epoch.
   */
  #sleep(ms: number, loop: Loop): Promise<void> {
    const { lifecycle } = this.#control
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer)
        loop.removeEventListener('abort', wake)
        forget()
        resolve()
      }
      const timer = setTimeout(wake, Math.max(0, ms))
      const forget = lifecycle.onStop(wake)
      loop.addEventListener('abort', wake)
      if (isAborted(loop) || lifecycle.isStopCalled) wake()
    })
  }

  /**
   * Sleeps until the next epoch would have something, or until the loop is aborted, or until
   * stop().
   */
  #untilDirty(loop: Loop): Promise<void> {
    const { lifecycle, sleepers } = this.#control
    return new Promise((resolve) => {
      const wake = (): void => {
        loop.removeEventListener('abort', wake)
        forget()
        sleepers.delete(sleeper)
        resolve()
      }
      const sleeper = { place: this.#place, wake }
      const forget = lifecycle.onStop(wake)
      loop.addEventListener('abort', wake)
      if (isAborted(loop) || lifecycle.isStopCalled) wake()
      else sleepers.add(sleeper)
    })
  }

  /** Throws ERR_DIRTYRING_BUSY while an epochs() loop runs. */
  #checkFree(): void {
    if (this.#loop === undefined || this.#loop.aborted) return
    throw new DirtyRingError(
      'ERR_DIRTYRING_BUSY',
      'a running epochs() loop owns the epochs of this tracker. An iterator that was dropped ' +
        'without return() goes on owning them: call its return()',
    )
  }

  #noSlot(): DirtyRingError {
    const { memory, unsettled } = this.#control
    const held = unsettled.length === 0 ? 'none yet' : unsettled.join(', ')
    const { epochSlots } = memory.layout
    return new DirtyRingError(
      'ERR_DIRTYRING_NO_EPOCH_SLOT',
      `no epoch slot is free of ${epochSlots} (epochSlots). Unsettled epochs: ${held}`,
    )
  }
}
