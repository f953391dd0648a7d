import { fork } from 'node:child_process'
import { createHash } from 'node:crypto'
import { appendFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { commonTokens, declareFactoryPlugin, PluginKind, tokens } from '@stryker-mutator/api/plugin'
import { TestStatus } from '@stryker-mutator/api/test-runner'
import { SPECS } from './specs.mjs'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
/** What the tests of one mutant may take, as a part of the time that all tests take. */
const SHARE = 0.05
/** So much of it goes to the quickest tests that run the mutant, and as much to the nearest. */
const PART = 1 / 3
/** A test is the nearer, the more it runs of so many mutants before and behind a mutant. */
const NEAR = 50
/** How many processes run tests: many tests wait most of the time. */
const FIRST_RUNS = Number(process.env.MUTATION_PROCESSES ?? 2)
/** One of so many mutants is tried, always the same ones. */
const SAMPLE = Number(process.env.MUTATION_SAMPLE ?? 1)
/** What mutants leave behind in a process is thrown away with it. */
const MUTANTS_PER_ENGINE = 300

/**
 * Stryker's runner of the specs. The tests run in a process of their own (engine.mjs), so that it
 * can be killed when a mutant never ends.
 */
class Runner {
  #engine
  #tests
  #known
  #cache = cacheOf(process.cwd())
  #log

  constructor(log) {
    this.#log = log
  }

  capabilities() {
    return { reloadEnvironment: false }
  }

  async dryRun() {
    const { first } = this.#cache
    if (!existsSync(first)) writeFileSync(first, JSON.stringify(await firstRun()))
    const { tests, leftOut, ...mutantCoverage } = JSON.parse(readFileSync(first, 'utf8'))
    for (const { id, failure } of leftOut)
      this.#log.warn(`left out, because it fails without a mutant: ${id}\n${failure}`)
    return {
      status: 'complete',
      tests: tests.map(({ id, file, ms }) => ({
        id,
        name: id,
        fileName: resolve(file),
        timeSpentMs: ms,
        status: TestStatus.Success,
      })),
      mutantCoverage,
    }
  }

  async mutantRun(options) {
    const { fileName, location, mutatorName, replacement } = options.activeMutant
    const file = relative(ROOT, fileName)
    const name = JSON.stringify([file, location, mutatorName, replacement])
    if (!isOfSample(name)) return { status: 'error', errorMessage: 'not of the sample' }
    const { journal, sources } = this.#cache
    this.#known ??= readJournal(journal)
    const known = this.#known.get(name)
    const source = hashOf(join(ROOT, file))
    if (known?.source === source && this.#stands(known)) return known.result
    const result = await this.#try(options)
    const noticedBy = this.#fileOf(result)
    const verdict = {
      source,
      result,
      ...(noticedBy === undefined
        ? { sources }
        : { noticedBy, spec: hashOf(join(ROOT, noticedBy)) }),
    }
    appendFileSync(journal, `${JSON.stringify([name, verdict])}\n`)
    return result
  }

  /**
   * Whether a verdict of an earlier run holds. A spec that noticed the mutant does so again while it
   * is the same. What no spec noticed is tried again after any change.
   */
  #stands({ noticedBy, spec, sources }) {
    if (noticedBy === undefined) return sources === this.#cache.sources
    return existsSync(join(ROOT, noticedBy)) && hashOf(join(ROOT, noticedBy)) === spec
  }

  /** The spec file whose test noticed a mutant; undefined if none did. */
  #fileOf({ killedBy, test }) {
    const id = killedBy?.[0] ?? test
    return id === undefined ? undefined : this.#testsOf().find((each) => each.id === id)?.file
  }

  #testsOf() {
    this.#tests ??= JSON.parse(readFileSync(this.#cache.first, 'utf8')).tests
    return this.#tests
  }

  async #try({ activeMutant: { id: mutant }, testFilter, hitLimit }) {
    const wanted = new Set(testFilter)
    let plan = this.#testsOf()
      .filter(({ id }) => wanted.has(id))
      .map(({ id, file, ms }) => ({ id, file, limitMs: 1000 + 5 * ms }))
    for (;;) {
      const isFresh = this.#start()
      const { late, hits, killer, message, count } = await this.#ask({ mutant, hitLimit, plan })
      if (hits) return { status: 'timeout', reason: `endless, in: ${late}`, test: late }
      const noticed = plan.find(({ id }) => id === (late ?? killer))
      if (noticed === undefined) return { status: 'survived', nrOfTests: count }
      const verdict =
        late === undefined
          ? { status: 'killed', killedBy: [killer], failureMessage: message, nrOfTests: count }
          : { status: 'timeout', reason: `too late: ${late}`, test: late }
      // It is this mutant if the test passes without it. Else an earlier one may have left something
      // behind: the test decides first, in a new process.
      if (late === undefined && (await this.#passes(noticed))) return verdict
      this.#stop()
      plan = plan.filter((each) => each !== noticed)
      if (!isFresh) plan.unshift(noticed)
      else if (await this.#passes(noticed)) return verdict
    }
  }

  dispose() {
    this.#stop()
  }

  async #passes(test) {
    this.#start()
    const { late, killer } = await this.#ask({ plan: [test] })
    return late === undefined && killer === undefined
  }

  /** True if the engine has run no mutant yet. */
  #start() {
    if (this.#engine?.runs >= MUTANTS_PER_ENGINE) this.#stop()
    if (this.#engine !== undefined) return false
    this.#engine = new Engine('mutants')
    return true
  }

  #ask(order) {
    this.#engine.runs++
    return this.#engine.ask(order)
  }

  #stop() {
    this.#engine?.kill()
    this.#engine = undefined
  }
}

class Engine {
  runs = 0
  #process

  constructor(mode) {
    this.#process = fork(new URL('engine.mjs', import.meta.url), [mode], {
      execArgv: ['--experimental-vm-modules', '--no-warnings', '--max-old-space-size=3000'],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      serialization: 'advanced',
    })
  }

  /** What the engine answers; `late` if a test blocks it, or it ends. */
  ask(order) {
    return new Promise((answer, fail) => {
      let at
      let timer
      const settle = (how, value) => {
        clearTimeout(timer)
        this.#process.removeAllListeners()
        how(value)
      }
      this.#process.on('message', (message) => {
        if (message.done !== undefined) settle(answer, message.done)
        else if (message.broken !== undefined) settle(fail, new Error(message.broken))
        else {
          at = message.at
          clearTimeout(timer)
          timer = setTimeout(() => settle(answer, { late: at }), message.limitMs + 1000)
        }
      })
      this.#process.on('exit', () => settle(answer, { late: at }))
      this.#process.send(order)
    })
  }

  kill() {
    this.#process.kill('SIGKILL')
  }
}

/**
 * Runs every test: how long it takes, and which mutants it runs. One that fails is left out: it asks
 * for an idle machine.
 */
async function firstRun() {
  // Many tests wait most of the time, so that some of them can do so together.
  const answers = await Promise.all(
    Array.from({ length: FIRST_RUNS }, async (_, i) => {
      const engine = new Engine('coverage')
      const answer = await engine.ask({ files: SPECS.filter((_, n) => n % FIRST_RUNS === i) })
      engine.kill()
      if (answer.late !== undefined) throw new Error(`the first run never ended: ${answer.late}`)
      return answer
    }),
  )
  const results = answers.flatMap(({ results }) => results).sort((a, b) => a.ms - b.ms)
  const tests = results.filter(({ failure }) => failure === undefined)
  const ran = Object.assign({}, ...answers.map(({ coverage }) => coverage.perTest))
  return {
    tests,
    leftOut: results.filter((each) => !tests.includes(each)),
    static: Object.assign({}, ...answers.map(({ coverage }) => coverage.static)),
    perTest: chosen(tests, ran),
  }
}

/**
 * Which mutants each test tries, and how often it runs them. Most of the code is run by a thousand
 * tests. Of these, quick ones notice most mutants. Most of the rest is noticed by tests that run much
 * of the code nearby, and by tests that run little else.
 */
function chosen(tests, ran) {
  const budgetMs = SHARE * tests.reduce((sum, { ms }) => sum + ms, 0)
  const runs = new Map()
  for (const { id, ms } of tests) {
    const pairs = ran[id] ?? []
    const hits = Array.from({ length: pairs.length / 2 }, (_, i) => ({
      mutant: pairs[2 * i],
      count: pairs[2 * i + 1],
    }))
    const mutants = hits.map(({ mutant }) => mutant) // in ascending order
    const below = (mutant) => placeOf(mutants, mutant)
    for (const { mutant, count } of hits) {
      const near = below(mutant + NEAR) - below(mutant - NEAR)
      if (!runs.has(mutant)) runs.set(mutant, [])
      runs.get(mutant).push({ id, ms, count, near, own: near / hits.length })
    }
  }
  const perTest = Object.fromEntries(tests.map(({ id }) => [id, {}]))
  for (const [mutant, all] of runs) {
    let spentMs = 0
    const take = ({ id, ms, count }, mostMs) => {
      if (spentMs > 0 && spentMs + ms > mostMs) return false
      spentMs += ms
      perTest[id][mutant] = count
      return true
    }
    const rest = (tests, mostMs) => tests.filter((each) => !take(each, mostMs))
    const far = rest(all, PART * budgetMs).sort((a, b) => b.near - a.near)
    const others = rest(far, 2 * PART * budgetMs).sort((a, b) => b.own - a.own)
    rest(others, budgetMs)
  }
  return perTest
}

/** How many of the numbers, which ascend, are below one. */
function placeOf(numbers, number) {
  let from = 0
  for (let to = numbers.length; from < to;) {
    const middle = (from + to) >>> 1
    if (numbers[middle] < number) from = middle + 1
    else to = middle
  }
  return from
}

/** The files that keep what a run has found, so that it can go on after it was cut off. */
function cacheOf(sandbox) {
  const hash = createHash('sha256')
  for (const folder of ['lib', 'spec'])
    for (const name of readdirSync(join(sandbox, folder), { recursive: true }).sort())
      if (/\.m?[jt]s$/.test(name))
        hash.update(name).update(readFileSync(join(sandbox, folder, name)))
  const sources = hash.digest('hex').slice(0, 16)
  const folder = `${ROOT}.cache/mutation`
  return { sources, first: `${folder}/${sources}-tests.json`, journal: `${folder}/mutants.jsonl` }
}

function isOfSample(name) {
  return createHash('sha256').update(name).digest().readUInt32LE() % SAMPLE === 0
}

function hashOf(path) {
  return createHash('sha256').update(readFileSync(path)).digest('hex').slice(0, 16)
}

function readJournal(path) {
  if (!existsSync(path)) return new Map()
  return new Map(readFileSync(path, 'utf8').split('\n').slice(0, -1).map(JSON.parse))
}

const inProcess = (log) => new Runner(log)
inProcess.inject = tokens(commonTokens.logger)

export const strykerPlugins = [declareFactoryPlugin(PluginKind.TestRunner, 'in-process', inProcess)]
