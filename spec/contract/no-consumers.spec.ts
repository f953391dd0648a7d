import { describe, expect, it } from '@jest/globals'
import { DirtyTracker, memoryFootprint, resolveOptions, type SealedEpoch } from '../../lib/index.js'
import { CHOICE_TABLE, JOB, PLAN } from '../../lib/memory/map.js'
import { attachMemory } from '../../lib/memory/memory.js'
import { openInline, range, sortedIds, sortedListed } from '../support/in-process.js'

/** Sends tokens of each kind but REAP and STOP: how many of control, and what the epochs had. */
async function program(tracker: DirtyTracker): Promise<{ controls: number; seen: number[][] }> {
  const writer = tracker.openWriter()
  const seen: number[][] = []
  let controls = 0
  const take = async (epoch: SealedEpoch | Promise<SealedEpoch>): Promise<SealedEpoch> => {
    controls++ // SEAL
    const sealed = await epoch
    seen.push(sortedListed(sealed))
    return sealed
  }
  for (let round = 0; round < 10; round++) {
    writer.markMany(range(round * 1000, 700))
    ;(await take(tracker.advanceEpoch())).commit()
    writer.mark(round)
    const first = await take(tracker.tryAdvanceEpoch()!)
    writer.mark(round + 1)
    const second = await take(tracker.advanceEpoch())
    controls++ // RESTORE
    await first.restore()
    second.commit()
    await tracker.consume((epoch) => take(epoch))
  }
  writer.markEverything()
  controls++ // EVERYTHING
  const everything = await take(tracker.advanceEpoch())
  expect(everything.exact).toBe(false)
  everything.commit()
  writer.close()
  controls++ // CLOSE
  await tracker.drained()
  return { controls, seen }
}

const EXPECTED = range(0, 10).flatMap((round) => [
  range(round * 1000, 700),
  [round],
  [round + 1],
  [round],
])

describe('without a named consumer', () => {
  it('the tokens are the batches, the cuts, the restores, and what the writers send', async () => {
    const tracker = await openInline()
    expect(tracker.stats().tokens).toBe(0)
    const { controls, seen } = await program(tracker)

    expect(seen.slice(0, -1)).toEqual(EXPECTED)
    const { tokens, batches, sealed, restored } = tracker.stats()
    expect([tokens, sealed, restored]).toEqual([batches + controls, 41, 10])
    await tracker.stop()
    expect(tracker.stats().tokens).toBe(tokens + 1) // STOP
  })

  it('the words of plans, merges and choices stay as they are, whatever is in them', async () => {
    const tracker = await openInline()
    const { words, layout } = attachMemory(tracker.handle, 'tracker')
    const theirs = words.subarray(JOB + 1, layout.ring)
    expect([JOB < PLAN, PLAN < CHOICE_TABLE, CHOICE_TABLE < layout.ring]).toEqual([
      true,
      true,
      true,
    ])
    expect(theirs.every((word) => word === 0)).toBe(true)
    // What would be no plan of any epoch.
    theirs.fill(0x5eed5eed)
    const { seen } = await program(tracker)
    await tracker.stop()

    expect(seen.slice(0, -1)).toEqual(EXPECTED)
    expect(theirs.every((word) => word === 0x5eed5eed)).toBe(true)
    expect(words[JOB]).toBe(0)
  })

  it('named consumers do use these words', async () => {
    const tracker = await openInline({ maxConsumers: 2 })
    const { words, layout } = attachMemory(tracker.handle, 'tracker')
    const theirs = words.subarray(JOB, layout.ring)
    const writer = tracker.openWriter()
    const [a, b] = ['a', 'b'].map((name) => tracker.consumer(name, { from: 'now' }))
    writer.mark(1)
    await a.consume(() => undefined)
    writer.mark(2)
    await b.consume((epoch) => expect(sortedIds(epoch)).toEqual([1, 2]))

    expect(theirs.some((word) => word !== 0)).toBe(true)
  })

  it('the memory is that of the epoch slots, and a slot is as large as with consumers', () => {
    const bare = memoryFootprint({})
    expect(memoryFootprint({ maxConsumers: 0 })).toEqual(bare)
    expect(bare.epochs).toBe(resolveOptions().epochSlots * bare.perEpoch)
    for (const maxConsumers of range(1, 7)) {
      const { perEpoch, perWriter, lanes, ring, epochs } = memoryFootprint({ maxConsumers })
      expect([perEpoch, perWriter, lanes, ring]).toEqual([
        bare.perEpoch,
        bare.perWriter,
        bare.lanes,
        bare.ring,
      ])
      expect(epochs).toBe((2 * maxConsumers + 2) * perEpoch)
    }
  })

  it('a slot by default has keys, texts and their tables, and one page more', () => {
    const { maxKeysPerEpoch, maxStringsPerEpoch, maxStringBytesPerEpoch } = resolveOptions()
    const CELL = 8
    const keys = maxKeysPerEpoch * 8 + maxKeysPerEpoch * 2 * CELL
    const texts =
      maxStringBytesPerEpoch + maxStringsPerEpoch * (3 + 8) + maxStringsPerEpoch * 2 * CELL

    expect(memoryFootprint({}).perEpoch).toBe(keys + texts + 4096)
  })
})
