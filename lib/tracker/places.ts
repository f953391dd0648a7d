import type { Plan } from '../memory/plan.js'
import { mergeWord } from '../memory/plan.js'

/**
 * Where a named consumer's epochs are: numbers of epoch slots; -1: none. One that is in hand, and
 * one backlog, in which the aggregator unites what was sealed meanwhile.
 *
 * A slot is free once the last token that reads it is in the queue, by order: each later use of it
 * is a later token, and the aggregator makes the merges of a cut before it seals again. So the
 * tracker waits for no answer.
 */
export interface Place {
  /** Promised by a cut, or handed out and not settled. */
  held: number
  backlog: number
  /** Given back while there was a backlog: the next cut unites the two. */
  older: number
  /** The number of the epoch whose cut gave it its slot in hand, or else its backlog. */
  begun: number
  /**
   * It stands nowhere yet: its next epoch says that everything has changed. Before that one is in
   * its hand, no key is kept for it.
   */
  isFresh: boolean
  /** Its owner has closed it: only what it holds is left of it. */
  isClosed: boolean
  /** The number of the namespaces that it wants; -1: all. It is handed no slot that has others. */
  readonly choice: number
  /** The namespaces themselves; undefined: all. */
  readonly wanted: readonly number[] | undefined
  /** A plan may have named its choice. */
  isPlanned: boolean
}

export function newPlace(isFresh: boolean, choice = -1, wanted?: readonly number[]): Place {
  return {
    held: -1,
    backlog: -1,
    older: -1,
    begun: -1,
    isFresh,
    isClosed: false,
    choice,
    wanted,
    isPlanned: false,
  }
}

/** A cut: the plan for the aggregator, and where everything is once the token is in the ring. */
export interface PlannedCut extends Plan {
  /** The slot of the next open epoch. */
  readonly open: number
  /** The slot that the cutting place is promised; -1 without one. */
  readonly promised: number
  readonly backlogs: readonly (readonly [Place, number])[]
  readonly free: readonly number[]
}

/**
 * Plans a cut. The place that cuts gets what was sealed, and its backlog with it if there is one.
 * All others get it into their backlogs. One that has none gets the sealed slot itself, without a
 * copy, if that is left over. Returns undefined if there are too few slots, which only a cut without
 * a place meets: each place has two, and two are shared.
 */
export function planCut(
  places: readonly Place[],
  sealed: number,
  freeSlots: readonly number[],
  cutter: Place | undefined,
): PlannedCut | undefined {
  const free = [...freeSlots]
  const open = free.pop()
  if (open === undefined) return undefined
  const merges: number[] = []
  const released: number[] = []
  let promised = -1
  let isSealedTaken = false
  if (cutter !== undefined) {
    const { backlog, older, choice } = cutter
    if (backlog >= 0) {
      promised = backlog
      merges.push(mergeWord(sealed, promised, false, choice))
    } else if (choice < 0) {
      promised = sealed
      isSealedTaken = true
    } else {
      const next = free.pop()
      if (next === undefined) return undefined
      promised = next
      merges.push(mergeWord(sealed, promised, true, choice))
    }
    if (older >= 0) {
      merges.push(mergeWord(older, promised, false, choice))
      released.push(older)
    }
  }
  const own = merges.length
  const backlogs: [Place, number][] = []
  for (const place of places) {
    if (place === cutter || place.isClosed || (place.isFresh && place.held < 0)) continue
    let target = place.backlog
    if (target >= 0) merges.push(mergeWord(sealed, target, false, place.choice))
    else if (!isSealedTaken && place.choice < 0) {
      target = sealed
      isSealedTaken = true
    } else {
      const next = free.pop()
      if (next === undefined) return undefined
      target = next
      merges.push(mergeWord(sealed, target, true, place.choice))
    }
    backlogs.push([place, target])
  }
  if (!isSealedTaken) released.push(sealed)
  return { merges, own, open, promised, backlogs, free: [...free, ...released] }
}

/**
 * Plans the last epoch: it goes into each backlog. A place without a backlog gets it as it is, and
 * several may, because no slot is used again. One that wants some namespaces only gets a slot for
 * them.
 */
export function planLast(
  places: readonly Place[],
  sealed: number,
  freeSlots: readonly number[],
): Plan & Pick<PlannedCut, 'backlogs' | 'free'> {
  const free = [...freeSlots]
  const merges: number[] = []
  const backlogs: [Place, number][] = []
  for (const place of places) {
    const { backlog, older, isClosed, choice } = place
    if (isClosed || (backlog < 0 && choice < 0)) continue
    const target = backlog < 0 ? free.pop()! : backlog
    merges.push(mergeWord(sealed, target, backlog < 0, choice))
    if (older >= 0) merges.push(mergeWord(older, target, false, choice))
    backlogs.push([place, target])
  }
  return { merges, own: merges.length, backlogs, free }
}
