const shared = require('../shared/cases.cjs')

for (const [title, run] of Object.entries(shared.cases))
  test(title, async () => run(await import('dirtyring')))

afterEach(() => jest.useRealTimers())
test('fake timers stop nothing', async () => {
  jest.useFakeTimers()
  await shared.withFakeTimers(await import('dirtyring'))
})
