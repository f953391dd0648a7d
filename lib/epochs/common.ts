/** What SealedEpoch and AttachedEpoch have in common. */
import { DirtyRingError, outOfRange } from '../errors.js'
import { HIGH_MAX, idFrom } from '../keys.js'
import {
  epochAt,
  FLAG_EVERYTHING,
  FLAG_FAULT,
  FLAG_FRESH,
  FLAG_NAMESPACES,
  FLAG_OVERFLOW,
  FLAG_UNPUBLISHED,
  FORM_FILTER,
  type Layout,
  SECRETS,
  TEXT_SECRETS,
} from '../memory/map.js'
import { checkIdentity, type Memory } from '../memory/memory.js'
import { filterBits, type SlotHeader } from '../memory/slot.js'
import { falsePositivesOf, type Filter, filterShift } from '../set/filter.js'
import { type SetState, shiftFor } from '../set/kernel.js'
import { secretsAt, textSecretsAt } from '../set/mix.js'
import { textBytesOf, type TextSet } from '../set/text-set.js'
import { decodeBytes, decodeText } from '../text/decode.js'
import type { EpochKeys, InexactReason } from './epoch.js'

/** Throws a RangeError if one of the pairs is no id. */
export function checkIds(pairs: Uint32Array): void {
  for (let i = 1; i < pairs.length; i += 2) if (pairs[i] > HIGH_MAX) idFrom(pairs[i - 1], pairs[i])
}

/** The text or the bytes whose payload begins at words[at]. */
export function textFrom(words: Int32Array, at: number, head: number): string | Uint8Array {
  return (head & 1) === 0
    ? decodeText(words, at, textBytesOf(head))
    : decodeBytes(words, at, textBytesOf(head))
}

export function reasonFor(flags: number): InexactReason | undefined {
  if ((flags & FLAG_FRESH) !== 0) return 'fresh'
  if ((flags & (FLAG_EVERYTHING | FLAG_NAMESPACES)) !== 0) return 'everything'
  if ((flags & FLAG_FAULT) !== 0) return 'fault'
  if ((flags & FLAG_UNPUBLISHED) !== 0) return 'unpublished'
  if ((flags & FLAG_OVERFLOW) !== 0) return 'overflow'
  return undefined
}

/** has() of a key, where its namespace alone decides. */
export function namespaceSays(header: SlotHeader, namespace: number): boolean | undefined {
  if (header.wanted?.includes(namespace) === false) return false
  return header.namespaces.includes(namespace) ? true : undefined
}

/** Of the keys outside of the namespaces that have changed as a whole. */
export function precisionOf({ flags, form }: SlotHeader): EpochKeys['precision'] {
  const others = flags & ~FLAG_NAMESPACES
  if (others === 0) return 'exact'
  return others === FLAG_OVERFLOW && form === FORM_FILTER ? 'superset' : 'everything'
}

/** The probability that has() is true for a key that was not marked. */
export function falsePositivesIn(layout: Layout | undefined, header: SlotHeader): number {
  const precision = precisionOf(header)
  if (precision !== 'superset' || layout === undefined) return precision === 'exact' ? 0 : 1
  return falsePositivesOf(header.fill / filterBits(layout))
}

/** The filter of a sealed slot, for lookups on any thread that the slot was handed to. */
export function filterOf({ words, layout }: Memory, slot: number): Filter {
  return {
    words,
    at: epochAt(layout, slot) + layout.table,
    shift: filterShift(layout.filterCells),
    fill: 0,
    native: undefined,
  }
}

/** The error of a member that cannot show every key. */
export function otherKeys(member: string, others: string): RangeError {
  const advice =
    'Read the numeric keys with numbers() and the others with texts(), or all with for...of. ' +
    'To keep one kind out, pass the option keys to create().'
  return outOfRange(`epoch.${member}`, 'of an epoch of that kind of keys only', others, advice)
}

/** Throws otherKeys() if the epoch has texts. */
export function checkNoTexts(member: string, { textCount }: SlotHeader): void {
  if (textCount > 0) throw otherKeys(member, `${textCount} text keys`)
}

/**
 * The error of a member that walks or lists keys.
 *
 * @param name - 'epoch 7'
 */
export function notExact(name: string, reason: InexactReason | undefined): DirtyRingError {
  const why = `${name} is not exact ('${reason}'), so the list is incomplete`
  const advice = 'Ask has() for each row that you hold, or treat all rows as dirty'
  return new DirtyRingError(
    'ERR_DIRTYRING_INEXACT',
    `${why}. ${advice}; listed() gives the part that is known`,
  )
}

/** The error of every member that reads keys. */
export function settled(id: number, how: string): DirtyRingError {
  return new DirtyRingError(
    'ERR_DIRTYRING_SETTLED',
    `epoch ${id} is ${how}: its keys are gone; copy what must live longer`,
  )
}

/** The texts of a sealed slot, for lookups on any thread that the slot was handed to. */
export function textsOf(memory: Memory, slot: number, header: SlotHeader): TextSet {
  const { words, layout } = memory
  const at = epochAt(layout, slot)
  checkIdentity(words)
  return {
    words,
    arena: at + layout.arena,
    table: at + layout.textTable,
    shift: shiftFor(layout.smallestTextTable * 2 ** header.textGrowth),
    limit: 0,
    maxBytes: 0,
    count: header.textCount,
    bytes: header.textBytes,
    end: header.textEnd,
    native: undefined,
    ...textSecretsAt(words, TEXT_SECRETS),
  }
}

/** The set of a sealed slot, for lookups on any thread that the slot was handed to. */
export function setOf(memory: Memory, slot: number, { count, growth, zero }: SlotHeader): SetState {
  const { words, layout } = memory
  const at = epochAt(layout, slot)
  checkIdentity(words)
  return {
    words,
    log: at + layout.log,
    table: at + layout.table,
    shift: shiftFor(layout.smallestTable * 2 ** growth),
    limit: 0,
    count,
    zero,
    native: undefined,
    ...secretsAt(words, SECRETS),
  }
}
