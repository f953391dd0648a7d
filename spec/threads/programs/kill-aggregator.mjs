/**
 * The aggregator's worker is terminated at random moments, under load: while it takes batches,
 * seals, restores, grows, rebuilds what a predecessor left, and stops. Nothing is lost, nothing
 * comes twice, and another one takes over.
 */
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { DirtyTracker, openWriter } from '../../../dist/index.js'
import {
  CUR,
  epochAt,
  HEAD,
  INTENT_POSITION,
  layoutOf,
  SLOT_COUNT,
  SLOT_GROWTH,
} from '../../../dist/memory/map.js'
import { keysFor } from '../../../dist/memory/table-size.js'
import { groupLanes, hiOf, Ledger } from './ledger.mjs'
import { args, verdict } from './support.mjs'
import { exitOf, pick, randomFrom, sleep, until, within } from './threads.mjs'

/**
 * Words of a writer: keys marked, keys known to be published. And one for all: up to where they may
 * go, -1 for the end.
 */
const LINE = 32
const MARKED = 0
const PUBLISHED = 1

/**
 * Keys that the main thread marks as one batch, for which the table of a new epoch grows several
 * times.
 */
const BULK = 16_384

if (isMainThread) await main()
else write(workerData)

function write({ handle, marker, words, limitAt, seed }) {
  const random = randomFrom(seed)
  const writer = openWriter(handle)
  const line = marker * LINE
  let seq = 0
  for (;;) {
    const limit = Atomics.load(words, limitAt)
    if (limit === -1) break
    if (seq >= limit) {
      writer.flush()
      Atomics.store(words, line + PUBLISHED, seq)
      Atomics.wait(words, limitAt, limit, 20)
      continue
    }
    if (random() < 0.5) {
      for (let left = 1 + pick(random, 64); left > 0; left--) writer.markPair(seq++, hiOf(marker))
    } else {
      const size = 1 + pick(random, Math.min(100, 64))
      writer.markPairs(groupLanes(marker, seq, size))
      seq += size
    }
    Atomics.store(words, line + MARKED, seq)
  }
  writer.close()
  Atomics.store(words, line + MARKED, seq)
}

/** A tracker whose aggregator this program can terminate. */
async function createVictim(options, start) {
  const aggregators = []
  const tracker = await DirtyTracker.createAt(
    {
      ...options,
      aggregator() {
        const worker = new Worker(new URL('../../../dist/aggregator/worker.js', import.meta.url))
        aggregators.push(worker)
        return worker
      },
    },
    start,
  )
  const words = new Int32Array(tracker.handle.buffer)
  const layout = layoutOf(tracker.options)
  return {
    tracker,
    started: () => aggregators.length,
    /** Terminate the one there is, and say what it was at. */
    async kill() {
      const { queued, writers } = tracker.stats()
      const inLanes = writers.reduce((sum, { inFlight }) => sum + inFlight, 0)
      const head = Atomics.load(words, HEAD)
      const worker = aggregators.at(-1)
      const gone = { tokenInHand: false, grown: false, moved: false, queued, inLanes }
      // Before the tracker's own listener can have started another one, which takes a while to come
      // up.
      worker.once('exit', () => {
        gone.tokenInHand = words[INTENT_POSITION] === words[HEAD] + 1
        // Its table has room for more keys than were counted: it had grown for a token that was not
        // done.
        const slot = epochAt(layout, words[CUR] & 15)
        const growth = words[slot + SLOT_GROWTH]
        gone.grown =
          growth > 0 &&
          words[slot + SLOT_COUNT] <= keysFor(layout.smallestTable * 2 ** (growth - 1))
        gone.moved = Atomics.load(words, HEAD) !== head
      })
      await within(worker.terminate(), 'terminate()')
      return gone
    },
  }
}

async function main() {
  const {
    seed = 1,
    kills = 50,
    stops = 8,
    writers = 2,
    /** Keys that each writer is let on by, for every kill. */
    share = 20_000,
    options = {},
    start = {},
  } = args
  const random = randomFrom(seed)
  const began = performance.now()
  const resolved = {
    maxWriters: writers + 1,
    laneCapacity: BULK,
    maxKeysPerEpoch: 2 ** 21,
    ...options,
  }
  const found = {
    kills: 0,
    inFlight: 0,
    tokenInHand: 0,
    grown: 0,
    moved: 0,
    queued: 0,
    whileSealing: 0,
    whileRestoring: 0,
    whileStarting: 0,
    whileStopping: 0,
  }
  const note = ({ tokenInHand, grown, moved, queued, inLanes }) => {
    found.kills++
    if (tokenInHand) found.tokenInHand++
    if (grown) found.grown++
    if (moved) found.moved++
    if (queued > 0) found.queued++
    if (tokenInHand || moved || queued > 0 || inLanes > 0) found.inFlight++
  }
  const errors = []
  const mustGoOn = () => found.kills < kills || found.inFlight < kills * 0.8
  let marked = 0
  let restarts = 0

  const load = (tracker, salt) => {
    const words = new Int32Array(new SharedArrayBuffer((writers + 1) * LINE * 4))
    const limitAt = writers * LINE
    const ends = markersOf(writers).map((marker) => {
      const data = {
        handle: tracker.handle,
        marker,
        words,
        limitAt,
        seed: seed * 1000 + salt * 10 + marker,
      }
      const worker = new Worker(new URL(import.meta.url), { workerData: data })
      worker.on('error', (error) => errors.push(`writer ${marker}: ${error.stack}`))
      const exit = exitOf(worker, `the end of writer ${marker}`)
      return exit
    })
    const allow = (keys) => {
      Atomics.store(words, limitAt, keys === -1 ? -1 : Atomics.load(words, limitAt) + keys)
      Atomics.notify(words, limitAt)
    }
    return {
      allow,
      published: () =>
        markersOf(writers).map((marker) => [
          marker,
          Atomics.load(words, marker * LINE + PUBLISHED),
        ]),
      marked: (marker) => Atomics.load(words, marker * LINE + MARKED),
      async end() {
        allow(-1)
        await Promise.all(ends)
      },
    }
  }

  // Under load.
  {
    const { tracker, kill, started } = await createVictim(resolved, start)
    const ledger = new Ledger()
    const loaded = load(tracker, 0)
    await until(() => {
      loaded.allow(1)
      return loaded.marked(0) > 0 && loaded.marked(1) > 0
    }, 'the first marks')
    const cut = async () => {
      const expected = ledger.expectation(loaded.published())
      const epoch = await within(tracker.advanceEpoch(), 'an epoch')
      ledger.handOut(epoch, expected)
      return epoch
    }
    const own = tracker.openWriter()
    const bulk = new Int32Array(BULK * 2)
    let bulks = 0
    while (mustGoOn() && found.kills < kills * 3) {
      loaded.allow(share)
      const what = random()
      const calls = []
      const delay = async () => {
        if (random() < 0.6)
          for (const end = performance.now() + random() * 0.5; performance.now() < end;);
        else await sleep(pick(random, 3))
      }
      if (what < 0.25) {
        const epoch = await cut()
        calls.push(epoch)
        for (let i = 0; i < BULK; i++) {
          bulk[2 * i] = bulks * BULK + i
          bulk[2 * i + 1] = hiOf(writers)
        }
        bulks++
        if (!own.markPairs(bulk) || !own.flush()) errors.push('a batch was refused')
        for (const end = performance.now() + random() * 0.6; performance.now() < end;);
      } else if (what < 0.5) {
        const epoch = cut()
        calls.push(epoch)
        await delay()
        found.whileSealing++
      } else if (what < 0.8) {
        const epoch = await cut()
        const restored = ledger.restore(epoch)
        calls.push(restored)
        if (random() < 0.5) calls.push(cut())
        await delay()
        found.whileRestoring++
      } else {
        await delay()
      }
      note(await kill())
      if (random() < 0.2) {
        // Its successor too, as soon as it is there, or before.
        const before = started()
        await until(() => started() > before || tracker.health().state === 'running', 'a successor')
        await sleep(random() * 60)
        note(await kill())
        found.whileStarting++
      }
      for (const epoch of await within(
        Promise.all(calls),
        'what was called before the kill',
        60_000,
      )) {
        if (epoch === undefined || epoch.state !== 'sealed') continue
        if (random() < 0.7) ledger.commit(epoch)
        else await within(ledger.restore(epoch), 'a restore')
      }
      await until(() => tracker.health().state === 'running', 'an aggregator')
    }
    await loaded.end()
    await within(tracker.drained(), 'drained()')
    restarts += tracker.health().restarts
    if (tracker.health().panics !== 0)
      errors.push(`${tracker.health().panics} panics: ${tracker.health().lastError}`)
    const { writers: lanes } = tracker.stats()
    const last = await within(tracker.stop(), 'stop()')
    ledger.handOut(last)
    ledger.commit(last)
    for (const marker of markersOf(writers)) marked += ledger.finish(marker, loaded.marked(marker))
    marked += ledger.finish(writers, bulks * BULK)
    const delivered = lanes.reduce((sum, lane) => sum + lane.delivered, 0)
    if (delivered !== marked)
      errors.push(`${delivered} delivered by the statistics, ${marked} marked`)
    errors.push(...ledger.errors)
  }

  // While it stops.
  for (let i = 0; i < stops; i++) {
    const { tracker, kill } = await createVictim(resolved, start)
    const ledger = new Ledger()
    const loaded = load(tracker, i + 1)
    loaded.allow(share)
    await until(
      () => loaded.marked(0) > share / 2 && loaded.marked(1) > share / 2,
      'half of the marks',
    )
    await loaded.end()
    const stopped = tracker.stop()
    if (random() < 0.7)
      for (const end = performance.now() + random() * 0.3; performance.now() < end;);
    else await null
    if (!tracker.health().finished) found.whileStopping++
    note(await kill())
    const last = await within(stopped, 'stop()', 60_000)
    restarts += tracker.health().restarts
    ledger.handOut(last)
    ledger.commit(last)
    for (const marker of markersOf(writers)) marked += ledger.finish(marker, loaded.marked(marker))
    errors.push(...ledger.errors)
  }

  verdict({ seed, ...found, restarts, marked, ms: Math.round(performance.now() - began), errors })
}

function markersOf(writers) {
  return Array.from({ length: writers }, (_, marker) => marker)
}
