/**
 * Starts a process with named consumers again and again on the same files, and kills it with
 * SIGKILL at any instant. It knows of each consumer whether its next epoch has to be fresh. In the
 * end each copy has to equal the store.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { args, verdict } from '../programs/support.mjs'
import { pick, randomFrom, within } from '../programs/threads.mjs'
import { Copy, fill, openDatabase } from './consumers-store.mjs'

const {
  seed = 1,
  /** Lives of the process, besides the last one. */
  lives = 20,
  /** Whether it saves its state: then about half of the lives end well. */
  keeps = false,
  position = 'clock',
  /** Wrong: 'again' leaves the state file where it is, so that it is found after a crash, too. */
  loads = 'once',
  rows = 600,
  maxKeysPerEpoch = keeps ? 200 : 4096,
  lifeMs = 120,
} = args
/** Where a process kills itself. 'any': this one kills it, at any instant. */
const DEATHS = ['any', 'any', 'any', 'copying', 'copied', 'copied', 'committed']
const DEATHS_OF_STATE = ['copied', 'loaded', 'stopped', 'any']
let crashes = 0

const began = performance.now()
const random = randomFrom(seed)
const folder = mkdtempSync(join(tmpdir(), 'dirtyring-'))
const path = join(folder, 'store.db')
{
  const store = openDatabase(path)
  fill(store, rows)
  store.close()
}
const found = {
  kills: 0,
  deaths: {},
  clean: 0,
  epochs: 0,
  fresh: 0,
  exact: 0,
  superset: 0,
  copied: 0,
  behind: 0,
  resumed: 0,
  keptUnopened: 0,
  left: 0,
  transactions: 0,
}
const isRight = position === 'clock' && loads === 'once'
const errors = []
const blame = (what) => errors.length < 20 && errors.push(what)

/** The consumers of the saved state: each has committed an epoch since the last crash. */
const known = new Set()
/** Of those, how many clean restarts lie behind it in which it was not opened. */
const unopened = new Map()
/** Whether the life before ended well, with its state saved. */
let endedWell = false

function readLife(number, lines, died) {
  const opened = new Set()
  const ended = lines.some((line) => line.ended)
  for (const line of lines) {
    if (isRight && line.loaded !== undefined && line.loaded !== (keeps && endedWell))
      blame(`life ${number}: a state was ${line.loaded ? '' : 'not '}loaded`)
    if (line.opened !== undefined) {
      opened.add(line.opened)
      if (known.has(line.opened)) found.resumed++
      if (known.has(line.opened) && (unopened.get(line.opened) ?? 0) >= 2) found.keptUnopened++
    }
    if (line.copied !== undefined) {
      found.epochs++
      found.copied += line.taken
      found.behind += line.behind
      if (line.behind > 0) blame(`life ${number}: ${line.copied} is ${line.behind} rows behind`)
      const isFresh = line.reason === 'fresh'
      if (isFresh) found.fresh++
      else if (line.precision in found) found[line.precision]++
      else blame(`life ${number}: ${line.copied} has ${line.precision} by ${line.reason}`)
      if (isFresh === known.has(line.copied) && isRight)
        blame(`life ${number}: an epoch of ${line.copied} is ${isFresh ? '' : 'not '}fresh`)
    }
    if (line.committed !== undefined) known.add(line.committed)
    if (line.left !== undefined) found.left++
    if (line.ended) found.transactions += line.transactions
  }
  for (const name of known) unopened.set(name, opened.has(name) ? 0 : (unopened.get(name) ?? 0) + 1)
  endedWell = ended
  if (died) found.kills++
  if (!ended || !keeps) known.clear()
  else found.clean++
}

/** One life, from its start to its end or death. */
async function live(number, { death, opens, isLast = false }) {
  const place = death === 'any' ? undefined : death
  const pass =
    death === 'loaded' || death === 'stopped' || death === 'saved' ? 1 : 1 + pick(random, 8)
  const life = {
    folder,
    seed: seed * 1000 + number,
    rows,
    maxKeysPerEpoch,
    keeps,
    position,
    loads,
    opens,
    runMs: place === undefined || pass === 1 ? lifeMs : 20 * lifeMs,
    place,
    pass,
    isLast,
  }
  const script = fileURLToPath(new URL('consumers-process.mjs', import.meta.url))
  const child = spawn(process.execPath, [script, JSON.stringify(life)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines = []
  let timer
  createInterface({ input: child.stdout }).on('line', (text) => {
    lines.push(JSON.parse(text))
    if (lines.at(-1).writing && death === 'any')
      timer = setTimeout(() => child.kill('SIGKILL'), random() * lifeMs)
  })
  const [code, signal] = await within(
    new Promise((resolve) => child.on('close', (...ended) => resolve(ended))),
    `the end of life ${number}`,
    60_000,
  )
  clearTimeout(timer)
  const died = signal === 'SIGKILL'
  if (!died && code !== 0) blame(`life ${number} ended with ${signal ?? code}`)
  if (died !== (death !== undefined) && death !== 'any') blame(`life ${number}: no ${death}`)
  if (died) found.deaths[death] = (found.deaths[death] ?? 0) + 1
  readLife(number, lines, died)
}

// ---------------------------------------------------------------------------------------------- go
const paces = { checkpoint: 15, index: 40, archive: 25 }
const all = keeps ? paces : { checkpoint: paces.checkpoint }

/** What becomes of a life, drawn; the first ones are such that each case is there. */
function draw(number) {
  if (!keeps) return { death: DEATHS[number % DEATHS.length], opens: all }
  const opens = { ...paces }
  // The archive is not opened in two lives that end well, and in one that crashes.
  if ([1, 2, 5].includes(number % 7)) delete opens.archive
  else if (random() < 0.3) delete opens.index
  if (number % 7 >= 5) return { death: DEATHS_OF_STATE[crashes++ % 4], opens }
  return { death: number % 7 === 4 ? 'saved' : undefined, opens }
}

for (let number = 0; number < lives; number++) await live(number, draw(number))
await live(lives, { death: undefined, opens: all, isLast: true })

const store = openDatabase(path)
const differing = {}
for (const name of Object.keys(all)) {
  const copy = new Copy(join(folder, `${name}.db`), store)
  differing[name] = copy.differing
  copy.close()
}
verdict({
  seed,
  ...found,
  differing,
  ms: Math.round(performance.now() - began),
  errors,
})
store.close()
rmSync(folder, { recursive: true })
