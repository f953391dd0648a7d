/**
 * Computes a component of some entities every frame, and now and then of all of them. What could
 * not be marked is marked in the next frame.
 */
import { workerData } from 'node:worker_threads'
import { openWriter } from 'dirtyring'
import { pick, randomFrom, sleep } from '../programs/threads.mjs'

const { handle, world, published, counts, system, entities, frameMs, seed } = workerData
const random = randomFrom(seed * 100 + system)
const dirty = openWriter(handle)

/** Entities that were written and are not marked yet. */
let unmarked = []

function step(changed) {
  for (const entity of changed) Atomics.add(world, system * entities + entity, 1)
  const marking = new Set([...unmarked, ...changed])
  unmarked = [...marking].filter((entity) => !dirty.markPair(entity, system))
  Atomics.add(counts, 2, unmarked.length)
  if (!dirty.flush()) return // a full ring: a later batch takes them along
  // For the oracle: what the next frame has to show.
  for (const entity of unmarked) marking.delete(entity)
  for (const entity of marking)
    Atomics.store(published, system * entities + entity, world[system * entities + entity])
}

const all = Array.from({ length: entities }, (_, entity) => entity)

for (let frame = 1; Atomics.load(counts, 0) === 0; frame++) {
  const isBurst = frame % 20 === 0
  if (isBurst) Atomics.add(counts, 1, 1)
  step(isBurst ? all : Array.from({ length: 200 }, () => pick(random, entities)))
  await sleep(frameMs)
}
while (unmarked.length > 0) {
  await dirty.waitForRoom()
  step([])
}
