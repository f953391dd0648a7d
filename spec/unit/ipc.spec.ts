import cluster from 'node:cluster'
import { randomBytes } from 'node:crypto'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from '@jest/globals'
import type { EpochSource, LogMessage } from '../../lib/cluster/log.js'
import { type IpcHub, ipcHub, type IpcWarning } from '../../lib/ipc/hub.js'
import { ipcSink, sinkOf } from '../../lib/ipc/sink.js'
import { ipcSource, sourceOf } from '../../lib/ipc/source.js'
import { channelPair } from '../support/channel-pair.js'
import { turns, until } from '../support/in-process.js'
import { closeOf, instanceOf, message } from '../support/log-messages.js'

/** All that a source has from a position on. */
async function all(source: EpochSource, after?: string) {
  const messages = []
  for (;;) {
    const read = await source.read(after, { waitMs: 0 })
    messages.push(...read.messages)
    after = read.position
    if (read.atEnd) return { ...read, messages }
  }
}

const bytesOf = (messages: readonly { readonly bytes: Uint8Array }[]) =>
  messages.map(({ bytes }) => Buffer.from(bytes).toString('hex'))
const away = { code: 'ERR_DIRTYRING_AWAY' }

function setUp(serialization: 'json' | 'advanced' = 'json', hub: IpcHub = ipcHub()) {
  const channel = channelPair(serialization)
  hub.add(channel.parent)
  return { hub, ...channel, sink: sinkOf(channel.child, 'dirty') }
}

describe.each(['json', 'advanced'] as const)('a hub and its children, %s', (serialization) => {
  it('has each message once, in order, with what the sink says of it', async () => {
    const { hub, sink, child } = setUp(serialization)
    const other = setUp(serialization, hub)
    const local = hub.sink()
    const sent: LogMessage[] = []
    for (let n = 0; n < 20; n++)
      for (const [name, to] of [
        ['a', sink],
        ['b', other.sink],
        ['c', local],
      ] as const) {
        sent.push(message(name, n, new Uint8Array(randomBytes(1 + n * 100))))
        expect(await to.append(sent.at(-1)!)).toBe('appended')
      }

    const source = sourceOf(child, 'dirty')
    for (const each of [hub, hub.source(), source]) {
      const { messages, lost, log, position } = await all(each)
      expect(bytesOf(messages)).toEqual(bytesOf(sent))
      expect(messages.map(({ node }) => node)).toEqual(sent.map(({ node }) => node))
      expect(messages.map(({ instance }) => instance)).toEqual(sent.map((m) => m.instance))
      expect({ lost, log }).toEqual({ lost: false, log: (await all(hub)).log })
      expect(position.length).toBeLessThanOrEqual(64)
      expect((await all(each, position)).messages).toEqual([])
      expect(Object.getPrototypeOf(messages[0].bytes)).toBe(Uint8Array.prototype)
    }
    expect(await sink.last(instanceOf('a'))).toEqual(sent.at(-3))
    expect(await sink.last(instanceOf('nobody'))).toBeUndefined()
    expect(Object.fromEntries(source.nodes()!)).toEqual({
      [instanceOf('a')]: 'live',
      [instanceOf('b')]: 'live',
      [instanceOf('c')]: 'live',
    })
    await hub.close()
  })

  it('lets go of a process that has ended, while its log has the messages', async () => {
    setFlagsFromString('--expose-gc')
    const gc = runInNewContext('gc') as () => void
    const hub = ipcHub()
    const ended = async (name: string): Promise<WeakRef<object>> => {
      const { parent, child, sink } = setUp(serialization, hub)
      await sink.append(message(name, 0))
      child.disconnect()
      return new WeakRef(parent)
    }
    const processes = [await ended('a'), await ended('b'), await ended('c')]
    await until(() => {
      gc()
      return processes.every((each) => each.deref() === undefined)
    })
    expect((await all(hub)).messages.length).toBe(3)
    expect([...hub.nodes()!.values()]).toEqual(['gone', 'gone', 'gone'])
    await hub.close()
  })

  it('carries a message of a megabyte, and refuses a longer one than the sink says', async () => {
    const { hub, sink } = setUp(serialization)
    const large = message('a', 0, new Uint8Array(randomBytes(2 ** 20)))
    await sink.append(large)
    const tooLarge = message('a', 1, new Uint8Array(sink.maxMessageBytes))

    expect(bytesOf((await all(hub)).messages)).toEqual(bytesOf([large]))
    for (const each of [sink, hub.sink()])
      await expect(each.append(tooLarge)).rejects.toMatchObject({
        code: 'ERR_DIRTYRING_TOO_LARGE',
      })
    await hub.close()
  })

  it('asks each publisher for a cut, whichever source asks', async () => {
    const { hub, sink, child } = setUp(serialization)
    const other = setUp(serialization, hub)
    const local = hub.sink()
    const asked: string[] = []
    const ends = [sink, other.sink, local].map((each, i) =>
      each.onCut((request) => asked.push(`${i}:${request}`)),
    )
    for (const each of [sink, other.sink]) await each.append(message(`x${asked.length++}`, 0))
    asked.length = 0
    await sourceOf(child, 'dirty').requestCut('one')
    await hub.requestCut('two')
    await turns(10)
    expect(asked.toSorted()).toEqual(['0:one', '0:two', '1:one', '1:two', '2:one', '2:two'])

    for (const end of ends) end()
    asked.length = 0
    await hub.source().requestCut('three')
    await turns(10)
    expect(asked).toEqual([])
    await hub.close()
  })

  it('wakes the reads that wait, in the parent and in children', async () => {
    const { hub, sink, child } = setUp(serialization)
    const source = sourceOf(child, 'dirty')
    const { position } = await all(source)
    const waiting = [source, hub].map((each) => each.read(position, { waitMs: 10_000 }))
    await sink.append(message('a', 0))
    for (const each of waiting) expect((await each).messages).toHaveLength(1)
    await hub.close()
  })

  it('ends a read at its time or at an abort', async () => {
    const { hub, child, sink } = setUp(serialization)
    const source = sourceOf(child, 'dirty')
    for (const each of [source, hub, hub.source()]) {
      const { position, atEnd } = await each.read(undefined, { waitMs: 1 })
      expect(atEnd).toBe(true)
      const over = new AbortController()
      const waiting = each.read(position, { waitMs: 10_000, signal: over.signal })
      setTimeout(() => over.abort('enough'), 5)
      await expect(waiting).rejects.toBe('enough')
      await expect(each.read(position, { waitMs: 1, signal: over.signal })).rejects.toBe('enough')
    }
    await sink.append(message('a', 0))
    expect((await source.read(undefined, { waitMs: 10_000 })).messages).toHaveLength(1)
    await hub.close()
  })
})

describe('a child that does not turn', () => {
  it('gets a bounded number of requests for cuts, and new ones once it is heard', async () => {
    const { hub, sink, child } = setUp()
    const asked: string[] = []
    sink.onCut((request) => asked.push(request))
    await sink.append(message('a', 0))
    for (let i = 0; i < 1000; i++) await hub.requestCut(`${i}`)
    await turns(10)
    expect(asked).toHaveLength(256)
    await sink.append(message('a', 1))
    await hub.requestCut('heard')
    await turns(10)
    expect(asked.at(-1)).toBe('heard')
    expect(child.connected).toBe(true)
    await hub.close()
  })
})

describe('the fence of a hub', () => {
  it('refuses a message that does not follow the last one, and takes the same one again', async () => {
    const { hub, sink } = setUp()
    expect(await sink.append(message('a', 1))).toBe('refused')
    expect(await sink.append(message('a', 0))).toBe('appended')
    expect(await sink.append(message('a', 0))).toBe('appended')
    expect(await sink.append(message('a', 0, Uint8Array.of(1)))).toBe('refused')
    expect(await sink.append(message('a', 2))).toBe('refused')
    expect((await all(hub)).messages).toHaveLength(1)
    await hub.close()
  })

  it('lets a publisher go on after it has asked for the last message: readers see the gap', async () => {
    const { hub, sink } = setUp()
    for (const [each, name] of [
      [sink, 'a'],
      [hub.sink(), 'b'],
    ] as const) {
      expect(await each.append(message(name, 7))).toBe('refused')
      expect(await each.last(instanceOf(name))).toBeUndefined()
      expect(await each.append(message(name, 8))).toBe('appended')
      expect(await each.append(message(name, 9))).toBe('appended')
    }
    await hub.close()
  })

  it('lets no child write under the instance of another child whose sink is open', async () => {
    const { hub, sink } = setUp()
    const other = setUp('json', hub)
    await sink.append(message('a', 0))
    await expect(other.sink.append(message('a', 1))).rejects.toMatchObject(away)
    await expect(hub.sink().append(message('a', 1))).rejects.toMatchObject(away)
    expect((await all(hub)).messages).toHaveLength(1)

    // A publisher that was saved goes on in another process.
    await sink.close()
    await turns(10)
    expect(await other.sink.append(message('a', 1))).toBe('appended')
    await hub.close()
  })
})

describe('the log of a hub', () => {
  it('trims the oldest messages, and tells those who have not read them', async () => {
    const hub = ipcHub(undefined, { maxBytes: 2 ** 20 })
    const sink = hub.sink()
    const body = new Uint8Array(100_000)
    await sink.append(message('a', 0))
    const { position } = await all(hub)
    for (let n = 1; n < 8; n++) await sink.append(message('a', n, body))
    const kept = await all(hub, position)
    expect(kept.lost).toBe(false)
    expect(kept.messages).toHaveLength(7)
    for (let n = 8; n < 40; n++) await sink.append(message('a', n, body))
    const read = await all(hub, position)
    expect(read.messages.length).toBeGreaterThan(8)
    expect(read.messages.length).toBeLessThan(11)
    expect((await hub.read(position, { waitMs: 0 })).lost).toBe(true)
    expect((await hub.read(undefined, { waitMs: 0 })).lost).toBe(false)
    expect((await hub.read(read.position, { waitMs: 0 })).lost).toBe(false)
    await hub.close()
  })

  it('knows its own positions only', async () => {
    const hub = ipcHub()
    await hub.sink().append(message('a', 0))
    const { position, log } = await all(hub)
    const other = await all(ipcHub())
    for (const wrong of [other.position, `${log}.99`, `${log}.-1`, `${log}.`, log, '', 'x.1']) {
      const read = await hub.read(wrong, { waitMs: 0 })
      expect({ wrong, lost: read.lost, found: read.messages.length }).toEqual({
        wrong,
        lost: true,
        found: 1,
      })
    }
    expect((await hub.read(position, { waitMs: 0 })).lost).toBe(false)
    await hub.close()
  })

  it('forgets an instance that has ended once its messages are trimmed', async () => {
    const { hub, sink, child, parent } = setUp()
    const small = ipcHub(undefined, { name: 'small', maxBytes: 2 ** 20 })
    small.add(parent)
    const there = sinkOf(child, 'small')
    const watcher = channelPair('json')
    small.add(watcher.parent)
    const source = sourceOf(watcher.child, 'small')
    await there.append(message('a', 0))
    await there.append(message('b', 0))
    await there.append(closeOf('b', 1))
    await all(source)
    expect(source.nodes()!.get(instanceOf('a'))).toBe('live')
    child.disconnect()
    await turns(10)
    await all(source)
    expect(source.nodes()!.get(instanceOf('a'))).toBe('gone')
    expect(small.nodes()!.get(instanceOf('a'))).toBe('gone')
    expect(small.nodes()!.get(instanceOf('b'))).toBeUndefined()

    const local = small.sink()
    for (let n = 0; n < 12; n++) await local.append(message('c', n, new Uint8Array(100_000)))
    await all(source)
    for (const each of [source, small, small.source()])
      expect(Object.fromEntries(each.nodes()!)).toEqual({ [instanceOf('c')]: 'live' })
    await sink.close()
    await hub.close()
    await small.close()
  })
})

describe('a channel that is closed', () => {
  it('makes the open instances of that child gone at once, and no others', async () => {
    const { hub, sink, child } = setUp()
    const other = setUp('json', hub)
    await sink.append(message('a', 0))
    await sink.append(message('b', 0))
    await sink.append(closeOf('b', 1))
    await other.sink.append(message('c', 0))
    const { position } = await all(hub)
    const waiting = hub.read(position, { waitMs: 10_000 })
    child.disconnect()
    expect((await waiting).messages).toEqual([])
    expect(Object.fromEntries(hub.nodes()!)).toEqual({
      [instanceOf('a')]: 'gone',
      [instanceOf('c')]: 'live',
    })
    await expect(sink.append(message('a', 1))).rejects.toMatchObject(away)
    await expect(sinkOf(child, 'dirty').last(instanceOf('a'))).rejects.toMatchObject(away)
    await hub.close()
  })

  it('is learned of by a source whose read was aborted while its answer was on the way', async () => {
    const { hub, sink, child } = setUp()
    const watcher = channelPair('json')
    hub.add(watcher.parent)
    const source = sourceOf(watcher.child, 'dirty')
    await sink.append(message('a', 0))
    const { position } = await all(source)
    const over = new AbortController()
    const reading = source.read(position, { waitMs: 10_000, signal: over.signal })
    await turns(10)
    watcher.parent.isHeld = true
    child.disconnect()
    await turns(10)
    over.abort('enough')
    await expect(reading).rejects.toBe('enough')
    watcher.parent.isHeld = false
    watcher.parent.deliver()
    await source.read(position, { waitMs: 0 })
    expect(source.nodes()!.get(instanceOf('a'))).toBe('gone')
    await hub.close()
  })

  it('rejects what waits for an answer', async () => {
    const { hub, sink, child, parent } = setUp()
    await sink.append(message('a', 0))
    parent.isHeld = true
    const source = sourceOf(child, 'dirty')
    const waiting = [sink.append(message('a', 1)), source.read(undefined, { waitMs: 10_000 })]
    setTimeout(() => child.disconnect(), 5)
    for (const each of waiting) await expect(each).rejects.toMatchObject(away)
    await hub.close()
  })
})

describe('a sink that is closed without a CLOSE', () => {
  it('leaves the hub without an opinion of its instance, until that goes on', async () => {
    const { hub, sink, child } = setUp()
    const local = hub.sink()
    const watcher = channelPair('json')
    hub.add(watcher.parent)
    const source = sourceOf(watcher.child, 'dirty')
    const opinions = async () => {
      const { position } = await all(source)
      await source.read(position, { waitMs: 0 })
      expect(source.nodes()).toEqual(hub.nodes())
      return Object.fromEntries(hub.nodes()!)
    }
    await sink.append(message('a', 0))
    await local.append(message('b', 0))
    expect(await opinions()).toEqual({ [instanceOf('a')]: 'live', [instanceOf('b')]: 'live' })
    await Promise.all([sink.close(), local.close()])
    await turns(10)
    expect(await opinions()).toEqual({})

    expect(await sinkOf(child, 'dirty').append(message('a', 1))).toBe('appended')
    expect(await hub.sink().append(message('b', 1))).toBe('appended')
    expect(await opinions()).toEqual({ [instanceOf('a')]: 'live', [instanceOf('b')]: 'live' })
    await hub.close()
  })
})

describe('a hub that is closed', () => {
  it('ends what waits in its process, and leaves children away until there is another', async () => {
    const { hub, sink, child, parent } = setUp()
    const source = sourceOf(child, 'dirty')
    const asked: string[] = []
    sink.onCut((request) => asked.push(request))
    await sink.append(message('a', 0))
    const { position, log } = await all(source)
    const own = hub.read(position, { waitMs: 10_000 })
    const childs = source.read(position, { waitMs: 10_000 })
    await turns(10)
    await hub.close()
    await hub.close()
    await expect(own).rejects.toMatchObject({ code: 'ERR_DIRTYRING_CLOSED' })
    await expect(childs).rejects.toMatchObject(away)
    expect(() => hub.add(parent)).toThrow(expect.objectContaining({ code: 'ERR_DIRTYRING_CLOSED' }))
    expect(parent.listenerCount('message')).toBe(0)

    const append = sink.append(message('a', 1))
    const next = ipcHub(parent)
    expect(await append).toBe('refused')
    expect(await sink.last(instanceOf('a'))).toBeUndefined()
    expect(await sink.append(message('a', 2))).toBe('appended')
    const read = await source.read(position, { waitMs: 0 })
    expect(read).toMatchObject({ lost: true })
    expect(read.log).not.toBe(log)
    expect(read.messages).toHaveLength(1)
    await next.requestCut('again')
    await turns(10)
    expect(asked).toEqual(['again'])
    await next.close()
  })

  it('leaves a source and a sink of the same process nothing to do', async () => {
    const hub = ipcHub()
    const [source, sink, other] = [hub.source(), hub.sink(), hub.source()]
    await other.close()
    const over = { code: 'ERR_DIRTYRING_CLOSED' }
    await expect(other.read(undefined, { waitMs: 0 })).rejects.toMatchObject(over)
    await expect(other.requestCut('x')).rejects.toMatchObject(over)
    expect((await source.read(undefined, { waitMs: 0 })).atEnd).toBe(true)
    await hub.close()
    await expect(source.read(undefined, { waitMs: 0 })).rejects.toMatchObject(over)
    await expect(sink.append(message('a', 0))).rejects.toMatchObject(over)
    await sink.close()
    await expect(sink.last(instanceOf('a'))).rejects.toMatchObject(over)
  })
})

describe('a message that is lost or late', () => {
  it('is sent once while its answer is only late', async () => {
    const { hub, sink, child, parent } = setUp()
    await sink.append(message('a', 0))
    child.isHeld = true
    const late = message('a', 1)
    const first = sink.append(late)
    const second = sink.append(late)
    child.isHeld = false
    child.deliver()
    expect(await Promise.all([first, second])).toEqual(['appended', 'appended'])
    expect((await all(hub)).messages).toHaveLength(2)
    expect(parent.connected).toBe(true)
    await hub.close()
  })

  it('is found lost by the next greeting, after the time of an answer', async () => {
    const { hub, child } = setUp()
    const sink = sinkOf(child, 'dirty', 100)
    await sink.append(message('a', 0))
    child.isLosing = true
    const lost = message('a', 1)
    await expect(sink.append(lost)).rejects.toMatchObject({
      ...away,
      message: expect.stringMatching(/does not answer within 100 ms/),
    })
    child.isLosing = false
    // It is taken for under way, until the greeting at the end of that time shows that it is not.
    const again = async () => {
      for (;;) {
        const result = await sink.append(lost).catch(() => undefined)
        if (result !== undefined) return result
      }
    }
    expect(await again()).toBe('appended')
    expect((await all(hub)).messages).toHaveLength(2)
    await hub.close()
  })

  it('is answered when the read was aborted, so that the child forgets it', async () => {
    const { hub, child } = setUp()
    const source = sourceOf(child, 'dirty')
    const { position } = await all(source)
    const answers: unknown[] = []
    child.on('message', (each) => {
      if (each.op === 'done') answers.push(each.error.code)
    })
    for (let i = 0; i < 3; i++) {
      const over = new AbortController()
      const reading = source.read(position, { waitMs: 10_000, signal: over.signal })
      await turns(10)
      over.abort('enough')
      await expect(reading).rejects.toBe('enough')
    }
    await turns(10)
    expect(answers).toEqual(Array(3).fill('ERR_DIRTYRING_CLOSED'))

    // A source that is closed hears of no answer.
    const reading = source.read(position, { waitMs: 10_000 })
    await turns(10)
    await source.close()
    await expect(reading).rejects.toMatchObject({ code: 'ERR_DIRTYRING_CLOSED' })
    await turns(10)
    expect(answers).toHaveLength(3)
    await hub.close()
  })

  it('may say nothing of nodes, as that of another version does', async () => {
    const { hub, parent, child, sink } = setUp()
    await sink.append(message('a', 0))
    const source = sourceOf(child, 'dirty')
    const send = parent.send.bind(parent)
    const unsaid = { live: undefined, gone: undefined, left: undefined }
    parent.send = (each: any, ...rest) =>
      send('live' in each ? { ...each, ...unsaid } : each, ...rest)
    expect((await all(source)).messages.length).toBe(1)
    expect([...source.nodes()!]).toEqual([])
    await hub.close()
  })

  it('rejects when no hub greets back', async () => {
    const { child } = channelPair('json')
    await expect(sinkOf(child, 'dirty', 100).append(message('a', 0))).rejects.toMatchObject({
      ...away,
      message: expect.stringMatching(/no hub answers: call ipcHub\(\)/),
    })
  })
})

describe("the application's own messages on the channel", () => {
  it('reach it, also those that come before its first listener', async () => {
    const { hub, sink, child, parent } = setUp()
    const heard = { child: [] as unknown[], parent: [] as unknown[] }
    parent.send({ job: 1 })
    child.send({ result: 1 })
    await sink.append(message('a', 0))
    const listen = (end: 'child' | 'parent') => (each: any) => {
      if (each?.['dirtyring/ipc'] === undefined) heard[end].push(each)
    }
    child.on('message', listen('child'))
    parent.on('message', listen('parent'))
    for (const each of [{ job: 2 }, 'text', null, 5, { hub: 'dirty', op: 'bye' }]) parent.send(each)
    child.send({ 'dirtyring/ipc': 2, hub: 'dirty', op: 'of another version' })
    child.send({ result: 2 })
    await sink.append(message('a', 1))
    expect(heard.child).toEqual([{ job: 1 }, { job: 2 }, 'text', null, 5, expect.anything()])
    expect(heard.parent).toEqual([{ result: 1 }, { result: 2 }])
    await hub.close()
  })

  it('are handed over after the last sink was closed, too', async () => {
    const { hub, sink, child, parent } = setUp()
    parent.send({ job: 1 })
    await sink.append(message('a', 0))
    await sink.close()
    await sink.close()
    await expect(sink.append(message('a', 1))).rejects.toMatchObject({
      code: 'ERR_DIRTYRING_CLOSED',
    })
    const heard: unknown[] = []
    child.on('message', (each) => heard.push(each))
    await turns(10)
    expect(heard).toEqual([{ job: 1 }])
    await hub.close()
  })
})

describe('what a child sends that no sink sends', () => {
  const tag = { 'dirtyring/ipc': 1, hub: 'dirty' }
  const about = { node: 'a', instance: instanceOf('a'), n: 0, after: -1, bytes: 'AAAA' }

  it.each<[object, string]>([
    [{ op: 'append', call: 0 }, 'a message to append'],
    [{ op: 'append', call: 0, ...about, bytes: 5 }, 'a message to append'],
    [{ op: 'append', call: 0, ...about, node: 'a b' }, 'a message to append'],
    [{ op: 'append', call: 0, ...about, instance: 'A'.repeat(32) }, 'a message to append'],
    [{ op: 'append', call: 0, ...about, n: 0.5 }, 'a message to append'],
    [{ op: 'append', call: 0, ...about, after: 'x' }, 'a message to append'],
    [{ op: 'last', call: 0, instance: {} }, 'a question for an instance'],
    [{ op: 'read', call: 0, after: 5, waitMs: 0 }, 'a read'],
    [{ op: 'read', call: 0, waitMs: -1 }, 'a read'],
    [{ op: 'cut', call: 0, request: 'x'.repeat(1000) }, 'a request for a cut'],
    [{ op: 'fly', call: 0 }, 'the call fly'],
    [{ op: {}, call: 0 }, 'a call without a name'],
    [{ op: 'read', call: -1 }, 'a call without a number'],
    [{ op: 'read', call: 0, end: 7 }, 'a message that names no sink and no source'],
  ])('is dropped with a warning, and the hub goes on: $#', async (wrong, what) => {
    const { hub, sink, child } = setUp()
    const warnings: IpcWarning[] = []
    const off = hub.on('warning', (warning) => warnings.push(warning))
    await sink.append(message('b', 0))
    child.send({ ...tag, end: 'raw', op: 'hello', probe: {} })
    child.send({ ...tag, end: 'raw', ...wrong })
    await sink.append(message('b', 1))
    expect(warnings).toEqual([
      {
        message: `a process has sent ${what} that is damaged, or of another version`,
        pid: undefined,
      },
    ])
    expect((await all(hub)).messages).toHaveLength(2)
    off()
    child.send({ ...tag, end: 'raw', ...wrong })
    await sink.append(message('b', 2))
    expect(warnings).toHaveLength(1)
    await hub.close()
  })

  it('does not open more ends than it could have', async () => {
    const { hub, sink, child } = setUp()
    const warnings: IpcWarning[] = []
    hub.on('warning', (warning) => warnings.push(warning))
    for (let i = 0; i < 5000; i++) child.send({ ...tag, end: `raw${i}`, op: 'hello', probe: {} })
    for (let i = 0; i < 5000; i++) child.send({ ...tag, end: `raw${i}`, op: 'bye' })
    await sink.append(message('b', 0))
    expect(warnings).toHaveLength(5000 - 4096)
    await hub.close()
  })

  it('is in the log as it is, under the name of the one who sent it, when its bytes are garbage', async () => {
    const { hub, child } = setUp()
    child.send({ ...tag, end: 'raw', op: 'hello', probe: {} })
    child.send({ ...tag, end: 'raw', op: 'append', call: 0, ...about, bytes: '!garbage!' })
    await turns(10)
    const { messages } = await all(hub)
    expect(messages).toMatchObject([{ node: 'a', instance: instanceOf('a') }])
    await hub.close()
  })
})

describe('arguments', () => {
  const invalid = expect.objectContaining({ code: 'ERR_DIRTYRING_INVALID_ARG' })
  const outOfRange = expect.objectContaining({ code: 'ERR_DIRTYRING_OUT_OF_RANGE' })

  it('of ipcHub() are checked', () => {
    const { parent } = channelPair('json')
    for (const from of [5, 'cluster', {}, null, [{}], new Map([[1, 2]]), { send() {} }])
      expect(() => ipcHub(from as never)).toThrow(invalid)
    for (const options of [{ name: 5 }, { maxBytes: '5' }, { nam: 'x' }, [], 5])
      expect(() => ipcHub(parent, options as never)).toThrow(invalid)
    for (const options of [{ name: '' }, { name: 'x'.repeat(65) }, { maxBytes: 5 }])
      expect(() => ipcHub(parent, options)).toThrow(outOfRange)
    const hub = ipcHub()
    expect(() => hub.on('data' as never, () => {})).toThrow(outOfRange)
    expect(() => hub.on('warning', 5 as never)).toThrow(invalid)
    parent.connected = false
    expect(() => hub.add(parent)).toThrow(/a process with an open channel/)
    expect(() => hub.add(5 as never)).toThrow(invalid)
    const worker = { isPrimary: false, fork() {}, on() {}, off() {} }
    expect(() => ipcHub(worker)).toThrow(/it has ipcSink\(\) and ipcSource\(\)/)
  })

  it('may be the cluster of Node, whose workers have sinks and sources of their own', async () => {
    const hub = ipcHub(cluster)
    expect(cluster.listenerCount('fork')).toBe(1)
    expect(() => ipcHub(cluster)).toThrow(/Close that hub, or pass another \{ name \}/)
    const second = ipcHub({ default: cluster } as never, { name: 'second' })
    expect(cluster.listenerCount('fork')).toBe(2)
    await hub.close()
    await second.close()
    expect(cluster.listenerCount('fork')).toBe(0)
  })

  it('of the sink in the process of the hub are checked', async () => {
    const sink = ipcHub().sink()
    for (const wrong of [{ node: 'a b' }, { instance: 'x' }, { n: -1 }])
      await expect(sink.append({ ...message('a', 0), ...wrong })).rejects.toEqual(outOfRange)
    await expect(sink.append({ ...message('a', 0), bytes: [] as never })).rejects.toEqual(invalid)
  })

  it('of ipcSink() and ipcSource() are checked, and so is where they are called', () => {
    for (const end of [ipcSink, ipcSource]) {
      expect(() => end({ hub: 5 as never })).toThrow(invalid)
      expect(() => end({ hub: '' })).toThrow(outOfRange)
      expect(() => end({ hubs: 'x' } as never)).toThrow(invalid)
    }
  })

  it('are a hub for each name', async () => {
    const { hub, parent, child } = setUp()
    hub.add(parent)
    hub.add({ process: parent } as never)
    expect(() => ipcHub(parent)).toThrow(outOfRange)
    const second = ipcHub([parent], { name: 'second' })
    await sinkOf(child, 'second').append(message('a', 0))
    expect((await all(hub)).messages).toHaveLength(0)
    expect((await all(second)).messages).toHaveLength(1)
    await hub.close()
    await ipcHub(parent).close()
    await second.close()
  })
})
