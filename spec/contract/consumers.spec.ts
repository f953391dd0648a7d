import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, describe, expect, it, jest } from '@jest/globals'
import { decodeEpoch } from '../../lib/cluster/index.js'
import { encodeAttached } from '../../lib/epochs/attached-epoch.js'
import {
  attachEpoch,
  type Clock,
  type Consumer,
  DirtyTracker,
  type SealedEpoch,
  type TrackerOptions,
} from '../../lib/index.js'
import { choiceAt, JOB, planAt, PLANS } from '../../lib/memory/map.js'
import { indexOfJob } from '../../lib/memory/plan.js'
import { open as openLane, stageKeys } from '../support/aggregators.js'
import { expectError, INVALID_ARG, OUT_OF_RANGE } from '../support/bad-input.js'
import {
  holdAggregator,
  isPending,
  openHeld,
  openInline,
  range,
  rejected,
  sortedIds,
  sortedListed,
  thrown,
  turns,
} from '../support/in-process.js'
import { STOPPED } from '../support/stopping.js'

const TAKEN = 'ERR_DIRTYRING_CONSUMER_TAKEN'
const NO_SLOT = 'ERR_DIRTYRING_NO_CONSUMER_SLOT'
const CLOSED = 'ERR_DIRTYRING_CLOSED'
const BUSY = 'ERR_DIRTYRING_BUSY'
const SETTLED = 'ERR_DIRTYRING_SETTLED'

afterEach(() => {
  jest.restoreAllMocks()
})

/** A tracker, a writer, and a consumer of each of these names that begins now. */
async function open(
  names: string[],
  options: TrackerOptions = {},
): Promise<{
  tracker: DirtyTracker
  mark: (...ids: number[]) => void
  consumers: Consumer[]
}> {
  const tracker = await openInline({ maxConsumers: names.length, ...options })
  const writer = tracker.openWriter()
  const consumers = names.map((name) => tracker.consumer(name, { from: 'now' }))
  const mark = (...ids: number[]): void => {
    writer.markMany(ids)
    writer.flush()
  }
  return { tracker, mark, consumers }
}

/** Takes an epoch and commits it: its ids. */
async function take(consumer: Consumer): Promise<number[]> {
  const epoch = await consumer.advanceEpoch()
  expect([epoch.exact, epoch.precision]).toEqual([true, 'exact'])
  const ids = sortedIds(epoch)
  epoch.commit()
  return ids
}

/** Waits until every cut is answered, so that all slots that can be free are. */
async function settle(tracker: DirtyTracker): Promise<void> {
  await tracker.drained()
  await turns(2)
}

describe('named consumers', () => {
  it('each get every key, at their own pace', async () => {
    const { mark, consumers } = await open(['fast', 'slow'])
    const [fast, slow] = consumers
    mark(1, 2)
    expect(await take(fast)).toEqual([1, 2])
    mark(2, 3)
    expect(await take(fast)).toEqual([2, 3])
    mark(4)
    expect(await take(slow)).toEqual([1, 2, 3, 4])
    expect(await take(fast)).toEqual([4])
    expect(await take(slow)).toEqual([])
  })

  it('seven at once, each with its own pace, and texts', async () => {
    const tracker = await openInline({ maxConsumers: 7 })
    const writer = tracker.openWriter()
    const consumers = range(0, 7).map((i) => tracker.consumer(`c${i}`, { from: 'now' }))
    const models = consumers.map(() => new Set<string>())
    for (let round = 1; round <= 84; round++) {
      for (const key of [round, `text ${round}`, round % 5]) {
        writer.mark(key)
        for (const model of models) model.add(String(key))
      }
      for (const [i, consumer] of consumers.entries()) {
        if (round % (i + 1) !== 0) continue
        await consumer.consume((epoch) => {
          expect(epoch.exact).toBe(true)
          expect(new Set(Array.from(epoch, String))).toEqual(models[i])
        })
        models[i].clear()
      }
    }
    expect(tracker.stats().unsettled).toEqual([])
  })

  describe('C14: what one does changes nothing of what another gets', () => {
    it('one that throws gets its keys again, also behind keys of other epochs', async () => {
      const { tracker, mark, consumers } = await open(['a', 'b'])
      const [a, b] = consumers
      mark(1)
      expect((await rejected(a.consume(() => Promise.reject(new Error('no'))))).message).toBe('no')
      mark(2)
      expect(await take(b)).toEqual([1, 2])
      mark(3)
      expect(await take(a)).toEqual([1, 2, 3])
      expect(await take(b)).toEqual([3])
      expect(tracker.stats().restored).toBe(1)
    })

    it('what was given back joins what was sealed meanwhile', async () => {
      const { mark, consumers } = await open(['a', 'b', 'c'])
      const [a, b, c] = consumers
      mark(1)
      const epoch = await a.advanceEpoch()
      mark(2)
      expect(await take(b)).toEqual([1, 2])
      mark(3)
      await epoch.restore()
      expect(epoch.state).toBe('restored')
      expect(thrown(() => epoch.has(1)).code).toBe(SETTLED)
      expect(await take(b)).toEqual([3])
      expect(await take(a)).toEqual([1, 2, 3])
      expect(await take(c)).toEqual([1, 2, 3])
      expect([await take(a), await take(b), await take(c)]).toEqual([[], [], []])
    })

    it('a loop that leaves epochs unsettled gets the keys again', async () => {
      const { tracker, mark, consumers } = await open(['a', 'b'])
      const [a, b] = consumers
      mark(1)
      const seen: number[][] = []
      for await (const epoch of a.epochs({ everyMs: 0 })) {
        seen.push(sortedIds(epoch))
        mark(seen.length + 1)
        if (seen.length === 3) break
      }
      expect(seen).toEqual([[1], [1, 2], [1, 2, 3]])
      expect(await take(b)).toEqual([1, 2, 3, 4])
      expect(await take(a)).toEqual([1, 2, 3, 4])
      expect(tracker.stats().unsettled).toEqual([])
    })

    it('one that holds an epoch waits for itself only', async () => {
      const { mark, consumers } = await open(['a', 'b'])
      const [a, b] = consumers
      mark(1)
      const held = await a.advanceEpoch()
      const next = a.advanceEpoch()
      const afterNext = a.advanceEpoch()
      for (let i = 2; i < 40; i++) {
        mark(i)
        expect(await take(b)).toEqual(i === 2 ? [1, 2] : [i])
      }
      expect(await isPending(next)).toBe(true)
      const error = await rejected(a.advanceEpoch({ onBusy: 'reject' }))
      expect(error.code).toBe('ERR_DIRTYRING_NO_EPOCH_SLOT')
      expect(error.message).toContain(`epoch ${held.id}`)
      expect(a.tryAdvanceEpoch()).toBe(undefined)
      expect(sortedIds(held)).toEqual([1])
      held.commit()
      const epoch = await next
      expect(sortedIds(epoch)).toEqual(range(2, 38))
      expect(await isPending(afterNext)).toBe(true)
      await epoch.restore()
      expect(sortedIds(await afterNext)).toEqual(range(2, 38))
    })

    it('the ids and texts of a held epoch stay what they are while others cut', async () => {
      const { tracker, mark, consumers } = await open(['a', 'b', 'c'])
      const [a, b] = consumers
      const writer = tracker.openWriter()
      writer.mark('one')
      mark(1)
      const held = await a.advanceEpoch()
      const elsewhere = attachEpoch(held.handle)
      for (let i = 2; i < 20; i++) {
        writer.mark(`text ${i}`)
        mark(i)
        await b.consume(() => undefined)
        expect([...held]).toEqual([1, 'one'])
        expect([...elsewhere]).toEqual([1, 'one'])
      }
    })

    it('one that never takes costs a fixed amount of memory, and becomes a superset', async () => {
      const { tracker, mark, consumers } = await open(['a', 'never'], { maxKeysPerEpoch: 64 })
      const [a, never] = consumers
      const seen = new Set<string>()
      let marked = 0
      for (let i = 0; i < 800; i++) {
        mark(...range(marked, 60))
        marked += 60
        expect(await take(a)).toEqual(range(marked - 60, 60))
        await settle(tracker)
        seen.add(never.lag.precision)
        if (never.lag.precision === 'everything') break
      }
      expect([...seen]).toEqual(['exact', 'superset', 'everything'])
      const epoch = await never.advanceEpoch()
      expect([epoch.precision, epoch.reason]).toEqual(['everything', 'overflow'])
      expect(range(0, marked).every((id) => epoch.has(id))).toBe(true)
    })

    it('C15: a backlog that is a superset has every key, and few others', async () => {
      const { mark, consumers } = await open(['a', 'slow'], { maxKeysPerEpoch: 256 })
      const [a, slow] = consumers
      for (let i = 0; i < 20; i++) {
        mark(...range(i * 50, 50))
        await take(a)
      }
      const epoch = await slow.advanceEpoch()
      const elsewhere = attachEpoch(epoch.handle)
      expect([epoch.precision, elsewhere.precision]).toEqual(['superset', 'superset'])
      for (const id of range(0, 1000))
        expect([epoch.has(id), elsewhere.has(id)]).toEqual([true, true])
      const wrong = range(1000, 2000).filter((id) => epoch.has(id)).length
      expect(wrong / 2000).toBeLessThan(epoch.falsePositives * 4 + 0.01)
      epoch.commit()
      mark(7)
      expect(await take(slow)).toEqual([7])
    })

    it('an open epoch that overflows is a superset for those whose range has it', async () => {
      const { mark, consumers } = await open(['a', 'b'], { maxKeysPerEpoch: 64 })
      const [a, b] = consumers
      mark(1)
      const before = await a.advanceEpoch()
      mark(...range(100, 90))
      expect(sortedIds(before)).toEqual([1])
      before.commit()
      const full = await a.advanceEpoch()
      expect(full.precision).toBe('superset')
      expect([1, 500].filter((id) => full.has(id))).toEqual([])
      full.commit()
      mark(3)
      expect(await take(a)).toEqual([3])
      const all = await b.advanceEpoch()
      expect(all.precision).toBe('superset')
      expect([1, 3, ...range(100, 90)].every((id) => all.has(id))).toBe(true)
      all.commit()
      expect(await take(b)).toEqual([])
    })

    it('markEverything() reaches each of them once', async () => {
      const { tracker, consumers } = await open(['a', 'b'])
      tracker.markEverything()
      for (const each of consumers)
        await each.consume(({ reason }) => expect(reason).toBe('everything'))
      for (const each of consumers) expect(await take(each)).toEqual([])
    })

    it('an abort after the cut gives the keys back to that consumer only', async () => {
      const { tracker, hand } = await openHeld({ maxConsumers: 2 })
      const writer = tracker.openWriter()
      const [a, b] = ['a', 'b'].map((name) => tracker.consumer(name, { from: 'now' }))
      hand.run()
      writer.mark(1)
      const controller = new AbortController()
      const aborted = rejected(a.advanceEpoch({ signal: controller.signal }))
      controller.abort('enough')
      expect(await aborted).toBe('enough')
      const again = a.advanceEpoch()
      const other = b.advanceEpoch()
      hand.run()
      await tracker.drained()
      hand.run()
      expect([sortedIds(await again), sortedIds(await other)]).toEqual([[1], [1]])
      expect(tracker.stats().restored).toBe(1)
    })

    it('a death between two steps of a merge changes nothing', async () => {
      const { tracker, hand } = await openHeld({ maxConsumers: 3 })
      const writer = tracker.openWriter()
      const [a, b, c] = ['a', 'b', 'c'].map((name) => tracker.consumer(name, { from: 'now' }))
      hand.run()
      await turns(2)
      const heap = [a, b, c].map(() => new Set<number>())
      let current = hand
      let deaths = 0
      for (let round = 0; round < 12; round++) {
        for (const id of range(round * 700, 1000)) {
          writer.mark(id)
          for (const each of heap) each.add(id)
          if (id % 300 === 0) current.run()
        }
        const taken = [a, b, c][round % 3].advanceEpoch()
        // A few steps in the hand of each aggregator. A merge is begun anew by the next one.
        for (let more = true; more; deaths++) {
          more = current.run(deaths % 3 === 0 ? 4 : 1)
          current.release()
          current = holdAggregator(tracker)
        }
        void tracker.drained()
        const epoch = await taken
        expect(sortedIds(epoch)).toEqual([...heap[round % 3]].sort((x, y) => x - y))
        heap[round % 3].clear()
        epoch.commit()
      }
      expect(deaths).toBeGreaterThan(30)
      expect(indexOfJob(current.memory.words[JOB])).toBeGreaterThan(0)
    })
  })

  describe('the tracker’s own methods', () => {
    it('throw with maxConsumers, and name consumer()', async () => {
      const tracker = await openInline({ maxConsumers: 1 })
      const errors = [
        await rejected(tracker.advanceEpoch()),
        thrown(() => tracker.tryAdvanceEpoch()),
        await rejected(tracker.consume(() => undefined)),
        thrown(() => tracker.epochs({ everyMs: 1 })),
      ]
      for (const error of errors) {
        expect(error.code).toBe(BUSY)
        expect(error.message).toContain('tracker.consumer(name)')
      }
    })

    it('without a named consumer nothing changes: the same tokens, the same words', async () => {
      const words: number[][] = []
      for (const options of [{}, { maxConsumers: 0 }]) {
        const { tracker, hand } = await openHeld({ ...options, maxStringsPerEpoch: 0 })
        const writer = tracker.openWriter()
        for (let i = 0; i < 20; i++) {
          writer.markMany(range(i, 30))
          const taken = tracker.advanceEpoch()
          hand.run()
          void tracker.drained()
          const epoch = await taken
          if (i % 3 === 0) void epoch.restore()
          else epoch.commit()
          hand.run()
        }
        const { tokens } = tracker.stats()
        const touched = hand.memory.words.reduce((sum, word) => sum + (word === 0 ? 0 : 1), 0)
        words.push([tokens, touched, tracker.options.epochSlots])
        // A batch and a SEAL each time, and a RESTORE after every third: one token more per cut
        // would show.
        expect(tokens).toBe(20 + 20 + 7)
        // No job and no plan: this memory is not touched.
        const ofPlans = hand.memory.words.slice(JOB, planAt(PLANS - 1) + 16)
        expect(ofPlans.every((word) => word === 0)).toBe(true)
      }
      expect(words[1]).toEqual(words[0])
    })
  })

  describe('tryAdvanceEpoch()', () => {
    it('makes the cut before it returns, and merges nothing inside the lock', async () => {
      const { mark, consumers } = await open(['a', 'b'])
      const [a, b] = consumers
      mark(1)
      const cut = a.tryAdvanceEpoch()
      mark(2)
      expect(sortedIds((await cut)!)).toEqual([1])
      expect(await take(b)).toEqual([1, 2])
    })

    it('queues nothing when the ring is full', async () => {
      const { tracker, hand } = await openHeld({ maxConsumers: 2, capacity: 2 })
      const writer = tracker.openWriter()
      const [a, b] = ['a', 'b'].map((name) => tracker.consumer(name, { from: 'now' }))
      hand.run()
      for (const id of [1, 2]) {
        writer.mark(id)
        writer.flush()
      }
      expect([a.tryAdvanceEpoch(), b.tryAdvanceEpoch()]).toEqual([undefined, undefined])
      const epochs = tracker.epoch
      hand.run()
      void tracker.drained()
      await turns(3)
      hand.run()
      expect(tracker.epoch).toBe(epochs)
      const cut = a.tryAdvanceEpoch()
      hand.run()
      void tracker.drained()
      expect(sortedIds((await cut)!)).toEqual([1, 2])
    })
  })
})

describe('consumer()', () => {
  it('C11: bad names and options are TypeErrors and RangeErrors that name the way out', async () => {
    const tracker = await openInline({ maxConsumers: 1 })
    const consumer = (...args: unknown[]): unknown => (tracker.consumer as any)(...args)
    for (const name of [undefined, 7, '', 'x'.repeat(129), {}])
      expectError(
        thrown(() => consumer.call(tracker, name)),
        INVALID_ARG,
        '"name"',
        'consumer("index")',
      )
    for (const since of [7, null, {}, 7n])
      expectError(
        thrown(() => tracker.consumer('a', { since } as any)),
        INVALID_ARG,
        'epoch.clock',
      )
    expectError(
      thrown(() => tracker.consumer('a', { from: 'then' } as any)),
      OUT_OF_RANGE,
      'since',
    )
    expectError(
      thrown(() => tracker.consumer('a', { from: 7 } as any)),
      INVALID_ARG,
      `'now'`,
    )
    expectError(
      thrown(() => tracker.consumer('a', { from: 'now', since: '' })),
      INVALID_ARG,
    )
    expectError(
      thrown(() => tracker.consumer('a', { sinze: '' } as any)),
      INVALID_ARG,
      '"since"',
    )
    expect(tracker.stats().consumers).toEqual([])
  })

  it('refuses a name that is open, and more than maxConsumers', async () => {
    const tracker = await openInline({ maxConsumers: 2 })
    const a = tracker.consumer('a')
    expect(thrown(() => tracker.consumer('a')).code).toBe(TAKEN)
    tracker.consumer('b')
    const error = thrown(() => tracker.consumer('c'))
    expect(error.code).toBe(NO_SLOT)
    expect(error.message).toMatch(/2 named consumers.*"a", "b".*maxConsumers/)
    a.close()
    a.close()
    expect(tracker.consumer('a').name).toBe('a')
    const none = await openInline()
    expect(thrown(() => none.consumer('a'))).toMatchObject({
      code: NO_SLOT,
      message: expect.stringContaining('maxConsumers'),
    })
  })

  it('is refused after stop()', async () => {
    const tracker = await openInline({ maxConsumers: 1 })
    await tracker.stop()
    expect(thrown(() => tracker.consumer('a')).code).toBe(STOPPED)
  })

  it('is never refused for want of a slot or of room, and queues nothing then', async () => {
    const { tracker, hand } = await openHeld({ maxConsumers: 1, capacity: 2 })
    const writer = tracker.openWriter()
    for (const id of [1, 2]) {
      writer.mark(id)
      writer.flush()
    }
    const { epoch } = tracker
    for (let i = 0; i < 1000; i++) tracker.consumer('a', { from: 'now' }).close()
    const a = tracker.consumer('a', { from: 'now' })
    expect([tracker.epoch, tracker.stats().queued]).toEqual([epoch, 2])
    hand.run()
    await turns(2)
    hand.run()
    expect(tracker.epoch).toBe(epoch)
    const cut = a.advanceEpoch()
    hand.run()
    void tracker.drained()
    expect(sortedIds(await cut)).toEqual([1, 2]) // some keys too many, and none too few
  })

  it('C8: opened and closed again and again, it leaks neither slots nor memory', async () => {
    setFlagsFromString('--expose-gc')
    const gc = runInNewContext('gc') as () => void
    const { tracker, mark, consumers } = await open(['stays', 'x', 'y'])
    const [stays] = consumers
    for (const each of consumers.slice(1)) each.close()
    const cycle = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        const options = i % 3 === 0 ? {} : { from: 'now' as const }
        const each = tracker.consumer('again', options)
        if (i % 16 === 0) {
          mark(i)
          const epoch = await each.advanceEpoch()
          if (i % 32 === 0) each.close()
          if (i % 64 === 0) await epoch.restore()
          else epoch.commit()
        } else if (i % 7 === 0) {
          each.tryAdvanceEpoch()?.then(
            (epoch) => epoch.commit(),
            () => undefined,
          )
        } else if (i % 5 === 0) {
          each.advanceEpoch().then(
            (epoch) => epoch.commit(),
            () => undefined,
          )
        }
        each.close()
        if (i % 50 === 0) await turns(1)
      }
      await settle(tracker)
    }
    await cycle(1000)
    gc()
    const before = process.memoryUsage().heapUsed
    await cycle(3000)
    gc()
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(4 * 2 ** 20)
    expect(tracker.stats().consumers.map(({ name }) => name)).toEqual(['stays'])
    expect(tracker.stats().unsettled).toEqual([])
    // All three places are there.
    const [x, y] = ['x', 'y'].map((name) => tracker.consumer(name, { from: 'now' }))
    await stays.consume(() => undefined)
    mark(1)
    const held = await Promise.all([stays, x, y].map((each) => each.advanceEpoch()))
    mark(2)
    expect(held.map(sortedIds)).toEqual([[1], [1], [1]])
    for (const each of held) await each.restore()
    for (const each of [stays, x, y]) expect(await take(each)).toEqual([1, 2])
  })
})

describe('close()', () => {
  it('ends the loop, rejects pending calls, and leaves the epoch in hand readable', async () => {
    const { tracker, mark, consumers } = await open(['a', 'b'])
    const [a, b] = consumers
    mark(1)
    const epoch = await a.advanceEpoch()
    const pending = rejected(a.advanceEpoch())
    const elsewhere = attachEpoch(epoch.handle)
    a.close()
    const error = await pending
    expect([error.code, error.message]).toEqual([CLOSED, 'consumer "a" is closed'])
    expect((await rejected(a.advanceEpoch())).code).toBe(CLOSED)
    expect((await rejected(a.consume(() => undefined))).code).toBe(CLOSED)
    expect(thrown(() => a.tryAdvanceEpoch()).code).toBe(CLOSED)
    expect((await rejected(a.epochs({ everyMs: 1 }).next())).code).toBe(CLOSED)
    mark(2)
    await take(b)
    expect([sortedIds(epoch), sortedIds(elsewhere)]).toEqual([[1], [1]])
    // The reservation counts until the epoch is settled.
    expect(thrown(() => tracker.consumer('c')).message).toContain('1 closed')
    await epoch.restore()
    expect(thrown(() => sortedIds(elsewhere)).code).toBe(SETTLED)
    const c = tracker.consumer('c', { from: 'now' })
    expect(await take(c)).toEqual([])
    expect(await take(b)).toEqual([])
    expect(tracker.stats().unsettled).toEqual([])
  })

  it('ends a loop that sleeps, that waits, and that is in its body', async () => {
    const { mark, consumers } = await open(['sleeps', 'waits', 'works'])
    const [sleeps, waits, works] = consumers
    const loop = async (each: Consumer, everyMs: number): Promise<number> => {
      let bodies = 0
      for await (const epoch of each.epochs({ everyMs })) {
        bodies++
        if (each === works) each.close()
        expect(epoch.has(1)).toBe(true)
      }
      return bodies
    }
    mark(1)
    const held = await waits.advanceEpoch()
    const loops = [loop(sleeps, 1e6), loop(waits, 0), loop(works, 0)]
    await turns(3)
    sleeps.close()
    waits.close()
    expect(await Promise.all(loops)).toEqual([0, 0, 1])
    held.commit()
  })

  it('drops a cut that is not answered yet', async () => {
    const { tracker, hand } = await openHeld({ maxConsumers: 2 })
    const writer = tracker.openWriter()
    const [a, b] = ['a', 'b'].map((name) => tracker.consumer(name, { from: 'now' }))
    hand.run()
    for (let i = 0; i < 10; i++) {
      writer.mark(i)
      const cut = rejected(a.advanceEpoch())
      a.close()
      expect((await cut).code).toBe(CLOSED)
      hand.run()
      void tracker.drained()
      await turns(1)
      a.close()
      tracker.consumer(`a${i}`, { from: 'now' }).close()
      hand.run()
      void tracker.drained()
      await turns(1)
    }
    const cut = b.advanceEpoch()
    hand.run()
    void tracker.drained()
    expect(sortedIds(await cut)).toEqual(range(0, 10))
  })

  it('a using scope closes it', async () => {
    const tracker = await openInline({ maxConsumers: 1 })
    const a = tracker.consumer('a')
    a[Symbol.dispose]()
    expect(tracker.stats().consumers).toEqual([])
  })
})

describe('C16: a position that cannot be served is answered by fresh, never by less', () => {
  async function isFresh(consumer: Consumer): Promise<boolean> {
    const epoch = await consumer.advanceEpoch()
    const fresh = epoch.reason === 'fresh'
    expect(fresh).toBe(epoch.since === undefined)
    if (fresh) {
      const elsewhere = attachEpoch(epoch.handle)
      for (const each of [epoch, elsewhere]) {
        expect([each.exact, each.precision, each.falsePositives]).toEqual([false, 'everything', 1])
        expect([each.reason, each.has(12345), each.has('any'), each.hasPair(1, 2)]).toEqual([
          'fresh',
          true,
          true,
          true,
        ])
        expect(thrown(() => [...each.ids()]).code).toBe('ERR_DIRTYRING_INEXACT')
      }
    }
    epoch.commit()
    return fresh
  }

  it.each(['', 'garbage', '0', '…', '0000000000000000.0', '-1', 'x'.repeat(10_000)])(
    'garbage (%#)',
    async (since) => {
      const tracker = await openInline({ maxConsumers: 1 })
      const a = tracker.consumer('a', { since })
      expect([a.clock, await isFresh(a)]).toEqual([undefined, true])
      expect([a.clock === undefined, await isFresh(a)]).toEqual([false, false])
    },
  )

  it('no clock, that of another tracker, a future one, an old one', async () => {
    const other = await open(['a'])
    other.mark(1)
    await take(other.consumers[0])
    const { tracker, mark, consumers } = await open(['a', 'b'])
    const [a, b] = consumers
    const clocks: (Clock | undefined)[] = [undefined, other.consumers[0].clock]
    mark(1)
    await take(a)
    const old = a.clock!
    clocks.push(old.replace(/\d+$/, '999'), old)
    mark(2)
    await take(b)
    a.close()
    for (const since of clocks) {
      const again = tracker.consumer('a', { since })
      expect(await isFresh(again)).toBe(true)
      mark(3)
      expect(await take(again)).toEqual([3])
      again.close()
    }
  })

  it('closed and opened again at once, it goes on where it was; no key is missing', async () => {
    const { tracker, mark, consumers } = await open(['a'])
    let [a] = consumers
    for (let i = 0; i < 30; i++) {
      mark(i)
      const epoch = await a.advanceEpoch()
      expect(sortedIds(epoch)).toEqual(i === 0 ? [0] : [i, 1000 + i - 1])
      const { clock } = epoch
      epoch.commit()
      expect(a.clock).toBe(clock)
      mark(1000 + i)
      a.close()
      a = tracker.consumer('a', { since: clock })
      expect(a.clock).toBe(clock)
    }
  })

  it('not if something was sealed meanwhile; also if another consumer did it', async () => {
    for (const marks of [true, false]) {
      const { tracker, mark, consumers } = await open(['a', 'b'])
      const [a, b] = consumers
      mark(1)
      await take(a)
      const since = a.clock
      a.close()
      if (marks) mark(2)
      await take(b)
      expect(await isFresh(tracker.consumer('a', { since }))).toBe(true)
    }
  })

  it('21: an exact empty epoch moves neither clock nor since', async () => {
    const { tracker, mark, consumers } = await open(['a'])
    const [a] = consumers
    mark(1)
    await take(a)
    const { clock } = a
    for (let i = 0; i < 5; i++) {
      const epoch = await a.advanceEpoch()
      expect([epoch.size, epoch.since, a.clock]).toEqual([0, clock, clock])
      epoch.commit()
    }
    expect(a.clock).toBe(clock)
    a.close()
    // Nothing was marked in the epochs since then.
    const again = tracker.consumer('a', { since: clock })
    mark(2)
    expect(await take(again)).toEqual([2])
  })

  it('25: fresh is the consumer’s until an epoch that said so is committed', async () => {
    const { tracker, mark, consumers } = await open(['b', 'a'])
    consumers[1].close()
    const a = tracker.consumer('a')
    mark(1)
    for (let i = 0; i < 4; i++) {
      const epoch = await a.advanceEpoch()
      expect([epoch.reason, epoch.since, epoch.has(99)]).toEqual(['fresh', undefined, true])
      await take(consumers[0])
      await epoch.restore()
      await take(consumers[0])
      mark(i)
    }
    expect(await isFresh(a)).toBe(true)
    mark(7)
    expect(await take(a)).toEqual([7])
  })

  it('is yielded although nothing is marked, once', async () => {
    const tracker = await openInline({ maxConsumers: 1 })
    const seen: unknown[] = []
    setTimeout(() => void tracker.stop(), 20)
    for await (const epoch of tracker.consumer('a').epochs({ everyMs: 0 })) {
      seen.push([epoch.reason, epoch.size, epoch.last])
      epoch.commit()
    }
    expect(seen).toEqual([
      ['fresh', 0, false],
      [undefined, 0, true],
    ])
  })

  it(`from: 'now' is not fresh, and has nothing that was published before`, async () => {
    const { tracker, mark, consumers } = await open(['b', 'a'])
    consumers[1].close()
    mark(1)
    const a = tracker.consumer('a', { from: 'now' })
    expect(a.clock).toBeDefined()
    mark(2)
    expect(await take(a)).toEqual([2])
    expect(await take(consumers[0])).toEqual([1, 2])
  })

  it('what is marked while the fresh epoch is in hand is in the next one', async () => {
    const { tracker, mark, consumers } = await open(['b', 'a'])
    consumers[1].close()
    const a = tracker.consumer('a')
    const fresh = await a.advanceEpoch()
    mark(1)
    await take(consumers[0])
    mark(2)
    await take(consumers[0])
    fresh.commit()
    expect(await take(a)).toEqual([1, 2])
  })

  it('the epochs of a tracker without named consumers have clocks too', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    const one = await tracker.advanceEpoch()
    writer.mark(2)
    const two = await tracker.advanceEpoch()
    expect(new Set([one.clock, one.since, two.clock]).size).toBe(3)
    expect(two.since).toBe(one.since)
    two.commit()
    one.commit()
    writer.mark(3)
    const three = await tracker.advanceEpoch()
    expect([three.since, three.reason]).toEqual([two.clock, undefined])
  })
})

describe('attachEpoch() of a consumer’s epoch', () => {
  it.each(['commit', 'restore'] as const)(
    'after %s it gives SETTLED, never other keys',
    async (how) => {
      const { tracker, mark, consumers } = await open(['a', 'b'])
      const [a, b] = consumers
      mark(1, 2, 3)
      const epoch = await a.advanceEpoch()
      const elsewhere = attachEpoch(epoch.handle)
      expect(sortedIds(elsewhere)).toEqual([1, 2, 3])
      if (how === 'commit') epoch.commit()
      else await epoch.restore()
      for (let i = 10; i < 30; i++) {
        expect(thrown(() => sortedIds(elsewhere)).code).toBe(SETTLED)
        expect(thrown(() => elsewhere.has(1)).code).toBe(SETTLED)
        mark(i)
        await take(b)
        if (i % 3 === 0) await a.consume(() => undefined)
      }
      expect(tracker.stats().unsettled).toEqual([])
    },
  )
})

describe('while merges are left', () => {
  it('drained() waits for the tokens before it, and for no merge', async () => {
    const { tracker, hand } = await openHeld({ maxConsumers: 2 })
    const { words } = hand.memory
    const writer = tracker.openWriter()
    const [a] = ['a', 'b'].map((name) => tracker.consumer(name, { from: 'now' }))
    const cut = async (from: number): Promise<SealedEpoch> => {
      for (let i = 0; i < 4; i++) {
        writer.markMany(range(from + i * 500, 500))
        writer.flush()
        hand.run()
      }
      return a.advanceEpoch()
    }
    const first = cut(0)
    await turns(1)
    hand.run()
    ;(await first).commit()
    const second = cut(2000)
    await turns(1)
    hand.run(1) // the seal; b's backlog takes the keys in steps
    ;(await second).commit()
    const made = indexOfJob(words[JOB])
    writer.mark(1)
    writer.flush()
    const drained = tracker.drained()
    hand.run(2)
    await turns(5)

    expect(indexOfJob(words[JOB])).toBe(made)
    expect(await isPending(drained)).toBe(false)
    hand.run()
    expect(indexOfJob(words[JOB])).toBe(made + 1)
  })
})

describe('words of consumers that other code has changed', () => {
  const sealed = async () => {
    const { tracker, hand } = await openHeld({ maxConsumers: 1 })
    const consumer = tracker.consumer('some', { from: 'now', namespaces: [0] })
    hand.run()
    await turns(1)
    const writer = tracker.openWriter()
    writer.mark(1)
    writer.flush()
    return { tracker, hand, words: hand.memory.words, cut: consumer.advanceEpoch() }
  }

  it('are right again while their aggregator lives', async () => {
    const { tracker, hand, words, cut } = await sealed()
    await turns(1)
    hand.run()
    words[JOB] = 0
    hand.run()
    void tracker.drained()
    expect(sortedIds(await cut)).toEqual([1])
  })

  it('let no successor leave merges out', async () => {
    for (const change of [() => 0, (job: number) => job + 1, (job: number) => job ^ (1 << 24)]) {
      const { tracker, hand, words, cut } = await sealed()
      cut.catch(() => undefined)
      await turns(1)
      hand.run(2)
      const job = words[JOB]
      words[JOB] = change(job)
      hand.release()
      expect(thrown(() => holdAggregator(tracker))).toMatchObject({
        code: 'ERR_DIRTYRING_CORRUPT',
        message: `JOB is ${words[JOB]}, which no part of the library writes there`,
      })
      words[JOB] = job // so that the tracker can be stopped
    }
  })

  it('are an error, where they say which namespaces are wanted', async () => {
    const { hand, words, cut } = await sealed()
    cut.catch(() => undefined)
    await turns(1)
    words[choiceAt(0) + 2] = 1
    const error = thrown(() => hand.run())
    expect([error.code, error.message]).toEqual([
      'ERR_DIRTYRING_CORRUPT',
      expect.stringContaining('choice 0'),
    ])
    words[choiceAt(0) + 2] = 0 // so that the tracker can be stopped
  })
})

describe('the errors of consumer()', () => {
  it('name the way out', async () => {
    const tracker = await openInline({ maxConsumers: 2, maxStringsPerEpoch: 0 })
    const longest = 'n'.repeat(128)
    tracker.consumer(longest)
    for (const [call, what] of [
      [() => tracker.consumer(longest), `"${longest}" is open. Close it before, or choose`],
      [() => tracker.consumer(`${longest}n`), '"name" must be a string of 1 to 128 characters'],
      [() => tracker.consumer(''), '"name" must be a string of 1 to 128 characters'],
      [() => tracker.consumer('a', { namespaces: [1] }), "Give create() the option keys: 'number'"],
    ] as const)
      expect(call).toThrow(what)
    tracker.consumer('a')
    expect(() => tracker.consumer('b')).toThrow('Raise the option maxConsumers of create(), or')
  })
})

describe('lag and stats().consumers', () => {
  it('say for how long the consumer has not had all', async () => {
    const { consumers } = await open(['a'])
    await take(consumers[0])
    const { ms } = consumers[0].lag
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(consumers[0].lag.ms - ms).toBeGreaterThan(15)
  })

  it('count keys that a cut by another consumer has put on their way', async () => {
    const { tracker, mark, consumers } = await open(['a', 'b'])
    const [a, b] = consumers
    mark(1)
    await take(a) // b has a backlog now, into which the aggregator merges what is sealed
    mark(2, 3)
    await tracker.drained()
    expect(b.lag.keys).toBe(3)
    const cut = a.tryAdvanceEpoch()!
    expect(b.lag.keys).toBeGreaterThanOrEqual(3)
    const epoch = await cut
    await tracker.drained()
    expect(b.lag).toMatchObject({ keys: 3, precision: 'exact' })
    epoch.commit()
  })

  it('count what waits', async () => {
    const { tracker, mark, consumers } = await open(['a', 'b'])
    const [a, b] = consumers
    mark(1, 2)
    await tracker.drained()
    // Opening b has sealed an epoch without keys.
    expect(a.lag).toMatchObject({ keys: 2, epochs: 1, precision: 'exact' })
    await take(b)
    mark(3)
    await settle(tracker)
    expect(a.lag).toMatchObject({ keys: 3, epochs: 2, precision: 'exact' })
    expect(b.lag).toMatchObject({ keys: 1, epochs: 0, precision: 'exact' })
    const epoch = await a.advanceEpoch()
    mark(4)
    await settle(tracker)
    expect(a.lag).toMatchObject({ keys: 4, epochs: 3, precision: 'exact' })
    const { consumers: shown } = tracker.stats()
    expect(shown.map(({ name, keys, epochs }) => [name, keys, epochs])).toEqual([
      ['a', 4, 3],
      ['b', 2, 1],
    ])
    await epoch.restore()
    expect(a.lag).toMatchObject({ keys: 4, epochs: 3 })
    const before = a.lag.ms
    await take(a)
    expect(a.lag).toMatchObject({ keys: 0, epochs: 0, precision: 'exact' })
    expect(a.lag.ms).toBeLessThanOrEqual(before)
    expect(String((a as any)[Symbol.for('nodejs.util.inspect.custom')]())).toBe(
      `Consumer { name: "a", keys: 0, epochs: 0, precision: 'exact' }`,
    )
  })

  it('count no epoch that was taken empty: nothing is left to be done for it', async () => {
    const { mark, consumers } = await open(['a', 'b'])
    const [a, b] = consumers
    await take(a)
    await take(b)
    for (let i = 0; i < 5; i++) expect((await a.advanceEpoch()).size).toBe(0)
    expect([a.lag.epochs, b.lag.epochs]).toEqual([0, 5])
    const empty = await b.advanceEpoch()
    expect([empty.size, b.lag.epochs]).toEqual([0, 0])
    mark(1)
    const epoch = await a.advanceEpoch()
    expect([epoch.size, a.lag.epochs]).toEqual([1, 2]) // with the one that b has cut
    await epoch.restore()
    expect([a.lag.epochs, a.lag.keys]).toEqual([2, 1])
  })

  it('a fresh consumer lags by everything', async () => {
    const tracker = await openInline({ maxConsumers: 1 })
    const a = tracker.consumer('a')
    expect(a.lag.precision).toBe('everything')
    await a.consume(() => undefined)
    expect(a.lag).toMatchObject({ keys: 0, epochs: 0, precision: 'exact' })
  })
})

describe('stop() with named consumers', () => {
  const shown = (epoch: SealedEpoch): unknown[] => [epoch.last, epoch.exact, sortedListed(epoch)]

  it('gives each its own last epoch, and resolves with an empty, settled one', async () => {
    const { tracker, mark, consumers } = await open(['a', 'b', 'c'])
    const [a, b, c] = consumers
    mark(1)
    await take(a)
    mark(2)
    await take(b)
    mark(3)
    const stopped = await tracker.stop()
    expect([stopped.size, stopped.exact, stopped.state, stopped.last]).toEqual([
      0,
      true,
      'committed',
      true,
    ])
    expect(thrown(() => [...stopped]).code).toBe(SETTLED)
    const sent = attachEpoch(structuredClone(stopped.handle))
    expect([sent.size, sent.exact]).toEqual([0, true])
    for (const read of [
      () => [...sent],
      () => sent.ids(),
      () => sent.listed(),
      () => sent.bigints,
      () => sent.has(1),
      () => sent.has('a'),
      () => sent.hasPair(1, 0),
    ])
      expect(thrown(read).code).toBe(SETTLED)
    const decoded = decodeEpoch(encodeAttached(stopped.handle, {}))
    expect([decoded.exact, [...decoded]]).toEqual([true, []])
    expect(await tracker.stop()).toBe(stopped)
    for (const [each, ids] of [
      [a, [2, 3]],
      [b, [3]],
      [c, [1, 2, 3]],
    ] as const) {
      const last = await each.advanceEpoch()
      expect(shown(last)).toEqual([true, true, ids])
      const elsewhere = attachEpoch(last.handle)
      expect(sortedIds(elsewhere)).toEqual(ids)
      expect((await rejected(last.restore())).code).toBe(STOPPED)
      each.close() // the epoch stays readable
      expect([sortedIds(last), sortedIds(elsewhere)]).toEqual([ids, ids])
      last.commit()
      expect(thrown(() => sortedIds(elsewhere)).code).toBe(SETTLED)
    }
  })

  it('the last epoch is given once; then ERR_DIRTYRING_STOPPED', async () => {
    const { tracker, mark, consumers } = await open(['a'])
    const [a] = consumers
    mark(1)
    const stopped = tracker.stop()
    const last = await a.advanceEpoch() // also while stop() is at work
    expect(shown(last)).toEqual([true, true, [1]])
    expect((await rejected(a.advanceEpoch())).code).toBe(STOPPED)
    expect((await rejected(a.consume(() => undefined))).code).toBe(STOPPED)
    expect(thrown(() => a.tryAdvanceEpoch()).code).toBe(STOPPED)
    const { clock } = last
    last.commit()
    expect(a.clock).toBe(clock)
    await stopped
  })

  it('consumers that stand at the same place share memory, and settle by themselves', async () => {
    const { tracker, mark, consumers } = await open(['a', 'b'])
    const [a, b] = consumers
    mark(1)
    await tracker.stop()
    const [one, two] = [await a.advanceEpoch(), await b.advanceEpoch()]
    const elsewhere = attachEpoch(two.handle)
    one.commit()
    expect([sortedIds(two), sortedIds(elsewhere)]).toEqual([[1], [1]])
    expect(thrown(() => sortedIds(one)).code).toBe(SETTLED)
    two.commit()
    expect(thrown(() => sortedIds(elsewhere)).code).toBe(SETTLED)
  })

  it('running loops get theirs; one that is behind its body gets its epoch once more', async () => {
    const { tracker, mark, consumers } = await open(['a', 'b', 'c'])
    const seen: Record<string, unknown[]> = { a: [], b: [], c: [] }
    const loops = consumers.map(async (each) => {
      for await (const epoch of each.epochs({ everyMs: each.name === 'c' ? 1e6 : 0 })) {
        seen[each.name].push(shown(epoch))
        if (each.name === 'b' && seen.b.length === 1) {
          mark(2)
          await tracker.stop() // and leaves the epoch unsettled
        } else {
          epoch.commit()
        }
      }
    })
    mark(1)
    await Promise.all(loops)
    expect(seen.b).toEqual([
      [false, true, [1]],
      [false, true, [1]],
      [true, true, [2]],
    ])
    expect(seen.c).toEqual([[true, true, [1, 2]]])
    expect(seen.a.flatMap((each) => (each as [boolean, boolean, number[]])[2])).toEqual([1, 2])
    expect((await rejected(consumers[0].advanceEpoch())).code).toBe(STOPPED)
  })

  it('a fresh consumer’s last epoch is fresh, unless it has committed one that said so', async () => {
    const tracker = await openInline({ maxConsumers: 3 })
    const [never, held, done] = ['never', 'held', 'done'].map((name) => tracker.consumer(name))
    const first = await held.advanceEpoch()
    await done.consume(() => undefined)
    tracker.openWriter().mark(1)
    await tracker.stop()
    first.commit()
    const lasts = await Promise.all([never, held, done].map((each) => each.advanceEpoch()))
    expect(lasts.map(({ reason }) => reason)).toEqual(['fresh', undefined, undefined])
    expect(lasts.map((each) => each.has(1))).toEqual([true, true, true])
  })

  it('stop({ consume }) is called once for each, and commits; an error leaves that one', async () => {
    const { tracker, mark, consumers } = await open(['a', 'b', 'c'])
    mark(1)
    const calls: string[] = []
    const use =
      (failing: string) =>
      (epoch: SealedEpoch, consumer?: Consumer): void => {
        calls.push(`${consumer!.name} ${sortedIds(epoch).join()}`)
        if (consumer!.name === failing) throw new Error('not now')
      }
    expect((await rejected(tracker.stop({ consume: use('b') }))).message).toBe('not now')
    expect(calls).toEqual(['a 1', 'b 1', 'c 1'])
    expect((await tracker.stop()).state).toBe('committed') // and does not repeat the error
    calls.length = 0
    const stopped = await tracker.stop({ consume: use('') })
    expect([calls, stopped.state]).toEqual([['b 1'], 'committed'])
    for (const each of consumers) expect((await rejected(each.advanceEpoch())).code).toBe(STOPPED)
    expect(tracker.stats().committed).toBe(3)
  })

  it('stop() waits for the `consume` of an earlier call, also if that of one before fails', async () => {
    const { tracker, mark, consumers } = await open(['a'])
    mark(1)
    const failed = rejected(tracker.stop({ consume: () => Promise.reject(new Error('not now')) }))
    let finish: () => void
    const finished = new Promise<void>((resolve) => (finish = resolve))
    const ids: number[][] = []
    const dealt = tracker.stop({ consume: (epoch) => (ids.push(sortedIds(epoch)), finished) })
    expect((await failed).message).toBe('not now')
    const stopped = tracker.stop()
    const isWaiting = await isPending(stopped)
    finish!()
    expect([isWaiting, ids]).toEqual([true, [[1]]])
    expect(await stopped).toBe(await dealt)
    expect((await rejected(consumers[0].advanceEpoch())).code).toBe(STOPPED)
  })

  it('a `consume` that fails leaves a last epoch with the loop that has it', async () => {
    const { tracker, mark, consumers } = await open(['a'])
    mark(1)
    const epochs = consumers[0].epochs({ everyMs: 1e6 })
    const next = epochs.next()
    await tracker.stop()
    const { value: last } = await next
    const consume = (): Promise<never> => Promise.reject(new Error('not now'))
    expect((await rejected(tracker.stop({ consume }))).message).toBe('not now')
    expect((await rejected(consumers[0].advanceEpoch())).code).toBe(STOPPED)
    expect(shown(last)).toEqual([true, true, [1]])
    last.commit()
    expect(await epochs.next()).toEqual({ done: true, value: undefined })
  })

  it('stop({ consume }) ends running loops without their last epochs', async () => {
    const { tracker, mark, consumers } = await open(['a', 'b'])
    let bodies = 0
    const loops = consumers.map(async (each) => {
      for await (const epoch of each.epochs({ everyMs: 1e6 })) {
        bodies++
        epoch.commit()
      }
    })
    await turns(1)
    mark(1)
    const seen: string[] = []
    await tracker.stop({ consume: (epoch, each) => void seen.push(`${each!.name} ${epoch.size}`) })
    await Promise.all(loops)
    expect([bodies, seen]).toEqual([0, ['a 1', 'b 1']])
  })

  it('a loop that begins after stop() gets the last epoch, if no caller has it', async () => {
    const { tracker, mark, consumers } = await open(['a'])
    mark(1)
    await tracker.stop()
    const seen: unknown[] = []
    for (let i = 0; i < 2; i++)
      for await (const epoch of consumers[0].epochs({ everyMs: 0 })) seen.push(shown(epoch))
    expect(seen).toEqual([[true, true, [1]]])
  })

  it('with keys that a writer has staged, each last epoch says unpublished', async () => {
    const { tracker, hand } = await openHeld({ maxConsumers: 3 })
    const [a, b, c] = ['a', 'b', 'c'].map((name) => tracker.consumer(name, { from: 'now' }))
    const writer = tracker.openWriter()
    writer.mark(1)
    hand.run()
    const cut = a.advanceEpoch()
    hand.run()
    void tracker.drained()
    await (await cut).restore()
    stageKeys(openLane(hand.memory), 2)
    hand.release()
    await tracker.stop({ graceMs: 0 })
    for (const each of [a, b, c]) {
      const last = await each.advanceEpoch()
      expect([last.reason, last.precision, last.has(1), last.has(2)]).toEqual([
        'unpublished',
        'everything',
        true,
        true,
      ])
      expect(sortedListed(last)).toEqual([1])
    }
  })

  it('disposing of the tracker warns of keys that no one deals with, of all consumers', async () => {
    const warn = jest.spyOn(process, 'emitWarning').mockReturnValue(undefined)
    const { tracker, mark, consumers } = await open(['a', 'b', 'c'])
    mark(1, 2)
    await take(consumers[1])
    await tracker[Symbol.asyncDispose]()
    const messages = warn.mock.calls.map(([message]) => String(message))
    expect(messages).toEqual([
      expect.stringMatching(/disposed of with 4 keys in the last epochs of consumers "a", "c"/),
    ])
  })

  it('works when the tracker’s thread does the rest', async () => {
    const { tracker, hand } = await openHeld({ maxConsumers: 3 })
    const writer = tracker.openWriter()
    const [a, b, c] = ['a', 'b', 'c'].map((name) => tracker.consumer(name, { from: 'now' }))
    hand.run()
    for (const from of [0, 1000, 2000]) {
      writer.markMany(range(from, 1000))
      writer.flush()
      hand.run()
    }
    const cut = a.advanceEpoch()
    hand.run()
    void tracker.drained()
    await (await cut).restore()
    void b.advanceEpoch().catch(() => undefined)
    writer.mark(5000)
    writer.flush()
    hand.release()
    await tracker.stop()
    const lasts = await Promise.all([a, c].map((each) => each.advanceEpoch()))
    expect(lasts.map(sortedIds)).toEqual([
      [...range(0, 3000), 5000],
      [...range(0, 3000), 5000],
    ])
  })
})
