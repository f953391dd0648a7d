/**
 * String keys there and back: threads mark them, and the main thread reads them again, also those of
 * threads that were terminated in the middle of a mark.
 */
import { Worker } from 'node:worker_threads'
import { DirtyTracker } from 'dirtyring'
import { args, verdict } from '../programs/support.mjs'
import { exitOf, pick, randomFrom, sleep, until, within } from '../programs/threads.mjs'

const { terminations = 20, seed = 1 } = args
const WRITERS = 2

const tracker = await DirtyTracker.create({ keys: 'string', maxWriters: 2 * WRITERS })

/** Of each thread there was: how many keys it has marked, in calls that have returned. */
const marked = new Int32Array(new SharedArrayBuffer((terminations + WRITERS) * 4))
let started = 0

function start() {
  const writer = started++
  const workerData = { handle: tracker.handle, marked, writer }
  const worker = new Worker(new URL('text-keys-writer.mjs', import.meta.url), { workerData })
  return { worker, writer, exit: exitOf(worker) }
}

async function save() {
  await tracker.consume((epoch) => {
    found.epochs++
    const keys = new Set(epoch)
    found.twins += epoch.size - keys.size
    keys.forEach(check)
  })
}

// -------------------------------------------------------------------------------------- the oracle
const found = { epochs: 0, keys: 0, lost: 0, invented: 0, twins: 0 }
const seen = new Set()

function check(key) {
  if (seen.has(key)) return
  seen.add(key)
  found.keys++
  const [, writer, n] = /^user:(\d+):(\d+)$/.exec(key) ?? /^(shared):(\d+)$/.exec(key) ?? []
  // one more than it has said, at most
  const isMarked = writer === 'shared' ? Number(n) < 1000 : Number(n) <= marked[writer]
  if (!isMarked) found.invented++
}

// ---------------------------------------------------------------------------------------------- go
const random = randomFrom(seed)
const living = Array.from({ length: WRITERS }, start)
for (let i = 0; i < terminations; i++) {
  const victim = living.shift()
  await until(() => Atomics.load(marked, victim.writer) > 0, 'a mark')
  await sleep(pick(random, 5))
  await victim.worker.terminate()
  await victim.exit
  if (i < terminations - WRITERS + 1) living.push(start())
  await save()
}
await Promise.all(living.map(({ worker, exit }) => worker.terminate().then(() => exit)))
await within(tracker.drained(), 'drained()')
await save()
const last = await within(tracker.stop(), 'stop()')

for (let writer = 0; writer < started; writer++) {
  for (let n = 0; n < marked[writer]; n++) if (!seen.has(`user:${writer}:${n}`)) found.lost++
}
for (let n = 0; n < 1000; n++) if (!seen.has(`shared:${n}`)) found.lost++

verdict({
  ...found,
  started,
  terminations: started,
  marked: marked.reduce((sum, count) => sum + count, 0),
  harvested: tracker.stats().harvested,
  left: last.size,
  unsettled: tracker.stats().unsettled.length,
})
