import { describe, expect, it } from '@jest/globals'
import type { DirtyTracker } from '../../lib/index.js'
import { attachMemory } from '../../lib/memory/memory.js'
import { attend, closeLane, type Lane, openLane, publish, stage } from '../../lib/ring/lane.js'
import type { Start } from '../../lib/ring/start.js'
import {
  holdAggregator,
  isPending,
  openHeld,
  openInline,
  openUnattended,
  range,
  rejected,
  sortedIds,
  turns,
  until,
} from '../support/in-process.js'
import { Interrupted, interruptions, noClock, watchAccesses } from '../support/steps.js'

/** A writer of another thread, which does only what the spec has it do. */
function otherThread(tracker: DirtyTracker, threadId: number): Lane {
  const lane = openLane(attachMemory(tracker.handle, 'tracker'), threadId, 1000, noClock)
  if (typeof lane === 'string') throw new Error(lane)
  return lane
}

function mark(lane: Lane, ids: number[]): void {
  for (const id of ids) expect(stage(lane, id, 0)).toBe(true)
}

async function idsOfNext(tracker: DirtyTracker): Promise<number[]> {
  const epoch = await tracker.advanceEpoch()
  expect(epoch.exact).toBe(true)
  const ids = sortedIds(epoch)
  epoch.commit()
  return ids
}

/** Where the counters begin: at 0, and just below each one's wrap. */
const starts: [string, Start][] = [
  ['0', {}],
  ['2^31', { laneEnd: 2 ** 31 - 2 }],
  ['2^32', { laneEnd: -2 }],
  ['the last generation', { generation: 8191 }],
]

describe.each(starts)('flushed(), with counters that begin at %s', (_, start) => {
  it('waits for every writer that had keys staged, for each only until those are published', async () => {
    const tracker = await openInline({}, start)
    const [a, b, idle] = [
      otherThread(tracker, 71),
      otherThread(tracker, 72),
      otherThread(tracker, 73),
    ]
    mark(a, [1, 2, 3])
    mark(b, [4])
    const flushed = tracker.flushed()
    expect(await isPending(flushed)).toBe(true)
    publish(a)
    mark(a, [5]) // goes on
    mark(idle, [6]) // marked after the call
    await turns(20)
    expect(await isPending(flushed)).toBe(true)
    publish(b)
    mark(b, [7])
    await flushed
    expect((idle.end - idle.published) | 0).toBe(1)
    // 5 and 7 were marked by writers that had been asked to publish, which may have published them
    // by then.
    expect((await idsOfNext(tracker)).filter((id) => id !== 5 && id !== 7)).toEqual([1, 2, 3, 4])
  })

  it('resolves while a writer marks on and on, always with something staged', async () => {
    const tracker = await openInline({}, start)
    const lane = otherThread(tracker, 71)
    mark(lane, [0])
    let next = 1
    let going = true
    const writing = (async () => {
      while (going) {
        mark(lane, [next++])
        publish(lane)
        mark(lane, [next++])
        await turns(1)
      }
    })()
    await tracker.flushed()
    going = false
    await writing
    expect((lane.end - lane.published) | 0).toBe(1)
    expect(await idsOfNext(tracker)).toEqual(range(0, next - 1))
  })

  it('resolves when a writer that had something staged has died and is harvested, not before', async () => {
    const { tracker, hand } = await openHeld({}, start)
    const [dead, living] = [otherThread(tracker, 71), otherThread(tracker, 72)]
    mark(dead, [1, 2])
    mark(living, [3])
    publish(living)
    const flushed = tracker.flushed()
    const reaped = tracker.reap(dead.id)
    expect(await isPending(flushed)).toBe(true)
    hand.run()
    await flushed
    expect(await reaped).toBe(2)
    const pending = tracker.advanceEpoch()
    hand.run()
    expect(sortedIds(await pending)).toEqual([1, 2, 3])
  })

  it('does not wait for a writer that took the dead one’s place', async () => {
    const { tracker, hand } = await openHeld({}, start)
    const dead = otherThread(tracker, 71)
    mark(dead, [1, 2])
    const flushed = tracker.flushed()
    const reaped = tracker.reap(dead.id)
    hand.run()
    const next = otherThread(tracker, 72)
    expect(next.id).toBe(dead.id)
    mark(next, [3, 4, 5])
    await flushed
    expect([await reaped, (next.end - next.published) | 0]).toEqual([2, 3])
  })

  it('resolves when the writer closes', async () => {
    const { tracker, hand } = await openHeld({}, start)
    const lane = otherThread(tracker, 71)
    mark(lane, [1, 2])
    const flushed = tracker.flushed()
    expect(closeLane(lane)).toBe(true)
    expect(await isPending(flushed)).toBe(true)
    hand.run()
    await flushed
  })

  it('goes on while the aggregator dies and another one takes over: a writer that finds no room publishes then', async () => {
    const { tracker, hand } = await openHeld({ capacity: 2, onFull: 'reject' }, start)
    const lane = otherThread(tracker, 71)
    for (const id of range(0, 2)) {
      mark(lane, [id])
      expect(publish(lane)).toBe(true)
    }
    mark(lane, [2])
    const flushed = tracker.flushed()
    expect([publish(lane), await isPending(flushed)]).toEqual([false, true])
    hand.release() // the ring stays as it is
    await turns(5)
    const successor = holdAggregator(tracker)
    expect([publish(lane), await isPending(flushed)]).toEqual([false, true])
    successor.run()
    expect(publish(lane)).toBe(true)
    await flushed
    const pending = tracker.advanceEpoch()
    successor.run()
    expect(sortedIds(await pending)).toEqual([0, 1, 2])
  })
})

describe('flushed()', () => {
  it('asks a writer again when the first time came to nothing', async () => {
    const { tracker, hand } = await openHeld({ capacity: 2, onFull: 'reject' })
    const lane = otherThread(tracker, 71)
    for (const id of range(0, 2)) {
      mark(lane, [id])
      publish(lane)
    }
    mark(lane, [2])
    const flushed = tracker.flushed()
    attend(lane) // as a writer does whose event loop turns: the ring is full
    expect((lane.end - lane.published) | 0).toBe(1)
    hand.run()
    await until(() => {
      attend(lane)
      return lane.end === lane.published
    })
    await flushed
  })

  it('asks only writers that have something staged', async () => {
    const tracker = await openInline()
    const [quiet, busy] = [otherThread(tracker, 71), otherThread(tracker, 72)]
    const attnOf = ({ words, attnAt }: Lane): number => words[attnAt]
    const before = attnOf(quiet)
    mark(busy, [1])
    const flushed = tracker.flushed()
    await until(() => attnOf(busy) > busy.attn)
    attend(busy)
    await flushed
    expect(attnOf(quiet)).toBe(before)
  })

  it('rejects when the tracker stops while a writer does not answer', async () => {
    const tracker = await openInline()
    mark(otherThread(tracker, 71), [1])
    const flushed = rejected(tracker.flushed())
    const last = await tracker.stop({ graceMs: 0 })
    expect((await flushed).code).toBe('ERR_DIRTYRING_STOPPED')
    expect([last.exact, last.reason]).toEqual([false, 'unpublished'])
  })
})

describe('reap()', () => {
  it('counts what that writer had staged, and nothing of those that go on', async () => {
    const { tracker, hand } = await openHeld()
    const [dead, other, own] = [
      otherThread(tracker, 71),
      otherThread(tracker, 72),
      tracker.openWriter(),
    ]
    mark(dead, [1, 2])
    publish(dead)
    mark(dead, [3, 4, 5])
    mark(other, [6])
    const reaped = tracker.reap(dead.id)
    mark(other, [7])
    publish(other)
    own.mark(8)
    own.flush()
    hand.run()
    mark(other, [9])
    publish(other)
    expect(await reaped).toBe(3)
    const pending = tracker.advanceEpoch()
    hand.run()
    expect(sortedIds(await pending)).toEqual(range(1, 9))
    expect(tracker.stats().writers.map(({ open }) => open)).toEqual([false, true, true])
  })

  it('resolves with the same number when another writer has the lane by then, which it leaves alone', async () => {
    const { tracker, hand } = await openHeld({}, { generation: 8191 })
    const dead = otherThread(tracker, 71)
    mark(dead, [1, 2, 3])
    const reaped = tracker.reap(dead.id)
    hand.run()
    const next = otherThread(tracker, 72)
    mark(next, [4])
    const again = tracker.reap(dead.id + 1)
    expect([next.id, await reaped]).toEqual([dead.id, 3])
    expect(await again).toBe(0)
    hand.run()
    expect(next.end - next.published).toBe(1)
    mark(next, [5])
    publish(next)
    const pending = tracker.advanceEpoch()
    hand.run()
    expect(sortedIds(await pending)).toEqual([1, 2, 3, 4, 5])
  })

  it('harvests the next writer of the same lane, too, when that dies before the first harvest is seen', async () => {
    const { tracker, hand } = await openHeld({}, { generation: 8191 })
    const first = otherThread(tracker, 71)
    mark(first, [1, 2, 3])
    const both = [tracker.reap(first.id)]
    hand.run()
    const second = otherThread(tracker, 72)
    mark(second, [4])
    both.push(tracker.reap(second.id))
    hand.run()
    expect(second.id).toBe(first.id)
    expect((await Promise.all(both)).at(-1)).toBe(1)
    const pending = tracker.advanceEpoch()
    hand.run()
    expect(sortedIds(await pending)).toEqual([1, 2, 3, 4])
    expect(tracker.stats()).toMatchObject({ harvested: 4, writers: [{ open: false }] })
  })

  it('of a writer that closes at the same moment resolves with what that harvest found', async () => {
    const { tracker, hand } = await openHeld()
    const lane = otherThread(tracker, 71)
    mark(lane, [1, 2])
    closeLane(lane)
    const reaped = tracker.reap(lane.id)
    hand.run()
    expect(await reaped).toBe(2)
    expect(tracker.stats().harvested).toBe(2)
  })

  it('waits for an aggregator that is not there, and is served by the next one', async () => {
    const tracker = await openUnattended()
    const dead = otherThread(tracker, 71)
    mark(dead, [1, 2])
    const reaped = tracker.reap(dead.id)
    expect(await isPending(reaped)).toBe(true)
    const hand = holdAggregator(tracker)
    hand.run()
    expect(await reaped).toBe(2)
  })

  it('is one harvest of the right number, wherever the aggregator dies in it', async () => {
    let deaths = 0
    for (let store = 0; ; store++) {
      const { tracker, hand } = await openHeld()
      const dead = otherThread(tracker, 71)
      const told: number[] = []
      tracker.on('harvest', ({ keys }) => told.push(keys))
      mark(dead, [1, 2, 3])
      const reaped = tracker.reap(dead.id)
      const flushed = tracker.flushed()
      const death = interruptions([store])
      let died = false
      try {
        watchAccesses(death.watch, () => hand.run())
      } catch (error) {
        if (!(error instanceof Interrupted)) throw error
        died = true
      }
      hand.release()
      const successor = holdAggregator(tracker)
      successor.run()
      expect([store, await reaped]).toEqual([store, 3])
      await flushed
      await turns(1)
      expect([told, tracker.stats().harvested, tracker.openWriter().id]).toEqual([[3], 3, dead.id])
      const pending = tracker.advanceEpoch()
      successor.run()
      expect(sortedIds(await pending)).toEqual([1, 2, 3])
      successor.release()
      if (!died) break
      deaths++
    }
    expect(deaths).toBeGreaterThanOrEqual(5)
  })
})
