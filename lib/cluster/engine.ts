import { DirtyRingError } from '../errors.js'
import { abortable, type AbortSignalLike } from '../signal.js'
import { clearTimeout, setTimeout } from '../timers.js'

/** The engine can't be reached or does not answer: the caller tries again. */
export function away(message: string, cause?: unknown): DirtyRingError {
  return new DirtyRingError('ERR_DIRTYRING_AWAY', message, cause === undefined ? {} : { cause })
}

/** The caller's client is closed, so it will never answer again. */
export function closed(message: string, cause?: unknown): DirtyRingError {
  return new DirtyRingError('ERR_DIRTYRING_CLOSED', message, cause === undefined ? {} : { cause })
}

/** A message is longer than the engine takes. */
export function tooLarge(bytes: number, max: number, cause?: unknown): DirtyRingError {
  return new DirtyRingError(
    'ERR_DIRTYRING_TOO_LARGE',
    `the message has ${bytes} bytes, and the engine takes ${max} at most`,
    cause === undefined ? {} : { cause },
  )
}

/** Rejects with away() if a promise of an engine's client is not settled in time. */
export async function within<T>(answer: Promise<T>, ms: number, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(away(`${what}: no answer within ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Waits for a promise, and rejects with `signal.reason` if the signal aborts first. The promise
 * goes on, and `abandon` tells its owner that no caller waits for it any more.
 */
export function unlessAborted<T>(
  signal: AbortSignalLike | undefined,
  answer: Promise<T>,
  abandon: () => void,
): Promise<T> {
  return abortable(signal, ({ resolve, reject }) => {
    answer.then(resolve, reject)
    return () => {
      abandon()
      return true
    }
  })
}
