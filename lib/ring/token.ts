import { CUR, type Layout, type SharedWords } from '../memory/map.js'

/**
 * What the packed words of the protocol hold: each encoder with its decoders. Words of the ring are
 * below 2^30, so that they stay small integers in every engine.
 *
 * ```
 *  EMPTY(lap)        lap << 1                             free for the position of that lap
 *  FULL(lap, token)  token << 2 | (lap & 1) << 1 | 1      taken; by its parity, not the lap before
 *
 *  token, 28 bits    1 | writer | n - 1                   BATCH: the writer's next n keys
 *                                                         (n - 1 takes laneBits)
 *                    0 | kind, 4 bits | payload, 23 bits  all others
 *
 *  CUR               epoch, 19 bits | slot, 4 bits        the open epoch, and its epoch slot
 *  LANE_OWNER        generation, 13 | thread, 17 bits     the lane's owner; thread 0: it is free
 * ```
 *
 * Epochs (19 bits) and generations (13) are truncated. They are compared by signed modular
 * difference or for equality.
 */

// ---------------------------------------------------------------------------------------- position

const POSITION_BITS = 30
const POSITION_MASK = 2 ** POSITION_BITS - 1
/**
 * What is left of a position's bits; one less in a ring of one slot, so that EMPTY words stay below
 * 2^30.
 */
const LAP_BITS_MAX = POSITION_BITS - 1
const LAP_MASK = 2 ** LAP_BITS_MAX - 1

/** Positions are free-running, 30 bits. */
export function advance(position: number, by: number): number {
  return (position + by) & POSITION_MASK
}

/** How far position a is ahead of b; negative: behind. */
export function distance(a: number, b: number): number {
  return ((a - b) << (32 - POSITION_BITS)) >> (32 - POSITION_BITS)
}

/** The lap of a position in a ring of 2^capacityBits slots. */
export function lapOf(position: number, capacityBits: number): number {
  return (position >>> capacityBits) & LAP_MASK
}

// ------------------------------------------------------------------------------ a ring slot's word

export function emptyWord(lap: number): number {
  return (lap & LAP_MASK) << 1
}

export function fullWord(lap: number, token: number): number {
  return (token << 2) | ((lap & 1) << 1) | 1
}

/** Whether a word is FULL, of whichever lap. */
export function isFull(word: number): boolean {
  return (word & 1) === 1
}

/** The token of a FULL word. */
export function tokenOf(word: number): number {
  return word >>> 2
}

/** FULL of this lap. */
export const TAKEN = 0
/** EMPTY of the next lap: a consumer has freed the ring slot. */
export const PASSED = 1
/** FULL of another lap: the lap before, as far as its parity tells. */
export const BEHIND_FULL = 2
/** EMPTY of an earlier lap. */
export const BEHIND_EMPTY = 3
/** A word that the library never writes there. */
export const UNKNOWN = 4

export type SlotState =
  typeof TAKEN | typeof PASSED | typeof BEHIND_FULL | typeof BEHIND_EMPTY | typeof UNKNOWN

/** What a word means to a thread at a position of this lap that did not find EMPTY(lap). */
export function classify(word: number, lap: number, capacityBits: number): SlotState {
  if (word >>> POSITION_BITS !== 0) return UNKNOWN
  if (isFull(word)) return ((word >>> 1) & 1) === (lap & 1) ? TAKEN : BEHIND_FULL
  const unused = 32 - Math.min(POSITION_BITS - capacityBits, LAP_BITS_MAX)
  const laps = (((word >>> 1) - lap) << unused) >> unused
  return laps === 1 ? PASSED : laps < 0 ? BEHIND_EMPTY : UNKNOWN
}

// ----------------------------------------------------------------------------------- a batch token

/** The bit that only batch tokens have. */
export const BATCH = 1 << 27

/** The token for a writer's next `count` keys. One key more is a token larger by 1. */
export function batchToken(layout: Layout, writer: number, count: number): number {
  return BATCH | (writer << layout.laneBits) | (count - 1)
}

export function isBatch(token: number): boolean {
  return (token & BATCH) !== 0
}

/** The writer of a batch token. In a corrupt ring there may be no such writer. */
export function batchWriter(layout: Layout, token: number): number {
  return (token & (BATCH - 1)) >>> layout.laneBits
}

/** The keys of a batch token. */
export function batchCount(layout: Layout, token: number): number {
  return (token & (layout.laneCapacity - 1)) + 1
}

/** Whether a token is a batch of the same writer as this batch token. */
export function isSameWriter(layout: Layout, token: number, other: number): boolean {
  // The two differ in the number of keys alone.
  return (other & -layout.laneCapacity) === (token & -layout.laneCapacity)
}

// --------------------------------------------------------------------------------- a control token

export const KIND_SHIFT = 23
export const PAYLOAD_MASK = (1 << KIND_SHIFT) - 1

/** kindOf(): no token that the library puts into the ring. */
export const NO_KIND = 0
export const SEAL = 1
export const RESTORE = 2
export const EVERYTHING = 3
export const CLOSE = 4
export const REAP = 5
export const STOP = 6
export const POISON = 7
export const NOP = 8

export type ControlKind =
  | typeof SEAL
  | typeof RESTORE
  | typeof EVERYTHING
  | typeof CLOSE
  | typeof REAP
  | typeof STOP
  | typeof POISON
  | typeof NOP

export function controlToken(kind: ControlKind, payload: number): number {
  return (kind << KIND_SHIFT) | payload
}

/** The kind of a control token. NO_KIND for a batch, and for what is not a token. */
export function kindOf(token: number): ControlKind | typeof NO_KIND {
  const kind = token >>> KIND_SHIFT
  return kind <= NOP ? (kind as ControlKind | typeof NO_KIND) : NO_KIND
}

export function payloadOf(token: number): number {
  return token & PAYLOAD_MASK
}

export const EPOCH_BITS = 19
export const EPOCH_MASK = (1 << EPOCH_BITS) - 1

/**
 * Payload of SEAL (the epoch that begins, and its epoch slot) and of RESTORE (the epoch that is
 * given back, and its epoch slot).
 */
export function epochPayload(slot: number, epoch: number): number {
  return (slot << EPOCH_BITS) | (epoch & EPOCH_MASK)
}

export function slotOfPayload(payload: number): number {
  return payload >>> EPOCH_BITS
}

export function epochOfPayload(payload: number): number {
  return payload & EPOCH_MASK
}

/** How far epoch a (truncated) is ahead of b. */
export function epochDistance(a: number, b: number): number {
  return ((a - b) << (32 - EPOCH_BITS)) >> (32 - EPOCH_BITS)
}

export const GENERATION_BITS = 13
export const GENERATION_MASK = (1 << GENERATION_BITS) - 1

/** Payload of CLOSE and REAP. */
export function writerPayload(writer: number, generation: number): number {
  return (writer << GENERATION_BITS) | (generation & GENERATION_MASK)
}

export function writerOfPayload(payload: number): number {
  return payload >>> GENERATION_BITS
}

export function generationOfPayload(payload: number): number {
  return payload & GENERATION_MASK
}

// --------------------------------------------------------------------------------------------- CUR

const SLOT_BITS = 4
const SLOT_MASK = (1 << SLOT_BITS) - 1

/** The CUR word for an epoch in an epoch slot. */
export function curWord(epoch: number, slot: number): number {
  return ((epoch & EPOCH_MASK) << SLOT_BITS) | slot
}

export function readCur(words: SharedWords): number {
  return Atomics.load(words, CUR)
}

/** Whether curWord() can have made the word. */
export function isCur(cur: number): boolean {
  return cur >>> (EPOCH_BITS + SLOT_BITS) === 0
}

export function slotOfCur(cur: number): number {
  return cur & SLOT_MASK
}

/** The epoch of a CUR word, truncated. */
export function epochOfCur(cur: number): number {
  return (cur >>> SLOT_BITS) & EPOCH_MASK
}

// -------------------------------------------------------------------------------------- LANE_OWNER

export const THREAD_BITS = 17
export const THREAD_MASK = (1 << THREAD_BITS) - 1

/** The low bits of an owner word for a thread. Two threads may have the same ones. */
export function ownerBits(threadId: number): number {
  return (threadId % (2 ** THREAD_BITS - 1)) + 1
}

/** The owner word of a free lane. */
export function freeOwner(generation: number): number {
  return (generation & GENERATION_MASK) << THREAD_BITS
}

export function isOwned(owner: number): boolean {
  return (owner & THREAD_MASK) !== 0
}

/** Whether the low bits of an owner word are those of a thread. */
export function isOwnedBy(owner: number, threadId: number): boolean {
  return (owner & THREAD_MASK) === ownerBits(threadId)
}

export function generationOf(owner: number): number {
  return owner >>> THREAD_BITS
}

/** In a lane's text ring: behind the last text. Otherwise the word is a tag (ring/lane.ts). */
export const NO_TEXT = 0
