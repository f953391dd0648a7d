import { afterEach, describe, expect, it } from '@jest/globals'
import {
  type ClusterReader,
  openCluster,
  publishEpochs,
  type Publisher,
} from '../../lib/cluster/index.js'
import type { EpochSink, EpochSource } from '../../lib/cluster/log.js'
import { DirtyTracker } from '../../lib/index.js'
import { type IpcHub, ipcHub } from '../../lib/ipc/hub.js'
import { sinkOf } from '../../lib/ipc/sink.js'
import { sourceOf } from '../../lib/ipc/source.js'
import { channelPair } from '../support/channel-pair.js'

const toClose: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of toClose.splice(0).toReversed()) await close()
})

async function publisherOf(sink: EpochSink, node: string) {
  const tracker = await DirtyTracker.create({
    maxConsumers: 1,
    aggregator: 'inline',
    maxKeysPerEpoch: 4096,
    maxStringsPerEpoch: 64,
    maxStringBytesPerEpoch: 4096,
  })
  const publisher = await publishEpochs(tracker.consumer('cluster'), { sink, node, everyMs: 10 })
  const writer = tracker.openWriter()
  /** @param isAway - its channel is closed: it can't say that it ends */
  const end = async (isAway = false) => {
    if (writer.closed) return
    writer.close()
    await tracker.stop()
    const closing = publisher.close({ timeoutMs: isAway ? 0 : 5000 })
    await (isAway ? closing.catch(() => undefined) : closing)
  }
  toClose.push(() => end())
  return { tracker, publisher, writer, end }
}

function readerOf(source: EpochSource, options: { except?: Publisher } = {}): ClusterReader {
  const reader = openCluster({ source, from: 'now', ...options })
  toClose.push(() => reader.close())
  return reader
}

function hubOf(...of: Parameters<typeof ipcHub>): IpcHub {
  const hub = ipcHub(...of)
  toClose.push(() => hub.close())
  return hub
}

/** The keys of the next cut, if it is exact. */
const keysOf = (reader: ClusterReader) =>
  reader.consume((epoch) => (epoch.exact ? [...epoch].toSorted() : [...epoch.nodes]))

describe('publishers and readers of several processes over a hub', () => {
  it.each(['json', 'advanced'] as const)(
    'get what all of them marked before the cut, in any process: %s',
    async (serialization) => {
      const one = channelPair(serialization)
      const two = channelPair(serialization)
      const hub = hubOf([one.parent, two.parent])
      const readers = [
        readerOf(hub.source()),
        readerOf(sourceOf(one.child, 'dirty')),
        readerOf(sourceOf(one.child, 'dirty')),
        readerOf(sourceOf(two.child, 'dirty')),
      ]
      for (const reader of readers) await reader.ready()
      const publishers = [
        await publisherOf(sinkOf(one.child, 'dirty'), 'one'),
        await publisherOf(sinkOf(one.child, 'dirty'), 'one'),
        await publisherOf(sinkOf(two.child, 'dirty'), 'two'),
        await publisherOf(hub.sink(), 'here'),
      ]
      for (let round = 0; round < 3; round++) {
        const marked = publishers.map(({ writer }, i) => {
          const keys = [round * 100 + i, round * 100 + 50]
          writer.markMany(keys)
          return keys
        })
        const expected = [...new Set(marked.flat())].toSorted()
        for (const reader of readers) expect(await keysOf(reader)).toEqual(expected)
      }
      await publishers[0].end()
      for (const reader of readers) expect(await keysOf(reader)).toEqual([])
      expect([...readers[1].nodes.keys()].toSorted()).toEqual(['here', 'one', 'two'])
    },
  )

  it('leave out what the same process published, if they are told to', async () => {
    const { parent, child } = channelPair('json')
    hubOf(parent)
    const { writer, publisher } = await publisherOf(sinkOf(child, 'dirty'), 'own')
    const other = await publisherOf(sinkOf(child, 'dirty'), 'other')
    const reader = readerOf(sourceOf(child, 'dirty'), { except: publisher })
    await reader.ready()
    writer.mark(1)
    other.writer.mark(2)
    expect(await keysOf(reader)).toEqual([2])
  })

  it('are told at once of a process whose channel is closed, each reader once', async () => {
    const [dying, living] = [channelPair('json'), channelPair('json')]
    const hub = hubOf([dying.parent, living.parent])
    const readers = [readerOf(hub.source()), readerOf(sourceOf(living.child, 'dirty'))]
    for (const reader of readers) await reader.ready()
    const { publisher, writer, end } = await publisherOf(sinkOf(dying.child, 'dirty'), 'dying')
    const other = await publisherOf(sinkOf(living.child, 'dirty'), 'living')
    const isAway = new Promise((resolve) => publisher.on('away', resolve))
    writer.mark(1)
    for (const reader of readers) expect(await keysOf(reader)).toEqual([1])
    writer.mark(2)
    dying.child.disconnect()
    other.writer.mark(3)
    for (const reader of readers) {
      const names = await reader.consume((epoch) => {
        expect(epoch.exact).toBe(false)
        expect(epoch.has(2)).toBe(true)
        return [...epoch.nodes].map(([node, { reason }]) => [node, reason])
      })
      expect(names.toSorted()).toEqual([
        ['dying', 'gone'],
        ['living', undefined],
      ])
      expect(await keysOf(reader)).toEqual([])
    }
    await isAway
    await end(true)
  })

  it('go on with another hub: publishers keep what was marked, and readers take all once', async () => {
    const { parent, child } = channelPair('json')
    const first = ipcHub(parent)
    const reader = readerOf(sourceOf(child, 'dirty'))
    await reader.ready()
    const { writer, publisher, end } = await publisherOf(sinkOf(child, 'dirty'), 'node')
    writer.mark(1)
    expect(await keysOf(reader)).toEqual([1])
    await first.close()
    writer.mark(2)
    await new Promise((resolve) => setTimeout(resolve, 50))
    hubOf(parent)
    await publisher.appended()
    const { isExact, has } = await reader.consume((epoch) => ({
      isExact: epoch.exact,
      has: epoch.has(2),
    }))
    expect({ isExact, has }).toEqual({ isExact: false, has: true })
    writer.mark(3)
    expect(await keysOf(reader)).toEqual([3])
    await end()
  })

  it('end with the reader that has the hub itself for its source', async () => {
    const { parent, child } = channelPair('json')
    const hub = ipcHub(parent)
    await sinkOf(child, 'dirty').last('0'.repeat(32))
    const reader = openCluster({ source: hub })
    await reader.consume(() => {})
    await reader.close()
    expect(() => hub.sink()).toThrow(expect.objectContaining({ code: 'ERR_DIRTYRING_CLOSED' }))
    expect(parent.listenerCount('message')).toBe(0)
  })
})
