import { expect, it } from '@jest/globals'
import { openCluster, publishEpochs } from '../../lib/cluster/index.js'
import type { EpochSink, EpochSource } from '../../lib/cluster/log.js'
import { DirtyTracker } from '../../lib/index.js'

/** An engine of the moment. */
interface Over {
  sink(): EpochSink
  source(): EpochSource
}

/** A node: a tracker in this thread, and its publisher. */
async function nodeOver(over: Over, node: string) {
  const tracker = await DirtyTracker.create({ aggregator: 'inline', maxConsumers: 1 })
  const publisher = await publishEpochs(tracker.consumer('cluster'), {
    node,
    sink: over.sink(),
    everyMs: 10,
  })
  const writer = tracker.openWriter()
  return {
    publisher,
    mark: (key: number | bigint) => writer.mark(key),
    async end() {
      await tracker.stop()
      await publisher.close()
    },
  }
}

/** Specs of publishers and readers over an engine, whichever it is. */
export function itCarriesACluster(over: () => Over): void {
  it('two publishers with one name are both heard, and neither disturbs the other', async () => {
    const engine = over()
    const reader = openCluster({ source: engine.source(), from: 'now' })
    await reader.ready()
    const nodes = [await nodeOver(engine, 'same'), await nodeOver(engine, 'same')]
    nodes.forEach((node, i) => node.mark(i + 1))
    await reader.consume((epoch) => {
      expect([epoch.exact, [...epoch.ids()].sort()]).toEqual([true, [1, 2]])
      expect([...epoch.nodes.keys()]).toEqual(['same'])
      expect(
        epoch.nodes
          .get('same')!
          .instances.map(({ instance }) => instance)
          .sort(),
      ).toEqual(nodes.map(({ publisher }) => publisher.instance).sort())
    })
    await nodes[0].end()
    nodes[1].mark(3)
    await reader.consume((epoch) => expect([epoch.exact, ...epoch.ids()]).toEqual([true, 3]))
    await nodes[1].end()
    await reader.close()
  })

  it('an epoch that is larger than a message goes in parts, and comes in one epoch', async () => {
    const engine = over()
    const reader = openCluster({ source: engine.source(), from: 'now' })
    await reader.ready()
    const node = await nodeOver(engine, 'large')
    const keys = new Set<bigint>()
    for (let i = 1n; i <= 20_000n; i++)
      keys.add(BigInt.asUintN(64, i * 0x9e37_79b9_7f4a_7c15n) | (1n << 63n))
    for (const key of keys) node.mark(key)
    await node.publisher.appended()
    await reader.consume((epoch) => {
      expect([epoch.exact, epoch.size]).toEqual([true, keys.size])
      for (const key of epoch) keys.delete(key as bigint)
      expect(keys.size).toBe(0)
    })
    await node.end()
    await reader.close()
  })

  it('a name with a dot is refused, and the error says what to do', async () => {
    await expect(nodeOver(over(), 'a.b')).rejects.toMatchObject({
      code: 'ERR_DIRTYRING_OUT_OF_RANGE',
      message: expect.stringContaining('"options.node" must be 1 to 64 letters, digits, - and _'),
    })
  })
}
