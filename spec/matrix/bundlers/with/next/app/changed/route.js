import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { DirtyTracker } from 'dirtyring'

export const dynamic = 'force-dynamic'

/** Starts a thread, and resolves once it has written its rows and has ended. */
function write(handle, first) {
  const workerData = { handle, first }
  return once(new Worker(new URL('./server-writer.js', import.meta.url), { workerData }), 'exit')
}

export async function GET() {
  const tracker = await DirtyTracker.create()
  await Promise.all([write(tracker.handle, 0), write(tracker.handle, 500)])
  const rows = await tracker.consume((epoch) => [...epoch.ids()])
  await tracker.stop()
  return Response.json(rows)
}
