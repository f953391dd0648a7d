import { badHandle, isRevoked } from '../errors.js'
import { checkVersion } from '../memory/handle.js'
import { FLAG_FRESH, NAMESPACES_MAX } from '../memory/map.js'
import { attachMemory, handleKind, type Memory } from '../memory/memory.js'
import { faultOf, type SlotHeader } from '../memory/slot.js'

/**
 * What travels to other threads of this process, in workerData or postMessage, for
 * {@link attachEpoch} there.
 */
export interface EpochHandle {
  /** At compile time only, so that no other object is taken for a handle. */
  readonly __brand: 'dirtyring.EpochHandle'
}

/** The numbers in a handle. The flags are there as numbers too. */
const NUMBERS = [
  'id',
  'slot',
  'isKept',
  'count',
  'growth',
  'zero',
  'flags',
  'textEnd',
  'textGrowth',
  'textCount',
  'textBytes',
  'form',
  'fill',
] as const

type Numbers = Readonly<Record<(typeof NUMBERS)[number], number>>

/** What a handle says. */
export interface EpochParts {
  readonly id: number
  /** -1: the epoch was settled from the beginning, and never had one. */
  readonly slot: number
  /** The slot is never used again. */
  readonly isKept: boolean
  readonly header: SlotHeader
  /** Undefined for an exact epoch without keys, which has no slot. */
  readonly memory: Memory | undefined
}

function isEmpty({ flags, count, textCount }: SlotHeader): boolean {
  return flags === 0 && count + textCount === 0
}

/** The handle of a sealed epoch. All that is known of it but its keys travels by value. */
export function epochHandleOf(
  memory: Memory,
  slot: number,
  id: number,
  header: SlotHeader,
  isKept: boolean,
): EpochHandle {
  const numbers: Numbers = {
    id,
    slot,
    isKept: isKept ? 1 : 0,
    ...header,
    zero: header.zero ? 1 : 0,
  }
  const [namespaces, wanted] = [[...header.namespaces], header.wanted]
  const buffer = isEmpty(header) ? undefined : memory.words.buffer
  const { versionName, version } = handleKind('epoch')
  const handle: unknown = { [versionName]: version, buffer, ...numbers, namespaces, wanted }
  return handle as EpochHandle
}

/**
 * Checks a handle that some thread sent.
 *
 * @throws TypeError `ERR_DIRTYRING_BAD_HANDLE`, `ERR_DIRTYRING_VERSION`
 */
export function readEpochHandle(handle: unknown): EpochParts {
  const numbers = numbersOf(handle)
  const namespaces = namespacesOf(handle, 'namespaces')
  const wanted = namespacesOf(handle, 'wanted')
  if (numbers === undefined || namespaces === undefined) {
    attachMemory(handle, 'epoch') // says more about what is wrong, if the memory is
    throw badHandle('"handle" must be epoch.handle, got one without what was known of the epoch')
  }
  const { id, slot, isKept, zero, ...counts } = numbers
  const header: SlotHeader = { ...counts, zero: zero === 1, namespaces, wanted }
  if (isEmpty(header)) {
    const kind = handleKind('epoch')
    checkVersion((handle as Readonly<Record<string, unknown>>)[kind.versionName], kind)
    return { id, slot, isKept: false, header, memory: undefined }
  }
  const memory = attachMemory(handle, 'epoch')
  const { layout } = memory
  const stored = { ...header, flags: header.flags & ~FLAG_FRESH }
  const exists = slot >= 0 && slot < layout.epochSlots
  const fault = exists ? faultOf(layout, stored) : 'does not exist'
  if (fault === undefined) return { id, slot, isKept: isKept === 1, header, memory }
  throw badHandle(`"handle" must be epoch.handle, got one whose epoch slot ${slot} ${fault}`)
}

/** The numbers of a handle, or undefined if some are missing, not whole or too small. */
function numbersOf(handle: unknown): Numbers | undefined {
  if (typeof handle !== 'object' || handle === null || isRevoked(handle)) return undefined
  const given = handle as Readonly<Record<string, unknown>>
  const numbers: Partial<Record<keyof Numbers, number>> = {}
  for (const name of NUMBERS) {
    const value = given[name]
    if (!Number.isSafeInteger(value) || (value as number) < (name === 'slot' ? -1 : 0))
      return undefined
    numbers[name] = value as number
  }
  return numbers as Numbers
}

/** One of the two lists of namespaces in a handle, or undefined if it is not there. */
function namespacesOf(
  handle: unknown,
  name: 'namespaces' | 'wanted',
): readonly number[] | undefined {
  if (typeof handle !== 'object' || handle === null || isRevoked(handle)) return undefined
  const list = (handle as Readonly<Record<string, unknown>>)[name]
  if (!Array.isArray(list) || list.length > NAMESPACES_MAX) return undefined
  return list.every(Number.isSafeInteger) ? (list as readonly number[]) : undefined
}
