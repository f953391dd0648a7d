import { EventEmitter } from 'node:events'
import type * as WorkerThreads from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import {
  adoptThread,
  nodePlatform,
  nodeWatching,
  onThreadHandle,
  startThread,
} from '../../lib/platform/node.js'
import type { AggregatorThread, Platform, Watching } from '../../lib/platform/platform.js'

/** The little of a Worker that the library uses, in sight of a spec. */
class FakeWorker extends EventEmitter {
  static latest: FakeWorker | undefined
  static refusal: Error | undefined

  threadId = 11
  readonly unref = jest.fn()
  readonly postMessage = jest.fn()
  readonly terminate = jest.fn(async () => 1)
  readonly script: string | undefined
  readonly options: { name?: string; eval?: boolean }

  constructor(script?: string, options = {}) {
    super()
    if (FakeWorker.refusal !== undefined) throw FakeWorker.refusal
    this.script = script
    this.options = options
    FakeWorker.latest = this
  }

  end(code = 0): void {
    this.threadId = -1
    this.emit('exit', code)
  }
}

interface Threads {
  isMainThread: boolean
  parentPort: EventEmitter | null
  ancestry: unknown
}

const setEnvironmentData = jest.fn()

/** The library's host, as a thread with number 7 loads it. */
function load(threads: Partial<Threads> = {}): Platform & Watching {
  const node = fake(threads)
  return { ...nodePlatform(node), ...nodeWatching(node) }
}

function fake(threads: Partial<Threads> = {}): typeof WorkerThreads {
  const { isMainThread = false, parentPort = new EventEmitter(), ancestry } = threads
  return {
    getEnvironmentData: (key: string) => (key === 'dirtyring.ancestry' ? ancestry : 'other'),
    isMainThread,
    parentPort,
    setEnvironmentData,
    threadId: 7,
    Worker: FakeWorker,
  } as never
}

/** A worker that starts while the library is loaded. */
function started(): FakeWorker {
  const worker = new FakeWorker()
  process.emit('worker', worker as never)
  return worker
}

let once: jest.Spied<typeof process.once>

beforeEach(() => {
  setEnvironmentData.mockClear()
  once = jest.spyOn(process, 'once').mockReturnValue(process)
})

afterEach(() => {
  jest.restoreAllMocks()
  process.removeAllListeners('worker')
  FakeWorker.refusal = undefined
})

describe('the threads above a thread of Node', () => {
  it('are none where no thread has left its number', async () => {
    const host = load()
    expect([host.threadId, host.ancestors]).toEqual([7, []])
  })

  it('are those that the thread which started it left, without its own number', async () => {
    expect(load({ ancestry: [3, 0] }).ancestors).toEqual([3, 0])
    expect(load({ ancestry: [7, 3, 0] }).ancestors).toEqual([3, 0])
  })

  it('are left to the threads that it starts, with its own number first', async () => {
    const host = load({ ancestry: [3, 0] })
    expect(setEnvironmentData).not.toHaveBeenCalled()
    host.announceParent()
    expect(setEnvironmentData.mock.calls).toEqual([['dirtyring.ancestry', [7, 3, 0]]])
  })
})

describe('a worker that a thread of Node watches', () => {
  it('is told to each listener when it starts, until that listener leaves', async () => {
    const host = load()
    const [first, second] = [jest.fn(), jest.fn()]
    const leave = host.onWorkerStart(first)
    host.onWorkerStart(second)
    const one = started()
    leave()
    const two = started()
    expect(first.mock.calls).toEqual([[one]])
    expect(second.mock.calls).toEqual([[one], [two]])
  })

  it('has its number told to each watcher when it ends, but not to one that has left', async () => {
    const host = load()
    const worker = new FakeWorker()
    const [first, second, third] = [jest.fn(), jest.fn(), jest.fn()]
    host.watchWorker(worker, first)
    const leave = host.watchWorker(worker, second)
    host.watchWorker(worker, third)
    expect(worker.listenerCount('exit')).toBe(1)
    leave!()
    worker.end()
    expect([first, second, third].map(({ mock }) => mock.calls)).toEqual([[[11]], [], [[11]]])
  })

  it('that has ended already has the number told at once with which it started', async () => {
    const host = load()
    const worker = started()
    worker.end()
    const told = jest.fn()
    expect(host.watchWorker(worker, told)).toEqual(expect.any(Function))
    expect(told.mock.calls).toEqual([[11]])
    expect(worker.listenerCount('exit')).toBe(0)
    host.watchWorker(worker, () => undefined)!()
  })

  it('that has ended, and started before the library was loaded, is refused', async () => {
    const host = load()
    const worker = new FakeWorker()
    worker.end()
    const told = jest.fn()
    expect(() => host.watchWorker(worker, told)).toThrow('before the library was loaded')
    expect(told).not.toHaveBeenCalled()
  })

  it('is no worker: nothing is watched', async () => {
    const host = load()
    expect(host.watchWorker(new EventEmitter(), () => undefined)).toBeUndefined()
  })
})

describe('a thread of Node', () => {
  it('may block, and turns its event loop once all that is due has run', async () => {
    const host = load()
    expect(host.canBlock()).toBe(true)
    const order: string[] = []
    setImmediate(() => order.push('due'))
    await host.turn()
    expect(order).toEqual(['due'])
  })
})

describe('the end of a thread of Node', () => {
  it('is told to each listener, by one hook', async () => {
    const host = load()
    const [first, second, pause] = [jest.fn(), jest.fn(), jest.fn()]
    host.onThreadEnd({ end: first, pause })
    expect(once).toHaveBeenCalledTimes(1)
    host.onThreadEnd({ end: second, pause })
    expect(once.mock.calls.map(([name]) => name as string)).toEqual(['exit'])
    const [[, hook]] = once.mock.calls as unknown as [string, () => void][]
    hook()
    expect([first, second, pause].map(({ mock }) => mock.calls.length)).toEqual([1, 1, 0])
  })
})

describe("the handle that a tracker sends to a worker of the user's", () => {
  const message = { dirtyringAggregate: 'the handle' }

  it('is taken once, and other messages are left alone', async () => {
    const port = new EventEmitter()
    const listener = jest.fn()
    onThreadHandle(fake({ parentPort: port }), listener)
    for (const other of [undefined, null, 'text', {}]) port.emit('message', other)
    expect(listener).not.toHaveBeenCalled()
    port.emit('message', message)
    port.emit('message', message)
    expect(listener.mock.calls).toEqual([['the handle']])
    expect(port.listenerCount('message')).toBe(0)
  })

  it('is not waited for on the main thread, nor where there is no port', async () => {
    const port = new EventEmitter()
    onThreadHandle(fake({ isMainThread: true, parentPort: port }), () => undefined)
    expect(port.listenerCount('message')).toBe(0)
    const portless = fake({ parentPort: null })
    expect(() => onThreadHandle(portless, () => undefined)).not.toThrow()
  })
})

describe("the aggregator's thread, in Node", () => {
  it('runs the code that the package carries, has a name, and keeps no process alive', async () => {
    const seen: AggregatorThread = startThread(fake(), 'the code')
    const worker = FakeWorker.latest!
    expect(worker.script).toBe('the code')
    expect(worker.options).toEqual({ eval: true, name: 'dirtyring aggregator' })
    expect(worker.unref).toHaveBeenCalledTimes(1)
    expect(seen.threadId).toBe(11)
    seen.postHandle('the handle')
    expect(worker.postMessage.mock.calls).toEqual([[{ dirtyringAggregate: 'the handle' }]])
  })

  it('names the ways out where permissions forbid threads, and lets other errors pass', async () => {
    const other = (FakeWorker.refusal = new Error('other'))
    expect(() => startThread(fake(), '')).toThrow(other)
    FakeWorker.refusal = Object.assign(new Error('restricted'), { code: 'ERR_ACCESS_DENIED' })
    expect(() => startThread(fake(), '')).toThrow(/--allow-worker, or pass aggregator: "inline"/)
  })

  it("may be a worker of the user's, which keeps no process alive from then on", async () => {
    const threads = fake()
    const worker = new FakeWorker()
    const thread = adoptThread(threads, worker)!
    expect(worker.unref).toHaveBeenCalledTimes(1)
    thread.postHandle('the handle')
    expect(worker.postMessage.mock.calls).toEqual([[{ dirtyringAggregate: 'the handle' }]])
    await thread.terminate()
    expect(worker.terminate).toHaveBeenCalledTimes(1)
  })

  it('is neither what is no worker nor one that has ended', async () => {
    const threads = fake()
    const ended = new FakeWorker()
    ended.end()
    expect([adoptThread(threads, ended), adoptThread(threads, new EventEmitter())]).toEqual([
      undefined,
      undefined,
    ])
    const second = new FakeWorker()
    second.threadId = 1
    expect(adoptThread(threads, second)).toBeDefined()
  })

  it.each([
    ['its exit code', [], 'exit code 3'],
    ['its error', [new Error('broken')], 'broken'],
    ['what it threw, as text', ['thrown text'], 'thrown text'],
  ])('says with %s why it has ended', async (_, errors, cause) => {
    const threads = fake()
    const worker = new FakeWorker()
    const told = jest.fn()
    adoptThread(threads, worker)!.onExit(told)
    for (const error of errors) worker.emit('error', error)
    worker.end(3)
    expect(told.mock.calls).toEqual([[cause]])
  })

  it('has its warnings printed under a name of their own', async () => {
    const warn = jest.spyOn(process, 'emitWarning').mockReturnValue()
    const host = load()
    host.warn('text')
    expect(warn.mock.calls).toEqual([['text', 'DirtyRingWarning']])
  })
})
