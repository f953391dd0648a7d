/** Schedules of the model checker, on real threads; and the same with faults on the real side. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { CORE, loadCore } from '../../check/instrument.mjs'
import { faulty, lockstep } from '../../check/lockstep.mjs'
import { scenarios } from '../../check/scenarios.mjs'
import { args, verdict } from './support.mjs'

const core = await loadCore()
const modules = [...CORE, 'memory/map', 'memory/memory', 'set/mix'].filter((name) =>
  existsSync(join(core.folder, `${name}.js`)),
)
const named = (name) => scenarios.find((scenario) => scenario.name === name)
const results = []
for (const { name, ...options } of args.runs ?? [])
  results.push(await lockstep(core, modules, named(name), options))
const faults = []
for (const { name, ...options } of args.faults ?? [])
  faults.push(...(await faulty(core, modules, named(name), options)))
verdict({ results, faults })
