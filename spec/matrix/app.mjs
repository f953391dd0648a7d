/** What an application has: the program of the cases beside the installed package. */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Calls `use` with a folder that is deleted afterwards, and with what makes the page's bundle. */
export async function withApp(use) {
  const app = mkdtempSync(join(tmpdir(), 'dirtyring-matrix-'))
  try {
    cpSync(join(root, 'spec/matrix/program'), app, { recursive: true })
    writeFileSync(join(app, 'package.json'), '{ "private": true, "type": "module" }\n')
    install(join(app, 'node_modules/dirtyring'))
    let bundling
    return await use({ app, bundle: () => (bundling ??= bundleOf(app)) })
  } finally {
    rmSync(app, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** Only the files that npm publishes. */
function install(folder) {
  mkdirSync(folder, { recursive: true })
  const args = ['pack', '--dry-run', '--json', '--ignore-scripts']
  const { stdout, status, stderr } = spawnSync('npm', args, {
    cwd: root,
    encoding: 'utf8',
    shell: process.platform === 'win32',
  })
  if (status !== 0) throw new Error(`npm pack: ${stderr}`)
  const [{ files }] = Object.values(JSON.parse(stdout))
  for (const { path } of files) cpSync(join(root, path), join(folder, path))
}

/** Each program of the page and its workers, from path to text, as esbuild bundles it. */
async function bundleOf(app) {
  const names = readdirSync(app).filter((name) => /^(web|scope)-.*\.mjs$/.test(name))
  const options = {
    absWorkingDir: app,
    outdir: app,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    write: false,
    target: 'es2022',
    logLevel: 'error',
  }
  const isClassic = (name) => name === 'scope-service.mjs'
  const outputs = await Promise.all([
    build({ ...options, entryPoints: names.filter((name) => !isClassic(name)), format: 'esm' }),
    build({ ...options, entryPoints: names.filter(isClassic), format: 'iife' }),
  ])
  return Object.fromEntries(
    outputs
      .flatMap(({ outputFiles }) => outputFiles)
      .map(({ path, text }) => [`/${path.split(/[/\\]/).at(-1)}`, text]),
  )
}
