import { describe, expect, it } from '@jest/globals'
import { runProgram } from '../support/program.js'

describe('seven named consumers, with workers that write and die', () => {
  it('C14, C15, C16: each has a copy that is equal to the store at the end', async () => {
    const verdict = await runProgram('consumers', { ms: 3000 })

    expect(verdict).toMatchObject({ different: [], unsettled: [], stopped: [0, true, 'committed'] })
    expect(verdict.names).toHaveLength(7)
    expect(verdict.lasts).toEqual(verdict.others)
    for (const what of ['exact', 'superset', 'fresh', 'thrown', 'reopened', 'skipped', 'written'])
      expect({ [what]: verdict[what] }).not.toEqual({ [what]: 0 })
  })
})

/**
 * SQLite stores with named consumers: the programs consumers*.mjs under spec/threads/apps. Each
 * prints what it counted, and what its own oracle found.
 */
const runApp = (name: string, args: object = {}) =>
  runProgram(`../apps/${name}`, args, { timeoutMs: 120_000 })

describe('a checkpoint, a search index and a cache of one store, whose writers are terminated', () => {
  it('each equal the store in the end, also the index that was down for seconds (C8, C14, C15)', async () => {
    const verdict = await runApp('consumers')

    expect(verdict).toMatchObject({
      errors: [],
      behind: 0,
      differing: { checkpoint: 0, index: 0, cache: 0 },
      left: [],
      unsettled: 0,
    })
    const { checkpoint, index, cache } = verdict.epochs as Record<string, Record<string, number>>
    expect([checkpoint.fresh, index.fresh, cache.fresh]).toEqual([1, 1, 0])
    expect([checkpoint.last, index.last, cache.last]).toEqual([1, 1, 1])
    // Only a fresh epoch says that every row may have changed.
    expect([checkpoint.everything, index.everything, cache.everything]).toEqual([1, 1, 0])
    expect(index.superset).toBeGreaterThan(0)
    expect(verdict.taken).toBeGreaterThan(0)
    expect(verdict.taken).toBeLessThan(verdict.walked)
    expect(checkpoint.exact + checkpoint.superset).toBeGreaterThan(2)
    expect(cache.exact).toBeGreaterThan(10)
    for (const count of ['kills', 'failed', 'hits', 'cached', 'transactions'])
      expect({ [count]: verdict[count] }).not.toEqual({ [count]: 0 })
  }, 120_000)

  it('each differ when the writers leave out some marks, so that this proof can fail', async () => {
    const verdict = await runApp('consumers', { forgets: 0.05, downs: 0, kills: 4 })

    expect(verdict.errors).toEqual([])
    expect(verdict.behind).toBeGreaterThan(0)
    expect(verdict.differing.checkpoint).toBeGreaterThan(0)
    expect(verdict.differing.index).toBeGreaterThan(0)
    expect(verdict.differing.cache).toBeGreaterThan(0)
  }, 120_000)
})

describe('a process with a checkpoint, which is killed with SIGKILL again and again', () => {
  it('is fresh once after each start, then exact, and has every row (C16)', async () => {
    const verdict = await runApp('consumers-restarts', { lives: 14 })

    expect(verdict).toMatchObject({
      errors: [],
      kills: 14,
      behind: 0,
      superset: 0,
      differing: { checkpoint: 0 },
    })
    expect(Object.keys(verdict.deaths).toSorted()).toEqual([
      'any',
      'committed',
      'copied',
      'copying',
    ])
    expect(verdict.fresh).toBeGreaterThan(7)
    expect(verdict.exact).toBeGreaterThan(verdict.fresh)
  }, 120_000)

  it('lacks rows when it takes its copy for a full one, so that this proof can fail', async () => {
    const verdict = await runApp('consumers-restarts', { lives: 3, position: 'now' })

    expect(verdict.fresh).toBe(0)
    expect(verdict.behind).toBeGreaterThan(0)
  }, 120_000)
})

describe('a process that saves the state of its consumers, and sometimes dies before', () => {
  it('has none that is fresh after a clean restart, and only fresh ones after a crash (C16)', async () => {
    const verdict = await runApp('consumers-restarts', { lives: 14, keeps: true })

    expect(verdict).toMatchObject({
      errors: [],
      behind: 0,
      differing: { checkpoint: 0, index: 0, archive: 0 },
    })
    expect(Object.keys(verdict.deaths).toSorted()).toEqual([
      'any',
      'copied',
      'loaded',
      'saved',
      'stopped',
    ])
    expect(verdict.clean).toBe(11)
    expect(verdict.resumed).toBeGreaterThan(10)
    // Resumed after two clean restarts in which it was not opened.
    expect(verdict.keptUnopened).toBeGreaterThan(0)
    // Stored with its clock, and not committed before the process ended.
    expect(verdict.left).toBeGreaterThan(0)
    expect(verdict.superset).toBeGreaterThan(0)
    expect(verdict.exact).toBeGreaterThan(0)
  }, 120_000)

  it('lacks rows when a state is loaded after a crash, too, so that this proof can fail', async () => {
    const verdict = await runApp('consumers-restarts', { lives: 6, keeps: true, loads: 'again' })

    expect(verdict.behind).toBeGreaterThan(0)
  }, 120_000)
})
