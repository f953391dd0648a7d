/**
 * Whether this thread may sleep in Atomics.wait: asked of the engine, which knows. Firefox lets an
 * audio worklet sleep, and the sound would stop.
 */
export function mayBlock(): boolean {
  if ('AudioWorkletGlobalScope' in globalThis) return false
  try {
    // Returns at once, because the word is not 1.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1, 0)
    return true
  } catch {
    return false
  }
}
