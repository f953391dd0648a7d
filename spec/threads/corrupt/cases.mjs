/** Runs many cases, and counts what they ended in. */
import { KINDS } from './corruptions.mjs'
import { History } from './history.mjs'

/**
 * A call may take 1 s. close() waits that long on purpose where the ring stays full, so a little
 * more is allowed.
 */
const CALL_MS_MAX = 1200
const AT_A_TIME = 64

export async function runCase(seed, log = () => undefined) {
  const history = new History(seed, log)
  const outcome = await history.run()
  const { kind, changes, stopwatch } = history
  return { seed, kind, ...outcome, words: changes.length, slowest: stopwatch.slowest }
}

/** Runs a case. If it looks slow, runs it once more, because the machine may have been slow. */
async function runTwice(seed) {
  const isSlow = ({ slowest, why }) => slowest.ms > CALL_MS_MAX || why?.endsWith('does not settle')
  const first = await runCase(seed)
  if (!isSlow(first)) return first
  const result = await runCase(seed)
  if (result.slowest.ms <= CALL_MS_MAX) return result
  const why = `${result.slowest.what} took ${Math.round(result.slowest.ms)} ms`
  return { ...result, is: 'wrong', why }
}

export async function runCases({ cases, from = 1, onFailure = () => undefined }) {
  const figures = new Map(
    KINDS.map((kind) => [
      kind,
      { cases: 0, right: 0, coded: 0, inexact: 0, undetected: 0, wrong: 0, slowestMs: 0 },
    ]),
  )
  const undetected = new Map()
  let failures = 0
  let next = from
  const running = new Set()
  // Several at a time: most of a case's time is its tracker's wait for a signal.
  const some = async () => {
    while (next < from + cases) {
      const seed = next++
      running.add(seed)
      count(await runTwice(seed))
      running.delete(seed)
    }
  }
  const count = (result) => {
    const figure = figures.get(result.kind)
    figure.cases++
    figure[result.is]++
    figure.slowestMs = Math.max(figure.slowestMs, Math.round(result.slowest.ms))
    if (result.is === 'undetected')
      undetected.set(result.excuse, (undetected.get(result.excuse) ?? 0) + 1)
    if (result.is !== 'wrong') return
    failures++
    onFailure(result)
  }
  // An application would end by it.
  const stray = (error) => {
    failures++
    const why = `a rejection that no code handles: ${error?.stack ?? error}`
    onFailure({ seed: [...running].join(' or '), kind: 'of any kind', why })
  }
  process.on('unhandledRejection', stray)
  await Promise.all(Array.from({ length: AT_A_TIME }, some))
  process.off('unhandledRejection', stray)
  return {
    cases,
    failures,
    figures: Object.fromEntries(figures),
    undetected: Object.fromEntries(undetected),
  }
}
