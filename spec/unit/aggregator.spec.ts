import { describe, expect, it } from '@jest/globals'
import { recover, takeRole } from '../../lib/aggregator/state.js'
import { FINISHED_ALL, IDLE, step, WORKED } from '../../lib/aggregator/step.js'
import { Supervisor } from '../../lib/aggregator/supervisor.js'
import {
  BATCHES,
  CUR,
  DIRTY_WANTED,
  epochAt,
  EVENTS,
  FAILED_AT,
  FAILURES,
  FINISHED,
  FLAG_EVERYTHING,
  FLAG_FAULT,
  FLAG_NAMESPACES,
  FLAG_OVERFLOW,
  FLAG_UNPUBLISHED,
  GATHERED_KEYS,
  GATHERED_MAX,
  HARVESTED,
  HEAD,
  JOB,
  KEYS,
  LANE_ATTN,
  LANE_DELIVERED,
  LANE_OWNER,
  LANE_READ_END,
  LANE_TEXT_BROKEN,
  LANE_TEXT_READ,
  LANE_THREAD,
  LANE_WAKE,
  laneAt,
  NAMESPACES_MAX,
  OWNER,
  PANICS,
  PROGRESS,
  QUEUED_PEAK,
  SIGNAL,
  SLOT_COUNT,
  SLOT_FLAGS,
  SLOT_GROWTH,
  SLOT_RESTORED,
  TAIL,
} from '../../lib/memory/map.js'
import type { Memory } from '../../lib/memory/memory.js'
import { readTotal } from '../../lib/memory/total.js'
import { closeLane, type Lane, publish, stage } from '../../lib/ring/lane.js'
import { push } from '../../lib/ring/ring.js'
import type { Start } from '../../lib/ring/start.js'
import {
  advance,
  CLOSE,
  controlToken,
  emptyWord,
  EVERYTHING,
  GENERATION_MASK,
  NOP,
  REAP,
  STOP,
  THREAD_BITS,
  THREAD_MASK,
  writerPayload,
} from '../../lib/ring/token.js'
import { Control } from '../../lib/tracker/control.js'
import { Listeners } from '../../lib/tracker/events.js'
import {
  control,
  open,
  restore,
  run,
  runToEnd,
  seal,
  send,
  stageKeys,
  THREAD,
} from '../support/aggregators.js'
import { textsIn } from '../support/consumers.js'
import {
  fromEveryDeath,
  Interrupted,
  interruptions,
  logOf,
  type MemoryOptions,
  type OnAccess,
  picture,
  smallMemory,
  watchAccesses,
  watched,
} from '../support/steps.js'

const clones = (memory: Memory): Memory => ({
  words: new Int32Array(new SharedArrayBuffer(memory.words.byteLength)) as Memory['words'],
  layout: memory.layout,
  native: undefined,
})

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
    name: 'a run of batches of one writer, and a batch of another one behind it',
    prepare(memory) {
      const [one, two] = [open(memory), open(memory, 10)]
      send(one, 1n)
      send(one, 0n, 2n)
      send(one, 3n)
      send(two, 4n)
    },
  },
  {
    name: 'a batch in a ring of one slot',
    options: { capacity: 1 },
    prepare(memory) {
      send(open(memory), 1n, 2n)
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
    name: 'a restore of a superset into an exact epoch, and a batch after it',
    options: { maxKeysPerEpoch: 3 },
    prepare(memory) {
      const lane = open(memory)
      send(lane, 1n, 0n, 2n, 9n, 10n)
      seal(memory, 1)
      send(lane, 1n)
      run(memory)
      restore(memory, 0, -1)
      send(lane, 11n)
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

const TEXTS: MemoryOptions = { maxStringsPerEpoch: 8, maxStringBytesPerEpoch: 40 }

const textScenarios: Scenario[] = [
  {
    name: 'batches of numbers and texts, across the end of the text ring',
    options: TEXTS,
    prepare(memory) {
      const lane = open(memory)
      // places are counted modulo 2^32, as the ends are
      memory.words[lane.header + LANE_TEXT_READ] = -3
      stageKeys(lane, 1, 'a', 'b', 0)
      publish(lane)
      run(memory)
      stageKeys(lane, 'b', 2, 'seven c')
      publish(lane)
    },
  },
  {
    name: 'texts that make their table grow',
    options: TEXTS,
    prepare(memory) {
      const lane = open(memory)
      stageKeys(lane, 'a', 'b', 'c', 'b', '')
      publish(lane)
    },
  },
  {
    name: 'more texts, and more bytes of them, than an epoch holds',
    options: { ...TEXTS, maxStringsPerEpoch: 3, maxStringBytesPerEpoch: 9 },
    prepare(memory) {
      const lane = open(memory)
      stageKeys(lane, 'eight by', 'too', 'i')
      publish(lane)
      run(memory)
      stageKeys(lane, '', 7, 'j', 'i')
      publish(lane)
    },
  },
  {
    name: 'a seal between texts, and a restore of them',
    options: TEXTS,
    prepare(memory) {
      const lane = open(memory)
      stageKeys(lane, 'a', 1, 'bytes')
      publish(lane)
      seal(memory, 1)
      stageKeys(lane, 'bytes', 'c')
      publish(lane)
      run(memory)
      restore(memory, 0, -1)
    },
  },
  {
    name: 'a writer that closes with texts staged, and a dead one that is reaped',
    options: TEXTS,
    prepare(memory) {
      const [first, second] = [open(memory), open(memory, 10)]
      stageKeys(first, 'a', 1)
      closeLane(first)
      stageKeys(second, 'b', 'a')
      control(memory, REAP, writerPayload(second.id, second.generation))
    },
  },
  {
    name: 'a lane whose texts do not hold together',
    options: TEXTS,
    prepare(memory) {
      const lane = open(memory)
      stageKeys(lane, 1, 'a', 2)
      publish(lane)
      memory.words[lane.text + 1] = 2 ** 20 // the length
      stageKeys(lane, 'b')
      closeLane(lane)
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

/** The texts' own counter wraps in one of theirs. */
const scenariosFor = (start: string): Scenario[] =>
  start === 'from zero' ? [...scenarios, ...textScenarios] : scenarios

const starts: [string, (options: MemoryOptions) => Start][] = [
  ['from zero', () => ({})],
  ['from just below every wrap', (options) => belowWraps(options, 2 ** 30 - 2)],
  ['from a little further below every wrap', (options) => belowWraps(options, 2 ** 30 - 5)],
]

describe.each(starts)('C8: an aggregator %s', (name, startFor) => {
  it.each(scenariosFor(name))(
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
          // Nothing in these outlives a call.
          ...Array.from({ length: 3 * GATHERED_MAX }, (_, i) => GATHERED_KEYS + i),
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

  it.each(scenariosFor(name))(
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

  it('C8: harvests a lane whose REAP comes right behind a late one for its former owner', () => {
    const memory = smallMemory({ maxWriters: 1 })
    const first = open(memory)
    closeLane(first)
    run(memory)
    const second = open(memory, 11)
    for (const key of [1, 2, 3]) stage(second, key, 0)
    for (const { id, generation } of [first, second])
      control(memory, REAP, writerPayload(id, generation))
    run(memory)
    expect(logOf(memory, 0)).toEqual([1n, 2n, 3n])
    expect(memory.words[second.header + LANE_OWNER] & THREAD_MASK).toBe(0)
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

  it('C8: goes on in a ring of one slot that a predecessor freed, and a writer filled again', () => {
    const memory = smallMemory({ capacity: 1 })
    const lane = open(memory)
    send(lane, 1n)
    run(memory)
    memory.words[HEAD] = 0 // as if the predecessor died before it stored head
    send(lane, 2n)
    expect(run(memory)).toBe(IDLE)
    expect(logOf(memory, 0)).toEqual([1n, 2n])
    memory.words[HEAD] = 1
    send(lane, 3n)
    memory.words[TAIL] = 2 // as if the writer died before it moved the tail
    expect(run(memory)).toBe(IDLE)
    expect(logOf(memory, 0)).toEqual([1n, 2n, 3n])
  })

  it('tells of the first change of a clean epoch that a loop waits for: a number, a text, or all', () => {
    for (const change of ['number', 'text', 'everything'] as const) {
      const memory = smallMemory({ maxStringsPerEpoch: 8, maxStringBytesPerEpoch: 64 })
      const lane = open(memory)
      for (const isTold of [true, false]) {
        if (change === 'everything') control(memory, EVERYTHING)
        else stageKeys(lane, change === 'text' ? 'a' : 1)
        publish(lane)
        memory.words[DIRTY_WANTED] = 1
        run(memory)
        expect([change, memory.words[DIRTY_WANTED]]).toEqual([change, isTold ? 0 : 1])
      }
    }
  })

  it.each([
    ['takes', 0, 0],
    ['gives up', 8, FLAG_FAULT],
  ])(
    'C8: %s no batch whose keys were passed, because its writer may have stored others there',
    (_, failures, flags) => {
      const memory = smallMemory(TEXTS)
      const { words, layout } = memory
      const lane = open(memory)
      stageKeys(lane, 'a')
      publish(lane)
      run(memory)
      stageKeys(lane, 'bb')
      publish(lane)
      // The aggregator dies before it frees the ring slot.
      const dies = (kind: string, index: number): void => {
        if (kind === 'store' && index === layout.ring + 1) throw new Interrupted()
      }
      expect(() => watchAccesses(dies, () => runToEnd(watched(memory), memory))).toThrow(
        Interrupted,
      )
      stageKeys(lane, 'c'.repeat(24), 'dddd', 5) // over the entry of 'bb'
      words[FAILED_AT] = words[HEAD] + 1
      words[FAILURES] = failures
      words[OWNER] = 0
      const supervisor = new Supervisor(memory, THREAD)
      expect(supervisor.run(10)).toBe(IDLE)
      publish(lane)
      expect(supervisor.run(10)).toBe(IDLE)
      expect(logOf(memory, 0)).toEqual([5n])
      expect(textsIn(memory, 0)).toEqual(['a', 'bb', 'c'.repeat(24), 'dddd'])
      expect(words[epochAt(layout, 0) + SLOT_FLAGS]).toBe(flags)
    },
  )

  it('takes no number for a text in a tracker that takes no texts', () => {
    const memory = smallMemory()
    const [one, two] = [open(memory), open(memory)]
    memory.words[two.header + LANE_ATTN] = 2 // the word behind the first lane
    send(one, 1n, 2n, 3n)
    run(memory)
    expect(logOf(memory, 0)).toEqual([1n, 2n, 3n])
    expect(memory.words[epochAt(memory.layout, 0) + SLOT_FLAGS]).toBe(0)
  })

  it.each([0, 8])(
    'takes no number for the text that the former owner of its lane died in (after %d failures)',
    (failures) => {
      const memory = smallMemory(TEXTS)
      const { words } = memory
      const former = open(memory)
      stageKeys(former, 'x')
      words[former.stagedAt] = 0 // as if it died before its last store
      control(memory, REAP, writerPayload(former.id, former.generation))
      run(memory)
      const lane = open(memory)
      send(lane, 5n, 6n)
      words[FAILED_AT] = words[HEAD] + 1
      words[FAILURES] = failures
      words[OWNER] = 0
      expect(new Supervisor(memory, THREAD).run(10)).toBe(IDLE)
      expect(logOf(memory, 0)).toEqual(failures === 0 ? [5n, 6n] : [])
      expect(textsIn(memory, 0)).toEqual([])
      const ofTexts = [LANE_TEXT_READ, LANE_TEXT_BROKEN].map((at) => words[lane.header + at])
      expect(ofTexts).toEqual([0, 0])
    },
  )

  it('C1, C2: takes a batch of more numbers and texts than it gathers at once', () => {
    const memory = smallMemory({
      laneCapacity: 1024,
      laneTextBytes: 2 ** 15,
      maxKeysPerEpoch: 1024,
      maxStringsPerEpoch: 1024,
      maxStringBytesPerEpoch: 2 ** 14,
    })
    const { words } = memory
    const numbers = Array.from({ length: GATHERED_MAX + 2 }, (_, i) => i)
    const texts = numbers.map((i) => `text ${i}`)
    const lane = open(memory)
    stageKeys(lane, texts[0], ...numbers, ...texts.slice(1))
    publish(lane)
    words[OWNER] = 0
    const a = takeRole(memory, THREAD)
    recover(a)
    step(a)
    expect(logOf(memory, 0).map(Number)).toEqual(numbers)
    expect(textsIn(memory, 0)).toEqual(texts)
    expect(words[JOB]).toBe(0) // the word behind
  })

  it('C8: publishes texts whatever the words before their slot hold', () => {
    const memory = smallMemory(TEXTS)
    const { words, layout } = memory
    seal(memory, 1)
    run(memory)
    const lane = open(memory)
    stageKeys(lane, 'a')
    publish(lane)
    words.fill(3, epochAt(layout, 1) - 32, epochAt(layout, 1)) // as many as the text takes words
    words[OWNER] = 0
    const a = takeRole(memory, THREAD)
    recover(a)
    step(a)
    expect(textsIn(memory, 1)).toEqual(['a'])
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

  it('wakes every writer when it recovers: it cannot know which of them were woken already', () => {
    const memory = smallMemory()
    const wakes = () =>
      [0, 1].map((writer) => memory.words[laneAt(memory.layout, writer) + LANE_WAKE])
    const before = wakes()
    recover(takeRole(memory, THREAD))
    expect(wakes()).toEqual(before.map((count) => count + 1))
  })
})

describe('A tracker without a free word between its parts', () => {
  const dense = (): Memory => {
    const memory = smallMemory({
      capacity: 1024,
      laneCapacity: 16,
      maxWriters: 4,
      maxKeysPerEpoch: 464,
    })
    const { lanes, laneStride, epochs, table, largestTable, epochStride } = memory.layout
    expect(lanes + 4 * laneStride).toBe(epochs)
    expect(table + 2 * largestTable).toBe(epochStride)
    return memory
  }

  /** Sends keys in batches of a lane. */
  const sendAll = (lane: Lane, keys: readonly bigint[]): void => {
    for (let i = 0; i < keys.length; i += 16) {
      send(lane, ...keys.slice(i, i + 16))
      run(lane.memory)
    }
  }

  it('C8: has a successor that takes no key of an epoch for a part of a lane', () => {
    const memory = dense()
    const keys = Array.from({ length: 40 }, (_, i) => 1000n + BigInt(i))
    sendAll(open(memory), keys)
    expect(run(memory)).toBe(IDLE)
    expect(logOf(memory, 0)).toEqual(keys)
  })

  it('C9: takes no namespace of its last epoch for the owner of a lane', () => {
    const memory = dense()
    for (let namespace = 1; namespace <= NAMESPACES_MAX; namespace++)
      control(memory, EVERYTHING, namespace + 1)
    control(memory, STOP)
    expect(run(memory)).toBe(FINISHED_ALL)
    expect(memory.words[epochAt(memory.layout, 0) + SLOT_FLAGS]).toBe(FLAG_NAMESPACES)
  })

  it('C2: keeps the epoch in the slot behind the one whose table grows', () => {
    const memory = dense()
    const lane = open(memory)
    seal(memory, 1)
    send(lane, 1n, 2n, 3n)
    seal(memory, 0, 2)
    run(memory)
    const keys = Array.from({ length: 464 }, (_, i) => BigInt(i))
    sendAll(lane, keys)
    const { smallestTable, largestTable } = memory.layout
    expect(memory.words[epochAt(memory.layout, 0) + SLOT_GROWTH]).toBe(
      Math.log2(largestTable / smallestTable),
    )
    expect(logOf(memory, 0)).toEqual(keys)
    expect(logOf(memory, 1)).toEqual([1n, 2n, 3n])
  })
})
