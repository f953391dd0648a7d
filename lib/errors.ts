/**
 * On every error that the library throws on purpose, as `error.code`. Tell errors apart by it,
 * never by `instanceof`: two copies of a package, or two realms, have two classes.
 *
 * - `ERR_DIRTYRING_INVALID_ARG`: a TypeError, an argument or option is of the wrong type
 * - `ERR_DIRTYRING_OUT_OF_RANGE`: a RangeError, it is of the right type and not allowed
 * - `ERR_DIRTYRING_BAD_HANDLE`: a TypeError, something that is no handle, or no longer one: it came
 *   by way of JSON, or into another process
 * - `ERR_DIRTYRING_VERSION`: a TypeError, the handle is from another version of the library
 * - `ERR_DIRTYRING_NO_SHARED_MEMORY`: this runtime has no SharedArrayBuffer; a page needs two
 *   headers for it
 * - `ERR_DIRTYRING_NO_WRITER_SLOT`: `maxWriters` writers are open
 * - `ERR_DIRTYRING_NO_EPOCH_SLOT`: all `epochSlots` are taken, and `onBusy` is 'reject'
 * - `ERR_DIRTYRING_SETTLED`: the keys of an epoch that was committed or restored
 * - `ERR_DIRTYRING_CLOSED`: a mark by a writer that was closed
 * - `ERR_DIRTYRING_STOPPED`: the tracker has stopped
 * - `ERR_DIRTYRING_STALLED`: no room for a mark within `maxWaitMs`; nothing was stored
 * - `ERR_DIRTYRING_AGGREGATOR_TAKEN`: somebody else runs this tracker's aggregator, or drains this
 *   ring
 * - `ERR_DIRTYRING_AGGREGATOR_FAILED`: the aggregator could not be started, or not be kept running
 * - `ERR_DIRTYRING_CORRUPT`: a word of the shared memory that the library cannot have written there
 * - `ERR_DIRTYRING_DICTIONARY_FULL`: a KeyDictionary has no number, or no room for the bytes, left
 * - `ERR_DIRTYRING_UNSUPPORTED`: this host cannot run the library (it is big-endian), or a part of
 *   it (a KeyDictionary without TextEncoder)
 * - `ERR_DIRTYRING_BUSY`: a running epochs() loop owns the epochs, or close() was called inside
 *   batch()
 * - `ERR_DIRTYRING_INEXACT`: the list of keys of an epoch that is not exact: a part of the keys is
 *   missing in it
 * - `ERR_DIRTYRING_WOULD_BLOCK`: the lane is full, and this thread may not sleep for room
 *
 * @example
 * ```js
 * try {
 *   writer.mark(-1)
 * } catch (error) {
 *   console.log(error.code) // ERR_DIRTYRING_OUT_OF_RANGE
 * }
 * ```
 */
export type ErrorCode =
  | 'ERR_DIRTYRING_INVALID_ARG'
  | 'ERR_DIRTYRING_OUT_OF_RANGE'
  | 'ERR_DIRTYRING_BAD_HANDLE'
  | 'ERR_DIRTYRING_VERSION'
  | 'ERR_DIRTYRING_NO_SHARED_MEMORY'
  | 'ERR_DIRTYRING_NO_WRITER_SLOT'
  | 'ERR_DIRTYRING_NO_EPOCH_SLOT'
  | 'ERR_DIRTYRING_SETTLED'
  | 'ERR_DIRTYRING_CLOSED'
  | 'ERR_DIRTYRING_CORRUPT'
  | 'ERR_DIRTYRING_STOPPED'
  | 'ERR_DIRTYRING_STALLED'
  | 'ERR_DIRTYRING_AGGREGATOR_TAKEN'
  | 'ERR_DIRTYRING_AGGREGATOR_FAILED'
  | 'ERR_DIRTYRING_DICTIONARY_FULL'
  | 'ERR_DIRTYRING_UNSUPPORTED'
  | 'ERR_DIRTYRING_BUSY'
  | 'ERR_DIRTYRING_INEXACT'
  | 'ERR_DIRTYRING_WOULD_BLOCK'

/**
 * The state of things does not allow the call: neither bad input (a TypeError or RangeError with a
 * `code`) nor an abort.
 *
 * @example
 * ```js
 * for (let id = 0; id < 3; id++) {
 *   writer.mark(id)
 *   await tracker.advanceEpoch() // handed out, and never settled
 * }
 * try {
 *   await tracker.advanceEpoch({ onBusy: 'reject' })
 * } catch (error) {
 *   console.log(error.code) // ERR_DIRTYRING_NO_EPOCH_SLOT
 * }
 * ```
 */
export class DirtyRingError extends Error {
  /** 'DirtyRingError'. */
  // Defined, not assigned: where Error.prototype is frozen, an assignment would throw.
  override readonly name = 'DirtyRingError'
  /** Which state of things; stable across versions. */
  readonly code: ErrorCode

  /** The library makes them; `options.cause` is what went wrong below. */
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
  }
}

/**
 * A TypeError for an argument or option of the wrong type.
 *
 * @param expected - what it must be: the message says `"name" must be ${expected}`
 * @param advice - one sentence for a usual cause
 */
export function invalidArg(name: string, expected: string, got: unknown, advice = ''): TypeError {
  return coded(new TypeError(messageOf(name, expected, got, advice)), 'ERR_DIRTYRING_INVALID_ARG')
}

/**
 * A RangeError for a value of the right type that is not allowed.
 *
 * @param advice - one sentence for a usual cause
 */
export function outOfRange(name: string, expected: string, got: unknown, advice = ''): RangeError {
  return coded(new RangeError(messageOf(name, expected, got, advice)), 'ERR_DIRTYRING_OUT_OF_RANGE')
}

/**
 * A TypeError for an option that does not exist.
 *
 * @param advice - one sentence that names those that do
 */
export function unknownOption(name: string, advice: string): TypeError {
  return coded(new TypeError(`"${name}" is not an option. ${advice}`), 'ERR_DIRTYRING_INVALID_ARG')
}

/** A TypeError for something that is no handle of this library, or no longer one. */
export function badHandle(message: string): TypeError {
  return coded(new TypeError(message), 'ERR_DIRTYRING_BAD_HANDLE')
}

function coded<E extends Error>(error: E, code: ErrorCode): E {
  return Object.assign(error, { code })
}

function messageOf(name: string, expected: string, got: unknown, advice: string): string {
  return `"${name}" must be ${expected}, got ${describe(got)}${advice === '' ? '' : `. ${advice}`}`
}

/**
 * Describes a value in the few characters that an error message has for it. Never throws: the value
 * may be a Proxy, or have getters that throw.
 */
export function describe(value: unknown): string {
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'string') return JSON.stringify(shorten(value))
  if (typeof value === 'symbol') return shorten(String(value))
  if (typeof value === 'function') return `function ${nameOf(value) ?? '(anonymous)'}`
  if (typeof value !== 'object' || value === null) return String(value)
  const name = nameOf(constructorOf(value))
  return name === undefined ? 'an object' : `an instance of ${name}`
}

function shorten(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text
}

function constructorOf(value: object): unknown {
  try {
    return value.constructor
  } catch {
    return undefined
  }
}

function nameOf(value: unknown): string | undefined {
  try {
    const name: unknown = (value as { name?: unknown } | undefined)?.name
    return typeof name === 'string' && name !== '' ? shorten(name) : undefined
  } catch {
    return undefined
  }
}

/**
 * Whether a value is a Proxy that was revoked. Every look into one is a TypeError of the engine's.
 */
export function isRevoked(value: unknown): boolean {
  try {
    Array.isArray(value)
    return false
  } catch {
    return true
  }
}
