import { corruptSlot } from '../errors.js'
import {
  epochAt,
  FLAG_EVERYTHING,
  FLAG_FAULT,
  FLAG_NAMESPACES,
  FLAG_OVERFLOW,
  FLAG_SATURATED,
  FLAG_UNPUBLISHED,
  FORM_EXACT,
  FORM_FILTER,
  type Layout,
  NAMESPACES_MAX,
  SLOT_CHECK,
  SLOT_COUNT,
  SLOT_FILL,
  SLOT_FLAGS,
  SLOT_FORM,
  SLOT_GROWTH,
  SLOT_NAMESPACES,
  SLOT_TEXT_BYTES,
  SLOT_TEXT_COUNT,
  SLOT_TEXT_END,
  SLOT_TEXT_GROWTH,
  SLOT_ZERO,
} from './map.js'
import type { Memory } from './memory.js'
import { keysAt, textsAt } from './table-size.js'

/** The largest number of a namespace. */
export const NAMESPACE_MAX = 2 ** 22 - 1

/** The header of an epoch slot, read and checked. */
export interface SlotHeader {
  /** Keys in the log. */
  readonly count: number
  /** Doublings of the table from its smallest size. */
  readonly growth: number
  /** Key 0 is in. */
  readonly zero: boolean
  /** FLAG_*. */
  readonly flags: number
  /** Words of the arena that hold texts. */
  readonly textEnd: number
  /** Doublings of the texts' table from its smallest size. */
  readonly textGrowth: number
  /** Texts, and their bytes: of a sealed epoch. */
  readonly textCount: number
  readonly textBytes: number
  /** FORM_*. */
  readonly form: number
  /** Bits of the filter that are set. */
  readonly fill: number
  /** Namespaces that have changed as a whole. */
  readonly namespaces: readonly number[]
  /**
   * Only in copies of a header, never in shared memory: the namespaces that the consumer reads.
   * Undefined: all.
   */
  readonly wanted?: readonly number[] | undefined
}

const FLAGS =
  FLAG_OVERFLOW | FLAG_EVERYTHING | FLAG_UNPUBLISHED | FLAG_FAULT | FLAG_SATURATED | FLAG_NAMESPACES

const NONE: readonly number[] = []

/** The header of an epoch that has no keys and is exact. */
export const EMPTY_SLOT: SlotHeader = {
  count: 0,
  growth: 0,
  zero: false,
  flags: 0,
  textEnd: 0,
  textGrowth: 0,
  textCount: 0,
  textBytes: 0,
  form: FORM_EXACT,
  fill: 0,
  namespaces: NONE,
}

/**
 * Reads the header of an epoch slot. All code that enters or reads a slot calls this or
 * readSealedSlot(), because a count or a growth that is too large leads out of the slot.
 *
 * @throws ERR_DIRTYRING_CORRUPT if the library cannot have written the words of the header.
 */
export function readSlot(memory: Memory, slot: number): SlotHeader {
  const { words, layout } = memory
  if (slot < 0 || slot >= layout.epochSlots)
    throw corruptSlot(slot, `is named, and there are ${layout.epochSlots} slots`)
  const at = epochAt(layout, slot)
  // Load the count first, because the aggregator stores it last.
  const count = Atomics.load(words, at + SLOT_COUNT)
  // The form before the flags, because the aggregator stores FLAG_OVERFLOW first.
  const form = Atomics.load(words, at + SLOT_FORM)
  const growth = words[at + SLOT_GROWTH]
  const zero = words[at + SLOT_ZERO]
  const flags = words[at + SLOT_FLAGS]
  const textEnd = Atomics.load(words, at + SLOT_TEXT_END)
  const textGrowth = words[at + SLOT_TEXT_GROWTH]
  const textCount = words[at + SLOT_TEXT_COUNT]
  const textBytes = words[at + SLOT_TEXT_BYTES]
  const fill = words[at + SLOT_FILL] >>> 0
  if ((zero & ~1) !== 0) throw corruptSlot(slot, `has a flag ${zero} for key 0`)
  const header: SlotHeader = {
    count,
    growth,
    zero: zero === 1,
    flags,
    textEnd,
    textGrowth,
    textCount,
    textBytes,
    form,
    fill,
    namespaces: (flags & FLAG_NAMESPACES) === 0 ? NONE : namespacesIn(words, at),
  }
  const fault = faultOf(layout, header)
  if (fault !== undefined) throw corruptSlot(slot, fault)
  return header
}

function namespacesIn(words: Memory['words'], at: number): readonly number[] {
  const count = Math.min(words[at + SLOT_NAMESPACES], NAMESPACES_MAX)
  const namespaces: number[] = []
  for (let i = 1; i <= count; i++) namespaces.push(words[at + SLOT_NAMESPACES + i])
  return namespaces
}

/** What is wrong with a header that the library cannot have made; undefined: nothing. */
export function faultOf(layout: Layout, header: SlotHeader): string | undefined {
  const { count, growth, flags, textEnd, textGrowth, textCount, form, fill, namespaces } = header
  const cells = layout.smallestTable * 2 ** growth
  if (growth < 0 || cells > layout.largestTable)
    return `has a table that has doubled ${growth} times`
  if (count < 0 || count > keysAt(layout, cells))
    return `has ${count} keys in a table of ${cells} cells`
  if ((flags & ~FLAGS) !== 0) return `has flags ${flags}`
  const textCells = layout.smallestTextTable * 2 ** textGrowth
  if (textGrowth < 0 || textCells > layout.largestTextTable)
    return `has a table of texts that has doubled ${textGrowth} times`
  if (textEnd < 0 || textEnd > layout.arenaWords)
    return `has ${textEnd} words of text, of ${layout.arenaWords} that it can`
  if (textCount < 0 || textCount > textsAt(layout, textCells))
    return `has ${textCount} texts in a table of ${textCells} cells`
  if (((flags & FLAG_NAMESPACES) !== 0) !== namespaces.length > 0)
    return `has ${namespaces.length} namespaces, and flags ${flags}`
  if (namespaces.some((namespace) => namespace < 0 || namespace > NAMESPACE_MAX))
    return `has namespaces ${namespaces.join(', ')}`
  if (form < FORM_EXACT || form > FORM_FILTER) return `has form ${form}`
  if (form !== FORM_EXACT && (flags & FLAG_OVERFLOW) === 0)
    return `has form ${form}, and no overflow`
  if (fill > filterBits(layout))
    return `has a filter with ${fill} bits of ${filterBits(layout)} set`
  return undefined
}

/** The bits of a slot's filter. */
export function filterBits(layout: Layout): number {
  return layout.filterCells * 64
}

/**
 * The SLOT_STAMP of an epoch: never 0, and the same for two epochs only if 2^32 - 1 lie between
 * them. Epochs in tokens repeat after 2^19, which is too soon: a reader may hold a handle for hours.
 */
export function stampOf(epoch: number): number {
  return ((epoch % 0xffffffff) + 1) | 0
}

/**
 * Reads the header of a slot in which an epoch was sealed.
 *
 * @throws ERR_DIRTYRING_CORRUPT also if the slot holds another epoch, or one that is not sealed, or
 * if a word of the header has changed since the seal.
 */
export function readSealedSlot(memory: Memory, slot: number, epoch: number): SlotHeader {
  const header = readSlot(memory, slot)
  const check = memory.words[epochAt(memory.layout, slot) + SLOT_CHECK]
  const isWhole = header.form === FORM_EXACT || header.form === FORM_FILTER
  if (check !== checkOf(epoch, header) || !isWhole)
    throw corruptSlot(slot, `does not hold what was sealed as epoch ${epoch} (mod 2^19)`)
  return header
}

/**
 * Reads the header of the slot in which an epoch is open. The header may say that the epoch is
 * sealed, if its aggregator died between the seal and the cut.
 *
 * @throws ERR_DIRTYRING_CORRUPT also if the slot holds another epoch.
 */
export function readOpenSlot(
  memory: Memory,
  slot: number,
  epoch: number,
): SlotHeader & { isSealed: boolean } {
  const header = readSlot(memory, slot)
  const check = memory.words[epochAt(memory.layout, slot) + SLOT_CHECK]
  const isSealed = check !== openCheckOf(epoch)
  if (isSealed) readSealedSlot(memory, slot, epoch)
  return { ...header, isSealed }
}

/** The SLOT_CHECK of an open epoch. */
export function openCheckOf(epoch: number): number {
  return mixed(epoch, -1) | 1
}

/** The SLOT_CHECK of a sealed epoch: one word that depends on every other word of the header. */
export function checkOf(epoch: number, header: SlotHeader): number {
  const { count, growth, zero, flags, textEnd, textGrowth, textCount, textBytes } = header
  const numbers = mixed(mixed(mixed(epoch, count), growth), (flags << 1) | (zero ? 1 : 0))
  const texts = mixed(mixed(mixed(mixed(numbers, textEnd), textGrowth), textCount), textBytes)
  let check = mixed(mixed(texts, header.form), header.fill)
  for (const namespace of header.namespaces) check = mixed(check, namespace)
  return check | 1
}

/** A hash of two words. */
export function mixed(a: number, b: number): number {
  const x = Math.imul((a ^ 0x5bd1e995) + 0x7f4a7c15, 0x9e3779b1) ^ b
  const y = Math.imul(x ^ (x >>> 15), 0x85ebca6b)
  return y ^ (y >>> 13)
}
