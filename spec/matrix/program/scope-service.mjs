/** Runs in a ServiceWorker: it has shared memory of its own, no workers, and may not sleep. */
import { DirtyTracker, runtimeSupport } from 'dirtyring'

const options = { maxWriters: 4, laneCapacity: 8, capacity: 8, flushIntervalMs: 0 }
const codeOf = (error) => error.code ?? String(error)

async function run() {
  const { sharedMemory } = runtimeSupport()
  if (!sharedMemory) {
    const error = await DirtyTracker.create(options).catch((thrown) => thrown)
    return { sharedMemory, code: error.code, message: error.message }
  }
  const inline = await DirtyTracker.create({ ...options, aggregator: 'inline' })
  const writer = inline.openWriter()
  for (const id of [1, 2, 3]) writer.mark(id)
  const ids = await inline.consume((epoch) => [...epoch.ids()])
  await inline.stop()

  const none = await DirtyTracker.create({ ...options, aggregator: 'none' })
  const other = none.openWriter()
  let stored = 0
  let full = 'none'
  try {
    while (stored < 100 && other.mark(stored)) stored++
  } catch (error) {
    full = codeOf(error)
  }
  await none.stop({ graceMs: 0 })
  const worker = await DirtyTracker.create(options).then(() => 'none', codeOf)
  return { sharedMemory, canBlock: runtimeSupport().canBlock, ids, stored, full, worker }
}

addEventListener('install', () => skipWaiting())
addEventListener('activate', (event) => event.waitUntil(clients.claim()))
addEventListener('message', (event) => {
  event.waitUntil(
    run()
      .catch((error) => ({ error: String(error?.stack ?? error) }))
      .then((result) => event.ports[0].postMessage(result)),
  )
})
