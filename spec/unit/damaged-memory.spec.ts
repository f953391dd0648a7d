import { describe, expect, it } from '@jest/globals'
import { recover, takeRole } from '../../lib/aggregator/state.js'
import { step, WORKED } from '../../lib/aggregator/step.js'
import { doChores } from '../../lib/aggregator/wake.js'
import {
  CUR,
  epochAt,
  FLAG_FAULT,
  FORM_FILTER,
  HEAD,
  INTENT_COUNT,
  INTENT_POSITION,
  INTENT_START,
  INTENT_TOKENS,
  LANE_READ_END,
  laneAt,
  OWNER,
  SLOT_COUNT,
  SLOT_FILL,
  SLOT_FLAGS,
  SLOT_FORM,
  SLOT_GROWTH,
  SLOT_ZERO,
  STOP_POSITION,
  TAIL,
  WAITERS,
} from '../../lib/memory/map.js'
import type { Memory } from '../../lib/memory/memory.js'
import { readSealedSlot } from '../../lib/memory/slot.js'
import { closeLane, publish } from '../../lib/ring/lane.js'
import { emptyWord, epochPayload, EVERYTHING, SEAL, STOP } from '../../lib/ring/token.js'
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
import { textsIn } from '../support/consumers.js'
import { openHeld } from '../support/in-process.js'
import { logOf, smallMemory } from '../support/steps.js'

describe('A word in shared memory that the library did not write', () => {
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
    ['a form that does not exist', (_, layout) => [epochAt(layout, 1) + SLOT_FORM, 4]],
    ['a negative form', (_, layout) => [epochAt(layout, 1) + SLOT_FORM, -1]],
    [
      'a filter of an epoch that is not full',
      (_, layout) => [epochAt(layout, 1) + SLOT_FORM, FORM_FILTER],
    ],
    [
      'more bits than a filter has',
      (_, layout) => [epochAt(layout, 1) + SLOT_FILL, layout.filterCells * 64 + 1],
    ],
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

  it('ends a successor: a head after STOP that is not in the poisoned part of the ring', () => {
    const memory = smallMemory({ capacity: 4, start: { position: 40 } })
    const { words } = memory
    send(open(memory), 1n)
    control(memory, STOP)
    const a = takeRole(memory, THREAD)
    recover(a)
    for (let i = 0; i < 4; i++) step(a) // the batch, STOP, and one ring slot is poisoned
    const [head, stop] = [words[HEAD], words[STOP_POSITION] - 1]
    expect([head, stop]).toEqual([43, 42])
    const isRight = (): boolean => {
      words[OWNER] = 0
      try {
        recover(takeRole(memory, THREAD))
        return true
      } catch (error) {
        expect(error).toEqual(CORRUPT)
        return false
      }
    }
    const right: number[] = []
    for (let at = head - 20; at <= head + 20; at++) {
      words[HEAD] = at
      if (isRight()) right.push(at)
    }
    expect(right).toEqual([stop - 1, stop, head])
    words[HEAD] = head
    words[STOP_POSITION] ^= 1 << 31
    expect(isRight()).toBe(false)
  })

  it('ends a successor: a head that is whole laps away, before a token', () => {
    for (const laps of [-4, -2, -1, 1, 2, 4]) {
      const memory = smallMemory({ start: { position: 80 } })
      send(open(memory), 1n)
      memory.words[HEAD] += laps * memory.layout.capacity
      expect(() => run(memory)).toThrow(CORRUPT)
      expect(logOf(memory, 0)).toEqual([])
    }
  })

  it('in the ring ends consumer() with its code, and then the next call of another consumer', async () => {
    const { tracker, hand } = await openHeld({ maxConsumers: 2 })
    const cache = tracker.consumer('cache', { from: 'now' })
    const { words, layout } = hand.memory
    words[layout.ring + (words[TAIL] & (layout.capacity - 1))] = -1

    expect(() => tracker.consumer('index', { from: 'now' })).toThrow(CORRUPT)
    await expect(cache.advanceEpoch()).rejects.toEqual(CORRUPT)
  })

  it('does not lead a live aggregator astray, and is right again after the next seal', () => {
    const { memory, words, layout, steps } = live()
    const lane = laneAt(layout, 0)
    const slot = epochAt(layout, 1)
    for (const at of [INTENT_POSITION, INTENT_TOKENS, INTENT_COUNT, INTENT_START, HEAD, CUR])
      words[at] ^= 1
    for (const at of [SLOT_COUNT, SLOT_GROWTH, SLOT_ZERO, SLOT_FLAGS, SLOT_FORM, SLOT_FILL])
      words[slot + at] ^= 1
    words[lane + LANE_READ_END] -= 1
    control(memory, SEAL, epochPayload(2, 2))
    steps()
    expect(logOf(memory, 1)).toEqual([3n, 4n, 5n])
    expect(readSealedSlot(memory, 1, 1)).toMatchObject({ count: 3, zero: false, flags: 0 })
    expect([words[CUR], words[lane + LANE_READ_END], words[HEAD]]).toEqual([(2 << 4) | 2, 6, 6])
  })

  it.each([SLOT_COUNT, SLOT_GROWTH, SLOT_ZERO, SLOT_FLAGS, SLOT_FORM, SLOT_FILL])(
    'ends a restore from a slot whose header has changed (word %d)',
    (at) => {
      const { memory, words, layout, steps } = live()
      words[epochAt(layout, 0) + at] ^= 1
      restore(memory, 0, -1)
      expect(steps).toThrow(CORRUPT)
      expect(logOf(memory, 1)).toEqual([3n, 4n, 5n])
    },
  )

  it('ends a restore of texts that do not hold together, and none of them is in', () => {
    const memory = smallMemory({ maxStringsPerEpoch: 8, maxStringBytesPerEpoch: 64 })
    const { words, layout } = memory
    const lane = open(memory)
    stageKeys(lane, 'a', 'b')
    publish(lane)
    seal(memory, 1)
    run(memory)
    words[epochAt(layout, 0) + layout.arena + 3 + HEAD_AT] += 2 * 40
    restore(memory, 0, -1)
    expect(() => run(memory)).toThrow(CORRUPT)
    expect(textsIn(memory, 1)).toEqual([])
  })

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

  it('ends a live aggregator whose head goes back behind the tokens that it had in hand', () => {
    const memory = smallMemory()
    const lane = open(memory)
    const a = takeRole(memory, THREAD)
    recover(a)
    for (const key of [1n, 2n]) {
      send(lane, key)
      while (step(a) === WORKED);
    }
    memory.words[HEAD] = a.head -= 2
    expect(() => step(a)).toThrow(CORRUPT)
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

  describe("among a lane's texts", () => {
    /**
     * A text of one word, a number and a text of one word: three words an entry. The keys from
     * `from` on are staged, and those before them read.
     */
    function texts(from: 0 | 1 | 2) {
      const memory = smallMemory({ maxStringsPerEpoch: 8, laneTextBytes: 64, capacity: 16 })
      const lane = open(memory)
      for (const [i, key] of ['a', 1, 'bb'].entries()) {
        stageKeys(lane, key)
        if (i >= from) continue
        publish(lane)
        run(memory)
      }
      const { words, layout } = memory
      const at = lane.header + layout.laneText
      expect([words[at], words[at + 3]]).toEqual([1, 3]) // the tags
      const flags = (slot: number): number => words[epochAt(layout, slot) + SLOT_FLAGS]
      return { memory, lane, words, at, flags }
    }

    it.each<[name: string, from: 0 | 1 | 2, changes: [place: number, value: number][]]>([
      ['a negative length', 0, [[HEAD_AT, -1]]],
      ['a length beyond the memory of texts', 0, [[HEAD_AT, 64 << 1]]],
      ['a length of one word beyond it', 2, [[3 + HEAD_AT, (4 * 11 + 1) << 1]]],
      ['an entry of a key before it', 0, [[3, 1]]],
      ['an entry said to stand at the beginning, where another one is', 2, [[3, -3]]],
      [
        'an entry said to stand at the beginning, in words that are not free',
        1,
        [
          [0, 3],
          [3, -3],
        ],
      ],
    ])(
      'is found with their keys, and again in the next epoch, until the lane has another owner: %s',
      (_, from, changes) => {
        const { memory, lane, words, at, flags } = texts(from)
        for (const [place, value] of changes) words[at + place] = value
        publish(lane)
        run(memory)
        expect(flags(0)).toBe(FLAG_FAULT)
        // No key is invented.
        expect([[], [1n]]).toContainEqual(logOf(memory, 0))
        expect([[], ['a']]).toContainEqual(textsIn(memory, 0))
        seal(memory, 1)
        stageKeys(lane, 'c', 2)
        publish(lane)
        run(memory)
        expect(flags(1)).toBe(FLAG_FAULT)
        closeLane(lane)
        seal(memory, 2)
        run(memory)
        const next = open(memory)
        stageKeys(next, 'd', 3)
        publish(next)
        run(memory)
        expect([next.id, flags(2)]).toEqual([lane.id, 0])
        expect(textsIn(memory, 2)).toEqual(['d'])
      },
    )

    it.each<[name: string, texts: string[], changes: [place: number, value: number][]]>([
      ['of a text that was read', ['a', 'bb', 'cc'], [[6, -3]]],
      [
        'and is so long that it leads into one before it',
        ['eight by', 'b'],
        [
          [8 + 4, -4],
          [0, 4],
          [HEAD_AT, (4 * 8) << 1],
        ],
      ],
    ])(
      'is found where an entry is said to stand at the beginning, in the place %s',
      (_, keys, changes) => {
        const memory = smallMemory({
          maxStringsPerEpoch: 8,
          laneTextBytes: 64,
          capacity: 16,
          maxStringBytesPerEpoch: 256,
        })
        const lane = open(memory)
        const isLong = keys.length === 2
        const before = isLong ? ['aaaa', 'bbbbbbbbbbb'] : keys.slice(0, 2)
        for (const key of before) {
          stageKeys(lane, key)
          publish(lane)
          run(memory)
        }
        const staged = isLong ? keys : keys.slice(2)
        lane.textTryAt = lane.textEnd + 16 // one batch
        stageKeys(lane, ...staged)
        const at = lane.header + memory.layout.laneText
        for (const [place, value] of changes) memory.words[at + place] = value
        publish(lane)
        run(memory)
        expect(memory.words[epochAt(memory.layout, 0) + SLOT_FLAGS]).toBe(FLAG_FAULT)
      },
    )

    it('is not: the longest text that fits, also across the end of the memory', () => {
      const memory = smallMemory({
        maxStringsPerEpoch: 64,
        maxStringBytesPerEpoch: 1024,
        laneTextBytes: 64,
      })
      const lane = open(memory)
      const marked: string[] = []
      for (let i = 0; i < 12; i++) {
        const text = String.fromCharCode(97 + i).repeat(1 + ((i * 7) % 24))
        stageKeys(lane, text, i)
        marked.push(text)
        publish(lane)
        run(memory)
      }
      expect(memory.words[epochAt(memory.layout, 0) + SLOT_FLAGS] & FLAG_FAULT).toBe(0)
      expect(textsIn(memory, 0)).toEqual(marked)
    })
  })
})
