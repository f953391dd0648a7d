/**
 * node spec/check/replay.mjs "scenario" schedule ["mutant"]: one execution again, access by access.
 */
import { replay, Subject } from './explorer.mjs'
import { loadCore } from './instrument.mjs'
import { mutants } from './mutants/list.mjs'
import { scenarios } from './scenarios.mjs'

const [name, schedule = '-', fault] = process.argv.slice(2)
const scenario =
  scenarios.find((each) => each.name === name) ?? scenarios.find((each) => each.name.includes(name))
if (scenario === undefined)
  throw new Error(
    `no scenario ${name}; there are:\n${scenarios.map((each) => each.name).join('\n')}`,
  )
const core = await loadCore(
  fault === undefined ? [] : mutants.find((each) => each.name.includes(fault)).edits,
)
const { lines } = replay(new Subject(core, scenario), schedule)
console.log(lines.join('\n'))
