/**
 * Seven named consumers, each with a copy of one store and a pace of its own, while workers write.
 * Some consumers throw, hold an epoch, stop reading for long, or close and begin again from their
 * clock. Workers are terminated in their work, and so is the aggregator's worker. At the end each
 * copy is equal to the store.
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { DirtyTracker, openWriter } from 'dirtyring'
import { args, verdict } from './support.mjs'
import { exitOf, pick, randomFrom, sleep } from './threads.mjs'

const ROWS = 20_000
const TEXTS = 200
const WRITERS = 3

/** The last rows have texts as keys. */
const keyOf = (row) => (row < ROWS - TEXTS ? row : `row ${row}`)

if (isMainThread) await main()
else write()

async function main() {
  const { ms = 3000, seed = 1 } = args
  const random = randomFrom(seed)
  const store = new Int32Array(new SharedArrayBuffer(4 * ROWS))
  const aggregators = []
  const tracker = await DirtyTracker.create({
    maxConsumers: 7,
    maxKeysPerEpoch: 1024,
    maxWriters: 16,
    aggregator: () => {
      const worker = new Worker("import 'dirtyring/aggregator'", { eval: true, execArgv: [] })
      worker.on('error', () => undefined)
      aggregators.push(worker)
      return worker
    },
  })
  const end = performance.now() + ms
  const isOver = () => performance.now() > end
  const seen = {
    exact: 0,
    superset: 0,
    everything: 0,
    fresh: 0,
    thrown: 0,
    reopened: 0,
    skipped: 0,
  }
  const copies = []

  /** Copies each row that may be dirty. */
  function save(copy, epoch) {
    seen[epoch.reason === 'fresh' ? 'fresh' : epoch.precision]++
    if (epoch.exact) {
      for (const key of epoch) {
        const row = typeof key === 'number' ? key : Number(key.slice(4))
        copy[row] = Atomics.load(store, row)
      }
      return
    }
    for (let row = 0; row < ROWS; row++) {
      if (epoch.has(keyOf(row))) copy[row] = Atomics.load(store, row)
      else seen.skipped++
    }
  }

  function open(name, options) {
    const copy = new Int32Array(ROWS)
    copies.push({ name, copy })
    return { consumer: tracker.consumer(name, options), copy, name }
  }

  /** A loop that lives until stop(). */
  async function follow({ consumer, copy }, everyMs) {
    for await (const epoch of consumer.epochs({ everyMs })) {
      save(copy, epoch)
      epoch.commit()
    }
  }

  /** Throws in each third body, after a part of the work. */
  async function fail({ consumer, copy }) {
    while (!isOver()) {
      try {
        await consumer.consume(async (epoch) => {
          if (pick(random, 3) === 0) {
            await sleep(pick(random, 5))
            seen.thrown++
            throw new Error('no room')
          }
          save(copy, epoch)
        })
      } catch (error) {
        if (error.message !== 'no room') throw error
      }
      await sleep(pick(random, 20))
    }
  }

  /** Holds an epoch for a third of the time. */
  async function hold({ consumer, copy }) {
    const epoch = await consumer.advanceEpoch()
    const keys = epoch.exact ? [...epoch].join() : ''
    await sleep(ms / 3)
    if (epoch.exact && [...epoch].join() !== keys) throw new Error('an epoch in hand has changed')
    save(copy, epoch)
    epoch.commit()
    await consumer.consume((next) => save(copy, next))
  }

  /** Closes, and begins again where it was: with what it has not committed, or fresh. */
  async function reopen({ name, copy, consumer: first }) {
    let consumer = first
    let clock
    while (!isOver()) {
      const epoch = await consumer.advanceEpoch()
      if (pick(random, 4) > 0) {
        save(copy, epoch)
        clock = epoch.clock
        epoch.commit()
      } else {
        epoch.restore()
      }
      if (pick(random, 3) === 0) {
        consumer.close()
        seen.reopened++
        consumer = tracker.consumer(name, { since: clock })
      }
      await sleep(pick(random, 40))
    }
    return consumer
  }

  const writers = Array.from({ length: WRITERS }, () => start(tracker, store))
  const fast = follow(open('fast'), 5)
  const slow = follow(open('slow'), ms / 4)
  const steady = follow(open('steady', { from: 'now' }), 50)
  const fails = open('fails')
  const holds = open('holds', { from: 'now' })
  const reopens = open('reopens')
  open('never', { from: 'now' }) // reads nothing before stop()

  async function terminate() {
    while (!isOver()) {
      await sleep(ms / 20)
      const [worker] = writers.splice(0, 1)
      await worker.terminate()
      writers.push(start(tracker, store))
      if (pick(random, 4) === 0) await aggregators.at(-1).terminate()
    }
  }

  await Promise.all([terminate(), fail(fails), hold(holds), reopen(reopens)])
  const exits = writers.map((worker) => exitOf(worker))
  for (const worker of writers) worker.postMessage('end')
  await Promise.all(exits)
  const { consumers } = tracker.stats()
  const lasts = []
  const copyOf = (name) => copies.find((each) => each.name === name).copy
  // The loops get their own; the others are dealt with here.
  const others = ['fails', 'holds', 'reopens', 'never']
  const stopped = await tracker.stop()
  await Promise.all([fast, slow, steady])
  await tracker.stop({
    consume: (epoch, consumer) => {
      lasts.push(consumer.name)
      save(copyOf(consumer.name), epoch)
    },
  })
  const different = copies.flatMap(({ name, copy }) =>
    copy.every((value, row) => value === store[row]) ? [] : [name],
  )
  verdict({
    names: consumers.map(({ name }) => name).sort(),
    lasts: lasts.sort(),
    others: others.sort(),
    different,
    written: store.filter((value) => value !== 0).length,
    unsettled: tracker.stats().unsettled,
    restarts: tracker.health().restarts,
    stopped: [stopped.size, stopped.exact, stopped.state],
    ...seen,
  })
}

function start(tracker, store) {
  const workerData = { handle: tracker.handle, store }
  return new Worker(new URL(import.meta.url), { workerData })
}

function write() {
  const { handle, store } = workerData
  const writer = openWriter(handle)
  let isEnd = false
  parentPort.on('message', () => (isEnd = true))
  const work = () => {
    if (isEnd) {
      writer.close()
      parentPort.close()
      return
    }
    const from = Math.floor(Math.random() * ROWS)
    writer.batch(() => {
      // Marks first: a thread that is terminated in here leaves no row that is not marked.
      for (let i = 0; i < 20; i++) writer.mark(keyOf((from + i * 7) % ROWS))
      for (let i = 0; i < 20; i++) Atomics.add(store, (from + i * 7) % ROWS, 1)
    })
    setTimeout(work, 1)
  }
  work()
}
