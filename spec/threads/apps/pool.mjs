/**
 * A pool whose workers come and go, Piscina or Tinypool: each task marks through withWriter(), so a
 * finished task is a published task. Workers that are idle for long, or crash in a task, are
 * harvested without being asked for, and what they had is free for the next ones.
 */
import { DirtyTracker } from 'dirtyring'
import { Piscina } from 'piscina'
import { Tinypool } from 'tinypool'
import { args, verdict } from '../programs/support.mjs'
import { pick, randomFrom, sleep, until, within } from '../programs/threads.mjs'

const { pool: kind = 'piscina', rounds = 6, seed = 1 } = args
const THREADS = 3
/** An old worker may be on its way out while a new one begins. */
const MAX_WRITERS = 2 * THREADS
const KEYS_MAX = 2000
const TASKS_MAX = 10_000

const tracker = await DirtyTracker.create({ maxWriters: MAX_WRITERS, flushIntervalMs: 5 })
tracker.ref() // a pool lets the process end while it starts another worker
const Pool = kind === 'piscina' ? Piscina : Tinypool
const filename = new URL('pool-task.mjs', import.meta.url).href
// One at least: with none left after a crash, Tinypool starts none for the tasks in its queue.
const pool = new Pool({ filename, minThreads: 1, maxThreads: THREADS, idleTimeout: 20 })
pool.on('error', (error) => {
  if (!error.message.includes('crash')) throw error
})

/** Of each task: how many keys it has marked, in calls that have returned. */
const marked = new Int32Array(new SharedArrayBuffer(TASKS_MAX * 4))
let tasks = 0

function start(how, signal) {
  const task = tasks++
  const keys = 1 + pick(random, KEYS_MAX)
  const done = pool.run(
    { handle: tracker.handle, marked, task, first: task * KEYS_MAX, keys, how },
    { signal },
  )
  return { task, keys, how, done }
}

// -------------------------------------------------------------------------------------- the oracle
const found = {
  epochs: 0,
  keys: 0,
  finished: 0,
  failed: 0,
  terminated: 0,
  crashed: 0,
  lost: 0,
  late: 0,
  invented: 0,
}
const random = randomFrom(seed)
/** Of each task the keys that an epoch has brought. */
const seen = new Int32Array(TASKS_MAX)
/** Tasks that have finished, and so have to be whole after the next cut. */
let due = []
const all = []

async function cut() {
  const whole = due
  due = []
  await tracker.consume((epoch) => {
    for (const key of epoch.ids()) {
      const task = Math.floor(key / KEYS_MAX)
      seen[task]++
      // A task marks its keys in their order.
      if (task >= tasks || key % KEYS_MAX > marked[task]) found.invented++
    }
    found.epochs++
    found.keys += epoch.size
  })
  for (const { task, keys } of whole) if (seen[task] !== keys) found.late++
}

async function settle(run, controller) {
  if (run.how === 'endless') {
    await until(() => marked[run.task] > 0 || isOver.has(run), 'a mark')
    controller.abort()
  }
  try {
    await run.done
    found.finished++
    due.push(run)
  } catch (error) {
    if (run.how === 'endless' && error.name === 'AbortError') found.terminated++
    else if (run.how === 'throws' && error.message === 'as told') {
      found.failed++
      due.push({ ...run, keys: marked[run.task] }) // it was published, too
    } else if (run.how.startsWith('crash')) found.crashed++
    else throw error
  }
}

const isOver = new Set()

// ---------------------------------------------------------------------------------------------- go
const threads = new Set()
process.on('worker', (worker) => threads.add(worker.threadId))
const harvests = []
tracker.on('harvest', ({ keys }) => harvests.push(keys))

// A task of Tinypool's that ends its thread by process.exit() never settles.
const HOWS = [
  'returns',
  'returns',
  'returns',
  'resolves',
  'resolves',
  'throws',
  'endless',
  'crash',
  kind === 'piscina' ? 'crash by exit' : 'crash',
]
for (let round = 0; round < rounds; round++) {
  const runs = Array.from({ length: 10 }, () => {
    const how = HOWS[pick(random, HOWS.length)]
    const controller = new AbortController()
    const run = start(how, controller.signal)
    run.done.catch(() => undefined).finally(() => isOver.add(run))
    all.push(run)
    return settle(run, controller)
  })
  await Promise.all([...runs, cut()])
  await cut()
  if (round === 2) await sleep(100) // nothing to do: workers end
  if (round === 4 && kind === 'tinypool') await pool.recycleWorkers()
}

/**
 * What a timer can do for a task that forgets to flush: nothing, while its worker waits for the
 * next one.
 */
await pool.run({
  handle: tracker.handle,
  marked,
  task: tasks,
  first: tasks * KEYS_MAX,
  keys: 10,
  how: 'forgets',
})
all.push({ task: tasks++, keys: 10, how: 'forgets' })
await sleep(10)
const { staged } = tracker.stats()

await pool.destroy()
await within(tracker.drained(), 'drained()')
await cut()
await until(() => tracker.stats().writers.every(({ open }) => !open), 'all writers to be free')
const last = await within(tracker.stop(), 'stop()')
for (const { task } of all) if (seen[task] < marked[task]) found.lost += marked[task] - seen[task]

verdict({
  kind,
  ...found,
  tasks,
  threads: threads.size,
  writers: tracker.stats().writers.length,
  harvests: harvests.length,
  harvested: harvests.reduce((sum, keys) => sum + keys, 0),
  forgotten: staged,
  left: last.size,
  unsettled: tracker.stats().unsettled.length,
})
