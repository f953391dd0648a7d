/** The results as one self-contained page: every table, and plots of throughput, latency and the tuning sweep. */

const COLOURS = ['#0b6e4f', '#6bbf59', '#c84630', '#e0a458', '#3d5a80', '#7d8597']

export function page({ machine, peers, command, rounds, questions }) {
  const sections = Object.entries(questions).map(([name, { title, rows, notes = [], histograms }]) => {
    const plot =
      name === 'pipeline'
        ? throughputPlot(rows)
        : name === 'tune'
          ? sweepPlot(rows)
          : histograms
            ? histograms.map(latencyPlot).join('')
            : ''
    return `<section><h2>${escape(title)}</h2>${plot}${table(rows)}${notes.map((note) => `<p>${escape(note)}</p>`).join('')}</section>`
  })
  const { cpu, cores, gib, node, date } = machine
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>dirtyring, measured</title>
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{padding:.15rem .7rem;text-align:right;border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}section{overflow-x:auto}svg{max-width:100%;height:auto}</style>
<h1>dirtyring, measured</h1>
<p>${escape(`${cpu}, ${cores} cores, ${gib} GiB, Node ${node}, ${date}. ${command}; medians of ${rounds} rounds, each in a fresh process (least to most).`)}
${escape(peers.map(({ name, version }) => `${name} ${version}`).join(', '))}</p>
${sections.join('\n')}
</html>
`
}

function table(rows) {
  const columns = Object.keys(rows[0]).filter((column) => column !== 'median')
  const line = (cells, tag) => `<tr>${cells.map((cell) => `<${tag}>${escape(String(cell ?? ''))}</${tag}>`).join('')}</tr>`
  return `<table>${line(columns, 'th')}${rows
    .map((row) =>
      line(
        columns.map((column) => row[column]),
        'td',
      ),
    )
    .join('')}</table>`
}

/** Bars by distinct keys, one a pipeline, on a logarithmic axis. */
export function throughputPlot(rows) {
  const sizes = [...new Set(rows.map((row) => row['distinct keys']))]
  const kinds = [...new Set(rows.map(({ pipeline }) => pipeline))]
  const [width, height, left, top, bottom] = [860, 360, 60, 44, 40]
  const y = (rate) => height - bottom - (Math.log10(Math.max(rate, 0.5) / 0.5) / Math.log10(200 / 0.5)) * (height - top - bottom)
  const group = (width - left - 10) / sizes.length
  const bar = (group - 30) / kinds.length
  const bars = rows.map((row) => {
    const x = left + sizes.indexOf(row['distinct keys']) * group + 15 + kinds.indexOf(row.pipeline) * bar
    const fill = COLOURS[kinds.indexOf(row.pipeline) % COLOURS.length]
    return `<rect x="${x.toFixed(1)}" y="${y(row.median).toFixed(1)}" width="${(bar - 3).toFixed(1)}" height="${(height - bottom - y(row.median)).toFixed(1)}" fill="${fill}"/>${text(x + bar / 2 - 1, y(row.median) - 4, row.median.toFixed(row.median < 10 ? 1 : 0), 'middle')}`
  })
  const lines = [1, 3, 10, 30, 100].map(
    (rate) => `<path d="M${left} ${y(rate).toFixed(1)}H${width - 10}" stroke="#ddd"/>${text(left - 6, y(rate) + 4, rate, 'end')}`,
  )
  const names = sizes.map((size, i) => text(left + (i + 0.5) * group, height - 14, `${size.toLocaleString('en')} distinct keys`, 'middle'))
  const legend = kinds.map(
    (kind, i) =>
      `<rect x="${left + i * 130}" y="8" width="12" height="12" fill="${COLOURS[i % COLOURS.length]}"/>${text(left + 17 + i * 130, 18, kind)}`,
  )
  return svg(width, height, [text(6, 34, 'M keys/s'), ...lines, ...bars, ...names, ...legend].join(''))
}

/** Percentiles of what eight marks take, of the same in an empty loop, and of the cut. */
function latencyPlot({ rate, distinct, mark, empty, seal }) {
  const shares = ['p50', 'p90', 'p99', 'p999', 'p9999', 'max']
  const [width, height, left, top, bottom] = [560, 260, 60, 44, 34]
  const x = (i) => left + 20 + (i * (width - left - 60)) / (shares.length - 1)
  const y = (us) => height - bottom - (Math.log10(Math.max(us, 0.1) / 0.1) / 6) * (height - top - bottom)
  const series = [
    ['8 marks', mark, 1],
    ['the same, empty', empty, 1],
    ['the cut', seal, 1000],
  ]
  const lines = series.map(([, values, unit], i) => {
    const points = shares.map((share, at) => `${x(at).toFixed(1)},${y(values[share] * unit).toFixed(1)}`)
    return `<polyline points="${points.join(' ')}" fill="none" stroke="${COLOURS[i * 2]}" stroke-width="2"/>`
  })
  const grid = [0.1, 1, 10, 100, 1000, 10_000].map(
    (us) =>
      `<path d="M${left} ${y(us).toFixed(1)}H${width - 10}" stroke="#ddd"/>${text(left - 6, y(us) + 4, us < 1000 ? `${us} µs` : `${us / 1000} ms`, 'end')}`,
  )
  const names = shares.map((share, i) => text(x(i), height - 12, share.replace(/^p(99)(9+)$/, 'p$1.$2'), 'middle'))
  const legend = series.map(([name], i) => text(left + i * 120, 36, name, 'start', COLOURS[i * 2]))
  const title = text(
    left,
    18,
    `${rate === 0 ? 'as fast as it goes' : `${rate / 1e6} M marks/s`}, ${distinct.toLocaleString('en')} distinct keys`,
  )
  return svg(width, height, [title, ...grid, ...lines, ...names, ...legend].join(''))
}

/** A heat map a number of writers. */
function sweepPlot(rows) {
  const writers = [...new Set(rows.map((row) => row.writers))]
  return writers
    .map((each) => {
      const own = rows.filter((row) => row.writers === each)
      const [xs, ys] = [[...new Set(own.map(({ batchSize }) => batchSize))], [...new Set(own.map(({ capacity }) => capacity))]]
      const [least, most] = [Math.min(...own.map(({ median }) => median)), Math.max(...own.map(({ median }) => median))]
      const cells = own.map(({ batchSize, capacity, median }) => {
        const [x, y] = [90 + xs.indexOf(batchSize) * 70, 40 + ys.indexOf(capacity) * 34]
        const share = most === least ? 1 : (median - least) / (most - least)
        return `<rect x="${x}" y="${y}" width="68" height="32" fill="hsl(152 60% ${(92 - 52 * share).toFixed(0)}%)"/>${text(x + 34, y + 21, median.toFixed(1), 'middle')}`
      })
      const names = [
        ...xs.map((each, i) => text(124 + i * 70, 32, each, 'middle')),
        ...ys.map((each, i) => text(82, 61 + i * 34, each, 'end')),
      ]
      return svg(
        100 + xs.length * 70,
        50 + ys.length * 34,
        [text(6, 16, `${each} writer(s): M keys/s by batchSize (across) and capacity`), ...names, ...cells].join(''),
      )
    })
    .join('')
}

function svg(width, height, content) {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>${content}</svg>`
}

function text(x, y, content, anchor = 'start', fill = '#222') {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" fill="${fill}">${escape(String(content))}</text>`
}

function escape(content) {
  return content.replace(/&/g, '&amp;').replace(/</g, '&lt;')
}
