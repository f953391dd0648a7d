import { once } from 'node:events'
import { createServer } from 'node:http'
import { Worker } from 'node:worker_threads'

/** Starts a thread, and resolves with the rows that it writes. */
async function write(first) {
  const workerData = { first }
  const [rows] = await once(
    new Worker(new URL('./server-writer.js', import.meta.url), { workerData }),
    'message',
  )
  return rows
}

async function main() {
  const rows = new Set((await Promise.all([write(0), write(500)])).flat())
  const server = createServer((request, response) => response.end(JSON.stringify([...rows])))
  server.listen(Number(process.env.PORT), '127.0.0.1')
}

main()
