import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, it } from '@jest/globals'

const CASES = 3000

it('a corrupted memory gives right answers, coded errors or inexact epochs, in no call longer than 1 s, and no store outside the structure', async () => {
  const script = fileURLToPath(new URL('./corrupt.mjs', import.meta.url))
  const { NODE_OPTIONS: _, ...env } = process.env
  const output = await new Promise<string>((resolve) => {
    execFile(
      process.execPath,
      [script, '--cases', String(CASES), '--json'],
      { env },
      (__, stdout, stderr) => resolve(stderr + stdout),
    )
  })
  const [verdict] = output.trimEnd().split('\n').slice(-1)
  if (!verdict.startsWith('{')) throw new Error(output)
  const { cases, failures, figures } = JSON.parse(verdict) as {
    cases: number
    failures: number
    figures: Record<string, { right: number; coded: number; inexact: number; undetected: number }>
  }
  expect({ cases, failures, output: failures === 0 ? '' : output }).toEqual({
    cases: CASES,
    failures: 0,
    output: '',
  })
  // Each kind of word is met, and what can be told is told.
  for (const kind of ['identity', 'intents', 'totals'])
    expect([kind, figures[kind].undetected]).toEqual([kind, 0])
  for (const kind of [
    'identity',
    'control',
    'intents',
    'ring words',
    'lane headers',
    'slot headers',
    'plans',
    'jobs',
    'choices',
  ]) {
    expect([kind, figures[kind].coded > 0]).toEqual([kind, true])
  }
  // And of each kind, words that do no harm: a history of which every call fails proves nothing.
  for (const [kind, { right, inexact }] of Object.entries(figures))
    expect([kind, kind === 'identity' || right + inexact > 0]).toEqual([kind, true])
})
