import { afterEach, describe, expect, it, jest } from '@jest/globals'
import { FINISHED_ALL, IDLE, step, WORKED } from '../../lib/aggregator/step.js'
import { BACKING_OFF, Supervisor } from '../../lib/aggregator/supervisor.js'
import { readError } from '../../lib/memory/failure.js'
import {
  CUR,
  epochAt,
  FAILED,
  FAILED_AT,
  FAILURES,
  FLAG_EVERYTHING,
  FLAG_FAULT,
  HEAD,
  INTENT_COUNT,
  LANE_DELIVERED,
  LANE_EVERYTHING,
  LANE_HARVESTED,
  LANE_OWNER,
  LANE_READ_END,
  LANE_STAGED_END,
  LANE_WAITING,
  LANE_WAKE,
  LANE_WAKE_AT,
  laneAt,
  LISTENING,
  OWNER,
  PROGRESS,
  QUEUED_PEAK,
  SIGNAL,
  SLOT_FLAGS,
  STOP_POSITION,
  STOPPED,
  WAIT_FOR_ROOM,
  WAIT_FOR_SLOT,
  WAITERS,
} from '../../lib/memory/map.js'
import type { Memory } from '../../lib/memory/memory.js'
import { readTotal } from '../../lib/memory/total.js'
import { closeLane, type Lane, openLane, publish, stageMany } from '../../lib/ring/lane.js'
import { push } from '../../lib/ring/ring.js'
import type { ControlKind } from '../../lib/ring/token.js'
import {
  CLOSE,
  controlToken,
  emptyWord,
  epochPayload,
  EVERYTHING,
  lapOf,
  NOP,
  SEAL,
  STOP,
  THREAD_BITS,
  writerPayload,
} from '../../lib/ring/token.js'
import { range, thrown } from '../support/in-process.js'
import { lanesOf, logOf, type MemoryOptions, noClock, smallMemory } from '../support/steps.js'

const THREAD = 3
let now = 5000

/** Memory, and an aggregator that has not begun. */
function scene(options: MemoryOptions = {}) {
  const memory = smallMemory(options)
  const supervisor = new Supervisor(memory, THREAD, () => now)
  return { memory, words: memory.words, supervisor }
}

function open(memory: Memory, threadId = 9): Lane {
  const lane = openLane(memory, threadId, memory.layout.laneCapacity, noClock)
  if (typeof lane === 'string') throw new Error(lane)
  return lane
}

/** So many batches, of so many keys each. */
function send(lane: Lane, batches = 1, keys = 1): void {
  for (let i = 0; i < batches; i++) {
    const all = range(1 + i * keys, keys).map(BigInt)
    if (!stageMany(lane, lanesOf(all), keys) || !publish(lane)) throw new Error('the ring is full')
  }
}

function control(memory: Memory, kind: ControlKind, payload = 0): void {
  if (!push(memory, controlToken(kind, payload))) throw new Error('the ring is full')
}

/** The token at the ring's head has failed so often already. */
function failedBefore({ words }: Memory, failures: number, at = words[HEAD] + 1): void {
  words[FAILED_AT] = at
  words[FAILURES] = failures
}

function failAt(index: number, message: string, times = 1): void {
  const { store } = Atomics
  jest.spyOn(Atomics, 'store').mockImplementation(((words: any, at: number, value: number) => {
    if (at === index && times-- > 0) throw new Error(message)
    return store(words, at, value)
  }) as any)
}

const flagsOf = ({ words, layout }: Memory) => words[epochAt(layout, 0) + SLOT_FLAGS]

afterEach(() => void jest.restoreAllMocks())

describe('a run of batches', () => {
  /** How many tokens each of two steps takes. */
  function stepsOf(memory: Memory, supervisor: Supervisor): [number, number] {
    const { words } = memory
    const start = words[HEAD]
    supervisor.run(1)
    const first = words[HEAD] - start
    supervisor.run(1)
    return [first, words[HEAD] - start - first]
  }

  it.each([0, 60])('is 16 tokens of one writer, from ring position %d', (position) => {
    const { memory, supervisor } = scene({
      capacity: 64,
      laneCapacity: 64,
      maxKeysPerEpoch: 64,
      start: { position },
    })
    send(open(memory), 20)
    expect(stepsOf(memory, supervisor)).toEqual([16, 4])
    expect(logOf(memory, 0)).toEqual(range(1, 20).map(BigInt))
  })

  it('is half a lane of keys', () => {
    const { memory, supervisor } = scene()
    send(open(memory), 7)
    expect(stepsOf(memory, supervisor)).toEqual([4, 3])
  })

  it('is 1,024 keys', () => {
    const { memory, supervisor } = scene({ laneCapacity: 4096, maxKeysPerEpoch: 4096 })
    send(open(memory), 4, 512)
    expect(stepsOf(memory, supervisor)).toEqual([2, 2])
  })

  it("ends at another writer's batch, and at a token that is no batch", () => {
    const { memory, supervisor } = scene()
    const [one, two] = [open(memory), open(memory)]
    send(one, 2)
    send(two)
    control(memory, NOP)
    expect(stepsOf(memory, supervisor)).toEqual([2, 1])
    supervisor.run(10)
    expect(readTotal(memory.words, two.header + LANE_DELIVERED)).toBe(1)
  })

  it('ends at a batch that its lane does not hold', () => {
    const { memory, words, supervisor } = scene()
    const lane = open(memory)
    send(lane, 3)
    words[lane.stagedAt] = 2
    expect(supervisor.run(1)).toBe(WORKED)
    expect(words[HEAD]).toBe(2)
  })
})

describe('a batch that its lane does not hold', () => {
  it.each([
    ['too few keys', 1, 2],
    ['more keys than it has room for', 1000, 2],
    ['keys that have been taken back', -1, 2],
  ])('fails, with %s, and says how many there are', (_, staged, keys) => {
    const { memory, words, supervisor } = scene()
    supervisor.run(1)
    const lane = open(memory)
    send(lane, 1, keys)
    words[lane.stagedAt] = staged
    expect(supervisor.run(1)).toBe(BACKING_OFF)
    expect(readError(words)).toBe(`a batch of ${keys} keys, where its lane holds ${staged}`)
  })
})

describe('the end of a writer', () => {
  const generation = (words: Int32Array, lane: Lane) =>
    words[lane.header + LANE_OWNER] >>> THREAD_BITS

  it('harvests a lane that is full, and its pending markEverything()', () => {
    const { memory, words, supervisor } = scene({ maxKeysPerEpoch: 64 })
    const lane = open(memory)
    send(lane, 1, 8)
    supervisor.run(1)
    words[lane.stagedAt] += 8
    words[lane.header + LANE_EVERYTHING] = 1
    closeLane(lane)
    expect(supervisor.run(10)).toBe(IDLE)
    expect(logOf(memory, 0).length).toBe(8)
    expect([words[lane.header + LANE_HARVESTED], flagsOf(memory)]).toEqual([8, FLAG_EVERYTHING])
  })

  it.each([9, 1000, -1])('fails where its lane holds %d keys, and says so', (staged) => {
    const { memory, words, supervisor } = scene()
    supervisor.run(1)
    const lane = open(memory)
    words[lane.stagedAt] = staged
    closeLane(lane)
    expect(supervisor.run(10)).toBe(BACKING_OFF)
    expect(readError(words)).toBe(`a lane holds ${staged} keys, of 8 that it can`)
  })

  it.each([
    [0, 0],
    [3, 3],
    [8, 8],
  ])('frees its lane when it is given up with %d keys staged', (staged, delivered) => {
    const { memory, words, supervisor } = scene({ start: { laneEnd: 2 } })
    const lane = open(memory)
    words[lane.stagedAt] = 2 + staged
    closeLane(lane)
    failedBefore(memory, 8)
    expect(supervisor.run(10)).toBe(IDLE)
    expect(words[lane.header + LANE_READ_END]).toBe(2 + staged)
    expect(readTotal(words, lane.header + LANE_DELIVERED)).toBe(delivered)
    expect([generation(words, lane), words[lane.header + LANE_HARVESTED]]).toEqual([1, 0])
    expect([flagsOf(memory), logOf(memory, 0)]).toEqual([FLAG_FAULT, []])
  })

  it("leaves the lane of the next owner alone when the last one's is given up", () => {
    const { memory, words, supervisor } = scene()
    const lane = open(memory)
    control(memory, CLOSE, writerPayload(lane.id, 5))
    failedBefore(memory, 8)
    expect(supervisor.run(10)).toBe(IDLE)
    expect([generation(words, lane), lane.open]).toEqual([0, true])
    expect(words[lane.header + LANE_OWNER]).not.toBe(0)
  })
})

describe('the end of the ring', () => {
  it('takes along the pending markEverything() of an open lane', () => {
    const { memory, words, supervisor } = scene()
    const lane = open(memory)
    words[lane.header + LANE_EVERYTHING] = 1
    control(memory, STOP)
    expect(supervisor.run(100)).toBe(FINISHED_ALL)
    expect(flagsOf(memory)).toBe(FLAG_EVERYTHING)
  })

  it('does not ask a lane that is free', () => {
    const { memory, words, supervisor } = scene()
    words[laneAt(memory.layout, 1) + LANE_EVERYTHING] = 1
    words[laneAt(memory.layout, 1) + LANE_STAGED_END] = 1
    control(memory, STOP)
    expect(supervisor.run(100)).toBe(FINISHED_ALL)
    expect(flagsOf(memory)).toBe(0)
  })

  it.each([
    [0, 3],
    [2 ** 30 - 2, 1], // STOP is the last token before the positions begin anew
  ])('is where the first STOP lies (from position %d)', (position, stop) => {
    const { memory, words, supervisor } = scene({ start: { position } })
    control(memory, NOP)
    for (const _ of range(0, 3)) control(memory, STOP)
    expect(supervisor.run(100)).toBe(FINISHED_ALL)
    expect(words[STOP_POSITION]).toBe(stop)
  })
})

describe("the aggregator's chores", () => {
  const wakes = ({ words, layout }: Memory) =>
    range(0, layout.maxWriters).map((id) => words[laneAt(layout, id) + LANE_WAKE])

  /** A writer says that it waits. */
  function waits({ words, layout }: Memory, id: number, what: number, wakeAt: number): void {
    words[laneAt(layout, id) + LANE_WAITING] = what
    words[laneAt(layout, id) + LANE_WAKE_AT] = wakeAt
    words[WAITERS + (id >> 5)] |= 1 << (id & 31)
  }

  it('wake a writer that waits for room when all of that room is there', () => {
    const { memory, words, supervisor } = scene()
    const lane = open(memory)
    supervisor.run(1)
    const [before] = wakes(memory)
    send(lane, 7)
    waits(memory, 0, WAIT_FOR_ROOM, 7)
    supervisor.run(1)
    expect(words[lane.header + LANE_READ_END]).toBe(4)
    supervisor.run(0)
    expect([wakes(memory)[0], words[WAITERS]]).toEqual([before, 1])
    supervisor.run(10)
    expect([wakes(memory)[0], words[WAITERS]]).toEqual([before + 1, 0])
  })

  it('leave a writer asleep while room for it is missing, and wake the others', () => {
    const { memory, words, supervisor } = scene({ maxWriters: 40 })
    supervisor.run(1)
    const before = wakes(memory)
    waits(memory, 1, WAIT_FOR_ROOM, 1)
    waits(memory, 2, WAIT_FOR_SLOT, 1)
    waits(memory, 3, WAIT_FOR_ROOM, 0)
    waits(memory, 33, WAIT_FOR_ROOM, 2)
    waits(memory, 34, WAIT_FOR_SLOT, 2)
    supervisor.run(1)
    const woken = wakes(memory).flatMap((count, id) => (count === before[id] ? [] : [id]))
    expect([woken, words[WAITERS], words[WAITERS + 1]]).toEqual([[2, 3, 34], 2, 2])
  })

  it('look at no more groups of writers than there are', () => {
    const { words, supervisor } = scene({ maxWriters: 32 })
    words[WAITERS + 1] = 1
    supervisor.run(1)
    expect(words[WAITERS + 1]).toBe(1)
  })

  it('tell a listening tracker, once, when the ring is empty', () => {
    const { words, supervisor } = scene()
    supervisor.run(1)
    const before = words[SIGNAL]
    supervisor.run(1)
    expect(words[SIGNAL]).toBe(before)
    words[LISTENING] = 1
    supervisor.run(1)
    supervisor.run(1)
    expect([words[SIGNAL], words[LISTENING]]).toEqual([before + 1, 0])
  })

  it('are done every 16 tokens while the ring is not empty', () => {
    const { memory, words, supervisor } = scene({ capacity: 64 })
    for (const _ of range(0, 40)) control(memory, NOP)
    const seen = range(0, 36).filter(() => {
      words[LISTENING] = 1
      supervisor.run(1)
      return words[LISTENING] === 0
    })
    expect([seen, words[QUEUED_PEAK]]).toEqual([[15, 31], 24])
  })
})

describe('the supervisor of the aggregator', () => {
  it('handles no more tokens than it is told to', () => {
    const { memory, words, supervisor } = scene()
    for (const _ of range(0, 3)) control(memory, EVERYTHING)
    words[LISTENING] = 1
    expect([supervisor.run(2), words[HEAD], words[LISTENING]]).toEqual([WORKED, 2, 1])
  })

  it('recovers once, not each time', () => {
    const { memory, words, supervisor } = scene()
    expect([supervisor.run(1), words[PROGRESS] > 0]).toEqual([IDLE, true])
    const wake = words[laneAt(memory.layout, 0) + LANE_WAKE]
    supervisor.run(1)
    expect(words[laneAt(memory.layout, 0) + LANE_WAKE]).toBe(wake)
  })

  it('forgets failures at a token that has been handled, and at no other', () => {
    const { memory, words, supervisor } = scene({ start: { position: 2 } })
    failedBefore(memory, 3)
    supervisor.run(1)
    expect(words[FAILED_AT]).toBe(3)
    control(memory, NOP)
    supervisor.run(1)
    expect(words[FAILED_AT]).toBe(0)
  })

  it('gives up no token because another has failed', () => {
    const { memory, supervisor } = scene()
    send(open(memory))
    failedBefore(memory, 8, 99)
    supervisor.run(1)
    expect([logOf(memory, 0), flagsOf(memory)]).toEqual([[1n], 0])
  })

  it('reports an error without the rest of a longer one that came before', () => {
    const { memory, words, supervisor } = scene()
    control(memory, NOP)
    for (const message of ['a long message', 'short']) {
      failAt(HEAD, message)
      expect(supervisor.run(1)).toBe(BACKING_OFF)
      jest.restoreAllMocks()
      expect(readError(words)).toBe(message)
      now = supervisor.retryAt
    }
  })

  it('wakes the tracker for a failure after which it cannot continue, and for no other', () => {
    const { memory, words, supervisor } = scene()
    control(memory, NOP)
    supervisor.run(0)
    const before = words[SIGNAL]
    failAt(HEAD, 'planted')
    const run = supervisor.run(1)
    expect([run, words[SIGNAL]]).toEqual([BACKING_OFF, before + 1]) // the token's own
    words[memory.layout.ring] = -1
    now = supervisor.retryAt
    expect(supervisor.run(1)).toBe(BACKING_OFF)
    // Two more: the recovery's, and that of the failure.
    expect([words[FAILED], words[SIGNAL]]).toEqual([1, before + 3])
  })

  it.each([
    ['SEAL', SEAL, CUR],
    ['STOP', STOP, STOPPED],
  ] as const)('cannot continue when a %s has failed eight times', (_, kind, index) => {
    const { memory, words, supervisor } = scene({ start: { position: 2 } })
    control(memory, kind, kind === SEAL ? epochPayload(1, 1) : 0)
    failAt(index, 'planted', 8)
    for (const failures of range(1, 8)) {
      expect([supervisor.run(1), words[FAILED]]).toEqual([BACKING_OFF, failures === 8 ? 2 : 0])
      now = supervisor.retryAt
    }
    expect(thrown(() => supervisor.run(1)).code).toBe('ERR_DIRTYRING_AGGREGATOR_FAILED')
  })

  describe('that finds the slot at its head freed', () => {
    function freed() {
      const all = scene({ start: { position: 2 } })
      all.supervisor.run(1)
      const { ring, capacityBits } = all.memory.layout
      all.words[ring + 2] = emptyWord(lapOf(2, capacityBits) + 1)
      return all
    }

    it.each([
      ['the role', OWNER],
      ['the head', HEAD],
    ])('stops when another aggregator has %s', (_, index) => {
      const { words, supervisor } = freed()
      words[index] += 1
      expect(thrown(() => supervisor.run(1))).toMatchObject({
        code: 'ERR_DIRTYRING_AGGREGATOR_TAKEN',
        message: 'another aggregator handles the same tokens: this one has stopped',
      })
    })

    it('reports a corrupt ring when no other aggregator has either', () => {
      const { words, supervisor } = freed()
      expect(supervisor.run(1)).toBe(BACKING_OFF)
      expect(readError(words)).toMatch(/^ring position 2 holds 2,/)
      expect(() => step(supervisor.aggregator)).toThrow('ring position 2 holds 2,')
    })
  })
})

describe('an aggregator that begins', () => {
  it('is told on which thread another one runs', () => {
    const { memory } = scene()
    expect(thrown(() => new Supervisor(memory, 8))).toMatchObject({
      code: 'ERR_DIRTYRING_AGGREGATOR_TAKEN',
      message: `the aggregator runs already, on thread ${THREAD}`,
    })
  })

  it.each<[string, (memory: Memory) => void, string]>([
    [
      'an open epoch that no cut has begun',
      ({ words }) => (words[CUR] = 2 ** 24),
      'CUR is 16777216, which no part of the library writes there',
    ],
    [
      'an open epoch that is sealed',
      ({ words }) => (words[CUR] = 0),
      "CUR is 0, and what that epoch's slot holds is sealed already",
    ],
    [
      'an intent that none wrote',
      ({ words }) => (words[INTENT_COUNT] = 3),
      "the aggregator's intent of 1 tokens and 3 keys at 0 is not what it wrote",
    ],
  ])('cannot continue from %s, and says so', (_, damage, message) => {
    const { memory, words, supervisor } = scene()
    control(memory, SEAL, epochPayload(1, 1))
    supervisor.run(1)
    words[OWNER] = 0
    damage(memory)
    const next = new Supervisor(memory, THREAD, () => now)
    expect([next.run(1), words[FAILED], readError(words)]).toEqual([BACKING_OFF, 1, message])
  })

  it('after a STOP cannot continue from a head that no STOP has left', () => {
    for (const head of [0, 3]) {
      const { memory, words, supervisor } = scene()
      control(memory, STOP)
      supervisor.run(1)
      expect(words[STOP_POSITION]).toBe(2)
      words[OWNER] = 0
      words[HEAD] = head
      const next = new Supervisor(memory, THREAD, () => now)
      const outcome = [next.run(1), words[FAILED]]
      expect([head, ...outcome]).toEqual(head === 0 ? [0, WORKED, 0] : [3, BACKING_OFF, 1])
    }
  })
})
