/**
 * What does it cost to tell other processes? Questions to encode.js, cluster.js, behind.js and
 * cluster-memory.js.
 */
import { grouped, median, show } from '../harness/tables.js'

const KINDS = [
  'fingerprints',
  'row ids',
  'pages in runs',
  'texts that begin alike',
  'texts, random letters',
]

/** How many bytes does a key take on its way to another process, and how long? */
export function encoding({ repeat, few, slow }) {
  const sizes = few([1000, 100_000], -1)
  const variants = few(KINDS, -1).flatMap((kind) => sizes.map((keys) => ({ kind, keys })))
  const runs = repeat('measure/encode.js', variants, slow)
  return {
    title: 'epoch.encode() and decodeEpoch(), on one thread each',
    rows: variants.map(({ kind, keys }, i) => ({
      kind,
      keys: grouped(keys),
      'bytes a key': show(runs[i], ({ bytesPerKey }) => bytesPerKey, 2),
      messages: median(runs[i], ({ messages }) => messages),
      'encode, M keys/s': show(runs[i], ({ encode }) => encode, 2),
      'decode, M keys/s': show(runs[i], ({ decode }) => decode, 2),
    })),
    notes: [
      'row ids: one of 40 of a table; pages in runs: 1 to 64 pages, and 50,000 between two runs; texts: 20 to 25 bytes',
      'Best of 15 passes in a process, because the first is mostly compilation. decode: until all keys are in a set that can be asked',
    ],
  }
}

/** How long does a cut over several processes take, and what does their reader cost? */
export function cluster({ repeat, few, slow }) {
  const variants = few([1, 3, 10], 1).flatMap((nodes) =>
    few([1000, 10_000], -1).map((keys) => ({ nodes, keys })),
  )
  const runs = repeat('measure/cluster.js', variants, slow)
  return {
    title: 'A cut over several processes by IPC, and a reader of what they publish every 100 ms',
    rows: variants.map(({ nodes, keys }, i) => ({
      nodes,
      'keys of each node': grouped(keys),
      'cut p50, ms': show(runs[i], ({ cut }) => cut.p50 / 1000, 1),
      p99: show(runs[i], ({ cut }) => cut.p99 / 1000, 1),
      'keys/s': grouped(Math.round(median(runs[i], ({ keysPerSecond }) => keysPerSecond))),
      'reader, % of a core': show(runs[i], ({ cpu }) => cpu * 100, 1),
      inexact: runs[i].reduce((sum, { inexact }) => sum + inexact, 0),
      lost: runs[i].reduce((sum, { lost }) => sum + lost, 0),
    })),
    notes: [
      'cut: from advanceEpoch() of the reader to the epoch; each node has marked the keys before. Then each node marks ten times as many a second',
    ],
  }
}

/** What does a reader cost that was away for a day? */
export function behind({ repeat, slow }) {
  const [runs] = repeat('measure/behind.js', [{ mib: 1024 }], slow)
  return {
    title: 'A reader that was away while ten nodes wrote row ids into a log, simulated in memory',
    rows: [
      {
        'log, MiB': show(runs, ({ mib }) => mib, 0),
        'M keys': show(runs, ({ keys }) => keys, 0),
        'until it is at the end, s': show(runs, ({ seconds }) => seconds, 1),
        'processor, s': show(runs, ({ cpuSeconds }) => cpuSeconds, 1),
        'memory before, MiB': show(runs, ({ beforeMib }) => beforeMib, 0),
        'at most, MiB': show(runs, ({ peakMib }) => peakMib, 0),
        exact: runs.every(({ exact }) => exact) ? 'yes' : 'no',
      },
    ],
    notes: ['The time has the making of the messages in it, about as much again as their check'],
  }
}

/** Does a reader's memory grow, or a node's? */
export function growth({ measure, all }) {
  const minutes = all ? 4 : 1
  const { samples } = measure('measure/cluster-memory.js', { minutes, keys: 10_000 })
  return {
    title: 'Memory of a reader of three nodes by IPC, and of one node, MiB',
    rows: samples.map(({ minute, reader, node }) => ({
      'after, s': Math.round(minute * 60),
      "reader's heap": reader.heap.toFixed(1),
      'reader, resident': reader.rss.toFixed(0),
      "node's heap": node.heap.toFixed(1),
      'node, resident': node.rss.toFixed(0),
    })),
    notes: [
      'Each node marks 10,000 ids a second and publishes every 100 ms. Every five seconds another one is killed and replaced',
    ],
  }
}
