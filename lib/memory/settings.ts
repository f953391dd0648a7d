/**
 * The table of a tracker's options. From it follow what create() takes and stores, what a thread
 * that attaches reads back, and what `dirtyring demo --help` lists. A new option is a row here, a
 * word in map.ts if other threads need it, a documented member of TrackerOptions, and a line of help
 * in cli/options.ts. The help is not here, because a page that marks would load it.
 */
import {
  BATCH_SIZE,
  CAPACITY,
  EPOCH_SLOTS,
  FLUSH_INTERVAL_MS,
  KEY_KIND,
  LANE_CAPACITY,
  LANE_TEXT_BYTES,
  MAX_KEYS_PER_EPOCH,
  MAX_STRING_BYTES_PER_EPOCH,
  MAX_STRINGS_PER_EPOCH,
  MAX_WAIT_MS,
  MAX_WRITERS,
  ON_FULL,
  type SharedWords,
} from './map.js'

interface Row {
  /** The word of the identity that holds it. Without one, only the tracker's thread knows it. */
  readonly word?: number
}

/** A whole number. */
export interface NumberRow extends Row {
  readonly min: number
  /** The largest value, or a function of the options in the rows above. */
  readonly max: number | ((above: Readonly<Record<string, number>>) => number)
  /** The option that `max` is the value of. */
  readonly maxName?: string
  readonly isPowerOfTwo?: boolean
  /** Or `max`, where that is less. */
  readonly byDefault: number
  /** It is about texts: 0 with a kind of keys that has none. */
  readonly isOfText?: boolean
}

/** One of a few words, of which the first is the default; stored as its index. */
export interface ChoiceRow extends Row {
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
export const TIMER_MS_MAX = 2 ** 31 - 1
/** All lanes together have at most so many keys. */
const LANES_KEYS_MAX_LOG2 = 27

export const OPTIONS = {
  capacity: {
    word: CAPACITY,
    min: 2,
    max: 2 ** 20,
    isPowerOfTwo: true,
    byDefault: 1024,
  },
  maxWriters: {
    word: MAX_WRITERS,
    min: 1,
    max: 1024,
    byDefault: 32,
  },
  laneCapacity: {
    word: LANE_CAPACITY,
    min: 1,
    max: ({ maxWriters }) => 2 ** (LANES_KEYS_MAX_LOG2 - Math.ceil(Math.log2(maxWriters))),
    isPowerOfTwo: true,
    byDefault: 16384,
  },
  batchSize: {
    word: BATCH_SIZE,
    min: 1,
    max: ({ laneCapacity }) => laneCapacity,
    maxName: 'laneCapacity',
    byDefault: 64,
  },
  laneTextBytes: {
    word: LANE_TEXT_BYTES,
    min: 2 ** 10,
    max: 2 ** 26,
    isPowerOfTwo: true,
    byDefault: 2 ** 19,
  },
  epochSlots: {
    word: EPOCH_SLOTS,
    min: 2,
    max: 16,
    byDefault: 4,
  },
  maxKeysPerEpoch: {
    word: MAX_KEYS_PER_EPOCH,
    min: 1,
    max: 2 ** 28,
    byDefault: 2 ** 20,
  },
  keys: {
    word: KEY_KIND,
    choices: ['any', 'string', 'number', 'bigint', 'bytes'],
  },
  maxStringsPerEpoch: {
    word: MAX_STRINGS_PER_EPOCH,
    min: 0,
    max: 2 ** 26,
    byDefault: 2 ** 20,
    isOfText: true,
  },
  maxStringBytesPerEpoch: {
    word: MAX_STRING_BYTES_PER_EPOCH,
    min: 1,
    max: 2 ** 31 - 1,
    byDefault: 2 ** 25,
    isOfText: true,
  },
  flushIntervalMs: {
    word: FLUSH_INTERVAL_MS,
    min: 0,
    max: TIMER_MS_MAX,
    byDefault: 10,
  },
  onFull: {
    word: ON_FULL,
    choices: ['wait', 'reject'],
  },
  maxWaitMs: {
    word: MAX_WAIT_MS,
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

type Options = typeof OPTIONS
type StoredName = {
  [K in keyof Options]: Options[K] extends { readonly word: number } ? K : never
}[keyof Options]

/** The options that create() stores, and that every thread that attaches reads. */
export type Settings = {
  readonly [K in StoredName]: Options[K] extends { readonly choices: readonly (infer Choice)[] }
    ? Choice
    : number
}

const stored = Object.entries<OptionRow>(OPTIONS).flatMap(([name, row]) =>
  row.word === undefined
    ? []
    : [{ name, word: row.word, choices: 'choices' in row ? row.choices : undefined }],
)

/** Before any other thread has the memory. Of a setting that is missing the word stays 0. */
export function storeSettings(words: SharedWords, settings: Partial<Settings>): void {
  for (const { name, word, choices } of stored) {
    const value = (settings as Readonly<Record<string, number | string | undefined>>)[name]
    if (typeof value === 'number') words[word] = value
    else if (value !== undefined) words[word] = choices!.indexOf(value)
  }
}

/** As create() stored them. */
export function settingsOf(words: SharedWords): Settings {
  const settings: Record<string, number | string> = {}
  for (const { name, word, choices } of stored)
    settings[name] = choices === undefined ? words[word] : (choices[words[word]] ?? choices[0])
  return settings as Settings
}
