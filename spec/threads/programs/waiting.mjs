/** Writers that find no room. */
import { Worker } from 'node:worker_threads'
import { DirtyTracker } from '../../../dist/index.js'
import { OWNER, PROGRESS, STARTING } from '../../../dist/memory/map.js'
import { patience } from '../../../dist/patience.js'
import { Puppet } from './puppet.mjs'
import { args, verdict } from './support.mjs'
import { codeOf, sleep, until, within } from './threads.mjs'

const small = {
  maxWriters: 4,
  maxKeysPerEpoch: 100_000,
  capacity: 4,
  laneCapacity: 64,
  batchSize: 8,
}

async function idsOf(tracker) {
  const epoch = await within(tracker.advanceEpoch(), 'an epoch')
  const ids = [...epoch.ids()].sort((a, b) => a - b)
  epoch.commit()
  return ids
}

const isRange = (ids, count) => ids.length === count && ids.every((id, i) => id === i)

const cases = {
  /** It sleeps until the aggregator has come, and goes on. */
  async wakes() {
    const tracker = await DirtyTracker.create({ ...small, aggregator: 'none' })
    const writer = new Puppet()
    const id = await writer.call('open', tracker.handle)
    const lane = () => tracker.stats().writers.find((each) => each.id === id)
    let isBack = false
    const marking = writer.call('mark', 0, 10_000).finally(() => (isBack = true))
    await until(() => lane().waits > 0, 'a writer that waits')
    const asleep = lane()
    await sleep(50)
    const stillAsleep = !isBack && lane().marked === asleep.marked
    const runner = new Puppet()
    await runner.call('aggregate', tracker.handle)
    const stored = await marking
    await writer.call('flush')
    const result = {
      held: asleep.inFlight + asleep.staged,
      stillAsleep,
      stored,
      complete: isRange(await idsOf(tracker), 10_000),
      waitMs: lane().waitMs > 0,
    }
    await writer.terminate()
    await within(tracker.stop(), 'stop()')
    await runner.terminate()
    return result
  },

  /** maxWaitMs ends it, nothing of the call is stored, and what was is kept. */
  async stalls() {
    const tracker = await DirtyTracker.create({ ...small, aggregator: 'none', maxWaitMs: 60 })
    const writer = new Puppet()
    await writer.call('open', tracker.handle)
    const mark = await writer.call('mark', 0, 100_000)
    const flush = await writer.call('flush').catch((error) => error.code)
    const staged = await writer.call('staged')
    const { rejected, marked } = tracker.stats().writers[0]
    const runner = new Puppet()
    await runner.call('aggregate', tracker.handle)
    await writer.call('flush')
    const complete = isRange(await idsOf(tracker), mark.stored)
    await writer.terminate()
    await within(tracker.stop(), 'stop()')
    await runner.terminate()
    return { mark, flush, staged, rejected, marked, complete }
  },

  /** onFull 'reject' says no at once, and stores nothing. */
  async rejects() {
    const tracker = await DirtyTracker.create({
      ...small,
      aggregator: 'none',
      onFull: 'reject',
      flushIntervalMs: 0,
    })
    const writer = new Puppet()
    await writer.call('open', tracker.handle)
    const stored = await writer.call('mark', 0, 100_000)
    const flushed = await writer.call('flush')
    const { rejected, marked, waits } = tracker.stats().writers[0]
    const last = await within(tracker.stop({ graceMs: 0 }), 'stop()')
    const ids = Array.from(last.listed(), Number).sort((a, b) => a - b)
    await writer.terminate()
    return { stored, flushed, rejected, marked, waits, published: ids.length, reason: last.reason }
  },

  /** stop() ends the sleep. */
  async stopped() {
    const tracker = await DirtyTracker.create({ ...small, aggregator: 'none' })
    const writer = new Puppet()
    await writer.call('open', tracker.handle)
    const marking = writer.call('mark', 0, 100_000)
    await until(() => tracker.stats().writers[0].waits > 0, 'a writer that waits')
    const last = await within(tracker.stop({ graceMs: 0 }), 'stop()')
    const { stored, code } = await marking
    // Room was made by stop(): some of what waited may have gone in before marks were refused.
    const ids = Array.from(last.listed(), Number).sort((a, b) => a - b)
    const prefix =
      isRange(ids, ids.length) &&
      ids.length <= stored &&
      (last.exact ? ids.length === stored : last.reason === 'unpublished')
    const later = await writer.call('mark', 5000, 1)
    await writer.terminate()
    return { code, prefix, later: later.code }
  },

  /**
   * The aggregator dies while the tracker's own thread, which would start another one, sleeps for
   * room: it does not sleep for ever.
   */
  async trackerThread() {
    const workers = []
    const aggregator = () => {
      const worker = new Worker(new URL('../../../dist/aggregator/worker.js', import.meta.url))
      workers.push(worker)
      return worker
    }
    const tracker = await DirtyTracker.create({ ...small, aggregator })
    const writer = tracker.openWriter()
    const ended = workers[0].terminate() // not awaited: this thread's event loop does not turn from here on
    let stored = 0
    const code = await codeOf(() => {
      // Whatever it takes before it has ended, it takes no more after that.
      for (; stored < 1e9; stored++) if (!writer.mark(stored)) throw new Error('refused')
    })
    const staged = writer.staged
    await within(ended, 'terminate()')
    await until(
      () => tracker.health().restarts === 1 && tracker.health().state === 'running',
      'another aggregator',
    )
    const tail = stored
    for (; stored < tail + 1000; stored++) writer.mark(stored)
    writer.flush() // a full ring would leave the last ones to the next epoch
    const epoch = await within(tracker.advanceEpoch(), 'an epoch')
    const ids = [...epoch.ids()].sort((a, b) => a - b)
    const complete = epoch.exact
      ? isRange(ids, stored)
      : epoch.reason === 'overflow' && isRange(ids, ids.length)
    epoch.commit()
    await within(tracker.stop(), 'stop()')
    return { code, kept: staged >= 0 && staged <= 64, complete }
  },

  /**
   * On the tracker's own thread: what prolongs a wait beyond `noProgressMs`, and what ends it. The
   * thread sleeps; a puppet does what happens meanwhile.
   */
  async prolonged({ by }) {
    patience.noProgressMs = 150
    const tracker = await DirtyTracker.create({
      ...small,
      aggregator: 'none',
      ...(by === 'maxWaitMs' ? { maxWaitMs: 400 } : {}),
    })
    const words = new Int32Array(tracker.handle.buffer)
    const writer = tracker.openWriter()
    const puppet = await new Puppet().ready()
    await puppet.call('ping')
    let stored = 0
    while (writer.room > 0) writer.mark(stored++)
    if (by === 'start') Atomics.store(words, STARTING, 1)
    const nudging = puppet.call(
      'nudge',
      tracker.handle,
      by === 'progress' || by === 'maxWaitMs' ? PROGRESS : undefined,
      600,
    )
    const began = performance.now()
    let outcome = 'nothing'
    try {
      for (const end = stored + 1000; stored < end; stored++) writer.mark(stored)
      writer.flush()
    } catch ({ code, message }) {
      outcome = { code, message }
    }
    const waitedMs = performance.now() - began
    Atomics.store(words, STARTING, 0)
    await nudging
    const complete = isRange(await idsOf(tracker), stored)
    await within(tracker.stop(), 'stop()')
    await puppet.terminate()
    return { outcome, waitedLonger: waitedMs > patience.noProgressMs * 2, complete }
  },

  /** A writer on another thread has only maxWaitMs. */
  async otherThread() {
    const tracker = await DirtyTracker.create({ ...small, aggregator: 'none' })
    const writer = new Puppet()
    await writer.call('patience', { noProgressMs: 20 })
    await writer.call('open', tracker.handle)
    const marking = writer.call('mark', 0, 1000)
    await until(() => tracker.stats().writers[0].waits > 0, 'a writer that waits')
    await sleep(200)
    const runner = new Puppet()
    await runner.call('aggregate', tracker.handle)
    const stored = await marking
    await writer.call('flush')
    const complete = isRange(await idsOf(tracker), 1000)
    await writer.terminate()
    await within(tracker.stop(), 'stop()')
    await runner.terminate()
    return { stored, complete }
  },

  /**
   * The tracker says so while its new worker is on its way: its own thread waits for that worker.
   */
  async restarting() {
    patience.noProgressMs = 150
    const slow = `Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 600); import(${JSON.stringify(new URL('../../../dist/aggregator/worker.js', import.meta.url).href)})`
    const workers = []
    const aggregator = () => {
      workers.push(
        workers.length === 1
          ? new Worker(slow, { eval: true })
          : new Worker(new URL('../../../dist/aggregator/worker.js', import.meta.url)),
      )
      return workers.at(-1)
    }
    const tracker = await DirtyTracker.create({ ...small, aggregator })
    const words = new Int32Array(tracker.handle.buffer)
    const before = Atomics.load(words, STARTING)
    const writer = tracker.openWriter()
    await workers[0].terminate()
    await until(() => Atomics.load(words, STARTING) === 1, 'a start under way')
    const role = Atomics.load(words, OWNER)
    for (let id = 0; id < 1000; id++) writer.mark(id)
    writer.flush()
    const complete = isRange(await idsOf(tracker), 1000)
    await until(() => tracker.health().state === 'running', 'a restart')
    const after = Atomics.load(words, STARTING)
    await within(tracker.stop(), 'stop()')
    return { before, role, complete, after }
  },

  /** 'inline': a writer on the very thread makes its own room. */
  async inline() {
    const tracker = await DirtyTracker.create({ ...small, aggregator: 'inline' })
    const writer = tracker.openWriter()
    let refused = 0
    for (let id = 0; id < 10_000; id++) if (!writer.mark(id)) refused++
    const many = writer.markMany(Array.from({ length: 64 }, (_, i) => 10_000 + i))
    const other = new Puppet()
    await other.call('open', tracker.handle)
    const stored = await other.call('mark', 10_064, 10_000)
    await other.call('flush')
    const complete = isRange(await idsOf(tracker), 20_064)
    await other.terminate()
    await within(tracker.stop(), 'stop()')
    return { refused, many, stored, complete }
  },

  /**
   * Another thread's staged keys: a cut leaves them, flushed() asks for them, and waits for a
   * thread that does not turn.
   */
  async flushed() {
    const tracker = await DirtyTracker.create({
      maxWriters: 2,
      maxKeysPerEpoch: 1000,
      flushIntervalMs: 0,
    })
    const cut = async () => {
      const epoch = await within(tracker.advanceEpoch(), 'an epoch')
      const result = { ids: [...epoch.ids()], staged: epoch.staged }
      epoch.commit()
      return result
    }
    const writer = new Puppet()
    await writer.call('open', tracker.handle)
    await writer.call('mark', 0, 5)
    const first = await cut()
    const words = new Int32Array(new SharedArrayBuffer(8))
    const holding = writer.call('hold', words)
    await until(() => Atomics.load(words, 0) === 1, 'a thread that does not turn')
    const blocked = await tracker.flushed({ signal: AbortSignal.timeout(50) }).then(
      () => 'flushed',
      ({ name }) => name,
    )
    Atomics.store(words, 1, 1)
    Atomics.notify(words, 1)
    await holding
    await writer.call('mark', 5, 2)
    await within(tracker.flushed(), 'flushed()')
    const left = await writer.call('staged')
    const second = await cut()
    await writer.terminate()
    await within(tracker.stop(), 'stop()')
    return { first, blocked, left, second }
  },

  /** Staged keys are published by the clock, or, with an interval of 0, not. */
  async clock() {
    const published = async (flushIntervalMs) => {
      const tracker = await DirtyTracker.create({
        maxWriters: 2,
        maxKeysPerEpoch: 1000,
        flushIntervalMs,
      })
      const writer = new Puppet()
      await writer.call('open', tracker.handle)
      await writer.call('mark', 0, 3)
      if (flushIntervalMs > 0) await until(() => tracker.stats().batches > 0, 'a batch')
      else await sleep(100)
      const first = { batches: tracker.stats().batches, staged: await writer.call('staged') }
      await writer.call('mark', 3, 2)
      if (flushIntervalMs > 0) await until(() => tracker.stats().batches > 1, 'another batch')
      else await writer.call('flush')
      const ids = await idsOf(tracker)
      await writer.terminate()
      await within(tracker.stop(), 'stop()')
      return { first, ids }
    }
    return { on: await published(5), off: await published(0) }
  },
}

verdict(await cases[args.case](args))
