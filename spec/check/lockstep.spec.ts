import { beforeAll, describe, expect, test } from '@jest/globals'
import { runProgram } from '../support/program.js'

const RUNS = [
  { name: 'ring: two slots, two producers, two laps', count: 20 },
  { name: 'seal: two at once, concurrent with batches', count: 15 },
  { name: 'lane: full of staged keys, the ring full of others', count: 20 },
  { name: 'stop: everything in flight', count: 10 },
  { name: 'all: two writers, one closes; seal, restore, seal, stop', count: 10 },
  { name: 'reap: a writer that ended with keys staged', victim: 'writer', count: 20 },
  { name: 'set: growth in the middle of a batch', victim: 'aggregator', count: 20 },
]

describe('the schedules of the model checker on real threads, access by access', () => {
  let results: any[]
  let faults: { fault: string; difference?: string }[]

  beforeAll(async () => {
    const broken = [
      { name: 'ring: two slots, two producers, two laps' },
      { name: 'reap: a writer that ended with keys staged', victim: 'writer', killAt: 3 },
    ]
    ;({ results, faults } = await runProgram('lockstep', { runs: RUNS, faults: broken }))
  })

  test.each(RUNS)(
    'each read, each result and the whole memory are what the model says: $name',
    ({ name, count }) => {
      const { difference, ...result } = results.find(({ scenario }) => scenario === name)
      expect(difference).toBeUndefined()
      expect(result.schedules).toBe(count)
      expect(result.distinct).toBeGreaterThan(count * 0.8)
    },
  )

  test('threads were really put to sleep and woken by each other, and really terminated', () => {
    const sum = (what: string) =>
      results.reduce<number>((total, { counts }) => total + Number(counts[what]), 0)
    expect(sum('woken')).toBeGreaterThan(50)
    expect(sum('timedOut')).toBeGreaterThan(0)
    expect(sum('terminated')).toBeGreaterThanOrEqual(36)
  })

  test('a store that a real thread leaves out, and a thread that dies a step too late, are reported', () => {
    expect(faults.length).toBeGreaterThan(50)
    expect(faults.filter(({ difference }) => difference === undefined)).toEqual([])
    expect(faults.filter(({ fault }) => fault === 'a death that comes a step late')).toHaveLength(1)
  })
})
