/** Checks of the checker, for spec/check/check.spec.ts: one line of JSON. */
import { replay, search, Subject } from './explorer.mjs'
import { CannotInstrument, instrument, loadCore } from './instrument.mjs'
import { mutants } from './mutants/list.mjs'
import { read, store } from './parts.mjs'
import { refusals } from './refusals.mjs'
import { scenarios } from './scenarios.mjs'

const findings = { refusals: [], reductions: [] }

for (const { why, source, line = 3, says, count = 1 } of refusals) {
  const text = `import type { SharedWords } from '../memory/map.js'\nimport type { Memory } from '../memory/memory.js'\n${source}\nexport type M = Memory | SharedWords\n`
  let problems = []
  try {
    instrument(new Map([['ring/fixture', text]]), ['ring/fixture'])
  } catch (error) {
    if (!(error instanceof CannotInstrument)) throw error
    problems = error.problems
  }
  const at = `lib/ring/fixture.ts:${line}: `
  const told = problems.filter((problem) => problem.startsWith(at) && problem.includes(says))
  findings.refusals.push({
    why,
    problems: told.length > 0 && problems.length <= count ? [told[0]] : problems,
    expected: at,
  })
}

const core = await loadCore()
const named = (name) => scenarios.find((each) => each.name === name)
/** @type {[name: string, bounds: import('./types.js').Bounds][]} */
const searched = [
  ['push: two producers, two slots, no consumer', { preemptions: 1, deaths: 1 }],
  ['push: two producers, two slots, no consumer', { preemptions: 2, deaths: 0 }],
  ['open: two writers claim one lane', { preemptions: 2, deaths: 1 }],
  ['parking: against a batch', { preemptions: 1, deaths: 1 }],
  ['lane: full, with waiting', { preemptions: 1, deaths: 0 }],
  ['stop: races a publish, one slot', { preemptions: 1, deaths: 0 }],
  ['ring: one slot, two producers that do not wait', { preemptions: 1, deaths: 0 }],
  ['dictionary: two threads add one key', { preemptions: 2, deaths: 1 }],
  ['dictionary: key() of every number races the adding of keys', { preemptions: 1, deaths: 0 }],
]
for (const [name, bounds] of searched) {
  const reduced = search(new Subject(core, named(name)), bounds)
  const byOrigin = search(new Subject(core, named(name)), { ...bounds, byValue: false })
  const unreduced = search(new Subject(core, named(name)), { ...bounds, reduces: false })
  const ends = ({ ends: all, failure, complete }) =>
    [...all, failure?.message ?? '', String(complete)].sort()
  findings.reductions.push({
    name,
    executions: [reduced, byOrigin, unreduced].map(({ executions }) => executions),
    reduced: ends(reduced),
    unreduced: ends(unreduced),
  })
  findings.reductions.push({
    name: `${name}, by origin`,
    reduced: ends(byOrigin),
    unreduced: ends(unreduced),
  })
}

const fault = mutants.find(
  ({ name }) => name === 'a slot is filled by a store, not by a compareExchange',
)
const broken = new Subject(await loadCore(fault.edits), named(fault.scenario))
const { failure } = search(broken)
const sound = replay(new Subject(core, named(fault.scenario)), '-')
findings.replay = {
  message: failure.message,
  again: replay(broken, failure.schedule).failure?.message,
  trace: sound.lines,
}

const quiet = { aggregator: false, cold: true, killWriters: false, memory: { maxWriters: 1 } }
const racing = {
  ...quiet,
  name: 'a race',
  threads: {
    *one(w) {
      yield* store(w.words, w.core.HEAD, 0)
    },
    *other(w) {
      yield* read(w.words, w.core.HEAD)
    },
  },
}
findings.race = search(new Subject(core, racing), { deaths: 0 }).failure ?? {}
const values = new Set()
const stale = {
  ...quiet,
  name: 'a listed race',
  threads: {
    *writes(w) {
      for (const value of [1, 2])
        yield* store(w.words, w.core.laneAt(w.layout, 0) + w.core.LANE_ATTN, value)
    },
    *reads(w) {
      values.add(yield* read(w.words, w.core.laneAt(w.layout, 0) + w.core.LANE_ATTN))
    },
  },
}
const seen = search(new Subject(core, stale), { preemptions: 0, deaths: 0 })
findings.stale = { values: [...values].sort(), failure: seen.failure }
console.log(JSON.stringify(findings))
