import { afterEach, describe, expect, it, jest } from '@jest/globals'

const host = globalThis as unknown as Record<string, unknown>
const taken = new Map<string, unknown>()

/** The library's timers, as they are where the host lacks some of its own. */
async function loadWithout(...names: string[]): Promise<typeof import('../../lib/timers.js')> {
  for (const name of names) {
    if (!taken.has(name)) taken.set(name, host[name])
    host[name] = undefined
  }
  jest.resetModules()
  return import('../../lib/timers.js')
}

afterEach(() => {
  for (const [name, value] of taken) host[name] = value
  taken.clear()
  jest.restoreAllMocks()
})

describe("the library's timers", () => {
  it('are those of the host', async () => {
    const timers = await loadWithout()
    expect(timers.setTimeout).toBe(setTimeout)
    expect(timers.setImmediate).toBe(setImmediate)
    expect(timers.queueMicrotask).toBe(queueMicrotask)
    const before = performance.now()
    const now = timers.nowMs()
    expect(now).toBeGreaterThanOrEqual(before)
    expect(now).toBeLessThanOrEqual(performance.now())
  })

  it('call back after the running code where the host has no queueMicrotask()', async () => {
    const { queueMicrotask } = await loadWithout('queueMicrotask')
    const order: string[] = []
    queueMicrotask(() => order.push('later'))
    order.push('now')
    await Promise.resolve()
    await Promise.resolve()
    expect(order).toEqual(['now', 'later'])
  })

  it('call back after a turn of the event loop where the host has no setImmediate()', async () => {
    const { setImmediate } = await loadWithout('setImmediate')
    const called = jest.fn()
    await new Promise<void>((resolve) => {
      setImmediate(() => {
        called()
        resolve()
      })
      expect(called).not.toHaveBeenCalled()
    })
    expect(called).toHaveBeenCalledTimes(1)
  })

  it('never call back, and throw nothing, in a host that has neither timers nor waitAsync()', async () => {
    const { setTimeout, clearTimeout } = await loadWithout('setTimeout', 'clearTimeout')
    const { waitAsync } = Atomics
    try {
      Atomics.waitAsync = undefined as never
      expect(() => clearTimeout(setTimeout(() => undefined, 0))).not.toThrow()
    } finally {
      Atomics.waitAsync = waitAsync
    }
  })

  it("call back by the engine's own wait where the host has no timers, unless they are cleared", async () => {
    const { setTimeout, clearTimeout } = await loadWithout('setTimeout', 'clearTimeout')
    const order: number[] = []
    await new Promise<void>((resolve) => {
      setTimeout(() => resolve(), 40)
      setTimeout(() => order.push(20), 20)
      clearTimeout(setTimeout(() => order.push(10), 10))
      setTimeout(() => order.push(0), 0)
      clearTimeout(undefined)
    })
    expect(order).toEqual([0, 20])
  })

  it('call back again and again where the host has no intervals, until they are cleared', async () => {
    const timers = await loadWithout('setInterval', 'clearInterval')
    const order: string[] = []
    await new Promise<void>((resolve) => {
      timers.clearInterval(timers.setInterval(() => order.push('cleared'), 1))
      const long = timers.setInterval(() => order.push('long'), 60_000)
      const timer = timers.setInterval(() => {
        order.push('again')
        if (order.length < 3) return
        timers.clearInterval(timer) // in its own callback
        setTimeout(resolve, 20)
      }, 1)
      timers.clearInterval(long)
      timers.clearInterval(undefined)
    })
    expect(order).toEqual(['again', 'again', 'again'])
  })

  it('stand still while the date of a host without performance goes back', async () => {
    const dates = [1000, 400, 999, 1001]
    jest.spyOn(Date, 'now').mockImplementation(() => dates.shift()!)
    const { nowMs } = await loadWithout('performance')
    expect([nowMs(), nowMs(), nowMs(), nowMs()]).toEqual([1000, 1000, 1000, 1001])
  })

  it('keep the thread alive or not, where the host has such timers', async () => {
    const { ref, unref } = await loadWithout()
    const timer = setTimeout(() => undefined, 1000)
    unref(timer)
    expect(timer.hasRef()).toBe(false)
    ref(timer)
    expect(timer.hasRef()).toBe(true)
    clearTimeout(timer)
    for (const change of [ref, unref]) expect(() => change(5)).not.toThrow()
  })

  it('nap for less than a millisecond, on a word that is 0', async () => {
    const { nap } = await loadWithout()
    const wait = jest.spyOn(Atomics, 'wait')
    nap()
    nap()
    expect(wait.mock.results.map(({ value }) => value as string)).toEqual([
      'timed-out',
      'timed-out',
    ])
    for (const [words, at, , ms] of wait.mock.calls) {
      expect([words[at], ms! < 1]).toEqual([0, true])
    }
  })
})
