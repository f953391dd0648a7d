/**
 * How many keys a second go from writers' threads into the sets of epochs? Questions to
 * pipeline.js.
 */
import { costs, grouped, median, percent, rateOf, show } from '../harness/tables.js'
import { nameOf, TEXTS } from '../harness/texts.js'

export const SIZES = [2_000, 100_000, 4_000_000]
const ONE_THREAD = 'Set<bigint>, one thread'
const FLOORS = [ONE_THREAD, 'empty loop']
/** Kinds that would take seconds a run are sent fewer keys. */
const FEWER = 4_000_000
const COUNTS = { postMessage: FEWER, 'ringbuf.js': FEWER, [ONE_THREAD]: FEWER }
/** Of the best rate, what a batchSize has to reach to be the knee. */
const KNEE = 0.9

/** Against others? */
export function pipeline({ repeat, attempt, few, slow, peers }) {
  const kinds = [
    'dirtyring',
    'dirtyring js',
    'postMessage',
    'ringbuf.js',
    'rust siphash',
    'rust identity',
    ...FLOORS,
  ]
  const measured = kinds.filter((kind) => !peers.missing.has(kind))
  const values = []
  const rows = few(SIZES).flatMap((distinct) => {
    // Those take ten seconds a run with the largest set: once, unless all was asked for.
    const [quicker, slower] = [(kind) => !(kind in COUNTS), (kind) => kind in COUNTS].map((isOne) =>
      measured.filter(isOne),
    )
    const ask = (kinds, most) => {
      const runs = repeat(
        'measure/pipeline.js',
        kinds.map((kind) => ({ kind, distinct, count: COUNTS[kind] })),
        most,
      )
      return kinds.map((kind, i) => [kind, runs[i]])
    }
    const runs = new Map([...ask(quicker), ...ask(slower, distinct > FEWER / 2 ? slow : undefined)])
    const ours = runs.get('dirtyring')
    const row = (kind, own) => {
      if (own[0].notMeasured !== undefined)
        return {
          'distinct keys': distinct,
          pipeline: kind,
          'M keys/s': `not measured here: ${own[0].notMeasured}`,
        }
      values.push([`${grouped(distinct)} distinct keys`, kind, median(own, rateOf)])
      return {
        'distinct keys': distinct,
        pipeline: kind,
        'M keys/s': show(own, rateOf, median(own, rateOf) < 1 ? 3 : 1),
        'dirtyring is × this': (median(ours, rateOf) / median(own, rateOf)).toFixed(2),
        ...costs(own.map((run) => ({ ...run, lost: lostOf(run, ours[0]) }))),
      }
    }
    return [
      ...kinds.map((kind) =>
        row(kind, runs.get(kind) ?? [{ notMeasured: peers.missing.get(kind) }]),
      ),
      row('multithreading', [
        peers.missing.has('multithreading')
          ? { notMeasured: peers.missing.get('multithreading') }
          : attempt('peers/multithreading.js', { distinct }),
      ]),
    ]
  })
  return {
    title:
      'One writer thread, one aggregator thread, uniform keys, batch 64 (postMessage: transferred batches of 1,024; JavaScript peers fill a Set<bigint>)',
    rows,
    notes: ['lost: ids that were sent, and are not in the set'],
    plots: [{ kind: 'bars', title: 'M keys/s', values }],
  }
}

/** Against others, when what was marked is text, and has to come back as text? */
export function strings({ repeat, few, slow, peers, all, quick }) {
  const kinds = [
    'dirtyring',
    'dirtyring js',
    'KeyDictionary',
    'postMessage, 64',
    'postMessage, 1,024',
    'ringbuf.js',
    'rust strings',
    'Set<string>, one thread',
    'empty loop',
  ]
  const measured = kinds.filter((kind) => !peers.missing.has(kind))
  const count = quick ? 20_000 : 2_000_000
  const [sizes, usual] = [[20_000, 100_000, 1_000_000], 16]
  // By size with the usual text, by text with the smallest size; the whole grid takes hours.
  const loads = few([
    ...sizes.map((distinct) => ({ distinct, text: usual })),
    ...TEXTS.filter((text) => text !== usual).flatMap((text) =>
      (all ? sizes : sizes.slice(0, 1)).map((distinct) => ({ distinct, text })),
    ),
  ])
  const [bySize, byText] = [[], []]
  const rows = loads.flatMap(({ distinct, text }) => {
    const runs = repeat(
      'measure/strings.js',
      measured.map((kind) => ({ kind, distinct, text, count })),
      text === usual && distinct === sizes[0] ? undefined : slow,
    )
    const rates = runs.map((own) => median(own, rateOf))
    return kinds.map((kind) => {
      const row = { 'distinct keys': distinct, key: nameOf(text), pipeline: kind }
      const i = measured.indexOf(kind)
      if (i === -1) return { ...row, 'M keys/s': `not measured here: ${peers.missing.get(kind)}` }
      if (text === usual) bySize.push([`${grouped(distinct)} distinct keys`, kind, rates[i]])
      if (distinct === sizes[0]) byText.push([nameOf(text), kind, rates[i]])
      return {
        ...row,
        'M keys/s': show(runs[i], rateOf, rates[i] < 1 ? 3 : 1),
        'dirtyring is × this': (rates[0] / rates[i]).toFixed(2),
        ...costs(runs[i].map((run) => ({ ...run, lost: lostOf(run, runs[0][0]) }))),
      }
    })
  })
  const title = `${grouped(count)} text keys of one writer thread, until another thread has read the distinct ones back as strings`
  return {
    title,
    rows,
    notes: [
      'KeyDictionary: its ids go through dirtyring; postMessage: arrays of 64 or of 1,024 strings into a Set<string>; ringbuf.js: UTF-8 into a Set<string>; rust strings: Vec<String> of 64 into a HashSet<String>',
      'lost: keys that were sent and did not come back, or came back otherwise',
    ],
    plots: [
      { kind: 'bars', title: `M keys/s, ${nameOf(usual)}`, values: bySize },
      { kind: 'bars', title: `M keys/s, ${grouped(sizes[0])} distinct keys`, values: byText },
    ],
  }
}

/** A Rust pipeline says what it saw; what it was sent dirtyring's run of the same stream knows. */
function lostOf({ count, lost, distinctSeen }, ours) {
  if (lost !== undefined || distinctSeen === undefined || count !== ours.count) return lost
  return ours.expected - distinctSeen
}

/** How many writers? More of them than processors too. */
export function topologies({ repeat, few, slow, all }) {
  const loads = few([0.99, 0]).flatMap((skew) =>
    (all ? SIZES : [100_000]).flatMap((distinct) =>
      (all ? [1000, 40] : [40]).map((epochMs) => ({
        skew,
        distinct,
        epochMs,
        count: all ? 8_000_000 : 4_000_000,
      })),
    ),
  )
  const variants = loads.flatMap((load) => [
    ...FLOORS.map((kind) => ({ kind, ...load, count: FEWER })),
    ...few([1, 2, 4, 8, 12]).map((writers) => ({ kind: 'dirtyring', writers, ...load })),
  ])
  const runs = repeat('measure/pipeline.js', variants, slow)
  let single
  const rows = variants.map(({ kind, writers, skew, distinct, epochMs }, i) => {
    const rate = median(runs[i], rateOf)
    if (writers === 1) single = rate
    return {
      keys: skew > 0 ? `Zipf ${skew}` : 'uniform',
      'distinct keys': distinct,
      'epoch, ms': writers === undefined ? '' : epochMs,
      writers: writers ?? kind,
      'M keys/s': show(runs[i], rateOf),
      'of one writer': writers === undefined ? '' : (rate / single).toFixed(2),
      'suppressed, %':
        writers === undefined ? '' : percent(median(runs[i], ({ suppressed }) => suppressed)),
      ...costs(runs[i]),
    }
  })
  return {
    title: 'So many writer threads, one aggregator, and epochs that are taken and read meanwhile',
    rows,
  }
}

/** What do keys buy that come again and again? */
export function skew({ repeat, few, slow, quick }) {
  const ids = quick ? 10_000 : 10_000_000
  const loads = [
    ['uniform', { distinct: ids, epochMs: 1000 }],
    ['Zipf 0.99', { distinct: ids, skew: 0.99, epochMs: 1000 }],
    ['Zipf 0.99', { distinct: ids, skew: 0.99, epochMs: 40 }],
    ['Zipf 1.2', { distinct: ids, skew: 1.2, epochMs: 1000 }],
    ['one in five is one hot key', { distinct: 100_000, hot: 0.2, epochMs: 1000 }],
    ['one hot key', { distinct: 1, epochMs: 1000 }],
  ]
  const chosen = few(loads)
  const variants = [
    ...chosen.map(([, load]) => ({ kind: 'dirtyring', writers: 4, ...load })),
    ...FLOORS.map((kind) => ({ kind, count: FEWER, distinct: ids, skew: 0.99 })),
  ]
  const runs = repeat('measure/pipeline.js', variants, slow)
  const first = median(runs[0], rateOf)
  const rows = variants.map(({ kind, distinct, epochMs }, i) => ({
    keys: i < chosen.length ? chosen[i][0] : `Zipf 0.99: ${kind}`,
    ids: distinct,
    'epoch, ms': epochMs,
    'M keys/s': show(runs[i], rateOf),
    'of the first': (median(runs[i], rateOf) / first).toFixed(2),
    'suppressed, %': i < chosen.length ? percent(median(runs[i], (run) => run.suppressed)) : '',
    ...costs(runs[i]),
  }))
  return {
    title:
      'Four writers over skewed keys: a key that is staged is not staged again, while a tenth of the marks repeat one',
    rows,
    notes: ['suppressed: marks that cost the aggregator nothing, of all, by stats()'],
  }
}

/** Which batchSize? Keys a second against how soon a mark is in the set: the one real trade-off. */
export function batch({ repeat, few, slow, all }) {
  const rate = 1_000_000
  const sizes = few(
    all
      ? [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096]
      : [1, 4, 16, 64, 256, 1024, 4096],
  )
  const runs = repeat(
    'measure/pipeline.js',
    [
      ...sizes.map((batchSize) => ({
        kind: 'dirtyring',
        distinct: 100_000,
        batchSize,
        count: batchSize < 16 ? 2_000_000 : 8_000_000,
      })),
      ...FLOORS.map((kind) => ({ kind, distinct: 100_000, count: FEWER })),
    ],
    slow,
  )
  const seen = repeat(
    'measure/latency.js',
    sizes.map((batchSize) => ({ rate, distinct: 100_000, batchSize, visible: true, seconds: 1 })),
    slow,
  )
  const rates = sizes.map((_, i) => median(runs[i], rateOf))
  const knee = sizes.find((_, i) => rates[i] >= KNEE * Math.max(...rates))
  const visible = (i, share) => median(seen[i], ({ visibility }) => visibility[share])
  const rows = [...sizes, ...FLOORS].map((batchSize, i) => ({
    batchSize,
    'M keys/s': show(runs[i], rateOf),
    ...(i < sizes.length
      ? {
          'in the set after, p50, µs': visible(i, 'p50').toFixed(1),
          p99: visible(i, 'p99').toFixed(1),
          max: visible(i, 'max').toFixed(0),
        }
      : {}),
    ...costs(runs[i]),
    knee: batchSize === knee ? '◀ knee' : '',
  }))
  return {
    title:
      'One writer, 100,000 distinct keys, by batchSize: keys a second as fast as it goes, and from a mark until it is in the set at 1 M marks/s',
    rows,
    notes: [
      `The knee, ${knee}: the smallest batch with ${percent(KNEE, 0)} % of the best rate.`,
      `At 1 M marks/s a batch of n takes n µs to fill: larger than that is only what the ring, the aggregator and the scheduler add.`,
    ],
    plots: [
      {
        kind: 'tradeoff',
        title: 'by batchSize',
        knee,
        left: { name: 'M keys/s', points: sizes.map((size, i) => [size, rates[i]]) },
        right: ['p50', 'p99'].map((share) => ({
          name: `in the set after, ${share}, µs`,
          points: sizes.map((size, i) => [size, visible(i, share)]),
        })),
      },
    ],
  }
}

/** What does BatchRing carry by itself, by the size of a batch? */
export function ring({ repeat, few, peers }) {
  const kinds = [
    'BatchRing, wait()',
    'BatchRing, batches()',
    'ringbuf.js',
    'postMessage, copied',
    'postMessage, transferred',
    'empty loop',
  ]
  const measured = kinds.filter((kind) => !peers.missing.has(kind))
  // Smaller batches take longer a word: fewer words.
  const sizes = few([
    { batch: 1, count: 500_000 },
    { batch: 64, count: 8_000_000 },
    { batch: 1024, count: 32_000_000 },
  ])
  const variants = sizes.flatMap((size) => measured.map((kind) => ({ kind, ...size })))
  const runs = repeat('measure/ring.js', variants)
  const wordRate = ({ mWordsPerSecond }) => mWordsPerSecond
  const values = []
  const rows = sizes.flatMap(({ batch }) => {
    const runsOf = (kind) =>
      runs[variants.findIndex((one) => one.kind === kind && one.batch === batch)]
    const ours = median(runsOf('BatchRing, wait()'), wordRate)
    return kinds.map((kind) => {
      const own = runsOf(kind)
      const row = { 'words a batch': batch, channel: kind }
      if (own === undefined)
        return { ...row, 'M words/s': `not measured here: ${peers.missing.get(kind)}` }
      const rate = median(own, wordRate)
      values.push([`batches of ${grouped(batch)}`, kind, rate])
      return {
        ...row,
        'M words/s': show(own, wordRate, rate < 1 ? 3 : 1),
        'wait() is × this': (ours / rate).toFixed(2),
        'µs a batch': show(own, (run) => batch / wordRate(run), 2),
        'CPU ns a word': median(own, ({ cpuNs }) => cpuNs).toFixed(1),
        lost: own.reduce((sum, { lost }) => sum + lost, 0),
      }
    })
  })
  return {
    title:
      'One producer thread, one consumer thread, batches of 64-bit words: BatchRing by itself beside other channels',
    rows,
    notes: [
      'Each word is written into a batch, and read out of it. ringbuf.js is polled without a pause: its consumer never sleeps.',
    ],
    plots: [{ kind: 'bars', title: 'M words/s', values }],
  }
}
