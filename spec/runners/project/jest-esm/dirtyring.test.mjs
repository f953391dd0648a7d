import { afterEach, jest, test } from '@jest/globals'
import * as dirtyring from 'dirtyring'
import shared from '../shared/cases.cjs'

for (const [title, run] of Object.entries(shared.cases)) test(title, () => run(dirtyring))

afterEach(() => jest.useRealTimers())
test('fake timers stop nothing', () => {
  jest.useFakeTimers()
  return shared.withFakeTimers(dirtyring)
})
