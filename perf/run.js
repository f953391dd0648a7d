/**
 * The perf suite.
 *
 *   npm run perf                      the default questions, under ten minutes
 *   npm run perf -- --all             every question, more rounds; goes on where it was cut off
 *   npm run perf -- --only NAME,...   some questions, by name; --rounds N says how often
 *   npm run perf -- --tune            which batchSize and capacity here, for 1 to 4 writers (or --writers N)
 *
 * Prints a table a question, and writes perf/results/: JSON, and one page with the plots. Close everything else first. Each figure is the median of fresh
 * processes, the ones compared alternating, with the spread beside it.
 */
import { execFileSync } from 'node:child_process'
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { parseArgs } from 'node:util'
import { page, throughputPlot } from './page.js'
import { buildPeers } from './peers/build.js'
import { questions } from './questions.js'

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    all: { type: 'boolean', default: false },
    tune: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    writers: { type: 'string' },
  },
})
const chosen = choose()
const rounds = Number(values.rounds ?? (values.all ? 7 : 3))
const here = (path) => new URL(path, import.meta.url)
const machine = {
  cpu: cpus()[0].model,
  cores: cpus().length,
  gib: Math.round(totalmem() / 2 ** 30),
  node: process.version,
  date: new Date().toISOString().slice(0, 10),
}
const peers = buildPeers()
mkdirSync(here('results/'), { recursive: true })
const unfinished = here('results/unfinished.jsonl')
const known = new Map()
if (values.all && existsSync(unfinished)) {
  for (const line of readFileSync(unfinished, 'utf8').trim().split('\n')) known.set(...JSON.parse(line))
}

console.log(`${machine.cpu}, ${machine.cores} cores, ${machine.gib} GiB, Node ${machine.node}, ${machine.date}; ${rounds} rounds`)
for (const { name, version } of peers.versions) console.log(`${name} ${version}`)
const started = performance.now()
const results = {
  machine,
  peers: peers.versions,
  command: `npm run perf${process.argv.slice(2).length > 0 ? ` -- ${process.argv.slice(2).join(' ')}` : ''}`,
  rounds,
  questions: {},
}
for (const name of chosen) {
  results.questions[name] = questions[name].ask({
    measure,
    repeat,
    peers,
    /** Rounds of what takes long. */
    slow: values.all ? rounds : 1,
    writers: Number(values.writers ?? 0),
  })
  print(results.questions[name])
}
const base = `results/${machine.date}-${machine.cores}-cores-node-${process.versions.node.split('.')[0]}${values.tune ? '-tune' : values.only === undefined ? '' : `-${chosen.join('-')}`}`
writeFileSync(here(`${base}.json`), `${JSON.stringify(results, undefined, 2)}\n`)
writeFileSync(here(`${base}.html`), page(results))
if ('pipeline' in results.questions) writeFileSync(here('results/throughput.svg'), throughputPlot(results.questions.pipeline.rows))
rmSync(unfinished, { force: true })
console.log(`\n${((performance.now() - started) / 60_000).toFixed(1)} minutes; perf/${base}.html has the plots`)

function choose() {
  if (values.tune) return ['tune']
  if (values.only === undefined)
    return Object.keys(questions).filter((name) => name !== 'tune' && (values.all || questions[name].byDefault))
  const names = values.only.split(',')
  for (const name of names)
    if (!(name in questions)) throw new Error(`--only expected names of ${Object.keys(questions).join(', ')}, got ${name}`)
  return names
}

/** One measurement in a process of its own: what its last line says. */
function measure(script, args = {}, round = 0) {
  const key = JSON.stringify([script, args, round])
  if (known.has(key)) return known.get(key)
  if (process.stderr.isTTY)
    process.stderr.write(`  ${((performance.now() - started) / 1000).toFixed(0)} s  ${script} ${JSON.stringify(args)}\x1b[K\r`)
  const rust = /^rust (\w+)$/.exec(args.kind ?? '')
  const [file, argv] = rust
    ? [peers.rust, [rust[1], args.distinct, args.count ?? 8_000_000, args.writers ?? 1].map(String)]
    : [process.execPath, ['--expose-gc', here(script).pathname, JSON.stringify(args)]]
  const output = execFileSync(file, argv, { encoding: 'utf8', timeout: 300_000, stdio: ['ignore', 'pipe', 'inherit'] })
  if (process.stderr.isTTY) process.stderr.write('\x1b[K')
  const result = JSON.parse(output.trim().split('\n').at(-1))
  if (values.all) appendFileSync(unfinished, `${JSON.stringify([key, result])}\n`)
  return result
}

/** Several measurements, alternating, `rounds` times, or `most` times: a list of results each. */
function repeat(script, variants, most = rounds) {
  const runs = variants.map(() => [])
  for (let round = 0; round < Math.min(rounds, most); round++) variants.forEach((args, i) => runs[i].push(measure(script, args, round)))
  return runs
}

function print({ title, rows, notes = [] }) {
  console.log(`\n${title}`)
  const columns = Object.keys(rows[0]).filter((column) => column !== 'median')
  const cells = [columns, ...rows.map((row) => columns.map((column) => String(row[column] ?? '')))]
  const widths = columns.map((_, i) => Math.max(...cells.map((line) => line[i].length)))
  for (const line of cells) console.log(line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  '))
  for (const note of notes) console.log(note)
}
