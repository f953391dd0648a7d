/** What does a load do that goes on at its own rate? Questions to load.js. */
import { memoryFootprint } from '../../dist/index.js'
import { costs, grouped, median, percent, rateOf, show } from '../harness/tables.js'

const SET = 'Set<bigint>, a thread its own'

/** What a row of a load says. */
function columns(runs) {
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

function histograms(names, runs) {
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

/** Candidates of the grid; a default is among them. */
const BATCH_SIZES = [16, 64, 256, 1024]
const LANE_CAPACITIES = [4096, 16_384, 65_536]
/** A choice may cost so much more than the best one. */
const TOLERANCE = 1.1
/** Of the time: what a writer may be stopped without more lane. */
const STOPPED_MAX = 0.001
/** Room beyond the largest epoch that was seen. */
const HEADROOM = 1.5
/** The rate that was asked for is reached, but for this. */
const REACHED = 0.98

/** Which options for a load of mine? */
export function tune({
  measure,
  few,
  load: { writers, rate, epoch: epochMs, keys: distinct, skew },
}) {
  const load = {
    writers,
    rate,
    epochMs,
    distinct,
    skew,
    seconds: Math.min(6, Math.max(2, (2.2 * epochMs) / 1000)),
  }
  const run = (options) => measure('measure/load.js', { ...load, options })
  // First: how many keys does an epoch have? As many as there are ids fit, whatever it says.
  const sized = run({ maxKeysPerEpoch: Math.min(distinct, 2 ** 26) })
  const maxKeysPerEpoch = powerOfTwo(sized.keysAnEpoch.max * HEADROOM)
  const common = {
    maxWriters: Math.max(4, powerOfTwo(writers * 2)),
    maxKeysPerEpoch,
    flushIntervalMs: Math.min(10, Math.max(1, Math.round(epochMs / 4))),
  }

  const grid = few(BATCH_SIZES).flatMap((batchSize) =>
    few(LANE_CAPACITIES).map((laneCapacity) => {
      const options = { ...common, batchSize, laneCapacity }
      return { batchSize, laneCapacity, options, result: run(options) }
    }),
  )
  // How soon a key is in the set is up to a writer's own rate.
  const visible = new Map(
    few(BATCH_SIZES).map((batchSize) => {
      const { visibility } = measure('measure/latency.js', {
        rate: Math.max(1, (rate || 1_000_000) / writers),
        distinct,
        batchSize,
        everyMs: epochMs,
        visible: true,
        seconds: 1,
      })
      return [batchSize, visibility]
    }),
  )
  const reaching = grid.filter(
    ({ result }) => rate === 0 || result.mKeysPerSecond * 1e6 >= rate * REACHED,
  )
  const fit = reaching.length > 0 ? reaching : grid
  const cost = ({ result }) => (rate === 0 ? 1 / result.mKeysPerSecond : result.cpuNs)
  const cheapest = Math.min(...fit.map(cost))
  const calm = fit.filter(
    (each) =>
      each.result.stopped <= STOPPED_MAX + Math.min(...fit.map(({ result }) => result.stopped)),
  )
  // Of those within the noise of the best: the smallest batch is visible soonest, the smallest lane
  // is the least memory.
  const bySize = (a, b) => a.batchSize - b.batchSize || a.laneCapacity - b.laneCapacity
  const chosen =
    calm.filter((each) => cost(each) <= cheapest * TOLERANCE).toSorted(bySize)[0] ??
    calm.toSorted((a, b) => cost(a) - cost(b))[0]
  const capacity = Math.max(64, powerOfTwo(2 * chosen.result.queuedPeak))
  const options = { ...chosen.options, capacity }

  const mib = (each) => memoryFootprint(each).total / 2 ** 20
  const more = (name, value) =>
    `+${(mib({ ...options, [name]: value }) - mib(options)).toFixed(1)} MiB`
  const at = (batchSize, laneCapacity) =>
    grid.find((each) => each.batchSize === batchSize && each.laneCapacity === laneCapacity)
  const plainKernel = run({ ...options, kernel: 'js' })
  const us = (value) => `${value.toFixed(0)} µs`
  const notes = [
    `An epoch had up to ${grouped(sized.keysAnEpoch.max)} keys${sized.epochs < 2 ? ' (only one epoch was seen)' : ''}; ${(sized.marked / 1e6).toFixed(2)} M marks, lost: ${grid.reduce((sum, { result }) => sum + result.lost, sized.lost)}`,
    ...(reaching.length === 0
      ? [
          `This machine does not do ${grouped(rate)} marks/s with ${writers} writers: the best of the grid did ${grouped(Math.round(Math.max(...grid.map(({ result }) => result.mKeysPerSecond * 1e6))))}`,
        ]
      : []),
    '',
    `await DirtyTracker.create(${JSON.stringify(options, undefined, 1).replace(/\n\s*/g, ' ').replace(/"/g, '')})`,
    '',
    `memory: ${mib(options).toFixed(1)} MiB reserved (defaults: ${mib({}).toFixed(1)}), of it epochs ${(memoryFootprint(options).epochs / 2 ** 20).toFixed(1)}, lanes ${(memoryFootprint(options).lanes / 2 ** 20).toFixed(1)}`,
    `here: CPU ${chosen.result.cpuNs.toFixed(0)} ns a mark, ${percent(chosen.result.stopped, 2)} % stopped, cut p99 ${(chosen.result.seal.p99 / 1000).toFixed(2)} ms, in the set after ${us(visible.get(chosen.batchSize).p50)} (p99 ${us(visible.get(chosen.batchSize).p99)})`,
    '',
    'what each knob would buy:',
    ...[...visible.keys()]
      .filter((size) => size !== chosen.batchSize)
      .map((size) => {
        const { result } = at(size, chosen.laneCapacity)
        return `  batchSize ${size}: CPU ${signed(result.cpuNs / chosen.result.cpuNs - 1)} %, in the set after ${us(visible.get(size).p50)} (p99 ${us(visible.get(size).p99)})`
      }),
    ...few(LANE_CAPACITIES)
      .filter((lane) => lane !== chosen.laneCapacity)
      .map((lane) => {
        const { result } = at(chosen.batchSize, lane)
        return `  laneCapacity ${lane}: ${percent(result.stopped, 2)} % stopped, a group at worst ${(result.mark.max / 1000).toFixed(1)} ms, ${signedMib(mib({ ...options, laneCapacity: lane }) - mib(options))}`
      }),
    `  capacity ${capacity * 4}: nothing, while the ring is not full (most there ever were: ${chosen.result.queuedPeak}), ${more('capacity', capacity * 4)}`,
    `  maxKeysPerEpoch ${maxKeysPerEpoch * 2}: epochs of twice the keys stay exact, ${more('maxKeysPerEpoch', maxKeysPerEpoch * 2)}`,
    `  epochSlots 5 instead of 4: one more epoch may be unsettled, ${more('epochSlots', 5)}`,
    `  maxWriters ${common.maxWriters * 2}: room for more workers, ${more('maxWriters', common.maxWriters * 2)}`,
    `  kernel 'js': CPU ${signed(plainKernel.cpuNs / chosen.result.cpuNs - 1)} %`,
  ]
  return {
    title: `${writers} writers, ${rate === 0 ? 'as fast as they go' : `${grouped(rate)} marks/s`}, an epoch every ${epochMs} ms, ${grouped(distinct)} keys, skew ${skew}`,
    rows: [
      ...grid.map(({ batchSize, laneCapacity, result }) => ({
        batchSize,
        laneCapacity,
        ...columns([result]),
        'in the set after, p50, µs': visible.get(batchSize).p50.toFixed(0),
        'p99, µs': visible.get(batchSize).p99.toFixed(0),
        chosen: batchSize === chosen.batchSize && laneCapacity === chosen.laneCapacity ? '◀' : '',
      })),
      ...[SET, 'empty loop'].map((kind) => ({
        batchSize: kind,
        ...columns([measure('measure/load.js', { ...load, kind })]),
      })),
    ],
    notes,
    options,
    plots: [
      {
        kind: 'heat',
        title: 'CPU ns a mark, time stopped; laneCapacity across, batchSize down',
        cells: grid.map(({ batchSize, laneCapacity, result }) => ({
          x: laneCapacity,
          y: batchSize,
          value: result.cpuNs,
          label: [`${result.cpuNs.toFixed(0)} ns`, `${percent(result.stopped, 2)} %`],
        })),
      },
      ...histograms(['chosen'], [[chosen.result]]),
    ],
  }
}

/** The smallest that is at least so much. */
function powerOfTwo(least) {
  return 2 ** Math.ceil(Math.log2(Math.max(2, least)))
}

function signed(share) {
  return `${share < 0 ? '−' : '+'}${percent(Math.abs(share), 0)}`
}

function signedMib(mib) {
  return `${mib < 0 ? '−' : '+'}${Math.abs(mib).toFixed(1)} MiB`
}
