import { checkBag, checkChoice, checkPowerOfTwo, checkWhole } from './check.js'
import { outOfRange } from './errors.js'
import { laneAt, layoutOf } from './memory/map.js'
import { MAX_BYTES } from './memory/memory.js'
import { hasTexts, type KeyKind, type OptionRow, OPTIONS } from './memory/settings.js'

/**
 * Names a tracker to other threads. Pass it in workerData or by postMessage, and give it to
 * openWriter() there. It works in the threads of one process only. In another process the call
 * throws `ERR_DIRTYRING_BAD_HANDLE`.
 *
 * @example
 * ```js
 * // main.js
 * import { Worker } from 'node:worker_threads'
 * import { DirtyTracker } from 'dirtyring'
 *
 * const tracker = await DirtyTracker.create()
 * const workerData = { handle: tracker.handle, first: 10 }
 * const worker = new Worker(new URL('./writer.js', import.meta.url), { workerData })
 * await new Promise((resolve) => worker.once('exit', resolve))
 * await tracker.consume((epoch) => console.log(...epoch.ids())) // 10 11
 * await tracker.stop()
 * ```
 *
 * ```js
 * // writer.js
 * import { workerData } from 'node:worker_threads'
 * import { openWriter } from 'dirtyring'
 *
 * const writer = openWriter(workerData.handle)
 * writer.markMany([workerData.first, workerData.first + 1])
 * ```
 */
export interface TrackerHandle {
  /** Exists at compile time only: the compiler then refuses any other object as a handle. */
  readonly __brand: 'dirtyring.TrackerHandle'
}

/**
 * Tunes a tracker. Every option may be left out. An option of the wrong type throws a TypeError. An
 * option out of its range throws a RangeError. In both cases create() reserves no memory.
 *
 * @example
 * ```js
 * import { DirtyTracker } from 'dirtyring'
 *
 * const tracker = await DirtyTracker.create({ laneCapacity: 65_536, onFull: 'reject' })
 * console.log(tracker.options.laneCapacity, tracker.options.batchSize) // 65536 64
 * await tracker.stop()
 * ```
 */
export interface TrackerOptions {
  /**
   * In KEYS: how many a writer stages before it publishes by itself. 1 to laneCapacity. Default 64,
   * or laneCapacity if that is less. A larger batch costs fewer atomic operations, but its keys
   * become visible later.
   */
  batchSize?: number | undefined
  /**
   * Ring slots, in BATCHES: published and not yet consumed. Power of two, 2 to 2^20. Default 1024.
   * A full ring only makes batches larger.
   */
  capacity?: number | undefined
  /**
   * In KEYS: the most that one writer may have staged and in flight, and the largest atomic batch.
   * Power of two, at most 2^27 / maxWriters (rounded up to a power of two). Default 16384. Raise it
   * for bursts.
   */
  laneCapacity?: number | undefined
  /**
   * In BYTES: the text keys that one writer may have staged and in flight. A text key takes its own
   * bytes, rounded up to 4, and 8 more; the longest has laneTextBytes / 2 - 16. Power of two, 2^10
   * to 2^26. Default 2^19.
   */
  laneTextBytes?: number | undefined
  /** Writers open at once, 1 to 1024. Default 32. */
  maxWriters?: number | undefined
  /**
   * Epochs that exist at once: one open, the others sealed and not yet settled. 2 to 16. Default 4;
   * with `maxConsumers` it is raised to what that needs.
   */
  epochSlots?: number | undefined
  /**
   * Named consumers that are open at once, 0 to 7. Default 0: the tracker itself is the one
   * consumer. Above 0 each reader is named, and the tracker's own advanceEpoch(), consume() and
   * epochs() throw. Each consumer takes two epoch slots, and two more are shared: all of them are
   * in memoryFootprint().
   */
  maxConsumers?: number | undefined
  /**
   * The kind of keys: a key of another kind is a TypeError at the mark, so a stray number can't get
   * among the strings of an epoch. With 'number' and 'bigint' the tracker reserves no memory for
   * text. Default 'any'.
   */
  keys?: KeyKind | undefined
  /**
   * Distinct numeric keys that an epoch holds exactly, 1 to 2^28. An epoch with more keys says
   * `exact: false`, and is a superset: `has()` still tells its keys from others. Default 1,048,576. It
   * takes 24 bytes or more a key: see memoryFootprint().
   */
  maxKeysPerEpoch?: number | undefined
  /**
   * Distinct text keys that an epoch holds exactly, 0 to 2^26. An epoch with more says
   * `exact: false`. Default 1,048,576, reserved and not touched. With 0 there is no memory for text:
   * a text key is then marked by its fingerprint, as a number, and does not come back. With `keys:
   * 'number'` and 'bigint' it is 0: a value given there is checked and has no effect, because no
   * text key gets in.
   */
  maxStringsPerEpoch?: number | undefined
  /**
   * The bytes that these text keys may have together, 1 to 2^31 - 1. Default 2^25. With `keys:
   * 'number'` and 'bigint' it is 0, as maxStringsPerEpoch is.
   */
  maxStringBytesPerEpoch?: number | undefined
  /**
   * In ms: the writer publishes a staged key after this time, once its thread's event loop turns.
   * 0 (never) to 2^31 - 1. Default 10. The timer never keeps a thread alive.
   */
  flushIntervalMs?: number | undefined
  /**
   * What a mark does when its lane is full. 'wait': it sleeps until there is room. 'reject': it
   * returns false. Default 'wait'.
   */
  onFull?: 'wait' | 'reject' | undefined
  /**
   * In ms: with onFull 'wait', how long a mark sleeps before it throws ERR_DIRTYRING_STALLED. The
   * mark has stored nothing then. 0 to 2^31 - 1. Default 30,000.
   */
  maxWaitMs?: number | undefined
  /**
   * The code that inserts keys into an epoch's set. 'auto': WebAssembly if it is allowed and its
   * address space is available, TypeScript otherwise. Both write the same bytes. Default 'auto'.
   */
  kernel?: 'auto' | 'wasm' | 'js' | undefined
  /**
   * Which thread runs the aggregator. Default 'worker'.
   * - 'worker': a worker of the package's own.
   * - A function: the worker that it returns, whose script is `import 'dirtyring/aggregator'`. The
   *   library posts it the handle, calls the function again when that worker dies, and terminates
   *   it at stop().
   * - 'none': the library starts none; a thread of yours calls runAggregator(handle).
   * - 'inline': the calling thread. The aggregator works in advanceEpoch(), when the thread's event
   *   loop turns, and when a writer of the same thread finds its lane full.
   */
  aggregator?: 'worker' | 'none' | 'inline' | ((handle: TrackerHandle) => unknown) | undefined
  /**
   * What {@link DirtyTracker.save} returned after the last clean stop: the consumers go on where
   * they stood. Bytes that can't be used give a warning, and fresh consumers. Default undefined.
   */
  resume?: Uint8Array | undefined
}

/** The options that have a value in {@link ResolvedOptions}. */
type Tuning = Omit<TrackerOptions, 'resume'>

/**
 * Every option, none undefined. {@link resolveOptions} returns it, and {@link DirtyTracker.options}
 * holds it.
 */
export type ResolvedOptions = {
  readonly [K in keyof Tuning]-?: Exclude<TrackerOptions[K], undefined>
}

/**
 * Says how many bytes of shared memory a tracker reserves. The system counts a page only when it is
 * first touched. See {@link memoryFootprint}.
 */
export interface MemoryFootprint {
  /** All of it: a multiple of 64 KiB. */
  total: number
  /** Bytes of the ring's words. */
  ring: number
  /** Bytes of all the writers' lanes: `maxWriters` × `perWriter`. */
  lanes: number
  /** Bytes of all epoch slots: `epochSlots` × `perEpoch`. */
  epochs: number
  /** Bytes of one writer's lane: 8 a key, `laneTextBytes`, and its header. */
  perWriter: number
  /**
   * Bytes of one epoch slot: its log, 8 a key, and its table at its largest; for texts their bytes,
   * 11 more each, and their table at its largest.
   */
  perEpoch: number
}

/** The options that a BatchRing has. */
export type RingOptions = Pick<TrackerOptions, 'capacity' | 'laneCapacity' | 'maxWriters'>

/**
 * Fills in every default. Allocates nothing. Any thread may call it.
 *
 * @param options - as `DirtyTracker.create()` takes them
 * @returns all options, none undefined
 * @throws TypeError `ERR_DIRTYRING_INVALID_ARG` for an option of the wrong type, or one that does
 * not exist
 * @throws RangeError `ERR_DIRTYRING_OUT_OF_RANGE` for an option out of its range, and for more than
 * 4 GiB together
 *
 * @example
 * ```js
 * import { resolveOptions } from 'dirtyring'
 *
 * console.log(resolveOptions({ batchSize: 256 }).laneCapacity) // 16384
 * try {
 *   resolveOptions({ epochSlots: 1 })
 * } catch (error) {
 *   console.log(error.message) // "options.epochSlots" must be a whole number from 2 to 16, got 1
 * }
 * ```
 */
export function resolveOptions(options: TrackerOptions = {}): ResolvedOptions {
  const resolved = resolve(options, optionNames, ['resume'])
  const { total } = footprintOf(resolved)
  if (total > MAX_BYTES) {
    throw outOfRange(
      'options',
      `of at most ${MAX_BYTES} bytes of shared memory`,
      total,
      'Lower maxKeysPerEpoch, maxStringsPerEpoch, maxStringBytesPerEpoch, epochSlots, maxWriters, ' +
        'laneCapacity or laneTextBytes.',
    )
  }
  return resolved
}

/** @internal Fills in the defaults of a BatchRing. */
export function resolveRingOptions(
  options: RingOptions = {},
): Pick<ResolvedOptions, keyof RingOptions> {
  return resolve(options, ['capacity', 'maxWriters', 'laneCapacity'])
}

// The compiler refuses an option without a row here, and a row without an option below.
const rows: Readonly<Record<keyof Tuning, OptionRow>> = OPTIONS
const optionNames: readonly (keyof Tuning)[] = Object.keys(OPTIONS) as (keyof typeof OPTIONS)[]

/** The options of these names, in the order of their rows. */
function resolve<K extends keyof Tuning>(
  options: unknown,
  names: readonly K[],
  others: readonly 'resume'[] = [],
): Pick<ResolvedOptions, K> {
  const bag = checkBag('options', options, [...names, ...others])
  const resolved: Record<string, unknown> = {}
  for (const name of names) resolved[name] = valueOf(name, bag[name], resolved)
  return resolved as Pick<ResolvedOptions, K>
}

/** The option's value, or its default. `above` are the values of the rows above it. */
function valueOf(
  name: keyof Tuning,
  value: unknown,
  above: Readonly<Record<string, unknown>>,
): unknown {
  const row = rows[name]
  const path = `options.${name}`
  if ('choices' in row) {
    if (value === undefined) return row.choices[0]
    const mayBeFunction = row.orFunction === true
    if (mayBeFunction && typeof value === 'function') return value
    return checkChoice(path, value, row.choices, mayBeFunction ? 'a function' : undefined)
  }
  const { min, byDefault, isPowerOfTwo, maxName, atLeast } = row
  if (row.isOfText === true && !hasTexts(above['keys'] as KeyKind)) {
    // 0 is taken too, because tracker.options says it.
    if (value !== undefined) checkWhole(path, value, 0, row.max as number)
    return 0
  }
  const max = typeof row.max === 'number' ? row.max : row.max(above as Record<string, number>)
  if (isPowerOfTwo === true && value !== undefined) return checkPowerOfTwo(path, value, min, max)
  const chosen =
    value === undefined ? Math.min(byDefault, max) : checkWhole(path, value, min, max, maxName)
  return Math.max(chosen, atLeast?.(above as Record<string, number>) ?? min)
}

/**
 * Says how many bytes of shared memory a tracker with these options reserves. Allocates nothing.
 * Any thread may call it.
 *
 * @param options - as `DirtyTracker.create()` takes them
 * @returns bytes, in all and part by part
 * @throws TypeError, RangeError - as {@link resolveOptions}
 *
 * @example
 * ```js
 * import { memoryFootprint } from 'dirtyring'
 *
 * console.log(memoryFootprint().total / 2 ** 20, 'MiB') // … MiB
 * console.log(memoryFootprint({ maxWriters: 8 }).lanes === 8 * memoryFootprint().perWriter) // true
 * ```
 */
export function memoryFootprint(options: TrackerOptions = {}): MemoryFootprint {
  return footprintOf(resolveOptions(options))
}

function footprintOf(options: ResolvedOptions): MemoryFootprint {
  const layout = layoutOf(options)
  return {
    total: layout.size * 4,
    ring: (layout.lanes - layout.ring) * 4,
    lanes: (laneAt(layout, layout.maxWriters) - layout.lanes) * 4,
    epochs: layout.epochStride * layout.epochSlots * 4,
    perWriter: layout.laneStride * 4,
    perEpoch: layout.epochStride * 4,
  }
}
