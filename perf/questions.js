/** What a person who chooses, or tunes, wants to know. Each question answers with { title, rows, notes? }, rows being what is printed. */

const SIZES = [2_000, 100_000, 4_000_000]
/** The TypeScript kernel, and whoever takes seconds a run, with fewer keys. */
const COUNTS = { postMessage: 4_000_000, 'ringbuf.js': 4_000_000 }

export const questions = {
  pipeline: { byDefault: true, ask: pipeline },
  writers: { byDefault: true, ask: writers },
  skew: { byDefault: true, ask: skew },
  mark: { byDefault: true, ask: mark },
  dictionary: { byDefault: true, ask: dictionary },
  set: { byDefault: true, ask: set },
  kernel: { byDefault: true, ask: kernel },
  cycle: { byDefault: true, ask: cycle },
  latency: { byDefault: true, ask: latency },
  seal: { byDefault: true, ask: seal },
  memory: { byDefault: true, ask: memory },
  garbage: { byDefault: true, ask: garbage },
  idle: { byDefault: true, ask: idle },
  batch: { byDefault: false, ask: batch },
  tune: { byDefault: false, ask: tune },
}

/** How many keys a second go from one writer thread into a set on another one, against others? */
function pipeline({ repeat, peers }) {
  const kinds = [
    'dirtyring',
    'dirtyring js',
    'postMessage',
    ...(peers.javascript ? ['ringbuf.js'] : []),
    ...(peers.rust ? ['rust siphash', 'rust identity'] : []),
  ]
  const rows = SIZES.flatMap((distinct) => {
    const runs = repeat(
      'pipeline.js',
      kinds.map((kind) => ({ kind, distinct, ...(kind in COUNTS ? { count: COUNTS[kind] } : {}) })),
    )
    const ours = rateOf(runs[0]).median
    return kinds.map((kind, i) => {
      const seen = new Set(runs[i].map(({ distinctSeen, count }) => `${distinctSeen} of ${count}`))
      if (seen.size !== 1) throw new Error(`${kind} at ${distinct} distinct keys: the sets differ: ${[...seen].join(', ')}`)
      return {
        'distinct keys': distinct,
        pipeline: kind,
        'M keys/s': show(rateOf(runs[i])),
        'dirtyring is × this': (ours / rateOf(runs[i]).median).toFixed(2),
        'CPU ns a key': runs[i][0].cpuNs === undefined ? '' : spread(runs[i].map(({ cpuNs }) => cpuNs)).median.toFixed(1),
        waits: runs[i][0].waits === undefined ? '' : spread(runs[i].map(({ waits }) => waits)).median,
        lost: lostOf(runs, i),
        median: rateOf(runs[i]).median,
      }
    })
  })
  return {
    title:
      'One writer thread, one aggregator thread, uniform keys, batch 64 (postMessage: transferred batches of 1,024; JavaScript peers fill a Set<bigint>)',
    rows,
    notes: ['lost: distinct keys fewer than dirtyring saw of the same stream'],
  }
}

/** Peers that were sent the same number of keys must have seen the same ones. */
function lostOf(runs, i) {
  return runs[i][0].count === runs[0][0].count ? runs[0][0].distinctSeen - runs[i][0].distinctSeen : '(fewer sent)'
}

/** How many writers? */
function writers({ repeat }) {
  const numbers = [1, 2, 3, 4, 8]
  const runs = repeat(
    'pipeline.js',
    numbers.map((each) => ({ kind: 'dirtyring', distinct: 100_000, writers: each })),
  )
  const one = rateOf(runs[0]).median
  const rows = numbers.map((each, i) => ({
    writers: each,
    'M keys/s': show(rateOf(runs[i])),
    'of one writer': (rateOf(runs[i]).median / one).toFixed(2),
    'CPU ns a key': spread(runs[i].map(({ cpuNs }) => cpuNs)).median.toFixed(1),
    waits: spread(runs[i].map(({ waits }) => waits)).median,
  }))
  return { title: 'Several writers, 100,000 distinct keys: more threads than cores where there are more', rows }
}

/** What does skew do, and how short may an epoch be? */
function skew({ repeat }) {
  const variants = [
    { kind: 'dirtyring', writers: 4, distinct: 10_000_000, epochMs: 1000 },
    { kind: 'dirtyring', writers: 4, ids: 10_000_000, epochMs: 1000 },
    { kind: 'dirtyring', writers: 4, ids: 10_000_000, epochMs: 40 },
  ]
  const runs = repeat('pipeline.js', variants)
  const rows = variants.map(({ ids, epochMs }, i) => ({
    keys: ids === undefined ? 'uniform' : 'Zipf 0.99',
    'epoch, ms': epochMs,
    'M keys/s': show(rateOf(runs[i])),
    'of uniform': (rateOf(runs[i]).median / rateOf(runs[0]).median).toFixed(2),
    'CPU ns a key': spread(runs[i].map(({ cpuNs }) => cpuNs)).median.toFixed(1),
  }))
  return { title: 'Four writers over 10 million ids', rows }
}

/** What does a mark cost, by kind of key, the flush of every 64th included? */
function mark({ measure, repeat }) {
  const names = measure('mark.js')
  const runs = repeat(
    'mark.js',
    names.map((name) => ({ name })),
  )
  const rows = names.map((name, i) => ({ what: name, 'ns a call': show(spread(runs[i])) }))
  return { title: 'One thread, a lane of its own, publications included', rows }
}

/** What does a KeyDictionary cost, by call? */
function dictionary({ measure, repeat, slow }) {
  const names = measure('dictionary.js')
  const runs = repeat(
    'dictionary.js',
    names.map((name) => ({ name })),
    slow,
  )
  const rows = names.map((name, i) => ({ call: name, 'ns a call': show(spread(runs[i])) }))
  return { title: 'KeyDictionary on one thread, 100,000 keys in no order of memory', rows }
}

/** What does the set cost by itself? */
function set({ repeat, slow }) {
  const sizes = [2_000, 100_000, 1_000_000]
  const runs = repeat(
    'set.js',
    sizes.map((distinct) => ({ distinct })),
    slow,
  )
  const columns = Object.keys(runs[0][0]).filter((name) => name !== 'distinct keys')
  const rows = sizes.map((distinct, i) => ({
    'distinct keys': distinct,
    ...Object.fromEntries(columns.map((name) => [name, spread(runs[i].map((run) => Number(run[name]))).median.toFixed(1)])),
  }))
  return { title: 'The set by itself, ns a key that is in: FingerprintSet.addMany() of 64, has(), and Set', rows }
}

/** What is the bare kernel's share? */
function kernel({ repeat, slow }) {
  const runs = repeat(
    'kernel.js',
    SIZES.map((distinct) => ({ distinct })),
    slow,
  )
  const rows = SIZES.map((distinct, i) => ({
    'distinct keys': distinct,
    'TypeScript, M keys/s': show(spread(runs[i].map(({ js }) => js))),
    'WebAssembly, M keys/s': show(spread(runs[i].map(({ wasm }) => wasm))),
    'with the other processor busy': show(spread(runs[i].map(({ wasmBusy }) => wasmBusy))),
    'one mark after another, M keys/s': show(spread(runs[i].map(({ mark }) => mark))),
    'with the other busy': show(spread(runs[i].map(({ markBusy }) => markBusy))),
  }))
  return {
    title: 'The floor: each half of the pipeline alone on one thread, batches of 64',
    rows,
    notes: [
      'Where a busy neighbour halves both, the two processors are two halves of one core: the pipeline cannot be faster than half of either.',
    ],
  }
}

/** Does it hold up, epoch after epoch? */
function cycle({ repeat, slow }) {
  const runs = repeat('cycle.js', [{ distinct: 100_000 }, { distinct: 1_000_000 }], slow)
  const rows = [100_000, 1_000_000].map((distinct, i) => ({
    'distinct keys': distinct,
    'filling, M keys/s': show(spread(runs[i].map(({ filling }) => filling))),
    'fill, seal, hand out, commit, again': show(spread(runs[i].map(({ cycling }) => cycling))),
    'of filling': spread(runs[i].map(({ filling, cycling }) => cycling / filling)).median.toFixed(2),
  }))
  return { title: 'The steady cycle, 2 million marks an epoch, in memory used before', rows }
}

/** How long does a cut take under load, and what does a mark take at worst? */
function latency({ repeat, slow }) {
  const variants = [
    { rate: 20_000_000, distinct: 100_000 },
    { rate: 0, distinct: 100_000 },
    { rate: 20_000_000, distinct: 1_000_000 },
  ]
  const runs = repeat('latency.js', variants, slow)
  const median = (i, pick, digits) => spread(runs[i].map(pick)).median.toFixed(digits)
  const rows = variants.map(({ rate, distinct }, i) => ({
    'M keys/s wanted': rate === 0 ? 'all' : rate / 1e6,
    'and had': median(i, ({ mKeysPerSecond }) => mKeysPerSecond, 1),
    'distinct keys': distinct,
    'cut p50, ms': median(i, ({ seal }) => seal.p50, 2),
    'cut p99': median(i, ({ seal }) => seal.p99, 2),
    '8 marks p50, µs': median(i, ({ mark: { p50 } }) => p50, 2),
    p99: median(i, ({ mark: { p99 } }) => p99, 2),
    'p99.99': median(i, ({ mark: { p9999 } }) => p9999, 1),
    'empty loop p50': median(i, ({ empty }) => empty.p50, 2),
    'empty p99.99': median(i, ({ empty }) => empty.p9999, 1),
  }))
  return {
    title: 'One writer, an epoch every 20 ms: three busy threads with the one that advances',
    rows,
    histograms: runs.map((all, i) => ({ ...variants[i], ...all[0] })),
  }
}

/** How long does a cut take with nothing else going on? */
function seal({ measure }) {
  const rows = [0, 1_000, 100_000].map((keys) => measure('seal.js', { keys }))
  return { title: 'advanceEpoch() from call to hand-out, ms, an idle writer and so many keys an epoch', rows }
}

/** What memory does an epoch touch? */
function memory({ measure }) {
  const rows = [1_000, 10_000, 50_000, 100_000, 250_000, 500_000, 524_289, 1_000_000, 2_000_000].map((distinct) =>
    measure('memory.js', { distinct }),
  )
  return { title: 'Resident memory of one epoch, by its distinct keys', rows }
}

/** What is left for the garbage collector? */
function garbage({ measure }) {
  return { title: 'Collections and bytes allocated, a million marks', rows: [measure('garbage.js')] }
}

/** What does a tracker cost that has nothing to do? */
function idle({ measure }) {
  return { title: 'An idle tracker, 10 s', rows: [measure('idle.js')] }
}

/** Which batchSize? Throughput against how soon a mark is in the set. */
function batch({ repeat }) {
  const sizes = [1, 4, 16, 64, 256, 1024, 4096]
  const runs = repeat(
    'pipeline.js',
    sizes.map((batchSize) => ({ kind: 'dirtyring', distinct: 100_000, batchSize, count: batchSize < 16 ? 2_000_000 : 8_000_000 })),
  )
  const rows = sizes.map((batchSize, i) => ({
    batchSize,
    'M keys/s': show(rateOf(runs[i])),
    'µs of marks staged, at that rate': (batchSize / rateOf(runs[i]).median).toFixed(1),
  }))
  return { title: 'One writer, 100,000 distinct keys, by batchSize', rows }
}

/** Which batchSize and capacity on this machine? */
function tune({ repeat, writers: wanted }) {
  const sweep = []
  for (const each of wanted > 0 ? [wanted] : [1, 2, 4]) {
    for (const batchSize of [16, 64, 256, 1024])
      for (const capacity of [16, 128, 1024])
        sweep.push({ kind: 'dirtyring', distinct: 100_000, count: 4_000_000, writers: each, batchSize, capacity })
  }
  const runs = repeat('pipeline.js', sweep)
  const rows = sweep.map(({ writers: each, batchSize, capacity }, i) => ({
    writers: each,
    batchSize,
    capacity,
    'M keys/s': show(rateOf(runs[i])),
    median: rateOf(runs[i]).median,
  }))
  const notes = [...new Set(rows.map(({ writers: each }) => each))].map((each) => {
    const own = rows.filter((row) => row.writers === each)
    const best = Math.max(...own.map(({ median }) => median))
    // Of those within the noise of the best: the smallest batch is visible soonest, the smallest ring is the least memory.
    const { batchSize, capacity, median } = own
      .filter((row) => row.median >= best * 0.92)
      .sort((a, b) => a.batchSize - b.batchSize || a.capacity - b.capacity)[0]
    return `${each} writer(s): { batchSize: ${batchSize}, capacity: ${capacity} } does ${median.toFixed(1)} M keys/s; the fastest ${best.toFixed(1)}`
  })
  return { title: 'batchSize × capacity × writers, 100,000 distinct keys', rows, notes }
}

function rateOf(runs) {
  return spread(runs.map(({ mKeysPerSecond }) => mKeysPerSecond))
}

function spread(figures) {
  const sorted = figures.toSorted((a, b) => a - b)
  return { median: sorted[sorted.length >> 1], min: sorted[0], max: sorted.at(-1) }
}

function show({ median, min, max }) {
  return `${median.toFixed(1)} (${min.toFixed(1)} to ${max.toFixed(1)})`
}
