import { describe, expect, it } from '@jest/globals'
import { runProgram } from '../support/program.js'

/** Each client shows every page: room for as many rows as the store has. */
const room = 2 ** 16
const runCache = (args: object) =>
  runProgram('../apps/web-cache', { pages: 1000, room, shows: room, ...args })

describe('a web cache whose clients are told of the changed pages by their keys', () => {
  it('leaves each client with the state of the store when workers are terminated in the middle (C8)', async () => {
    const verdict = await runCache({
      kind: 'dirtyring',
      writers: 3,
      rate: 3000,
      seconds: 2,
      killEveryMs: 150,
    })

    expect(verdict).toMatchObject({ missed: 0, differences: 0, everything: 0 })
    expect(verdict.terminations).toBeGreaterThan(2)
    expect(verdict.rows).toBeGreaterThan(1000)
    expect(verdict.keys).toBeGreaterThan(1000)
    expect(verdict.pages).toBeGreaterThanOrEqual(2 * verdict.rows)
  })

  it('drops all pages when an epoch does not hold the keys, and misses no change', async () => {
    const options = { maxStringsPerEpoch: 16 }
    const verdict = await runCache({ kind: 'dirtyring', rate: 8000, seconds: 0.5, options })

    expect(verdict).toMatchObject({ missed: 0, differences: 0 })
    expect(verdict.everything).toBeGreaterThan(0)
  })

  it('misses the changes that are not marked, so that this proof can fail', async () => {
    const verdict = await runCache({ kind: 'dirtyring', rate: 8000, seconds: 0.5, forget: 10 })

    expect(verdict.missed).toBeGreaterThan(0)
    expect(verdict.differences).toBeGreaterThan(0)
  })

  it.each(['set', 'arrays'])(
    'is compared with servers that miss nothing either, while no worker is terminated: %s',
    async (kind) => {
      const verdict = await runCache({ kind, rate: 8000, seconds: 0.5 })

      expect(verdict).toMatchObject({ missed: 0, differences: 0 })
      expect(verdict.keys).toBeGreaterThan(100)
    },
  )
})
