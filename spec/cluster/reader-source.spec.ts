import { describe, expect, it, jest } from '@jest/globals'
import {
  type ClusterEpoch,
  type ClusterOptions,
  type ClusterReader,
  openCluster,
} from '../../lib/cluster/index.js'
import { NAMELESS } from '../../lib/cluster/ledger.js'
import type { EpochSource, LogRead } from '../../lib/cluster/log.js'
import { DirtyRingError } from '../../lib/index.js'
import { watching } from '../../lib/platform/watching.js'
import type { AbortSignalLike } from '../../lib/signal.js'
import { openReader, ScriptedNode, until } from '../support/cluster-nodes.js'
import { FaultLog } from '../support/fault-log.js'

const AWAY = new DirtyRingError('ERR_DIRTYRING_AWAY', 'the engine does not answer')
const keysOf = (epoch: ClusterEpoch): unknown[] => [...epoch.listed()].sort()
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
/** How long a promise takes. A busy machine only makes it longer. */
async function msOf(promise: Promise<unknown>): Promise<number> {
  const from = performance.now()
  await promise
  return performance.now() - from
}

/** Whether a promise is settled before `ms` are over. */
const isSettled = (promise: Promise<unknown>, ms: number): Promise<boolean> => {
  const yes = (): boolean => true
  return Promise.race([promise.then(yes, yes), sleep(ms).then(() => false)])
}

/** A source that answers a read when it is told to, with what a log has. */
class HandSource implements EpochSource {
  readonly log = new FaultLog({ seed: 1 })
  readonly requests: string[] = []
  /** It goes on with a read that was aborted. */
  isDeaf = false
  reads = 0
  /** Reads under way at once, at most. */
  most = 0
  pending: { waitMs: number; end: (found: LogRead | Error) => void } | undefined
  #underWay = 0
  #after: string | undefined
  #isClosed = false

  read(
    after: string | undefined,
    { waitMs, signal }: { waitMs: number; signal?: AbortSignalLike },
  ): Promise<LogRead> {
    this.reads++
    this.most = Math.max(this.most, ++this.#underWay)
    return new Promise<LogRead>((resolve, reject) => {
      const end = (found: LogRead | Error): void => {
        this.pending = undefined
        if (found instanceof Error) reject(found)
        else resolve(found)
      }
      this.pending = { waitMs, end }
      this.#after = after
      signal?.addEventListener('abort', () => {
        if (!this.isDeaf) end(AWAY)
      })
    }).finally(() => this.#underWay--)
  }

  nodes(): ReadonlyMap<string, 'live' | 'gone'> | undefined {
    return this.log.nodes
  }

  async requestCut(request: string): Promise<void> {
    this.requests.push(request)
    this.log.requestCut(request)
  }

  async close(): Promise<void> {
    this.#isClosed = true
  }

  /** Answers the read under way, and waits for the next one. */
  async answer(more: Partial<LogRead> = {}): Promise<void> {
    while (this.pending === undefined) await sleep(1)
    this.pending.end({ ...this.log.read(this.#after), ...more })
    await until(() => this.pending !== undefined || this.#isClosed)
  }
}

/** A reader whose reads are answered by hand. */
function open(options: Partial<ClusterOptions> = {}): {
  source: HandSource
  reader: ClusterReader
} {
  const source = new HandSource()
  return { source, reader: openReader(source.log, { source, ...options }) }
}

/** One at the end of a log that has a node's first message. */
async function openNow(options: Partial<ClusterOptions> = {}): Promise<{
  source: HandSource
  reader: ClusterReader
  node: ScriptedNode
}> {
  const { source, reader } = open({ from: 'now', ...options })
  const node = new ScriptedNode(source.log, 'web').open()
  const ready = reader.ready()
  await source.answer()
  await ready
  return { source, reader, node }
}

/** One that goes on from there. */
async function openSince(options: Partial<ClusterOptions> = {}): ReturnType<typeof openNow> {
  const { source, reader, node } = await openNow()
  await reader.close()
  const next = openReader(source.log, { source, since: reader.clock, ...options })
  return { source, reader: next, node }
}

/** A cut, whose reads are answered. */
async function cut(reader: ClusterReader, source: HandSource): Promise<ClusterEpoch> {
  let isOver = false
  const call = reader.advanceEpoch()
  const end = (): unknown => (isOver = true)
  void call.then(end, end)
  while (!isOver) {
    if (source.pending !== undefined) void source.answer()
    await sleep(1)
  }
  return call
}

describe('the reads of a cluster reader', () => {
  it('wait for messages unless a call waits for the log, and come one at a time', async () => {
    const { source, reader, node } = await openNow({ silentMs: 81 })
    expect(source.pending?.waitMs).toBe(11)
    expect((await openNow()).source.pending?.waitMs).toBe(1000)
    const other = open()
    void other.reader.ready().catch(() => undefined)
    expect(other.source.pending?.waitMs).toBe(0)
    node.answers = false
    const epoch = reader.advanceEpoch()
    await until(() => source.pending?.waitMs === 0)
    await source.answer()
    expect(source.pending?.waitMs).toBe(11)
    node.beat(source.requests)
    await source.answer()
    await epoch
    await reader.ready()
    expect(source.most).toBe(1)
  })

  it('that are answered after close() change nothing', async () => {
    const { source, reader, node } = await openNow()
    source.isDeaf = true
    node.close()
    new ScriptedNode(source.log, 'late').open()
    const { reads } = source
    await reader.close()
    await source.answer()
    await sleep(5)
    expect([[...reader.nodes.keys()], source.reads]).toEqual([['web'], reads])
  })

  it('are tried again less and less often while the engine is away', async () => {
    const { source, reader } = await openNow()
    const events: [string, number?][] = []
    reader.on('away', () => events.push(['away']))
    reader.on('back', ({ awayMs }) => events.push(['back', awayMs]))
    const from = performance.now()
    source.pending!.end(AWAY)
    await source.answer()
    const awayMs = performance.now() - from
    await source.answer()
    expect(events).toEqual([['away'], ['back', expect.any(Number)]])
    expect(events[1][1]).toBeGreaterThan(0)
    expect(events[1][1]).toBeLessThanOrEqual(awayMs)
    source.pending!.end(AWAY)
    await until(() => source.pending !== undefined)
    const { reads } = source
    const lateFrom = performance.now()
    source.pending!.end(AWAY)
    while (performance.now() - lateFrom < 20) {
      await sleep(1)
      if (source.pending !== undefined) source.pending.end(AWAY)
    }
    expect(source.reads - reads).toBeLessThanOrEqual((performance.now() - lateFrom) / 100)
    expect(events.slice(2)).toEqual([['away']])
  })

  it('keep the process alive in an outage only if a call waits', async () => {
    const timers = (): number =>
      process.getActiveResourcesInfo().filter((each) => each === 'Timeout').length
    const calls: [string, number, (reader: ClusterReader, node: ScriptedNode) => unknown][] = [
      ['none', 0, () => undefined],
      ['a call behind an epoch in hand', 1, () => undefined],
      ['a cut', 1, (reader) => void reader.advanceEpoch().catch(() => undefined)],
      ['ready()', 1, (reader) => void reader.ready().catch(() => undefined)],
      [
        'a loop',
        1,
        (reader) =>
          void reader
            .epochs({ everyMs: 0 })
            .next()
            .catch(() => undefined),
      ],
    ]
    const found: unknown[] = []
    for (const [name, , call] of calls) {
      const isFirst = name === 'ready()' || name === 'a loop'
      const { source, reader, node } = isFirst
        ? { ...open(), node: undefined as never }
        : await openNow()
      call(reader, node)
      if (name.endsWith('in hand')) {
        node.pending = [1]
        await cut(reader, source)
        void reader.advanceEpoch().catch(() => undefined)
      }
      await sleep(isFirst ? 5 : 0)
      await until(() => source.pending !== undefined)
      const away = new Promise((resolve) => reader.on('away', resolve))
      const before = timers()
      source.pending!.end(AWAY)
      await away
      const during = timers()
      void reader.close()
      found.push([name, during - before, timers() - before <= 0])
    }
    expect(found).toEqual(calls.map(([name, count]) => [name, count, true]))
  })
})

describe('a log that a cluster reader has lost', () => {
  it('is one with another name, although its source does not say so', async () => {
    const { source, reader, node } = await openNow()
    node.pending = [1]
    ;(await cut(reader, source)).commit()
    await node.epoch([2])
    await source.answer({ log: 'another', atEnd: false })
    node.answers = false
    const fresh = reader.advanceEpoch()
    await until(() => source.pending?.waitMs === 0)
    await source.answer({ log: 'another' })
    const epoch = await fresh
    expect([epoch.reason, epoch.since, epoch.size]).toEqual(['fresh', undefined, 0])
    expect(source.requests).toHaveLength(1) // a fresh reader needs no answers
    await epoch.restore()
    expect(reader.clock).toBe(undefined)
    const again = await cut(reader, source)
    expect([again.reason, again.since]).toEqual(['fresh', undefined])
  })

  it('costs a reader nothing that has not reached its end yet, with from: now', async () => {
    const { source, reader } = open({ from: 'now' })
    const ready = reader.ready()
    await source.answer({ lost: true, atEnd: false })
    await source.answer({ lost: true })
    await ready
    const epoch = await cut(reader, source)
    expect([epoch.exact, typeof reader.clock]).toEqual([true, 'string'])
  })

  it('makes it fresh while its first epoch is in hand', async () => {
    const { source, reader } = open()
    const first = await cut(reader, source)
    await source.answer({ lost: true })
    first.commit()
    expect((await cut(reader, source)).reason).toBe('fresh')
  })

  it('is read to its end before a cut that was under way ends', async () => {
    const { source, reader, node } = await openNow()
    node.answers = false
    const epoch = reader.advanceEpoch()
    await until(() => source.pending?.waitMs === 0)
    await source.answer()
    await source.answer({ lost: true, atEnd: false })
    expect(await isSettled(epoch, 5)).toBe(false)
    await source.answer()
    expect((await epoch).reason).toBe('fresh')
  })
})

describe('a cluster reader that is closed', () => {
  it('takes nothing back, and stays where it was', async () => {
    const { source, reader } = open()
    const fresh = await cut(reader, source)
    await reader.close()
    await fresh.restore()
    expect([reader.clock, reader.lag.keys]).toEqual([undefined, 0])
    const other = await openNow()
    const { clock } = other.reader
    other.node.pending = [1]
    const epoch = await cut(other.reader, other.source)
    await other.reader.close()
    expect(other.reader.lag).toMatchObject({ keys: 1, epochs: 1 })
    await epoch.restore()
    expect(other.reader.lag).toMatchObject({ keys: 0, epochs: 0 })
    expect(other.reader.clock).toBe(clock)
  })

  it('says so to calls, but not to a loop that is over', async () => {
    const { reader } = open()
    const message = 'the reader of this cluster is closed'
    await reader.close()
    await expect(reader.advanceEpoch()).rejects.toThrow(message)
    const signal = AbortSignal.abort()
    expect(await reader.epochs({ everyMs: 0, signal }).next()).toMatchObject({ done: true })
  })

  it('is one that is disposed of, too', async () => {
    for (const member of [Symbol.dispose, Symbol.asyncDispose] as const) {
      const { reader } = open()
      await reader[member]()
      await expect(reader.advanceEpoch()).rejects.toMatchObject({ code: 'ERR_DIRTYRING_CLOSED' })
    }
  })

  it('leaves no listener on its signal, nor does a loop', async () => {
    const listeners: unknown[] = []
    const signal = {
      aborted: false,
      addEventListener: (type: string, each: unknown) => void listeners.push(type, each),
      removeEventListener: (type: string, each: unknown) => {
        const at = listeners.indexOf(each)
        if (at > 0 && listeners[at - 1] === type) listeners.splice(at - 1, 2)
      },
    }
    const { source, reader, node } = await openNow({ signal })
    await node.epoch([1])
    const loop = reader.epochs({ everyMs: 0, whenDirty: true, signal })
    const next = loop.next()
    await sleep(1)
    await source.answer()
    await next
    expect(listeners).toHaveLength(2)
    await loop.return?.()
    expect(listeners.filter((each) => each !== 'abort')).toHaveLength(1)
    await reader.close()
    expect(listeners).toEqual([])
  })
})

describe('a loop over what a cluster reader has', () => {
  it('makes no epoch while nothing comes, and one for what comes without keys', async () => {
    const { source, reader, node } = await openSince()
    const { clock } = reader
    const loop = reader.epochs({ everyMs: 0 })
    const next = loop.next()
    await source.answer()
    await sleep(5)
    await source.answer()
    await sleep(5)
    expect(reader.clock).toBe(clock)
    await node.epoch([1])
    await source.answer()
    const { value } = (await next) as { value: ClusterEpoch }
    expect([value.id, keysOf(value)]).toEqual([0, [1]])
    value.commit()
    const after = reader.clock
    const later = loop.next()
    await sleep(5)
    expect(reader.clock).toBe(after)
    node.beat()
    await source.answer()
    await until(() => reader.clock !== after)
    await node.epoch([2])
    await source.answer()
    expect((await later).value).toMatchObject({ id: 2 })
    await loop.return?.()
  })

  it('sleeps with whenDirty while nothing comes, but not while there is a loss', async () => {
    const { source, reader, node } = await openNow()
    const loop = reader.epochs({ everyMs: 0, whenDirty: true, skipEmpty: false })
    const next = loop.next()
    await source.answer()
    await source.answer()
    expect(await isSettled(next, 5)).toBe(false)
    node.skip()
    node.beat()
    await source.answer()
    const { value } = (await next) as { value: ClusterEpoch }
    expect([value.id, value.nodes.get('web')?.reason]).toEqual([0, 'gap'])
    await loop.return?.()
    const fresh = open()
    const first = fresh.reader.epochs({ everyMs: 0, whenDirty: true }).next()
    await fresh.source.answer()
    expect((await first).value).toMatchObject({ reason: 'fresh' })
  }, 3000)

  it('hands nothing out before a fresh reader has reached the end, and then knows all', async () => {
    const { source, reader } = open()
    await new ScriptedNode(source.log, 'web').open().epoch([1])
    const loop = reader.epochs({ everyMs: 0 })
    const next = loop.next()
    await source.answer({ atEnd: false })
    expect(await isSettled(next, 5)).toBe(false)
    await source.answer()
    const { value } = (await next) as { value: ClusterEpoch }
    expect([value.reason, value.nodes.has('web'), value.nodes.has(NAMELESS)]).toEqual([
      'fresh',
      true,
      false,
    ])
    const other = open().reader.epochs({ everyMs: 0 })
    const never = other.next()
    await sleep(5)
    await other.return?.()
    expect(await never).toMatchObject({ done: true })
  }, 3000)

  it('hands out a loss that is kept back when it is due, without a message', async () => {
    const { source, reader, node } = await openNow({ spreadMs: 20 })
    source.log.nodes = new Map([[node.instance, 'gone' as const]])
    const next = reader.epochs({ everyMs: 0 }).next()
    await source.answer()
    const { value } = (await next) as { value: ClusterEpoch }
    expect(value.nodes.get('web')?.reason).toBe('gone')
  }, 3000)

  it('wakes with whenDirty for a loss that is kept back, and for nothing else, while no read is answered', async () => {
    jest.spyOn(crypto, 'getRandomValues').mockImplementation((words) => {
      ;(words as Uint32Array).fill(2 ** 31)
      return words
    })
    const loops = []
    for (const isLost of [true, false]) {
      const { source, reader, node } = await openNow({ spreadMs: 200 })
      const loop = reader.epochs({ everyMs: 0, whenDirty: true, skipEmpty: false })
      loops.push(loop.next())
      if (isLost) source.log.nodes = new Map([[node.instance, 'gone' as const]])
      await source.answer()
    }
    jest.restoreAllMocks()
    const [lost, idle] = loops
    expect(await isSettled(lost, 50)).toBe(false)
    expect((await lost).value.nodes.get('web')?.reason).toBe('gone')
    expect(await isSettled(idle, 200)).toBe(false)
  }, 5000)

  it('yields what is empty each time with skipEmpty: false', async () => {
    const { reader } = await openNow()
    const loop = reader.epochs({ everyMs: 0, skipEmpty: false })
    for (const id of [0, 1, 2]) expect((await loop.next()).value).toMatchObject({ id, size: 0 })
    await loop.return?.()
  }, 3000)

  it('asks for a cut each time with cut: true, although nothing has come', async () => {
    const { source, reader, node } = await openNow()
    const loop = reader.epochs({ everyMs: 0, cut: true })
    for (const key of [1, 2]) {
      node.pending = [key]
      const next = loop.next()
      let isOver = false
      void next.finally(() => (isOver = true))
      while (!isOver) {
        if (source.requests.length > 0 && source.pending !== undefined) void source.answer()
        await sleep(1)
      }
      const { value } = (await next) as { value: ClusterEpoch }
      expect(keysOf(value)).toEqual([key])
      value.commit()
    }
    await loop.return?.()
  }, 3000)

  it('waits for everyMs before each epoch, also after a slow body and a sleep', async () => {
    const { reader, node, source } = await openNow()
    const loop = reader.epochs({ everyMs: 100, skipEmpty: false })
    expect(await msOf(loop.next())).toBeGreaterThan(20)
    await sleep(220)
    await loop.next() // it was due while the body ran
    expect(await msOf(loop.next())).toBeGreaterThan(20)
    await loop.return?.()
    const dirty = reader.epochs({ everyMs: 60, whenDirty: true })
    const next = dirty.next()
    await node.epoch([1])
    await source.answer()
    expect(await msOf(next)).toBeGreaterThan(20)
    await dirty.return?.()
  })

  it.each([false, true])(
    'ends at once if its body aborts it, whenDirty: %s',
    async (whenDirty) => {
      const { source, reader, node } = await openNow()
      await node.epoch([1])
      await source.answer()
      const controller = new AbortController()
      const { signal } = controller
      const everyMs = whenDirty ? 0 : 60
      const loop = reader.epochs({ everyMs, whenDirty, signal })
      const { value } = (await loop.next()) as { value: ClusterEpoch }
      value.commit()
      controller.abort()
      const next = loop.next()
      expect(await isSettled(next, 20)).toBe(true)
      expect(await next).toMatchObject({ done: true })
      const sleeping = new AbortController()
      const other = reader.epochs({ everyMs: 0, whenDirty: true, signal: sleeping.signal }).next()
      await sleep(2)
      sleeping.abort()
      expect(await other).toMatchObject({ done: true })
    },
    3000,
  )

  it('owns the epochs from its begin to its end, however it ends', async () => {
    const { reader, node } = await openNow({ onMissing: 'wait', timeoutMs: 10 })
    const controller = new AbortController()
    const first = reader.epochs({ everyMs: 1000, signal: controller.signal }).next()
    controller.abort()
    const second = reader.epochs({ everyMs: 1000 })
    const next = second.next()
    await first
    await expect(reader.advanceEpoch()).rejects.toThrow(
      'a running epochs() loop owns the epochs of this cluster reader. An iterator that was ' +
        'dropped without return() goes on owning them: call its return(). Another loop needs a ' +
        'reader of its own',
    )
    await second.return?.()
    await next
    node.answers = false
    const away = { code: 'ERR_DIRTYRING_AWAY' }
    await expect(reader.epochs({ everyMs: 0, cut: true }).next()).rejects.toMatchObject(away)
    await expect(reader.advanceEpoch()).rejects.toMatchObject(away)
  })
})

describe('a cut of a cluster reader', () => {
  it('is refused with onBusy only while another call or an epoch is there', async () => {
    const { source, reader, node } = await openNow()
    const refused = async (why: string): Promise<void> => {
      await expect(reader.advanceEpoch({ onBusy: 'reject' })).rejects.toThrow(
        `a cluster reader has one epoch at a time. ${why}`,
      )
    }
    node.answers = false
    const controller = new AbortController()
    const first = reader.advanceEpoch({ onBusy: 'reject', signal: controller.signal })
    await refused('An earlier call waits for one')
    controller.abort('enough')
    await expect(first).rejects.toBe('enough')
    node.answers = true
    node.pending = [1]
    const epoch = await cut(reader, source)
    await refused('Call commit() or restore() on epoch 0 before')
    void reader.advanceEpoch().catch(() => undefined)
    await refused('Call commit() or restore() on epoch 0 before')
    epoch.commit()
  })

  it('goes on when a call behind it is aborted, also behind an epoch in hand', async () => {
    const { source, reader, node } = await openNow()
    node.answers = false
    const controller = new AbortController()
    const first = reader.advanceEpoch()
    const queued = reader.advanceEpoch({ signal: controller.signal })
    controller.abort('queued')
    await expect(queued).rejects.toBe('queued')
    await until(() => source.pending?.waitMs === 0)
    await source.answer()
    await node.epoch([1], { requests: source.requests })
    await source.answer()
    const epoch = await first
    expect(keysOf(epoch)).toEqual([1])
    const later = new AbortController()
    const behind = reader.advanceEpoch({ signal: later.signal })
    later.abort('behind')
    await expect(behind).rejects.toBe('behind')
    epoch.commit()
  }, 3000)

  it('takes an abort that comes too late for none, whatever the signal keeps', async () => {
    const { source, reader, node } = await openNow()
    const listeners: (() => void)[] = []
    const signal = {
      aborted: false,
      addEventListener: (_: string, each: () => void) => void listeners.push(each),
      removeEventListener: () => undefined,
    }
    node.pending = [1]
    const call = reader.advanceEpoch({ signal })
    await until(() => source.pending?.waitMs === 0)
    await until(() => node.n > 1)
    await source.answer()
    const epoch = await call
    const next = cut(reader, source)
    for (const listener of listeners) listener()
    epoch.commit()
    expect((await next).id).toBe(1)
  }, 3000)

  it('asks again every 250 ms while the log does not answer, and refuses after timeoutMs', async () => {
    const { source, reader } = await openNow({ onMissing: 'wait', timeoutMs: 700 })
    await expect(reader.advanceEpoch()).rejects.toThrow(
      'the log has not answered for 700 ms (timeoutMs). ' +
        "Call again, or open the cluster with onMissing: 'everything'",
    )
    expect(source.requests.length).toBeGreaterThan(1)
    expect(source.requests.length).toBeLessThan(5) // a timer may fire a little early
    expect(new Set(source.requests).size).toBe(1)
  }, 3000)

  it('waits no longer than timeoutMs, asks once meanwhile, and not afterwards', async () => {
    const { source, reader } = await openNow({ timeoutMs: 20 })
    const epoch = await reader.advanceEpoch()
    expect(epoch.nodes.has(NAMELESS)).toBe(true)
    const { length } = source.requests
    expect(length).toBeLessThan(4)
    await sleep(10)
    expect(source.requests).toHaveLength(length)
  }, 3000)

  it('waits on while it comes nearer to the end of the log', async () => {
    const { source, reader, node } = await openNow({ timeoutMs: 600, onMissing: 'wait' })
    node.answers = false
    const epoch = reader.advanceEpoch()
    await until(() => source.pending?.waitMs === 0)
    for (let i = 0; i < 6; i++) {
      await sleep(120)
      node.beat()
      await source.answer({ atEnd: false })
    }
    await source.answer()
    node.beat(source.requests.slice(0, 1))
    await source.answer()
    expect((await epoch).exact).toBe(true)
  })

  it('names those that did not answer', async () => {
    for (const [names, others] of [
      [['a'], ''],
      [['a', 'b', 'c'], ' and 2 more'],
    ] as const) {
      const { source, reader } = open({ from: 'now', onMissing: 'wait', timeoutMs: 60 })
      const nodes = names.map((name) => new ScriptedNode(source.log, name).open())
      for (const node of nodes) node.answers = false
      const ready = reader.ready()
      await source.answer()
      await ready
      const { message } = (await cut(reader, source).catch((error: unknown) => error)) as Error
      expect(message.replace(/\d+ ms ago/, 'x ms ago')).toBe(
        `node a, instance ${nodes[0].instance},${others} did not answer the cut; ` +
          "its last message came x ms ago. Call again, or open the cluster with onMissing: 'everything'",
      )
    }
  })

  it('of a fresh reader needs no answer, also with onMissing: wait', async () => {
    const { source, reader } = open({ onMissing: 'wait' })
    new ScriptedNode(source.log, 'web').open().answers = false
    expect((await cut(reader, source)).reason).toBe('fresh')
    expect(source.requests).toEqual([])
  })

  it('takes an answer to the cut of another reader for nothing', async () => {
    const { source, reader, node } = await openNow()
    const warnings: string[] = []
    reader.on('warning', ({ message }) => warnings.push(message))
    node.beat(['another'])
    await source.answer()
    await sleep(1)
    expect(warnings).toEqual([])
    expect((await cut(reader, source)).exact).toBe(true)
  })

  it('that was empty leaves the epoch in hand alone when it is settled', async () => {
    const { source, reader, node } = await openNow()
    const empty = await cut(reader, source)
    const restored = await cut(reader, source)
    node.pending = [1]
    const epoch = await cut(reader, source)
    empty.commit()
    await restored.restore()
    await expect(reader.advanceEpoch({ onBusy: 'reject' })).rejects.toThrow('on epoch 2 before')
    epoch.commit()
    const [{ from }] = (await cut(reader, source)).nodes.get('web')!.instances
    expect(from).toBe(epoch.nodes.get('web')!.instances[0].to)
  })
})

describe('what a cluster reader says of itself', () => {
  it('is in its lag: how much waits and for how long, in hand or not', async () => {
    const { source, reader, node } = await openNow()
    expect(open({ from: 'now' }).reader.lag.ms).toBeGreaterThanOrEqual(0)
    await source.answer()
    await sleep(20)
    await source.answer()
    await source.answer()
    const idle = reader.lag
    expect(idle).toMatchObject({ keys: 0, epochs: 0, precision: 'exact' })
    await node.epoch([1])
    await source.answer()
    const waiting = reader.lag
    expect(waiting).toMatchObject({ keys: 1, epochs: 1, precision: 'exact' })
    node.skip()
    await node.epoch([2])
    await source.answer()
    const loop = reader.epochs({ everyMs: 0 })
    const { value } = (await loop.next()) as { value: ClusterEpoch }
    const inHand = reader.lag
    expect(inHand).toMatchObject({ keys: 2, epochs: 2, precision: 'everything' })
    for (const { ms } of [waiting, inHand]) expect(ms - idle.ms).toBeGreaterThan(15)
    value.commit()
    expect(reader.lag).toMatchObject({ keys: 0, epochs: 0, precision: 'exact' })
    await loop.return?.()
    const fresh = open()
    await sleep(20)
    const first = fresh.reader.ready()
    await fresh.source.answer()
    await first
    await fresh.source.answer()
    expect(fresh.reader.lag).toMatchObject({ keys: 0, epochs: 0, precision: 'everything' })
    expect(fresh.reader.lag.ms).toBeGreaterThan(15)
  })

  it('is in its clock, its nodes, and in one line', async () => {
    expect(open({ from: 'now' }).reader.clock).toBe(undefined)
    const { source, reader } = await openNow()
    const second = new ScriptedNode(source.log, 'web').open()
    await second.epoch([1])
    await source.answer()
    expect(reader.nodes.get('web')).toHaveLength(2)
    expect((reader as any)[Symbol.for('nodejs.util.inspect.custom')]()).toBe(
      "ClusterReader { nodes: 1, keys: 1, precision: 'exact' }",
    )
  })

  it('is a warning of the process only without a listener', async () => {
    const warn = jest.spyOn(watching, 'warn').mockImplementation(() => undefined)
    const source = new FaultLog({ seed: 1 }).source()
    const message =
      "the stored clock can't be used, because it is not a cluster's clock: all keys count as dirty"
    const silent = openCluster({ source, since: 'x' })
    await sleep(1)
    expect(warn.mock.calls).toEqual([[`dirtyring: ${message}`]])
    const told: string[] = []
    const heard = openCluster({ source, since: 'x' })
    heard.on('warning', (warning) => told.push(warning.message))
    await sleep(1)
    expect([warn.mock.calls.length, told]).toEqual([1, [message]])
    warn.mockRestore()
    await Promise.all([silent.close(), heard.close()])
  })
})
