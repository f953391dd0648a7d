import { afterEach, describe, expect, it, jest } from '@jest/globals'
import { slotAt, TAIL } from '../../lib/memory/map.js'
import { push } from '../../lib/ring/ring.js'
import { controlToken, NOP } from '../../lib/ring/token.js'
import { Listeners } from '../../lib/tracker/events.js'
import { Lifecycle } from '../../lib/tracker/lifecycle.js'
import { openOutbox, openPlace, requestEverything, requestSeal } from '../../lib/tracker/outbox.js'
import { open, run, stageKeys } from '../support/aggregators.js'
import { type MemoryOptions, smallMemory } from '../support/steps.js'

/** The timers that were started; they fire when the spec says so. */
const timers: { callback: () => void; ms: number; isUnref: boolean }[] = []
const real = await import('../../lib/timers.js')
jest.unstable_mockModule('../../lib/timers.js', () => ({
  ...real,
  setTimeout: (callback: () => void, ms: number) => {
    timers.push({ callback, ms, isUnref: false })
    return timers.at(-1)
  },
  unref: (timer: (typeof timers)[0]) => (timer.isUnref = true),
}))
const { Sender } = await import('../../lib/tracker/sender.js')

const ERROR = new Error('gone')

afterEach(() => {
  timers.length = 0
})

function start(options: MemoryOptions = {}) {
  const memory = smallMemory({ capacity: 8, epochSlots: 6, ...options })
  const outbox = openOutbox(memory, 0)
  const lifecycle = new Lifecycle()
  /** What was called, in order. A push notes how many tokens are in the ring and in the queue. */
  const calls: unknown[] = []
  const queued = (): number => outbox.queue.length
  const tail = (): number => memory.words[TAIL]
  const sender = new Sender({
    memory,
    outbox,
    lifecycle,
    listeners: new Listeners(),
    poke: () => calls.push('poke'),
    fail: (reason) => calls.push(reason),
    lookForLongWaits: () => undefined,
  })
  sender.onPush = () => calls.push(['push', tail(), queued()])
  /** Until the ring is full, or has room for so many tokens. */
  const fill = (room = 0): void => {
    for (let left = 8 - room; left > 0 && push(memory, controlToken(NOP, 0)); left--);
  }
  /** The ring holds a word that the library never writes there. */
  const spoil = (): void => void (memory.words[slotAt(memory.layout, tail())] = 0x7fffffff)
  return { memory, outbox, sender, lifecycle, calls, queued, tail, fill, spoil }
}

describe('the sender of control tokens', () => {
  it('sends all that the ring has room for, and the rest by one timer at a time', () => {
    const { memory, outbox, sender, calls, queued, fill } = start()
    sender.flush()
    for (let i = 0; i < 3; i++) requestEverything(outbox)
    sender.flush()
    expect([calls, timers]).toEqual([
      [
        ['push', 0, 0],
        ['push', 3, 0],
      ],
      [],
    ])

    fill(7 - 3)
    for (let round = 1; round < 3; round++) {
      for (let i = 0; i < 3; i++) requestEverything(outbox)
      for (let i = 0; i < 2; i++) sender.flush()
      expect(timers).toEqual([{ callback: expect.any(Function), ms: 1, isUnref: true }])
      calls.length = 0
      timers.pop()!.callback()
      expect(calls).toEqual(['poke'])
    }
    expect(queued()).toBe(5)
    run(memory)
    sender.flush()
    expect([queued(), timers.length]).toEqual([0, 0])
  })

  it('lets an aggregator on this thread make room, and goes on if it did', () => {
    const { memory, outbox, sender, calls, queued, tail, fill } = start()
    fill()
    requestEverything(outbox)
    requestEverything(outbox)
    sender.onPush = () => {
      calls.push(queued())
      run(memory)
    }
    sender.flush()
    expect([calls, tail(), timers.length]).toEqual([[2, 0], 10, 0])
  })

  it('sends nothing once the aggregator has failed, also while it makes room', () => {
    const { memory, outbox, sender, lifecycle, calls, queued, tail, fill } = start()
    fill()
    requestEverything(outbox)
    sender.onPush = () => {
      run(memory)
      outbox.queue.length = 0
      lifecycle.fail(ERROR)
    }
    sender.flush()
    expect([calls, tail()]).toEqual([[], 8])

    requestEverything(outbox)
    sender.onPush = () => calls.push('push')
    sender.flush()
    expect([sender.trySeal({}), calls, tail(), queued()]).toEqual([false, [], 8, 1])
  })

  it('tells of a corrupt ring, and makes no cut there', () => {
    for (const maxConsumers of [0, 1]) {
      const { outbox, sender, calls, spoil } = start({ maxConsumers })
      const place = maxConsumers > 0 ? openPlace(outbox, true) : undefined
      spoil()
      const corrupt: unknown = expect.objectContaining({ code: 'ERR_DIRTYRING_CORRUPT' })
      expect(sender.trySeal({ place })).toBe(false)
      expect(calls.filter((call) => !Array.isArray(call))).toEqual([corrupt])
      calls.length = 0
      requestEverything(outbox)
      sender.flush()
      expect([calls, timers]).toEqual([[corrupt], []])
    }
  })

  it('notes the staged keys of a cut, at the cut and not at another token', () => {
    const { memory, outbox, sender, fill } = start()
    const lane = open(memory)
    const staged = (): number[] => outbox.sealing.map((sealing) => sealing.staged)
    stageKeys(lane, 1, 2)
    expect([sender.trySeal({}), staged()]).toEqual([true, [2]])
    stageKeys(lane, 3)
    requestEverything(outbox)
    sender.flush()
    expect(staged()).toEqual([2])
    requestSeal(outbox, {})
    sender.flush()
    expect(staged()).toEqual([2, 3])
    stageKeys(lane, 4)
    fill()
    expect([sender.trySeal({}), staged()]).toEqual([false, [2, 3]])
    run(memory)
    expect([sender.trySeal({}), staged()]).toEqual([true, [2, 3, 4]])
  })
})

describe('a cut that is made now or not at all', () => {
  it('comes behind the tokens that wait, if the ring has room for all', () => {
    for (const maxConsumers of [0, 1]) {
      const { outbox, sender, queued, tail } = start({ maxConsumers })
      const place = maxConsumers > 0 ? openPlace(outbox, true) : undefined
      requestEverything(outbox)
      expect([sender.trySeal({ place }), queued(), tail()]).toEqual([true, 0, 2])
    }
  })

  it('has an aggregator on this thread work before it, for a named consumer only if it must', () => {
    for (const [maxConsumers, isFull, pushes] of [
      [0, false, 1],
      [0, true, 2],
      [1, false, 0],
      [1, true, 2],
    ] as const) {
      const { memory, outbox, sender, calls, tail, fill } = start({ maxConsumers })
      const place = maxConsumers > 0 ? openPlace(outbox, true) : undefined
      if (isFull) fill()
      expect([sender.trySeal({ place }), tail()]).toEqual([!isFull, isFull ? 8 : 1])
      expect(calls).toEqual(Array(pushes).fill(['push', isFull ? 8 : 0, 0]))
      if (!isFull) continue
      sender.onPush = () => void run(memory)
      expect([sender.trySeal({ place }), tail()]).toEqual([true, 9])
    }
  })
})
