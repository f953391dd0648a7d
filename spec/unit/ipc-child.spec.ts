import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, describe, expect, it, jest } from '@jest/globals'
import { type IpcHub, ipcHub, type IpcHubOptions, type IpcWarning } from '../../lib/ipc/hub.js'
import { type Entry, MessageLog } from '../../lib/ipc/message-log.js'
import { MESSAGE_BYTES_MAX } from '../../lib/ipc/settings.js'
import { ipcSink, sinkOf } from '../../lib/ipc/sink.js'
import { ipcSource, sourceOf } from '../../lib/ipc/source.js'
import { channelPair } from '../support/channel-pair.js'
import { isPending, rejected, thrown, turns, until } from '../support/in-process.js'
import { instanceOf, message } from '../support/log-messages.js'

const hubs: IpcHub[] = []
afterEach(async () => {
  jest.restoreAllMocks()
  for (const hub of hubs.splice(0)) await hub.close()
})

function openHub(options?: IpcHubOptions): IpcHub {
  const hub = ipcHub(undefined, options)
  hubs.push(hub)
  return hub
}

type Fields = Readonly<Record<string, unknown>>

/** A process that the hub serves, and what each side tells. */
function childOf(hub: IpcHub, serialization: 'json' | 'advanced' = 'json') {
  const { parent, child } = channelPair(serialization)
  hub.add(parent)
  const heard: Fields[] = []
  child.on('message', (each) => heard.push(each))
  return {
    parent,
    child,
    /** What the hub has sent with this `op`. */
    ofOp: (op: string): Fields[] => heard.filter((each) => each.op === op),
    /** Sends as a sink or a source does, from an end that the hub calls 'raw'. */
    send: (...messages: Fields[]): void => {
      for (const each of messages)
        child.send({ 'dirtyring/ipc': 1, hub: 'dirty', end: 'raw', ...each })
    },
  }
}

const hello = { op: 'hello', kind: 'sink', probe: {} }

function warningsOf(hub: IpcHub): IpcWarning[] {
  const warnings: IpcWarning[] = []
  hub.on('warning', (warning) => warnings.push(warning))
  return warnings
}

/** The warning for what a process has sent. */
const warningOf = (what: string, pid?: number): IpcWarning => ({
  message: `a process has sent ${what} that is damaged, or of another version`,
  pid,
})

describe('a hub, for its children', () => {
  it('asks the sinks of a child for a cut, and not its sources', async () => {
    const hub = openHub()
    const { child, send, ofOp } = childOf(hub)
    const sink = sinkOf(child, 'dirty')
    await sink.append(message('a', 0))
    await sourceOf(child, 'dirty').read(undefined, { waitMs: 0 })
    send({ ...hello, end: 'a source', kind: 'source' }, { ...hello, end: 'a sink' })
    await turns(10)

    await hub.requestCut('x')
    await turns(10)
    expect(ofOp('cut')).toHaveLength(2)
    expect(ofOp('cut')).toContainEqual(expect.objectContaining({ end: 'a sink', request: 'x' }))
  })

  it('lets another process go on with an instance whose process has lost its channel', async () => {
    const hub = openHub()
    const [ended, next] = [childOf(hub), childOf(hub)]
    const sink = sinkOf(next.child, 'dirty')
    await sinkOf(ended.child, 'dirty').append(message('a', 0))
    expect(await rejected(sink.append(message('a', 1)))).toMatchObject({
      code: 'ERR_DIRTYRING_AWAY',
    })

    ended.child.disconnect()
    await turns(10)
    expect(await sink.append(message('a', 1))).toBe('appended')
  })

  it('keeps the newest read of a source when an older one is aborted', async () => {
    const hub = openHub()
    const { parent, child, ofOp } = childOf(hub)
    const source = sourceOf(child, 'dirty')
    const { position } = await source.read(undefined, { waitMs: 0 })
    const [first, second] = [new AbortController(), new AbortController()]
    const older = source.read(position, { waitMs: 10_000, signal: first.signal })
    await turns(10)
    // The hub has given up the first read, and the child does not know it yet.
    parent.isHeld = true
    const newer = source.read(position, { waitMs: 10_000, signal: second.signal })
    await turns(10)
    first.abort('enough of the first')
    expect(await rejected(older)).toBe('enough of the first')
    await turns(10)
    parent.isHeld = false
    parent.deliver()
    expect(await isPending(newer)).toBe(true)
    expect(ofOp('done').map(({ call }) => call)).toEqual([0, 1])

    second.abort('enough of both')
    expect(await rejected(newer)).toBe('enough of both')
    await turns(10)
    expect(ofOp('done').at(-1)).toMatchObject({
      call: 2,
      error: { code: 'ERR_DIRTYRING_CLOSED', message: 'the read was given up' },
    })
  })

  it('goes on when an end gives up a read that it does not have', async () => {
    const hub = openHub()
    const warnings = warningsOf(hub)
    const { send, ofOp } = childOf(hub)
    const last = { op: 'last', call: 0, instance: instanceOf('a') }
    send(hello, { op: 'stop' }, { op: 'stop', read: 5 }, last)
    await turns(10)
    expect(ofOp('done')).toMatchObject([{ call: 0 }])
    expect(warnings).toEqual([])
  })

  it('says in each welcome which call of that end it has seen last', async () => {
    const hub = openHub()
    const { send, ofOp } = childOf(hub)
    const last = { op: 'last', instance: instanceOf('a') }
    send(hello, { ...last, call: 2 }, { ...last, call: 5 }, { ...last, call: 3 }, hello)
    await turns(10)
    expect(ofOp('welcome').map(({ seen }) => seen)).toEqual([-1, 5])
    expect(ofOp('done').map(({ call }) => call)).toEqual([2, 5, 3])
  })

  it('answers a read from the beginning, however its child writes that', async () => {
    const hub = openHub()
    const { send, ofOp } = childOf(hub)
    await hub.sink().append(message('a', 0))
    const read = { op: 'read', waitMs: 0 }
    send(hello, { ...read, call: 0 }, { ...read, call: 1, after: null })
    await turns(10)
    const answer = { messages: [expect.objectContaining({ node: 'a' })], lost: false }
    expect(ofOp('done')).toMatchObject([answer, answer])
  })

  it('passes on a request for a cut that has 256 characters', async () => {
    const hub = openHub()
    const asked: string[] = []
    hub.sink().onCut((request) => asked.push(request))
    const request = 'x'.repeat(256)
    await sourceOf(childOf(hub).child, 'dirty').requestCut(request)
    expect(asked).toEqual([request])
  })

  it('tells a child what has failed in the hub, and calls that away', async () => {
    const hub = openHub()
    hub.sink().onCut(() => {
      throw new Error('no cut today')
    })
    const error = await rejected(sourceOf(childOf(hub).child, 'dirty').requestCut('x'))
    expect(error).toMatchObject({ code: 'ERR_DIRTYRING_AWAY', message: 'no cut today' })
  })

  it.each([null, undefined, 'mine'])(
    'tells a child that a listener has thrown %p',
    async (what) => {
      const hub = openHub()
      const { child } = childOf(hub)
      hub.sink().onCut(() => {
        // eslint-disable-next-line @typescript-eslint/only-throw-error
        throw what
      })
      const error = await rejected(sourceOf(child, 'dirty', 200).requestCut('x'))
      expect(error).toMatchObject({ code: 'ERR_DIRTYRING_AWAY', message: String(what) })
    },
  )
})

describe('a hub, for what a child sends that no sink and no source sends', () => {
  const append = { op: 'append', node: 'a', instance: instanceOf('a'), n: 0, after: -1 }
  const fly = `fly${'y'.repeat(40)}`

  it.each<[what: string, wrong: Fields]>([
    ['a message to append', { ...append, bytes: 'AAAA', node: 5 }],
    ['a message to append', { ...append, bytes: 'AAAA', instance: [instanceOf('a')] }],
    ['a message to append', { ...append, bytes: new Uint8Array(MESSAGE_BYTES_MAX + 1) }],
    ['a read', { op: 'read', waitMs: '5' }],
    ['a read', { op: 'read' }],
    ['a request for a cut', { op: 'cut', request: 5 }],
    ['a request for a cut', { op: 'cut' }],
    [`the call ${fly.slice(0, 40)}`, { op: fly }],
  ])('answers with an error, and warns: %s, %#', async (what, wrong) => {
    const hub = openHub()
    const warnings = warningsOf(hub)
    const { parent, send, ofOp } = childOf(hub, 'advanced')
    Object.assign(parent, { pid: 77 })
    send(hello, { ...wrong, call: 0 })
    await turns(10)
    expect(warnings).toEqual([warningOf(what, 77)])
    const error = { code: 'ERR_DIRTYRING_BAD_MESSAGE', message: `the hub does not know ${what}` }
    expect(ofOp('done')).toMatchObject([{ call: 0, error }])
    expect((await hub.read(undefined, { waitMs: 0 })).messages).toEqual([])
  })

  it('welcomes an end whose name has 64 characters, and warns of a longer name', async () => {
    const hub = openHub()
    const warnings = warningsOf(hub)
    const { send, ofOp } = childOf(hub)
    const end = 'x'.repeat(64)
    send({ ...hello, end }, { ...hello, end: `${end}x` })
    await turns(10)
    expect(ofOp('welcome')).toMatchObject([{ end }])
    expect(warnings).toEqual([warningOf('a message that names no sink and no source')])
  })

  it('warns of the first end that is one too many', async () => {
    const hub = openHub()
    const warnings = warningsOf(hub)
    const { send } = childOf(hub)
    for (let i = 0; i < 4096; i++) send({ ...hello, end: `${i}` })
    await turns(10)
    expect(warnings).toEqual([])
    send({ ...hello, end: '4096' })
    await turns(10)
    expect(warnings).toEqual([warningOf('more than 4096 sinks and sources')])
  })
})

/** What a message takes in a log beside its bytes. */
const ENTRY_BYTES = 256

const entryOf = (name: string, size: number): Entry => ({
  node: name,
  instance: instanceOf(name),
  bytes: new Uint8Array(size),
})

/** A log, and the names of its messages. */
function openLog(maxBytes: number, ...entries: Entry[]) {
  const trimmed: (string | undefined)[] = []
  const log = new MessageLog('log', maxBytes, ({ node }) => trimmed.push(node))
  for (const entry of entries) log.append(entry)
  const read = (after?: string, bytes = Infinity) => {
    const { messages, ...rest } = log.read(after, bytes)
    return { names: messages.map(({ node }) => node), ...rest }
  }
  return { log, trimmed, read }
}

describe('a log', () => {
  it('keeps messages that take exactly its room, and trims the oldest for one byte more', () => {
    const abc = [entryOf('a', 100), entryOf('b', 50), entryOf('c', 100)] as const
    const room = 250 + 3 * ENTRY_BYTES
    const exact = openLog(room, ...abc)
    expect({ ...exact.read(), trimmed: exact.trimmed }).toMatchObject({
      names: ['a', 'b', 'c'],
      trimmed: [],
    })
    const less = openLog(room - 1, ...abc)
    expect({ ...less.read(), trimmed: less.trimmed }).toMatchObject({
      names: ['b', 'c'],
      trimmed: ['a'],
    })
  })

  it('keeps its newest message, even if that one takes more than all its room', () => {
    const { log, trimmed, read } = openLog(1000, entryOf('a', 2000))
    expect({ ...read(), trimmed }).toMatchObject({ names: ['a'], position: 'log.1', trimmed: [] })
    log.append(entryOf('b', 3000))
    expect({ ...read(), trimmed }).toMatchObject({
      names: ['b'],
      position: 'log.2',
      trimmed: ['a'],
    })
  })

  it('lets go of all that it has trimmed when only its newest message is left', async () => {
    setFlagsFromString('--expose-gc')
    const gc = runInNewContext('gc') as () => void
    const { log, read } = openLog(1000)
    const append = (name: string): WeakRef<Entry> => {
      const entry = entryOf(name, 2000)
      log.append(entry)
      return new WeakRef(entry)
    }
    const refs = [append('a'), append('b')]
    for (const [i, name] of ['c', 'd', 'e'].entries()) {
      await until(() => {
        gc()
        return refs[i].deref() === undefined
      })
      refs.push(append(name))
    }
    expect(read().names).toEqual(['e'])
  })

  it('moves the messages that it keeps once in many appends', () => {
    const room = 100 * (10 + ENTRY_BYTES)
    const { log, read } = openLog(room)
    const entries = Array.from({ length: 1000 }, (_, i) => entryOf(`${i}`, 10))
    const splice = jest.spyOn(Array.prototype, 'splice')
    for (const entry of entries) log.append(entry)
    const moves = splice.mock.calls.length
    splice.mockRestore()
    expect(moves).toBeGreaterThan(0)
    expect(moves).toBeLessThan(20)
    expect(read().names).toEqual(entries.slice(-100).map(({ node }) => node))
  })

  it('has the same positions before and after it moves the messages that it keeps', () => {
    const { log, trimmed, read } = openLog(4 * (10 + ENTRY_BYTES))
    for (let i = 0; i < 50; i++) {
      log.append(entryOf(`${i}`, 10))
      const from = Math.max(0, i - 3)
      const kept = Array.from({ length: i + 1 - from }, (_, k) => `${from + k}`)
      expect(read()).toMatchObject({ names: kept, position: `log.${i + 1}`, lost: false })
      expect(read(`log.${from}`)).toMatchObject({ names: kept, lost: false })
      expect(read(`log.${from + 1}`)).toMatchObject({ names: kept.slice(1), lost: false })
      expect(read(`log.${i + 1}`)).toMatchObject({ names: [], lost: false })
      if (from > 0) expect(read(`log.${from - 1}`)).toMatchObject({ names: kept, lost: true })
      expect(trimmed).toHaveLength(from)
    }
  })

  it('answers a read with as many messages as fit, and with one that does not fit', () => {
    const sizes = { a: 100, b: 50, c: 100, d: 3000 }
    const entries = Object.entries(sizes).map(([name, size]) => entryOf(name, size))
    const { read } = openLog(2 ** 20, ...entries)
    const two = 150 + 2 * ENTRY_BYTES
    const names = (after: string | undefined, bytes: number) => read(after, bytes).names
    expect(names(undefined, two)).toEqual(['a', 'b'])
    expect(names(undefined, two - 1)).toEqual(['a'])
    expect(names(undefined, 1)).toEqual(['a'])
    expect(read('log.1', two)).toMatchObject({
      names: ['b', 'c'],
      position: 'log.3',
      atEnd: false,
    })
    expect(read('log.3', two)).toMatchObject({ names: ['d'], position: 'log.4', atEnd: true })
  })

  it.each([
    '0x1',
    '1e0',
    '+1',
    '-1',
    ' 1',
    '1 ',
    '1\n',
    'x1',
    '1x',
    '',
    '00000000000000001',
    'Infinity',
  ])('has no position that ends in %j', (digits) => {
    const { read } = openLog(2 ** 20, entryOf('a', 1), entryOf('b', 1))
    expect(read('log.1')).toMatchObject({ names: ['b'], lost: false })
    expect(read('log.0000000000000001')).toMatchObject({ names: ['b'], lost: false })
    expect(read(`log.${digits}`)).toMatchObject({ names: ['a', 'b'], lost: true })
  })
})

describe('ipcSink() and ipcSource()', () => {
  it.each([
    ['ipcSink()', ipcSink],
    ['ipcSource()', ipcSource],
  ] as const)('say which option is wrong, and what it must be: %s', (_, end) => {
    expect(thrown(() => end(5 as never)).message).toBe('"options" must be a plain object, got 5')
    expect(thrown(() => end({ hub: 5 as never })).message).toBe(
      '"options.hub" must be a string, got 5',
    )
    expect(thrown(() => end({ hub: '' })).message).toBe(
      '"options.hub" must be 1 to 64 characters, got ""',
    )
  })
})

describe('a hub and its name', () => {
  it.each(['x', 'x'.repeat(64)])('serves a sink that asks for the name %s', async (name) => {
    const hub = openHub({ name })
    const { child } = childOf(hub)
    expect(await sinkOf(child, name).append(message('a', 0))).toBe('appended')
  })

  it('must have a name of 1 to 64 characters', () => {
    for (const name of ['', 'x'.repeat(65)])
      expect(thrown(() => ipcHub(undefined, { name })).message).toMatch(
        /^"options.name" must be 1 to 64 characters, got "/,
      )
  })
})

describe('an error of this adapter', () => {
  it('names what was closed: the hub, a sink or a source', async () => {
    const hub = openHub()
    const { child } = childOf(hub)
    const [sinks, sources] = [
      [hub.sink(), sinkOf(child, 'dirty')],
      [hub.source(), sourceOf(child, 'dirty')],
    ]
    for (const sink of sinks) {
      await sink.close()
      expect(await rejected(sink.last(instanceOf('a')))).toMatchObject({
        code: 'ERR_DIRTYRING_CLOSED',
        message: 'the sink is closed',
      })
    }
    for (const source of sources) {
      await source.close()
      expect(await rejected(source.read(undefined, { waitMs: 0 }))).toMatchObject({
        code: 'ERR_DIRTYRING_CLOSED',
        message: 'the source is closed',
      })
    }
    await hub.close()
    expect(thrown(() => hub.sink())).toMatchObject({
      code: 'ERR_DIRTYRING_CLOSED',
      message: 'the hub is closed',
    })
  })

  it('says how long a message is that is too long', async () => {
    const hub = openHub()
    const bytes = new Uint8Array(MESSAGE_BYTES_MAX + 1)
    for (const sink of [hub.sink(), sinkOf(childOf(hub).child, 'dirty')])
      expect(await rejected(sink.append({ ...message('a', 0), bytes }))).toMatchObject({
        code: 'ERR_DIRTYRING_TOO_LARGE',
        message: 'a message of 4194305 bytes is longer than the 4194304 bytes that a hub takes',
      })
  })
})
