import { checkBag, isEngineError } from './check.js'
import { invalidArg } from './errors.js'
import { clearTimeout, setTimeout } from './timers.js'

/**
 * What the library needs of an AbortSignal, so that the declarations compile without "dom" and
 * without @types/node. An AbortSignal is one.
 *
 * @example
 * ```js
 * await tracker.flushed({ signal: AbortSignal.timeout(1000) })
 * ```
 */
export interface AbortSignalLike {
  /** The caller is no longer interested. */
  readonly aborted: boolean
  /** What a call that is aborted rejects with. */
  readonly reason?: unknown
  /** Called once, with 'abort', while a call is pending. */
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void
  /** Called with the same listener when the call is over. */
  removeEventListener(type: 'abort', listener: () => void): void
}

/**
 * Checks an option bag that may hold a signal, and returns the signal. `others` are the names it
 * may have besides.
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

function isSignal(signal: unknown): boolean {
  try {
    const { aborted, addEventListener, removeEventListener } = (signal ??
      {}) as Partial<AbortSignalLike>
    return (
      typeof aborted === 'boolean' &&
      typeof addEventListener === 'function' &&
      typeof removeEventListener === 'function'
    )
  } catch (error) {
    if (isEngineError(error)) return false // a Proxy of one: its getters refuse the Proxy
    throw error
  }
}

export function isAborted(signal: AbortSignalLike | undefined): boolean {
  return signal?.aborted === true
}

export function throwIfAborted(signal: AbortSignalLike | undefined): void {
  if (isAborted(signal)) throw signal?.reason
}

/** The two ends of a promise that some caller waits for. */
export interface Waiting<T> {
  readonly resolve: (value: T) => void
  readonly reject: (reason: unknown) => void
}

/**
 * Calls back once when the signal aborts, perhaps before this returns. Returns the function that
 * ends it, which never throws.
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
      // A signal of the caller's own making. The promise is settled, and the others that wait must
      // not suffer.
    }
  }
}

/** The signal's reason; if it cannot be read, the error that reading it threw. */
function reasonOf(signal: AbortSignalLike): unknown {
  try {
    return signal.reason
  } catch (error) {
    return error
  }
}

/**
 * A promise for `start` to settle, which an abort rejects with `signal.reason`: if `abandon`, which
 * `start` returns, says that it is not too late. Nothing is left on the signal once it is settled.
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
    if (isAborted) ignore()
    else abandon = start(waiting)
  })
}

/**
 * Call `look` now, after 1 ms, 2, 4 …, at most `everyMs` apart, until it is true. Rejects with what
 * it throws, and with `signal.reason`. The timer keeps the thread alive, because a caller waits.
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
