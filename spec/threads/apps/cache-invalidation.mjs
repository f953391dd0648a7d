/**
 * A cache of rendered pages in front of a shared store that other threads write to: every tick the
 * entries whose keys were written are dropped. An AbortSignal ends the ticks, and stop() what is
 * left. In the end each cached page has to be what the store would
 * render.
 */
import { Worker } from 'node:worker_threads'
import { DirtyTracker } from 'dirtyring'
import { args, verdict } from '../programs/support.mjs'
import { exitOf, randomFrom, sleep, within } from '../programs/threads.mjs'

const {
  ticks = 50,
  everyMs = 40,
  pages = 999,
  renderMs = 8,
  order = 'entry first',
  seed = 1,
} = args
const WRITERS = 3
const READERS = 60

/**
 * The store: of each page the version that is current. And which versions are known to be
 * published: for the oracle.
 */
const current = new Int32Array(new SharedArrayBuffer(pages * 4))
const published = new Int32Array(new SharedArrayBuffer(pages * 4))
const counts = new Int32Array(new SharedArrayBuffer(64))

const tracker = await DirtyTracker.create({
  keys: 'string',
  maxWriters: WRITERS,
  maxStringsPerEpoch: pages,
})

// --------------------------------------------------------------------------------------- the cache
const names = Array.from({ length: pages }, (_, page) => `page:${page}`)
const cache = new Map()

const orders = {
  /**
   * Right: the entry is in the cache before its page is rendered. If the page is written meanwhile,
   * the tick drops the entry, and no later reader gets it.
   */
  'entry first'(page) {
    const key = names[page]
    const cached = cache.get(key)
    if (cached !== undefined) return cached.version ?? cached.rendering
    const entry = { version: undefined, rendering: undefined }
    cache.set(key, entry)
    entry.rendering = render(page).then((version) => (entry.version = version))
    return entry.rendering
  },
  /**
   * Wrong: a tick during the render finds nothing to drop, and then the old page goes into the
   * cache for good.
   */
  async 'render first'(page) {
    const key = names[page]
    const cached = cache.get(key)
    if (cached !== undefined) return cached.version
    const version = await render(page)
    cache.set(key, { version })
    return version
  },
}
const read = orders[order]

async function render(page) {
  found.rendered++
  const version = Atomics.load(current, page)
  await sleep(1 + (page % renderMs))
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

// -------------------------------------------------------------------------------------- the oracle
const found = {
  ticks: 0,
  keys: 0,
  served: 0,
  rendered: 0,
  stale: 0,
  cached: 0,
  staleForEver: 0,
  dropped: 0,
  cleared: 0,
}
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
    for (let i = 0; i < 50 && !ending.signal.aborted; i++)
      await readAndCheck(Math.floor(pages * random() ** 3))
    await sleep(0)
  }
}

// ---------------------------------------------------------------------------------------------- go
const workers = Array.from({ length: WRITERS }, (_, writer) => {
  const workerData = {
    handle: tracker.handle,
    current,
    published,
    counts,
    writer,
    writers: WRITERS,
    seed,
  }
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
  // no bulk writes any more: they would clear what is to be compared
  if (found.ticks === ticks >>> 1) Atomics.store(counts, 3, 1)
}
await Promise.all(readers)
Atomics.store(counts, 0, 1)
const exitCodes = await Promise.all(exits)

const last = await within(tracker.stop(), 'stop()')
invalidate(last)
last.commit()
for (const [page, key] of names.entries()) {
  const cached = cache.get(key)?.version
  if (cached !== undefined) {
    found.cached++
    if (cached !== current[page]) found.staleForEver++
  }
}
verdict({
  ...found,
  writes: counts[1],
  bulkWrites: counts[2],
  unsettled: tracker.stats().unsettled.length,
  exitCodes,
  // Timers, workers, ports: nothing but standard output is left.
  left: process
    .getActiveResourcesInfo()
    .filter((what) => !/^(PipeWrap|TTYWrap|FSReqCallback|Immediate)$/.test(what)),
})
