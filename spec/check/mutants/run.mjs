/** Puts each fault into the source, and requires that its scenario finds it. */
import { replay, search, Subject, walk } from '../explorer.mjs'
import { CannotInstrument, loadCore } from '../instrument.mjs'
import { scenarios } from '../scenarios.mjs'
import { mutants } from './list.mjs'

/** How one fault fares: what found it, and how soon. */
export async function tryMutant(mutant, { ms = 20_000 } = {}) {
  const scenario = scenarios.find(({ name }) => name === mutant.scenario)
  if (scenario === undefined) throw new Error(`${mutant.name}: no scenario ${mutant.scenario}`)
  const started = performance.now()
  let core
  try {
    core = await loadCore(mutant.edits)
  } catch (error) {
    if (error instanceof CannotInstrument)
      throw new Error(`${mutant.name}: ${error.message}`, { cause: error })
    throw error
  }
  const subject = new Subject(core, scenario)
  const throws = mutant.with?.throws ?? scenario.quick?.throws ?? scenario.throws ?? 0
  const together = mutant.with === undefined ? scenario.quick?.together : mutant.with.together
  const bounds = { deaths: 1, ...scenario.quick, ...mutant.with, throws, together, ms }
  const searched = search(subject, bounds)
  let by = 'search'
  let { failure, executions } = searched
  if (failure === undefined && !searched.complete) {
    const walked = walk(subject, {
      count: 1e6,
      ms,
      deaths: mutant.with?.deaths ?? 1,
      throws,
      seed: 7,
    })
    failure = walked.failure
    executions += walked.executions
    by = 'walk'
  }
  const replayed = failure === undefined ? undefined : replay(subject, failure.schedule).failure
  return {
    name: mutant.name,
    scenario: scenario.name,
    by,
    failure,
    executions,
    replays: replayed?.message === failure?.message,
    ms: performance.now() - started,
  }
}

export { mutants }
