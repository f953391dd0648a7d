import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from '@jest/globals'
import { runProgram } from '../support/program.js'

const onPosix = process.platform === 'win32' ? it.skip : it

describe('processes that append to a hub and are killed at random moments', () => {
  it.each([
    { name: 'fork(), json', isCluster: false, serialization: 'json', seed: 1 },
    { name: 'node:cluster, advanced', isCluster: true, serialization: 'advanced', seed: 2 },
  ])(
    'lose no message that was acknowledged, and are gone when their channel is: $name',
    async ({ name: _, ...args }) => {
      const verdict = await runProgram('ipc', { case: 'kills', children: 6, ...args })

      expect(verdict).toMatchObject({ errors: [], listeners: 0 })
      expect(verdict.kills).toBeGreaterThan(0)
      expect(verdict.closes).toBeGreaterThan(0)
      expect(verdict.acknowledged).toBeGreaterThan(0)
    },
  )
})

describe('a process with a sink', () => {
  it.each(['json', 'advanced'])('ends by itself while the sink is idle: %s', async (mode) => {
    // Exit status 13 would mean that an answer did not keep it alive.
    expect(await runProgram('ipc', { case: 'idle', serialization: mode })).toEqual({
      codes: [0, 0],
    })
  })

  it('is kept alive by its own listener, and hears what came before it', async () => {
    expect(await runProgram('ipc', { case: 'listener' })).toEqual({
      said: ['{"job":1}', '{"job":2}'],
      livesOn: true,
      code: 0,
    })
  })

  onPosix('is told at once, in each call, when its parent was killed', async () => {
    expect(await runProgram('ipc', { case: 'orphan' })).toEqual({
      codes: Array.from({ length: 6 }, () => 'ERR_DIRTYRING_AWAY'),
    })
  })
})

describe('processes that publish to a hub and die at random moments, and at chosen places', () => {
  it('leave no copy that differs from its store, here and in a child that is killed too', async () => {
    const args = { seed: 5, ms: 1500, isCluster: true, serialization: 'advanced' }
    const verdict = await runProgram('cluster-chaos', args)

    expect(verdict).toMatchObject({ errors: [], differing: 0, differingThere: 0, listeners: 0 })
    const { ends, ...deaths } = verdict.deaths
    expect(ends).toBeGreaterThanOrEqual(3)
    expect(Object.keys(deaths).length).toBeGreaterThan(0)
    expect(verdict.here.reasons.gone).toBeGreaterThan(0)
    expect(verdict.here.exact).toBeGreaterThan(0)
    expect(verdict.here.keys).toBeGreaterThan(0)
  })

  it('leave copies that differ if a reader ignores what is not exact, so that this can fail', async () => {
    const verdict = await runProgram('cluster-chaos', { seed: 3, ms: 1000, ignores: true })

    expect(verdict.errors).toEqual([])
    expect(verdict.differing).toBeGreaterThan(0)
    expect(verdict.differingThere).toBeGreaterThan(0)
  })
})

describe('two processes with two workers each, and one place that knows what all have changed', () => {
  it('lose no key, and are told of the one that crashes', async () => {
    const epochs = await appLines('processes-union', '300')
    const [[dead]] = epochs.flatMap(({ nodes }) => nodes.filter(([, { reason }]) => reason))
    const keys = epochs.flatMap(({ keys }) => keys)

    expect(epochs.map(({ exact }) => exact)).toEqual([true, true, false, true, true])
    expect(epochs[2].nodes).toContainEqual([dead, expect.objectContaining({ reason: 'gone' })])
    expect(new Set(keys).size).toBe(keys.length)
    // Each worker marks 0, 1, 2 …: those of the process that ended cleanly have no hole.
    const workers = new Map<string, string[]>()
    for (const key of keys) {
      const worker = key.slice(0, key.lastIndexOf('/'))
      workers.set(worker, [...(workers.get(worker) ?? []), key])
    }
    const alive = [...workers].filter(([worker]) => !worker.startsWith(`${dead}/`))
    expect(alive.length).toBeGreaterThan(0)
    for (const [worker, marked] of alive) {
      const numbers = marked.map((key) => Number(key.slice(worker.length + 1)))
      expect(numbers.toSorted((a, b) => a - b)).toEqual(numbers.map((_, n) => n))
      expect(numbers.length).toBeGreaterThan(0)
    }
  })
})

interface UnionLine {
  exact: boolean
  nodes: [string, { reason?: string }][]
  keys: string[]
}

/** What an application under spec/threads/apps prints, line by line. */
async function appLines(name: string, argument: string): Promise<UnionLine[]> {
  const script = fileURLToPath(new URL(`apps/${name}.mjs`, import.meta.url))
  const { NODE_OPTIONS: _, ...env } = process.env
  const { stdout } = await promisify(execFile)(process.execPath, [script, argument], {
    env,
    timeout: 50_000,
    maxBuffer: 2 ** 26,
  })
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
    .map(([exact, nodes, keys]) => ({ exact, nodes, keys }))
}
