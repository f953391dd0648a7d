/** What does a load do that goes on at its own rate? Questions to load.js. */
import { costs, grouped, median, percent, rateOf, show } from '../harness/tables.js'

export const SET = 'Set<bigint>, a thread its own'

/** What a row of a load says. */
export function columns(runs) {
  const ms = (pick, digits = 2) => (median(runs, pick) / 1000).toFixed(digits)
  return {
    'M marks/s': show(runs, rateOf, 2),
    epochs: median(runs, ({ epochs }) => epochs),
    'keys an epoch': median(runs, ({ keysAnEpoch }) => keysAnEpoch.median),
    inexact: runs.reduce((sum, { inexact }) => sum + inexact, 0),
    'cut p50, ms': ms(({ seal }) => seal.p50),
    p99: ms(({ seal }) => seal.p99),
    max: ms(({ seal }) => seal.max),
    '8 marks p50, µs': median(runs, ({ mark }) => mark.p50).toFixed(2),
    'p99.9': median(runs, ({ mark }) => mark.p999).toFixed(1),
    'stopped, %': percent(
      median(runs, ({ stopped }) => stopped),
      2,
    ),
    'suppressed, %': percent(median(runs, ({ suppressed }) => suppressed)),
    ...costs(runs),
    'of a core': median(runs, ({ cpuShare }) => cpuShare).toFixed(2),
  }
}

const STOPPED =
  'stopped: of the writers’ time, what was in groups of 8 marks (or a transaction) that took more than 50 µs: a full lane, or a scheduler with more threads than processors'

/** How does it bear what applications do? */
export function workloads({ repeat, few, slow }) {
  const M = 1_000_000
  const checkpoint = { writers: 8, rate: M, epochMs: 1000, distinct: 10 * M, skew: 0.99 }
  const loads = few(
    [
      [
        'game tick, bursts',
        { writers: 1, rate: 2 * M, epochMs: 16.7, burstMs: 16.7, distinct: 20_000 },
      ],
      ['checkpoint', checkpoint],
      ['checkpoint: a plain Set a thread', { ...checkpoint, kind: SET }],
      ['checkpoint: the empty loop', { ...checkpoint, kind: 'empty loop' }],
      ['invalidation tick', { writers: 4, rate: M, epochMs: 40, distinct: M, skew: 1.2 }],
      [
        'low-skew ingest',
        {
          writers: 4,
          rate: 2 * M,
          epochMs: 1000,
          distinct: 10 * M,
          options: { maxKeysPerEpoch: 4 * M },
        },
      ],
      [
        'transactions of about 17',
        { writers: 4, rate: M, epochMs: 100, distinct: M, skew: 0.99, txn: 17 },
      ],
      ['one hot key, flat out', { writers: 2, rate: 0, epochMs: 100, distinct: 1 }],
      [
        'consumer stalled 2 s',
        { writers: 2, rate: M, epochMs: 40, distinct: 100_000, stallMs: 2000 },
      ],
      ['1,000 epochs a second', { writers: 2, rate: M, epochMs: 1, distinct: 100_000 }],
    ],
    -1,
  )
  const runs = repeat(
    'measure/load.js',
    loads.map(([, load]) => load),
    slow,
  )
  return {
    title: 'Workloads, three seconds each',
    rows: loads.map(([load, { writers, epochMs, distinct, skew = 0 }], i) => ({
      load,
      writers,
      'epoch, ms': epochMs,
      ids: grouped(distinct),
      skew,
      ...columns(runs[i]),
    })),
    notes: [STOPPED],
    plots: histograms(
      loads.map(([name]) => name),
      runs,
    ),
  }
}

/** The marks and the cuts of some loads, by how long they took. */
export function histograms(names, runs) {
  return [
    {
      kind: 'histogram',
      title: '8 marks, or a transaction',
      series: names.map((name, i) => ({ name, bins: runs[i][0].mark.bins })),
    },
    {
      kind: 'histogram',
      title: 'the cut',
      series: names.map((name, i) => ({ name, bins: runs[i][0].seal.bins })),
    },
  ]
}

/** Which laneCapacity and capacity, for bursts? */
export function bursts({ repeat, few, slow, all }) {
  const burst = {
    writers: 1,
    rate: 2_500_000,
    burstMs: 20,
    epochMs: 100,
    distinct: 100_000,
    seconds: 2,
  }
  const options = few(all ? [256, 1024, 4096, 16_384, 65_536] : [1024, 8192, 65_536]).flatMap(
    (laneCapacity) =>
      few([16, 128, 1024]).map((capacity) => ({ laneCapacity, capacity, batchSize: 64 })),
  )
  const runs = repeat(
    'measure/load.js',
    [
      ...options.map((each) => ({ ...burst, options: each })),
      { ...burst, kind: SET },
      { ...burst, kind: 'empty loop' },
    ],
    slow,
  )
  const cells = options.map(({ laneCapacity, capacity }, i) => {
    const stopped = median(runs[i], (run) => run.stopped)
    const stall = median(runs[i], ({ mark }) => mark.p999)
    return {
      x: capacity,
      y: laneCapacity,
      value: stopped,
      label: [
        `${percent(stopped, 2)} %`,
        `${stall.toFixed(0)} µs`,
        `${runs[i][0].mib.toFixed(0)} MiB`,
      ],
    }
  })
  return {
    title:
      'Bursts of 50,000 marks every 20 ms from one writer, by laneCapacity (keys) and capacity (batches)',
    rows: runs.map((own, i) => ({
      laneCapacity: options[i]?.laneCapacity ?? (i === options.length ? SET : 'empty loop'),
      capacity: options[i]?.capacity ?? '',
      'stopped, %': show(own, ({ stopped }) => stopped * 100, 2),
      'p99.9 of 8 marks, µs': median(own, ({ mark }) => mark.p999).toFixed(1),
      'max, ms': (median(own, ({ mark }) => mark.max) / 1000).toFixed(1),
      MiB: i < options.length ? own[0].mib.toFixed(1) : '',
      ...costs(own),
    })),
    notes: [STOPPED],
    plots: [
      {
        kind: 'heat',
        title: 'time stopped, p99.9 of 8 marks, memory; capacity across, laneCapacity down',
        cells,
      },
    ],
  }
}
