/** Timers that do not keep a thread alive, where there are such. */
export function unref(timer: unknown): void {
  ;(timer as { unref?: () => void }).unref?.()
}
