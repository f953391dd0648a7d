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
import { range, thrown } from '../support/in-process.js'

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

/** A listener of the library's. */
interface Marked {
  readonly [mark: symbol]: unknown
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
    expect(thrown(() => host.watchWorker(worker, told)).message).toBe(
      'the worker was started before the library was loaded, and has ended: ' +
        'its number is no longer known',
    )
    expect(told).not.toHaveBeenCalled()
  })

  it('is no worker: nothing is watched', async () => {
    const host = load()
    expect(host.watchWorker(new EventEmitter(), () => undefined)).toBeUndefined()
  })
})

describe('a worker that starts', () => {
  /** The host, and the channel on which Node tells of workers in their constructor. */
  function loadWithChannel(): { host: Watching; heard: ((message: object) => void)[] } {
    const heard: ((message: object) => void)[] = []
    jest.spyOn(process, 'getBuiltinModule').mockReturnValue({
      subscribe: (_: string, hear: (typeof heard)[0]) => heard.push(hear),
      unsubscribe: (_: string, hear: (typeof heard)[0]) => heard.splice(heard.indexOf(hear), 1),
    })
    return { host: load(), heard }
  }

  it('is told once, though the channel and the process tell of it', () => {
    const { host, heard } = loadWithChannel()
    const told = jest.fn()
    host.onWorkerStart(told)
    const worker = new FakeWorker()
    worker.threadId = 1
    for (const hear of heard) hear({ worker })
    expect(told.mock.calls).toEqual([[worker]])
    process.emit('worker', worker as never)
    expect(told.mock.calls).toEqual([[worker]])
    worker.end()
    const ended = jest.fn()
    host.watchWorker(worker, ended)
    expect(ended.mock.calls).toEqual([[1]])
  })

  it('is not told if it has ended already, because it has no number', () => {
    const host = load()
    const told = jest.fn()
    host.onWorkerStart(told)
    const worker = new FakeWorker()
    worker.end()
    process.emit('worker', worker as never)
    expect(told).not.toHaveBeenCalled()
    expect(() => host.watchWorker(worker, told)).toThrow('its number is no longer known')
  })

  it('is heard of on the channel as long as one listener is left', () => {
    const { host, heard } = loadWithChannel()
    const listeners = (): number => heard.length
    expect(listeners()).toBe(0)
    const [first, second] = [host.onWorkerStart(jest.fn()), host.onWorkerStart(jest.fn())]
    expect(listeners()).toBe(1)
    first()
    expect(listeners()).toBe(1)
    second()
    expect(listeners()).toBe(0)
    host.onWorkerStart(jest.fn())
    expect(listeners()).toBe(1)
  })
})

describe('a Web Worker of Bun', () => {
  const versions = Object.getOwnPropertyDescriptor(process, 'versions')!

  afterEach(() => void Object.defineProperty(process, 'versions', versions))

  function setBun(bun: string | undefined): void {
    Object.defineProperty(process, 'versions', {
      ...versions,
      value: { ...process.versions, bun },
    })
  }

  it('is watched by one listener, which tells its number to each watcher', () => {
    setBun('1.2.0')
    const host = load()
    const worker = { threadId: 5, addEventListener: jest.fn() }
    const [first, second] = [jest.fn(), jest.fn()]
    host.watchWorker(worker, first)
    host.watchWorker(worker, second)
    expect(worker.addEventListener.mock.calls).toEqual([
      ['close', expect.any(Function), { once: true }],
    ])
    const [[, close]] = worker.addEventListener.mock.calls as unknown as [string, () => void][]
    close()
    expect([first, second].map(({ mock }) => mock.calls)).toEqual([[[5]], [[5]]])
  })

  it.each([
    ['in Node', undefined, { threadId: 5, addEventListener: () => undefined }],
    ['if it is no object', '1.2.0', 'text'],
    ['if it is null', '1.2.0', null],
    ['without a number', '1.2.0', { addEventListener: () => undefined }],
    ['if it tells no end', '1.2.0', { threadId: 5 }],
  ])('is none %s', (_, bun, worker) => {
    setBun(bun)
    expect(load().watchWorker(worker, () => undefined)).toBeUndefined()
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

describe('eleven copies of the library on one thread of Node', () => {
  it('listen to each emitter once, and hear of all that each of them listens to', () => {
    once.mockRestore()
    const hosts = range(0, 11).map(() => load())
    const [starts, ends, threadEnds] = [jest.fn(), jest.fn(), jest.fn()]
    for (const host of hosts) host.onWorkerStart(starts)
    const worker = started()
    const before = process.listenerCount('exit')
    for (const host of hosts) {
      host.watchWorker(worker, ends)
      host.onThreadEnd({ end: threadEnds, pause: () => undefined })
    }
    expect([process.listenerCount('worker'), worker.listenerCount('exit')]).toEqual([1, 1])
    expect(process.listenerCount('exit')).toBe(before + 1)
    worker.end()
    const hook = process.listeners('exit').at(-1)!
    process.off('exit', hook)
    hook(0)
    expect([starts, ends, threadEnds].map(({ mock }) => mock.calls.length)).toEqual([11, 11, 11])
  })

  it('find the listener of another copy by its mark, behind those of the program', () => {
    const foreign = jest.fn()
    process.on('worker', foreign)
    load()
    load()
    const [, ours, ...more] = process.listeners('worker') as unknown as Marked[]
    expect(ours[Symbol.for('dirtyring.listeners')]).toEqual(expect.any(Set))
    expect(more).toEqual([])
    const worker = started()
    expect(foreign.mock.calls).toEqual([[worker]])
  })

  it('listen again where the program has taken all listeners away', () => {
    load()
    process.removeAllListeners('worker')
    const heard = jest.fn()
    load().onWorkerStart(heard)
    const worker = started()
    expect(heard.mock.calls).toEqual([[worker]])
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
    const { message, cause } = thrown(() => startThread(fake(), ''))
    expect(message).toBe(
      "Node's permissions forbid threads. " +
        'Start Node with --allow-worker, or pass aggregator: "inline"',
    )
    expect(cause).toBe(FakeWorker.refusal)
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

describe('the names that a thread of Node shares with other copies of the library, and with Node', () => {
  it('are these', async () => {
    jest.resetModules()
    const fresh = await import('../../lib/platform/node.js')
    const { getBuiltinModule } = process
    const channel = { subscribe: jest.fn(), unsubscribe: jest.fn() }
    jest.spyOn(process, 'getBuiltinModule').mockReturnValue(channel)
    const node = { ...fake(), getEnvironmentData: jest.fn() }
    fresh.nodePlatform(node as never)
    expect(node.getEnvironmentData.mock.calls).toEqual([['dirtyring.ancestry']])
    fresh.nodeWatching(node as never).onWorkerStart(() => undefined)
    expect(channel.subscribe.mock.calls).toEqual([['worker_threads', expect.any(Function)]])
    const ours = process.listeners('worker').at(-1) as unknown as Marked
    expect(ours[Symbol.for('dirtyring.listeners')]).toEqual(expect.any(Set))
    FakeWorker.refusal = Object.assign(new Error(), { code: 'ERR_ACCESS_DENIED' })
    expect(() => fresh.startThread(fake(), '')).toThrow(
      `Node's permissions forbid threads. Start Node with --allow-worker, or pass aggregator: "inline"`,
    )
    process.getBuiltinModule = getBuiltinModule
  })
})

describe("Node's worker_threads", () => {
  const scope = globalThis as Record<string, unknown>
  const real = process

  afterEach(() => {
    scope.process = real
    delete scope.WorkerGlobalScope
  })

  /** Whether the library takes them where it finds this `process`, and they say this. */
  async function areTaken(found: object | undefined, threads?: object): Promise<boolean> {
    jest.resetModules()
    scope.process =
      found && Object.assign(Object.create(real), { getBuiltinModule: () => threads }, found)
    const { threadsOfNode } = await import('../../lib/platform/threads.js')
    scope.process = real
    expect([undefined, threads]).toContain(threadsOfNode)
    return threadsOfNode !== undefined
  }

  it.each<[string, object | undefined, object | undefined, boolean]>([
    ['no process', undefined, undefined, false],
    ['a process without them', { getBuiltinModule: undefined }, undefined, false],
    ['a process that does not know them', {}, undefined, false],
    ['a page of Electron', { type: 'renderer' }, { isMainThread: true }, false],
    ["a page's worker of Electron", { type: 'worker' }, { isMainThread: true }, false],
    ['the main process of Electron', { type: 'browser' }, { isMainThread: true }, true],
    ['a main thread', {}, { isMainThread: true }, true],
    ['a worker', {}, { isMainThread: false }, true],
  ])('with %s', async (_, found, threads, taken) => {
    expect(await areTaken(found, threads)).toBe(taken)
  })

  it('are not taken in a Web Worker for which they say that it is the main thread', async () => {
    const any = Object.defineProperty(() => undefined, Symbol.hasInstance, { value: () => true })
    for (const [isMainThread, type, taken] of [
      [true, any, false],
      [false, any, true],
      [true, Map, true],
      [true, undefined, true],
    ] as const) {
      scope.WorkerGlobalScope = type
      expect(await areTaken({}, { isMainThread })).toBe(taken)
    }
  })
})
