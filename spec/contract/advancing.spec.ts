import { describe, expect, it } from '@jest/globals'
import type { SealedEpoch } from '../../lib/index.js'
import {
  isPending,
  openHeld,
  openInline,
  range,
  rejected,
  sortedIds,
  thrown,
  turns,
  until,
} from '../support/in-process.js'
import { take } from '../support/taking.js'

describe('advanceEpoch()', () => {
  it('takes no slot for an exact epoch without keys', async () => {
    const tracker = await openInline({ epochSlots: 2 })
    for (const id of range(0, 10)) {
      const epoch = await tracker.advanceEpoch({ onBusy: 'reject' })
      expect([epoch.id, epoch.size, epoch.exact]).toEqual([id, 0, true])
    }
    expect(tracker.stats()).toMatchObject({ unsettled: [], sealed: 10, epoch: 10 })
  })

  it('serves two calls at once in their order, with consecutive numbers', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    const first = tracker.advanceEpoch()
    const second = tracker.advanceEpoch()
    const [a, b] = await Promise.all([first, second])
    expect([a.id, b.id]).toEqual([0, 1])
    expect([sortedIds(a), sortedIds(b)]).toEqual([[1], []])
  })

  it('serves many calls at once in their order, beyond the slots there are', async () => {
    const { tracker, hand } = await openHeld({ epochSlots: 3, capacity: 4, onFull: 'reject' })
    const writer = tracker.openWriter()
    const order: number[] = []
    const all = range(0, 9).map(async () => {
      writer.markMany([writer.staged])
      const epoch = await tracker.advanceEpoch()
      order.push(epoch.id)
      epoch.commit()
    })
    await until(() => {
      hand.run()
      return order.length === 9
    })
    await Promise.all(all)
    expect(order).toEqual(range(0, 9))
  })

  it('waits until a slot is free, holds up no writer meanwhile, and is served by a commit', async () => {
    const tracker = await openInline({ epochSlots: 2 })
    const writer = tracker.openWriter()
    writer.mark(1)
    const first = await tracker.advanceEpoch()
    const second = tracker.advanceEpoch()
    expect(await isPending(second)).toBe(true)
    expect(tracker.epoch).toBe(1)
    for (const id of range(2, 3000)) expect(writer.mark(id)).toBe(true)
    expect(writer.flush()).toBe(true)
    first.commit()
    expect(tracker.epoch).toBe(2) // the slot went to the one that waited, before commit() returned
    expect(sortedIds(await second)).toEqual(range(2, 3000))
  })

  it('is served by a restore, with the restored keys', async () => {
    const tracker = await openInline({ epochSlots: 2 })
    const writer = tracker.openWriter()
    writer.mark(1)
    const first = await tracker.advanceEpoch()
    const second = tracker.advanceEpoch()
    writer.mark(2)
    writer.flush()
    await first.restore()
    expect(sortedIds(await second)).toEqual([1, 2])
  })

  it('rejects at once with onBusy: reject, naming the epochs that hold the slots, and nothing is lost', async () => {
    const tracker = await openInline({ epochSlots: 3 })
    const writer = tracker.openWriter()
    writer.mark(1)
    const first = await tracker.advanceEpoch({ onBusy: 'reject' })
    writer.mark(2)
    await tracker.advanceEpoch({ onBusy: 'reject' })
    writer.mark(3)
    const error = await rejected(tracker.advanceEpoch({ onBusy: 'reject' }))
    expect(error.code).toBe('ERR_DIRTYRING_NO_EPOCH_SLOT')
    expect(error.message).toMatch(/3 \(epochSlots\).*0, 1/)
    expect(tracker.epoch).toBe(2)
    first.commit()
    const third = await tracker.advanceEpoch({ onBusy: 'reject' })
    expect([third.id, ...third.ids()]).toEqual([2, 3])
  })

  it('rejects with onBusy: reject rather than overtake a call that waits', async () => {
    const tracker = await openInline({ epochSlots: 2 })
    tracker.openWriter().mark(1)
    const first = await tracker.advanceEpoch()
    const second = tracker.advanceEpoch()
    expect((await rejected(tracker.advanceEpoch({ onBusy: 'reject' }))).code).toBe(
      'ERR_DIRTYRING_NO_EPOCH_SLOT',
    )
    first.commit()
    expect((await second).id).toBe(1)
  })

  it('names the unsettled epochs in stats(), oldest first, and counts what was sealed', async () => {
    const tracker = await openInline({ epochSlots: 5 })
    const writer = tracker.openWriter()
    const epochs: SealedEpoch[] = []
    for (const id of range(0, 4)) {
      writer.mark(id)
      epochs.push(await tracker.advanceEpoch())
    }
    expect(tracker.stats()).toMatchObject({
      unsettled: [0, 1, 2, 3],
      sealed: 4,
      committed: 0,
      restored: 0,
      epoch: 4,
    })
    epochs[1].commit()
    await epochs[2].restore()
    expect(tracker.stats()).toMatchObject({
      unsettled: [0, 3],
      sealed: 4,
      committed: 1,
      restored: 1,
      epoch: 4,
    })
    const { sealMs } = tracker.stats()
    expect(sealMs.count).toBe(4)
    expect(sealMs.max).toBeGreaterThanOrEqual(sealMs.p99)
    expect(sealMs.p99).toBeGreaterThanOrEqual(sealMs.p50)
    expect(sealMs.max).toBeGreaterThanOrEqual(sealMs.mean)
  })
})

describe('an aborted advanceEpoch()', () => {
  it('rejects with the reason, and does nothing, when the signal is aborted already', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    const reason = { why: 'a test' }
    expect(await rejected(tracker.advanceEpoch({ signal: AbortSignal.abort(reason) }))).toBe(reason)
    expect([tracker.epoch, writer.staged]).toEqual([0, 1])
    expect(await take(tracker)).toEqual([1])
  })

  it('leaves the queue when it waited for a slot: no number is used, nothing is lost, the next one is served', async () => {
    const tracker = await openInline({ epochSlots: 2 })
    const writer = tracker.openWriter()
    writer.mark(1)
    const first = await tracker.advanceEpoch()
    const controller = new AbortController()
    const aborted = tracker.advanceEpoch({ signal: controller.signal })
    const served = tracker.advanceEpoch()
    writer.mark(2)
    controller.abort('enough')
    expect(await rejected(aborted)).toBe('enough')
    first.commit()
    const epoch = await served
    expect([epoch.id, ...epoch.ids()]).toEqual([1])
    expect(await take(tracker)).toEqual([2])
  })

  it('uses no number when its cut found the ring full', async () => {
    const { tracker, hand } = await openHeld({ capacity: 2, onFull: 'reject' })
    const writer = tracker.openWriter()
    writer.markMany([1])
    writer.markMany([2])
    const controller = new AbortController()
    const aborted = tracker.advanceEpoch({ signal: controller.signal })
    expect(tracker.epoch).toBe(0)
    controller.abort('enough')
    expect(await rejected(aborted)).toBe('enough')
    hand.run()
    const pending = tracker.advanceEpoch()
    await until(() => !hand.run() && tracker.stats().sealed === 1)
    const epoch = await pending
    expect([epoch.id, ...sortedIds(epoch)]).toEqual([0, 1, 2])
  })

  it('skips its number after the cut, and its keys are in the next epoch', async () => {
    const { tracker, hand } = await openHeld({ epochSlots: 2 })
    const writer = tracker.openWriter()
    writer.markMany([1, 2])
    const controller = new AbortController()
    const aborted = tracker.advanceEpoch({ signal: controller.signal })
    expect(tracker.epoch).toBe(1)
    writer.markMany([3])
    controller.abort('enough')
    expect(await rejected(aborted)).toBe('enough') // at once: the aggregator has done nothing yet
    const next = tracker.advanceEpoch()
    await until(() => !hand.run() && tracker.stats().sealed === 2)
    const epoch = await next
    expect([epoch.id, ...sortedIds(epoch)]).toEqual([1, 1, 2, 3])
    expect(tracker.stats().unsettled).toEqual([1])
  })

  it('loses nothing when several in a row are aborted after their cuts', async () => {
    const { tracker, hand } = await openHeld({ epochSlots: 4 })
    const writer = tracker.openWriter()
    const controller = new AbortController()
    const aborted = [1, 2, 3].map((id) => {
      writer.markMany([id])
      return rejected(tracker.advanceEpoch({ signal: controller.signal }))
    })
    writer.markMany([4])
    controller.abort('enough')
    expect(await Promise.all(aborted)).toEqual(['enough', 'enough', 'enough'])
    const next = tracker.advanceEpoch()
    await until(() => !hand.run() && tracker.stats().sealed === 4)
    const epoch = await next
    expect([epoch.id, ...sortedIds(epoch)]).toEqual([3, 1, 2, 3, 4])
  })

  it('is not aborted once it was served, and takes its listener off the signal', async () => {
    const tracker = await openInline()
    tracker.openWriter().mark(1)
    const listeners = new Set<() => void>()
    const signal = {
      aborted: false,
      addEventListener: (_: 'abort', listener: () => void) => void listeners.add(listener),
      removeEventListener: (_: 'abort', listener: () => void) => void listeners.delete(listener),
    }
    const epoch = await tracker.advanceEpoch({ signal })
    expect(listeners.size).toBe(0)
    expect(sortedIds(epoch)).toEqual([1])
    const controller = new AbortController()
    const second = await tracker.advanceEpoch({ signal: controller.signal })
    controller.abort()
    expect(second.state).toBe('sealed')
  })
})

describe('consume()', () => {
  it('commits when the callback returns, and resolves with what it returned', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    let epoch: SealedEpoch | undefined
    expect(await tracker.consume((each) => [(epoch = each).state, ...each.ids()])).toEqual([
      'sealed',
      1,
    ])
    expect(epoch!.state).toBe('committed')
    writer.mark(2)
    expect(await tracker.consume(async (each) => [...each.ids()])).toEqual([2])
  })

  it('restores when the callback throws or rejects, and rejects with the same error', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const error = new Error('the checkpoint failed')
    writer.mark(1)
    const failing: ((epoch: SealedEpoch) => unknown)[] = [
      () => {
        throw error
      },
      () => Promise.reject(error),
      async (epoch) => {
        await turns(2)
        epoch.bigints.slice()
        throw error
      },
    ]
    for (const use of failing) expect(await rejected(tracker.consume(use))).toBe(error)
    expect(await take(tracker)).toEqual([1])
  })

  it('lets stand what the callback did with the epoch itself', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    await tracker.consume((epoch) => epoch.restore())
    const error = new Error('after the commit')
    const committed = tracker.consume((epoch) => {
      expect(sortedIds(epoch)).toEqual([1])
      epoch.commit()
      throw error
    })
    expect(await rejected(committed)).toBe(error)
    expect(await take(tracker)).toEqual([])
  })

  it('passes the options of advanceEpoch() on', async () => {
    const tracker = await openInline({ epochSlots: 2 })
    tracker.openWriter().mark(1)
    await tracker.advanceEpoch()
    let called = false
    const use = (): void => void (called = true)
    expect((await rejected(tracker.consume(use, { onBusy: 'reject' }))).code).toBe(
      'ERR_DIRTYRING_NO_EPOCH_SLOT',
    )
    expect(await rejected(tracker.consume(use, { signal: AbortSignal.abort('no') }))).toBe('no')
    expect(called).toBe(false)
  })
})

describe('tryAdvanceEpoch()', () => {
  it('C5: cuts before it returns, with what this thread has staged; what is marked after it is in the next epoch', async () => {
    for (const open of [openInline, async () => (await openHeld()).tracker]) {
      const tracker = await open()
      const writers = [tracker.openWriter(), tracker.openWriter()]
      writers.forEach((writer, id) => writer.mark(id))
      const pending = tracker.tryAdvanceEpoch()
      expect([
        pending instanceof Promise,
        tracker.epoch,
        ...writers.map(({ staged }) => staged),
      ]).toEqual([true, 1, 0, 0])
      writers[0].markMany([7])
      if (open !== openInline) continue
      const epoch = (await pending)!
      expect([epoch.id, sortedIds(epoch)]).toEqual([0, [0, 1]])
      epoch.commit()
      expect(await take(tracker)).toEqual([7])
    }
  })

  it('is served in order with advanceEpoch(), and counted like it', async () => {
    const { tracker, hand } = await openHeld({ epochSlots: 4 })
    const writer = tracker.openWriter()
    writer.markMany([1])
    const first = tracker.advanceEpoch()
    writer.markMany([2])
    const second = tracker.tryAdvanceEpoch()!
    hand.run()
    expect([sortedIds(await first), sortedIds(await second)]).toEqual([[1], [2]])
    expect(tracker.stats()).toMatchObject({ sealed: 2, sealMs: { count: 2 }, unsettled: [0, 1] })
  })

  it('returns undefined where no slot is free, and leaves no trace', async () => {
    const tracker = await openInline({ epochSlots: 2 })
    const writer = tracker.openWriter()
    writer.mark(1)
    const first = await tracker.advanceEpoch()
    writer.mark(2)
    for (const _ of range(0, 3)) expect(tracker.tryAdvanceEpoch()).toBeUndefined()
    expect(tracker.epoch).toBe(1)
    first.commit()
    const second = (await tracker.tryAdvanceEpoch())!
    expect([second.id, sortedIds(second)]).toEqual([1, [2]])
  })

  it('returns undefined rather than overtake an advanceEpoch() that waits, also one that waits for the ring', async () => {
    const { tracker, hand } = await openHeld({ epochSlots: 3, capacity: 2, onFull: 'reject' })
    const writer = tracker.openWriter()
    writer.markMany([1])
    writer.markMany([2]) // the ring is full
    const queued = tracker.advanceEpoch()
    expect([tracker.epoch, tracker.tryAdvanceEpoch()]).toEqual([0, undefined])
    await until(() => !hand.run() && tracker.stats().sealed === 1)
    writer.markMany([3])
    const second = tracker.advanceEpoch()
    const waiting = tracker.advanceEpoch() // no slot
    expect(tracker.tryAdvanceEpoch()).toBeUndefined()
    await until(() => !hand.run() && tracker.stats().sealed === 2)
    ;(await queued).commit()
    await until(() => !hand.run() && tracker.stats().sealed === 3)
    expect([(await second).id, (await waiting).id]).toEqual([1, 2])
  })

  it('returns undefined where the ring has no room for the cut, or for what is staged, and loses no key and no slot', async () => {
    const { tracker, hand } = await openHeld({ capacity: 2, epochSlots: 2, onFull: 'reject' })
    const writer = tracker.openWriter()
    writer.markMany([1])
    writer.markMany([2])
    expect(tracker.tryAdvanceEpoch()).toBeUndefined() // no room for the cut
    writer.mark(3)
    expect([tracker.tryAdvanceEpoch(), writer.staged]).toEqual([undefined, 1])
    hand.run()
    writer.markMany([4])
    writer.mark(5)
    // room for the key, none for the cut
    expect([tracker.tryAdvanceEpoch(), writer.staged, tracker.epoch]).toEqual([undefined, 0, 0])
    hand.run()
    const pending = tracker.tryAdvanceEpoch()
    expect(tracker.epoch).toBe(1)
    hand.run()
    expect(sortedIds((await pending)!)).toEqual([1, 2, 3, 4, 5])
    expect(tracker.stats().sealed).toBe(1)
  })

  it('inside batch() of the same thread cuts without the batch', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    let pending: Promise<SealedEpoch> | undefined
    writer.batch(() => {
      writer.mark(2)
      pending = tracker.tryAdvanceEpoch()
      expect(tracker.epoch).toBe(1)
    })
    const epoch = (await pending)!
    expect(sortedIds(epoch)).toEqual([1])
    epoch.commit()
    expect(await take(tracker)).toEqual([2])
  })

  it('throws, and does not return a promise, where advanceEpoch() would reject: after stop(), beside a loop, after a failure', async () => {
    const stopped = await openInline()
    const stopping = stopped.stop()
    expect(thrown(() => stopped.tryAdvanceEpoch()).code).toBe('ERR_DIRTYRING_STOPPED')
    await stopping

    const busy = await openInline()
    void busy.epochs({ everyMs: 1_000_000 }).next()
    expect(thrown(() => busy.tryAdvanceEpoch()).code).toBe('ERR_DIRTYRING_BUSY')

    for (const isKnown of [true, false]) {
      const { tracker, hand } = await openHeld()
      // a word that the library does not write
      hand.memory.words.fill(-1, hand.memory.layout.ring, hand.memory.layout.ring + 1)
      if (isKnown)
        expect((await rejected(tracker.advanceEpoch())).code).toBe('ERR_DIRTYRING_CORRUPT')
      expect(thrown(() => tracker.tryAdvanceEpoch()).code).toBe('ERR_DIRTYRING_CORRUPT')
    }
  })
})

describe('drained()', () => {
  it('resolves when everything published before the call is in the sets, and not before; it publishes the writers of the calling thread first', async () => {
    const { tracker, hand } = await openHeld()
    const writer = tracker.openWriter()
    writer.markMany([1, 2])
    writer.mark(3) // staged by this very thread: published first
    const drained = tracker.drained()
    expect(writer.staged).toBe(0)
    writer.markMany([4])
    expect(await isPending(drained)).toBe(true)
    hand.run(1)
    expect(await isPending(drained)).toBe(true)
    hand.run()
    await drained
    expect(tracker.stats()).toMatchObject({ distinct: 4, queued: 0 })
  })

  it('makes no cut, and comes at once where nothing is published', async () => {
    const tracker = await openInline()
    await tracker.drained()
    await Promise.all([tracker.drained(), tracker.drained()])
    expect(tracker.epoch).toBe(0)
  })

  it('rejects with the reason of its signal, and takes its listener off it', async () => {
    const { tracker, hand } = await openHeld()
    const writer = tracker.openWriter()
    writer.markMany([1])
    expect(await rejected(tracker.drained({ signal: AbortSignal.abort('no') }))).toBe('no')
    const controller = new AbortController()
    const drained = tracker.drained({ signal: controller.signal })
    controller.abort('enough')
    expect(await rejected(drained)).toBe('enough')
    hand.run()
    const quiet = new AbortController()
    await tracker.drained({ signal: quiet.signal })
    quiet.abort()
    expect(tracker.stats().distinct).toBe(1)
  })
})
