import '../support/clock.js' // first: it holds the clock that the library takes when it is loaded
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { holdClock } from '../support/clock.js'

interface Timer {
  callback: () => void
  ms: number
}

/** While they are held: timers that fire when the spec says so. */
const timers = new Set<Timer>()
let areHeld = false
const real = await import('../../lib/timers.js')
jest.unstable_mockModule('../../lib/timers.js', () => ({
  ...real,
  setTimeout: (callback: () => void, ms: number) => {
    if (!areHeld) return real.setTimeout(callback, ms)
    const timer = { callback, ms }
    timers.add(timer)
    return timer
  },
  clearTimeout: (timer: Timer) => {
    if (!timers.delete(timer)) real.clearTimeout(timer as never)
  },
}))
const { BatchRing } = await import('../../lib/index.js')
const { PARKED, TAIL } = await import('../../lib/memory/map.js')
const { openInline, isPending, range, rejected, turns } = await import('../support/in-process.js')

const SMALL = { capacity: 4, laneCapacity: 8, maxWriters: 2 }
const batch = (key: number): BigUint64Array => BigUint64Array.of(BigInt(key))

let clock: ReturnType<typeof holdClock>

beforeEach(() => {
  clock = holdClock()
})

afterEach(() => {
  clock.end()
  timers.clear()
  jest.restoreAllMocks()
})

describe('BatchRing: wait()', () => {
  /** What the consumer's thread does while it waits: a nap takes `napMs`, a sleep all of its time. */
  function logOf(napMs = 0, inNap: (i: number) => void = () => undefined): string[] {
    const log: string[] = []
    jest.spyOn(Atomics, 'wait').mockImplementation(((words: any, _: any, __: any, ms: number) => {
      if (log.length > 50) throw new Error('the consumer waits for ever')
      const isNap = words.length === 1
      log.push(isNap ? 'nap' : `sleep ${ms}`)
      clock.pass(isNap ? napMs : ms)
      if (isNap) inNap(log.length)
      return 'timed-out'
    }) as any)
    return log
  }

  const NAPS = ['nap', 'nap', 'nap', 'nap']

  it('naps four times, then sleeps 100 ms at a time, until its time has gone by exactly', () => {
    const log = logOf()
    expect(BatchRing.create(SMALL).wait(250)).toBe(false)
    expect(log).toEqual([...NAPS, 'sleep 100', 'sleep 100', 'sleep 50'])
  })

  it('naps no longer than its time', () => {
    const log = logOf(1)
    expect([BatchRing.create(SMALL).wait(2), log]).toEqual([false, ['nap', 'nap']])
  })

  it('does not sleep when a batch comes while it is going to', () => {
    const log = logOf()
    const ring = BatchRing.create(SMALL)
    whenItSaysSo(() => void ring.openProducer().push(batch(1)))
    expect([ring.wait(250), log]).toEqual([true, NAPS])
  })

  it('does not sleep when a batch comes during a nap', () => {
    const ring = BatchRing.create(SMALL)
    const producer = ring.openProducer()
    const log = logOf(0, (naps) => naps === 2 && producer.push(batch(1)))
    expect([ring.wait(250), log]).toEqual([true, ['nap', 'nap']])
  })

  it('sleeps 1 ms at a time on a thread that hosts an aggregator', async () => {
    await openInline()
    const log = logOf()
    expect(BatchRing.create(SMALL).wait(2)).toBe(false)
    expect(log).toEqual([...NAPS, 'sleep 1', 'sleep 1'])
  })
})

/** Does something once, when the consumer has said that it is going to sleep. */
function whenItSaysSo(act: (words: Int32Array) => void): void {
  const { store } = Atomics
  jest.spyOn(Atomics, 'store').mockImplementation(((words: any, at: number, value: number) => {
    const stored = store(words, at, value)
    if (at !== PARKED || value !== 1) return stored
    jest.mocked(Atomics.store).mockRestore()
    act(words)
    return stored
  }) as any)
}

describe('BatchRing: batches()', () => {
  const { waitAsync } = Atomics

  beforeEach(() => {
    areHeld = true
  })

  afterEach(() => {
    areHeld = false
    Atomics.waitAsync = waitAsync
  })

  const without = (): void => void ((Atomics as { waitAsync?: unknown }).waitAsync = undefined)

  /** Fires the one timer there is, and returns its time. */
  async function fire(): Promise<number> {
    await turns(1)
    const [timer, ...others] = timers
    expect(others).toEqual([])
    timers.delete(timer)
    timer.callback()
    return timer.ms
  }

  async function fireTimes(count: number): Promise<number[]> {
    const times: number[] = []
    for (const _ of range(0, count)) times.push(await fire())
    return times
  }

  it('looks every 100 ms for a batch whose producer has died before it woke the loop', async () => {
    const batches = BatchRing.create(SMALL).batches()
    const next = batches.next()
    expect(await fireTimes(3)).toEqual([100, 100, 100])
    await batches.return!()
    await next
  })

  it('without waitAsync looks after 1, 2, 4 and 8 ms, then every 10 ms', async () => {
    without()
    const ring = BatchRing.create(SMALL)
    const producer = ring.openProducer()
    const batches = ring.batches()
    for (const key of [1, 2]) {
      const next = batches.next()
      expect(await fireTimes(7)).toEqual([1, 2, 4, 8, 10, 10, 10])
      await turns(1)
      producer.push(batch(key))
      await fire()
      expect((await next).value!.keys[0]).toBe(BigInt(key))
    }
    expect(timers.size).toBe(0)
  })

  it.each(['return', 'throw'] as const)('ends a pending next() at once with %s()', async (how) => {
    without()
    const batches = BatchRing.create(SMALL).batches()
    const next = batches.next()
    await turns(1)
    const end = how === 'return' ? batches.return!() : rejected(batches.throw!(new Error('mine')))
    expect([await isPending(next), await isPending(end)]).toEqual([false, false])
    expect([await next, timers.size]).toEqual([{ done: true, value: undefined }, 0])
  })

  it('ends a pending next() at once when its signal aborts', async () => {
    without()
    const controller = new AbortController()
    const next = BatchRing.create(SMALL).batches({ signal: controller.signal }).next()
    await turns(1)
    controller.abort()
    expect(await isPending(next)).toBe(false)
    expect([await next, timers.size]).toEqual([{ done: true, value: undefined }, 0])
  })

  it('rejects if the ring is corrupt when it is going to sleep, and leaves no timer', async () => {
    const next = BatchRing.create(SMALL).batches().next()
    whenItSaysSo((words) => (words[TAIL] = 2 ** 20))
    expect(await rejected(next)).toMatchObject({ code: 'ERR_DIRTYRING_CORRUPT' })
    expect(timers.size).toBe(0)
  })

  it('rejects with what the signal throws, and does not hide it', async () => {
    const ring = BatchRing.create(SMALL)
    const producer = ring.openProducer()
    const signal = {
      aborted: false,
      addEventListener: () => {
        producer.push(batch(1)) // a loop that went on would hand it out
        throw new Error('mine')
      },
      removeEventListener: () => undefined,
    }
    const { message } = await rejected(ring.batches({ signal }).next())
    expect([message, timers.size]).toEqual(['mine', 0])
  })
})
