import { checkBag } from './check.js'
import { invalidArg, outOfRange } from './errors.js'
import { laneAt, layoutOf } from './memory/map.js'
import { isPowerOfTwo, MAX_BYTES, type Settings } from './memory/memory.js'

/**
 * What travels to other threads: pass it in workerData or postMessage, and give it to openWriter()
 * there. Threads of one process only: another process gets `ERR_DIRTYRING_BAD_HANDLE`.
 *
 * @example
 * ```js
 * // main.js
 * import { Worker } from 'node:worker_threads'
 * import { DirtyTracker } from 'dirtyring'
 *
 * const tracker = await DirtyTracker.create()
 * const worker = new Worker(new URL('./writer.js', import.meta.url), { workerData: { handle: tracker.handle, first: 10 } })
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
  /** There at compile time only, so that no other object is taken for a handle. */
  readonly __brand: 'dirtyring.TrackerHandle'
}

/**
 * How a tracker is tuned; each option stands alone, none is needed. One that is of the wrong type
 * is a TypeError, one that is out of its range a RangeError, and then nothing was reserved.
 *
 * @example
 * ```js
 * import { DirtyTracker } from 'dirtyring'
 *
 * const tracker = await DirtyTracker.create({ laneCapacity: 65_536, maxKeysPerEpoch: 10_000, onFull: 'reject' })
 * console.log(tracker.options.laneCapacity, tracker.options.batchSize) // 65536 64
 * await tracker.stop()
 * ```
 */
export interface TrackerOptions {
  /**
   * Keys a writer stages before it publishes by itself. 1 to laneCapacity. Default 64, or
   * laneCapacity where that is less. Larger: fewer atomics, later visible.
   */
  batchSize?: number | undefined
  /**
   * Ring slots, in BATCHES: published and not yet consumed. Power of two, 2 to 2^20. Default 1024.
   * A full ring only makes batches larger.
   */
  capacity?: number | undefined
  /**
   * In KEYS: what one writer may have staged and in flight; the largest atomic batch. Power of two,
   * at most 2^27 / maxWriters (rounded up to a power of two). Default 16384. The knob for bursts.
   */
  laneCapacity?: number | undefined
  /** Writers open at once, 1 to 1024. Default 32. */
  maxWriters?: number | undefined
  /**
   * Epochs that exist at once: one open, the others sealed and not yet settled. 2 to 16. Default 4.
   */
  epochSlots?: number | undefined
  /**
   * Distinct keys an epoch holds exactly, 1 to 2^28; beyond it the epoch says `exact: false`.
   * Default 1,048,576. Decides the memory: see memoryFootprint().
   */
  maxKeysPerEpoch?: number | undefined
  /**
   * In ms: a staged key is published at the latest after this, once its thread's event loop turns.
   * 0 (never) to 2^31 - 1. Default 10. The timer never keeps a thread alive.
   */
  flushIntervalMs?: number | undefined
  /**
   * A mark that finds the lane full: sleeps until there is room, or returns false. Default 'wait'.
   */
  onFull?: 'wait' | 'reject' | undefined
  /**
   * In ms: with onFull 'wait', how long a mark sleeps before it throws ERR_DIRTYRING_STALLED with
   * nothing stored. 0 to 2^31 - 1. Default 30,000.
   */
  maxWaitMs?: number | undefined
  /**
   * Set kernel. 'auto': WebAssembly where it is allowed and its address space is to be had,
   * TypeScript elsewhere. Same bytes, same results. Default 'auto'.
   */
  kernel?: 'auto' | 'wasm' | 'js' | undefined
  /**
   * Who runs the aggregator. 'worker' (default): a worker of the package's own. A function: the
   * worker it returns, whose script is `import 'dirtyring/aggregator'`; the library posts it the
   * handle, calls the function again when that worker dies, and terminates it at stop(). 'none':
   * nobody yet; some thread of yours calls runAggregator(handle). 'inline': no thread: the calling
   * thread does it, in advanceEpoch(), when its event loop turns, and when a writer of the same
   * thread finds its lane full.
   */
  aggregator?: 'worker' | 'none' | 'inline' | ((handle: TrackerHandle) => unknown) | undefined
}

/**
 * Every option, none undefined: what {@link resolveOptions} gives, and {@link DirtyTracker.options}
 * has.
 */
export type ResolvedOptions = {
  readonly [K in keyof TrackerOptions]-?: Exclude<TrackerOptions[K], undefined>
}

/**
 * Bytes of shared memory, reserved; pages count when first touched. See {@link memoryFootprint}.
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
  /** Bytes of one writer's lane: 8 a key, and its header. */
  perWriter: number
  /** Bytes of one epoch slot: its log, 8 a key, and its table at its largest. */
  perEpoch: number
}

/** The options that a BatchRing has. */
export type RingOptions = Pick<TrackerOptions, 'capacity' | 'laneCapacity' | 'maxWriters'>

/**
 * The options with every default filled in. Throws what `DirtyTracker.create()` would throw for
 * them: a TypeError or RangeError that names the option, what was expected and what came. Allocates
 * nothing. Any thread.
 *
 * @example
 * ```js
 * import { resolveOptions } from 'dirtyring'
 *
 * console.log(resolveOptions({ batchSize: 256 }).laneCapacity) // 16384
 * try {
 *   resolveOptions({ capacity: 1000 })
 * } catch (error) {
 *   console.log(error.message) // "options.capacity" expected a power of two, 2 to 1048576, got 1000
 * }
 * ```
 */
export function resolveOptions(options: TrackerOptions = {}): ResolvedOptions {
  const bag = checkBag('options', options, TRACKER_OPTIONS)
  const { capacity, laneCapacity, maxWriters } = ringOptions(bag)
  const { aggregator } = bag
  const resolved: ResolvedOptions = {
    batchSize: whole(bag, 'batchSize', 1, laneCapacity, Math.min(64, laneCapacity), 'laneCapacity'),
    capacity,
    laneCapacity,
    maxWriters,
    epochSlots: whole(bag, 'epochSlots', 2, 16, 4),
    maxKeysPerEpoch: whole(bag, 'maxKeysPerEpoch', 1, 2 ** 28, 2 ** 20),
    flushIntervalMs: whole(bag, 'flushIntervalMs', 0, 2 ** 31 - 1, 10),
    onFull: oneOf(bag, 'onFull', ['wait', 'reject'] as const),
    maxWaitMs: whole(bag, 'maxWaitMs', 0, 2 ** 31 - 1, 30_000),
    kernel: oneOf(bag, 'kernel', ['auto', 'wasm', 'js'] as const),
    aggregator:
      typeof aggregator === 'function'
        ? (aggregator as (handle: TrackerHandle) => unknown)
        : oneOf(
            { aggregator },
            'aggregator',
            ['worker', 'none', 'inline'] as const,
            ' or a function',
          ),
  }
  const { total } = footprintOf(resolved)
  if (total > MAX_BYTES) {
    const limits = 'smaller maxKeysPerEpoch, epochSlots, maxWriters or laneCapacity'
    throw outOfRange('options', `${limits}: together at most ${MAX_BYTES} bytes`, `${total} bytes`)
  }
  return resolved
}

/** @internal The same for a BatchRing. */
export function resolveRingOptions(
  options: RingOptions = {},
): Required<{ [K in keyof RingOptions]: number }> {
  return ringOptions(checkBag('options', options, RING_OPTIONS))
}

function ringOptions(bag: Bag): Required<{ [K in keyof RingOptions]: number }> {
  const maxWriters = whole(bag, 'maxWriters', 1, 1024, 32)
  const lanesMax = 2 ** (27 - Math.ceil(Math.log2(maxWriters)))
  return {
    capacity: powerOfTwo(bag, 'capacity', 2, 2 ** 20, 1024),
    laneCapacity: powerOfTwo(bag, 'laneCapacity', 1, lanesMax, 16384),
    maxWriters,
  }
}

/**
 * Bytes of shared memory that a tracker with these options reserves. Allocates nothing; throws what
 * `resolveOptions()` throws. Any thread.
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

/** @internal What create() writes into the memory. */
export function settingsFor(options: ResolvedOptions): Settings {
  const {
    batchSize,
    capacity,
    laneCapacity,
    maxWriters,
    epochSlots,
    maxKeysPerEpoch,
    flushIntervalMs,
    onFull,
    maxWaitMs,
  } = options
  return {
    batchSize,
    capacity,
    laneCapacity,
    maxWriters,
    epochSlots,
    maxKeysPerEpoch,
    flushIntervalMs,
    onFull,
    maxWaitMs,
  }
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

const RING_OPTIONS = ['capacity', 'laneCapacity', 'maxWriters']
const TRACKER_OPTIONS = [
  ...RING_OPTIONS,
  'batchSize',
  'epochSlots',
  'maxKeysPerEpoch',
  'flushIntervalMs',
  'onFull',
  'maxWaitMs',
  'kernel',
  'aggregator',
]

/** Options by name, for the checks below. */
type Bag = Readonly<Record<string, unknown>>

function whole(
  options: Bag,
  name: string,
  min: number,
  max: number,
  byDefault: number,
  maxName?: string,
): number {
  const value = options[name]
  if (value === undefined) return byDefault
  if (typeof value !== 'number') throw invalidArg(`options.${name}`, 'a number', value)
  if (!Number.isInteger(value) || value < min || value > max) {
    throw outOfRange(
      `options.${name}`,
      `a whole number, ${min} to ${max}${maxName === undefined ? '' : ` (${maxName})`}`,
      value,
    )
  }
  return value
}

function powerOfTwo(
  options: Bag,
  name: string,
  min: number,
  max: number,
  byDefault: number,
): number {
  const value = whole(options, name, min, max, Math.min(byDefault, max))
  if (!isPowerOfTwo(value))
    throw outOfRange(`options.${name}`, `a power of two, ${min} to ${max}`, value)
  return value
}

function oneOf<T extends string>(options: Bag, name: string, values: readonly T[], more = ''): T {
  const value = options[name]
  if (value === undefined) return values[0]
  const quoted = values.map((each) => `'${each}'`)
  const expected =
    more === ''
      ? `${quoted.slice(0, -1).join(', ')} or ${quoted.at(-1)}`
      : `${quoted.join(', ')}${more}`
  if (typeof value !== 'string') throw invalidArg(`options.${name}`, expected, value)
  const found = values.find((each) => each === value)
  if (found === undefined) throw outOfRange(`options.${name}`, expected, value)
  return found
}
