import { describe, expect, it } from '@jest/globals'
import { type DirtyTracker, watchWorkers } from '../../lib/index.js'
import {
  ANCESTORS_MAX,
  LANE_ANCESTORS,
  LANE_OWNER,
  LANE_THREAD,
  laneAt,
  OWNER,
} from '../../lib/memory/map.js'
import { closeLane, freeLane, type Lane, openLane } from '../../lib/ring/lane.js'
import { isOrphan, noteRole, orphansOf, pushReap, releaseRole } from '../../lib/ring/reap.js'
import { openHeld, openInline, thrown } from '../support/in-process.js'
import { runProgram } from '../support/program.js'
import { noClock, smallMemory } from '../support/steps.js'

describe('watchWorkers()', () => {
  it.each(['watchWorkers', 'writer'])(
    'a pool inside a worker, which calls %s: eight aborted tasks lose no key that they marked, and leave no lane taken',
    async (how) => {
      expect(await runProgram('nested', { case: 'pool', how })).toEqual({
        aborted: 8,
        exact: true,
        lost: 0,
        found: true,
        harvested: true,
      })
    },
  )

  it('a middle thread that is terminated loses no key of the threads below it, at any depth, and leaves no lane taken', async () => {
    expect(await runProgram('nested', { case: 'terminated' })).toEqual({
      open: 3,
      exact: true,
      lost: 0,
      found: true,
      toldOfAll: true,
    })
  })

  it('a thread that is terminated takes with it what is below a thread that has no writer', async () => {
    expect(await runProgram('nested', { case: 'chain' })).toEqual({
      open: 1,
      exact: true,
      lost: 0,
      found: true,
    })
  })

  it('an aggregator below a thread that is terminated gives its role back, and stop() delivers', async () => {
    expect(await runProgram('nested', { case: 'role' })).toEqual({
      before: [1],
      last: [2],
      exact: true,
    })
  })

  it('a thread that goes on keeps no memory, no listener and no timer of a tracker that has stopped, nor of a watch that has ended', async () => {
    const { afterStop, afterEnd, afterWriting } = await runProgram('nested', { case: 'left' })
    for (const { isGone, listeners } of [afterStop, afterEnd, afterWriting])
      expect({ isGone, listeners }).toEqual({ isGone: true, listeners: 1 })
  })

  it("does nothing on the tracker's own thread, which watches its workers anyway, and refuses what is no handle", async () => {
    const tracker: DirtyTracker = await openInline()
    const end = watchWorkers(tracker.handle)
    end()
    end()
    expect(thrown(() => watchWorkers({} as never)).code).toBe('ERR_DIRTYRING_BAD_HANDLE')
    expect(thrown(() => watchWorkers(undefined as never)).code).toBe('ERR_DIRTYRING_BAD_HANDLE')
  })
})

describe('the lanes of threads that have ended', () => {
  const open = (
    memory: ReturnType<typeof smallMemory>,
    threadId: number,
    ...ancestors: number[]
  ): Lane => openLane(memory, threadId, 1, noClock, ancestors) as Lane

  it("are a thread's own and those of the threads below it, and no others", () => {
    const memory = smallMemory({ maxWriters: 8 })
    const [own, other, below, wayBelow, siblings] = [
      open(memory, 5, 1),
      open(memory, 6, 1),
      open(memory, 7, 5),
      open(memory, 8, 7),
      open(memory, 5, 1),
    ]
    const found = (threadId: number) =>
      orphansOf(memory, threadId).map(({ writer, threadId: owner }) => [writer, owner])
    expect(found(5)).toEqual([
      [own.id, 5],
      [siblings.id, 5],
      [below.id, 7],
      [wayBelow.id, 8],
    ])
    expect(found(7)).toEqual([
      [below.id, 7],
      [wayBelow.id, 8],
    ])
    expect(found(6)).toEqual([[other.id, 6]])
    expect(found(9)).toEqual([])
    // A thread without a lane is between two that have one.
    const far = open(memory, 12, 11, 6, 1)
    expect([found(11), found(6)]).toEqual([
      [[far.id, 12]],
      [
        [other.id, 6],
        [far.id, 12],
      ],
    ])
    // The main thread's number is 0.
    expect(open(memory, 10, 0).id).toBeGreaterThan(0)
    expect(found(0)).toEqual([[6, 10]])
  })

  it('are found below the nearest threads of a list that is too long, and a shorter list is not read to the end of the one before', () => {
    const memory = smallMemory({ maxWriters: 1 })
    const above = Array.from({ length: ANCESTORS_MAX + 1 }, (_, i) => 100 - i)
    const found = (threadId: number) => orphansOf(memory, threadId).length
    const lane = open(memory, 101, ...above)
    expect([found(100), found(above[ANCESTORS_MAX - 1]), found(above[ANCESTORS_MAX])]).toEqual([
      1, 1, 0,
    ])
    freeLane(memory.words, lane.header, memory.words[lane.header + LANE_OWNER], 0)
    open(memory, 102, 50, 49)
    expect([50, 49, 98, 97].map(found)).toEqual([1, 1, 0, 0])
  })

  it('that have the same low bits of the id are told apart, except by a thread that died before it stored its id', () => {
    const memory = smallMemory({ maxWriters: 4 })
    const far = 5 + 2 ** 17 - 1
    const [near, distant] = [open(memory, 5), open(memory, far)]
    const ids = (threadId: number) => orphansOf(memory, threadId).map(({ writer }) => writer)
    expect([ids(5), ids(far)]).toEqual([[near.id], [distant.id]])
    memory.words[distant.header + LANE_THREAD] = 0
    expect([ids(5), ids(far)]).toEqual([[near.id, distant.id], [distant.id]])
  })

  it('a lane that was freed and taken again is not reaped by a token of the owner before', async () => {
    const { tracker, hand } = await openHeld({ maxWriters: 1, capacity: 4 })
    const { memory } = hand
    const lane = openLane(memory, 7, 1, noClock, [5]) as Lane
    const at = laneAt(memory.layout, lane.id)
    const [orphan] = orphansOf(memory, 5)
    expect(isOrphan(memory, orphan)).toBe(true)
    expect(closeLane(lane)).toBe(true)
    hand.run()
    expect([isOrphan(memory, orphan), memory.words[at + LANE_ANCESTORS]]).toEqual([false, 0])
    const writer = tracker.openWriter()
    expect(memory.words[at + LANE_ANCESTORS]).toBe(0)
    expect(pushReap(memory, orphan)).toBe(true)
    const owner = memory.words[at + LANE_OWNER]
    hand.run()
    expect([memory.words[at + LANE_OWNER], writer.mark(1)]).toEqual([owner, true])
    hand.release()
  })

  it('a ring that is full takes no token of it, and the lane stays an orphan until there is room', async () => {
    const { tracker, hand } = await openHeld({ maxWriters: 2, capacity: 2, batchSize: 1 })
    openLane(hand.memory, 7, 1, noClock, [5])
    const writer = tracker.openWriter()
    for (const id of [1, 2]) writer.mark(id)
    const [orphan] = orphansOf(hand.memory, 7)
    expect([pushReap(hand.memory, orphan), isOrphan(hand.memory, orphan)]).toEqual([false, true])
    hand.run()
    expect(pushReap(hand.memory, orphan)).toBe(true)
    hand.run()
    expect(isOrphan(hand.memory, orphan)).toBe(false)
    hand.release()
  })
})

describe("the aggregator's role", () => {
  it('is free when the thread that has it has ended, or one above it; not when another has', () => {
    const { words } = smallMemory({ maxWriters: 1 })
    const isFreeAfter = (owner: number, ended: number): boolean => {
      words[OWNER] = owner + 1
      releaseRole(words, ended)
      return words[OWNER] === 0
    }
    noteRole(words, 7, [5, 0])
    expect([7, 5, 0, 6].map((ended) => isFreeAfter(7, ended))).toEqual([true, true, true, false])
    // The next owner took the role, and has not told yet which threads are above it.
    expect([8, 7, 5].map((ended) => isFreeAfter(8, ended))).toEqual([true, false, false])
    noteRole(words, 8, [])
    expect([8, 7, 5].map((ended) => isFreeAfter(8, ended))).toEqual([true, false, false])
    releaseRole(words, 5)
    expect(words[OWNER]).toBe(9)
  })
})
