import { corruptLane } from '../errors.js'
import {
  FAILED,
  LANE_ANCESTORS,
  LANE_ATTN,
  LANE_BATCHES,
  LANE_EVERYTHING,
  LANE_HARVESTED,
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
  slotAt,
  STOPPED,
  TAIL,
  WAIT_FOR_ROOM,
  WAIT_FOR_SLOT,
  waiterBit,
  waitersAt,
  type SharedWords,
} from '../memory/map.js'
import type { Memory } from '../memory/memory.js'
import { addTotal } from '../memory/total.js'
import { storeAncestors } from './ancestors.js'
import { lookAgain, push, readEndOf, wakeAggregator } from './ring.js'
import {
  advance,
  batchToken,
  CLOSE,
  controlToken,
  emptyWord,
  EVERYTHING,
  freeOwner,
  fullWord,
  generationOf,
  isOwned,
  lapOf,
  ownerBits,
  writerPayload,
} from './token.js'

/**
 * A writer's own record of its lane: a plain object that only the writer's thread touches. The
 * three ends are free-running 32-bit counters.
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
  /**
   * Word index of LANE_ATTN, and of LANE_STAGED_END: as fields, because stage() would load an
   * imported constant at every mark (Node 20).
   */
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
  /**
   * A batch() is open: what was staged since `batchStart` is not published yet. A harvest takes it.
   */
  batching: boolean
  /** End of the keys that were staged when the outermost batch() began. */
  batchStart: number
  /**
   * markEverything() was called, and no EVERYTHING token of it is in the ring yet: what
   * LANE_EVERYTHING holds.
   */
  everything: boolean
  /** End of the keys staged: what LANE_STAGED_END holds. */
  end: number
  /** End of the keys published: what LANE_PUBLISHED holds. */
  published: number
  /** The aggregator's readEnd when it was last looked at. */
  readEnd: number
  /**
   * At this end the lane tries to publish by itself: a batch is full, or another batchSize keys
   * have come since the ring was.
   */
  tryAt: number
  /**
   * At this end something is due: publish, look for room, start the clock. Never behind `end` for
   * long; comparisons are modular.
   */
  due: number
  /** Up to this end the lines of the lane are this thread's already: see ownAhead(). */
  owned: number
  /** LANE_ATTN when it was last looked at. */
  attn: number
  /** What LANE_IN_FLIGHT_PEAK holds. */
  peak: number
  /**
   * Where keys were staged lately, by a few bits of the key; undefined while too few marks repeat
   * one that is still staged.
   */
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

/**
 * Claim a free lane for this thread. `ancestors`: the threads above it, as far as they are known,
 * the nearest first.
 */
export function openLane(
  memory: Memory,
  threadId: number,
  batchSize: number,
  clock: LaneClock,
  ancestors: readonly number[] = [],
): Lane | NoLane {
  const { words, layout } = memory
  for (let id = 0; id < layout.maxWriters; id++) {
    const header = laneAt(layout, id)
    const owner = Atomics.load(words, header + LANE_OWNER)
    if (isOwned(owner)) continue
    const mine = owner | ownerBits(threadId)
    if (Atomics.compareExchange(words, header + LANE_OWNER, owner, mine) !== owner) {
      id-- // somebody was faster, and may have left again: look at this lane once more
      continue
    }
    // ^ linearization point of the claim; whoever looks knows the owner from here on
    Atomics.store(words, header + LANE_WAITING, 0) // an owner that died while it waited left it
    if (ancestors.length > 0) storeAncestors(words, header + LANE_ANCESTORS, ancestors)
    Atomics.store(words, header + LANE_THREAD, threadId + 1)
    const attn = Atomics.load(words, header + LANE_ATTN)
    if (Atomics.load(words, STOPPED) !== 0 || (attn & 1) !== 0) {
      Atomics.store(words, header + LANE_ANCESTORS, 0)
      Atomics.store(words, header + LANE_THREAD, 0)
      Atomics.compareExchange(words, header + LANE_OWNER, mine, owner)
      return 'stopped'
    }
    const end = words[header + LANE_STAGED_END]
    const readEnd = Atomics.load(words, header + LANE_READ_END)
    if (readEnd !== end) {
      // A lane is freed when it is empty. With another beginning than the aggregator's, each batch
      // would be taken for other keys.
      Atomics.store(words, header + LANE_ANCESTORS, 0)
      Atomics.store(words, header + LANE_THREAD, 0)
      Atomics.compareExchange(words, header + LANE_OWNER, mine, owner)
      throw corruptLane(readEnd, end)
    }
    words[header + LANE_PUBLISHED] = end
    const lane: Lane = {
      memory,
      words,
      id,
      generation: generationOf(owner),
      header,
      attnAt: header + LANE_ATTN,
      stagedAt: header + LANE_STAGED_END,
      keys: header + LANE_KEYS,
      capacity: layout.laneCapacity,
      mask: layout.laneCapacity - 1,
      batchSize,
      token: batchToken(layout, id, 1),
      clock,
      open: true,
      batching: false,
      batchStart: end,
      everything: false,
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

/**
 * Stages one key, and publishes when a batch is full. False, and nothing stored, when the lane is
 * full or the tracker stops.
 *
 * A key that is staged and not published is not staged again: one publication takes both. That
 * costs a look at every mark, so it is done only while a tenth of the marks repeat such a key.
 * Inside batch() it is never done: the staged key may be published, and cut, before the batch's
 * write is visible.
 *
 * LANE_ATTN is read after the key is stored. So a key whose mark saw no stop was stored before the
 * stop was said, and the aggregator's last look, which comes after that, finds it. A mark that sees
 * the stop takes its key back.
 *
 * Three plain comparisons and three plain stores. An exception can strike at any call: the key is
 * then staged, or it is not, and the record holds.
 */
export function stage(lane: Lane, lo: number, hi: number): boolean {
  const words = lane.words
  if (((lane.end - lane.due) | 0) >= 0 && !ready(lane, 1)) return false
  if (lane.recent !== undefined && !lane.batching) {
    if (words[lane.attnAt] !== lane.attn && !ready(lane, 1)) return false
    if (isStaged(lane, lane.recent, lo | 0, hi | 0)) return true
  }
  const end = lane.end
  const at = lane.keys + ((end & lane.mask) << 1)
  words[at] = lo
  words[at + 1] = hi
  const next = (end + 1) | 0
  lane.end = next
  words[lane.stagedAt] = next
  if (((next - lane.due) | 0) >= 0 || words[lane.attnAt] !== lane.attn)
    return afterStaging(lane, end)
  return true
}

/**
 * Stage `count` keys that will be published together, from lanes lo, hi, lo, hi … False, and
 * nothing stored, when they do not fit now. What was staged before goes with them in one token, or
 * before them.
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
  return afterStaging(lane, end)
}

/**
 * Publish `count` keys as one batch, or store nothing, also when it throws: for a lane that stages
 * nothing else.
 */
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

/**
 * Publishes everything staged as one batch; inside batch(), what was staged before it. True once
 * nothing of that is left; false when the ring is full, and it stays staged. What markEverything()
 * owes goes first.
 */
export function publish(lane: Lane): boolean {
  if (lane.everything && !lane.batching && !pushEverything(lane)) return false
  const upTo = lane.batching ? lane.batchStart : lane.end
  const count = (upTo - lane.published) | 0
  if (count === 0) return true
  const { words, memory } = lane
  const { layout } = memory
  notePeak(lane, upTo)
  const token = lane.token + count - 1
  for (;;) {
    const tail = Atomics.load(words, TAIL)
    const lap = lapOf(tail, layout.capacityBits)
    const slot = slotAt(layout, tail)
    const empty = emptyWord(lap)
    const seen = Atomics.compareExchange(words, slot, empty, fullWord(lap, token))
    if (seen === empty) {
      lane.published = upTo
      // ^ linearization point of the batch, with no call in between at which an exception could
      // part the two. Optional from here on:
      words[lane.header + LANE_PUBLISHED] = upTo
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

/**
 * Begins a batch: keys staged from here on are published together, at endBatch(). False inside
 * another batch, which it joins.
 */
export function beginBatch(lane: Lane): boolean {
  if (lane.batching) return false
  lane.batchStart = lane.end
  lane.batching = true
  return true
}

/** Publishes the batch as one token; while the ring is full it stays staged, still whole. */
export function endBatch(lane: Lane): void {
  lane.batching = false
  if (!lane.open) return // its thread is ending: CLOSE takes the batch
  const published = publish(lane)
  if (!published && !lane.clock.armed) lane.clock.arm()
  setDue(lane)
}

/** Keys that the open batch can still take before it is larger than the lane. */
export function roomInBatch(lane: Lane): number {
  return lane.capacity - ((lane.end - lane.batchStart) | 0)
}

/**
 * The epoch at hand is to say 'everything'. It cannot be refused for want of room: until a token of
 * it is in the ring a word of the lane says so, which a harvest and the end of it all take along.
 * Inside batch() it goes out with the batch. False, and nothing said, when the tracker stops.
 */
export function markEverything(lane: Lane): boolean {
  const { words } = lane
  if (isStopped(lane)) return false
  Atomics.store(words, lane.header + LANE_EVERYTHING, 1)
  lane.everything = true
  if (!lane.batching && pushEverything(lane)) return true
  if (isStopped(lane)) {
    // The aggregator's last look may have come before the word.
    lane.everything = false
    Atomics.store(words, lane.header + LANE_EVERYTHING, 0)
    return false
  }
  if (!lane.clock.armed) lane.clock.arm()
  return true
}

function pushEverything(lane: Lane): boolean {
  if (!push(lane.memory, controlToken(EVERYTHING, 0))) return false
  lane.everything = false
  Atomics.store(lane.words, lane.header + LANE_EVERYTHING, 0)
  return true
}

/** Keys whose lines are fetched together, and the keys of a line. */
const OWN_AHEAD = 512
const KEYS_A_LINE = 8

/**
 * Store something into each of the next free lines of the lane. The aggregator's thread has read
 * them, so the first store to each has to wait until that core has given its copy up, some hundred
 * nanoseconds; and stores wait for one another. Here they ask for many lines at once, instead of at
 * every eighth mark for one: a third to a half more marks a second (AMD EPYC 9005, Node 20).
 */
function ownAhead(lane: Lane): void {
  const { words, keys, mask, end } = lane
  const count = Math.min(OWN_AHEAD, roomOf(lane))
  for (let i = 0; i < count; i += KEYS_A_LINE) words[keys + (((end + i) & mask) << 1)] = 0
  lane.owned = (end + count) | 0
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

/**
 * Whether `count` more keys fit: looks at the aggregator's progress, and publishes what is staged,
 * if that is needed to know.
 */
export function hasRoom(lane: Lane, count: number): boolean {
  if (roomOf(lane) >= count) return true
  if (roomNow(lane) >= count) return true
  publish(lane)
  return false
}

/**
 * Sleep until there is room for `count` keys (0: until what is staged could be published), for `ms`
 * at most. True if there is.
 *
 * The lane may be full with nothing in flight: its keys staged, the ring full of others' batches.
 * So the writer says whether it waits for a slot or for room, then looks again at that very thing,
 * then sleeps on its own word: whichever the aggregator frees after that look, it sees what the
 * writer said. The end of it all is one more such thing: everybody is woken once, after STOPPED was
 * stored, so who looks at it here does not sleep through it.
 */
export function sleepForRoom(lane: Lane, count: number, ms: number): boolean {
  const { words, header, id, capacity } = lane
  const wake = Atomics.load(words, header + LANE_WAKE)
  if (publish(lane)) {
    if (count === 0) return true
    // All of it is in flight: sleep until a good part of the lane is free, not for every batch.
    let target = (lane.end + Math.max(count, capacity >>> 1) - capacity) | 0
    // What an open batch has staged is not in flight: no more room than this can come.
    if (lane.batching && ((target - lane.batchStart) | 0) > 0) target = lane.batchStart
    Atomics.store(words, header + LANE_WAKE_AT, target)
    Atomics.store(words, header + LANE_WAITING, WAIT_FOR_ROOM)
    Atomics.or(words, waitersAt(id), waiterBit(id))
    lane.readEnd = readEndOf(lane.memory, header, lane.end)
    if (((lane.readEnd - target) | 0) < 0 && Atomics.load(words, STOPPED) === 0)
      Atomics.wait(words, header + LANE_WAKE, wake, ms)
  } else {
    Atomics.store(words, header + LANE_WAITING, WAIT_FOR_SLOT)
    Atomics.or(words, waitersAt(id), waiterBit(id))
    if (!publish(lane) && Atomics.load(words, STOPPED) === 0)
      Atomics.wait(words, header + LANE_WAKE, wake, ms)
  }
  lane.readEnd = readEndOf(lane.memory, header, lane.end)
  const there = count === 0 ? publish(lane) : roomOf(lane) >= count
  setDue(lane)
  return there
}

/**
 * Give the lane back, behind everything published; what is staged is harvested. No mark is taken
 * from here on. False when the ring is full: try again.
 */
export function closeLane(lane: Lane): boolean {
  lane.open = false
  lane.due = lane.end // stage() asks ready(), which refuses
  return push(lane.memory, controlToken(CLOSE, writerPayload(lane.id, lane.generation)))
}

/**
 * The consumer: gives the lane of a writer that has closed or died to the next owner, as the last
 * thing that is done for it.
 */
export function freeLane(words: SharedWords, lane: number, owner: number, harvested: number): void {
  words[lane + LANE_HARVESTED] = harvested
  Atomics.store(words, lane + LANE_EVERYTHING, 0)
  Atomics.store(words, lane + LANE_ANCESTORS, 0)
  Atomics.store(words, lane + LANE_THREAD, 0)
  Atomics.compareExchange(words, lane + LANE_OWNER, owner, freeOwner(generationOf(owner) + 1))
}

/** Do what the tracker asks for, if it does: publish. */
export function attend(lane: Lane): void {
  const attn = Atomics.load(lane.words, lane.attnAt)
  if (attn === lane.attn) return
  // a stop is not remembered: every later mark asks again, and is refused
  if ((attn & 1) === 0) lane.attn = attn
  publish(lane)
}

/** Whether marks are refused for good: the tracker has stopped. */
export function isStopped(lane: Lane): boolean {
  return (
    (Atomics.load(lane.words, lane.attnAt) & 1) !== 0 || Atomics.load(lane.words, STOPPED) !== 0
  )
}

/**
 * Whether the ring will take no more tokens: it is being poisoned, or the aggregator cannot
 * continue.
 */
export function isRingClosed(words: SharedWords): boolean {
  return Atomics.load(words, STOPPED) !== 0 || Atomics.load(words, FAILED) !== 0
}

/** Cells of Lane.recents. */
const RECENT = 256
/**
 * Batches for which repeated keys are looked for, and for which they are not when few were found.
 */
const BATCHES_WITH = 16
const BATCHES_WITHOUT = 240

/**
 * Whether a key is staged and not published, by a look at one place where it may have been; if not,
 * it will be at the end.
 */
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

/**
 * After a batch that was published by its size: go on looking for repeated keys, stop, or begin.
 */
function reviewRecent(lane: Lane): void {
  const isWorth = lane.suppressed * 10 >= BATCHES_WITH * lane.batchSize + lane.suppressed
  const look = lane.recent === undefined || isWorth
  lane.recent = look ? lane.recents : undefined
  lane.untilReview = look ? BATCHES_WITH : BATCHES_WITHOUT
  lane.suppressed = 0
}

function ready(lane: Lane, count: number): boolean {
  if (!lane.open) return false
  attend(lane)
  if ((Atomics.load(lane.words, lane.attnAt) & 1) !== 0) return false
  const there = hasRoom(lane, count)
  setDue(lane)
  return there
}

/**
 * Something is due after keys were staged, from `before` on. False, and those keys taken back, when
 * the tracker stops.
 */
function afterStaging(lane: Lane, before: number): boolean {
  const { words } = lane
  const attn = Atomics.load(words, lane.attnAt)
  const isDue = ((lane.end - lane.tryAt) | 0) >= 0
  if ((attn & 1) !== 0) {
    lane.end = before
    words[lane.stagedAt] = before
    publish(lane)
    lane.due = before // ready() refuses the next mark before it stores anything
    return false
  }
  if (isDue || attn !== lane.attn) {
    const published = publish(lane)
    if (published) lane.attn = attn
    if (isDue && !lane.batching && --lane.untilReview === 0) reviewRecent(lane)
    if (lane.end === lane.published) return true
    if (((lane.end - lane.tryAt) | 0) >= 0) lane.tryAt = (lane.end + lane.batchSize) | 0
  }
  if (!lane.clock.armed) lane.clock.arm()
  setDue(lane)
  return true
}

/**
 * Looks at the aggregator's progress, where nothing may be thrown. False for an end that is
 * corrupt: roomNow() tells of it.
 */
function lookAtRoom(lane: Lane): boolean {
  const readEnd = Atomics.load(lane.words, lane.header + LANE_READ_END)
  const unread = (lane.end - readEnd) | 0
  if (unread < 0 || unread > lane.capacity) return false
  lane.readEnd = readEnd
  return true
}

/**
 * Where the next comparison in stage() should stop. Also to be called when the clock has ceased to
 * look after the lane.
 */
export function setDue(lane: Lane): void {
  let room = roomOf(lane)
  if (room < lane.batchSize) room = lookAtRoom(lane) ? roomOf(lane) : 0
  if (!lane.open) room = 0 // stage() is to ask ready()
  const steps = lane.clock.armed ? Math.max((lane.tryAt - lane.end) | 0, 1) : 1
  lane.due = (lane.end + Math.min(steps, room)) | 0
}

function notePeak(lane: Lane, upTo: number): void {
  if (((upTo - lane.readEnd) | 0) <= lane.peak) return
  if (!lookAtRoom(lane)) return
  const inFlight = (upTo - lane.readEnd) | 0
  if (inFlight <= lane.peak) return
  lane.peak = inFlight
  lane.words[lane.header + LANE_IN_FLIGHT_PEAK] = inFlight
}
