/**
 * A web cache of rendered pages in front of a store. Workers write to the store; the server's
 * thread drops the pages that have changed, and tells the clients of them by server-sent events.
 * How the keys come from the workers to the server is the part that can be chosen, `kind`:
 * web-cache-KIND.mjs has
 *
 * - create(options): the changes, on the server's thread. The server calls their `listen`, if there
 *   is one, with each worker, and gives the worker their `handle`, if there is one;
 * - receive(changes, everyMs, drop): calls `drop` with the keys that have changed, or with
 *   undefined when any page may have;
 * - stop(changes): when all workers have ended, so that what is left is dropped;
 * - open({ handle }, everyMs), on a worker's thread: { mark(key), batch(use), close() }.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import { Worker } from 'node:worker_threads'
import { Histogram } from '../../../perf/harness/histogram.js'
import { exitOf, sleep, until } from '../programs/threads.mjs'
import { createStore, milliseconds, rowOf } from './web-cache-store.mjs'

/**
 * - rate: writes a second of all workers; 0: as fast as they go.
 * - fresh: the share of writes that are new rows.
 * - shows: how many rows have a page that each client shows.
 * - killEveryMs: how often a worker is terminated and another one started; 0: never.
 * - forget: rows with a number that it divides are written and not marked; 0: none.
 * - options: of the tracker.
 */
export async function runWebCache({
  kind,
  writers = 2,
  clients = 2,
  rate = 4000,
  seconds = 3,
  warmSeconds = 0,
  everyMs = 20,
  pages = 20_000,
  room = 2 ** 22,
  fresh = 0.1,
  shows = 200,
  killEveryMs = 0,
  forget = 0,
  options = {},
}) {
  const way = await import(`./web-cache-${kind}.mjs`)
  const store = createStore(room, pages)
  const changes = await way.create(options)

  // ------------------------------------------------------------------------------------ the server
  const cache = new Map()
  const listeners = new Set()

  function read(key) {
    let version = cache.get(key)
    if (version === undefined) {
      version = Atomics.load(store.versions, rowOf(key))
      cache.set(key, version)
    }
    return version
  }

  function drop(keys) {
    const dropped = []
    if (keys === undefined) cache.clear()
    else
      for (const key of keys) {
        cache.delete(key)
        dropped.push(key)
      }
    const event = `data: ${JSON.stringify(keys === undefined ? 'everything' : dropped)}\n\n`
    for (const listener of listeners) listener.write(event)
  }

  // The server's thread can be behind for seconds: no connection ends because of that.
  const server = createServer(
    { keepAliveTimeout: 0, requestTimeout: 0 },
    async (request, response) => {
      if (request.url === '/pages') {
        response.end(JSON.stringify(JSON.parse(await text(request)).map(read)))
      } else {
        response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
        listeners.add(response)
      }
    },
  )

  // ----------------------------------------------------------------------------------- the threads
  const threads = new Set()
  let [started, terminations] = [0, 0]

  function start(script, workerData) {
    const thread = new Worker(new URL(script, import.meta.url), {
      workerData: { shared: store.shared, ...workerData },
    })
    thread.on('error', (error) => {
      throw error
    })
    threads.add(thread)
    void exitOf(thread).then(() => threads.delete(thread))
    return thread
  }

  async function startWriter() {
    const own = { rate: rate / writers, seed: ++started }
    const { handle } = changes
    const worker = start('web-cache-worker.mjs', { kind, handle, everyMs, fresh, forget, ...own })
    await once(worker, 'message')
    changes.listen?.(worker)
    return worker
  }

  /** Terminates a worker in the middle of its work, and lets another one take its place. */
  async function replaceOne(workers) {
    const i = terminations++ % writers
    const [successor] = await Promise.all([startWriter(), workers[i].terminate()])
    workers[i] = successor
    successor.postMessage('go')
  }

  async function startClient() {
    const client = start('web-cache-client.mjs', { port: server.address().port, shows })
    await once(client, 'message')
    return client
  }

  try {
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const received = way.receive(changes, everyMs, drop)
    const listening = await Promise.all(Array.from({ length: clients }, startClient))
    const workers = await Promise.all(Array.from({ length: writers }, startWriter))
    for (const worker of workers) worker.postMessage('go')
    await sleep(warmSeconds * 1000)
    const began = store.timeFromNow()
    const utilization = performance.eventLoopUtilization()
    const before = store.writes()
    const cpuBefore = process.cpuUsage()
    while (milliseconds() < began + seconds * 1000) {
      const left = began + seconds * 1000 - milliseconds()
      if (killEveryMs === 0 || left < killEveryMs) await sleep(left)
      else {
        await sleep(killEveryMs)
        await replaceOne(workers)
      }
    }
    store.end()
    await until(() => threads.size === clients, 'the end of the workers', 200_000)
    await way.stop(changes)
    await received
    const { user, system } = process.cpuUsage(cpuBefore)
    const mainShare = performance.eventLoopUtilization(utilization).utilization
    const reports = listening.map((client) => once(client, 'message'))
    for (const listener of listeners) listener.end()
    const found = (await Promise.all(reports)).flat()
    const ms = Math.max(...found.map(({ endedAt }) => endedAt)) - began
    const sum = (name) => found.reduce((total, one) => total + one[name], 0)
    return {
      ms,
      writes: store.writes() - before,
      rows: found[0].rows,
      mainShare,
      cpuSeconds: (user + system) / 1e6,
      terminations,
      pages: sum('pages'),
      events: sum('events'),
      keys: sum('keys'),
      everything: sum('everything'),
      missed: sum('missed'),
      differences: sum('differences'),
      latencies: Histogram.merged(found.map(({ latencies }) => latencies)),
    }
  } finally {
    await Promise.all([...threads].map((thread) => thread.terminate()))
    server.close()
    server.closeAllConnections()
  }
}
