/** Runs in a SharedWorker. */
import { DirtyTracker, runtimeSupport } from 'dirtyring'

async function run() {
  const { sharedMemory } = runtimeSupport()
  const result = { sharedMemory }
  try {
    const tracker = await DirtyTracker.create({ maxKeysPerEpoch: 1000 })
    const writer = tracker.openWriter()
    for (const id of [1, 2, 3]) writer.mark(id)
    const ids = await tracker.consume((epoch) => [...epoch.ids()])
    await tracker.stop()
    return { ...result, ids }
  } catch (error) {
    return { ...result, code: error.code, message: error.message }
  }
}

addEventListener('connect', async ({ ports }) => ports[0].postMessage(await run()))
