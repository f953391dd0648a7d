import '../support/clock.js' // first: it holds the clock that the library takes when it is loaded
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import type { DirtyTracker, TrackerOptions, Writer } from '../../lib/index.js'
import {
  FAILED,
  LANE_TEXT_BROKEN,
  LANE_WAITING,
  laneAt,
  OWNER,
  PROGRESS,
  STARTING,
  TRACKER_THREAD,
  WAITERS,
} from '../../lib/memory/map.js'
import { patience } from '../../lib/patience.js'
import { platform } from '../../lib/platform/current.js'
import { holdClock } from '../support/clock.js'
import { type Hand, openHeld, openInline, range, rejected, thrown } from '../support/in-process.js'

interface Scene {
  tracker: DirtyTracker
  writer: Writer
  hand: Hand
}

const NAPS = ['nap', 'nap']
const { noProgressMs } = patience
let clock: ReturnType<typeof holdClock>
/** What the writer's thread does while it waits. */
let log: string[]

/** Each sleep of the writer's thread takes as long as it may; then this happens, or in its naps. */
function meanwhile(inSleep: (i: number) => void, inNap: (i: number) => void = () => {}): void {
  let [sleeps, naps] = [0, 0]
  jest.spyOn(Atomics, 'wait').mockImplementation(((words: any, _: any, __: any, ms: number) => {
    if (log.length > 200) throw new Error('the writer waits for ever')
    const isNap = words.length === 1
    log.push(isNap ? 'nap' : `sleep ${ms}`)
    if (isNap) inNap(naps++)
    else {
      clock.pass(ms)
      inSleep(sleeps++)
    }
    return 'timed-out'
  }) as any)
}

const sleeps = (...all: number[]) => all.map((ms) => `sleep ${ms}`)
const nothing = (): void => undefined

/** A lane of 8 keys that is full, each key a batch in the ring, unless others lie between them. */
async function fullLane(options: TrackerOptions = {}, others: number[] = []): Promise<Scene> {
  const { tracker, hand } = await openHeld({
    laneCapacity: 8,
    batchSize: 1,
    maxWaitMs: 25,
    ...options,
  })
  const [writer, other] = [tracker.openWriter(), tracker.openWriter()]
  for (const i of range(0, 8)) {
    if (others.includes(i)) other.mark(100 + i)
    writer.mark(i)
  }
  return { tracker, writer, hand }
}

beforeEach(() => {
  log = []
  clock = holdClock()
})

afterEach(() => {
  clock.end()
  jest.restoreAllMocks()
  patience.noProgressMs = noProgressMs
})

describe('a writer that finds its lane full', () => {
  it('naps twice, then sleeps 10 ms at a time, and gives up after maxWaitMs exactly', async () => {
    const { tracker, writer } = await fullLane()
    meanwhile(nothing)
    expect(thrown(() => writer.mark(8)).message).toBe(
      'writer 0: no room for 1 keys in its lane of 8: waited 25 ms (maxWaitMs); ' +
        'nothing of this call was stored',
    )
    expect(log).toEqual([...NAPS, ...sleeps(10, 10, 5)])
    expect(tracker.stats().writers[0]).toMatchObject({ waits: 1, waitMs: 25, rejected: 1 })
  })

  it('has its own bit among all writers while it sleeps', async () => {
    const { tracker, hand } = await openHeld({
      laneCapacity: 8,
      batchSize: 1,
      maxWaitMs: 25,
      maxWriters: 70,
    })
    const { words } = hand.memory
    const writers = range(0, 70).map(() => tracker.openWriter())
    const bits: number[] = []
    meanwhile(() => {
      bits.push(...range(0, 96).filter((i) => (words[WAITERS + (i >>> 5)] >>> (i & 31)) & 1))
      words.fill(0, WAITERS, WAITERS + 3)
    })
    for (const id of [0, 31, 32, 69]) {
      for (const key of range(0, 8)) writers[id].mark(key)
      expect(thrown(() => writers[id].mark(8)).code).toBe('ERR_DIRTYRING_STALLED')
      expect(new Set(bits.splice(0))).toEqual(new Set([id]))
    }
  })

  it('does not sleep when half of the lane becomes free during its first nap', async () => {
    const { writer, hand } = await fullLane()
    meanwhile(nothing, () => hand.run(1))
    expect(writer.mark(8)).toBe(true)
    expect([log, writer.room]).toEqual([['nap'], 3])
  })

  it('sleeps on when less than half of the lane becomes free', async () => {
    const { writer, hand } = await fullLane({}, [2])
    meanwhile(
      () => hand.run(),
      (i) => i === 0 && hand.run(1),
    )
    expect(writer.mark(8)).toBe(true)
    expect([log, writer.room]).toEqual([[...NAPS, 'sleep 10'], 7])
  })

  it('sleeps on when half of the lane becomes free, and its keys are more', async () => {
    const { writer, hand } = await fullLane()
    meanwhile(
      () => hand.run(),
      (i) => i === 0 && hand.run(1),
    )
    expect(writer.markMany(range(8, 6))).toBe(true)
    expect(log).toEqual([...NAPS, 'sleep 10'])
  })

  it('is told when the aggregator cannot continue, or the tracker stops', async () => {
    const { writer, hand } = await fullLane()
    meanwhile(() => (hand.memory.words[FAILED] = 1))
    expect(thrown(() => writer.mark(8)).code).toBe('ERR_DIRTYRING_CORRUPT')
    expect((await rejected(writer.waitForRoom(8))).code).toBe('ERR_DIRTYRING_CORRUPT')
    hand.memory.words[FAILED] = 0
  })

  it('leaves the words of the lane before its own alone when it gives up', async () => {
    const { tracker, hand } = await openHeld({ laneCapacity: 8, batchSize: 1, maxWaitMs: 25 })
    const { words, layout } = hand.memory
    const [first, writer] = [tracker.openWriter(), tracker.openWriter()]
    first.close()
    for (const id of range(0, 8)) writer.mark(id)
    const [from, to] = [laneAt(layout, 0), laneAt(layout, 1)]
    const kept = words.slice(from, to)
    words.fill(7, from, to)
    meanwhile(nothing)
    expect(thrown(() => writer.mark(8)).code).toBe('ERR_DIRTYRING_STALLED')
    expect(new Set(words.slice(from, to))).toEqual(new Set([7]))
    words.set(kept, from)
    expect(words[to + LANE_WAITING]).toBe(0)
  })

  it('waits for texts in vain once no aggregator can read them, and not for numbers', async () => {
    const { tracker, hand } = await openHeld({ laneCapacity: 8, maxWaitMs: 25 })
    const writer = tracker.openWriter()
    for (const id of range(0, 8)) writer.mark(id)
    const broken = laneAt(hand.memory.layout, 0) + LANE_TEXT_BROKEN
    meanwhile(() => (hand.memory.words[broken] = 1))
    expect(thrown(() => writer.mark(8)).code).toBe('ERR_DIRTYRING_STALLED')
    expect(thrown(() => writer.mark('x'))).toMatchObject({
      code: 'ERR_DIRTYRING_CORRUPT',
      message: expect.stringContaining(
        'the texts in lane 0 do not follow each other as a writer stores them, which other code ' +
          'has done. Close the writer and open another one',
      ),
    })
    hand.memory.words[broken] = 0
  })

  it('is told on a thread that may not block, and what to do instead', async () => {
    const { tracker, writer } = await fullLane()
    meanwhile(nothing)
    jest.spyOn(platform, 'canBlock').mockReturnValue(false)
    const error = thrown(() => writer.mark(8))
    expect(error.code).toBe('ERR_DIRTYRING_WOULD_BLOCK')
    expect(error.message).toBe(
      'writer 0: no room for 1 keys in its lane of 8, and this thread may not sleep; nothing of ' +
        "this call was stored. Await writer.waitForRoom() first, or choose onFull: 'reject'.",
    )
    expect(log).toEqual([])
    expect(tracker.stats().writers[0]).toMatchObject({ waits: 0, rejected: 1 })
  })
})

describe('a writer that finds the ring full', () => {
  /** The ring holds a token of another writer and three of this one, whose lane is full. */
  async function fullRing(): Promise<Scene> {
    return fullLane({ capacity: 4 }, [0])
  }

  it('flushes as soon as one slot is free, however little room its lane has', async () => {
    const { writer, hand } = await fullRing()
    meanwhile(nothing, (i) => i === 0 && hand.run(1))
    expect(writer.flush()).toBe(true)
    expect([log, writer.staged, writer.room]).toEqual([NAPS, 0, 0])
  })

  it('says after maxWaitMs that there was no free slot, and keeps the keys staged', async () => {
    const { writer } = await fullRing()
    meanwhile(nothing)
    expect(thrown(() => writer.flush()).message).toBe(
      'writer 0: no free slot in the ring: waited 25 ms (maxWaitMs); what was marked stays staged',
    )
    expect([log, writer.staged]).toEqual([[...NAPS, ...sleeps(10, 10, 5)], 5])
  })

  it('is refused a flush on a thread that may not block', async () => {
    const { writer } = await fullRing()
    jest.spyOn(platform, 'canBlock').mockReturnValue(false)
    expect([writer.flush(), writer.staged]).toEqual([false, 5])
  })
})

describe("a writer that waits on the tracker's own thread", () => {
  const GAVE_UP = 'the aggregator has made no progress for 30 ms'
  const WAITED = 'waited 1000 ms'

  /** How often it sleeps 10 ms before it gives up, and what it says. */
  async function wait(inSleep: (i: number, hand: Hand) => void): Promise<[number, string]> {
    const { writer, hand } = await fullLane({ maxWaitMs: 1000 }, [0])
    patience.noProgressMs = 30
    meanwhile((i) => inSleep(i, hand))
    const { message } = thrown(() => writer.mark(8))
    return [log.length - NAPS.length, message]
  }

  it('gives up where the aggregator shows no progress', async () => {
    const advice = `${GAVE_UP}, and this thread cannot start it again while it sleeps`
    expect(await wait(nothing)).toEqual([3, expect.stringContaining(advice)])
  })

  it('waits on as long as the aggregator shows progress', async () => {
    const progress = (i: number, { memory }: Hand) => i < 5 && memory.words[PROGRESS]++
    expect(await wait(progress)).toEqual([8, expect.stringContaining(GAVE_UP)])
  })

  it('takes a head and a progress that move together for progress', async () => {
    const progress = (i: number, hand: Hand) => {
      if (i !== 1) return
      hand.run(1)
      hand.memory.words[PROGRESS]++
    }
    expect(await wait(progress)).toEqual([5, expect.stringContaining(GAVE_UP)])
  })

  it('waits on while a worker is on its way to the role', async () => {
    const start = (_: number, { memory }: Hand) => {
      memory.words[STARTING] = 1
      memory.words[OWNER] = 0
    }
    expect(await wait(start)).toEqual([100, expect.stringContaining(WAITED)])
  })

  it.each([
    ['no worker is on its way to it', 0, 0],
    ['a worker has it', 1, 1],
  ])('gives up where the role is free or held, and %s', async (_, starting, owner) => {
    const start = (__: number, { memory }: Hand) => {
      memory.words[STARTING] = starting
      memory.words[OWNER] *= owner
    }
    expect(await wait(start)).toEqual([3, expect.stringContaining(GAVE_UP)])
  })

  it('waits for maxWaitMs in any case when it is on another thread', async () => {
    const { writer, hand } = await fullLane({ maxWaitMs: 1000 })
    hand.memory.words[TRACKER_THREAD] += 1
    patience.noProgressMs = 30
    meanwhile(nothing)
    expect(thrown(() => writer.mark(8)).message).toContain(WAITED)
    expect(log.length).toBe(102)
    hand.memory.words[TRACKER_THREAD] -= 1
  })
})

describe('a writer on a thread that hosts an aggregator', () => {
  it('makes room by itself, without a sleep', async () => {
    const tracker = await openInline({ laneCapacity: 8, batchSize: 1 })
    const writer = tracker.openWriter()
    meanwhile(nothing)
    for (const id of range(0, 100)) expect(writer.mark(id)).toBe(true)
    expect([log, tracker.stats().writers[0].waits]).toEqual([[], 0])
  })

  it("sleeps no longer than 1 ms at a time for another tracker's aggregator", async () => {
    await openInline()
    const { writer } = await fullLane({ maxWaitMs: 3 })
    meanwhile(nothing)
    expect(thrown(() => writer.mark(8)).code).toBe('ERR_DIRTYRING_STALLED')
    expect(log).toEqual([...NAPS, ...sleeps(1, 1, 1)])
  })
})
