/** The aggregator meets memory that the library never writes. */
import { Worker } from 'node:worker_threads'
import { DirtyTracker, resolveOptions } from '../../../dist/index.js'
import {
  epochAt,
  LANE_STAGED_END,
  laneAt,
  layoutOf,
  SLOT_COUNT,
  TAIL,
} from '../../../dist/memory/map.js'
import { emptyWord, lapOf } from '../../../dist/ring/token.js'
import { Puppet } from './puppet.mjs'
import { args, verdict } from './support.mjs'
import { codeOf, until, within } from './threads.mjs'

const options = { maxWriters: 3, maxKeysPerEpoch: 10_000, capacity: 16, laneCapacity: 16_384 }

/** The ring as a vandal sees it. */
function ringOf(tracker) {
  const words = new Int32Array(tracker.handle.buffer)
  const layout = layoutOf(tracker.options)
  const tail = () => Atomics.load(words, TAIL)
  const lap = () => lapOf(tail(), layout.capacityBits)
  return {
    words,
    layout,
    lap,
    /** Puts a word where the next token goes. Wakes no thread: the aggregator looks by itself. */
    put: (word) => Atomics.store(words, layout.ring + (tail() & (layout.capacity - 1)), word),
  }
}

const cases = {
  /** A token that can't be handled is tried eight times, then given up, and its epoch says so. */
  async givenUp() {
    const at = epochAt(layoutOf(resolveOptions(options)), 0) + SLOT_COUNT
    const workerData = { at, value: 2, times: 8 }
    const tracker = await DirtyTracker.create({
      ...options,
      aggregator: () =>
        new Worker(new URL('./faulty-aggregator.mjs', import.meta.url), { workerData }),
    })
    const writer = tracker.openWriter()
    writer.mark(1)
    await within(tracker.drained(), 'drained()')
    writer.mark(11)
    writer.flush()
    const states = new Set()
    let least = tracker.health()
    await until(() => {
      const health = tracker.health()
      states.add(health.state)
      if (!health.healthy) least = health
      return health.panics >= 8
    }, 'eight panics')
    writer.mark(2)
    const faulty = await within(tracker.advanceEpoch(), 'an epoch')
    const first = {
      exact: faulty.exact,
      reason: faulty.reason,
      ids: Array.from(faulty.listed(), Number),
      hasAll: faulty.has(12345),
    }
    faulty.commit()
    writer.mark(3)
    const next = await within(tracker.advanceEpoch(), 'the next epoch')
    const second = { exact: next.exact, ids: [...next.ids()] }
    next.commit()
    const after = tracker.health()
    await within(tracker.stop(), 'stop()')
    return { backedOff: states.has('backing-off'), least, first, second, after }
  },

  /** What is put right in time costs nothing. */
  async transient() {
    const tracker = await DirtyTracker.create({ ...options, aggregator: 'none' })
    const { words, layout } = ringOf(tracker)
    const writer = tracker.openWriter()
    for (let id = 0; id < 10; id++) writer.mark(id)
    writer.flush()
    const stagedEnd = laneAt(layout, writer.id) + LANE_STAGED_END
    Atomics.sub(words, stagedEnd, 5) // its batch of 10 names more than there is
    const runner = new Puppet()
    await runner.call('aggregate', tracker.handle)
    await until(() => tracker.health().panics >= 3, 'three panics')
    const { state, lastError } = tracker.health()
    Atomics.add(words, stagedEnd, 5)
    const epoch = await within(tracker.advanceEpoch(), 'an epoch')
    const result = {
      state,
      lastError,
      exact: epoch.exact,
      ids: [...epoch.ids()],
      panics: tracker.health().panics,
      stats: tracker.stats().keys,
    }
    epoch.commit()
    result.healthy = tracker.health().healthy
    await within(tracker.stop(), 'stop()')
    await runner.terminate()
    return result
  },

  /** A word that no part of the library writes: the aggregator cannot continue; each wait ends. */
  async corrupt() {
    const tracker = await DirtyTracker.create({ ...options, aggregator: 'none', laneCapacity: 4 })
    const { put, lap } = ringOf(tracker)
    const sleeper = new Puppet()
    await sleeper.call('open', tracker.handle)
    const sleeping = sleeper.call('mark', 0, 100) // its lane takes four
    await until(
      () => tracker.stats().writers.some(({ waits }) => waits > 0),
      'a writer that sleeps',
    )
    const pending = codeOf(() => within(tracker.advanceEpoch(), 'an epoch'))
    put(emptyWord(lap() + 5))
    const runner = new Puppet()
    const running = await runner.call('aggregate', tracker.handle)
    const result = {
      running,
      pending: await pending,
      later: await codeOf(() => within(tracker.advanceEpoch(), 'an epoch')),
      drained: await codeOf(() => within(tracker.drained(), 'drained()')),
      sleeper: (await sleeping).code,
      stop: await codeOf(() => within(tracker.stop(), 'stop()')),
      healthy: tracker.health().healthy,
    }
    await sleeper.terminate()
    await runner.terminate()
    return result
  },
}

verdict(await cases[args.case](args))
