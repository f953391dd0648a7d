import type { EpochKeys } from '../epochs/epoch.js'
import {
  epochAt,
  FLAG_OVERFLOW,
  FORM_EXACT,
  PLAN_COUNTS,
  PLAN_MERGES,
  planAt,
  SLOT_COUNT,
  SLOT_FILL,
  SLOT_FLAGS,
  SLOT_FORM,
  SLOT_TEXT_COUNT,
  SLOT_TEXT_END,
} from '../memory/map.js'
import type { Memory } from '../memory/memory.js'
import { sourceOf, targetOf } from '../memory/plan.js'
import { filterBits } from '../memory/slot.js'
import { EPOCH_MASK } from '../ring/token.js'
import { keysIn } from '../set/filter.js'
import { nowMs } from '../timers.js'
import type { HandedOut } from './handed-out.js'
import { lastMerged, lastSlotOf, type Outbox } from './outbox.js'
import type { Place } from './places.js'

/** How far a consumer is behind: see {@link Consumer.lag}. */
export interface ConsumerLag {
  /**
   * About how many keys wait for it: in its epoch in hand, in its backlog and in the open epoch. A
   * key that is in two of them counts twice. In a superset the number is an estimate.
   * While keys are on their way into the backlog, some of them count twice, too.
   */
  keys: number
  /**
   * Epochs that were sealed and that it has not dealt with. It has dealt with an epoch once it has
   * committed it, and with an exact one without keys as soon as it is handed out.
   */
  epochs: number
  /** In ms: all that was published before is dealt with. While it is fresh: since it was opened. */
  ms: number
  /** The least precise of its parts: its next epochs are as precise, or less. */
  precision: EpochKeys['precision']
}

const PRECISIONS = ['exact', 'superset', 'everything'] as const

/** Reads the lag of the consumer with this place. On the tracker's thread, at any time. */
export function lagOf(outbox: Outbox, place: Place, epochs: HandedOut): ConsumerLag {
  const { memory, openSlot, epoch } = outbox
  const inHand = epochs.epochs
  const parts = inHand.map(({ size, precision }) => ({ keys: size, precision }))
  const slots = [place.backlog, place.older]
  if (inHand.length === 0) slots.push(place.held)
  const hasLast = epochs.begin > epoch || inHand.some(({ id }) => id === epoch)
  if (!hasLast) slots.push(openSlot)
  for (const source of sourcesToCome(outbox, slots)) slots.push(source)
  for (const slot of slots) if (slot >= 0) parts.push(look(memory, slot))
  const isFresh = epochs.position === undefined
  const worst = Math.max(0, ...parts.map(({ precision }) => PRECISIONS.indexOf(precision)))
  return {
    keys: parts.reduce((sum, { keys }) => sum + keys, 0),
    epochs: Math.max(0, epoch - epochs.begin),
    ms: Math.max(0, nowMs() - epochs.upToDateAt),
    precision: isFresh ? 'everything' : PRECISIONS[worst],
  }
}

/** The slots that the aggregator may still have to merge into one of these, because of a cut. */
function sourcesToCome(outbox: Outbox, targets: readonly number[]): number[] {
  const { words, epoch } = outbox
  const sources: number[] = []
  for (let id = lastMerged(outbox) + 1; id < epoch; id++) {
    const at = planAt(id & EPOCH_MASK)
    const merges = words[at + PLAN_COUNTS] & 0xff
    for (let i = 0; i < merges; i++) {
      const merge = words[at + PLAN_MERGES + i]
      if (targets.includes(targetOf(merge))) sources.push(sourceOf(merge))
    }
  }
  return sources
}

/** The keys of a place's last epoch, before it is handed out. */
export function lookAtLast(
  outbox: Outbox,
  place: Place,
): { readonly keys: number; readonly precision: EpochKeys['precision'] } {
  return look(outbox.memory, lastSlotOf(outbox, place))
}

/**
 * What is in a slot, by its header. The aggregator may be writing it, so nothing is checked, and
 * the numbers are only to be shown.
 */
function look(
  { words, layout }: Memory,
  slot: number,
): { keys: number; precision: EpochKeys['precision'] } {
  const at = epochAt(layout, slot)
  const texts = words[at + SLOT_TEXT_END] === 0 ? 0 : words[at + SLOT_TEXT_COUNT]
  const listed = words[at + SLOT_COUNT] + texts
  const flags = words[at + SLOT_FLAGS]
  if (words[at + SLOT_FORM] === FORM_EXACT && flags === 0)
    return { keys: listed, precision: 'exact' }
  const part = (words[at + SLOT_FILL] >>> 0) / filterBits(layout)
  const keys = Math.max(listed, Math.round(keysIn(part, filterBits(layout))))
  return { keys, precision: flags === FLAG_OVERFLOW ? 'superset' : 'everything' }
}
