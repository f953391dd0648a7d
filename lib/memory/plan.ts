import { corruption } from '../errors.js'
import {
  choiceAt,
  CHOICES_MAX,
  NAMESPACES_MAX,
  PLAN_CHECK,
  PLAN_COUNTS,
  PLAN_MERGES,
  PLAN_MERGES_MAX,
  planAt,
  type SharedWords,
} from './map.js'
import { mixed } from './slot.js'

/**
 * What becomes of an epoch that is sealed, where there are named consumers: which epoch slots are
 * merged into which others, one after the other. The tracker makes the plan when the cut is made,
 * and stores it before the token. The aggregator carries it out behind the cut.
 */
export interface Plan {
  /** mergeWord() of each merge. */
  readonly merges: readonly number[]
  /** So many of them come first: the epoch that is handed out waits for these only. */
  readonly own: number
}

/**
 * Puts what is in one slot into another. isNew: what the other slot holds is of no use any more.
 * choice: the number of the namespaces that are wanted; -1: all.
 */
export function mergeWord(source: number, target: number, isNew: boolean, choice: number): number {
  return source | (target << 4) | (isNew ? 1 << 8 : 0) | ((choice + 1) << 9)
}

export function sourceOf(merge: number): number {
  return merge & 15
}

export function targetOf(merge: number): number {
  return (merge >>> 4) & 15
}

export function isNewTarget(merge: number): boolean {
  return ((merge >>> 8) & 1) === 1
}

export function choiceOf(merge: number): number {
  return (merge >>> 9) - 1
}

const INDEX_BITS = 4
const INDEX_MASK = (1 << INDEX_BITS) - 1
/** Of epoch + 1, and of how many merges are made. */
const JOB_BITS = 20 + INDEX_BITS
/** Below 2^6, and no divisor of a power of two: every changed bit changes the remainder. */
const JOB_CHECK = 63

/**
 * The word JOB: the plan of an epoch (mod 2^19), and how many of its merges are made. A check
 * stands beside them, because a wrong word would leave merges out.
 */
export function jobWord(epoch: number, index: number): number {
  const job = ((epoch + 1) << INDEX_BITS) | index
  return job | ((job % JOB_CHECK) << JOB_BITS)
}

/** Whether jobWord() can have made the word. */
export function isJob(word: number): boolean {
  return word > 0 && word === jobWord(epochOfJob(word), indexOfJob(word))
}

/** The epoch (mod 2^19) of a JOB word; -1: there was no plan yet. */
export function epochOfJob(word: number): number {
  return ((word & ((1 << JOB_BITS) - 1)) >>> INDEX_BITS) - 1
}

/** How many merges of that epoch's plan are made. */
export function indexOfJob(word: number): number {
  return word & INDEX_MASK
}

/** The tracker: stores which namespaces a consumer wants, before a plan names that choice. */
export function storeChoice(
  words: SharedWords,
  choice: number,
  namespaces: readonly number[],
): void {
  const at = choiceAt(choice)
  words[at] = checkOfChoice(namespaces)
  words[at + 1] = namespaces.length
  for (let i = 0; i < namespaces.length; i++) words[at + 2 + i] = namespaces[i]
}

function checkOfChoice(namespaces: readonly number[]): number {
  let check = namespaces.length
  for (const namespace of namespaces) check = mixed(check, namespace)
  return check | 1
}

/**
 * The aggregator: the namespaces of a choice.
 *
 * @throws ERR_DIRTYRING_CORRUPT if they are not what the tracker stored.
 */
export function readChoice(words: SharedWords, choice: number): readonly number[] {
  const at = choiceAt(choice)
  const count = choice < CHOICES_MAX ? words[at + 1] : -1
  if (count < 1 || count > NAMESPACES_MAX)
    throw corruption(`choice ${choice} has ${count} namespaces`)
  const namespaces: number[] = []
  for (let i = 0; i < count; i++) namespaces.push(words[at + 2 + i])
  if (words[at] !== checkOfChoice(namespaces))
    throw corruption(`choice ${choice} is not what the tracker stored`)
  return namespaces
}

/**
 * The tracker: stores the plan of an epoch (mod 2^19), before the token that seals the epoch goes
 * out. That token's exchange orders these stores.
 */
export function storePlan(words: SharedWords, epoch: number, plan: Plan): void {
  const at = planAt(epoch)
  const { merges, own } = plan
  words[at + PLAN_COUNTS] = merges.length | (own << 8)
  for (let i = 0; i < merges.length; i++) words[at + PLAN_MERGES + i] = merges[i]
  words[at + PLAN_CHECK] = checkOfPlan(words, at, epoch, merges.length)
}

/**
 * The plan of an epoch.
 *
 * @throws ERR_DIRTYRING_CORRUPT if the plan is not what the tracker stored for that epoch.
 */
export function readPlan(words: SharedWords, epoch: number): Plan {
  const at = planAt(epoch)
  const counts = words[at + PLAN_COUNTS]
  const count = counts & 0xff
  if (!hasPlan(words, epoch))
    throw corruption(`the plan of epoch ${epoch} (mod 2^19) is not what the tracker stored`)
  const merges: number[] = []
  for (let i = 0; i < count; i++) merges.push(words[at + PLAN_MERGES + i])
  return { merges, own: counts >>> 8 }
}

/** Whether the tracker has stored a plan of that epoch, and no other one over it. */
export function hasPlan(words: SharedWords, epoch: number): boolean {
  const at = planAt(epoch)
  const count = words[at + PLAN_COUNTS] & 0xff
  return count <= PLAN_MERGES_MAX && words[at + PLAN_CHECK] === checkOfPlan(words, at, epoch, count)
}

function checkOfPlan(words: SharedWords, at: number, epoch: number, count: number): number {
  let check = mixed(epoch, words[at + PLAN_COUNTS])
  for (let i = 0; i < count; i++) check = mixed(check, words[at + PLAN_MERGES + i])
  return check | 1
}
