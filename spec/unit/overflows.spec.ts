import { describe, expect, it } from '@jest/globals'
import {
  epochAt,
  FLAG_EVERYTHING,
  FLAG_OVERFLOW,
  SLOT_COUNT,
  SLOT_FLAGS,
  SLOT_GROWTH,
  SLOT_TEXT_BYTES,
  SLOT_TEXT_COUNT,
  SLOT_TEXT_GROWTH,
} from '../../lib/memory/map.js'
import { Overflows } from '../../lib/tracker/overflows.js'
import { type MemoryOptions, smallMemory } from '../support/steps.js'

interface Counts {
  count?: number
  textCount?: number
  textBytes?: number
  flags?: number
}

/** An open epoch 0 in slot 0, which has room for 4 numbers, 2 texts and 64 bytes of them. */
function start(options: MemoryOptions = {}) {
  const memory = smallMemory({
    maxKeysPerEpoch: 4,
    maxStringsPerEpoch: 2,
    maxStringBytesPerEpoch: 64,
    laneTextBytes: 64,
    ...options,
  })
  const { words, layout } = memory
  const told: unknown[] = []
  const outbox = { epoch: 0 }
  const lifecycle = { phase: 'running' }
  const listeners = { tell: (event: string, what: object) => told.push({ event, ...what }) }
  const overflows = new Overflows({ memory, outbox, lifecycle, listeners } as never)
  const fill = (slot: number, counts: Counts): void => {
    const { count = 0, textCount = 0, textBytes = 0, flags = FLAG_OVERFLOW } = counts
    const at = epochAt(layout, slot)
    words[at + SLOT_GROWTH] = Math.log2(layout.largestTable / layout.smallestTable)
    if (layout.largestTextTable > 0)
      words[at + SLOT_TEXT_GROWTH] = Math.log2(layout.largestTextTable / layout.smallestTextTable)
    words[at + SLOT_COUNT] = count
    words[at + SLOT_TEXT_COUNT] = textCount
    words[at + SLOT_TEXT_BYTES] = textBytes
    words[at + SLOT_FLAGS] = flags
  }
  return { outbox, lifecycle, overflows, fill, told }
}

const event = (epoch: number, limit: string) => ({
  event: 'overflow',
  epoch,
  limit,
  maxKeysPerEpoch: 4,
})

describe('an epoch with too many keys', () => {
  it.each<[Counts, string | undefined, MemoryOptions]>([
    [{ count: 4 }, 'maxKeysPerEpoch', {}],
    [{ count: 4 }, 'maxKeysPerEpoch', { maxStringsPerEpoch: 0 }],
    [{ count: 4, textCount: 1, textBytes: 32 }, 'maxKeysPerEpoch', {}],
    [{ count: 4, textCount: 1, textBytes: 33 }, 'maxStringBytesPerEpoch', {}],
    [{ count: 4, textCount: 2, textBytes: 2 }, 'maxStringsPerEpoch', {}],
    [{ count: 3, textCount: 2, textBytes: 2 }, 'maxStringsPerEpoch', {}],
    [{ count: 3, textCount: 1, textBytes: 33 }, 'maxStringBytesPerEpoch', {}],
    // The aggregator has raised the flag, and has not stored the counts yet.
    [{ count: 3, textCount: 1, textBytes: 32 }, undefined, {}],
    [{ count: 3, textCount: 1, textBytes: 0 }, undefined, {}],
    [{ count: 0 }, undefined, { maxStringsPerEpoch: 0 }],
  ])('names the limit that it has passed: of %j %s', (counts, limit, options) => {
    const { overflows, fill, told } = start(options)
    fill(0, counts)
    overflows.look()
    expect(told).toEqual(limit === undefined ? [] : [event(0, limit)])
    overflows.note(0, 0) // the seal names one in any case
    expect(told).toEqual([event(0, limit ?? 'maxStringBytesPerEpoch')])
  })

  it('is told of once, while it is open or when it is handed out', () => {
    const { outbox, overflows, fill, told } = start()
    fill(0, { count: 4 })
    overflows.note(0, 0)
    overflows.note(0, 0)
    overflows.look()
    expect(told).toEqual([event(0, 'maxKeysPerEpoch')])
    outbox.epoch = 2 ** 19 // the memory keeps 19 bits of the number
    overflows.look()
    overflows.look()
    expect(told).toEqual([0, 2 ** 19].map((epoch) => event(epoch, 'maxKeysPerEpoch')))
  })

  it('is not told of while the memory has another open epoch, nor after the end', () => {
    const { outbox, lifecycle, overflows, fill, told } = start()
    fill(0, { count: 4 })
    outbox.epoch = 1
    overflows.look()
    outbox.epoch = 0
    lifecycle.phase = 'stopped'
    overflows.look()
    outbox.epoch = 1
    overflows.look()
    expect(told).toEqual([])
    outbox.epoch = 0
    lifecycle.phase = 'stopping'
    overflows.look()
    expect(told).toHaveLength(1)
  })

  it('is none that just holds its keys', () => {
    const { overflows, fill, told } = start()
    fill(0, { count: 4, textCount: 2, textBytes: 64, flags: FLAG_EVERYTHING })
    overflows.look()
    overflows.note(0, 0)
    expect([told, overflows.open]).toEqual([[], { distinct: 6, overflows: 0 }])
  })

  it('counts while it is open, and once it is handed out', () => {
    const { lifecycle, overflows, fill } = start()
    fill(0, { count: 4, textCount: 1 })
    fill(1, { count: 4 })
    expect(overflows.open).toEqual({ distinct: 5, overflows: 1 })
    overflows.note(0, 1)
    overflows.note(1, 1)
    expect(overflows.open).toEqual({ distinct: 5, overflows: 3 })
    lifecycle.phase = 'stopped' // then the open one is the last one, and was noted
    expect(overflows.open).toEqual({ distinct: 5, overflows: 2 })
  })
})
