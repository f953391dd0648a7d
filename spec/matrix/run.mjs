#!/usr/bin/env node
/** `npm run matrix`: runs the cases in every runtime, and writes docs/matrix.md. */
import { spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const root = fileURLToPath(new URL('../..', import.meta.url))
const USAGE = `npm run matrix [-- options]
  --only ID,ID   only these runtimes (node-22, bun-web, firefox …)
  --case TEXT    only cases whose names contain TEXT
  --bundlers     the bundlers instead of the runtimes: see docs/bundlers.md
Without options, all cases run everywhere, and docs/matrix.md is written.`

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    case: { type: 'string' },
    bundlers: { type: 'boolean' },
    help: { type: 'boolean' },
  },
})
if (values.help) {
  console.log(USAGE)
  process.exit(0)
}

if (values.bundlers) {
  const more = values.only === undefined ? ['--write'] : ['--only', values.only]
  const program = fileURLToPath(new URL('bundlers/run.mjs', import.meta.url))
  const { status } = spawnSync(process.execPath, [program, ...more], { stdio: 'inherit' })
  process.exit(status ?? 1)
}

/** Installs a nested package if it is absent. */
function install(folder) {
  if (existsSync(join(root, folder, 'node_modules'))) return
  console.error(`installing ${folder} …`)
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund']
  spawnSync('npm', args, {
    cwd: join(root, folder),
    stdio: 'inherit',
    shell: process.platform === 'win32',
  })
}

install('spec/matrix/runtimes')
install('spec/support/browser')
// After the installation: it looks for what is there.
const { columns, runColumn } = await import('./columns.mjs')
const { withApp } = await import('./app.mjs')
const { countsOf, gridOf, guideOf, linesOf } = await import('./table.mjs')

const wanted = values.only?.split(',')
const unknown = wanted?.find((id) => !columns.some((column) => column.id === id))
if (unknown !== undefined) {
  const ids = columns.map(({ id }) => id).join(', ')
  console.error(`there is no runtime "${unknown}"; there are ${ids}`)
  process.exit(2)
}

const chosen = columns.filter(({ id }) => wanted === undefined || wanted.includes(id))
const results = []
/** Browsers run beside the other runtimes. */
const lines = [
  chosen.filter(({ browser }) => browser === undefined),
  chosen.filter(({ browser }) => browser !== undefined),
]
await withApp((app) =>
  Promise.all(
    lines.map(async (line) => {
      for (const column of line) {
        const choice = { text: values.case }
        const result = await runColumn(column, { ...app, choice }).catch((error) => ({
          notRun: `the runtime failed: ${error.message}`,
          isBroken: true,
        }))
        results[chosen.indexOf(column)] = { ...column, ...result }
        console.log(linesOf({ ...column, ...result }).join('\n'))
      }
    }),
  ),
)
console.log(`\n${gridOf(results).join('\n')}`)
if (wanted === undefined && values.case === undefined) {
  writeFileSync(join(root, 'docs/matrix.md'), guideOf(results))
  console.log('\nwritten: docs/matrix.md')
}
if (results.some((result) => result.isBroken || countsOf(result).failed > 0)) process.exitCode = 1
