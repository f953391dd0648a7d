/** What do several consumers of one tracker cost? Questions to consumers.js and latency.js. */
import { grouped, median, show } from '../harness/tables.js'
import { nameOf } from '../harness/texts.js'
import { histograms } from './loads.js'

const TEXT = 16

/** What does a cut cost, by how many cut in turn? */
export function consumers({ repeat, few, slow }) {
  const counts = few([0, 1, 2, 4, 7], -1)
  const sizes = few([1000, 10_000, 100_000])
  const variants = [
    ...sizes.flatMap((keys) => counts.map((count) => ({ consumers: count, keys }))),
    { consumers: 4, keys: sizes.at(-1), kernel: 'js' },
    ...sizes.flatMap((keys) => counts.map((count) => ({ consumers: count, keys, text: TEXT }))),
  ]
  const runs = repeat('measure/consumers.js', variants, slow)
  const ms = (own, pick) => show(own, (run) => pick(run) / 1000, 3)
  return {
    title: 'A cut with named consumers that cut in turn, so that each has a backlog; idle writers',
    rows: variants.map(({ consumers: count, keys, text, kernel }, i) => ({
      consumers: count === 0 ? 'the tracker itself' : count,
      'keys a cut': grouped(keys),
      keys: text === undefined ? 'pairs' : `text, ${nameOf(text)}`,
      kernel: kernel === 'js' ? 'TypeScript' : 'WebAssembly',
      'merges a cut': median(runs[i], ({ merges }) => merges),
      'cut p50, ms': ms(runs[i], ({ cut }) => cut.p50),
      p99: ms(runs[i], ({ cut }) => cut.p99),
      'with all merges p50, ms': ms(runs[i], ({ done }) => done.p50),
      'p99 ': ms(runs[i], ({ done }) => done.p99),
      'all at once p50, ms': ms(runs[i], ({ together }) => together.p50),
      lost: runs[i].reduce((sum, { lost }) => sum + lost, 0),
    })),
    printed: [
      'consumers',
      'keys a cut',
      'keys',
      'merges a cut',
      'cut p50, ms',
      'p99',
      'with all merges p50, ms',
      'lost',
    ],
    notes: [
      'cut: from the call to the hand-out; with all merges: from the call until the aggregator has nothing left to do; all at once: from the call to the last hand-out, where each consumer has a backlog',
      'Each cut seals keys that are in no backlog. A merge adds as many keys as were sealed.',
    ],
  }
}

/** What do the merges add to marks and to cuts, while a writer marks at a steady rate? */
export function merges({ repeat, few, slow }) {
  const loads = few([1, 2, 4, 7], -1).flatMap((count) =>
    few([
      { rate: 500_000, distinct: 1_000_000 },
      { rate: 2_000_000, distinct: 1_000_000 },
    ]).map((load) => ({
      ...load,
      consumers: count,
      everyMs: 20,
      maxKeysPerEpoch: 2 ** 20,
      visible: true,
      seconds: 2,
    })),
  )
  const runs = repeat('measure/latency.js', loads, slow)
  const ms = (own, pick) => show(own, (run) => pick(run) / 1000, 2)
  return {
    title: 'One writer, and a cut every 20 ms by one of the consumers in turn; one makes no merges',
    rows: loads.map(({ consumers: count, rate, distinct }, i) => ({
      consumers: count,
      'M keys/s wanted': rate / 1e6,
      'and had': show(runs[i], ({ mKeysPerSecond }) => mKeysPerSecond, 2),
      'distinct keys': grouped(distinct),
      cuts: median(runs[i], (run) => run.seal.count),
      'cut p50, ms': ms(runs[i], (run) => run.seal.p50),
      p99: ms(runs[i], (run) => run.seal.p99),
      '8 marks p50, µs': show(runs[i], ({ mark }) => mark.p50, 2),
      'p99 ': show(runs[i], ({ mark }) => mark.p99, 2),
      'p99.99': show(runs[i], ({ mark }) => mark.p9999),
      'in the set p50, ms': ms(runs[i], ({ visibility }) => visibility.p50),
      ' p99': ms(runs[i], ({ visibility }) => visibility.p99),
      waits: median(runs[i], (run) => run.waits),
    })),
    notes: [
      'in the set: from a mark until its key is in the open epoch; waits: of the writer, for room',
    ],
    plots: histograms(
      loads.map(({ consumers: count, rate }) => `${count} consumers, ${rate / 1e6} M marks/s`),
      runs,
    ),
  }
}
