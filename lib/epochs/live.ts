import type { SharedWords } from '../memory/map.js'
import { TEXT_HEADER, wordsFor } from '../memory/table-size.js'
import { type Filter, filterHas } from '../set/filter.js'
import { homeOf, type SetState } from '../set/kernel.js'
import { HEAD_AT, textBytesOf, type TextSet } from '../set/text-set.js'

/**
 * How a thread reads an epoch that another thread may settle meanwhile. When it is settled, its
 * slot may be used again, and any word of it may be of another epoch. So a reader takes words into
 * its own memory, asks whether the epoch was still live after that, and believes none of them if it
 * was not. Until then a word may be anything: it must lead neither out of the slot nor into a loop
 * without an end.
 *
 * Plain functions over plain records, so that the checker runs them as they are.
 */
export interface LiveSlot {
  readonly words: SharedWords
  /** Word index of the SLOT_STAMP. */
  readonly stampAt: number
  /** The epoch's stamp. 0: the slot is never used again, and needs no stamp. */
  readonly stamp: number
}

/**
 * Whether all that this thread has read of the slot up to here is of the epoch.
 *
 * The `or` changes nothing. It is a read-modify-write, because a load could come before the reads,
 * on hardware that orders little: a load keeps only what follows it from coming before it. When the
 * tracker's thread takes the stamp back, its exchange sees the `or`, and everything before it.
 */
export function isLive({ words, stampAt, stamp }: LiveSlot): boolean {
  return stamp === 0 || Atomics.or(words, stampAt, 0) === stamp
}

/** Copies words[at .. at + count) to into[to ..). They may be of another epoch. */
export function copyWords(
  words: SharedWords,
  at: number,
  into: Int32Array,
  to: number,
  count: number,
): void {
  for (let i = 0; i < count; i++) into[to + i] = words[at + i]
}

/** Copies a block, and returns whether it is of the epoch. */
export function copyBlock(live: LiveSlot, at: number, into: Int32Array, count: number): boolean {
  copyWords(live.words, at, into, 0, count)
  return isLive(live)
}

export const ABSENT = 0
export const PRESENT = 1
/** The epoch is settled: there is no answer. */
export const SETTLED = 2

export type Answer = typeof ABSENT | typeof PRESENT | typeof SETTLED

/** Looks for a number, as contains() of set/kernel.ts does, with as many probes as there are cells. */
export function findNumber(live: LiveSlot, set: SetState, lo: number, hi: number): Answer {
  const { words, table, shift } = set
  const mask = (1 << (32 - shift)) - 1
  let answer: Answer = (lo | hi) === 0 && set.zero ? PRESENT : ABSENT
  let x = homeOf(set, shift, lo, hi)
  for (let probes = (lo | hi) === 0 ? mask + 1 : 0; probes <= mask; probes++) {
    const a = words[table + (x << 1)]
    const b = words[table + (x << 1) + 1]
    if ((a | b) === 0) break
    if (a === lo && b === hi) {
      answer = PRESENT
      break
    }
    x = (x + 1) & mask
  }
  return isLive(live) ? answer : SETTLED
}

/**
 * Looks for a text, as containsText() of set/text-set.ts does, with as many probes as there are
 * cells, and looks at no place outside of the arena. `key` is the text in the caller's own memory,
 * its payload begins at `key[0]`; `hash` is its keyed hash.
 */
export function findText(
  live: LiveSlot,
  set: TextSet,
  key: Int32Array,
  head: number,
  hash: number,
): Answer {
  const { words, arena, table, shift, end } = set
  const mask = (1 << (32 - shift)) - 1
  const payload = wordsFor(textBytesOf(head))
  const farthest = end - payload - TEXT_HEADER
  let answer: Answer = ABSENT
  let x = hash >>> shift
  for (let probes = 0; probes <= mask; probes++) {
    const place = words[table + (x << 1)]
    if (place === 0) break
    if (words[table + (x << 1) + 1] === hash && place > 0 && place - 1 <= farthest) {
      const record = arena + place - 1
      if (words[record + HEAD_AT] === head) {
        let k = 0
        while (k < payload && words[record + TEXT_HEADER + k] === key[k]) k++
        if (k === payload) {
          answer = PRESENT
          break
        }
      }
    }
    x = (x + 1) & mask
  }
  return isLive(live) ? answer : SETTLED
}

/** Looks for a pair in the filter of a superset. */
export function findFiltered(live: LiveSlot, filter: Filter, lo: number, hi: number): Answer {
  const answer = filterHas(filter, lo, hi) ? PRESENT : ABSENT
  return isLive(live) ? answer : SETTLED
}
