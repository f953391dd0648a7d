/**
 * Writers and aggregators die in every way a thread can, inside every public call, under eight
 * geometries and beside seven named consumers; a SQLite application is killed inside its
 * transactions; and processes with consumers are killed and started again:
 *
 *   npm run chaos -- [first seed, default 1] [part of the full form, default 1]
 *
 * Prints what died how and where. Ends with exit status 1 when a key was lost or invented, a row is
 * missing, or the proof could not fail.
 */
import { run } from '../support/run.mjs'

const seed = Number(process.argv[2] ?? 1)
const part = Number(process.argv[3] ?? 1)
if (!Number.isInteger(seed) || !(part > 0 && part <= 1)) {
  console.error('usage: npm run chaos -- [first seed] [part of the full form, above 0 to 1]')
  process.exit(2)
}
const [WRITERS, AGGREGATORS, KILLS, LIVES] = [2000, 500, 1000, 300].map((count) =>
  Math.ceil(count * part),
)

/** With so many a wrong order loses rows, also in a small part of the full form. */
const KILLS_OF_A_CONTROL = 20

const geometries = [
  {},
  { capacity: 2 },
  { capacity: 4, batchSize: 1 },
  { laneCapacity: 64, batchSize: 16 },
  { onFull: 'reject', laneCapacity: 64, batchSize: 16 },
  { onFull: 'reject', capacity: 2 },
  { flushIntervalMs: 0 },
  { kernel: 'js', epochSlots: 2 },
]
const geometriesOfConsumers = [{}, { capacity: 2 }, { kernel: 'js' }]

let failed = false
async function load(what, program, args) {
  const verdict = await run(program, args)
  const { errors, ms } = verdict
  console.log(`${what}: ${errors.length === 0 ? 'well' : 'FAILED'}, ${Math.round(ms / 1000)} s`)
  if (errors.length > 0) {
    failed = true
    console.error(errors.join('\n'))
    console.error(`again: node spec/threads/programs/${program}.mjs '${JSON.stringify(args)}'`)
  }
  return verdict
}

/** Adds the numbers of one record, at any depth, to those of another. */
function add(totals, record) {
  for (const [name, value] of Object.entries(record)) {
    if (typeof value === 'number') totals[name] = (totals[name] ?? 0) + value
    else if (typeof value === 'object') add((totals[name] ??= {}), value)
  }
  return totals
}

const totals = {}
for (const [i, options] of geometries.entries()) {
  const share = {
    writers: Math.ceil(WRITERS / geometries.length),
    aggregators: Math.ceil(AGGREGATORS / geometries.length),
  }
  const {
    seed: _,
    errors: __,
    ...counts
  } = await load(`threads, ${JSON.stringify(options)}`, 'chaos', {
    seed: seed + i,
    ...share,
    options,
  })
  add(totals, counts)
}
for (const [i, options] of geometriesOfConsumers.entries()) {
  const {
    seed: _,
    errors: __,
    consumers,
    ...counts
  } = await load(`threads and seven consumers, ${JSON.stringify(options)}`, 'chaos', {
    seed: seed + i,
    consumers: 7,
    writers: Math.ceil(WRITERS / geometries.length),
    aggregators: Math.ceil(AGGREGATORS / geometries.length),
    options,
  })
  console.table(consumers)
  add(totals, counts)
}
console.table(totals.deaths)
console.table({ aggregators: totals.aggregatorDeaths })
console.log(
  `${totals.writers} writers died, ${totals.inside} of them inside the call, and ${totals.aggregators} aggregators; ${totals.epochs} epochs, ` +
    `${totals.restored} more restored, ${totals.harvested} keys harvested; ${totals.promised} promised keys, ${totals.panics} failures contained`,
)

const right = await load('SQLite, marks staged before COMMIT', '../apps/sqlite-backup', {
  seed,
  kills: KILLS,
  synchronous: 'FULL',
})
const wrong = []
for (const order of ['after', 'before']) {
  wrong.push(
    await load(`SQLite, marks ${order} the transaction`, '../apps/sqlite-backup', {
      seed,
      kills: Math.max(KILLS_OF_A_CONTROL, Math.ceil(KILLS / 5)),
      order,
    }),
  )
}
console.table(
  [right, ...wrong].map(({ order, kills, inATransaction, transactions, rows, missing }) => ({
    order,
    kills,
    inATransaction,
    transactions,
    rows,
    missing,
  })),
)
if (right.missing !== 0) {
  failed = true
  console.error(`${right.missing} rows are missing`)
}
if (wrong.some(({ missing }) => missing === 0)) {
  failed = true
  console.error('a wrong order lost nothing: these runs prove nothing')
}

// ---------------------------------------------------------------------------- named consumers
/** An application with several consumers; `isRight`: whether each of its copies has to be equal. */
async function copies(what, program, args, isRight) {
  const verdict = await run(`../apps/${program}`, { seed, ...args })
  const { errors, differing = {}, behind, ms, ...counts } = verdict
  const isEqual =
    errors.length === 0 && behind === 0 && Object.values(differing).every((n) => n === 0)
  const isWell = isEqual === isRight && (isRight || behind > 0)
  console.log(`${what}: ${isWell ? 'well' : 'FAILED'}, ${Math.round(ms / 1000)} s`)
  console.log({ behind, differing, ...counts })
  if (isWell) return
  failed = true
  console.error(isRight ? errors.join('\n') : 'a wrong form lost nothing: this run proves nothing')
}
const downs = Math.ceil(10 * part)
await copies('three consumers of a store', 'consumers', { downs, kills: LIVES }, true)
await copies('SIGKILL', 'consumers-restarts', { lives: LIVES }, true)
await copies(
  'SIGKILL and clean restarts',
  'consumers-restarts',
  { lives: LIVES, keeps: true },
  true,
)
const lives = Math.max(6, Math.ceil(LIVES / 10))
await copies('three consumers, marks left out', 'consumers', { downs: 0, forgets: 0.05 }, false)
await copies('SIGKILL, no position', 'consumers-restarts', { lives, position: 'now' }, false)
const again = { lives, keeps: true, loads: 'again' }
await copies('SIGKILL, a state that is loaded twice', 'consumers-restarts', again, false)

process.exitCode = failed ? 1 : 0
console.log(failed ? 'FAILED' : 'nothing lost, nothing invented')
