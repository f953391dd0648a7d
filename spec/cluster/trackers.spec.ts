import { describe, expect, it } from '@jest/globals'
import {
  type ClusterEpoch,
  type ClusterReader,
  openCluster,
  publishEpochs,
  type Publisher,
} from '../../lib/cluster/index.js'
import { DirtyRingError, type DirtyTracker, type Writer } from '../../lib/index.js'
import { Draw, FaultLog } from '../support/fault-log.js'
import { openInline } from '../support/in-process.js'

const HISTORIES = 200
const AT_ONCE = 20
const KEYS = 16

interface Node {
  readonly tracker: DirtyTracker
  readonly publisher: Publisher
  readonly writer: Writer
  /** Its line to the log is cut for good. */
  isDead: boolean
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** One history with real trackers, publishers and a reader. Returns what is wrong with the copy. */
async function runHistory(seed: number): Promise<string[]> {
  const draw = new Draw(seed)
  const rate = (): number => (draw.happens(0.4) ? draw.part() * 0.3 : 0)
  const rates = {
    lostBefore: rate(),
    lostAfter: rate(),
    late: rate(),
    repeated: rate(),
    away: rate() / 3,
    cutLost: rate(),
  }
  const log = new FaultLog({ seed, rates, isFenced: draw.happens(0.7), readMax: 1 + draw.below(9) })
  const ended = new Map<string, 'live' | 'gone'>()
  log.nodes = ended
  const store = new Map<number, number>()
  const copy = new Map<number, number>()
  const nodes: Node[] = []
  for (let i = 0; i < 2; i++) nodes.push(await openNode(log, draw))
  let reader = open(log)
  let stored: string | undefined

  const save = (epoch: ClusterEpoch): void => {
    const dirty = epoch.exact ? epoch.ids() : [...store.keys()].filter((key) => epoch.has(key))
    for (const key of dirty) copy.set(key, store.get(key)!)
    stored = epoch.clock
  }
  const take = async (): Promise<void> => {
    const loop = reader.epochs({ everyMs: 1, skipEmpty: false })
    const { value: epoch } = (await loop.next()) as { value: ClusterEpoch }
    if (draw.happens(0.8)) {
      save(epoch)
      epoch.commit()
    }
    await loop.return?.()
  }

  const dies = draw.happens(0.5)
  for (let version = 1; version < 40; version++) {
    const live = nodes.filter(({ isDead }) => !isDead)
    const what = draw.below(20)
    if (what < 10 && live.length > 0) {
      const key = draw.below(KEYS)
      const { writer } = draw.pick(live)
      writer.batch(() => {
        writer.mark(key)
        store.set(key, version)
      })
    } else if (what < 15) await turn()
    else if (what === 15 && !log.isAway) await take()
    else if (what === 16) {
      if (log.isAway) log.comeBack()
      else log.goAway()
    } else if (what === 17 && dies) {
      for (const node of live.slice(0, 1)) await kill(node, ended)
    } else if (what === 17) {
      if (draw.happens(0.5)) log.makeAnew()
      else log.forgetTail(1 + draw.below(5))
    } else if (what === 18 && !dies) {
      // A log keeps messages for longer than beatMs: no reader could hear of a node otherwise.
      log.trim(draw.below(log.length + 1))
    } else if (what === 19 && stored !== undefined) {
      await reader.close()
      reader = open(log, stored)
    }
  }
  log.quiet()
  // A node that goes on is heard, and then it stops.
  for (const node of nodes) if (!node.isDead) await node.publisher.addNamespaces([9])
  for (const { isDead, tracker, publisher } of nodes) {
    await tracker.stop({ graceMs: 0 })
    if (!isDead) await publisher.close({ timeoutMs: 60_000 })
  }
  for (let i = 0; i < 2; i++) await reader.consume(save)
  await reader.close()
  return [...store]
    .filter(([key, version]) => copy.get(key) !== version)
    .map(([key, version]) => `key ${key} is ${copy.get(key)} instead of ${version}, seed ${seed}`)
}

function open(log: FaultLog, since?: string): ClusterReader {
  const reader = openCluster({ source: log.source(), since, timeoutMs: 60_000 })
  reader.on('warning', () => undefined)
  return reader
}

async function openNode(log: FaultLog, draw: Draw): Promise<Node> {
  const tracker = await openInline({ maxConsumers: 1 })
  const sink = log.sink()
  const node: { isDead: boolean } = { isDead: false }
  const append = sink.append.bind(sink)
  sink.append = async (message) => {
    if (node.isDead) throw new DirtyRingError('ERR_DIRTYRING_AWAY', 'dead')
    return append(message)
  }
  const publisher = await publishEpochs(tracker.consumer('cluster'), {
    sink,
    everyMs: 1 + draw.below(5),
    beatMs: 5,
    namespaces: draw.happens(0.5) ? [0] : undefined,
  })
  return Object.assign(node, { tracker, publisher, writer: tracker.openWriter() })
}

/** The process dies: nothing of it reaches the log any more, and the engine notices. */
async function kill(node: Node, ended: Map<string, 'live' | 'gone'>): Promise<void> {
  node.isDead = true
  await node.publisher.close({ timeoutMs: 0 }).catch(() => undefined)
  ended.set(node.publisher.instance, 'gone')
}

describe('real publishers and a real reader over a log that goes wrong', () => {
  it('end with a copy that equals the store', async () => {
    for (let seed = 1; seed <= HISTORIES; seed += AT_ONCE) {
      const runs = Array.from({ length: AT_ONCE }, (_, i) => runHistory(seed + i))
      expect((await Promise.all(runs)).flat()).toEqual([])
    }
  }, 300_000)
})
