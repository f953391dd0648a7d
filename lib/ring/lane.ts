import {
  LANE_ATTN,
  LANE_BATCHES,
  LANE_IN_FLIGHT_PEAK,
  LANE_KEYS,
  LANE_OWNER,
  LANE_PUBLISHED,
  LANE_READ_END,
  LANE_STAGED_END,
  LANE_SUPPRESSED,
  LANE_THREAD,
  LANE_WAITING,
  LANE_WAKE,
  LANE_WAKE_AT,
  laneAt,
  STOPPED,
  TAIL,
  WAIT_FOR_ROOM,
  WAIT_FOR_SLOT,
  WAITERS,
  type SharedWords,
} from '../memory/map.js'
import type { Memory } from '../memory/memory.js'
import { addTotal } from '../memory/total.js'
import { corruptLane, lookAgain, push, readEndOf, wakeAggregator } from './ring.js'
import {
  advance,
  BATCH,
  CLOSE,
  controlToken,
  emptyWord,
  fullWord,
  GENERATION_MASK,
  lapOf,
  THREAD_BITS,
  THREAD_MASK,
  writerPayload,
} from './token.js'

/**
 * A writer's own record of its lane: a plain object that only the writer's thread touches. The three ends are free-running 32-bit counters.
 *
 * ```
 *   readEnd             published             end              readEnd + capacity
 *  ───┴─── in flight ───────┴────── staged ────┴───── room ─────────┴───
 * ```
 */
export interface Lane {
  readonly memory: Memory
  readonly words: SharedWords
  readonly id: number
  readonly generation: number
  /** Word index of the lane's header. */
  readonly header: number
  /** Word index of LANE_ATTN, and of LANE_STAGED_END: as fields, because stage() would load an imported constant at every mark (Node 20). */
  readonly attnAt: number
  readonly stagedAt: number
  /** Word index of its first key. */
  readonly keys: number
  readonly capacity: number
  readonly mask: number
  readonly batchSize: number
  /** BATCH(this writer, 1): add n - 1 to it. */
  readonly token: number
  /** Told when keys are staged and nobody is going to publish them by the clock. */
  readonly clock: LaneClock
  /** Marks are taken. */
  open: boolean
  /** Marks are gathered elsewhere for the time being: stage() and stageMany() take none. With `due` at the end, so that stage() asks. */
  held: boolean
  /** End of the keys staged: what LANE_STAGED_END holds. */
  end: number
  /** End of the keys published: what LANE_PUBLISHED holds. */
  published: number
  /** The aggregator's readEnd when it was last looked at. */
  readEnd: number
  /** At this end the lane tries to publish by itself: a batch is full, or another batchSize keys have come since the ring was. */
  tryAt: number
  /** At this end something is due: publish, look for room, start the clock. Never behind `end` for long; comparisons are modular. */
  due: number
  /** Up to this end the lines of the lane are this thread's already: see ownAhead(). */
  owned: number
  /** LANE_ATTN when it was last looked at. */
  attn: number
  /** What LANE_IN_FLIGHT_PEAK holds. */
  peak: number
  /** Where keys were staged lately, by a few bits of the key; undefined while too few marks repeat one that is still staged. */
  recent: Int32Array | undefined
  /** The same, kept while it is not in use. */
  readonly recents: Int32Array
  /** Batches until `recent` is thought over. */
  untilReview: number
  /** Marks suppressed since it was. */
  suppressed: number
}

/** Publishes what stays staged too long. `armed`: it is going to look by itself. */
export interface LaneClock {
  armed: boolean
  arm(): void
}

/** Why a lane could not be claimed. */
export type NoLane = 'none-free' | 'stopped'

/** Claim a free lane for this thread. */
export function openLane(memory: Memory, threadId: number, batchSize: number, clock: LaneClock): Lane | NoLane {
  const { words, layout } = memory
  for (let id = 0; id < layout.maxWriters; id++) {
    const header = laneAt(layout, id)
    const owner = Atomics.load(words, header + LANE_OWNER)
    if ((owner & THREAD_MASK) !== 0) continue
    const mine = owner | ownerBits(threadId)
    if (Atomics.compareExchange(words, header + LANE_OWNER, owner, mine) !== owner) {
      id-- // somebody was faster, and may have left again: look at this lane once more
      continue
    }
    // ^ linearization point of the claim; whoever looks knows the owner from here on
    Atomics.store(words, header + LANE_THREAD, threadId + 1)
    const attn = Atomics.load(words, header + LANE_ATTN)
    if (Atomics.load(words, STOPPED) !== 0 || (attn & 1) !== 0) {
      Atomics.store(words, header + LANE_THREAD, 0)
      Atomics.compareExchange(words, header + LANE_OWNER, mine, owner)
      return 'stopped'
    }
    const end = words[header + LANE_STAGED_END]
    const readEnd = Atomics.load(words, header + LANE_READ_END)
    if (readEnd !== end) {
      // A lane is freed when it is empty. With another beginning than the aggregator's, each batch would be taken for other keys.
      Atomics.store(words, header + LANE_THREAD, 0)
      Atomics.compareExchange(words, header + LANE_OWNER, mine, owner)
      throw corruptLane(readEnd, end)
    }
    words[header + LANE_PUBLISHED] = end
    const lane: Lane = {
      memory,
      words,
      id,
      generation: owner >>> THREAD_BITS,
      header,
      attnAt: header + LANE_ATTN,
      stagedAt: header + LANE_STAGED_END,
      keys: header + LANE_KEYS,
      capacity: layout.laneCapacity,
      mask: layout.laneCapacity - 1,
      batchSize,
      token: BATCH | (id << layout.laneBits),
      clock,
      open: true,
      held: false,
      end,
      published: end,
      readEnd: end,
      tryAt: end + batchSize,
      due: end,
      owned: end,
      attn,
      peak: words[header + LANE_IN_FLIGHT_PEAK],
      recent: undefined,
      recents: new Int32Array(RECENT),
      untilReview: BATCHES_WITHOUT,
      suppressed: 0,
    }
    setDue(lane)
    return lane
  }
  return 'none-free'
}

/** The low bits of an owner word for a thread. */
export function ownerBits(threadId: number): number {
  return (threadId % (2 ** THREAD_BITS - 1)) + 1
}

/**
 * Stage one key; publish when a batch is full. False, and nothing stored, when the lane is full.
 *
 * A key that is staged and not published is not staged again: one publication takes both. That costs a look at every mark, so it is done only while a
 * tenth of the marks repeat such a key.
 *
 * Two plain comparisons and three plain stores. An exception can strike at any call: the key is then staged, or it is not, and the record holds.
 */
export function stage(lane: Lane, lo: number, hi: number): boolean {
  const words = lane.words
  if (((lane.end - lane.due) | 0) >= 0 || words[lane.attnAt] !== lane.attn) {
    if (!ready(lane, 1)) return false
  }
  if (lane.recent !== undefined && isStaged(lane, lane.recent, lo | 0, hi | 0)) return true
  const end = lane.end
  const at = lane.keys + ((end & lane.mask) << 1)
  words[at] = lo
  words[at + 1] = hi
  const next = (end + 1) | 0
  lane.end = next
  words[lane.stagedAt] = next
  if (((next - lane.due) | 0) >= 0) afterStaging(lane)
  return true
}

/**
 * Stage `count` keys that will be published together, from lanes lo, hi, lo, hi … False, and nothing stored, when they do not fit now.
 * What was staged before goes with them in one token, or before them.
 */
export function stageMany(lane: Lane, keys: ArrayLike<number>, count: number): boolean {
  if (!ready(lane, count)) return false
  const { words, mask, end } = lane
  for (let i = 0; i < count; i++) {
    const at = lane.keys + (((end + i) & mask) << 1)
    words[at] = keys[2 * i]
    words[at + 1] = keys[2 * i + 1]
  }
  const next = (end + count) | 0
  lane.end = next
  words[lane.stagedAt] = next
  lane.tryAt = next
  lane.due = next
  afterStaging(lane)
  return true
}

/** Publish `count` keys as one batch, or store nothing, also when it throws: for a lane that stages nothing else. */
export function publishMany(lane: Lane, keys: ArrayLike<number>, count: number): boolean {
  const before = lane.end
  let done = false
  try {
    done = stageMany(lane, keys, count) && publish(lane)
    return done
  } finally {
    if (!done && ((lane.published - before) | 0) <= 0) {
      lane.end = before
      lane.words[lane.stagedAt] = before
    }
  }
}

/** Publish everything staged as one batch. True once nothing is staged; false when the ring is full, and it stays staged. */
export function publish(lane: Lane): boolean {
  const count = (lane.end - lane.published) | 0
  if (count === 0) return true
  const { words, memory } = lane
  const { layout } = memory
  notePeak(lane)
  const token = lane.token + count - 1
  for (;;) {
    const tail = Atomics.load(words, TAIL)
    const lap = lapOf(tail, layout.capacityBits)
    const slot = layout.ring + (tail & (layout.capacity - 1))
    const empty = emptyWord(lap)
    const seen = Atomics.compareExchange(words, slot, empty, fullWord(lap, token))
    if (seen === empty) {
      lane.published = lane.end
      // ^ linearization point of the batch, with no call in between at which an exception could part the two. Optional from here on:
      words[lane.header + LANE_PUBLISHED] = lane.end
      Atomics.compareExchange(words, TAIL, tail, advance(tail, 1))
      wakeAggregator(words)
      if (((lane.end - lane.owned) | 0) >= 0) ownAhead(lane)
      addTotal(words, lane.header + LANE_BATCHES, 1)
      lane.tryAt = (lane.end + lane.batchSize) | 0
      setDue(lane)
      return true
    }
    if (!lookAgain(memory, tail, seen, lap)) {
      lane.tryAt = (lane.end + lane.batchSize) | 0
      setDue(lane)
      return false
    }
  }
}

/** Keys whose lines are fetched together, and the keys of a line. */
const OWN_AHEAD = 512
const KEYS_A_LINE = 8

/**
 * Store something into each of the next free lines of the lane. The aggregator's thread has read them, so the first store to each has to wait until that
 * core has given its copy up, some hundred nanoseconds; and stores wait for one another. Here they ask for many lines at once, instead of
 * at every eighth mark for one: a third to a half more marks a second (AMD EPYC 9005, Node 20).
 */
function ownAhead(lane: Lane): void {
  const { words, keys, mask, end } = lane
  const count = Math.min(OWN_AHEAD, roomOf(lane))
  for (let i = 0; i < count; i += KEYS_A_LINE) words[keys + (((end + i) & mask) << 1)] = 0
  lane.owned = (end + count) | 0
}

/** Looks at the aggregator's progress. What no part of the library writes there is left aside, because a publication must not throw: roomNow() throws then. */
function lookAtRoom(lane: Lane): void {
  const readEnd = Atomics.load(lane.words, lane.header + LANE_READ_END)
  const unread = (lane.end - readEnd) | 0
  if (unread >= 0 && unread <= lane.capacity) lane.readEnd = readEnd
}

/** Keys that fit without waiting, by what is known of the aggregator's progress. */
export function roomOf(lane: Lane): number {
  return lane.capacity - ((lane.end - lane.readEnd) | 0)
}

/** The same, by a look at it. */
export function roomNow(lane: Lane): number {
  lane.readEnd = readEndOf(lane.memory, lane.header, lane.end)
  return roomOf(lane)
}

/** Whether `count` more keys fit: looks at the aggregator's progress, and publishes what is staged, if that is needed to know. */
export function hasRoom(lane: Lane, count: number): boolean {
  if (roomOf(lane) >= count) return true
  if (roomNow(lane) >= count) return true
  publish(lane)
  return false
}

/**
 * Sleep until there is room for `count` keys (0: until what is staged could be published), for `ms` at most. True if there is.
 *
 * The lane may be full with nothing in flight: its keys staged, the ring full of others' batches. So the writer says whether it waits for a slot or for
 * room, then looks again at that very thing, then sleeps on its own word: whichever the aggregator frees after that look, it sees what the writer said.
 * The end of it all is one more such thing: everybody is woken once, after STOPPED was stored, so who looks at it here does not sleep through it.
 */
export function sleepForRoom(lane: Lane, count: number, ms: number): boolean {
  const { words, header, id, capacity } = lane
  const wake = Atomics.load(words, header + LANE_WAKE)
  if (publish(lane)) {
    if (count === 0) return true
    // All of it is in flight: sleep until a good part of the lane is free, not for every batch.
    const target = (lane.end + Math.max(count, capacity >>> 1) - capacity) | 0
    Atomics.store(words, header + LANE_WAKE_AT, target)
    Atomics.store(words, header + LANE_WAITING, WAIT_FOR_ROOM)
    Atomics.or(words, WAITERS + (id >>> 5), 1 << (id & 31))
    lane.readEnd = readEndOf(lane.memory, header, lane.end)
    if (((lane.readEnd - target) | 0) < 0 && Atomics.load(words, STOPPED) === 0) Atomics.wait(words, header + LANE_WAKE, wake, ms)
  } else {
    Atomics.store(words, header + LANE_WAITING, WAIT_FOR_SLOT)
    Atomics.or(words, WAITERS + (id >>> 5), 1 << (id & 31))
    if (!publish(lane) && Atomics.load(words, STOPPED) === 0) Atomics.wait(words, header + LANE_WAKE, wake, ms)
  }
  lane.readEnd = readEndOf(lane.memory, header, lane.end)
  const there = count === 0 ? publish(lane) : roomOf(lane) >= count
  setDue(lane)
  return there
}

/** Give the lane back, behind everything published; what is staged is harvested. No mark is taken from here on. False when the ring is full: try again. */
export function closeLane(lane: Lane): boolean {
  lane.open = false
  lane.due = lane.end // stage() asks ready(), which refuses
  return push(lane.memory, controlToken(CLOSE, writerPayload(lane.id, lane.generation & GENERATION_MASK)))
}

/** Do what the tracker asks for, if it does: publish. */
export function attend(lane: Lane): void {
  const attn = Atomics.load(lane.words, lane.attnAt)
  if (attn === lane.attn || (attn & 1) !== 0) return // a stop is not remembered: every later mark asks again, and is refused
  lane.attn = attn
  publish(lane)
}

/** Whether marks are refused for good: the tracker has stopped. */
export function isStopped(lane: Lane): boolean {
  return (Atomics.load(lane.words, lane.attnAt) & 1) !== 0 || Atomics.load(lane.words, STOPPED) !== 0
}

/** Cells of Lane.recents. */
const RECENT = 256
/** Batches for which repeated keys are looked for, and for which they are not when few were found. */
const BATCHES_WITH = 16
const BATCHES_WITHOUT = 240

/** Whether a key is staged and not published, by a look at one place where it may have been; if not, it will be at the end. */
function isStaged(lane: Lane, recent: Int32Array, lo: number, hi: number): boolean {
  const { words } = lane
  const cell = Math.imul(Math.imul(hi, 0x85ebca6b) ^ lo, 0x9e3779b1) >>> 24
  const place = recent[cell]
  const age = (lane.end - place) | 0
  if (age > 0 && age <= ((lane.end - lane.published) | 0)) {
    const at = lane.keys + ((place & lane.mask) << 1)
    if (words[at] === lo && words[at + 1] === hi) {
      lane.suppressed++
      addTotal(words, lane.header + LANE_SUPPRESSED, 1)
      return true
    }
  }
  recent[cell] = lane.end
  return false
}

/** After a batch that was published by its size: go on looking for repeated keys, stop, or begin. */
function reviewRecent(lane: Lane): void {
  const isWorth = lane.suppressed * 10 >= BATCHES_WITH * lane.batchSize + lane.suppressed
  const look = lane.recent === undefined || isWorth
  lane.recent = look ? lane.recents : undefined
  lane.untilReview = look ? BATCHES_WITH : BATCHES_WITHOUT
  lane.suppressed = 0
}

function ready(lane: Lane, count: number): boolean {
  if (!lane.open || lane.held) return false
  attend(lane)
  if ((Atomics.load(lane.words, lane.attnAt) & 1) !== 0) return false
  const there = hasRoom(lane, count)
  setDue(lane)
  return there
}

function afterStaging(lane: Lane): void {
  if (((lane.end - lane.tryAt) | 0) >= 0) {
    const attn = Atomics.load(lane.words, lane.attnAt)
    const published = publish(lane)
    if (--lane.untilReview === 0) reviewRecent(lane)
    if (attn !== lane.attn) {
      if (published && (attn & 1) === 0) lane.attn = attn
      else lane.due = lane.end // ready() looks at it before the next mark stores anything
    }
    if (!published && !lane.clock.armed) lane.clock.arm()
  } else {
    if (!lane.clock.armed) lane.clock.arm()
    setDue(lane)
  }
}

/** Where the next comparison in stage() should stop. Also to be called when the clock has ceased to look after the lane. */
export function setDue(lane: Lane): void {
  let room = roomOf(lane)
  if (room < lane.batchSize) {
    lookAtRoom(lane)
    room = roomOf(lane)
  }
  if (lane.held || !lane.open) room = 0 // stage() is to ask ready()
  const steps = lane.clock.armed ? Math.max((lane.tryAt - lane.end) | 0, 1) : 1
  lane.due = (lane.end + Math.min(steps, room)) | 0
}

function notePeak(lane: Lane): void {
  if (((lane.end - lane.readEnd) | 0) <= lane.peak) return
  lookAtRoom(lane)
  const inFlight = (lane.end - lane.readEnd) | 0
  if (inFlight <= lane.peak) return
  lane.peak = inFlight
  lane.words[lane.header + LANE_IN_FLIGHT_PEAK] = inFlight
}
