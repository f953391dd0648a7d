import { DirtyRingError } from '../errors.js'

/**
 * Where a tracker stands.
 *
 * - 'running': calls are taken.
 * - 'failed': the aggregator cannot continue. Each call rejects with the failure, until stop().
 * - 'closing': stop() was called. Writers may still publish for the grace period.
 * - 'stopping': marks are refused, and STOP is in the ring or waits for room there.
 * - 'stopped': all that was published is delivered, and the last epoch is sealed.
 * - 'lost': stop() rejected. What is still in shared memory stays there.
 */
export type Phase = 'running' | 'failed' | 'closing' | 'stopping' | 'stopped' | 'lost'

/**
 * The one answer to "is the tracker stopped?" for everything on the tracker's thread.
 *
 * ```text
 *              stop()             grace is over            FINISHED is read
 *  running ─────────────▶ closing ─────────────▶ stopping ─────────────────▶ stopped
 *     │                   ▲     │                    │
 *     │ fail()            │     │ the memory         │ fail()
 *     ▼       stop()      │     │ is corrupt         ▼
 *  failed ────────────────┘     └──────────────────▶ lost
 * ```
 *
 * A failure while 'closing' leaves the phase as it is. Calls reject with that failure. The step to
 * 'stopping' forgives it, because the tracker's thread can run the aggregator itself. A failure
 * that is reported in 'stopped' or 'lost' leaves the phase as it is, too.
 *
 * Two other records hold a part of this for their own use. The outbox (outbox.ts) has two flags
 * that say which tokens it still takes; they are set by the steps to 'closing' and 'stopping'. The
 * host (aggregator-host.ts) has a state of its aggregator, which ends at 'ended' when stop() is
 * done.
 */
export class Lifecycle {
  #phase: Phase = 'running'
  #failure: unknown
  readonly #wakers = new Set<() => void>()
  #close: (failure?: { readonly reason: unknown }) => void = () => undefined
  /** Resolves at 'stopped'. Rejects at 'failed' and at 'lost', whichever comes first. */
  readonly closed = new Promise<void>((resolve, reject) => {
    this.#close = (failure) => {
      if (failure === undefined) resolve()
      else reject(failure.reason)
    }
  })

  constructor() {
    this.closed.catch(() => undefined) // so that a program need not handle the rejection
  }

  get phase(): Phase {
    return this.#phase
  }

  /** Why the aggregator cannot continue; undefined if it can. */
  get failure(): unknown {
    return this.#failure
  }

  /** Whether stop() was called. */
  get isStopCalled(): boolean {
    return this.#phase !== 'running' && this.#phase !== 'failed'
  }

  /** Throws the failure, or ERR_DIRTYRING_STOPPED after stop(). */
  checkRunning(): void {
    if (this.#failure !== undefined) throw this.#failure as Error
    if (this.isStopCalled) throw stopped()
  }

  /**
   * Calls `wake` when stop() is called.
   *
   * @returns the function that ends this
   */
  onStop(wake: () => void): () => void {
    this.#wakers.add(wake)
    return () => this.#wakers.delete(wake)
  }

  /** Records that the aggregator cannot continue. Returns false if that was known already. */
  fail(reason: unknown): boolean {
    if (this.#failure !== undefined) return false
    this.#failure = reason
    if (this.#phase === 'running') this.#phase = 'failed'
    else if (this.#phase === 'stopping') this.#phase = 'lost'
    this.#close({ reason })
    return true
  }

  /** Records that stop() was called. */
  beginStop(): void {
    this.#phase = 'closing'
  }

  /** Calls each function that onStop() was given. */
  wake(): void {
    for (const wake of this.#wakers) wake()
  }

  /** Records that STOP goes out. Forgives a failure: another aggregator handles the tokens. */
  beginLastEpoch(): void {
    this.#phase = 'stopping'
    this.#failure = undefined
  }

  /** Records that the last epoch is handed out. */
  finish(): void {
    this.#phase = 'stopped'
    this.#close()
  }

  /** Records that stop() rejects with this reason. */
  lose(reason: unknown): void {
    this.#phase = 'lost'
    this.#close({ reason })
  }
}

export function stopped(): DirtyRingError {
  return new DirtyRingError('ERR_DIRTYRING_STOPPED', 'the tracker has stopped')
}
