/** Timers that do not keep a thread alive, where there are such. */
export function unref(timer: unknown): void {
  ;(timer as { unref?: () => void }).unref?.()
}

/** Timers that keep it alive again. */
export function ref(timer: unknown): void {
  ;(timer as { ref?: () => void }).ref?.()
}

let nobodyWakes: Int32Array | undefined

/**
 * The shortest sleep there is, some 60 µs. Who looks at shared memory all the time takes the very line away from the thread that is about to write it, and,
 * where two processors are two halves of one core, half of that thread's speed. (`Atomics.pause` is missing in Node 20 and 22.)
 */
export function nap(): void {
  nobodyWakes ??= new Int32Array(new SharedArrayBuffer(4))
  Atomics.wait(nobodyWakes, 0, 0, 0.001)
}
