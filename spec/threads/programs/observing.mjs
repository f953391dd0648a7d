/** What a tracker tells of threads that die, wait, or cannot go on. */
import { Worker } from 'node:worker_threads'
import { DirtyTracker } from '../../../dist/index.js'
import { layoutOf, TAIL } from '../../../dist/memory/map.js'
import { emptyWord, lapOf } from '../../../dist/ring/token.js'
import { Puppet } from './puppet.mjs'
import { args, verdict } from './support.mjs'
import { until, within } from './threads.mjs'

const options = { maxWriters: 4, maxKeysPerEpoch: 1000, flushIntervalMs: 0 }
const newAggregator = () =>
  new Worker(new URL('../../../dist/aggregator/worker.js', import.meta.url))

function listen(tracker, event) {
  const told = []
  tracker.on(event, (what) => told.push(what))
  return told
}

const cases = {
  async events() {
    const workers = []
    const aggregator = () => (workers.push(newAggregator()), workers.at(-1))
    const tracker = await DirtyTracker.create({ ...options, epochSlots: 3, aggregator })
    const full = await DirtyTracker.create({
      ...options,
      aggregator: 'none',
      capacity: 2,
      laneCapacity: 4,
    })
    const [harvest, restart, slotStall] = ['harvest', 'restart', 'stall'].map((event) =>
      listen(tracker, event),
    )
    const laneStall = listen(full, 'stall')

    const waiting = new Puppet()
    await waiting.call('open', full.handle)
    const marking = waiting.call('mark', 0, 6)

    const writer = tracker.openWriter()
    for (const id of [0, 1]) {
      writer.mark(id)
      await within(tracker.advanceEpoch(), 'an epoch') // and never settled
    }
    const third = tracker.advanceEpoch().catch(({ code }) => code)

    const puppet = new Puppet()
    await puppet.call('open', tracker.handle)
    await puppet.call('mark', 10, 5)
    const { threadId } = puppet.worker
    await puppet.terminate()
    await until(() => harvest.length > 0, 'a harvest')
    await workers[0].terminate()
    await until(
      () => restart.length > 0 && slotStall.length > 0 && laneStall.length > 0,
      'a restart and two stalls',
    )

    await within(tracker.stop(), 'stop()')
    await third
    await within(full.stop({ graceMs: 0 }), 'stop()')
    await marking
    await waiting.terminate()
    return { threadId, harvest, restart, slotStall, laneStall }
  },

  async listenerThrows() {
    const uncaught = []
    process.on('uncaughtException', (error) => uncaught.push(error.message))
    const tracker = await DirtyTracker.create({ ...options, aggregator: 'inline' })
    let throws = true
    tracker.on('epoch', () => {
      if (throws) throw new Error('of a listener')
    })
    const others = []
    tracker.on('epoch', ({ id }) => others.push(id))
    const writer = tracker.openWriter()
    writer.mark(1)
    const epoch = await within(tracker.advanceEpoch(), 'an epoch')
    throws = false
    writer.mark(2)
    const last = await within(tracker.stop(), 'stop()')
    return { uncaught, others, ids: [...epoch.ids(), ...last.ids()] }
  },

  /** `closed` settles although no call is pending, and it needs no listener. */
  async closed() {
    let unhandled = 0
    process.on('unhandledRejection', () => unhandled++)
    const outcome = (tracker) =>
      within(
        tracker.closed.then(
          () => 'resolved',
          (error) => error.code,
        ),
        'closed',
      )

    const workers = []
    const dying = await DirtyTracker.create({
      ...options,
      aggregator() {
        workers.push(
          workers.length === 0 ? newAggregator() : new Worker('process.exit(3)', { eval: true }),
        )
        return workers.at(-1)
      },
    })
    await workers[0].terminate()
    const given = await outcome(dying)

    const corrupt = await DirtyTracker.create(options)
    const words = new Int32Array(corrupt.handle.buffer)
    const { ring, capacity, capacityBits } = layoutOf(corrupt.options)
    const tail = Atomics.load(words, TAIL)
    Atomics.store(words, ring + (tail & (capacity - 1)), emptyWord(lapOf(tail, capacityBits) + 5))
    return { given, corrupt: await outcome(corrupt), unhandled }
  },

  async restarting() {
    const workers = []
    let start
    const aggregator = async () => {
      if (workers.length > 0) await new Promise((resolve) => (start = resolve))
      workers.push(newAggregator())
      return workers.at(-1)
    }
    const tracker = await DirtyTracker.create({ ...options, aggregator })
    tracker.ref()
    await workers[0].terminate()
    await until(() => start !== undefined, 'another start')
    const between = tracker.health()
    start()
    await until(() => tracker.health().state === 'running', 'another aggregator')
    const after = tracker.health()
    await within(tracker.stop(), 'stop()')
    return {
      between,
      after,
      stopped: {
        state: tracker.health().state,
        terminated: workers.every(({ threadId }) => threadId === -1),
      },
    }
  },
}

verdict(await cases[args.case](args))
