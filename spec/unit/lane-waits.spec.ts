import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import {
  FAILED,
  HEAD,
  LANE_ATTN,
  LANE_EVERYTHING,
  LANE_IN_FLIGHT_PEAK,
  LANE_READ_END,
  LANE_SUPPRESSED,
  LANE_TEXT_READ,
  LANE_WAITING,
  LANE_WAKE_AT,
  laneAt,
  STOPPED,
  TAIL,
  WAIT_FOR_ROOM,
  WAIT_FOR_SLOT,
  WAITERS,
} from '../../lib/memory/map.js'
import type { Memory } from '../../lib/memory/memory.js'
import { readTotal } from '../../lib/memory/total.js'
import { freeSlot, peek } from '../../lib/ring/consume.js'
import {
  beginBatch,
  closeLane,
  endBatch,
  isRingClosed,
  type Lane,
  markEverything,
  openLane,
  publish,
  publishMany,
  setDue,
  sleepForRoom,
  stage,
  stageMany,
  textRoomNow,
} from '../../lib/ring/lane.js'
import { push } from '../../lib/ring/ring.js'
import {
  advance,
  CLOSE,
  controlToken,
  EVERYTHING,
  isBatch,
  kindOf,
  NOP,
  payloadOf,
  tokenOf,
} from '../../lib/ring/token.js'
import { stageKeys } from '../support/aggregators.js'
import { range, thrown } from '../support/in-process.js'
import { lanesOf, type MemoryOptions, smallMemory, watchAccesses } from '../support/steps.js'

/** A clock that looks after no lane, and counts how often it was armed. */
function clockOf(armed: boolean) {
  const clock = {
    armed,
    armings: 0,
    arm: () => {
      clock.armed = true
      clock.armings++
    },
  }
  return clock
}

/** The second lane, so that words on both sides of it belong to a lane too. */
function open(
  options: MemoryOptions = {},
  { batchSize = 8, armed = true }: { batchSize?: number; armed?: boolean } = {},
) {
  const memory = smallMemory({ maxWriters: 3, ...options })
  openLane(memory, 8, 8, clockOf(true))
  const clock = clockOf(armed)
  const lane = openLane(memory, 9, batchSize, clock)
  if (typeof lane === 'string') throw new Error(lane)
  return { memory, words: memory.words, lane, clock }
}

function fillRing(memory: Memory): void {
  while (push(memory, controlToken(NOP, 0)));
}

/** The aggregator's part: takes so many tokens, and reads no lane. */
function take(memory: Memory, count = Infinity): number[] {
  const { words } = memory
  const tokens: number[] = []
  while (tokens.length < count && words[HEAD] !== words[TAIL]) {
    const seen = peek(memory, words[HEAD])
    tokens.push(tokenOf(seen))
    freeSlot(memory, words[HEAD], seen)
    words[HEAD] = advance(words[HEAD], 1)
  }
  return tokens
}

/** The aggregator has read a lane up to here. */
function readTo({ words, header }: Lane, end: number): void {
  words[header + LANE_READ_END] = end
}

function stageIds(lane: Lane, count: number): void {
  for (const id of range(0, count)) if (!stage(lane, id, 0)) throw new Error('no room')
}

const staged = (lane: Lane): number => (lane.end - lane.published) | 0

describe('sleepForRoom()', () => {
  /** What a lane had announced at each sleep: what it waits for, the end, and for how long. */
  let sleeps: { waiting: number; wakeAt: number; bit: boolean; ms: number }[]

  /** What other threads do after the announcement, before the look that follows it. */
  let afterAnnouncing: () => void

  beforeEach(() => {
    sleeps = []
    afterAnnouncing = () => undefined
    jest.spyOn(Atomics, 'wait').mockImplementation(((
      words: any,
      at: number,
      _: any,
      ms: number,
    ) => {
      const header = laneAt(smallMemory().layout, 0) + stride
      expect(at).toBeGreaterThan(header)
      sleeps.push({
        waiting: words[header + LANE_WAITING],
        wakeAt: words[header + LANE_WAKE_AT],
        bit: words[WAITERS] === 2,
        ms,
      })
      return 'timed-out'
    }) as any)
    const { or } = Atomics
    jest.spyOn(Atomics, 'or').mockImplementation(((words: any, at: number, value: number) => {
      const before = or(words, at, value)
      afterAnnouncing()
      return before
    }) as any)
  })

  afterEach(() => void jest.restoreAllMocks())

  let stride: number

  /** A lane of 8 keys that are all in flight. */
  function full(options: MemoryOptions = {}) {
    const scene = open(options)
    stride = scene.memory.layout.laneStride
    stageMany(scene.lane, lanesOf(range(0, 8).map(BigInt)), 8)
    expect(scene.words[TAIL]).toBe(1)
    return scene
  }

  it.each([
    [1, 4],
    [4, 4],
    [5, 5],
    [8, 8],
  ])('announces, for %d keys, the end up to which the aggregator has to read', (count, wakeAt) => {
    const { lane } = full()
    expect(sleepForRoom(lane, count, 0, 7)).toBe(false)
    expect(sleeps).toEqual([{ waiting: WAIT_FOR_ROOM, wakeAt, bit: true, ms: 7 }])
  })

  it.each([
    [2, 6, 2],
    [4, 4, 4],
    [6, 2, 4],
  ])(
    'after %d keys and %d of an open batch, waits for no key of that batch',
    (before, inBatch, wakeAt) => {
      for (const laneEnd of [0, 2 ** 31 - 3, -3]) {
        const { lane } = open({ start: { laneEnd } })
        stride = lane.memory.layout.laneStride
        stageIds(lane, before)
        beginBatch(lane)
        stageIds(lane, inBatch)
        expect(sleepForRoom(lane, 1, 0, 7)).toBe(false)
        const [{ wakeAt: announced }] = sleeps.splice(0)
        expect((announced - laneEnd) | 0).toBe(wakeAt)
      }
    },
  )

  it('announces a wait for a slot while the ring is full, and keeps the keys staged', () => {
    const { lane, memory } = open()
    stride = memory.layout.laneStride
    fillRing(memory)
    stageIds(lane, 8)
    expect(sleepForRoom(lane, 1, 0, 7)).toBe(false)
    expect(sleeps).toMatchObject([{ waiting: WAIT_FOR_SLOT, bit: true, ms: 7 }])
    expect(staged(lane)).toBe(8)
  })

  it('does not sleep when the keys could be published and no room is wanted', () => {
    const { lane, words } = open()
    stageIds(lane, 3)
    expect(sleepForRoom(lane, 0, 0, 7)).toBe(true)
    expect([sleeps, words[lane.header + LANE_WAITING], words[WAITERS]]).toEqual([[], 0, 0])
  })

  it('does not sleep when room, a slot or a stop comes after its announcement', () => {
    const { lane, words } = full()
    afterAnnouncing = () => void (words[STOPPED] = 1)
    expect([sleepForRoom(lane, 8, 0, 7), sleeps]).toEqual([false, []])
    words[STOPPED] = 0
    afterAnnouncing = () => readTo(lane, 8)
    expect([sleepForRoom(lane, 8, 0, 7), sleeps]).toEqual([true, []])

    const { lane: other, memory } = open()
    fillRing(memory)
    stageIds(other, 8)
    afterAnnouncing = () => void (memory.words[STOPPED] = 1)
    expect([sleepForRoom(other, 0, 0, 7), sleeps]).toEqual([false, []])
    memory.words[STOPPED] = 0
    afterAnnouncing = () => void take(memory, 1)
    expect([sleepForRoom(other, 0, 0, 7), sleeps]).toEqual([true, []])
    expect(staged(other)).toBe(0)
  })

  it('waits for text, too: until just as many words are free', () => {
    const { lane, words } = open({ maxStringsPerEpoch: 4 })
    stride = lane.memory.layout.laneStride
    stageKeys(lane, 'abcd', 'efgh') // 3 words each
    expect(lane.textEnd).toBe(6)
    for (const [read, text, isThere] of [
      [0, 10, true],
      [0, 11, false],
      [3, 13, true],
      [3, 14, false],
      [6, 16, true],
    ] as const) {
      sleeps = []
      words[lane.header + LANE_TEXT_READ] = read
      expect([sleepForRoom(lane, 1, text, 7), sleeps.length]).toEqual([isThere, isThere ? 0 : 1])
    }
  })
})

describe('numbers', () => {
  it('find their room whatever is said of the texts that were read', () => {
    const { lane, words } = open({ maxStringsPerEpoch: 4 })
    stageKeys(lane, 'abcd', ...range(0, 7))
    readTo(lane, 4)
    words[lane.header + LANE_TEXT_READ] = 99 // what no part of the library stores
    expect(stage(lane, 1, 0)).toBe(true)
    readTo(lane, 8)
    expect(sleepForRoom(lane, 1, 0, 0)).toBe(true)
  })
})

describe('textRoomNow()', () => {
  it('is all of the text ring until the owner has marked a text', () => {
    const { lane, words } = open({ maxStringsPerEpoch: 4 })
    words[lane.header + LANE_TEXT_READ] = 20 // of a former owner
    expect(textRoomNow(lane)).toBe(16)
  })

  it.each([
    [-1, undefined],
    [0, 16],
    [3, 13],
    [16, 0],
    [17, undefined],
  ])('with %d words unread is the rest, or says that the lane is corrupt', (unread, room) => {
    const { lane, words } = open({ maxStringsPerEpoch: 4 })
    stageKeys(lane, 'abcd')
    words[lane.header + LANE_TEXT_READ] = 3 - unread
    if (room !== undefined) expect(textRoomNow(lane)).toBe(room)
    else
      expect(thrown(() => textRoomNow(lane)).message).toContain(
        `a lane with keys up to 3 was read up to ${3 - unread}`,
      )
  })
})

describe('setDue()', () => {
  it.each([
    ['the next publication', {}, 3],
    ['the next key, to arm the clock', { armed: false }, 1],
    ['the last key that has room', { read: 0 }, 2],
    ['the next publication, if all keys are read', { read: 6 }, 3],
    ['the next key, if a publication is overdue', { tryIn: -2 }, 1],
    ['this very key, if there is no room', { end: 8, read: 0 }, 0],
    ['this very key, if the lane is closed', { isOpen: false }, 0],
  ])('sets it to %s', (_, changed, due) => {
    const { end, read, tryIn, armed, isOpen } = {
      ...{ end: 6, read: 2, tryIn: 3, armed: true, isOpen: true },
      ...changed,
    }
    for (const laneEnd of [0, 2 ** 31 - 4]) {
      const { lane, clock } = open({ start: { laneEnd } }, { batchSize: 4 })
      lane.end = (laneEnd + end) | 0
      lane.tryAt = (lane.end + tryIn) | 0
      lane.open = isOpen
      clock.armed = armed
      readTo(lane, laneEnd + read)
      setDue(lane)
      expect((lane.due - lane.end) | 0).toBe(due)
    }
  })

  it('does not open a closed lane', () => {
    const { lane } = open()
    closeLane(lane)
    setDue(lane)
    expect(stage(lane, 1, 0)).toBe(false)
  })

  it.each([-1, 9])(
    'believes no end that leaves %d keys unread, and the next mark throws',
    (unread) => {
      const { lane, words } = open({}, { batchSize: 16 })
      stageIds(lane, 8)
      readTo(lane, 8 - unread)
      setDue(lane)
      publish(lane)
      expect([lane.readEnd, lane.due, words[lane.header + LANE_IN_FLIGHT_PEAK]]).toEqual([0, 8, 0])
      expect(thrown(() => stage(lane, 1, 0)).message).toContain(
        `a lane with keys up to 8 was read up to ${8 - unread}`,
      )
    },
  )
})

describe('LANE_IN_FLIGHT_PEAK', () => {
  const peakOf = ({ words, header }: Lane): number => words[header + LANE_IN_FLIGHT_PEAK]

  it('is the whole lane, if all of it was in flight', () => {
    const { lane } = open()
    stageIds(lane, 8)
    expect([staged(lane), peakOf(lane)]).toEqual([0, 8])
  })

  it('is not lowered by fewer keys, whatever the thread knew of the ends', () => {
    const { lane } = open({}, { batchSize: 2 })
    publishMany(lane, lanesOf([1n, 2n, 3n]), 3)
    readTo(lane, 3)
    publishMany(lane, lanesOf([4n, 5n]), 2)
    expect([lane.readEnd, peakOf(lane)]).toEqual([3, 3])
  })
})

describe('a batch() that ends', () => {
  it.each([
    ['goes out, and arms no clock', false, false, 0, 0],
    ['stays staged in a full ring, and arms the clock', true, false, 1, 2],
    ['stays staged in a full ring, whose clock is armed', true, true, 0, 2],
  ])('%s', (_, isFull, armed, armings, left) => {
    const { memory, lane, clock } = open({}, { armed: true })
    beginBatch(lane)
    stageIds(lane, 2)
    if (isFull) fillRing(memory)
    clock.armed = armed
    endBatch(lane)
    expect([clock.armings, staged(lane)]).toEqual([armings, left])
  })

  it('after its lane was closed publishes nothing behind the CLOSE', () => {
    const { memory, lane } = open()
    beginBatch(lane)
    stageIds(lane, 2)
    closeLane(lane)
    endBatch(lane)
    expect(take(memory).map(kindOf)).toEqual([CLOSE])
  })

  it('cannot go out before an EVERYTHING that its ring does not take', () => {
    const { memory, words, lane } = open()
    fillRing(memory)
    markEverything(lane, 7)
    expect(publish(lane)).toBe(false)
    stageIds(lane, 1)
    expect(publish(lane)).toBe(false)
    const before = words[TAIL]
    take(memory)
    expect(publish(lane)).toBe(true)
    expect([words[TAIL] - before, words[lane.header + LANE_EVERYTHING]]).toEqual([2, 0])
    const [first, second] = take(memory)
    expect([kindOf(first), payloadOf(first), isBatch(second)]).toEqual([EVERYTHING, 6, true])
  })
})

describe('markEverything()', () => {
  const pending = ({ words, header }: Lane): number => words[header + LANE_EVERYTHING]

  it('of one namespace, again and again, stays that; of a second one is of all keys', () => {
    const { memory, lane } = open()
    fillRing(memory)
    const said = [7, 7, 8, 7].map((what) => [markEverything(lane, what), pending(lane)])
    expect(said).toEqual([
      [true, 7],
      [true, 7],
      [true, 1],
      [true, 1],
    ])
  })

  it.each([
    ['needs no clock when it goes out at once', false, false, 0],
    ['arms the clock in a full ring', true, false, 1],
    ['arms no clock that is armed', true, true, 0],
  ])('%s', (_, isFull, armed, armings) => {
    const { memory, lane, clock } = open({}, { armed })
    if (isFull) fillRing(memory)
    expect(markEverything(lane)).toBe(true)
    expect([clock.armings, pending(lane)]).toEqual([armings, isFull ? 1 : 0])
  })

  it('is refused once the tracker stops, and says nothing then', () => {
    const { memory, lane, words } = open()
    words[lane.header + LANE_ATTN] = 1
    expect([markEverything(lane), pending(lane), take(memory)]).toEqual([false, 0, []])
  })

  it('is taken back when the tracker stops after its store', () => {
    const { memory, lane, words } = open()
    fillRing(memory)
    const isMarked = watchAccesses(
      (kind, index) => {
        if (kind === 'load' && index === TAIL) words[lane.header + LANE_ATTN] = 1
      },
      () => markEverything(lane),
    )
    expect([isMarked, pending(lane), lane.everything]).toEqual([false, 0, 0])
  })
})

describe('isRingClosed()', () => {
  it.each([
    [0, 0, false],
    [1, 0, true],
    [0, 1, true],
  ])('with STOPPED %d and FAILED %d is %s', (stopped, failed, isClosed) => {
    const { words } = smallMemory()
    words[STOPPED] = stopped
    words[FAILED] = failed
    expect(isRingClosed(words)).toBe(isClosed)
  })
})

describe('the request to publish', () => {
  it('stands until the ring takes the keys', () => {
    const { memory, words, lane } = open()
    fillRing(memory)
    words[lane.header + LANE_ATTN] += 2
    stageIds(lane, 2)
    take(memory, 1)
    stageIds(lane, 1)
    expect(staged(lane)).toBe(0)
  })

  it('is met by the mark of a key that is staged already, and is then over', () => {
    const { memory, words, lane } = open()
    lane.recent = lane.recents
    stage(lane, 7, 0)
    words[lane.header + LANE_ATTN] += 2
    for (const _ of range(0, 3)) expect(stage(lane, 7, 0)).toBe(true)
    expect([take(memory).length, staged(lane)]).toEqual([1, 1])
  })

  it('is refused by the mark of a key that is staged already, once the tracker stops', () => {
    for (const isFull of [false, true]) {
      const { memory, words, lane } = open()
      lane.recent = lane.recents
      stage(lane, 7, 0)
      if (isFull) fillRing(memory)
      words[lane.header + LANE_ATTN] |= 1
      expect([stage(lane, 7, 0), readTotal(words, lane.header + LANE_SUPPRESSED)]).toEqual([
        false,
        0,
      ])
    }
  })
})

describe('what stays staged', () => {
  it('of many marks in a full ring, arms the clock', () => {
    const { memory, lane, clock } = open({}, { armed: false })
    fillRing(memory)
    expect(stageMany(lane, lanesOf([1n, 2n]), 2)).toBe(true)
    expect([clock.armings, staged(lane)]).toEqual([1, 2])
  })

  it('behind an EVERYTHING is tried again every batchSize keys', () => {
    for (const laneEnd of [0, 100, -100]) {
      const { memory, lane } = open({ laneCapacity: 32, start: { laneEnd } }, { batchSize: 4 })
      fillRing(memory)
      markEverything(lane)
      const tries = range(1, 16).filter(() => {
        let isTry = false
        watchAccesses(
          (kind, index) => {
            if (kind === 'load' && index === TAIL) isTry = true
          },
          () => void stage(lane, 1, 0),
        )
        return isTry
      })
      expect(tries).toEqual([4, 8, 12, 16])
    }
  })
})
