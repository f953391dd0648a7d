/**
 * Names the cause of an error, as `error.code`. Every error that the library throws on purpose has
 * one. Tell errors apart by it and not by `instanceof`, because two copies of a package, or two
 * realms, have two classes. {@link isDirtyRingError} tells whether an error has such a code.
 *
 * - `ERR_DIRTYRING_INVALID_ARG`: a TypeError: an argument or option is of the wrong type
 * - `ERR_DIRTYRING_OUT_OF_RANGE`: a RangeError: it is of the right type and not allowed
 * - `ERR_DIRTYRING_BAD_HANDLE`: a TypeError: the value is not a handle, or it has become useless:
 *   it went through JSON, or into another process
 * - `ERR_DIRTYRING_VERSION`: a TypeError: the handle is from another version of the library
 * - `ERR_DIRTYRING_NO_SHARED_MEMORY`: this runtime has no SharedArrayBuffer; a page needs two
 *   headers for it
 * - `ERR_DIRTYRING_NO_WRITER_SLOT`: `maxWriters` writers are open
 * - `ERR_DIRTYRING_NO_EPOCH_SLOT`: all `epochSlots` are taken, and `onBusy` is 'reject'
 * - `ERR_DIRTYRING_NO_CONSUMER_SLOT`: `maxConsumers` named consumers are open
 * - `ERR_DIRTYRING_CONSUMER_TAKEN`: an open consumer has that name
 * - `ERR_DIRTYRING_SETTLED`: the epoch was committed or restored, so its keys are gone
 * - `ERR_DIRTYRING_CLOSED`: the writer, the producer or the consumer was closed; or, of a cluster,
 *   the reader, the hub, the sink or the source
 * - `ERR_DIRTYRING_STOPPED`: the tracker has stopped
 * - `ERR_DIRTYRING_STALLED`: no room for a mark within `maxWaitMs`; nothing was stored
 * - `ERR_DIRTYRING_AGGREGATOR_TAKEN`: another thread runs this tracker's aggregator, or drains this
 *   ring
 * - `ERR_DIRTYRING_AGGREGATOR_FAILED`: the aggregator could not be started, or not be kept running
 * - `ERR_DIRTYRING_CORRUPT`: the shared memory holds a word that the library never writes there
 * - `ERR_DIRTYRING_DICTIONARY_FULL`: a KeyDictionary has no number, or no room for the bytes, left
 * - `ERR_DIRTYRING_UNSUPPORTED`: this host cannot run the library (it is big-endian); or the server
 *   of a cluster lacks what an adapter needs
 * - `ERR_DIRTYRING_BUSY`: a running epochs() loop or named consumers own the epochs, or close() was
 *   called inside batch()
 * - `ERR_DIRTYRING_INEXACT`: the epoch is not exact, so a list of its keys would be incomplete
 * - `ERR_DIRTYRING_WOULD_BLOCK`: this thread may not sleep, and the lane is full, or `ring.wait()` has
 *   found no batch
 * - `ERR_DIRTYRING_BAD_MESSAGE`: these bytes are no encoded epoch, or they are damaged
 * - `ERR_DIRTYRING_BAD_STATE`: these bytes are no saved state, or they are damaged
 * - `ERR_DIRTYRING_TOO_LARGE`: a message is larger than its engine takes
 * - `ERR_DIRTYRING_AWAY`: the engine of a cluster, or one of its nodes, does not answer
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
  | 'ERR_DIRTYRING_NO_CONSUMER_SLOT'
  | 'ERR_DIRTYRING_CONSUMER_TAKEN'
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
  | 'ERR_DIRTYRING_BAD_MESSAGE'
  | 'ERR_DIRTYRING_BAD_STATE'
  | 'ERR_DIRTYRING_TOO_LARGE'
  | 'ERR_DIRTYRING_AWAY'

/**
 * Says that the state of the tracker, the ring or the host does not allow the call. Bad input is a
 * TypeError or a RangeError instead, with a `code` as well. An abort rejects with `signal.reason`.
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
  /** The cause. Stable across versions. */
  readonly code: ErrorCode

  /**
   * Makes an error; the library does that.
   *
   * @param code - The cause.
   * @param message - What happened.
   * @param options - `cause`: the error behind it.
   */
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
  }
}

/**
 * Tells whether a value is an error that this library threw on purpose, TypeErrors and RangeErrors
 * included. It goes by `error.code`, so it works across copies of the package and across realms.
 *
 * @param error - Any value. The function never throws.
 * @returns True for an Error whose code begins with `ERR_DIRTYRING_`.
 *
 * @example
 * ```js
 * import { isDirtyRingError } from 'dirtyring'
 *
 * try {
 *   writer.mark(-1)
 * } catch (error) {
 *   if (!isDirtyRingError(error)) throw error
 *   console.log(error.code, error instanceof RangeError) // ERR_DIRTYRING_OUT_OF_RANGE true
 * }
 * ```
 */
export function isDirtyRingError(error: unknown): error is Error & {
  /** The cause. Stable across versions. */
  code: ErrorCode
} {
  try {
    // An error of another realm is not an instance of this realm's Error, but the engine gives it
    // this tag too. Any object can give itself the tag, with a property that no Error has.
    if (Object.prototype.toString.call(error) !== '[object Error]') return false
    const { code, [Symbol.toStringTag]: ownTag } = error as Record<string | symbol, unknown>
    if (ownTag !== undefined) return false
    return typeof code === 'string' && code.startsWith('ERR_DIRTYRING_')
  } catch {
    return false // a revoked Proxy, or a getter that throws
  }
}

/**
 * A TypeError for an argument or option of the wrong type.
 *
 * @param expected - what it must be: the message says `"name" must be ${expected}`
 * @param advice - one sentence for a usual cause
 */
export function invalidArg(name: string, expected: string, got: unknown, advice = ''): TypeError {
  return coded(new TypeError(sentence(name, expected, got, advice)), 'ERR_DIRTYRING_INVALID_ARG')
}

/**
 * A RangeError for a value of the right type that is not allowed.
 *
 * @param advice - one sentence for a usual cause
 */
export function outOfRange(name: string, expected: string, got: unknown, advice = ''): RangeError {
  return coded(new RangeError(sentence(name, expected, got, advice)), 'ERR_DIRTYRING_OUT_OF_RANGE')
}

/**
 * A TypeError for an option that does not exist.
 *
 * @param advice - one sentence that names those that do
 */
export function unknownOption(name: string, advice: string): TypeError {
  return coded(new TypeError(`"${name}" is not an option. ${advice}`), 'ERR_DIRTYRING_INVALID_ARG')
}

/**
 * A TypeError for a constructor that only the library uses.
 *
 * @param advice - one sentence that says what to call instead
 */
export function notConstructible(className: string, advice: string): TypeError {
  const message = `new ${className}() is not for callers. ${advice}`
  return coded(new TypeError(message), 'ERR_DIRTYRING_INVALID_ARG')
}

/** A TypeError for something that is no handle of this library, or no longer one. */
export function badHandle(message: string): TypeError {
  return coded(new TypeError(message), 'ERR_DIRTYRING_BAD_HANDLE')
}

/** A word of the ring that no part of the library writes there. */
export function corrupt(position: number, word: number): DirtyRingError {
  return corruption(`ring position ${position} holds ${word}, ${NEVER_WRITTEN}`)
}

/** A tail that no producer leaves there. */
export function corruptTail(tail: number, head: number): DirtyRingError {
  return corruption(
    `the ring's tail is ${tail}, and the aggregator is at ${head}: no producer leaves it there`,
  )
}

/** A lane's readEnd beyond what was staged, or more than a lane behind it. */
export function corruptLane(readEnd: number, end: number): DirtyRingError {
  return corruption(
    `a lane with keys up to ${end} was read up to ${readEnd}, by what its header says, ` +
      NEVER_WRITTEN,
  )
}

/** A lane whose texts do not hold together. */
export function corruptTexts(writer: number): DirtyRingError {
  return corruption(
    `the texts in lane ${writer} do not follow each other as a writer stores them, which other ` +
      'code has done. Close the writer and open another one',
  )
}

/** An epoch slot whose texts do not hold together. */
export function corruptTextsOf(slot: number): DirtyRingError {
  return corruptSlot(slot, 'has texts whose lengths do not add up')
}

/** An epoch slot whose header says what no part of the library writes there. */
export function corruptSlot(slot: number, what: string): DirtyRingError {
  return corruption(`epoch slot ${slot} ${what}, ${NEVER_WRITTEN}`)
}

/** A CUR that names an epoch which cannot be open. */
export function corruptCur(cur: number): DirtyRingError {
  return corruption(`CUR is ${cur}, ${NEVER_WRITTEN}`)
}

/** A JOB that names no plan, or one that the tracker has not made. */
export function corruptJob(job: number): DirtyRingError {
  return corruption(`JOB is ${job}, ${NEVER_WRITTEN}`)
}

/** Shared memory that holds what no part of the library writes there. */
export function corruption(message: string): DirtyRingError {
  return new DirtyRingError('ERR_DIRTYRING_CORRUPT', message)
}

const NEVER_WRITTEN = 'which no part of the library writes there'

function coded<E extends Error>(error: E, code: ErrorCode): E {
  return Object.assign(error, { code })
}

/** The message of anything that was thrown. Never throws itself. */
export function messageOf(error: unknown): string {
  try {
    return String((error as Partial<Error> | null | undefined)?.message ?? error)
  } catch {
    // A revoked Proxy, a getter that throws, or an object without toString().
    return 'an unreadable error'
  }
}

function sentence(name: string, expected: string, got: unknown, advice: string): string {
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
  if (typeof value === 'function') return `function ${nameOf(() => value) ?? '(anonymous)'}`
  if (typeof value !== 'object' || value === null) return String(value)
  const name = nameOf(() => value.constructor)
  return name === undefined ? 'an object' : `an instance of ${name}`
}

function shorten(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text
}

function nameOf(find: () => unknown): string | undefined {
  try {
    const { name } = find() as { name?: unknown }
    return typeof name === 'string' && name !== '' ? shorten(name) : undefined
  } catch {
    return undefined // it has none, or a getter throws
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
