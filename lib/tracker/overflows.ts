import { epochAt, FLAG_OVERFLOW, SLOT_FLAGS } from '../memory/map.js'
import { readSlot } from '../memory/slot.js'
import { EPOCH_MASK, epochOfCur, readCur, slotOfCur } from '../ring/token.js'
import type { Context } from './pending/kind.js'

/** Counts the epochs with too many keys, and tells listeners once of each. */
export class Overflows {
  readonly #context: Context
  #count = 0
  /** The last epoch of which listeners know that it has too many keys. */
  #told = -1

  constructor(context: Context) {
    this.#context = context
  }

  /** Distinct keys in the open epoch, and the epochs that had too many, the open one included. */
  get open(): { distinct: number; overflows: number } {
    const { memory, lifecycle } = this.#context
    const { count, textCount, flags } = readSlot(memory, slotOfCur(readCur(memory.words)))
    const isOverflowing = lifecycle.phase !== 'stopped' && (flags & FLAG_OVERFLOW) !== 0
    return { distinct: count + textCount, overflows: this.#count + (isOverflowing ? 1 : 0) }
  }

  /** Counts epoch `id`, sealed in `slot`, if it has too many keys. */
  note(id: number, slot: number): void {
    const { words, layout } = this.#context.memory
    if ((words[epochAt(layout, slot) + SLOT_FLAGS] & FLAG_OVERFLOW) === 0) return
    this.#count++
    this.#tell(id)
  }

  /** Tells listeners if the open epoch has too many keys. */
  look(): void {
    const { memory, outbox, lifecycle } = this.#context
    const { words, layout } = memory
    const cur = readCur(words)
    const isOpen = epochOfCur(cur) === (outbox.epoch & EPOCH_MASK) && lifecycle.phase !== 'stopped'
    if (isOpen && (words[epochAt(layout, slotOfCur(cur)) + SLOT_FLAGS] & FLAG_OVERFLOW) !== 0)
      this.#tell(outbox.epoch)
  }

  #tell(epoch: number): void {
    if (epoch <= this.#told) return
    this.#told = epoch
    const { listeners, memory } = this.#context
    listeners.tell('overflow', { epoch, maxKeysPerEpoch: memory.layout.maxKeysPerEpoch })
  }
}
