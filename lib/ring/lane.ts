import { corruptLane } from '../errors.js'
import {
  FAILED,
  LANE_ANCESTORS,
  LANE_ATTN,
  LANE_BATCHES,
  LANE_EVERYTHING,
  LANE_EVERYTHING_MARKED,
  LANE_HARVESTED,
  LANE_IN_FLIGHT_PEAK,
  LANE_KEYS,
  LANE_OWNER,
  LANE_PUBLISHED,
  LANE_READ_END,
  LANE_STAGED_END,
  LANE_SUPPRESSED,
  LANE_TEXT,
  LANE_TEXT_BROKEN,
  LANE_TEXT_READ,
  LANE_THREAD,
  LANE_WAITING,
  LANE_WAKE,
  LANE_WAKE_AT,
  laneAt,
  type SharedWords,
  slotAt,
  STOPPED,
  TAIL,
  WAIT_FOR_ROOM,
  WAIT_FOR_SLOT,
  waiterBit,
  waitersAt,
} from '../memory/map.js'
import type { Memory } from '../memory/memory.js'
import { TEXT_HEADER, wordsFor } from '../memory/table-size.js'
import { addTotal, carryTotal, LO } from '../memory/total.js'
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
  NO_TEXT,
  ownerBits,
  writerPayload,
} from './token.js'

/**
 * A writer's own record of its lane. Only the writer's thread touches it. The three ends are
 * free-running 32-bit counters.
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
   * Word index of LANE_ATTN, and of LANE_STAGED_END. They are fields because stage() would load an
   * imported constant at every mark (Node 20).
   */
  readonly attnAt: number
  readonly stagedAt: number
  /** Word index of the low word of LANE_SUPPRESSED. */
  readonly suppressedAt: number
  /** Word index of the lane's first key. */
  readonly keys: number
  readonly capacity: number
  readonly mask: number
  readonly batchSize: number
  /** Word index of the text ring, and its size in words: 0 if the lane has none. */
  readonly text: number
  readonly textWords: number
  /** The batch token for one key. For n keys, add n - 1. */
  readonly token: number
  /** The lane arms this clock when keys are staged and the clock is not armed. */
  readonly clock: LaneClock
  /** False once the writer is closed: the lane takes no more marks. */
  open: boolean
  /**
   * A batch() is open: the keys staged since `batchStart` are not published yet. A harvest takes
   * them too, because they are in the lane.
   */
  batching: boolean
  /** End of the keys that were staged when the outermost batch() began. */
  batchStart: number
  /**
   * What LANE_EVERYTHING holds: markEverything() was called, and its EVERYTHING token is not in the
   * ring yet.
   */
  everything: number
  /** End of the keys staged: what LANE_STAGED_END holds. */
  end: number
  /** End of the keys published: what LANE_PUBLISHED holds. */
  published: number
  /** LANE_READ_END as this thread last read it. */
  readEnd: number
  /**
   * At this end stage() tries to publish: a batch is full. If the ring was full, the next try comes
   * batchSize keys later.
   */
  tryAt: number
  /**
   * At this end stage() has something to do: publish, look for room, or arm the clock. Comparisons
   * are modular, so it must never be far behind `end`.
   */
  due: number
  /** Up to this end this thread's core has the lane's cache lines: see ownAhead(). */
  owned: number
  /** LANE_ATTN as this thread last read it. */
  attn: number
  /** What LANE_IN_FLIGHT_PEAK holds. */
  peak: number
  /** What LANE_TEXT holds: the owner has marked a text. The places below count from then on. */
  hasText: boolean
  /** The place in the text ring of the next text. The word there is NO_TEXT. */
  textEnd: number
  /** LANE_TEXT_READ as this thread last read it. */
  textRead: number
  /** At this place stageText() tries to publish, so that the aggregator can make room. */
  textTryAt: number
  /** The place of the first text of the outermost batch(). */
  batchTextStart: number
  /**
   * The ends at which keys were staged lately, by a hash of the key. Undefined while few marks
   * repeat a staged key.
   */
  recent: Int32Array | undefined
  /** The array for `recent`, also while that is undefined. */
  readonly recents: Int32Array
  /** Batches until the next reviewRecent(). */
  untilReview: number
  /** Marks suppressed since the last reviewRecent(). */
  suppressed: number
}

/**
 * Publishes keys that stay staged too long. `armed`: the clock will look at the lane, also if the
 * writer makes no further call.
 */
export interface LaneClock {
  armed: boolean
  arm(): void
}

/** Why a lane could not be claimed. */
export type NoLane = 'none-free' | 'stopped'

/**
 * Claims a free lane for this thread. `ancestors` are the threads above it, as far as they are
 * known, the nearest first.
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
      id-- // another thread was faster, and may have left again: look at this lane once more
      continue
    }
    // ^ linearization point of the claim: from here on every thread can read the owner
    Atomics.store(words, header + LANE_WAITING, 0) // left by an owner that died in its wait
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
      // A lane is empty when it is freed. If this writer began at another end than the aggregator,
      // the aggregator would take each batch for other keys.
      Atomics.store(words, header + LANE_ANCESTORS, 0)
      Atomics.store(words, header + LANE_THREAD, 0)
      Atomics.compareExchange(words, header + LANE_OWNER, mine, owner)
      throw corruptLane(readEnd, end)
    }
    words[header + LANE_PUBLISHED] = end
    if (words[header + LANE_TEXT] !== 0) Atomics.store(words, header + LANE_TEXT, 0)
    const lane: Lane = {
      memory,
      words,
      id,
      generation: generationOf(owner),
      header,
      attnAt: header + LANE_ATTN,
      stagedAt: header + LANE_STAGED_END,
      suppressedAt: header + LANE_SUPPRESSED + LO,
      keys: header + LANE_KEYS,
      capacity: layout.laneCapacity,
      mask: layout.laneCapacity - 1,
      batchSize,
      text: header + layout.laneText,
      textWords: layout.laneTextWords,
      token: batchToken(layout, id, 1),
      clock,
      open: true,
      batching: false,
      batchStart: end,
      everything: 0,
      end,
      published: end,
      readEnd: end,
      tryAt: end + batchSize,
      due: end,
      owned: end,
      attn,
      peak: words[header + LANE_IN_FLIGHT_PEAK],
      hasText: false,
      textEnd: 0,
      textRead: 0,
      textTryAt: 0,
      batchTextStart: 0,
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
 * Stages one key, and publishes when a batch is full. Returns false and stores nothing if the lane
 * is full or the tracker stops.
 *
 * A key that is staged and not published is not staged again, because one publication takes both
 * marks. The look for it costs time at every mark. So stage() looks only while at least a tenth of
 * the marks repeat such a key. Inside batch() it never looks: the earlier mark of the key may be
 * published, and cut, before the batch's write is visible.
 *
 * LANE_ATTN is read after the key is stored. A mark that saw no stop therefore stored its key
 * before the tracker announced the stop. The aggregator's last look at the lane comes after that,
 * and finds the key. A mark that sees the stop takes its key back.
 *
 * The usual path has four comparisons and three plain stores into shared memory. An exception can
 * strike at any call. The key is then staged, or it is not, and the record agrees with the lane.
 */
export function stage(lane: Lane, lo: number, hi: number): boolean {
  const words = lane.words
  if (((lane.end - lane.due) | 0) >= 0 && !ready(lane, 1, 0)) return false
  if (lane.recent !== undefined && !lane.batching) {
    if (words[lane.attnAt] !== lane.attn && !ready(lane, 1, 0)) return false
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
 * Stages one text: (lo, hi) is the hash of it that the ring carries, `source` has its words, padded
 * with zeros, and `head` is its length and kind (set/text-set.ts). Otherwise as stage(). Nothing is
 * suppressed: the set compares texts, and a hash is no proof.
 *
 * The text goes into the lane's text ring as an entry: a tag, the head, the words. The tag names the
 * place of the key that the text belongs to: (its end modulo twice the lane's capacity) + 1. An
 * entry lies in one piece; where the ring's end is too near, it lies at the ring's start, and a
 * negative tag stands where it would have been. NO_TEXT stands behind the last entry.
 *
 * The order of the stores is the proof that a reader takes no text for another key's: the entry, and
 * NO_TEXT behind it; the pair; the tag, in place of the NO_TEXT before it; the staged end. So
 * each staged key's text is there. A reader of the keys before this one finds NO_TEXT or this tag,
 * and both say that no text of those keys follows. If the thread dies before the last store, the tag
 * names no staged key, and the next owner puts NO_TEXT in its place.
 */
export function stageText(
  lane: Lane,
  lo: number,
  hi: number,
  source: Int32Array,
  head: number,
): boolean {
  const words = lane.words
  if (((lane.end - lane.due) | 0) >= 0 && !ready(lane, 1, 0)) return false
  if (!lane.hasText) beginText(lane)
  const needed = textNeeded(lane, head)
  if (textRoomOf(lane) < needed && !ready(lane, 1, needed)) return false
  const payload = ((head >>> 1) + 3) >>> 2
  const mask = lane.textWords - 1
  const place = lane.textEnd
  const offset = place & mask
  const isSkip = offset + TEXT_HEADER + payload > lane.textWords
  const at = isSkip ? lane.text : lane.text + offset
  const next = (place + needed - 1) | 0
  words[at + 1] = head
  for (let i = 0; i < payload; i++) words[at + TEXT_HEADER + i] = source[i]
  words[lane.text + (next & mask)] = NO_TEXT
  const end = lane.end
  const tag = (end & (2 * lane.capacity - 1)) + 1
  if (isSkip) words[at] = tag
  const key = lane.keys + ((end & lane.mask) << 1)
  words[key] = lo
  words[key + 1] = hi
  words[lane.text + offset] = isSkip ? -tag : tag
  lane.textEnd = next
  lane.end = (end + 1) | 0
  words[lane.stagedAt] = lane.end
  const isTextDue = ((next - lane.textTryAt) | 0) >= 0
  if (isTextDue) {
    lane.tryAt = lane.end
    lane.textTryAt = (next + (lane.textWords >>> 2)) | 0
  }
  if (isTextDue || ((lane.end - lane.due) | 0) >= 0 || words[lane.attnAt] !== lane.attn)
    return afterStaging(lane, end)
  return true
}

/** The texts of a list of keys, for stageMany(). */
export interface TextList {
  /** Of each text: the index of its key in the list, the head, the words padded with zeros. */
  readonly words: Int32Array
  /** Words of that. */
  readonly size: number
  /** Words of the text ring that take the texts wherever they begin, NO_TEXT behind them included. */
  readonly needed: number
}

/**
 * Stages `count` keys, given as pairs low, high, low, high …; they are published together. Returns
 * false and stores nothing if they do not fit now. Keys that were staged before go into the same
 * token, or into an earlier one. `texts` are those of the keys that are texts. `areIds`: the keys are
 * given as their low halves alone.
 */
export function stageMany(
  lane: Lane,
  keys: ArrayLike<number>,
  count: number,
  texts?: TextList,
  areIds = false,
): boolean {
  const needed = texts === undefined ? 0 : texts.needed
  if (needed > 0 && !lane.hasText) beginText(lane)
  if (!ready(lane, count, needed)) return false
  const { words, mask, end, text } = lane
  const first = end & mask
  if (areIds) {
    for (let i = 0; i < count; i++) {
      const at = lane.keys + (((end + i) & mask) << 1)
      words[at] = keys[i]
      words[at + 1] = 0
    }
  } else if (isBlock(keys, count) && first + count <= lane.capacity) {
    storeBlock(words, lane.keys + (first << 1), keys)
  } else {
    for (let i = 0; i < count; i++) {
      const at = lane.keys + (((end + i) & mask) << 1)
      words[at] = keys[2 * i]
      words[at + 1] = keys[2 * i + 1]
    }
  }
  const { textWords } = lane
  const source = texts?.words
  const size = texts === undefined ? 0 : texts.size
  let place = lane.textEnd
  // No call stands in this loop: an exception there would leave tags that name no staged key.
  for (let i = 0; source !== undefined && i < size;) {
    const head = source[i + 1]
    const payload = ((head >>> 1) + 3) >>> 2
    const offset = place & (textWords - 1)
    const isSkip = offset + TEXT_HEADER + payload > textWords
    const at = isSkip ? text : text + offset
    const tag = ((end + source[i]) & (2 * lane.capacity - 1)) + 1
    words[at + 1] = head
    for (let k = 0; k < payload; k++) words[at + TEXT_HEADER + k] = source[i + TEXT_HEADER + k]
    place = (place + (isSkip ? textWords - offset : 0) + TEXT_HEADER + payload) | 0
    words[text + (place & (textWords - 1))] = NO_TEXT
    if (isSkip) words[at] = tag
    words[text + offset] = isSkip ? -tag : tag
    i += TEXT_HEADER + payload
  }
  const next = (end + count) | 0
  lane.textEnd = place
  lane.end = next
  words[lane.stagedAt] = next
  lane.tryAt = next
  lane.due = next
  return afterStaging(lane, end)
}

/** Pairs from which on the host copies them faster than a loop does. */
const BLOCK = 16

/** Tells whether `keys` are just these pairs, in a form that the host can copy. */
function isBlock(keys: ArrayLike<number>, count: number): keys is Int32Array | Uint32Array {
  return (
    count >= BLOCK &&
    keys.length === count * 2 &&
    (keys instanceof Int32Array || keys instanceof Uint32Array)
  )
}

/** Stores a whole block, in any order. (In the checker it is a loop: see instrument.mjs.) */
function storeBlock(words: SharedWords, at: number, block: Int32Array | Uint32Array): void {
  words.set(block, at)
}

/**
 * Publishes `count` keys as one batch, or stores nothing. That holds also when it throws. It is for
 * a lane whose keys are all published by this function.
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
 * Publishes all staged keys as one batch; inside batch(), only those staged before it. Returns true
 * once none of them is left, and false if the ring is full: they stay staged. An EVERYTHING token
 * that markEverything() could not send goes first.
 *
 * This is push() in ring/ring.ts, written out: no call may stand between the ring slot's
 * compareExchange and the next statement.
 */
export function publish(lane: Lane): boolean {
  if (lane.everything !== 0 && !lane.batching && !pushEverything(lane)) return false
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
      // ^ linearization point of the batch. No call stands between these two, because an exception
      // could strike there. If the thread dies from here on, other threads do the rest:
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
 * Begins a batch: keys staged from here on are published together, at endBatch(). Returns false
 * inside another batch, which this one joins.
 */
export function beginBatch(lane: Lane): boolean {
  if (lane.batching) return false
  lane.batchStart = lane.end
  lane.batchTextStart = lane.textEnd
  lane.batching = true
  return true
}

/** Publishes the batch as one token. If the ring is full, the batch stays staged, still whole. */
export function endBatch(lane: Lane): void {
  lane.batching = false
  if (!lane.open) return // the thread is ending: the harvest at CLOSE takes the batch
  const published = publish(lane)
  if (!published && !lane.clock.armed) lane.clock.arm()
  setDue(lane)
}

/** Keys that the open batch can still take: a batch is at most as large as the lane. */
export function roomInBatch(lane: Lane): number {
  return lane.capacity - ((lane.end - lane.batchStart) | 0)
}

/** The same for words of text. */
export function textRoomInBatch(lane: Lane): number {
  return lane.textWords - ((lane.textEnd - lane.batchTextStart) | 0)
}

/** EVERYTHING of all keys, as LANE_EVERYTHING has it. */
export const ALL = 1

/**
 * Makes the open epoch say 'everything': ALL, or the number of a namespace + 2. It needs no room,
 * because LANE_EVERYTHING holds it until the EVERYTHING token is in the ring. A harvest and the
 * aggregator's last look read that word. It holds one thing: a second namespace makes it ALL. Inside
 * batch() the token goes out with the batch. If the tracker stops, returns false and marks nothing.
 */
export function markEverything(lane: Lane, what: number = ALL): boolean {
  const { words } = lane
  if (isStopped(lane)) return false
  lane.everything = lane.everything === 0 || lane.everything === what ? what : ALL
  words[lane.header + LANE_EVERYTHING_MARKED] = 1
  Atomics.store(words, lane.header + LANE_EVERYTHING, lane.everything)
  if (!lane.batching && pushEverything(lane)) return true
  if (isStopped(lane)) {
    // The aggregator's last look may have come before the word was stored.
    lane.everything = 0
    Atomics.store(words, lane.header + LANE_EVERYTHING, 0)
    return false
  }
  if (!lane.clock.armed) lane.clock.arm()
  return true
}

function pushEverything(lane: Lane): boolean {
  if (!push(lane.memory, controlToken(EVERYTHING, lane.everything - 1))) return false
  lane.everything = 0
  Atomics.store(lane.words, lane.header + LANE_EVERYTHING, 0)
  return true
}

/** Keys whose cache lines are fetched together, and the keys of a line. */
const OWN_AHEAD = 512
const KEYS_A_LINE = 8

/**
 * Stores a word into each of the next free cache lines of the lane. The aggregator's core has read
 * those lines. The first store to each line waits about a hundred nanoseconds until that core gives
 * its copy up, and later stores wait for it. The stores here ask for many lines at once; stage()
 * would ask for one line at every eighth mark. This gives a third to a half more marks a second
 * (AMD EPYC 9005, Node 20).
 */
function ownAhead(lane: Lane): void {
  const { words, keys, mask, end } = lane
  const count = Math.min(OWN_AHEAD, roomOf(lane))
  for (let i = 0; i < count; i += KEYS_A_LINE) words[keys + (((end + i) & mask) << 1)] = 0
  lane.owned = (end + count) | 0
}

/** Keys that fit without waiting, by the readEnd that this thread knows. */
export function roomOf(lane: Lane): number {
  return lane.capacity - ((lane.end - lane.readEnd) | 0)
}

/** The same, by a new look at the readEnd. */
export function roomNow(lane: Lane): number {
  lane.readEnd = readEndOf(lane.memory, lane.header, lane.end)
  return roomOf(lane)
}

/** Words of text that fit without waiting, by the LANE_TEXT_READ that this thread knows. */
export function textRoomOf(lane: Lane): number {
  return lane.textWords - ((lane.textEnd - lane.textRead) | 0)
}

/** The same, by a new look. */
export function textRoomNow(lane: Lane): number {
  if (lane.hasText) lookAtText(lane)
  return textRoomOf(lane)
}

/** Words of the text ring that the next text takes, NO_TEXT behind it included. */
export function textNeeded(lane: Lane, head: number): number {
  const size = TEXT_HEADER + wordsFor(head >>> 1)
  const left = lane.textWords - (lane.textEnd & (lane.textWords - 1))
  return size > left ? left + size + 1 : size + 1
}

/**
 * Before the owner's first text: its texts begin where the aggregator has read to, and what an
 * owner before it left there is no text. Then the word that lets the aggregator look.
 */
function beginText(lane: Lane): void {
  const { words, header } = lane
  const place = Atomics.load(words, header + LANE_TEXT_READ)
  words[lane.text + (place & (lane.textWords - 1))] = NO_TEXT
  Atomics.store(words, header + LANE_TEXT, 1)
  lane.textEnd = place
  lane.textRead = place
  lane.batchTextStart = place
  lane.textTryAt = (place + (lane.textWords >>> 2)) | 0
  lane.hasText = true
}

function lookAtText(lane: Lane): void {
  const { words, header, textEnd } = lane
  const read = Atomics.load(words, header + LANE_TEXT_READ)
  const unread = (textEnd - read) | 0
  if (unread < 0 || unread > lane.textWords) throw corruptLane(read, textEnd)
  lane.textRead = read
}

/**
 * Tells whether `count` more keys, and so many words of text, fit. If they do not fit by what this
 * thread knows, it looks at what the aggregator has read. If they still do not fit, it publishes the
 * staged keys, so that the aggregator can make room.
 */
export function hasRoom(lane: Lane, count: number, text: number): boolean {
  if (roomOf(lane) >= count && textRoomOf(lane) >= text) return true
  if (roomNow(lane) >= count && (text === 0 || textRoomNow(lane) >= text)) return true
  publish(lane)
  return false
}

/**
 * Sleeps until there is room for `count` keys and `text` words of text, for `ms` at most; with
 * `count` 0, until the staged keys could be published. Returns whether that is so now.
 *
 * The lane may be full with nothing in flight: its keys are staged, and the ring is full of other
 * writers' batches. So the writer announces whether it waits for a ring slot or for room. Then it
 * looks once more for what it announced, and sleeps on LANE_WAKE. If the aggregator frees a slot or
 * makes room after this look, it sees the announcement.
 *
 * Room for text comes with the keys that it belongs to: the aggregator stores LANE_TEXT_READ after
 * LANE_READ_END, and looks for waiting writers after both. A writer that has room for keys and
 * lacks it for text is woken each time.
 *
 * Re-check STOPPED after announcing the wait. The aggregator wakes every writer once, after it
 * stored STOPPED. A writer that does not look could begin its sleep after that wake-up.
 */
export function sleepForRoom(lane: Lane, count: number, text: number, ms: number): boolean {
  const { words, header, id, capacity } = lane
  const wake = Atomics.load(words, header + LANE_WAKE)
  if (publish(lane)) {
    if (count === 0) return true
    // All keys are in flight. Sleep until half the lane is free, so that not each batch wakes it.
    let target = (lane.end + Math.max(count, capacity >>> 1) - capacity) | 0
    // The keys of an open batch are not in flight, so no more room than this can come.
    if (lane.batching && ((target - lane.batchStart) | 0) > 0) target = lane.batchStart
    Atomics.store(words, header + LANE_WAKE_AT, target)
    Atomics.store(words, header + LANE_WAITING, WAIT_FOR_ROOM)
    Atomics.or(words, waitersAt(id), waiterBit(id))
    lane.readEnd = readEndOf(lane.memory, header, lane.end)
    const isMissing = ((lane.readEnd - target) | 0) < 0 || (text > 0 && textRoomNow(lane) < text)
    if (isMissing && Atomics.load(words, STOPPED) === 0)
      Atomics.wait(words, header + LANE_WAKE, wake, ms)
  } else {
    Atomics.store(words, header + LANE_WAITING, WAIT_FOR_SLOT)
    Atomics.or(words, waitersAt(id), waiterBit(id))
    if (!publish(lane) && Atomics.load(words, STOPPED) === 0)
      Atomics.wait(words, header + LANE_WAKE, wake, ms)
  }
  lane.readEnd = readEndOf(lane.memory, header, lane.end)
  const isDone =
    count === 0 ? publish(lane) : roomOf(lane) >= count && (text === 0 || textRoomNow(lane) >= text)
  setDue(lane)
  return isDone
}

/**
 * Gives the lane back, behind all published batches. The aggregator harvests the staged keys. The
 * lane takes no mark from here on. Returns false if the ring is full: call it again.
 */
export function closeLane(lane: Lane): boolean {
  lane.open = false
  lane.due = lane.end // stage() asks ready(), which refuses
  return push(lane.memory, controlToken(CLOSE, writerPayload(lane.id, lane.generation)))
}

/**
 * Frees the lane of a writer that has closed or ended. Only the consumer calls it, as the last step
 * of a harvest, because the next owner may claim the lane at once.
 */
export function freeLane(words: SharedWords, lane: number, owner: number, harvested: number): void {
  words[lane + LANE_HARVESTED] = harvested
  words[lane + LANE_TEXT_BROKEN] = 0
  Atomics.store(words, lane + LANE_EVERYTHING, 0)
  Atomics.store(words, lane + LANE_ANCESTORS, 0)
  Atomics.store(words, lane + LANE_THREAD, 0)
  Atomics.compareExchange(words, lane + LANE_OWNER, owner, freeOwner(generationOf(owner) + 1))
}

/** Publishes, if the tracker asks for it. */
export function attend(lane: Lane): void {
  const attn = Atomics.load(lane.words, lane.attnAt)
  if (attn === lane.attn) return
  // A stop is not remembered, so that every later mark looks again, and is refused.
  if ((attn & 1) === 0) lane.attn = attn
  publish(lane)
}

/** Tells whether the tracker has stopped, so that marks are refused for good. */
export function isStopped(lane: Lane): boolean {
  return (
    (Atomics.load(lane.words, lane.attnAt) & 1) !== 0 || Atomics.load(lane.words, STOPPED) !== 0
  )
}

/**
 * Tells whether the ring takes no more tokens: the aggregator poisons it, or cannot continue.
 */
export function isRingClosed(words: SharedWords): boolean {
  return Atomics.load(words, STOPPED) !== 0 || Atomics.load(words, FAILED) !== 0
}

/** Cells of Lane.recents. */
const RECENT = 256
/** For how many batches stage() looks for repeated keys, and for how many it then does not. */
const BATCHES_WITH = 16
const BATCHES_WITHOUT = 240

/**
 * Tells whether a key is staged and not published. It looks at one place only, so it can miss the
 * key. If it does not find the key, it notes that the key will be staged at `end`. It costs about
 * what storing the key does: it has no call but at a carry.
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
      const total = (words[lane.suppressedAt] + 1) | 0
      words[lane.suppressedAt] = total
      if (total === 0) carryTotal(words, lane.header + LANE_SUPPRESSED)
      return true
    }
  }
  recent[cell] = lane.end
  return false
}

/** After a full batch: decides whether stage() looks for repeated keys from here on. */
function reviewRecent(lane: Lane): void {
  const isWorthwhile = lane.suppressed * 10 >= BATCHES_WITH * lane.batchSize + lane.suppressed
  const look = lane.recent === undefined || isWorthwhile
  lane.recent = look ? lane.recents : undefined
  lane.untilReview = look ? BATCHES_WITH : BATCHES_WITHOUT
  lane.suppressed = 0
}

/**
 * Publishes if the tracker asks for it, and tells whether `count` keys with so many words of text
 * can be staged now. Returns false once the lane is closed or the tracker stops.
 */
function ready(lane: Lane, count: number, text: number): boolean {
  if (!lane.open) return false
  attend(lane)
  if ((Atomics.load(lane.words, lane.attnAt) & 1) !== 0) return false
  const fits = hasRoom(lane, count, text)
  setDue(lane)
  return fits
}

/**
 * Does what is due after keys were staged from the end `before` on. If the tracker stops, takes
 * them back and returns false. Their texts may stay: the lane takes no mark after that, and the tags
 * name no staged key.
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
 * Looks at the aggregator's readEnd and throws nothing. Returns false for a corrupt one, which
 * roomNow() reports.
 */
function lookAtRoom(lane: Lane): boolean {
  const readEnd = Atomics.load(lane.words, lane.header + LANE_READ_END)
  const unread = (lane.end - readEnd) | 0
  if (unread < 0 || unread > lane.capacity) return false
  lane.readEnd = readEnd
  return true
}

/**
 * Sets the end at which stage() next has something to do. Call it also when the clock is no longer
 * armed.
 */
export function setDue(lane: Lane): void {
  let room = roomOf(lane)
  if (room < lane.batchSize) room = lookAtRoom(lane) ? roomOf(lane) : 0
  if (!lane.open) room = 0 // so that stage() asks ready(), which refuses
  const steps = lane.clock.armed ? Math.max((lane.tryAt - lane.end) | 0, 1) : 1
  lane.due = (lane.end + Math.min(steps, room)) | 0
}

/** Raises LANE_IN_FLIGHT_PEAK, if more keys than ever are in flight with those up to `upTo`. */
function notePeak(lane: Lane, upTo: number): void {
  if (((upTo - lane.readEnd) | 0) <= lane.peak) return
  if (!lookAtRoom(lane)) return
  const inFlight = (upTo - lane.readEnd) | 0
  if (inFlight <= lane.peak) return
  lane.peak = inFlight
  lane.words[lane.header + LANE_IN_FLIGHT_PEAK] = inFlight
}
