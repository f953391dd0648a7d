import {
  cannotRestore,
  type EpochKeeper,
  makeEpoch,
  type SealedEpoch,
} from '../epochs/sealed-epoch.js'
import { freeSlot } from './outbox.js'
import type { Overflows } from './overflows.js'
import type { Context } from './pending/kind.js'
import type { Restores } from './pending/restores.js'

/** How many epochs the tracker has sealed, and how they were settled. */
export interface EpochCounts {
  sealed: number
  restored: number
  committed: number
}

/** A cut that was executed: the epoch and its slot. */
export interface Cut {
  readonly id: number
  readonly slot: number
  /** Keys that open writers had marked and not published. */
  readonly staged: number
  /** From the call to the hand-out, in ms. */
  readonly sealMs: number
  /** No epoch comes after it. */
  readonly last: boolean
}

/**
 * The epochs that one reader was handed and has not settled, each with its epoch slot. A reader
 * settles its own epochs only: those of other readers are in other objects of this class.
 */
export class HandedOut implements EpochKeeper {
  readonly #context: Context
  readonly #restores: Restores
  readonly #overflows: Overflows
  readonly #counts: EpochCounts
  readonly #slots = new Map<SealedEpoch, number>()

  constructor(context: Context, restores: Restores, overflows: Overflows, counts: EpochCounts) {
    this.#context = context
    this.#restores = restores
    this.#overflows = overflows
    this.#counts = counts
  }

  /** Numbers of the epochs, oldest first. */
  get unsettled(): number[] {
    return [...this.#slots.keys()].map(({ id }) => id)
  }

  /** An exact epoch without keys frees its slot at once. Throws if the slot is corrupt. */
  handOut({ id, slot, staged, sealMs, last }: Cut): SealedEpoch {
    const { memory, outbox, listeners } = this.#context
    const epoch = makeEpoch(memory, slot, id, staged, this, last)
    this.#overflows.note(id, slot)
    const { size, exact } = epoch
    listeners.tell('epoch', { id, size, exact, sealMs })
    if (exact && size === 0) freeSlot(outbox, slot)
    else this.#slots.set(epoch, slot)
    return epoch
  }

  commit(epoch: SealedEpoch): void {
    const slot = this.#slots.get(epoch)
    this.#counts.committed++
    if (slot === undefined) return
    this.#slots.delete(epoch)
    freeSlot(this.#context.outbox, slot)
    this.#context.poke()
  }

  restore(epoch: SealedEpoch): Promise<void> {
    const { outbox, lifecycle } = this.#context
    const slot = this.#slots.get(epoch)
    if (slot === undefined) {
      this.#counts.restored++
      return Promise.resolve() // exact and without keys: nothing to give back
    }
    if (outbox.isClosing) throw cannotRestore(epoch)
    if (lifecycle.failure !== undefined) throw lifecycle.failure as Error
    this.#slots.delete(epoch)
    this.#counts.restored++
    const restored = this.#restores.request(slot, epoch.id)
    restored.catch(() => this.#slots.set(epoch, slot)) // its keys are where they were
    return restored
  }
}
