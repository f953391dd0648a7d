import { checkBag } from './check.js'
import { invalidArg } from './errors.js'
import { clearTimeout, setTimeout } from './timers.js'

/**
 * What the library needs of an AbortSignal, so that the declarations compile without "dom" and without @types/node. An AbortSignal is one.
 *
 * @example
 * ```js
 * await tracker.flushed({ signal: AbortSignal.timeout(1000) })
 * ```
 */
export interface AbortSignalLike {
  /** Whoever called is no longer interested. */
  readonly aborted: boolean
  /** What a call that is aborted rejects with. */
  readonly reason?: unknown
  /** Called once, with 'abort', while a call is pending. */
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void
  /** Called with the same listener when the call is over. */
  removeEventListener(type: 'abort', listener: () => void): void
}

/** Checks an option bag that may hold a signal, and returns the signal. `others` are the names it may have besides. */
export function signalOf(options: { signal?: AbortSignalLike | undefined }, ...others: string[]): AbortSignalLike | undefined {
  checkBag('options', options, ['signal', ...others])
  const { signal } = options
  if (signal === undefined) return undefined
  const { aborted, addEventListener, removeEventListener } = (signal ?? {}) as Partial<AbortSignalLike>
  if (typeof aborted === 'boolean' && typeof addEventListener === 'function' && typeof removeEventListener === 'function') return signal
  throw invalidArg('options.signal', 'an AbortSignal', signal)
}

export function isAborted(signal: AbortSignalLike | undefined): boolean {
  return signal?.aborted === true
}

export function throwIfAborted(signal: AbortSignalLike | undefined): void {
  if (isAborted(signal)) throw signal?.reason
}

/** Somebody's promise. */
export interface Waiting<T> {
  readonly resolve: (value: T) => void
  readonly reject: (reason: unknown) => void
}

/**
 * A promise for `start` to settle, which an abort rejects with `signal.reason`: if `abandon`, which `start` returns, says that it is not too late. Nothing is left on
 * the signal once it is settled.
 */
export function abortable<T>(signal: AbortSignalLike | undefined, start: (waiting: Waiting<T>) => () => boolean): Promise<T> {
  return new Promise((resolve, reject) => {
    const waiting: Waiting<T> = {
      resolve(value) {
        signal?.removeEventListener('abort', abort)
        resolve(value)
      },
      reject(reason) {
        signal?.removeEventListener('abort', abort)
        reject(reason)
      },
    }
    const abort = (): void => {
      if (abandon()) waiting.reject(signal?.reason)
    }
    signal?.addEventListener('abort', abort)
    const abandon = start(waiting)
  })
}

/**
 * Call `look` now, after 1 ms, 2, 4 …, at most `everyMs` apart, until it is true. Rejects with what it throws, and with `signal.reason`. The timer keeps the
 * thread alive: somebody waits.
 */
export function until(look: () => boolean, everyMs: number, signal: AbortSignalLike | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    let timer: ReturnType<typeof setTimeout> | undefined
    let ms = 1
    const settle = (how: () => void): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
      how()
    }
    const abort = (): void => settle(() => reject(signal?.reason))
    const lookAgain = (): void => {
      try {
        if (look()) {
          settle(resolve)
          return
        }
      } catch (error) {
        settle(() => reject(error))
        return
      }
      timer = setTimeout(lookAgain, ms)
      ms = Math.min(ms * 2, everyMs)
    }
    signal?.addEventListener('abort', abort)
    if (isAborted(signal)) abort()
    else lookAgain()
  })
}
