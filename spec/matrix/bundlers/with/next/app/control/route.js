import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

export const dynamic = 'force-dynamic'

/** Starts a thread, and resolves with the rows that it writes. */
async function write(first) {
  const workerData = { first }
  const [rows] = await once(
    new Worker(new URL('./server-writer.js', import.meta.url), { workerData }),
    'message',
  )
  return rows
}

export async function GET() {
  return Response.json([...new Set((await Promise.all([write(0), write(500)])).flat())])
}
