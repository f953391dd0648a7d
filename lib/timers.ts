/**
 * The host's clock and timers, as they were when the library was loaded. The library talks with
 * other threads, which live in real time: a test's fake timers, installed later, must not stop it.
 * Every module of the library takes them from here (a lint rule says so).
 */
export const [setTimeout, clearTimeout] = timeouts()

export const [setInterval, clearInterval] = intervals()

/**
 * The host's. An audio worklet and a `vm` context have none: the engine's own wait takes their
 * place there.
 */
function timeouts(): [typeof globalThis.setTimeout, typeof globalThis.clearTimeout] {
  const host = globalThis as Partial<typeof globalThis>
  if (host.setTimeout !== undefined && host.clearTimeout !== undefined)
    return [host.setTimeout, host.clearTimeout]
  const wait = (callback: () => void, ms: number): { isOver: boolean } => {
    const timer = { isOver: false }
    if (typeof Atomics.waitAsync !== 'function') return timer // no timer ever fires in such a host
    neverNotified ??= new Int32Array(new SharedArrayBuffer(4))
    const waiting = Atomics.waitAsync(neverNotified as Int32Array<SharedArrayBuffer>, 0, 0, ms)
    void Promise.resolve(waiting.value).then(() => {
      if (!timer.isOver) callback()
    })
    return timer
  }
  const end = (timer: { isOver: boolean } | undefined): void => {
    if (timer !== undefined) timer.isOver = true
  }
  return [wait as never, end as never]
}

/** The host's. Where it has none, setTimeout() again and again. */
function intervals(): [typeof globalThis.setInterval, typeof globalThis.clearInterval] {
  const host = globalThis as Partial<typeof globalThis>
  if (host.setInterval !== undefined && host.clearInterval !== undefined)
    return [host.setInterval, host.clearInterval]
  const repeat = (callback: () => void, ms: number): { next: unknown } => {
    const timer = { next: undefined as unknown }
    const wait = (): void => {
      timer.next = setTimeout(() => {
        wait() // first, because the callback may end it or throw
        callback()
      }, ms)
    }
    wait()
    return timer
  }
  const end = (timer: { next: unknown } | undefined): void => {
    clearTimeout(timer?.next as never)
  }
  return [repeat as never, end as never]
}

/** The host's. A host without one gets a promise's microtask. */
export const queueMicrotask: (callback: () => void) => void =
  (globalThis as { queueMicrotask?: (callback: () => void) => void }).queueMicrotask ??
  ((callback) => void Promise.resolve().then(callback))

/** Node's. Where the host has none, setTimeout() of 0 ms. */
export const setImmediate: (callback: () => void) => unknown =
  (globalThis as { setImmediate?: (callback: () => void) => unknown }).setImmediate ??
  ((callback) => setTimeout(callback, 0))

/** Milliseconds since some moment; never goes back. */
export const nowMs: () => number =
  typeof performance === 'object' ? performance.now.bind(performance) : steadyClock()

/** Milliseconds since 1970; goes back when the host's clock is set back. */
export const wallMs: () => number = Date.now

/**
 * Where the host has no `performance`: the date, which stands still while the host's clock is set
 * back.
 */
function steadyClock(): () => number {
  const { now } = Date
  let latest = 0
  return () => (latest = Math.max(latest, now()))
}

/** Lets the thread end although the timer is pending, where the host has such timers. */
export function unref(timer: unknown): void {
  ;(timer as { unref?: () => void }).unref?.()
}

/** Keeps the thread alive while the timer is pending. */
export function ref(timer: unknown): void {
  ;(timer as { ref?: () => void }).ref?.()
}

let neverNotified: Int32Array | undefined

/**
 * Sleeps as briefly as possible, some 60 µs. A thread that reads shared memory in a loop takes the
 * line away from the thread that is about to write it and, where two processors are two halves of
 * one core, half of that thread's speed. (`Atomics.pause` is missing in Node 20 and 22.)
 */
export function nap(): void {
  neverNotified ??= new Int32Array(new SharedArrayBuffer(4))
  Atomics.wait(neverNotified, 0, 0, 0.001)
}
