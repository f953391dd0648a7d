/** The results of a run as text: for the terminal, and as the guide docs/matrix.md. */

const COLUMNS_MAX = 5

/** All cases that some column has, in their order. */
function namesOf(columns, isPage) {
  const names = new Set()
  for (const { places = {} } of columns)
    for (const [place, outcomes] of Object.entries(places))
      if ((place === 'page') === isPage) for (const name of Object.keys(outcomes)) names.add(name)
  return [...names]
}

const kindOf = (outcome) =>
  outcome === undefined
    ? 'none'
    : outcome === 'passed'
      ? 'passed'
      : outcome.failed !== undefined
        ? 'failed'
        : 'none'

const reasonOf = (outcome) => outcome?.failed ?? outcome?.none

/** How many cells passed, failed, and have nothing to show. */
export function countsOf({ places = {} }) {
  const counts = { passed: 0, failed: 0, none: 0 }
  for (const outcomes of Object.values(places))
    for (const outcome of Object.values(outcomes)) counts[kindOf(outcome)]++
  return counts
}

/** The lines for the terminal about one column. */
export function linesOf(column) {
  const { title, threads, version, notRun } = column
  const name = [title, version, threads && `(${threads})`].filter(Boolean).join(' ')
  if (notRun !== undefined) return [`${name}: not run: ${notRun}`]
  const { passed, failed, none } = countsOf(column)
  const lines = [`${name}: ${passed} passed, ${failed} failed, ${none} do not apply`]
  for (const [place, outcomes] of Object.entries(column.places))
    for (const [case_, outcome] of Object.entries(outcomes))
      if (kindOf(outcome) === 'failed') lines.push(`  ${place}: ${case_}: ${outcome.failed}`)
  return lines
}

/** Runtime by case, for the terminal: one character a cell, main thread and worker. */
export function gridOf(columns) {
  const sign = { passed: '✓', failed: '✗', none: '·' }
  const cell = ({ notRun, places }, name) =>
    notRun !== undefined
      ? '--'
      : places.page?.[name] !== undefined
        ? `${sign[kindOf(places.page[name])]} `
        : ['main', 'worker'].map((place) => sign[kindOf(places[place]?.[name])]).join('')
  const names = [...namesOf(columns, false), ...namesOf(columns, true)]
  const width = Math.max(...columns.map(({ id }) => id.length))
  return [
    ...columns.map((column) =>
      [column.id.padEnd(width), ...names.map((name) => cell(column, name))].join(' '),
    ),
    '',
    `✓ passed, ✗ failed, · does not apply, -- not run; first the main thread, then a worker. Cases:`,
    ...names.map((name, i) => `${String(i + 1).padStart(2)} ${name}`),
  ]
}

/** Numbers the reasons; equal ones have one number. */
class Notes {
  texts = []
  refer(text) {
    if (!this.texts.includes(text)) this.texts.push(text)
    return `(${this.texts.indexOf(text) + 1})`
  }
}

function cellOf({ notRun, places }, name, isPage, notes) {
  if (notRun !== undefined) return `not run ${notes.refer(notRun)}`
  const outcomes = isPage
    ? [['page', places.page?.[name]]]
    : ['main', 'worker'].map((place) => [place, places[place]?.[name]])
  const kinds = new Set(outcomes.map(([, outcome]) => kindOf(outcome)))
  if (kinds.size === 1 && kinds.has('passed')) return 'yes'
  const because = (outcome) => (reasonOf(outcome) ? ` ${notes.refer(reasonOf(outcome))}` : '')
  if (kinds.size === 1 && kinds.has('none')) return `–${because(outcomes[0][1])}`
  return outcomes
    .map(([place, outcome]) => {
      const word = { passed: 'yes', failed: '**no**', none: '–' }[kindOf(outcome)]
      return `${place}: ${word}${because(outcome)}`
    })
    .join(', ')
}

function tableOf(columns, isPage, notes) {
  const head = columns.map(
    ({ title, version, id }) => `${title} ${version ?? id.split('-')[1] ?? ''}`,
  )
  const rows = namesOf(columns, isPage).map((name) => [
    name,
    ...columns.map((column) => cellOf(column, name, isPage, notes)),
  ])
  return [['case', ...head.map((text) => text.trim())], ['---', ...head.map(() => '---')], ...rows]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n')
}

/** Breaks a paragraph at 100 columns. */
function wrapped(text, indent = '') {
  const lines = ['']
  for (const word of text.split(/\s+/)) {
    const line = lines.at(-1)
    if (line !== '' && line.length + 1 + word.length > 100) lines.push(indent + word)
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`
  }
  return lines.join('\n')
}

const GROUPS = [
  { title: 'Node', of: ({ title }) => title === 'Node' },
  { title: 'Bun and Deno, node:worker_threads', of: ({ threads }) => threads?.startsWith('node:') },
  { title: 'Bun and Deno, Web Workers', of: ({ threads }) => threads === 'Web Workers' },
  { title: 'Browsers', of: ({ browser }) => browser !== undefined },
]

/** The guide docs/matrix.md. */
export function guideOf(columns) {
  const notes = new Notes()
  const parts = GROUPS.flatMap(({ title, of }) => {
    const group = columns.filter(of)
    if (group.length > COLUMNS_MAX) throw new Error(`${title} has too many columns`)
    return [`## ${title}\n\n${tableOf(group, false, notes)}`]
  })
  const pages = columns.filter(({ browser }) => browser !== undefined)
  parts.push(`## Only in a page\n\n${tableOf(pages, true, notes)}`)
  if (notes.texts.length > 0) {
    const list = notes.texts.map((text, i) =>
      wrapped(`${i + 1}. ${text.split('\n')[0].replaceAll('|', '\\|')}`, '   '),
    )
    parts.push(`## Why not\n\n${list.join('\n')}`)
  }
  return `---
title: Runtimes
group: Use
---

# Runtimes

You get what was seen to work in each runtime: \`npm run matrix\` runs one program of cases
everywhere, and writes this page.

The program is in \`spec/matrix/program\`. It uses the package as npm installs it; for a page,
esbuild bundles it without any configuration. Every case runs twice: the tracker lives on the main
thread, and then in a worker. "yes" says that both passed. A dash says that the runtime has nothing
to show. A number leads to the reason, at the end. The runtimes ran on ${process.platform} ${process.arch}.

${parts.join('\n\n')}
`
}
