import { describe, expect, it } from '@jest/globals'
import { runProgram } from '../support/program.js'

/**
 * The programs under spec/threads/apps: each prints what it counted, and what its own oracle found.
 */
const runApp = (name: string, args: object = {}) => runProgram(`../apps/${name}`, args)

describe('an incremental backup of an LMDB store, cut inside its write lock', () => {
  it.each([
    { name: 'of rows by their ids', rounds: 200 },
    { name: 'of rows by their names', rounds: 60, keys: 'names' },
    {
      name: 'with a ring of 2 batches, where a cut in time is not always possible',
      rounds: 80,
      capacity: 2,
      triesMin: 1,
    },
  ])('has exactly what differs between two snapshots (C5): $name', async ({ name: _, ...args }) => {
    const verdict = await runApp('lmdb-backup', args)

    expect(verdict).toMatchObject({
      lost: 0,
      invented: 0,
      differences: 0,
      stillBehind: 0,
      left: 0,
      unsettled: 0,
      exitCodes: [0, 0, 0],
    })
    // One more when the writers have ended.
    expect(verdict.rounds).toBeGreaterThanOrEqual(args.rounds + 1)
    expect(verdict.transactions).toBeGreaterThan(args.rounds)
    expect(verdict.copied).toBeGreaterThan(args.rounds)
    expect(verdict.undone).toBeGreaterThan(0)
    expect(verdict.caughtUp).toBe(verdict.behind)
    expect(verdict.triedAgain).toBeGreaterThanOrEqual(args.triesMin ?? 0)
  })
})

describe('an incremental backup of a SQLite database whose writers are killed inside their transactions', () => {
  it('has every committed row when the marks are staged before COMMIT and published after it (C5, C8)', async () => {
    const verdict = await runApp('sqlite-backup', { kills: 20 })

    expect(verdict).toMatchObject({ errors: [], missing: 0, inexact: 0, unsettled: 0 })
    expect(verdict.inATransaction).toBeGreaterThanOrEqual(20)
    expect(verdict.transactions).toBeGreaterThan(20)
    expect(verdict.harvested).toBeGreaterThan(0)
    expect(Object.keys(verdict.ways).toSorted()).toEqual([
      'exit',
      'loop',
      'overflow',
      'terminate',
      'throw',
    ])
    expect(verdict.places.committed).toBeGreaterThan(0)
  })

  it('lacks rows when the marks follow COMMIT, so that this proof can fail', async () => {
    const verdict = await runApp('sqlite-backup', { kills: 12, order: 'after' })

    expect(verdict).toMatchObject({ errors: [], inexact: 0 })
    expect(verdict.missing).toBeGreaterThan(0)
  })
})

describe('a cache that is invalidated every tick', () => {
  it.each([
    { name: 'quicker than a tick', renderMs: 8, everyMs: 40 },
    { name: 'slower than a tick', renderMs: 100, everyMs: 20, ticks: 100 },
  ])(
    'serves no page that a tick has covered, and keeps none for ever, when renders are $name',
    async ({ name: _, ...args }) => {
      const verdict = await runApp('cache-invalidation', args)

      expect(verdict).toMatchObject({
        stale: 0,
        staleForEver: 0,
        unsettled: 0,
        left: [],
        exitCodes: [0, 0, 0],
      })
      expect(verdict.cached).toBeGreaterThan(0)
      expect(verdict.cleared).toBeGreaterThan(0)
      expect(verdict.dropped).toBeGreaterThan(0)
      expect(verdict.served).toBeGreaterThan(verdict.rendered)
    },
  )

  it('keeps stale pages when the entry is put in after a slow render, so that this proof can fail', async () => {
    const verdict = await runApp('cache-invalidation', {
      renderMs: 100,
      everyMs: 20,
      ticks: 100,
      order: 'render first',
    })

    expect(verdict.staleForEver).toBeGreaterThan(0)
  })
})

describe("a game's loop", () => {
  it.each(['reject', 'wait'])(
    'shows each frame what was published before it, and never sleeps: onFull %s',
    async (onFull) => {
      const verdict = await runApp('game-loop', { onFull })

      expect(verdict).toMatchObject({
        behind: 0,
        invented: 0,
        different: 0,
        sleeps: 0,
        unsettled: 0,
        exitCodes: [0, 0],
      })
      expect(verdict.ticks).toBe(120)
      expect(verdict.presses).toBeGreaterThan(0)
      expect(verdict.bursts).toBeGreaterThan(0)
      // The bursts are more than a lane takes: the systems are refused, or wait. The main thread
      // neither.
      expect(verdict.refused > 0).toBe(onFull === 'reject')
      if (onFull === 'reject') expect(verdict.waits).toBe(0)
    },
  )
})

describe('transactions, and a checkpoint that fails in every third epoch', () => {
  it('loses and invents nothing, and finds each transaction whole in one epoch (C3, C7)', async () => {
    const verdict = await runApp('transactions')

    expect(verdict).toMatchObject({
      lost: 0,
      invented: 0,
      torn: 0,
      left: 0,
      unsettled: 0,
      exitCodes: [0, 0, 0],
    })
    expect(verdict.epochs).toBeGreaterThanOrEqual(90)
    expect(verdict.failed).toBeGreaterThanOrEqual(30)
    expect(verdict.restored).toBe(verdict.failed)
    for (const way of [
      'buffered',
      'batches',
      'undone',
      'thrown',
      'tooMany',
      'long',
      'everything',
      'inexact',
    ]) {
      expect({ [way]: verdict[way] }).not.toEqual({ [way]: 0 })
    }
  })
})

describe('a checkpoint that a worker writes while the main thread goes on', () => {
  it('has every row, also when checkpoints fail, and when the main thread does not wait for them (C7)', async () => {
    const verdict = await runApp('worker-checkpoint')

    expect(verdict).toMatchObject({
      lost: 0,
      invented: 0,
      different: 0,
      unsettled: 0,
      last: 'committed',
      exitCodes: [0, 0, 0],
    })
    expect(verdict.checkpoints).toBe(150)
    for (const way of ['saved', 'failed', 'givenUp', 'settled', 'served', 'writes']) {
      expect({ [way]: verdict[way] }).not.toEqual({ [way]: 0 })
    }
  })

  it('lacks rows when the epoch is committed before they are saved, so that this proof can fail', async () => {
    const verdict = await runApp('worker-checkpoint', { order: 'commit at once' })

    expect(verdict.settled).toBeGreaterThan(0)
    expect(verdict).toMatchObject({ invented: 0, different: 0 })
    expect(verdict.lost).toBeGreaterThan(0)
  })
})

describe('a pool whose workers come and go', () => {
  it.each(['piscina', 'tinypool'])(
    'has the keys of each finished task in the next epoch, and those of crashed ones (C8): %s',
    async (pool) => {
      const verdict = await runApp('pool', { pool })

      expect(verdict).toMatchObject({ lost: 0, late: 0, invented: 0, left: 0, unsettled: 0 })
      expect(verdict.finished).toBeGreaterThan(20)
      expect(verdict.failed).toBeGreaterThan(0)
      expect(verdict.terminated).toBeGreaterThan(0)
      expect(verdict.crashed).toBeGreaterThan(0)
      expect(verdict.harvested).toBeGreaterThan(0)
      // More threads than there are writers: each one's was free again.
      expect(verdict.threads).toBeGreaterThan(6)
      // What a task did not flush is not published by the clock: its thread's event loop does not
      // turn between tasks.
      expect(verdict.forgotten).toBe(10)
    },
  )
})

describe('string keys, marked by threads that are terminated', () => {
  it('come back as they were marked, each of them, once in an epoch, and no other (C2, C8)', async () => {
    const verdict = await runApp('text-keys')

    expect(verdict).toMatchObject({ lost: 0, invented: 0, twins: 0, left: 0, unsettled: 0 })
    expect(verdict.terminations).toBeGreaterThan(20)
    expect(verdict.marked).toBeGreaterThan(1000)
    expect(verdict.keys).toBeGreaterThanOrEqual(verdict.marked)
  })
})
