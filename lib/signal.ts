import { checkBag, isEngineError } from './check.js'
import { invalidArg } from './errors.js'
import { clearTimeout, setTimeout } from './timers.js'

/**
 * Stands for an AbortSignal, so that the declarations compile without "dom" and without
 * @types/node. Every AbortSignal is one.
 *
 * @example
 * ```js
 * await tracker.flushed({ signal: AbortSignal.timeout(1000) })
 * ```
 */
export interface AbortSignalLike {
  /** The caller is no longer interested. */
  readonly aborted: boolean
  /** The error with which an aborted call rejects. */
  readonly reason?: unknown
  /** Called once, with 'abort', while a call is pending. */
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void
  /** Called with the same listener when the call is over. */
  removeEventListener(type: 'abort', listener: () => void): void
}

/**
 * Checks an option bag that may hold a signal, and returns the signal. `others` names the other
 * options that the bag may hold.
 */
export function signalOf(
  options: { signal?: AbortSignalLike | undefined },
  ...others: string[]
): AbortSignalLike | undefined {
  checkBag('options', options, ['signal', ...others])
  const { signal } = options
  if (signal === undefined) return undefined
  if (isSignal(signal)) return signal
  throw invalidArg('options.signal', 'an AbortSignal', signal)
}

export function isSignal(signal: unknown): boolean {
  try {
    const { aborted, addEventListener, removeEventListener } = (signal ??
      {}) as Partial<AbortSignalLike>
    return (
      typeof aborted === 'boolean' &&
      typeof addEventListener === 'function' &&
      typeof removeEventListener === 'function'
    )
  } catch (error) {
    if (isEngineError(error)) return false // the getters of an AbortSignal refuse a Proxy of it
    throw error
  }
}

export function isAborted(signal: AbortSignalLike | undefined): boolean {
  return signal?.aborted === true
}

export function throwIfAborted(signal: AbortSignalLike | undefined): void {
  if (isAborted(signal)) throw signal?.reason
}

/** The two functions that settle a promise. A caller waits for the promise. */
export interface Waiting<T> {
  readonly resolve: (value: T) => void
  readonly reject: (reason: unknown) => void
}

/**
 * Calls back once when the signal aborts, perhaps before onAbort() returns. Returns the function
 * that removes the listener. That function never throws.
 */
function onAbort(
  signal: AbortSignalLike | undefined,
  listener: (reason: unknown) => void,
): () => void {
  if (signal === undefined) return () => undefined
  const abort = (): void => listener(reasonOf(signal))
  signal.addEventListener('abort', abort)
  return () => {
    try {
      signal.removeEventListener('abort', abort)
    } catch {
      // Only a signal that the caller made can throw here. Ignore it: the promise is settled, and
      // other callers still wait for theirs.
    }
  }
}

/** Returns the signal's reason. If reading it throws, returns that error instead. */
function reasonOf(signal: AbortSignalLike): unknown {
  try {
    return signal.reason
  } catch (error) {
    return error
  }
}

/**
 * Returns a promise that `start` settles. `start` returns a function: an abort calls it, and
 * rejects the promise with `signal.reason` if it returns true. False means that the abort comes too
 * late. A settled promise leaves no listener on the signal.
 */
export function abortable<T>(
  signal: AbortSignalLike | undefined,
  start: (waiting: Waiting<T>) => () => boolean,
): Promise<T> {
  return new Promise((resolve, reject) => {
    let isAborted = false
    let abandon = (): boolean => true
    let ignore = (): void => undefined
    const waiting: Waiting<T> = {
      resolve(value) {
        ignore()
        resolve(value)
      },
      reject(reason) {
        ignore()
        reject(reason)
      },
    }
    ignore = onAbort(signal, (reason) => {
      if (!abandon()) return
      isAborted = true
      waiting.reject(reason)
    })
    if (isAborted) {
      ignore()
      return
    }
    abandon = start(waiting)
    if (isAborted) abandon() // start() itself had the signal abort
  })
}

/**
 * Calls `look` now, then after 1 ms, 2 ms, 4 ms …, at most `everyMs` apart, until it returns true.
 * Rejects with an error that `look` throws, and with `signal.reason` after an abort. The timer
 * keeps the thread alive, because a caller waits.
 */
export function until(
  look: () => boolean,
  everyMs: number,
  signal: AbortSignalLike | undefined,
): Promise<void> {
  return abortable(signal, ({ resolve, reject }) => {
    let timer: ReturnType<typeof setTimeout> | undefined
    let isOver = false
    let ms = 1
    const lookAgain = (): void => {
      try {
        if (look()) {
          resolve()
          return
        }
      } catch (error) {
        reject(error)
        return
      }
      if (isOver) return
      timer = setTimeout(lookAgain, ms)
      ms = Math.min(ms * 2, everyMs)
    }
    lookAgain()
    return () => {
      isOver = true
      clearTimeout(timer)
      return true
    }
  })
}
