/**
 * The perf suite: npm run perf [-- --only pipeline,mark,memory,idle,seal] [--rounds 5]
 *
 * Prints a table a question, and writes the same as JSON to perf/results/. Close everything else first; every figure is the median of fresh processes,
 * A and B alternating, with the spread beside it.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { parseArgs } from 'node:util'

const questions = { pipeline, mark, memory, seal, idle }

const { values } = parseArgs({ options: { only: { type: 'string' }, rounds: { type: 'string', default: '5' } } })
const rounds = Number(values.rounds)
const chosen = values.only === undefined ? Object.keys(questions) : values.only.split(',')
for (const name of chosen)
  if (!(name in questions)) throw new Error(`--only expected names of ${Object.keys(questions).join(', ')}, got ${name}`)

const machine = {
  cpu: cpus()[0].model,
  cores: cpus().length,
  gib: Math.round(totalmem() / 2 ** 30),
  node: process.version,
  date: new Date().toISOString().slice(0, 10),
}
console.log(`${machine.cpu}, ${machine.cores} cores, ${machine.gib} GiB, Node ${machine.node}, ${machine.date}; ${rounds} rounds`)
const results = { machine, rounds }
for (const name of chosen) results[name] = questions[name]()
mkdirSync(new URL('results/', import.meta.url), { recursive: true })
const file = new URL(`results/${machine.date}-${machine.cores}-cores-node-${process.versions.node.split('.')[0]}.json`, import.meta.url)
writeFileSync(file, `${JSON.stringify(results, undefined, 2)}\n`)

/** How many keys a second go from one writer thread into a set on another one? */
function pipeline() {
  const kinds = ['dirtyring', 'postMessage']
  const rows = []
  for (const distinct of [2_000, 100_000, 4_000_000]) {
    const runs = Object.fromEntries(kinds.map((kind) => [kind, []]))
    for (let round = 0; round < rounds; round++) {
      for (const kind of kinds) runs[kind].push(child('pipeline.js', { kind, distinct }))
    }
    for (const kind of kinds) {
      const seen = runs[kind].map(({ distinctSeen }) => distinctSeen)
      if (new Set(seen).size !== 1) throw new Error(`${kind} at ${distinct} distinct keys: the sets differ: ${seen}`)
      const figure = spread(runs[kind].map(({ mKeysPerSecond }) => mKeysPerSecond))
      const peer = spread(runs.postMessage.map(({ mKeysPerSecond }) => mKeysPerSecond))
      rows.push({
        'distinct keys': distinct,
        pipeline: kind,
        'M keys/s': show(figure),
        'times postMessage': (figure.median / peer.median).toFixed(1),
        'CPU ns a key': spread(runs[kind].map(({ cpuSeconds, count }) => (cpuSeconds * 1e9) / count)).median.toFixed(1),
        waits: spread(runs[kind].map(({ waits = 0 }) => waits)).median,
        lost: Math.max(...seen) - Math.min(...seen),
      })
    }
  }
  return print(
    'One writer, one aggregator, 8 M uniform keys, batch 64 (postMessage: transferred batches of 1,024 into a Set<bigint>)',
    rows,
  )
}

/** What does a mark cost, by kind of key, the flush of every 64th included? */
function mark() {
  const rows = child('mark.js').map((name) => ({
    what: name,
    'ns a call': show(spread(Array.from({ length: rounds }, () => child('mark.js', { name })))),
  }))
  return print('One thread, a lane of its own', rows)
}

/** What memory does an epoch touch? */
function memory() {
  const rows = [1_000, 10_000, 50_000, 100_000, 250_000, 500_000, 524_289, 1_000_000, 2_000_000].map((distinct) =>
    child('memory.js', { distinct }),
  )
  return print('Resident memory of one epoch, by its distinct keys', rows)
}

/** How long does a cut take? */
function seal() {
  const rows = [0, 1_000, 100_000].map((keys) => child('seal.js', { keys }))
  return print('advanceEpoch() from call to hand-out, ms, an idle writer and so many keys an epoch', rows)
}

/** What does a tracker cost that has nothing to do? */
function idle() {
  return print('An idle tracker, 10 s', [child('idle.js')])
}

function child(script, args = {}) {
  const path = new URL(script, import.meta.url).pathname
  process.stderr.write(process.stderr.isTTY ? `  ${script} ${JSON.stringify(args)}\x1b[K\r` : '')
  const output = execFileSync(process.execPath, ['--expose-gc', path, JSON.stringify(args)], { encoding: 'utf8' })
  process.stderr.write(process.stderr.isTTY ? '\x1b[K' : '')
  return JSON.parse(output.trim().split('\n').at(-1))
}

function spread(figures) {
  const sorted = [...figures].sort((a, b) => a - b)
  return { median: sorted[sorted.length >> 1], min: sorted[0], max: sorted.at(-1) }
}

function show({ median, min, max }) {
  return `${median.toFixed(1)} (${min.toFixed(1)} to ${max.toFixed(1)})`
}

function print(title, rows) {
  console.log(`\n${title}`)
  const columns = Object.keys(rows[0])
  const cells = [columns, ...rows.map((row) => columns.map((column) => String(row[column])))]
  const widths = columns.map((_, i) => Math.max(...cells.map((line) => line[i].length)))
  for (const line of cells) console.log(line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  '))
  return rows
}
