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
}

export function newPlace(isFresh: boolean): Place {
  return { held: -1, backlog: -1, older: -1, begun: -1, isFresh, isClosed: false }
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
    const { backlog, older } = cutter
    if (backlog >= 0) merges.push(mergeWord(sealed, backlog, false))
    else isSealedTaken = true
    promised = backlog >= 0 ? backlog : sealed
    if (older >= 0) {
      merges.push(mergeWord(older, promised, false))
      released.push(older)
    }
  }
  const own = merges.length
  const backlogs: [Place, number][] = []
  for (const place of places) {
    if (place === cutter || place.isClosed || (place.isFresh && place.held < 0)) continue
    let target = place.backlog
    if (target >= 0) merges.push(mergeWord(sealed, target, false))
    else if (!isSealedTaken) {
      target = sealed
      isSealedTaken = true
    } else {
      const next = free.pop()
      if (next === undefined) return undefined
      target = next
      merges.push(mergeWord(sealed, target, true))
    }
    backlogs.push([place, target])
  }
  if (!isSealedTaken) released.push(sealed)
  return { merges, own, open, promised, backlogs, free: [...free, ...released] }
}

/**
 * Plans the last epoch: it goes into each backlog. A place without a backlog gets it as it is, and
 * several may, because no slot is used again.
 */
export function planLast(places: readonly Place[], sealed: number): Plan {
  const merges: number[] = []
  for (const { backlog, older, isClosed } of places) {
    if (isClosed || backlog < 0) continue
    merges.push(mergeWord(sealed, backlog, false))
    if (older >= 0) merges.push(mergeWord(older, backlog, false))
  }
  return { merges, own: merges.length }
}
