import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { consumerHistories, ConsumerTrial, seenInHistories } from '../support/consumer-histories.js'

describe('named consumers', () => {
  it('C14, C15, C16: any history with 1 to 4 consumers agrees with plain Sets', async () => {
    const numRuns = Number(process.env.HISTORIES ?? 100)
    await fc.assert(
      fc.asyncProperty(consumerHistories, async (history) => {
        const trial = await ConsumerTrial.open(history)
        await trial.run()
      }),
      { numRuns, endOnFailure: true },
    )
    expect(Object.entries(seenInHistories).filter(([, count]) => count === 0)).toEqual([])
  })
})
