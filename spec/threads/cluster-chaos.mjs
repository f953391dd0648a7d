/**
 * Processes of a cluster are killed at random moments and at chosen places, and readers as well. If
 * the engine is a server, it is killed too, frozen, cut off, trimmed, deleted, and loses its tail:
 *
 *   npm run cluster:chaos -- [--ipc | --nats | --redis, default all of them, one after another]
 *                            [minutes for each, default 10] [first seed, default 1]
 *
 * Prints what died where, and what the readers were told. Ends with exit status 1 when a copy
 * differs from its store, or when the proof could not fail.
 */
import { run } from '../support/run.mjs'

/** Dead nodes are given up soon, so that there are exact epochs between two deaths. */
const reading = { silentMs: 400, goneMs: 1000, timeoutMs: 2000 }
const SERVERS = [
  { wellMs: 600, lifeMs: 1500, reading },
  { wellMs: 3000, lifeMs: 4000, reading },
  { wellMs: 200, lifeMs: 1500, everyMs: 1, reading },
]
const ENGINES = {
  '--ipc': [
    { serialization: 'json' },
    { serialization: 'advanced' },
    { serialization: 'json', isCluster: true },
    { serialization: 'advanced', isCluster: true, everyMs: 1 },
  ],
  '--nats': SERVERS,
  '--redis': SERVERS,
}
/** One run of the program. */
const RUN_MS = 60_000

const args = process.argv.slice(2)
const modes = args[0]?.startsWith('--') ? [args.shift()] : Object.keys(ENGINES)
const [minutes = '10', first = '1'] = args
const isKnown = modes.every((mode) => ENGINES[mode] !== undefined)
if (!isKnown || !(Number(minutes) > 0) || !Number.isInteger(Number(first))) {
  const names = Object.keys(ENGINES).join('|')
  console.error(`usage: npm run cluster:chaos -- [${names}] [minutes, above 0] [first seed]`)
  process.exit(2)
}
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

for (const mode of modes) {
  const forms = ENGINES[mode]
  const engine = mode.slice(2)
  const until = performance.now() + Number(minutes) * 60_000
  let seed = Number(first)
  do {
    const left = Math.max(3000, until - performance.now())
    const form = forms[(seed - Number(first)) % forms.length]
    await chaos({ seed, engine, ms: Math.min(RUN_MS, left), nodes: 4, ...form }, true)
    seed++
  } while (performance.now() < until)
  await chaos({ seed, engine, ms: 5000, ...forms[0], ignores: true }, false)
}

process.exitCode = failed ? 1 : 0
console.log(failed ? 'FAILED' : 'each copy equals its store')
