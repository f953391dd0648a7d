/**
 * Goes through the executions of a scenario: all of them within bounds (search), or some at random
 * (walk), or one again (replay).
 *
 * The search is stateless: it runs an execution from its beginning, with the current thread going
 * on wherever it can, and notes at each point what else could have been chosen; each of those is an
 * execution of its own. What a choice costs is bounded: preemptions (another thread, though this
 * one could go on), deaths, exceptions, values that were there before. Where a thread cannot go on,
 * the next one is free of charge.
 *
 * Points are the atomic accesses, and the listed racy ones, to words that more than one thread uses
 * and one writes; what other threads cannot see needs none. Plain accesses between two points are
 * one step: sound where there are no races, and every execution is checked for races. An execution
 * is given up where it comes into a state that was there before with no less left to spend: the
 * state is named by who wrote each word last and by what each thread was told, in order, so two
 * executions with the same name have the same happens-before, the same futures and the same races.
 */
import * as tracker from './model.mjs'
import { adopt, DEAD, Failure, GO_ON, KILL, Run, STALE, THROW, TIMEOUT } from './runtime.mjs'

/** A scenario, made ready to be executed with one build of the core. */
export class Subject {
  /**
   * @param {import('./types.js').Core} core
   * @param {import('./types.js').Scenario<any>} scenario
   */
  constructor(core, scenario) {
    this.core = core
    this.scenario = scenario
    /** What its threads stand in, and what is required of them. */
    /** @type {any} */
    this.model = scenario.model ?? tracker
    const made = this.model.setUp(core, scenario)
    const { memory } = made
    this.made = made
    this.memory = memory
    this.setup = memory.words.slice()
    this.racy = this.model.racyWords(core, memory, scenario)
    this.unimportant = this.model.unimportantWords(core, memory)
    this.nameOf = this.model.namer(core, memory)
    this.users = new Int32Array(memory.words.length)
    this.writers = new Int32Array(memory.words.length)
    this.newPoints = false
    this.throwing = (scenario.throws ?? 0) > 0
    this.note = (i, user, writes) => this.#note(i, user, writes)
  }

  /** Words are given over to one subject at a time. */
  use() {
    this.memory.words.set(this.setup)
    adopt(this.memory.words)
  }

  #note(i, user, writes) {
    const bit = 1 << user
    if ((this.users[i] & bit) !== 0 && (!writes || (this.writers[i] & bit) !== 0)) return
    this.users[i] |= bit
    if (writes) this.writers[i] |= bit
    this.newPoints = true
  }

  /** One execution; the failure, if it was one. */
  execute(chooser, { isPoint, trace = null, byValue = false, killing = true }) {
    const run = new Run(chooser, {
      racy: this.racy,
      raceNames: this.nameOf,
      killing,
      throwing: this.throwing,
      isPoint,
      note: this.note,
      trace,
      byValue,
      unimportant: this.unimportant,
    })
    /** @type {any} */
    let world
    let failure
    try {
      run.execute(() => {
        world = new this.model.World(this.core, this.scenario, this.made, run)
        world.start()
      })
      if (!run.aborted) world.finish()
    } catch (error) {
      failure = error instanceof Failure ? error : new Failure('error', error.stack)
    }
    return { run, world, failure }
  }
}

/** Follows a path of choices that differ from the usual one, then goes on as told. */
class Follower {
  constructor(path) {
    this.path = path
    this.taken = 0
  }

  choose(run, thread, options, stale, extra = 0) {
    const next = this.path[this.taken]
    if (next !== undefined && next.at === run.steps && offers(options, stale, extra, next.choice)) {
      this.taken++
      return next.choice
    }
    return thread === null ? options[0] : GO_ON
  }
}

function offers(options, stale, extra, choice) {
  if (choice === KILL || choice === THROW) return extra === choice
  if (choice >= STALE) return choice - STALE <= stale && choice > STALE
  return options !== null && options.includes(choice)
}

/** How many points a thread has to itself where every thread has a turn. */
const FAIR_STEPS = 25

class Searcher {
  constructor(search) {
    this.search = search
    this.reduces = search.reduces
    this.seen = new Set()
  }

  begin(node) {
    this.path = []
    for (let at = node; at !== null; at = at.parent) this.path.push(at)
    this.path.reverse()
    this.path.shift() // the root is no choice
    this.taken = 0
    this.node = node
    this.seen.clear()
    this.fair = 0
  }

  /**
   * The execution has come back to a state of its own: a thread goes round in a circle, which only
   * others can end, if they can. From here on every thread has a turn, sleeps come to their ends,
   * and nothing is pruned: the execution ends, or is found to be endless.
   */
  #turn(run, thread, options) {
    if (options === null) return GO_ON
    if (thread === null) return options[0]
    if (options.length === 0 || ++this.fair % FAIR_STEPS !== 0) return GO_ON
    const choice = options[(this.fair / FAIR_STEPS) % options.length]
    this.path.push({ at: run.steps, choice })
    return choice
  }

  choose(run, thread, options, stale, extra = 0) {
    const { search, path } = this
    if (this.taken < path.length) {
      const next = path[this.taken]
      if (next.at === run.steps && offers(options, stale, extra, next.choice)) {
        this.taken++
        return next.choice
      }
      return thread === null ? options[0] : GO_ON
    }
    if (this.fair > 0) return this.#turn(run, thread, options)
    const { node } = this
    const { bounds } = search
    if (options !== null && search.reduces) {
      const name = run.stateName(thread)
      if (thread !== null && this.seen.has(name)) {
        this.fair = 1
        this.taken = Infinity
        return GO_ON
      }
      this.seen.add(name)
      const spent = search.states.get(name)
      if (spent !== undefined && spent <= node.preemptions) {
        run.aborted = true
        return GO_ON
      }
      search.states.set(name, node.preemptions)
    }
    const at = run.steps
    const add = (choice, preemptions, deaths, throws, stales) => {
      search.stack.push({ parent: node, at, choice, preemptions, deaths, throws, stales })
    }
    const mayDiffer = node.preemptions + node.deaths + node.throws < bounds.together
    if (extra === KILL && node.deaths < bounds.deaths && mayDiffer)
      add(KILL, node.preemptions, node.deaths + 1, node.throws, node.stales)
    if (extra === THROW && node.throws < bounds.throws && mayDiffer)
      add(THROW, node.preemptions, node.deaths, node.throws + 1, node.stales)
    if (node.stales < bounds.stales)
      for (let k = 1; k <= stale; k++)
        add(STALE + k, node.preemptions, node.deaths, node.throws, node.stales + 1)
    if (options === null) return GO_ON
    if (thread === null) {
      for (let k = options.length - 1; k > 0; k--)
        add(options[k], node.preemptions, node.deaths, node.throws, node.stales)
      return options[0]
    }
    if (node.preemptions < bounds.preemptions && mayDiffer)
      for (const option of options)
        add(option, node.preemptions + 1, node.deaths, node.throws, node.stales)
    return GO_ON
  }
}

/**
 * Chooses at random, or by priorities that change at a few random moments (PCT); notes what it
 * chose.
 */
class Walker {
  constructor(random, { deaths, throws, lengths, pct }) {
    this.random = random
    this.path = []
    this.deaths = deaths
    this.throws = throws
    this.pct = pct
    this.killAt = new Set()
    // Deaths and exceptions strike at one of the moments they could, each as likely; about as many
    // as executions before this one had.
    for (let k = 0; k < deaths; k++)
      if (random() < 0.7) this.killAt.add(Math.floor(random() * Math.max(lengths.kills, 4)))
    this.throwAt = new Set()
    for (let k = 0; k < throws; k++)
      if (random() < 0.8) this.throwAt.add(Math.floor(random() * Math.max(lengths.throws, 4)))
    this.kills = 0
    this.throwPoints = 0
    this.points = 0
    this.eager = random() < 0.3 ? 0.5 : 0.05 + 0.2 * random()
    this.priorities = []
    this.changes = new Set()
    for (let k = 1; k < 3; k++) this.changes.add(Math.floor(random() * Math.max(lengths.points, 8)))
    this.lowest = 0
  }

  #priority(id) {
    return (this.priorities[id] ??= 1 + this.random())
  }

  choose(run, thread, options, stale, extra = 0) {
    const usual = thread === null ? options[0] : GO_ON
    const choice = this.#pick(run, thread, options, stale, extra)
    if (choice !== usual) this.path.push({ at: run.steps, choice })
    return choice
  }

  #pick(run, thread, options, stale, extra) {
    if (extra === THROW) {
      if (!this.throwAt.has(this.throwPoints++) || run.throws >= this.throws) return GO_ON
      return THROW
    }
    if (extra === KILL && this.killAt.has(this.kills++) && run.deaths < this.deaths) return KILL
    if (stale > 0 && this.random() < 0.3) return STALE + 1 + Math.floor(this.random() * stale)
    if (options === null) return GO_ON
    this.points++
    if (!this.pct) {
      if (thread === null) return options[Math.floor(this.random() * options.length)]
      if (options.length === 0 || this.random() >= this.eager) return GO_ON
      return options[Math.floor(this.random() * options.length)]
    }
    if (thread !== null && this.changes.has(this.points)) this.priorities[thread.id] = --this.lowest
    let best = thread === null ? options[0] : GO_ON
    let highest = thread === null ? -Infinity : this.#priority(thread.id)
    for (const option of options) {
      if (option >= TIMEOUT && thread !== null) continue
      const priority = this.#priority(option % TIMEOUT)
      if (priority > highest) {
        best = option
        highest = priority
      }
    }
    return best
  }
}

/** Numbers from 0 to 1, the same for the same seed. */
export function seeded(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x9e3779b9) | 0
    let x = state
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
    return ((x ^ (x >>> 16)) >>> 0) / 2 ** 32
  }
}

export function nameOfSchedule(path) {
  return (
    path
      .map(
        ({ at, choice }) =>
          `${at}${choice === KILL ? 'k' : choice === THROW ? 'x' : choice >= STALE ? `v${choice - STALE}` : choice >= TIMEOUT ? `t${choice - TIMEOUT}` : `s${choice}`}`,
      )
      .join('.') || '-'
  )
}

export function parseSchedule(text) {
  if (text === '-') return []
  return text.split('.').map((part) => {
    const [, at, letter, number] = /^(\d+)([kxvts])(\d*)$/.exec(part) ?? []
    if (at === undefined) throw new Error(`no schedule: ${part} in ${text}`)
    const base = { k: KILL, x: THROW, v: STALE, t: TIMEOUT, s: 0 }[letter]
    return { at: Number(at), choice: base + Number(number) }
  })
}

const tally = () => ({
  executions: 0,
  pruned: 0,
  ends: new Set(),
  deaths: 0,
  exceptions: 0,
  timeouts: 0,
  failure: undefined,
  complete: false,
  preemptions: 0,
})

function count(result, { run, world }) {
  result.executions++
  if (run.aborted) result.pruned++
  else result.ends.add(world.endState())
  result.deaths += run.deaths
  result.exceptions += run.throws
  result.timeouts += run.timeouts
}

/**
 * All executions within the bounds, or as many as `ms` or `most` allow: `complete` says which.
 * Stops at the first failure. `reduces: false` leaves out the pruning by states.
 */
export function search(
  subject,
  {
    preemptions = 2,
    deaths = 1,
    throws = 0,
    stales = 1,
    together = Infinity,
    ms = Infinity,
    most = Infinity,
    statesMost = Infinity,
    reduces = true,
    byValue = true,
  } = {},
) {
  subject.use()
  const result = tally()
  const started = performance.now()
  // A short walk finds most of the words that threads share; should the search find another one, it
  // begins again.
  walk(subject, { count: 30, deaths, throws, seed: 1, into: tally() })
  do {
    subject.newPoints = false
    const users = subject.users.slice()
    const writers = subject.writers.slice()
    const isPoint = reduces
      ? (i, user, writes) => ((writes ? users[i] : writers[i]) & ~(1 << user)) !== 0
      : () => true
    const state = {
      bounds: { preemptions, deaths, throws, stales, together },
      states: new Map(),
      reduces,
      stack: [
        { parent: null, at: -1, choice: GO_ON, preemptions: 0, deaths: 0, throws: 0, stales: 0 },
      ],
    }
    const searcher = new Searcher(state)
    result.ends.clear()
    result.complete = true
    while (state.stack.length > 0) {
      if (
        result.executions >= most ||
        state.states.size >= statesMost ||
        ((result.executions & 15) === 0 && performance.now() - started > ms)
      ) {
        result.complete = false
        break
      }
      searcher.begin(state.stack.pop())
      const execution = subject.execute(searcher, { isPoint, byValue, killing: deaths > 0 })
      count(result, execution)
      if (execution.failure !== undefined) {
        result.complete = false
        result.failure = {
          kind: execution.failure.kind,
          message: execution.failure.message,
          schedule: nameOfSchedule(searcher.path),
        }
        return Object.assign(result, { ms: performance.now() - started })
      }
    }
    result.states = state.states.size
  } while (subject.newPoints && result.complete && reduces)
  return Object.assign(result, { ms: performance.now() - started })
}

/** So many random executions; every other one by PCT. */
export function walk(
  subject,
  { count: most = 1000, ms = Infinity, deaths = 1, throws = 0, seed = 1, into = tally() } = {},
) {
  subject.use()
  const result = into
  const started = performance.now()
  const lengths = { kills: 0, throws: 0, points: 0 }
  for (let k = 0; k < most; k++) {
    if ((k & 15) === 0 && performance.now() - started > ms) break
    const chooser = new Walker(seeded(Math.imul(seed, 0x9e3779b1) + k), {
      deaths,
      throws,
      lengths,
      pct: k % 2 === 1,
    })
    const execution = subject.execute(chooser, { isPoint: () => true, killing: deaths > 0 })
    count(result, execution)
    lengths.kills = Math.max(chooser.kills, lengths.kills)
    lengths.throws = Math.max(chooser.throwPoints, lengths.throws)
    lengths.points = Math.max(chooser.points, lengths.points)
    if (execution.failure !== undefined) {
      result.failure = {
        kind: execution.failure.kind,
        message: execution.failure.message,
        schedule: nameOfSchedule(chooser.path),
      }
      break
    }
  }
  return Object.assign(result, { ms: performance.now() - started })
}

/** One execution again, with its trace. */
export function replay(subject, schedule) {
  subject.use()
  const trace = []
  const follower = new Follower(parseSchedule(schedule))
  const { failure, run, world } = subject.execute(follower, {
    isPoint: () => true,
    trace,
    killing: true,
  })
  const lines = trace.map((entry) => describe(subject, entry))
  if (follower.taken < follower.path.length)
    lines.push(
      `(the schedule does not fit: ${follower.path.length - follower.taken} of its choices were never offered)`,
    )
  if (failure !== undefined) lines.push(`FAILS (${failure.kind}): ${failure.message}`)
  return { failure, lines, run, world }
}

function describe({ core, nameOf }, { thread, site, kind, i, value, a, b, now, text }) {
  const where = site === undefined || site < 0 ? '' : core.sites[site].at
  let what = text ?? ''
  if (kind !== undefined) {
    const word = nameOf(i)
    if (kind === 'read' || kind === 'load')
      what = `${kind} ${word} → ${value}${text === undefined ? '' : ` (${text})`}`
    else if (kind === 'write' || kind === 'store') what = `${kind} ${word} = ${a}`
    else if (kind === 'compareExchange')
      what = `${kind} ${word}: ${a} → ${b}: ${value === a ? 'done' : `it is ${value}`}`
    else if (kind === 'wait') what = `wait on ${word} while ${a}: ${value}`
    else if (kind === 'notify') what = `notify ${word}: ${value} woken`
    else what = `${kind} ${word} ${a}: ${value} → ${now}`
  }
  return `${thread.name.padEnd(12)} ${where.padEnd(34)} ${what}`
}

export { DEAD }
