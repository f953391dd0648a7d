/**
 * What a person who chooses, or tunes, wants to know. Each question answers with { title, rows,
 * printed?, notes?, plots? }. The terminal shows the columns `printed`, or all; the page shows all.
 * See ../harness/page.js for plots.
 */
import { costs, grouped, median, show } from '../harness/tables.js'
import { nameOf, TEXTS } from '../harness/texts.js'
import { cache } from './cache.js'
import { behind, cluster, encoding, growth } from './cluster.js'
import { consumers, merges } from './consumers.js'
import { bursts, workloads } from './loads.js'
import { batch, pipeline, ring, SIZES, skew, strings, topologies } from './throughput.js'
import { tune } from './tune.js'

const MIB = 2 ** 20

export const questions = {
  pipeline,
  strings,
  cache,
  topologies,
  skew,
  batch,
  ring,
  mark,
  fingerprint,
  dictionary,
  read,
  set,
  kernel,
  filter,
  cycle,
  latency,
  seal,
  consumers,
  merges,
  encoding,
  cluster,
  behind,
  growth,
  bursts,
  workloads,
  faults,
  memory,
  garbage,
  idle,
  tune,
}

/** What does a mark cost, by kind of key, its publications included? */
function mark(ask) {
  return micro(
    ask,
    'measure/mark.js',
    'A mark, on one thread with a lane of its own, publications included; what takes many, by the key',
    'ns a mark',
    'markPair(low, high)',
  )
}

/** What does a key's fingerprint cost? */
function fingerprint(ask) {
  return micro(ask, 'measure/fingerprint.js', 'fingerprint(), by length', 'ns a call')
}

/** What does a dictionary's call cost? */
function dictionary(ask) {
  return micro(
    ask,
    'measure/dictionary.js',
    'KeyDictionary, 100,000 keys in an order that is not that of memory; room for twice as many, or for 3 million',
    'ns a call',
  )
}

/** What does it cost to read an epoch? */
function read(ask) {
  return micro(
    ask,
    'measure/read.js',
    'Reading a sealed epoch of 100,000 keys: numbers, or texts of so many bytes',
    'ns a key',
  )
}

/** Every way that a script has, each in a process of its own; `base`: beside it all are shown. */
function micro({ measure, repeat, few }, script, title, unit, base) {
  const names = few(measure(script), -1)
  const runs = repeat(
    script,
    names.map((name) => ({ name })),
  )
  const middles = runs.map((own) => median(own, (ns) => ns))
  const least = middles[names.indexOf(base)]
  return {
    title,
    rows: names.map((what, i) => ({
      what,
      [unit]: show(runs[i], undefined, 2),
      ...(least === undefined ? {} : { [`of ${base}`]: (middles[i] / least).toFixed(2) }),
    })),
  }
}

/** What does the set cost by itself, just before its table grows and just after? */
function set({ repeat, few, slow, all }) {
  // A table of n cells takes n / 4 keys while it is small, n / 2 afterwards: full, and one key more
  // than half of that.
  const tables = few(all ? [8192, 2 ** 18, 2 ** 21, 2 ** 23] : [8192, 2 ** 18])
  const kinds = [
    'empty loop',
    'TypeScript kernel',
    'WebAssembly kernel',
    'Set<bigint>',
    'Set<number>',
  ]
  const variants = tables.flatMap((cells) =>
    few([keysIn(cells), keysIn(cells) / 2 + 1]).flatMap((distinct) =>
      few(kinds, 2).map((kind) => ({ kind, distinct, cells })),
    ),
  )
  const runs = repeat(
    'measure/set.js',
    variants.map(({ kind, distinct }) => ({ kind, distinct })),
    slow,
  )
  return {
    title: 'The set by itself, ns a key: FingerprintSet (addMany() of 64, has(lo, hi)) beside Set',
    rows: variants.map(({ kind, distinct, cells }, i) => ({
      set: kind,
      'distinct keys': grouped(distinct),
      'load, %': kind.endsWith('kernel') ? ((100 * distinct) / cells).toFixed(0) : '',
      ...Object.fromEntries(
        ['new', 'known', 'in', 'not in'].map((what) => [what, show(runs[i], (run) => run[what])]),
      ),
    })),
    notes: [
      'new: filling a set that was cleared; known: adding keys that are in; in, not in: has()',
    ],
  }
}

function keysIn(cells) {
  return cells <= 2 ** 17 ? cells / 4 : cells / 2
}

/** What is the bare kernel's share? */
function kernel({ repeat, few, slow }) {
  const sizes = few(SIZES)
  const runs = repeat(
    'measure/kernel.js',
    sizes.map((distinct) => ({ distinct })),
    slow,
  )
  const rows = sizes.map((distinct, i) => ({
    'distinct keys': distinct,
    'empty loop, M keys/s': show(runs[i], ({ empty }) => empty),
    'TypeScript, M keys/s': show(runs[i], ({ js }) => js),
    'WebAssembly, M keys/s': show(runs[i], ({ wasm }) => wasm),
    'with the other processor busy': show(runs[i], ({ wasmBusy }) => wasmBusy),
    'one mark after another, M keys/s': show(runs[i], (run) => run.mark),
    'with the other busy': show(runs[i], ({ markBusy }) => markBusy),
  }))
  return {
    title: 'The floor: each half of the pipeline alone on one thread, batches of 64',
    rows,
    notes: [
      'Where a busy neighbour halves both, the two processors are two halves of one core: the pipeline cannot be faster than half of either.',
    ],
  }
}

/** How often is has() of a superset wrong, and what does the filter cost? */
function filter({ repeat, few, slow }) {
  const sizes = few([4e6, 8e6, 10.7e6, 12.8e6, 16e6, 21e6, 32e6])
  const variants = sizes.flatMap((keys) => [true, false].map((native) => ({ keys, native })))
  const runs = repeat('measure/filter.js', variants, slow)
  const percent = (part) => 100 * part
  return {
    title: 'The filter of an epoch that overflows: 16 MiB, as of 1,048,576 keys exactly',
    rows: variants.map(({ keys, native }, i) => ({
      'M keys': keys / 1e6,
      kernel: native ? 'WebAssembly' : 'TypeScript',
      'bits set, %': show(runs[i], ({ bitsSet }) => percent(bitsSet)),
      'has() wrong, %': show(runs[i], ({ wrong }) => percent(wrong), 4),
      'as the fill says': show(runs[i], ({ said }) => percent(said), 4),
      'ns a new key': show(runs[i], ({ insert }) => insert),
      'ns a has()': show(runs[i], ({ has }) => has),
      'ms to unite two': show(runs[i], ({ uniteMs }) => uniteMs),
      'ms to count': show(runs[i], ({ countMs }) => countMs),
    })),
    printed: [
      'M keys',
      'kernel',
      'has() wrong, %',
      'as the fill says',
      'ns a new key',
      'ms to unite two',
    ],
    notes: ['Numbers in a row go in; has() asks for pairs of another high half.'],
  }
}

/** Does it hold up, epoch after epoch? */
function cycle({ repeat, few, slow }) {
  const sizes = few([100_000, 1_000_000])
  const runs = repeat(
    'measure/cycle.js',
    sizes.map((distinct) => ({ distinct })),
    slow,
  )
  const rows = sizes.map((distinct, i) => ({
    'distinct keys': distinct,
    'filling, M keys/s': show(runs[i], ({ filling }) => filling),
    'fill, seal, hand out, commit, again': show(runs[i], ({ cycling }) => cycling),
    'of filling': median(runs[i], ({ filling, cycling }) => cycling / filling).toFixed(2),
    'Set<bigint>, one thread, filled and cleared': show(runs[i], (run) => run.set),
    ...costs(runs[i]),
  }))
  return { title: 'The steady cycle, 2 million marks an epoch, in memory used before', rows }
}

/** How long does a cut take under load, and what does a mark take at worst? */
function latency({ repeat, few, slow }) {
  const variants = few([
    { rate: 20_000_000, distinct: 100_000 },
    { rate: 0, distinct: 100_000 },
    { rate: 20_000_000, distinct: 1_000_000 },
    { rate: 20_000_000, distinct: 100_000, floor: true },
  ])
  const runs = repeat('measure/latency.js', variants, slow)
  const rows = variants.map(({ rate, distinct, floor = false }, i) => ({
    what: floor ? 'a message to a worker and back' : 'a cut',
    'M keys/s wanted': rate === 0 ? 'all' : rate / 1e6,
    'and had': show(runs[i], ({ mKeysPerSecond }) => mKeysPerSecond),
    'distinct keys': distinct,
    'p50, ms': show(runs[i], ({ seal: { p50 } }) => p50 / 1000, 2),
    'p99, ms': show(runs[i], ({ seal: { p99 } }) => p99 / 1000, 2),
    '8 marks p50, µs': show(runs[i], (run) => run.mark.p50, 2),
    '8 marks p99': show(runs[i], (run) => run.mark.p99, 2),
    'p99.99': show(runs[i], (run) => run.mark.p9999),
    'empty loop p50': show(runs[i], ({ empty }) => empty.p50, 2),
    'empty p99.99': show(runs[i], ({ empty }) => empty.p9999),
    waits: median(runs[i], ({ waits }) => waits),
  }))
  return {
    title: 'One writer, an epoch every 20 ms: three busy threads with the one that advances',
    rows,
    plots: variants.map(({ rate, distinct }, i) => ({
      kind: 'histogram',
      title: `${rate === 0 ? 'as fast as it goes' : `${rate / 1e6} M marks/s`}, ${grouped(distinct)} distinct keys`,
      series: [
        { name: '8 marks', bins: runs[i][0].mark.bins },
        { name: 'the same, empty', bins: runs[i][0].empty.bins },
        { name: 'the cut', bins: runs[i][0].seal.bins },
      ],
    })),
  }
}

/** How short may a tick be? */
function seal({ repeat, few, slow }) {
  const loads = few([10, 100, 1000]).flatMap((hz) =>
    few([1000, 100_000, 1_000_000]).map((distinct) => ({
      rate: 2_000_000,
      distinct,
      everyMs: 1000 / hz,
      visible: true,
      seconds: 2,
    })),
  )
  const idleOnes = few([{ floor: true }, { keys: 0 }, { keys: 1000 }, { keys: 100_000 }])
  const names = idleOnes.map(({ floor, keys }) =>
    floor ? 'a message to a worker and back' : `idle, ${grouped(keys)} keys an epoch`,
  )
  const runs = [
    ...repeat('measure/seal.js', idleOnes, slow),
    ...repeat('measure/latency.js', loads, slow).map((own) => own.map((run) => run.seal)),
  ]
  const rows = runs.map((own, i) => {
    const load = loads[i - idleOnes.length]
    return {
      load: load === undefined ? names[i] : '2 M marks/s',
      'epochs a second': load === undefined ? '' : 1000 / load.everyMs,
      'distinct keys': load === undefined ? '' : load.distinct,
      cuts: own[0].count,
      'p50, ms': show(own, ({ p50 }) => p50 / 1000, 3),
      p99: show(own, ({ p99 }) => p99 / 1000, 3),
      max: show(own, ({ max }) => max / 1000, 3),
    }
  })
  return {
    title:
      'advanceEpoch() from call to hand-out, ms: idle, and beside a writer, by epochs a second and distinct keys',
    rows,
    plots: [
      {
        kind: 'histogram',
        title: 'idle',
        series: names.map((name, i) => ({ name, bins: runs[i][0].bins })),
      },
    ],
  }
}

/** How long until all is as before? */
function faults({ repeat, few, slow }) {
  const known = few([
    [
      'worker',
      'a writer’s thread is terminated: until its staged keys are in the open epoch',
      'terminate() of a thread that does nothing',
    ],
    [
      'aggregator',
      'the aggregator is terminated: until keys published meanwhile are in the set',
      'the start of a thread that does nothing',
    ],
    ['restore', 'restore() of 1,000,000 keys', 'a Set<bigint> of as many'],
    [
      'overflow',
      'an epoch of 100,001 keys where 100,000 fit: until the next exact one',
      'the same without an overflow',
    ],
  ])
  const runs = repeat(
    'measure/recovery.js',
    known.map(([fault]) => ({ fault })),
    slow,
  )
  return {
    title: 'Faults: how long until all is as before, ms',
    rows: known.map(([, what, floor], i) => ({
      what,
      ms: show(
        runs[i].flatMap(({ times }) => times),
        undefined,
        2,
      ),
      floor,
      'ms ': show(
        runs[i].flatMap(({ floors }) => floors),
        undefined,
        2,
      ),
      lost: runs[i].reduce((sum, { lost }) => sum + lost, 0),
    })),
  }
}

/** What memory does an epoch touch? */
function memory({ measure, few }) {
  const sizes = few([10_000, 100_000, 250_000, 524_288, 1_000_000, 4_000_000])
  const variants = [
    ...sizes.map((distinct) => ({ distinct, maxKeysPerEpoch: Math.max(2 ** 20, distinct) })),
    ...few(TEXTS).map((text) => ({ distinct: sizes.includes(1e6) ? 1e6 : sizes[0], text })),
  ]
  /** Below that, a process's own pages are more. */
  const worthSaying = 50_000
  const rows = variants.map((variant) => {
    const { distinct, text } = variant
    const run = measure('measure/memory.js', variant)
    const mib = (bytes) => (bytes / MIB).toFixed(1)
    const aKey = (bytes) =>
      bytes === undefined || distinct < worthSaying ? '' : (bytes / distinct).toFixed(1)
    return {
      'distinct keys': grouped(distinct),
      keys: text === undefined ? 'pairs' : `text, ${nameOf(text)}`,
      'reserved, MiB': mib(run.reserved),
      'resident: create()': mib(run.created),
      'a writer': mib(run.lane),
      'the epoch': mib(run.epoch),
      'bytes a key': aKey(run.epoch),
      'Set<bigint>, bytes a key': aKey(run.bigints),
      'Set<number>': aKey(run.numbers),
      'Set<string>': aKey(run.strings),
    }
  })
  return {
    title:
      'Memory: what is reserved (four epochs, 32 writers), and what becomes resident with one writer and one epoch of so many keys',
    rows,
  }
}

/** What is left for the garbage collector? */
function garbage({ measure, few }) {
  const kinds = few(['empty loop', 'dirtyring', 'Set<bigint>, one thread'], 1)
  const rows = kinds.map((kind) => {
    const { marks, waits, ...isolates } = measure('measure/garbage.js', { kind })
    const columns = Object.entries(isolates).flatMap(([role, { collections, bytes }]) => [
      [`${role}: collections`, ((collections / marks) * 1e6).toFixed(2)],
      [`${role}: bytes`, collections > 0 ? 'collected' : Math.round((bytes / marks) * 1e6)],
    ])
    return { what: kind, marks, ...Object.fromEntries(columns), waits }
  })
  return {
    title:
      'Collections and bytes allocated, a million marks, in both isolates from one epoch to the next',
    rows,
  }
}

/** What does a tracker cost that has nothing to do? */
function idle({ measure }) {
  const kinds = {
    'a process without one': { floor: true },
    'an idle tracker': { floor: false },
    'with a loop of epochs({ everyMs: 50 })': { floor: false, loop: 'cuts' },
    'with a loop of epochs({ everyMs: 50, whenDirty: true })': { floor: false, loop: 'sleeps' },
  }
  const rows = Object.entries(kinds).map(([what, kind]) => {
    const { share, rounds, tokens } = measure('measure/idle.js', kind)
    return {
      what,
      '% of a core': (share * 100).toFixed(3),
      'rounds a second': rounds === undefined ? '' : rounds.toFixed(1),
      'tokens a second': tokens === undefined ? '' : tokens.toFixed(1),
    }
  })
  return { title: 'An idle tracker, 5 s', rows }
}
