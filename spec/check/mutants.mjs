/**
 * npm run check:mutants: each seeded fault of the source, and the scenario that finds it. One
 * survivor fails it.
 */
import { mutants, tryMutant } from './mutants/run.mjs'

const wanted = process.argv[2] ?? ''
let survivors = 0
for (const mutant of mutants.filter(({ name }) => name.includes(wanted))) {
  const { scenario, by, failure, executions, replays, ms } = await tryMutant(mutant)
  const killed = failure !== undefined && replays
  if (!killed) survivors++
  console.log(
    `${killed ? 'killed  ' : 'SURVIVES'} ${mutant.model === true ? '[model] ' : ''}${mutant.name}`,
  )
  console.log(
    `         by "${scenario}", ${by}, after ${executions} executions, ${(ms / 1000).toFixed(1)} s${replays ? '' : ', AND ITS SCHEDULE DOES NOT REPLAY'}`,
  )
  if (failure !== undefined)
    console.log(`         ${failure.message.split('\n')[0]}  (${failure.schedule})`)
}
console.log(
  survivors === 0 ? `all ${mutants.length} killed` : `${survivors} of ${mutants.length} SURVIVE`,
)
process.exitCode = survivors === 0 ? 0 : 1
