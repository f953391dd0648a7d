import type { Waiting } from '../../signal.js'
import type { PendingCall } from '../long-waits.js'
import { DRAIN, requestDrain, takeDrained } from '../outbox.js'
import type { Context, PendingKind } from './kind.js'
import { removeFirst } from './list.js'

/** Calls of drained(). */
export class Drains implements PendingKind {
  readonly #context: Context

  constructor(context: Context) {
    this.#context = context
  }

  /**
   * Resolves `waiting` when everything that is in the ring now has been handled.
   *
   * @returns the function that ends the wait
   */
  request(waiting: Waiting<void>): () => void {
    const { outbox } = this.#context
    requestDrain(outbox, waiting)
    this.#context.poke()
    return () => {
      removeFirst(outbox.queue, ({ ticket }) => ticket === waiting)
      removeFirst(outbox.draining, ({ ticket }) => ticket === waiting)
      this.#context.poke()
    }
  }

  collect(): void {
    const { outbox } = this.#context
    for (let drained = takeDrained(outbox); drained !== undefined; drained = takeDrained(outbox))
      (drained.ticket as Waiting<void>).resolve()
  }

  get isPending(): boolean {
    return this.#asked().length > 0
  }

  get isAwaited(): boolean {
    return this.isPending
  }

  fail(reason: unknown): void {
    const { outbox } = this.#context
    for (const waiting of this.#asked()) {
      removeFirst(outbox.queue, ({ ticket }) => ticket === waiting)
      waiting.reject(reason)
    }
    outbox.draining.length = 0
  }

  waits(): PendingCall[] {
    return this.#asked().map((wait) => ({ call: 'drained()', wait }))
  }

  /** Calls that wait behind queued control tokens, and calls that wait for head to move. */
  #asked(): Waiting<void>[] {
    const { queue, draining } = this.#context.outbox
    return [...queue.filter(({ kind }) => kind === DRAIN), ...draining].map(
      ({ ticket }) => ticket as Waiting<void>,
    )
  }
}
