import { EventEmitter } from 'node:events'
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import * as cluster from '../../lib/cluster/index.js'
import type { Consumer, DirtyTracker } from '../../lib/index.js'
import * as ipc from '../../lib/ipc/index.js'
import * as nats from '../../lib/nats/index.js'
import { watching } from '../../lib/platform/watching.js'
import * as redis from '../../lib/redis/index.js'
import { type Declared, declaredFunctions } from '../support/declared.js'
import { FaultLog } from '../support/fault-log.js'
import { openInline } from '../support/in-process.js'
import { type Odd, oddValues, OwnError } from '../support/odd-values.js'

/** One of everything that has methods. */
interface Scene {
  readonly tracker: DirtyTracker
  readonly consumer: Consumer
  readonly log: FaultLog
  readonly publisher: cluster.Publisher
  readonly reader: cluster.ClusterReader
  readonly epoch: cluster.ClusterEpoch
  readonly messages: readonly Uint8Array[]
}

interface Valid {
  readonly on?: (scene: Scene) => object
  /** Arguments with which the call works. */
  readonly args: (scene: Scene) => unknown[]
}

const idle = async (): Promise<void> => undefined
/** Clients that never answer: the adapters connect when they are used. */
const natsClient = {
  publish: () => undefined,
  request: idle,
  requestMany: idle,
  subscribe: () => ({ unsubscribe: () => undefined }),
  flush: idle,
  isClosed: () => false,
}
const redisClient = (): object => ({
  status: 'ready',
  callBuffer: idle,
  duplicate: redisClient,
  disconnect: () => undefined,
  on: () => undefined,
})
const child = (): object =>
  Object.assign(new EventEmitter(), { connected: true, send: () => true, pid: 7 })

const valid: Record<string, Valid> = {
  'decodeEpoch(messages, limits)': { args: ({ messages }) => [messages, {}] },
  'ClusterReader.ready(options)': { on: (scene) => scene.reader, args: () => [{}] },
  'ClusterReader.advanceEpoch(options)': { on: (scene) => scene.reader, args: () => [{}] },
  'ClusterReader.consume(use, options)': {
    on: (scene) => scene.reader,
    args: () => [() => undefined, {}],
  },
  'ClusterReader.epochs(options)': { on: (scene) => scene.reader, args: () => [{ everyMs: 9 }] },
  'ClusterReader.on(event, listener)': {
    on: (scene) => scene.reader,
    args: () => ['gone', () => undefined],
  },
  'ClusterEpoch.forEachPair(visit)': { on: (scene) => scene.epoch, args: () => [() => undefined] },
  'ClusterEpoch.has(key)': { on: (scene) => scene.epoch, args: () => [7] },
  'ClusterEpoch.hasPair(low, high)': { on: (scene) => scene.epoch, args: () => [7, 2] },
  'ipcHub(from, options)': { args: () => [child(), {}] },
  'ipcSink(options)': { args: () => [{}] },
  'ipcSource(options)': { args: () => [{}] },
  'natsSink(nats, options)': { args: () => [natsClient, { stream: 'dirty' }] },
  'natsSource(nats, options)': { args: () => [natsClient, { stream: 'dirty' }] },
  'redisSink(redis, options)': { args: () => [redisClient(), { stream: 'dirty' }] },
  'redisSource(redis, options)': { args: () => [redisClient(), { stream: 'dirty' }] },
}

/** What cannot work here, because the process gets no channel: that of the test runner is hidden. */
const refused: Record<string, string> = {
  'ipcSink(options)': 'ERR_DIRTYRING_AWAY',
  'ipcSource(options)': 'ERR_DIRTYRING_AWAY',
}

/** The specs of the publisher and of the reader have lists of what these refuse. */
const checkedElsewhere = /^(openCluster|publishEpochs|Publisher\.\w+)\(/

const LIBRARY: Record<string, any> = { ...cluster, ...ipc, ...nats, ...redis }
const declared = ['cluster/', 'ipc/', 'nats/', 'redis/']
  .flatMap((folder) => declaredFunctions(folder))
  .filter(({ name, positions }) => positions.length > 0 && !checkedElsewhere.test(name))

let scene: Scene | undefined
const opened: { close: () => unknown }[] = []

async function newScene(): Promise<Scene> {
  const tracker = await openInline({ maxConsumers: 2 })
  const log = new FaultLog({ seed: 1 })
  const sink = log.sink()
  const publisher = await cluster.publishEpochs(tracker.consumer('cluster'), {
    sink,
    everyMs: 60_000,
    namespaces: [0],
  })
  const first = cluster.openCluster({ source: log.source(), from: 'now' })
  await first.ready()
  const writer = tracker.openWriter()
  writer.mark(7)
  const epoch = await first.advanceEpoch()
  // Without nodes, so that a cut waits for none.
  const reader = cluster.openCluster({ source: new FaultLog({ seed: 1 }).source(), from: 'now' })
  writer.mark(8)
  const consumer = tracker.consumer('other', { from: 'now' })
  writer.mark('x')
  const messages = await consumer.consume((each) => each.encode())
  opened.push(publisher, first, reader)
  return { tracker, consumer, log, publisher, reader, epoch, messages }
}

async function endScene(): Promise<void> {
  for (const each of opened.splice(0)) await Promise.resolve(each.close()).catch(() => undefined)
  scene = undefined
}

afterEach(endScene)

const host = process as { send?: unknown }
const { send } = host
beforeAll(() => {
  host.send = undefined
})
afterAll(() => {
  host.send = send
})

function within<T>(promise: PromiseLike<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('no end of the call')), 5000)
    Promise.resolve(promise)
      .finally(() => clearTimeout(timer))
      .then(resolve, reject)
  })
}

function call({ owner, member }: Declared, on: object | undefined, args: unknown[]): unknown {
  return owner === undefined ? LIBRARY[member](...args) : (on as any)[member](...args)
}

/** Ends what a call has opened. */
async function end(result: any): Promise<void> {
  if (result instanceof cluster.ClusterEpoch) result.commit()
  else if (typeof result?.return === 'function') await result.return()
  else if (typeof result === 'function') result()
  else if (typeof result?.close === 'function') await within(result.close())
}

const isExpected = (error: any): boolean =>
  error instanceof OwnError ||
  // What the caller's own function throws when it is called.
  /^Class constructor |^Cannot perform 'apply' on a proxy/.test(error?.message) ||
  (typeof error?.code === 'string' &&
    error.code.startsWith('ERR_DIRTYRING_') &&
    ['TypeError', 'RangeError', 'DirtyRingError'].includes(error.name))

/** What went wrong when the function was called so: nothing, for most. */
async function problemOf(each: Declared, args: unknown[]): Promise<string | undefined> {
  try {
    await end(await within(Promise.resolve(call(each, valid[each.name].on?.(scene!), args))))
  } catch (error: any) {
    if (!isExpected(error)) return `threw ${String(error?.stack ?? error)}`
  }
  return undefined
}

describe('C11: odd values in a cluster', () => {
  it('there are valid arguments for everything that the entry points declare', () => {
    expect(declared.map(({ name }) => name).filter((name) => !(name in valid))).toEqual([])
    expect(declared.length).toBe(Object.keys(valid).length)
  })

  it('with the valid arguments every call works', async () => {
    const problems: string[] = []
    for (const each of declared) {
      scene ??= await newScene()
      const code = await Promise.resolve()
        .then(() => call(each, valid[each.name].on?.(scene!), valid[each.name].args(scene!)))
        .then(end)
        .catch((error: unknown) => (error as { code?: unknown }).code ?? error)
      await endScene()
      if (code !== refused[each.name]) problems.push(`${each.name}: ${String(code)}`)
    }
    expect(problems).toEqual([])
  })

  const positions = declared.flatMap((each) =>
    each.positions.map((position) => ({
      title: `${each.name}: ${position.label}`,
      each,
      position,
    })),
  )

  it.each(positions)('$title', async ({ each, position: { index, option } }) => {
    const { warn } = watching
    watching.warn = () => undefined
    const problems: string[] = []
    const proxied: Odd = [
      'a Proxy of what is valid',
      () => {
        const value: any = valid[each.name].args(scene!)[index]
        const part = option === undefined ? value : value[option]
        return typeof part === 'object' && part !== null ? new Proxy(part, {}) : part
      },
    ]
    for (const [name, make] of [...oddValues, proxied]) {
      scene ??= await newScene()
      const args = valid[each.name].args(scene)
      const odd = make()
      args[index] = option === undefined ? odd : { ...(args[index] as object), [option]: odd }
      const problem = await problemOf(each, args)
      if (problem === undefined) continue
      problems.push(`${name}: ${problem}`)
      await endScene()
    }
    watching.warn = warn
    expect(problems).toEqual([])
  })
})
