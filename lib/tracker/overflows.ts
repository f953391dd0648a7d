import { epochAt, FLAG_OVERFLOW, SLOT_FLAGS } from '../memory/map.js'
import { readSlot } from '../memory/slot.js'
import { EPOCH_MASK, epochOfCur, readCur, slotOfCur } from '../ring/token.js'
import type { TrackerEvents } from './events.js'
import type { Context } from './pending/kind.js'

type Limit = TrackerEvents['overflow']['limit']

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
    this.#tell(id, this.#limitOf(slot) ?? 'maxStringBytesPerEpoch')
  }

  /** Tells listeners if the open epoch has too many keys. */
  look(): void {
    const { memory, outbox, lifecycle } = this.#context
    const { words, layout } = memory
    const cur = readCur(words)
    const slot = slotOfCur(cur)
    const isOpen = epochOfCur(cur) === (outbox.epoch & EPOCH_MASK) && lifecycle.phase !== 'stopped'
    if (!isOpen || (words[epochAt(layout, slot) + SLOT_FLAGS] & FLAG_OVERFLOW) === 0) return
    const limit = this.#limitOf(slot)
    if (limit !== undefined) this.#tell(outbox.epoch, limit)
  }

  /**
   * Returns the limit that such an epoch has passed. Undefined while the aggregator has raised the
   * flag and has not stored the counts yet.
   *
   * The counts say which limits the epoch has reached, and not which of them refused a key. So where
   * numbers and texts have both reached theirs, this names the one for texts.
   */
  #limitOf(slot: number): Limit | undefined {
    const { memory } = this.#context
    const { maxKeysPerEpoch, maxStringsPerEpoch, maxStringBytesPerEpoch } = memory.layout
    const { count, textCount, textBytes } = readSlot(memory, slot)
    if (textCount === maxStringsPerEpoch && textCount > 0) return 'maxStringsPerEpoch'
    const left = maxStringBytesPerEpoch - textBytes
    if (count === maxKeysPerEpoch) {
      const isFull = left * textCount < textBytes // a text of the usual length has no room
      return isFull ? 'maxStringBytesPerEpoch' : 'maxKeysPerEpoch'
    }
    // A text that had no room has at most half as many bytes as a lane's text ring.
    return left < memory.layout.laneTextBytes / 2 ? 'maxStringBytesPerEpoch' : undefined
  }

  #tell(epoch: number, limit: Limit): void {
    if (epoch <= this.#told) return
    this.#told = epoch
    const { listeners, memory } = this.#context
    const { maxKeysPerEpoch } = memory.layout
    listeners.tell('overflow', { epoch, limit, maxKeysPerEpoch })
  }
}
