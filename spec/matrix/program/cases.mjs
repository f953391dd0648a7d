/**
 * What the library promises, as cases that every runtime runs: with Node's threads or Web Workers,
 * on the main thread and in a worker. A case names no host's API. `applies` says why a host has
 * nothing to show, if it has not.
 */
import { ascending, codeOf, pause, range, same, truthy, until, within } from './check.mjs'

const STOPPED = 'ERR_DIRTYRING_STOPPED'

/** Takes an epoch that must be exact, and commits it: its ids as they came. */
async function idsOf(tracker) {
  const epoch = await within(tracker.advanceEpoch(), 'an epoch')
  same([epoch.exact, epoch.reason], [true, undefined], 'exact and reason of an epoch')
  const ids = [...epoch.ids()]
  epoch.commit()
  return ids
}

/** The same, of whatever numbers the epoch has. */
async function bigintsOf(tracker) {
  const epoch = await within(tracker.advanceEpoch(), 'an epoch')
  same(epoch.exact, true, 'exact')
  const keys = [...epoch.bigints]
  epoch.commit()
  return keys
}

async function stopped(tracker, options) {
  const last = await within(tracker.stop(options), 'stop()')
  return { ids: ascending(last.ids()), exact: last.exact, last: last.last }
}

/** A thread that spins, or sleeps, shows by this counter whether it runs. */
const beat = () => new SharedArrayBuffer(4)
const beats = (buffer) => Atomics.load(new Int32Array(buffer), 0)

/** Where the runtime does not show a worker's end: until the counter stands still. */
async function untilStill(buffer) {
  let before = -1
  await until(async () => {
    const now = beats(buffer)
    if (now === before) return true
    before = now
    await pause(300)
    return false
  }, 'the end of a terminated thread')
}

/** Ends the puppet's thread, and has its writer harvested, by itself or by reap(). */
async function harvest({ host }, tracker, puppet, writerId, buffer) {
  const harvested = new Promise((resolve) => tracker.on('harvest', resolve))
  if (host.showsWorkerEnds) {
    await puppet.terminate()
    const event = await within(harvested, 'a harvest')
    same(event.writerId, writerId, 'the writer that was harvested')
    return event.keys
  }
  await puppet.terminate()
  if (buffer === undefined) await pause(300)
  else await untilStill(buffer)
  return within(tracker.reap(writerId), 'reap()')
}

/** A log of a cluster in this thread's memory. A position is how many messages stand before it. */
function memoryLog() {
  const messages = []
  const listeners = new Set()
  return {
    sink: () => ({
      maxMessageBytes: 2 ** 20,
      async append(message) {
        const last = messages.findLast(({ instance }) => instance === message.instance)
        if (message.n !== (last === undefined ? 0 : last.n + 1)) return 'refused'
        messages.push({ ...message, bytes: message.bytes.slice() })
        return 'appended'
      },
      last: async (of) => messages.findLast(({ instance }) => instance === of),
      onCut(cut) {
        listeners.add(cut)
        return () => listeners.delete(cut)
      },
      close: async () => undefined,
    }),
    source: () => ({
      async read(after, { waitMs }) {
        const from = Number(after ?? 0)
        if (messages.length === from) await pause(Math.min(waitMs, 5))
        const position = String(messages.length)
        return { messages: messages.slice(from), position, atEnd: true, log: 'one', lost: false }
      },
      nodes: () => undefined,
      async requestCut(request) {
        for (const cut of listeners) cut(request)
      },
      close: async () => undefined,
    }),
  }
}

const lacks = ({ BatchRing }, name) =>
  name in BatchRing.prototype ? undefined : `this version has no BatchRing.${name}()`

export const cases = {
  'runtimeSupport() says what the thread can do': {
    async run({ library, host, puppet }) {
      const { sharedMemory, canBlock, waitAsync, wasm } = library.runtimeSupport()
      const expected = [true, host.mayBlock, typeof Atomics.waitAsync === 'function', true]
      same([sharedMemory, canBlock, waitAsync, wasm], expected, 'runtimeSupport()')
      let error = 'none'
      try {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)
      } catch (thrown) {
        error = thrown.name
      }
      same(error, canBlock ? 'none' : 'TypeError', 'what Atomics.wait throws here')
      const other = await puppet()
      same((await other.call('support')).canBlock, true, 'canBlock in a worker')
    },
  },

  'marks in every form come back': {
    async run({ tracker: create, puppet }) {
      const tracker = await create()
      const writer = tracker.openWriter()
      const other = await puppet()
      await other.call('open', { handle: tracker.handle })
      const here = {
        mark: (keys) => keys.forEach((key) => writer.mark(key)),
        many: (keys) => writer.markMany(keys),
      }
      const most = Number.MAX_SAFE_INTEGER
      const numbers = [0, 1, 2 ** 32, most]
      here.mark(numbers)
      same(await idsOf(tracker), numbers, 'numbers')

      const bigints = [0n, 2n ** 53n, 2n ** 64n - 1n]
      here.mark(bigints)
      same(await bigintsOf(tracker), bigints, 'bigints')

      writer.markPair(7, 0)
      writer.markPair(7, 9)
      writer.markPair(-1, 2 ** 32 - 1)
      const pairs = await within(tracker.advanceEpoch(), 'pairs')
      same([...pairs.pairs], [7, 0, 7, 9, 2 ** 32 - 1, 2 ** 32 - 1], 'pairs')
      same([pairs.has(7), pairs.hasPair(-1, -1), pairs.hasPair(7, 8)], [true, true, false], 'has')
      pairs.commit()

      const marked = ['user:7', 'é', new Uint8Array([1, 2, 3]), 'a\ud800', '', 'x'.repeat(5000)]
      here.mark(marked)
      const texts = await within(tracker.advanceEpoch(), 'texts')
      const named = (key) => (typeof key === 'string' ? key : `bytes ${[...key].join()}`)
      same([...texts].map(named), marked.map(named), 'texts and bytes')
      const has = [...marked, new TextEncoder().encode('é'), 'no', 'a\ufffd']
      same(
        has.map((key) => texts.has(key)),
        has.map((_, i) => i < marked.length),
        'has of texts and bytes',
      )
      texts.commit()

      const lists = [
        [1, 2n, 3],
        new Set([4, 5]),
        Uint32Array.of(6, 2 ** 32 - 1),
        BigUint64Array.of(7n, 8n),
        BigInt64Array.of(9n),
      ]
      for (const list of lists) here.many(list)
      same(await idsOf(tracker), [1, 2, 3, 4, 5, 6, 2 ** 32 - 1, 7, 8, 9], 'markMany')

      writer.markPairs(Uint32Array.of(1, 0, 2, 0))
      writer.markPairs(Int32Array.of(3, 0, -1, 0))
      same(await idsOf(tracker), [1, 2, 3, 2 ** 32 - 1], 'markPairs')

      for (const [how, keys] of [
        ['mark', numbers],
        ['mark', bigints],
        ['markMany', [1, 2n, 'text']],
        ['markMany', Uint32Array.of(5, 6)],
        ['markPairs', Uint32Array.of(8, 9)],
      ])
        same(await other.call('mark', { how, keys, flush: true }), true, `${how} in a worker`)
      const epoch = await within(tracker.advanceEpoch(), 'the marks of a worker')
      const wanted = [...numbers, ...bigints, 1, 2, 'text', 5, 6]
      same([epoch.exact, epoch.size], [true, 11], 'the size of a worker’s epoch')
      truthy(
        wanted.every((key) => epoch.has(key)) && epoch.hasPair(8, 9),
        'it has all that the worker marked',
      )
      epoch.commit()
    },
  },

  'a cut takes exactly what was published': {
    async run({ tracker: create }) {
      const tracker = await create()
      const writer = tracker.openWriter()
      for (const id of [3, 1, 2, 3, 1]) writer.mark(id)
      same(await idsOf(tracker), [3, 1, 2], 'each key once, in the order of the first marks')
      same(await idsOf(tracker), [], 'an epoch without marks')
      writer.mark(4)
      const [first, second] = await within(
        Promise.all([tracker.advanceEpoch(), tracker.advanceEpoch()]),
        'two cuts at once',
      )
      same([[...first.ids()], [...second.ids()]], [[4], []], 'two cuts at once')
      same(second.id, first.id + 1, 'numbers of epochs')
      first.commit()
      second.commit()
      writer.mark(5)
      const now = tracker.tryAdvanceEpoch()
      truthy(now !== undefined, 'tryAdvanceEpoch() cuts')
      writer.mark(6)
      const cut = await within(now, 'tryAdvanceEpoch()')
      same([...cut.ids()], [5], 'what was marked after the cut is in the next epoch')
      cut.commit()
      same(await idsOf(tracker), [6], 'the next epoch')
    },
  },

  'cuts while two workers mark lose nothing and repeat nothing': {
    async run({ tracker: create, puppet }) {
      const tracker = await create({ flushIntervalMs: 10 })
      const others = await Promise.all([puppet(), puppet()])
      await Promise.all(others.map((other) => other.call('open', { handle: tracker.handle })))
      const count = 10_000
      const marking = Promise.all(
        others.map((other, n) => other.call('markRange', { from: n * count, to: (n + 1) * count })),
      )
      const ids = []
      let over = false
      marking.then(() => (over = true)).catch(() => undefined)
      while (!over) ids.push(...(await idsOf(tracker)))
      same(await marking, [count, count], 'marks that were stored')
      ids.push(...(await idsOf(tracker)))
      same(ids.length, 2 * count, 'keys of all epochs')
      same(ascending(ids), range(0, 2 * count), 'each key in exactly one epoch')
    },
  },

  'flush(), flushed() and drained() say how far a key has come': {
    async run({ tracker: create, puppet }) {
      const tracker = await create()
      const other = await puppet()
      await other.call('open', { handle: tracker.handle })
      await other.call('mark', { keys: [1, 2] })
      same(await idsOf(tracker), [], 'staged keys are not cut')
      await within(tracker.flushed(), 'flushed()')
      same(await idsOf(tracker), [1, 2], 'after flushed()')
      same(await other.call('mark', { keys: [3], flush: true }), true, 'the receipt of flush()')
      await within(tracker.drained(), 'drained()')
      same(tracker.stats().distinct, 1, 'distinct keys of the open epoch')
      same(await idsOf(tracker), [3], 'after flush()')
    },
  },

  'a writer publishes by itself after flushIntervalMs': {
    async run({ tracker: create, puppet }) {
      const tracker = await create({ flushIntervalMs: 5 })
      const writer = tracker.openWriter()
      const other = await puppet()
      await other.call('open', { handle: tracker.handle })
      await other.call('mark', { keys: [1] })
      writer.mark(2)
      await until(() => tracker.stats().distinct === 2, 'both keys')
      same(ascending(await idsOf(tracker)), [1, 2], 'keys')
    },
  },

  'an epoch is settled by commit() or restore()': {
    async run({ tracker: create }) {
      const tracker = await create()
      const writer = tracker.openWriter()
      writer.mark(1)
      const first = await within(tracker.advanceEpoch(), 'an epoch')
      writer.mark(2)
      await within(first.restore(), 'restore()')
      same(first.state, 'restored', 'state')
      same(ascending(await idsOf(tracker)), [1, 2], 'a restored key is in the next epoch')
      writer.mark(3)
      const failing = tracker.consume(() => {
        throw new Error('the save failed')
      })
      same(await codeOf(() => failing), 'Error: the save failed', 'consume() rejects')
      same(
        await within(
          tracker.consume((epoch) => [...epoch.ids()]),
          'consume()',
        ),
        [3],
        'again',
      )
      writer.mark(4)
      const last = await within(tracker.stop(), 'stop()')
      same([[...last.ids()], last.last, last.exact], [[4], true, true], 'the last epoch')
      same(await codeOf(() => last.restore()), STOPPED, 'restore() of the last epoch')
      last.commit()
    },
  },

  'epochs() yields epochs, and the last one': {
    async run({ tracker: create }) {
      const tracker = await create()
      const writer = tracker.openWriter()
      writer.mark(1)
      const got = []
      const reading = (async () => {
        for await (const epoch of tracker.epochs({ everyMs: 5, skipEmpty: true })) {
          got.push([...epoch.ids(), epoch.last])
          epoch.commit()
          if (epoch.last) continue
          writer.mark(2)
          void tracker.stop()
        }
      })()
      await within(reading, 'the end of the loop')
      same(
        got,
        [
          [1, false],
          [2, true],
        ],
        'epochs',
      )
    },
  },

  'with onFull "wait" a worker sleeps until there is room': {
    async run({ tracker: create, puppet }) {
      const tracker = await create({ laneCapacity: 8, capacity: 2, batchSize: 4 })
      const other = await puppet()
      const id = await other.call('open', { handle: tracker.handle })
      const count = 20_000
      same(await other.call('markRange', { from: 0, to: count }), count, 'marks')
      same(ascending(await idsOf(tracker)), range(0, count), 'keys')
      const { waits } = tracker.stats().writers.find((writer) => writer.id === id)
      truthy(waits > 0, `the writer waited: ${waits} times`)
    },
  },

  'with onFull "reject" a full lane answers false, here and in a worker': {
    async run({ tracker: create, puppet }) {
      const tracker = await create({ aggregator: 'none', laneCapacity: 8, onFull: 'reject' })
      const writer = tracker.openWriter()
      const other = await puppet()
      await other.call('open', { handle: tracker.handle })
      const filled = { stored: 8, code: 'answered false' }
      same(await other.call('fill', { most: 100 }), filled, 'in a worker')
      let stored = 0
      while (stored < 100 && writer.mark(1000 + stored)) stored++
      same(stored, 8, 'here')
      let turns = 0
      const timer = setInterval(() => turns++, 5)
      const waiting = Promise.all([writer.waitForRoom(8), other.call('waitForRoom', { keys: 8 })])
      await pause(100)
      truthy(turns > 0, 'waitForRoom() does not block the thread')
      clearInterval(timer)
      const aggregator = await puppet()
      await aggregator.call('aggregate', { handle: tracker.handle })
      await within(waiting, 'waitForRoom()')
      same(writer.mark(2000), true, 'a mark after waitForRoom()')
      same(
        ascending(await idsOf(tracker)),
        [...range(0, 8), ...range(1000, 1008), 2000],
        'all that answered true',
      )
    },
  },

  'with onFull "wait" a full lane blocks no page, and no thread for ever': {
    async run({ host, tracker: create }) {
      const tracker = await create({ aggregator: 'none', laneCapacity: 8, maxWaitMs: 100 })
      const writer = tracker.openWriter()
      for (let id = 0; id < 8; id++) writer.mark(id)
      const code = host.mayBlock ? 'ERR_DIRTYRING_STALLED' : 'ERR_DIRTYRING_WOULD_BLOCK'
      const started = Date.now()
      same(await codeOf(() => writer.mark(8)), code, 'a mark in a full lane')
      if (!host.mayBlock) truthy(Date.now() - started < 100, 'the mark threw without a wait')
      same(writer.staged + writer.room <= 8, true, 'what the lane holds')
    },
  },

  'a terminated worker is harvested': {
    async run(context) {
      const { host, tracker: create, puppet, library } = context
      const tracker = await create()
      const other = await puppet()
      const id = await other.call('open', { handle: tracker.handle })
      await other.call('mark', { keys: [1, 2, 3] })
      same(await idsOf(tracker), [], 'nothing is published')
      same(await harvest(context, tracker, other, id), 3, 'keys that were harvested')
      same(ascending(await idsOf(tracker)), [1, 2, 3], 'the harvested keys')
      const next = await puppet()
      same(await next.call('open', { handle: tracker.handle }), id, 'the writer is free again')
      if (!host.showsWorkerEnds && host.inBrowser) {
        const code = await codeOf(() => tracker.watch(next.worker))
        truthy(
          library.runtimeSupport().sharedMemory && code === 'ERR_DIRTYRING_INVALID_ARG',
          `watch() says that a page sees no worker's end: ${code}`,
        )
      }
    },
  },

  'a worker that is terminated inside batch() is harvested': {
    applies: (host) =>
      host.endsBusyWorkers ? undefined : 'terminate() does not end a Web Worker that never turns',
    async run(context) {
      const { tracker: create, puppet } = context
      const tracker = await create()
      const other = await puppet()
      const id = await other.call('open', { handle: tracker.handle })
      const buffer = beat()
      other.call('batchForEver', { keys: [1, 2, 3], beat: buffer }).catch(() => undefined)
      await until(() => beats(buffer) > 0, 'the batch')
      same(await idsOf(tracker), [], 'a batch that has not returned is not cut')
      same(await harvest(context, tracker, other, id, buffer), 3, 'keys that were harvested')
      same(ascending(await idsOf(tracker)), [1, 2, 3], 'the keys of the batch')
    },
  },

  'watch() harvests a worker that was there before the tracker': {
    applies: (host) =>
      host.showsWorkerEnds ? undefined : 'no thread sees the end of a Web Worker',
    async run(context) {
      const { tracker: create, puppet } = context
      const other = await puppet()
      const tracker = await create()
      tracker.watch(other.worker)
      const id = await other.call('open', { handle: tracker.handle })
      await other.call('mark', { keys: [1, 2] })
      same(await harvest(context, tracker, other, id), 2, 'keys that were harvested')
      same(ascending(await idsOf(tracker)), [1, 2], 'the harvested keys')
    },
  },

  'a worker that closes its writer has published': {
    async run({ tracker: create, puppet }) {
      const tracker = await create({ maxWriters: 1 })
      const other = await puppet()
      await other.call('open', { handle: tracker.handle })
      await other.call('mark', { keys: [1, 2] })
      await other.call('close')
      await other.terminate()
      same(await idsOf(tracker), [1, 2], 'its keys')
      tracker.openWriter().mark(3)
      same(await idsOf(tracker), [3], 'its place is free')
    },
  },

  'the aggregator of the library starts, and with it an own one, inline and none': {
    async run({ host, tracker: create, puppet }) {
      for (const aggregator of ['worker', () => host.aggregatorWorker(), 'inline', 'none']) {
        const tracker = await create({ aggregator })
        if (aggregator === 'none') {
          same(tracker.health().state, 'absent', 'no aggregator yet')
          const other = await puppet()
          await other.call('aggregate', { handle: tracker.handle })
        }
        tracker.openWriter().mark(1)
        same(await idsOf(tracker), [1], `keys with ${aggregator}`)
        same(tracker.health().state, 'running', `health() with ${aggregator}`)
        const last = await stopped(tracker)
        same(last, { ids: [], exact: true, last: true }, `stop() with ${aggregator}`)
        same(tracker.health().state, 'finished', `health() after stop() with ${aggregator}`)
        await host.settled()
      }
    },
  },

  'a second aggregator, and a second consumer of a BatchRing, are refused': {
    async run({ tracker: create, puppet, library }) {
      const tracker = await create({ aggregator: 'none' })
      const others = [await puppet(), await puppet()]
      await others[0].call('aggregate', { handle: tracker.handle })
      tracker.openWriter().mark(1)
      same(await idsOf(tracker), [1], 'keys')
      const { handle } = library.BatchRing.create({ capacity: 4, laneCapacity: 8, maxWriters: 2 })
      same(await others[0].call('drain', { handle }), 0, 'the first consumer')
      const taken = 'ERR_DIRTYRING_AGGREGATOR_TAKEN'
      same(await codeOf(() => library.runAggregator(tracker.handle)), taken, 'here')
      same(await codeOf(() => library.BatchRing.attach(handle).drain(() => {})), taken, 'here')
      const act = { handle: tracker.handle }
      same(await codeOf(() => others[1].call('aggregateAndWait', act)), taken, 'in a worker')
      same(await codeOf(() => others[1].call('drain', { handle })), taken, 'in a worker')
      same(await idsOf(tracker), [], 'the first one goes on')
    },
  },

  'an aggregator that dies is started again and loses nothing': {
    async run({ host, tracker: create }) {
      const workers = []
      const tracker = await create({
        aggregator() {
          const worker = host.aggregatorWorker()
          workers.push(worker)
          return worker
        },
      })
      const restarted = new Promise((resolve) => tracker.on('restart', resolve))
      const writer = tracker.openWriter()
      writer.mark(1)
      writer.flush()
      await host.killAggregator(workers[0])
      writer.mark(2)
      same((await within(restarted, 'a restart')).restarts, 1, 'restarts')
      writer.mark(3)
      same(await idsOf(tracker), [1, 2, 3], 'keys from before and after')
      same([workers.length, tracker.health().state], [2, 'running'], 'workers and state')
    },
  },

  'an aggregator that dies without a word is replaced, also while stop() waits': {
    takesLong: true, // 5 s of silence, twice
    applies: (host) => (host.showsAggregatorEnds ? 'the runtime tells its end' : undefined),
    async run({ host, tracker: create }) {
      const workers = []
      const aggregator = () => {
        const worker = host.aggregatorWorker()
        workers.push(worker)
        return worker
      }
      const tracker = await create({ aggregator })
      const writer = tracker.openWriter()
      workers[0].terminate()
      await pause(300)
      writer.mark(1)
      same(await idsOf(tracker), [1], 'keys')
      same(tracker.health().restarts, 1, 'restarts')
      workers[1].terminate()
      await pause(300)
      writer.mark(2)
      same(await stopped(tracker), { ids: [2], exact: true, last: true }, 'the last epoch')
    },
  },

  'stop() delivers what answered true, and refuses the rest': {
    async run({ tracker: create, puppet }) {
      const tracker = await create()
      const other = await puppet()
      await other.call('open', { handle: tracker.handle })
      const buffer = beat()
      const marking = other.call('markOn', { from: 100, beat: buffer })
      await until(() => beats(buffer) > 0, 'marks')
      const writer = tracker.openWriter()
      writer.mark(1)
      const stopping = tracker.stop()
      same(stopping instanceof Promise, true, 'stop() gives a promise')
      const last = await within(stopping, 'stop()')
      same(await codeOf(() => writer.mark(2)), STOPPED, 'a mark after stop()')
      const { stored, code } = await within(marking, 'the worker’s refusal')
      same(code, STOPPED, 'a mark in a worker after stop()')
      if (last.exact)
        same(ascending(last.ids()), [1, ...range(100, 100 + stored)], 'the last epoch')
      else same(last.reason, 'unpublished', 'the reason why the last epoch is not exact')
      truthy((await tracker.stop()).id === last.id, 'a second stop() is the first one')
      await within(tracker.closed, 'closed')
      same(await codeOf(() => tracker.advanceEpoch()), STOPPED, 'a cut after stop()')
    },
  },

  'stop({ consume }) deals with the last epoch': {
    async run({ tracker: create }) {
      const tracker = await create()
      tracker.openWriter().mark(7)
      const saved = []
      const consume = (epoch) => saved.push(...epoch.ids())
      const last = await within(tracker.stop({ consume }), 'stop()')
      same([saved, last.state], [[7], 'committed'], 'the last epoch')
    },
  },

  'batch() publishes when it returns, and when it throws': {
    async run({ tracker: create, puppet }) {
      const tracker = await create()
      const writer = tracker.openWriter()
      const other = await puppet()
      await other.call('open', { handle: tracker.handle })
      same(await other.call('batch', { keys: [1, 2] }), 2, 'what batch() returns')
      const failing = other.call('batch', { keys: [3], error: 'after COMMIT' })
      truthy((await codeOf(() => failing)).includes('after COMMIT'), 'batch() throws it on')
      same(await idsOf(tracker), [1, 2, 3], 'keys of a worker’s batches')
      let inside
      writer.batch(() => {
        writer.mark(4)
        inside = tracker.tryAdvanceEpoch()
      })
      const cut = await within(inside, 'a cut inside')
      same([...cut.ids()], [], 'a cut inside a batch')
      cut.commit()
      same(await idsOf(tracker), [4], 'the batch is in the next epoch')
    },
  },

  'a TxnBuffer is published whole, or forgotten': {
    async run({ tracker: create, puppet, library }) {
      const tracker = await create()
      const other = await puppet()
      await other.call('open', { handle: tracker.handle })
      const answer = await other.call('txn', { keys: [1, 2, 'a'], forgotten: [8, 9] })
      same(answer, { size: 3, stored: true, left: 0 }, 'flushTo()')
      const txn = new library.TxnBuffer(2n, 4)
      txn.mark(5)
      txn.markPair(6, 1)
      same([txn.has(5), txn.size, txn.drain().length, txn.size], [true, 2, 2, 0], 'drain()')
      const epoch = await within(tracker.advanceEpoch(), 'an epoch')
      same(
        [epoch.size, ...[1, 2, 'a', 8, 5].map((key) => epoch.has(key))],
        [3, true, true, true, false, false],
        'keys',
      )
      epoch.commit()
    },
  },

  'markEverything() and an overflow say that the epoch is not exact': {
    async run({ tracker: create }) {
      const tracker = await create({ maxKeysPerEpoch: 16 })
      const writer = tracker.openWriter()
      writer.markEverything()
      const all = await within(tracker.advanceEpoch(), 'an epoch')
      same([all.exact, all.reason, all.has(5)], [false, 'everything', true], 'everything')
      same(await codeOf(() => [...all.ids()]), 'ERR_DIRTYRING_INEXACT', 'its ids')
      all.commit()
      for (let id = 0; id < 17; id++) writer.mark(id)
      const over = await within(tracker.advanceEpoch(), 'an epoch')
      same([over.exact, over.reason], [false, 'overflow'], 'overflow')
      over.commit()
      writer.mark(1)
      same(await idsOf(tracker), [1], 'the next epoch is exact')
    },
  },

  'both kernels give the same epochs': {
    async run({ host, tracker: create, library }) {
      const results = []
      for (const kernel of ['wasm', 'js']) {
        const tracker = await create({ kernel })
        same(tracker.kernel, kernel, 'the kernel in use')
        const writer = tracker.openWriter()
        const epochs = []
        for (let round = 0; round < 3; round++) {
          for (let i = 0; i < 3000; i++) {
            if (i % 500 === 0) await writer.waitForRoom(500)
            writer.mark((i * 7919 * (round + 1)) % 2503)
          }
          epochs.push(await idsOf(tracker))
        }
        const set = new library.FingerprintSet({ kernel })
        set.addMany([1, 2, 2, 'a', 2n ** 64n - 1n])
        results.push([...epochs, [set.size, set.has('a'), ...set.bigints]])
        await stopped(tracker)
        await host.settled()
      }
      same(results[0], results[1], 'epochs of the two kernels')
      same(results[0][0].length, 2503, 'distinct keys')
    },
  },

  'a KeyDictionary gives one number to one key in all threads': {
    async run({ library, puppet }) {
      const dictionary = library.KeyDictionary.create({ maxKeys: 4096 })
      const { handle } = dictionary
      const keys = [...range(0, 500).map((i) => `user:${i % 250}:é`), new Uint8Array([1, 2, 3])]
      const others = await Promise.all([puppet(), puppet()])
      const [first, second] = await Promise.all([
        others[0].call('dictionary', { handle, keys }),
        others[1].call('dictionary', { handle, keys: keys.toReversed() }),
      ])
      same(first, second.toReversed(), 'the numbers in two threads')
      same(
        keys.map((key) => dictionary.id(key)),
        first,
        'the numbers here',
      )
      same([dictionary.size, new Set(first).size], [251, 251], 'how many there are')
      same(dictionary.key(first[7]), keys[7], 'the key of a number')
      same([...dictionary.bytes(first.at(-1))], [1, 2, 3], 'the bytes of a number')
      same(dictionary.find('none'), undefined, 'a key that is not there')
    },
  },

  'a BatchRing hands batches from a worker to drain()': {
    async run({ library, puppet }) {
      const ring = library.BatchRing.create({ capacity: 4, laneCapacity: 8, maxWriters: 2 })
      const other = await puppet()
      const batches = [[1n, 2n, 3n], [2n ** 64n - 1n]]
      const { id, pushed } = await other.call('produce', { handle: ring.handle, batches })
      const got = []
      const count = ring.drain((keys, producer) => got.push([producer, ...keys]))
      same([pushed, count], [[true, true], 2], 'batches')
      same(
        got,
        batches.map((batch) => [id, ...batch]),
        'what drain() hands out',
      )
    },
  },

  'BatchRing.wait() sleeps until there is a batch': {
    applies: (_, library) => lacks(library, 'wait'),
    async run({ library, host, puppet }) {
      const ring = library.BatchRing.create({ capacity: 4, laneCapacity: 8, maxWriters: 2 })
      const { handle } = ring
      if (!host.mayBlock) {
        same(await codeOf(() => ring.wait(50)), 'ERR_DIRTYRING_WOULD_BLOCK', 'wait() here')
        return
      }
      same(ring.wait(20), false, 'wait() without a batch')
      const other = await puppet()
      const producing = other.call('produceLater', { handle, batch: [5n], afterMs: 50 })
      same(ring.wait(10_000), true, 'wait() with a batch')
      const got = []
      ring.drain((keys) => got.push(...keys))
      same(got, [5n], 'the batch')
      await producing
    },
  },

  'BatchRing.batches() gives batches as they come, without blocking': {
    applies: (_, library) => lacks(library, 'batches'),
    async run({ library, puppet }) {
      const ring = library.BatchRing.create({ capacity: 4, laneCapacity: 8, maxWriters: 2 })
      const { handle } = ring
      const other = await puppet()
      const abort = new AbortController()
      const got = []
      let turns = 0
      const timer = setInterval(() => turns++, 5)
      const reading = (async () => {
        for await (const { keys, producerId } of ring.batches({ signal: abort.signal })) {
          got.push([producerId, ...keys])
          if (got.length === 2) abort.abort()
        }
      })()
      reading.catch(() => undefined)
      const { id } = await other.call('produceLater', { handle, batch: [1n, 2n], afterMs: 50 })
      await other.call('produceLater', { handle, batch: [3n], afterMs: 50 })
      await within(reading, 'the end of batches()')
      clearInterval(timer)
      same(
        got,
        [
          [id, 1n, 2n],
          [id, 3n],
        ],
        'batches',
      )
      truthy(turns > 0, 'the thread was not blocked')
    },
  },

  'consumers each get what changed since their own last epoch, exact or as a superset': {
    async run({ tracker: create, puppet }) {
      const tracker = await create({ maxConsumers: 2, maxKeysPerEpoch: 1024 })
      const often = tracker.consumer('often', { from: 'now' })
      const seldom = tracker.consumer('seldom', { from: 'now' })
      const other = await puppet()
      await other.call('open', { handle: tracker.handle })
      const cut = async (consumer) => {
        const epoch = await within(consumer.advanceEpoch(), `an epoch of ${consumer.name}`)
        epoch.commit()
        return epoch
      }
      const take = (consumer) =>
        within(
          consumer.consume((epoch) => [epoch.precision, ...ascending(epoch.ids())]),
          `an epoch of ${consumer.name}`,
        )
      await other.call('mark', { keys: [1, 2], flush: true })
      same(await take(often), ['exact', 1, 2], 'the first epoch of one')
      await other.call('mark', { keys: [2, 3], flush: true })
      same(await take(often), ['exact', 2, 3], 'its second')
      same(await take(seldom), ['exact', 1, 2, 3], 'the first epoch of the other')
      same([(await cut(seldom)).size, (await cut(often)).size], [0, 0], 'none is left')
      for (let from = 0; from < 3000; from += 600) {
        await other.call('markRange', { from, to: from + 600 })
        await cut(often)
      }
      const many = await within(seldom.advanceEpoch(), 'the epoch of a consumer that was away')
      same([many.precision, many.exact], ['superset', false], 'more keys than an epoch holds')
      truthy(
        range(0, 3000).every((id) => many.has(id)),
        'it has every key that was marked',
      )
      many.commit()
    },
  },

  'a consumer of namespaces gets their keys only': {
    async run({ tracker: create }) {
      const tracker = await create({ maxConsumers: 1 })
      const users = tracker.consumer('users', { from: 'now', namespaces: [7] })
      const writer = tracker.openWriter()
      writer.markPair(1, 7)
      writer.markPair(2, 8)
      const epoch = await within(users.advanceEpoch(), 'an epoch')
      same([...epoch.pairs], [1, 7], 'the keys of namespace 7')
      epoch.commit()
    },
  },

  'a consumer goes on by its clock in the next tracker, and is fresh without it': {
    async run({ tracker: create }) {
      const tracker = await create({ maxConsumers: 1 })
      const first = tracker.consumer('copy')
      const fresh = await within(first.advanceEpoch(), 'the first epoch')
      same([fresh.precision, fresh.reason], ['everything', 'fresh'], 'a consumer without a clock')
      fresh.commit()
      tracker.openWriter().mark(5)
      await within(tracker.stop(), 'stop()')
      const next = await create({ maxConsumers: 1, resume: tracker.save() })
      const second = next.consumer('copy', { since: fresh.clock })
      const rest = await within(second.advanceEpoch(), 'the epoch after the restart')
      same([rest.exact, [...rest.ids()]], [true, [5]], 'what the first tracker had left')
      rest.commit()
    },
  },

  'epochs({ whenDirty }) wakes its thread when there is a key': {
    async run({ tracker: create, puppet }) {
      const tracker = await create()
      const other = await puppet()
      await other.call('open', { handle: tracker.handle })
      const loop = tracker.epochs({ everyMs: 1, whenDirty: true })
      const next = loop.next()
      await pause(50)
      await other.call('mark', { keys: [9], flush: true })
      const { value: epoch } = await within(next, 'the epoch of a mark')
      same([...epoch.ids()], [9], 'keys')
      epoch.commit()
      await loop.return()
    },
  },

  'a worker reads an epoch by its handle until it is settled': {
    async run({ tracker: create, puppet }) {
      const tracker = await create()
      const keys = [3, 4, 'text', 'é'] // numbers come first
      tracker.openWriter().markMany(keys)
      const epoch = await within(tracker.advanceEpoch(), 'an epoch')
      const other = await puppet()
      same(await other.call('attach', { handle: epoch.handle }), keys, 'keys in a worker')
      epoch.commit()
      const late = other.call('attach', { handle: epoch.handle })
      same(await codeOf(() => late), 'ERR_DIRTYRING_SETTLED', 'a settled epoch')
    },
  },

  'a reader of a cluster gets the keys of two publishers': {
    applies: (host) =>
      host.cluster === undefined ? 'dirtyring/cluster is for servers' : undefined,
    async run({ tracker: create, host }) {
      const { openCluster, publishEpochs } = await host.cluster()
      const log = memoryLog()
      const nodes = await Promise.all(
        ['a', 'b'].map(async (node) => {
          const tracker = await create({ maxConsumers: 1 })
          const consumer = tracker.consumer('cluster', { from: 'now' })
          const publisher = await publishEpochs(consumer, { node, sink: log.sink(), everyMs: 10 })
          return { tracker, publisher }
        }),
      )
      const cluster = openCluster({ source: log.source() })
      const fresh = await within(cluster.advanceEpoch(), 'the first epoch of a reader')
      same(fresh.precision, 'everything', 'a reader without a clock')
      fresh.commit()
      // Above 10,000 keys, another thread encodes them.
      const count = 30_000
      const wanted = [...range(0, count), 'text']
      nodes[0].tracker.openWriter().markMany(range(0, 20_000), { atomic: false })
      nodes[1].tracker.openWriter().markMany([...range(10_000, count), 'text'], { atomic: false })
      const epoch = await within(cluster.advanceEpoch(), 'an epoch of the cluster')
      same([epoch.exact, epoch.size], [true, wanted.length], 'exact and size')
      truthy(
        wanted.every((key) => epoch.has(key)),
        'it has the keys of both',
      )
      epoch.commit()
      for (const { tracker, publisher } of nodes) {
        await within(tracker.stop(), 'stop()')
        await within(publisher.close(), 'the end of a publisher')
      }
      same((await within(cluster.advanceEpoch(), 'the last epoch')).exact, true, 'a clean end')
      await cluster.close()
    },
  },

  'a child process tells its parent by IPC what it marked': {
    applies: (host) =>
      host.forkPublisher === undefined ? 'a browser starts no processes' : undefined,
    async run({ host }) {
      const [{ openCluster }, { ipcHub }] = await Promise.all([host.cluster(), host.ipc()])
      const hub = ipcHub()
      const cluster = openCluster({ source: hub, from: 'now' })
      await within(cluster.ready(), 'a reader')
      const child = host.forkPublisher()
      hub.add(child)
      const ended = new Promise((resolve) => child.once('exit', resolve))
      const marked = (count) =>
        within(
          new Promise((resolve) => {
            child.on('message', function listen(message) {
              if (message?.marked !== count) return
              child.off('message', listen)
              resolve()
            })
          }),
          `${count} marks in a child`,
        )
      await marked(0)
      const keys = ['user:7', ...range(0, 500)]
      const isMarked = marked(keys.length)
      child.send({ task: 'mark', keys })
      await isMarked
      const epoch = await within(cluster.advanceEpoch(), 'an epoch of a child')
      same([epoch.exact, epoch.size], [true, keys.length], 'exact and size')
      truthy(
        keys.every((key) => epoch.has(key)),
        'it has the keys of the child',
      )
      epoch.commit()
      child.send({ task: 'end' })
      same(await within(ended, 'the end of a child'), 0, 'exit code')
      same((await within(cluster.advanceEpoch(), 'the last epoch')).exact, true, 'a clean end')
      await cluster.close()
    },
  },

  'misuse is an error with a code': {
    async run({ library, tracker: create }) {
      const tracker = await create()
      const writer = tracker.openWriter()
      const codes = [
        await codeOf(() => writer.mark(-1)),
        await codeOf(() => writer.mark({})),
        await codeOf(() => library.openWriter({})),
        await codeOf(() => library.DirtyTracker.create({ capacityy: 2 })),
      ]
      const [range, type] = ['ERR_DIRTYRING_OUT_OF_RANGE', 'ERR_DIRTYRING_INVALID_ARG']
      same(codes, [range, type, 'ERR_DIRTYRING_BAD_HANDLE', type], 'codes')
      writer.close()
      same(await codeOf(() => writer.mark(1)), 'ERR_DIRTYRING_CLOSED', 'a closed writer')
    },
  },
}
