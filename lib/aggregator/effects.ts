import {
  BATCHES,
  CUR,
  epochAt,
  FLAG_EVERYTHING,
  FLAG_FAULT,
  FLAG_OVERFLOW,
  HARVESTED,
  INTENT_BATCHES,
  INTENT_COUNT,
  INTENT_DELIVERED,
  INTENT_HARVESTED,
  INTENT_KEYS,
  INTENT_START,
  INTENT_TOKENS,
  KEYS,
  LANE_DELIVERED,
  LANE_HARVESTED,
  LANE_KEYS,
  LANE_OWNER,
  LANE_PARENT,
  LANE_READ_END,
  LANE_STAGED_END,
  LANE_THREAD,
  SLOT_COUNT,
  SLOT_FLAGS,
  SLOT_GROWTH,
  SLOT_RESTORED,
  SLOT_ZERO,
  STOP_POSITION,
  STOPPED,
  type Layout,
} from '../memory/map.js'
import { setTotal } from '../memory/total.js'
import {
  advance,
  BATCH,
  CLOSE,
  EPOCH_BITS,
  EPOCH_MASK,
  epochDistance,
  EVERYTHING,
  GENERATION_MASK,
  KIND_SHIFT,
  NOP,
  PAYLOAD_MASK,
  REAP,
  RESTORE,
  SEAL,
  STOP,
  THREAD_BITS,
} from '../ring/token.js'
import { insertRun } from '../set/kernel.js'
import { curWord, enterEpoch, reindex, setCells, type Aggregator } from './state.js'
import { clearTable, reportProgress } from './table.js'
import { signal } from './wake.js'

/** BATCH(writer, n), as many of them as the intent says: the writer's next keys into the open epoch. */
export function takeBatches(a: Aggregator, token: number, lane: number): void {
  const { words, memory } = a
  if (lane < 0) throw new Error(`a batch names a writer that is not below ${memory.layout.maxWriters}: token ${token}`)
  const start = words[INTENT_START]
  if (words[lane + LANE_READ_END] !== start) return // done, by a predecessor that died before it freed the slots
  const count = words[INTENT_COUNT]
  if (!holds(a, token, lane, count)) {
    throw new Error(`a batch of ${count} keys, where its lane holds ${(words[lane + LANE_STAGED_END] - start) | 0}`)
  }
  insertLane(a, lane, start, count)
  publishCount(a)
  passBatches(a, lane)
}

/** Keys of a BATCH token. */
export function batchLength(layout: Layout, token: number): number {
  return (token & (layout.laneCapacity - 1)) + 1
}

/** Whether a lane holds so many keys from INTENT_START on. */
export function holds(a: Aggregator, token: number, lane: number, count: number): boolean {
  const { words } = a
  const { layout } = a.memory
  const start = words[INTENT_START]
  const writer = (token & (BATCH - 1)) >>> layout.laneBits
  if (((a.stagedSeen[writer] - start) | 0) >= count) return true
  const staged = words[lane + LANE_STAGED_END]
  const there = (staged - start) | 0
  if (there < count || there > layout.laneCapacity) return false
  a.stagedSeen[writer] = staged
  return true
}

/** The batches are over: count them, and give their writer room. */
function passBatches(a: Aggregator, lane: number): void {
  const { words } = a
  setTotal(words, BATCHES, INTENT_BATCHES, words[INTENT_TOKENS])
  setTotal(words, KEYS, INTENT_KEYS, words[INTENT_COUNT])
  passKeys(a, lane, words[INTENT_COUNT])
}

function passKeys(a: Aggregator, lane: number, n: number): void {
  const { words } = a
  setTotal(words, lane + LANE_DELIVERED, INTENT_DELIVERED, n)
  Atomics.store(words, lane + LANE_READ_END, (words[INTENT_START] + n) | 0)
}

/** All other tokens. Each can be done again from the top: its own guard says what was done. */
export function takeControl(a: Aggregator, token: number, lane: number): void {
  const payload = token & PAYLOAD_MASK
  switch (token >>> KIND_SHIFT) {
    case SEAL:
      seal(a, payload >>> EPOCH_BITS, payload & EPOCH_MASK)
      break
    case RESTORE:
      restore(a, payload >>> EPOCH_BITS, payload & EPOCH_MASK)
      break
    case EVERYTHING:
      a.words[a.slotAt + SLOT_FLAGS] |= FLAG_EVERYTHING
      break
    case CLOSE:
    case REAP:
      free(a, lane, payload & GENERATION_MASK)
      break
    case STOP:
      if (a.stopPosition >= 0) break
      Atomics.store(a.words, STOPPED, 1)
      Atomics.store(a.words, STOP_POSITION, advance(a.head, 1) + 1)
      a.stopPosition = advance(a.head, 1)
      break
    case NOP:
      break
    default:
      throw new Error(`a token of no known kind: ${token}`)
  }
  signal(a)
}

/** SEAL(slot, epoch): what comes after it belongs to `epoch`, in `slot`. The cut was made by whoever put the token into the ring; this executes it. */
function seal(a: Aggregator, slot: number, epoch: number): void {
  const { words, memory } = a
  if (epochDistance(a.epoch, epoch) >= 0) return
  if (slot >= memory.layout.epochSlots || slot === a.slot) throw new Error(`a seal names slot ${slot} while slot ${a.slot} is open`)
  const at = epochAt(memory.layout, slot)
  words[at + SLOT_ZERO] = 0
  words[at + SLOT_FLAGS] = 0
  words[at + SLOT_GROWTH] = 0
  Atomics.store(words, at + SLOT_COUNT, 0)
  Atomics.store(words, at + SLOT_RESTORED, 0)
  const table = at + memory.layout.table
  for (let i = 0; i < memory.layout.smallestTable * 2; i++) words[table + i] = 0
  a.lastGrowth = words[a.slotAt + SLOT_GROWTH]
  const cur = curWord(epoch, slot)
  Atomics.store(words, CUR, cur)
  enterEpoch(a, cur)
  a.set.zero = false
}

/** RESTORE(slot, epoch): a sealed epoch's keys, and its reasons not to be exact, into the open one. */
function restore(a: Aggregator, slot: number, epoch: number): void {
  const { words, memory } = a
  if (slot >= memory.layout.epochSlots || slot === a.slot) throw new Error(`a restore names slot ${slot} while slot ${a.slot} is open`)
  const at = epochAt(memory.layout, slot)
  if (Atomics.load(words, at + SLOT_RESTORED) === epoch + 1) return
  const log = at + memory.layout.log
  insertKeys(a, log, log + Atomics.load(words, at + SLOT_COUNT) * 2)
  publishCount(a)
  words[a.slotAt + SLOT_FLAGS] |= words[at + SLOT_FLAGS]
  Atomics.store(words, at + SLOT_RESTORED, epoch + 1)
}

/** CLOSE and REAP(writer, generation): harvest what the writer staged and did not publish, and free its lane. */
function free(a: Aggregator, lane: number, generation: number): void {
  const { words, memory } = a
  if (lane < 0) throw new Error(`a token frees a writer that is not below ${memory.layout.maxWriters}`)
  const owner = Atomics.load(words, lane + LANE_OWNER)
  if (owner >>> THREAD_BITS !== generation) return
  const start = words[INTENT_START]
  const n = (words[lane + LANE_STAGED_END] - start) | 0
  if (n < 0 || n > memory.layout.laneCapacity) throw new Error(`a lane holds ${n} keys, of ${memory.layout.laneCapacity} that it can`)
  insertLane(a, lane, start, n)
  publishCount(a)
  setTotal(words, HARVESTED, INTENT_HARVESTED, n)
  passKeys(a, lane, n)
  freeLane(a, lane, owner, n)
}

function freeLane(a: Aggregator, lane: number, owner: number, harvested: number): void {
  const generation = owner >>> THREAD_BITS
  a.words[lane + LANE_HARVESTED] = harvested
  Atomics.store(a.words, lane + LANE_PARENT, 0)
  Atomics.store(a.words, lane + LANE_THREAD, 0)
  Atomics.compareExchange(a.words, lane + LANE_OWNER, owner, ((generation + 1) & GENERATION_MASK) << THREAD_BITS)
}

/** Give up on a token that failed again and again: the epoch says so, and nobody waits for it for ever. */
export function abandon(a: Aggregator, token: number, lane: number): void {
  const { words, memory } = a
  const { layout } = memory
  words[a.slotAt + SLOT_FLAGS] |= FLAG_FAULT
  const payload = token & PAYLOAD_MASK
  if ((token & BATCH) !== 0) {
    if (lane < 0 || words[lane + LANE_READ_END] !== words[INTENT_START]) return
    if (holds(a, token, lane, words[INTENT_COUNT])) passBatches(a, lane)
  } else if (token >>> KIND_SHIFT === RESTORE) {
    const slot = payload >>> EPOCH_BITS
    if (slot < layout.epochSlots) Atomics.store(words, epochAt(layout, slot) + SLOT_RESTORED, (payload & EPOCH_MASK) + 1)
  } else if (lane >= 0) {
    const owner = Atomics.load(words, lane + LANE_OWNER)
    if (owner >>> THREAD_BITS !== (payload & GENERATION_MASK)) return
    const n = (words[lane + LANE_STAGED_END] - words[INTENT_START]) | 0
    if (n >= 0 && n <= layout.laneCapacity) passKeys(a, lane, n)
    else Atomics.store(words, lane + LANE_READ_END, words[lane + LANE_STAGED_END])
    freeLane(a, lane, owner, 0)
  }
  signal(a)
}

/** Keys [start .. start + n) of a lane, which may run across its end. */
function insertLane(a: Aggregator, lane: number, start: number, n: number): void {
  const { laneCapacity } = a.memory.layout
  const first = start & (laneCapacity - 1)
  const keys = lane + LANE_KEYS
  const run = Math.min(n, laneCapacity - first)
  insertKeys(a, keys + first * 2, keys + (first + run) * 2)
  if (run < n) insertKeys(a, keys, keys + (n - run) * 2)
}

/** The keys in words[at .. end) into the open epoch: grow when the table is full, say so when the epoch is. */
function insertKeys(a: Aggregator, at: number, end: number): void {
  const { words, set } = a
  const { maxKeysPerEpoch } = a.memory.layout
  while (at < end) {
    const stop = Math.min(at + 8192, end)
    at = insertRun(set, words, at, stop)
    if (at < stop) {
      if (set.count < maxKeysPerEpoch) {
        grow(a)
      } else {
        // Full, and a key that is not in: the epoch is no longer exact, and nothing more goes in.
        words[a.slotAt + SLOT_FLAGS] |= FLAG_OVERFLOW
        return
      }
    } else if (at < end) {
      reportProgress(words)
    }
  }
}

/**
 * Make the table larger, in place: twice, or eight times as large where the last epoch came to need it (the last step sixteen times, so that no small one
 * is left, which would be over the most keys). The log is complete, up to keys that are not counted yet; the new size is stored when the table is.
 */
function grow(a: Aggregator): void {
  const { words, set } = a
  const expected = a.lastGrowth - words[a.slotAt + SLOT_GROWTH]
  const by = expected <= GROWTH_MAX + 1 ? Math.max(1, expected) : GROWTH_MAX
  const cells = 2 ** (32 - set.shift + by)
  clearTable(a, 0, cells)
  setCells(a, cells)
  reindex(a)
  words[a.slotAt + SLOT_GROWTH] += by
}

/** Doublings at once: all growth together then indexes a seventh of the keys again, not all of them; an epoch much smaller than the last clears little. */
const GROWTH_MAX = 3

/** The log's count: from here on the keys are in, whoever dies. */
function publishCount(a: Aggregator): void {
  const { words, set, slotAt } = a
  words[slotAt + SLOT_ZERO] = set.zero ? 1 : 0
  Atomics.store(words, slotAt + SLOT_COUNT, set.count)
}
