/**
 * Threads that end, of their own accord or not, and what becomes of the keys that they had staged.
 */
import { DirtyTracker } from '../../../dist/index.js'
import { Puppet } from './puppet.mjs'
import { args, verdict } from './support.mjs'
import { codeOf, sleep, until, within } from './threads.mjs'

const options = { maxWriters: 4, maxKeysPerEpoch: 10_000, flushIntervalMs: 0 }

/** Five keys staged, then the end; what the next epoch has, and how it came there. */
async function endOf(puppet, tracker, end, afterwards = () => undefined) {
  await puppet.call('open', tracker.handle)
  await puppet.call('mark', 0, 5)
  const staged = await puppet.call('staged')
  if (end === 'terminate') await puppet.terminate()
  else puppet.tell(end)
  await puppet.exit
  afterwards()
  await within(tracker.drained(), 'drained()')
  const { harvested, batches, writers } = tracker.stats()
  const epoch = await within(tracker.advanceEpoch(), 'an epoch')
  const ids = epoch.size > 0 ? [...epoch.ids()] : []
  epoch.commit()
  return { staged, ids, harvested, batches, open: writers.map(({ open }) => open) }
}

const cases = {
  /** Started after create(). */
  async watched() {
    const results = {}
    for (const end of ['end', 'exit', 'crash', 'terminate']) {
      const tracker = await DirtyTracker.create(options)
      const puppet = new Puppet()
      puppet.worker.on('error', () => undefined)
      results[end] = await endOf(puppet, tracker, end)
      await within(tracker.stop(), 'stop()')
    }
    return results
  },

  /** Started before create(), and not watched. */
  async unwatched() {
    const results = {}
    for (const end of ['end', 'exit', 'terminate']) {
      const puppet = await new Puppet().ready()
      const tracker = await DirtyTracker.create(options)
      results[end] = await endOf(puppet, tracker, end)
      const last = await within(tracker.stop({ graceMs: 0 }), 'stop()')
      results[end].last = last.exact ? 'exact' : last.reason
    }
    return results
  },

  async watch() {
    const puppet = await new Puppet().ready()
    const tracker = await DirtyTracker.create(options)
    const after = await new Puppet().ready()
    const listeners = after.worker.listenerCount('exit')
    const results = {
      same: tracker.watch(puppet.worker) === puppet.worker,
      twice: [
        puppet.worker.listenerCount('exit'),
        (tracker.watch(puppet.worker), puppet.worker.listenerCount('exit')),
      ],
      automatic: [listeners, (tracker.watch(after.worker), after.worker.listenerCount('exit'))],
      errors: {},
    }
    for (const [name, worker] of Object.entries({
      nothing: undefined,
      zero: null,
      number: 7,
      object: {},
    })) {
      results.errors[name] = await codeOf(() => tracker.watch(worker))
    }
    results.harvest = await endOf(puppet, tracker, 'terminate')
    await after.terminate()
    const counts = [process.listenerCount('worker')]
    await within(tracker.stop(), 'stop()')
    counts.push(process.listenerCount('worker'))
    return { ...results, counts }
  },

  /** Started before create(), and ended before watch(). */
  async watchLate() {
    const puppet = await new Puppet().ready()
    const tracker = await DirtyTracker.create(options)
    const watched = {}
    const harvest = await endOf(
      puppet,
      tracker,
      'terminate',
      () => (
        (watched.before = tracker.stats().harvested),
        (watched.same = tracker.watch(puppet.worker) === puppet.worker)
      ),
    )
    tracker.watch(puppet.worker)
    await within(tracker.drained(), 'drained()')
    watched.twice = tracker.stats().harvested
    await within(tracker.stop(), 'stop()')
    return { harvest, ...watched }
  },

  /** Many trackers and writers on one thread: no warning about too many listeners. */
  async many() {
    const warnings = []
    process.on('warning', (warning) => warnings.push(warning.message))
    const trackers = []
    for (let i = 0; i < 12; i++)
      trackers.push(await DirtyTracker.create({ ...options, aggregator: 'inline', maxWriters: 16 }))
    const writers = trackers.flatMap((tracker) =>
      Array.from({ length: 12 }, () => tracker.openWriter()),
    )
    const puppet = new Puppet()
    for (const tracker of trackers) await puppet.call('open', tracker.handle)
    for (let i = 0; i < 12; i++) await puppet.call('mark', i, 1, i)
    await puppet.terminate()
    writers.forEach((writer, i) => writer.mark(100 + i))
    const sizes = []
    for (const tracker of trackers) {
      await within(tracker.drained(), 'drained()')
      sizes.push((await within(tracker.stop(), 'stop()')).size)
    }
    await sleep(10)
    return { warnings, sizes }
  },

  /** stop() while a writer's thread does not turn. */
  async stopped() {
    const tracker = await DirtyTracker.create(options)
    const puppet = new Puppet()
    await puppet.call('open', tracker.handle)
    await puppet.call('mark', 0, 5)
    puppet.tell('block', 400)
    await sleep(20)
    const last = await within(tracker.stop({ graceMs: 10 }), 'stop()')
    const result = { size: last.size, exact: last.exact, reason: last.reason }
    const late = await puppet.call('mark', 5, 1)
    result.code = late.code
    result.says = late.message
    result.close = await puppet.call('close').then(() => 'closed')
    result.open = await puppet.call('open', tracker.handle).catch((error) => error.code)
    await puppet.terminate()
    return result
  },

  /** A lane is given back by a death, and taken again, many times. */
  async reused() {
    const tracker = await DirtyTracker.create({ ...options, maxWriters: 1 })
    const ids = []
    for (let i = 0; i < 5; i++) {
      const puppet = new Puppet()
      const id = await puppet.call('open', tracker.handle)
      const second = await puppet.call('open', tracker.handle).catch((error) => error.code)
      await puppet.call('mark', i * 10, 3)
      await puppet.terminate()
      await within(tracker.drained(), 'drained()')
      ids.push([id, second])
    }
    await until(() => tracker.stats().writers.every(({ open }) => !open), 'all lanes to be free')
    const last = await within(tracker.stop(), 'stop()')
    return { ids, size: last.size, harvested: tracker.stats().harvested }
  },
}

verdict(await cases[args.case](args))
