import { describe, expect, it } from '@jest/globals'
import { recover, takeRole } from '../../lib/aggregator/state.js'
import { FINISHED_ALL, IDLE, LOST_ROLE, step, WORKED } from '../../lib/aggregator/step.js'
import { BACKING_OFF, readError, Supervisor } from '../../lib/aggregator/supervisor.js'
import { doChores } from '../../lib/aggregator/wake.js'
import {
  BATCHES,
  CUR,
  epochAt,
  EVENTS,
  FAILED,
  FINISHED,
  FLAG_EVERYTHING,
  FLAG_FAULT,
  FLAG_OVERFLOW,
  FLAG_UNPUBLISHED,
  HARVESTED,
  HEAD,
  INTENT_COUNT,
  INTENT_POSITION,
  INTENT_START,
  INTENT_TOKENS,
  ITERATIONS,
  KEYS,
  LANE_DELIVERED,
  LANE_OWNER,
  LANE_READ_END,
  LANE_STAGED_END,
  LANE_THREAD,
  LANE_WAKE,
  laneAt,
  OWNER,
  PANICS,
  PROGRESS,
  QUEUED_PEAK,
  SIGNAL,
  SLOT_COUNT,
  SLOT_FLAGS,
  SLOT_GROWTH,
  SLOT_RESTORED,
  SLOT_ZERO,
  STOP_POSITION,
  TAIL,
  WAITERS,
} from '../../lib/memory/map.js'
import type { Memory } from '../../lib/memory/memory.js'
import { readSealedSlot } from '../../lib/memory/slot.js'
import type { Start } from '../../lib/memory/start.js'
import { readTotal } from '../../lib/memory/total.js'
import { closeLane, openLane, publish, stage, stageMany, type Lane } from '../../lib/ring/lane.js'
import { push } from '../../lib/ring/ring.js'
import {
  advance,
  BATCH,
  CLOSE,
  controlToken,
  emptyWord,
  EPOCH_MASK,
  epochPayload,
  EVERYTHING,
  fullWord,
  GENERATION_MASK,
  lapOf,
  NOP,
  POISON,
  REAP,
  RESTORE,
  SEAL,
  STOP,
  THREAD_BITS,
  THREAD_MASK,
  writerPayload,
} from '../../lib/ring/token.js'
import { Control } from '../../lib/tracker/control.js'
import { Listeners } from '../../lib/tracker/events.js'
import {
  fromEveryDeath,
  interruptions,
  lanesOf,
  logOf,
  noClock,
  picture,
  smallMemory,
  watchAccesses,
  watched,
  type MemoryOptions,
  type OnAccess,
} from '../support/steps.js'

const THREAD = 3
const clones = (memory: Memory): Memory => ({
  words: new Int32Array(new SharedArrayBuffer(memory.words.byteLength)) as Memory['words'],
  layout: memory.layout,
  native: undefined,
})

function open(memory: Memory, threadId = 9): Lane {
  const lane = openLane(memory, threadId, memory.layout.laneCapacity, noClock)
  if (typeof lane === 'string') throw new Error(lane)
  return lane
}

function send(lane: Lane, ...keys: bigint[]): void {
  if (!stageMany(lane, lanesOf(keys), keys.length) || !publish(lane)) throw new Error('no room')
}

function control(memory: Memory, kind: number, payload = 0): void {
  if (!push(memory, controlToken(kind, payload))) throw new Error('the ring is full')
}

/** The open epoch, mod 2^19, as whoever seals knows it. */
const epochOf = (memory: Memory): number => (memory.words[CUR] >>> 4) & EPOCH_MASK

const seal = (memory: Memory, slot: number, ahead = 1) =>
  control(memory, SEAL, epochPayload(slot, epochOf(memory) + ahead))
const restore = (memory: Memory, slot: number, ahead = 0) =>
  control(memory, RESTORE, epochPayload(slot, epochOf(memory) + ahead))

/** Step until there is nothing to do, on a thread that knows nothing but the memory. */
function runToEnd(memory: Memory, raw: Memory): number {
  raw.words[OWNER] = 0
  const a = takeRole(memory, THREAD)
  recover(a)
  for (;;) {
    const result = step(a)
    if (result === LOST_ROLE) throw new Error('the role was lost')
    if (result !== WORKED) return result
  }
}

/**
 * The same by a supervisor, with `watch` told of all that run() stores until it says that it is
 * done.
 */
function superviseToEnd(memory: Memory, raw: Memory, watch: OnAccess = () => undefined): void {
  raw.words[OWNER] = 0
  let now = 0
  const supervisor = new Supervisor(memory, THREAD, () => (now += 2000))
  watchAccesses(watch, () => {
    for (let result = WORKED; result !== IDLE && result !== FINISHED_ALL;)
      result = supervisor.run(100)
  })
}

const run = (memory: Memory): number => runToEnd(memory, memory)

interface Scenario {
  name: string
  options?: MemoryOptions
  /** What lies in the ring, the lanes and the sets. */
  prepare(memory: Memory): void
}

const scenarios: Scenario[] = [
  {
    name: 'a batch with key 0 and a repeated key',
    prepare(memory) {
      send(open(memory), 5n, 0n, 5n, 2n ** 63n)
    },
  },
  {
    name: 'a batch that makes the table grow three times',
    prepare(memory) {
      send(open(memory), 1n, 2n, 0n, 3n, 4n, 5n, 6n, 7n)
    },
  },
  {
    name: 'batches that go beyond the most keys an epoch holds',
    options: { maxKeysPerEpoch: 4 },
    prepare(memory) {
      const lane = open(memory)
      send(lane, 1n, 2n, 3n)
      send(lane, 3n, 0n, 1n, 9n, 2n)
    },
  },
  {
    name: 'a batch across the end of its lane',
    prepare(memory) {
      const lane = open(memory)
      send(lane, 11n, 12n, 13n, 14n, 15n)
      run(memory)
      send(lane, 21n, 22n, 0n, 24n, 25n, 26n)
    },
  },
  {
    name: 'a seal between two batches, into a slot that was used before',
    prepare(memory) {
      const lane = open(memory)
      send(lane, 1n, 0n, 2n)
      control(memory, EVERYTHING)
      seal(memory, 1)
      send(lane, 3n)
      seal(memory, 2, 2)
      run(memory)
      send(lane, 4n)
      seal(memory, 0)
      send(lane, 5n, 1n)
    },
  },
  {
    name: 'a restore of keys and reasons into a later epoch',
    prepare(memory) {
      const lane = open(memory)
      send(lane, 1n, 0n, 2n)
      control(memory, EVERYTHING)
      seal(memory, 1)
      send(lane, 3n, 2n)
      run(memory)
      restore(memory, 0, -1)
      send(lane, 4n)
    },
  },
  {
    name: 'everything is dirty',
    prepare(memory) {
      control(memory, EVERYTHING)
    },
  },
  {
    name: 'a writer that closes with keys staged across the end of its lane',
    prepare(memory) {
      const lane = open(memory)
      send(lane, 1n, 2n, 3n, 4n, 5n, 6n)
      run(memory)
      for (const key of [7n, 0n, 1n, 9n]) stage(lane, Number(key), 0)
      closeLane(lane)
    },
  },
  {
    name: 'a dead writer with a batch in flight and keys staged, reaped, and reaped once more',
    prepare(memory) {
      const lane = open(memory)
      send(lane, 1n, 2n)
      stage(lane, 0, 0)
      stage(lane, 3, 0)
      control(memory, REAP, writerPayload(lane.id, lane.generation))
      control(memory, REAP, writerPayload(lane.id, lane.generation))
    },
  },
  {
    name: 'a writer that closes with nothing staged, and a tail that had overtaken',
    prepare(memory) {
      closeLane(open(memory))
      memory.words[TAIL] = advance(memory.words[TAIL], 2)
    },
  },
  {
    name: 'a stop with tokens behind it and keys that were never published',
    options: { capacity: 4 },
    prepare(memory) {
      const [first, second] = [open(memory), open(memory, 10)]
      send(first, 1n, 2n)
      control(memory, STOP)
      send(second, 0n, 3n)
      stage(second, 4, 0)
      closeLane(first)
    },
  },
  {
    name: 'a stop in the middle of a lap, with nothing behind it',
    options: { capacity: 4 },
    prepare(memory) {
      send(open(memory), 1n)
      run(memory)
      control(memory, STOP)
    },
  },
  {
    name: 'a stop that was finished by one that died at its last store, with keys staged since',
    options: { capacity: 4 },
    prepare(memory) {
      const lane = open(memory)
      send(lane, 1n)
      control(memory, STOP)
      run(memory)
      memory.words[FINISHED] = 0
      stage(lane, 2, 0)
    },
  },
  {
    name: 'a stop in a ring of one slot',
    options: { capacity: 1 },
    prepare(memory) {
      const lane = open(memory)
      stage(lane, 1, 0)
      control(memory, STOP)
    },
  },
]

const belowWraps = (options: MemoryOptions, position: number): Start => {
  const { layout } = smallMemory(options)
  const below = 2 ** 32 - 1
  return {
    position,
    laneEnd: 2 ** 31 - 2,
    epoch: 2 ** 19 - 1,
    generation: 2 ** 13 - 1,
    totals: [
      EVENTS,
      BATCHES,
      KEYS,
      HARVESTED,
      laneAt(layout, 0) + LANE_DELIVERED,
      laneAt(layout, 1) + LANE_DELIVERED,
    ].map((at) => [at, below]),
  }
}

const starts: [string, (options: MemoryOptions) => Start][] = [
  ['from zero', () => ({})],
  ['from just below every wrap', (options) => belowWraps(options, 2 ** 30 - 2)],
  ['from a little further below every wrap', (options) => belowWraps(options, 2 ** 30 - 5)],
]

describe.each(starts)('C8: an aggregator %s', (_, startFor) => {
  it.each(scenarios)(
    'that dies at any store, and its successors too, loses nothing and does nothing twice: $name',
    ({ options = {}, prepare }) => {
      const before = smallMemory({ ...options, start: startFor(options) })
      prepare(before)
      const raw = clones(before)
      const seen = watched(raw)
      raw.words.set(before.words)
      const result = runToEnd(seen, raw)
      const undisturbed = picture(raw)
      const expected = JSON.stringify(undisturbed)
      expect(expected).not.toBe(JSON.stringify(picture(before)))
      raw.words.set(before.words)
      let ended = -1
      const states = fromEveryDeath(
        raw,
        new Set([
          OWNER,
          PROGRESS,
          SIGNAL,
          QUEUED_PEAK,
          ...[0, 1].map((writer) => laneAt(raw.layout, writer) + LANE_WAKE),
        ]),
        () => (ended = runToEnd(seen, raw)),
        () => {
          if (ended !== result) expect(ended).toBe(result)
          const end = picture(raw)
          if (JSON.stringify(end) !== expected) expect(end).toEqual(undisturbed)
        },
      )
      expect(states).toBeGreaterThan(2)
    },
  )

  it.each(scenarios)(
    'that throws at any store contains it and does the same work: $name',
    ({ options = {}, prepare }) => {
      const before = smallMemory({ ...options, start: startFor(options) })
      prepare(before)
      const raw = clones(before)
      const seen = watched(raw)
      raw.words.set(before.words)
      superviseToEnd(seen, raw)
      const undisturbed = picture(raw)
      const expected = JSON.stringify(undisturbed)
      let throws = 0
      for (; ; throws++) {
        raw.words.set(before.words)
        const plan = interruptions([throws])
        superviseToEnd(seen, raw, plan.watch)
        if (plan.left === 1) break
        const end = picture(raw)
        if (
          JSON.stringify(end) !== expected ||
          raw.words[PANICS] !== 1 ||
          raw.words[OWNER] !== THREAD + 1
        ) {
          expect({ threwAtStore: throws, panics: raw.words[PANICS], ...end }).toEqual({
            threwAtStore: throws,
            panics: 1,
            ...undisturbed,
          })
        }
      }
      expect(throws).toBeGreaterThan(20)
    },
  )
})

describe('The aggregator, token by token', () => {
  it('C13: takes the role once', () => {
    const memory = smallMemory()
    takeRole(memory, 4)
    expect(() => takeRole(memory, 5)).toThrow(
      expect.objectContaining({ code: 'ERR_DIRTYRING_AGGREGATOR_TAKEN' }),
    )
    expect(memory.words[OWNER]).toBe(5)
  })

  it('C1, C2: puts the keys of batches into the open epoch, each once, in order of first mark', () => {
    const memory = smallMemory()
    const [one, two] = [open(memory), open(memory)]
    send(one, 3n, 0n, 3n)
    send(two, 2n ** 64n - 1n, 0n)
    send(one, 1n)
    expect(run(memory)).toBe(IDLE)
    expect(logOf(memory, 0)).toEqual([3n, 0n, 2n ** 64n - 1n, 1n])
    expect([EVENTS, BATCHES, KEYS].map((at) => readTotal(memory.words, at))).toEqual([3, 3, 6])
    expect(readTotal(memory.words, one.header + LANE_DELIVERED)).toBe(4)
    expect(memory.words[one.header + LANE_READ_END]).toBe(4)
  })

  it('C3: cuts where the SEAL lies in the ring, not where the aggregator was when it came', () => {
    const memory = smallMemory()
    const lane = open(memory)
    send(lane, 1n, 2n)
    seal(memory, 2)
    send(lane, 2n, 3n)
    run(memory)
    expect(logOf(memory, 0)).toEqual([1n, 2n])
    expect(logOf(memory, 2)).toEqual([2n, 3n])
    expect(memory.words[CUR]).toBe((1 << 4) | 2)
  })

  it('seals into a slot that another epoch had, with nothing left of that one', () => {
    const memory = smallMemory()
    const lane = open(memory)
    send(lane, 0n, 1n, 2n, 3n, 4n, 5n, 6n, 7n)
    control(memory, EVERYTHING)
    seal(memory, 1)
    run(memory)
    restore(memory, 0, -1)
    seal(memory, 0)
    send(lane, 6n)
    run(memory)
    const at = epochAt(memory.layout, 0)
    expect(logOf(memory, 0)).toEqual([6n])
    expect([SLOT_FLAGS, SLOT_RESTORED, SLOT_GROWTH].map((word) => memory.words[at + word])).toEqual(
      [0, 0, 0],
    )
  })

  it('does not seal twice', () => {
    const memory = smallMemory()
    send(open(memory), 1n)
    seal(memory, 1)
    seal(memory, 1)
    run(memory)
    expect(memory.words[CUR]).toBe((1 << 4) | 1)
    expect(logOf(memory, 0)).toEqual([1n])
  })

  it.each([
    ['the open slot', 0, 1],
    ['a slot that does not exist', 3, 1],
    ['the epoch after the next one', 1, 2],
    ['the open epoch, in another slot', 1, 0],
  ])('does not execute a seal that names %s: the ring is corrupt', (_, slot, ahead) => {
    const memory = smallMemory()
    seal(memory, slot, ahead)
    expect(() => run(memory)).toThrow(expect.objectContaining({ code: 'ERR_DIRTYRING_CORRUPT' }))
    expect(memory.words[CUR]).toBe(0)
  })

  it('C7: restores the keys and the reasons of an epoch into the open one, once', () => {
    const memory = smallMemory()
    const lane = open(memory)
    send(lane, 0n, 1n)
    control(memory, EVERYTHING)
    seal(memory, 1)
    send(lane, 1n, 2n)
    run(memory)
    restore(memory, 0, -1)
    run(memory)
    expect(logOf(memory, 1)).toEqual([1n, 2n, 0n])
    expect(memory.words[epochAt(memory.layout, 1) + SLOT_FLAGS]).toBe(FLAG_EVERYTHING)
    expect(memory.words[epochAt(memory.layout, 0) + SLOT_RESTORED]).toBe(1)
    seal(memory, 2)
    restore(memory, 0, -1)
    run(memory)
    expect(logOf(memory, 2)).toEqual([])
  })

  it('C6: says overflow for the first new key too many, not for keys that are in', () => {
    const memory = smallMemory({ maxKeysPerEpoch: 3 })
    const lane = open(memory)
    const flags = () => memory.words[epochAt(memory.layout, 0) + SLOT_FLAGS]
    send(lane, 1n, 0n, 2n)
    send(lane, 2n, 1n, 0n)
    run(memory)
    expect(flags()).toBe(0)
    send(lane, 2n, 9n)
    run(memory)
    expect(flags()).toBe(FLAG_OVERFLOW)
    expect(logOf(memory, 0)).toEqual([1n, 0n, 2n])
    expect(memory.words[lane.header + LANE_READ_END]).toBe(8)
  })

  it('C6: says overflow for key 0 too', () => {
    const memory = smallMemory({ maxKeysPerEpoch: 2 })
    send(open(memory), 1n, 2n, 0n)
    run(memory)
    expect(memory.words[epochAt(memory.layout, 0) + SLOT_FLAGS]).toBe(FLAG_OVERFLOW)
    expect(logOf(memory, 0)).toEqual([1n, 2n])
  })

  it.each([CLOSE, REAP])(
    'C8: harvests what a lane had staged, and frees it for the next generation (kind %d)',
    (kind) => {
      const memory = smallMemory({ start: { generation: GENERATION_MASK } })
      const lane = open(memory)
      send(lane, 1n)
      stage(lane, 0, 0)
      stage(lane, 2, 0)
      control(memory, kind, writerPayload(lane.id, lane.generation))
      run(memory)
      expect(logOf(memory, 0)).toEqual([1n, 0n, 2n])
      expect(memory.words[lane.header + LANE_OWNER]).toBe(0)
      expect(memory.words[lane.header + LANE_THREAD]).toBe(0)
      expect(memory.words[lane.header + LANE_READ_END]).toBe(3)
      expect(readTotal(memory.words, HARVESTED)).toBe(2)
      expect(readTotal(memory.words, lane.header + LANE_DELIVERED)).toBe(3)
      const next = open(memory)
      expect([next.id, next.generation, next.end]).toEqual([lane.id, 0, 3])
    },
  )

  it('leaves a lane alone when a late REAP is for its former owner', () => {
    const memory = smallMemory({ maxWriters: 1 })
    const first = open(memory)
    stage(first, 1, 0)
    closeLane(first)
    run(memory)
    const second = open(memory, 11)
    stage(second, 2, 0)
    control(memory, REAP, writerPayload(first.id, first.generation))
    control(memory, CLOSE, writerPayload(first.id, first.generation))
    run(memory)
    expect(logOf(memory, 0)).toEqual([1n])
    expect(memory.words[second.header + LANE_OWNER] & THREAD_MASK).toBe(12)
    publish(second)
    run(memory)
    expect(logOf(memory, 0)).toEqual([1n, 2n])
  })

  it('C8: reaps the lanes of the thread that ended, and not those of one with the same low bits', () => {
    const memory = smallMemory({ maxWriters: 4 })
    const far = 5 + 2 * (2 ** THREAD_BITS - 1)
    const lanes = [open(memory, far), open(memory, 5), open(memory, 6), open(memory, 5)]
    memory.words[lanes[3].header + LANE_THREAD] = 0 // died right after its claim
    lanes.forEach((lane, i) => stage(lane, i + 1, 0))
    new Control(memory, new Listeners()).reapThread(5)
    run(memory)
    expect(logOf(memory, 0)).toEqual([2n, 4n])
    const owned = () =>
      lanes.map(({ header }) => (memory.words[header + LANE_OWNER] & THREAD_MASK) !== 0)
    expect(owned()).toEqual([true, false, true, false])
    new Control(memory, new Listeners()).reapThread(far)
    run(memory)
    expect(logOf(memory, 0)).toEqual([2n, 4n, 1n])
    expect(owned()).toEqual([false, false, true, false])
  })

  it('C9: delivers what was published behind STOP, and lets nothing be published after its last lap', () => {
    for (let filled = 0; filled < 4; filled++) {
      for (let first = 0; first < 4; first++) {
        const memory = smallMemory({ capacity: 4 })
        const lane = open(memory)
        for (let i = 0; i < first; i++) {
          send(lane, BigInt(i))
          run(memory)
        }
        control(memory, STOP)
        const sent = Array.from({ length: filled }, (_, i) => BigInt(10 + i))
        for (const key of sent) send(lane, key)
        stage(lane, 99, 0)
        if (filled === 3) expect(publish(lane)).toBe(false)
        expect(run(memory)).toBe(FINISHED_ALL)
        expect(publish(lane)).toBe(false)
        expect(push(memory, controlToken(NOP, 0))).toBe(false)
        expect(logOf(memory, 0)).toEqual([
          ...Array.from({ length: first }, (_, i) => BigInt(i)),
          ...sent,
        ])
        expect(memory.words[FINISHED]).toBe(1)
        expect(memory.words[epochAt(memory.layout, 0) + SLOT_FLAGS]).toBe(FLAG_UNPUBLISHED)
      }
    }
  })

  it('C9: a publication that overtakes the poison is delivered, one that comes after it is refused', () => {
    for (let steps = 0; steps < 5; steps++) {
      const memory = smallMemory({ capacity: 4 })
      const lane = open(memory)
      control(memory, STOP)
      const a = takeRole(memory, THREAD)
      recover(a)
      for (let i = 0; i < steps; i++) step(a)
      stage(lane, 7, 0)
      const published = publish(lane)
      let result = WORKED
      while (result === WORKED) result = step(a)
      expect(result).toBe(FINISHED_ALL)
      expect(logOf(memory, 0)).toEqual(published ? [7n] : [])
      expect(memory.words[epochAt(memory.layout, 0) + SLOT_FLAGS]).toBe(
        published ? 0 : FLAG_UNPUBLISHED,
      )
    }
  })

  it('steps over what a predecessor freed, and heals a slot that the tail has overtaken', () => {
    const memory = smallMemory({ capacity: 4 })
    const lane = open(memory)
    memory.words[TAIL] = 2
    send(lane, 1n)
    expect(run(memory)).toBe(IDLE)
    expect(logOf(memory, 0)).toEqual([1n])
    expect(memory.words[HEAD]).toBe(3)
    memory.words[HEAD] = 2 // as if the predecessor died before it stored head
    expect(run(memory)).toBe(IDLE)
    expect(logOf(memory, 0)).toEqual([1n])
    expect(memory.words[HEAD]).toBe(3)
  })

  it('C13: stops when another aggregator took the token from under it', () => {
    const memory = smallMemory()
    send(open(memory), 1n)
    const supervisor = new Supervisor(watched(memory), THREAD)
    expect(() =>
      watchAccesses(
        (kind, index) => {
          // Another one frees the slot while this one is at its effect.
          if (kind === 'store' && index === epochAt(memory.layout, 0) + SLOT_COUNT)
            memory.words[memory.layout.ring] = emptyWord(1)
        },
        () => supervisor.run(10),
      ),
    ).toThrow(expect.objectContaining({ code: 'ERR_DIRTYRING_AGGREGATOR_TAKEN' }))
  })

  it('wakes every writer when it recovers, for nobody knows who was told what', () => {
    const memory = smallMemory()
    const wakes = () =>
      [0, 1].map((writer) => memory.words[laneAt(memory.layout, writer) + LANE_WAKE])
    const before = wakes()
    recover(takeRole(memory, THREAD))
    expect(wakes()).toEqual(before.map((count) => count + 1))
  })
})

describe('What something else has written into shared memory', () => {
  const CORRUPT = expect.objectContaining({ code: 'ERR_DIRTYRING_CORRUPT' })

  /** Two epochs, keys in both, a writer with keys in flight. */
  function busy() {
    const memory = smallMemory()
    const lane = open(memory)
    send(lane, 1n, 0n, 2n)
    control(memory, EVERYTHING)
    seal(memory, 1)
    run(memory)
    send(lane, 3n, 4n)
    run(memory)
    send(lane, 5n)
    memory.words[OWNER] = 0
    return { memory, lane, words: memory.words, layout: memory.layout }
  }
  /** The same, with the live aggregator of its last steps. */
  function live() {
    const all = busy()
    const a = takeRole(all.memory, THREAD)
    recover(a)
    const steps = (): void => {
      while (step(a) === WORKED);
    }
    return { ...all, steps }
  }

  it.each<
    [string, (words: Memory['words'], layout: Memory['layout']) => [at: number, value: number]]
  >([
    ['the tokens in hand', () => [INTENT_TOKENS, 3]],
    ['their keys', () => [INTENT_COUNT, 1]],
    ['their position', (words) => [INTENT_POSITION, words[INTENT_POSITION] + 1]],
    ['where they begin', (words) => [INTENT_START, words[INTENT_START] - 1]],
    [
      'the end of the keys read, beyond those staged',
      (_, layout) => [laneAt(layout, 0) + LANE_READ_END, 99],
    ],
    [
      'the end of the keys read, more than a lane behind',
      (_, layout) => [laneAt(layout, 0) + LANE_READ_END, -9],
    ],
    [
      'a count that is more than the table takes',
      (_, layout) => [epochAt(layout, 1) + SLOT_COUNT, 3],
    ],
    ['a negative count', (_, layout) => [epochAt(layout, 1) + SLOT_COUNT, -1]],
    ['a growth that leads out of the slot', (_, layout) => [epochAt(layout, 1) + SLOT_GROWTH, 5]],
    ['a negative growth', (_, layout) => [epochAt(layout, 1) + SLOT_GROWTH, -1]],
    ['flags that do not exist', (_, layout) => [epochAt(layout, 1) + SLOT_FLAGS, 64]],
    ['the slot of another epoch as the open one', (words) => [CUR, words[CUR] & ~15]],
    ['a slot that does not exist as the open one', (words) => [CUR, words[CUR] | 15]],
    ['another epoch as the open one', (words) => [CUR, words[CUR] + 16]],
    ['a head that is one too far', (words) => [HEAD, words[HEAD] + 1]],
    ['a stop that never came', (words) => [STOP_POSITION, words[HEAD] + 1]],
    ['a stop that never came, at the head', (words) => [STOP_POSITION, words[HEAD] + 2]],
  ])('ends a successor: %s', (_, change) => {
    const { memory, words, layout } = busy()
    const [at, value] = change(words, layout)
    words[at] = value
    const before = words.slice()
    expect(() => recover(takeRole(memory, THREAD))).toThrow(CORRUPT)
    before[OWNER] = words[OWNER]
    expect(words.findIndex((word, i) => word !== before[i])).toBe(-1)
  })

  it('does not lead a live aggregator astray, and is right again after the next seal', () => {
    const { memory, words, layout, steps } = live()
    const lane = laneAt(layout, 0)
    const slot = epochAt(layout, 1)
    for (const at of [INTENT_POSITION, INTENT_TOKENS, INTENT_COUNT, INTENT_START, HEAD, CUR])
      words[at] ^= 1
    for (const at of [SLOT_COUNT, SLOT_GROWTH, SLOT_ZERO, SLOT_FLAGS]) words[slot + at] ^= 1
    words[lane + LANE_READ_END] -= 1
    control(memory, SEAL, epochPayload(2, 2))
    steps()
    expect(logOf(memory, 1)).toEqual([3n, 4n, 5n])
    expect(readSealedSlot(memory, 1, 1)).toMatchObject({ count: 3, zero: false, flags: 0 })
    expect([words[CUR], words[lane + LANE_READ_END], words[HEAD]]).toEqual([(2 << 4) | 2, 6, 6])
  })

  it.each([SLOT_COUNT, SLOT_GROWTH, SLOT_ZERO, SLOT_FLAGS])(
    'ends a restore from a slot whose header has changed (word %d)',
    (at) => {
      const { memory, words, layout, steps } = live()
      words[epochAt(layout, 0) + at] ^= 1
      restore(memory, 0, -1)
      expect(steps).toThrow(CORRUPT)
      expect(logOf(memory, 1)).toEqual([3n, 4n, 5n])
    },
  )

  it('ends a restore that names a slot in which another epoch is', () => {
    for (const [slot, ahead] of [
      [0, -2],
      [1, 0],
      [2, -1],
      [15, -1],
    ]) {
      const { memory, steps } = live()
      restore(memory, slot, ahead)
      expect(steps).toThrow(CORRUPT)
    }
  })

  it('ends a live aggregator whose token looks freed, or filled by the next lap of a full ring', () => {
    for (const lap of [0, 1]) {
      const memory = smallMemory({ capacity: 2 })
      const lane = open(memory)
      const a = takeRole(memory, THREAD)
      recover(a)
      send(lane, 1n)
      send(lane, 2n)
      const word = memory.words[memory.layout.ring]
      memory.words[memory.layout.ring] = lap === 0 ? emptyWord(1) : word ^ 2
      expect(() => step(a)).toThrow(CORRUPT)
    }
  })

  it('leaves CUR and HEAD right when the ring is empty, because others wait for them', () => {
    const { memory, words } = busy()
    const a = takeRole(memory, THREAD)
    recover(a)
    while (step(a) === WORKED);
    const right = [words[CUR], words[HEAD]]
    for (const at of [CUR, HEAD]) words[at] -= 1
    doChores(a)
    expect([words[CUR], words[HEAD]]).toEqual(right)
  })

  it('wakes no writer that does not exist', () => {
    const { memory, words, layout } = busy()
    const a = takeRole(memory, THREAD)
    recover(a)
    const lanesEnd = layout.lanes + layout.laneStride * layout.maxWriters
    const before = words.slice(lanesEnd)
    words[WAITERS] = -1
    doChores(a)
    expect(words.slice(lanesEnd)).toEqual(before)
    expect(words[WAITERS]).toBe(0)
  })
})

describe('The supervisor', () => {
  let now = 0
  const at = (ms: number): void => {
    now = ms
  }

  function supervised(options: MemoryOptions = {}) {
    now = 5000
    const memory = smallMemory(options)
    return { memory, supervisor: new Supervisor(watched(memory), THREAD, () => now) }
  }

  /** Throws at every store into the open epoch's log. */
  const failing =
    (memory: Memory, slot = 0): OnAccess =>
    (kind, index) => {
      const log = epochAt(memory.layout, slot) + memory.layout.log
      if (kind === 'store' && index >= log && index < log + memory.layout.maxKeysPerEpoch * 2)
        throw new Error('planted')
    }

  /** Let it fail so often; how long it waits after each time. */
  function failures(supervisor: Supervisor, count: number, watch: OnAccess): number[] {
    return Array.from({ length: count }, () => {
      expect(watchAccesses(watch, () => supervisor.run(10))).toBe(BACKING_OFF)
      const wait = supervisor.retryAt - now
      at(supervisor.retryAt - 1)
      expect(supervisor.run(10)).toBe(BACKING_OFF)
      at(supervisor.retryAt)
      return wait
    })
  }

  it('contains an exception, counts it, says what it was, and does the work when it can be done', () => {
    const { memory, supervisor } = supervised()
    send(open(memory), 1n, 0n)
    failures(supervisor, 3, failing(memory))
    expect(memory.words[PANICS]).toBe(3)
    expect(readError(memory.words)).toBe('planted')
    expect(logOf(memory, 0)).toEqual([])
    expect(supervisor.run(10)).toBe(IDLE)
    expect(logOf(memory, 0)).toEqual([1n, 0n])
    expect(memory.words[epochAt(memory.layout, 0) + SLOT_FLAGS]).toBe(0)
    expect(memory.words[ITERATIONS]).toBe(4)
  })

  it('backs off for 10 ms, doubling up to 1 s, but for 10 ms before it gives a token up, and after a success', () => {
    const { memory, supervisor } = supervised()
    const others = (kind: 'load' | 'store', index: number): void => {
      if (kind === 'store' && index === ITERATIONS) throw new Error('planted')
    }
    expect(failures(supervisor, 10, others)).toEqual([
      10, 20, 40, 80, 160, 320, 640, 10, 1000, 1000,
    ])
    control(memory, NOP)
    expect(supervisor.run(10)).toBe(IDLE)
    expect(failures(supervisor, 2, others)).toEqual([10, 20])
  })

  it('does nothing when it is called from within itself', () => {
    const { memory, supervisor } = supervised()
    send(open(memory), 1n)
    let inner: number | undefined
    watchAccesses(
      (kind, index) => {
        if (kind === 'store' && index === epochAt(memory.layout, 0) + SLOT_COUNT)
          inner = supervisor.run(10)
      },
      () => supervisor.run(10),
    )
    expect(inner).toBe(WORKED)
    expect(logOf(memory, 0)).toEqual([1n])
    expect(memory.words[ITERATIONS]).toBe(1)
  })

  it('C6: gives up a batch that failed eight times: the epoch says fault, and the lane goes on', () => {
    const { memory, supervisor } = supervised()
    const lane = open(memory)
    send(lane, 1n, 2n)
    failures(supervisor, 7, failing(memory))
    expect(memory.words[epochAt(memory.layout, 0) + SLOT_FLAGS]).toBe(0)
    failures(supervisor, 1, failing(memory))
    expect(supervisor.run(10)).toBe(IDLE)
    expect(memory.words[epochAt(memory.layout, 0) + SLOT_FLAGS]).toBe(FLAG_FAULT)
    expect(memory.words[lane.header + LANE_READ_END]).toBe(2)
    send(lane, 3n)
    expect(supervisor.run(10)).toBe(IDLE)
    expect(logOf(memory, 0)).toEqual([3n])
  })

  it('a batch that its lane cannot hold, or whose lane does not exist, ends the aggregator: later batches would be taken for others', () => {
    for (const [token, tries] of [
      [BATCH | 4, 9],
      [BATCH | (5 << 3), 1],
    ]) {
      const { memory, supervisor } = supervised()
      const lane = open(memory)
      for (let i = 0; i < 3; i++) stage(lane, i, 0)
      push(memory, token)
      for (let i = 0; i < tries; i++) {
        expect(memory.words[FAILED]).toBe(0)
        expect(supervisor.run(10)).toBe(BACKING_OFF)
        at(supervisor.retryAt)
      }
      expect(() => supervisor.run(10)).toThrow(
        expect.objectContaining({ code: 'ERR_DIRTYRING_CORRUPT' }),
      )
      expect(memory.words[lane.header + LANE_READ_END]).toBe(0)
    }
  })

  it('C6: gives up a restore that failed eight times: the open epoch says fault, and the restore is over', () => {
    const { memory, supervisor } = supervised()
    send(open(memory), 1n)
    seal(memory, 1)
    run(memory)
    memory.words[OWNER] = THREAD + 1
    restore(memory, 0, -1)
    failures(supervisor, 8, failing(memory, 1))
    expect(supervisor.run(10)).toBe(IDLE)
    expect(memory.words[epochAt(memory.layout, 1) + SLOT_FLAGS]).toBe(FLAG_FAULT)
    expect(memory.words[epochAt(memory.layout, 0) + SLOT_RESTORED]).toBe(1)
  })

  it.each([CLOSE, REAP])(
    'C6: gives up a harvest that failed eight times: the epoch says fault, and the lane is free (kind %d)',
    (kind) => {
      const { memory, supervisor } = supervised()
      const lane = open(memory)
      stage(lane, 1, 0)
      control(memory, kind, writerPayload(lane.id, lane.generation))
      failures(supervisor, 8, failing(memory))
      expect(supervisor.run(10)).toBe(IDLE)
      expect(memory.words[epochAt(memory.layout, 0) + SLOT_FLAGS]).toBe(FLAG_FAULT)
      expect(memory.words[lane.header + LANE_OWNER]).toBe(1 << THREAD_BITS)
      const next = open(memory)
      expect(next.id).toBe(lane.id)
      send(next, 5n)
      expect(supervisor.run(10)).toBe(IDLE)
      expect(logOf(memory, 0)).toEqual([5n])
    },
  )

  it('ends at a token of no known kind, and at one that names a writer or a slot that does not exist', () => {
    for (const token of [
      controlToken(12, 5),
      controlToken(REAP, writerPayload(77, 0)),
      controlToken(RESTORE, epochPayload(9, 0)),
    ]) {
      const { memory, supervisor } = supervised()
      push(memory, token)
      expect(supervisor.run(10)).toBe(BACKING_OFF)
      at(supervisor.retryAt)
      expect(() => supervisor.run(10)).toThrow(
        expect.objectContaining({ code: 'ERR_DIRTYRING_CORRUPT' }),
      )
    }
  })

  it('gives up five batches that fail for good within 1.3 s each, because the waits begin anew with each', () => {
    const { memory, supervisor } = supervised()
    const [one, two] = [open(memory), open(memory)]
    // of two writers in turn: no run
    for (let id = 0; id < 5; id++) send(id % 2 === 0 ? one : two, BigInt(id))
    const from = now
    const waits: number[] = []
    for (let result = BACKING_OFF; result === BACKING_OFF;) {
      result = watchAccesses(failing(memory), () => supervisor.run(10))
      if (result !== BACKING_OFF) break
      waits.push(supervisor.retryAt - now)
      at(supervisor.retryAt)
    }
    expect(waits).toEqual(
      Array.from({ length: 5 }, () => [10, 20, 40, 80, 160, 320, 640, 10]).flat(),
    )
    expect(now - from).toBe(6400)
    expect(memory.words[epochAt(memory.layout, 0) + SLOT_FLAGS]).toBe(FLAG_FAULT)
    expect([one, two].map(({ header }) => memory.words[header + LANE_READ_END])).toEqual([3, 2])
  })

  it('never skips a SEAL: it fails for good, and says so', () => {
    const { memory, supervisor } = supervised()
    send(open(memory), 1n)
    seal(memory, 1)
    const cannot: OnAccess = (kind, index) => {
      if (kind === 'store' && index === CUR) throw new Error('planted')
    }
    failures(supervisor, 7, cannot)
    expect(memory.words[FAILED]).toBe(0)
    expect(watchAccesses(cannot, () => supervisor.run(10))).toBe(BACKING_OFF)
    at(supervisor.retryAt)
    expect(memory.words[FAILED]).not.toBe(0)
    expect(() => supervisor.run(10)).toThrow(
      expect.objectContaining({ code: 'ERR_DIRTYRING_AGGREGATOR_FAILED' }),
    )
    expect(memory.words[HEAD]).toBe(1)
    expect(logOf(memory, 0)).toEqual([1n])
  })

  it('wakes the tracker when it ends because FAILED is set', () => {
    const { memory, supervisor } = supervised()
    memory.words[FAILED] = 1
    const before = memory.words[SIGNAL]
    expect(() => supervisor.run(10)).toThrow(
      expect.objectContaining({ code: 'ERR_DIRTYRING_CORRUPT' }),
    )
    expect(memory.words[SIGNAL]).not.toBe(before)
  })

  it('does not skip a SEAL or a STOP for what failed before they came', () => {
    for (const kind of [SEAL, STOP]) {
      const { memory, supervisor } = supervised()
      const lane = open(memory)
      send(lane, 1n)
      expect(supervisor.run(10)).toBe(IDLE)
      // The ring is empty, and something else goes wrong, again and again.
      failures(supervisor, 8, (kind, index) => {
        if (kind === 'store' && index === ITERATIONS) throw new Error('planted')
      })
      if (kind === SEAL) seal(memory, 1)
      else control(memory, STOP)
      send(lane, 2n)
      expect(supervisor.run(20)).toBe(kind === SEAL ? IDLE : FINISHED_ALL)
      expect(kind === SEAL ? logOf(memory, 1) : logOf(memory, 0)).toEqual(
        kind === SEAL ? [2n] : [1n, 2n],
      )
    }
  })

  it('C6: does not give up a batch for what failed before it came', () => {
    const { memory, supervisor } = supervised()
    failures(supervisor, 8, (kind, index) => {
      if (kind === 'store' && index === ITERATIONS) throw new Error('planted')
    })
    send(open(memory), 2n)
    expect(supervisor.run(20)).toBe(IDLE)
    const epoch = {
      keys: logOf(memory, 0),
      flags: memory.words[epochAt(memory.layout, 0) + SLOT_FLAGS],
    }
    // Either it is in, or the epoch says that something is not.
    expect([
      { keys: [2n], flags: 0 },
      { keys: [], flags: FLAG_FAULT },
    ]).toContainEqual(epoch)
  })

  it('goes no further than a word that nobody writes, and says so', () => {
    const { memory, supervisor } = supervised()
    const lane = open(memory)
    send(lane, 1n)
    send(lane, 2n)
    memory.words[memory.layout.ring + 1] = -5
    expect(supervisor.run(10)).toBe(BACKING_OFF)
    at(supervisor.retryAt)
    expect(() => supervisor.run(10)).toThrow(
      expect.objectContaining({ code: 'ERR_DIRTYRING_CORRUPT' }),
    )
    expect(() => supervisor.run(10)).toThrow('ring position 1 holds -5')
    expect(memory.words[HEAD]).toBe(1)
    expect(memory.words[memory.layout.ring + 1]).toBe(-5)
  })

  it('C12: the keys of a batch that was given up still count as marked', () => {
    const { memory, supervisor } = supervised()
    const lane = open(memory)
    send(lane, 1n, 2n)
    failures(supervisor, 8, failing(memory))
    expect(supervisor.run(10)).toBe(IDLE)
    expect(readTotal(memory.words, lane.header + LANE_DELIVERED)).toBe(
      memory.words[lane.header + LANE_STAGED_END],
    )
  })

  it('poisons its last lap with the words that the next start looks for', () => {
    const { memory, supervisor } = supervised({ capacity: 4 })
    control(memory, STOP)
    expect(supervisor.run(20)).toBe(FINISHED_ALL)
    const poison = fullWord(0, controlToken(POISON, 0))
    expect([...memory.words.subarray(memory.layout.ring, memory.layout.ring + 4)]).toEqual([
      fullWord(0, controlToken(STOP, 0)),
      poison,
      poison,
      poison,
    ])
    expect(lapOf(memory.words[HEAD], 2)).toBe(1)
  })
})
