/** One system: changes some entities at each of its steps, and marks what it changed. */
import { setTimeout as sleep } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { openWriter } from 'dirtyring'
import { HEALTH, SIZE, VALUES, X, Y } from './world.js'

const { handle, world, isOver, system } = workerData
const dirty = openWriter(handle)
const entities = world.length / VALUES
const anyEntity = () => Math.floor(entities * Math.random())

/** First the write, then the mark: then the tick that takes the mark finds the new value. */
function set(entity, which, value) {
  Atomics.store(world, VALUES * entity + which, value)
  dirty.markPair(entity, which)
}

const get = (entity, which) => Atomics.load(world, VALUES * entity + which)

/** The entities that walk now. From time to time one stops and another one sets off. */
const walking = Array.from({ length: entities / 50 }, anyEntity)

const steps = {
  movement() {
    walking[Math.floor(walking.length * Math.random())] = anyEntity()
    for (const entity of walking) {
      const direction = entity // any angle: each entity keeps its own
      set(entity, X, (get(entity, X) + Math.round(100 * Math.cos(direction)) + SIZE) % SIZE)
      set(entity, Y, (get(entity, Y) + Math.round(100 * Math.sin(direction)) + SIZE) % SIZE)
    }
  },
  combat() {
    for (let hits = 0; hits < 10; hits++) {
      const entity = anyEntity()
      const health = get(entity, HEALTH) - 25
      set(entity, HEALTH, health > 0 ? health : 100) // it dies, and starts again
    }
  },
}

parentPort.postMessage('ready')
while (Atomics.load(isOver, 0) === 0) {
  steps[system]()
  await sleep(1000 / 60)
}
