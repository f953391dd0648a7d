import { checkFunction } from '../check.js'
import type { SealedEpoch } from '../epochs/sealed-epoch.js'
import { DirtyRingError } from '../errors.js'
import {
  abortable,
  type AbortSignalLike,
  isAborted,
  throwIfAborted,
  type Waiting,
} from '../signal.js'
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
import type { Hold } from './hold.js'
import { LastEpoch } from './last-epoch.js'
import { Loop, loopOver } from './loop.js'
import { closePlace } from './outbox.js'
import type { Advance } from './pending/advances.js'
import type { Place } from './places.js'

/** When an epochs() loop cuts, and which epochs it yields. */
type Pace = Pick<ReturnType<typeof checkEpochs>, 'everyMs' | 'skipEmpty' | 'whenDirty'>

/** The named consumer that a reader reads for. */
export interface ReaderName {
  readonly name: string
  readonly place: Place
}

/**
 * Makes cuts, is handed the epochs, and settles them. It owns the epochs that it was handed, the
 * epochs() loop that runs, and the last epoch. The tracker has one reader, or each named consumer
 * has one.
 */
export class Reader {
  /** The epochs that it was handed and has not settled. */
  readonly epochsInHand: HandedOut
  readonly last = new LastEpoch()
  readonly #control: Control
  readonly #consumer: ReaderName | undefined
  /** The epochs() loop that has begun and not ended. */
  #loop: Loop | undefined
  #isClosed = false
  #isHeld = false

  constructor(control: Control, epochs: HandedOut, consumer?: ReaderName) {
    this.#control = control
    this.epochsInHand = epochs
    this.#consumer = consumer
  }

  /** Whether close() was called. */
  get isClosed(): boolean {
    return this.#isClosed
  }

  async advanceEpoch(options: AdvanceOptions): Promise<SealedEpoch> {
    const { signal, onBusy } = checkAdvance(options)
    this.#checkOpen()
    if (this.#hasLast) return this.#takeLast(signal)
    this.#control.lifecycle.checkRunning()
    this.#checkFree()
    return this.#cut(signal, onBusy)
  }

  tryAdvanceEpoch(): Promise<SealedEpoch> | undefined {
    const { lifecycle, advances, memory } = this.#control
    const startedAt = nowMs()
    this.#checkOpen()
    lifecycle.checkRunning()
    this.#checkFree()
    if (!publishOwn(memory)) return undefined
    let isCut = false
    const epoch = new Promise<SealedEpoch>((resolve, reject) => {
      isCut = advances.tryNow(this.#advance({ resolve, reject }, startedAt))
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
    return loopOver(signal, (loop) => this.#generate(loop, pace))
  }

  /** Whether a part of the library owns the epochs: see hold(). */
  get isHeld(): boolean {
    return this.#isHeld
  }

  /**
   * Owns the epochs as a running loop does, the last one too, until end(). stop({ consume }) leaves
   * them to the holder.
   */
  hold(): Pick<Hold, 'cut' | 'last' | 'end'> {
    const { last } = this
    this.#checkOpen()
    this.#control.lifecycle.checkRunning()
    this.#checkFree()
    const loop = new Loop(undefined)
    this.#loop = loop
    this.#isHeld = true
    return {
      cut: async (signal) => {
        this.#checkOpen()
        return this.#cut(signal, 'wait')
      },
      last: async () => {
        this.#checkOpen()
        const epoch = await last.epoch!
        loop.hasLast = true
        return epoch
      },
      end: () => {
        if (this.#loop !== loop) return
        this.#loop = undefined
        this.#isHeld = false
        loop.end()
        if (last.owner === loop && !loop.hasLast) last.owner = undefined
      },
    }
  }

  /**
   * stop() was called: the last epoch of a named consumer goes to its loop, or to the next caller
   * of advanceEpoch(). `seal` hands it out, and is called once, when it is needed.
   */
  beginStop(seal: () => Promise<SealedEpoch>): void {
    this.last.begin(this.#loop, seal)
  }

  /** Ends a named consumer. What it has in hand stays readable. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    const { name, place } = this.#consumer!
    this.#control.advances.refuse(place, closed(name))
    this.#loop?.end()
    closePlace(this.#control.outbox, place)
    this.epochsInHand.end()
    this.#control.poke()
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
    if (onBusy === 'reject' && !advances.canSealNow(this.#consumer?.place)) throw this.#noSlot()
    publishOwn(memory)
    return abortable(signal, (waiting) => {
      const advance = this.#advance(waiting, startedAt)
      advances.request(advance)
      return () => advances.abandon(advance)
    })
  }

  #advance({ resolve, reject }: Waiting<SealedEpoch>, startedAt: number): Advance {
    return { resolve, reject, startedAt, epochs: this.epochsInHand, place: this.#consumer?.place }
  }

  /** Whether a named consumer's last epoch is there for the next caller. */
  get #hasLast(): boolean {
    return this.#consumer !== undefined && this.last.isFree
  }

  /** After stop(): the last epoch, once. */
  #takeLast(signal: AbortSignalLike | undefined): Promise<SealedEpoch> {
    throwIfAborted(signal)
    return abortable(signal, ({ resolve, reject }) => {
      // After an abort, neither promise hears of what becomes of the epoch.
      this.last.take()!.then(resolve, (reason: unknown) => {
        this.last.putBack()
        reject(reason)
      })
      return () => {
        this.last.putBack()
        return true
      }
    })
  }

  /** The generator behind epochs(): the epochs of #cuts(), then the last one if it owns that. */
  async *#generate(loop: Loop, pace: Pace): AsyncGenerator<SealedEpoch, void> {
    const { last } = this
    if (loop.aborted) return
    this.#checkOpen()
    if (this.#hasLast) last.owner = loop
    else if (this.#control.lifecycle.isStopCalled) return
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
      if (whenDirty && !sleepers.isAwake(this.#consumer?.place)) {
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
      const sleeper = { place: this.#consumer?.place, wake }
      const forget = lifecycle.onStop(wake)
      loop.addEventListener('abort', wake)
      if (isAborted(loop) || lifecycle.isStopCalled) wake()
      else sleepers.add(sleeper)
    })
  }

  /** Throws ERR_DIRTYRING_CLOSED after close(). */
  #checkOpen(): void {
    if (this.#isClosed) throw closed(this.#consumer!.name)
  }

  /** Throws ERR_DIRTYRING_BUSY while an epochs() loop runs. */
  #checkFree(): void {
    if (this.#loop === undefined || this.#loop.aborted) return
    const whose = this.#consumer === undefined ? 'this tracker' : called(this.#consumer.name)
    throw new DirtyRingError(
      'ERR_DIRTYRING_BUSY',
      `a running epochs() loop owns the epochs of ${whose}. An iterator that was dropped ` +
        'without return() goes on owning them: call its return()',
    )
  }

  #noSlot(): DirtyRingError {
    const { memory, unsettled } = this.#control
    if (this.#consumer !== undefined) {
      const [epoch] = this.epochsInHand.unsettled
      return new DirtyRingError(
        'ERR_DIRTYRING_NO_EPOCH_SLOT',
        `${called(this.#consumer.name)} has one epoch at a time. ` +
          (epoch === undefined
            ? 'An earlier call waits for one'
            : `Call commit() or restore() on epoch ${epoch} before`),
      )
    }
    const held = unsettled.length === 0 ? 'none yet' : unsettled.join(', ')
    const { epochSlots } = memory.layout
    return new DirtyRingError(
      'ERR_DIRTYRING_NO_EPOCH_SLOT',
      `no epoch slot is free of ${epochSlots} (epochSlots). Unsettled epochs: ${held}`,
    )
  }
}

function called(name: string): string {
  return `consumer ${JSON.stringify(name)}`
}

function closed(name: string): DirtyRingError {
  return new DirtyRingError('ERR_DIRTYRING_CLOSED', `${called(name)} is closed`)
}
