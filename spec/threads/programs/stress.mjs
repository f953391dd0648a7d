/**
 * Writers mark in worker threads while epochs are cut, committed, restored and aborted. The writers
 * are let on a little further with every epoch, so that every cut is made while they mark.
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { DirtyTracker, openWriter } from '../../../dist/index.js'
import { GROUP_MAX, groupLanes, hiOf, Ledger } from './ledger.mjs'
import { args, verdict } from './support.mjs'
import { exitOf, pick, randomFrom, sleep, until, within } from './threads.mjs'

/**
 * What a writer tells the main thread, and is told: words of one line for each writer, and the
 * limit for all.
 */
const LINE = 32
const MARKED = 0
const PUBLISHED = 1
const REFUSED = 2
const LANE = 3

if (isMainThread) await main()
else write(workerData)

function write({ handle, marker, words, limitAt, seed, laneCapacity }) {
  const random = randomFrom(seed)
  const writer = openWriter(handle)
  const line = marker * LINE
  const groupMax = Math.min(GROUP_MAX, laneCapacity)
  let seq = 0
  let refused = 0
  words[line + LANE] = writer.id + 1

  const offered = (stored, count) => {
    if (!stored) {
      refused += count
      words[line + REFUSED] = refused
      Atomics.wait(words, line, seq, random() < 0.5 ? 0 : 0.2)
    }
    return stored
  }
  const isOver = () => Atomics.load(words, limitAt) === -1
  const pause = () => {
    if (!writer.flush()) return
    Atomics.store(words, line + PUBLISHED, seq)
    const limit = Atomics.load(words, limitAt)
    if (limit !== -1 && seq >= limit) Atomics.wait(words, limitAt, limit, 50)
  }

  // Key 0 of marker 0 is fingerprint 0.
  while (!offered(writer.markPair(0, hiOf(marker)), 1));
  seq = 1
  for (;;) {
    if (isOver()) break
    if (seq >= Atomics.load(words, limitAt)) {
      pause()
      continue
    }
    const what = random()
    if (what < 0.6) {
      for (let left = 1 + pick(random, 100); left > 0; left--) {
        while (!offered(writer.markPair(seq, hiOf(marker)), 1));
        seq++
      }
    } else if (what < 0.9) {
      const size = 1 + pick(random, groupMax)
      const lanes = groupLanes(marker, seq, size)
      if (what < 0.8) while (!offered(writer.markPairs(lanes), size));
      else while (!offered(writer.markMany(new BigUint64Array(lanes.buffer)), size));
      seq += size
    } else if (what < 0.95) {
      writer.tagTxn(seq)
    } else if (writer.flush()) {
      Atomics.store(words, line + PUBLISHED, seq)
    }
    Atomics.store(words, line + MARKED, seq)
  }
  Atomics.store(words, line + MARKED, seq)
  parentPort.postMessage({ marked: seq, refused })
  // Half of them say that they are done; the others just end, with whatever they have staged.
  if (marker % 2 === 0) writer.close()
}

async function main() {
  const {
    seed = 1,
    writers = 4,
    marks = 400_000,
    epochs = 60,
    options = {},
    start = {},
    /** Words of totals that begin at this value. */
    totalsFrom,
  } = args
  const random = randomFrom(seed)
  const began = performance.now()
  const { BATCHES, EVENTS, KEYS, LANE_DELIVERED, laneAt, layoutOf } =
    await import('../../../dist/memory/map.js')
  const resolved = { maxWriters: writers, maxKeysPerEpoch: 2 ** 20, epochSlots: 4, ...options }
  const totals = []
  if (totalsFrom !== undefined) {
    const { resolveOptions } = await import('../../../dist/index.js')
    const layout = layoutOf(resolveOptions(resolved))
    for (const at of [EVENTS, BATCHES, KEYS]) totals.push([at, totalsFrom])
    for (let id = 0; id < writers; id++)
      totals.push([laneAt(layout, id) + LANE_DELIVERED, totalsFrom])
  }
  const tracker = await DirtyTracker.createAt(resolved, { ...start, totals })
  const { laneCapacity, epochSlots } = tracker.options
  const before = totalsFrom ?? 0

  const ledger = new Ledger()
  const limitAt = writers * LINE
  const words = new Int32Array(new SharedArrayBuffer((writers + 1) * LINE * 4))
  const share = Math.ceil(marks / writers / epochs)
  const allow = (keys) => {
    Atomics.store(words, limitAt, Atomics.load(words, limitAt) + keys)
    Atomics.notify(words, limitAt)
  }
  allow(share)
  const ends = []
  for (let marker = 0; marker < writers; marker++) {
    const data = {
      handle: tracker.handle,
      marker,
      words,
      limitAt,
      seed: seed * 1000 + marker,
      laneCapacity,
    }
    const worker = new Worker(new URL(import.meta.url), { workerData: data })
    const exit = exitOf(worker, `the end of writer ${marker}`)
    const said = new Promise((resolve, reject) =>
      worker.once('message', resolve).once('error', reject),
    )
    ends.push({ exit, said })
  }
  await until(
    () => allMarkers(writers).every((marker) => Atomics.load(words, marker * LINE + MARKED) > 0),
    'the first mark of every writer',
  )

  const counts = { epochs: 0, committed: 0, restored: 0, aborted: 0, together: 0, refusedAtOnce: 0 }
  const held = []
  const expectation = () =>
    ledger.expectation(
      allMarkers(writers).map((marker) => [marker, Atomics.load(words, marker * LINE + PUBLISHED)]),
    )
  const advance = async () => {
    const expected = expectation()
    const epoch = await within(tracker.advanceEpoch(), 'an epoch')
    return { epoch, expected }
  }
  const take = ({ epoch, expected }) => {
    ledger.handOut(epoch, expected)
    counts.epochs++
    if (epoch.size > 0) held.push(epoch)
  }
  const settle = async (epoch) => {
    if (random() < 0.65) {
      ledger.commit(epoch)
      counts.committed++
    } else {
      const restored = ledger.restore(epoch)
      counts.restored++
      // Awaited or not: the next cut has its keys.
      if (random() < 0.5) await within(restored, 'a restore')
      else restored.catch((error) => ledger.errors.push(String(error)))
    }
  }

  const progress = () =>
    allMarkers(writers).map((marker) => Atomics.load(words, marker * LINE + MARKED))
  const progressBy = async (keys, what) => {
    const from = progress()
    allow(keys + 2 * GROUP_MAX) // one may be a whole batch ahead of the limit
    await until(() => progress().every((marked, marker) => marked >= from[marker] + keys), what)
  }

  // First no epoch is cut, then every slot is taken: neither holds up a writer.
  await progressBy(share * 4, 'progress of every writer while no epoch is cut')
  while (held.length < epochSlots - 1) {
    await progressBy(10, 'progress')
    take(await advance())
  }
  counts.refusedAtOnce = await tracker.advanceEpoch({ onBusy: 'reject' }).then(
    () => 0,
    (error) => (error.code === 'ERR_DIRTYRING_NO_EPOCH_SLOT' ? 1 : 0),
  )
  const expectedLate = expectation()
  const late = tracker.advanceEpoch()
  await progressBy(share * 4, 'progress of every writer while every epoch slot is taken')
  await settle(held.shift())
  take({ epoch: await within(late, 'an epoch that waited for a slot'), expected: expectedLate })

  while (counts.epochs < epochs || progress().reduce((sum, marked) => sum + marked) < marks) {
    allow(share)
    if (random() < 0.5)
      for (const end = performance.now() + random() * 0.3; performance.now() < end;);
    else await sleep(pick(random, 3))
    while (held.length > 0 && (held.length === epochSlots - 1 || random() < 0.6))
      await settle(held.splice(pick(random, held.length), 1)[0])
    const what = random()
    if (what < 0.15) {
      // Aborted: at once, before the cut is executed, after it, or with luck too late.
      const abortion = new AbortController()
      const expected = expectation()
      const call = tracker.advanceEpoch({ signal: abortion.signal })
      const outcome = call.then(
        (epoch) => ({ epoch }),
        (reason) => ({ reason }),
      )
      if (random() < 0.3) await sleep(pick(random, 2))
      else if (random() < 0.5) await null
      abortion.abort('changed my mind')
      const { epoch, reason } = await within(outcome, 'an aborted epoch')
      if (epoch !== undefined) take({ epoch, expected })
      else if (reason === 'changed my mind') counts.aborted++
      else throw reason
    } else if (what < 0.3 && held.length < epochSlots - 2) {
      const two = [advance(), advance()]
      counts.together++
      for (const one of two) take(await one)
    } else {
      take(await advance())
    }
  }

  Atomics.store(words, limitAt, -1)
  Atomics.notify(words, limitAt)
  const said = await within(Promise.all(ends.map((end) => end.said)), 'what the writers say')
  await Promise.all(ends.map((end) => end.exit))
  while (held.length > 0) await settle(held.shift())
  await within(tracker.drained(), 'drained()')
  const stats = tracker.stats()
  const health = tracker.health()
  const last = await within(tracker.stop(), 'stop()')
  ledger.handOut(last)
  ledger.commit(last)
  let marked = 0
  said.forEach(({ marked: count }, marker) => (marked += ledger.finish(marker, count)))

  // The writers' own counts against the tracker's.
  const accounts = said.map(({ marked, refused }, marker) => {
    const { delivered, inFlight, staged, suppressed, rejected, ...own } = stats.writers.find(
      ({ id }) => id === words[marker * LINE + LANE] - 1,
    )
    const agrees =
      own.marked - before === marked + refused &&
      delivered - before === marked &&
      rejected === refused &&
      inFlight + staged + suppressed === 0
    if (!agrees)
      ledger.errors.push(
        `writer ${marker}: ${marked} marked, ${refused} refused, but ${JSON.stringify({ ...own, delivered, rejected })}`,
      )
    return agrees
  })
  if (stats.keys - before !== marked - harvestedOf(stats))
    ledger.errors.push(`${stats.keys - before} keys in batches, of ${marked} marked`)

  verdict({
    seed,
    marked,
    ...counts,
    groupedKeys: ledger.grouped,
    refused: said.reduce((sum, { refused }) => sum + refused, 0),
    waits: stats.writers.reduce((sum, { waits }) => sum + waits, 0),
    batches: stats.batches - before,
    events: stats.tokens - before,
    harvested: stats.harvested,
    queuedPeak: stats.queuedPeak,
    accounts,
    healthy: health.panics === 0 && health.restarts === 0,
    closedAll: stats.writers.every(({ open }) => !open),
    lastEpoch: last.id,
    ms: Math.round(performance.now() - began),
    errors: ledger.errors,
  })
}

function allMarkers(writers) {
  return Array.from({ length: writers }, (_, marker) => marker)
}

/** Keys that came by CLOSE, not in a batch. */
function harvestedOf(stats) {
  return stats.harvested
}
