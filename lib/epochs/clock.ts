import { type SharedWords, TRACKER_ID, TRACKER_ID_2 } from '../memory/map.js'

/**
 * A position in the epochs of one tracker: what lies before it is dealt with. A consumer stores it
 * with its own data, and gives it to {@link DirtyTracker.consumer} after a restart. An opaque
 * string of at most 40 characters, for this tracker's instance only.
 */
export type Clock = string

const FORM = /^([0-9a-f]{16})\.(-1|0|[1-9][0-9]{0,15})$/

/** The clock of a consumer that has dealt with all epochs up to this one; -1: with none. */
export function clockOf(words: SharedWords, epoch: number): Clock {
  return `${instanceOf(words)}.${epoch}`
}

/** The two parts of a clock; undefined for any other text. */
export function readClock(clock: Clock): { instance: string; epoch: number } | undefined {
  const [, instance, epoch] = FORM.exec(clock) ?? []
  return instance === undefined ? undefined : { instance, epoch: Number(epoch) }
}

/** The epoch of a clock; undefined for a clock of another tracker, and for any other text. */
export function epochOfClock(words: SharedWords, clock: Clock): number | undefined {
  const read = readClock(clock)
  return read?.instance === instanceOf(words) ? read.epoch : undefined
}

/** What the clocks of a tracker begin with. */
export function instanceOf(words: SharedWords): string {
  return hex(words[TRACKER_ID]) + hex(words[TRACKER_ID_2])
}

function hex(word: number): string {
  return (word >>> 0).toString(16).padStart(8, '0')
}
