import '../support/clock.js' // first: it holds the clock that the library takes when it is loaded
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import type { DirtyTracker } from '../../lib/index.js'
import type { Platform } from '../../lib/platform/platform.js'
import { holdClock } from '../support/clock.js'
import type * as InProcess from '../support/in-process.js'

type Openers = Pick<typeof InProcess, 'openHeld' | 'range' | 'thrown' | 'until'> & {
  readonly platform: Platform
}

interface Copy {
  readonly library: Openers
  /** What the library does when this thread ends. */
  readonly ends: (() => void)[]
  /** What it does when this thread stops, and may go on. */
  readonly pauses: (() => void)[]
}

/** Copies of the library, one for each spec: a thread ends once. */
const copies: Copy[] = []
for (let i = 0; i < 10; i++) {
  jest.resetModules()
  const ends: (() => void)[] = []
  const pauses: (() => void)[] = []
  const { watching } = await import('../../lib/platform/watching.js')
  watching.onThreadEnd = ({ end, pause }) => {
    ends.push(end)
    pauses.push(pause)
  }
  const { platform } = await import('../../lib/platform/current.js')
  const library = { ...(await import('../support/in-process.js')), platform }
  copies.push({ library, ends, pauses })
}
let { library, ends, pauses }: Copy = copies[0]

beforeEach(() => void ({ library, ends, pauses } = copies.pop()!))

afterEach(() => void jest.restoreAllMocks())

function open(): Promise<{ tracker: DirtyTracker; hand: InProcess.Hand }> {
  return library.openHeld({ capacity: 4, laneCapacity: 64, batchSize: 8 })
}

/** The writers that are open, or not yet freed. */
function taken(tracker: DirtyTracker): number[] {
  return tracker.stats().writers.flatMap(({ id, threadId }) => (threadId >= 0 ? [id] : []))
}

describe('the end of a thread', () => {
  it('is noticed once, however many writers there are', async () => {
    const { tracker } = await open()
    expect(ends.length).toBe(0)
    for (const _ of library.range(0, 3)) tracker.openWriter()
    expect(ends.length).toBe(1)
  })

  it('publishes what its writers have staged, and closes them', async () => {
    const { tracker, hand } = await open()
    const writers = library.range(0, 2).map(() => tracker.openWriter())
    for (const [i, writer] of writers.entries()) writer.mark(i)
    ends[0]()
    expect(writers.map(({ closed }) => closed)).toEqual([true, true])
    expect(tracker.stats()).toMatchObject({ queued: 4 })
    hand.run()
    expect(taken(tracker)).toEqual([])
    expect(tracker.stats()).toMatchObject({ distinct: 2, batches: 2 })
    expect(library.thrown(() => writers[0].mark(3))).toMatchObject({
      code: 'ERR_DIRTYRING_CLOSED',
      message: 'writer 0 is closed, because its thread is ending. Mark before the thread ends.',
    })
  })

  it('that may still go on publishes what is staged, and closes nothing', async () => {
    const [one, two] = [await open(), await open()]
    const writers = [one, two].map(({ tracker }) => tracker.openWriter())
    for (const writer of writers) writer.mark(1)
    one.hand.memory.words.fill(-1, one.hand.memory.layout.ring) // a corrupt ring
    pauses[0]()
    two.hand.run()
    expect(two.tracker.stats()).toMatchObject({ distinct: 1 })
    writers[1].mark(2)
    writers[1].flush()
    two.hand.run()
    expect(two.tracker.stats()).toMatchObject({ distinct: 2 })
  })

  it('is not given as the reason by a writer that its caller has closed', async () => {
    const { tracker } = await open()
    const writer = tracker.openWriter()
    writer.close()
    expect(library.thrown(() => writer.mark(3)).message).toBe('writer 0 is closed')
  })

  it('closes a writer whose close() found the ring full, and publishes nothing', async () => {
    const clock = holdClock()
    try {
      const { tracker, hand } = await open()
      const writer = tracker.openWriter()
      for (const id of library.range(0, 33)) writer.mark(id)
      const slept: number[] = []
      jest.spyOn(Atomics, 'wait').mockImplementation(((_: any, __: any, ___: any, ms: number) => {
        slept.push(ms)
        clock.pass(100)
        if (slept.length > 100) throw new Error('close() waits for ever')
        return 'timed-out'
      }) as any)
      writer.close()
      expect(slept).toEqual(Array(10).fill(1))
      hand.run()
      tracker.openWriter() // which looks for trackers that have stopped
      expect(taken(tracker)).toEqual([0, 1])
      ends[0]()
      expect(tracker.stats().queued).toBe(2)
      hand.run()
      expect(taken(tracker)).toEqual([])
      expect(tracker.stats().distinct).toBe(33)
    } finally {
      clock.end()
    }
  })

  it('inside batch() closes the writer, which may be closed once more', async () => {
    const { tracker, hand } = await open()
    const writer = tracker.openWriter()
    writer.batch(() => {
      writer.mark(1)
      ends[0]()
      writer.close()
    })
    expect(tracker.stats().queued).toBe(1)
    hand.run()
    expect([tracker.stats().distinct, taken(tracker)]).toEqual([1, []])
  })

  it('is too late for a writer whose ring was found corrupt by its close()', async () => {
    const { tracker, hand } = await open()
    const writer = tracker.openWriter()
    const { words, layout } = hand.memory
    const ring = words.slice(layout.ring, layout.ring + layout.capacity)
    words.fill(-1, layout.ring, layout.ring + layout.capacity)
    expect(library.thrown(() => writer.close()).code).toBe('ERR_DIRTYRING_CORRUPT')
    expect(() => writer.close()).not.toThrow()
    words.set(ring, layout.ring)
    ends[0]()
    expect(tracker.stats().queued).toBe(0)
  })

  it('is too late for a writer whose ring was found corrupt by the timer of its close()', async () => {
    const { tracker, hand } = await open()
    const writer = tracker.openWriter()
    for (const id of library.range(0, 33)) writer.mark(id)
    jest.spyOn(library.platform, 'canBlock').mockReturnValue(false)
    writer.close()
    const { words, layout } = hand.memory
    const ring = words.slice(layout.ring, layout.ring + layout.capacity)
    const looks = jest.spyOn(Atomics, 'load')
    words.fill(-1, layout.ring, layout.ring + layout.capacity)
    await library.until(() => looks.mock.results.some(({ value }) => value === -1))
    words.set(ring, layout.ring)
    hand.run()
    ends[0]()
    expect(tracker.stats().queued).toBe(0)
  })

  it('in a corrupt ring disturbs no other tracker', async () => {
    const [one, two] = [await open(), await open()]
    const writers = [one, two].map(({ tracker }) => tracker.openWriter())
    for (const writer of writers) writer.mark(1)
    const { words, layout } = one.hand.memory
    words.fill(-1, layout.ring, layout.ring + layout.capacity)
    expect(ends[0]).not.toThrow()
    two.hand.run()
    expect(two.tracker.stats().distinct).toBe(1)
  })
})
