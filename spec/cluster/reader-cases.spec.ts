import { describe, expect, it } from '@jest/globals'
import { encodeBeatBody, encodeEpochBody } from '../../lib/cluster/body.js'
import { ENVELOPE_LAST_PART, KIND } from '../../lib/cluster/envelope.js'
import type { ClusterEpoch, ClusterOptions, ClusterReader } from '../../lib/cluster/index.js'
import { NAMELESS } from '../../lib/cluster/ledger.js'
import { encodeKeysOf, openReader, ScriptedNode, until } from '../support/cluster-nodes.js'
import { FaultLog } from '../support/fault-log.js'

const newLog = (isNamed = true): FaultLog => new FaultLog({ seed: 1, isNamed })
const keysOf = (epoch: ClusterEpoch<any>): unknown[] => [...epoch.listed()].sort()
const reasonsOf = (epoch: ClusterEpoch): unknown =>
  Object.fromEntries([...epoch.nodes].map(([node, { reason }]) => [node, reason]))
/** Times after which nodes are silent and gone, for specs that wait for it. */
const SOON = { silentMs: 20, goneMs: 60 }

async function openNow(
  log: FaultLog,
  options: Partial<ClusterOptions> = {},
): Promise<ClusterReader> {
  const reader = openReader(log, { from: 'now', ...options })
  await reader.ready()
  return reader
}

/** Waits until so many publishers are gone. */
function gone(reader: ClusterReader, count = 1): Promise<void> {
  return new Promise((resolve) => {
    let left = count
    reader.on('gone', () => {
      if (--left === 0) resolve()
    })
  })
}

/** What a loop hands out until it is ended. */
function collect(reader: ClusterReader): {
  epochs: ClusterEpoch[]
  keys: unknown[][]
  end: () => Promise<void>
} {
  const epochs: ClusterEpoch[] = []
  const keys: unknown[][] = []
  const controller = new AbortController()
  const run = (async () => {
    for await (const epoch of reader.epochs({ everyMs: 1, signal: controller.signal })) {
      keys.push(keysOf(epoch))
      epochs.push(epoch)
      epoch.commit()
    }
  })()
  return {
    epochs,
    keys,
    end: () => {
      controller.abort()
      return run
    },
  }
}

describe('two instances of one name (case 1)', () => {
  it('are both read, in any interleaving, and neither costs the other anything', async () => {
    const log = newLog()
    const old = new ScriptedNode(log, 'web').open()
    const reader = await openNow(log)
    await old.epoch([1])
    const young = new ScriptedNode(log, 'web').open()
    await young.epoch([2])
    await old.epoch([3]) // it drains, after its successor has begun
    await young.epoch([4])
    old.close()
    const epoch = await reader.advanceEpoch()
    expect([epoch.exact, keysOf(epoch)]).toEqual([true, [1, 2, 3, 4]])
    expect(epoch.nodes.get('web')?.instances.map(({ instance }) => instance)).toEqual([
      old.instance,
      young.instance,
    ])
  })
})

describe('a death without a successor (case 4)', () => {
  it('is told once to each reader, and then forgotten', async () => {
    const log = newLog()
    const node = new ScriptedNode(log, 'pod').open()
    node.die()
    const readers = [0, 1].map(() => {
      const reader = openReader(log, { from: 'now', ...SOON })
      const events: string[] = []
      reader.on('gone', ({ instance }) => events.push(instance))
      return { reader, events, isGone: gone(reader) }
    })
    for (const { reader, events, isGone } of readers) {
      await reader.ready()
      await isGone
      await reader.consume((epoch) => {
        expect([epoch.precision, epoch.reason]).toEqual(['everything', 'fault'])
        expect(reasonsOf(epoch)).toEqual({ pod: 'gone' })
      })
      await reader.consume((epoch) => expect([epoch.exact, epoch.nodes.size]).toEqual([true, 0]))
      expect([events, reader.nodes.size]).toEqual([[node.instance], 0])
    }
  })

  it('costs only the declared namespaces, and says since when', async () => {
    const log = newLog()
    const node = new ScriptedNode(log, 'pod').open([3, 5])
    node.declare([8])
    node.die()
    const reader = await openNow(log, SOON)
    await gone(reader)
    await reader.consume((epoch) => {
      expect([epoch.precision, epoch.reason]).toEqual(['exact', 'fault'])
      expect(epoch.everythingIn).toEqual([3, 5, 8])
      expect([epoch.hasPair(1, 5), epoch.hasPair(1, 6)]).toEqual([true, false])
      const [{ from, to, namespaces }] = epoch.nodes.get('pod')!.instances
      expect([from, namespaces]).toEqual([1000, [3, 5, 8]])
      expect(to).toBeGreaterThan(from)
    })
  })

  it('is not told of a node that is silent because the engine is away', async () => {
    const log = newLog()
    const node = new ScriptedNode(log, 'pod').open()
    const reader = await openNow(log, SOON)
    const [away, back] = (['away', 'back'] as const).map(
      (event) => new Promise<void>((resolve) => reader.on(event, () => resolve())),
    )
    log.goAway()
    await away
    await new Promise((resolve) => setTimeout(resolve, 3 * SOON.goneMs))
    await node.epoch([1])
    log.comeBack()
    await back
    expect(reader.nodes.size).toBe(1)
    expect(keysOf(await reader.advanceEpoch())).toEqual([1])
  })

  it('is told at once if the engine knows of it, and never of one that it says lives', async () => {
    const log = newLog()
    const [dead, quiet] = ['dead', 'quiet'].map((name) => new ScriptedNode(log, name).open())
    log.nodes = new Map([[quiet.instance, 'live']])
    const reader = await openNow(log, { goneMs: 300_000, silentMs: 20 })
    const isGone = gone(reader)
    log.nodes.set(dead.instance, 'gone')
    await isGone
    expect([...reader.nodes.keys()]).toEqual(['quiet'])
  })

  it('is a gap if the instance was only frozen, and speaks again', async () => {
    const log = newLog()
    const node = new ScriptedNode(log, 'pod').open()
    const reader = await openNow(log, { silentMs: 20, goneMs: 300 })
    const { epochs, keys: taken, end } = collect(reader)
    await until(() => epochs.length > 0)
    const [first, second] = await Promise.all([encodeKeysOf([1]), encodeKeysOf([2])])
    for (const keys of [first, second]) {
      const body = encodeEpochBody({ requests: [], tag: new Uint8Array(0), keys })
      node.send(KIND.EPOCH, body, { flags: ENVELOPE_LAST_PART })
      await until(() => epochs.filter(({ size }) => size > 0).length === (keys === first ? 1 : 2))
    }
    await end()
    expect(epochs.map((epoch, i) => [reasonsOf(epoch), taken[i]])).toEqual([
      [{ pod: 'gone' }, []],
      [{ pod: 'gap' }, [1]],
      [{ pod: undefined }, [2]],
    ])
  })
})

describe('a node that does not answer a cut (case 4)', () => {
  it('is missing in that epoch only, and nothing follows if its next number is the next', async () => {
    const log = newLog()
    const node = new ScriptedNode(log, 'slow').open()
    const reader = await openNow(log, { timeoutMs: 30 })
    node.answers = false
    await reader.consume((epoch) => {
      expect([epoch.precision, epoch.reason]).toEqual(['everything', 'fault'])
      expect(reasonsOf(epoch)).toEqual({ slow: 'missing' })
    })
    await node.epoch([1])
    const { epochs, keys, end } = collect(reader)
    await until(() => epochs.length > 0)
    await end()
    expect([epochs[0].exact, keys[0]]).toEqual([true, [1]])
  })

  it("ends the call with onMissing: 'wait', and nothing is consumed", async () => {
    const log = newLog()
    const node = new ScriptedNode(log, 'slow').open()
    const reader = await openNow(log, { timeoutMs: 30, onMissing: 'wait' })
    node.answers = false
    await node.epoch([1])
    await expect(reader.advanceEpoch()).rejects.toMatchObject({
      code: 'ERR_DIRTYRING_AWAY',
      message: expect.stringMatching(/node slow, instance 0.* did not answer/) as unknown,
    })
    node.answers = true
    const next = openReader(log, { since: reader.clock, onMissing: 'wait' })
    await next.consume((epoch) => expect([epoch.exact, keysOf(epoch)]).toEqual([true, [1]]))
  })

  it('is every node while the engine is away, and those that the reader cannot know', async () => {
    const log = newLog()
    new ScriptedNode(log, 'web').open([3])
    const reader = await openNow(log, { timeoutMs: 30 })
    log.goAway()
    const epoch = await reader.advanceEpoch()
    expect([epoch.precision, reasonsOf(epoch)]).toEqual([
      'everything',
      { web: 'missing', [NAMELESS]: 'missing' },
    ])
    const waiting = openReader(newLog())
    const never = openReader(log, { timeoutMs: 30 })
    await expect(never.advanceEpoch()).rejects.toMatchObject({ code: 'ERR_DIRTYRING_AWAY' })
    await waiting.consume(({ reason }) => expect(reason).toBe('fresh'))
  })
})

describe('a source that never reaches the end of the log', () => {
  it.each([
    ['begins anew with each read', true],
    ['finds nothing', false],
  ])(
    'ends the call after timeoutMs if it %s',
    async (_, lost) => {
      const log = newLog()
      await new ScriptedNode(log, 'web').open().epoch([3])
      const { messages } = log.read(undefined)
      const source = {
        ...log.source(),
        read: async () => {
          await new Promise((resolve) => setTimeout(resolve, 1))
          const found = lost ? messages : []
          return { messages: found, position: '0.1', atEnd: false, log: 'log-0', lost }
        },
      }
      const reader = openReader(log, { source, timeoutMs: 50 })
      await expect(reader.advanceEpoch()).rejects.toMatchObject({
        code: 'ERR_DIRTYRING_AWAY',
        message: expect.stringMatching(/the log has not answered for 50 ms/) as unknown,
      })
    },
    3000,
  )
})

describe('births (case 5)', () => {
  it('and clean ends of 200 instances cost no inexact epoch', async () => {
    const log = newLog()
    const reader = await openNow(log)
    const { epochs, end } = collect(reader)
    for (let i = 0; i < 200; i++) {
      const node = new ScriptedNode(log, `pod-${i}`).open()
      if (i % 20 === 0) await node.epoch([i])
      node.close()
    }
    await until(() => epochs.some(({ nodes }) => nodes.has('pod-180')) && reader.nodes.size === 0)
    await end()
    expect(epochs.every(({ exact }) => exact)).toBe(true)
    expect(reader.nodes.size).toBe(0)
  })

  it('are a gap if the reader meets the instance later than its first message', async () => {
    const log = newLog()
    const reader = await openNow(log)
    const node = new ScriptedNode(log, 'pod')
    node.skip()
    await node.epoch([1])
    const epoch = await reader.advanceEpoch()
    expect([epoch.precision, reasonsOf(epoch)]).toEqual(['everything', { pod: 'gap' }])
    expect(epoch.nodes.get('pod')?.instances[0].from).toBe(0)
  })

  it('and deaths are spread over the readers by spreadMs, but a cut has them at once', async () => {
    const log = newLog()
    new ScriptedNode(log, 'pod').open().die()
    const options = { ...SOON, spreadMs: 1e9 }
    const [kept, cut] = [0, 1].map(() => openReader(log, { from: 'now', ...options }))
    const { epochs, end } = collect(kept)
    const areGone = [kept, cut].map((reader) => gone(reader))
    await cut.ready()
    await Promise.all(areGone)
    await cut.consume((epoch) => expect(reasonsOf(epoch)).toEqual({ pod: 'gone' }))
    await end()
    expect(epochs).toEqual([])
    const other = new ScriptedNode(log, 'other').open()
    await other.epoch([1])
    other.close()
    const loop = kept.epochs({ everyMs: 0 })
    const { value } = await loop.next()
    const epoch = value as ClusterEpoch
    expect([epoch.exact, keysOf(epoch)]).toEqual([true, [1]])
    epoch.commit()
    await loop.return?.()
    // What is kept back is in the clock.
    const next = openReader(log, { since: kept.clock })
    await next.consume((each) => expect(reasonsOf(each)).toMatchObject({ pod: 'gone' }))
  })
})

describe('a numbered heartbeat (case 6)', () => {
  it('finds the tail that the engine has lost', async () => {
    const log = newLog()
    const node = new ScriptedNode(log, 'web').open()
    const reader = await openNow(log)
    const clock = reader.clock!
    await reader.close()
    await node.epoch([1])
    await node.epoch([2])
    log.forgetTail(2)
    node.answers = false
    node.beat()
    const next = openReader(log, { since: clock, timeoutMs: 30 })
    const { epochs, end } = collect(next)
    await until(() => epochs.length > 0)
    await end()
    expect(reasonsOf(epochs[0])).toEqual({ web: 'gap' })
  })

  it('finds a message that is gone from the middle of the log', async () => {
    const log = newLog()
    const nodes = ['a', 'b'].map((name) => new ScriptedNode(log, name).open())
    const reader = await openNow(log)
    const clock = reader.clock!
    await reader.close()
    await nodes[0].epoch([1])
    await nodes[1].epoch([2])
    log.lose(2)
    const next = openReader(log, { since: clock })
    await next.consume((epoch) => expect(reasonsOf(epoch)).toEqual({ a: 'gap', b: undefined }))
  })
})

describe('a tag (case 9)', () => {
  it('comes with the epoch: the newest of each node and of each instance', async () => {
    const log = newLog()
    const [a, b] = [new ScriptedNode(log, 'web').open(), new ScriptedNode(log, 'web').open()]
    const reader = await openNow(log)
    for (const [node, lsn] of [
      [a, 1],
      [b, 2],
      [a, 3],
    ] as const) {
      node.tag = Uint8Array.of(lsn)
      await node.epoch([lsn])
    }
    b.answers = a.answers = false
    for (const node of [a, b]) node.tag = new Uint8Array(0)
    const { epochs, end } = collect(reader)
    await until(() => epochs.length > 0)
    await end()
    const { tag, instances } = epochs[0].nodes.get('web')!
    expect([tag, instances.map((each) => each.tag)]).toEqual([
      Uint8Array.of(3),
      [Uint8Array.of(3), Uint8Array.of(2)],
    ])
  })
})

describe('messages of a later version (case 10)', () => {
  it('cost a loop one inexact epoch a minute with one warning, and a cut names the node', async () => {
    const log = newLog()
    const node = new ScriptedNode(log, 'new').open()
    const reader = await openNow(log)
    const warnings: string[] = []
    reader.on('warning', ({ message }) => warnings.push(message))
    const { epochs, end } = collect(reader)
    for (let i = 0; i < 50; i++) {
      node.send(KIND.EPOCH, new Uint8Array(3), { format: 2, flags: ENVELOPE_LAST_PART })
      if (i % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 2))
    }
    node.send(KIND.BEAT, new Uint8Array(9), { format: 2 })
    node.send(77, new Uint8Array(3))
    await node.epoch([1])
    await until(() => epochs.some((epoch) => epoch.size > 0))
    await end()
    expect(epochs.filter(({ exact }) => !exact)).toHaveLength(1)
    expect(warnings).toHaveLength(1)
    expect(warnings[0]).toMatch(/messages of new can't be read: .*format is 2/)
    const epoch = await reader.advanceEpoch()
    expect([epoch.precision, reasonsOf(epoch)]).toEqual(['everything', { new: 'gap' }])
  })
})

describe('a cut over all nodes (case 12)', () => {
  it('has what every node published before the call, or names the node (C17)', async () => {
    const log = newLog()
    const nodes = ['a', 'b', 'c'].map((name) => new ScriptedNode(log, name).open())
    const reader = await openNow(log, { timeoutMs: 60 })
    for (let round = 0; round < 10; round++) {
      nodes.forEach((node, i) => {
        node.pending = [10 * round + i]
        node.answers = i !== round % 4
      })
      await reader.consume((epoch) => {
        nodes.forEach((node, i) => {
          const isNamed = epoch.nodes.get(node.node)?.reason === 'missing'
          if (!isNamed) expect(keysOf(epoch)).toContain(10 * round + i)
          expect(isNamed || node.answers).toBe(true)
        })
      })
    }
  })

  it('knows a node that began before the call and that the reader has not read of yet', async () => {
    const log = newLog()
    const source = log.source()
    const { read } = source
    let isHeld = false
    const reader = openReader(log, {
      from: 'now',
      source: {
        ...source,
        async read(after, options) {
          // The node begins between the call and the read that it is found by.
          while (isHeld) await new Promise((resolve) => setTimeout(resolve, 1))
          return read(after, options)
        },
      },
    })
    await reader.ready()
    isHeld = true
    const node = new ScriptedNode(log, 'young').open()
    node.pending = [1]
    const epoch = reader.advanceEpoch()
    await new Promise((resolve) => setTimeout(resolve, 5))
    isHeld = false
    expect(keysOf(await epoch)).toEqual([1])
  })

  it('does not wait for a node that begins meanwhile', async () => {
    const log = newLog()
    const node = new ScriptedNode(log, 'old').open()
    node.answers = false
    const reader = await openNow(log, { timeoutMs: 100_000 })
    const epoch = reader.advanceEpoch()
    await until(() => node.requests.length > 0)
    await new Promise((resolve) => setTimeout(resolve, 20))
    const young = new ScriptedNode(log, 'young').open()
    young.answers = false
    node.beat([node.requests[0]])
    expect((await epoch).exact).toBe(true)
  })

  it('does not wait for a node that closes meanwhile, and is exact', async () => {
    const log = newLog()
    const node = new ScriptedNode(log, 'old').open()
    node.answers = false
    const reader = await openNow(log, { timeoutMs: 100_000 })
    const epoch = reader.advanceEpoch()
    await until(() => node.requests.length > 0)
    await node.epoch([1])
    node.close()
    expect([(await epoch).exact, keysOf(await epoch)]).toEqual([true, [1]])
  })

  it('repeats its request under one name until it is answered', async () => {
    const log = newLog()
    const node = new ScriptedNode(log, 'web').open()
    const reader = await openNow(log, { timeoutMs: 100_000 })
    log.rates = { ...log.rates, cutLost: 1 }
    const epoch = reader.advanceEpoch()
    await until(() => log.counts.cutLost >= 2)
    log.rates = { ...log.rates, cutLost: 0 }
    expect((await epoch).exact).toBe(true)
    expect(new Set(node.requests).size).toBe(1)
  })

  it('waits for a node whose answer was lost until it has timed out', async () => {
    const log = newLog()
    const node = new ScriptedNode(log, 'web').open()
    node.answers = false
    const reader = await openNow(log, { timeoutMs: 60 })
    node.beat(['another-request'])
    await reader.consume((epoch) => expect(reasonsOf(epoch)).toEqual({ web: 'missing' }))
  })

  it('does not wait for a node that was silent for silentMs', async () => {
    const log = newLog()
    const node = new ScriptedNode(log, 'web').open()
    node.answers = false
    const reader = await openNow(log, { timeoutMs: 1e9, silentMs: 20 })
    await until(() => reader.nodes.get('web')![0].silentMs >= 20)
    await reader.consume((epoch) => expect(reasonsOf(epoch)).toEqual({ web: 'missing' }))
  })
})

describe('an epoch in several parts (case 13)', () => {
  it('is in one epoch of the reader, and a clock never points between its parts', async () => {
    const log = newLog()
    const [big, small] = ['big', 'small'].map((name) => new ScriptedNode(log, name).open())
    const reader = await openNow(log, { timeoutMs: 30 })
    await big.epoch([1], { isLast: false })
    await small.epoch([2])
    await big.epoch([3], { isLast: false })
    big.answers = false
    const before = await reader.advanceEpoch()
    expect(keysOf(before)).toEqual([2])
    before.commit()
    // The reader dies here. Its successor reads the first parts again, and the other node's not.
    await reader.close()
    await big.epoch([4])
    big.answers = true
    const next = openReader(log, { since: before.clock })
    await next.consume((epoch) => {
      expect([epoch.exact, keysOf(epoch), reasonsOf(epoch)]).toEqual([
        true,
        [1, 3, 4],
        { big: undefined, small: undefined },
      ])
    })
  })

  it('of an instance that dies between them is handed out as far as it came', async () => {
    const log = newLog()
    const node = new ScriptedNode(log, 'big').open([7])
    const reader = await openNow(log, SOON)
    const isGone = gone(reader)
    await node.epoch([1], { isLast: false })
    node.die()
    await isGone
    await reader.consume((epoch) => {
      expect([keysOf(epoch), epoch.everythingIn, reasonsOf(epoch)]).toEqual([
        [1],
        [7],
        { big: 'gone' },
      ])
    })
  })

  it('with a part missing is a gap, and the parts that came are handed out', async () => {
    const log = newLog()
    const node = new ScriptedNode(log, 'big').open()
    const reader = await openNow(log)
    await node.epoch([1], { isLast: false })
    node.skip()
    await node.epoch([3])
    await reader.consume((epoch) => {
      expect([keysOf(epoch), epoch.precision]).toEqual([[1, 3], 'everything'])
    })
  })
})

describe('one number (case 18)', () => {
  it('with the same bytes again, after a lost acknowledgement, is read once', async () => {
    const log = newLog()
    const node = new ScriptedNode(log, 'web').open()
    const reader = await openNow(log)
    const bytes = await node.epoch([1])
    node.append(bytes, 1)
    await node.epoch([2])
    node.append(bytes, 1)
    await reader.consume((epoch) => expect([epoch.exact, keysOf(epoch)]).toEqual([true, [1, 2]]))
  })

  it('with other bytes is a gap: a snapshot of the process lives as well', async () => {
    const log = newLog()
    const node = new ScriptedNode(log, 'vm').open()
    const reader = await openNow(log)
    await node.epoch([1])
    const body = encodeEpochBody({
      requests: [],
      tag: new Uint8Array(0),
      keys: await encodeKeysOf([2]),
    })
    node.append(node.seal(KIND.EPOCH, body, { n: 1, flags: ENVELOPE_LAST_PART }), 1)
    await reader.consume((epoch) => {
      expect([epoch.precision, reasonsOf(epoch), keysOf(epoch)]).toEqual([
        'everything',
        { vm: 'gap' },
        [1, 2],
      ])
    })
  })
})

describe('the clock (case 19)', () => {
  it('names the instances that live and those that ended lately, and no others', async () => {
    const log = newLog()
    new ScriptedNode(log, 'stays').open()
    const reader = await openNow(log, SOON)
    log.nodes = new Map()
    const lengths: number[] = []
    for (let round = 0; round < 4; round++) {
      for (let i = 0; i < 100; i++) new ScriptedNode(log, `pod-${i}`).open().close()
      const last = new ScriptedNode(log, 'last').open()
      await gone(reader)
      last.die()
      await reader.consume(() => undefined)
      await new Promise((resolve) => setTimeout(resolve, 2 * SOON.goneMs))
      await reader.consume(() => undefined)
      lengths.push(reader.clock!.length)
    }
    expect(Math.max(...lengths)).toBeLessThan(300)
  })

  it('of too many instances is refused as fresh, with a warning when it is made', async () => {
    const log = newLog()
    for (let i = 0; i < 1500; i++) new ScriptedNode(log, `node-with-a-long-name-${i}`).open().die()
    const reader = openReader(log)
    const warnings: string[] = []
    reader.on('warning', ({ message }) => warnings.push(message))
    const epoch = await reader.advanceEpoch()
    epoch.commit()
    expect(epoch.clock.length).toBeLessThan(65_536)
    await until(() => warnings.length > 0)
    expect(warnings[0]).toBe(
      'the clock of this cluster would take more than 64 KiB, because there are too many ' +
        'instances: a reader that goes on from it is fresh',
    )
    expect(reader.clock).toBe(epoch.clock)
    const next = openReader(log, { since: reader.clock })
    await next.consume(({ reason }) => expect(reason).toBe('fresh'))
  })

  it('of another log is fresh', async () => {
    const [log, other] = [newLog(), newLog()]
    other.makeAnew()
    const reader = await openNow(log)
    const next = openReader(other, { since: reader.clock })
    await next.consume(({ reason, since }) => expect([reason, since]).toEqual(['fresh', undefined]))
    await next.consume(({ exact }) => expect(exact).toBe(true))
  })

  it('that holds an instance without a close judges by itself: the instance is gone', async () => {
    const log = newLog()
    new ScriptedNode(log, 'pod').open().die()
    const reader = await openNow(log)
    const { clock } = reader
    await reader.close()
    new ScriptedNode(log, 'pod').open() // a successor, of which nothing follows for the other one
    const next = openReader(log, { since: clock, ...SOON })
    const isGone = gone(next)
    await next.ready()
    await isGone
    await next.consume((epoch) => expect(epoch.precision).toBe('everything'))
  })
})

describe('what others write into the log (case 21)', () => {
  it('is dropped with a warning if it says that it is from another node', async () => {
    const log = newLog()
    const node = new ScriptedNode(log, 'web').open()
    const reader = await openNow(log)
    const warnings: string[] = []
    reader.on('warning', ({ message }) => warnings.push(message))
    const forged = node.seal(KIND.CLOSE, new Uint8Array(0), { n: 1 })
    for (let i = 0; i < 3; i++)
      log.inject({ node: 'evil', instance: 'f'.repeat(32), n: i, bytes: forged })
    node.pending = [1]
    await reader.consume((epoch) => expect([epoch.exact, keysOf(epoch)]).toEqual([true, [1]]))
    expect([reader.nodes.size, warnings.length]).toEqual([1, 1])
    expect(warnings[0]).toMatch(/says that it is from web, .* the engine says evil/)
  })

  it('counts as a missing message if it is damaged and the engine knows whose it is', async () => {
    const log = newLog()
    const node = new ScriptedNode(log, 'web').open()
    const reader = await openNow(log)
    const bytes = node.seal(KIND.BEAT, encodeBeatBody([]))
    bytes[50] ^= 1
    node.append(bytes)
    await reader.consume((epoch) => expect(epoch.exact).toBe(true)) // as the number 1 has come now
    node.n++
    node.append(bytes)
    node.skip()
    await reader.consume((epoch) => expect(reasonsOf(epoch)).toEqual({ web: 'gap' }))
  })

  it('is everything if its sender is not known, and names no node', async () => {
    const log = newLog(false)
    const reader = await openNow(log)
    log.inject({ node: 'x', instance: 'y', n: 0, bytes: new Uint8Array(100) })
    await reader.consume((epoch) => {
      expect([epoch.precision, reasonsOf(epoch)]).toEqual(['everything', { [NAMELESS]: 'gap' }])
    })
    await reader.consume((epoch) => expect(epoch.exact).toBe(true))
  })
})

describe("a reader's memory (case 22)", () => {
  it('has limits for text of its own', async () => {
    const log = newLog()
    const node = new ScriptedNode(log, 'web').open()
    const reader = await openNow(log, { maxStringsPerEpoch: 10 })
    const paths = Array.from({ length: 40 }, (_, i) => `/users/${i}`)
    for (const path of paths) await node.epoch([path])
    await reader.consume((epoch) => {
      expect([epoch.precision, epoch.size, epoch.reason]).toEqual(['superset', 10, 'overflow'])
      expect(paths.every(epoch.has, epoch)).toBe(true)
      expect(epoch.has('/other')).toBe(false)
    })
  })

  it('takes the filters of a small and a large node without losing either', async () => {
    const log = newLog()
    const [small, large] = ['small', 'large'].map((name) => new ScriptedNode(log, name).open())
    const reader = await openNow(log, { maxKeysPerEpoch: 2000 })
    const keys = Array.from({ length: 1500 }, (_, i) => 3 * i)
    await small.epoch(keys.slice(0, 30), { options: { maxKeysPerEpoch: 16 } })
    await large.epoch(keys.slice(30), { options: { maxKeysPerEpoch: 1024, laneCapacity: 4096 } })
    await reader.consume((epoch) => {
      expect([epoch.precision, reasonsOf(epoch)]).toEqual([
        'superset',
        { small: 'overflow', large: 'overflow' },
      ])
      expect(keys.every((key) => epoch.has(key))).toBe(true)
      expect(epoch.falsePositives).toBeLessThan(0.5)
    })
  })
})
