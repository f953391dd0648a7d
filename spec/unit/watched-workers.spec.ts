import { afterEach, describe, expect, it, jest } from '@jest/globals'
import { watching } from '../../lib/platform/watching.js'
import { WatchedWorkers } from '../../lib/tracker/watched-workers.js'
import { thrown } from '../support/in-process.js'

afterEach(() => void jest.restoreAllMocks())

/** The workers of a tracker, on a host that does what a spec says. */
function open() {
  const starts = new Set<(worker: unknown) => void>()
  /** Of each call that began to watch a worker: what the host calls at its end. */
  const watched: { worker: object; exit: (threadId: number) => void; unwatch: jest.Mock }[] = []
  jest.spyOn(watching, 'onWorkerStart').mockImplementation((listener) => {
    starts.add(listener)
    return () => void starts.delete(listener)
  })
  jest.spyOn(watching, 'watchWorker').mockImplementation((worker, exit) => {
    if (worker instanceof Error) throw worker
    if (!(worker instanceof HostWorker)) return undefined
    const unwatch = jest.fn()
    watched.push({ worker, exit, unwatch })
    return unwatch
  })
  const ended: number[] = []
  const workers = new WatchedWorkers((threadId) => ended.push(threadId))
  const start = (worker: unknown): void => starts.forEach((listener) => listener(worker))
  return { workers, starts, start, watched, ended }
}

class HostWorker {
  readonly name = 'a worker'
}

describe("a tracker's workers", () => {
  it('are all that the thread starts, until the tracker ends, each watched once', () => {
    const { workers, starts, start, watched, ended } = open()
    const [first, second] = [new HostWorker(), new HostWorker()]
    start(first)
    workers.watchAll()
    start(second)
    start('what the host takes for none')
    expect(watched.map(({ worker }) => worker)).toEqual([second])
    expect(watched[0].worker).toBe(second)
    workers.watch(second)
    for (let i = 0; i < 2; i++) workers.watch(first)
    expect(watched).toHaveLength(2)
    watched[1].exit(7)
    watched[0].exit(8)
    expect(ended).toEqual([7, 8])
    workers.end()
    expect(starts.size).toBe(0)
  })

  it('are let go at the end of the tracker, and each one at its own end', () => {
    const { workers, watched } = open()
    for (let i = 0; i < 3; i++) workers.watch(new HostWorker())
    watched[1].exit(7)
    workers.end()
    expect(watched.map(({ unwatch }) => unwatch.mock.calls.length)).toEqual([1, 0, 1])
  })

  it('may have ended before they are watched', () => {
    const { workers, ended } = open()
    jest.spyOn(watching, 'watchWorker').mockImplementation((_, exit) => {
      exit(9)
      return () => undefined
    })
    workers.watch(new HostWorker())
    expect(ended).toEqual([9])
  })

  it.each([
    [5, '5'],
    ['a worker', '"a worker"'],
    [null, 'null'],
    [undefined, 'undefined'],
    [{}, 'an instance of Object'],
  ])('are no other values: %p', (value, got) => {
    const { workers } = open()
    for (let i = 0; i < 2; i++) {
      const error = thrown(() => workers.watch(value))
      expect([error.name, error.code, error.cause]).toEqual([
        'TypeError',
        'ERR_DIRTYRING_INVALID_ARG',
        undefined,
      ])
      expect(error.message).toBe(`"worker" must be a Worker of node:worker_threads, got ${got}`)
    }
  })

  it('are none of which the host cannot tell the number, and the error says why', () => {
    const { workers } = open()
    const cause = new Error('its number is no longer known')
    const error = thrown(() => workers.watch(cause))
    expect([error.name, error.code]).toEqual(['TypeError', 'ERR_DIRTYRING_INVALID_ARG'])
    expect(error.message).toBe(
      '"worker" must be a Worker whose number is known, got an instance of Error',
    )
    expect(error.cause).toBe(cause)
  })
})
