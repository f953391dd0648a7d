/** What a history can end in. */

/** A wrong answer, or a wait without an end. */
export class Wrong extends Error {}

export function isCoded(error) {
  return typeof error?.code === 'string' && error.code.startsWith('ERR_DIRTYRING_')
}

/** Errors of histories in which nothing is corrupt. */
const USUAL = new Set(['ERR_DIRTYRING_NO_WRITER_SLOT', 'ERR_DIRTYRING_NO_EPOCH_SLOT'])

export function isUsual(error) {
  return USUAL.has(error.code)
}

export function outcomeOf(error) {
  if (error instanceof Wrong) return { is: 'wrong', why: error.message }
  if (isCoded(error)) return { is: 'coded', why: `${error.code}: ${error.message}` }
  return { is: 'wrong', why: `an error without a code: ${error?.stack ?? error}` }
}

/** Times synchronous calls, and keeps the slowest. */
export class Stopwatch {
  slowest = { ms: 0, what: '' }

  time(what, body) {
    const from = performance.now()
    try {
      return body()
    } finally {
      const ms = performance.now() - from
      if (ms > this.slowest.ms) this.slowest = { ms, what }
    }
  }
}
