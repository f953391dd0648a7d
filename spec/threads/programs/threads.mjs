/** Numbers below 1, the same ones for the same seed. */
export function randomFrom(seed) {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A whole number, 0 to below - 1. */
export function pick(random, below) {
  return Math.floor(random() * below)
}

export function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** The promise's outcome, or an error that says what did not happen in time. */
export async function within(promise, what, ms = 20_000) {
  let timer
  const late = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Resolves when `isSo()` is; rejects when it is not in time. */
export async function until(isSo, what, ms = 20_000) {
  const started = performance.now()
  while (!isSo()) {
    if (performance.now() - started > ms) throw new Error(`${what}: not within ${ms} ms`)
    await sleep(1)
  }
}

/**
 * Resolves with the exit code when the worker has ended, with an error or without. To be called
 * before it can have.
 */
export function exitOf(worker, what = 'the end of a worker', ms = 60_000) {
  const ended = within(new Promise((resolve) => worker.once('exit', resolve)), what, ms)
  ended.catch(() => undefined) // for whoever awaits it
  return ended
}

/** What a call threw or rejected with, by its code; 'nothing' when it did not. */
export async function codeOf(call) {
  try {
    await call()
  } catch (error) {
    return error.code ?? `${error.name}: ${error.message}`
  }
  return 'nothing'
}
