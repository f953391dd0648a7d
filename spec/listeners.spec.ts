import { expect, it } from '@jest/globals'
import { openInline } from './support/in-process.js'

it('a listener is called until the function that on() returned is, also when it was the last one', async () => {
  const tracker = await openInline()
  const [first, second]: number[][] = [[], []]
  const ends = [first, second].map((seen) => tracker.on('epoch', ({ id }) => seen.push(id)))

  await tracker.consume(() => {})
  ends[0]()
  await tracker.consume(() => {})
  ends[1]()
  ends[1]()
  await tracker.consume(() => {})
  await tracker.stop()

  expect([first, second]).toEqual([[0], [0, 1]])
})
