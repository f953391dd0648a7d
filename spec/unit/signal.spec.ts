import { afterEach, describe, expect, it, jest } from '@jest/globals'
import { abortable, isSignal, until, type Waiting } from '../../lib/signal.js'
import { rejected, thrown } from '../support/in-process.js'

afterEach(() => {
  jest.restoreAllMocks()
  jest.resetModules()
})

describe('isSignal()', () => {
  it('is true of an AbortSignal, and false of what its getters refuse, as a Proxy in a browser', () => {
    const refused = {
      get aborted(): boolean {
        throw new TypeError('Illegal invocation')
      },
    }
    const values = [new AbortController().signal, refused, undefined, {}]
    expect(values.map(isSignal)).toEqual([true, false, false, false])
  })

  it("throws what the value's own getter throws", () => {
    const own = new Error('of the value')
    const value = {
      get aborted(): boolean {
        throw own
      },
    }
    expect(thrown(() => isSignal(value))).toBe(own)
  })
})

describe('abortable()', () => {
  /** A signal that notes what is done to it. */
  function start(abortsAtOnce: boolean) {
    const done: unknown[] = []
    let abort = (): void => undefined
    const signal = {
      aborted: false,
      reason: 'enough',
      addEventListener: (type: string, listener: () => void) => {
        done.push(['add', type])
        abort = listener
        if (abortsAtOnce) listener()
      },
      removeEventListener: (type: string, listener: () => void) =>
        done.push(['remove', type, listener === abort]),
    }
    let waiting: Waiting<number> | undefined
    const call = abortable<number>(signal, (given) => {
      done.push('start')
      waiting = given
      return () => true
    })
    return { done, call, waiting: waiting!, abort: () => abort() }
  }

  it("listens for 'abort', and listens no more once the promise is settled", async () => {
    const resolves = start(false)
    resolves.waiting.resolve(7)
    expect(await resolves.call).toBe(7)
    const aborted = start(false)
    aborted.abort()
    expect(await rejected(aborted.call)).toBe('enough')
    for (const { done } of [resolves, aborted])
      expect(done).toEqual([['add', 'abort'], 'start', ['remove', 'abort', true]])
  })

  it('starts nothing if the signal aborts while it is listened to', async () => {
    const { done, call } = start(true)
    expect(await rejected(call)).toBe('enough')
    expect(done).toEqual([
      ['add', 'abort'],
      ['remove', 'abort', true],
    ])
  })
})

describe('until()', () => {
  it('looks after 1 ms, 2 ms, 4 ms and so on, and no less often than it is told', async () => {
    const waits: unknown[] = []
    jest.spyOn(globalThis, 'setTimeout').mockImplementation(((look: () => void, ms: number) => {
      waits.push(ms)
      queueMicrotask(look)
    }) as never)
    jest.resetModules()
    const signals = await import('../../lib/signal.js')
    let looks = 0
    await signals.until(() => ++looks > 6, 10, undefined)
    expect(waits).toEqual([1, 2, 4, 8, 10, 10])
  })

  it.each([1, 2])('looks no more once the signal aborts in look %d', async (last) => {
    const controller = new AbortController()
    let looks = 0
    const look = (): boolean => {
      if (++looks === last) controller.abort('enough')
      return looks > 4
    }
    expect(await rejected(until(look, 1, controller.signal))).toBe('enough')
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(looks).toBe(last)
  })
})
