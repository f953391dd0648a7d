import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { attachEpoch, DirtyTracker, type SealedEpoch, type Writer } from '../../lib/index.js'

/** What an epoch says of itself. */
const summary = ({ exact, reason, precision, everythingIn }: SealedEpoch): unknown => ({
  exact,
  reason,
  precision,
  everythingIn: [...everythingIn].sort((a, b) => a - b),
})
const inexact = { exact: false, reason: 'everything' }

describe('markEverything(namespace)', () => {
  let tracker: DirtyTracker
  let writer: Writer

  beforeEach(async () => {
    tracker = await DirtyTracker.create({ aggregator: 'inline', capacity: 4, maxKeysPerEpoch: 64 })
    writer = tracker.openWriter()
  })
  afterEach(async () => {
    await tracker.stop()
  })

  it('makes has() true for the keys of the namespace, and leaves the others exact', async () => {
    writer.markEverything(2)
    tracker.markEverything(2 ** 22 - 1)
    writer.markPair(7, 3)
    await tracker.consume((epoch) => {
      expect(summary(epoch)).toEqual({
        ...inexact,
        precision: 'exact',
        everythingIn: [2, 2 ** 22 - 1],
      })
      for (const keys of [epoch, attachEpoch(epoch.handle)]) {
        expect(keys.hasPair(1, 2)).toBe(true)
        expect(keys.has(2n ** 33n + 5n)).toBe(true)
        expect(keys.hasPair(1, 2 ** 22 - 1)).toBe(true)
        expect(keys.hasPair(7, 3)).toBe(true)
        expect(keys.hasPair(8, 3)).toBe(false)
        expect(keys.has('text')).toBe(false)
        expect([...keys.listed()]).toEqual([3 * 2 ** 32 + 7])
        expect(() => keys.ids()).toThrow(expect.objectContaining({ code: 'ERR_DIRTYRING_INEXACT' }))
      }
    })
    await tracker.consume((epoch) => {
      expect(summary(epoch)).toEqual({
        exact: true,
        reason: undefined,
        precision: 'exact',
        everythingIn: [],
      })
    })
  })

  it('takes texts, and ids below 2^32, for keys of namespace 0', async () => {
    writer.markEverything(0)
    await tracker.consume((epoch) => {
      for (const keys of [epoch, attachEpoch(epoch.handle)]) {
        expect([keys.has('text'), keys.has(new Uint8Array(3)), keys.has(9)]).toEqual([
          true,
          true,
          true,
        ])
        expect(keys.has(2 ** 32)).toBe(false)
      }
    })
  })

  it('takes texts for keys of namespace 0 also where they are marked by their fingerprints', async () => {
    const other = await DirtyTracker.create({ aggregator: 'inline', maxStringsPerEpoch: 0 })
    other.markEverything(0)
    await other.consume((epoch) => {
      for (const keys of [epoch, attachEpoch(epoch.handle)]) {
        expect(keys.has('text')).toBe(true)
        expect(keys.hasPair(1, 1)).toBe(false)
      }
    })
    await other.stop()
  })

  it('keeps 24 namespaces apart; with one more, everything has changed', async () => {
    for (let namespace = 0; namespace < 24; namespace++) tracker.markEverything(namespace)
    tracker.markEverything(5)
    const kept = await tracker.advanceEpoch()
    expect(kept.precision).toBe('exact')
    expect(kept.everythingIn).toHaveLength(24)
    tracker.markEverything(24)
    await kept.restore()
    await tracker.consume((epoch) => {
      expect(epoch.precision).toBe('everything')
      expect(epoch.hasPair(1, 99)).toBe(true)
    })
  })

  it('is in the next epoch when its own is restored', async () => {
    writer.markEverything(3)
    writer.mark(1)
    const epoch = await tracker.advanceEpoch()
    writer.markEverything(4)
    await epoch.restore()
    await tracker.consume((next) => {
      expect(summary(next)).toEqual({ ...inexact, precision: 'exact', everythingIn: [3, 4] })
      expect(next.has(1)).toBe(true)
    })
  })

  it('goes out with the batch that it is in', async () => {
    writer.batch(() => {
      writer.markEverything(3)
      writer.mark(1)
      expect(tracker.tryAdvanceEpoch()).toBeDefined()
    })
    await tracker.consume((epoch) => {
      expect(summary(epoch)).toEqual({ ...inexact, precision: 'exact', everythingIn: [3] })
    })
  })

  it('says everything when a full ring holds up two namespaces of one writer', async () => {
    const full = await DirtyTracker.create({ aggregator: 'none', capacity: 2 })
    const [one, two] = [full.openWriter(), full.openWriter()]
    for (let i = 0; i < 2; i++) {
      one.mark(i)
      one.flush()
    }
    two.markEverything(3)
    two.markEverything(4)
    const stopped = full.stop({ graceMs: 0 })
    const last = await stopped
    expect(last.precision).toBe('everything')
  })

  it('takes a harvested writer’s namespace along', async () => {
    const full = await DirtyTracker.create({ aggregator: 'none', capacity: 2 })
    const [one, two] = [full.openWriter(), full.openWriter()]
    for (let i = 0; i < 2; i++) {
      one.mark(i)
      one.flush()
    }
    two.markEverything(3)
    const last = await full.stop({ graceMs: 0 })
    expect(summary(last)).toEqual({ ...inexact, precision: 'exact', everythingIn: [3] })
  })

  it.each([
    [-1, 'ERR_DIRTYRING_OUT_OF_RANGE'],
    [1.5, 'ERR_DIRTYRING_OUT_OF_RANGE'],
    [2 ** 22, 'ERR_DIRTYRING_OUT_OF_RANGE'],
    ['2', 'ERR_DIRTYRING_INVALID_ARG'],
    [null, 'ERR_DIRTYRING_INVALID_ARG'],
    [{ type: 'event' }, 'ERR_DIRTYRING_INVALID_ARG'],
  ])('refuses %p as a namespace', async (value, code) => {
    for (const marker of [writer, tracker]) {
      expect(() => {
        marker.markEverything(value as never)
      }).toThrow(expect.objectContaining({ code }))
    }
    await tracker.consume((epoch) => {
      expect(epoch.exact).toBe(true)
    })
  })
})

describe('consumer(name, { namespaces })', () => {
  let tracker: DirtyTracker
  let writer: Writer
  beforeEach(async () => {
    tracker = await DirtyTracker.create({
      aggregator: 'inline',
      maxConsumers: 3,
      maxKeysPerEpoch: 64,
    })
    writer = tracker.openWriter()
  })
  afterEach(async () => {
    await tracker.stop()
  })

  it('gets the keys of these namespaces only, and changes nothing for the others', async () => {
    const two = tracker.consumer('two', { from: 'now', namespaces: [2, 2] })
    const texts = tracker.consumer('texts', { from: 'now', namespaces: [0, 5] })
    const all = tracker.consumer('all', { from: 'now' })
    writer.markPair(1, 2)
    writer.markPair(1, 3)
    writer.markPair(0, 0)
    writer.mark('text')
    writer.markEverything(5)
    writer.markEverything(2)
    await two.consume((epoch) => {
      expect([...epoch.listed()]).toEqual([2 * 2 ** 32 + 1])
      expect(epoch.everythingIn).toEqual([2])
      for (const keys of [epoch, attachEpoch(epoch.handle)]) {
        expect([keys.hasPair(9, 2), keys.hasPair(1, 3), keys.hasPair(9, 5)]).toEqual([
          true,
          false,
          false,
        ])
        expect([keys.has('text'), keys.has(0)]).toEqual([false, false])
      }
    })
    writer.markPair(2, 3)
    await texts.consume((epoch) => {
      expect([...epoch.listed()]).toEqual([0, 'text'])
      expect(epoch.everythingIn).toEqual([5])
    })
    await all.consume((epoch) => {
      expect(epoch.size).toBe(5)
      expect([...epoch.everythingIn].sort()).toEqual([2, 5])
    })
    await two.consume((epoch) => {
      expect([epoch.exact, epoch.size]).toEqual([true, 0])
    })
  })

  it('is a superset of them when an epoch overflows', async () => {
    const two = tracker.consumer('two', { from: 'now', namespaces: [2] })
    const all = tracker.consumer('all', { from: 'now' })
    for (let i = 0; i < 100; i++) writer.markPair(i, 2 + (i & 1))
    await all.consume((epoch) => {
      expect(epoch.precision).toBe('superset')
    })
    await two.consume((epoch) => {
      expect(epoch.precision).toBe('superset')
      for (let i = 0; i < 100; i++)
        for (const keys of [epoch, attachEpoch(epoch.handle)])
          expect(keys.hasPair(i, 2 + (i & 1))).toBe((i & 1) === 0)
    })
  })

  it('has a fresh epoch about its namespaces, and a last one with them', async () => {
    const two = tracker.consumer('two', { namespaces: [2] })
    writer.markPair(1, 3)
    await two.consume((epoch) => {
      expect([epoch.reason, epoch.hasPair(9, 2), epoch.hasPair(1, 3)]).toEqual([
        'fresh',
        true,
        false,
      ])
    })
    writer.markPair(4, 2)
    writer.markPair(4, 3)
    await tracker.stop()
    const last = await two.advanceEpoch()
    expect([last.last, ...last]).toEqual([true, 2 * 2 ** 32 + 4])
    last.commit()
  })

  it('uses the number of a choice again only when no plan names it', async () => {
    const all = tracker.consumer('all', { from: 'now' })
    for (let i = 0; i < 100; i++) {
      const some = tracker.consumer('some', { from: 'now', namespaces: [i] })
      writer.markPair(7, i)
      writer.markPair(7, i + 1)
      if ((i & 1) === 0) await all.consume(() => undefined)
      expect(await some.consume((epoch) => [...epoch])).toEqual([i * 2 ** 32 + 7])
      some.close()
    }
  })

  it.each([
    [[], 'ERR_DIRTYRING_OUT_OF_RANGE'],
    [Array.from({ length: 25 }, (_, i) => i), 'ERR_DIRTYRING_OUT_OF_RANGE'],
    [[2 ** 22], 'ERR_DIRTYRING_OUT_OF_RANGE'],
    [['2'], 'ERR_DIRTYRING_INVALID_ARG'],
    [2, 'ERR_DIRTYRING_INVALID_ARG'],
  ])('refuses %p', (namespaces, code) => {
    expect(() => tracker.consumer('one', { namespaces: namespaces as never })).toThrow(
      expect.objectContaining({ code }),
    )
  })

  it('is refused where text is marked by its fingerprint', async () => {
    const options = { aggregator: 'inline', maxConsumers: 1, maxStringsPerEpoch: 0 } as const
    const other = await DirtyTracker.create(options)
    expect(() => other.consumer('one', { namespaces: [1] })).toThrow(
      expect.objectContaining({ code: 'ERR_DIRTYRING_OUT_OF_RANGE' }),
    )
    const numbers = await DirtyTracker.create({ ...options, keys: 'number' })
    expect(numbers.consumer('one', { namespaces: [1] }).name).toBe('one')
    await Promise.all([other.stop(), numbers.stop()])
  })
})
