import '../support/clock.js' // first: it holds the clock that the library takes when it is loaded
import { inspect } from 'node:util'
import { describe, expect, it } from '@jest/globals'
import {
  BatchRing,
  type DirtyTracker,
  FingerprintSet,
  type TrackerEvents,
  TxnBuffer,
} from '../../lib/index.js'
import {
  FAILED,
  LANE_STAGED_END,
  LANE_WAITING,
  LANE_WAITS,
  laneAt,
  PANICS,
  WAIT_FOR_ROOM,
} from '../../lib/memory/map.js'
import { attachMemory } from '../../lib/memory/memory.js'
import { addTotal } from '../../lib/memory/total.js'
import { closeLane, type Lane, openLane, stage } from '../../lib/ring/lane.js'
import { AggregatorHost } from '../../lib/tracker/aggregator-host.js'
import { Listeners } from '../../lib/tracker/events.js'
import { SealTimes } from '../../lib/tracker/seal-times.js'
import { Watch } from '../../lib/tracker/watch.js'
import { holdClock } from '../support/clock.js'
import {
  openHeld,
  openInline,
  openUnattended,
  randomFrom,
  range,
  rejected,
  sortedIds,
  thrown,
  until,
} from '../support/in-process.js'
import { runProgram } from '../support/program.js'
import { noClock, smallMemory } from '../support/steps.js'
import { expectAccounts } from '../support/writing.js'

/** All that a tracker tells of some events, as it comes. */
function listen<E extends keyof TrackerEvents>(
  tracker: DirtyTracker,
  event: E,
): TrackerEvents[E][] {
  const told: TrackerEvents[E][] = []
  tracker.on(event, (what) => told.push(what))
  return told
}

/**
 * A tracker of which one batch names more keys than its lane has: every step throws, until
 * `heal()`.
 */
async function openFaulty() {
  const tracker = await openInline()
  const writer = tracker.openWriter()
  const { words, layout } = attachMemory(tracker.handle, 'tracker')
  const at = laneAt(layout, writer.id) + LANE_STAGED_END
  for (const id of range(0, 10)) writer.mark(id)
  writer.flush()
  Atomics.sub(words, at, 5)
  return { tracker, words, heal: () => Atomics.add(words, at, 5) }
}

/** A writer that a thread had which is gone: these ids marked, published by fours. */
function leaveBehind(tracker: DirtyTracker, threadId: number, ids: number[]): number {
  const lane = openLane(attachMemory(tracker.handle, 'tracker'), threadId, 4, {
    armed: true,
    arm: () => undefined,
  }) as Lane
  for (const id of ids) expect(stage(lane, id, 0)).toBe(true)
  return lane.id
}

describe('events', () => {
  it('epoch: each one that is handed out, in order, that of stop() included, with id, size, exact and the time it took', async () => {
    const { tracker, hand } = await openHeld({ maxKeysPerEpoch: 3 })
    const told = listen(tracker, 'epoch')
    const writer = tracker.openWriter()
    const clock = holdClock()
    try {
      for (const size of [2, 0, 5]) {
        writer.markMany(range(0, size))
        const pending = tracker.advanceEpoch()
        clock.pass(size * 10)
        hand.run()
        ;(await pending).commit()
      }
    } finally {
      clock.end()
    }
    const controller = new AbortController()
    const abandoned = tracker.advanceEpoch({ signal: controller.signal })
    controller.abort('gone')
    expect(await rejected(abandoned)).toBe('gone')
    hand.release()
    await tracker.stop()

    expect(told.slice(0, 3)).toEqual([
      { id: 0, size: 2, exact: true, sealMs: 20 },
      { id: 1, size: 0, exact: true, sealMs: 0 },
      { id: 2, size: 3, exact: false, sealMs: 50 },
    ])
    expect(told.slice(3)).toEqual([{ id: 4, size: 0, exact: true, sealMs: expect.any(Number) }])
  })

  it('overflow: once an epoch, while it is open, with its number and maxKeysPerEpoch', async () => {
    const tracker = await openInline({ maxKeysPerEpoch: 2 })
    const told = listen(tracker, 'overflow')
    const writer = tracker.openWriter()
    writer.markMany([1, 2, 3])
    await until(() => told.length > 0)
    expect(tracker.epoch).toBe(0)
    writer.markMany([4, 5])
    ;(await tracker.advanceEpoch()).commit()
    writer.markMany([1, 2])
    ;(await tracker.advanceEpoch()).commit()
    writer.markMany([1, 2, 3])
    await tracker.stop()
    expect(told).toEqual([
      { epoch: 0, limit: 'maxKeysPerEpoch', maxKeysPerEpoch: 2 },
      { epoch: 2, limit: 'maxKeysPerEpoch', maxKeysPerEpoch: 2 },
    ])
  })

  it('panic: a step that threw, with its error, how many there were and when it is tried again', async () => {
    const { tracker, heal } = await openFaulty()
    const told = listen(tracker, 'panic')
    const drained = tracker.drained()
    await until(() => told.length > 0)
    heal()
    await drained
    expect(told[0]).toEqual({
      error: expect.any(Error),
      panics: expect.any(Number),
      retryInMs: expect.any(Number),
    })
    expect(told[0].error.message).toContain('10 keys')
    expect(told[0].panics).toBeGreaterThanOrEqual(1)
    expect(told[0].retryInMs).toBeGreaterThanOrEqual(10)
    expect((await tracker.advanceEpoch()).exact).toBe(true)
  })

  it('harvest, restart and stall come from real threads, with the thread, the number of keys, the cause and the time', async () => {
    const { threadId, ...verdict } = await runProgram('observing', { case: 'events' })

    expect(verdict.harvest).toEqual([{ writerId: 1, threadId, keys: 5 }])
    expect(verdict.restart).toEqual([{ restarts: 1, cause: 'exit code 1' }])
    expect(verdict.slotStall).toEqual([
      { what: 'epoch-slot', waitedMs: expect.any(Number), unsettled: [0, 1] },
    ])
    expect(verdict.laneStall).toEqual([
      { what: 'lane', waitedMs: expect.any(Number), unsettled: [], writerId: 0 },
    ])
    for (const [{ waitedMs }] of [verdict.slotStall, verdict.laneStall])
      expect(waitedMs).toBeGreaterThan(1000)
  })

  it('a listener that throws is reported as an uncaught exception, and harms nothing else', async () => {
    expect(await runProgram('observing', { case: 'listenerThrows' })).toEqual({
      uncaught: ['of a listener'],
      others: [0, 1],
      ids: [1, 2],
    })
  })

  it('on() returns the function that ends it; the same function, added twice, is called twice; a name that is not an event is an error', async () => {
    const tracker = await openInline()
    const told: number[] = []
    const listener = ({ id }: { id: number }): void => void told.push(id)
    const [off, other] = [tracker.on('epoch', listener), tracker.on('epoch', listener)]
    await tracker.advanceEpoch()
    off()
    off()
    await tracker.advanceEpoch()
    other()
    await tracker.advanceEpoch()
    expect(told).toEqual([0, 0, 1])
    for (const [event, call, name] of [
      ['epochs', () => undefined, 'RangeError'],
      [5, () => undefined, 'TypeError'],
      ['epoch', undefined, 'TypeError'],
    ] as [never, never, string][]) {
      expect(thrown(() => tracker.on(event, call))).toMatchObject({
        name,
        code: expect.stringMatching(/^ERR_DIRTYRING_/),
      })
    }
  })
})

describe("a writer's wait", () => {
  /** A watch that a spec has look, at a clock in the spec's hand. */
  function openWatch() {
    const memory = smallMemory({ maxWriters: 2 })
    const control = {
      lookForOverflow: () => undefined,
      lookForStalls: () => undefined,
      unsettled: [],
    }
    const listeners = new Listeners()
    const watch = new Watch(memory, control as never, listeners)
    const told: TrackerEvents['stall'][] = []
    listeners.add('stall', (stall) => told.push(stall))
    const clock = holdClock()
    const lane = openLane(memory, 77, 4, noClock) as Lane
    return {
      memory,
      lane,
      told,
      begin: () => {
        addTotal(memory.words, lane.header + LANE_WAITS, 1)
        Atomics.store(memory.words, lane.header + LANE_WAITING, WAIT_FOR_ROOM)
      },
      over: () => Atomics.store(memory.words, lane.header + LANE_WAITING, 0),
      /** Looks `ms` later; the told ones come in a microtask. */
      look: async (ms: number) => {
        clock.pass(ms)
        watch.look()
        await Promise.resolve()
        return told.length
      },
      end: () => {
        watch.end()
        clock.end()
      },
    }
  }

  it('makes one event, however long it lasts, with the time so far', async () => {
    const { lane, told, begin, look, end } = openWatch()
    begin()
    expect([
      await look(100),
      await look(1000),
      await look(1),
      await look(1000),
      await look(5000),
    ]).toEqual([0, 0, 1, 1, 1])
    expect(told).toEqual([{ what: 'lane', waitedMs: 1001, unsettled: [], writerId: lane.id }])
    end()
  })

  it('that is over makes no event', async () => {
    const { begin, over, look, end } = openWatch()
    begin()
    await look(100)
    await look(900)
    over()
    expect([await look(101), await look(2000)]).toEqual([0, 0])
    end()
  })

  it('and the next one are two waits: each counts from its own beginning, and each makes an event', async () => {
    const { told, begin, over, look, end } = openWatch()
    begin()
    expect([await look(100), await look(900)]).toEqual([0, 0])
    over()
    begin() // between two looks
    expect([await look(200), await look(900), await look(101)]).toEqual([0, 0, 1])
    over()
    begin()
    expect([await look(1), await look(1001)]).toEqual([1, 2])
    expect(told.map(({ waitedMs }) => waitedMs)).toEqual([1001, 1001])
    end()
  })

  it('that a death ended is not taken for a wait of the next writer in that lane', async () => {
    const { tracker, hand } = await openHeld({ maxWriters: 1 })
    const { words } = hand.memory
    const dead = openLane(hand.memory, 77, 4, noClock) as Lane
    addTotal(words, dead.header + LANE_WAITS, 1)
    Atomics.store(words, dead.header + LANE_WAITING, WAIT_FOR_ROOM)
    const reaped = tracker.reap(dead.id)
    hand.run()
    await reaped
    const writer = tracker.openWriter()
    expect([writer.id, Atomics.load(words, dead.header + LANE_WAITING)]).toEqual([dead.id, 0])
    closeLane(dead) // its token is of a generation that has gone
    hand.release()
  })
})

describe('the last look', () => {
  it('tells what happened since the one before, when the tracker stops', async () => {
    const { tracker, hand } = await openHeld()
    const told = listen(tracker, 'panic')
    Atomics.add(hand.memory.words, PANICS, 1)
    hand.release()
    await tracker.stop({ graceMs: 0 })
    await Promise.resolve()
    expect(told).toHaveLength(1)
  })
})

describe('reap()', () => {
  it('harvests and frees one writer, and resolves with the number of its keys, which the next epoch has', async () => {
    const tracker = await openInline()
    const told = listen(tracker, 'harvest')
    const gone = leaveBehind(tracker, 77, [1, 2, 3])
    tracker.openWriter().mark(4)
    expect([await tracker.reap(gone), await tracker.reap(gone)]).toEqual([3, 0])

    expect(told).toEqual([{ writerId: 0, threadId: 77, keys: 3 }])
    expect(tracker.stats()).toMatchObject({
      harvested: 3,
      distinct: 3,
      writers: [
        { open: false, threadId: -1 },
        { open: true, staged: 1 },
      ],
    })
    expect(tracker.openWriter().id).toBe(gone)
    const epoch = await tracker.advanceEpoch()
    expect([epoch.exact, ...sortedIds(epoch)]).toEqual([true, 1, 2, 3, 4])
  })

  it('twice at once is one harvest, and both calls resolve with its number', async () => {
    const { tracker, hand } = await openHeld()
    const told = listen(tracker, 'harvest')
    const gone = leaveBehind(tracker, 77, [1])
    const both = Promise.all([tracker.reap(gone), tracker.reap(gone)])
    hand.run()
    expect([await both, told.length, tracker.stats().tokens]).toEqual([[1, 1], 1, 1])
  })

  it('of a number that no writer has resolves with 0, of no writer at all rejects, and after stop() too', async () => {
    const tracker = await openInline({ maxWriters: 4 })
    expect(await tracker.reap(3)).toBe(0)
    for (const [id, name] of [
      [4, 'RangeError'],
      [-1, 'RangeError'],
      [0.5, 'RangeError'],
      ['0', 'TypeError'],
    ] as [never, string][]) {
      const error = await rejected(tracker.reap(id))
      expect(error.name).toBe(name)
      expect(error.message).toContain('"writerId" must be')
    }
    await tracker.stop()
    expect((await rejected(tracker.reap(0))).code).toBe('ERR_DIRTYRING_STOPPED')
  })

  it('that is under way when the tracker stops is served', async () => {
    const { tracker, hand } = await openHeld()
    const reaped = tracker.reap(leaveBehind(tracker, 77, [1]))
    const stopping = tracker.stop({ graceMs: 0 })
    hand.release()
    expect([await reaped, ...sortedIds(await stopping)]).toEqual([1, 1])
  })
})

describe('closed', () => {
  it('resolves once the tracker has stopped, not before', async () => {
    const { tracker, hand } = await openHeld()
    let closed = false
    void tracker.closed.then(() => (closed = true))
    const stopping = tracker.stop({ graceMs: 0 })
    await Promise.resolve()
    expect(closed).toBe(false)
    hand.release()
    await stopping
    await tracker.closed
    expect(closed).toBe(true)
  })

  it('rejects when the aggregator cannot be kept running, though no call waits for anything', async () => {
    const verdict = await runProgram('observing', { case: 'closed' })
    expect(verdict).toEqual({
      given: 'ERR_DIRTYRING_AGGREGATOR_FAILED',
      corrupt: 'ERR_DIRTYRING_CORRUPT',
      unhandled: 0,
    })
  })
})

describe('health()', () => {
  it('goes from absent to running, backing-off and finished, says what went wrong last, and is healthy when nothing is', async () => {
    const unattended = await openUnattended()
    expect(unattended.health()).toMatchObject({
      state: 'absent',
      healthy: false,
      finished: false,
      panics: 0,
      restarts: 0,
    })
    const starting = new AggregatorHost(attachMemory(unattended.handle, 'tracker'), 'worker')
    expect(starting.health()).toMatchObject({ state: 'starting', healthy: true, finished: false })

    const { tracker, heal } = await openFaulty()
    expect(tracker.health()).toEqual({
      state: 'running',
      healthy: true,
      finished: false,
      panics: 0,
      restarts: 0,
      iterations: expect.any(Number),
    })
    const drained = tracker.drained()
    await until(() => tracker.health().panics > 0)
    expect(tracker.health()).toMatchObject({
      state: 'backing-off',
      healthy: false,
      lastError: expect.stringContaining('10 keys'),
    })
    heal()
    await drained
    expect(tracker.health()).toMatchObject({
      state: 'running',
      healthy: true,
      lastError: expect.stringContaining('10 keys'),
    })
    await tracker.stop()
    expect(tracker.health()).toMatchObject({ state: 'finished', healthy: true, finished: true })
  })

  it('is restarting while its worker has died and another one is not there yet, and says what of', async () => {
    const verdict = await runProgram('observing', { case: 'restarting' })
    expect(verdict.between).toMatchObject({
      state: 'restarting',
      healthy: false,
      restarts: 0,
      lastError: 'exit code 1',
    })
    expect(verdict.after).toMatchObject({
      state: 'running',
      healthy: true,
      restarts: 1,
      lastError: 'exit code 1',
    })
    expect(verdict.stopped).toMatchObject({ state: 'finished', terminated: true })
  })

  it('is not healthy when the aggregator cannot continue', async () => {
    const { tracker, words } = await openFaulty()
    Atomics.store(words, FAILED, 1)
    expect((await rejected(tracker.advanceEpoch())).code).toBe('ERR_DIRTYRING_CORRUPT')
    expect(tracker.health().healthy).toBe(false)
    expect((await rejected(tracker.closed)).code).toBe('ERR_DIRTYRING_CORRUPT')
  })
})

describe('stats()', () => {
  it('sealMs has the count, the mean, the percentiles and the maximum of a known series', async () => {
    const { tracker, hand } = await openHeld()
    expect(tracker.stats().sealMs).toEqual({ count: 0, mean: 0, p50: 0, p99: 0, max: 0 })
    const series = range(1, 100) // ms, in some order
    const random = randomFrom(3)
    for (let i = series.length - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1))
      ;[series[i], series[j]] = [series[j], series[i]]
    }
    const clock = holdClock()
    try {
      for (const ms of series) {
        const pending = tracker.advanceEpoch()
        clock.pass(ms)
        hand.run()
        await pending
      }
    } finally {
      clock.end()
    }
    const { count, mean, p50, p99, max } = tracker.stats().sealMs
    expect({ count, max }).toEqual({ count: 100, max: 100 })
    expect(mean).toBeCloseTo(50.5, 6)
    expect(Math.abs(p50 / 50 - 1)).toBeLessThan(0.05)
    expect(Math.abs(p99 / 99 - 1)).toBeLessThan(0.05)
  })

  it('its percentiles are within a few hundredths for any series, and never beyond the maximum', () => {
    const random = randomFrom(7)
    for (const make of [
      () => 5,
      () => random() ** 8 * 60_000,
      () => 2 ** (random() * 20 - 10),
      () => 0,
    ]) {
      const times = new SealTimes()
      const series = range(0, 1001).map(make)
      for (const ms of series) times.add(ms)
      series.sort((a, b) => a - b)
      const { count, mean, p50, p99, max } = times.summary()
      expect([count, max]).toEqual([1001, series[1000]])
      expect(mean).toBeCloseTo(series.reduce((a, b) => a + b) / 1001, 6)
      for (const [found, at] of [
        [p50, 500],
        [p99, 990],
      ]) {
        expect(found).toBeLessThanOrEqual(max)
        expect(Math.abs(found - series[at])).toBeLessThanOrEqual(series[at] * 0.05 + 2 ** -19)
      }
    }
  })

  it('C12: the accounts of each writer hold at a quiet moment: open, closed, reaped, refused, suppressed, and after stop()', async () => {
    const { tracker, hand } = await openHeld({
      laneCapacity: 64,
      capacity: 64,
      batchSize: 4,
      onFull: 'reject',
    })
    const [open, closed] = [tracker.openWriter(), tracker.openWriter()]
    const reaped = leaveBehind(tracker, 77, range(200, 6))
    const [refused, repeating] = [tracker.openWriter(), tracker.openWriter()]
    const mark = (writer: typeof open, ids: number[]) =>
      ids.map((id) => writer.mark(id)).filter(Boolean).length
    mark(open, range(0, 10)) // two batches, two staged
    mark(closed, range(100, 7))
    closed.close()
    const reaping = tracker.reap(reaped)
    expect(mark(refused, range(300, 70))).toBe(64)
    hand.run()
    expect(await reaping).toBe(2)
    // So many batches, and repeated keys are looked for.
    for (const id of range(1000, 240 * 4)) {
      repeating.mark(id)
      if (id % 32 === 0) hand.run()
    }
    expect(mark(repeating, [7, 7, 8, 7])).toBe(4)

    const accounts = () => {
      expectAccounts(tracker)
      return tracker
        .stats()
        .writers.map(({ open: isOpen, marked, published, staged, suppressed, rejected: no }) => ({
          isOpen,
          marked,
          published,
          staged,
          suppressed,
          no,
        }))
    }
    const quiet = { isOpen: true, staged: 0, suppressed: 0, no: 0 }
    expect(accounts()).toEqual([
      { ...quiet, marked: 10, published: 8, staged: 2 },
      { ...quiet, isOpen: false, marked: 7, published: 7 },
      { ...quiet, isOpen: false, marked: 6, published: 6 },
      { ...quiet, marked: 70, published: 64, no: 6 },
      { ...quiet, marked: 964, published: 960, staged: 2, suppressed: 2 },
    ])
    hand.release()
    const last = await tracker.stop()
    expect(last.size).toBe(10 + 7 + 6 + 64 + 960) // 7 and 8 are there already
    expect(accounts().map(({ marked, published }) => [marked, published])).toEqual([
      [10, 10],
      [7, 7],
      [6, 6],
      [70, 64],
      [964, 962],
    ])
    expect(tracker.stats()).toMatchObject({ harvested: 5, staged: 0 })
  })
})

describe('dump()', () => {
  it('shows the ring, the lanes and the epochs in text, and no key', async () => {
    const { tracker, hand } = await openHeld({ batchSize: 2, maxWriters: 3, epochSlots: 3 })
    const [a, b] = [tracker.openWriter(), tracker.openWriter()]
    for (const id of [90_001, 90_002]) a.mark(id)
    hand.run()
    for (const id of [90_003, 90_004, 90_005]) b.mark(id)
    const pending = tracker.advanceEpoch()
    a.markEverything()
    b.mark(90_006)
    b.close()
    const text = tracker.dump()

    expect(text).toMatch(/^dirtyring memory, version \d+, \d+ bytes$/m)
    expect(text).toMatch(/^aggregator {2}thread \d+; 0 panics/m)
    expect(text).toMatch(/^ring +head 1, tail 6: 5 of 64 slots$/m)
    expect(text).toMatch(
      /BATCH writer 1, 2 keys\n.*BATCH writer 1, 1 keys\n.*SEAL slot 1, epoch 1\n.*EVERYTHING\n.*CLOSE writer 1/,
    )
    expect(text).toMatch(
      /^writer 0 +thread \d+, generation 0: 0 keys in flight, 0 staged, of 1024$/m,
    )
    expect(text).toMatch(
      /^writer 1 +thread \d+, generation 0: 3 keys in flight, 1 staged, of 1024$/m,
    )
    expect(text).not.toContain('writer 2')
    expect(text).toMatch(/^epoch slot 0 {2}open, epoch 0 .*: 2 keys, \d+ cells$/m)
    expect(text.match(/^epoch slot [12] {2}not open/gm)).toHaveLength(2)
    expect(text).not.toContain('9000')
    hand.run()
    await pending
    expect(tracker.dump()).toMatch(
      /^epoch slot 1 {2}open, epoch 1 .*: 1 keys, \d+ cells, everything$/m,
    )
  })

  it('shows how full the filter of a superset is', async () => {
    const tracker = await openInline({ maxKeysPerEpoch: 4, epochSlots: 2 })
    const writer = tracker.openWriter()
    writer.markMany([1, 2, 3, 4, 5])
    const epoch = await tracker.advanceEpoch()
    const line =
      /^epoch slot 0 {2}not open: 4 keys, a filter with (.*) % of its bits set, overflow$/m
    expect(Number(line.exec(tracker.dump())?.[1])).toBeCloseTo((100 * 5 * 8) / 1024, 0)
    epoch.commit()
    writer.markMany(Array.from({ length: 1000 }, (_, i) => i))
    await tracker.advanceEpoch()
    expect(tracker.dump()).toMatch(/^epoch slot 1 .* % of its bits set, overflow, saturated$/m)
  })

  it('shows which writers have marked texts, and how many texts each epoch has, and no text', async () => {
    const { tracker, hand } = await openHeld({ batchSize: 1, epochSlots: 3 })
    const [a, b] = [tracker.openWriter(), tracker.openWriter()]
    a.mark('a secret')
    a.mark(new TextEncoder().encode('too'))
    b.mark(1)
    const pending = tracker.advanceEpoch()
    hand.run()
    const text = tracker.dump()

    expect(text).toMatch(/^writer 0 .* of 1024, has marked texts$/m)
    expect(text).toMatch(/^writer 1 .* of 1024$/m)
    expect(text).toMatch(/^epoch slot 0 {2}not open: 1 keys, \d+ cells, 2 texts of 11 bytes$/m)
    expect(text).toMatch(/^epoch slot 1 {2}open, epoch 1 .*: 0 keys, \d+ cells$/m)
    expect(text).not.toContain('secret')
    await pending
  })
})

describe('inspect()', () => {
  it('prints one line, never the memory', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(123_456_789)
    const txn = new TxnBuffer(1)
    txn.mark(123_456_789)
    const set = new FingerprintSet()
    set.add(123_456_789)
    const ring = BatchRing.create({ capacity: 2, laneCapacity: 2, maxWriters: 1 })
    const epoch = await tracker.advanceEpoch()
    for (const [each, says] of [
      [tracker, "DirtyTracker { epoch: 1, unsettled: 1, aggregator: 'running' }"],
      [writer, 'Writer { id: 0, staged: 0, closed: false }'],
      [epoch, "SealedEpoch { id: 0, size: 1, exact: true, state: 'sealed' }"],
      [ring, 'BatchRing { capacity: 2, laneCapacity: 2, maxWriters: 1 }'],
      [txn, 'TxnBuffer'],
      [set, 'FingerprintSet'],
    ] as [object, string][]) {
      expect(inspect(each)).toContain(says)
      expect(inspect(each)).not.toMatch(/\n|123456789|Buffer \{ \[/)
    }
  })
})
