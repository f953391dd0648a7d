import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import type { Platform, Watching } from '../../lib/platform/platform.js'
import type * as Web from '../../lib/platform/web.js'
import { thrown } from '../support/in-process.js'

interface PageEvent {
  readonly type: string
  readonly message?: string
  readonly data?: unknown
  readonly persisted?: boolean
  readonly preventDefault?: () => void
}

/** What listens to a thing of the page. */
class Ears {
  readonly #listeners = new Map<string, Set<(event: PageEvent) => void>>()
  addEventListener = (type: string, listener: (event: PageEvent) => void): void => {
    if (!this.#listeners.has(type)) this.#listeners.set(type, new Set())
    this.#listeners.get(type)!.add(listener)
  }
  removeEventListener = (type: string, listener: (event: PageEvent) => void): void => {
    this.#listeners.get(type)?.delete(listener)
  }
  tell(event: PageEvent): void {
    for (const listener of [...(this.#listeners.get(event.type) ?? [])]) listener(event)
  }
}

class PageWorker extends Ears {
  static readonly all: PageWorker[] = []
  static refusal: Error | undefined

  readonly postMessage = jest.fn()
  readonly terminate = jest.fn()
  readonly address: string
  readonly options: object

  constructor(address: string, options: object) {
    super()
    if (PageWorker.refusal !== undefined) throw PageWorker.refusal
    this.address = address
    this.options = options
    PageWorker.all.push(this)
  }
}

const page = globalThis as Record<string, unknown>
const kept = new Map<string, unknown>()
let scope: Ears
let platform: Platform & Watching
let web: typeof Web
let texts: string[]

beforeEach(async () => {
  jest.resetModules()
  scope = new Ears()
  texts = []
  PageWorker.all.length = 0
  PageWorker.refusal = undefined
  const has = {
    addEventListener: scope.addEventListener,
    removeEventListener: scope.removeEventListener,
    Worker: PageWorker,
    Blob: function (parts: string[], { type }: { type: string }) {
      texts.push(`${type}: ${parts.join('')}`)
    },
    URL: { createObjectURL: () => `blob:${texts.length}` },
  }
  for (const [name, value] of Object.entries(has)) {
    kept.set(name, page[name])
    page[name] = value
  }
  web = await import('../../lib/platform/web.js')
  platform = { ...web.webPlatform(), ...web.webWatching() }
})

afterEach(() => {
  for (const [name, value] of kept) page[name] = value
  delete page.document
})

describe("a page's host", () => {
  it('tells of no thread numbers, parents or starts of workers', () => {
    expect([platform.threadId, platform.ancestors]).toEqual([undefined, []])
    platform.announceParent()
    platform.onWorkerStart(() => undefined)()
  })

  it('is chosen where the library finds no worker_threads', async () => {
    const { getBuiltinModule } = process
    try {
      process.getBuiltinModule = undefined as never
      const { platform: current } = await import('../../lib/platform/current.js')
      expect(current.threadId).toBeUndefined()
    } finally {
      process.getBuiltinModule = getBuiltinModule
    }
    jest.resetModules()
    const { platform: current } = await import('../../lib/platform/current.js')
    expect(current.threadId).toBe(0)
  })

  it('may not block where the engine refuses', async () => {
    const { mayBlock } = await import('../../lib/platform/may-block.js')
    const wait = jest.spyOn(Atomics, 'wait').mockImplementation(() => {
      throw new TypeError('Atomics.wait cannot be called in this context')
    })
    expect(mayBlock()).toBe(false)
    wait.mockRestore()
    expect(mayBlock()).toBe(true)
  })

  it('prints its warnings', () => {
    const warn = jest.spyOn(console, 'warn').mockReturnValue()
    platform.warn('text')
    expect(warn.mock.calls).toEqual([['text']])
    warn.mockRestore()
  })

  it('turns its event loop by a message, which no browser delays, or else by a timer', async () => {
    const { MessageChannel } = globalThis
    const made: unknown[] = []
    const order: string[] = []
    try {
      page.MessageChannel = function () {
        const channel = new MessageChannel()
        made.push(channel)
        return channel
      }
      void Promise.resolve().then(() => order.push('microtask'))
      await platform.turn()
      order.push('turn')
      expect([made.length, order]).toEqual([1, ['microtask', 'turn']])
      page.Deno = {}
      await platform.turn()
      delete page.Deno
      page.MessageChannel = undefined
      await platform.turn()
      expect(made).toHaveLength(1)
    } finally {
      page.MessageChannel = MessageChannel
      delete page.Deno
    }
  })

  it('starts each worker of the library from one address, at which the code is', () => {
    web.startWebWorker('the code')
    web.startWebWorker('the code').postHandle('the handle')
    expect(texts).toEqual(['text/javascript: the code'])
    expect(PageWorker.all.map(({ address, options }) => [address, options])).toEqual(
      Array(2).fill(['blob:1', { type: 'module', name: 'dirtyring aggregator' }]),
    )
    expect(PageWorker.all[1].postMessage.mock.calls).toEqual([
      [{ dirtyringAggregate: 'the handle' }],
    ])
  })

  it('names the way out where a policy forbids such workers, at once or by an error', () => {
    const wayOut = /Content-Security-Policy.*aggregator: \(\) => new Worker.*dirtyring\/aggregator/
    jest.useFakeTimers()
    const told = jest.fn()
    web.startWebWorker('').onExit(told)
    PageWorker.all[0].tell({ type: 'error' })
    for (const message of ['csp.example: by a policy', 'csp.example: by a policy.']) {
      PageWorker.refusal = new Error(message)
      expect(() => web.startWebWorker('')).toThrow(wayOut)
      expect(() => web.startWebWorker('')).toThrow('csp.example: by a policy. If')
      expect(thrown(() => web.startWebWorker('')).cause).toBe(PageWorker.refusal)
    }
    jest.useRealTimers()
  })

  it('names the inline aggregator where there are no workers', () => {
    page.Worker = undefined
    expect(() => web.startWebWorker('')).toThrow('has no Worker: pass aggregator: "inline"')
  })

  it('says that a worker failed, and why, once it runs no more', async () => {
    const causes: string[] = []
    for (const [i, message] of ['as told', '', undefined].entries()) {
      const ended = new Promise<string>((resolve) => web.startWebWorker('').onExit(resolve))
      const preventDefault = jest.fn()
      PageWorker.all[i].tell({
        type: 'error',
        ...(message !== undefined && { message }),
        preventDefault,
      })
      expect(preventDefault).toHaveBeenCalledTimes(1)
      PageWorker.all[i].tell({ type: 'error', message: 'a second one' })
      expect(PageWorker.all[i].terminate).toHaveBeenCalledTimes(1)
      causes.push(await ended)
    }
    expect(causes[0]).toBe('as told')
    for (const cause of causes.slice(1))
      expect(cause).toMatch(/^the worker failed\. If a Content-Security-Policy/)
  })

  it('lets a worker of the library close itself before it terminates it', async () => {
    const thread = web.startWebWorker('')
    const ended = new Promise((resolve) => thread.onExit(resolve))
    await thread.terminate()
    expect(PageWorker.all[0].terminate).not.toHaveBeenCalled()
    expect(await ended).toBe('terminated')
    expect(PageWorker.all[0].terminate).toHaveBeenCalledTimes(1)
    const worker = new PageWorker('', {})
    const adopted = web.adoptWebWorker(worker)!
    const adoptedEnd = new Promise((resolve) => adopted.onExit(resolve))
    await adopted.terminate()
    expect(worker.terminate).toHaveBeenCalledTimes(1)
    expect(await adoptedEnd).toBe('terminated')
  })

  it("says of a user's worker that failed without a message no more than that", async () => {
    const worker = new PageWorker('', {})
    const ended = new Promise((resolve) => web.adoptWebWorker(worker)!.onExit(resolve))
    worker.tell({ type: 'error' })
    expect(await ended).toBe('the worker failed')
  })

  it('closes a worker that has nothing left to do', () => {
    page.close = jest.fn()
    web.endWebWorker()
    expect(page.close).toHaveBeenCalledTimes(1)
    delete page.close
    expect(() => web.endWebWorker()).not.toThrow()
  })

  it('may not block in an audio worklet', () => {
    page.AudioWorkletGlobalScope = () => undefined
    expect(web.webPlatform().canBlock()).toBe(false)
    delete page.AudioWorkletGlobalScope
    expect(web.webPlatform().canBlock()).toBe(true)
  })

  it("takes a worker of the user's, and nothing that is none", () => {
    const worker = new PageWorker('', {})
    web.adoptWebWorker(worker)!.postHandle(1)
    expect(worker.postMessage.mock.calls).toEqual([[{ dirtyringAggregate: 1 }]])
    const { addEventListener, postMessage } = worker
    for (const none of [undefined, null, 'text', {}, { addEventListener, postMessage }])
      expect(web.adoptWebWorker(none)).toBeUndefined()
  })

  it('cannot watch a worker', () => {
    expect(() => platform.watchWorker(new PageWorker('', {}), () => undefined)).toThrow(
      'cannot see',
    )
    expect(platform.watchWorker({}, () => undefined)).toBeUndefined()
  })

  it('tells the end of a page from its way into the back/forward cache', () => {
    const [end, pause] = [jest.fn(), jest.fn()]
    platform.onThreadEnd({ end, pause })
    scope.tell({ type: 'pagehide', persisted: true })
    expect([end, pause].map(({ mock }) => mock.calls.length)).toEqual([0, 1])
    scope.tell({ type: 'pagehide', persisted: false })
    expect([end, pause].map(({ mock }) => mock.calls.length)).toEqual([1, 1])
  })

  it('listens to nothing in a scope that tells no events', () => {
    page.addEventListener = undefined
    expect(() => {
      platform.onThreadEnd({ end: () => undefined, pause: () => undefined })
      web.onWebHandle(() => undefined)
    }).not.toThrow()
  })

  it('takes one handle in a worker, and none in a page', () => {
    const message = { type: 'message', data: { dirtyringAggregate: 'handle' } }
    const told = jest.fn()
    web.onWebHandle(told)
    scope.tell({ type: 'message', data: 'another message' })
    scope.tell(message)
    scope.tell(message)
    expect(told.mock.calls).toEqual([['handle']])
    page.document = {}
    web.onWebHandle(told)
    scope.tell(message)
    expect(told).toHaveBeenCalledTimes(1)
  })
})
