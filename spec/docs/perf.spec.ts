import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'

const script = fileURLToPath(new URL('../../perf/run.js', import.meta.url))
const out = mkdtempSync(join(tmpdir(), 'dirtyring-perf-'))

function perf(...args: string[]) {
  const { NODE_OPTIONS: _, ...env } = process.env
  return spawnSync(process.execPath, [script, '--out', out, ...args], {
    env,
    encoding: 'utf8',
    timeout: 170_000,
  })
}

type Row = Record<string, string | number>
interface Answer {
  title: string
  rows: Row[]
  plots?: object[]
}
let questions: Record<string, Answer> = {}
let pageText = ''
let terminal = ''

/** Of the ways to name what nothing is faster than. */
const FLOORS = /empty loop|Set<bigint>/

beforeAll(() => {
  const { status, stdout, stderr } = perf('--quick')
  if (status !== 0) throw new Error(`${stdout}\n${stderr}`)
  const [json, html] = ['json', 'html'].map((end) =>
    readdirSync(out).find((name) => name.endsWith(`.${end}`))!,
  )
  terminal = stdout
  questions = JSON.parse(readFileSync(join(out, json), 'utf8')).questions
  pageText = readFileSync(join(out, html), 'utf8')
}, 180_000)

afterAll(() => rmSync(out, { recursive: true, force: true }))

describe('the perf suite, each question in its smallest form', () => {
  it('answers every question with rows', () => {
    expect(Object.keys(questions).length).toBeGreaterThanOrEqual(20)
    for (const [name, { title, rows }] of Object.entries(questions)) {
      expect([name, title.length > 0, rows.length > 0]).toEqual([name, true, true])
    }
  })

  it('has a floor beside every pipeline', () => {
    for (const name of [
      'pipeline',
      'strings',
      'topologies',
      'skew',
      'batch',
      'ring',
      'kernel',
      'cycle',
      'latency',
      'bursts',
      'tune',
    ]) {
      expect([name, FLOORS.test(JSON.stringify(questions[name].rows))]).toEqual([name, true])
    }
  })

  it('counts what was lost wherever keys go through a pipeline: nothing', () => {
    const names = [
      'pipeline',
      'strings',
      'topologies',
      'skew',
      'batch',
      'ring',
      'cycle',
      'consumers',
      'bursts',
      'workloads',
      'faults',
      'tune',
    ]
    for (const name of names) {
      const lost = questions[name].rows.map((row) => row.lost ?? '')
      expect([name, lost.filter((each) => each !== 0 && each !== '')]).toEqual([name, []])
      expect([name, lost.includes(0)]).toEqual([name, true])
    }
  })

  it('has cuts with merges beside those of the tracker itself', () => {
    const { consumers, merges } = questions
    const made = consumers.rows.map((row) => [row.keys, row.kernel, row['merges a cut']])

    // Of two consumers or more, each has a backlog when its turn comes: one merge less than there are.
    expect(made).toEqual([
      ['pairs', 'WebAssembly', 6],
      ['pairs', 'TypeScript', 3],
      ['text, 16 bytes', 'WebAssembly', 6],
    ])
    for (const row of consumers.rows)
      for (const name of ['cut p50, ms', 'with all merges p50, ms', 'all at once p50, ms'])
        expect(Number.parseFloat(String(row[name]))).toBeGreaterThan(0)
    for (const row of merges.rows)
      for (const name of ['cut p50, ms', '8 marks p50, µs', 'in the set p50, ms'])
        expect(Number.parseFloat(String(row[name]))).toBeGreaterThan(0)
  })

  it('counts processor time and waits beside them', () => {
    for (const name of [
      'pipeline',
      'strings',
      'topologies',
      'skew',
      'batch',
      'bursts',
      'workloads',
      'tune',
    ]) {
      const [row] = questions[name].rows
      expect([name, Object.keys(row)]).toEqual([
        name,
        expect.arrayContaining(['CPU s', 'CPU ns a key', 'waits', 'lost']),
      ])
    }
  })

  it('says of a peer that it cannot measure why not', () => {
    const peers = questions.pipeline.rows.filter(({ pipeline }) =>
      /rust|ringbuf|multithreading/.test(String(pipeline)),
    )

    expect(new Set(peers.map(({ pipeline }) => pipeline))).toEqual(
      new Set(['ringbuf.js', 'rust siphash', 'rust identity', 'multithreading']),
    )
    for (const row of peers) expect(row['M keys/s']).toMatch(/^\d|^not measured here: ./)
  })

  it('draws its plots on one page that loads no other file', () => {
    const plots = Object.values(questions).flatMap(({ plots: own = [] }) => own)

    expect(pageText.match(/<svg /g)).toHaveLength(plots.length)
    expect(/.{0,80}(NaN|undefined|Infinity)/.exec(pageText)?.[0]).toBeUndefined()
    expect(/(src|href)="(?!#).{0,80}/.exec(pageText)?.[0]).toBeUndefined()
  })

  it('explains its options and names its questions', () => {
    const { status, stdout } = perf('--help')

    expect(status).toBe(0)
    expect(stdout).toMatch(/^ {2}--tune /m)
    for (const name of Object.keys(questions)) expect(stdout).toMatch(new RegExp(`\\b${name}\\b`))
    expect(stdout.split('\n').filter((line) => line.length > 100)).toEqual([])
  })

  it('prints five columns of what --tune measures', () => {
    const [table] = terminal.slice(terminal.lastIndexOf('an epoch every')).split('\n\n')
    const lines = table.split('\n')

    expect(lines[1].trim().split(/ {2,}/)).toEqual([
      'batchSize',
      'laneCapacity',
      'CPU, % of a core',
      'stopped, %',
      'visible p99, ms',
    ])
    expect(lines.filter((line) => line.length > 100)).toEqual([])
  })

  it('names an option that it does not understand', () => {
    expect(perf('--nothing').stderr).toMatch(/^perf: Unknown option '--nothing'.* --help\)\n$/)
    expect(perf('--only', 'nothing').stderr).toMatch(
      /--only expected names of pipeline, .*, got nothing/,
    )
    expect(perf('--tune', '--writers', '0').stderr).toMatch(
      /--writers expected a whole number, 1 to 64, got 0/,
    )
  })
})
