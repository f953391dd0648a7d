/**
 * npm run check: every scenario as deep as time allows: within bounds that grow up to three
 * preemptions and two deaths, then random walks, every other one by PCT (depth 3). Progress is kept
 * in node_modules/.cache/dirtyring-check, so that a run that was cut off goes on where it was;
 * `--again` begins anew.
 *
 * Arguments: --minutes N (default 25, on all processes together), --only TEXT, --again.
 */
import { fork } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { replay, search, Subject, walk } from './explorer.mjs'
import { buildCore, loadCore, ROOT } from './instrument.mjs'
import { scenarios } from './scenarios.mjs'

const STATE = join(ROOT, 'node_modules/.cache/dirtyring-check/deep.json')

/** In this order; a scenario that is too large for one of them is not tried with more. */
function ladder(scenario) {
  const throws = scenario.throws ?? 0
  const steps = [
    { preemptions: 1, deaths: 1, throws },
    { preemptions: 2, deaths: 1, throws },
    { preemptions: 2, deaths: 2, throws },
    { preemptions: 3, deaths: 2, throws },
  ]
  return throws === 0
    ? steps
    : [
        { preemptions: 0, deaths: 0, throws: 1 },
        { preemptions: 1, deaths: 1, throws: 1 },
        ...steps.slice(1),
      ]
}

const boundsName = ({ preemptions, deaths, throws }) =>
  `${preemptions} preemptions, ${deaths} deaths${throws > 0 ? `, ${throws} exceptions` : ''}`

if (process.argv[2] === 'worker') await work()
else await lead()

/** One scenario: tell what came of it. */
async function work() {
  const core = await loadCore()
  process.on('message', ({ index, ms, seed }) => {
    const scenario = scenarios[index]
    const subject = new Subject(core, scenario)
    const end = performance.now() + ms
    const result = {
      executions: 0,
      ends: 0,
      deaths: 0,
      exceptions: 0,
      complete: undefined,
      cutOffAt: undefined,
      failure: undefined,
    }
    const add = (found) => {
      result.executions += found.executions
      result.deaths += found.deaths
      result.exceptions += found.exceptions
      result.ends = Math.max(result.ends, found.ends.size)
      result.failure ??= found.failure
    }
    // Half of the time for the search, at the least, and what it leaves for walks.
    for (const bounds of ladder(scenario)) {
      const left = end - performance.now() - ms / 4
      if (left <= 0 || result.failure !== undefined) break
      const found = search(subject, { ...bounds, ms: left, most: 3_000_000, statesMost: 8_000_000 })
      add(found)
      if (!found.complete) {
        result.cutOffAt = boundsName(bounds)
        break
      }
      result.complete = boundsName(bounds)
    }
    const walked = walk(subject, {
      count: 200_000,
      ms: Math.max(end - performance.now(), 500),
      deaths: 2,
      throws: scenario.throws ?? 0,
      seed,
    })
    add(walked)
    result.walks = walked.executions
    if (result.failure !== undefined) result.trace = replay(subject, result.failure.schedule).lines
    process.send({ index, result })
  })
}

async function lead() {
  const option = (name, otherwise) =>
    process.argv.includes(name) ? process.argv[process.argv.indexOf(name) + 1] : otherwise
  const minutes = Number(option('--minutes', 25))
  const only = option('--only', '')
  const version = createHash('sha256').update(buildCore())
  const here = fileURLToPath(new URL('.', import.meta.url))
  for (const file of readdirSync(here, { recursive: true, encoding: 'utf8' }).sort())
    if (file.endsWith('.mjs')) version.update(readFileSync(join(here, file)))
  const name = version.digest('hex').slice(0, 16)
  let state = { name, results: {} }
  try {
    const old = JSON.parse(readFileSync(STATE, 'utf8'))
    if (old.name === name && !process.argv.includes('--again')) state = old
  } catch {
    // none yet
  }
  const wanted = [...scenarios.keys()].filter((index) => scenarios[index].name.includes(only))
  const open = wanted.filter((index) => state.results[scenarios[index].name] === undefined)
  const processes = Math.min(2, availableParallelism(), Math.max(open.length, 1))
  const ms = (minutes * 60_000 * processes) / wanted.length
  console.log(
    `${wanted.length} scenarios, ${wanted.length - open.length} of them done before; ${(ms / 1000).toFixed(0)} s each, on ${processes} processes`,
  )
  const queue = open.slice()
  await Promise.all(
    Array.from({ length: open.length === 0 ? 0 : processes }, () => serve(queue, ms, state)),
  )
  summary(wanted, state)
}

/** A process that takes one scenario after the other. */
function serve(queue, ms, state) {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(import.meta.url), ['worker'], {
      execArgv: ['--max-old-space-size=3000'],
    })
    const next = () => {
      const index = queue.shift()
      if (index === undefined) child.disconnect()
      else child.send({ index, ms, seed: index + 1000 })
    }
    child.on('message', (/** @type {any} */ { index, result }) => {
      const { name } = scenarios[index]
      state.results[name] = result
      mkdirSync(dirname(STATE), { recursive: true })
      writeFileSync(`${STATE}.new`, JSON.stringify(state))
      renameSync(`${STATE}.new`, STATE)
      console.log(line(name, result))
      if (result.failure !== undefined)
        console.log(
          [result.failure.message, result.failure.schedule, ...result.trace.slice(-60)]
            .map((text) => `    ${text}`)
            .join('\n'),
        )
      next()
    })
    child.on('error', reject)
    child.on('exit', (code) =>
      code === 0 ? resolve() : reject(new Error(`a process ended with ${code}`)),
    )
    next()
  })
}

function line(name, { complete, cutOffAt, executions, walks, ends, deaths, exceptions, failure }) {
  const how = `${complete === undefined ? 'complete at nothing' : `complete at ${complete}`}${cutOffAt === undefined ? '' : `; cut off at ${cutOffAt}`}`
  return `${failure === undefined ? 'ok   ' : 'FAILS'} ${name}\n      ${how}; ${executions} executions (${walks} random), ${ends} distinct ends, ${deaths} deaths, ${exceptions} exceptions`
}

function summary(wanted, state) {
  console.log('\n== summary')
  let failed = 0
  let executions = 0
  for (const index of wanted) {
    const { name, known } = scenarios[index]
    const result = state.results[name]
    console.log(line(name, result))
    executions += result.executions
    if (result.failure !== undefined && result.failure.kind !== known) failed++
  }
  console.log(`${wanted.length} scenarios, ${executions} executions, ${failed} failed`)
  process.exitCode = failed === 0 ? 0 : 1
}
