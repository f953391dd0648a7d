/** A child of cluster-chaos.mjs: a node, or a reader. */
import { once } from 'node:events'
import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { openCluster, publishEpochs } from '../../../dist/cluster/index.js'
import { DirtyTracker } from '../../../dist/index.js'
import { consumeLater, Copies, engineOfChild, RowStore, storePath } from './cluster-chaos-parts.mjs'
import { args } from './support.mjs'
import { pick, randomFrom } from './threads.mjs'

const { folder, nodes, rows, everyMs } = args
process.on('disconnect', () => process.exit(0))
const engine = await engineOfChild(args.engine)
const say = (said, more = {}) => process.send({ said, ...more }, () => undefined)
const die = () => process.kill(process.pid, 'SIGKILL')

/** A sink that kills this process around an append. */
function deadly(sink, death, after) {
  let appends = 0
  return {
    ...sink,
    async append(message) {
      const isNow = appends++ === after
      if (death === 'opening' && appends === 1) {
        sink.append(message).catch(() => undefined) // the server may be away
        await sleep(after / 2)
        die()
      }
      const appending = sink.append(message)
      if (death === 'appending' && isNow) {
        await (after % 2 === 0 ? setImmediate() : undefined)
        die()
      }
      const result = await appending
      if (death === 'appended' && isNow) die()
      return result
    },
  }
}

async function node() {
  const { node, life, death, after, seed, declares } = args
  const random = randomFrom(seed)
  const tracker = await DirtyTracker.create({ maxConsumers: 1, maxKeysPerEpoch: 4096 })
  const store = new RowStore(storePath(folder, node))
  const count = join(folder, `${node}.count`)
  const publisher = await publishEpochs(tracker.consumer('cluster'), {
    node: `node-${node}`,
    sink: deadly(engine.sink(), death, after),
    everyMs,
    ...(declares ? { namespaces: [node] } : {}),
  })
  const writer = tracker.openWriter()
  let isEnding = false
  process.on('message', (message) => {
    if (message === 'end') isEnding = true
  })
  const dies = death === 'written' || death === 'marked' ? after * 20 : Infinity
  for (let writes = 0; !isEnding; writes++) {
    const row = pick(random, rows)
    writer.batch(() => {
      writer.markPair(row, node)
      store.write(row, life * 1e6 + writes + 1)
      if (death === 'written' && writes === dies) die()
    })
    appendFileSync(count, '.')
    if (death === 'marked' && writes === dies) die()
    if (writes === 0) say('writes')
    if (writes % 8 === 0) await sleep(1)
  }
  if (death === 'closing') {
    const closing = tracker.stop().then(() => publisher.close())
    for (let i = 0; i < after; i++) await setImmediate()
    die()
    await closing
  }
  await tracker.stop()
  await publisher.close({ timeoutMs: 30_000 }) // a server that hangs is started again before
  await engine.close()
  process.disconnect()
}

/** Keeps copies and a clock in one file; takes all again only if it is told to. */
async function reader() {
  const path = join(folder, 'reader.state')
  const copies = new Copies(folder, nodes, rows)
  const since = copies.load(path)
  const cluster = openCluster({ source: engine.source(), since, ...args.reading })
  let asked
  process.on('message', (message) => {
    if (typeof message === 'string') asked = message // others are the library's
  })
  say('reads')
  while (asked === undefined) {
    const use = (epoch) => {
      copies.take(epoch, args.ignores)
      copies.save(path, epoch.clock)
    }
    await consumeLater(cluster, use, () => asked !== undefined)
    await sleep(20)
  }
  await consumeLater(cluster, (epoch) => copies.take(epoch, args.ignores))
  say('verdict', { differing: copies.differing(), counts: copies.counts })
  while (asked !== 'end') await once(process, 'message')
  await cluster.close()
  await engine.close()
  process.disconnect()
}

await (args.role === 'node' ? node() : reader())
