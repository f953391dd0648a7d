import type { SlotContent } from '../aggregator/load.js'
import {
  cannotRestore,
  type EpochKeeper,
  makeEpoch,
  type SealedEpoch,
} from '../epochs/sealed-epoch.js'
import { readSealedSlot } from '../memory/slot.js'
import { EPOCH_MASK } from '../ring/token.js'
import { nowMs } from '../timers.js'
import { commitPlace, freeSlot, restorePlace, settleLast } from './outbox.js'
import type { Overflows } from './overflows.js'
import type { Context } from './pending/kind.js'
import type { Restores } from './pending/restores.js'
import type { Place } from './places.js'
import { contentOf } from './saved.js'

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

/** What the epochs of one reader work with. */
export interface HandedOutParts {
  readonly context: Context
  readonly restores: Restores
  readonly overflows: Overflows
  readonly counts: EpochCounts
  /** Of a named consumer. */
  readonly place: Place | undefined
  /** The reader has dealt with all epochs up to this one. */
  readonly position: number
  /** Called when an epoch is exact and has no keys: nothing was marked after `since`, up to `id`. */
  readonly onEmpty: (since: number, id: number) => void
  /** Called when the reader takes no more epochs, and has settled those that it was handed. */
  readonly onEnd: (epochs: HandedOut) => void
}

/**
 * The epochs that one reader was handed and has not settled, each with its epoch slot. A reader
 * settles its own epochs only: those of other readers are in other objects of this class.
 */
export class HandedOut implements EpochKeeper {
  readonly #parts: HandedOutParts
  readonly #slots = new Map<SealedEpoch, number>()
  #position: number
  /** The last epoch that was committed. One before it may still be in hand. */
  #committed: number
  /** The last epoch that was taken empty, with no other one in hand: all up to it is dealt with. */
  #empty = -1
  /** For each epoch that may be committed, nowMs() at its cut. */
  readonly #cutAt = new Map<SealedEpoch, number>()
  #upToDateAt = nowMs()
  #commits = 0
  #isEnded = false

  constructor(parts: HandedOutParts) {
    this.#parts = parts
    this.#position = parts.position
    this.#committed = parts.position
  }

  /** How many epochs with keys it has committed. */
  get commits(): number {
    return this.#commits
  }

  /** Numbers of the epochs, oldest first. */
  get unsettled(): number[] {
    return [...this.#slots.keys()].map(({ id }) => id)
  }

  /** The epochs that are not settled. */
  get epochs(): SealedEpoch[] {
    return [...this.#slots.keys()]
  }

  /** What the epochs that are not settled hold. */
  contents(): SlotContent[] {
    const { memory } = this.#parts.context
    return [...this.#slots].map(([{ id }, slot]) =>
      contentOf(memory, slot, readSealedSlot(memory, slot, id & EPOCH_MASK)),
    )
  }

  /** The epoch up to which the reader has dealt with all; undefined while it is fresh. */
  get position(): number | undefined {
    return this.#parts.place?.isFresh === true ? undefined : this.#position
  }

  /** All epochs since this one are not dealt with; also while the reader is fresh. */
  get begin(): number {
    return Math.max(this.#position, this.#empty) + 1
  }

  /** nowMs() when all that was marked before was dealt with. While it is fresh: when it opened. */
  get upToDateAt(): number {
    return this.#upToDateAt
  }

  /** An exact epoch without keys frees its slot at once. Throws if the slot is corrupt. */
  handOut({ id, slot, staged, sealMs, last }: Cut): SealedEpoch {
    const { context, overflows, onEmpty, place } = this.#parts
    const { memory, listeners } = context
    const since = this.position
    const wanted = place?.wanted
    const epoch = makeEpoch({ memory, slot, id, staged, keeper: this, last, since, wanted })
    overflows.note(id, slot)
    const { size, exact } = epoch
    listeners.tell('epoch', { id, size, exact, sealMs })
    const cutAt = nowMs() - sealMs
    if (exact && size === 0) {
      this.#free(slot, last)
      if (this.#slots.size > 0) return epoch
      this.#upToDateAt = cutAt
      this.#empty = id
      if (wanted === undefined) onEmpty(since!, id)
    } else {
      this.#slots.set(epoch, slot)
      this.#cutAt.set(epoch, cutAt)
    }
    return epoch
  }

  commit(epoch: SealedEpoch): void {
    const { context, counts } = this.#parts
    const slot = this.#slots.get(epoch)
    counts.committed++
    if (slot === undefined) return
    this.#slots.delete(epoch)
    this.#commits++
    this.#committed = Math.max(this.#committed, epoch.id)
    this.#move()
    this.#upToDateAt = Math.max(this.#upToDateAt, this.#cutAt.get(epoch) ?? 0)
    this.#cutAt.delete(epoch)
    this.#free(slot, epoch.last)
    this.#mayEnd()
    context.poke()
  }

  restore(epoch: SealedEpoch): Promise<void> {
    const { context, counts, restores, place } = this.#parts
    const { outbox, lifecycle } = context
    const slot = this.#slots.get(epoch)
    if (slot === undefined) {
      counts.restored++
      return Promise.resolve() // exact and without keys: nothing to give back
    }
    if (outbox.isClosing && place?.isClosed !== true) throw cannotRestore(epoch)
    if (lifecycle.failure !== undefined) throw lifecycle.failure as Error
    this.#slots.delete(epoch)
    counts.restored++
    if (place !== undefined) {
      this.#cutAt.delete(epoch)
      this.#move()
      this.#mayEnd()
      restorePlace(outbox, place)
      context.poke()
      return Promise.resolve()
    }
    const restored = restores.request(slot, epoch.id)
    restored.then(
      () => {
        this.#cutAt.delete(epoch)
        this.#move() // what it gives back is in a later epoch
      },
      () => this.#slots.set(epoch, slot), // its keys are where they were
    )
    return restored
  }

  /** The reader takes no more epochs. */
  end(): void {
    this.#isEnded = true
    this.#mayEnd()
  }

  #mayEnd(): void {
    if (this.#isEnded && this.#slots.size === 0) this.#parts.onEnd(this)
  }

  /** The position never passes an epoch that is in hand. */
  #move(): void {
    if (this.unsettled.every((id) => id > this.#committed)) this.#position = this.#committed
  }

  #free(slot: number, last: boolean): void {
    const { context, place } = this.#parts
    if (place === undefined) freeSlot(context.outbox, slot)
    else if (last) this.#settleLast(slot, place)
    else commitPlace(context.outbox, place)
  }

  #settleLast(slot: number, place: Place): void {
    place.isFresh = false
    settleLast(this.#parts.context.outbox, slot)
  }
}
