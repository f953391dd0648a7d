/**
 * What a ring slot's word says. Words are below 2^30, so that they stay small integers in every
 * engine.
 *
 * ```
 *  EMPTY(lap)        lap << 1                              free for the position of that lap
 *  FULL(lap, token)  token << 2 | (lap & 1) << 1 | 1       taken; the lap's parity tells it from the lap before
 *
 *  token, 28 bits    1 | writer | n - 1                    BATCH: the next n keys of that writer's lane (n - 1 in laneBits)
 *                    0 | kind, 4 bits | payload, 23 bits   all others
 * ```
 *
 * Epochs (19 bits) and generations (13) in payloads are truncated; they are compared by signed
 * modular difference or for equality.
 */

const POSITION_BITS = 30
const POSITION_MASK = 2 ** POSITION_BITS - 1
/**
 * What is left of a position's bits; one less in a ring of one slot, so that EMPTY words stay below
 * 2^30.
 */
const LAP_BITS_MAX = POSITION_BITS - 1
const LAP_MASK = 2 ** LAP_BITS_MAX - 1

export const BATCH = 1 << 27
export const KIND_SHIFT = 23
export const PAYLOAD_MASK = (1 << KIND_SHIFT) - 1

export const SEAL = 1
export const RESTORE = 2
export const EVERYTHING = 3
export const CLOSE = 4
export const REAP = 5
export const STOP = 6
export const POISON = 7
export const NOP = 8

export const EPOCH_BITS = 19
export const EPOCH_MASK = (1 << EPOCH_BITS) - 1
export const GENERATION_BITS = 13
export const GENERATION_MASK = (1 << GENERATION_BITS) - 1
export const THREAD_BITS = 17
export const THREAD_MASK = (1 << THREAD_BITS) - 1

export function controlToken(kind: number, payload: number): number {
  return (kind << KIND_SHIFT) | payload
}

/**
 * Payload of SEAL (the epoch that begins, and its slot) and of RESTORE (the epoch that is given
 * back, and its slot).
 */
export function epochPayload(slot: number, epoch: number): number {
  return (slot << EPOCH_BITS) | (epoch & EPOCH_MASK)
}

/** Payload of CLOSE and REAP. */
export function writerPayload(writer: number, generation: number): number {
  return (writer << GENERATION_BITS) | (generation & GENERATION_MASK)
}

/** Positions are free-running, 30 bits. */
export function advance(position: number, by: number): number {
  return (position + by) & POSITION_MASK
}

/** How far position a is ahead of b; negative: behind. */
export function distance(a: number, b: number): number {
  return ((a - b) << (32 - POSITION_BITS)) >> (32 - POSITION_BITS)
}

/** How far epoch a (truncated) is ahead of b. */
export function epochDistance(a: number, b: number): number {
  return ((a - b) << (32 - EPOCH_BITS)) >> (32 - EPOCH_BITS)
}

/** The lap of a position in a ring of 2^capacityBits slots. */
export function lapOf(position: number, capacityBits: number): number {
  return (position >>> capacityBits) & LAP_MASK
}

export function emptyWord(lap: number): number {
  return (lap & LAP_MASK) << 1
}

export function fullWord(lap: number, token: number): number {
  return (token << 2) | ((lap & 1) << 1) | 1
}

export function tokenOf(word: number): number {
  return word >>> 2
}

/**
 * What a slot's word means to somebody who is at a position of this lap and did not find
 * EMPTY(lap).
 */
export const TAKEN = 0
export const PASSED = 1
export const BEHIND_FULL = 2
export const BEHIND_EMPTY = 3
export const UNKNOWN = 4

export function classify(word: number, lap: number, capacityBits: number): number {
  if (word >>> POSITION_BITS !== 0) return UNKNOWN
  if ((word & 1) === 1) return ((word >>> 1) & 1) === (lap & 1) ? TAKEN : BEHIND_FULL
  const unused = 32 - Math.min(POSITION_BITS - capacityBits, LAP_BITS_MAX)
  const laps = (((word >>> 1) - lap) << unused) >> unused
  return laps === 1 ? PASSED : laps < 0 ? BEHIND_EMPTY : UNKNOWN
}
