/** Figures as they are printed: the median of some processes, and the spread beside it. */

export function spread(figures) {
  const sorted = figures.toSorted((a, b) => a - b)
  const half = sorted.length >> 1
  // Of an even number, the upper one alone would flatter a rate.
  const middle = sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2
  return { median: middle, min: sorted[0], max: sorted.at(-1) }
}

export const median = (runs, pick) => spread(runs.map(pick)).median

/** 12.3 (11.0 to 14.1), of what `pick` takes from each run. */
export function show(runs, pick = (run) => run, digits = 1) {
  const { median: middle, min, max } = spread(runs.map(pick))
  return runs.length === 1
    ? middle.toFixed(digits)
    : `${middle.toFixed(digits)} (${min.toFixed(digits)} to ${max.toFixed(digits)})`
}

export const rateOf = ({ mKeysPerSecond }) => mKeysPerSecond

/** The columns that every table of a pipeline has: what it cost, and whether it was right. */
export function costs(runs) {
  const has = (name) => runs[0][name] !== undefined
  return {
    'CPU s': has('cpuSeconds') ? show(runs, ({ cpuSeconds }) => cpuSeconds, 2) : '',
    'CPU ns a key': has('cpuNs') ? median(runs, ({ cpuNs }) => cpuNs).toFixed(1) : '',
    waits: has('waits') ? median(runs, ({ waits }) => waits) : '',
    lost: has('lost') ? runs.reduce((sum, { lost }) => sum + lost, 0) : '',
  }
}

export const percent = (share, digits = 1) => (share * 100).toFixed(digits)

export const grouped = (number) => number.toLocaleString('en')
