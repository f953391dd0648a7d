/**
 * Mutation testing of all of lib/ that runs in process: `npm run mutation`, or `npm run mutation --
 * memory` for some parts (parts.mjs). Prints each file's score and the mutants that no spec notices,
 * and fails below 85 %. Goes on where it was cut off, and again tries only what has changed: the
 * results are in .cache/mutation. MUTATION_PROCESSES says how many processes try mutants: 2.
 * MUTATION_SAMPLE=8 tries one mutant in eight.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { PARTS } from './parts.mjs'

const SCORE_MIN = 85
const SAMPLE = Number(process.env.MUTATION_SAMPLE ?? 1)
const root = fileURLToPath(new URL('../..', import.meta.url))
const report = `${root}.cache/mutation/report.json`

const asked = process.argv.slice(2)
const unknown = asked.filter((part) => !Object.hasOwn(PARTS, part))
if (unknown.length > 0)
  throw new Error(
    `no part is called ${unknown.join(', ')}: there are ${Object.keys(PARTS).join(', ')}`,
  )
const parts = asked.length > 0 ? asked : Object.keys(PARTS)

mkdirSync(`${root}.cache/mutation`, { recursive: true })
const args = [
  `${root}node_modules/@stryker-mutator/core/bin/stryker.js`,
  'run',
  'spec/mutation/stryker.config.mjs',
]
const { status } = spawnSync(process.execPath, args, {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, MUTATION_PARTS: parts.join(',') },
})
if (status !== 0) process.exit(status ?? 1)

const all = { noticed: 0, missed: 0 }
const { files } = JSON.parse(readFileSync(report, 'utf8'))
for (const [file, { mutants, source }] of Object.entries(files)) {
  const count = (...kinds) => mutants.filter(({ status }) => kinds.includes(status)).length
  const noticed = count('Killed', 'Timeout')
  // Stryker itself tells all that no spec runs, also those that are not of the sample.
  const missed = count('Survived') + Math.round(count('NoCoverage') / SAMPLE)
  all.noticed += noticed
  all.missed += missed
  if (noticed + missed === 0) continue
  console.log(
    `\n${scoreOf(noticed, missed).padStart(5)} %  ${file}: ${noticed} of ${noticed + missed}, ${count('Timeout')} by a time limit`,
  )
  const lines = source.split('\n')
  for (const { status, location, mutatorName, replacement = '' } of mutants) {
    if (status !== 'Survived' && status !== 'NoCoverage') continue
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
console.log(
  `\n${scoreOf(all.noticed, all.missed)} % of ${all.noticed + all.missed} mutants are noticed`,
)
if (Number(scoreOf(all.noticed, all.missed)) < SCORE_MIN) process.exitCode = 1

function scoreOf(noticed, missed) {
  return ((100 * noticed) / Math.max(1, noticed + missed)).toFixed(1)
}
