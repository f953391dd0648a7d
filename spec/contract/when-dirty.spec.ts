import { afterEach, describe, expect, it, jest } from '@jest/globals'
import { leaveRole, recover, takeRole } from '../../lib/aggregator/state.js'
import { step, WORKED } from '../../lib/aggregator/step.js'
import type { DirtyTracker } from '../../lib/index.js'
import { DIRTY_WANTED, FAILED } from '../../lib/memory/map.js'
import { attachMemory } from '../../lib/memory/memory.js'
import { open, stageKeys } from '../support/aggregators.js'
import {
  isPending,
  mark,
  openHeld,
  openInline,
  rejected,
  sortedIds,
  thrown,
  until,
} from '../support/in-process.js'
import { take } from '../support/taking.js'

const realSetTimeout = setTimeout
const realStore = Atomics.store
const realExchange = Atomics.exchange

afterEach(() => {
  Atomics.store = realStore
  Atomics.exchange = realExchange
  jest.useRealTimers()
})

const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => void realSetTimeout(resolve, ms))
const DONE = { done: true, value: undefined }

const wordsOf = (tracker: DirtyTracker) => attachMemory(tracker.handle, 'tracker').words

/** Whether a loop sleeps, and has asked the aggregator to tell of the first key. */
const isAsleep = (tracker: DirtyTracker): boolean => wordsOf(tracker)[DIRTY_WANTED] === 1

/** A loop that has begun, and sleeps. */
async function sleeping(tracker: DirtyTracker, everyMs = 0, signal?: AbortSignal) {
  const epochs = tracker.epochs({ everyMs, whenDirty: true, signal })
  const next = epochs.next()
  await until(() => isAsleep(tracker))
  expect(await isPending(next)).toBe(true)
  return { epochs, next }
}

/** Counts how often the tracker's thread looks for something, until `end()`. */
function countLooks(): { end(): number } {
  let looks = 0
  Atomics.store = ((words: Int32Array<SharedArrayBuffer>, at: number, value: number) => {
    if (at === DIRTY_WANTED) looks++
    return realStore(words, at, value)
  }) as typeof Atomics.store
  return {
    end: () => {
      Atomics.store = realStore
      return looks
    },
  }
}

describe('a loop of epochs({ whenDirty }) in which nothing is marked', () => {
  it('makes no cut, puts no token into the ring, and looks once a second', async () => {
    const tracker = await openInline()
    const { epochs, next } = await sleeping(tracker)
    const { tokens, sealed, epoch } = tracker.stats()
    const looks = countLooks()
    await pause(1000)
    expect(looks.end()).toBeLessThanOrEqual(3) // a look every 50 ms would be 20
    expect(tracker.stats()).toMatchObject({ tokens, sealed, epoch })
    expect(await isPending(next)).toBe(true)
    await epochs.return!()
  })

  it('sleeps on beside drained(), flushed(), and a writer that comes and goes', async () => {
    const tracker = await openInline()
    const { epochs, next } = await sleeping(tracker)
    await tracker.drained()
    await tracker.flushed()
    tracker.openWriter().close()
    await tracker.drained()
    expect(await isPending(next)).toBe(true)
    expect(isAsleep(tracker)).toBe(true)
    expect(tracker.stats().sealed).toBe(0)
    await epochs.return!()
  })

  it('sleeps on while keys are only staged, and is woken by the interval that publishes them', async () => {
    const tracker = await openInline({ flushIntervalMs: 20 })
    const writer = tracker.openWriter()
    const { epochs, next } = await sleeping(tracker)
    writer.mark(1)
    expect(await isPending(next)).toBe(true)
    expect(sortedIds((await next).value)).toEqual([1])
    expect(writer.staged).toBe(0)
    await epochs.return!()
  })

  it('without whenDirty, it cuts, and asks the aggregator for nothing', async () => {
    const tracker = await openInline()
    const looks = countLooks()
    const epochs = tracker.epochs({ everyMs: 1 })
    void epochs.next()
    await until(() => tracker.stats().sealed > 3)
    expect(looks.end()).toBe(0)
    expect(isAsleep(tracker)).toBe(false)
    await epochs.return!()
  })

  it('does not fall asleep once the aggregator has failed, and its cut reports that', async () => {
    const { tracker, hand } = await openHeld()
    Atomics.store(hand.memory.words, FAILED, 1)
    const error = await rejected(tracker.advanceEpoch())
    const next = tracker.epochs({ everyMs: 0, whenDirty: true }).next()
    expect(isAsleep(tracker)).toBe(false)
    expect(await rejected(next)).toBe(error)
  })
})

describe('a loop of epochs({ whenDirty }) is woken', () => {
  it.each([false, true])(
    'by the first key, waits everyMs so that marks gather, and sleeps again: fake timers %s',
    async (isFake) => {
      const tracker = await openInline()
      const writer = tracker.openWriter()
      const { epochs, next } = await sleeping(tracker, 300)
      if (isFake) jest.useFakeTimers()
      const publish = (id: number): void => {
        writer.mark(id)
        writer.flush()
      }
      publish(1)
      while (isAsleep(tracker)) await pause(1)
      publish(2)
      const { value } = await next
      expect(sortedIds(value)).toEqual([1, 2])
      value.commit()
      const again = epochs.next()
      while (!isAsleep(tracker)) await pause(1)
      await pause(350)
      expect(isAsleep(tracker)).toBe(true)
      expect(tracker.stats().sealed).toBe(1)
      publish(3)
      expect(sortedIds((await again).value)).toEqual([3])
      expect(tracker.stats().sealed).toBe(2)
      await epochs.return!()
    },
  )

  it('by one key in each of many sleeps', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const { epochs, next } = await sleeping(tracker)
    let result = next
    for (let id = 0; id < 100; id++) {
      writer.mark(id)
      writer.flush()
      const { value } = await result
      expect(sortedIds(value)).toEqual([id])
      value.commit()
      result = epochs.next()
      if (id % 2 === 0) await until(() => isAsleep(tracker))
    }
    expect(tracker.stats().sealed).toBe(100)
    await epochs.return!()
  })

  const ways: Record<string, (tracker: DirtyTracker) => void> = {
    'a number': (tracker) => {
      const writer = tracker.openWriter()
      writer.mark(7)
      writer.flush()
    },
    'the number 0': (tracker) => {
      const writer = tracker.openWriter()
      writer.mark(0)
      writer.flush()
    },
    'a text': (tracker) => {
      const writer = tracker.openWriter()
      writer.mark('a text')
      writer.flush()
    },
    'markEverything() of the tracker': (tracker) => tracker.markEverything(),
    'markEverything() of a writer': (tracker) => {
      const writer = tracker.openWriter()
      writer.markEverything()
      writer.flush()
    },
    'the harvest of a writer': (tracker) => {
      const lane = open(attachMemory(tracker.handle, 'tracker'))
      stageKeys(lane, 7)
      void tracker.reap(lane.id)
    },
    'a writer that closes': (tracker) => {
      const writer = tracker.openWriter()
      writer.mark(7)
      writer.close()
    },
  }
  it.each(Object.keys(ways))('by %s', async (way) => {
    const tracker = await openInline()
    const { epochs, next } = await sleeping(tracker)
    ways[way](tracker)
    const { value } = await next
    expect(value.exact && value.size === 0).toBe(false)
    expect(tracker.stats().sealed).toBe(1)
    await epochs.return!()
  })

  it('by the epoch that its body left unsettled', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    writer.flush()
    const seen: number[][] = []
    for await (const epoch of tracker.epochs({ everyMs: 1, whenDirty: true })) {
      seen.push(sortedIds(epoch))
      if (seen.length === 3) {
        epoch.commit()
        break
      }
    }
    expect(seen).toEqual([[1], [1], [1]])
  })

  it('by the next aggregator, if the first one dies between the count and the signal', async () => {
    const { tracker, hand } = await openHeld()
    const writer = tracker.openWriter()
    const { epochs, next } = await sleeping(tracker)
    writer.mark(1)
    writer.flush()
    const death = new Error('dies')
    Atomics.exchange = ((words: Int32Array<SharedArrayBuffer>, at: number, value: number) => {
      if (at === DIRTY_WANTED) {
        realExchange(words, at, value)
        throw death
      }
      return realExchange(words, at, value)
    }) as typeof Atomics.exchange
    expect(thrown(() => hand.run())).toBe(death)
    Atomics.exchange = realExchange
    hand.release()
    expect(await isPending(next)).toBe(true)
    const successor = takeRole(hand.memory, 99)
    recover(successor)
    await until(() => !isAsleep(tracker))
    const run = setInterval(() => {
      while (step(successor) === WORKED);
    }, 1)
    expect(sortedIds((await next).value)).toEqual([1])
    await epochs.return!().finally(() => clearInterval(run))
    leaveRole(successor)
  })

  it('by a failure of the aggregator, which the next cut reports', async () => {
    const { tracker, hand } = await openHeld()
    const { next } = await sleeping(tracker)
    Atomics.store(hand.memory.words, FAILED, 1)
    expect((await rejected(next)).code).toBe('ERR_DIRTYRING_CORRUPT')
  })
})

describe('a loop of epochs({ whenDirty }) that sleeps', () => {
  it('is still told of the first key when another one has ended', async () => {
    const tracker = await openInline({ maxConsumers: 2 })
    const loops = ['a', 'b'].map((name) =>
      tracker.consumer(name, { from: 'now' }).epochs({ everyMs: 0, whenDirty: true }),
    )
    const [ends, goesOn] = loops.map((loop) => loop.next())
    expect([await isPending(ends), await isPending(goesOn)]).toEqual([true, true])
    await loops[0].return!()
    expect([await ends, isAsleep(tracker)]).toEqual([DONE, true])
    mark(tracker, 1)
    const { value } = await goesOn
    expect(sortedIds(value)).toEqual([1])
    value.commit()
    await loops[1].return!()
    expect(isAsleep(tracker)).toBe(false)
  })

  it('ends when its signal aborts, and when it is returned, without a cut', async () => {
    const tracker = await openInline()
    const controller = new AbortController()
    const aborted = await sleeping(tracker, 0, controller.signal)
    controller.abort()
    expect(await aborted.next).toEqual(DONE)

    const returned = await sleeping(tracker)
    expect(await returned.epochs.return!()).toEqual(DONE)
    expect(await returned.next).toEqual(DONE)
    expect(tracker.stats().sealed).toBe(0)
    tracker.openWriter().mark(1)
    expect(await take(tracker)).toEqual([1])
  })

  it('is ended by throw(), once it has an epoch', async () => {
    const tracker = await openInline()
    const { epochs, next } = await sleeping(tracker)
    tracker.markEverything()
    const { value } = await next
    const error = new Error('the body failed')
    expect(await rejected(epochs.throw!(error))).toBe(error)
    expect(value.state).toBe('restored')
  })

  it('is handed the last epoch by stop()', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const { epochs, next } = await sleeping(tracker, 1_000_000)
    writer.mark(1)
    const stopped = tracker.stop()
    const { value } = await next
    expect([sortedIds(value), value.last]).toEqual([[1], true])
    value.commit()
    expect(await epochs.next()).toEqual(DONE)
    await stopped
  })

  it('owns the epochs', async () => {
    const tracker = await openInline()
    const { epochs } = await sleeping(tracker)
    expect((await rejected(tracker.advanceEpoch())).code).toBe('ERR_DIRTYRING_BUSY')
    await epochs.return!()
  })
})

describe('a loop of epochs({ whenDirty }) beside a slow body', () => {
  it('makes the cut that is overdue when the body ends at once: marks have gathered meanwhile', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const order: string[] = []
    writer.mark(1)
    writer.flush()
    for await (const epoch of tracker.epochs({ everyMs: 200, whenDirty: true })) {
      order.push('cut')
      epoch.commit()
      if (order.filter((each) => each === 'cut').length === 2) break
      writer.mark(2)
      writer.flush()
      await pause(250)
      setTimeout(() => order.push('half an interval'), 100)
    }
    expect(order).toEqual(['cut', 'cut'])
  })
})

describe('options.whenDirty', () => {
  it('is a boolean', async () => {
    const tracker = await openInline()
    const error = thrown(() => tracker.epochs({ everyMs: 1, whenDirty: 1 as unknown as boolean }))
    expect(error).toBeInstanceOf(TypeError)
    expect(error.message).toContain('"options.whenDirty" must be a boolean')
  })
})
