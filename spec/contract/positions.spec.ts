import { afterEach, describe, expect, it } from '@jest/globals'
import { type Consumer, DirtyTracker, type Key, type TrackerOptions } from '../../lib/index.js'
import { epochAt } from '../../lib/memory/map.js'
import { attachMemory } from '../../lib/memory/memory.js'
import { holdConsumer } from '../../lib/tracker/consumer.js'
import { decodeState, encodeState, type SavedState } from '../../lib/tracker/saved.js'
import { openHeld, rejected, thrown, turns } from '../support/in-process.js'

const running = new Set<DirtyTracker>()

async function start(options: TrackerOptions = {}): Promise<DirtyTracker> {
  const tracker = await DirtyTracker.create({
    aggregator: 'inline',
    maxConsumers: 3,
    maxKeysPerEpoch: 64,
    maxStringsPerEpoch: 64,
    maxStringBytesPerEpoch: 1024,
    ...options,
  })
  running.add(tracker)
  return tracker
}

afterEach(async () => {
  for (const tracker of running) await tracker.stop()
  running.clear()
})

function mark(tracker: DirtyTracker, ...keys: Key[]): void {
  const writer = tracker.openWriter()
  writer.markMany(keys)
  writer.close()
}

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

  it("has the answers of its cuts read, so that each position 'now' has its own", async () => {
    const { tracker, hand } = await openHeld({ maxConsumers: 7 })
    const { epoch } = tracker
    for (let i = 0; i < 7; i++) {
      tracker.consumer(`c${i}`, { from: 'now' })
      await turns(2)
      hand.run()
      await turns(2)
      expect(tracker.epoch).toBe(epoch + i + 1)
    }
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

  it("is named where the tracker's own epochs are asked for", async () => {
    const tracker = await start()
    expect((await rejected(tracker.advanceEpoch())).message).toBe(
      'the epochs of this tracker belong to its named consumers (maxConsumers is 3). ' +
        'Call tracker.consumer(name), and read them there',
    )
  })
})

describe('what a part of the library is told that holds a consumer', () => {
  it('is whole if the consumer was opened before anything was marked', async () => {
    const tracker = await start()
    const before = tracker.consumer('before', { from: 'now' })
    mark(tracker, 1)
    const after = tracker.consumer('after', { from: 'now' })
    const holds = [before, after].map((each) => holdConsumer(each)!)
    expect(holds.map(({ name, isWhole }) => [name, isWhole])).toEqual([
      ['before', true],
      ['after', false],
    ])
    for (const hold of holds) hold.end()
  })
})
