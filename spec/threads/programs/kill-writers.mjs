/**
 * Writers are terminated while they mark as fast as they can, again and again. Each has said, after
 * every call that returned, how far it had come: all that must be handed out, and at most the one
 * call it was in besides.
 */
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { DirtyTracker, openWriter } from '../../../dist/index.js'
import { groupLanes, hiOf, Ledger } from './ledger.mjs'
import { args, verdict } from './support.mjs'
import { exitOf, pick, randomFrom, sleep, until, within } from './threads.mjs'

/**
 * Words of a worker: how many keys it has marked in calls that returned, its lane + 1, and whether
 * it may begin.
 */
const LINE = 32
const MARKED = 0
const LANE = 1
const BEGIN = 2

if (isMainThread) await main()
else mark(workerData)

function mark({ handle, marker, words, at, group, until: end }) {
  // The last word before it begins: opening a writer is not what is being killed here.
  Atomics.wait(words, at + BEGIN, 0)
  const writer = openWriter(handle)
  Atomics.store(words, at + LANE, writer.id + 1)
  let seq = 0
  // Without an end of its own, other than being forgotten.
  while (seq < end) {
    if (group === 0) writer.markPair(seq, hiOf(marker))
    else writer.markPairs(groupLanes(marker, seq, group))
    seq += group || 1
    words[at + MARKED] = seq
  }
  writer.flush()
  Atomics.wait(words, at + BEGIN, 1)
}

async function main() {
  const { seed = 1, kills = 50, options = {}, start = {}, group = 0, keysMax = 250_000 } = args
  const random = randomFrom(seed)
  const began = performance.now()
  const tracker = await DirtyTracker.createAt(
    { maxWriters: 3, maxKeysPerEpoch: 2 ** 20, ...options },
    start,
  )
  const ledger = new Ledger()
  const killsMax = kills * 3
  const words = new Int32Array(new SharedArrayBuffer((killsMax + 2) * LINE * 4))
  const spawn = (marker, end) => {
    const at = marker * LINE
    const data = { handle: tracker.handle, marker, words, at, group, until: end }
    const worker = new Worker(new URL(import.meta.url), { workerData: data })
    worker.on('error', (error) => ledger.errors.push(`worker ${marker}: ${error.stack}`))
    const exit = exitOf(worker, `the end of worker ${marker}`)
    return { worker, exit, marker, at, marked: () => Atomics.load(words, at + MARKED) }
  }
  const begin = async (victim) => {
    Atomics.store(words, victim.at + BEGIN, 1)
    Atomics.notify(words, victim.at + BEGIN)
    await until(() => victim.marked() > 0, `the first mark of worker ${victim.marker}`)
  }
  const harvest = async () => {
    const expected = ledger.expectation()
    const epoch = await within(tracker.advanceEpoch(), 'an epoch')
    ledger.handOut(epoch, expected)
    if (random() < 0.7) ledger.commit(epoch)
    else await within(ledger.restore(epoch), 'a restore')
  }

  // One writer lives through all of it, and is not held up by the dead.
  const survivor = spawn(killsMax + 1, keysMax)
  await begin(survivor)
  const found = { withStaged: 0, withPublished: 0, inACall: 0, inFlight: 0, idle: 0, harvested: 0 }
  /** Of each lane: keys delivered for the victims that had it. */
  const lanes = new Map()
  const victims = []
  let next = spawn(0, keysMax)
  const isDone = () => victims.length >= kills && found.inFlight >= kills * 0.8
  while (!isDone() && victims.length < killsMax) {
    const victim = next
    victims.push(victim)
    next = spawn(victims.length, keysMax)
    await begin(victim)
    if (random() < 0.5) for (const end = performance.now() + random(); performance.now() < end;);
    else await sleep(pick(random, 3))
    const harvestedBefore = tracker.stats().harvested
    const id = words[victim.at + LANE] - 1
    lanes.set(id, lanes.get(id) ?? 0)
    const concurrent = random() < 0.4 ? harvest() : undefined
    const { inFlight } = tracker.stats().writers.find((writer) => writer.id === id)
    const markedBefore = victim.marked()
    await within(victim.worker.terminate(), 'terminate()')
    await victim.exit
    await concurrent
    await within(tracker.drained(), 'drained()')
    const staged = tracker.stats().harvested - harvestedBefore
    const lane = tracker.stats().writers.find((writer) => writer.id === id)
    const stored = lane.delivered - lanes.get(id)
    lanes.set(id, lane.delivered)
    if (staged > 0) found.withStaged++
    if (inFlight > 0) found.withPublished++
    // A call that had stored its keys and did not return.
    if (stored > victim.marked()) found.inACall++
    if (staged > 0 || inFlight > 0 || stored > victim.marked() || victim.marked() > markedBefore)
      found.inFlight++
    else found.idle++
    found.harvested += staged
    if (stored < victim.marked() || stored > victim.marked() + (group || 1)) {
      ledger.errors.push(
        `worker ${victim.marker} marked ${victim.marked()} keys and was in one call more; its lane had ${stored}`,
      )
    }
    // Freed, so that the next one has a lane.
    if (lane.open) ledger.errors.push(`the lane of dead worker ${victim.marker} is still taken`)
    if (random() < 0.4) await harvest()
  }
  await within(next.worker.terminate(), 'terminate()') // it has not begun
  await next.exit
  await until(() => survivor.marked() >= keysMax, 'the survivor to have marked all')
  await within(survivor.worker.terminate(), 'terminate()')
  await survivor.exit
  await within(tracker.drained(), 'drained()')
  const stats = tracker.stats()
  const health = tracker.health()
  const last = await within(tracker.stop(), 'stop()')
  ledger.handOut(last)
  ledger.commit(last)
  let marked = 0
  for (const victim of [...victims, survivor]) {
    const known = victim.marked()
    const count = ledger.finish(
      victim.marker,
      known,
      Math.min(known + (group || 1), Math.ceil(keysMax / (group || 1)) * (group || 1)),
    )
    if (group !== 0 && count % group !== 0)
      ledger.errors.push(`worker ${victim.marker}: ${count} keys of batches of ${group}`)
    marked += count
  }
  const delivered = stats.writers.reduce((sum, writer) => sum + writer.delivered, 0)
  if (delivered !== marked)
    ledger.errors.push(`${delivered} delivered by the statistics, ${marked} marked`)

  verdict({
    seed,
    kills: victims.length,
    ...found,
    marked,
    lanes: lanes.size,
    /** All lanes were given back, the survivor's too. */
    closedAll: stats.writers.every(({ open }) => !open),
    healthy: health.panics === 0 && health.restarts === 0,
    ms: Math.round(performance.now() - began),
    errors: ledger.errors,
  })
}
