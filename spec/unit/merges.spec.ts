import { describe, expect, it } from '@jest/globals'
import { recover, takeRole } from '../../lib/aggregator/state.js'
import { FINISHED_ALL, IDLE, step } from '../../lib/aggregator/step.js'
import {
  choiceAt,
  CHOICES_MAX,
  CUR,
  epochAt,
  FLAG_FAULT,
  FORM_FILTER,
  JOB,
  JOB_FAILURES,
  NAMESPACES_MAX,
  OWNER,
  PLAN_COUNTS,
  PLAN_MERGES_MAX,
  planAt,
  SIGNAL,
  SLOT_COUNT,
  SLOT_DIRTY,
  SLOT_FLAGS,
  SLOT_FORM,
  SLOT_TEXT_END,
  slotAt,
  TAIL,
} from '../../lib/memory/map.js'
import type { Memory } from '../../lib/memory/memory.js'
import {
  indexOfJob,
  jobWord,
  mergeWord,
  readChoice,
  readPlan,
  sourceOf,
  storeChoice,
  storePlan,
  targetOf,
} from '../../lib/memory/plan.js'
import { readSealedSlot } from '../../lib/memory/slot.js'
import { stage } from '../../lib/ring/lane.js'
import { epochOfCur, kindOf, readCur, slotOfCur, STOP, tokenOf } from '../../lib/ring/token.js'
import { HEAD_AT } from '../../lib/set/text-set.js'
import { control, open, run, seal, send, THREAD } from '../support/aggregators.js'
import { Consumers, type MarkedKey, type Reader } from '../support/consumers.js'
import { range, thrown } from '../support/in-process.js'
import { logOf, type MemoryOptions, smallMemory } from '../support/steps.js'

interface Case {
  name: string
  options?: MemoryOptions
  prepare(consumers: Consumers, readers: readonly Reader[]): void
}

function marked(consumers: Consumers, ...keys: MarkedKey[]): void {
  consumers.mark(keys)
  consumers.stepsTo(IDLE)
}

function taken(consumers: Consumers, reader: Reader): void {
  consumers.seal(reader)
  consumers.stepsTo(IDLE)
  consumers.take()
}

/** Three readers, and what the aggregator has to merge for them. */
function opened({ options = {}, prepare }: Case, ends: 'never' | 'dies' = 'never'): Consumers {
  const consumers = new Consumers(3, { capacity: 16, ...options }, ends)
  const readers = [false, false, false].map((isFresh) => consumers.open(isFresh)!)
  consumers.stepsTo(IDLE)
  consumers.take()
  prepare(consumers, readers)
  return consumers
}

const cases: Case[] = [
  {
    name: 'numbers and texts that are in both, and tables that grow',
    options: { maxStringsPerEpoch: 8, maxStringBytesPerEpoch: 64 },
    prepare(consumers, [one, two]) {
      marked(consumers, 1, 2, 3, 'a', 'b')
      taken(consumers, one)
      marked(consumers, 3, 4, 5, 6, 'b', 'c')
      taken(consumers, two)
      consumers.restore(one)
      consumers.mark([0, 7, 'd'])
      consumers.seal(one)
      consumers.mark([8])
    },
  },
  {
    name: 'full epochs, of numbers and of texts',
    options: { maxKeysPerEpoch: 3, maxStringsPerEpoch: 2, maxStringBytesPerEpoch: 64 },
    prepare(consumers, [one, two]) {
      marked(consumers, 1, 2, 'a')
      taken(consumers, one)
      marked(consumers, 3, 4, 'b', 'c')
      taken(consumers, two)
      consumers.commit(one)
      consumers.mark([5])
      consumers.seal(one)
    },
  },
  {
    name: 'two cuts, one behind the other',
    prepare(consumers, [one, two]) {
      consumers.mark([1, 0])
      consumers.seal(one)
      consumers.mark([2, 0])
      consumers.seal(two)
      consumers.mark([3])
    },
  },
]

describe('The merges behind a cut', () => {
  it.each(cases)('C14: give each consumer what was marked for it: $name', (each) => {
    const consumers = opened(each)
    consumers.stepsTo(IDLE)
    consumers.checkEach()
    consumers.take()
    consumers.checkAll()
  })

  it.each(cases)('C8: go on after a death between any two steps: $name', (each) => {
    const consumers = opened(each)
    const { words } = consumers.raw
    const before = words.slice()
    for (let steps = 0; steps < 24; steps++) {
      words.set(before)
      consumers.dies()
      consumers.steps(steps)
      consumers.dies()
      consumers.steps(1)
      consumers.dies()
      consumers.stepsTo(IDLE)
      consumers.checkEach()
    }
  })

  it.each(cases)('C8: go on after a death at a store: $name', (each) => {
    const consumers = opened(each, 'dies')
    const { words } = consumers.raw
    const before = words.slice()
    let deaths = 0
    // A prime number apart, so that each kind of store has its turn.
    for (let store = 0, isReached = true; isReached; store += 11, deaths++) {
      words.set(before)
      consumers.dies()
      isReached = consumers.steps(1000, [store]) === 0
      consumers.stepsTo(IDLE)
      consumers.checkEach()
    }
    expect(deaths).toBeGreaterThan(10)
  })

  it('tell the tracker of the seal, of the end of its own merges, and of the end of all', () => {
    const consumers = opened(cases[0])
    const { words } = consumers.raw
    const plan = readPlan(words, epochOfCur(readCur(words)))
    expect([plan.own, plan.merges.length]).toEqual([2, 3])
    const told: number[] = []
    let signals = words[SIGNAL]
    for (let i = 0; i < 40; i++) {
      consumers.steps(1)
      if (words[SIGNAL] !== signals) told.push(indexOfJob(words[JOB]))
      signals = words[SIGNAL]
    }
    expect(told).toEqual([0, 2, 3])
  })

  it('are made in steps of at most 1024 texts, and of few words of text', () => {
    const steps = (texts: string[]): number => {
      const consumers = new Consumers(2, {
        capacity: 16,
        laneCapacity: 4096,
        laneTextBytes: 2 ** 19,
        maxStringsPerEpoch: 4096,
        maxStringBytesPerEpoch: 2 ** 19,
      })
      const [one, two] = [consumers.open(false)!, consumers.open(false)!]
      consumers.stepsTo(IDLE)
      consumers.take()
      marked(consumers, 1)
      taken(consumers, one)
      marked(consumers, ...texts)
      consumers.seal(two)
      const { words } = consumers.raw
      consumers.steps(1)
      const before = words[JOB]
      let count = 0
      for (; words[JOB] === before && count < 100; count++) consumers.steps(1)
      consumers.stepsTo(IDLE)
      consumers.checkEach()
      return count
    }
    const base = steps(['a'])
    const short = Array.from({ length: 2500 }, (_, i) => `${i}`)
    expect(steps(short) - base).toBe(2)
    const long = Array.from({ length: 5 }, (_, i) => `${i}`.padEnd(40_000, '.'))
    expect(steps(long) - base).toBe(2)
  })
})

describe('A source whose texts do not hold together', () => {
  it('ends the aggregator, and the merge does not count as made', () => {
    const consumers = opened(cases[0])
    const { words, layout } = consumers.raw
    const epoch = epochOfCur(readCur(words))
    const { merges } = readPlan(words, epoch)
    const hasTexts = (merge: number) => words[epochAt(layout, sourceOf(merge)) + SLOT_TEXT_END] > 0
    const index = merges.findIndex(hasTexts)
    while (words[JOB] !== jobWord(epoch, index)) consumers.steps(1)
    words[epochAt(layout, sourceOf(merges[index])) + layout.arena + HEAD_AT] += 2 * 40
    const target = epochAt(layout, targetOf(merges[index]))
    const before = words.slice(target, target + layout.epochStride)
    expect(() => consumers.stepsTo(IDLE)).toThrow(
      expect.objectContaining({ code: 'ERR_DIRTYRING_CORRUPT' }),
    )
    expect(indexOfJob(words[JOB])).toBe(index)
    expect(words.slice(target, target + layout.epochStride)).toEqual(before)
  })
})

describe('A merge', () => {
  /** Two consumers' worth of slots, of which the open one is 0. */
  const forMerges = (options: MemoryOptions = {}): Memory =>
    smallMemory({ maxConsumers: 2, epochSlots: 6, ...options })

  /** Cuts the open epoch into slot `next`, and merges it into slot 2. */
  function cut(memory: Memory, next: number, isNew: boolean): void {
    const cur = readCur(memory.words)
    const merges = [mergeWord(slotOfCur(cur), 2, isNew, -1)]
    storePlan(memory.words, epochOfCur(cur), { merges, own: 0 })
    seal(memory, next)
  }

  /** Jest would take seconds for so many words. */
  const isSame = (a: Int32Array, b: Int32Array): boolean =>
    a.length === b.length && a.every((word, i) => word === b[i])

  const CORRUPT = expect.objectContaining({ code: 'ERR_DIRTYRING_CORRUPT' })

  it('takes all of a large filter', () => {
    const memory = forMerges({ maxKeysPerEpoch: 20_000, laneCapacity: 4096 })
    const { words, layout } = memory
    const lane = open(memory)
    for (let i = 0; i < 5; i++) {
      const keys = Array.from({ length: 4096 }, (_, k) => i * 4096 + k)
      send(lane, ...keys.map(BigInt))
      run(memory)
    }
    cut(memory, 1, true)
    run(memory)
    const [from, to] = [0, 2].map((slot) => {
      const at = epochAt(layout, slot)
      expect(words[at + SLOT_FORM]).toBe(FORM_FILTER)
      return words.subarray(at + layout.table, at + layout.table + layout.filterCells * 2)
    })
    expect(layout.filterCells * 2).toBeGreaterThan(2 * 65_536)
    expect(isSame(from, to)).toBe(true)
  })

  it('changes no other slot, and leaves its own as one that can be checked', () => {
    const memory = forMerges()
    const { words, layout } = memory
    const lane = open(memory)
    const target = epochAt(layout, 2)
    for (const [next, isNew] of [
      [1, true],
      [3, false],
    ] as const) {
      send(lane, BigInt(next), 5n)
      cut(memory, next, isNew)
      words[OWNER] = 0
      const a = takeRole(memory, THREAD)
      recover(a)
      while (a.mergesLeft === 0) step(a)
      const before = words.slice(layout.lanes)
      while (step(a) !== IDLE);
      const after = words.slice(layout.lanes)
      for (const each of [before, after])
        each.fill(0, target - layout.lanes, target - layout.lanes + layout.epochStride)
      expect(isSame(after, before)).toBe(true)
    }
    expect(logOf(memory, 2)).toEqual([1n, 5n, 3n])
    words[target + SLOT_COUNT]--
    cut(memory, 4, false)
    expect(() => run(memory)).toThrow(CORRUPT)
  })

  it('C14: is given up by a successor: its target alone says fault, and the next merge is made', () => {
    const memory = forMerges()
    const { words, layout } = memory
    const lane = open(memory)
    send(lane, 1n)
    const merges = [2, 3].map((target) => mergeWord(0, target, true, -1))
    storePlan(words, 0, { merges, own: 0 })
    seal(memory, 1)
    const a = takeRole(memory, THREAD)
    recover(a)
    while (a.mergesLeft === 0) step(a)
    const before = words.slice(0, CUR)
    words[JOB_FAILURES] = 8
    expect(run(memory)).toBe(IDLE)
    expect(words.slice(0, TAIL)).toEqual(before.subarray(0, TAIL))
    const headers = [0, 2, 3].map((slot) => readSealedSlot(memory, slot, 0))
    expect(headers.map(({ count, flags }) => [count, flags])).toEqual([
      [1, 0],
      [0, FLAG_FAULT],
      [1, 0],
    ])
    expect([0, 2, 3].map((slot) => words[epochAt(layout, slot) + SLOT_DIRTY])).toEqual([0, 0, 0])
  })

  it.each([0, 3, 4, 5, 8].map((kind) => [kind, kind * 2 ** 26]))(
    'C14: is made before the ring counts as empty, where an empty slot looks like a token of kind %d',
    (kind, position) => {
      const memory = forMerges({ capacity: 4, start: { position } })
      send(open(memory), 1n)
      cut(memory, 1, true)
      expect(kindOf(tokenOf(memory.words[slotAt(memory.layout, position + 2)]))).toBe(kind)
      expect(run(memory)).toBe(IDLE)
      expect([indexOfJob(memory.words[JOB]), logOf(memory, 2)]).toEqual([1, [1n]])
    },
  )

  it('C9: follows the last epoch, which is sealed once: what is staged since changes nothing', () => {
    const memory = forMerges({ capacity: 4 })
    const { words, layout } = memory
    const lane = open(memory)
    send(lane, 1n)
    storePlan(words, 0, { merges: [mergeWord(0, 2, true, -1)], own: 0 })
    control(memory, STOP)
    const a = takeRole(memory, THREAD)
    recover(a)
    while (a.mergesLeft === 0) step(a)
    stage(lane, 2, 0)
    expect(run(memory)).toBe(FINISHED_ALL)
    for (const slot of [0, 2]) {
      expect(words[epochAt(layout, slot) + SLOT_FLAGS]).toBe(0)
      expect(logOf(memory, slot)).toEqual([1n])
    }
  })

  it('is no matter of a tracker without consumers, whatever its word says', () => {
    const memory = smallMemory()
    memory.words[JOB] = 5
    send(open(memory), 1n)
    expect(run(memory)).toBe(IDLE)
    expect(logOf(memory, 0)).toEqual([1n])
  })
})

describe('A plan that the tracker did not make', () => {
  const CORRUPT = expect.objectContaining({ code: 'ERR_DIRTYRING_CORRUPT' })

  /** A cut of epoch 0, which is in slot 0, into slot 1, with one merge behind it. */
  function cutWith(source: number, target: number): Memory {
    const memory = smallMemory({ maxConsumers: 2, epochSlots: 5 })
    storePlan(memory.words, 0, { merges: [mergeWord(source, target, true, -1)], own: 0 })
    seal(memory, 1)
    return memory
  }

  it.each([
    ['into its own source', 0, 0, 'cannot take the keys of slot 0'],
    ['into the open epoch', 0, 1, 'cannot take the keys of slot 0'],
    ['into a slot that does not exist', 0, 5, 'cannot take the keys of slot 0'],
    ['out of the open epoch', 1, 2, 'does not hold what was sealed'],
  ])('ends the aggregator, which merges nothing %s', (_, source, target, message) => {
    const memory = cutWith(source, target)
    expect(() => run(memory)).toThrow(CORRUPT)
    expect(() => run(memory)).toThrow(message)
    expect(indexOfJob(memory.words[JOB])).toBe(0)
    expect(run(cutWith(0, 2))).toBe(IDLE)
  })

  it('ends a successor: one of fewer merges than are made, and none where there must be one', () => {
    const memory = cutWith(0, 2)
    run(memory)
    const { words } = memory
    const made = words[JOB]
    for (const job of [jobWord(0, 2), jobWord(2, 0), 0, -1, 1, made ^ (1 << 25)]) {
      words[JOB] = job
      expect(() => run(memory)).toThrow(CORRUPT)
    }
    words[JOB] = made
    expect(run(memory)).toBe(IDLE)
  })
})

describe('What the tracker has stored for the aggregator', () => {
  const { words } = smallMemory({ maxConsumers: 2, epochSlots: 6 })
  const namespaces = Array.from({ length: NAMESPACES_MAX }, (_, i) => 3 * i)

  it('is a choice of one namespace, or of as many as there may be', () => {
    for (const choice of [0, CHOICES_MAX - 1])
      for (const each of [[0], [2 ** 21 - 1], namespaces]) {
        storeChoice(words, choice, each)
        expect(readChoice(words, choice)).toEqual(each)
      }
  })

  it('leaves the next choice, and the next plan, as they were', () => {
    const merges = range(0, PLAN_MERGES_MAX).map((i) => mergeWord(i, 15 - i, false, i))
    for (const i of [11, 10]) {
      storeChoice(words, i, namespaces)
      storePlan(words, i, { merges, own: i })
    }
    for (const i of [10, 11]) {
      expect(readChoice(words, i)).toEqual(namespaces)
      expect(readPlan(words, i)).toEqual({ merges, own: i })
    }
  })

  it('is corrupt where the number of merges has changed that come first', () => {
    storePlan(words, 7, { merges: [mergeWord(1, 2, false, -1)], own: 1 })
    words[planAt(7) + PLAN_COUNTS] ^= 1 << 8
    expect(() => readPlan(words, 7)).toThrow('the plan of epoch 7 (mod 2^19) is not what')
  })

  it('is corrupt, and says how many namespaces a choice has, where there can be none such', () => {
    storeChoice(words, 1, namespaces)
    const corrupt = (message: string) =>
      expect.objectContaining({ code: 'ERR_DIRTYRING_CORRUPT', message })
    for (const count of [0, -1, NAMESPACES_MAX + 1]) {
      words[choiceAt(1) + 1] = count
      expect(thrown(() => readChoice(words, 1))).toEqual(
        corrupt(`choice 1 has ${count} namespaces`),
      )
    }
    words[choiceAt(1) + 1] = NAMESPACES_MAX - 1
    expect(thrown(() => readChoice(words, 1))).toEqual(
      corrupt('choice 1 is not what the tracker stored'),
    )
    expect(thrown(() => readChoice(words, CHOICES_MAX))).toEqual(
      corrupt(`choice ${CHOICES_MAX} has -1 namespaces`),
    )
  })

  it('is the plan of one epoch only, and corrupt for another', () => {
    const plan = { merges: [mergeWord(1, 2, false, -1), mergeWord(3, 4, true, 5)], own: 1 }
    storePlan(words, 7, plan)
    expect(readPlan(words, 7)).toEqual(plan)
    for (const epoch of [6, 8])
      expect(thrown(() => readPlan(words, epoch))).toMatchObject({
        code: 'ERR_DIRTYRING_CORRUPT',
        message: `the plan of epoch ${epoch} (mod 2^19) is not what the tracker stored`,
      })
  })
})
