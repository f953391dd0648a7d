import { describe, expect, it } from '@jest/globals'
import { type Aggregator, recover, takeRole } from '../../lib/aggregator/state.js'
import { IDLE, LOST_ROLE, step, WORKED } from '../../lib/aggregator/step.js'
import { doChores } from '../../lib/aggregator/wake.js'
import {
  CUR,
  DIRTY_WANTED,
  epochAt,
  FINISHED,
  FLAG_EVERYTHING,
  HEAD,
  JOB,
  LANE_EVERYTHING,
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
  WAIT_FOR_ROOM,
  WAITERS,
} from '../../lib/memory/map.js'
import type { Memory } from '../../lib/memory/memory.js'
import { mergeWord, storePlan } from '../../lib/memory/plan.js'
import { type Lane, publish } from '../../lib/ring/lane.js'
import {
  CLOSE,
  emptyWord,
  EVERYTHING,
  NOP,
  REAP,
  RESTORE,
  STOP,
  writerPayload,
} from '../../lib/ring/token.js'
import { HEAD_AT } from '../../lib/set/text-set.js'
import {
  control,
  open,
  restore,
  run,
  seal,
  send,
  stageKeys,
  THREAD,
} from '../support/aggregators.js'
import { type MemoryOptions, smallMemory } from '../support/steps.js'

const CORRUPT = expect.objectContaining({ code: 'ERR_DIRTYRING_CORRUPT' })

/** A memory and its live aggregator. */
function live(options: MemoryOptions = {}): {
  memory: Memory
  words: Memory['words']
  a: Aggregator
} {
  const memory = smallMemory({ capacity: 64, ...options })
  const a = takeRole(memory, THREAD)
  recover(a)
  return { memory, words: memory.words, a }
}

describe('The chores', () => {
  /** Has writers wait: for room up to a place in their lane, or for a ring slot. */
  function waiting(waits: Record<number, 'slot' | number>) {
    const all = live({ maxWriters: 40 })
    const { memory, words } = all
    for (const [writer, wait] of Object.entries(waits)) {
      const lane = laneAt(memory.layout, Number(writer))
      words[lane + LANE_WAITING] = wait === 'slot' ? 1 : WAIT_FOR_ROOM
      words[lane + LANE_WAKE_AT] = wait === 'slot' ? 1000 : wait
      words[WAITERS + (Number(writer) >>> 5)] |= 1 << (Number(writer) & 31)
    }
    const wakes = () =>
      Array.from({ length: 40 }, (_, writer) => words[laneAt(memory.layout, writer) + LANE_WAKE])
    const before = wakes()
    return {
      ...all,
      woken: () => wakes().flatMap((count, writer) => (count === before[writer] ? [] : [writer])),
      left: () =>
        Array.from({ length: 40 }, (_, i) => i).filter(
          (writer) => ((words[WAITERS + (writer >>> 5)] >>> (writer & 31)) & 1) === 1,
        ),
    }
  }

  it('C10: wake the writers that have room now, and those that wait for a ring slot', () => {
    const { a, woken, left } = waiting({
      0: 10,
      1: 11,
      2: 'slot',
      31: 9,
      32: 10,
      33: 12,
      39: 'slot',
    })
    a.readEnds.fill(10)
    doChores(a)
    expect([woken(), left()]).toEqual([
      [0, 2, 31, 32, 39],
      [1, 33],
    ])
    a.readEnds[33] = 12
    doChores(a)
    expect([woken(), left()]).toEqual([[0, 2, 31, 32, 33, 39], [1]])
  })

  it('C10: know which writer has room where the places have gone round 2^32', () => {
    const { a, woken, left } = waiting({ 0: -(2 ** 31) + 3, 1: -(2 ** 31) + 4 })
    a.readEnds.fill(-(2 ** 31) + 3)
    a.readEnds[1] = 2 ** 31 - 1
    doChores(a)
    expect([woken(), left()]).toEqual([[0], [1]])
  })

  it('are done every 16 tokens, although the ring is not empty', () => {
    const { memory, words, a } = live()
    for (let i = 0; i < 40; i++) control(memory, NOP)
    const told: number[] = []
    for (let i = 1; i <= 40; i++) {
      words[LISTENING] = 1
      step(a)
      if (words[LISTENING] === 0) told.push(i)
    }
    expect(told).toEqual([16, 32])
  })

  it('signal a tracker that listens, once, and no other', () => {
    const { words, a } = live()
    const before = words[SIGNAL]
    doChores(a)
    expect(words[SIGNAL]).toBe(before)
    words[LISTENING] = 1
    doChores(a)
    doChores(a)
    expect([words[SIGNAL], words[LISTENING]]).toEqual([before + 1, 0])
  })

  it.each([
    ['CUR', CUR],
    ['HEAD', HEAD],
    ['JOB', JOB],
  ])('put %s right, and say so', (_, at) => {
    const { words, a } = live()
    const [right, before] = [words[at], words[SIGNAL]]
    words[at] ^= 16
    doChores(a)
    expect([words[at], words[SIGNAL]]).toEqual([right, before + 1])
  })

  it('note the most tokens that have waited', () => {
    const { memory, words, a } = live()
    const peaks = [3, 1, 5].map((count) => {
      for (let i = 0; i < count; i++) control(memory, NOP)
      doChores(a)
      while (step(a) !== IDLE);
      return words[QUEUED_PEAK]
    })
    expect(peaks).toEqual([3, 3, 5])
  })

  it('C5: tell a tracker that asked for it of the first key of a clean epoch', () => {
    const { memory, words, a } = live()
    const lane = open(memory)
    const asked = (act: () => void): unknown => {
      const before = words[SIGNAL]
      words[DIRTY_WANTED] = 1
      act()
      while (step(a) === WORKED);
      return [words[SIGNAL] - before, words[DIRTY_WANTED]]
    }
    expect(asked(() => control(memory, NOP))).toEqual([1, 1]) // each control token is told
    expect(asked(() => send(lane, 1n))).toEqual([1, 0])
    expect(asked(() => send(lane, 2n))).toEqual([0, 1])
  })

  it.each<[string, (lane: Lane) => void]>([
    ['a text', (lane) => stageKeys(lane, 'a')],
    ['a namespace', (lane) => control(lane.memory, EVERYTHING, 7)],
    [
      'texts that do not hold together',
      (lane) => {
        stageKeys(lane, 'a')
        lane.memory.words[lane.text + HEAD_AT] = -1
      },
    ],
  ])('C5: tell a tracker that asked for it of an epoch that has nothing but %s', (_, act) => {
    const { memory, words, a } = live({ maxStringsPerEpoch: 8 })
    const lane = open(memory)
    const before = words[SIGNAL]
    words[DIRTY_WANTED] = 1
    act(lane)
    publish(lane)
    while (step(a) === WORKED);
    expect([words[SIGNAL] > before, words[DIRTY_WANTED]]).toEqual([true, 0])
    // Once an epoch.
    words[DIRTY_WANTED] = 1
    send(lane, 1n)
    while (step(a) === WORKED);
    expect(words[DIRTY_WANTED]).toBe(1)
  })

  it('C5: signal no tracker that did not ask', () => {
    const { memory, words, a } = live()
    send(open(memory), 1n)
    const before = words[SIGNAL]
    step(a)
    expect(words[SIGNAL]).toBe(before)
  })
})

describe('A long effect', () => {
  /** Sends the numbers [0 .. count). */
  function sendNumbers(lane: Lane, count: number): void {
    for (let from = 0; from < count; from += 4096) {
      const n = Math.min(4096, count - from)
      send(lane, ...Array.from({ length: n }, (_, i) => BigInt(from + i)))
      run(lane.memory)
    }
  }

  /** Restores 10,000 numbers into an epoch that has so many. */
  function sendRestore(lane: Lane, count: number): void {
    sendNumbers(lane, 10_000)
    seal(lane.memory, 1)
    sendNumbers(lane, count)
    restore(lane.memory, 0, -1)
  }

  /** Sends so many texts. */
  function sendTexts(lane: Lane, count: number): void {
    for (let i = 0; i < count; i++) {
      stageKeys(lane, `${i}`)
      if (i % 1000 !== 999 && i !== count - 1) continue
      publish(lane)
      run(lane.memory)
    }
  }

  const NUMBERS: MemoryOptions = { laneCapacity: 4096, maxKeysPerEpoch: 10_000 }
  const TEXTS: MemoryOptions = {
    laneCapacity: 4096,
    laneTextBytes: 2 ** 16,
    maxKeysPerEpoch: 4,
    maxStringsPerEpoch: 4096,
    maxStringBytesPerEpoch: 2 ** 15,
  }

  it.each<[string, MemoryOptions, number, (lane: Lane) => void]>([
    [
      'a restore of numbers that are in, every 4,096',
      NUMBERS,
      Math.floor(10_000 / 4096),
      (lane) => sendRestore(lane, 10_000),
    ],
    [
      'a restore of numbers into a full epoch, every 1,024',
      NUMBERS,
      Math.floor(10_000 / 1024),
      (lane) => sendRestore(lane, 10_001),
    ],
    [
      'texts of an epoch that becomes full, every 1,024',
      TEXTS,
      Math.floor(4000 / 1024),
      (lane) => {
        sendTexts(lane, 4000)
        sendNumbers(lane, 4)
        send(lane, 4n)
      },
    ],
  ])('shows that it makes progress: %s', (_, options, times, prepare) => {
    const memory = smallMemory(options)
    prepare(open(memory))
    memory.words[OWNER] = 0
    const a = takeRole(memory, THREAD)
    recover(a)
    const before = memory.words[PROGRESS]
    step(a)
    expect(memory.words[PROGRESS] - before).toBeGreaterThanOrEqual(times)
  })

  it('shows that it makes progress: texts that a successor finds, every 256', () => {
    const memory = smallMemory(TEXTS)
    sendTexts(open(memory), 4000)
    memory.words[OWNER] = 0
    const a = takeRole(memory, THREAD)
    const before = memory.words[PROGRESS]
    recover(a)
    expect(memory.words[PROGRESS] - before).toBeGreaterThanOrEqual(Math.floor(4000 / 256))
  })
})

describe('A step', () => {
  it.each<[string, boolean, (memory: Memory) => void]>([
    ['a batch', true, (memory) => send(open(memory), 1n)],
    ['a CLOSE', true, (memory) => control(memory, CLOSE, writerPayload(0, 5))],
    ['a REAP', true, (memory) => control(memory, REAP, writerPayload(0, 5))],
    ['an EVERYTHING', true, (memory) => control(memory, EVERYTHING)],
    ['a NOP', true, (memory) => control(memory, NOP)],
    ['a SEAL', false, (memory) => seal(memory, 3, 2)],
    ['a RESTORE', false, (memory) => control(memory, RESTORE)],
    ['a STOP', false, (memory) => control(memory, STOP)],
  ])('C14: with merges left, lets %s pass: %s', (_, passes, put) => {
    const { memory, words, a } = live({ maxConsumers: 2, epochSlots: 6 })
    const merges = [2, 3].map((target) => mergeWord(0, target, true, -1))
    storePlan(words, 0, { merges, own: 0 })
    seal(memory, 1)
    put(memory)
    step(a)
    const head = words[HEAD]
    step(a)
    expect([a.mergesLeft > 0, words[HEAD] - head]).toEqual([true, passes ? 1 : 0])
  })

  it('C13: stops if another thread has the role, or has moved the head, and else says corrupt', () => {
    for (const [at, value, result] of [
      [OWNER, 99, LOST_ROLE],
      [HEAD, 1, LOST_ROLE],
      [OWNER, THREAD + 1, 'corrupt'],
    ] as const) {
      const { memory, words, a } = live()
      send(open(memory), 1n)
      words[memory.layout.ring] = emptyWord(1)
      words[at] = value
      if (result === 'corrupt') expect(() => step(a)).toThrow(CORRUPT)
      else expect(step(a)).toBe(result)
    }
  })

  it.each([
    ['CLOSE', CLOSE, 2],
    ['REAP', REAP, 2],
    ['CLOSE', CLOSE, 3],
  ])('ends the aggregator at a %s (%d) of writer %d, which does not exist', (_, kind, writer) => {
    const { memory, a } = live({ maxWriters: 2 })
    control(memory, kind, writerPayload(writer, 0))
    const before = memory.words.slice(epochAt(memory.layout, 0))
    expect(() => step(a)).toThrow(CORRUPT)
    expect(memory.words.slice(epochAt(memory.layout, 0))).toEqual(before)
  })

  it('C9: the last one keeps the everything that a writer could not publish', () => {
    const memory = smallMemory({ capacity: 4 })
    const { words } = memory
    const lane = open(memory)
    words[lane.header + LANE_EVERYTHING] = 1
    control(memory, STOP)
    run(memory)
    expect(words[FINISHED]).toBe(1)
    expect(words[epochAt(memory.layout, 0) + SLOT_FLAGS]).toBe(FLAG_EVERYTHING)
  })
})
