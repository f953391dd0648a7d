import { inspect } from 'node:util'
import { describe, expect, it } from '@jest/globals'
import { makeClusterEpoch } from '../../lib/cluster/epoch.js'
import { ClusterEpoch, type ClusterReader } from '../../lib/cluster/index.js'
import { namelessNews } from '../../lib/cluster/ledger.js'
import { KeyUnion } from '../../lib/cluster/union.js'
import type { Epoch, Key } from '../../lib/index.js'
import { openReader, ScriptedNode } from '../support/cluster-nodes.js'
import { FaultLog } from '../support/fault-log.js'

async function openWith(keys: Key[]): Promise<{
  log: FaultLog
  node: ScriptedNode
  reader: ClusterReader
  epoch: ClusterEpoch
}> {
  const log = new FaultLog({ seed: 1 })
  const node = new ScriptedNode(log, 'web').open()
  const reader = openReader(log, { from: 'now' })
  await reader.ready()
  node.pending = keys
  return { log, node, reader, epoch: await reader.advanceEpoch() }
}

/** Each member that reads keys. */
const READS: Record<string, (epoch: ClusterEpoch) => unknown> = {
  'for...of': (epoch) => [...epoch],
  listed: (epoch) => [...epoch.listed()],
  ids: (epoch) => [...epoch.ids()],
  strings: (epoch) => [...epoch.strings()],
  numbers: (epoch) => [...epoch.numbers()],
  texts: (epoch) => [...epoch.texts()],
  bigints: (epoch) => epoch.bigints,
  pairs: (epoch) => epoch.pairs,
  forEachPair: (epoch) => epoch.forEachPair(() => undefined),
  has: (epoch) => epoch.has(7),
  hasPair: (epoch) => epoch.hasPair(7, 0),
}

function thrownBy(call: () => unknown): unknown {
  try {
    call()
  } catch (error) {
    return error
  }
  return undefined
}

describe('the keys of a cluster epoch', () => {
  it('are read by every member that a sealed epoch has', async () => {
    const { epoch } = await openWith([7, 8])
    expect(epoch).toBeInstanceOf(ClusterEpoch)
    const any: Epoch = epoch
    expect([...any]).toEqual([7, 8])
    expect([...epoch.ids()]).toEqual([7, 8])
    expect([...epoch.numbers()]).toEqual([7, 8])
    expect([...epoch.bigints]).toEqual([7n, 8n])
    expect([...epoch.pairs]).toEqual([7, 0, 8, 0])
    const pairs: number[][] = []
    epoch.forEachPair((...pair) => pairs.push(pair))
    expect(pairs).toEqual([
      [7, 0, 0],
      [8, 0, 1],
    ])
    expect([epoch.has(7), epoch.has('7'), epoch.hasPair(8, 0), epoch.hasPair(8, 1)]).toEqual([
      true,
      false,
      true,
      false,
    ])
    expect([epoch.size, epoch.exact, epoch.reason, epoch.precision]).toEqual([
      2,
      true,
      undefined,
      'exact',
    ])
    expect([epoch.falsePositives, epoch.everythingIn, epoch.last, epoch.id]).toEqual([
      0,
      [],
      false,
      0,
    ])
  })

  it('come back as they were marked, texts and bytes too', async () => {
    const { epoch } = await openWith(['b', 'a', Uint8Array.of(1), 2 ** 40, 2n ** 63n, '\ud800'])
    expect([...epoch.numbers()]).toEqual([2 ** 40, 2n ** 63n])
    expect([...epoch.texts()]).toEqual(['a', 'b', '\ud800', Uint8Array.of(1)])
    expect(() => epoch.ids()).toThrow(/text keys/)
    expect(() => epoch.strings()).toThrow(/numeric keys/)
  })

  it('are not walked if the epoch is not exact, but asked for', async () => {
    const { node, reader, epoch } = await openWith([7])
    epoch.commit()
    node.skip()
    node.pending = [8]
    const inexact = await reader.advanceEpoch()
    for (const name of ['for...of', 'ids', 'strings', 'numbers', 'texts', 'bigints', 'pairs'])
      expect(thrownBy(() => READS[name](inexact))).toMatchObject({
        code: 'ERR_DIRTYRING_INEXACT',
        message: expect.stringMatching(/^epoch 1 is not exact \('fault'\)/) as unknown,
      })
    expect([...inexact.listed()]).toEqual([8])
    expect(inexact.has('anything')).toBe(true)
  })

  it.each(['commit', 'restore'] as const)('are gone after %s()', async (settle) => {
    const { epoch } = await openWith([7, 8])
    const walk = epoch[Symbol.iterator]()
    walk.next()
    await epoch[settle]()
    const error = {
      code: 'ERR_DIRTYRING_SETTLED',
      message: expect.stringMatching(/^epoch 0 is (committed|restored)/) as unknown,
    }
    for (const read of [...Object.values(READS), () => walk.next()])
      expect(thrownBy(() => read(epoch))).toMatchObject(error)
    expect([epoch.size, epoch.exact, epoch.state]).toEqual([
      2,
      true,
      settle === 'commit' ? 'committed' : 'restored',
    ])
  })

  it('keep their summary after restore(), when the reader adds to them', async () => {
    const { node, reader, epoch } = await openWith([7])
    await epoch.restore()
    node.pending = [8, 9]
    const next = await reader.advanceEpoch()
    expect([epoch.size, next.size]).toEqual([1, 3])
  })
})

describe('settling a cluster epoch', () => {
  it('counts once: later calls of either do nothing', async () => {
    const { reader, epoch } = await openWith([7])
    epoch.commit()
    epoch.commit()
    await epoch.restore()
    expect(epoch.state).toBe('committed')
    const next = await reader.advanceEpoch()
    expect(next.size).toBe(0)
    await next.restore()
    next.commit()
    expect([next.state, reader.clock]).toEqual(['restored', epoch.clock])
  })

  it('is restore() at the end of a using scope without commit()', async () => {
    for (const dispose of [Symbol.dispose, Symbol.asyncDispose] as const) {
      const { reader, epoch } = await openWith([7])
      await epoch[dispose]()
      expect(epoch.state).toBe('restored')
      expect([...(await reader.advanceEpoch())]).toEqual([7])
    }
  })

  it('has a clock that stays readable, of 64 KiB at most', async () => {
    const { epoch } = await openWith([7])
    const { clock } = epoch
    epoch.commit()
    expect(epoch.clock).toBe(clock)
    expect(clock).toMatch(/^c1\.[A-Za-z0-9_-]{50,300}$/)
  })

  it('shows itself in one line, and is made by the library only', async () => {
    const { epoch, reader } = await openWith([7])
    expect(inspect(epoch)).toBe("ClusterEpoch { id: 0, size: 1, exact: true, state: 'sealed' }")
    expect(inspect(reader)).toBe("ClusterReader { nodes: 1, keys: 1, precision: 'exact' }")
    expect(() => Reflect.construct(ClusterEpoch, [])).toThrow(
      /ClusterEpoch.*Call advanceEpoch\(\) of a cluster\./,
    )
  })
})

describe('the nodes of a cluster epoch', () => {
  it('are all that live, those that ended in it, and each has its stretch of time', async () => {
    const { log, node, reader, epoch } = await openWith([7])
    expect(epoch.nodes.get('web')).toEqual({
      reason: undefined,
      tag: undefined,
      instances: [
        {
          instance: node.instance,
          reason: undefined,
          from: 1000,
          to: 1001,
          namespaces: undefined,
          tag: undefined,
        },
      ],
    })
    epoch.commit()
    const other = new ScriptedNode(log, 'other').open([3])
    await other.epoch([8])
    other.close()
    const next = await reader.advanceEpoch()
    expect([...next.nodes.keys()]).toEqual(['web', 'other'])
    expect(next.nodes.get('web')?.instances[0]).toMatchObject({ from: 1001, to: 1002 })
    expect(next.nodes.get('other')?.instances[0]).toMatchObject({
      from: 1000,
      to: 1002,
      namespaces: [3],
    })
    next.commit()
    expect([...(await reader.advanceEpoch()).nodes.keys()]).toEqual(['web'])
  })

  it('say what a node itself says: its overflow is a superset of the whole epoch', async () => {
    const { node, reader, epoch } = await openWith([7])
    epoch.commit()
    await node.epoch([1, 2, 3, 4, 5, 6, 7, 8, 9], { options: { maxKeysPerEpoch: 4 } })
    const next = await reader.advanceEpoch()
    expect([next.precision, next.reason, next.nodes.get('web')?.reason]).toEqual([
      'superset',
      'overflow',
      'overflow',
    ])
  })

  it.each<[what: string, tags: readonly (readonly [index: number, tag: number])[], newest: number]>(
    [
      ['of one instance', [[1, 7]], 7],
      [
        'of one that was read first',
        [
          [2, 7],
          [1, 8],
        ],
        7,
      ],
      [
        'of one that was read last',
        [
          [2, 7],
          [3, 8],
          [1, 9],
        ],
        8,
      ],
      [
        'where the others have none',
        [
          [-1, 0],
          [1, 7],
          [-1, 0],
        ],
        7,
      ],
      [
        'of a later one, whatever is between',
        [
          [3, 7],
          [-1, 0],
          [2, 8],
        ],
        7,
      ],
      [
        'where none has one',
        [
          [-1, 0],
          [-1, 0],
        ],
        0,
      ],
    ],
  )('have the newest tag of their instances: %s', (_, tags, newest) => {
    const tagOf = (tag: number): Uint8Array | undefined =>
      tag === 0 ? undefined : Uint8Array.of(tag)
    const news = tags.map(([tagIndex, tag], i) => ({
      ...namelessNews('gap', 0, i),
      node: 'web',
      instance: `${i}`,
      tagIndex,
      tag: tagOf(tag),
    }))
    const { nodes } = makeClusterEpoch({
      ...{ id: 0, keys: new KeyUnion(), news, isFresh: false, since: undefined },
      ...{ clock: undefined, epochs: 1, asOfMs: 0 },
      keeper: { commit: () => undefined, restore: () => undefined },
    })

    expect(nodes.get('web')?.tag).toEqual(tagOf(newest))
    expect(nodes.get('web')?.instances.map(({ tag }) => tag)).toEqual(
      tags.map(([, tag]) => tagOf(tag)),
    )
  })
})
