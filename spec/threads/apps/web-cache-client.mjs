/**
 * A client on a thread of its own. It listens to the server's events, and shows the pages of the
 * first rows: when one of them has changed, it asks for it again. In the end it compares what it
 * shows with the store, and counts the rows whose last change it was not told.
 */
import { once } from 'node:events'
import { Agent, get, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { parentPort, workerData } from 'node:worker_threads'
import { Histogram } from '../../../perf/harness/histogram.js'
import { keyOf, milliseconds, openStore, rowOf } from './web-cache-store.mjs'

const { shared, port, shows } = workerData
const store = openStore(shared)
const agent = new Agent({ keepAlive: true })
const address = { host: '127.0.0.1', port, agent }

/** The version that is on each page, by its key. */
const shown = new Map()
/** Of each row the version that was current when the client was last told of it; 0: never. */
const told = new Int32Array(store.versions.length)
const latencies = new Histogram()
const found = { events: 0, keys: 0, everything: 0 }

let wanted = new Set()
let fetching

/** Asks for the pages that are wanted, until none is. */
async function fetchPages() {
  while (wanted.size > 0) {
    const keys = [...wanted]
    wanted = new Set()
    const asked = request({ ...address, path: '/pages', method: 'POST' })
    asked.end(JSON.stringify(keys))
    const [response] = await once(asked, 'response')
    const versions = JSON.parse(await text(response))
    keys.forEach((key, i) => shown.set(key, versions[i]))
  }
  fetching = undefined
}

function want(key) {
  wanted.add(key)
  fetching ??= fetchPages()
}

function hear(key, now) {
  const row = rowOf(key)
  const birthday = store.birthdays[row]
  if (told[row] === 0 && birthday >= store.timedFrom()) latencies.add((now - birthday) * 1000)
  told[row] = Atomics.load(store.versions, row)
  if (row < shows) want(key)
}

function hearAll(count) {
  for (let row = 0; row < count; row++) {
    told[row] = Atomics.load(store.versions, row)
    if (row < shows) want(keyOf(row))
  }
}

async function end() {
  const endedAt = milliseconds()
  await fetching
  let [missed, differences, rows] = [0, 0, 0]
  for (let row = 0; row < store.rows(); row++) {
    const version = store.versions[row]
    if (version === 0) continue // its writer was terminated before it wrote
    rows++
    if (told[row] !== version) missed++
    if (row < shows && shown.get(keyOf(row)) !== version) differences++
  }
  agent.destroy()
  const pages = shown.size
  parentPort.postMessage({
    ...found,
    rows,
    pages,
    missed,
    differences,
    endedAt,
    latencies: latencies.summary(),
  })
}

const [events] = await once(get({ ...address, path: '/changes' }), 'response')
hearAll(store.rows())
await fetching
parentPort.postMessage('ready')

let rest = ''
for await (const chunk of events.setEncoding('utf8')) {
  const lines = (rest + chunk).split('\n\n')
  rest = lines.pop()
  const now = milliseconds()
  for (const line of lines) {
    found.events++
    const keys = JSON.parse(line.slice('data: '.length))
    if (keys === 'everything') {
      found.everything++
      hearAll(store.rows())
    } else {
      found.keys += keys.length
      for (const key of keys) hear(key, now)
    }
  }
}
await end()
