import { describe, expect, it } from '@jest/globals'
import { fingerprint } from '../../lib/fingerprint.js'
import type { SealedEpoch } from '../../lib/index.js'
import {
  epochAt,
  FLAG_EVERYTHING,
  FLAG_FAULT,
  FLAG_OVERFLOW,
  FLAG_UNPUBLISHED,
  SLOT_FLAGS,
} from '../../lib/memory/map.js'
import {
  bigintOf,
  holdAggregator,
  openHeld,
  openInline,
  range,
  rejected,
  sortedListed,
  thrown,
} from '../support/in-process.js'
import { take } from '../support/taking.js'

describe('growth and overflow', () => {
  it('grows over many doublings, in the middle of batches too, and stays exact', async () => {
    const tracker = await openInline({
      maxKeysPerEpoch: 2 ** 18,
      laneCapacity: 4096,
      epochSlots: 2,
    })
    const writer = tracker.openWriter()
    for (const round of range(0, 2)) {
      const expected = BigUint64Array.from(
        range(0, 150_001),
        (i) => (BigInt(i * 7919) << 20n) | BigInt(round),
      )
      for (let at = 0; at < expected.length; at += 1500)
        writer.markMany(expected.subarray(at, at + 1500))
      const epoch = await tracker.advanceEpoch()
      expect([epoch.size, epoch.exact]).toEqual([expected.length, true])
      expect(
        Buffer.compare(
          Buffer.from(epoch.bigints.slice().buffer),
          Buffer.from(expected.slice().buffer),
        ),
      ).toBe(0)
      for (let i = 0; i < expected.length; i += 97)
        if (!epoch.has(expected[i])) throw new Error(`${expected[i]} is not in`)
      expect(epoch.has(1n << 19n)).toBe(false)
      await epoch.restore()
      expect((await take(tracker)).length).toBe(expected.length)
    }
  })

  it('is exact at exactly maxKeysPerEpoch distinct keys, repetitions included', async () => {
    for (const maxKeysPerEpoch of [1, 2, 3, 100, 256, 257, 1000]) {
      const tracker = await openInline({ maxKeysPerEpoch })
      const writer = tracker.openWriter()
      for (const _ of range(0, 3)) for (const id of range(0, maxKeysPerEpoch)) writer.mark(id)
      const epoch = await tracker.advanceEpoch()
      expect([epoch.size, epoch.exact]).toEqual([maxKeysPerEpoch, true])
      expect(epoch.has(maxKeysPerEpoch)).toBe(false)
      expect(tracker.stats().overflows).toBe(0)
    }
  })

  it.each([1, 4, 100, 300])(
    'C6: says exact: false beyond maxKeysPerEpoch (%d), and has() still tells the keys from others',
    async (maxKeysPerEpoch) => {
      const tracker = await openInline({ maxKeysPerEpoch })
      const writer = tracker.openWriter()
      for (const id of range(0, maxKeysPerEpoch + 1)) expect(writer.mark(id)).toBe(true)
      const epoch = await tracker.advanceEpoch()
      expect([epoch.exact, epoch.reason, epoch.size]).toEqual([false, 'overflow', maxKeysPerEpoch])
      expect(sortedListed(epoch)).toEqual(range(0, maxKeysPerEpoch))
      expect(epoch.precision).toBe('superset')
      expect(epoch.falsePositives).toBeGreaterThan(0)
      expect(epoch.falsePositives).toBeLessThan(0.001)
      expect(range(0, maxKeysPerEpoch + 1).every((id) => epoch.has(id))).toBe(true)
      expect([
        epoch.has(2n ** 60n),
        epoch.hasPair(9, 9),
        epoch.has('x'),
        epoch.has(fingerprint(new Uint8Array(3), { seed: 4 })),
      ]).toEqual(Array(4).fill(false))
      expect(tracker.stats().overflows).toBe(1)
      epoch.commit()
      writer.mark(5)
      const next = await tracker.advanceEpoch()
      expect([next.exact, next.size, next.has(6)]).toEqual([true, 1, false])
      expect([next.precision, next.falsePositives]).toEqual(['exact', 0])
      expect(tracker.stats().overflows).toBe(1)
    },
  )

  it('C6: says so also when the one key too many is key 0', async () => {
    const tracker = await openInline({ maxKeysPerEpoch: 4 })
    const writer = tracker.openWriter()
    writer.markMany([1, 2, 3, 4, 0])
    const epoch = await tracker.advanceEpoch()
    expect([epoch.exact, epoch.size]).toEqual([false, 4])
  })

  it('makes the open epoch inexact when an inexact one is restored', async () => {
    const tracker = await openInline({ maxKeysPerEpoch: 4 })
    const writer = tracker.openWriter()
    writer.markMany(range(0, 10))
    const epoch = await tracker.advanceEpoch()
    void epoch.restore()
    const next = await tracker.advanceEpoch()
    expect([next.exact, next.reason, next.precision]).toEqual([false, 'overflow', 'superset'])
    expect([...range(0, 10), 99].map((id) => next.has(id))).toEqual([
      ...Array<boolean>(10).fill(true),
      false,
    ])
    expect(sortedListed(next)).toEqual(range(0, 4))
    next.commit()
    expect((await tracker.advanceEpoch()).exact).toBe(true)
  })

  it('says exact: false when restored keys and new ones are too many together', async () => {
    const tracker = await openInline({ maxKeysPerEpoch: 4 })
    const writer = tracker.openWriter()
    writer.markMany([1, 2, 3])
    const epoch = await tracker.advanceEpoch()
    writer.markMany([3, 4, 5])
    await epoch.restore()
    const next = await tracker.advanceEpoch()
    expect([next.exact, next.reason]).toEqual([false, 'overflow'])
  })

  it.each<[string, (epoch: SealedEpoch) => unknown]>([
    ['keys', (epoch) => epoch.bigints],
    ['lanes', (epoch) => epoch.pairs],
    ['ids()', (epoch) => epoch.ids()],
    ['its iterator', (epoch) => epoch[Symbol.iterator]()],
    ['forEachPair()', (epoch) => epoch.forEachPair(() => expect('a visit').toBe('none'))],
  ])(
    'C2: of an inexact epoch %s throws ERR_DIRTYRING_INEXACT at once, because a part would be taken for the whole',
    async (_, list) => {
      const tracker = await openInline({ maxKeysPerEpoch: 4 })
      tracker.openWriter().markMany([...range(0, 9), 2n ** 60n])
      const epoch = await tracker.advanceEpoch()
      const error = thrown(() => list(epoch))
      expect(error.code).toBe('ERR_DIRTYRING_INEXACT')
      for (const part of [
        "epoch 0 is not exact ('overflow')",
        'has()',
        'treat all rows as dirty',
        'listed()',
      ]) {
        expect(error.message).toContain(part)
      }
      expect([epoch.size, [...Array.from(epoch.listed(), bigintOf)], epoch.state]).toEqual([
        4,
        [0n, 1n, 2n, 3n],
        'sealed',
      ])
      expect([0, 8, 2n ** 60n, 99, 'a key', 2n ** 61n].map((key) => epoch.has(key))).toEqual([
        ...Array<boolean>(3).fill(true),
        ...Array<boolean>(3).fill(false),
      ])
      epoch.commit()
      expect(thrown(() => list(epoch)).code).toBe('ERR_DIRTYRING_SETTLED')
      expect(thrown(() => epoch.listed()).code).toBe('ERR_DIRTYRING_SETTLED')
    },
  )

  it('C2: an inexact epoch without keys throws too', async () => {
    const tracker = await openInline()
    tracker.markEverything()
    const epoch = await tracker.advanceEpoch()
    expect([epoch.size, [...Array.from(epoch.listed(), bigintOf)], epoch.has(1)]).toEqual([
      0,
      [],
      true,
    ])
    expect(thrown(() => epoch.ids()).code).toBe('ERR_DIRTYRING_INEXACT')
  })

  it('an epoch with several reasons names the first of everything, fault, unpublished, overflow', async () => {
    const flags = {
      everything: FLAG_EVERYTHING,
      fault: FLAG_FAULT,
      unpublished: FLAG_UNPUBLISHED,
      overflow: FLAG_OVERFLOW,
    }
    const order = Object.keys(flags) as (keyof typeof flags)[]
    for (const set of range(1, 15)) {
      const reasons = order.filter((_, i) => ((set >> i) & 1) === 1)
      const { tracker, hand } = await openHeld()
      tracker.openWriter().markMany([1])
      const pending = tracker.advanceEpoch()
      hand.run(1) // the batch, not yet the seal
      hand.release() // a running aggregator believes its own flags; the next one reads these
      for (const reason of reasons)
        Atomics.or(hand.memory.words, epochAt(hand.memory.layout, 0) + SLOT_FLAGS, flags[reason])
      holdAggregator(tracker).run()
      const epoch = await pending
      expect([reasons, epoch.exact, epoch.reason]).toEqual([reasons, false, reasons[0]])
      expect([epoch.precision, epoch.falsePositives, epoch.has(5)]).toEqual(['everything', 1, true])
      epoch.commit()
    }
  })

  it('C15: has() is true for each of 20 times as many keys, until the epoch says everything', async () => {
    const tracker = await openInline({ maxKeysPerEpoch: 64, epochSlots: 2 })
    const writer = tracker.openWriter()
    let last = 0
    const seen = new Set<string>()
    for (const count of [65, 200, 600, 1280, 1800, 3000, 20_000]) {
      for (const id of range(0, count)) writer.markPair(id, 3)
      const epoch = await tracker.advanceEpoch()
      for (const id of range(0, count)) if (!epoch.hasPair(id, 3)) throw new Error(`lost ${id}`)
      expect([epoch.exact, epoch.reason, epoch.size]).toEqual([false, 'overflow', 64])
      const others = range(0, 2000).filter((id) => epoch.hasPair(id, 4)).length / 2000
      expect(epoch.falsePositives).toBeGreaterThanOrEqual(last)
      last = epoch.falsePositives
      expect(Math.abs(others - last)).toBeLessThan(0.1)
      seen.add(epoch.precision)
      if (count === 1280) expect(epoch.precision).toBe('superset')
      if (count === 20_000) expect([epoch.precision, last, others]).toEqual(['everything', 1, 1])
      await epoch.restore()
      const again = await tracker.advanceEpoch()
      expect([again.precision, again.falsePositives]).toEqual([epoch.precision, last])
      for (const id of range(0, count)) if (!again.hasPair(id, 3)) throw new Error(`lost ${id}`)
      again.commit()
    }
    expect([...seen]).toEqual(['superset', 'everything'])
  })

  it.each<[string, number[], number[]]>([
    ['a superset into an exact epoch', range(0, 9), [50, 51]],
    ['an exact epoch into a superset', [50, 51], range(0, 9)],
    ['a superset into a superset', range(0, 9), range(20, 29)],
  ])('C15: restores %s, and has() is true for the keys of both', async (_, first, second) => {
    const tracker = await openInline({ maxKeysPerEpoch: 4 })
    const writer = tracker.openWriter()
    writer.markMany(first)
    const epoch = await tracker.advanceEpoch()
    writer.markMany(second)
    await tracker.drained()
    await epoch.restore()
    writer.mark(77)
    const both = await tracker.advanceEpoch()
    expect([both.exact, both.reason, both.precision]).toEqual([false, 'overflow', 'superset'])
    expect([...first, ...second, 77].filter((id) => !both.has(id))).toEqual([])
    expect(range(1000, 1100).filter((id) => both.has(id)).length).toBeLessThan(5)
    both.commit()
    expect((await tracker.advanceEpoch()).precision).toBe('exact')
  })

  it('C15: a superset beside another reason says everything', async () => {
    const tracker = await openInline({ maxKeysPerEpoch: 4 })
    tracker.openWriter().markMany(range(0, 9))
    tracker.markEverything()
    const epoch = await tracker.advanceEpoch()
    expect([epoch.reason, epoch.precision, epoch.falsePositives, epoch.has(99)]).toEqual([
      'everything',
      'everything',
      1,
      true,
    ])
  })

  it('holds a slot for an inexact epoch', async () => {
    const tracker = await openInline({ maxKeysPerEpoch: 1, epochSlots: 2 })
    tracker.openWriter().markMany([1, 2])
    const epoch = await tracker.advanceEpoch()
    expect(tracker.stats().unsettled).toEqual([0])
    expect((await rejected(tracker.advanceEpoch({ onBusy: 'reject' }))).code).toBe(
      'ERR_DIRTYRING_NO_EPOCH_SLOT',
    )
    epoch.commit()
    expect(tracker.stats().unsettled).toEqual([])
  })
})
