import { describe, expect, it } from '@jest/globals'
import { runProgram } from '../support/program.js'

describe("the aggregator's code that the package carries", () => {
  it('is what the sources give, imports nothing, and comes with the tracker only', async () => {
    const { inPage, ...carried } = await runProgram('carried', {})
    expect(carried).toEqual({ isOfTheSources: true, imports: [] })
    expect(inPage).toMatchObject({
      tracker: { hasCarried: true },
      writer: { hasCarried: false },
      findsFiles: false,
    })
  })

  it('leaves a page small: kB, minified and gzipped', async () => {
    const { tracker, writer } = (await runProgram('carried', {})).inPage
    expect(tracker.kB).toBeLessThan(71)
    expect(writer.kB).toBeLessThan(18.2)
  })
})
