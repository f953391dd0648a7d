/**
 * A checkpoint that a worker writes: the main thread cuts, posts the epoch's handle, and goes on.
 * It commits when the worker says that the rows are in the file. Some checkpoints fail, and some
 * the main thread gives up: then it restores, whatever the worker is at.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { DirtyTracker } from 'dirtyring'
import { args, verdict } from '../programs/support.mjs'
import { exitOf, pick, randomFrom, sleep, within } from '../programs/threads.mjs'

const { checkpoints = 150, order = 'commit when it is saved', seed = 1 } = args
const WRITERS = 2
const ROWS = 4000

const folder = mkdtempSync(join(tmpdir(), 'dirtyring-'))
const file = join(folder, 'checkpoint')
/** The store: of each row its version. */
const rows = new Int32Array(new SharedArrayBuffer(ROWS * 4))
const counts = new Int32Array(new SharedArrayBuffer(64))
const nameOf = (row) => `/rows/${row}`

const tracker = await DirtyTracker.create({
  epochSlots: 3,
  maxWriters: WRITERS + 1,
  keys: 'string',
})
const saver = new Worker(new URL('worker-checkpoint-saver.mjs', import.meta.url), {
  workerData: { file, rows },
})
const writers = Array.from({ length: WRITERS }, (_, writer) => {
  const workerData = { handle: tracker.handle, rows, counts, writer, seed }
  return new Worker(new URL('worker-checkpoint-writer.mjs', import.meta.url), { workerData })
})
const exits = [saver, ...writers].map((worker) => exitOf(worker))

/** What the worker answers to a handle. */
function save(epoch, atHalf = 'goes on') {
  saver.postMessage({ handle: epoch.handle, atHalf })
  return new Promise((resolve) => saver.once('message', resolve))
}

async function checkpoint(number) {
  const epoch = await tracker.advanceEpoch()
  const wanted = [...epoch.strings()]
  const isGivenUp = number % 5 === 3
  const answer = save(epoch, { 1: 'fails', 3: 'sleeps' }[number % 10])
  if (order === 'commit at once') epoch.commit()
  if (isGivenUp) {
    await sleep(pick(random, 3)) // a time limit
    await epoch.restore()
    found.givenUp++
  }
  const { outcome, saved } = await answer
  if (outcome === 'saved') epoch.commit()
  else await epoch.restore()
  found[outcome]++
  // What it has written is the epoch's, from the first key on.
  if (saved.some((key, i) => key !== wanted[i])) found.different++
  if (outcome === 'saved' && saved.length !== wanted.length) found.different++
}

// -------------------------------------------------------------------------------------- the oracle
const found = { saved: 0, failed: 0, givenUp: 0, settled: 0, different: 0, served: 0 }

/** Rows whose newest version is not in the file, and lines of rows that are none. */
function differences() {
  const newest = new Map()
  for (const line of readFileSync(file, 'utf8').split('\n').filter(Boolean)) {
    const [name, version] = line.split(' ')
    newest.set(name, Number(version))
  }
  let lost = 0
  for (let row = 0; row < ROWS; row++) {
    if (rows[row] !== (newest.get(nameOf(row)) ?? 0)) lost++
    newest.delete(nameOf(row))
  }
  return { lost, invented: newest.size }
}

// ---------------------------------------------------------------------------------------------- go
const random = randomFrom(seed)
const dirty = tracker.openWriter()
/** The main thread's own work, which no checkpoint holds up. */
const serving = setInterval(() => {
  const row = pick(random, ROWS)
  Atomics.add(rows, row, 1)
  dirty.mark(nameOf(row))
  found.served++
}, 1)

for (let number = 0; number < checkpoints; number++) {
  await sleep(pick(random, 20))
  await within(checkpoint(number), 'a checkpoint')
}
clearInterval(serving)
Atomics.store(counts, 0, 1)
await Promise.all(exits.slice(1))
const last = await within(
  tracker.stop({
    consume: async (epoch) => {
      const { outcome } = await save(epoch)
      if (outcome !== 'saved') throw new Error(`the last checkpoint ${outcome}`)
    },
  }),
  'stop()',
)
saver.postMessage(undefined)
const exitCodes = await Promise.all(exits)

verdict({
  ...found,
  ...differences(),
  checkpoints,
  writes: counts[1],
  unsettled: tracker.stats().unsettled.length,
  last: last.state,
  exitCodes,
})
rmSync(folder, { recursive: true })
