/**
 * The perf suite: `npm run perf -- --help` says what it can be asked. Prints a table a question,
 * and writes JSON and one page with the plots.
 */
import { execFileSync } from 'node:child_process'
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { barsPlot, page } from './harness/page.js'
import { buildPeers } from './peers/build.js'
import { questions } from './questions/index.js'

const HELP = `Usage: npm run perf -- [options]

  (none)               ask the default questions: a quarter of an hour
  --all                ask each question in full, with more rounds; continue a run that was cut off
  --only NAME,...      ask some questions only
  --rounds N           measure each figure N times (3; with --all 7)
  --quick              ask each question in its smallest form, in seconds: the figures mean nothing
  --out FOLDER         write the results there (perf/results)
  -h, --help           show this text

  --tune               find the options for a load, in under three minutes:
    --writers N          threads that mark (4)
    --rate N             marks a second of all writers together; 0: as fast as they go (1e6)
    --epoch MS           time between two cuts (1000)
    --keys N             distinct keys that are marked (1e6)
    --skew X             how unevenly: 0 is uniform, 0.99 like a cache (0.99)
    --text N             the keys are strings of N bytes; 0: they are numbers (0)

Questions: QUESTIONS

Prints a table for each question, and writes JSON and a page with the plots. Each figure is the
median of fresh processes, and the spread stands beside it. Processes that are compared alternate.
Close everything else first.
`

const { values } = understood(() =>
  parseArgs({
    options: {
      help: { type: 'boolean', short: 'h', default: false },
      only: { type: 'string' },
      all: { type: 'boolean', default: false },
      tune: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      out: { type: 'string', default: fileURLToPath(new URL('results', import.meta.url)) },
      rounds: { type: 'string' },
      writers: { type: 'string', default: '4' },
      rate: { type: 'string', default: '1e6' },
      epoch: { type: 'string', default: '1000' },
      keys: { type: 'string', default: '1e6' },
      skew: { type: 'string', default: '0.99' },
      text: { type: 'string', default: '0' },
    },
  }),
)
if (values.help) {
  process.stdout.write(HELP.replace('QUESTIONS', wrapped(Object.keys(questions).join(', '))))
  process.exit()
}
const { all, quick } = values
const { chosen, rounds, load } = understood(() => ({
  chosen: choose(),
  rounds: values.rounds === undefined ? (quick ? 1 : all ? 7 : 3) : number('rounds', 1, 1000),
  load: {
    writers: number('writers', 1, 64),
    rate: number('rate', 0, 1e9),
    epoch: number('epoch', 1, 60_000),
    keys: number('keys', 1, values.text === '0' ? 1e8 : 1e6),
    skew: skewNumber(),
    text: values.text === '0' ? 0 : number('text', 8, 4096),
  },
}))
/** A measurement that takes longer hangs. */
const TIMEOUT_MS = 300_000
const ATTEMPT_MS = 20_000
const machine = {
  cpu: cpus()[0].model,
  cores: cpus().length,
  gib: Math.round(totalmem() / 2 ** 30),
  node: process.version,
  date: new Date().toISOString().slice(0, 10),
}
const peers = buildPeers({ install: !quick })
mkdirSync(values.out, { recursive: true })
const unfinished = join(values.out, 'unfinished.jsonl')
const known = new Map()
if (all && existsSync(unfinished)) {
  for (const line of readFileSync(unfinished, 'utf8').trim().split('\n'))
    known.set(...JSON.parse(line))
}

console.log(
  `${machine.cpu}, ${machine.cores} cores, ${machine.gib} GiB, Node ${machine.node}, ${machine.date}; ${rounds} rounds`,
)
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
  const began = performance.now()
  const answer = questions[name]({
    measure,
    repeat,
    attempt,
    /** Of what is asked in turn: where only the shape of the answer matters, one. */
    few: (list, at = 0) => (quick ? [list.at(at)] : list),
    peers,
    /** Rounds of what takes long. */
    slow: all ? rounds : Math.ceil(rounds / 3),
    all,
    quick,
    load,
  })
  results.questions[name] = { ...answer, seconds: Math.round((performance.now() - began) / 1000) }
  print(answer)
}
const base = `${machine.date}-${machine.cores}-cores-node-${process.versions.node.split('.')[0]}${values.tune ? '-tune' : values.only === undefined ? (all ? '-all' : '') : `-${chosen.join('-')}`}`
writeFileSync(
  join(values.out, `${base}.json`),
  `${oneLineLists(JSON.stringify(results, undefined, 2))}\n`,
)
writeFileSync(join(values.out, `${base}.html`), page(results))
if ('pipeline' in results.questions)
  writeFileSync(join(values.out, 'throughput.svg'), barsPlot(results.questions.pipeline.plots[0]))
rmSync(unfinished, { force: true })
console.log(
  `\n${((performance.now() - started) / 60_000).toFixed(1)} minutes; ${join(values.out, base)}.html has the plots`,
)

/** A histogram's bins, each a pair, one below the other would be most of the file. */
function oneLineLists(json) {
  return json.replace(/\[[\s\d.,e+\-[\]]+\]/g, (list) => list.replace(/\s+/g, ' '))
}

/** What `read` makes of the command line; ends the process if it cannot. */
function understood(read) {
  try {
    return read()
  } catch (error) {
    console.error(`perf: ${error.message} (try npm run perf -- --help)`)
    process.exit(2)
  }
}

/** A list in lines of at most 100 columns. */
function wrapped(list) {
  return list.replace(/(.{1,86})(?: |$)/g, '$1\n           ').trimEnd()
}

function choose() {
  if (values.tune) return ['tune']
  if (values.only === undefined)
    return Object.keys(questions).filter((name) => quick || name !== 'tune')
  const names = values.only.split(',')
  for (const name of names)
    if (!Object.hasOwn(questions, name))
      throw new Error(`--only expected names of ${Object.keys(questions).join(', ')}, got ${name}`)
  return names
}

function number(name, min, max, isWhole = true) {
  const value = Number(values[name])
  if (!(value >= min && value <= max) || (isWhole && !Number.isInteger(value))) {
    throw new Error(
      `--${name} expected a ${isWhole ? 'whole ' : ''}number, ${min} to ${max}, got ${values[name]}`,
    )
  }
  return value
}

function skewNumber() {
  const skew = number('skew', 0, 5, false)
  // Zipf's formula has no value there.
  if (skew === 1) throw new Error('--skew expected anything but 1 (0.99 or 1.01), got 1')
  return skew
}

/** One measurement in a process of its own: what its last line says. */
function measure(script, args = {}, round = 0) {
  const asked = quick ? { ...args, quick } : args
  const key = JSON.stringify([script, asked, round])
  return remembered(key, () => run(script, asked, TIMEOUT_MS))
}

/** The same where it may well fail, or hang: { notMeasured: why } then. */
function attempt(script, args = {}) {
  const asked = quick ? { ...args, quick } : args
  return remembered(JSON.stringify([script, asked]), () => {
    try {
      return run(script, asked, ATTEMPT_MS, 'pipe')
    } catch (error) {
      if (error.code === 'ETIMEDOUT')
        return { notMeasured: `no answer within ${ATTEMPT_MS / 1000} s` }
      return {
        notMeasured: /^\w*Error.*$/m.exec(error.stderr)?.[0] ?? error.message.split('\n')[0],
      }
    }
  })
}

/** What a former run that was cut off has measured is not measured again. */
function remembered(key, make) {
  if (known.has(key)) return known.get(key)
  const result = make()
  if (all) appendFileSync(unfinished, `${JSON.stringify([key, result])}\n`)
  return result
}

function run(script, args, timeout, stderr = 'inherit') {
  if (process.stderr.isTTY)
    process.stderr.write(
      `  ${((performance.now() - started) / 1000).toFixed(0)} s  ${script} ${JSON.stringify(args)}\x1b[K\r`,
    )
  const rust = /^rust (\w+)$/.exec(args.kind ?? '')
  const [file, argv] = rust
    ? [
        peers.rust,
        [
          rust[1],
          args.distinct,
          args.count ?? (quick ? 20_000 : 8_000_000),
          args.writers ?? 1,
          args.text ?? '',
        ].map(String),
      ]
    : [
        process.execPath,
        ['--expose-gc', fileURLToPath(new URL(script, import.meta.url)), JSON.stringify(args)],
      ]
  const output = execFileSync(file, argv, {
    encoding: 'utf8',
    timeout,
    killSignal: 'SIGKILL',
    stdio: ['ignore', 'pipe', stderr],
  })
  if (process.stderr.isTTY) process.stderr.write('\x1b[K')
  return JSON.parse(output.trim().split('\n').at(-1))
}

/** Several measurements, alternating, `rounds` times, or `most` times: a list of results each. */
function repeat(script, variants, most = rounds) {
  const runs = variants.map(() => [])
  for (let round = 0; round < Math.min(rounds, most); round++)
    variants.forEach((args, i) => runs[i].push(measure(script, args, round)))
  return runs
}

function print({ title, rows, printed, notes = [] }) {
  console.log(`\n${title}`)
  const columns = printed ?? [...new Set(rows.flatMap((row) => Object.keys(row)))]
  const cells = [columns, ...rows.map((row) => columns.map((column) => String(row[column] ?? '')))]
  const widths = columns.map((_, i) => Math.max(...cells.map((line) => line[i].length)))
  for (const line of cells)
    console.log(
      line
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
        .join('  '),
    )
  for (const note of notes) console.log(note)
}
