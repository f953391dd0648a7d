import { once } from 'node:events'
import { createServer } from 'node:http'
import { Worker } from 'node:worker_threads'
import { DirtyTracker } from 'dirtyring'

/** Starts a thread, and resolves once it has written its rows and has ended. */
function write(handle, first) {
  const workerData = { handle, first }
  return once(new Worker(new URL('./server-writer.js', import.meta.url), { workerData }), 'exit')
}

async function main() {
  const tracker = await DirtyTracker.create()
  await Promise.all([write(tracker.handle, 0), write(tracker.handle, 500)])

  // Answers each request with the rows that were written since the request before.
  const server = createServer(async (request, response) => {
    const rows = await tracker.consume((epoch) => [...epoch.ids()])
    response.end(JSON.stringify(rows))
  })
  server.listen(Number(process.env.PORT), '127.0.0.1')
}

main()
