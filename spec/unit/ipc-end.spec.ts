import { afterEach, describe, expect, it, jest } from '@jest/globals'
import type { LogMessage } from '../../lib/cluster/log.js'
import { channelPair } from '../support/channel-pair.js'

interface Timer {
  readonly callback: () => void
  readonly ms: number
}

/** Timers that fire when the spec says so. */
const timers = new Set<Timer>()
const real = await import('../../lib/timers.js')
jest.unstable_mockModule('../../lib/timers.js', () => ({
  ...real,
  setTimeout: (callback: () => void, ms: number) => {
    const timer = { callback, ms }
    timers.add(timer)
    return timer
  },
  clearTimeout: (timer: Timer) => timers.delete(timer),
}))
const { isBytes, pack, unpack } = await import('../../lib/ipc/bytes.js')
const { channelOfProcess, HubEnd } = await import('../../lib/ipc/end.js')
const { ipcHub } = await import('../../lib/ipc/hub.js')
const { ipcSink, sinkOf } = await import('../../lib/ipc/sink.js')
const { ipcSource, sourceOf } = await import('../../lib/ipc/source.js')
const { thrown, turns } = await import('../support/in-process.js')

const HELLO_MS = 250
const ANSWER_MS = 1000
const NO_CHANNEL = 'the channel to the process that has the hub is closed'
const NO_HUB = 'no hub answers: call ipcHub() in the process that starts this one'
const LATE = 'the hub does not answer within 1000 ms'
const LOST = 'the hub does not have this call'

/** Lets all timers of this many milliseconds fire. */
function fire(ms: number): void {
  for (const timer of [...timers].filter((each) => each.ms === ms))
    if (timers.delete(timer)) timer.callback()
}

type Fields = Readonly<Record<string, unknown>>
type Callback = (error: Error | null) => void

/** A child's end of a channel. The spec is the hub: it sees what the child sends, and answers. */
function open(serialization: 'json' | 'advanced' = 'json') {
  const { parent, child } = channelPair(serialization)
  const sent: Fields[] = []
  const send = child.send.bind(child)
  child.send = (message, callback) => {
    sent.push(message as Fields)
    return send(message, callback)
  }
  const opsSent = () => sent.map(({ op }) => op)
  const receive = (op: string, fields: Fields = {}): void =>
    child.receive({ 'dirtyring/ipc': 1, hub: 'dirty', end: sent[0].end, op, ...fields })
  const welcome = (fields: Fields = {}): void =>
    receive('welcome', { log: 'one', carriesBytes: false, seen: -1, ...fields })
  return { parent, child, sent, opsSent, receive, welcome }
}

/** The same, with one end of a hub, which has been greeted back unless it shall not. */
async function openEnd({ isGreeted = true } = {}) {
  const channel = open()
  const end = new HubEnd(channel.child, 'dirty', 'sink', ANSWER_MS)
  if (isGreeted) {
    const greeting = end.welcomed()
    channel.welcome()
    await greeting
  }
  return { ...channel, end }
}

/** What becomes of a promise: its error's message, 'done', or 'waits' as long as it does. */
function watch(promise: Promise<unknown>): () => Promise<string> {
  let outcome = 'waits'
  promise.then(
    () => (outcome = 'done'),
    (error: unknown) => (outcome = (error as Error).message),
  )
  return async () => {
    await turns(3)
    return outcome
  }
}

const forever = (): Promise<never> => new Promise(() => {})

/** Has the end greet its hub, as it does when an answer is late. */
function greetAgain(end: InstanceType<typeof HubEnd>): void {
  watch(end.answered(forever(), 0, false))
  fire(ANSWER_MS)
}

/** What a sink or source listens to. */
const EVENTS = ['message', 'newListener', 'disconnect']

const about = { node: 'a', instance: 'a'.repeat(32) }
const message = (n: number, more: Partial<LogMessage> = {}): LogMessage => ({
  ...about,
  n,
  bytes: new Uint8Array(8),
  ...more,
})

afterEach(() => {
  timers.clear()
  jest.restoreAllMocks()
})

describe('a sink or source that greets its hub', () => {
  it('greets again each quarter of a second until the hub answers', async () => {
    const { end, opsSent, welcome } = await openEnd({ isGreeted: false })
    const greeting = watch(end.welcomed())
    expect(opsSent()).toEqual(['hello'])
    for (const count of [2, 3, 4]) {
      fire(HELLO_MS)
      expect(opsSent()).toEqual(Array(count).fill('hello'))
    }
    expect(await greeting()).toBe('waits')
    welcome()
    expect(await greeting()).toBe('done')
    expect(timers.size).toBe(0)
  })

  it('stops once its only caller has given up', async () => {
    const { end, opsSent } = await openEnd({ isGreeted: false })
    const greeting = watch(end.welcomed())
    fire(ANSWER_MS)
    expect(await greeting()).toBe(NO_HUB)
    fire(HELLO_MS)
    expect(opsSent()).toEqual(['hello'])
    expect(timers.size).toBe(0)
  })

  it('greets once for callers that wait at the same time', async () => {
    const { end, opsSent, welcome } = await openEnd({ isGreeted: false })
    const greetings = [watch(end.welcomed()), watch(end.welcomed())]
    end.listen()
    expect(opsSent()).toEqual(['hello'])
    welcome()
    for (const each of greetings) expect(await each()).toBe('done')
  })

  it('does not greet a hub that has answered when it begins to listen', async () => {
    const { end, opsSent } = await openEnd()
    end.listen()
    expect(opsSent()).toEqual(['hello'])
    expect(timers.size).toBe(0)
  })

  it('greets the next hub as soon as its hub is closed, if it listens', async () => {
    const { end, opsSent, receive } = await openEnd()
    end.listen()
    receive('bye')
    expect(opsSent()).toEqual(['hello', 'hello'])
  })

  it('greets the next hub at the next call, if it does not listen', async () => {
    const { end, opsSent, receive } = await openEnd()
    receive('bye')
    expect(opsSent()).toEqual(['hello'])
    expect(timers.size).toBe(0)
    watch(end.welcomed())
    expect(opsSent()).toEqual(['hello', 'hello'])
  })

  it('does not begin to greet when it is closed or its channel is', async () => {
    const [closed, away] = [await openEnd({ isGreeted: false }), await openEnd()]
    closed.end.close()
    away.child.disconnect()
    await turns(3)
    for (const { end } of [closed, away]) end.listen()
    expect([closed.opsSent(), away.opsSent()]).toEqual([['bye'], ['hello']])
    expect(timers.size).toBe(0)
  })

  it('does not go on greeting after it was closed', async () => {
    const { end, opsSent } = await openEnd({ isGreeted: false })
    const late = watch(end.answered(forever(), 0, false))
    end.listen()
    end.close()
    expect(timers.size).toBe(1)
    end.listen()
    expect(timers.size).toBe(1)
    fire(ANSWER_MS)
    expect(await late()).toBe(NO_HUB)
    expect(opsSent()).toEqual(['hello', 'bye'])
  })

  it('does not go on greeting after its channel was closed', async () => {
    const { child, end, opsSent } = await openEnd({ isGreeted: false })
    const late = watch(end.answered(forever(), 0, false))
    end.listen()
    child.disconnect()
    await turns(3)
    expect(timers.size).toBe(1)
    end.listen()
    expect(timers.size).toBe(1)
    fire(ANSWER_MS)
    expect(await late()).toBe(NO_HUB)
    expect(opsSent()).toEqual(['hello'])
  })
})

describe('a sink or source that a hub greets back', () => {
  it('learns whether its channel carries typed arrays', async () => {
    for (const carriesBytes of [true, false, undefined, 1]) {
      const { end, welcome } = await openEnd({ isGreeted: false })
      expect(end.carriesBytes).toBe(false)
      end.listen()
      welcome({ carriesBytes })
      expect(end.carriesBytes).toBe(carriesBytes === true)
    }
  })

  it('fails the calls before its greeting that the hub has not seen', async () => {
    const { end, welcome, receive } = await openEnd()
    const calls = [0, 1, 2].map(() => watch(end.call('last', {})))
    greetAgain(end)
    calls.push(watch(end.call('last', {})), watch(end.call('last', {})))
    welcome({ seen: 1 })
    const outcomes = () => Promise.all(calls.map((each) => each()))
    expect(await outcomes()).toEqual(['waits', 'waits', LOST, 'waits', 'waits'])
    for (const call of [4, 3, 2, 1, 0]) receive('done', { call })
    expect(await outcomes()).toEqual(['done', 'done', LOST, 'done', 'done'])
  })

  it('fails all calls before its greeting if the hub is another one', async () => {
    const { end, welcome } = await openEnd()
    const calls = [0, 1].map(() => watch(end.call('last', {})))
    greetAgain(end)
    calls.push(watch(end.call('last', {})))
    welcome({ log: 'two', seen: 1 })
    expect(await Promise.all(calls.map((each) => each()))).toEqual([LOST, LOST, 'waits'])
  })

  it('lets a call wait that its first hub has seen', async () => {
    const { end, welcome } = await openEnd({ isGreeted: false })
    end.listen()
    const call = watch(end.call('last', {}))
    fire(HELLO_MS)
    welcome({ seen: 0 })
    expect(await call()).toBe('waits')
  })
})

describe('a call of a sink or source', () => {
  it('rejects when the hub is closed', async () => {
    const { end, receive } = await openEnd()
    const call = watch(end.call('last', {}))
    receive('bye')
    expect(await call()).toBe('the hub was closed')
  })

  it('rejects when no answer comes in time', async () => {
    const { end } = await openEnd()
    const call = watch(end.answered(end.call('last', {}), 0, true))
    const read = watch(end.answered(end.call('read', {}), 500, false))
    fire(ANSWER_MS)
    expect(await call()).toBe(LATE)
    expect(await read()).toBe('waits')
    fire(ANSWER_MS + 500)
    expect(await read()).toBe('the hub does not answer within 1500 ms')
  })

  it.each<[string, (callback: Callback) => unknown]>([
    ['fails to send it', (callback) => process.nextTick(callback, new Error('EPIPE'))],
    [
      'throws while it sends it',
      () => {
        throw new Error('ERR_IPC_CHANNEL_CLOSED')
      },
    ],
  ])('rejects when the channel %s', async (_, send) => {
    const { child, end } = await openEnd()
    child.send = (_message, callback) => {
      send(callback!)
      return false
    }
    expect(await watch(end.call('last', {}))()).toBe(NO_CHANNEL)
  })

  it('waits when the channel tells of no error', async () => {
    for (const error of [null, undefined]) {
      const { child, end } = await openEnd()
      child.send = (_message, callback) => {
        callback!(error as null)
        return true
      }
      expect(await watch(end.call('last', {}))()).toBe('waits')
    }
  })

  it('is over when its answer comes before an error of the channel', async () => {
    const { child, end, receive } = await openEnd()
    let fail: Callback | undefined
    child.send = (_message, callback) => {
      fail = callback
      return true
    }
    const call = watch(end.call('last', {}))
    receive('done', { call: 0 })
    expect(await call()).toBe('done')
    fail!(new Error('EPIPE'))
    expect(await call()).toBe('done')
  })
})

describe('a sink or source', () => {
  it('ignores an answer to a call that does not wait', async () => {
    const { end, receive } = await openEnd()
    for (const call of [0, -1, 'x', undefined]) receive('done', { call })
    const call = watch(end.call('last', {}))
    receive('done', { call: 1 })
    expect(await call()).toBe('waits')
    receive('done', { call: 0 })
    expect(await call()).toBe('done')
  })

  it('sends nothing over a closed channel, also when it is closed itself', async () => {
    const { child, end, opsSent } = await openEnd()
    end.tell('stop', { read: 0 })
    child.disconnect()
    await turns(3)
    end.tell('stop', { read: 1 })
    end.close()
    expect(opsSent()).toEqual(['hello', 'stop'])
  })

  it('sends nothing over a channel that was closed before it was made', async () => {
    const { child, opsSent } = open()
    child.connected = false
    const end = new HubEnd(child, 'dirty', 'sink', ANSWER_MS)
    expect(await watch(end.welcomed())()).toBe(NO_CHANNEL)
    end.close()
    expect(opsSent()).toEqual([])
  })

  it('takes leave of its hub once when it is closed twice', async () => {
    const { end, opsSent } = await openEnd()
    end.close()
    end.close()
    expect(opsSent()).toEqual(['hello', 'bye'])
  })
})

/** Node's channel: counts what keeps the process alive. */
function counted() {
  const channel = {
    count: 0,
    calls: [] as string[],
    refCounted: () => add('refCounted', 1),
    unrefCounted: () => add('unrefCounted', -1),
  }
  const add = (call: string, change: number): void => {
    if (channel.calls.push(call) > 100) throw new Error('counts for ever')
    channel.count += change
  }
  return channel
}

describe('the process of a sink or source', () => {
  const [ref, unref] = ['refCounted', 'unrefCounted']

  function openCounted() {
    const channel = open()
    const count = counted()
    Object.assign(channel.child, { channel: count })
    return { ...channel, count }
  }

  it('is kept alive only while such a call waits, and no longer after close()', async () => {
    const { child, count, sent, welcome } = openCounted()
    const end = new HubEnd(child, 'dirty', 'sink', ANSWER_MS)
    expect(count.calls.splice(0)).toEqual([unref, unref])

    const quiet = watch(end.welcomed(false))
    expect(count.calls).toEqual([])
    const greeting = watch(end.welcomed())
    expect(count.calls.splice(0)).toEqual([ref])
    expect(sent).toHaveLength(1)
    welcome()
    expect([await quiet(), await greeting()]).toEqual(['done', 'done'])
    expect(count.calls.splice(0)).toEqual([unref])

    for (const [keepsAlive, before, after] of [
      [true, [ref], [unref]],
      [false, [], []],
    ] as const)
      for (const answer of [Promise.resolve(), Promise.reject(new Error('no'))]) {
        const answered = watch(end.answered(answer, 0, keepsAlive))
        expect(count.calls.splice(0)).toEqual(before)
        expect(await answered()).not.toBe('waits')
        expect(count.calls.splice(0)).toEqual(after)
      }

    end.close()
    end.close()
    expect(count.calls).toEqual([ref, ref])
    expect(count.count).toBe(0)
  })

  it('is kept alive by a sink while append() or last() waits', async () => {
    const { child, count, welcome, receive } = openCounted()
    const sink = sinkOf(child, 'dirty')
    sink.onCut(() => {})
    expect(count.count).toBe(-2)
    const append = watch(sink.append(message(0)))
    expect(count.count).toBe(-1)
    welcome()
    await turns(3)
    expect(count.count).toBe(-1)
    receive('done', { call: 0, result: 'appended' })
    expect(await append()).toBe('done')
    expect(count.count).toBe(-2)

    const last = watch(sink.last(about.instance))
    await turns(3)
    expect(count.count).toBe(-1)
    receive('done', { call: 1 })
    expect(await last()).toBe('done')
    expect(count.count).toBe(-2)
    await sink.close()
    expect(count.count).toBe(0)
  })

  it('is kept alive by a source only while a read waits that asks for no time', async () => {
    const { child, count, welcome, receive } = openCounted()
    const source = sourceOf(child, 'dirty')
    const read = { messages: [], position: 'one.0', atEnd: true, log: 'one', lost: false }
    const calls = [
      { act: () => source.read(undefined, { waitMs: 0 }), waiting: -1 },
      { act: () => source.read(undefined, { waitMs: 5 }), waiting: -2 },
      { act: () => source.requestCut('x'), waiting: -2 },
    ]
    for (const [call, { act, waiting }] of calls.entries()) {
      const outcome = watch(act())
      expect(count.count).toBe(waiting)
      welcome()
      await turns(3)
      expect(count.count).toBe(waiting)
      receive('done', { call, ...read })
      expect(await outcome()).toBe('done')
      expect(count.count).toBe(-2)
      receive('bye')
    }
    await source.close()
    expect(count.count).toBe(0)
  })

  it.each([
    ['is missing', undefined],
    ['is gone', null],
    ['counts nothing', {}],
  ])('needs no count of what keeps it alive: its channel %s', async (_, channel) => {
    const { child, welcome } = open()
    Object.assign(child, { channel })
    const end = new HubEnd(child, 'dirty', 'sink', ANSWER_MS)
    const greeting = watch(end.welcomed())
    welcome()
    expect(await greeting()).toBe('done')
    end.close()
    expect(child.listenerCount('message')).toBe(0)
  })
})

describe('the channel of a process', () => {
  /** Calls a function while the process has this `send`, or while the host has no process. */
  function having<T>(has: { readonly send: unknown } | 'no process', act: () => T): T {
    const [target, name, value] =
      has === 'no process'
        ? ([globalThis, 'process', undefined] as const)
        : ([process, 'send', has.send] as const)
    const before = Object.getOwnPropertyDescriptor(target, name)
    Object.defineProperty(target, name, { value, configurable: true, writable: true })
    try {
      return act()
    } finally {
      if (before === undefined) Reflect.deleteProperty(target, name)
      else Object.defineProperty(target, name, before)
    }
  }

  const errorOf = (what: string) => ({
    name: 'DirtyRingError',
    code: 'ERR_DIRTYRING_AWAY',
    message:
      `${what} needs a process that node:cluster or child_process.fork() has started, and its ` +
      'main thread. In the process that starts those, take them from ipcHub()',
  })

  it('is the process itself, if that can send to its parent', () => {
    const channel = having({ send: () => true }, () => channelOfProcess('x'))
    expect(channel === (process as unknown)).toBe(true)
  })

  it('is missing in a process that no other one has started with a channel', () => {
    for (const has of [{ send: undefined }, { send: true }, 'no process'] as const) {
      const error = having(has, () => thrown(() => channelOfProcess('x()')))
      expect(error).toMatchObject(errorOf('x()'))
    }
    const without = { send: undefined }
    const sink = having(without, () => thrown(() => ipcSink()))
    const source = having(without, () => thrown(() => ipcSource()))
    expect(sink).toMatchObject(errorOf('ipcSink()'))
    expect(source).toMatchObject(errorOf('ipcSource()'))
  })
})

describe('a sink', () => {
  it('passes on requests for cuts, and nothing else that the hub sends', async () => {
    const { child, receive } = open()
    const sink = sinkOf(child, 'dirty')
    const asked: unknown[] = []
    sink.onCut((request) => asked.push(request))
    receive('cut', { request: 'one' })
    receive('fly', { request: 'two' })
    receive('cut', { request: 3 })
    receive('cut')
    receive('cut', { request: 'four' })
    expect(asked).toEqual(['one', 'four'])
  })

  it('leaves no listener on the channel when it is closed', async () => {
    const { child } = open()
    const before = EVENTS.map((event) => child.listenerCount(event))
    const sink = sinkOf(child, 'dirty')
    for (const [i, event] of EVENTS.entries())
      expect(child.listenerCount(event)).toBe(before[i] + 1)
    await sink.close()
    expect(EVENTS.map((event) => child.listenerCount(event))).toEqual(before)
  })

  it.each<[string, Partial<LogMessage>, number]>([
    ['it is the same', {}, 1],
    ['its instance is another', { instance: 'b'.repeat(32) }, 2],
    ['its number is another', { n: 1 }, 2],
    ['its bytes are others', { bytes: new Uint8Array(8) }, 2],
  ])(
    'sends a message while one waits for its answer, unless it is the same: %s',
    async (_, change, count) => {
      const { child, sent, welcome } = open()
      const sink = sinkOf(child, 'dirty')
      const first = message(0)
      watch(sink.append(first))
      welcome()
      await turns(3)
      watch(sink.append({ ...first, ...change }))
      await turns(3)
      expect(sent.filter(({ op }) => op === 'append')).toHaveLength(count)
    },
  )

  it.each(['json', 'advanced'] as const)('packs bytes only for %s', async (serialization) => {
    const { child, parent, sent } = open(serialization)
    const hub = ipcHub(parent)
    const answered: unknown[] = []
    child.on('message', (each: Fields) => {
      const [first] = (each.messages ?? []) as readonly Fields[]
      if (first !== undefined) answered.push(first.bytes)
    })
    const sink = sinkOf(child, 'dirty')
    expect(await sink.append(message(0))).toBe('appended')
    await sourceOf(child, 'dirty').read(undefined, { waitMs: 0 })
    const appended = sent.find(({ op }) => op === 'append')!
    expect([appended.bytes, ...answered].map((each) => typeof each === 'string')).toEqual(
      Array(2).fill(serialization === 'json'),
    )
    await hub.close()
  })
})

describe('a source', () => {
  it('names itself in its greeting and in the error after it was closed', async () => {
    const { child, sent } = open()
    const source = sourceOf(child, 'dirty')
    const read = watch(source.read(undefined, { waitMs: 0 }))
    expect(sent).toMatchObject([{ op: 'hello', kind: 'source' }])
    await source.close()
    expect(await read()).toBe('the source is closed')
  })
})

describe('bytes on a channel', () => {
  it('are themselves where it carries them, else base64', () => {
    const bytes = Uint8Array.of(9, 1, 2, 255).subarray(1)
    expect(pack(bytes, true)).toBe(bytes)
    expect(pack(bytes, false)).toBe('AQL/')
    for (const packed of [bytes, 'AQL/']) {
      expect(unpack(packed)).toEqual(Uint8Array.of(1, 2, 255))
      expect(unpack(packed)).not.toBe(packed)
    }
  })

  it('are arrays of bytes, and no other views', () => {
    for (const value of [new Uint8Array(2), Buffer.alloc(2)]) {
      expect(isBytes(value)).toBe(true)
      expect(unpack(value)).toEqual(new Uint8Array(2))
    }
    for (const value of [new Uint16Array(2), new DataView(new ArrayBuffer(2)), [0, 0], 5, null]) {
      expect(isBytes(value)).toBe(false)
      expect(unpack(value)).toBeUndefined()
    }
  })
})

describe('a message of the application on the channel of a sink', () => {
  /** An application that hears what is not the library's. */
  function application(child: ReturnType<typeof open>['child']) {
    const heard: unknown[] = []
    const listener = (each: unknown): void => void heard.push(each)
    return {
      heard,
      listen: () => child.on('message', listener),
      stop: () => child.off('message', listener),
    }
  }

  it('is not held after a listener of the application has heard it', async () => {
    const { child } = open()
    sinkOf(child, 'dirty')
    const [first, second] = [application(child), application(child)]
    first.listen()
    child.receive({ job: 1 })
    second.listen()
    await turns(2)
    expect([first.heard, second.heard]).toEqual([[{ job: 1 }], []])
  })

  it('is held whenever the application does not listen', async () => {
    const { child } = open()
    const sink = sinkOf(child, 'dirty')
    const { heard, listen, stop } = application(child)
    for (const job of [1, 2, 3]) {
      child.receive({ job })
      expect(heard).toHaveLength(job - 1)
      listen()
      await turns(2)
      expect(heard).toHaveLength(job)
      stop()
      if (job === 2) await sink.close()
    }
  })

  it('is handed over after what the application has put off before it listens', async () => {
    const { child } = open()
    sinkOf(child, 'dirty')
    await turns(2)
    const { heard, listen } = application(child)
    child.receive({ job: 1 })
    child.on('exit', () => {})
    process.nextTick(() => heard.push('put off'))
    listen()
    await turns(2)
    expect(heard).toEqual(['put off', { job: 1 }])
  })

  it('is handed over once when a source comes between it and the listener', async () => {
    const { child } = open()
    sinkOf(child, 'dirty')
    child.receive({ job: 1 })
    sourceOf(child, 'dirty')
    await turns(2)
    const { heard, listen } = application(child)
    listen()
    await turns(2)
    expect(heard).toEqual([{ job: 1 }])
  })

  it('is handed over once, in its order, in a process with a sink and a source', async () => {
    const { child } = open()
    const before = EVENTS.map((event) => child.listenerCount(event))
    const sink = sinkOf(child, 'dirty')
    const source = sourceOf(child, 'dirty')
    for (const job of [1, 2]) child.receive({ job })
    await sink.close()
    child.receive({ job: 3 })
    const second = sourceOf(child, 'dirty')
    await turns(2)
    const { heard, listen, stop } = application(child)
    listen()
    await turns(2)
    expect(heard).toEqual([{ job: 1 }, { job: 2 }, { job: 3 }])
    for (const each of [source, second]) await each.close()
    stop()
    expect(EVENTS.map((event) => child.listenerCount(event))).toEqual(before)
  })

  it('is handed over after the sink was closed and a source came and went', async () => {
    const { child } = open()
    const before = EVENTS.map((event) => child.listenerCount(event))
    const sink = sinkOf(child, 'dirty')
    child.receive({ job: 1 })
    await sink.close()
    const source = sourceOf(child, 'dirty')
    await turns(2)
    await source.close()
    const { heard, listen, stop } = application(child)
    listen()
    await turns(2)
    expect(heard).toEqual([{ job: 1 }])
    stop()
    expect(EVENTS.map((event) => child.listenerCount(event))).toEqual(before)
  })

  it('is held while all listeners have the mark of a copy of the library', async () => {
    const { child } = open()
    sinkOf(child, 'dirty')
    const mark = Symbol.for('dirtyring/ipc')
    const marks = child.listeners('message').map((each) => Reflect.get(each, mark) as unknown)
    expect(marks).toEqual([true])
    child.on(
      'message',
      Object.assign(() => {}, { [mark]: true }),
    )
    await turns(2)
    child.receive({ job: 1 })
    const { heard, listen } = application(child)
    listen()
    await turns(2)
    expect(heard).toEqual([{ job: 1 }])
  })

  it('reaches it whatever its value is', async () => {
    const { child } = open()
    sinkOf(child, 'dirty')
    const { heard, listen } = application(child)
    listen()
    const values = [undefined, null, 'text', 5, true, { 'dirtyring/ipc': 2 }]
    for (const value of values) child.receive(value)
    expect(heard).toEqual(values)
  })
})
