/**
 * Mutation testing of all of lib/ that runs in process: `npm run mutation`, or `npm run mutation --
 * memory` for some parts (parts.mjs). Prints each file's score, and the mutants that no spec notices
 * where README.md says nothing of their function. Fails below 85 %. Goes on where it was cut off, and
 * tries only what has changed (verdicts.mjs). MUTATION_PROCESSES says how many processes try
 * mutants: 2. MUTATION_SAMPLE=8 tries one mutant in eight.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { PARTS } from './parts.mjs'
import { entriesIn, LISTED } from './survivors.mjs'
import { LATE, ROOT, Verdicts } from './verdicts.mjs'

const SCORE_MIN = 85
const SAMPLE = Number(process.env.MUTATION_SAMPLE ?? 1)
const report = `${ROOT}.cache/mutation/report.json`

const asked = process.argv.slice(2)
const unknown = asked.filter((part) => !Object.hasOwn(PARTS, part))
if (unknown.length > 0)
  throw new Error(
    `no part is called ${unknown.join(', ')}: there are ${Object.keys(PARTS).join(', ')}`,
  )
const parts = asked.length > 0 ? asked : Object.keys(PARTS)

const args = [
  `${ROOT}node_modules/@stryker-mutator/core/bin/stryker.js`,
  'run',
  'spec/mutation/stryker.config.mjs',
]
const { status } = spawnSync(process.execPath, args, {
  cwd: ROOT,
  stdio: 'inherit',
  env: { ...process.env, MUTATION_PARTS: parts.join(',') },
})
new Verdicts().keep()
if (status !== 0) process.exit(status ?? 1)

const all = { noticed: 0, missed: 0, notListed: 0 }
const notNeeded = new Set(LISTED)
const { files } = JSON.parse(readFileSync(report, 'utf8'))
for (const [file, { mutants, source }] of Object.entries(files)) {
  const count = (...kinds) => mutants.filter(({ status }) => kinds.includes(status)).length
  // Stryker's own time limit is for a change that stops the whole process.
  const stopped = count('Timeout')
  const noticed = count('Killed') + stopped
  const late = stopped + mutants.filter(({ statusReason }) => statusReason === LATE).length
  // Stryker itself tells all that no spec runs, also those that are not of the sample.
  const missed = count('Survived') + Math.round(count('NoCoverage') / SAMPLE)
  all.noticed += noticed
  all.missed += missed
  if (noticed + missed === 0) continue
  const entryAt = entriesIn(file, source)
  const notListed = mutants.filter(({ status, location }) => {
    if (status !== 'Survived' && status !== 'NoCoverage') return false
    const entry = entryAt(location.start)
    notNeeded.delete(entry)
    return entry === undefined
  })
  all.notListed += notListed.length
  console.log(
    `\n${scoreOf(noticed, missed).padStart(5)} %  ${file}: ${noticed} of ${noticed + missed}, ${late} by ${LATE}; ${notListed.length} not listed`,
  )
  const lines = source.split('\n')
  for (const { status, location, mutatorName, replacement = '' } of notListed) {
    const { start, end } = location
    const was =
      start.line === end.line
        ? lines[start.line - 1].slice(start.column - 1, end.column - 1)
        : `${lines[start.line - 1].trim()} …`
    const how = `${was} → ${replacement}`.replaceAll(/\s+/g, ' ').slice(0, 140)
    console.log(
      `         ${file}:${start.line}  ${mutatorName}${status === 'NoCoverage' ? ', run by no spec' : ''}: ${how}`,
    )
  }
}
for (const entry of notNeeded)
  if (files[entry.split(' ')[0]] !== undefined && SAMPLE === 1)
    console.log(`README.md lists ${entry}, where specs notice every change`)
console.log(
  `\n${scoreOf(all.noticed, all.missed)} % of ${all.noticed + all.missed} mutants are noticed; README.md does not list ${all.notListed} of the others`,
)
if (Number(scoreOf(all.noticed, all.missed)) < SCORE_MIN) process.exitCode = 1

function scoreOf(noticed, missed) {
  return ((100 * noticed) / Math.max(1, noticed + missed)).toFixed(1)
}
