/**
 * On every error that the library throws on purpose, as `error.code`. Tell errors apart by it, never by `instanceof`: two copies of a package, or two realms,
 * have two classes.
 *
 * - `ERR_DIRTYRING_INVALID_ARG`: a TypeError, an argument or option is of the wrong type
 * - `ERR_DIRTYRING_OUT_OF_RANGE`: a RangeError, it is of the right type and not allowed
 * - `ERR_DIRTYRING_BAD_HANDLE`: a TypeError, something that is no handle, or no longer one: it came by way of JSON, or into another process
 * - `ERR_DIRTYRING_VERSION`: a TypeError, the handle is from another version of the library
 * - `ERR_DIRTYRING_NO_SHARED_MEMORY`: this runtime has no SharedArrayBuffer; a page needs two headers for it
 * - `ERR_DIRTYRING_NO_WRITER_SLOT`: `maxWriters` writers are open
 * - `ERR_DIRTYRING_NO_EPOCH_SLOT`: all `epochSlots` are taken, and `onBusy` is 'reject'
 * - `ERR_DIRTYRING_SETTLED`: the keys of an epoch that was committed or restored
 * - `ERR_DIRTYRING_CLOSED`: a mark by a writer that was closed
 * - `ERR_DIRTYRING_STOPPED`: the tracker has stopped
 * - `ERR_DIRTYRING_STALLED`: no room for a mark within `maxWaitMs`; nothing was stored
 * - `ERR_DIRTYRING_AGGREGATOR_TAKEN`: somebody else runs this tracker's aggregator, or drains this ring
 * - `ERR_DIRTYRING_AGGREGATOR_FAILED`: the aggregator could not be started, or not be kept running
 * - `ERR_DIRTYRING_CORRUPT`: a word of the shared memory that the library cannot have written there
 * - `ERR_DIRTYRING_DICTIONARY_FULL`: a KeyDictionary has no number, or no room for the bytes, left
 * - `ERR_DIRTYRING_UNSUPPORTED`: this host cannot run the library: it is big-endian
 * - `ERR_DIRTYRING_BUSY`: a running epochs() loop owns the epochs, or close() was called inside batch()
 * - `ERR_DIRTYRING_INEXACT`: the list of keys of an epoch that is not exact: a part of the keys is missing in it
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
 * The state of things does not allow the call: neither bad input (a TypeError or RangeError with a `code`) nor an abort.
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

/** A TypeError for an argument or option of the wrong type. */
export function invalidArg(name: string, expected: string, got: unknown): TypeError {
  return Object.assign(new TypeError(`"${name}" expected ${expected}, got ${describe(got)}`), {
    code: 'ERR_DIRTYRING_INVALID_ARG' satisfies ErrorCode,
  })
}

/** A RangeError for a value of the right type that is not allowed. */
export function outOfRange(name: string, expected: string, got: unknown): RangeError {
  return Object.assign(new RangeError(`"${name}" expected ${expected}, got ${describe(got)}`), {
    code: 'ERR_DIRTYRING_OUT_OF_RANGE' satisfies ErrorCode,
  })
}

/** A TypeError for something that is no handle of this library, or no longer one. */
export function badHandle(message: string): TypeError {
  return Object.assign(new TypeError(message), { code: 'ERR_DIRTYRING_BAD_HANDLE' satisfies ErrorCode })
}

/** What a value is, in the few characters that an error message has for it. */
function describe(value: unknown): string {
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value)
  if (typeof value === 'function') return `function ${value.name || '(anonymous)'}`
  if (typeof value === 'object' && value !== null) {
    const name: unknown = (value.constructor as { name?: unknown } | undefined)?.name
    return typeof name === 'string' && name !== '' ? `an instance of ${name}` : 'an object'
  }
  return String(value)
}
