import type { Waiting } from '../../signal.js'
import type { PendingCall } from '../long-waits.js'
import { requestRestore, takeRestored } from '../outbox.js'
import type { Context, PendingKind } from './kind.js'

/** Calls of restore(), and the restores that follow an abort. Those have no promise. */
export class Restores implements PendingKind {
  readonly #context: Context

  constructor(context: Context) {
    this.#context = context
  }

  /** Resolves when the keys of epoch `id` are in the open epoch, and its slot is free. */
  request(slot: number, id: number): Promise<void> {
    const restored = new Promise<void>((resolve, reject) => {
      const waiting: Waiting<void> = { resolve, reject }
      requestRestore(this.#context.outbox, slot, id, waiting)
    })
    this.#context.poke()
    return restored
  }

  collect(): void {
    const { outbox } = this.#context
    for (
      let restored = takeRestored(outbox);
      restored !== undefined;
      restored = takeRestored(outbox)
    ) {
      ;(restored.ticket as Waiting<void> | undefined)?.resolve()
    }
  }

  get isPending(): boolean {
    return this.#context.outbox.restoring.length > 0
  }

  get isAwaited(): boolean {
    return this.#asked().length > 0
  }

  fail(reason: unknown): void {
    for (const { reject } of this.#asked()) reject(reason)
  }

  waits(): PendingCall[] {
    return this.#asked().map((wait) => ({ call: 'restore()', wait }))
  }

  #asked(): Waiting<void>[] {
    return this.#context.outbox.restoring
      .map(({ ticket }) => ticket as Waiting<void> | undefined)
      .filter((waiting) => waiting !== undefined)
  }
}
