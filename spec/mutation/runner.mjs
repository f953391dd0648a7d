import { fork } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { commonTokens, declareFactoryPlugin, PluginKind, tokens } from '@stryker-mutator/api/plugin'
import { TestStatus } from '@stryker-mutator/api/test-runner'
import { SPECS } from './specs.mjs'
import { entriesIn } from './survivors.mjs'
import { hashOf, keyOf, LATE, ROOT, Verdicts } from './verdicts.mjs'

/** What the tests of one mutant may take, as a part of the time that all tests take. */
const SHARE = 0.05
/** The same for the other tests, if README.md does not list a mutant that those have not noticed. */
const SHARE_OF_OTHERS = 0.5
/** So much of it goes to the quickest tests that run the mutant, and as much to the nearest. */
const PART = 1 / 3
/** A test is the nearer, the more it runs of so many mutants before and behind a mutant. */
const NEAR = 50
/** So many tests that noticed mutants nearby come first. */
const FIRST = 10
/** How many processes run tests: many tests wait most of the time. */
const FIRST_RUNS = Number(process.env.MUTATION_PROCESSES ?? 2)
/** One of so many mutants is tried, always the same ones. */
const SAMPLE = Number(process.env.MUTATION_SAMPLE ?? 1)
/** Room for a bit for each mutant. */
const ROW_BYTES = 2 ** 13
/** What mutants leave behind in a process is thrown away with it. */
const MUTANTS_PER_ENGINE = 300

/**
 * Stryker's runner of the specs. The tests run in a process of their own (engine.mjs), so that it
 * can be killed when a mutant never ends.
 */
class Runner {
  #engine
  /** What the engine has loaded is of a mutant, or lacks it: it has to be loaded anew. */
  #isStale = false
  #tests
  #hashes
  #ran
  #verdicts = new Verdicts()
  #cache = cacheOf(process.cwd())
  #log

  constructor(log) {
    this.#log = log
  }

  capabilities() {
    return { reloadEnvironment: true }
  }

  async dryRun() {
    const { first } = this.#cache
    if (!existsSync(first)) await firstRun(this.#cache)
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

  async mutantRun({ activeMutant, testFilter, hitLimit, reloadEnvironment }) {
    if (reloadEnvironment) this.#isStale = true
    const { id: mutant, fileName, location, mutatorName, replacement } = activeMutant
    const file = relative(ROOT, fileName)
    const name = JSON.stringify([file, location, mutatorName, replacement])
    if (!isOfSample(name)) return { status: 'error', errorMessage: 'not of the sample' }
    const { line } = location.start
    const verdict = { file, source: hashOf(file), line, key: keyOf(name) }
    const verdicts = this.#verdicts.of(file)
    const known = verdicts.get(verdict.key)
    const isSame = known?.source === verdict.source
    // The test that noticed it, if it is as it was, would do so again.
    if (isSame && known.test !== undefined && this.#testsOf().get(known.test)?.hash === known.hash)
      return resultOf(known)
    // What a test would have noticed before, only one that has changed can notice now.
    const changed = isSame && known.state !== undefined && this.#changedSince(known, mutant)
    const quick = changed || testFilter.map((id) => this.#testsOf().get(id))
    const near = changed?.length === 0 ? [] : this.#nearest(verdicts, line, mutant)
    const tests = new Set([...near, ...quick])
    let { test, isLate } = await this.#try(mutant, hitLimit, [...tests])
    let isTriedWithAll = isSame && known.isTriedWithAll === true
    if (test === undefined && !isTriedWithAll && !isListed(file, location.start)) {
      isTriedWithAll = true
      // Without the limit of hits, which goes by the tests above.
      ;({ test, isLate } = await this.#try(mutant, undefined, this.#others(tests, mutant)))
    }
    if (test === undefined) this.#verdicts.add({ ...verdict, isTriedWithAll }, this.#hashesOf())
    else this.#verdicts.add({ ...verdict, test, hash: this.#testsOf().get(test).hash, isLate })
    return resultOf(verdicts.get(verdict.key))
  }

  /** The other tests that run a mutant, those first that run little else. */
  #others(tests, mutant) {
    const all = [...this.#testsOf().values()]
    return this.#ownFirst(
      all.filter((test) => !tests.has(test) && this.#runs(test, mutant)),
      mutant,
      budgetOf(all, SHARE_OF_OTHERS),
    )
  }

  /** What a mutant survives now. */
  #hashesOf() {
    this.#hashes ??= [...this.#testsOf().values()].map(({ hash }) => hash).sort()
    return this.#hashes
  }

  /**
   * The tests that run a mutant, and have changed since it survived. If there are many, those that run
   * little else.
   */
  #changedSince(verdict, mutant) {
    const state = this.#verdicts.stateOf(verdict)
    const all = [...this.#testsOf().values()]
    return this.#ownFirst(
      all.filter((test) => !state.has(test.hash) && this.#runs(test, mutant)),
      mutant,
      budgetOf(all),
    ).sort((a, b) => a.ms - b.ms)
  }

  /** Those first that run little but what is near a mutant, as many as may take so long. */
  #ownFirst(tests, mutant, budgetMs) {
    let leftMs = budgetMs
    return tests
      .map((test) => ({ test, own: this.#nearOf(test, mutant) / test.hits }))
      .sort((a, b) => b.own - a.own)
      .map(({ test }) => test)
      .filter(({ ms }) => (leftMs -= ms) > 0)
  }

  /** How many mutants near one a test runs. */
  #nearOf(test, mutant) {
    let near = 0
    for (let i = Math.max(0, mutant - NEAR); i < mutant + NEAR; i++) if (this.#runs(test, i)) near++
    return near
  }

  /** The tests that noticed the mutants nearest to a line, and run this one. */
  #nearest(verdicts, line, mutant) {
    const distance = (each) => Math.abs(each.line - line)
    const tests = [...verdicts.values()]
      .sort((a, b) => distance(a) - distance(b))
      .map(({ test }) => this.#testsOf().get(test))
      .filter((test) => test !== undefined && this.#runs(test, mutant))
    return [...new Set(tests)].slice(0, FIRST)
  }

  #runs({ at }, mutant) {
    this.#ran ??= readFileSync(this.#cache.ran)
    return (this.#ran[at * ROW_BYTES + (mutant >> 3)] & (1 << (mutant & 7))) !== 0
  }

  /** By id, the quickest first. */
  #testsOf() {
    this.#tests ??= new Map(
      JSON.parse(readFileSync(this.#cache.first, 'utf8')).tests.map((test, at) => [
        test.id,
        { ...test, at },
      ]),
    )
    return this.#tests
  }

  /** The test that notices a mutant, and whether by never ending; {} if none does. */
  async #try(mutant, hitLimit, tests) {
    if (tests.length === 0) return {}
    let plan = tests.map(({ id, file, ms }) => ({ id, file, limitMs: 500 + 4 * ms }))
    for (;;) {
      const isFresh = this.#start()
      const { late, hits, killer } = await this.#ask({ mutant, hitLimit, plan })
      if (hits) return { test: late, isLate: true }
      const noticed = plan.find(({ id }) => id === (late ?? killer))
      if (noticed === undefined) return {}
      const verdict = { test: noticed.id, isLate: late !== undefined }
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
    if (this.#isStale || this.#engine?.runs >= MUTANTS_PER_ENGINE) this.#stop()
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
    this.#isStale = false
  }
}

/** What Stryker wants to hear. After a 'timeout' it would start this process anew. */
function resultOf({ test, isLate }) {
  if (test === undefined) return { status: 'survived', nrOfTests: 0 }
  const failureMessage = isLate ? LATE : ''
  return { status: 'killed', killedBy: [test], failureMessage, nrOfTests: 1 }
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
async function firstRun(cache) {
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
  const ran = Object.assign({}, ...answers.map(({ coverage }) => coverage.perTest))
  const tests = results
    .filter(({ failure }) => failure === undefined)
    .map((test) => ({ ...test, hits: (ran[test.id] ?? []).length / 2 }))
  const first = {
    tests,
    leftOut: results.filter(({ failure }) => failure !== undefined),
    static: Object.assign({}, ...answers.map(({ coverage }) => coverage.static)),
    perTest: chosen(tests, ran),
  }
  writeFileSync(cache.ran, bitsOf(tests, ran))
  writeFileSync(cache.first, JSON.stringify(first))
}

/** A row for each test, with a bit for each mutant that it runs. */
function bitsOf(tests, ran) {
  const bits = new Uint8Array(tests.length * ROW_BYTES)
  tests.forEach(({ id }, at) => {
    const pairs = ran[id] ?? []
    for (let i = 0; i < pairs.length; i += 2)
      bits[at * ROW_BYTES + (pairs[i] >> 3)] |= 1 << (pairs[i] & 7)
  })
  return bits
}

/**
 * Which mutants each test tries, and how often it runs them. Most of the code is run by a thousand
 * tests. Of these, quick ones notice most mutants. Most of the rest is noticed by tests that run much
 * of the code nearby, and by tests that run little else.
 */
function chosen(tests, ran) {
  const budgetMs = budgetOf(tests)
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

/** What the tests of one mutant may take, in ms. */
function budgetOf(tests, share = SHARE) {
  return share * tests.reduce((sum, { ms }) => sum + ms, 0)
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

/** The files that keep the first run's results, so that the same sources need no other one. */
function cacheOf(sandbox) {
  const hash = createHash('sha256')
  for (const folder of ['lib', 'spec'])
    for (const name of readdirSync(join(sandbox, folder), { recursive: true }).sort())
      if (/\.m?[jt]s$/.test(name))
        hash.update(name).update(readFileSync(join(sandbox, folder, name)))
  const path = `${ROOT}.cache/mutation/${hash.digest('hex').slice(0, 16)}`
  return { first: `${path}-tests.json`, ran: `${path}-ran.bin` }
}

/** Of each file, entriesIn() it. */
const entries = new Map()

/** Whether README.md says of the function at a place, which Stryker counts from 0, why it is harmless. */
function isListed(file, { line, column }) {
  if (!entries.has(file)) entries.set(file, entriesIn(file, readFileSync(ROOT + file, 'utf8')))
  return entries.get(file)({ line: line + 1, column: column + 1 }) !== undefined
}

function isOfSample(name) {
  return createHash('sha256').update(name).digest().readUInt32LE() % SAMPLE === 0
}

const inProcess = (log) => new Runner(log)
inProcess.inject = tokens(commonTokens.logger)

export const strykerPlugins = [declareFactoryPlugin(PluginKind.TestRunner, 'in-process', inProcess)]
