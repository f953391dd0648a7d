import { EventEmitter } from 'node:events'
import { describe, expect, it } from '@jest/globals'
import { type IpcChild, ipcHub } from '../../lib/ipc/hub.js'
import { sinkOf } from '../../lib/ipc/sink.js'
import { sourceOf } from '../../lib/ipc/source.js'
import { type ChannelEnd, channelPair } from '../support/channel-pair.js'
import { isPending, turns } from '../support/in-process.js'
import { closeOf, instanceOf, message } from '../support/log-messages.js'

/** Two messages of this length are more than the smallest log takes. */
const LARGE = new Uint8Array(600_000)
const smallest = { maxBytes: 2 ** 20 }

const typeError = (text: string): unknown =>
  expect.objectContaining({ name: 'TypeError', code: 'ERR_DIRTYRING_INVALID_ARG', message: text })
const rangeError = (text: string): unknown =>
  expect.objectContaining({ name: 'RangeError', code: 'ERR_DIRTYRING_OUT_OF_RANGE', message: text })
const closedError = (what: string): object => ({
  code: 'ERR_DIRTYRING_CLOSED',
  message: `the ${what} is closed`,
})

/** What node:cluster has in its primary. */
class Primary extends EventEmitter {
  workers: Record<string, IpcChild | undefined> | undefined = {}

  fork(): void {}
}

const workerOf = (process: unknown): IpcChild => ({ process }) as unknown as IpcChild

/** What the hub tells the sources of a child about nodes, answer by answer. */
function nodesTold(child: ChannelEnd): object[] {
  const answers: object[] = []
  child.on('message', ({ op, all, live, gone, left }) => {
    if (op === 'done' && live !== undefined) answers.push({ all, live, gone, left })
  })
  return answers
}

describe('a hub of node:cluster', () => {
  it('serves the workers that run already', async () => {
    const cluster = new Primary()
    const { parent, child } = channelPair('json')
    cluster.workers = { 1: undefined, 2: workerOf(parent) }
    const hub = ipcHub(cluster)
    expect(await sinkOf(child, 'dirty').append(message('a', 0))).toBe('appended')
    expect((await hub.read(undefined, { waitMs: 0 })).messages).toHaveLength(1)
    await hub.close()
  })

  it('serves a worker that is forked later, and none once it is closed', async () => {
    const cluster = new Primary()
    cluster.workers = undefined
    const hub = ipcHub(cluster)
    const { parent, child } = channelPair('json')
    cluster.emit('fork', workerOf(parent))
    expect(await sinkOf(child, 'dirty').append(message('a', 0))).toBe('appended')
    await hub.close()
    cluster.emit('fork', workerOf(parent))
    expect(parent.listenerCount('message')).toBe(0)
  })

  it('leaves alone a worker whose channel is closed already, or that has none', async () => {
    const cluster = new Primary()
    const hub = ipcHub(cluster)
    const { parent } = channelPair('json')
    parent.connected = false
    cluster.emit('fork', workerOf(parent))
    expect(parent.eventNames()).toEqual(['newListener'])
    expect(() => cluster.emit('fork', workerOf(undefined))).not.toThrow()
    await hub.close()
  })

  it('gives the cluster up once, however often it is closed', async () => {
    const cluster = new Primary()
    const first = ipcHub(cluster)
    await first.close()
    const second = ipcHub(cluster)
    await first.close()
    expect(() => ipcHub(cluster)).toThrow(
      rangeError(
        `"from" must be without a hub of the name 'dirty', got an instance of Primary. ` +
          'Close that hub, or pass another { name }.',
      ),
    )
    await second.close()
    await ipcHub(cluster).close()
  })
})

describe('ipcHub()', () => {
  it('names the option that is wrong', () => {
    for (const [options, error] of [
      [[], typeError('"options" must be a plain object, got an instance of Array')],
      [{ name: 5 }, typeError('"options.name" must be a string, got 5')],
      [{ name: '' }, rangeError('"options.name" must be 1 to 64 characters, got ""')],
      [{ maxBytes: '5' }, typeError('"options.maxBytes" must be a number, got "5"')],
      [
        { maxBytes: 5 },
        rangeError('"options.maxBytes" must be a whole number from 1048576 to 4294967296, got 5'),
      ],
    ])
      expect(() => ipcHub(undefined, options as never)).toThrow(error)
  })

  it('says what to pass if the argument is no cluster, no child and no list', () => {
    const notChildren = (got: string): unknown =>
      typeError(`"from" must be node:cluster, a ChildProcess or a list of those, got ${got}`)
    expect(() => ipcHub(5 as never)).toThrow(notChildren('5'))
    expect(() => ipcHub({} as never)).toThrow(notChildren('an instance of Object'))
    expect(() => ipcHub({ fork() {} } as never)).toThrow(notChildren('an instance of Object'))
    const detached = new Uint8Array(8)
    structuredClone(detached, { transfer: [detached.buffer] })
    expect(() => ipcHub(detached as never)).toThrow(notChildren('an instance of Uint8Array'))
  })

  it('says so in a worker of node:cluster', () => {
    const cluster = Object.assign(new Primary(), { isPrimary: false })
    expect(() => ipcHub(cluster)).toThrow(
      typeError(
        '"from" must be node:cluster in its primary, got an instance of Primary. ' +
          'This process is one of its workers: it has ipcSink() and ipcSource().',
      ),
    )
  })

  it('throws what a list of children throws', () => {
    const wrong = new RangeError('the list is broken')
    const broken = function* (): Generator<IpcChild> {
      yield* []
      throw wrong
    }
    expect(() => ipcHub(broken())).toThrow(wrong)
    expect(() => ipcHub([{}] as never)).toThrow(/^"child" must be a ChildProcess /)
  })

  it('takes a list that is a function', async () => {
    const { parent, child } = channelPair('json')
    const children = Object.assign(() => undefined, {
      *[Symbol.iterator]() {
        yield parent
      },
    })
    const hub = ipcHub(children)
    expect(await sinkOf(child, 'dirty').append(message('a', 0))).toBe('appended')
    await hub.close()
  })
})

describe('ipcHub() that throws', () => {
  it('leaves alone the children that it had added already', async () => {
    const [open, ended] = [channelPair('json').parent, channelPair('json').parent]
    ended.connected = false
    expect(() => ipcHub([open, ended])).toThrow(/a process with an open channel/)
    expect(open.listenerCount('message')).toBe(0)
    await ipcHub(open).close()
  })

  it('leaves alone the cluster of which another hub has a worker', async () => {
    const cluster = new Primary()
    const { parent } = channelPair('json')
    const hub = ipcHub(parent)
    cluster.workers = { 1: workerOf(parent) }
    expect(() => ipcHub(cluster)).toThrow(/^"child" must be without a hub of the name 'dirty'/)
    expect(cluster.listenerCount('fork')).toBe(0)
    await hub.close()
    await ipcHub(cluster).close()
  })

  it('leaves the cluster to the hub that has it', async () => {
    const cluster = new Primary()
    const hub = ipcHub(cluster)
    expect(() => ipcHub(cluster)).toThrow(/^"from" must be without a hub/)
    expect(() => ipcHub(cluster)).toThrow(/^"from" must be without a hub/)
    expect(cluster.listenerCount('fork')).toBe(1)
    await hub.close()
  })
})

describe('add() of a hub', () => {
  it('says what to pass if the argument is no process', async () => {
    const hub = ipcHub()
    for (const [wrong, got] of [
      [5, '5'],
      [{}, 'an instance of Object'],
      [{ send() {}, on() {}, connected: true }, 'an instance of Object'],
    ] as const)
      expect(() => hub.add(wrong as never)).toThrow(
        typeError(
          `"child" must be a ChildProcess or a Worker of node:cluster, got ${got}. ` +
            'A Worker of node:worker_threads is a part of this process: ' +
            'give it the tracker’s handle.',
        ),
      )
    await hub.close()
  })

  it('says how to start a process that has no channel', async () => {
    const hub = ipcHub()
    const { parent } = channelPair('json')
    parent.connected = false
    expect(() => hub.add(parent)).toThrow(
      typeError(
        '"child" must be a process with an open channel, got an instance of ChannelEnd. ' +
          'Start it with fork(), and add it right after that.',
      ),
    )
    await hub.close()
  })

  it('names the hub that has the process already', async () => {
    const { parent } = channelPair('json')
    const hub = ipcHub(parent, { name: 'first' })
    const other = ipcHub(undefined, { name: 'first' })
    expect(() => other.add(parent)).toThrow(
      rangeError(
        `"child" must be without a hub of the name 'first', got an instance of ChannelEnd. ` +
          'Close that hub, or pass another { name }.',
      ),
    )
    await hub.close()
    await other.close()
  })

  it('throws once the hub is closed', async () => {
    const hub = ipcHub()
    await hub.close()
    const { parent } = channelPair('json')
    expect(() => hub.add(parent)).toThrow(expect.objectContaining(closedError('hub')))
    expect(parent.listenerCount('message')).toBe(0)
  })
})

describe('on() of a hub', () => {
  it('names the argument that is wrong', async () => {
    const hub = ipcHub()
    expect(() => hub.on(5 as never, () => undefined)).toThrow(
      typeError(`"event" must be 'warning', got 5`),
    )
    expect(() => hub.on('warning', 5 as never)).toThrow(
      typeError('"listener" must be a function, got 5'),
    )
    await hub.close()
  })
})

describe('a sink in the process of the hub', () => {
  it('names the part of a message that is wrong', async () => {
    const hub = ipcHub()
    const sink = hub.sink()
    for (const [wrong, error] of [
      [{ node: 'a b' }, rangeError('"message.node" must be the label of a node, got "a b"')],
      [{ instance: 'x' }, rangeError('"message.instance" must be 32 hexadecimal digits, got "x"')],
      [{ n: '0' }, typeError('"message.n" must be a number, got "0"')],
      [{ bytes: 5 }, typeError('"message.bytes" must be a Uint8Array, got 5')],
    ])
      await expect(sink.append({ ...message('a', 0), ...(wrong as object) })).rejects.toEqual(error)
    expect((await hub.read(undefined, { waitMs: 0 })).messages).toEqual([])
    await hub.close()
  })

  it('takes nothing and tells nothing once it is closed, while the hub is open', async () => {
    const hub = ipcHub()
    const sink = hub.sink()
    await sink.append(message('a', 0))
    await sink.close()
    await expect(sink.append(message('a', 1))).rejects.toMatchObject(closedError('sink'))
    await expect(sink.last(instanceOf('a'))).rejects.toMatchObject(closedError('sink'))
    expect((await hub.read(undefined, { waitMs: 0 })).messages).toHaveLength(1)
    await hub.close()
  })

  it('refuses what does not follow the last message that it was told of, until it asks', async () => {
    const hub = ipcHub()
    const [sink, other] = [hub.sink(), hub.sink()]
    expect(await sink.last(instanceOf('a'))).toBeUndefined()
    expect(await other.append(message('a', 0))).toBe('appended')
    expect(await sink.append(message('a', 1))).toBe('refused')
    expect(await sink.append(message('a', 1))).toBe('refused')
    expect(await sink.last(instanceOf('a'))).toEqual(message('a', 0))
    expect(await sink.append(message('a', 1))).toBe('appended')
    await hub.close()
  })

  it('takes the last message again if each of its bytes is the same', async () => {
    const hub = ipcHub()
    const sink = hub.sink()
    const append = (...bytes: number[]): Promise<string> =>
      sink.append({ ...message('a', 0), bytes: Uint8Array.from(bytes) })
    expect(await append(1, 2, 3)).toBe('appended')
    expect(await append(1, 2, 3)).toBe('appended')
    expect(await append(1, 2, 4)).toBe('refused')
    expect(await append(1, 2)).toBe('refused')
    expect(await append(1, 2, 3, 4)).toBe('refused')
    expect((await hub.read(undefined, { waitMs: 0 })).messages).toHaveLength(1)
    await hub.close()
  })

  it('does not take the instance of a child whose sink is open, and names it', async () => {
    const { parent, child } = channelPair('json')
    const hub = ipcHub(parent)
    await sinkOf(child, 'dirty').append(message('a', 0))
    await expect(hub.sink().append(message('a', 1))).rejects.toMatchObject({
      code: 'ERR_DIRTYRING_AWAY',
      message: `another process publishes as ${instanceOf('a')}, and its sink is open`,
    })
    await hub.close()
  })

  it('leaves the hub its opinion of the instances of other sinks when it closes', async () => {
    const hub = ipcHub()
    const [sink, other] = [hub.sink(), hub.sink()]
    await sink.append(message('a', 0))
    await other.append(message('b', 0))
    await sink.close()
    expect(Object.fromEntries(hub.nodes()!)).toEqual({ [instanceOf('b')]: 'live' })
    await hub.close()
  })
})

describe('a publisher that goes on with its last message, from a sink of another process', () => {
  /** A publisher whose first process has closed its sink, or has ended. */
  async function goOn(how: 'its sink is closed' | 'its process has ended') {
    const [first, second] = [channelPair('json'), channelPair('json')]
    const hub = ipcHub([first.parent, second.parent])
    const sink = sinkOf(first.child, 'dirty')
    await sink.append(message('a', 0))
    if (how === 'its process has ended') first.child.disconnect()
    else await sink.close()
    await turns(10)
    expect(hub.nodes()!.get(instanceOf('a'))).not.toBe('live')
    const told = nodesTold(second.child)
    const source = sourceOf(second.child, 'dirty')
    await source.read(undefined, { waitMs: 0 })
    expect(await sinkOf(second.child, 'dirty').append(message('a', 0))).toBe('appended')
    await source.read(undefined, { waitMs: 0 })
    return { hub, second, told }
  }

  it.each(['its sink is closed', 'its process has ended'] as const)(
    'is live again: %s',
    async (how) => {
      const { hub, told } = await goOn(how)
      expect(hub.nodes()!.get(instanceOf('a'))).toBe('live')
      expect(told.at(-1)).toMatchObject({ all: false, live: [instanceOf('a')] })
      await hub.close()
    },
  )

  it('is no news if it was live already', async () => {
    const { parent, child } = channelPair('json')
    const hub = ipcHub(parent)
    const sink = sinkOf(child, 'dirty')
    await sink.append(message('a', 0))
    const told = nodesTold(child)
    const source = sourceOf(child, 'dirty')
    await source.read(undefined, { waitMs: 0 })
    expect(await sink.append(message('a', 0))).toBe('appended')
    await source.read(undefined, { waitMs: 0 })
    expect(told.at(-1)).toMatchObject({ all: false, live: [], gone: [], left: [] })
    await hub.close()
  })

  it('keeps its instance from a third process, until its own has ended', async () => {
    const { hub, second } = await goOn('its sink is closed')
    const third = hub.sink()
    await expect(third.append(message('a', 1))).rejects.toMatchObject({
      code: 'ERR_DIRTYRING_AWAY',
    })
    second.child.disconnect()
    await turns(10)
    expect(hub.nodes()!.get(instanceOf('a'))).toBe('gone')
    expect(await third.append(message('a', 1))).toBe('appended')
    await hub.close()
  })
})

describe('a source in the process of the hub', () => {
  it('says that it is closed, while the hub is open', async () => {
    const hub = ipcHub()
    const source = hub.source()
    await source.close()
    for (const call of [source.read(undefined, { waitMs: 0 }), source.requestCut('x')])
      await expect(call).rejects.toMatchObject(closedError('source'))
    await hub.close()
  })
})

describe('a read of a hub', () => {
  it('that does not wait has what the log has when it is called', async () => {
    const hub = ipcHub()
    const reading = hub.read(undefined, { waitMs: 0 })
    await hub.sink().append(message('a', 0))
    expect((await reading).messages).toEqual([])
    await hub.close()
  })

  it('waits on while a child ends that has no open publisher', async () => {
    const { parent, child } = channelPair('json')
    const hub = ipcHub(parent)
    const sink = sinkOf(child, 'dirty')
    await sink.append(message('a', 0))
    await sink.append(closeOf('a', 1))
    const { position } = await hub.read(undefined, { waitMs: 0 })
    const reading = hub.read(position, { waitMs: 10_000 })
    child.disconnect()
    expect(await isPending(reading)).toBe(true)
    expect(parent.listenerCount('message')).toBe(0)
    await hub.close()
    await expect(reading).rejects.toMatchObject(closedError('hub'))
  })
})

describe('what a hub tells a child', () => {
  it('is the log that it has, in its answer to a greeting', async () => {
    const { parent, child } = channelPair('json')
    const hub = ipcHub(parent)
    const logs: unknown[] = []
    child.on('message', ({ op, log }) => {
      if (op === 'welcome') logs.push(log)
    })
    const { log } = await sourceOf(child, 'dirty').read(undefined, { waitMs: 0 })
    expect(log).toMatch(/^ipc-[0-9a-f]{24}$/)
    expect(logs).toEqual([log])
    await hub.close()
  })

  it('is each change of a node once', async () => {
    const { parent, child } = channelPair('json')
    const hub = ipcHub(parent)
    const [sink, other] = [hub.sink(), hub.sink()]
    const source = sourceOf(child, 'dirty')
    const answers = nodesTold(child)
    const news = async (): Promise<unknown> => {
      await source.read(undefined, { waitMs: 0 })
      return answers.at(-1)
    }
    const none = { all: false, live: [], gone: [], left: [] }
    expect(await news()).toEqual({ ...none, all: true })
    expect(await news()).toEqual(none)
    await sink.append(message('a', 0))
    expect(await news()).toEqual({ ...none, live: [instanceOf('a')] })
    await sink.append(message('a', 1))
    expect(await news()).toEqual(none)
    await other.append(message('b', 0))
    expect(await news()).toEqual({ ...none, live: [instanceOf('b')] })
    await other.append(closeOf('b', 1))
    expect(await news()).toEqual(none)
    await other.close()
    expect(await news()).toEqual(none)
    await sink.close()
    expect(await news()).toEqual({ ...none, left: [instanceOf('a')] })
    expect(answers).toHaveLength(8)
    await hub.close()
  })

  it('is each node that it still has, once, if it has forgotten one', async () => {
    const hub = ipcHub(undefined, smallest)
    const [ending, watching] = [channelPair('json'), channelPair('json')]
    hub.add(ending.parent)
    hub.add(watching.parent)
    const sink = hub.sink()
    await sinkOf(ending.child, 'dirty').append(message('a', 0))
    await sink.append(message('b', 0))
    ending.child.disconnect()
    await turns(5)
    const source = sourceOf(watching.child, 'dirty')
    const answers = nodesTold(watching.child)
    const { position } = await source.read(undefined, { waitMs: 0 })
    const [a, b] = [instanceOf('a'), instanceOf('b')]
    expect(Object.fromEntries(source.nodes()!)).toEqual({ [a]: 'gone', [b]: 'live' })
    for (let n = 1; n < 3; n++) await sink.append(message('b', n, LARGE))
    await source.read(position, { waitMs: 0 })
    expect(Object.fromEntries(source.nodes()!)).toEqual({ [b]: 'live' })
    await source.read(position, { waitMs: 0 })
    expect(answers.slice(1)).toEqual([
      { all: true, live: [b], gone: [], left: [] },
      { all: false, live: [], gone: [], left: [] },
    ])
    await hub.close()
  })
})

describe('a hub whose log is full', () => {
  it('knows a publisher that is open, also without any message of it', async () => {
    const hub = ipcHub(undefined, smallest)
    const [sink, other] = [hub.sink(), hub.sink()]
    await sink.append(message('a', 0))
    for (let n = 0; n < 2; n++) await other.append(message('b', n, LARGE))
    expect((await hub.read(undefined, { waitMs: 0 })).messages).toHaveLength(1)
    expect(hub.nodes()!.get(instanceOf('a'))).toBe('live')
    expect(await sink.append(message('a', 1))).toBe('appended')
    await hub.close()
  })

  it('knows an instance that is gone until the last message of it is trimmed', async () => {
    const { parent, child } = channelPair('advanced')
    const hub = ipcHub(parent, smallest)
    const there = sinkOf(child, 'dirty')
    await there.append(message('a', 0, LARGE))
    await there.append(message('a', 1))
    child.disconnect()
    await turns(5)
    const sink = hub.sink()
    await sink.append(message('b', 0, LARGE))
    expect((await hub.read(undefined, { waitMs: 0 })).messages).toHaveLength(2)
    expect(hub.nodes()!.get(instanceOf('a'))).toBe('gone')
    await sink.append(message('b', 1, LARGE))
    expect(Object.fromEntries(hub.nodes()!)).toEqual({ [instanceOf('b')]: 'live' })
    await hub.close()
  })
})
