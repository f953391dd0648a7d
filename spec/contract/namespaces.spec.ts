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
