/**
 * A game's main thread, 60 frames a second, that shows what other threads compute: keys are an
 * entity and a component, as two lanes. It takes an epoch a frame, never waits for one, and marks
 * what the player does where there is room.
 */
import { Worker } from 'node:worker_threads'
import { DirtyTracker } from 'dirtyring'
import { args, verdict } from '../programs/support.mjs'
import { exitOf, pick, randomFrom, sleep, within } from '../programs/threads.mjs'

const { onFull = 'reject', frames = 120, seed = 1 } = args
const FRAME_MS = 1000 / 60
const ENTITIES = 4000
const SYSTEMS = 2
/** Components 0 to SYSTEMS - 1 are a system's each, this one is the player's. */
const INPUT = SYSTEMS
const CELLS = (SYSTEMS + 1) * ENTITIES

// Before anything sleeps: who does so on this thread is counted.
let sleeps = 0
const { wait } = Atomics
Atomics.wait = (...params) => {
  sleeps++
  return wait(...params)
}

/** How often each cell was written; and of that, for the oracle, what is known to be published. */
const world = new Int32Array(new SharedArrayBuffer(CELLS * 4))
const published = new Int32Array(new SharedArrayBuffer(CELLS * 4))
const counts = new Int32Array(new SharedArrayBuffer(64))
const shown = new Int32Array(CELLS)

const tracker = await DirtyTracker.create({
  onFull,
  laneCapacity: 256,
  maxWriters: SYSTEMS + 1,
  maxKeysPerEpoch: CELLS,
})
const dirty = tracker.openWriter()

function show(epoch) {
  const lanes = timed('lanes', () => epoch.pairs)
  for (let i = 0; i < lanes.length; i += 2) {
    const [entity, component] = [lanes[i], lanes[i + 1]]
    const cell = component * ENTITIES + entity
    shown[cell] = Atomics.load(world, cell)
    if (entity >= ENTITIES || component > INPUT || shown[cell] === 0) found.invented++
  }
  found.keys += lanes.length / 2
  timed('commit', () => epoch.commit())
}

/** What the player does is not worth a wait: 'wait' would let this thread sleep. */
function press(entity) {
  if (timed('room', () => dirty.room) === 0) return
  Atomics.add(world, INPUT * ENTITIES + entity, 1)
  timed('mark', () => dirty.markPair(entity, INPUT))
  found.presses++
}

/** The epoch is shown when it is there: in this frame or in the next one. */
function frame() {
  for (let i = pick(random, 8); i > 0; i--) press(pick(random, ENTITIES))
  const due = published.slice()
  // advanceEpoch() publishes the writers of its own thread
  due.set(world.subarray(INPUT * ENTITIES), INPUT * ENTITIES)
  const sealed = timed('advanceEpoch', () => tracker.advanceEpoch({ onBusy: 'reject' }))
  return sealed.then(
    (epoch) => {
      show(epoch)
      found.frames++
      found.largest = Math.max(found.largest, epoch.size)
      if (!epoch.exact || due.some((version, cell) => shown[cell] < version)) found.behind++
    },
    (error) => {
      if (error.code !== 'ERR_DIRTYRING_NO_EPOCH_SLOT') throw error
      found.skipped++ // too many are on their way: the next frame has its keys
    },
  )
}

// -------------------------------------------------------------------------------------- the oracle
const found = { frames: 0, skipped: 0, keys: 0, largest: 0, presses: 0, invented: 0, behind: 0 }
const longestMs = {}

function timed(name, call) {
  const started = performance.now()
  const result = call()
  longestMs[name] = Math.max(longestMs[name] ?? 0, performance.now() - started)
  return result
}

// ---------------------------------------------------------------------------------------------- go
const random = randomFrom(seed)
const workers = Array.from({ length: SYSTEMS }, (_, system) => {
  const workerData = {
    handle: tracker.handle,
    world,
    published,
    counts,
    system,
    entities: ENTITIES,
    frameMs: FRAME_MS,
    seed,
  }
  return new Worker(new URL('game-loop-system.mjs', import.meta.url), { workerData })
})
const exits = workers.map((worker) => exitOf(worker))

const shows = []
for (
  let next = performance.now();
  shows.length < frames;
  next = Math.max(next + FRAME_MS, performance.now())
) {
  shows.push(frame())
  await sleep(next + FRAME_MS - performance.now())
}
await Promise.all(shows)
Atomics.store(counts, 0, 1)
const exitCodes = await Promise.all(exits)
const { writers } = tracker.stats()
show(await within(tracker.stop(), 'stop()'))

verdict({
  ticks: found.frames + found.skipped,
  ...found,
  different: shown.filter((version, cell) => version !== world[cell]).length,
  bursts: counts[1],
  refused: counts[2],
  waits: writers.reduce((sum, writer) => sum + (writer.id === dirty.id ? 0 : writer.waits), 0),
  sleeps,
  longestMs,
  unsettled: tracker.stats().unsettled.length,
  exitCodes,
})
