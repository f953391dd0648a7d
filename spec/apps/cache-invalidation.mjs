/**
 * A cache in front of a shared store that other threads write to: every 40 ms the entries whose keys were written are dropped, by their fingerprints. An
 * AbortSignal ends the ticks, and stop() what is left.
 */
import { Worker } from 'node:worker_threads'
import { DirtyTracker, fingerprint } from 'dirtyring'
import { args, verdict } from '../programs/support.mjs'
import { exitOf, randomFrom, sleep, within } from '../programs/threads.mjs'

const { ticks = 50, everyMs = 40, pages = 999, seed = 1 } = args
const WRITERS = 3
const READERS = 60

/** The store: of each page the version that is current. And which versions are known to be published: for the oracle. */
const current = new Int32Array(new SharedArrayBuffer(pages * 4))
const published = new Int32Array(new SharedArrayBuffer(pages * 4))
const counts = new Int32Array(new SharedArrayBuffer(64))

const tracker = await DirtyTracker.create({ maxWriters: WRITERS, maxKeysPerEpoch: pages })

// ------------------------------------------------------------------------------------------------------------- the cache
const names = Array.from({ length: pages }, (_, page) => `page:${page}`)
const fingerprints = names.map((name) => fingerprint(name))
const cache = new Map()

async function read(page) {
  const key = fingerprints[page]
  const cached = cache.get(key)
  if (cached !== undefined) return cached.version ?? cached.loading
  // In the cache before it is loaded: if the page is written meanwhile, the tick drops this entry, and what was read too early serves nobody after it.
  const entry = { version: undefined, loading: undefined }
  cache.set(key, entry)
  entry.loading = load(page).then((version) => (entry.version = version))
  return entry.loading
}

async function load(page) {
  found.loaded++
  const version = Atomics.load(current, page)
  await sleep(1 + (page % 8))
  return version
}

function invalidate(epoch) {
  if (!epoch.exact) {
    cache.clear()
    found.cleared++
    return
  }
  for (const key of epoch) if (cache.delete(key)) found.dropped++
}

// ------------------------------------------------------------------------------------------------------------ the oracle
const found = { ticks: 0, keys: 0, served: 0, loaded: 0, stale: 0, dropped: 0, cleared: 0 }
/** Of each page the version that the ticks so far have covered: nothing older may be served. */
let covered = new Int32Array(pages)
/** What was published at the end of the last tick, and so before the next cut. */
let due = Int32Array.from(published)

async function readAndCheck(page) {
  const { ticks: tick } = found
  const version = await read(page)
  found.served++
  // Asked for before a tick, it may be what was current then.
  if (found.ticks === tick && version < covered[page]) found.stale++
}

/** One of the readers, until told to end: most often of the same few pages. */
async function browse(reader) {
  const random = randomFrom(seed * 1000 + reader)
  while (!ending.signal.aborted) {
    for (let i = 0; i < 50; i++) await readAndCheck(Math.floor(pages * random() ** 3))
    await sleep(0)
  }
}

// -------------------------------------------------------------------------------------------------------------------- go
const workers = Array.from({ length: WRITERS }, (_, writer) => {
  const workerData = { handle: tracker.handle, current, published, counts, writer, writers: WRITERS, seed }
  return new Worker(new URL('cache-invalidation-writer.mjs', import.meta.url), { workerData })
})
const exits = workers.map((worker) => exitOf(worker))

const ending = new AbortController()
const readers = Array.from({ length: READERS }, (_, reader) => browse(reader))
for await (const epoch of tracker.epochs({ everyMs, signal: ending.signal, skipEmpty: false })) {
  invalidate(epoch)
  found.keys += epoch.size
  epoch.commit()
  covered = due
  due = published.map((_, page) => Atomics.load(published, page))
  if (++found.ticks === ticks) ending.abort()
}
await Promise.all(readers)
Atomics.store(counts, 0, 1)
const exitCodes = await Promise.all(exits)

const last = await within(tracker.stop(), 'stop()')
invalidate(last)
last.commit()
for (const [page, key] of fingerprints.entries()) {
  const cached = cache.get(key)?.version
  if (cached !== undefined) {
    found.served++
    if (cached !== current[page]) found.stale++
  }
}
verdict({
  ...found,
  writes: counts[1],
  bulkWrites: counts[2],
  unsettled: tracker.stats().unsettled.length,
  exitCodes,
  // Timers, workers, ports: nothing but standard output is left.
  left: process.getActiveResourcesInfo().filter((what) => !/^(PipeWrap|TTYWrap|FSReqCallback|Immediate)$/.test(what)),
})
