/**
 * Which options does a load need? Runs the load with each pair of a grid, takes off what the same
 * load costs when a mark does nothing, and ends in the options to take.
 */
import { memoryFootprint } from '../../dist/index.js'
import { grouped, percent } from '../harness/tables.js'
import { storedBytes } from '../harness/texts.js'
import { columns, histograms, SET } from './loads.js'

/** Candidates of the grid; a default is among them. */
const BATCH_SIZES = [16, 64, 256, 1024]
const LANE_CAPACITIES = [4096, 16_384, 65_536]
/** A choice may cost so much more than the best one. */
const TOLERANCE = 1.1
/** Of the time: what a writer may be stopped without more lane. */
const STOPPED_MAX = 0.001
/** Room beyond the largest epoch that was seen. */
const HEADROOM = 1.5
/** A run reaches the rate that was asked for if it comes so near. */
const REACHED = 0.98
/** How often the idle load is measured; their spread is what a difference cannot be told from. */
const IDLE_RUNS = 3
/** Marks that are timed together: see load.js. */
const GROUP = 8
/** What a flat-out writer does a second, where its keys' way into the set is watched. */
const FLAT_OUT_RATE = 1_000_000

/** What a load costs: at a rate the processor's time, flat out the marks that it does not do. */
const costColumn = (rate) => (rate === 0 ? 'M marks/s' : 'CPU, % of a core')

export function tune({ measure, few, load: { writers, rate, epoch: epochMs, keys, skew, text } }) {
  const load = {
    writers,
    rate,
    epochMs,
    distinct: keys,
    skew,
    text,
    seconds: Math.min(6, Math.max(2, (2.2 * epochMs) / 1000)),
  }
  const run = (options) => measure('measure/load.js', { ...load, options })
  const idleRuns = []
  const idleRun = () =>
    idleRuns.push(
      measure('measure/load.js', { ...load, kind: 'empty loop' }, idleRuns.length /* afresh */),
    )

  idleRun()
  // First: how many keys does an epoch have? As many as there are ids fit, whatever it says.
  const sized = run(roomFor(Math.min(keys, 2 ** 26), text))
  const common = {
    maxWriters: Math.max(4, powerOfTwo(writers * 2)),
    ...roomFor(powerOfTwo(sized.keysAnEpoch.max * HEADROOM), text),
    flushIntervalMs: Math.min(10, Math.max(1, Math.round(epochMs / 4))),
  }
  const grid = few(BATCH_SIZES).flatMap((batchSize, i) => {
    if (i === BATCH_SIZES.length >> 1) idleRun()
    return few(LANE_CAPACITIES).map((laneCapacity) => {
      const options = { ...common, batchSize, laneCapacity, ...textRoomOf(laneCapacity, text) }
      return { batchSize, laneCapacity, options, result: run(options) }
    })
  })
  while (idleRuns.length < few(Array.from({ length: IDLE_RUNS })).length) idleRun()
  const cpu = withoutIdle(idleRuns, rate)

  // How soon a key is in the set depends on the rate of one writer.
  const visible = new Map(
    few(BATCH_SIZES).map((batchSize) => {
      const { visibility } = measure('measure/latency.js', {
        rate: Math.max(1, (rate || FLAT_OUT_RATE) / writers),
        distinct: keys,
        batchSize,
        flushIntervalMs: common.flushIntervalMs,
        everyMs: epochMs,
        visible: true,
        seconds: 1,
      })
      return [batchSize, visibility]
    }),
  )
  const { chosen, isReached } = choose({ grid, visible, rate, epochMs, cpu })
  const capacity = Math.max(64, powerOfTwo(2 * chosen.result.queuedPeak))
  const options = { ...chosen.options, capacity }
  const plainKernel = run({ ...options, kernel: 'js' })
  const plainSetKind = text > 0 ? SET.replace('bigint', 'string') : SET
  const plainSet = measure('measure/load.js', { ...load, kind: plainSetKind })

  const cost = (result) =>
    rate === 0
      ? `${result.mKeysPerSecond.toFixed(2)} M marks/s`
      : `${cpu.percentOf(result)} % of a core`
  const row = (result) => ({
    'CPU, % of a core': cpu.percentOf(result),
    'CPU ns a mark': cpu.nsOf(result),
    ...columns([result]),
  })
  return {
    title:
      `${writers} writers, ` +
      `${rate === 0 ? 'as fast as they go' : `${grouped(rate)} marks/s`}, ` +
      `an epoch every ${epochMs} ms, ${grouped(keys)} keys` +
      `${text > 0 ? ` of ${text} bytes` : ''}, skew ${skew}`,
    printed: ['batchSize', 'laneCapacity', costColumn(rate), 'stopped, %', 'visible p99, ms'],
    rows: [
      ...grid.map(({ batchSize, laneCapacity, result }) => ({
        batchSize:
          batchSize === chosen.batchSize && laneCapacity === chosen.laneCapacity
            ? `${batchSize} ◀`
            : batchSize,
        laneCapacity,
        ...row(result),
        'visible p50, ms': milliseconds(visible.get(batchSize).p50),
        'visible p99, ms': milliseconds(visible.get(batchSize).p99),
      })),
      { batchSize: plainSetKind, ...row(plainSet) },
      { batchSize: 'empty loop', ...row(idleRuns[0]) },
    ],
    notes: [
      ...(isReached
        ? []
        : [
            `This machine does not do ${grouped(rate)} marks/s with ${writers} writers. ` +
              `The best run did ${grouped(bestRate(grid))}.`,
          ]),
      ...(rate === 0
        ? []
        : [
            'CPU: all threads together, without the idle load: the same load with marks that do',
            `nothing, ${percent(cpu.idleShare)} % of a core.`,
          ]),
      'Visible: from a mark until its key is in the set.',
      `Marks that were lost: ${grid.reduce((sum, { result }) => sum + result.lost, sized.lost)}.`,
      '',
      ...call(options),
      '',
      ...advice({ options, chosen, grid, visible, few, cost, cpu, plainKernel, sized }),
    ],
    options,
    plots: [
      {
        kind: 'heat',
        title: `${costColumn(rate)}, time stopped; laneCapacity across, batchSize down`,
        cells: grid.map(({ batchSize, laneCapacity, result }) => ({
          x: laneCapacity,
          y: batchSize,
          value: rate === 0 ? -result.mKeysPerSecond : Math.max(0, cpu.shareOf(result)),
          label: [cost(result), `${percent(result.stopped, 2)} %`],
        })),
      },
      ...histograms(['chosen'], [[chosen.result]]),
    ],
  }
}

/**
 * What a run costs beyond the idle load. Writers at a rate idle for as long as they do in the idle
 * load, so the shares of a core are subtracted. Writers that are as fast as they go do not idle:
 * only what a mark costs is subtracted.
 */
function withoutIdle(idleRuns, rate) {
  const shares = idleRuns.map(({ cpuShare }) => cpuShare).toSorted((a, b) => a - b)
  const idleShare = shares[shares.length >> 1]
  /** Of a core: a smaller difference cannot be told from none. */
  const noise = rate === 0 ? 0 : shares.at(-1) - shares[0]
  const shareOf = ({ cpuShare }) => (rate === 0 ? cpuShare : cpuShare - idleShare)
  const told = (share, text) =>
    share > noise ? text(share) : noise > 0 ? `< ${text(noise)}` : text(0)
  return {
    idleShare,
    noise,
    shareOf,
    percentOf: (result) => told(shareOf(result), (share) => percent(share)),
    nsOf: (result) =>
      rate === 0
        ? (result.cpuNs - idleRuns[0].cpuNs).toFixed(1)
        : told(shareOf(result), (share) => ((share / result.mKeysPerSecond) * 1000).toFixed(0)),
  }
}

/**
 * Of the runs that reach the rate, are hardly stopped, and have a key in the set before the next
 * cut: those within the noise of the cheapest. Of these the smallest batch, because it is visible
 * soonest, and the smallest lane, because it takes the least memory.
 */
function choose({ grid, visible, rate, epochMs, cpu }) {
  const reaching = grid.filter(
    ({ result }) => rate === 0 || result.mKeysPerSecond * 1e6 >= rate * REACHED,
  )
  const fit = orAll(reaching, grid)
  const soon = orAll(
    fit.filter(({ batchSize }) => visible.get(batchSize).p99 < epochMs * 1000),
    fit,
  )
  const leastStopped = Math.min(...soon.map(({ result }) => result.stopped))
  const calm = soon.filter(({ result }) => result.stopped <= STOPPED_MAX + leastStopped)
  const cost = ({ result }) => (rate === 0 ? 1 / result.mKeysPerSecond : cpu.shareOf(result))
  const cheapest = Math.min(...calm.map(cost))
  const most = cheapest * TOLERANCE + cpu.noise
  const [chosen] = calm
    .filter((each) => cost(each) <= Math.max(cheapest, most))
    .toSorted((a, b) => a.batchSize - b.batchSize || a.laneCapacity - b.laneCapacity)
  return { chosen, isReached: reaching.length > 0 }
}

function orAll(some, all) {
  return some.length > 0 ? some : all
}

function bestRate(grid) {
  return Math.round(Math.max(...grid.map(({ result }) => result.mKeysPerSecond * 1e6)))
}

/** The call to copy, in lines that fit. */
function call(options) {
  const lines = Object.entries(options).map(
    ([name, value]) => `  ${name}: ${typeof value === 'string' ? `'${value}'` : value},`,
  )
  return ['await DirtyTracker.create({', ...lines, '})']
}

/** What the chosen options take and give, and what each other value would change. */
function advice({ options, chosen, grid, visible, few, cost, cpu, plainKernel, sized }) {
  const { batchSize, laneCapacity, result } = chosen
  const mib = (each) => memoryFootprint(each).total / 2 ** 20
  const isText = options.maxStringsPerEpoch > 0
  const size = isText ? 'maxStringsPerEpoch' : 'maxKeysPerEpoch'
  const more = (name, value) => signedMib(mib({ ...options, [name]: value }) - mib(options))
  const at = (size, lane) =>
    grid.find((each) => each.batchSize === size && each.laneCapacity === lane).result
  const soon = (size) =>
    `visible after ${milliseconds(visible.get(size).p50)} ms ` +
    `(p99 ${milliseconds(visible.get(size).p99)})`
  return [
    `memory: ${mib(options).toFixed(1)} MiB reserved (the defaults reserve ${mib({}).toFixed(1)})`,
    `here: ${cost(result)}, stopped ${percent(result.stopped, 2)} %, ` +
      `cut p99 ${milliseconds(result.seal.p99)} ms, ${soon(batchSize)}`,
    `a mark: ${((1000 * result.mark.p50) / GROUP).toFixed(0)} ns of the writer's thread (p50), ` +
      `${cpu.nsOf(result)} ns of all threads (mean, with wake-ups)`,
    `an epoch: at most ${grouped(sized.keysAnEpoch.max)} keys` +
      (sized.epochs < 2 ? ' (only one epoch was seen)' : ''),
    '',
    'other values:',
    ...[...visible.keys()]
      .filter((size) => size !== batchSize)
      .map((size) => `  batchSize ${size}: ${cost(at(size, laneCapacity))}, ${soon(size)}`),
    ...few(LANE_CAPACITIES)
      .filter((lane) => lane !== laneCapacity)
      .map((lane) => {
        const { stopped, mark } = at(batchSize, lane)
        return (
          `  laneCapacity ${lane}: stopped ${percent(stopped, 2)} %, ` +
          `8 marks at worst ${milliseconds(mark.max)} ms, ${more('laneCapacity', lane)}`
        )
      }),
    `  capacity ${options.capacity * 4}: nothing while the ring is not full (at most ` +
      `${result.queuedPeak} batches were in it), ${more('capacity', options.capacity * 4)}`,
    `  ${size} ${options[size] * 2}: epochs of twice the keys stay exact` +
      `${isText ? ' if their bytes fit' : ''}, ${more(size, options[size] * 2)}`,
    ...(isText
      ? [
          `  maxStringBytesPerEpoch ${options.maxStringBytesPerEpoch * 2}: twice the bytes, ` +
            more('maxStringBytesPerEpoch', options.maxStringBytesPerEpoch * 2),
        ]
      : ['  maxStringsPerEpoch: leave it out if you mark strings too (--text N measures them)']),
    `  epochSlots 5 instead of 4: one more epoch may be unsettled, ${more('epochSlots', 5)}`,
    `  maxWriters ${options.maxWriters * 2}: room for more workers, ` +
      more('maxWriters', options.maxWriters * 2),
    `  kernel 'js': ${cost(plainKernel)}`,
  ]
}

/** Options of a tracker whose epochs hold so many of the load's keys, and no others. */
function roomFor(keys, text) {
  if (text === 0) return { maxKeysPerEpoch: keys, maxStringsPerEpoch: 0 }
  return {
    keys: 'string',
    maxKeysPerEpoch: 1,
    maxStringsPerEpoch: keys,
    maxStringBytesPerEpoch: powerOfTwo(keys * text),
  }
}

/** A text ring that is full when the lane is. */
function textRoomOf(laneCapacity, text) {
  if (text === 0) return {}
  return { laneTextBytes: Math.min(2 ** 26, powerOfTwo(laneCapacity * storedBytes(1, text))) }
}

/** The smallest that is at least so much. */
function powerOfTwo(least) {
  return 2 ** Math.ceil(Math.log2(Math.max(2, least)))
}

function milliseconds(us) {
  return Number((us / 1000).toPrecision(2)).toString()
}

function signedMib(mib) {
  return `${mib < 0 ? '−' : '+'}${Math.abs(mib).toFixed(1)} MiB`
}
