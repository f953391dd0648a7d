export { randomFrom } from '../../../dist/demo/random.js'

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
export function exitOf(worker, what = 'the end of a worker', ms = 600_000) {
  const ended = within(new Promise((resolve) => worker.once('exit', resolve)), what, ms)
  ended.catch(() => undefined) // the caller may await it later
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
