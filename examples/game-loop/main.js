/**
 * A game's server. Systems run in threads of their own and change entities in shared memory. Each
 * tick sends the values that changed since the tick before, and no others. In the end the client
 * must have the same world as the server.
 */
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { DirtyTracker } from 'dirtyring'
import { createWorld, VALUES } from './world.js'

const { values } = parseArgs({ options: { ticks: { type: 'string', default: '100' } } })
const TICKS = Number(values.ticks)
const ENTITIES = 10_000
const TICK_MS = 50

const world = createWorld(ENTITIES)
const tracker = await DirtyTracker.create()

// ------------------------------------------------------------------------------------ the systems
const isOver = new Int32Array(new SharedArrayBuffer(4))
const systems = ['movement', 'combat'].map((system) => {
  const workerData = { handle: tracker.handle, world, isOver, system }
  return new Worker(new URL('systems.js', import.meta.url), { workerData })
})

await Promise.all(systems.map((system) => once(system, 'message'))) // each is ready

async function end() {
  Atomics.store(isOver, 0, 1)
  await Promise.all(systems.map((system) => once(system, 'exit')))
  await tracker.stop() // the loop below gets one more epoch, the last one
}

// --------------------------------------------------------------------------------- the replication
/** A message has three words for each value that changed: its entity, which value, and the value. */
function changes(epoch) {
  const message = new Int32Array(3 * epoch.size)
  epoch.forEachPair((entity, value, index) => {
    message.set([entity, value, Atomics.load(world, VALUES * entity + value)], 3 * index)
  })
  return message
}

/** The same message for all values: for a client that joins, and for an epoch that is not exact. */
function everything() {
  const message = new Int32Array(3 * world.length)
  for (let i = 0; i < world.length; i++) {
    message.set([Math.floor(i / VALUES), i % VALUES, Atomics.load(world, i)], 3 * i)
  }
  return message
}

/** A client knows only what it was sent. */
const client = {
  world: new Int32Array(world.length),
  receive(message) {
    for (let i = 0; i < message.length; i += 3) {
      this.world[VALUES * message[i] + message[i + 1]] = message[i + 2]
    }
  },
}

// --------------------------------------------------------------------------------------- the ticks
const sent = { ticks: 0, values: 0, bytes: 0, largest: 0 }

function send(message) {
  client.receive(message)
  sent.bytes += message.byteLength
}

send(everything())
const joined = sent.bytes
for await (const epoch of tracker.epochs({ everyMs: TICK_MS, skipEmpty: false })) {
  send(epoch.exact ? changes(epoch) : everything())
  epoch.commit()
  sent.values += epoch.size
  sent.largest = Math.max(sent.largest, epoch.size)
  if (++sent.ticks === TICKS) void end()
}

const different = world.filter((value, i) => value !== client.world[i]).length
const kilobytes = (bytes) => `${(bytes / 1000).toFixed(1)} kB`
console.log(`ticks          ${sent.ticks}, one each ${TICK_MS} ms`)
console.log(`world          ${ENTITIES} entities, ${world.length} values`)
console.log(
  `changed        ${Math.round(sent.values / sent.ticks)} values a tick, at most ${sent.largest}`,
)
console.log(`sent           ${kilobytes((sent.bytes - joined) / sent.ticks)} a tick`)
console.log(`a full copy    ${kilobytes(4 * world.length)} a tick`)
console.log(different === 0 ? 'the client equals the server' : `${different} values differ`)
process.exitCode = different === 0 ? 0 : 1
