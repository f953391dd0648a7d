import { afterEach, describe, expect, it, jest } from '@jest/globals'
import { clockText } from '../../lib/cluster/clock.js'
import {
  type ClusterEpoch,
  type ClusterOptions,
  ClusterReader,
  openCluster,
} from '../../lib/cluster/index.js'
import type { EpochReader } from '../../lib/index.js'
import { DirtyRingError } from '../../lib/index.js'
import { openReader, ScriptedNode, until } from '../support/cluster-nodes.js'
import { FaultLog } from '../support/fault-log.js'

const newLog = (): FaultLog => new FaultLog({ seed: 1 })
const keysOf = (epoch: ClusterEpoch<any>): unknown[] => [...epoch.listed()].sort()

/** A reader of a log with one node, at the log's end. */
async function openWithNode(options: Partial<ClusterOptions> = {}): Promise<{
  log: FaultLog
  node: ScriptedNode
  reader: ClusterReader
}> {
  const log = newLog()
  const node = new ScriptedNode(log, 'web').open()
  const reader = openReader(log, { from: 'now', ...options })
  await reader.ready()
  return { log, node, reader }
}

afterEach(() => void jest.useRealTimers())

describe('openCluster()', () => {
  const source = newLog().source()
  it.each([
    [{}, /"options.source" must be an EpochSource, got undefined. Pass what natsSource\(\)/],
    [{ source: {} }, /"options.source.read" must be a function/],
    [{ source: null }, /"options.source" must be an EpochSource, got null/],
    [7, /"options" must be a plain object/],
    [{ source, sinse: 'x' }, /"options.sinse" is not an option. Did you mean "since"\?/],
    [{ source, since: 7 }, /"options.since" must be a string, or undefined, got 7/],
    [{ source, from: 'start' }, /"options.from" must be 'now', or undefined.*options.since/],
    [{ source, from: 'now', since: 'x' }, /Give one of the two/],
    [{ source, except: 'web-1' }, /"options.except" must be a publisher.*may have the same/],
    [{ source, except: [7] }, /"options.except\[0\]" must be a publisher/],
    [{ source, onMissing: 'ignore' }, /"options.onMissing" must be 'everything' or 'wait'/],
    [{ source, timeoutMs: -1 }, /"options.timeoutMs" must be a whole number from 0/],
    [{ source, silentMs: 0 }, /"options.silentMs" must be a whole number from 1/],
    [{ source, silentMs: 50, goneMs: 49 }, /"options.goneMs" must be a whole number from 50/],
    [{ source, spreadMs: 0.5 }, /"options.spreadMs" must be a whole number/],
    [
      { source, keys: 'text' },
      /"options.keys" must be 'any', 'string', 'number', 'bigint' or 'bytes', got "text"/,
    ],
    [{ source, maxKeysPerEpoch: 0 }, /"options.maxKeysPerEpoch" must be a whole number from 1/],
    [{ source, signal: {} }, /"options.signal" must be an AbortSignal/],
  ])('refuses %j', (options, error) => {
    expect(() => openCluster(options as never)).toThrow(error)
  })

  it.each([
    [null, 'ERR_DIRTYRING_INVALID_ARG', '', 'null'],
    [7, 'ERR_DIRTYRING_INVALID_ARG', '', '7'],
    ['web-1', 'ERR_DIRTYRING_OUT_OF_RANGE', '', '"web-1"'],
    [['f'.repeat(32), 'web'], 'ERR_DIRTYRING_OUT_OF_RANGE', '[1]', '"web"'],
    [{ instance: ['f'.repeat(32)] }, 'ERR_DIRTYRING_INVALID_ARG', '', 'an instance of Object'],
  ])('refuses %j as except', (except, code, place, got) => {
    const message =
      `"options.except${place}" must be a publisher, or its instance of 32 hexadecimal digits, ` +
      `got ${got}. A node's label will not do, because two processes may have the same.`
    expect(() => openCluster({ source, except } as never)).toThrow(
      expect.objectContaining({ code, message }),
    )
  })

  it.each(['any', 'string', 'number', 'bigint', 'bytes'] as const)(
    'takes keys: %j',
    async (keys) => {
      await openCluster({ source, keys }).close()
    },
  )

  it('reads nothing before the reader is used, and then closes the source once', async () => {
    const log = newLog()
    const own = log.source()
    const read = jest.spyOn(own, 'read')
    const close = jest.spyOn(own, 'close')
    const reader = openCluster({ source: own, from: 'now' })
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(read).not.toHaveBeenCalled()
    await reader.ready()
    expect(read).toHaveBeenCalled()
    await Promise.all([reader.close(), reader.close(), reader[Symbol.asyncDispose]()])
    expect(close).toHaveBeenCalledTimes(1)
  })

  it('types the keys by their kind', async () => {
    const log = newLog()
    const node = new ScriptedNode(log, 'web').open()
    const reader = openReader(log, { from: 'now', keys: 'string' })
    const generic: EpochReader<ClusterEpoch<string>> = reader
    await reader.ready()
    node.pending = ['a']
    const lengths = await generic.consume((epoch) => [...epoch].map((key) => key.length))
    expect(lengths).toEqual([1])
  })

  it('takes keys of another kind for a message that cannot be read, with a warning', async () => {
    const { node, reader } = await openWithNode({ keys: 'string' as never, timeoutMs: 300 })
    const warnings: string[] = []
    reader.on('warning', ({ message }) => warnings.push(message))
    node.pending = [7]
    const epoch = await reader.advanceEpoch()
    expect(epoch.nodes.get('web')?.reason).toBe('gap')
    expect(epoch.precision).toBe('everything')
    expect(warnings.join()).toMatch(/keys of the kind 'number', and this reader has 'string'/)
  })

  it('has no public constructor', () => {
    expect(() => Reflect.construct(ClusterReader, [])).toThrow(
      /ClusterReader.*Call openCluster\(\)/,
    )
  })
})

describe('the position of a cluster reader', () => {
  it('is nowhere without a clock: everything once, and after a commit exact', async () => {
    const log = newLog()
    const node = new ScriptedNode(log, 'web').open()
    await node.epoch([1])
    const reader = openReader(log)
    const first = await reader.advanceEpoch()
    expect([first.exact, first.reason, first.since, first.has(99)]).toEqual([
      false,
      'fresh',
      undefined,
      true,
    ])
    expect(first.nodes.get('web')?.reason).toBe('fresh')
    await first.restore()
    expect(reader.clock).toBe(undefined)
    const again = await reader.advanceEpoch()
    expect(again.reason).toBe('fresh')
    again.commit()
    expect(reader.clock).toBe(again.clock)
    node.pending = [2]
    const next = await reader.advanceEpoch()
    expect([next.exact, keysOf(next), next.since]).toEqual([true, [2], again.clock])
  })

  it('is the end of the log with from: now', async () => {
    const log = newLog()
    const node = new ScriptedNode(log, 'web').open()
    await node.epoch([1])
    node.skip()
    await node.epoch([2], { isLast: false })
    const reader = openReader(log, { from: 'now' })
    await reader.ready()
    expect(typeof reader.clock).toBe('string')
    await node.epoch([3])
    const epoch = await reader.advanceEpoch()
    // The epoch that was under way is published when its last part is.
    expect([epoch.exact, keysOf(epoch)]).toEqual([true, [2, 3]])
  })

  it('is gone on from by another reader, with nothing lost and nothing named', async () => {
    const { log, node, reader } = await openWithNode()
    node.pending = [1]
    const epoch = await reader.advanceEpoch()
    epoch.commit()
    await reader.close()
    await node.epoch([2])
    node.beat()
    node.pending = [3]
    const other = openReader(log, { since: epoch.clock })
    const next = await other.advanceEpoch()
    expect([next.exact, keysOf(next), next.since]).toEqual([true, [2, 3], epoch.clock])
    expect(next.nodes.get('web')?.reason).toBe(undefined)
  })

  it('moves at commit() and not at restore()', async () => {
    const { node, reader } = await openWithNode()
    const { clock } = reader
    node.pending = [1]
    const epoch = await reader.advanceEpoch()
    expect(reader.clock).toBe(clock)
    await epoch.restore()
    expect(reader.clock).toBe(clock)
    const again = await reader.advanceEpoch()
    expect(keysOf(again)).toEqual([1])
    again.commit()
    expect(reader.clock).toBe(again.clock)
    expect(again.clock).not.toBe(clock)
  })

  it.each([
    ['of a tracker', '0123456789abcdef.5', /not a cluster's clock/],
    ['that is damaged', clockText(new Uint8Array(40)), /damaged/],
    ['that is cut off', 'c1.AA', /damaged/],
    ['of too many instances', clockText(undefined), /more instances than/],
    ['that is too long', `c1.${'A'.repeat(65_536)}`, /65539 characters/],
  ])('is nowhere with a clock %s, with a warning', async (_, since, warning) => {
    const reader = openReader(newLog(), { since })
    const told = new Promise<string>((resolve) =>
      reader.on('warning', ({ message }) => resolve(message)),
    )
    expect(await told).toMatch(warning)
    const epoch = await reader.advanceEpoch()
    expect([epoch.reason, epoch.since]).toEqual(['fresh', undefined])
  })

  it.each(['trim', 'makeAnew', 'forgetTail'] as const)(
    'is lost after %s of the log: everything once, then exact',
    async (what) => {
      const { log, node, reader } = await openWithNode()
      await node.epoch([1])
      node.beat()
      const { clock } = await reader.advanceEpoch().then((epoch) => {
        epoch.commit()
        return epoch
      })
      await reader.close()
      node.beat()
      node.beat()
      if (what === 'trim') log.trim(log.length - 1)
      else if (what === 'makeAnew') log.makeAnew()
      else log.forgetTail(3)
      const other = openReader(log, { since: clock })
      await other.consume((epoch) => expect(epoch.reason).toBe('fresh'))
      node.pending = [2]
      const next = await other.advanceEpoch()
      expect(keysOf(next)).toContain(2)
    },
  )

  it('is lost while a reader runs, and a call that waits gets everything', async () => {
    const { log, node, reader } = await openWithNode()
    node.pending = [1]
    await reader.consume(() => undefined)
    log.makeAnew()
    const epoch = await reader.advanceEpoch()
    expect([epoch.reason, epoch.since, reader.clock]).toEqual(['fresh', undefined, undefined])
    epoch.commit()
    expect(reader.clock).toBe(epoch.clock)
  })
})

describe('the epochs of a cluster reader', () => {
  it('unite all nodes, without those of an excepted publisher', async () => {
    const log = newLog()
    const nodes = ['a', 'b', 'c'].map((name) => new ScriptedNode(log, name).open())
    const publisher = { instance: nodes[0].instance }
    const reader = openReader(log, { from: 'now', except: [publisher, nodes[1].instance] })
    await reader.ready()
    nodes.forEach((node, i) => (node.pending = [i, 7]))
    const epoch = await reader.advanceEpoch()
    expect([keysOf(epoch), [...epoch.nodes.keys()]]).toEqual([[2, 7], ['c']])
    expect([...reader.nodes.keys()]).toEqual(['c'])
  })

  it('leave a publisher out that an earlier reader did not leave out', async () => {
    const { log, node, reader } = await openWithNode()
    await reader.consume(() => undefined)
    node.answers = false
    const other = openReader(log, { since: reader.clock, except: node.instance })
    const epoch = await other.advanceEpoch()
    expect([epoch.exact, epoch.nodes.size]).toEqual([true, 0])
  })

  it('come one at a time: a call waits for the one before to be settled', async () => {
    const { node, reader } = await openWithNode()
    node.pending = [1]
    const first = await reader.advanceEpoch()
    await expect(reader.advanceEpoch({ onBusy: 'reject' })).rejects.toMatchObject({
      code: 'ERR_DIRTYRING_NO_EPOCH_SLOT',
      message: expect.stringContaining('restore() on epoch 0') as unknown,
    })
    const order: number[] = []
    const calls = [0, 1].map((i) =>
      reader.consume((epoch) => {
        order.push(i)
        return keysOf(epoch)
      }),
    )
    node.pending = [2]
    first.commit()
    expect(await Promise.all(calls)).toEqual([[2], []])
    expect(order).toEqual([0, 1])
  })

  it('that are empty need not be settled', async () => {
    const { node, reader } = await openWithNode()
    const empty = await reader.advanceEpoch()
    expect([empty.size, empty.exact, empty.state]).toEqual([0, true, 'sealed'])
    node.pending = [1]
    const next = await reader.advanceEpoch()
    expect(keysOf(next)).toEqual([1])
    next.commit()
    empty.commit() // an older one: the position does not go back
    expect(reader.clock).toBe(next.clock)
  })

  it('are given back when consume() throws, with their reasons', async () => {
    const { node, reader } = await openWithNode()
    node.skip()
    node.pending = [1]
    const error = new Error('disk full')
    await expect(reader.consume(() => Promise.reject(error))).rejects.toBe(error)
    await node.epoch([2])
    const epoch = await reader.advanceEpoch()
    expect([epoch.precision, epoch.nodes.get('web')?.reason]).toEqual(['everything', 'gap'])
    epoch.commit()
    await node.epoch([3])
    const next = await reader.advanceEpoch()
    expect([next.exact, keysOf(next)]).toEqual([true, [3]])
  })

  it('of a caller that does not read cost a fixed amount, and become a superset', async () => {
    const { node, reader } = await openWithNode({ maxKeysPerEpoch: 100 })
    for (let i = 0; i < 30; i++) await node.epoch([...Array(20).keys()].map((k) => 20 * i + k))
    await until(() => reader.lag.epochs === 30)
    expect(reader.lag).toMatchObject({ keys: 100, precision: 'superset' })
    const epoch = await reader.advanceEpoch()
    expect([epoch.precision, epoch.reason, epoch.size]).toEqual(['superset', 'overflow', 100])
    for (let key = 0; key < 600; key++) expect(epoch.has(key)).toBe(true)
    expect(reader.lag.epochs).toBe(31) // with the answer to the cut
    epoch.commit()
    expect(reader.lag).toMatchObject({ keys: 0, epochs: 0, precision: 'exact' })
  })

  it('pass a callback one argument, and take surplus ones', async () => {
    const { node, reader } = await openWithNode()
    node.pending = [1, 2]
    const use = jest.fn((epoch: ClusterEpoch) => [1, 2, 3].filter(epoch.has, epoch))
    expect(await reader.consume(use)).toEqual([1, 2])
    expect(use.mock.calls[0]).toHaveLength(1)
    await expect(reader.consume(7 as never)).rejects.toThrow(/"use" must be a function/)
    await expect(reader.advanceEpoch(7 as never)).rejects.toThrow(/"options" must be a plain/)
    expect(() => reader.epochs(7 as never)).toThrow(/"options" must be a plain/)
  })
})

describe('an abort', () => {
  it('before the call, in the queue and during the cut loses nothing', async () => {
    const { node, reader } = await openWithNode()
    await expect(reader.advanceEpoch({ signal: AbortSignal.abort(1) })).rejects.toBe(1)
    node.answers = false
    const controllers = [0, 1].map(() => new AbortController())
    const [cut, queued] = controllers.map(({ signal }) => reader.advanceEpoch({ signal }))
    await until(() => node.requests.length > 0)
    controllers[1].abort('queued')
    controllers[0].abort('cut')
    await expect(cut).rejects.toBe('cut')
    await expect(queued).rejects.toBe('queued')
    node.answers = true
    node.pending = [5]
    expect(keysOf(await reader.advanceEpoch())).toEqual([5])
  })

  it('of a call that comes too late changes nothing', async () => {
    const { node, reader } = await openWithNode()
    const controller = new AbortController()
    node.pending = [5]
    const epoch = await reader.advanceEpoch({ signal: controller.signal })
    controller.abort()
    expect(keysOf(epoch)).toEqual([5])
  })

  it('of ready() leaves the reader as it is', async () => {
    const log = newLog()
    log.goAway()
    const reader = openReader(log, { from: 'now' })
    const controller = new AbortController()
    const ready = reader.ready({ signal: controller.signal })
    controller.abort('too late')
    await expect(ready).rejects.toBe('too late')
    log.comeBack()
    await reader.ready()
    await reader.ready()
  })

  it('of the reader itself closes it, with its reason', async () => {
    const log = newLog()
    const controller = new AbortController()
    const reader = openReader(log, { from: 'now', signal: controller.signal })
    const node = new ScriptedNode(log, 'web').open()
    await reader.ready()
    node.answers = false
    const pending = reader.advanceEpoch()
    controller.abort('over')
    await expect(pending).rejects.toBe('over')
    await expect(reader.advanceEpoch()).rejects.toBe('over')
    const aborted = openReader(log, { signal: AbortSignal.abort('before') })
    await expect(aborted.ready()).rejects.toBe('before')
  })
})

describe('an epochs() loop of a cluster reader', () => {
  it('hands out what arrives without asking for cuts, and restores what is not settled', async () => {
    const { node, reader } = await openWithNode()
    const seen: unknown[][] = []
    await node.epoch([1])
    for await (const epoch of reader.epochs({ everyMs: 1 })) {
      seen.push(keysOf(epoch))
      if (seen.length === 1) await node.epoch([2])
      if (keysOf(epoch).length < 2) continue
      epoch.commit()
      break
    }
    expect(seen.at(-1)).toEqual([1, 2])
    expect(node.requests).toEqual([])
    expect(reader.lag.keys).toBe(0)
  })

  it('asks for cuts with cut: true', async () => {
    const { node, reader } = await openWithNode()
    node.pending = [1]
    for await (const epoch of reader.epochs({ everyMs: 1, cut: true })) {
      expect(keysOf(epoch)).toEqual([1])
      epoch.commit()
      break
    }
    expect(node.requests.length).toBeGreaterThan(0)
  })

  it('leaves out what is empty, and its position moves on all the same', async () => {
    const { log, node, reader } = await openWithNode()
    const { clock } = reader
    const loop = reader.epochs({ everyMs: 1 })
    const next = loop.next()
    node.beat()
    await until(() => reader.clock !== clock)
    await node.epoch([1])
    const { value } = await next
    expect(keysOf(value as ClusterEpoch)).toEqual([1])
    await loop.return?.()
    const other = openReader(log, { since: reader.clock })
    expect(keysOf(await other.advanceEpoch())).toEqual([1])
  })

  it('sleeps with whenDirty until something arrives', async () => {
    const { node, reader } = await openWithNode()
    const loop = reader.epochs({ everyMs: 0, whenDirty: true })
    const next = loop.next()
    node.beat()
    await node.epoch([1])
    const { value } = await next
    expect([(value as ClusterEpoch).id, keysOf(value as ClusterEpoch)]).toEqual([0, [1]])
    await loop.return?.()
  })

  it('owns the epochs: another loop and advanceEpoch() are refused meanwhile', async () => {
    const { node, reader } = await openWithNode()
    const loop = reader.epochs({ everyMs: 0, skipEmpty: false })
    await loop.next()
    const busy = { code: 'ERR_DIRTYRING_BUSY' }
    await expect(reader.advanceEpoch()).rejects.toMatchObject(busy)
    await expect(reader.consume(() => undefined)).rejects.toMatchObject(busy)
    await expect(reader.epochs({ everyMs: 0 }).next()).rejects.toMatchObject(busy)
    await loop.return?.()
    node.pending = [1]
    expect(keysOf(await reader.advanceEpoch())).toEqual([1])
  })

  it('ends at a throw in its body, and the epoch is given back', async () => {
    const { node, reader } = await openWithNode()
    await node.epoch([1])
    const error = new Error('body')
    const run = async (): Promise<void> => {
      for await (const epoch of reader.epochs({ everyMs: 0 })) {
        expect(keysOf(epoch)).toEqual([1])
        throw error
      }
    }
    await expect(run()).rejects.toBe(error)
    expect(keysOf(await reader.advanceEpoch())).toEqual([1])
  })

  it('ends without an error at close() and at an abort', async () => {
    const { reader } = await openWithNode()
    const controller = new AbortController()
    const loop = reader.epochs({ everyMs: 1000, signal: controller.signal })
    const next = loop.next()
    controller.abort()
    expect(await next).toEqual({ done: true, value: undefined })
    for (const whenDirty of [false, true]) {
      const { reader: other } = await openWithNode()
      const last = other.epochs({ everyMs: 0, whenDirty }).next()
      await other.close()
      expect(await last).toEqual({ done: true, value: undefined })
    }
  })

  it.each([
    [{ everyMs: -1 }, /"options.everyMs" must be a whole number/],
    [{ everyMs: 1, cut: 1 }, /"options.cut" must be a boolean/],
    [{ everyMs: 1, cuts: true }, /Did you mean "cut"\?/],
  ])('refuses %j at once', async (options, error) => {
    expect(() => openReader(newLog()).epochs(options as never)).toThrow(error)
  })
})

describe('the end of a cluster reader', () => {
  it('rejects what is pending, and leaves an epoch in hand readable', async () => {
    const { node, reader } = await openWithNode()
    node.pending = [1]
    const epoch = await reader.advanceEpoch()
    const pending = reader.advanceEpoch()
    await reader.close()
    await expect(pending).rejects.toMatchObject({ code: 'ERR_DIRTYRING_CLOSED' })
    await expect(reader.ready()).rejects.toMatchObject({ code: 'ERR_DIRTYRING_CLOSED' })
    await expect(reader.epochs({ everyMs: 0 }).next()).rejects.toMatchObject({
      code: 'ERR_DIRTYRING_CLOSED',
    })
    expect(keysOf(epoch)).toEqual([1])
    epoch.commit()
    expect(reader.clock).toBe(epoch.clock)
  })

  it('comes with an error of the source that is not for a while: calls and loops get it', async () => {
    for (const use of ['advanceEpoch', 'ready', 'loop'] as const) {
      const source = newLog().source()
      const error = new DirtyRingError('ERR_DIRTYRING_TOO_LARGE', 'no such stream')
      source.read = () => Promise.reject(error)
      const reader = openCluster({ source })
      const call = use === 'loop' ? reader.epochs({ everyMs: 0 }).next() : reader[use]()
      await expect(call).rejects.toBe(error)
      await expect(reader.advanceEpoch()).rejects.toBe(error)
    }
  })
})

describe('events of a cluster reader', () => {
  it('tell that the engine is away and back, once each, and nothing is lost', async () => {
    const { log, node, reader } = await openWithNode()
    const events: string[] = []
    reader.on('away', ({ error }) => events.push(error.message))
    const off = reader.on('back', ({ awayMs }) => events.push(awayMs > 0 ? 'back' : 'never'))
    log.goAway()
    await until(() => events.length > 0)
    await node.epoch([1])
    log.comeBack()
    await until(() => events.length > 1)
    expect(events).toEqual(['the engine does not answer', 'back'])
    off()
    expect(keysOf(await reader.advanceEpoch())).toEqual([1])
    expect(() => reader.on('gon' as never, () => undefined)).toThrow(/"event" must be 'warning'/)
  })
})

describe('a cluster reader under fake timers', () => {
  it('does all that it does in real time', async () => {
    jest.useFakeTimers()
    const log = newLog()
    const node = new ScriptedNode(log, 'web').open()
    const source = log.source()
    // The log's own waiting is under the fake timers, too.
    const { read } = source
    source.read = (after, { signal }) => read(after, { waitMs: 0, signal })
    const reader = openCluster({ source, from: 'now', timeoutMs: 1000 })
    await reader.ready()
    node.answers = false
    const late = await reader.advanceEpoch()
    expect(late.nodes.get('web')?.reason).toBe('missing')
    late.commit()
    node.answers = true
    node.pending = [1]
    expect(keysOf(await reader.advanceEpoch())).toEqual([1])
    await reader.close()
    expect(jest.getTimerCount()).toBe(0)
  })
})
