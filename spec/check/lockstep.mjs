/**
 * The same schedules on real threads. The model runs a scenario by a seeded schedule and notes
 * every access with what it gave; then each of its threads is a real Worker (lockstep-worker.mjs)
 * that runs the same instrumented core on a SharedArrayBuffer, held before each access until it is
 * its turn, and makes it with the real Atomics or plainly. The model's schedule decides which
 * thread goes on, which one is terminated, and which sleeps end. The engine decides what each
 * access gives. That has to be what the model said. The whole memory afterwards, and what each call
 * returned, have to be the model's too.
 *
 * Sleeps are real: Atomics.wait on the memory, woken by the Atomics.notify of another worker's own
 * step, or timed out. A worker may come to its Atomics.wait too late, when its word has changed
 * already, because a sleeping thread looks the same from outside: then the schedule is run
 * again, more slowly. The tracker's thread listens with Atomics.waitAsync, as it does in the
 * library, and is let go on when the model says so.
 */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { nameOfSchedule, seeded, Subject } from './explorer.mjs'
import * as at from './lockstep-words.mjs'
import { GO_ON, KILL, TIMEOUT } from './runtime.mjs'

const BOUND_MS = 10_000
const TRIES = 6
const SHORT_SLEEP_MS = 3
const LONG_SLEEP_MS = 60_000

export class Difference extends Error {}
/** A worker came to its sleep too late. */
class TooLate extends Error {}

// --------------------------------------------------------------------------------------- the model

/**
 * Goes on at random, often with another thread; kills the first victim's k-th writing access. Notes
 * who goes on.
 */
class Recorder {
  constructor(seed, victim, killAt) {
    this.random = seeded(seed)
    this.victim = victim
    this.killAt = killAt
    this.kills = 0
    this.eager = 0.05 + 0.4 * this.random()
    this.path = []
    this.log = []
  }

  choose(run, thread, options, stale, extra = 0) {
    const choice = this.#pick(run, thread, options, extra)
    if (choice !== (thread === null ? options[0] : GO_ON)) this.path.push({ at: run.steps, choice })
    if (choice !== GO_ON && choice !== KILL)
      this.log.push({ resumes: choice >= TIMEOUT ? choice - TIMEOUT : choice })
    return choice
  }

  #pick(run, thread, options, extra) {
    if (
      extra === KILL &&
      this.victim !== undefined &&
      thread.name.startsWith(this.victim) &&
      run.deaths === 0 &&
      this.kills++ === this.killAt
    )
      return KILL
    if (options === null) return GO_ON
    if (thread !== null && (options.length === 0 || this.random() >= this.eager)) return GO_ON
    return options[Math.floor(this.random() * options.length)]
  }

  /** The run's trace comes by here. */
  push({ thread, kind, i, a, b, value, now, text }) {
    if (text === 'DIES')
      this.log.push({ dies: thread.id, isAggregator: thread.name.startsWith('aggregator') })
    else if (kind !== undefined)
      this.log.push({ by: thread.id, name: thread.name, kind, i, a, b, value, now })
  }
}

/** The model's side of a scenario. */
class Model {
  constructor(core, scenario) {
    this.subject = new Subject(core, this.#watched(scenario))
  }

  #watched(scenario) {
    const threads = Object.entries(scenario.threads).map(([name, body]) => [
      name,
      (world) => {
        const results = (this.results[name] = [])
        return body(at.noting(world, results))
      },
    ])
    const atEnd = (world) => {
      this.image = world.words.slice()
      scenario.atEnd?.(world)
    }
    return { ...scenario, threads: Object.fromEntries(threads), atEnd }
  }

  record(seed, victim, killAt) {
    this.results = {}
    this.image = undefined
    const recorder = new Recorder(seed, victim, killAt)
    this.subject.use()
    const { failure, run } = this.subject.execute(recorder, {
      isPoint: () => true,
      trace: recorder,
      killing: victim !== undefined,
    })
    if (failure !== undefined)
      throw new Error(`the model fails: ${failure.message}: ${nameOfSchedule(recorder.path)}`)
    // What a sleep comes to, where it begins.
    const asleep = new Map()
    for (const entry of recorder.log) {
      if (entry.kind !== 'wait') continue
      if (entry.value === 'sleeps') asleep.set(entry.by, entry)
      else if (asleep.has(entry.by)) {
        asleep.get(entry.by).comesTo = entry.value
        asleep.delete(entry.by)
      }
    }
    const ended = run.threads.filter(({ state }) => state === 2)
    return {
      schedule: nameOfSchedule(recorder.path),
      log: recorder.log,
      killable: recorder.kills,
      deaths: run.deaths,
      image: this.image,
      results: ended.map(({ id, name }) => ({
        id,
        name,
        text: (this.results[name] ?? []).join('\n'),
      })),
    }
  }
}

// -------------------------------------------------------------------------------- the real threads

class Rig {
  constructor(core, modules, scenario, model) {
    this.core = core
    this.modules = modules
    this.scenario = scenario
    this.setup = model.subject.setup
    this.nameOf = model.subject.nameOf
    this.layout = model.subject.memory.layout
    this.settings = model.subject.made.settings
    this.jobs = [
      ...(scenario.aggregator === false ? [] : ['aggregator']),
      ...Object.keys(scenario.threads),
    ]
    this.words = new Int32Array(new SharedArrayBuffer(this.setup.byteLength))
    this.control = new Int32Array(new SharedArrayBuffer(at.CONTROL_WORDS * 4))
    this.workers = []
    this.counts = { steps: 0, sleeps: 0, woken: 0, timedOut: 0, terminated: 0, again: 0 }
  }

  async open() {
    // One more than there are threads, for an aggregator's successor.
    await Promise.all([...this.jobs, 'spare'].map((_, k) => this.#hire(k)))
  }

  async close() {
    await Promise.all(this.workers.map(({ worker }) => worker.terminate()))
  }

  #hire(k) {
    const { words, layout, settings, control, modules, scenario, jobs } = this
    control.fill(0, k * at.STRIDE, (k + 1) * at.STRIDE)
    const output = new Uint8Array(new SharedArrayBuffer(at.RESULT_BYTES))
    const workerData = {
      number: k,
      words,
      layout,
      settings,
      control,
      output,
      modules,
      scenarioName: scenario.name,
      jobs,
    }
    const worker = new Worker(new URL('./lockstep-worker.mjs', import.meta.url), { workerData })
    this.workers[k] = { worker, output }
    return new Promise((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
    })
  }

  #word(k, word) {
    return Atomics.load(this.control, k * at.STRIDE + word)
  }

  #set(k, word, value) {
    Atomics.store(this.control, k * at.STRIDE + word, value)
  }

  /** Where worker k has stopped, once it has; `passing` is where it need not stay. */
  #stopped(k, passing = at.RUNNING) {
    const until = performance.now() + BOUND_MS
    for (;;) {
      const status = this.#word(k, at.STATUS)
      if (status !== at.RUNNING && status !== passing) return status
      if (performance.now() > until)
        throw new Difference(`thread ${k} does not come to its next access`)
      Atomics.wait(this.control, k * at.STRIDE + at.STATUS, status, 100)
    }
  }

  #command(k, command) {
    this.#set(k, at.STATUS, at.RUNNING)
    this.#set(k, at.COMMAND, command)
    Atomics.notify(this.control, k * at.STRIDE + at.COMMAND)
  }

  #text(k) {
    return Buffer.from(this.workers[k].output).toString().replace(/\0.*$/s, '')
  }

  #start(k, job, predecessor = -1) {
    this.#stopped(k)
    this.#set(k, at.STATE, 0)
    this.#set(k, at.JOB, this.jobs.indexOf(job))
    this.#set(k, at.PREDECESSOR, predecessor)
    this.#command(k, at.GO)
    const status = this.#stopped(k)
    if (status !== at.READY) throw new Difference(`${job} does not start: ${this.#text(k)}`)
    this.started++
  }

  /**
   * Run a recorded schedule; resolves if it went as the model said, and throws a Difference
   * otherwise. `fault`: { at, kind }, see findFaults().
   */
  async run(recorded, fault) {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#runOnce(recorded, fault, 4 ** (tries - 1) / 2)
      } catch (error) {
        if (!(error instanceof TooLate)) throw error
        if (tries === TRIES) throw new Difference(error.message)
        this.counts.again++
      } finally {
        await this.#clear()
      }
    }
  }

  async #runOnce({ log, image, results }, fault, settleMs) {
    const { words, control, counts } = this
    words.set(this.setup)
    control.fill(0, at.EXITS)
    this.started = 0
    this.settleMs = settleMs
    this.asleep = new Set()
    for (const [k, job] of this.jobs.entries()) this.#set(k, at.JOB, this.jobs.indexOf(job))
    for (const [k, job] of this.jobs.entries()) this.#start(k, job)
    for (const [k, entry] of log.entries()) {
      if (entry.resumes !== undefined) {
        const status = this.#stopped(entry.resumes)
        if (status === at.READY || status === at.BETWEEN_LOOKS) {
          this.#command(entry.resumes, at.GO)
          this.#stopped(entry.resumes)
        }
      } else if (entry.dies !== undefined) {
        if (fault?.at === k) this.#goOn(entry.dies, at.GO) // it dies a step late
        await this.#terminate(entry)
      } else {
        counts.steps++
        try {
          await this.#step(entry, fault?.at === k ? at.SKIP : at.GO)
        } catch (error) {
          if (error instanceof Difference && this.#mayHaveBeenLate())
            throw new TooLate(error.message)
          throw error
        }
      }
    }
    for (const { id, name, text } of results) {
      const status = this.#stopped(id)
      if (status !== at.ENDED)
        throw new Difference(
          `${name} has come to its end in the model, and is at ${status}: ${this.#text(id)}`,
        )
      if (this.#text(id) !== text)
        throw new Difference(`${name} was told\n${this.#text(id)}\n, not\n${text}`)
    }
    for (let i = 0; i < words.length; i++) {
      if (words[i] !== image[i])
        throw new Difference(`in the end ${this.nameOf(i)} is ${words[i]}, not ${image[i]}`)
    }
  }

  async #step({ by, name, kind, i, a, b, value, comesTo }, command) {
    const { counts } = this
    if (kind === 'wait' && this.asleep.has(by)) {
      // The second half of a sleep.
      const status = this.#stopped(by, at.SLEEPING)
      const woken = at.WAKES[this.#word(by, at.VALUE)]
      if (status !== at.WOKEN || woken !== value)
        throw new Difference(
          `${name}: its sleep on ${this.nameOf(i)} comes to ${woken}, not ${value}`,
        )
      counts[value === 'ok' ? 'woken' : 'timedOut']++
      this.asleep.delete(by)
      this.#goOn(by, at.GO)
      return
    }
    const status = this.#stopped(by)
    if (status === at.THREW) throw new Difference(`${name} throws: ${this.#text(by)}`)
    if (status !== at.AT_ACCESS)
      throw new Difference(
        `${name} makes no access (it is at ${status}), where the model has ${kind} ${this.nameOf(i)}`,
      )
    const operands =
      kind === 'compareExchange' ? [a, b] : kind === 'read' || kind === 'load' ? [] : [a]
    const expected = [kind, i, ...operands.map(at.asWord)].join(' ')
    const its = [
      at.ACCESSES[this.#word(by, at.ACCESS)],
      this.#word(by, at.WORD),
      this.#word(by, at.A),
      this.#word(by, at.B),
    ]
    const actual = its.slice(0, 2 + operands.length).join(' ')
    if (actual !== expected)
      throw new Difference(
        `${name} comes to ${actual}, where the model has ${expected} (${this.nameOf(i)})`,
      )
    if (kind === 'wait') return this.#sleep({ by, name, i, value, comesTo })
    this.#goOn(by, command)
    const got = this.#word(by, at.VALUE)
    if (got !== at.asWord(value))
      throw new Difference(
        `${name}: ${kind} ${this.nameOf(i)} gives ${got}, not ${at.asWord(value)}`,
      )
  }

  #goOn(k, command) {
    this.#command(k, command)
    this.#stopped(k)
  }

  async #sleep({ by, name, i, value, comesTo }) {
    this.#set(
      by,
      at.MS,
      value === 'not-equal' ? 0 : comesTo === 'timed-out' ? SHORT_SLEEP_MS : LONG_SLEEP_MS,
    )
    this.#command(by, at.GO)
    if (value === 'not-equal') {
      this.#stopped(by, at.SLEEPING)
      const woken = at.WAKES[this.#word(by, at.VALUE)]
      if (woken !== value)
        throw new Difference(`${name}: wait on ${this.nameOf(i)} comes to ${woken}, not ${value}`)
      return this.#goOn(by, at.GO)
    }
    this.#stopped(by)
    this.counts.sleeps++
    this.asleep.add(by)
    Atomics.wait(this.control, at.CONTROL_WORDS - 1, 0, this.settleMs) // until it is, very likely
  }

  /** After a difference: whether it may come of a sleep that began too late. */
  #mayHaveBeenLate() {
    Atomics.wait(this.control, at.CONTROL_WORDS - 1, 0, this.settleMs)
    return [...this.asleep].some(
      (k) =>
        this.#word(k, at.STATUS) === at.WOKEN && at.WAKES[this.#word(k, at.VALUE)] === 'not-equal',
    )
  }

  async #terminate({ dies, isAggregator }) {
    const { control } = this
    this.#stopped(dies)
    await this.workers[dies].worker.terminate()
    this.dead = dies
    this.counts.terminated++
    this.#set(dies, at.STATE, 3)
    if (isAggregator) this.#start(this.started, 'aggregator', dies)
    else control[at.EXITS + ++control[at.EXITS]] = dies
  }

  /** Takes every worker out of what it does, and replaces the one that was terminated. */
  async #clear() {
    if (this.dead !== undefined) await this.#hire(this.dead)
    this.dead = undefined
    for (let k = 0; k < this.workers.length; k++) {
      for (let tries = 0; this.#stopped(k) !== at.IDLE; tries++) {
        if (tries > 1000) throw new Error(`worker ${k} cannot be stopped`)
        if (this.#word(k, at.STATUS) !== at.SLEEPING) this.#command(k, at.ABANDON)
        else {
          Atomics.notify(this.words, this.#word(k, at.WORD))
          Atomics.wait(this.control, k * at.STRIDE + at.STATUS, at.SLEEPING, 1)
        }
      }
    }
  }
}

// --------------------------------------------------------------------------------------- all of it

/**
 * `count` schedules of a scenario on real threads. With `victim`, a name's beginning, one such
 * thread is terminated, in each schedule a step later in its life. Stops at the first difference.
 */
export async function lockstep(core, coreFiles, scenario, { count, seed = 1, victim }) {
  const model = new Model(core, scenario)
  const rig = new Rig(core, modulesOf(core, coreFiles), scenario, model)
  const started = performance.now()
  const result = {
    scenario: scenario.name,
    schedules: 0,
    distinct: 0,
    deaths: 0,
    counts: rig.counts,
    difference: undefined,
  }
  const logs = new Set()
  await rig.open()
  try {
    for (let k = 0; k < count && result.difference === undefined; k++) {
      const ofSchedule = seed * 1000 + k
      const { killable } = victim === undefined ? {} : model.record(ofSchedule, victim, -1)
      const recorded = model.record(
        ofSchedule,
        victim,
        victim === undefined ? -1 : Math.floor((k * killable) / count),
      )
      try {
        await rig.run(recorded)
      } catch (error) {
        if (!(error instanceof Difference)) throw error
        result.difference = `${error.message}\nschedule ${recorded.schedule}`
      }
      logs.add(JSON.stringify(recorded.log))
      result.schedules++
      result.deaths += recorded.deaths
    }
  } finally {
    await rig.close()
  }
  return Object.assign(result, { distinct: logs.size, ms: Math.round(performance.now() - started) })
}

/**
 * One schedule, again and again, each time with the last store into one of the words left out, or
 * with a death that comes late: what the comparison says each time.
 */
export async function faulty(core, coreFiles, scenario, { seed = 1, victim, killAt = 0 }) {
  const model = new Model(core, scenario)
  const recorded = model.record(seed, victim, victim === undefined ? -1 : killAt)
  const rig = new Rig(core, modulesOf(core, coreFiles), scenario, model)
  await rig.open()
  const found = []
  try {
    for (const fault of findFaults(recorded, rig)) {
      try {
        await rig.run(recorded, fault)
        found.push({ fault: fault.what, difference: undefined })
      } catch (error) {
        if (!(error instanceof Difference)) throw error
        found.push({ fault: fault.what, difference: error.message })
      }
    }
  } finally {
    await rig.close()
  }
  return found
}

/** For each word the access that is the last to store into it, if it changes it; and the death. */
function findFaults({ log }, { setup, nameOf }) {
  const faults = new Map()
  const now = new Map()
  const lastOf = new Map()
  for (const [k, entry] of log.entries()) {
    const { kind, i, a, value } = entry
    if (entry.dies !== undefined) faults.set('a death that comes a step late', k)
    if (
      kind === undefined ||
      ['read', 'load', 'wait', 'notify'].includes(kind) ||
      (kind === 'compareExchange' && value !== a)
    )
      continue
    if ((now.get(i) ?? setup[i]) === entry.now) lastOf.delete(i)
    else lastOf.set(i, { k, kind, i })
    now.set(i, entry.now)
  }
  for (const { k, kind, i } of lastOf.values()) faults.set(`without a ${kind} of ${nameOf(i)}`, k)
  return [...faults].map(([what, k]) => ({ what, at: k }))
}

function modulesOf(core, coreFiles) {
  return coreFiles.map((name) => pathToFileURL(join(core.folder, `${name}.js`)).href)
}
