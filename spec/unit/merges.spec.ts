import { describe, expect, it } from '@jest/globals'
import { IDLE } from '../../lib/aggregator/step.js'
import {
  choiceAt,
  CHOICES_MAX,
  epochAt,
  JOB,
  NAMESPACES_MAX,
  SIGNAL,
  SLOT_TEXT_END,
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
} from '../../lib/memory/plan.js'
import { epochOfCur, readCur } from '../../lib/ring/token.js'
import { HEAD_AT } from '../../lib/set/text-set.js'
import { run, seal } from '../support/aggregators.js'
import { Consumers, type MarkedKey, type Reader } from '../support/consumers.js'
import { thrown } from '../support/in-process.js'
import { type MemoryOptions, smallMemory } from '../support/steps.js'

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
    const { merges } = readPlan(words, epochOfCur(readCur(words)))
    const hasTexts = (merge: number) => words[epochAt(layout, sourceOf(merge)) + SLOT_TEXT_END] > 0
    const index = merges.findIndex(hasTexts)
    words[epochAt(layout, sourceOf(merges[index])) + layout.arena + HEAD_AT] += 2 * 40
    expect(() => consumers.stepsTo(IDLE)).toThrow(
      expect.objectContaining({ code: 'ERR_DIRTYRING_CORRUPT' }),
    )
    expect(indexOfJob(words[JOB])).toBe(index)
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
