import { describe, expect, it, jest } from '@jest/globals'
import type { Consumer, DirtyTracker } from '../../lib/index.js'
import { epochAt, laneAt, LINE, NAMESPACES_MAX, SLOT_NAMESPACES } from '../../lib/memory/map.js'
import { attachMemory } from '../../lib/memory/memory.js'
import { holdConsumer } from '../../lib/tracker/consumer.js'
import { decodeState, encodeState, type SavedState } from '../../lib/tracker/saved.js'
import {
  mark,
  openForConsumers as start,
  openHeld,
  rejected,
  thrown,
  turns,
} from '../support/in-process.js'

/** The keys of a consumer's next epoch, which it commits; or why it has none. */
const take = async (consumer: Consumer): Promise<unknown> =>
  consumer.consume((epoch) => (epoch.exact ? [...epoch] : epoch.reason))

async function saved(tracker: DirtyTracker): Promise<SavedState> {
  await tracker.stop()
  return decodeState(tracker.save()) as SavedState
}

const instanceOf = (clock: string | undefined): string => clock!.split('.')[0]

describe('save()', () => {
  it('has what each consumer has not dealt with, and nothing of a fresh one', async () => {
    const tracker = await start()
    const fresh = tracker.consumer('new')
    const done = tracker.consumer('done', { from: 'now' })
    const behind = tracker.consumer('behind', { from: 'now', namespaces: [0] })
    mark(tracker, 7)
    const { clock } = behind
    expect((await fresh.advanceEpoch()).reason).toBe('fresh') // in hand, and not settled
    await tracker.stop()
    const last = await done.advanceEpoch()
    last.commit()
    const { lineage, consumers } = await saved(tracker)
    expect(lineage).toEqual([{ instance: instanceOf(clock), upTo: last.id }])
    expect(consumers).toEqual([
      { name: 'new', contents: [] },
      { name: 'done', since: last.clock, contents: [] },
      { name: 'behind', since: clock, namespaces: [0], contents: [expect.anything()] },
    ])
    expect(consumers[2].contents[0].pairs).toEqual(Int32Array.of(7, 0))
    // The clock of the last epoch is served.
    const after = await start({ resume: tracker.save() })
    expect(await take(after.consumer('done', { since: last.clock }))).toEqual([])
  })

  it('names earlier trackers as long as a consumer has a clock of theirs', async () => {
    const first = await start()
    const clocks = ['one', 'two'].map((name) => first.consumer(name, { from: 'now' }).clock)
    await first.stop()
    const second = await start({ resume: first.save() })
    const one = second.consumer('one', { since: clocks[0] })
    mark(second, 1)
    expect(await take(one)).toEqual([1])
    const names = [instanceOf(one.clock), instanceOf(clocks[0])]
    const state = await saved(second)
    expect(state.lineage.map(({ instance }) => instance)).toEqual(names)
    const third = await start({ resume: second.save() })
    expect(third.forget('two')).toBe(true)
    const last = third.consumer('one', { since: one.clock })
    mark(third, 2)
    expect(await take(last)).toEqual([2])
    const { lineage } = await saved(third)
    expect(lineage.map(({ instance }) => instance)).toEqual([instanceOf(last.clock)])
  })
})

describe('a consumer that was resumed', () => {
  it('is fresh for the clock that it was resumed with, once it has moved', async () => {
    const first = await start()
    const old = first.consumer('one', { from: 'now' }).clock
    mark(first, 1)
    await first.stop()
    const second = await start({ resume: first.save() })
    const one = second.consumer('one', { since: old })
    expect(await take(one)).toEqual([1])
    mark(second, 2)
    await second.stop()
    for (const [since, keys] of [
      [old, 'fresh'],
      [one.clock, [2]],
    ]) {
      const third = await start({ resume: second.save() })
      expect(await take(third.consumer('one', { since: since as string }))).toEqual(keys)
    }
  })

  it('takes the clocks of a later tracker for later, whatever their numbers are', async () => {
    const first = await start()
    const [one, two] = ['one', 'two'].map((name) => first.consumer(name, { from: 'now' }))
    for (let i = 0; i < 5; i++) {
      mark(first, i)
      await take(one)
      await take(two)
    }
    const old = one.clock
    await first.stop()

    const second = await start({ resume: first.save() })
    mark(second, 10)
    const stored = await second.consumer('one', { since: old }).advanceEpoch() // commit() is lost
    mark(second, 11)
    await second.stop()
    const epochIn = (clock: string | undefined): number => Number(clock!.split('.')[1])
    expect(epochIn(stored.clock)).toBeLessThan(epochIn(old))
    const third = await start({ resume: second.save() })
    expect(await take(third.consumer('one', { since: stored.clock }))).toEqual([10, 11])
    mark(third, 12)
    await third.stop()
    // 'two' keeps the first tracker's clocks known.
    const fourth = await start({ resume: third.save() })
    expect(await take(fourth.consumer('one', { since: old }))).toBe('fresh')
    expect(await take(fourth.consumer('two', { since: two.clock }))).toEqual([10, 11, 12])
  })

  it('takes the same namespaces in any order', async () => {
    const before = await start()
    const { clock } = before.consumer('one', { from: 'now', namespaces: [3, 0] })
    mark(before, 1)
    await before.stop()
    const after = await start({ resume: before.save() })
    const one = after.consumer('one', { since: clock, namespaces: [0, 3] })
    expect(await take(one)).toEqual([1])
  })

  it('is fresh if its own clock is of a tracker that the bytes do not name', async () => {
    const before = await start()
    const { clock } = before.consumer('one', { from: 'now' })
    const { lineage, consumers } = await saved(before)
    const foreign = { ...consumers[0], since: '0123456789abcdef.5' }
    const after = await start({ resume: encodeState({ lineage, consumers: [foreign] }) })
    expect(await take(after.consumer('one', { since: clock }))).toBe('fresh')
  })

  it('falls behind while it is not opened; a fresh one is at everything', async () => {
    const before = await start()
    before.consumer('slow', { from: 'now' })
    before.consumer('new')
    mark(before, 1)
    await before.stop()
    const after = await start({ resume: before.save() })
    const lags = () => after.stats().consumers.map((each) => [each.name, each.epochs, each.keys])
    const precisions = () => after.stats().consumers.map(({ precision }) => precision)
    expect([lags(), precisions()]).toEqual([
      [
        ['slow', 0, 1],
        ['new', 0, 0],
      ],
      ['exact', 'everything'],
    ])
    const quick = after.consumer('quick', { from: 'now' })
    for (const id of [2, 3]) {
      mark(after, id)
      expect(await take(quick)).toEqual([id])
    }
    expect(lags()[1]).toEqual(['slow', 3, 3])
  })

  it('has its texts in the memory of epochs alone', async () => {
    const needle = 'a text that is nowhere else'
    const before = await start()
    const { clock } = before.consumer('one', { from: 'now' })
    mark(before, needle)
    await before.stop()
    const after = await start({ resume: before.save() })
    const { words, layout } = attachMemory(after.handle, 'tracker')
    const bytes = Buffer.from(words.buffer)
    expect(bytes.indexOf(needle)).toBeGreaterThan(epochAt(layout, 0) * 4)
    expect(await take(after.consumer('one', { since: clock }))).toEqual([needle])
  })

  it('is refused where there is no room for it, with a way out', async () => {
    const before = await start()
    for (const name of ['a', 'b']) before.consumer(name)
    await before.stop()
    const error = await rejected(start({ resume: before.save(), maxConsumers: 1 }))
    expect(error.message).toBe(
      'options.resume has 2 consumers, and maxConsumers is 1. ' +
        'Raise maxConsumers, or forget some before the tracker is saved',
    )
  })
})

describe('consumer()', () => {
  it('serves no clock from before an epoch with keys, whatever the number of the epoch', async () => {
    const tracker = await start()
    const [a, b] = ['a', 'b'].map((name) => tracker.consumer(name, { from: 'now' }))
    const { clock } = a
    a.close()
    for (let i = 0; i < 8; i++) {
      mark(tracker, i)
      expect(await take(b)).toEqual([i])
      const again = tracker.consumer('a', { since: clock })
      expect(again.clock).toBeUndefined()
      again.close()
    }
  })

  it("publishes this thread's keys before a position 'now', and for no other one", async () => {
    const { tracker, hand } = await openHeld({ maxConsumers: 3 })
    const writer = tracker.openWriter()
    const others = tracker.consumer('other', { from: 'now' })
    hand.run()
    await turns(2)
    writer.mark(1)
    others.close()
    tracker.consumer('other', { since: others.clock })
    tracker.consumer('fresh')
    expect(tracker.stats().staged).toBe(1)
    const now = tracker.consumer('now', { from: 'now' })
    expect(tracker.stats().staged).toBe(0)
    writer.mark(2)
    const cut = now.advanceEpoch()
    await turns(1)
    hand.run()
    expect([...(await cut)]).toEqual([2])
  })

  it('serves the clocks since which nothing was marked, and no others', async () => {
    const tracker = await start()
    const [early, late, cuts] = ['early', 'late', 'cuts'].map((name) =>
      tracker.consumer(name, { from: 'now' }),
    )
    const isServed = (since: string | undefined): boolean => {
      late.close()
      const again = tracker.consumer('late', { since })
      const { clock } = again
      again.close()
      return clock !== undefined
    }
    const [first, second] = [early.clock, late.clock]
    expect(await take(late)).toEqual([])
    expect([isServed(first), isServed(second)]).toEqual([false, true])
    expect(await take(early)).toEqual([])
    expect([isServed(first), isServed(second), isServed(cuts.clock)]).toEqual([true, true, true])
    // One that begins where the last empty epoch ended.
    const next = tracker.consumer('late', { since: `${first!.split('.')[0]}.${tracker.epoch - 1}` })
    expect(await take(next)).toEqual([])
    next.close()
    expect(isServed(first)).toBe(true)
    mark(tracker, 1)
    expect(await take(early)).toEqual([1])
    expect([isServed(first), isServed(second)]).toEqual([false, false])
    const third = early.clock
    for (let i = 0; i < 2; i++) expect(await take(early)).toEqual([])
    expect([isServed(second), isServed(third)]).toEqual([false, true])
    const [instance, epoch] = third!.split('.')
    const behind = [1, 2, 3].map((more) => isServed(`${instance}.${Number(epoch) + more}`))
    expect(behind).toEqual([true, true, false])
  })

  it('frees its name once: a second close() leaves the next owner alone', async () => {
    const tracker = await start()
    const before = tracker.consumer('a')
    before.close()
    tracker.consumer('a')
    before.close()
    expect(thrown(() => tracker.consumer('a')).message).toBe(
      'consumer "a" is open. Close it before, or choose another name',
    )
  })

  it('is fresh with a clock from before an epoch that had keys, whatever the numbers', async () => {
    const tracker = await start()
    const consumer = tracker.consumer('a', { from: 'now' })
    const clocks = [consumer.clock]
    for (let id = 0; id < 5; id++) {
      mark(tracker, id)
      expect(await take(consumer)).toEqual([id])
      for (const since of clocks) {
        const other = tracker.consumer('b', { since })
        expect([id, since, other.clock]).toEqual([id, since, undefined])
        other.close()
      }
      clocks.push(consumer.clock)
    }
  })

  it('tells what is wrong with its arguments, and what helps', async () => {
    const tracker = await start()
    const namespaces = '"options.namespaces" must be an array of 1 to 24 namespaces, got '
    const name = '"name" must be a string of 1 to 128 characters, got '
    const named = '. Give each reader a name, as in consumer("index").'
    const oddLength = new Proxy([1], {
      get: (list, key) => (key === 'length' ? '1' : (list as any)[key]),
    })
    for (const [call, message] of [
      [
        ['a', { since: 7 }],
        '"options.since" must be a string, or undefined, got 7. Pass the ' +
          'epoch.clock that was stored, or undefined if there is none: then the first epoch says ' +
          'that all keys are dirty.',
      ],
      [['a', { from: 7 }], `"options.from" must be 'now', or undefined, got 7`],
      [
        ['a', { from: 'x' }],
        `"options.from" must be 'now', or undefined, got "x". ` +
          'A stored clock goes into options.since.',
      ],
      [
        ['a', { from: 'now', since: 'x' }],
        '"options.from" must be undefined beside ' +
          'options.since, got "now". Give one of the two: since to go on, from to begin now.',
      ],
      [['a', { namespaces: 2 }], `${namespaces}2`],
      [['a', { namespaces: [] }], `${namespaces}0`],
      [['a', { namespaces: Array(25).fill(1) }], `${namespaces}25`],
      [['a', { namespaces: [1, -1] }], '"options.namespaces[1]" must be '],
      [['a', { namespaces: oddLength }], `${namespaces}"1"`],
      [['a', 7], '"options" must be '],
      [[7], `${name}7${named}`],
      [[''], `${name}""${named}`],
    ] as const) {
      const error = thrown(() => (tracker.consumer as any)(...call))
      expect(error.message.slice(0, message.length)).toBe(message)
      if (!message.endsWith(' must be ')) expect(error.message).toBe(message)
    }
    for (const each of ['n'.repeat(128), 'n']) tracker.consumer(each).close()
    tracker.consumer('a', { namespaces: Array.from({ length: 24 }, (_, i) => i) }).close()

    const fingerprints = await start({ maxStringsPerEpoch: 0 })
    expect(thrown(() => fingerprints.consumer('a', { namespaces: [1] })).message).toBe(
      '"options.namespaces" must be undefined where text is marked by its fingerprint ' +
        '(maxStringsPerEpoch: 0), got "namespaces". ' +
        "Give create() the option keys: 'number', or room for text.",
    )
    for (const keys of ['number', 'bigint'] as const) {
      const numbers = await start({ maxStringsPerEpoch: 0, keys })
      expect(numbers.consumer('a', { namespaces: [1] }).name).toBe('a')
    }
  })

  it('names the consumers that leave no room for another one', async () => {
    const advice =
      'Raise the option maxConsumers of create(), or close one; forget() one that was resumed'
    const refused = (tracker: DirtyTracker): string =>
      thrown(() => tracker.consumer('more')).message as string
    const roomFor = (count: number): string =>
      `this tracker has room for ${count} named consumers (maxConsumers)`
    expect(refused(await start({ maxConsumers: 0 }))).toBe(`${roomFor(0)}. ${advice}`)

    const two = await start({ maxConsumers: 2 })
    const [a, b] = ['a', 'b'].map((name) => two.consumer(name, { from: 'now' }))
    expect(refused(two)).toBe(`${roomFor(2)}: open are "a", "b". ${advice}`)
    mark(two, 1)
    const held = [await a.advanceEpoch(), await b.advanceEpoch()]
    const closed = 'closed, with an epoch that is not settled'
    a.close()
    expect(refused(two)).toBe(`${roomFor(2)}: open are "b" and 1 ${closed}. ${advice}`)
    b.close()
    expect(refused(two)).toBe(`${roomFor(2)}: open are none and 2 ${closed}. ${advice}`)
    for (const epoch of held) epoch.commit()
    two.consumer('c')
    two.consumer('d')
    await two.stop()
    const after = await start({ maxConsumers: 2, resume: two.save() })
    expect(refused(after)).toBe(`${roomFor(2)}: open are "c", "d". ${advice}`)
  })

  it('is named where a tracker is disposed of with keys that no owner deals with', async () => {
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    const tracker = await start()
    const [upToDate, behind] = ['up to date', 'behind', 'fresh'].map((name) =>
      tracker.consumer(name, name === 'fresh' ? {} : { from: 'now' }),
    )
    mark(tracker, 1, 2)
    expect(await take(upToDate)).toEqual([1, 2])
    expect(behind.lag.keys).toBe(2)
    await tracker[Symbol.asyncDispose]()
    await tracker[Symbol.asyncDispose]()
    expect(warn.mock.calls.map(([message]) => message)).toEqual([
      'a tracker was disposed of with 2 keys in the last epochs of consumers "behind". ' +
        'Call stop() before, and settle them',
    ])
    warn.mockClear()

    const other = await start({ maxKeysPerEpoch: 1 })
    const [free, looped] = ['free', 'looped'].map((name) => other.consumer(name, { from: 'now' }))
    const loop = looped.epochs({ everyMs: 1e6 }).next()
    other.markEverything(3)
    await other[Symbol.asyncDispose]()
    expect((await loop).value.last).toBe(true)
    expect(free.name).toBe('free')
    expect(warn.mock.calls.map(([message]) => message)).toEqual([
      'a tracker was disposed of with 0 keys in the last epochs of consumers "free". ' +
        'Call stop() before, and settle them',
    ])
    warn.mockRestore()
  })

  it("is named where the tracker's own epochs are asked for", async () => {
    const tracker = await start()
    expect((await rejected(tracker.advanceEpoch())).message).toBe(
      'the epochs of this tracker belong to its named consumers (maxConsumers is 3). ' +
        'Call tracker.consumer(name), and read them there',
    )
  })
})

describe('a consumer in the hands of a part of the library', () => {
  const hold = (consumer: Consumer) => holdConsumer(consumer)!

  it('is whole if it was opened before anything was marked', async () => {
    const tracker = await start()
    const before = tracker.consumer('before', { from: 'now' })
    mark(tracker, 1)
    const after = tracker.consumer('after', { from: 'now' })
    expect([before, after].map((each) => hold(each).isWhole)).toEqual([true, false])
  })

  it('is whole whatever the first epoch slot holds, which begins behind the last writer', async () => {
    const small = { capacity: 8, maxWriters: 21, laneCapacity: 32, maxStringsPerEpoch: 0 }
    const tracker = await start(small)
    const { words, layout } = attachMemory(tracker.handle, 'tracker')
    const slot = epochAt(layout, 0)
    expect(slot).toBe(laneAt(layout, 21) + 2 * LINE)
    for (let i = 1; i <= NAMESPACES_MAX; i++) words[slot + SLOT_NAMESPACES + i] = i // it was a backlog
    expect(hold(tracker.consumer('a')).isWhole).toBe(true)
  })

  it('is whole as long as its holders have settled what it had', async () => {
    const tracker = await start()
    const consumer = tracker.consumer('a', { from: 'now' })
    let held = hold(consumer)
    for (let id = 1; id < 3; id++) {
      mark(tracker, id)
      held.settle(await held.cut(), false)
      expect(held.isWhole).toBe(true)
      held.end()
      held = hold(consumer)
      expect(held.isWhole).toBe(true)
    }
    held.end()
    mark(tracker, 3)
    expect(await take(consumer)).toEqual([3])
    held = hold(consumer)
    expect(held.isWhole).toBe(false)
    mark(tracker, 4)
    held.settle(await held.cut(), false)
    expect(held.isWhole).toBe(false)
    mark(tracker, 5)
    held.settle(await held.cut(), true)
    expect(held.isWhole).toBe(true)
  })

  it('is fresh no more if it misses nothing', async () => {
    const tracker = await start()
    const [cuts, ...others] = ['cuts', 'early', 'late'].map((name) => tracker.consumer(name))
    const [early, late] = others
    await take(cuts)
    const held = hold(early)
    expect([held.isWhole, early.clock === undefined]).toEqual([true, false])
    mark(tracker, 1)
    const own = await held.cut()
    expect([...own]).toEqual([1])
    // The cut has kept nothing for the other one.
    const second = hold(late)
    expect([second.isWhole, second.clock]).toEqual([false, undefined])
    expect((await second.cut()).reason).toBe('fresh')
  })

  it('stands nowhere while the epoch that says so is in hand', async () => {
    const tracker = await start()
    const consumer = tracker.consumer('a')
    const epoch = await consumer.advanceEpoch()
    expect([epoch.reason, hold(consumer).clock]).toEqual(['fresh', undefined])
    epoch.commit()
    expect(consumer.clock).toBe(epoch.clock)
  })

  it('is whole again with its next holder as long as nothing is marked', async () => {
    const tracker = await start()
    const consumer = tracker.consumer('a')
    expect(await take(consumer)).toBe('fresh')
    const held = hold(consumer)
    held.settle(await held.cut(), false)
    held.end()
    expect(hold(consumer).isWhole).toBe(true)
  })

  it('misses nothing if no cut was made since it was opened', async () => {
    const tracker = await start()
    const consumer = tracker.consumer('a')
    mark(tracker, 1)
    const held = hold(consumer)
    expect(held.isWhole).toBe(true)
    expect([...(await held.cut())]).toEqual([1])
  })

  for (const [how, markAll] of [
    ['the tracker', (tracker: DirtyTracker) => tracker.markEverything()],
    ['the tracker, of a namespace', (tracker: DirtyTracker) => tracker.markEverything(7)],
    ['a writer', (tracker: DirtyTracker) => tracker.openWriter().markEverything()],
    ['a writer, of a namespace', (tracker: DirtyTracker) => tracker.openWriter().markEverything(7)],
    [
      'a writer that has closed',
      (tracker: DirtyTracker) => {
        const writer = tracker.openWriter()
        writer.markEverything()
        writer.close()
      },
    ],
  ] as const)
    it(`misses it if ${how} marked everything before`, async () => {
      const tracker = await start()
      const other = tracker.consumer('other', { from: 'now' })
      const fresh = tracker.consumer('fresh')
      markAll(tracker)
      expect(await other.consume((epoch) => epoch.reason)).toBe('everything')
      const held = hold(fresh)
      expect([held.isWhole, (await held.cut()).reason]).toEqual([false, 'fresh'])
      expect(hold(tracker.consumer('now', { from: 'now' })).isWhole).toBe(false)
    })

  it('gets everything that is marked while it is held', async () => {
    const tracker = await start()
    const held = hold(tracker.consumer('a'))
    tracker.markEverything()
    const epoch = await held.cut()
    expect([held.isWhole, epoch.reason]).toEqual([true, 'everything'])
    held.settle(epoch, false)
    expect(held.isWhole).toBe(true)
  })

  it('is fresh if something was marked before it was opened', async () => {
    const tracker = await start()
    mark(tracker, 1)
    const held = hold(tracker.consumer('a'))
    expect(held.isWhole).toBe(false)
    expect((await held.cut()).reason).toBe('fresh')
  })

  it('says where it was resumed, and where it stands', async () => {
    const before = await start()
    const { clock } = before.consumer('a', { from: 'now', namespaces: [0] })
    mark(before, 1)
    await before.stop()
    const after = await start({ resume: before.save() })
    const consumer = after.consumer('a', { since: clock, namespaces: [0] })
    const held = hold(consumer)
    expect([held.name, held.wanted, held.resumed, held.clock]).toEqual(['a', [0], clock, clock])
    const epoch = await held.cut()
    held.settle(epoch, false)
    expect([held.resumed, held.clock]).toEqual([clock, epoch.clock])
    expect(held.clock).not.toBe(clock)
  })

  it('says what the tracker and its owner do', async () => {
    const tracker = await start()
    const [a, b] = ['a', 'b'].map((name) => tracker.consumer(name, { from: 'now' }))
    const [held, other] = [hold(a), hold(b)]
    expect([held.wanted, held.resumed, held.isDirty, held.isClosed, held.isStopCalled]).toEqual([
      undefined,
      undefined,
      false,
      false,
      false,
    ])
    const writer = tracker.openWriter()
    writer.mark(1)
    await held.flushed()
    await tracker.drained()
    expect([held.isDirty, tracker.stats().staged]).toEqual([true, 0])
    b.close()
    expect([held.isClosed, other.isClosed]).toEqual([false, true])
    const wakes: string[] = []
    held.onStop(() => wakes.push('first'))()
    held.onStop(() => wakes.push('second'))
    const stopped = tracker.stop()
    expect([held.isStopCalled, wakes]).toEqual([true, ['second']])
    const last = await held.last()
    expect([last.last, ...last]).toEqual([true, 1])
    held.settle(last, false)
    held.end()
    await stopped
  })
})
