/**
 * What `npm test` does, one JSON line a scenario: small ones to their end, within bounds; of the
 * larger ones a seeded slice. Arguments: which part of how many.
 */
import { search, Subject, walk } from './explorer.mjs'
import { loadCore } from './instrument.mjs'
import { scenarios } from './scenarios.mjs'

const WALKS = 250

const [part = 0, parts = 1] = process.argv.slice(2).map(Number)
const core = await loadCore()
for (const [k, scenario] of scenarios.entries()) {
  if (k % parts !== part) continue
  const subject = new Subject(core, scenario)
  const throws = scenario.quick?.throws ?? scenario.throws ?? 0
  const bounds = { preemptions: 2, deaths: 1, throws, ...scenario.quick }
  const searched = scenario.quick === undefined ? undefined : search(subject, bounds)
  const walked =
    searched?.failure === undefined
      ? walk(subject, { count: WALKS, deaths: 2, throws, seed: 20 + k })
      : undefined
  const { executions = 0, ends, deaths = 0, complete = false, ms = 0 } = searched ?? {}
  const line = {
    name: scenario.name,
    complete,
    bounds: searched === undefined ? undefined : bounds,
    executions: executions + (walked?.executions ?? 0),
    walks: walked?.executions,
    ends: Math.max(ends?.size ?? 0, walked?.ends.size ?? 0),
    deaths: deaths + (walked?.deaths ?? 0),
    ms: Math.round(ms + (walked?.ms ?? 0)),
    known: scenario.known,
    failure: searched?.failure ?? walked?.failure,
  }
  console.log(JSON.stringify(line))
}
