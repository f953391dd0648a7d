/**
 * The results as one self-contained page: every table, and its plots. A plot is one of
 *
 *   { kind: 'bars', title, values: [[group, series, value], ...] }                        on a logarithmic axis
 *   { kind: 'histogram', title, series: [{ name, bins: [[from µs, count], ...] }] }       both axes logarithmic
 *   { kind: 'heat', title, cells: [{ x, y, value, label: [line, ...] }] }                 dark: a large value
 *   { kind: 'tradeoff', title, left: { name, points }, right: [{ name, points }], knee }  two axes over one
 */

const COLOURS = [
  '#0b6e4f',
  '#e0a458',
  '#c84630',
  '#3d5a80',
  '#6bbf59',
  '#7d8597',
  '#8e4585',
  '#222222',
  '#2a9d8f',
  '#b08968',
]
const PLOTS = { bars: barsPlot, histogram: histogramPlot, heat: heatPlot, tradeoff: tradeoffPlot }
const CHARACTER = 7
/** The dark form of each color of a plot. The ink on a heat plot's cells stays dark. */
const INK_ON_CELLS = '#212121'
const DARK = `@media(prefers-color-scheme:dark){${Object.entries({
  '#fff': '#0d1117',
  '#222': '#e6edf3',
  '#777': '#9198a1',
  '#ddd': '#30363d',
  '#eee': '#21262d',
  '#999': '#6e7681',
  '#0b6e4f': '#2fa37c',
  '#3d5a80': '#7fa8d9',
  '#8e4585': '#c586bd',
  '#222222': '#c9d1d9',
})
  .map(([light, dark]) => `[fill="${light}"]{fill:${dark}}[stroke="${light}"]{stroke:${dark}}`)
  .join('')}}`

export function page({ machine, peers, command, rounds, questions }) {
  const sections = Object.entries(questions).map(
    ([name, { title, rows, notes = [], plots = [], seconds }]) => {
      const drawn = plots.map((plot) => `<figure>${PLOTS[plot.kind](plot)}</figure>`).join('')
      const said = notes.length > 0 ? `<pre>${escape(notes.join('\n'))}</pre>` : ''
      return `<section id="${name}"><h2>${escape(title)}</h2>${drawn}${table(rows)}${said}<p class="how">npm run perf -- --only ${name}: ${seconds} s</p></section>`
    },
  )
  const contents = Object.keys(questions).map((name) => `<a href="#${name}">${name}</a>`)
  const { cpu, cores, gib, node, date } = machine
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>dirtyring, measured</title>
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}h1,h2{overflow-wrap:anywhere}a{color:#0969da}h2{font-size:1.1rem;margin-top:2.5rem}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}td,th{padding:.15rem .6rem;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}th{vertical-align:bottom;white-space:normal}td.text,th.text{text-align:left}section{overflow-x:auto}figure{display:inline-block;margin:0 1rem 1rem 0;vertical-align:top}svg{max-width:100%;height:auto}pre{font:13px/1.5 ui-monospace,monospace;white-space:pre-wrap}.how{color:#777;font-size:12px}nav a{margin-right:.8rem}${DARK}@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}a{color:#79b8ff}td,th{border-color:#30363d}.how{color:#9198a1}}:root{color-scheme:light dark}</style>
<h1>dirtyring, measured</h1>
<p>${escape(`${cpu}, ${cores} cores, ${gib} GiB, Node ${node}, ${date}. ${command}; medians of up to ${rounds} rounds, each in a fresh process (least to most).`)}
${escape(peers.map(({ name, version }) => `${name} ${version}`).join(', '))}</p>
<nav>${contents.join(' ')}</nav>
${sections.join('\n')}
</html>
`
}

function table(rows) {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))]
  const isText = columns.map(
    (column, i) =>
      i === 0 ||
      (rows.some((row) => /^[^\d.-]/.test(row[column] ?? '')) &&
        !rows.some((row) => /^[\d.]/.test(row[column] ?? ''))),
  )
  const line = (cells, tag) =>
    `<tr>${cells.map((cell, i) => `<${tag}${isText[i] ? ' class="text"' : ''}>${escape(String(cell ?? ''))}</${tag}>`).join('')}</tr>`
  const body = rows.map((row) =>
    line(
      columns.map((column) => row[column]),
      'td',
    ),
  )
  return `<table>${line(columns, 'th')}${body.join('')}</table>`
}

/** Bars by group, one a series. */
export function barsPlot({ title, values }) {
  const groups = [...new Set(values.map(([group]) => group))]
  const names = [...new Set(values.map(([, name]) => name))]
  const { lines: legend, height: top } = legendOf(names, 960, 20)
  const box = { width: 960, height: 330 + top, left: 60, right: 10, top: top + 14, bottom: 40 }
  const y = logAxis(
    values.map(([, , value]) => value),
    box.height - box.bottom,
    box.top,
  )
  const group = (box.width - box.left - box.right) / groups.length
  const bar = (group - 30) / names.length
  const bars = values.map(([of, name, value]) => {
    const x = box.left + groups.indexOf(of) * group + 15 + names.indexOf(name) * bar
    const label = value < 1 ? value.toPrecision(1) : value.toFixed(value < 10 ? 1 : 0)
    return `<rect x="${x.toFixed(1)}" y="${y(value).toFixed(1)}" width="${(bar - 3).toFixed(1)}" height="${(box.height - box.bottom - y(value)).toFixed(1)}" fill="${colourOf(names.indexOf(name))}"/>${text(x + bar / 2 - 1, y(value) - 4, label, 'middle')}`
  })
  const under = groups.map((name, i) =>
    text(box.left + (i + 0.5) * group, box.height - 14, name, 'middle'),
  )
  return svg(box, [text(6, 14, title), ...y.grid(box), ...bars, ...under, ...legend])
}

/** What share of all was in each bin, an eighth of a decade wide: as steps. */
function histogramPlot({ title, series: all }) {
  const series = all.filter(({ bins }) => bins.length > 0)
  const binsADecade = 8
  const shares = series.map(({ bins }) => {
    const total = bins.reduce((sum, [, count]) => sum + count, 0)
    const binned = new Map()
    for (const [from, count] of bins) {
      const bin = Math.floor(Math.log10(from) * binsADecade)
      binned.set(bin, (binned.get(bin) ?? 0) + count / total)
    }
    return binned
  })
  const used = shares.length > 0 ? shares.flatMap((binned) => [...binned.keys()]) : [0]
  const { lines: legend, height: top } = legendOf(
    series.map(({ name }) => name),
    560,
    20,
  )
  const box = { width: 580, height: 240 + top, left: 76, right: 26, top: top + 10, bottom: 34 }
  const from = Math.floor(Math.min(...used) / binsADecade)
  const to = Math.ceil((Math.max(...used) + 1) / binsADecade)
  const x = (bin) =>
    box.left + ((bin / binsADecade - from) / (to - from)) * (box.width - box.left - box.right)
  const floor = box.height - box.bottom
  const y = logAxis(
    shares.flatMap((binned) => [...binned.values()]),
    floor,
    box.top,
    (share) => `${Number((share * 100).toPrecision(1))} %`,
  )
  const steps = shares.map((binned, i) => {
    const path = []
    for (let bin = from * binsADecade; bin < to * binsADecade; bin++) {
      const height = binned.has(bin) ? y(binned.get(bin)) : floor
      path.push(
        `${path.length === 0 ? 'M' : 'L'}${x(bin).toFixed(1)} ${height.toFixed(1)}H${x(bin + 1).toFixed(1)}`,
      )
    }
    return `<path d="${path.join('')}" fill="${shares.length > 3 ? 'none' : colourOf(i)}" fill-opacity=".08" stroke="${colourOf(i)}" stroke-width="1.5"/>`
  })
  const ticks = Array.from({ length: to - from + 1 }, (_, i) => {
    const at = x((from + i) * binsADecade)
    return `<path d="M${at.toFixed(1)} ${box.top}V${floor}" stroke="#eee"/>${text(at, box.height - 14, duration(10 ** (from + i)), 'middle')}`
  })
  return svg(box, [text(6, 14, title), ...ticks, ...y.grid(box), ...steps, ...legend])
}

function heatPlot({ title, cells }) {
  const xs = [...new Set(cells.map(({ x }) => x))]
  const ys = [...new Set(cells.map(({ y }) => y))]
  const values = cells.map(({ value }) => value)
  const [least, most] = [Math.min(...values), Math.max(...values)]
  const [cellWidth, cellHeight, left, top] = [110, 22 + 15 * cells[0].label.length, 80, 52]
  const drawn = cells.map(({ x, y, value, label }) => {
    const [cellX, cellY] = [left + xs.indexOf(x) * cellWidth, top + ys.indexOf(y) * cellHeight]
    const share = most === least ? 0 : (value - least) / (most - least)
    const lines = label.map((line, i) =>
      text(cellX + cellWidth / 2, cellY + 20 + 15 * i, line, 'middle', INK_ON_CELLS),
    )
    return `<rect x="${cellX}" y="${cellY}" width="${cellWidth - 2}" height="${cellHeight - 2}" fill="hsl(28 80% ${(95 - 38 * share).toFixed(0)}%)"/>${lines.join('')}`
  })
  const names = [
    ...xs.map((name, i) =>
      text(left + (i + 0.5) * cellWidth, top - 10, name.toLocaleString('en'), 'middle'),
    ),
    ...ys.map((name, i) =>
      text(left - 8, top + (i + 0.5) * cellHeight + 4, name.toLocaleString('en'), 'end'),
    ),
  ]
  const width = Math.max(left + xs.length * cellWidth, 20 + title.length * CHARACTER)
  return svg({ width, height: top + ys.length * cellHeight + 6 }, [
    text(6, 16, title),
    ...names,
    ...drawn,
  ])
}

function tradeoffPlot({ title, left, right, knee }) {
  const { lines: legend, height: top } = legendOf(
    [left, ...right].map(({ name }) => name),
    640,
    20,
  )
  const box = { width: 640, height: 280 + top, left: 60, right: 70, top: top + 10, bottom: 34 }
  const sizes = left.points.map(([size]) => size)
  const x = (i) =>
    box.left + 20 + (i * (box.width - box.left - box.right - 40)) / Math.max(1, sizes.length - 1)
  const floor = box.height - box.bottom
  const values = ({ points }) => points.map(([, value]) => value)
  const yLeft = logAxis(values(left), floor, box.top)
  const yRight = logAxis(right.flatMap(values), floor, box.top, duration)
  const line = (series, y, i) => {
    const points = series.points.map(
      ([, value], at) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`,
    )
    return `<polyline points="${points.join(' ')}" fill="none" stroke="${colourOf(i)}" stroke-width="2"/>${points.map((point) => `<circle cx="${point.split(',')[0]}" cy="${point.split(',')[1]}" r="3" fill="${colourOf(i)}"/>`).join('')}`
  }
  const kneeX = x(sizes.indexOf(knee)).toFixed(1)
  return svg(box, [
    text(6, 14, title),
    ...yLeft.grid(box),
    ...yRight.labels(box.width - box.right + 6),
    `<path d="M${kneeX} ${box.top}V${floor}" stroke="#999" stroke-dasharray="4 3"/>`,
    text(Number(kneeX) + 4, box.top + 10, 'knee', 'start', '#777'),
    line(left, yLeft, 0),
    ...right.map((series, i) => line(series, yRight, i + 1)),
    ...sizes.map((size, i) => text(x(i), box.height - 12, size.toLocaleString('en'), 'middle')),
    ...legend,
  ])
}

/** From value to height; its grid's lines at 1, 3, 10, 30 … */
function logAxis(
  values,
  floor,
  top,
  name = (value) => value.toLocaleString('en', { maximumSignificantDigits: 1 }),
) {
  const positive = values.filter((value) => value > 0)
  if (positive.length === 0) positive.push(1)
  const least = Math.log10(Math.min(...positive)) - 0.15
  const most = Math.max(Math.log10(Math.max(...positive)) + 0.1, least + 1)
  const y = (value) =>
    floor - ((Math.log10(Math.max(value, 10 ** least)) - least) / (most - least)) * (floor - top)
  const step = most - least > 3 ? [1] : [1, 3]
  const ticks = []
  for (let decade = Math.floor(least); decade <= most; decade++) {
    for (const of of step)
      if (of * 10 ** decade >= 10 ** least && of * 10 ** decade <= 10 ** most)
        ticks.push(of * 10 ** decade)
  }
  y.labels = (x, anchor = 'start') => ticks.map((tick) => text(x, y(tick) + 4, name(tick), anchor))
  y.grid = ({ left, right, width }) => [
    ...ticks.map(
      (tick) => `<path d="M${left} ${y(tick).toFixed(1)}H${width - right}" stroke="#ddd"/>`,
    ),
    ...y.labels(left - 6, 'end'),
  ]
  return y
}

/** Coloured names in as many lines as they need; `height`: where they end. */
function legendOf(names, width, top) {
  let [x, y] = [6, top + 12]
  const lines = names.map((name, i) => {
    const length = 30 + name.length * CHARACTER
    if (x > 6 && x + length > width) [x, y] = [6, y + 17]
    const entry = `<rect x="${x}" y="${y - 10}" width="11" height="11" fill="${colourOf(i)}"/>${text(x + 16, y, name)}`
    x += length
    return entry
  })
  return { lines, height: y + 8 }
}

function colourOf(i) {
  return COLOURS[i % COLOURS.length]
}

/** µs as a person says it. */
function duration(us) {
  if (us < 1) return `${Number((us * 1000).toPrecision(3))} ns`
  if (us < 1000) return `${Number(us.toPrecision(3))} µs`
  return us < 1e6
    ? `${Number((us / 1000).toPrecision(3))} ms`
    : `${Number((us / 1e6).toPrecision(3))} s`
}

function svg({ width, height }, content) {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif" font-size="12"><style>${DARK}</style><rect width="100%" height="100%" fill="#fff"/>${content.join('')}</svg>`
}

function text(x, y, content, anchor = 'start', fill = '#222') {
  return `<text x="${Number(x).toFixed(1)}" y="${Number(y).toFixed(1)}" text-anchor="${anchor}" fill="${fill}">${escape(String(content))}</text>`
}

function escape(content) {
  return content.replace(/&/g, '&amp;').replace(/</g, '&lt;')
}
