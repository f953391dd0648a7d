import { describe, expect, it, jest } from '@jest/globals'
import { type DirtyTracker, runAggregator, TxnBuffer, type Writer } from '../../lib/index.js'
import {
  isPending,
  openHeld,
  openInline,
  openUnattended,
  randomFrom,
  range,
  rejected,
  sortedIds,
  sortedListed,
  thrown,
  turns,
} from '../support/in-process.js'
import { expectAccounts, takeIds } from '../support/writing.js'

/** Everything that a held aggregator can do is done, and the tracker has seen it. */
async function drain(tracker: DirtyTracker, hand: { run(): boolean }): Promise<void> {
  const drained = tracker.drained()
  hand.run()
  await drained
}

describe('back-pressure', () => {
  it('C6: a full ring is no failure: marks are stored, and batches grow', async () => {
    const { tracker, hand } = await openHeld({
      capacity: 2,
      batchSize: 1,
      laneCapacity: 16,
      onFull: 'reject',
    })
    const writer = tracker.openWriter()
    for (const id of range(0, 10)) expect(writer.mark(id)).toBe(true)
    expect(writer.staged).toBe(8)
    expect(writer.flush()).toBe(false)
    hand.run(1)
    expect(writer.mark(10)).toBe(true)
    expect(writer.staged).toBe(0)
    hand.run()
    expect(tracker.stats()).toMatchObject({ batches: 3, keys: 11, distinct: 11 })
    expect(tracker.stats().writers[0]).toMatchObject({ batches: 3, rejected: 0, waits: 0 })
    expectAccounts(tracker, 11)
  })

  it('a full ring is tried again every batchSize keys', async () => {
    const { tracker, hand } = await openHeld({
      capacity: 2,
      batchSize: 4,
      laneCapacity: 64,
      onFull: 'reject',
    })
    const writer = tracker.openWriter()
    for (const id of range(0, 12)) writer.mark(id)
    expect(writer.staged).toBe(4)
    hand.run()
    for (const id of range(12, 3)) writer.mark(id)
    expect(writer.staged).toBe(7)
    writer.mark(15)
    expect(writer.staged).toBe(0)
    hand.run()
    expect(tracker.stats()).toMatchObject({ batches: 3, keys: 16 })
  })

  it('C6: onFull reject: a mark that finds the lane full is false, and nothing of it is stored', async () => {
    const { tracker, hand } = await openHeld({
      capacity: 4,
      batchSize: 2,
      laneCapacity: 4,
      onFull: 'reject',
    })
    const writer = tracker.openWriter()
    expect(range(0, 6).map((id) => writer.mark(id))).toEqual([true, true, true, true, false, false])
    expect([writer.markPair(6, 0), writer.mark('x'), writer.mark(7n), writer.mark('y')]).toEqual([
      false,
      false,
      false,
      false,
    ])
    expect([writer.markMany([8]), writer.markPairs(new Uint32Array([9, 0]))]).toEqual([
      false,
      false,
    ])
    expect(writer.markMany([])).toBe(true)
    expect(tracker.stats().writers[0]).toMatchObject({
      marked: 12,
      rejected: 8,
      inFlight: 4,
      staged: 0,
      waits: 0,
    })
    hand.run()
    expect(writer.mark(10)).toBe(true)
    writer.flush()
    hand.run()
    expect(tracker.stats().distinct).toBe(5)
    expectAccounts(tracker, 13)
    const pending = tracker.advanceEpoch()
    hand.run()
    expect(sortedIds(await pending)).toEqual([0, 1, 2, 3, 10])
  })

  it('C6: markMany() is all or nothing', async () => {
    const { tracker, hand } = await openHeld({ laneCapacity: 8, onFull: 'reject' })
    const writer = tracker.openWriter()
    expect(writer.markMany(range(0, 5))).toBe(true)
    expect(writer.markMany(range(10, 4))).toBe(false)
    expect(writer.markMany(range(20, 3))).toBe(true)
    expect(writer.markMany([30])).toBe(false)
    hand.run()
    const pending = tracker.advanceEpoch()
    hand.run()
    expect(sortedIds(await pending)).toEqual([0, 1, 2, 3, 4, 20, 21, 22])
    expect(tracker.stats().writers[0]).toMatchObject({ marked: 13, rejected: 5, delivered: 8 })
    expectAccounts(tracker, 13)
  })

  it('C10: onFull wait: a mark for which no room is made throws ERR_DIRTYRING_STALLED, and nothing is stored', async () => {
    const { tracker, hand } = await openHeld({ laneCapacity: 4, batchSize: 4, maxWaitMs: 5 })
    const writer = tracker.openWriter()
    writer.markMany([0, 1])
    writer.mark(2)
    writer.mark(3)
    for (const [offered, act] of [
      ['1 keys in its lane of 4', () => writer.mark(4)],
      // the entry has three words, and a word stands behind it
      [
        '1 keys in its lane of 4, or for 16 bytes of text in its lane of 65536',
        () => writer.mark('x'),
      ],
      ['2 keys in its lane of 4', () => writer.markMany([5, 6])],
    ] as const) {
      const error = thrown(act)
      expect(error.code).toBe('ERR_DIRTYRING_STALLED')
      expect(error.message).toContain(
        `writer 0: no room for ${offered}: waited 5 ms (maxWaitMs); nothing of this call was stored`,
      )
    }
    expect(tracker.stats().writers[0]).toMatchObject({ marked: 8, rejected: 4, waits: 3 })
    expect(tracker.stats().writers[0].waitMs).toBeGreaterThan(0)
    expectAccounts(tracker, 8)
    hand.run()
    expect(writer.mark(7)).toBe(true)
    const pending = tracker.advanceEpoch()
    hand.run()
    expect(sortedIds(await pending)).toEqual([0, 1, 2, 3, 7])
  })

  it('C10: flush() throws it when the ring stays full, and the keys stay staged', async () => {
    const { tracker, hand } = await openHeld({ capacity: 2, batchSize: 1, maxWaitMs: 5 })
    const writer = tracker.openWriter()
    for (const id of range(0, 4)) writer.mark(id)
    const error = thrown(() => writer.flush())
    expect(error.code).toBe('ERR_DIRTYRING_STALLED')
    expect(error.message).toMatch(/slot in the ring: waited 5 ms/)
    expect(writer.staged).toBe(2)
    hand.run()
    expect(writer.flush()).toBe(true)
    await drain(tracker, hand)
    expect(tracker.stats().distinct).toBe(4)
  })

  it('C10: a maxWaitMs of 0 does not wait', async () => {
    const { tracker } = await openHeld({ laneCapacity: 1, maxWaitMs: 0 })
    const writer = tracker.openWriter()
    writer.mark(1)
    expect(thrown(() => writer.mark(2)).code).toBe('ERR_DIRTYRING_STALLED')
  })

  it("C10: the tracker's own thread stops waiting when the aggregator shows no progress, long before maxWaitMs", async () => {
    const { tracker } = await openHeld({ laneCapacity: 1, maxWaitMs: 2 ** 31 - 1 })
    const writer = tracker.openWriter()
    writer.mark(1)
    const error = thrown(() => writer.mark(2))
    expect(error.code).toBe('ERR_DIRTYRING_STALLED')
    expect(error.message).toContain('no progress')
  })

  it.each<[string, (writer: Writer) => unknown]>([
    ['markMany()', (writer) => writer.markMany([1, 2])],
    ['flush()', (writer) => writer.flush()],
    ['batch()', (writer) => writer.batch(() => writer.mark(1))],
  ])('C10: so it does in %s', async (_, act) => {
    const { tracker } = await openHeld({
      capacity: 2,
      batchSize: 1,
      laneCapacity: 4,
      maxWaitMs: 2 ** 31 - 1,
    })
    const writer = tracker.openWriter()
    for (const id of range(0, 4)) writer.mark(id)
    let looks = 0
    // time goes by in a hurry
    const clock = jest.spyOn(performance, 'now').mockImplementation(() => 150 * looks++)
    try {
      const error = thrown(() => act(writer))
      expect([error.code, looks < 50]).toEqual(['ERR_DIRTYRING_STALLED', true])
      expect(error.message).toContain('no progress')
    } finally {
      clock.mockRestore()
    }
  })

  it('C10: a thread that runs the aggregator by runAggregator() makes its own room, whatever its writer waits for', async () => {
    const tracker = await openUnattended({
      capacity: 2,
      laneCapacity: 8,
      batchSize: 1,
      maxWaitMs: 20,
    })
    const running = runAggregator(tracker.handle)
    const writer = tracker.openWriter()
    for (const id of range(0, 100)) expect(writer.mark(id)).toBe(true)
    expect(writer.markMany(range(100, 8))).toBe(true)
    writer.batch(() => writer.markMany(range(108, 8)))
    while (tracker.stats().queued < 2) writer.mark(115) // the ring is full
    writer.markEverything()
    expect(writer.flush()).toBe(true)
    for (const id of range(116, 8)) writer.mark(id)
    await writer.waitForRoom(8)
    expect(writer.room).toBe(8)
    for (const id of range(124, 8)) writer.mark(id)
    writer.close()
    const last = await tracker.stop()
    await running
    expect([last.reason, sortedListed(last)]).toEqual(['everything', range(0, 132)])
  })

  it.each([
    [2, 1],
    [2, 2],
    [2, 64],
    [4, 8],
    [64, 1],
  ])(
    'an inline aggregator never waits for itself: a ring of %d, lanes of %d',
    async (capacity, laneCapacity) => {
      const tracker = await openInline({
        capacity,
        laneCapacity,
        batchSize: 1,
        maxWaitMs: 20,
        maxKeysPerEpoch: 2 ** 16,
      })
      const writers = range(0, 5).map(() => tracker.openWriter())
      const expected = new Set<number>()
      let offered = 0
      for (const round of range(0, 100)) {
        for (const [i, writer] of writers.entries()) {
          const id = round * 1000 + i * 100
          expect(writer.mark(id)).toBe(true)
          expect(writer.markMany(range(id + 1, laneCapacity))).toBe(true)
          const txn = new TxnBuffer(id)
          txn.markMany(range(id + 30, Math.min(laneCapacity, 5)))
          expect(txn.flushTo(writer)).toBe(true)
          for (const each of [
            id,
            ...range(id + 1, laneCapacity),
            ...range(id + 30, Math.min(laneCapacity, 5)),
          ])
            expected.add(each)
          offered += 1 + laneCapacity + Math.min(laneCapacity, 5)
        }
      }
      for (const writer of writers) expect(writer.flush()).toBe(true)
      const ids = new Set(await takeIds(tracker))
      while (ids.size < expected.size) {
        const more = await takeIds(tracker)
        expect(more.length).toBeGreaterThan(0)
        for (const id of more) ids.add(id)
      }
      expect(ids).toEqual(expected)
      expectAccounts(tracker, offered)
      for (const writer of writers) writer.close()
      await tracker.drained()
      expect(tracker.stats().writers.filter(({ open }) => open)).toEqual([])
    },
  )
})

describe('room, and waitForRoom()', () => {
  it('room is a promise: so many keys can be marked now without waiting or refusal', async () => {
    const { tracker, hand } = await openHeld({
      capacity: 4,
      laneCapacity: 16,
      batchSize: 3,
      onFull: 'reject',
    })
    const [writer, other] = [tracker.openWriter(), tracker.openWriter()]
    const random = randomFrom(11)
    const rooms = new Set<number>()
    for (const round of range(0, 200)) {
      const { room } = writer
      rooms.add(room)
      const many = Math.floor(random() * (room + 1))
      other.mark(round)
      if (random() < 0.3) expect(writer.markMany(range(0, many))).toBe(true)
      else for (const id of range(0, many)) expect(writer.mark(id)).toBe(true)
      if (random() < 0.4) hand.run(1)
      if (random() < 0.2) hand.run()
    }
    expect([rooms.has(0), rooms.has(16), tracker.stats().writers[0].rejected]).toEqual([
      true,
      true,
      0,
    ])
    while (writer.room > 0) expect(writer.mark(1)).toBe(true)
    expect(writer.mark(2)).toBe(false)
    writer.close()
    expect(writer.room).toBe(0)
  })

  it('waitForRoom() resolves when so many keys fit, one if not told, and publishes what is staged if that is in their way', async () => {
    const { tracker, hand } = await openHeld({ laneCapacity: 8, batchSize: 8 })
    const writer = tracker.openWriter()
    await writer.waitForRoom(8)
    for (const id of range(0, 5)) writer.mark(id)
    await writer.waitForRoom(3)
    expect(writer.staged).toBe(5)
    const [all, four] = [writer.waitForRoom(8), writer.waitForRoom(4)]
    expect([await isPending(all), await isPending(four)]).toEqual([true, true])
    expect(writer.staged).toBe(0)
    hand.run()
    await Promise.all([all, four])
    writer.markMany(range(10, 8))
    const one = writer.waitForRoom()
    expect(await isPending(one)).toBe(true)
    hand.run()
    await one
    expect(writer.room).toBe(8)
  })

  it('waitForRoom() never blocks the thread, and rejects when the writer is closed or the tracker stops meanwhile', async () => {
    const { tracker, hand } = await openHeld({ laneCapacity: 4 })
    const [closing, staying] = [tracker.openWriter(), tracker.openWriter()]
    for (const writer of [closing, staying]) writer.markMany(range(0, 4))
    const sleeping = jest.spyOn(Atomics, 'wait')
    const [closed, stopped] = [rejected(closing.waitForRoom(2)), rejected(staying.waitForRoom())]
    await turns(3)
    expect(sleeping).not.toHaveBeenCalled()
    sleeping.mockRestore()
    closing.close()
    expect((await closed).code).toBe('ERR_DIRTYRING_CLOSED')
    hand.release()
    await tracker.stop({ graceMs: 0 })
    expect((await stopped).code).toBe('ERR_DIRTYRING_STOPPED')
    expect((await rejected(closing.waitForRoom())).code).toBe('ERR_DIRTYRING_CLOSED')
    expect((await rejected(staying.waitForRoom())).code).toBe('ERR_DIRTYRING_STOPPED')
  })
})
