/**
 * The tables of a tracker's options. OPTIONS says what create() takes, and what
 * `dirtyring demo --help` lists. WORDS says what create() stores, and what a thread that attaches
 * reads back. A new option is a row in OPTIONS, a documented member of TrackerOptions, and a line of
 * help in cli/options.ts. If other threads need it, it is also a row in WORDS, and a word in map.ts.
 *
 * WORDS and the help are apart from OPTIONS, because a page that only marks loads WORDS alone.
 */
import {
  BATCH_SIZE,
  CAPACITY,
  EPOCH_SLOTS,
  FLUSH_INTERVAL_MS,
  KEY_KIND,
  LANE_CAPACITY,
  LANE_TEXT_BYTES,
  MAX_CONSUMERS,
  MAX_KEYS_PER_EPOCH,
  MAX_STRING_BYTES_PER_EPOCH,
  MAX_STRINGS_PER_EPOCH,
  MAX_WAIT_MS,
  MAX_WRITERS,
  ON_FULL,
  type SharedWords,
} from './map.js'

/** A whole number. */
export interface NumberRow {
  readonly min: number
  /** The largest value, or a function of the options in the rows above. */
  readonly max: number | ((above: Readonly<Record<string, number>>) => number)
  /** The option that `max` is the value of. */
  readonly maxName?: string
  readonly isPowerOfTwo?: boolean
  /** Or `max`, where that is less. */
  readonly byDefault: number
  /** A value below it is raised to it: a function of the options in the rows above. */
  readonly atLeast?: (above: Readonly<Record<string, number>>) => number
  /** It is about texts: 0 with a kind of keys that has none. */
  readonly isOfText?: boolean
}

/** One of a few words, of which the first is the default; stored as its index. */
export interface ChoiceRow {
  readonly choices: readonly string[]
  /** It may be a function instead. */
  readonly orFunction?: boolean
}

/**
 * What `create({ keys })` allows. It is checked at every mark, and it is the type of what comes back.
 * With 'number' all keys are ids. With 'bigint' every key comes back as a bigint. With 'any', the
 * default, text comes back as text, and numbers as numbers where they fit.
 *
 * @example
 * ```js
 * import { DirtyTracker } from 'dirtyring'
 *
 * const tracker = await DirtyTracker.create({ keys: 'string' })
 * const writer = tracker.openWriter()
 * writer.mark('/users/7')
 * try {
 *   writer.mark(7)
 * } catch (error) {
 *   console.log(error.code) // ERR_DIRTYRING_INVALID_ARG
 * }
 * await tracker.consume((epoch) => console.log(...epoch)) // /users/7
 * await tracker.stop()
 * ```
 */
export type KeyKind = 'any' | 'string' | 'number' | 'bigint' | 'bytes'

/** Whether keys of a kind can be texts or bytes. */
export function hasTexts(kind: KeyKind): boolean {
  return kind !== 'number' && kind !== 'bigint'
}

export type OptionRow = NumberRow | ChoiceRow

/** 2^31 - 1: what a timer takes, in ms. */
export const TIMER_MS_MAX = 0x7fffffff
/** All lanes together have at most so many keys. */
const LANES_KEYS_MAX_LOG2 = 27

export const WRITERS_MAX = 1024
export const EPOCH_SLOTS_MAX = 16

/** The word of the identity that holds an option. An option without one stays with the tracker. */
const WORDS = {
  capacity: CAPACITY,
  maxWriters: MAX_WRITERS,
  laneCapacity: LANE_CAPACITY,
  batchSize: BATCH_SIZE,
  laneTextBytes: LANE_TEXT_BYTES,
  epochSlots: EPOCH_SLOTS,
  maxConsumers: MAX_CONSUMERS,
  maxKeysPerEpoch: MAX_KEYS_PER_EPOCH,
  maxStringsPerEpoch: MAX_STRINGS_PER_EPOCH,
  maxStringBytesPerEpoch: MAX_STRING_BYTES_PER_EPOCH,
  keys: KEY_KIND,
  flushIntervalMs: FLUSH_INTERVAL_MS,
  onFull: ON_FULL,
  maxWaitMs: MAX_WAIT_MS,
} as const

const KEY_KINDS = ['any', 'string', 'number', 'bigint', 'bytes'] as const
const WHEN_FULL = ['wait', 'reject'] as const
/** The options among them that are one of a few words. */
const CHOICES = { keys: KEY_KINDS, onFull: WHEN_FULL }

/** Reads no property, because bundlers would then keep it where nothing uses it. */
export const OPTIONS = {
  capacity: {
    min: 2,
    max: 2 ** 20,
    isPowerOfTwo: true,
    byDefault: 1024,
  },
  maxWriters: {
    min: 1,
    max: WRITERS_MAX,
    byDefault: 32,
  },
  laneCapacity: {
    min: 1,
    max: ({ maxWriters }) => 2 ** (LANES_KEYS_MAX_LOG2 - Math.ceil(Math.log2(maxWriters))),
    isPowerOfTwo: true,
    byDefault: 16384,
  },
  batchSize: {
    min: 1,
    max: ({ laneCapacity }) => laneCapacity,
    maxName: 'laneCapacity',
    byDefault: 64,
  },
  laneTextBytes: {
    min: 2 ** 10,
    max: 2 ** 26,
    isPowerOfTwo: true,
    byDefault: 2 ** 19,
  },
  maxConsumers: {
    min: 0,
    max: 7,
    byDefault: 0,
  },
  epochSlots: {
    min: 2,
    max: EPOCH_SLOTS_MAX,
    byDefault: 4,
    atLeast: ({ maxConsumers }) => 2 * maxConsumers + 2,
  },
  maxKeysPerEpoch: {
    min: 1,
    max: 2 ** 28,
    byDefault: 2 ** 20,
  },
  keys: {
    choices: KEY_KINDS,
  },
  maxStringsPerEpoch: {
    min: 0,
    max: 2 ** 26,
    byDefault: 2 ** 20,
    isOfText: true,
  },
  maxStringBytesPerEpoch: {
    min: 1,
    max: 0x7fffffff,
    byDefault: 2 ** 25,
    isOfText: true,
  },
  flushIntervalMs: {
    min: 0,
    max: TIMER_MS_MAX,
    byDefault: 10,
  },
  onFull: {
    choices: WHEN_FULL,
  },
  maxWaitMs: {
    min: 0,
    max: TIMER_MS_MAX,
    byDefault: 30_000,
  },
  kernel: { choices: ['auto', 'wasm', 'js'] },
  aggregator: {
    choices: ['worker', 'none', 'inline'],
    orFunction: true,
  },
} as const satisfies Readonly<Record<string, OptionRow>>

/** The options that create() stores, and that every thread that attaches reads. */
export type Settings = {
  readonly [K in keyof typeof WORDS]: K extends keyof typeof CHOICES
    ? (typeof CHOICES)[K][number]
    : number
}

/** Before any other thread has the memory. Of a setting that is missing the word stays 0. */
export function storeSettings(words: SharedWords, settings: Partial<Settings>): void {
  for (const [name, word] of Object.entries(WORDS)) {
    const value = settings[name as keyof Settings]
    if (typeof value === 'number') words[word] = value
    else if (value !== undefined) words[word] = choicesOf(name)!.indexOf(value)
  }
}

/** As create() stored them. */
export function settingsOf(words: SharedWords): Settings {
  const settings: Record<string, number | string> = {}
  for (const [name, word] of Object.entries(WORDS)) {
    const choices = choicesOf(name)
    settings[name] = choices === undefined ? words[word] : (choices[words[word]] ?? choices[0])
  }
  return settings as Settings
}

/** The kind of keys alone: an epoch needs it each time that one is made. */
export function keyKindOf(words: SharedWords): KeyKind {
  return KEY_KINDS[words[KEY_KIND]] ?? KEY_KINDS[0]
}

function choicesOf(name: string): readonly string[] | undefined {
  return (CHOICES as Readonly<Record<string, readonly string[] | undefined>>)[name]
}
