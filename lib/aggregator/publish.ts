import {
  FLAG_EVERYTHING,
  FLAG_NAMESPACES,
  NAMESPACES_MAX,
  SLOT_COUNT,
  SLOT_FILL,
  SLOT_FLAGS,
  SLOT_NAMESPACES,
  SLOT_TEXT_BYTES,
  SLOT_TEXT_COUNT,
  SLOT_TEXT_END,
  SLOT_ZERO,
} from '../memory/map.js'
import type { SlotHeader } from '../memory/slot.js'
import type { SlotState } from './state.js'

/** Whether the epoch has neither keys nor a reason not to be exact. */
export function isClean({ set, texts, flags }: SlotState): boolean {
  return set.count === 0 && texts.end === 0 && flags === 0
}

/** Notes why the epoch is not exact. */
export function raiseFlag(a: SlotState, flags: number): void {
  a.flags |= flags
  Atomics.store(a.words, a.openAt + SLOT_FLAGS, a.flags)
}

/**
 * Notes that a namespace has changed as a whole. One more than there are places for makes it
 * everything.
 */
export function raiseNamespace(a: SlotState, namespace: number): void {
  const { words, openAt, namespaces } = a
  if (namespaces.includes(namespace)) return
  if (namespaces.length === NAMESPACES_MAX) {
    raiseFlag(a, FLAG_EVERYTHING)
    return
  }
  namespaces.push(namespace)
  words[openAt + SLOT_NAMESPACES + namespaces.length] = namespace
  words[openAt + SLOT_NAMESPACES] = namespaces.length
  raiseFlag(a, FLAG_NAMESPACES)
}

/** Notes all that a sealed epoch says of why it is not exact. */
export function raiseFlags(
  a: SlotState,
  { flags, namespaces }: Pick<SlotHeader, 'flags' | 'namespaces'>,
): void {
  raiseFlag(a, flags & ~FLAG_NAMESPACES)
  for (const namespace of namespaces) raiseNamespace(a, namespace)
}

/** What EVERYTHING tokens and LANE_EVERYTHING say: 1 is everything, n + 2 is namespace n. */
export function raiseEverything(a: SlotState, what: number): void {
  if (what === 1) raiseFlag(a, FLAG_EVERYTHING)
  else raiseNamespace(a, what - 2)
}

/** Stores the log's count. From here on the keys are in, even if this thread dies. */
export function publishCount(a: SlotState): void {
  const { words, set, openAt } = a
  words[openAt + SLOT_ZERO] = set.zero ? 1 : 0
  Atomics.store(words, openAt + SLOT_COUNT, set.count)
}

/** Stores where the texts end. From here on they are in, even if this thread dies. */
export function publishTexts(a: SlotState): void {
  if (a.words[a.openAt + SLOT_TEXT_END] !== a.texts.end) storeTexts(a)
}

/**
 * The same, also if no text is new. An abandoned step may have left a count without its end, and a
 * superset's count is believed.
 */
export function storeTexts(a: SlotState): void {
  const { words, texts, openAt } = a
  words[openAt + SLOT_TEXT_COUNT] = texts.count
  words[openAt + SLOT_TEXT_BYTES] = texts.bytes
  Atomics.store(words, openAt + SLOT_TEXT_END, texts.end)
}

/** Stores how many bits of the filter are set. No decision on keys depends on it. */
export function publishFill(a: SlotState): void {
  a.words[a.openAt + SLOT_FILL] = a.filter.fill | 0
}
