/** The threads that can run the aggregator, and what happens when none does. */
import { Worker } from 'node:worker_threads'
import { DirtyTracker, runAggregator } from '../../../dist/index.js'
import { patience } from '../../../dist/patience.js'
import { Puppet } from './puppet.mjs'
import { args, verdict } from './support.mjs'
import { codeOf, exitOf, sleep, until, within } from './threads.mjs'

const entry = new URL('../../../dist/aggregator/worker.js', import.meta.url)
const few = { maxWriters: 4, maxKeysPerEpoch: 100_000 }

const cases = {
  async kind({ kind }) {
    const begun = []
    const aggregator =
      kind === 'function' ? (handle) => (begun.push(handle), new Worker(entry)) : kind
    const tracker = await within(DirtyTracker.create({ ...few, aggregator }), 'create()')
    const before = tracker.health().state
    const runner = new Puppet()
    const taken = []
    let running
    if (kind === 'none') running = await runner.call('aggregate', tracker.handle)
    else taken.push(await runner.call('aggregate', tracker.handle))
    taken.push(await codeOf(() => runAggregator(tracker.handle)))
    const other = new Puppet()
    taken.push(await other.call('aggregate', tracker.handle))

    const after = tracker.health()
    await other.call('open', tracker.handle)
    await other.call('mark', 0, 5000)
    await other.call('flush')
    const own = tracker.openWriter()
    for (let id = 5000; id < 8000; id++) own.mark(id)
    const first = await within(tracker.advanceEpoch(), 'an epoch')
    const ids = [...first.ids()].sort((a, b) => a - b)
    const restored = first.restore()
    own.mark(8000)
    await within(restored, 'a restore')
    const last = await within(tracker.stop(), 'stop()')
    const result = {
      before,
      running,
      after: after.state,
      healthy: after.healthy,
      iterated: after.iterations > 0,
      taken,
      handle:
        begun.length === 0 || (begun.length === 1 && begun[0].buffer === tracker.handle.buffer),
      exact: ids.length === 8000 && ids.every((id, i) => id === i),
      lastSize: last.size,
      finished: tracker.health(),
      ended: kind === 'none' ? await runner.call('aggregated') : undefined,
    }
    await runner.terminate()
    await other.terminate()
    return result
  },

  /** 'none': the thread that runs it dies, again and again, and another one takes over. */
  async replaced() {
    const tracker = await DirtyTracker.create({
      ...few,
      aggregator: 'none',
      laneCapacity: 64,
      capacity: 4,
    })
    const writer = await new Puppet().ready()
    await writer.call('open', tracker.handle)
    const marking = writer.call('mark', 0, 50_000) // sleeps while no aggregator runs
    const states = []
    for (let i = 0; i < 4; i++) {
      const runner = new Puppet()
      states.push(await runner.call('aggregate', tracker.handle))
      await sleep(3)
      await runner.terminate()
      await until(() => tracker.health().state === 'absent', 'the role to be free')
    }
    const runner = new Puppet()
    states.push(await runner.call('aggregate', tracker.handle))
    const stored = await marking
    await writer.call('flush')
    const epoch = await within(tracker.advanceEpoch(), 'an epoch')
    const ids = [...epoch.ids()].sort((a, b) => a - b)
    epoch.commit()
    await writer.terminate()
    await within(tracker.stop(), 'stop()')
    await runner.terminate()
    return {
      states,
      stored,
      exact: epoch.exact,
      complete: ids.length === 50_000 && ids.every((id, i) => id === i),
    }
  },

  /** 'none', and no thread ever ran the aggregator: stop() does all its work. */
  async neverRun() {
    const tracker = await DirtyTracker.create({ ...few, aggregator: 'none', capacity: 8 })
    const writer = tracker.openWriter()
    for (let id = 0; id < 1000; id++) writer.mark(id)
    const cut = tracker.advanceEpoch()
    for (let id = 1000; id < 1100; id++) writer.mark(id)
    const last = await within(tracker.stop(), 'stop()')
    const epoch = await within(cut, 'the cut made before')
    return {
      first: [...epoch.ids()].length,
      last: [...last.ids()].sort((a, b) => a - b).slice(0, 3),
      lastSize: last.size,
      health: tracker.health(),
    }
  },

  /** Functions that give no aggregator. */
  async refused() {
    const create = (aggregator) =>
      codeOf(() => within(DirtyTracker.create({ ...few, aggregator }), 'create()'))
    const message = await DirtyTracker.create({
      ...few,
      aggregator: () => new Worker('throw new Error("no luck")', { eval: true }),
    }).catch((error) => error.message)
    const messageFor = (worker) =>
      DirtyTracker.create({ ...few, aggregator: () => worker }).catch((error) => error.message)
    const ended = new Worker('', { eval: true })
    await exitOf(ended)
    return {
      ended: [await create(async () => ended), await messageFor(ended)],
      noWorkerMessage: await messageFor({}),
      nothing: await create(() => undefined),
      noWorker: await create(() => ({ postMessage() {} })),
      throws: await create(() => {
        throw Object.assign(new Error('no'), { code: 'MINE' })
      }),
      rejects: await create(async () => {
        throw Object.assign(new Error('no'), { code: 'MINE' })
      }),
      exits: await create(() => new Worker('process.exit(3)', { eval: true })),
      crashes: await create(() => new Worker('throw new Error("no luck")', { eval: true })),
      message,
      another: await create(
        () =>
          new Worker('require("node:worker_threads").parentPort.once("message", () => {})', {
            eval: true,
          }),
      ),
    }
  },

  /** It ran, died, and the next one never comes: the user's function does not answer. */
  async never() {
    patience.silenceMs = 300
    let starts = 0
    let answer
    const worker = new Worker(entry)
    const aggregator = () =>
      ++starts === 1 ? worker : new Promise((resolve) => (answer = resolve))
    const tracker = await DirtyTracker.create({ ...few, aggregator })
    const writer = tracker.openWriter()
    await worker.terminate()
    await until(() => answer !== undefined, 'another start')
    for (let id = 0; id < 1000; id++) writer.mark(id)
    const last = await within(tracker.stop(), 'stop()')
    const late = new Worker(entry)
    answer(late)
    await exitOf(late)
    return { size: last.size, exact: last.exact, state: tracker.health().state, starts }
  },

  /** It ran, died, and can't be started any more. */
  async givenUp() {
    const workers = []
    const startedAt = []
    const aggregator = () => {
      startedAt.push(performance.now())
      const worker =
        workers.length === 0 ? new Worker(entry) : new Worker('process.exit(3)', { eval: true })
      workers.push(worker)
      return worker
    }
    const tracker = await DirtyTracker.create({ ...few, aggregator })
    const writer = tracker.openWriter()
    writer.mark(1)
    writer.flush()
    await within(tracker.drained(), 'drained()')
    await workers[0].terminate()
    const pending = codeOf(() => within(tracker.advanceEpoch(), 'an epoch'))
    const result = { pending: await pending }
    result.later = await codeOf(() => within(tracker.advanceEpoch(), 'an epoch'))
    result.starts = workers.length
    result.gaps = startedAt.slice(2).map((at, i) => at - startedAt[i + 1])
    result.health = tracker.health()
    result.stopped = await within(
      tracker.stop().then(
        (last) => ['last epoch', ...last.ids()],
        (error) => [error.code],
      ),
      'stop()',
    )
    return result
  },
}

verdict(await cases[args.case](args))
