/**
 * A server with a read cache in front of a store that other threads write to. Two caches answer the
 * same readers: dirtyring tells one of them which entries to drop, and the entries of the other one
 * have a time to live. The page shows which answers are out of date.
 */
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { DirtyTracker } from 'dirtyring'
import { Cache } from './cache.js'
import { createStore, getPrice, idOf } from './store.js'
import { Visitors } from './visitors.js'

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '8080' },
    ttl: { type: 'string', default: '3000' },
  },
})
const TTL_MS = Number(values.ttl)
const EPOCH_MS = 20
const PRODUCTS = 400
const IMPORTERS = 3

const store = createStore(PRODUCTS)

/** A slow query. */
async function load(key) {
  const price = getPrice(store, idOf(key))
  await sleep(3)
  return price
}

const caches = { ttl: new Cache(load, TTL_MS), dirtyring: new Cache(load) }

// --------------------------------- the threads that write, and the cache that drops what they wrote
const tracker = await DirtyTracker.create({ keys: 'string' })
const isPaused = new Int32Array(new SharedArrayBuffer(4))
for (let i = 0; i < IMPORTERS; i++) {
  const workerData = { handle: tracker.handle, store, isPaused }
  new Worker(new URL('importer.js', import.meta.url), { workerData })
}

async function dropWhatChanged() {
  for await (const epoch of tracker.epochs({ everyMs: EPOCH_MS })) {
    if (epoch.exact) for (const key of epoch) caches.dirtyring.drop(key)
    else caches.dirtyring.clear()
    epoch.commit()
  }
}
void dropWhatChanged()

// -------------------------------------------------------------------------------------- the server
const visitors = new Visitors(store, caches)
void visitors.visit()

const page = readFileSync(new URL('page.html', import.meta.url))
const openPages = new Set()
setInterval(() => {
  const report = { products: PRODUCTS, ttlMs: TTL_MS, epochMs: EPOCH_MS, ...visitors.report() }
  for (const response of openPages) response.write(`data: ${JSON.stringify(report)}\n\n`)
}, 250)

function sendJson(response, value) {
  response.setHeader('content-type', 'application/json').end(JSON.stringify(value))
}

const routes = {
  'GET /'(_, response) {
    response.setHeader('content-type', 'text/html').end(page)
  },
  /** From the cache that the query names, or from the store itself. */
  async 'GET /product'(query, response) {
    const [id, name] = [query.get('id'), query.get('cache') ?? 'store']
    if (!Object.hasOwn(store.prices, id) || !(name === 'store' || Object.hasOwn(caches, name))) {
      return response.writeHead(400).end()
    }
    const price = name === 'store' ? getPrice(store, id) : await visitors.read(name, Number(id))
    sendJson(response, { id: Number(id), price })
  },
  'GET /reports'(_, response) {
    response.setHeader('content-type', 'text/event-stream').flushHeaders()
    openPages.add(response)
    response.on('close', () => openPages.delete(response))
  },
  'POST /writers'(query, response) {
    const paused = query.get('paused') === 'true'
    Atomics.store(isPaused, 0, paused ? 1 : 0)
    sendJson(response, { paused })
  },
}

const server = createServer((request, response) => {
  const [path, query] = request.url.split('?')
  const route = routes[`${request.method} ${path}`]
  if (route === undefined) response.writeHead(404).end()
  else route(new URLSearchParams(query), response)
})
server.listen(Number(values.port), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${server.address().port}`)
})
