import { checkByteOrder } from '../byte-order.js'
import { isPowerOfTwo } from '../check.js'
import { badHandle, DirtyRingError, outOfRange } from '../errors.js'
import { randomWords } from '../random-words.js'
import { checkHandle, checkVersion, type HandleKind, isSharedBuffer } from './handle.js'
import {
  CHUNKS,
  EPOCH_SLOTS,
  epochAt,
  type Geometry,
  IDENTITY_CHECK,
  type Layout,
  layoutOf,
  MAGIC,
  MAGIC_VALUE,
  SECRETS,
  type SharedWords,
  SLOT_CHECK,
  TRACKER_ID,
  TRACKER_ID_2,
  TRACKER_THREAD,
  VERSION,
  VERSION_VALUE,
} from './map.js'
import {
  EPOCH_SLOTS_MAX,
  type Settings,
  settingsOf,
  storeSettings,
  WRITERS_MAX,
} from './settings.js'
import { mixed, openCheckOf } from './slot.js'

/**
 * One attached memory: the words, and where everything is in them. Every function of the concurrent
 * core takes one.
 */
export interface Memory {
  readonly words: SharedWords
  readonly layout: Layout
  /** The same memory as WebAssembly sees it. Undefined if it was made without WebAssembly. */
  readonly native: NativeMemory | undefined
}

/** A shared WebAssembly.Memory. */
export interface NativeMemory {
  readonly buffer: SharedArrayBuffer
}

/** The form in which an attached memory travels between threads. */
export interface MemoryHandle {
  readonly dirtyring: number
  readonly buffer: SharedArrayBuffer
  /** The memory that owns the buffer. Undefined if the buffer was allocated by itself. */
  readonly native: NativeMemory | undefined
}

/**
 * A handle for a thread with the same copy of the library. It has no view of the memory, because
 * Deno takes a second for each 25 MiB of a view that is posted.
 */
export interface MemoryWithLayout extends MemoryHandle {
  readonly layout: Layout
}

/** A page of a WebAssembly.Memory. */
export const BYTES_PER_CHUNK = 65536
/** The most bytes that a 32-bit WebAssembly.Memory can address. */
export const MAX_BYTES = 2 ** 32

/**
 * Reserves the memory and writes its identity. If `native` is given, its empty buffer is the
 * memory. All other words stay zero, the hashes excepted: that is a valid empty tracker.
 */
export function createMemory(
  settings: Geometry & Partial<Settings>,
  secrets: ArrayLike<number>,
  native?: NativeMemory,
): Memory {
  checkHost()
  const layout = layoutOf(settings)
  const words = new Int32Array(native?.buffer ?? allocate(layout.size * 4)) as SharedWords
  words[VERSION] = VERSION_VALUE
  words[CHUNKS] = (layout.size * 4) / BYTES_PER_CHUNK
  storeSettings(words, settings)
  for (let i = 0; i < secrets.length; i++) words[SECRETS + i] = secrets[i]
  const identity = randomWords(2)
  words[TRACKER_ID] = identity[0]
  words[TRACKER_ID_2] = identity[1]
  words[MAGIC] = MAGIC_VALUE
  words[IDENTITY_CHECK] = identityCheck(words)
  if (layout.epochSlots > 0) words[epochAt(layout, 0) + SLOT_CHECK] = openCheckOf(0)
  return { words, layout, native }
}

export function handleOf(memory: Memory): MemoryHandle {
  return { dirtyring: VERSION_VALUE, buffer: memory.words.buffer, native: memory.native }
}

/** The three kinds of handles that have such a memory. An epoch's handle has its tracker's. */
export type MemoryOwner = 'tracker' | 'ring' | 'epoch'

export function handleKind(of: MemoryOwner): HandleKind {
  const versionName = of === 'epoch' ? 'dirtyringEpoch' : 'dirtyring'
  return { of, versionName, version: VERSION_VALUE, layout: 'memory layout' }
}

/**
 * Checks a handle from outside the library, and computes the layout of its memory. `what` names the
 * argument's source in messages.
 */
export function attachMemory(handle: unknown, what: MemoryOwner): Memory {
  const kind = handleKind(what)
  const { buffer, native } = checkHandle(handle, kind)
  const bytes = buffer.byteLength
  if (bytes < BYTES_PER_CHUNK) {
    throw badHandle(
      `"handle.buffer" must have at least ${BYTES_PER_CHUNK} bytes of shared memory, got ${bytes}`,
    )
  }
  const words = new Int32Array(buffer, 0, bytes >>> 2) as SharedWords
  if (words[MAGIC] !== MAGIC_VALUE)
    throw badHandle(`"handle.buffer" must be memory made by dirtyring, got magic ${words[MAGIC]}`)
  checkVersion(words[VERSION], kind)
  const isRing = words[EPOCH_SLOTS] === 0
  if (isRing !== (what === 'ring')) {
    throw badHandle(
      `"handle" must be ${what}.handle, got that of a ${isRing ? 'BatchRing' : 'DirtyTracker'}`,
    )
  }
  const settings = settingsOf(words)
  if (!isGeometry(settings)) {
    const got = JSON.stringify(settings)
    throw badHandle(`"handle.buffer" must have a geometry of this version, got ${got}`)
  }
  const layout = layoutOf(settings)
  if (layout.size * 4 !== bytes || words[CHUNKS] !== bytes / BYTES_PER_CHUNK) {
    throw badHandle(
      `"handle.buffer" must have ${layout.size * 4} bytes for its geometry, got ${bytes}`,
    )
  }
  checkIdentity(words)
  return { words, layout, native: checkNative(native, words) }
}

/**
 * Checks that the identity is as create() left it. The secrets in it are read again later, and with
 * other secrets a table finds no key.
 *
 * @throws ERR_DIRTYRING_CORRUPT
 */
export function checkIdentity(words: SharedWords): void {
  if (words[IDENTITY_CHECK] === identityCheck(words)) return
  throw new DirtyRingError(
    'ERR_DIRTYRING_CORRUPT',
    'the beginning of the shared memory has changed: ' +
      'it holds the settings, and only create() writes it',
  )
}

function identityCheck(words: SharedWords): number {
  let check = 0
  for (let i = MAGIC; i < IDENTITY_CHECK; i++)
    if (i !== TRACKER_THREAD) check = mixed(check, words[i])
  return check | 1
}

/** Returns a handle's native memory. Throws if that is not the memory of the words. */
function checkNative(native: unknown, words: SharedWords): NativeMemory | undefined {
  if (native === undefined) return undefined
  const { buffer } = Object(native) as { buffer?: unknown }
  const other =
    isSharedBuffer(buffer) && buffer.byteLength === words.byteLength ? new Int32Array(buffer) : []
  if (other[TRACKER_ID] === words[TRACKER_ID] && other[TRACKER_ID_2] === words[TRACKER_ID_2])
    return native as NativeMemory
  throw badHandle(
    '"handle.native" must be the WebAssembly.Memory of handle.buffer, got another one',
  )
}

/** Whether two attached memories are the same tracker's. */
export function sameMemory(a: Memory, b: Memory): boolean {
  return (
    a.words[TRACKER_ID] === b.words[TRACKER_ID] && a.words[TRACKER_ID_2] === b.words[TRACKER_ID_2]
  )
}

function isGeometry(geometry: Geometry): boolean {
  const { capacity, laneCapacity, maxWriters, epochSlots, maxKeysPerEpoch } = geometry
  const { laneTextBytes, maxStringsPerEpoch, maxStringBytesPerEpoch, maxConsumers } = geometry
  const hasText = maxStringsPerEpoch > 0
  const powers =
    isPowerOfTwo(capacity) &&
    isPowerOfTwo(laneCapacity) &&
    (!hasText || (isPowerOfTwo(laneTextBytes) && laneTextBytes >= 4))
  return (
    powers &&
    maxWriters >= 1 &&
    maxWriters <= WRITERS_MAX &&
    epochSlots >= 0 &&
    epochSlots <= EPOCH_SLOTS_MAX &&
    maxKeysPerEpoch >= 0 &&
    maxStringsPerEpoch >= 0 &&
    maxStringBytesPerEpoch >= 0 &&
    maxConsumers >= 0 &&
    (maxConsumers === 0 || epochSlots >= 2 * maxConsumers + 2)
  )
}

/** Throws ERR_DIRTYRING_NO_SHARED_MEMORY if this host has no memory that the library can use. */
export function checkHost(): void {
  checkByteOrder()
  if (typeof SharedArrayBuffer !== 'function') {
    throw new DirtyRingError(
      'ERR_DIRTYRING_NO_SHARED_MEMORY',
      'SharedArrayBuffer is missing: a page needs the headers ' +
        'Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp. ' +
        'A SharedWorker or a service worker may lack it even so: use a page or a dedicated worker',
    )
  }
}

/** Throws a RangeError if this machine cannot reserve that many bytes. */
export function allocate(bytes: number): SharedArrayBuffer {
  try {
    return new SharedArrayBuffer(bytes)
  } catch (cause) {
    const limit = 'of a size that this machine has the memory for, in bytes'
    const advice = 'memoryFootprint() says how many bytes each option takes.'
    throw Object.assign(outOfRange('options', limit, bytes, advice), { cause })
  }
}
