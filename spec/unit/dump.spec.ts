import { describe, expect, it } from '@jest/globals'
import {
  epochAt,
  FAILED,
  FINISHED,
  FLAG_EVERYTHING,
  FLAG_FAULT,
  FLAG_OVERFLOW,
  FLAG_SATURATED,
  FLAG_UNPUBLISHED,
  FORM_FILLING,
  FORM_FILTER,
  INTENT_COUNT,
  INTENT_POSITION,
  INTENT_TOKENS,
  JOB,
  LANE_PUBLISHED,
  LANE_READ_END,
  LANE_STAGED_END,
  LANE_TEXT,
  LANE_TEXT_BROKEN,
  LANE_WAITING,
  laneAt,
  LINE,
  OWNER,
  PANICS,
  PARKED,
  SLOT_COUNT,
  SLOT_FILL,
  SLOT_FLAGS,
  SLOT_FORM,
  SLOT_GROWTH,
  SLOT_TEXT_BYTES,
  SLOT_TEXT_COUNT,
  SLOT_TEXT_END,
  slotAt,
  STOPPED,
  VERSION,
  WAIT_FOR_ROOM,
  WAIT_FOR_SLOT,
} from '../../lib/memory/map.js'
import { jobWord, storePlan } from '../../lib/memory/plan.js'
import { filterBits } from '../../lib/memory/slot.js'
import {
  batchToken,
  CLOSE,
  controlToken,
  epochPayload,
  EVERYTHING,
  fullWord,
  NO_KIND,
  NOP,
  POISON,
  REAP,
  RESTORE,
  SEAL,
  STOP,
  writerPayload,
} from '../../lib/ring/token.js'
import { dump } from '../../lib/tracker/dump.js'
import { SealTimes } from '../../lib/tracker/seal-times.js'
import { control, open } from '../support/aggregators.js'
import { smallMemory } from '../support/steps.js'

describe('dump()', () => {
  it('shows a memory that no thread has used', () => {
    const memory = smallMemory()
    const { words, layout } = memory
    expect(dump(memory).split('\n')).toEqual([
      `dirtyring memory, version ${words[VERSION]}, ${layout.size * 4} bytes`,
      'aggregator  no thread has the role; 0 panics; tokens last in hand: none',
      'ring        head 0, tail 0: 0 of 8 slots',
      'writers     none',
      'epoch slot 0  open, epoch 0 (mod 2^19): 0 keys, 4 cells',
      'epoch slot 1  not open: 0 keys, 4 cells',
      'epoch slot 2  not open: 0 keys, 4 cells',
    ])
  })

  it('shows the state of the aggregator, and what it has in hand', () => {
    const memory = smallMemory()
    const { words } = memory
    const line = (): string => dump(memory).split('\n')[1]
    words[OWNER] = 8
    words[PANICS] = 3
    words[INTENT_POSITION] = 43
    words[INTENT_TOKENS] = 5
    words[INTENT_COUNT] = 77
    const rest = '; 3 panics; tokens last in hand: 5 at 42, 77 keys'
    for (const [at, value, state] of [
      [PARKED, 1, 'asleep'],
      [STOPPED, 1, 'stopped'],
      [FINISHED, 1, 'finished'],
      [FAILED, 2, 'failed (2)'],
    ] as const) {
      words[at] = value
      expect(line()).toBe(`aggregator  thread 7, ${state}${rest}`)
      words[at] = 0
    }
    for (const at of [PARKED, STOPPED, FINISHED, FAILED]) words[at] = 1
    expect(line()).toBe(`aggregator  thread 7, asleep, stopped, finished, failed (1)${rest}`)
  })

  it('shows how far the merges behind the last cut are', () => {
    const memory = smallMemory({ maxConsumers: 1, epochSlots: 4 })
    const line = (): string => dump(memory).split('\n')[2]
    expect(line()).toBe('consumers   at most 1; no cut yet')
    storePlan(memory.words, 5, { merges: [1, 2, 3], own: 1 })
    memory.words[JOB] = jobWord(5, 2)
    expect(line()).toBe(
      'consumers   at most 1; behind epoch 5 (mod 2^19): 2 merges made, 3 planned',
    )
  })

  it('shows the first eight tokens of the ring, of every kind', () => {
    const memory = smallMemory({ capacity: 16 })
    const { words, layout } = memory
    const lines = (): string[] => dump(memory).split('\n').slice(2, -4)
    const put = (position: number, token: number): void => {
      words[slotAt(layout, position)] = fullWord(0, token)
    }
    for (let i = 0; i < 8; i++) control(memory, NOP)
    put(0, batchToken(layout, 1, 3))
    put(1, controlToken(SEAL, epochPayload(2, 9)))
    put(2, controlToken(RESTORE, epochPayload(1, 8)))
    put(3, controlToken(CLOSE, writerPayload(1, 7)))
    put(4, controlToken(REAP, writerPayload(0, 7)))
    put(5, controlToken(EVERYTHING, 0))
    put(6, controlToken(STOP, 0))
    put(7, controlToken(POISON, 0))
    const first = [
      '  0  BATCH writer 1, 3 keys',
      '  1  SEAL slot 2, epoch 9',
      '  2  RESTORE slot 1, epoch 8',
      '  3  CLOSE writer 1',
      '  4  REAP writer 0',
      '  5  EVERYTHING',
      '  6  STOP',
    ]
    expect(lines()).toEqual(['ring        head 0, tail 8: 8 of 16 slots', ...first, '  7  POISON'])
    for (let i = 0; i < 3; i++) control(memory, NOP)
    put(7, controlToken(NOP, 0))
    const all = ['ring        head 0, tail 11: 11 of 16 slots', ...first]
    expect(lines()).toEqual([...all, '  7  NOP', '  … 3 more'])
    const unknown = controlToken(NO_KIND as never, 5)
    put(7, unknown)
    expect(lines()).toEqual([...all, `  7  unknown (${unknown})`, '  … 3 more'])
    words[slotAt(layout, 7)] = 0
    expect(lines()).toEqual([...all, '  7  EMPTY (0)', '  … 3 more'])
  })

  it('shows of each writer what is staged and in flight, and what it waits for', () => {
    const memory = smallMemory({ maxWriters: 3 })
    const { words, layout } = memory
    const lines = (): string[] =>
      dump(memory)
        .split('\n')
        .filter((line) => line.startsWith('writer'))
    for (const threadId of [4, 5, 6]) open(memory, threadId)
    const [first, second] = [0, 1, 2].map((id) => laneAt(layout, id))
    words[first + LANE_READ_END] = 2
    words[first + LANE_PUBLISHED] = 5
    words[first + LANE_STAGED_END] = 12
    words[first + LANE_WAITING] = WAIT_FOR_ROOM
    words[second + LANE_WAITING] = WAIT_FOR_SLOT
    words[second + LANE_TEXT] = 1
    words[second + LANE_TEXT_BROKEN] = 1
    expect(lines()).toEqual([
      'writer 0    thread 4, generation 0: 3 keys in flight, 7 staged, of 8, waits for room',
      'writer 1    thread 5, generation 0: 0 keys in flight, 0 staged, of 8, ' +
        'has marked texts that do not hold together, waits for a slot',
      'writer 2    thread 6, generation 0: 0 keys in flight, 0 staged, of 8',
    ])
    words[second + LANE_TEXT_BROKEN] = 0
    words[second + LANE_WAITING] = 0
    expect(lines()[1]).toMatch(/ of 8, has marked texts$/)
  })

  it('shows no writer behind the last one, where the first epoch slot begins', () => {
    const memory = smallMemory({ maxWriters: 14, laneCapacity: 32 })
    const { words, layout } = memory
    expect(epochAt(layout, 0)).toBe(laneAt(layout, 14) + LINE)
    for (let count = 0; count < 8; count++) {
      words[epochAt(layout, 0) + SLOT_COUNT] = count
      expect(dump(memory)).toContain('\nwriters     none\nepoch slot 0 ')
    }
  })

  it('shows the form of each epoch, its texts and what makes it inexact', () => {
    const memory = smallMemory()
    const { words, layout } = memory
    const lines = (): string[] => dump(memory).split('\n').slice(-3)
    const [one, two, three] = [0, 1, 2].map((slot) => epochAt(layout, slot))
    words[one + SLOT_COUNT] = 11
    words[one + SLOT_GROWTH] = 3
    words[one + SLOT_TEXT_END] = 1
    words[one + SLOT_TEXT_COUNT] = 2
    words[one + SLOT_TEXT_BYTES] = 30
    words[two + SLOT_FORM] = FORM_FILTER
    words[two + SLOT_FILL] = filterBits(layout) / 4
    words[two + SLOT_FLAGS] = FLAG_OVERFLOW | FLAG_UNPUBLISHED | FLAG_SATURATED
    words[two + SLOT_TEXT_COUNT] = 9 // of an earlier epoch
    words[three + SLOT_FORM] = FORM_FILLING
    words[three + SLOT_FLAGS] = FLAG_EVERYTHING | FLAG_FAULT
    expect(lines()).toEqual([
      'epoch slot 0  open, epoch 0 (mod 2^19): 11 keys, 32 cells, 2 texts of 30 bytes',
      'epoch slot 1  not open: 0 keys, a filter with 25.0 % of its bits set, ' +
        'overflow, unpublished, saturated',
      'epoch slot 2  not open: 0 keys, a filter with 0.0 % of its bits set (turning), ' +
        'everything, fault',
    ])
  })
})

describe('the times of seals', () => {
  it('are 0 as long as there are none', () => {
    expect(new SealTimes().summary()).toEqual({ count: 0, mean: 0, p50: 0, p99: 0, max: 0 })
  })

  it('have percentiles within 4.5 %, and an exact mean', () => {
    const times = new SealTimes()
    for (let ms = 1; ms <= 1000; ms++) times.add(ms)
    const { count, mean, p50, p99, max } = times.summary()
    expect([count, mean, max]).toEqual([1000, 500.5, 1000])
    for (const [is, wanted] of [
      [p50, 500],
      [p99, 990],
    ])
      expect(Math.abs(Math.log2(is / wanted))).toBeLessThan(1 / 16)
  })

  it.each([0, 2 ** -30, 2 ** -20, 2 ** -20 * 1.01, 0.001, 7, 2 ** 43.99, 2 ** 50])(
    'take one of %p ms',
    (ms) => {
      const times = new SealTimes()
      times.add(ms)
      const { count, mean, p50, p99, max } = times.summary()
      expect([count, mean, max]).toEqual([1, ms, ms])
      expect(p50).toBe(p99)
      expect(p50).toBeLessThanOrEqual(ms)
      // Above the lowest bucket, and below the highest one: at most half a bucket too little.
      if (ms >= 2 ** -20 && ms < 2 ** 44) expect(p50).toBeGreaterThan(ms * 2 ** (-1 / 32 - 1e-9))
      if (ms > 2 ** 44) expect(p50).toBe(2 ** (44 - 1 / 32)) // as the longest one that it tells apart
    },
  )

  it('put a share of the times at or below each percentile', () => {
    const times = new SealTimes()
    for (let i = 0; i < 99; i++) times.add(1)
    times.add(64)
    expect(times.summary().p99).toBeLessThan(1.05)
    times.add(64)
    expect(times.summary().p99).toBeGreaterThan(60)
    expect(times.summary().p50).toBeLessThan(1.05)
  })
})
