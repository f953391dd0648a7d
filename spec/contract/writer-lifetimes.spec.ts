import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Worker } from 'node:worker_threads'
import { describe, expect, it, jest } from '@jest/globals'
import { DirtyTracker, openWriter, threadWriter, TxnBuffer } from '../../lib/index.js'
import { FAILED, LANE_ATTN, laneAt } from '../../lib/memory/map.js'
import { attachMemory } from '../../lib/memory/memory.js'
import {
  nearTheEndOfTheStack,
  openHeld,
  openInline,
  randomFrom,
  range,
  rejected,
  sortedIds,
  thrown,
  until,
} from '../support/in-process.js'
import { expectAccounts, take, takeIds } from '../support/writing.js'

describe('opening and closing', () => {
  it('lets go of the memory of a tracker that has stopped, with writers open', async () => {
    setFlagsFromString('--expose-gc')
    const gc = runInNewContext('gc') as () => void
    const stopped = async (): Promise<WeakRef<object>> => {
      const tracker = await DirtyTracker.create({ capacity: 256, aggregator: 'inline' })
      openWriter(tracker.handle).mark(1)
      threadWriter(tracker.handle).mark(2)
      await tracker.stop()
      return new WeakRef(attachMemory(tracker.handle, 'tracker').words.buffer)
    }
    const memories = [await stopped(), await stopped(), await stopped()]
    await until(() => {
      gc()
      return memories.every((each) => each.deref() === undefined)
    })
  })

  it('C6: where the stack ends in close(), a further close() gives the lane back, once, with what was staged', async () => {
    const { tracker, hand } = await openHeld({ maxWriters: 1, capacity: 1024 })
    const ids = range(0, 40)
    for (const id of ids) {
      const writer = tracker.openWriter()
      writer.mark(id)
      nearTheEndOfTheStack(() => writer.close(), id)
      writer.close()
      hand.run()
      expect(tracker.stats().writers.filter(({ open }) => open)).toEqual([])
    }
    const pending = tracker.advanceEpoch()
    hand.run()
    expect(sortedIds(await pending)).toEqual(ids)
    expect(tracker.health().panics).toBe(0)
  })

  it('close() is idempotent, and every mark after it throws ERR_DIRTYRING_CLOSED', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    expect(writer.closed).toBe(false)
    writer.close()
    writer.close()
    writer[Symbol.dispose]()
    expect(writer.closed).toBe(true)
    const txn = new TxnBuffer(1)
    txn.mark(1)
    const marks: (() => unknown)[] = [
      () => writer.mark(1),
      () => writer.markPair(1, 0),
      () => writer.mark(1n),
      () => writer.mark('a'),
      () => writer.markMany([1]),
      () => writer.markMany([]),
      () => writer.markPairs(new Uint32Array(2)),
      () => writer.tagTxn(1),
      () => txn.flushTo(writer),
    ]
    for (const mark of marks) {
      const error = thrown(mark)
      expect(error.code).toBe('ERR_DIRTYRING_CLOSED')
      expect(error.message).toContain(`writer ${writer.id} is closed`)
    }
    expect([writer.flush(), writer.staged, txn.size]).toEqual([true, 0, 1])
    expect(await take(tracker)).toEqual([])
  })

  it('C8: close() harvests what is staged, in the epoch that is open', async () => {
    const { tracker, hand } = await openHeld()
    const writer = tracker.openWriter()
    writer.markMany([1, 2])
    writer.mark(3)
    writer.mark(4)
    writer.close()
    const pending = tracker.advanceEpoch()
    hand.run()
    expect(sortedIds(await pending)).toEqual([1, 2, 3, 4])
    expect(tracker.stats()).toMatchObject({ harvested: 2, keys: 2, batches: 1, staged: 0 })
    expect(tracker.stats().writers[0]).toMatchObject({
      open: false,
      threadId: -1,
      marked: 4,
      delivered: 4,
      staged: 0,
    })
    expectAccounts(tracker, 4)
  })

  it('leaving its scope closes a writer', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(5)
    writer[Symbol.dispose]()
    expect(writer.closed).toBe(true)
    expect(await take(tracker)).toEqual([5n])
  })

  it('C8: close() loses nothing while the ring is full', async () => {
    const tracker = await openInline({ capacity: 2, batchSize: 1 })
    const writers = range(0, 4).map(() => tracker.openWriter())
    for (const [i, writer] of writers.entries()) for (const id of range(i * 10, 5)) writer.mark(id)
    for (const writer of writers) writer.close()
    await tracker.drained()
    expect(await takeIds(tracker)).toEqual([0, 10, 20, 30].flatMap((from) => range(from, 5)))
    expectAccounts(tracker, 20)
  })

  it('C10: close() ends where the ring is full and no aggregator consumes; the rest is done without blocking the thread', async () => {
    const { tracker, hand } = await openHeld({ capacity: 2, batchSize: 1 })
    const writer = tracker.openWriter()
    for (const id of range(0, 4)) writer.mark(id)
    writer.close()
    expect([writer.closed, tracker.stats().writers[0].open]).toEqual([true, true])
    const sleeping = jest.spyOn(Atomics, 'wait')
    try {
      await new Promise((resolve) => setTimeout(resolve, 30))
      expect(sleeping).not.toHaveBeenCalled()
    } finally {
      sleeping.mockRestore()
    }
    await until(() => !hand.run() && !tracker.stats().writers[0].open)
    const pending = tracker.advanceEpoch()
    hand.run()
    expect(sortedIds(await pending)).toEqual([0, 1, 2, 3])
  })

  it('C10: close() comes to an end also where this thread runs the aggregator of another tracker', async () => {
    await openInline()
    const { tracker, hand } = await openHeld({ capacity: 2, batchSize: 1 })
    const writer = tracker.openWriter()
    for (const id of range(0, 4)) writer.mark(id)
    // Should close() not come back by itself, a bell on another thread tells its lane that the
    // tracker has stopped.
    const rang = new Int32Array(new SharedArrayBuffer(4))
    const { words, layout } = hand.memory
    const bell = new Worker(
      `const { words, at, rang } = require('node:worker_threads').workerData
       if (Atomics.wait(rang, 0, 0, 4000) === 'timed-out') { Atomics.store(rang, 0, 2); Atomics.or(words, at, 1) }`,
      { eval: true, workerData: { words, at: laneAt(layout, 0) + LANE_ATTN, rang } },
    )
    const gone = new Promise((resolve) => bell.once('exit', resolve))
    writer.close()
    const cameBack = Atomics.compareExchange(rang, 0, 0, 1) === 0
    Atomics.notify(rang, 0)
    await gone
    expect(cameBack).toBe(true)
  })

  it('a lane is given to the next writer once its keys are consumed, and the old writer cannot mark in it', async () => {
    const { tracker, hand } = await openHeld({ maxWriters: 1 })
    const first = tracker.openWriter()
    first.mark(1)
    first.close()
    expect(thrown(() => tracker.openWriter()).code).toBe('ERR_DIRTYRING_NO_WRITER_SLOT')
    hand.run()
    const second = tracker.openWriter()
    expect(second.id).toBe(first.id)
    second.mark(2)
    expect(thrown(() => first.mark(3)).code).toBe('ERR_DIRTYRING_CLOSED')
    first.close()
    expect([first.flush(), second.closed, second.staged]).toEqual([true, false, 1])
    second.markMany([4, 5])
    const pending = tracker.advanceEpoch()
    hand.run()
    expect(sortedIds(await pending)).toEqual([1, 2, 4, 5])
    expectAccounts(tracker, 4)
  })

  it.each([0, 8190])('lanes are used over and over, from generation %d on', async (generation) => {
    const tracker = await openInline(
      { maxWriters: 2, laneCapacity: 8 },
      { generation, laneEnd: 2 ** 31 - 20 },
    )
    for (const round of range(0, 20)) {
      const [a, b] = [tracker.openWriter(), tracker.openWriter()]
      for (const id of range(0, 5)) a.mark(round * 10 + id)
      b.markMany([round * 10 + 7])
      a.close()
      b.close()
      expect(await takeIds(tracker)).toEqual([...range(round * 10, 5), round * 10 + 7])
    }
    expectAccounts(tracker, 120)
    expect(tracker.stats().harvested).toBe(100)
  })

  it('throws ERR_DIRTYRING_NO_WRITER_SLOT when maxWriters are open, which changes nothing', async () => {
    const tracker = await openInline({ maxWriters: 2 })
    const [a] = [tracker.openWriter(), openWriter(tracker.handle)]
    for (const open of [() => tracker.openWriter(), () => openWriter(tracker.handle)]) {
      const error = thrown(open)
      expect(error.code).toBe('ERR_DIRTYRING_NO_WRITER_SLOT')
      expect(error.message).toMatch(/all 2 \(maxWriters\)/)
    }
    expect(tracker.stats().writers.map(({ id, open }) => [id, open])).toEqual([
      [0, true],
      [1, true],
    ])
    a.close()
    await tracker.drained()
    expect(tracker.openWriter().id).toBe(0)
  })

  it('a writer of the handle is as good as one of the tracker, and so is one of a copy of the handle', async () => {
    const tracker = await openInline()
    const writers = [
      tracker.openWriter(),
      openWriter(tracker.handle),
      openWriter(structuredClone(tracker.handle)),
    ]
    writers.forEach((writer, i) => writer.mark(i))
    expect(writers.map(({ id }) => id)).toEqual([0, 1, 2])
    expect(await takeIds(tracker)).toEqual([0, 1, 2]) // advanceEpoch() publishes them all
  })
})

describe('any number of trackers and writers on one thread', () => {
  it('keeps the keys of every tracker apart', async () => {
    const trackers = await Promise.all(
      range(0, 8).map((i) =>
        openInline(i % 2 === 0 ? {} : { capacity: 2, batchSize: 2, laneCapacity: 4 }),
      ),
    )
    const writers = trackers.flatMap((tracker, i) =>
      range(0, 3).map((j) => ({ i, j, writer: tracker.openWriter() })),
    )
    for (const k of range(0, 20))
      for (const { i, j, writer } of writers) writer.mark(i * 1000 + j * 100 + k)
    for (const [i, tracker] of trackers.entries()) {
      const ids = new Set(await takeIds(tracker))
      for (const { writer } of writers.filter((each) => each.i === i)) writer.flush()
      for (const id of await takeIds(tracker)) ids.add(id)
      expect([...ids].sort((a, b) => a - b)).toEqual(
        [0, 1, 2].flatMap((j) => range(i * 1000 + j * 100, 20)),
      )
      expectAccounts(tracker, 60)
    }
  })

  it('a cut publishes no other tracker, and one that stops does not disturb the others', async () => {
    const [a, b] = [await openInline(), await openInline()]
    const [writerA, writerB] = [a.openWriter(), b.openWriter()]
    writerA.mark(1)
    writerB.mark(2)
    expect(await take(a)).toEqual([1n])
    expect(writerB.staged).toBe(1)
    await a.stop()
    expect(thrown(() => writerA.mark(3)).code).toBe('ERR_DIRTYRING_STOPPED')
    expect(writerB.mark(4)).toBe(true)
    expect(await take(b)).toEqual([2n, 4n])
  })

  it('an aggregator of this thread that cannot continue disturbs no other tracker', async () => {
    const broken = await openInline()
    const fine = await openInline({ laneCapacity: 4, capacity: 2, batchSize: 1 })
    const { words } = attachMemory(broken.handle, 'tracker')
    Atomics.store(words, FAILED, 1)
    const writer = fine.openWriter()
    for (const id of range(0, 50)) expect(writer.mark(id)).toBe(true)
    writer.close()
    const seen = new Set(await takeIds(fine))
    for (const id of await takeIds(fine)) seen.add(id)
    expect(seen.size).toBe(50)
    expect((await rejected(broken.advanceEpoch())).code).toBe('ERR_DIRTYRING_CORRUPT')
  })
})

describe('C12: the accounts are right at any quiet moment', () => {
  it.each<['wait' | 'reject', number]>([
    ['reject', 1],
    ['reject', 8],
    ['wait', 8],
  ])(
    'over random marks, batches and harvests: onFull %s, lanes of %d',
    async (onFull, laneCapacity) => {
      const { tracker, hand } = await openHeld({
        capacity: 4,
        laneCapacity,
        batchSize: Math.min(3, laneCapacity),
        onFull,
        maxWaitMs: 0,
      })
      const random = randomFrom(laneCapacity)
      const pick = (below: number): number => Math.floor(random() * below)
      let writers = range(0, 3).map(() => tracker.openWriter())
      let offered = 0
      let refused = 0
      const offer = (count: number, mark: () => boolean): void => {
        offered += count
        let stored = false
        try {
          stored = mark()
        } catch (error) {
          expect((error as { code: string }).code).toBe('ERR_DIRTYRING_STALLED')
        }
        if (!stored) refused += count
      }
      for (let i = 0; i < 300; i++) {
        const writer = writers[pick(3)]
        const what = pick(10)
        if (what < 5) offer(1, () => writer.mark(pick(100)))
        else if (what < 7) {
          const count = pick(laneCapacity + 1)
          offer(count, () => writer.markMany(range(pick(100), count)))
        } else if (what === 7) hand.run(1 + pick(3))
        else if (what === 8 && tracker.stats().queued < 4) {
          writer.close()
          hand.run()
          writers = writers.map((each) => (each === writer ? tracker.openWriter() : each))
        } else if (what === 9 && tracker.stats().queued < 4) expect(writer.flush()).toBe(true)
        expectAccounts(tracker, offered)
        expect(tracker.stats().writers.reduce((sum, each) => sum + each.rejected, 0)).toBe(refused)
        expect(writers.map((each) => each.staged).reduce((a, b) => a + b)).toBe(
          tracker.stats().staged,
        )
      }
      expect(refused).toBeGreaterThan(0)
      hand.run()
      for (const writer of writers) writer.flush()
      hand.run()
      const { writers: all, staged } = tracker.stats()
      expect(staged).toBe(0)
      expect(all.reduce((sum, each) => sum + each.delivered, 0)).toBe(offered - refused)
    },
  )

  it('tells tokens, batches, keys, the queue and its peak', async () => {
    const { tracker, hand } = await openHeld({ batchSize: 2 })
    const writer = tracker.openWriter()
    for (const id of [1, 1, 2, 2, 3, 3, 4]) writer.mark(id)
    expect(tracker.stats()).toMatchObject({
      tokens: 0,
      batches: 0,
      keys: 0,
      distinct: 0,
      queued: 3,
      staged: 1,
    })
    expect(tracker.stats().writers[0]).toMatchObject({
      inFlight: 6,
      inFlightPeak: 6,
      batches: 3,
      delivered: 0,
    })
    hand.run(1)
    expect(tracker.stats()).toMatchObject({
      tokens: 3,
      batches: 3,
      keys: 6,
      distinct: 3,
      queued: 0,
    })
    const pending = tracker.advanceEpoch()
    hand.run()
    await pending
    expect(tracker.stats()).toMatchObject({
      tokens: 5,
      batches: 4,
      keys: 7,
      distinct: 0,
      queued: 0,
      epoch: 1,
      sealed: 1,
    })
    expect(tracker.stats().bytes.total).toBe(
      attachMemory(tracker.handle, 'tracker').words.byteLength,
    )
  })

  it('C6: with onFull reject, exactly the marks that were true come back', async () => {
    const { tracker, hand } = await openHeld({
      capacity: 2,
      laneCapacity: 4,
      batchSize: 2,
      onFull: 'reject',
    })
    const writers = [tracker.openWriter(), tracker.openWriter()]
    const random = randomFrom(5)
    const stored = new Set<number>()
    for (const id of range(0, 500)) {
      if (writers[id % 2].mark(id)) stored.add(id)
      if (random() < 0.2) hand.run(1)
    }
    expect(stored.size).toBeLessThan(500)
    const seen = new Set<number>()
    while (seen.size < stored.size) {
      const pending = tracker.advanceEpoch()
      await until(
        () => !hand.run() && tracker.stats().sealed === tracker.epoch && tracker.epoch > 0,
      )
      const epoch = await pending
      expect(epoch.size).toBeGreaterThan(0)
      for (const id of epoch.ids()) seen.add(id)
      epoch.commit()
    }
    expect(seen).toEqual(stored)
  })
})
