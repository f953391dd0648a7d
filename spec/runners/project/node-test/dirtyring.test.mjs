import { mock, test } from 'node:test'
import * as dirtyring from 'dirtyring'
import shared from '../shared/cases.cjs'

for (const [title, run] of Object.entries(shared.cases)) test(title, () => run(dirtyring))

test('fake timers stop nothing', async (context) => {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'setImmediate', 'Date'] })
  context.after(() => mock.timers.reset())
  await shared.withFakeTimers(dirtyring)
})
