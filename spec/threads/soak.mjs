/**
 * The programs of the specs, with larger numbers, other seeds and other geometries, for as long as
 * you like:
 *
 *   npm run soak -- [minutes, default 10] [first seed, default: drawn]
 *
 * Prints a line for each run; ends with exit status 1 at the first run that found something, and
 * says how to repeat it.
 */
import { run } from '../support/run.mjs'
import { pick, randomFrom } from './programs/threads.mjs'

const minutes = Number(process.argv[2] ?? 10)
const firstSeed = Number(process.argv[3] ?? Math.floor(Math.random() * 2 ** 30))
if (!(minutes > 0) || !Number.isInteger(firstSeed)) {
  console.error('usage: npm run soak -- [minutes] [first seed]')
  process.exit(2)
}

function load(seed) {
  const random = randomFrom(seed)
  const powerOfTwo = (from, to) => 2 ** (from + pick(random, to - from + 1))
  const laneCapacity = powerOfTwo(random() < 0.2 ? 0 : 5, 14)
  const options = {
    capacity: powerOfTwo(1, random() < 0.5 ? 3 : 10),
    laneCapacity,
    batchSize: 1 + pick(random, Math.min(128, laneCapacity)),
    flushIntervalMs: pick(random, 3) * 5,
  }
  const start =
    random() < 0.5
      ? {}
      : {
          position: 2 ** 30 - pick(random, 10_000),
          laneEnd: 2 ** 31 - pick(random, 100_000),
          generation: 8100,
        }
  const what = random()
  if (what < 0.5) {
    const more = { onFull: random() < 0.5 ? 'wait' : 'reject', epochSlots: 2 + pick(random, 6) }
    const marks = laneCapacity <= 32 ? 500_000 : 10_000_000
    return [
      'stress',
      {
        seed,
        marks,
        epochs: 500,
        writers: 2 + pick(random, 5),
        options: { ...options, ...more },
        start,
      },
    ]
  }
  if (what < 0.6)
    return [
      'chaos',
      { seed, writers: 200, aggregators: 30, options: { capacity: options.capacity } },
    ]
  if (what < 0.65) return ['../apps/sqlite-backup', { seed, kills: 100 }]
  if (what < 0.8) {
    const group = random() < 0.5 ? 0 : 1 + pick(random, Math.min(200, laneCapacity))
    return ['kill-writers', { seed, kills: 200, options, start, group }]
  }
  return [
    'kill-aggregator',
    {
      seed,
      kills: 150,
      stops: 20,
      options: { capacity: options.capacity, batchSize: Math.min(options.batchSize, 64) },
      start,
    },
  ]
}

const until = performance.now() + minutes * 60_000
const totals = { runs: 0, marked: 0, kills: 0 }
for (let seed = firstSeed; performance.now() < until; seed++) {
  const [program, args] = load(seed)
  const {
    errors,
    missing = 0,
    marked = 0,
    kills = 0,
    writers = 0,
    aggregators = 0,
    inFlight = '',
    ms = 0,
  } = await run(program, args)
  if (missing > 0) errors.push(`${missing} rows are missing in the copy`)
  totals.runs++
  totals.marked += marked
  const killed = kills + writers + aggregators
  totals.kills += killed
  console.log(
    `${seed} ${program} ${JSON.stringify(args.options ?? {})} marked ${marked}, killed ${killed}${inFlight ? `, with work in flight ${inFlight}` : ''}, ${ms} ms`,
  )
  if (errors.length > 0) {
    console.error(errors.join('\n'))
    console.error(`again: node spec/threads/programs/${program}.mjs '${JSON.stringify(args)}'`)
    process.exit(1)
  }
}
console.log(
  `${totals.runs} runs, ${totals.marked} keys marked, ${totals.kills} threads killed: nothing lost, nothing invented. First seed ${firstSeed}`,
)
