import * as dirtyring from 'dirtyring'
import { afterEach, test, vi } from 'vitest'
import shared from '../shared/cases.cjs'

for (const [title, run] of Object.entries(shared.cases)) test(title, () => run(dirtyring))

afterEach(() => void vi.useRealTimers())
test('fake timers stop nothing', () => {
  vi.useFakeTimers()
  return shared.withFakeTimers(dirtyring)
})
