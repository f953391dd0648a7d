/**
 * The memory map: every shared word, its offset, the thread that writes it, and what it holds.
 * Nothing else in the library knows an offset.
 *
 * ```
 * word 0                    ring                lanes                        epoch slots
 * ┌────────┬─────────┬─────┬───────────────────┬───────────┬───────────┬ … ┬───────────────┬ … ┬───┐
 * │identity│ control │error│ capacity × 1 word │ 0: header │ 1: header │   │ 0: header     │   │pad│
 * │        │ words   │     │                   │    keys   │    keys   │   │  log │ table  │   │   │
 * │        │         │     │                   │    text   │    text   │   │  arena, table │   │   │
 * └────────┴─────────┴─────┴───────────────────┴───────────┴───────────┴ … ┴───────────────┴ … ┴───┘
 * └────── three pages ─────┘                                               └ page-aligned, 64 KiB
 * ```
 *
 * Words that different threads write lie at least one LINE (128 bytes: two cache lines, for the
 * adjacent-line prefetcher) apart. All-zero memory is an empty tracker; where zero has to mean
 * "none", a word holds its value + 1.
 */

import { arenaFor, cellsFor, FILTER_CELLS_MAX, SMALLEST_TABLE, textCellsFor } from './table-size.js'

declare const shared: unique symbol

/**
 * A view on memory that other threads write. Only the concurrent core reads and writes its
 * elements, by index, or through `Atomics`; a plain access is a claim that something else orders
 * it. The brand shows a tool which accesses these are.
 */
export interface SharedWords extends Int32Array {
  readonly buffer: SharedArrayBuffer
  readonly [shared]: true
}

/** 128 bytes, in words. */
export const LINE = 32
/** 4 KiB, in words. */
const PAGE = 1024
/** The unit of a WebAssembly.Memory, in words. */
const CHUNK = 16384
/** The most numbers, and the most texts, that the aggregator takes out of a batch at once. */
export const GATHERED_MAX = 256
/** A total, in words (memory/total.ts), and the two of them that INTENT keeps. */
const TOTAL = 3
const SAVED_TOTAL = 2

// ---------------------------------------------------------------------------------------- identity
// Written once, by create(), before the handle leaves it. Attaching checks the first part and reads
// the rest.

/** "DRNG" */
export const MAGIC_VALUE = 0x44524e47
/** The version of the layout in this file and of the protocol over it. */
export const VERSION_VALUE = 2

export const MAGIC = 0
export const VERSION = MAGIC + 1
/** Size of the whole memory, in units of 64 KiB. */
export const CHUNKS = VERSION + 1
export const CAPACITY = CHUNKS + 1
export const LANE_CAPACITY = CAPACITY + 1
export const MAX_WRITERS = LANE_CAPACITY + 1
export const EPOCH_SLOTS = MAX_WRITERS + 1
export const MAX_KEYS_PER_EPOCH = EPOCH_SLOTS + 1
export const BATCH_SIZE = MAX_KEYS_PER_EPOCH + 1
export const FLUSH_INTERVAL_MS = BATCH_SIZE + 1
/** 0 'wait', 1 'reject'. */
export const ON_FULL = FLUSH_INTERVAL_MS + 1
export const MAX_WAIT_MS = ON_FULL + 1
/** Bytes of a lane's text ring: a power of two, or 0 if text is marked by its fingerprint. */
export const LANE_TEXT_BYTES = MAX_WAIT_MS + 1
export const MAX_STRINGS_PER_EPOCH = LANE_TEXT_BYTES + 1
export const MAX_STRING_BYTES_PER_EPOCH = MAX_STRINGS_PER_EPOCH + 1
/** 0 'any', or the only kind of keys: its index in the option's row. */
export const KEY_KIND = MAX_STRING_BYTES_PER_EPOCH + 1
/** Named consumers; 0: the tracker itself is the one consumer. */
export const MAX_CONSUMERS = KEY_KIND + 1
/** Two random words: the tracker's identity (a buffer received twice is two objects). */
export const TRACKER_ID = MAX_CONSUMERS + 1
/** The second of them. */
export const TRACKER_ID_2 = TRACKER_ID + 1
/** Thread id + 1 of the thread that called create(). */
export const TRACKER_THREAD = TRACKER_ID_2 + 1
/**
 * Seven words that place keys in the tables, drawn from the platform's crypto: five mix pairs
 * (set/mix.ts), two are the key of the texts' hash (set/sip.ts).
 */
export const SECRETS = TRACKER_THREAD + 2
export const TEXT_SECRETS = SECRETS + 5
/** A hash of all words above but TRACKER_THREAD. */
export const IDENTITY_CHECK = TEXT_SECRETS + 2

/** The words of the identity, and the free words behind them. */
const IDENTITY_AREA = LINE

// ----------------------------------------------------------------------------------------- control

/** Producers: the next position to claim, or a little behind it. */
export const TAIL = IDENTITY_AREA

/** Aggregator: the position it is at. */
export const HEAD = TAIL + LINE
/** Aggregator: the open epoch, epoch mod 2^19 << 4 | slot. One store of it executes a cut. */
export const CUR = HEAD + 1
/** Aggregator: 1 once it handled the STOP token. The poisoning that follows ends all batches. */
export const STOPPED = CUR + 1
/** Aggregator: the STOP token's position + 1. */
export const STOP_POSITION = STOPPED + 1
/** Aggregator: 1 once no key can be delivered any more. */
export const FINISHED = STOP_POSITION + 1
/**
 * Aggregator: moves with every 4,096 keys of a long effect, every idle round, every slice of a
 * backoff.
 */
export const PROGRESS = FINISHED + 1
/** Aggregator: the most tokens that it has found waiting in the ring. */
export const QUEUED_PEAK = PROGRESS + 1
/**
 * Aggregator: CORRUPT_RING or CANNOT_SEAL of memory/failure.ts if it cannot continue, otherwise 0.
 * Every wait then ends.
 */
export const FAILED = QUEUED_PEAK + 1

/**
 * Aggregator: the tokens in hand, from this position on. Position + 1, stored last; 0 while the
 * words below are being stored.
 */
export const INTENT_POSITION = HEAD + LINE
/** Their writer's readEnd before them. */
export const INTENT_START = INTENT_POSITION + 1
/**
 * Five totals as they were before the tokens: hi and lo of each. In the order of the totals below,
 * then the writer's LANE_DELIVERED.
 */
export const INTENT_EVENTS = INTENT_START + 1
export const INTENT_BATCHES = INTENT_EVENTS + SAVED_TOTAL
export const INTENT_KEYS = INTENT_BATCHES + SAVED_TOTAL
export const INTENT_HARVESTED = INTENT_KEYS + SAVED_TOTAL
export const INTENT_DELIVERED = INTENT_HARVESTED + SAVED_TOTAL
/** How many tokens: batches of one writer, or a single token of any kind. */
export const INTENT_TOKENS = INTENT_DELIVERED + SAVED_TOTAL
/** Keys that the batches have together. */
export const INTENT_COUNT = INTENT_TOKENS + 1
/**
 * A hash of the position, the tokens, their keys and the readEnd, stored before the position. A
 * successor believes none of them without it.
 */
export const INTENT_CHECK = INTENT_COUNT + 1

/** Where the tokens' texts begin in the lane's text ring, and where they end: see LANE_TEXT_READ. */
export const INTENT_TEXT_START = INTENT_CHECK + 1
/** Stored after the tokens' effect, and before LANE_READ_END. */
export const INTENT_TEXT_END = INTENT_TEXT_START + 1

/** Aggregator: totals of three words, hi, lo, hi again (see memory/total.ts). */
export const EVENTS = INTENT_POSITION + LINE
export const BATCHES = EVENTS + TOTAL
export const KEYS = BATCHES + TOTAL
export const HARVESTED = KEYS + TOTAL

/** The aggregator sets it to 1 and sleeps on it. A producer that takes it back to 0 notifies. */
export const PARKED = EVENTS + LINE
/**
 * Thread id + 1 of the thread that has the aggregator's role (of the consumer, in a BatchRing); 0:
 * the role is free.
 */
export const OWNER = PARKED + LINE
/**
 * The thread that has the role: the value of OWNER when that thread stored the words below. For
 * another owner these words are not valid.
 */
export const ROLE_OF = OWNER + 1
/** The threads above it, as in LANE_ANCESTORS. */
export const ROLE_ANCESTORS = ROLE_OF + 1
/**
 * One bit per waiting writer: 32 words for up to 1,024 writers. The writer sets the bit, and the
 * aggregator clears it.
 */
export const WAITERS = OWNER + LINE
/**
 * Tracker sets it to 1 when it waits for head or readEnd to move; the aggregator takes it back and
 * signals.
 */
export const LISTENING = WAITERS + LINE
/**
 * Tracker: 1 while a worker starts that will take the aggregator's role. A thread that waits for
 * room need not give up.
 */
export const STARTING = LISTENING + 1
/**
 * Tracker sets it to 1 while an epochs() loop sleeps until something is marked. The aggregator
 * takes it back when the open epoch begins to have something, and signals.
 */
export const DIRTY_WANTED = STARTING + 1
/** Aggregator: counts its signals to the tracker, which sleeps on it. */
export const SIGNAL = LISTENING + LINE
/** Any thread: the last thread id drawn, where the platform gives none. */
export const THREADS = SIGNAL + LINE

/** Supervisor of the aggregator, on the aggregator's thread. */
export const PANICS = THREADS + LINE
export const ITERATIONS = PANICS + 1
/** In ms, the wait before a step that threw is tried again; 0 if no step waits. */
export const RETRYING = ITERATIONS + 1
/** Position + 1 at which the last failure happened, and how many there were at it. */
export const FAILED_AT = RETRYING + 1
export const FAILURES = FAILED_AT + 1
const ERROR_LINES = 8
/** The last failure's message: length, then a UTF-16 code unit a word. */
export const ERROR_LENGTH = PANICS + LINE
export const ERROR_TEXT = ERROR_LENGTH + 1
export const ERROR_TEXT_MAX = ERROR_LINES * LINE - 1
/** Aggregator: 256 words in which the WebAssembly kernel works; nothing in them outlives a call. */
export const KERNEL_SCRATCH = ERROR_LENGTH + (ERROR_LINES + 1) * LINE

/**
 * Aggregator: the numbers, and the places of the texts, that it takes out of a batch which has
 * both. Nothing in them outlives a call.
 */
export const GATHERED_KEYS = KERNEL_SCRATCH + 256
export const GATHERED_TEXTS = GATHERED_KEYS + 2 * GATHERED_MAX

/**
 * Aggregator: which plan it took last, and how many merges of that plan are made (jobWord() in
 * plan.ts). 0 before the first one.
 */
export const JOB = GATHERED_TEXTS + GATHERED_MAX
/** How often the merge in hand has failed. */
export const JOB_FAILURES = JOB + 1

/** Tracker: what becomes of the epochs that are sealed, by their numbers modulo PLANS. */
export const PLAN = JOB + LINE
/** A power of two, and more than the cuts that may be in flight. */
export const PLANS = 16
/** A hash of the words below, and the epoch's number (mod 2^19). */
export const PLAN_CHECK = 0
/** How many merges, and how many of them the epoch that is handed out waits for: << 8. */
export const PLAN_COUNTS = 1
/** The merges: source | target << 4 | isNew << 8 | (number of the choice + 1) << 9. */
export const PLAN_MERGES = 2
export const PLAN_MERGES_MAX = 14
const PLAN_WORDS = PLAN_MERGES + PLAN_MERGES_MAX

/**
 * Tracker: the namespaces that a named consumer wants, by the number of its choice: a hash of the
 * words behind it, how many, and which.
 */
export const CHOICE_TABLE = PLAN + PLANS * PLAN_WORDS
/** So many that one which was given up is used again only when no plan names it any more. */
export const CHOICES_MAX = 20
/** Numbers of namespaces that are kept apart, in an epoch slot and in a choice. */
export const NAMESPACES_MAX = 24
const CHOICE_WORDS = NAMESPACES_MAX + 2

const RING = 3 * PAGE

// ------------------------------------------------------------------------------------------ a lane

/** Tracker: how often writers were asked to publish << 1 | stopped. */
export const LANE_ATTN = 0
/**
 * generation (13 bits) << 17 | (thread id mod (2^17 - 1)) + 1 (17 bits; 0: free). Claimed and freed
 * by compareExchange only.
 */
export const LANE_OWNER = LANE_ATTN + LINE
/** Writer: the owner's full thread id + 1; 0 between claim and store, and when free. */
export const LANE_THREAD = LANE_OWNER + 1
/**
 * Writer: full id + 1 of each thread above the owner that has announced itself, the nearest first;
 * a 0 ends the list. The end of any of them is the owner's end. A thread between them may have no
 * lane, so the nearest alone would not do.
 */
export const LANE_ANCESTORS = LANE_THREAD + 1
/** The most ancestors that are noted. */
export const ANCESTORS_MAX = 16
/**
 * Writer: end of the keys marked. The three ends are free-running counters. They are never reset
 * and go on across owners.
 */
export const LANE_STAGED_END = LANE_OWNER + LINE
/** Writer: end of the keys published. After a writer is killed, it may lag by one batch. */
export const LANE_PUBLISHED = LANE_STAGED_END + 1
/** Writer: totals. */
export const LANE_REJECTED = LANE_PUBLISHED + 1
export const LANE_SUPPRESSED = LANE_REJECTED + TOTAL
export const LANE_BATCHES = LANE_SUPPRESSED + TOTAL
export const LANE_WAITS = LANE_BATCHES + TOTAL
/** Microseconds. */
export const LANE_WAIT_US = LANE_WAITS + TOTAL
/** Writer: the most keys that were in flight when it published. */
export const LANE_IN_FLIGHT_PEAK = LANE_WAIT_US + TOTAL
/**
 * Writer: from markEverything() until the writer's EVERYTHING token is in the ring: 1, or the
 * number of a namespace + 2. A harvest takes it along, and so does the end of the tracker.
 */
export const LANE_EVERYTHING = LANE_IN_FLIGHT_PEAK + 1
/** Writer: 1 once an owner of the lane has called markEverything(). Never reset. */
export const LANE_EVERYTHING_MARKED = LANE_EVERYTHING + 1
/** Writer: WAIT_FOR_SLOT or WAIT_FOR_ROOM while it waits, otherwise 0. */
export const LANE_WAITING = LANE_STAGED_END + LINE
/** Writer: with WAIT_FOR_ROOM, the readEnd at which the aggregator wakes it. */
export const LANE_WAKE_AT = LANE_WAITING + 1
/** Aggregator: end of the keys consumed. Storing it gives the writer room. */
export const LANE_READ_END = LANE_WAITING + LINE
/** Aggregator: total of the keys delivered. */
export const LANE_DELIVERED = LANE_READ_END + 1
/** Aggregator: keys harvested when the lane was last freed. */
export const LANE_HARVESTED = LANE_DELIVERED + TOTAL
/**
 * Aggregator: the place in the text ring behind all texts consumed. Storing it gives the writer
 * room. Places are free-running counters of words, as the ends are of keys.
 */
export const LANE_TEXT_READ = LANE_HARVESTED + 1
/** Aggregator: 1 if the lane's texts do not hold together, until the lane is freed. */
export const LANE_TEXT_BROKEN = LANE_TEXT_READ + 1
/** Aggregator: counts wake-ups; the writer sleeps on it. */
export const LANE_WAKE = LANE_READ_END + LINE
/**
 * Writer: 1 once the owner has marked a text. While it is 0, no thread touches the lane's text
 * ring.
 */
export const LANE_TEXT = LANE_WAKE + LINE
const LANE_HEADER = LANE_TEXT + LINE

export const WAIT_FOR_SLOT = 1
export const WAIT_FOR_ROOM = 2

// ----------------------------------------------------------------------------------- an epoch slot
// Only the aggregator writes these words, SLOT_STAMP excepted. Other threads read them once CUR has
// moved on.

/** Keys in the log. */
export const SLOT_COUNT = 0
/** How often the table has doubled from its smallest size. Stored last when it grows. */
export const SLOT_GROWTH = SLOT_COUNT + 1
/** 1: key 0 is in. (In a table, 0 marks an empty cell.) */
export const SLOT_ZERO = SLOT_GROWTH + 1
/** Reasons why the epoch is not exact, FLAG_*. */
export const SLOT_FLAGS = SLOT_ZERO + 1
/** epoch mod 2^19, + 1, once its keys were restored into a later one. */
export const SLOT_RESTORED = SLOT_FLAGS + 1
/**
 * While the epoch is open, a hash of its number. From the seal on, a hash of its number and of all
 * words above except SLOT_RESTORED (memory/slot.ts).
 */
export const SLOT_CHECK = SLOT_RESTORED + 1
/** Words of the arena that hold texts: the only one of these four that a recovery reads. */
export const SLOT_TEXT_END = SLOT_CHECK + 1
/** How often the table of the texts has doubled from its smallest size. */
export const SLOT_TEXT_GROWTH = SLOT_TEXT_END + 1
/** How many texts, and their bytes: once sealed; before, for those who only want to know. */
export const SLOT_TEXT_COUNT = SLOT_TEXT_GROWTH + 1
export const SLOT_TEXT_BYTES = SLOT_TEXT_COUNT + 1
/** Whether tables find the keys, or a filter does: FORM_*, in this order. */
export const SLOT_FORM = SLOT_TEXT_BYTES + 1
/** Bits of the filter that are set. */
export const SLOT_FILL = SLOT_FORM + 1
/** Of a sealed slot: the epoch (mod 2^19) that SLOT_CHECK is of. */
export const SLOT_EPOCH = SLOT_FILL + 1
/** 1 while epochs are merged into this slot: its tables may have keys that it does not count. */
export const SLOT_DIRTY = SLOT_EPOCH + 1
/** How many namespaces have changed as a whole, and their numbers behind that. */
export const SLOT_NAMESPACES = SLOT_DIRTY + 1
/**
 * Tracker: names the epoch that is sealed here, from the hand-out until it is settled (stampOf() in
 * memory/slot.ts); otherwise 0. Taken back before the slot is free. A reader on another thread
 * believes what it has copied out of the slot if the stamp is still that of its epoch.
 */
export const SLOT_STAMP = SLOT_COUNT + 2 * LINE
const SLOT_HEADER = SLOT_STAMP + LINE

export const FLAG_OVERFLOW = 1
export const FLAG_EVERYTHING = 2
export const FLAG_UNPUBLISHED = 4
export const FLAG_FAULT = 8
/** So many bits of the filter are set that it says little. FLAG_OVERFLOW is set beside it. */
export const FLAG_SATURATED = 16
/** Some namespaces have changed as a whole: see SLOT_NAMESPACES. */
export const FLAG_NAMESPACES = 32
/**
 * Only in copies of a header, never in shared memory: the consumer stands nowhere yet, so that all
 * keys are dirty for it.
 */
export const FLAG_FRESH = 64

/** Tables. Log and arena have all keys. */
export const FORM_EXACT = 0
/** The memory is being cleared for the filter. Log and arena change no more. */
export const FORM_CLEARING = 1
/** The filter takes what log and arena hold. Nothing in it is cleared any more. */
export const FORM_FILLING = 2
/** A filter (set/filter.ts) of all numbers and texts. Log and arena have a part of them. */
export const FORM_FILTER = 3

// ---------------------------------------------------------------------------------------- geometry

/** The numbers that decide the layout. */
export interface Geometry {
  /** Slots of the ring: a power of two. */
  readonly capacity: number
  /** Keys of a lane: a power of two. */
  readonly laneCapacity: number
  readonly maxWriters: number
  /** 0 in a BatchRing. */
  readonly epochSlots: number
  readonly maxKeysPerEpoch: number
  /** Bytes of a lane's text ring: a power of two. */
  readonly laneTextBytes: number
  /** 0: there is no memory for texts, neither in lanes nor in epochs. */
  readonly maxStringsPerEpoch: number
  readonly maxStringBytesPerEpoch: number
  readonly maxConsumers: number
}

/** Where everything is, in words. A plain record, made once for each attached memory. */
export interface Layout extends Geometry {
  /** log2 of capacity. */
  readonly capacityBits: number
  /** log2 of laneCapacity. */
  readonly laneBits: number
  readonly ring: number
  readonly lanes: number
  readonly laneStride: number
  readonly epochs: number
  readonly epochStride: number
  /** From an epoch slot's first word. */
  readonly log: number
  /** From an epoch slot's first word. */
  readonly table: number
  readonly smallestTable: number
  readonly largestTable: number
  /** Of the filter of an epoch that is full, which lies where this table does: its size in cells. */
  readonly filterCells: number
  /** From a lane's header; words of the text ring, 0 without texts. */
  readonly laneText: number
  readonly laneTextWords: number
  /** From an epoch slot's first word: the texts, and the table that finds them. */
  readonly arena: number
  readonly arenaWords: number
  readonly textTable: number
  readonly smallestTextTable: number
  readonly largestTextTable: number
  /** Of the whole memory: a multiple of 64 KiB. */
  readonly size: number
}

export function layoutOf(geometry: Geometry): Layout {
  const { capacity, laneCapacity, maxWriters, epochSlots, maxKeysPerEpoch } = geometry
  const { maxStringsPerEpoch, maxStringBytesPerEpoch } = geometry
  const hasText = maxStringsPerEpoch > 0
  const lanes = RING + roundUp(capacity, LINE)
  const laneText = LANE_HEADER + roundUp(laneCapacity * 2, LINE)
  const laneTextWords = hasText ? geometry.laneTextBytes / 4 : 0
  const laneStride = laneText + roundUp(laneTextWords, LINE)
  const epochs = roundUp(lanes + laneStride * maxWriters, PAGE)
  const largestTable = cellsFor(maxKeysPerEpoch)
  const table = SLOT_HEADER + roundUp(maxKeysPerEpoch * 2, LINE)
  const arena = roundUp(table + largestTable * 2, PAGE)
  const arenaWords = hasText ? arenaFor(maxStringsPerEpoch, maxStringBytesPerEpoch) : 0
  const textTable = arena + roundUp(arenaWords, PAGE)
  const largestTextTable = hasText ? textCellsFor(maxStringsPerEpoch) : 0
  const epochStride = roundUp(textTable + largestTextTable * 2, PAGE)
  return {
    ...geometry,
    capacityBits: Math.log2(capacity),
    laneBits: Math.log2(laneCapacity),
    ring: RING,
    lanes,
    laneStride,
    epochs,
    epochStride,
    log: SLOT_HEADER,
    table,
    smallestTable: Math.min(SMALLEST_TABLE, largestTable),
    largestTable,
    filterCells: Math.min(largestTable, FILTER_CELLS_MAX),
    laneText,
    laneTextWords,
    arena,
    arenaWords,
    textTable,
    smallestTextTable: Math.min(SMALLEST_TABLE, largestTextTable),
    largestTextTable,
    size: roundUp(epochs + epochStride * epochSlots, CHUNK),
  }
}

/** Word index of the ring slot of a position. */
export function slotAt(layout: Layout, position: number): number {
  return layout.ring + (position & (layout.capacity - 1))
}

/** Word index of the plan of an epoch. */
export function planAt(epoch: number): number {
  return PLAN + (epoch & (PLANS - 1)) * PLAN_WORDS
}

/** Word index of a consumer's choice of namespaces. */
export function choiceAt(choice: number): number {
  return CHOICE_TABLE + choice * CHOICE_WORDS
}

/** Word index of the WAITERS word that has a writer's bit. */
export function waitersAt(writer: number): number {
  return WAITERS + (writer >>> 5)
}

/** A writer's bit in that word. */
export function waiterBit(writer: number): number {
  return 1 << (writer & 31)
}

/** Word index of a lane's header. */
export function laneAt(layout: Layout, writer: number): number {
  return layout.lanes + layout.laneStride * writer
}

/** Word index of a lane's first key, from its header. */
export const LANE_KEYS = LANE_HEADER

/** Word index of an epoch slot's header. */
export function epochAt(layout: Layout, slot: number): number {
  return layout.epochs + layout.epochStride * slot
}

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit
}
