import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from '@jest/globals'
import { run } from '../support/packed.mjs'

interface Row {
  readonly version: string
  readonly setting: string
  readonly program: string
  readonly outcome: string
}

const script = fileURLToPath(new URL('run.mjs', import.meta.url))
let verdict: {
  readonly rows: Row[]
  readonly publint: string[]
  readonly attw: { readonly resolved: string[]; readonly problems: string[] }
}

beforeAll(() => {
  const { status, stdout, stderr } = run(
    process.execPath,
    [
      script,
      JSON.stringify({
        versions: ['5.4', '7'],
        settings: ['nodenext', 'commonjs with node10', 'commonjs with bundler'],
      }),
    ],
    { timeoutMs: 300_000 },
  )
  if (status !== 0) throw new Error(stdout + stderr)
  verdict = JSON.parse(stdout)
}, 300_000)

/** In the order of package.json. */
const ENTRIES = [
  ...['.', './aggregator', './cluster', './ipc', './node'],
  ...['./cluster/conformance', './nats', './redis'],
]

describe('the packed package', () => {
  it('compiles without skipLibCheck under the oldest and the newest TypeScript, and runs', () => {
    const outcomes = verdict.rows.map(
      ({ version, setting, program, outcome }) => `${version} ${setting}, ${program}: ${outcome}`,
    )

    expect(outcomes).toEqual([
      '5.4 nodenext, module.mts: compiles and runs',
      '5.4 nodenext, require.cts: TS1471 TS1479',
      '5.4 nodenext, dynamic.cts: compiles and runs',
      '5.4 commonjs with node10, import.ts: compiles and runs',
      '5.4 commonjs with node10, aggregator.ts: compiles',
      '7 nodenext, module.mts: compiles and runs',
      '7 nodenext, require.cts: compiles and runs',
      '7 nodenext, dynamic.cts: compiles and runs',
      '7 commonjs with bundler, import.ts: compiles and runs',
      '7 commonjs with bundler, aggregator.ts: compiles',
    ])
  })

  it('has nothing that publint objects to, suggestions included', () => {
    expect(verdict.publint).toEqual([])
  })

  it('has types for every way of resolution, and only "ES modules only" for arethetypeswrong', () => {
    expect(verdict.attw).toEqual({
      resolved: ENTRIES.flatMap((entry) =>
        ['node10', 'node16-cjs', 'node16-esm', 'bundler'].map((kind) => `${entry} ${kind}`),
      ),
      problems: ENTRIES.map((entry) => `CJSResolvesToESM: ${entry} node16-cjs`),
    })
  })
})
