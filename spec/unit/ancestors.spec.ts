import { describe, expect, it } from '@jest/globals'
import {
  ANCESTORS_MAX,
  LANE_ANCESTORS,
  LANE_OWNER,
  LANE_THREAD,
  laneAt,
  OWNER,
  ROLE_ANCESTORS,
  ROLE_OF,
} from '../../lib/memory/map.js'
import { hasAncestor, storeAncestors } from '../../lib/ring/ancestors.js'
import { freeLane, openLane } from '../../lib/ring/lane.js'
import { isOrphan, noteRole, orphansOf, releaseRole } from '../../lib/ring/reap.js'
import { ownerBits } from '../../lib/ring/token.js'
import { range } from '../support/in-process.js'
import { noClock, smallMemory } from '../support/steps.js'

describe('the threads above a thread', () => {
  it.each([0, 1, 2, 15, 16, 17, 20])('are %d: the nearest 16 are found, and no other', (count) => {
    const { words } = smallMemory()
    const at = 200
    words.fill(99, at - 30, at + 40) // thread 98
    storeAncestors(words, at, range(5, 16))
    storeAncestors(words, at, range(40, count))
    const noted = range(40, Math.min(count, ANCESTORS_MAX))
    expect([...words.subarray(at - 30, at + 40)]).toEqual([
      ...new Array<number>(30).fill(99),
      ...noted.map((id) => id + 1),
      ...new Array<number>(ANCESTORS_MAX - noted.length).fill(0),
      ...new Array<number>(24).fill(99),
    ])
    const found = range(0, 100).filter((id) => hasAncestor(words, at, id))
    expect(found).toEqual(noted)
  })

  it('are none for an owner that has stored none, whatever the owner before it left there', () => {
    const memory = smallMemory()
    const at = laneAt(memory.layout, 0)
    openLane(memory, 5, 8, noClock, [4, 3, 2])
    freeLane(memory.words, at, memory.words[at + LANE_OWNER], 0)
    openLane(memory, 6, 8, noClock)
    expect(range(0, 9).filter((id) => hasAncestor(memory.words, at + LANE_ANCESTORS, id))).toEqual(
      [],
    )
    expect(orphansOf(memory, 3)).toEqual([])
  })
})

/** Writers of threads: of each its own id, and the ids of the threads above it. */
function scene(...threads: [threadId: number, ancestors?: number[]][]) {
  const memory = smallMemory({ maxWriters: 8, start: { generation: 6 } })
  for (const [threadId, ancestors] of threads) openLane(memory, threadId, 8, noClock, ancestors)
  const at = (writer: number): number => laneAt(memory.layout, writer)
  return { memory, words: memory.words, at }
}

const generation = 6

describe('orphansOf()', () => {
  it("finds the lanes of a thread, and of the threads below it, each with its own thread's id", () => {
    const { memory } = scene([4], [5, [4]], [6, [5, 4]], [7, [6, 5, 4]], [8], [5, [4]], [9, [8]])
    expect(orphansOf(memory, 5)).toEqual([
      { writer: 1, generation, threadId: 5 },
      { writer: 5, generation, threadId: 5 },
      { writer: 2, generation, threadId: 6 },
      { writer: 3, generation, threadId: 7 },
    ])
    expect(orphansOf(memory, 8).map(({ writer }) => writer)).toEqual([4, 6])
    expect(orphansOf(memory, 77)).toEqual([])
  })

  it('finds the threads below one that has no lane, and those that only a thread below it names', () => {
    const { memory } = scene([6, [5]], [7, [6]])
    expect(orphansOf(memory, 5)).toEqual([
      { writer: 0, generation, threadId: 6 },
      { writer: 1, generation, threadId: 7 },
    ])
  })

  it('goes by the low bits where a thread died before it stored its id, and by no ancestor', () => {
    const { memory, words, at } = scene([5, [4]], [6, [4]])
    words[at(0) + LANE_THREAD] = 0
    words[at(1) + LANE_THREAD] = 0
    expect(orphansOf(memory, 4)).toEqual([])
    expect(orphansOf(memory, 5)).toEqual([{ writer: 0, generation, threadId: 5 }])
  })

  it('looks at no free lane, and at no memory behind the last one', () => {
    const { memory, words, at } = scene([5])
    words[at(1) + LANE_THREAD] = 6
    words[at(8) + LANE_OWNER] = ownerBits(5)
    words[at(8) + LANE_THREAD] = 6
    expect(orphansOf(memory, 5)).toEqual([{ writer: 0, generation, threadId: 5 }])
  })
})

describe('isOrphan()', () => {
  it('is so until the lane is freed, also if the next owner has it', () => {
    const { memory, words, at } = scene([5])
    const [orphan] = orphansOf(memory, 5)
    expect(isOrphan(memory, orphan)).toBe(true)
    freeLane(words, at(0), words[at(0) + LANE_OWNER], 0)
    expect(isOrphan(memory, orphan)).toBe(false)
    openLane(memory, 5, 8, noClock)
    expect(isOrphan(memory, orphan)).toBe(false)
    expect(words[at(0) + LANE_ANCESTORS]).toBe(0)
  })
})

describe('releaseRole()', () => {
  it.each([
    ['the thread that has the role', 7, 0],
    ['the thread above it', 6, 0],
    ['the thread above that', 5, 0],
    ['a thread that is not above it', 4, 8],
    ['a thread that it started', 8, 8],
  ])('at the end of %s', (_, ended, owner) => {
    const { words } = smallMemory()
    words[OWNER] = 8
    noteRole(words, 7, [6, 5])
    releaseRole(words, ended)
    expect(words[OWNER]).toBe(owner)
  })

  it('believes no ancestors that are of another owner, or are being stored', () => {
    for (const roleOf of [0, 9]) {
      const { words } = smallMemory()
      words[OWNER] = 8
      words[ROLE_OF] = roleOf
      storeAncestors(words, ROLE_ANCESTORS, [6, 5])
      releaseRole(words, 6)
      expect(words[OWNER]).toBe(8)
    }
  })
})
