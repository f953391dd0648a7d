import { describe, expect, it } from '@jest/globals'
import type { DirtyTracker } from '../../lib/index.js'
import { FAILED } from '../../lib/memory/map.js'
import {
  isPending,
  openHeld,
  openInline,
  range,
  rejected,
  sortedIds,
  thrown,
  until,
} from '../support/in-process.js'
import { take } from '../support/taking.js'

describe('epochs()', () => {
  it('gives one epoch after the other, and every key once', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const seen: number[] = []
    let next = 0
    writer.mark(next++)
    for await (const epoch of tracker.epochs({ everyMs: 1 })) {
      seen.push(...epoch.ids())
      epoch.commit()
      if (next === 20) break
      writer.mark(next++)
    }
    expect(seen).toEqual(range(0, 20))
  })

  it('skips epochs without keys, unless it is told not to', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const timer = setTimeout(() => writer.mark(1), 20)
    for await (const epoch of tracker.epochs({ everyMs: 1 })) {
      expect(sortedIds(epoch)).toEqual([1])
      expect(epoch.id).toBeGreaterThan(0)
      epoch.commit()
      break
    }
    clearTimeout(timer)
    const before = tracker.epoch
    const ids: number[] = []
    for await (const epoch of tracker.epochs({ everyMs: 1, skipEmpty: false })) {
      expect(epoch.size).toBe(0)
      ids.push(epoch.id)
      if (ids.length === 3) break
    }
    expect(ids).toEqual(range(before, 3))
  })

  it('does not skip an inexact epoch', async () => {
    const tracker = await openInline({ maxKeysPerEpoch: 1 })
    tracker.openWriter().markMany([1, 2])
    for await (const epoch of tracker.epochs({ everyMs: 1 })) {
      expect(epoch.exact).toBe(false)
      epoch.commit()
      break
    }
  })

  it('restores before the next one what the body left unsettled', async () => {
    const tracker = await openInline({ epochSlots: 2 })
    const writer = tracker.openWriter()
    const seen: number[][] = []
    writer.mark(0)
    for await (const epoch of tracker.epochs({ everyMs: 1 })) {
      seen.push(sortedIds(epoch))
      writer.mark(seen.length)
      if (seen.length === 3) {
        epoch.commit()
        break
      }
    }
    expect(seen).toEqual([[0], [0, 1], [0, 1, 2]])
    expect(await take(tracker)).toEqual([3])
  })

  it('never seals while a slow body has an epoch', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    let rounds = 0
    for await (const epoch of tracker.epochs({ everyMs: 1 })) {
      const open = tracker.epoch
      await new Promise((resolve) => setTimeout(resolve, 20))
      expect(tracker.epoch).toBe(open)
      epoch.commit()
      writer.mark(1)
      if (++rounds === 3) break
    }
    expect(rounds).toBe(3)
  })

  it('restores on break, on throw and on return()', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    const error = new Error('the body failed')
    for await (const epoch of tracker.epochs({ everyMs: 0 })) {
      expect(sortedIds(epoch)).toEqual([1])
      break
    }
    const failing = async (): Promise<void> => {
      for await (const epoch of tracker.epochs({ everyMs: 0 })) {
        expect(sortedIds(epoch)).toEqual([1])
        throw error
      }
    }
    expect(await rejected(failing())).toBe(error)
    const iterator = tracker.epochs({ everyMs: 0 })
    const { value } = await iterator.next()
    expect(sortedIds(value)).toEqual([1])
    expect(await iterator.return!()).toEqual({ done: true, value: undefined })
    expect(value.state).toBe('restored')
    expect(await take(tracker)).toEqual([1])
  })

  it('does not restore on break what the body committed', async () => {
    const tracker = await openInline()
    tracker.openWriter().mark(1)
    for await (const epoch of tracker.epochs({ everyMs: 0 })) {
      epoch.commit()
      break
    }
    expect(await take(tracker)).toEqual([])
  })

  it('ends without an error when the signal aborts, asleep or waiting for a slot, and nothing is lost', async () => {
    const tracker = await openInline({ epochSlots: 2 })
    const writer = tracker.openWriter()
    expect(await tracker.epochs({ everyMs: 0, signal: AbortSignal.abort() }).next()).toEqual({
      done: true,
      value: undefined,
    })

    const asleep = new AbortController()
    const sleeping = tracker.epochs({ everyMs: 1_000_000, signal: asleep.signal }).next()
    expect(await isPending(sleeping)).toBe(true)
    asleep.abort()
    expect(await sleeping).toEqual({ done: true, value: undefined })

    writer.mark(1)
    const holding = await tracker.advanceEpoch()
    writer.mark(2)
    const busy = new AbortController()
    const waiting = tracker.epochs({ everyMs: 0, signal: busy.signal }).next()
    await new Promise((resolve) => setTimeout(resolve, 10))
    expect(await isPending(waiting)).toBe(true)
    busy.abort()
    expect(await waiting).toEqual({ done: true, value: undefined })
    holding.commit()
    expect(await take(tracker)).toEqual([2])
  })

  it('finishes the body that runs when the signal aborts', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const controller = new AbortController()
    writer.mark(1)
    const seen: number[] = []
    for await (const epoch of tracker.epochs({ everyMs: 0, signal: controller.signal })) {
      controller.abort()
      writer.mark(2)
      seen.push(...epoch.ids())
      epoch.commit()
    }
    expect(seen).toEqual([1])
    expect(await take(tracker)).toEqual([2])
  })

  it('ends without an error when the tracker stops, asleep or waiting for a slot', async () => {
    const sleeper = await openInline()
    const asleep = sleeper.epochs({ everyMs: 1_000_000 })
    const sleeping = asleep.next()
    expect(await isPending(sleeping)).toBe(true)
    await sleeper.stop()
    expect((await sleeping).value).toMatchObject({ id: 0, last: true })
    expect(await asleep.next()).toEqual({ done: true, value: undefined })

    const busy = await openInline({ epochSlots: 2 })
    const writer = busy.openWriter()
    writer.mark(1)
    await busy.advanceEpoch()
    writer.mark(2)
    const epochs = busy.epochs({ everyMs: 0 })
    const waiting = epochs.next()
    await until(() => writer.staged === 0) // published: its cut waits
    expect(await isPending(waiting)).toBe(true)
    await busy.stop()
    expect((await waiting).value).toMatchObject({ id: 1, last: true })
    expect(await epochs.next()).toEqual({ done: true, value: undefined })
    expect(await busy.epochs({ everyMs: 0 }).next()).toEqual({ done: true, value: undefined })
  })
})

describe('while an epochs() loop runs', () => {
  const BUSY = 'ERR_DIRTYRING_BUSY'

  async function expectBusy(tracker: DirtyTracker): Promise<void> {
    let called = false
    const errors = [
      await rejected(tracker.advanceEpoch()),
      await rejected(tracker.advanceEpoch({ onBusy: 'reject' })),
      await rejected(tracker.consume(() => (called = true))),
      await rejected(tracker.epochs({ everyMs: 0 }).next()),
      thrown(() => tracker.tryAdvanceEpoch()),
    ]
    for (const error of errors) {
      expect(error.code).toBe(BUSY)
      for (const part of [
        'epochs() loop owns the epochs',
        'dropped without return()',
        'call its return()',
      ]) {
        expect(error.message).toContain(part)
      }
    }
    expect(called).toBe(false)
  }

  async function expectFree(tracker: DirtyTracker): Promise<void> {
    ;(await tracker.advanceEpoch()).commit()
    await tracker.consume(() => undefined)
    ;(await tracker.tryAdvanceEpoch())!.commit()
  }

  it('other readers are ERR_DIRTYRING_BUSY, from its first next() on, asleep and in its body, and no key is split off', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const epochs = tracker.epochs({ everyMs: 20 })
    await expectFree(tracker)
    const first = epochs.next()
    await expectBusy(tracker) // it sleeps
    writer.mark(1)
    const { value } = await first
    await expectBusy(tracker) // its body runs
    expect(sortedIds(value)).toEqual([1])
    await epochs.return!()
    await expectFree(tracker)
  })

  it('they are free again after break, throw, abort and a return() beside a next() that sleeps', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    for await (const _ of tracker.epochs({ everyMs: 0 })) break
    await expectFree(tracker)

    writer.mark(2)
    const error = new Error('the body failed')
    const failing = async (): Promise<void> => {
      for await (const _ of tracker.epochs({ everyMs: 0 })) throw error
    }
    expect(await rejected(failing())).toBe(error)
    await expectFree(tracker)

    writer.mark(2)
    const thrownInto = tracker.epochs({ everyMs: 0 })
    await thrownInto.next()
    expect(await rejected(thrownInto.throw!(error))).toBe(error)
    await expectFree(tracker)

    const controller = new AbortController()
    writer.mark(3)
    const dropped = tracker.epochs({ everyMs: 0, signal: controller.signal })
    const { value } = await dropped.next()
    await expectBusy(tracker)
    controller.abort()
    expect(value.state).toBe('sealed')
    value.commit()
    await expectFree(tracker) // although next() and return() are not called any more

    const asleep = tracker.epochs({ everyMs: 1_000_000 })
    const sleeping = asleep.next()
    await expectBusy(tracker)
    const returned = asleep.return!()
    expect(await sleeping).toEqual({ done: true, value: undefined })
    expect(await returned).toEqual({ done: true, value: undefined })
    await expectFree(tracker)
  })

  it('they are free again when the loop failed, and a loop that was busy ended itself', async () => {
    const { tracker, hand } = await openHeld()
    const first = tracker.epochs({ everyMs: 0 })
    const pending = first.next()
    const second = tracker.epochs({ everyMs: 0 })
    expect((await rejected(second.next())).code).toBe(BUSY)
    expect(await second.next()).toEqual({ done: true, value: undefined })
    await expectBusy(tracker)
    Atomics.store(hand.memory.words, FAILED, 1)
    expect((await rejected(pending)).code).toBe('ERR_DIRTYRING_CORRUPT')
    expect((await rejected(tracker.advanceEpoch())).code).toBe('ERR_DIRTYRING_CORRUPT')
  })

  it('a return() beside a cut that waits for a slot ends both, and the next epoch has the keys', async () => {
    const tracker = await openInline({ epochSlots: 2 })
    const writer = tracker.openWriter()
    writer.mark(1)
    const held = await tracker.advanceEpoch()
    writer.mark(2)
    const epochs = tracker.epochs({ everyMs: 0 })
    const waiting = epochs.next()
    await until(() => writer.staged === 0) // published: its cut waits
    expect(await isPending(waiting)).toBe(true)
    await epochs.return!()
    expect(await waiting).toEqual({ done: true, value: undefined })
    held.commit()
    expect(await take(tracker)).toEqual([2])
  })

  it('a loop that waits its turn does not hold up calls made before it', async () => {
    const tracker = await openInline()
    tracker.openWriter().mark(1)
    const before = tracker.advanceEpoch()
    void tracker.epochs({ everyMs: 1_000_000 }).next()
    const epoch = await before
    expect(sortedIds(epoch)).toEqual([1])
    epoch.commit()
    expect(tracker.stats().committed).toBe(1)
  })
})

describe('epochs() beside a body of any speed', () => {
  const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

  it('never makes up for the cuts that a slow body missed: after it they come an interval apart again', async () => {
    const tracker = await openInline()
    const order: string[] = []
    let cuts = 0
    for await (const epoch of tracker.epochs({ everyMs: 100, skipEmpty: false })) {
      order.push('cut')
      epoch.commit()
      if (++cuts === 5) break
      if (cuts === 1) await pause(450)
      else setTimeout(() => order.push('a part of an interval'), 25)
    }
    // The second one is overdue when the slow body ends.
    expect(order.slice(2)).toEqual([
      'a part of an interval',
      'cut',
      'a part of an interval',
      'cut',
      'a part of an interval',
      'cut',
    ])
  })

  it('makes the cut that is overdue when a slow body ends at once, not a whole interval later', async () => {
    const tracker = await openInline()
    const order: string[] = []
    for await (const epoch of tracker.epochs({ everyMs: 200, skipEmpty: false })) {
      order.push('cut')
      epoch.commit()
      if (order.filter((each) => each === 'cut').length === 2) break
      await pause(250)
      setTimeout(() => order.push('half an interval'), 100)
    }
    expect(order).toEqual(['cut', 'cut'])
  })

  it('waits for the rest of the interval after a quick body, and for all of it before the first cut', async () => {
    const tracker = await openInline()
    const order: string[] = []
    setTimeout(() => order.push('half an interval'), 50)
    for await (const epoch of tracker.epochs({ everyMs: 100, skipEmpty: false })) {
      order.push('cut')
      epoch.commit()
      if (order.length === 4) break
      setTimeout(() => order.push('half an interval'), 50)
    }
    expect(order).toEqual(['half an interval', 'cut', 'half an interval', 'cut'])
  })
})
