import { describe, expect, it, jest } from '@jest/globals'
import fc from 'fast-check'
import {
  HEAD,
  LANE_ANCESTORS,
  LANE_ATTN,
  LANE_BATCHES,
  LANE_IN_FLIGHT_PEAK,
  LANE_KEYS,
  LANE_OWNER,
  LANE_PUBLISHED,
  LANE_READ_END,
  LANE_STAGED_END,
  LANE_SUPPRESSED,
  LANE_TEXT,
  LANE_TEXT_READ,
  LANE_THREAD,
  LANE_WAITING,
  laneAt,
  STOPPED,
  TAIL,
  WAIT_FOR_ROOM,
} from '../../lib/memory/map.js'
import type { Memory } from '../../lib/memory/memory.js'
import { addTotal, carryTotal, readTotal, saveTotal, setTotal } from '../../lib/memory/total.js'
import { freeSlot, GONE, NOTHING, peek } from '../../lib/ring/consume.js'
import {
  closeLane,
  hasRoom,
  type Lane,
  openLane,
  publish,
  publishMany,
  roomOf,
  setDue,
  sleepForRoom,
  stage,
  stageMany,
  stageText,
} from '../../lib/ring/lane.js'
import { push } from '../../lib/ring/ring.js'
import {
  advance,
  BATCH,
  BEHIND_EMPTY,
  BEHIND_FULL,
  classify,
  CLOSE,
  controlToken,
  emptyWord,
  fullWord,
  GENERATION_BITS,
  KIND_SHIFT,
  lapOf,
  NOP,
  ownerBits,
  PASSED,
  PAYLOAD_MASK,
  TAKEN,
  THREAD_BITS,
  tokenOf,
  UNKNOWN,
} from '../../lib/ring/token.js'
import {
  Interrupted,
  interruptions,
  keysIn,
  lanesOf,
  type MemoryOptions,
  noClock,
  picture,
  smallMemory,
  watchAccesses,
  watched,
} from '../support/steps.js'

const LOW = 2 ** THREAD_BITS - 1

function open(
  memory: Memory,
  { threadId = 9, batchSize = memory.layout.laneCapacity, clock = noClock } = {},
): Lane {
  const lane = openLane(memory, threadId, batchSize, clock)
  if (typeof lane === 'string') throw new Error(lane)
  return lane
}

const endsOf = ({ words, header }: Lane) => ({
  stagedEnd: words[header + LANE_STAGED_END],
  published: words[header + LANE_PUBLISHED],
  readEnd: words[header + LANE_READ_END],
})

/** The aggregator's part: take a token, and give back room for a batch. Its keys, or undefined. */
function take(memory: Memory): bigint[] | undefined {
  const { words, layout } = memory
  for (;;) {
    const head = words[HEAD]
    const seen = peek(memory, head)
    if (seen === NOTHING) return undefined
    let keys: bigint[] | undefined
    if (seen !== GONE) {
      const token = tokenOf(seen)
      if ((token & BATCH) !== 0) {
        const lane = laneAt(layout, (token & (BATCH - 1)) >>> layout.laneBits)
        const start = words[lane + LANE_READ_END]
        const count = (token & (layout.laneCapacity - 1)) + 1
        const all = keysIn(words, lane + LANE_KEYS, layout.laneCapacity)
        keys = Array.from(
          { length: count },
          (_, i) => all[((start + i) | 0) & (layout.laneCapacity - 1)],
        )
        words[lane + LANE_READ_END] = (start + count) | 0
      }
      freeSlot(memory, head, seen)
    }
    words[HEAD] = advance(head, 1)
    if (keys !== undefined) return keys
  }
}

function takeAll(memory: Memory): bigint[][] {
  const batches: bigint[][] = []
  for (let keys = take(memory); keys !== undefined; keys = take(memory)) batches.push(keys)
  return batches
}

function fillRing(memory: Memory): number {
  let filled = 0
  while (push(memory, controlToken(NOP, 0))) filled++
  return filled
}

describe('Opening a lane', () => {
  it('claims the first free one, and stores its owner', () => {
    const memory = smallMemory({ maxWriters: 3, start: { generation: 8191 } })
    const lanes = [5, 0, LOW - 1].map((threadId) => open(memory, { threadId }))
    expect(lanes.map(({ id, generation }) => [id, generation])).toEqual(
      [0, 1, 2].map((id) => [id, 8191]),
    )
    for (const [i, threadId] of [5, 0, LOW - 1].entries()) {
      const { words, header } = lanes[i]
      expect(words[header + LANE_OWNER] & LOW).toBe(threadId + 1)
      expect(words[header + LANE_OWNER] >>> THREAD_BITS).toBe(8191)
      expect(words[header + LANE_THREAD]).toBe(threadId + 1)
    }
    expect(openLane(memory, 5, 8, noClock)).toBe('none-free')
  })

  it('has low bits for any thread id that are never those of a free lane', () => {
    for (const threadId of [
      0,
      1,
      LOW - 2,
      LOW - 1,
      LOW,
      LOW + 1,
      2 * LOW - 1,
      2 * LOW,
      2 ** 31 - 2,
    ]) {
      const bits = ownerBits(threadId)
      expect(bits).toBeGreaterThan(0)
      expect(bits).toBeLessThanOrEqual(LOW)
      expect(bits).toBe((threadId % LOW) + 1)
      const { words, header } = open(smallMemory(), { threadId })
      expect(words[header + LANE_OWNER]).toBe(bits)
      expect(words[header + LANE_THREAD]).toBe(threadId + 1)
    }
  })

  it('goes on where the former owner stopped', () => {
    const memory = smallMemory({ start: { laneEnd: 77 } })
    for (const id of [0, 1])
      expect(memory.words[laneAt(memory.layout, id) + LANE_PUBLISHED]).toBe(77)
    memory.words[laneAt(memory.layout, 0) + LANE_PUBLISHED] = 70 // of a killed writer
    const lane = open(memory)
    expect(lane).toMatchObject({ end: 77, published: 77, readEnd: 77 })
    expect(endsOf(lane)).toEqual({ stagedEnd: 77, published: 77, readEnd: 77 })
  })

  it('takes the next lane when another thread claims this one in between', () => {
    const memory = smallMemory()
    let raced = false
    const lane = watchAccesses(
      (kind, index) => {
        if (raced || kind !== 'store' || index !== laneAt(memory.layout, 0) + LANE_OWNER) return
        raced = true
        memory.words[index] = 44
      },
      () => open(memory),
    )
    expect(lane.id).toBe(1)
    expect(memory.words[laneAt(memory.layout, 0) + LANE_OWNER]).toBe(44)
  })

  it('C9: gives it back when the tracker has stopped', () => {
    const memory = smallMemory({ start: { generation: 3 } })
    memory.words[STOPPED] = 1
    expect(openLane(memory, 1, 8, noClock)).toBe('stopped')
    const at = laneAt(memory.layout, 0)
    expect([memory.words[at + LANE_OWNER], memory.words[at + LANE_THREAD]]).toEqual([
      3 << THREAD_BITS,
      0,
    ])
  })
})

describe('The words of a lane', () => {
  /** The second of three lanes whose words are all set: what is stored elsewhere is seen. */
  function between(options: MemoryOptions = {}) {
    const memory = smallMemory({ maxWriters: 3, maxStringsPerEpoch: 4, ...options })
    const { words, layout } = memory
    const [from, to] = [laneAt(layout, 1), laneAt(layout, 2)]
    open(memory)
    for (const [first, last] of [
      [layout.lanes, from],
      [to, laneAt(layout, 3)],
    ])
      words.fill(0x77, first, last)
    words[laneAt(layout, 0) + LANE_OWNER] = 9
    const around = () => [...words.subarray(layout.lanes, from), ...words.subarray(to, to + 64)]
    return { memory, words, header: from, before: around(), around }
  }

  it('are all that an owner clears of the one before it', () => {
    const { memory, words, header, around } = between()
    words[header - LANE_TEXT] = 0
    const before = around()
    words[header + LANE_WAITING] = WAIT_FOR_ROOM
    words[header + LANE_TEXT] = 1
    expect(open(memory).id).toBe(1)
    expect([words[header + LANE_WAITING], words[header + LANE_TEXT], around()]).toEqual([
      0,
      0,
      before,
    ])
  })

  it('are all that a thread gives back when the tracker has stopped', () => {
    const { memory, words, header, before, around } = between()
    words[STOPPED] = 1
    expect(openLane(memory, 4, 8, noClock, [3, 2])).toBe('stopped')
    expect([words[header + LANE_ANCESTORS], words[header + LANE_THREAD], around()]).toEqual([
      0,
      0,
      before,
    ])
  })

  it('are all that a text is stored in which ends where its ring does', () => {
    const text = Array.from({ length: 14 }, (_, i) => i + 1)
    for (const isList of [false, true]) {
      const { memory, words, header, before, around } = between({ laneTextBytes: 128 })
      const lane = open(memory)
      const list = Int32Array.of(0, 112, ...text, 99, 99) // a key, a head, the words
      const store = (): boolean =>
        isList
          ? stageMany(lane, lanesOf([5n]), 1, { words: list, size: 16, needed: 17 })
          : stageText(lane, 5, 0, list.subarray(2), 112)
      expect(store()).toBe(true)
      publish(lane)
      take(memory)
      words[header + LANE_TEXT_READ] = 16
      words[lane.text] = 0x77
      expect(store()).toBe(true)
      expect(around()).toEqual(before)
      const texts = [...words.subarray(lane.text, lane.text + 32)]
      expect(texts).toEqual([0, 112, ...text, 2, 112, ...text])
    }
  })

  it('hold no text where the first text of an owner will lie, also if there is no room for it', () => {
    const { memory, words, header } = between()
    const lane = open(memory)
    words[header + LANE_TEXT_READ] = 16 + 5
    words.fill(0x77, lane.text, lane.text + 16)
    expect(stageText(lane, 5, 0, new Int32Array(20), 160)).toBe(false)
    const texts = new Array<number>(16).fill(0x77)
    texts[5] = 0
    expect([...words.subarray(lane.text, lane.text + 16)]).toEqual(texts)
  })

  it('are all that a block of keys is stored in, however long its array is', () => {
    const { memory, before, around } = between({ laneCapacity: 32 })
    const lane = open(memory)
    const keys = Array.from({ length: 40 }, (_, i) => BigInt(i + 1))
    expect(stageMany(lane, lanesOf(keys), 20)).toBe(true)
    expect(keysIn(lane.words, lane.keys, 32)).toEqual([
      ...keys.slice(0, 20),
      ...new Array<bigint>(12).fill(0n),
    ])
    expect(around()).toEqual(before)
  })

  it('hold ids whose high halves are 0, whatever was there', () => {
    const memory = smallMemory()
    const lane = open(memory)
    expect(stageMany(lane, new Int32Array(16).fill(-1), 8)).toBe(true)
    takeAll(memory)
    expect(stageMany(lane, [1, 2, 3], 3, undefined, true)).toBe(true)
    expect(takeAll(memory)).toEqual([[1n, 2n, 3n]])
  })
})

describe('The order of stores', () => {
  /** The ends and tokens that another thread could see just before each store. */
  function seenDuring(memory: Memory, lane: Lane, body: (lane: Lane) => void) {
    const seen: { keys: bigint[]; stagedEnd: number; token: boolean; published: number }[] = []
    const { words, layout } = memory
    const slot = layout.ring + (words[TAIL] & (layout.capacity - 1))
    const before = words[slot]
    const look = (): void => {
      const { stagedEnd, published } = endsOf({ ...lane, words })
      seen.push({
        keys: keysIn(words, lane.keys, stagedEnd),
        stagedEnd,
        published,
        token: words[slot] !== before,
      })
    }
    watchAccesses(look, () => body(lane))
    look()
    return seen
  }

  const raw = (memory: Memory): Lane => ({ ...open(memory), words: watched(memory).words })

  it('of a mark: the key, then the end that says it is there', () => {
    const memory = smallMemory()
    const seen = seenDuring(memory, raw(memory), (lane) => {
      stage(lane, 5, 6)
      stage(lane, 7, 8)
    })
    expect(seen.at(-1)).toMatchObject({ stagedEnd: 2, published: 0, token: false })
    for (const { keys } of seen)
      expect([5n + (6n << 32n), 7n + (8n << 32n)].slice(0, keys.length)).toEqual(keys)
  })

  it('C3: of many marks: all the keys, then one end', () => {
    const memory = smallMemory()
    const keys = [1n, 2n, 3n]
    const seen = seenDuring(memory, raw(memory), (lane) => void stageMany(lane, lanesOf(keys), 3))
    expect([...new Set(seen.map(({ stagedEnd }) => stagedEnd))]).toEqual([0, 3])
    for (const each of seen) if (each.stagedEnd === 3) expect(each.keys).toEqual(keys)
    for (const { token, stagedEnd } of seen) if (token) expect(stagedEnd).toBe(3)
    expect(seen.at(-1)).toMatchObject({ token: true, published: 3 })
  })

  it('of a publication: the token, then the end that says so', () => {
    const memory = smallMemory()
    const lane = raw(memory)
    stage(lane, 1, 0)
    const seen = seenDuring(memory, lane, () => void publish(lane))
    expect(seen.filter(({ published, token }) => published === 1 && !token)).toEqual([])
    expect(seen.filter(({ published, token }) => published === 0 && token)).not.toEqual([])
  })

  it('stores nothing of many marks that do not fit', () => {
    const memory = smallMemory({ capacity: 1 })
    const lane = open(memory)
    fillRing(memory)
    for (let i = 0; i < 6; i++) stage(lane, i, 0)
    const before = picture(memory)
    expect(stageMany(lane, lanesOf([7n, 8n, 9n]), 3)).toBe(false)
    expect(publishMany(lane, lanesOf([7n, 8n, 9n]), 3)).toBe(false)
    expect(picture(memory)).toEqual(before)
    expect(stageMany(lane, lanesOf([7n, 8n]), 2)).toBe(true)
    expect(endsOf(lane)).toMatchObject({ stagedEnd: 8, published: 0 })
  })

  it('takes a batch back that publishMany() could not publish', () => {
    const memory = smallMemory({ capacity: 1 })
    const lane = open(memory)
    expect(publishMany(lane, lanesOf([1n, 2n]), 2)).toBe(true)
    expect(publishMany(lane, lanesOf([3n, 4n]), 2)).toBe(false)
    expect(endsOf(lane)).toEqual({ stagedEnd: 2, published: 2, readEnd: 0 })
    expect(takeAll(memory)).toEqual([[1n, 2n]])
    expect(publishMany(lane, lanesOf([5n]), 1)).toBe(true)
    expect(takeAll(memory)).toEqual([[5n]])
  })
})

describe('publishMany()', () => {
  it('that an exception ends behind its publication takes nothing back', () => {
    const memory = smallMemory()
    const lane = open(memory)
    const { words } = watched(memory)
    let isThrown = false
    const failed = (): boolean =>
      watchAccesses(
        (kind, index) => {
          if (isThrown || kind !== 'store' || index !== TAIL) return
          isThrown = true
          throw new Interrupted()
        },
        () => publishMany({ ...lane, words }, lanesOf([1n, 2n]), 2),
      )
    expect(failed).toThrow(Interrupted)
    expect(endsOf(lane)).toMatchObject({ stagedEnd: 2, published: 2 })
    expect(takeAll(memory)).toEqual([[1n, 2n]])
  })
})

const ends = [0, 5, 2 ** 31 - 1, 2 ** 31 - 3, -(2 ** 31), -1, -5, -8, -9]

describe.each(ends)('A lane whose ends begin at %d', (laneEnd) => {
  const memoryAt = (options: MemoryOptions = {}) => smallMemory({ ...options, start: { laneEnd } })

  it('delivers every key once, in order, through several laps', () => {
    for (const size of [1, 3, 5, 8]) {
      const memory = memoryAt()
      const lane = open(memory)
      let next = 1n
      for (let round = 0; round < 12; round++) {
        const keys = Array.from({ length: size }, () => next++)
        for (const key of keys) expect(stage(lane, Number(key), 0)).toBe(true)
        expect(publish(lane)).toBe(true)
        expect(takeAll(memory).flat()).toEqual(keys)
      }
      expect(lane.end).toBe((laneEnd + 12 * size) | 0)
      expect(endsOf(lane)).toEqual({ stagedEnd: lane.end, published: lane.end, readEnd: lane.end })
    }
  })

  it('publishes as many keys as it holds in one token, again and again', () => {
    const memory = memoryAt()
    const lane = open(memory)
    for (let round = 0; round < 4; round++) {
      const keys = Array.from({ length: 8 }, (_, i) => BigInt(round * 8 + i))
      expect(stageMany(lane, lanesOf(keys), 8)).toBe(true)
      expect(roomOf(lane)).toBe(0)
      expect(stage(lane, 1, 1)).toBe(false)
      expect(takeAll(memory)).toEqual([keys])
      expect(hasRoom(lane, 8, 0)).toBe(true)
    }
  })

  it('C6: is full with nothing in flight when the ring is full of others, and goes on when it is not', () => {
    const memory = memoryAt({ capacity: 2, batchSize: 4 })
    const lane = open(memory, { batchSize: 4 })
    fillRing(memory)
    for (let i = 0; i < 8; i++) expect(stage(lane, i, 0)).toBe(true)
    expect(stage(lane, 8, 0)).toBe(false)
    expect(endsOf(lane)).toMatchObject({ published: laneEnd, stagedEnd: (laneEnd + 8) | 0 })
    expect(takeAll(memory)).toEqual([])
    // It goes out, but there is no room before it is consumed.
    expect(stage(lane, 8, 0)).toBe(false)
    expect(endsOf(lane)).toMatchObject({ published: (laneEnd + 8) | 0 })
    expect(takeAll(memory)).toEqual([[0n, 1n, 2n, 3n, 4n, 5n, 6n, 7n]])
    expect(stage(lane, 8, 0)).toBe(true)
    expect(publish(lane)).toBe(true)
    expect(takeAll(memory)).toEqual([[8n]])
  })

  it('publishes by itself at batchSize, and, while the ring is full, tries again every batchSize keys', () => {
    const memory = memoryAt({ capacity: 2, laneCapacity: 64 })
    const lane = open(memory, { batchSize: 4 })
    const inRing = () => (memory.words[TAIL] - memory.words[HEAD]) & (2 ** 30 - 1)
    const stagedAfter = (count: number): number[] =>
      Array.from({ length: count }, (_, i) => {
        stage(lane, i, 0)
        return (lane.end - lane.published) | 0
      })
    expect(stagedAfter(8)).toEqual([1, 2, 3, 0, 1, 2, 3, 0])
    expect(inRing()).toBe(2)
    expect(stagedAfter(5)).toEqual([1, 2, 3, 4, 5])
    expect(takeAll(memory)).toHaveLength(2)
    expect(stagedAfter(2)).toEqual([6, 7])
    expect(stagedAfter(2)).toEqual([0, 1])
    expect(takeAll(memory)).toEqual([
      [0n, 1n, 2n, 3n, 0n, 1n, 0n, 1n].map((_, i) => BigInt([0, 1, 2, 3, 4, 0, 1, 0][i])),
    ])
    expect(readTotal(lane.words, lane.header + LANE_BATCHES)).toBe(3)
  })

  it('wakes to room without sleeping when it is there already', () => {
    const memory = memoryAt()
    const lane = open(memory)
    stageMany(lane, lanesOf([1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n]), 8)
    takeAll(memory)
    const wait = jest.spyOn(Atomics, 'wait')
    expect(sleepForRoom(lane, 8, 0, 1000)).toBe(true)
    expect(wait).not.toHaveBeenCalled()
    wait.mockRestore()
    expect(roomOf(lane)).toBe(8)
  })

  it('notes the most keys it had in flight', () => {
    const memory = memoryAt()
    const lane = open(memory)
    const peak = () => memory.words[lane.header + LANE_IN_FLIGHT_PEAK]
    publishMany(lane, lanesOf([1n, 2n]), 2)
    publishMany(lane, lanesOf([3n]), 1)
    expect(peak()).toBe(3)
    takeAll(memory)
    publishMany(lane, lanesOf([4n, 5n]), 2)
    expect(peak()).toBe(3)
    publishMany(lane, lanesOf([6n, 7n]), 2)
    expect(peak()).toBe(4)
  })
})

describe('A lane', () => {
  it('C6: loses and repeats nothing, whatever is staged, published and consumed in whatever order', () => {
    const operation = fc.oneof(
      { weight: 4, arbitrary: fc.constant('stage' as const) },
      { weight: 2, arbitrary: fc.integer({ min: 1, max: 8 }) },
      { weight: 1, arbitrary: fc.constant('publish' as const) },
      { weight: 1, arbitrary: fc.constant('take' as const) },
      { weight: 1, arbitrary: fc.constant('others' as const) },
    )
    fc.assert(
      fc.property(
        fc.array(operation, { maxLength: 120 }),
        fc.constantFrom(...ends),
        fc.integer({ min: 1, max: 8 }),
        fc.constantFrom(1, 2, 4),
        (operations, laneEnd, batchSize, capacity) => {
          const memory = smallMemory({ capacity, start: { laneEnd, position: 2 ** 29 } })
          const lane = open(memory, { batchSize })
          const marked: bigint[] = []
          const taken: bigint[] = []
          let next = 0n
          for (const each of operations) {
            if (each === 'stage') {
              if (stage(lane, Number(next), 0)) marked.push(next)
              next++
            } else if (each === 'publish') publish(lane)
            else if (each === 'take') taken.push(...(take(memory) ?? []))
            else if (each === 'others') push(memory, controlToken(NOP, 0))
            else {
              const keys = Array.from({ length: each }, (_, i) => next + BigInt(i))
              next += BigInt(each)
              if (stageMany(lane, lanesOf(keys), each)) marked.push(...keys)
            }
            const { readEnd, published, stagedEnd } = endsOf(lane)
            const counts = [
              (published - readEnd) | 0,
              (stagedEnd - published) | 0,
              (stagedEnd - readEnd) | 0,
            ]
            if (counts.some((count) => count < 0 || count > 8))
              throw new Error(`ends ${counts.join()}`)
          }
          for (let more = true; more;) {
            more = !publish(lane)
            taken.push(...takeAll(memory).flat())
          }
          expect(taken).toEqual(marked)
        },
      ),
    )
  })

  it('arms the clock with its first staged key, not while the clock is armed', () => {
    const memory = smallMemory()
    const clock = {
      armed: false,
      armings: 0,
      arm: () => ((clock.armed = true), clock.armings++, undefined),
    }
    const lane = open(memory, { batchSize: 4, clock })
    for (let i = 0; i < 3; i++) stage(lane, i, 0)
    expect(clock.armings).toBe(1)
    stage(lane, 3, 0)
    for (let i = 0; i < 3; i++) stage(lane, i, 0)
    expect(clock.armings).toBe(1)
    publish(lane)
    clock.armed = false
    setDue(lane)
    stage(lane, 1, 0)
    expect(clock.armings).toBe(2)
  })

  it('arms no clock for a batch that goes out at once', () => {
    const memory = smallMemory()
    const clock = { armed: false, armings: 0, arm: () => (clock.armings++, undefined) }
    const lane = open(memory, { batchSize: 1, clock })
    stage(lane, 1, 0)
    stageMany(lane, lanesOf([1n, 2n]), 2)
    expect(clock.armings).toBe(0)
  })

  it('publishes with the next mark when the tracker asks, and once for each time it asks', () => {
    const memory = smallMemory()
    const lane = open(memory)
    stage(lane, 1, 0)
    memory.words[lane.header + LANE_ATTN] += 2
    stage(lane, 2, 0)
    expect((lane.end - lane.published) | 0).toBe(0)
    stage(lane, 3, 0)
    expect((lane.end - lane.published) | 0).toBe(1)
    expect(takeAll(memory)).toEqual([[1n, 2n]])
  })

  it('C9: refuses marks once the tracker stops, and publishes what was staged before', () => {
    const memory = smallMemory()
    const lane = open(memory)
    stage(lane, 1, 0)
    memory.words[lane.header + LANE_ATTN] |= 1
    for (let i = 0; i < 3; i++) expect(stage(lane, 2, 0)).toBe(false)
    expect(stageMany(lane, lanesOf([2n]), 1)).toBe(false)
    expect(endsOf(lane)).toMatchObject({ stagedEnd: 1, published: 1 })
  })

  it('takes no marks once it is closed, and asks to be freed for its own generation', () => {
    const memory = smallMemory({ start: { generation: 8191 } })
    open(memory)
    const lane = open(memory)
    stage(lane, 1, 0)
    expect(closeLane(lane)).toBe(true)
    expect(stage(lane, 2, 0)).toBe(false)
    expect(stageMany(lane, lanesOf([2n]), 1)).toBe(false)
    const token = tokenOf(peek(memory, 0))
    expect([
      token >>> KIND_SHIFT,
      (token & PAYLOAD_MASK) >>> GENERATION_BITS,
      token & 8191,
    ]).toEqual([CLOSE, 1, 8191])
  })
})

describe('Totals', () => {
  const CARRY = 2 ** 32
  const total = (value: number): Memory['words'] => {
    const { words } = smallMemory({ start: { totals: [[100, value]] } })
    return words
  }

  it('are exact up to 2^53, carries included', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.nat(),
          fc.integer({ min: CARRY - 3, max: CARRY + 3 }),
          fc.integer({ min: 2 ** 53 - 2 ** 40, max: 2 ** 53 - 2 ** 36 }),
        ),
        fc.array(fc.integer({ min: 0, max: 2 ** 31 - 1 }), { maxLength: 10 }),
        (start, additions) => {
          const words = total(start)
          expect(readTotal(words, 100)).toBe(start)
          for (const n of additions) addTotal(words, 100, n)
          expect(readTotal(words, 100)).toBe(additions.reduce((sum, n) => sum + n, start))
        },
      ),
    )
  })

  it('carry into both copies of their high word, and no other word', () => {
    const words = total(CARRY - 1)
    const before = words.slice()
    words[101] = 0
    carryTotal(words, 100)
    expect(readTotal(words, 100)).toBe(CARRY)
    before.set([1, 0, 1], 100)
    expect(words.slice()).toEqual(before)
  })

  it('are the same when an addition from a saved total is done again', () => {
    for (const before of [0, CARRY - 1, CARRY - 5, CARRY, 5 * CARRY - 2]) {
      const words = total(before)
      saveTotal(words, 100, 110)
      for (let i = 0; i < 3; i++) setTotal(words, 100, 110, 3)
      expect(readTotal(words, 100)).toBe(before + 3)
    }
  })

  it('are never read torn: before or after, whatever instant the other thread is at', () => {
    for (const before of [CARRY - 1, CARRY - 8, 7 * CARRY - 3, 12]) {
      for (let at = 0; at < 4; at++) {
        // All of the addition between two loads of the reader.
        const words = total(before)
        let loads = 0
        const read = watchAccesses(
          (kind) => {
            if (kind === 'load' && loads++ === at) addTotal(words, 100, 5)
          },
          () => readTotal(words, 100),
        )
        expect([before, before + 5]).toContain(read)
      }
      for (let stores = 0; stores < 4; stores++) {
        // The reader comes between two stores of the addition, which goes on while it reads.
        for (let loads = 0; loads < 6; loads++) {
          const words = total(before)
          const steps: (() => void)[] = []
          const next = total(before)
          addTotal(next, 100, 5)
          for (const word of [100, 101, 102]) steps.push(() => (words[word] = next[word]))
          for (const step of steps.splice(0, stores)) step()
          let seen = 0
          const read = watchAccesses(
            (kind) => {
              if (kind === 'load' && seen++ >= loads) steps.shift()?.()
            },
            () => readTotal(words, 100),
          )
          expect([before, before + 5]).toContain(read)
        }
      }
    }
  })

  it('can be read when the thread that adds died within a carry', () => {
    const words = total(CARRY - 1)
    words[100] = 1
    expect([CARRY - 1, 2 * CARRY - 1, CARRY]).toContain(readTotal(words, 100))
  })
})

describe('A key that is staged already', () => {
  const key = fc.oneof(
    fc.bigInt(0n, 6n),
    fc.bigInt(0n, 6n).map((id) => id << 32n),
    fc.constantFrom(2n ** 64n - 1n, 2n ** 31n, 2n ** 63n),
  )

  it('is not staged again until it is published, whatever else is; the record and the memory hold', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof({ weight: 6, arbitrary: key }, { weight: 1, arbitrary: fc.constant(undefined) }),
          { maxLength: 120 },
        ),
        (steps) => {
          const memory = smallMemory({ capacity: 4, laneCapacity: 16, start: { laneEnd: -3 } })
          const lane = open(memory)
          lane.recent = lane.recents
          const staged: bigint[] = []
          let suppressed = 0
          for (const each of steps) {
            if (each === undefined || staged.length === 16) {
              expect(publish(lane)).toBe(true)
              expect(take(memory) ?? []).toEqual(staged.splice(0))
              continue
            }
            const [lo, hi] = lanesOf([each])
            const { end } = lane
            expect(stage(lane, lo >>> 0, hi >>> 0)).toBe(true)
            if (lane.end === end) {
              suppressed++
              expect(staged).toContain(each)
            } else staged.push(each)
            expect(endsOf(lane).stagedEnd).toBe(lane.end)
            if (staged.length === 16 && lane.published === lane.end)
              expect(take(memory)).toEqual(staged.splice(0)) // the batch was full
          }
          expect(readTotal(memory.words, lane.header + LANE_SUPPRESSED)).toBe(suppressed)
        },
      ),
    )
  })

  it('is found at once when it was the last, and once more after a mark that failed half-way', () => {
    const memory = smallMemory({ laneCapacity: 4 })
    const lane = open(memory)
    lane.recent = lane.recents
    for (let round = 0; round < 3; round++) {
      for (const expected of [1, 1, 1]) {
        stage(lane, 7, round)
        expect((lane.end - lane.published) | 0).toBe(expected)
      }
      publish(lane)
      expect(take(memory)).toEqual([BigInt(7) | (BigInt(round) << 32n)])
    }
    // What an exception between the note and the key leaves: the note says `end`, where a lap ago
    // the same key lay.
    stage(lane, 7, 3)
    publish(lane)
    take(memory)
    for (const [i] of lane.recents.entries()) lane.recents[i] = lane.end
    expect(stage(lane, 7, 0)).toBe(true)
    expect((lane.end - lane.published) | 0).toBe(1)
  })

  it('is looked for while a tenth of the marks repeat one, and now and then', () => {
    const memory = smallMemory({ capacity: 8, laneCapacity: 64, batchSize: 16 })
    const lane = open(memory, { batchSize: 16 })
    const batches = (count: number, ids: (mark: number) => number): boolean[] =>
      Array.from({ length: count }, (_, batch) => {
        const before = lane.published
        for (let mark = 0; lane.published === before; mark++)
          stage(lane, ids(mark) + batch * 1000, 1)
        while (take(memory) !== undefined);
        return lane.recent !== undefined
      })
    const distinct = (mark: number): number => mark
    expect(batches(239, distinct)).not.toContain(true)
    expect(batches(1, distinct)).toEqual([true])
    expect(batches(15, distinct)).not.toContain(false)
    expect(batches(1, distinct)).toEqual([false]) // nothing was found
    expect(batches(240, (mark) => mark >> 1).indexOf(true)).toBe(239)
    expect(batches(64, (mark) => mark >> 1)).not.toContain(false) // every other mark
    // the last key of a batch goes out before it can come again
    expect(readTotal(memory.words, lane.header + LANE_SUPPRESSED)).toBe(64 * 15)
    expect(batches(16, distinct).indexOf(false)).toBe(15)
  })

  it.each([
    [16, true],
    [15, false],
  ])(
    'in 16 batches of nine keys: with %d that repeat one, looking for more is %s',
    (times, isOn) => {
      const memory = smallMemory({ laneCapacity: 64 })
      const lane = open(memory, { batchSize: 9 })
      lane.recent = lane.recents
      lane.untilReview = 16
      for (let batch = 0; batch < 16; batch++) {
        for (let id = 0; id < 9; id++) {
          stage(lane, id, batch)
          if (id === 0 && batch < times) stage(lane, id, batch)
        }
        takeAll(memory)
      }
      expect([lane.recent !== undefined, lane.end]).toEqual([isOn, 16 * 9])
    },
  )
})

describe('LANE_SUPPRESSED', () => {
  it('is carried into its high word', () => {
    const at = laneAt(smallMemory().layout, 0) + LANE_SUPPRESSED
    const memory = smallMemory({ start: { totals: [[at, 2 ** 32 - 1]] } })
    const lane = open(memory)
    lane.recent = lane.recents
    for (let i = 0; i < 3; i++) stage(lane, 7, 0)
    expect(readTotal(memory.words, at)).toBe(2 ** 32 + 1)
  })
})

describe('A total whose carry was interrupted', () => {
  const CARRY_FROM = 2 ** 32 - 1

  it('is right in all of its words when the addition is done again, wherever it was interrupted', () => {
    for (let deaths = 0; deaths < 4; deaths++) {
      for (const before of [CARRY_FROM, 5 * 2 ** 32 + CARRY_FROM, 7]) {
        const memory = smallMemory({ start: { totals: [[100, before]] } })
        const around = memory.words.slice(90, 110)
        saveTotal(memory.words, 100, 120)
        const death = interruptions([deaths])
        const { words } = watched(memory)
        try {
          watchAccesses(death.watch, () => setTotal(words, 100, 120, 3))
        } catch (error) {
          expect(error).toBeInstanceOf(Interrupted)
        }
        for (let again = 0; again < 2; again++) setTotal(memory.words, 100, 120, 3)
        const after = before + 3
        const hi = Math.floor(after / 2 ** 32)
        expect([...memory.words.subarray(100, 103)]).toEqual([hi, after | 0, hi])
        around.set([hi, after | 0, hi], 10)
        expect([...memory.words.subarray(90, 110)]).toEqual([...around])
      }
    }
  })

  it('stores its low word alone where nothing is carried', () => {
    const memory = smallMemory({ start: { totals: [[100, 2 ** 32 + 5]] } })
    const { words } = watched(memory)
    const stored: number[] = []
    watchAccesses(
      (kind, index) => {
        if (kind === 'store') stored.push(index)
      },
      () => addTotal(words, 100, 3),
    )
    expect([stored, readTotal(memory.words, 100)]).toEqual([[101], 2 ** 32 + 8])
  })
})

describe('What a word of the ring means to a thread that did not find EMPTY(lap)', () => {
  const geometry = fc.record({
    bits: fc.integer({ min: 0, max: 20 }),
    position: fc.integer({ min: 0, max: 2 ** 30 - 1 }),
    by: fc.integer({ min: 1, max: 9 }),
  })

  it('follows from how many laps it is ahead or behind, in rings of all sizes', () => {
    fc.assert(
      fc.property(geometry, ({ bits, position, by }) => {
        const lapAfter = (laps: number): number => lapOf(advance(position, laps * 2 ** bits), bits)
        const lap = lapAfter(0)
        const meaning = (word: number): number => classify(word, lap, bits)
        expect(meaning(fullWord(lap, 5))).toBe(TAKEN)
        expect(meaning(fullWord(lapAfter(-1), 5))).toBe(BEHIND_FULL)
        expect(meaning(emptyWord(lapAfter(1)))).toBe(PASSED)
        expect(meaning(emptyWord(lapAfter(-by)))).toBe(BEHIND_EMPTY)
        expect(meaning(emptyWord(lapAfter(1 + by)))).toBe(UNKNOWN)
        expect(meaning(emptyWord(lap))).toBe(UNKNOWN)
        expect([-1, -2, 2 ** 30, 2 ** 30 + 1].map(meaning)).toEqual([
          UNKNOWN,
          UNKNOWN,
          UNKNOWN,
          UNKNOWN,
        ])
      }),
    )
  })

  it('is read again when the tail has moved meanwhile, because there may be room by now', () => {
    const memory = smallMemory({ capacity: 2 })
    expect(fillRing(memory)).toBe(2)
    let looks = 0
    const pushed = watchAccesses(
      (kind, index) => {
        // The second look at the tail, after the word of a full ring: the aggregator empties the
        // ring, and another writer puts one token in.
        if (kind !== 'load' || index !== TAIL || ++looks !== 2) return
        takeAll(memory)
        push(memory, controlToken(NOP, 1))
      },
      () => push(memory, controlToken(NOP, 2)),
    )
    expect([pushed, push(memory, controlToken(NOP, 3))]).toEqual([true, false])
  })

  it('is an error that names the position and the word if the library never writes that word', () => {
    const memory = smallMemory({ capacity: 2, start: { position: 6 } })
    memory.words[memory.layout.ring] = 0x7fffffff
    expect(() => push(memory, controlToken(NOP, 0))).toThrow(
      'ring position 6 holds 2147483647, which no part of the library writes there',
    )
  })
})
