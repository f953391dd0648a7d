import { it } from '@jest/globals'
import fc from 'fast-check'
import { histories, Trial } from '../support/histories.js'

it('C1, C2, C3, C4, C6, C7, C12: any history agrees with plain Sets, wherever the aggregator stands', async () => {
  await fc.assert(
    fc.asyncProperty(histories, async (history) => (await Trial.held(history)).run()),
    { numRuns: 200 },
  )
})

it('C1, C2, C3, C4, C6, C7, C12: so does any history with an inline aggregator', async () => {
  await fc.assert(
    fc.asyncProperty(histories, async (history) => (await Trial.inline(history)).run()),
    { numRuns: 100 },
  )
})
