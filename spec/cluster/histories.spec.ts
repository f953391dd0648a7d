import { describe, expect, it } from '@jest/globals'
import { runHistory } from '../support/cluster-histories.js'

const HISTORIES = Number(process.env.HISTORIES ?? 2000)

describe('a cluster over a log that goes wrong', () => {
  it('has copies that equal the store in the end, or were told what they miss', () => {
    const sums: Record<string, number> = {}
    const started = performance.now()
    for (let seed = 1; seed <= HISTORIES; seed++) {
      const outcome = runHistory(seed)
      if (outcome.failure !== undefined) throw new Error(`seed ${seed}: ${outcome.failure}`)
      for (const [name, count] of Object.entries({ ...outcome.faults, ...outcome.acts }))
        sums[name] = (sums[name] ?? 0) + count
      for (const name of ['excused', 'epochs', 'inexact', 'messages'] as const)
        sums[name] = (sums[name] ?? 0) + outcome[name]
    }
    console.log(performance.now() - started, sums)
    expect(sums.epochs).toBeGreaterThan(0)
  })
})
