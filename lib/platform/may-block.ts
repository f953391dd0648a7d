/** Whether this thread may sleep in Atomics.wait: asked of the engine, which knows. */
export function mayBlock(): boolean {
  try {
    // Returns at once, because the word is not 1.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1, 0)
    return true
  } catch {
    return false
  }
}
