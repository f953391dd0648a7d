/**
 * Processes of a cluster are killed at random moments and at chosen places, and readers as well:
 *
 *   npm run cluster:chaos -- --ipc [minutes, default 10] [first seed, default 1]
 *
 * Prints what died where, and what the readers were told. Ends with exit status 1 when a copy
 * differs from its store, or when the proof could not fail.
 */
import { run } from '../support/run.mjs'

const ENGINES = {
  '--ipc': [
    { serialization: 'json' },
    { serialization: 'advanced' },
    { serialization: 'json', isCluster: true },
    { serialization: 'advanced', isCluster: true, everyMs: 1 },
  ],
}
/** One run of the program. */
const RUN_MS = 60_000

const [mode, minutes = '10', first = '1'] = process.argv.slice(2)
const forms = ENGINES[mode]
if (forms === undefined || !(Number(minutes) > 0) || !Number.isInteger(Number(first))) {
  const modes = Object.keys(ENGINES).join('|')
  console.error(`usage: npm run cluster:chaos -- ${modes} [minutes, above 0] [first seed]`)
  process.exit(2)
}
const engine = mode.slice(2)
const until = performance.now() + Number(minutes) * 60_000
let failed = false

async function chaos(args, isRight) {
  const { errors, differing, differingThere, here, there, ...counts } = await run(
    'cluster-chaos',
    args,
  )
  const isEqual = differing === 0 && differingThere === 0
  const isWell = errors.length === 0 && isEqual === isRight
  console.log(`${JSON.stringify(args)}: ${isWell ? 'well' : 'FAILED'}`)
  console.log({ differing, differingThere, ...counts, here, there })
  if (isWell) return
  failed = true
  console.error(isRight ? errors.join('\n') : 'a wrong reader lost nothing: this proves nothing')
  console.error(`again: node spec/threads/programs/cluster-chaos.mjs '${JSON.stringify(args)}'`)
}

let seed = Number(first)
do {
  const left = Math.max(3000, until - performance.now())
  const form = forms[(seed - Number(first)) % forms.length]
  await chaos({ seed, engine, ms: Math.min(RUN_MS, left), nodes: 4, ...form }, true)
  seed++
} while (performance.now() < until)
await chaos({ seed, engine, ms: 5000, ignores: true }, false)

process.exitCode = failed ? 1 : 0
console.log(failed ? 'FAILED' : 'each copy equals its store')
