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
      const verdict = await runProgram('ipc', { case: 'kills', children: 8, ...args })

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
