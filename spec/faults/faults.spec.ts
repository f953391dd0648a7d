import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { afterEach, describe, expect, it } from '@jest/globals'
import { FINISHED_ALL, IDLE } from '../../lib/aggregator/step.js'
import { Supervisor } from '../../lib/aggregator/supervisor.js'
import type { SealedEpoch } from '../../lib/epochs/sealed-epoch.js'
import { attachMemory } from '../../lib/memory/memory.js'
import type { TrackerOptions } from '../../lib/options.js'
import { openLane, stage } from '../../lib/ring/lane.js'
import { DirtyTracker } from '../../lib/tracker/tracker.js'
import { noClock } from '../support/steps.js'

/**
 * The faults of the tracker that this library descends from, each turned into its opposite.
 * spec/faults/ has a patch for each that puts the fault back; spec/faults/run.mjs shows that the
 * spec of the same number fails then.
 */
describe('A fault of old', () => {
  const trackers: DirtyTracker[] = []

  async function create(options: TrackerOptions = {}): Promise<DirtyTracker> {
    const tracker = await DirtyTracker.create({
      maxKeysPerEpoch: 1000,
      maxWriters: 4,
      flushIntervalMs: 0,
      aggregator: 'inline',
      ...options,
    })
    trackers.push(tracker)
    return tracker
  }

  /**
   * An aggregator that works when it is told to, on this thread, for a tracker with `aggregator:
   * 'none'`.
   */
  function aggregatorOf(tracker: DirtyTracker): () => void {
    const supervisor = new Supervisor(attachMemory(tracker.handle, 'tracker'), 1234)
    return () => {
      while (![IDLE, FINISHED_ALL].includes(supervisor.run(1)));
    }
  }

  async function nextIds(tracker: DirtyTracker): Promise<number[]> {
    const epoch = await tracker.advanceEpoch()
    const ids = [...epoch.ids()]
    epoch.commit()
    return ids
  }

  const turns = async (): Promise<void> => {
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
  }

  /** stop(), with the aggregator of this thread at work until it resolves. */
  const stopWith = async (
    tracker: DirtyTracker,
    aggregate: () => unknown,
  ): Promise<SealedEpoch> => {
    let isOver = false
    const last = tracker.stop().finally(() => (isOver = true))
    while (!isOver) {
      aggregate()
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    return last
  }

  afterEach(async () => {
    for (const tracker of trackers.splice(0)) await tracker.stop({ graceMs: 0 })
  })

  it('1: a batch sent to a full ring is not dropped', async () => {
    const tracker = await create({
      aggregator: 'none',
      capacity: 2,
      laneCapacity: 64,
      batchSize: 1,
      onFull: 'reject',
    })
    const writer = tracker.openWriter()
    const marked: number[] = []
    for (let id = 1; id <= 64; id++) if (writer.mark(id)) marked.push(id)
    expect(marked).toHaveLength(64)
    expect(writer.mark(65)).toBe(false)
    const aggregate = aggregatorOf(tracker)
    aggregate()
    expect(writer.flush()).toBe(true)
    const epoch = tracker.advanceEpoch()
    aggregate()
    expect([...(await epoch).ids()]).toEqual(marked)
    await stopWith(tracker, aggregate)
  })

  it('2: flush() publishes what was marked', async () => {
    const tracker = await create({ batchSize: 64 })
    const [writer, other] = [tracker.openWriter(), tracker.openWriter()]
    writer.mark(1)
    other.mark(2)
    expect([writer.staged, other.staged]).toEqual([1, 1])
    expect(writer.flush()).toBe(true)
    expect([writer.staged, other.staged]).toEqual([0, 1])
    expect(tracker.stats()).toMatchObject({
      staged: 1,
      writers: [{ published: 1 }, { published: 0 }],
    })
  })

  it('3: a full batch is published by itself', async () => {
    const tracker = await create({ batchSize: 4 })
    const writer = tracker.openWriter()
    const staged = Array.from({ length: 9 }, (_, id) => {
      writer.mark(id)
      return writer.staged
    })
    expect(staged).toEqual([1, 2, 3, 0, 1, 2, 3, 0, 1])
    expect(tracker.stats().writers[0].batches).toBe(2)
  })

  it('4: a thread has writers of any number of trackers', async () => {
    const [one, two] = [await create(), await create()]
    const writers = [one.openWriter(), two.openWriter(), one.openWriter()]
    writers.forEach((writer, i) => writer.mark(10 + i))
    expect(await nextIds(one)).toEqual([10, 12])
    expect(await nextIds(two)).toEqual([11])
  })

  it('5: an epoch is handed out when all that was published before it has been processed', async () => {
    const tracker = await create({ aggregator: 'none' })
    const writer = tracker.openWriter()
    writer.markMany([1, 2, 3])
    const first = tracker.advanceEpoch()
    writer.markMany([4])
    let early = false
    void first.then(() => (early = true))
    await turns()
    expect(early).toBe(false)
    const aggregate = aggregatorOf(tracker)
    aggregate()
    expect([...(await first).ids()]).toEqual([1, 2, 3])
    expect([...(await stopWith(tracker, aggregate)).ids()]).toEqual([4])
  })

  it('6: no key ends up in an epoch that has been sealed', async () => {
    const tracker = await create()
    const writer = tracker.openWriter()
    for (let round = 0; round < 8; round++) {
      writer.markMany([round * 2, round * 2 + 1])
      const epoch = await tracker.advanceEpoch()
      expect([...epoch.ids()]).toEqual([round * 2, round * 2 + 1])
      writer.markMany([1000])
      await tracker.drained()
      expect(epoch.size).toBe([...epoch.bigints].length)
      epoch.commit()
      expect(await nextIds(tracker)).toEqual([1000])
    }
  })

  it('7: the keys of an epoch that was not committed come back', async () => {
    const tracker = await create()
    const writer = tracker.openWriter()
    writer.markMany([1, 2, 3])
    const epoch = await tracker.advanceEpoch()
    writer.markMany([3, 4])
    await epoch.restore()
    expect((await nextIds(tracker)).sort()).toEqual([1, 2, 3, 4])
  })

  it('8: a thread that ends leaves what it had marked', async () => {
    const tracker = await create()
    const worker = new Worker('setInterval(() => {}, 1000)', { eval: true })
    tracker.watch(worker)
    const lane = openLane(attachMemory(tracker.handle, 'tracker'), worker.threadId, 64, noClock)
    if (typeof lane === 'string') throw new Error(lane)
    stage(lane, 5, 0)
    stage(lane, 6, 0)
    const exited = once(worker, 'exit')
    await worker.terminate()
    await exited
    expect(await nextIds(tracker)).toEqual([5, 6])
    expect(tracker.stats()).toMatchObject({
      harvested: 2,
      writers: [{ open: false, delivered: 2 }],
    })
  })
})
