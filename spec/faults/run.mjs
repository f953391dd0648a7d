/**
 * Puts each fault of old back into a copy of lib/, and requires that its spec in
 * spec/faults/faults.spec.ts fails there: `npm run check:faults`. Ends with status 1 if a fault goes
 * unnoticed, if a patch no longer applies, or if a spec fails without one.
 */
import { spawn } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
const root = join(here, '..', '..')
const COPIED = [
  'lib',
  'dist/aggregator/carried.js',
  'package.json',
  'jest.config.js',
  'tsconfig.json',
  'spec/faults/faults.spec.ts',
  'spec/support',
]
const LIMIT_MS = 120_000

const children = new Set()
const folders = new Set()

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    for (const child of children) child.kill('SIGKILL')
    for (const folder of folders) await rm(folder, { recursive: true, force: true })
    process.exit(1)
  })
}

const patches = (await readdir(here)).filter((name) => name.endsWith('.patch')).sort()
const rows = [await check(undefined)]
for (const patch of patches) rows.push(await check(patch))

const width = Math.max(...rows.map(({ name }) => name.length))
for (const { name, ok, what } of rows)
  console.log(`${ok ? 'ok  ' : 'FAIL'}  ${name.padEnd(width)}  ${what}`)
if (patches.length !== 8) console.log(`FAIL  expected 8 patches, found ${patches.length}`)
process.exitCode = patches.length === 8 && rows.every(({ ok }) => ok) ? 0 : 1

/** One copy, one fault in it (or none), one run of the specs. */
async function check(patch) {
  const name = patch ?? '(no fault)'
  const folder = await mkdtemp(join(tmpdir(), 'dirtyring-fault-'))
  folders.add(folder)
  try {
    await mkdir(join(folder, 'spec'))
    for (const path of COPIED) await cp(join(root, path), join(folder, path), { recursive: true })
    await symlink(join(root, 'node_modules'), join(folder, 'node_modules'), 'junction')
    if (patch !== undefined) {
      const applied = await run(
        'git',
        ['apply', '-C1', '--whitespace=nowarn', join(here, patch)],
        folder,
      )
      if (applied.status !== 0)
        return { name, ok: false, what: `the patch does not apply: ${applied.output.trim()}` }
    }
    return { name, ...judge(patch, await runSpecs(folder)) }
  } finally {
    await rm(folder, { recursive: true, force: true })
    folders.delete(folder)
  }
}

function judge(patch, results) {
  if (typeof results === 'string') return { ok: false, what: results }
  const failed = results.filter(({ status }) => status !== 'passed').map(({ title }) => title)
  if (patch === undefined)
    return {
      ok: failed.length === 0 && results.length === 8,
      what: failed.join('; ') || `${results.length} specs pass`,
    }
  const own = failed.find((title) => title.startsWith(`${parseInt(patch, 10)}:`))
  if (own === undefined) return { ok: false, what: 'goes unnoticed' }
  const others = failed.length - 1
  return { ok: true, what: `fails "${own}"${others === 0 ? '' : ` and ${others} more`}` }
}

/** The specs' results, or what went wrong. */
async function runSpecs(folder) {
  const report = join(folder, 'report.json')
  const jest = join(folder, 'node_modules', 'jest', 'bin', 'jest.js')
  const args = [
    '--experimental-vm-modules',
    jest,
    '--rootDir',
    folder,
    '--runInBand',
    '--testTimeout',
    '3000',
    '--forceExit',
  ]
  const { output } = await run(
    process.execPath,
    [...args, '--json', '--outputFile', report, 'spec/faults/faults.spec.ts'],
    folder,
  )
  try {
    const [file] = JSON.parse(await readFile(report, 'utf8')).testResults
    if (file.assertionResults.length === 0) return `the specs did not run: ${file.message}`
    return file.assertionResults
  } catch {
    return `no report: ${output.slice(-500)}`
  }
}

function run(command, args, cwd) {
  return new Promise((resolve) => {
    // Run by npm or by jest, the environment may hold options that are not for these.
    const { NODE_OPTIONS: _, ...env } = process.env
    const child = spawn(command, args, {
      cwd,
      env: { ...env, DIRTYRING_BUILT: '1', CI: '1', GIT_CEILING_DIRECTORIES: join(cwd, '..') },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    children.add(child)
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text) => (output += text))
    const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS)
    const end = (status) => {
      clearTimeout(timer)
      children.delete(child)
      resolve({ status, output })
    }
    child.on('error', (error) => {
      output += error.message
      end(1)
    })
    child.on('close', (status) => end(status ?? 1))
  })
}
