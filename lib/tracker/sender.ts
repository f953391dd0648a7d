import { SEAL } from '../ring/token.js'
import { setTimeout, unref } from '../timers.js'
import { sendFirst, stagedKeys, type Ticket, trySeal } from './outbox.js'
import type { Context } from './pending/kind.js'

/** How soon a token that found the ring full is tried again. */
const RETRY_MS = 1

/** Sends the outbox's control tokens in their order, and tries again while the ring is full. */
export class Sender {
  /** Called after each push: an aggregator on this very thread can act at once. */
  onPush: () => void = () => undefined
  readonly #context: Context
  #isRetrying = false

  constructor(context: Context) {
    this.#context = context
  }

  /** Sends all that the ring has room for. A timer sends the rest. */
  flush(): void {
    const { outbox, lifecycle } = this.#context
    if (lifecycle.failure !== undefined) return
    try {
      while (outbox.queue.length > 0 && this.#sendFirst());
    } catch (error) {
      this.#context.fail(error) // a corrupt ring
      return
    }
    this.onPush()
    if (outbox.queue.length === 0 || this.#isRetrying) return
    this.#isRetrying = true
    unref(
      setTimeout(() => {
        this.#isRetrying = false
        this.#context.poke()
      }, RETRY_MS),
    )
  }

  /**
   * Makes a cut now. If the cut would have to wait, returns false and changes nothing. For a named
   * consumer, an aggregator on this very thread works only if the cut can't be made otherwise: it
   * may have to merge epochs, and the caller may hold a lock.
   */
  trySeal(ticket: Ticket): boolean {
    const { outbox, lifecycle } = this.#context
    if (lifecycle.failure !== undefined) return false
    if (ticket.place === undefined) this.flush()
    let isMade: boolean
    try {
      isMade = trySeal(outbox, ticket)
      if (!isMade) {
        if (ticket.place !== undefined) this.flush()
        this.onPush()
        isMade = trySeal(outbox, ticket)
      }
    } catch (error) {
      this.#context.fail(error) // a corrupt ring
      return false
    }
    if (isMade) this.#noteStaged()
    return isMade
  }

  /** False when the ring is full. */
  #sendFirst(): boolean {
    const { outbox, lifecycle } = this.#context
    const { kind } = outbox.queue[0]
    if (!sendFirst(outbox)) {
      this.onPush()
      if (lifecycle.failure !== undefined || !sendFirst(outbox)) return false
    }
    if (kind === SEAL) this.#noteStaged()
    return true
  }

  /** Right behind a cut: the keys that are not in its epoch because they were only staged. */
  #noteStaged(): void {
    const { outbox } = this.#context
    const made = outbox.sealing.at(-1)
    if (made !== undefined) made.staged = stagedKeys(outbox)
  }
}
