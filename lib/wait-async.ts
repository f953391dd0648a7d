import { queueMicrotask } from './timers.js'

/** Looked up at each call: a host may lack Atomics, or waitAsync. */
export function canWaitAsync(): boolean {
  return typeof Atomics === 'object' && typeof Atomics.waitAsync === 'function'
}

/**
 * Calls back once: when another thread notifies `words[at]`, at the latest after `ms`, and in a
 * microtask if the word is not `expected` any more. Does not keep the thread alive. The engine
 * keeps `callback` until it is called.
 *
 * @returns false where the host has no waitAsync: the callback is never called then, and the
 * caller's timer has to do
 */
export function whenNotified(
  words: Int32Array,
  at: number,
  expected: number,
  ms: number,
  callback: (outcome: 'ok' | 'not-equal' | 'timed-out') => void,
): boolean {
  if (!canWaitAsync()) return false
  const waiting = Atomics.waitAsync(words as Int32Array<SharedArrayBuffer>, at, expected, ms)
  if (waiting.async) void waiting.value.then(callback)
  else queueMicrotask(() => callback(waiting.value))
  return true
}
