import { afterEach, describe, expect, it, jest } from '@jest/globals'

/** The timers that are set and neither cleared nor over. */
const timers = new Set<() => void>()
const real = await import('../../lib/timers.js')
jest.unstable_mockModule('../../lib/timers.js', () => ({
  ...real,
  setTimeout: (callback: () => void) => {
    timers.add(callback)
    return callback
  },
  clearTimeout: (callback: () => void) => timers.delete(callback),
}))
const { away, closed, tooLarge, unlessAborted, within } =
  await import('../../lib/cluster/engine.js')
const { isPending, rejected } = await import('../support/in-process.js')

const never = new Promise<never>(() => undefined)

afterEach(() => timers.clear())

describe('the errors of an engine', () => {
  const cause = new Error('ECONNRESET')

  it.each([
    ['away', (reason?: unknown) => away('it is away', reason), 'AWAY', 'it is away'],
    ['closed', (reason?: unknown) => closed('it is closed', reason), 'CLOSED', 'it is closed'],
    [
      'tooLarge',
      (reason?: unknown) => tooLarge(7, 5, reason),
      'TOO_LARGE',
      'the message has 7 bytes, and the engine takes 5 at most',
    ],
  ] as const)(
    'say what happened, and hold the cause if there is one: %s()',
    (_, make, code, message) => {
      expect(make(cause)).toMatchObject({ code: `ERR_DIRTYRING_${code}`, message, cause })
      expect(Object.hasOwn(make(), 'cause')).toBe(false)
    },
  )
})

describe('within()', () => {
  it('settles as the answer does, and leaves no timer behind', async () => {
    expect(await within(Promise.resolve(7), 5, 'PING')).toBe(7)
    expect((await rejected(within(Promise.reject(new Error('mine')), 5, 'PING'))).message).toBe(
      'mine',
    )
    expect(timers.size).toBe(0)
  })

  it('rejects if no answer comes in time', async () => {
    const answer = within(never, 5, 'PING')
    expect([await isPending(answer), timers.size]).toEqual([true, 1])
    for (const end of timers) end()
    expect(await rejected(answer)).toMatchObject({
      code: 'ERR_DIRTYRING_AWAY',
      message: 'PING: no answer within 5 ms',
    })
    expect(timers.size).toBe(0)
  })
})

describe('unlessAborted()', () => {
  const abandon = jest.fn()

  afterEach(() => void abandon.mockClear())

  it('settles as the promise does', async () => {
    const { signal } = new AbortController()
    expect(await unlessAborted(signal, Promise.resolve(7), abandon)).toBe(7)
    expect(
      (await rejected(unlessAborted(signal, Promise.reject(new Error('mine')), abandon))).message,
    ).toBe('mine')
    expect(abandon).not.toHaveBeenCalled()
  })

  it('rejects at an abort, and tells the owner of the promise', async () => {
    const controller = new AbortController()
    const answer = unlessAborted(controller.signal, never, abandon)
    expect([await isPending(answer), abandon.mock.calls]).toEqual([true, []])
    controller.abort('enough')
    await expect(answer).rejects.toBe('enough')
    expect(abandon).toHaveBeenCalledTimes(1)
  })
})
