import {
  badHandle,
  describe,
  DirtyRingError,
  isRevoked,
  outOfRange,
  type ErrorCode,
} from '../errors.js'
import {
  BATCH_SIZE,
  CAPACITY,
  CHUNKS,
  epochAt,
  EPOCH_SLOTS,
  FLUSH_INTERVAL_MS,
  IDENTITY_CHECK,
  LANE_CAPACITY,
  layoutOf,
  MAGIC,
  MAGIC_VALUE,
  MAX_KEYS_PER_EPOCH,
  MAX_WAIT_MS,
  MAX_WRITERS,
  ON_FULL,
  SECRETS,
  SLOT_CHECK,
  TRACKER_ID,
  TRACKER_THREAD,
  VERSION,
  VERSION_VALUE,
  type Geometry,
  type Layout,
  type SharedWords,
} from './map.js'
import { checkByteOrder } from '../byte-order.js'
import { randomWords } from '../random-words.js'
import { mixed, openCheckOf } from './slot.js'

/**
 * One attached memory: the words, and where everything is in them. What every function of the
 * concurrent core takes.
 */
export interface Memory {
  readonly words: SharedWords
  readonly layout: Layout
  /** The same memory as WebAssembly sees it; undefined if it was made without. */
  readonly native: NativeMemory | undefined
}

/** A shared WebAssembly.Memory. */
export interface NativeMemory {
  readonly buffer: SharedArrayBuffer
}

/** What create() writes into the identity and every thread that attaches reads there. */
export interface Settings extends Geometry {
  readonly batchSize: number
  readonly flushIntervalMs: number
  readonly onFull: 'wait' | 'reject'
  readonly maxWaitMs: number
}

/** What travels between threads. */
export interface MemoryHandle {
  readonly dirtyring: number
  readonly buffer: SharedArrayBuffer
  /** Whose buffer this is; undefined if it is a SharedArrayBuffer of its own. */
  readonly native: NativeMemory | undefined
}

/** A page of a WebAssembly.Memory. */
export const BYTES_PER_CHUNK = 65536
/** What a 32-bit WebAssembly.Memory can address. */
export const MAX_BYTES = 2 ** 32

/**
 * Reserve and label the memory, or label the one given, which is empty. All else in it is zero but
 * for the hashes, which is a valid empty tracker.
 */
export function createMemory(
  settings: Settings,
  secrets: ArrayLike<number>,
  native?: NativeMemory,
): Memory {
  checkHost()
  const layout = layoutOf(settings)
  const words = new Int32Array(native?.buffer ?? allocate(layout.size * 4)) as SharedWords
  words[VERSION] = VERSION_VALUE
  words[CHUNKS] = (layout.size * 4) / BYTES_PER_CHUNK
  words[CAPACITY] = settings.capacity
  words[LANE_CAPACITY] = settings.laneCapacity
  words[MAX_WRITERS] = settings.maxWriters
  words[EPOCH_SLOTS] = settings.epochSlots
  words[MAX_KEYS_PER_EPOCH] = settings.maxKeysPerEpoch
  words[BATCH_SIZE] = settings.batchSize
  words[FLUSH_INTERVAL_MS] = settings.flushIntervalMs
  words[ON_FULL] = settings.onFull === 'reject' ? 1 : 0
  words[MAX_WAIT_MS] = settings.maxWaitMs
  for (let i = 0; i < secrets.length; i++) words[SECRETS + i] = secrets[i]
  const identity = randomWords(2)
  words[TRACKER_ID] = identity[0]
  words[TRACKER_ID + 1] = identity[1]
  words[MAGIC] = MAGIC_VALUE
  words[IDENTITY_CHECK] = identityCheck(words)
  if (layout.epochSlots > 0) words[epochAt(layout, 0) + SLOT_CHECK] = openCheckOf(0)
  return { words, layout, native }
}

export function handleOf(memory: Memory): MemoryHandle {
  return { dirtyring: VERSION_VALUE, buffer: memory.words.buffer, native: memory.native }
}

/**
 * Check a handle that came from somewhere, and find one's way in its memory. `what` names the
 * argument's source in messages.
 */
export function attachMemory(handle: unknown, what: 'tracker' | 'ring'): Memory {
  const source = `${what}.handle`
  if (typeof handle !== 'object' || handle === null) {
    throw badHandle(`"handle" expected ${source}, got ${handle === null ? 'null' : typeof handle}`)
  }
  if (isRevoked(handle) || !('dirtyring' in handle)) {
    throw badHandle(
      `"handle" expected ${source}, got another object: pass ${source} in workerData or postMessage, not the ${what} itself`,
    )
  }
  const {
    dirtyring: version,
    buffer,
    native,
  } = handle as { dirtyring: unknown; buffer?: unknown; native?: unknown }
  if (version !== VERSION_VALUE) throw otherVersion(version)
  if (Object.prototype.toString.call(buffer) !== '[object SharedArrayBuffer]') {
    throw badHandle(
      `"handle" expected a SharedArrayBuffer in handle.buffer, got something else: handles work between the threads of one process only, and not as JSON`,
    )
  }
  const bytes = (buffer as SharedArrayBuffer).byteLength
  if (bytes < BYTES_PER_CHUNK)
    throw badHandle(
      `"handle" expected at least ${BYTES_PER_CHUNK} bytes of shared memory, got ${bytes}`,
    )
  const words = new Int32Array(buffer as SharedArrayBuffer, 0, bytes >>> 2) as SharedWords
  if (words[MAGIC] !== MAGIC_VALUE)
    throw badHandle(`"handle" expected memory made by dirtyring, got magic ${words[MAGIC]}`)
  if (words[VERSION] !== VERSION_VALUE) throw otherVersion(words[VERSION])
  const isRing = words[EPOCH_SLOTS] === 0
  if (isRing !== (what === 'ring')) {
    throw badHandle(
      `"handle" expected ${source}, got the handle of a ${isRing ? 'BatchRing' : 'DirtyTracker'}`,
    )
  }
  const settings = settingsOf(words)
  if (!isGeometry(settings))
    throw badHandle(
      `"handle" expected a geometry this version can have, got ${JSON.stringify(settings)}`,
    )
  const layout = layoutOf(settings)
  if (layout.size * 4 !== bytes || words[CHUNKS] !== bytes / BYTES_PER_CHUNK) {
    throw badHandle(`"handle" expected ${layout.size * 4} bytes for its geometry, got ${bytes}`)
  }
  checkIdentity(words)
  return { words, layout, native: checkNative(native, words) }
}

/**
 * Looks whether the identity is as create() left it. Of its words the secrets are read again later:
 * with others a table finds no key.
 *
 * @throws ERR_DIRTYRING_CORRUPT
 */
export function checkIdentity(words: SharedWords): void {
  if (words[IDENTITY_CHECK] === identityCheck(words)) return
  throw new DirtyRingError(
    'ERR_DIRTYRING_CORRUPT',
    'the beginning of the shared memory, which is written once and holds its settings, has changed since',
  )
}

function identityCheck(words: SharedWords): number {
  let check = 0
  for (let i = MAGIC; i < IDENTITY_CHECK; i++)
    if (i !== TRACKER_THREAD) check = mixed(check, words[i])
  return check | 1
}

/** A handle's native memory, if it is the same memory as the words'. */
function checkNative(native: unknown, words: SharedWords): NativeMemory | undefined {
  if (native === undefined) return undefined
  const { buffer } = Object(native) as { buffer?: unknown }
  const isShared = Object.prototype.toString.call(buffer) === '[object SharedArrayBuffer]'
  const other =
    isShared && (buffer as SharedArrayBuffer).byteLength === words.byteLength
      ? new Int32Array(buffer as SharedArrayBuffer)
      : []
  if (other[TRACKER_ID] === words[TRACKER_ID] && other[TRACKER_ID + 1] === words[TRACKER_ID + 1])
    return native as NativeMemory
  throw badHandle(
    `"handle" expected in handle.native the WebAssembly.Memory of handle.buffer, got another one`,
  )
}

/** The identity's settings, as create() wrote them. */
export function settingsOf(words: SharedWords): Settings {
  return {
    capacity: words[CAPACITY],
    laneCapacity: words[LANE_CAPACITY],
    maxWriters: words[MAX_WRITERS],
    epochSlots: words[EPOCH_SLOTS],
    maxKeysPerEpoch: words[MAX_KEYS_PER_EPOCH],
    batchSize: words[BATCH_SIZE],
    flushIntervalMs: words[FLUSH_INTERVAL_MS],
    onFull: words[ON_FULL] === 1 ? 'reject' : 'wait',
    maxWaitMs: words[MAX_WAIT_MS],
  }
}

/** Whether two attached memories are the same tracker's. */
export function sameMemory(a: Memory, b: Memory): boolean {
  return (
    a.words[TRACKER_ID] === b.words[TRACKER_ID] &&
    a.words[TRACKER_ID + 1] === b.words[TRACKER_ID + 1]
  )
}

function isGeometry(geometry: Geometry): boolean {
  const { capacity, laneCapacity, maxWriters, epochSlots, maxKeysPerEpoch } = geometry
  const powers = isPowerOfTwo(capacity) && isPowerOfTwo(laneCapacity)
  return (
    powers &&
    maxWriters >= 1 &&
    maxWriters <= 1024 &&
    epochSlots >= 0 &&
    epochSlots <= 16 &&
    maxKeysPerEpoch >= 0
  )
}

export function isPowerOfTwo(value: number): boolean {
  return value >= 1 && (value & (value - 1)) === 0
}

function otherVersion(got: unknown): TypeError {
  const code: ErrorCode = 'ERR_DIRTYRING_VERSION'
  const message = `"handle" expected memory layout version ${VERSION_VALUE}, got ${describe(got)}: two versions of dirtyring are loaded`
  return Object.assign(new TypeError(message), { code })
}

/**
 * Looks whether this host can run the library.
 *
 * @throws ERR_DIRTYRING_UNSUPPORTED on a big-endian host, and ERR_DIRTYRING_NO_SHARED_MEMORY where
 * SharedArrayBuffer is missing.
 */
export function checkHost(): void {
  checkByteOrder()
  if (typeof SharedArrayBuffer !== 'function') {
    throw new DirtyRingError(
      'ERR_DIRTYRING_NO_SHARED_MEMORY',
      'SharedArrayBuffer is missing: a page needs the headers Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp',
    )
  }
}

/** Throws RangeError if this machine does not have so much memory. */
export function allocate(bytes: number): SharedArrayBuffer {
  try {
    return new SharedArrayBuffer(bytes)
  } catch (cause) {
    const limit = 'sizes that this machine has the memory for (see memoryFootprint)'
    throw Object.assign(outOfRange('options', limit, `${bytes} bytes`), { cause })
  }
}
