import { clearInterval, setInterval } from '../timers.js'
import { canWaitAsync } from '../wait-async.js'
import { forgetDirty, isDirty, wantDirty } from './outbox.js'
import type { Context } from './pending/kind.js'
import type { Place } from './places.js'

/** An epochs() loop that sleeps until its next epoch would have something. */
export interface Sleeper {
  /** Of a named consumer's loop. */
  readonly place: Place | undefined
  /** Ends the sleep. May be called again. */
  readonly wake: () => void
}

/**
 * How often the tracker looks by itself while a loop sleeps. The aggregator tells of the first key,
 * and a successor tells what a dead aggregator did not. So this look is only a net.
 */
const NET_MS = 1000
/** The same, if the host cannot notify this thread. */
const UNTOLD_MS = 50

/**
 * The epochs() loops that sleep while nothing is marked. They are not pending calls, because those
 * make the tracker look every 50 ms.
 */
export class Sleepers {
  /** Called now and then while a loop sleeps. */
  onLook: () => void = () => undefined
  readonly #context: Context
  readonly #asleep = new Set<Sleeper>()
  #net: ReturnType<typeof setInterval> | undefined

  constructor(context: Context) {
    this.#context = context
  }

  get isEmpty(): boolean {
    return this.#asleep.size === 0
  }

  /** Whether a loop need not sleep: its next epoch would have something, or cannot be had. */
  isAwake(place: Place | undefined): boolean {
    const { lifecycle, outbox } = this.#context
    return lifecycle.failure !== undefined || isDirty(outbox, place)
  }

  /**
   * Wakes the loop as soon as it need not sleep, perhaps before this returns. The timer keeps the
   * process alive, because the loop's caller waits for an epoch.
   */
  add(sleeper: Sleeper): void {
    this.#asleep.add(sleeper)
    this.#net ??= setInterval(
      () => {
        this.onLook()
        this.#context.poke()
      },
      canWaitAsync() ? NET_MS : UNTOLD_MS,
    )
    this.#context.poke()
  }

  delete(sleeper: Sleeper): void {
    if (!this.#asleep.delete(sleeper) || this.#asleep.size > 0) return
    forgetDirty(this.#context.outbox)
    clearInterval(this.#net)
    this.#net = undefined
  }

  /** Part of each poke(): asks to be told of the next key, then wakes each loop that has one. */
  look(): void {
    const { outbox } = this.#context
    for (const { place, wake } of this.#asleep) if (wantDirty(outbox, place)) wake()
  }

  /** Wakes every loop: its next cut says why. */
  fail(): void {
    for (const { wake } of this.#asleep) wake()
  }
}
