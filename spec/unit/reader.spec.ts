import '../support/clock.js' // first: it holds the clock that the library takes when it is loaded
import { describe, expect, it, jest } from '@jest/globals'
import { FAILED } from '../../lib/memory/map.js'
import { holdClock } from '../support/clock.js'

/** The ms of each timer that was started. */
const timers: number[] = []
const real = await import('../../lib/timers.js')
jest.unstable_mockModule('../../lib/timers.js', () => ({
  ...real,
  setTimeout: (callback: () => void, ms: number) => {
    timers.push(ms)
    return real.setTimeout(callback, ms)
  },
}))
const { holdConsumer } = await import('../../lib/tracker/consumer.js')
const { isPending, mark, openHeld, openInline, rejected, sortedIds, thrown, turns, until } =
  await import('../support/in-process.js')
const { STOPPED } = await import('../support/stopping.js')

const DONE = { done: true, value: undefined }
const BUSY = 'ERR_DIRTYRING_BUSY'
const LONG = 1_000_000

/** A tracker with one consumer that begins now, and an aggregator on this thread. */
async function openConsumer() {
  const tracker = await openInline({ maxConsumers: 1 })
  return { tracker, consumer: tracker.consumer('index', { from: 'now' }) }
}

/** The same with an aggregator that works when the spec says so. */
async function openHeldConsumer() {
  const { tracker, hand } = await openHeld({ maxConsumers: 1 })
  const consumer = tracker.consumer('index', { from: 'now' })
  await turns(1)
  hand.run()
  return { tracker, hand, consumer }
}

describe("a named consumer's last epoch", () => {
  it('goes to the next caller when the signal of one that waits for it aborts', async () => {
    const { tracker, hand, consumer } = await openHeldConsumer()
    mark(tracker, 1)
    const stopping = tracker.stop({ graceMs: 0 })
    const controllers = [new AbortController(), new AbortController()]
    const [first, second] = controllers.map(({ signal }) => consumer.advanceEpoch({ signal }))
    expect((await rejected(second)).code).toBe(STOPPED) // the first call has it
    controllers[0].abort('enough')
    expect(await isPending(first)).toBe(false)
    expect(await rejected(first)).toBe('enough')
    const third = consumer.advanceEpoch()
    await until(() => !hand.run() && tracker.health().finished)
    await stopping
    const last = await third
    expect([last.last, ...sortedIds(last)]).toEqual([true, 1])
    expect((await rejected(consumer.advanceEpoch())).code).toBe(STOPPED)
  })

  it('is refused to each caller with the error of stop(), if that fails', async () => {
    const { tracker, hand, consumer } = await openHeldConsumer()
    const stopping = rejected(tracker.stop({ graceMs: 0 }))
    const controller = new AbortController()
    const aborted = rejected(consumer.advanceEpoch({ signal: controller.signal }))
    controller.abort('enough')
    const waiting = rejected(consumer.advanceEpoch())
    Atomics.store(hand.memory.words, FAILED, 1)
    const error = await stopping
    expect(error.code).toBe('ERR_DIRTYRING_CORRUPT')
    expect([await aborted, await waiting]).toEqual(['enough', error])
    for (let i = 0; i < 2; i++) expect(await rejected(consumer.advanceEpoch())).toBe(error)
  })

  it('stays with the holder that was given it, also when that one ends', async () => {
    const { tracker, consumer } = await openConsumer()
    const hold = holdConsumer(consumer)!
    mark(tracker, 1)
    await tracker.stop()
    const last = await hold.last()
    hold.end()
    expect((await rejected(consumer.advanceEpoch())).code).toBe(STOPPED)
    expect([last.last, last.state, ...sortedIds(last)]).toEqual([true, 'sealed', 1])
  })

  it('is dealt with by stop({ consume }) once its holder has ended', async () => {
    const { tracker, consumer } = await openConsumer()
    holdConsumer(consumer)!.end()
    mark(tracker, 1)
    const seen: number[][] = []
    await tracker.stop({ consume: (epoch) => void seen.push(sortedIds(epoch)) })
    expect(seen).toEqual([[1]])
  })
})

describe('the owner of the epochs', () => {
  const busy = (whose: string): string =>
    `a running epochs() loop owns the epochs of ${whose}. An iterator that was dropped without ` +
    'return() goes on owning them: call its return()'

  it('is named in the error of each other call', async () => {
    const tracker = await openInline()
    const { consumer } = await openConsumer()
    for (const [reader, whose] of [
      [tracker, 'this tracker'],
      [consumer, 'consumer "index"'],
    ] as const) {
      const epochs = reader.epochs({ everyMs: LONG })
      void epochs.next()
      expect(thrown(() => reader.tryAdvanceEpoch())).toMatchObject({
        code: BUSY,
        message: busy(whose),
      })
      await epochs.return!()
    }
  })

  it('is not the holder that has ended, although it ends once more', async () => {
    const { consumer } = await openConsumer()
    const first = holdConsumer(consumer)!
    first.end()
    const second = holdConsumer(consumer)!
    first.end()
    expect((await rejected(consumer.advanceEpoch())).code).toBe(BUSY)
    second.end()
    expect((await consumer.advanceEpoch()).size).toBe(0)
  })

  it('is not the loop that was aborted, although its body ends later', async () => {
    const tracker = await openInline()
    const controller = new AbortController()
    const first = tracker.epochs({ everyMs: 0, signal: controller.signal })
    mark(tracker, 1)
    const { value } = await first.next()
    controller.abort()
    const second = tracker.epochs({ everyMs: LONG })
    void second.next()
    value.commit()
    expect(await first.next()).toEqual(DONE)
    expect((await rejected(tracker.advanceEpoch())).code).toBe(BUSY)
    await second.return!()
    expect((await tracker.advanceEpoch()).size).toBe(0)
  })
})

describe('an epochs() loop ends at once', () => {
  it('if its signal aborted before it began, also beside another loop and after close()', async () => {
    const { consumer } = await openConsumer()
    const signal = AbortSignal.abort()
    const running = consumer.epochs({ everyMs: LONG })
    void running.next()
    expect(await consumer.epochs({ everyMs: 0, signal }).next()).toEqual(DONE)
    await running.return!()
    consumer.close()
    expect(await consumer.epochs({ everyMs: 0, signal }).next()).toEqual(DONE)
  })

  it('if it begins after stop(), though that is under way, or fails', async () => {
    const { tracker, hand } = await openHeld()
    const stopping = rejected(tracker.stop({ graceMs: 0 }))
    const next = tracker.epochs({ everyMs: 0 }).next()
    expect(await isPending(next)).toBe(false)
    expect(await next).toEqual(DONE)
    Atomics.store(hand.memory.words, FAILED, 1)
    expect((await stopping).code).toBe('ERR_DIRTYRING_CORRUPT')
    expect(await tracker.epochs({ everyMs: 0 }).next()).toEqual(DONE)
  })

  it('if it is aborted when stop() begins, and takes nothing from the next caller', async () => {
    const { tracker, hand, consumer } = await openHeldConsumer()
    mark(tracker, 1)
    const controller = new AbortController()
    const next = consumer.epochs({ everyMs: LONG, signal: controller.signal }).next()
    await turns(1)
    controller.abort()
    const stopping = tracker.stop({ graceMs: 0 })
    expect(await isPending(next)).toBe(false)
    expect(await next).toEqual(DONE)
    const last = consumer.advanceEpoch()
    await until(() => !hand.run() && tracker.health().finished)
    await stopping
    expect(sortedIds(await last)).toEqual([1])
  })

  it('if its body aborted it, and nothing else is marked', async () => {
    const tracker = await openInline()
    const controller = new AbortController()
    const epochs = tracker.epochs({ everyMs: 0, whenDirty: true, signal: controller.signal })
    mark(tracker, 1)
    const { value } = await epochs.next()
    value.commit()
    controller.abort()
    const next = epochs.next()
    expect(await isPending(next)).toBe(false)
    expect(await next).toEqual(DONE)
  })
})

describe('an epochs() loop whose body gives its epoch back', () => {
  it('cuts again before the aggregator has taken the keys, which are in that cut', async () => {
    const { tracker, hand } = await openHeld()
    const epochs = tracker.epochs({ everyMs: 0 })
    mark(tracker, 1)
    const first = epochs.next()
    await until(() => tracker.epoch === 1)
    hand.run()
    const restored = (await first).value.restore()
    const second = epochs.next()
    await until(() => tracker.epoch === 2)
    expect([await isPending(restored), await isPending(second)]).toEqual([true, true])
    hand.run()
    await restored
    const { value } = await second
    expect(sortedIds(value)).toEqual([1])
    value.commit()
    await epochs.return!()
  })
})

describe('an epochs() loop that sleeps', () => {
  it('leaves no listener on its signal', async () => {
    const tracker = await openInline()
    const listeners: unknown[] = []
    const signal = {
      aborted: false,
      addEventListener: (...added: unknown[]) => void listeners.push(added),
      removeEventListener(...removed: unknown[]) {
        const at = (listeners as unknown[][]).findIndex((each) =>
          removed.every((part, i) => part === each[i]),
        )
        if (at >= 0) listeners.splice(at, 1)
      },
    }
    const epochs = tracker.epochs({ everyMs: 0, whenDirty: true, signal })
    for (let id = 0; id < 3; id++) {
      const next = epochs.next()
      expect(await isPending(next)).toBe(true)
      expect(listeners).toEqual([['abort', expect.any(Function)]])
      mark(tracker, id)
      const { value } = await next
      expect([sortedIds(value), listeners]).toEqual([[id], []])
      value.commit()
    }
    await epochs.return!()
  })

  it('waits all of everyMs once it is woken, so that marks gather', async () => {
    const tracker = await openInline()
    const clock = holdClock()
    try {
      const epochs = tracker.epochs({ everyMs: LONG, whenDirty: true })
      const next = epochs.next()
      expect(await isPending(next)).toBe(true)
      clock.pass(500)
      timers.length = 0
      mark(tracker, 1)
      let isOver = false
      void next.then(() => (isOver = true))
      await until(() => isOver || timers.includes(LONG))
      expect(isOver).toBe(false)
      await epochs.return!()
      expect(await next).toEqual(DONE)
    } finally {
      clock.end()
    }
  })
})

describe('advanceEpoch({ onBusy: "reject" })', () => {
  const NO_SLOT = 'ERR_DIRTYRING_NO_EPOCH_SLOT'
  const onBusy = 'reject'

  it('says what holds the slots', async () => {
    const { tracker, hand } = await openHeld({ epochSlots: 3 })
    const refused = async (unsettled: string): Promise<void> =>
      expect(await rejected(tracker.advanceEpoch({ onBusy }))).toMatchObject({
        code: NO_SLOT,
        message: `no epoch slot is free of 3 (epochSlots). Unsettled epochs: ${unsettled}`,
      })
    for (const id of [1, 2]) {
      mark(tracker, id)
      void tracker.advanceEpoch()
    }
    await refused('none yet')
    await until(() => !hand.run() && tracker.stats().sealed === 2)
    await refused('0, 1')
  })

  it('says what a named consumer has not settled, or that a call of it waits', async () => {
    const { tracker, hand, consumer } = await openHeldConsumer()
    const refused = async (why: string): Promise<void> =>
      expect(await rejected(consumer.advanceEpoch({ onBusy }))).toMatchObject({
        code: NO_SLOT,
        message: `consumer "index" has one epoch at a time. ${why}`,
      })
    mark(tracker, 1)
    const pending = consumer.advanceEpoch()
    await refused('An earlier call waits for one')
    await until(() => !hand.run() && tracker.stats().sealed === 1)
    const epoch = await pending
    await refused(`Call commit() or restore() on epoch ${epoch.id} before`)
  })
})
