import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../..', import.meta.url))

/** The environment without what npm and Jest add to it for their own child processes. */
export function plainEnvironment() {
  const { NODE_OPTIONS: _, JEST_WORKER_ID: __, NODE_ENV: ___, ...env } = process.env
  return Object.fromEntries(Object.entries(env).filter(([name]) => !/^npm_/i.test(name)))
}

/** Runs npm, by its own script where that is known: Windows starts no `npm` without a shell. */
export function npm(args, cwd) {
  const script = process.env.npm_execpath
  const [command, ...first] = script?.endsWith('.js') ? [process.execPath, script] : ['npm']
  return execFileSync(command, [...first, ...args, '--no-audit', '--no-fund'], {
    cwd,
    env: plainEnvironment(),
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 300_000,
  })
}

/** Packs what is built. Returns the path of the tarball. */
export function pack(folder) {
  // Without scripts: it is built, and other programs may be running it.
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder]
  const [{ filename }] = JSON.parse(npm(args, root))
  return join(folder, filename)
}

/** Installs the tarball in the project `folder`, beside what is installed there. */
export function installTarball(folder, tarball) {
  npm(['install', '--offline', '--ignore-scripts', '--no-save', tarball], folder)
}

/** Makes a project whose only dependency is the tarball. */
export function projectWith(folder, tarball, manifest = {}) {
  mkdirSync(folder, { recursive: true })
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({ name: 'project', version: '1.0.0', private: true, ...manifest }),
  )
  installTarball(folder, tarball)
  return folder
}

/**
 * Installs what the nested package `folder` locks, unless that is there already. `omit` leaves its
 * devDependencies out.
 */
export function installNested(folder, { omit = false } = {}) {
  const lock = readFileSync(join(folder, 'package-lock.json'))
  const wanted = createHash('sha256').update(lock).digest('hex')
  const stamp = join(folder, 'node_modules/.installed')
  const [there, extent] = existsSync(stamp) ? readFileSync(stamp, 'utf8').split(' ') : []
  if (there === wanted && (omit || extent === 'all')) return
  npm(['ci', '--ignore-scripts', ...(omit ? ['--omit=dev'] : [])], folder)
  writeFileSync(stamp, `${wanted} ${omit ? 'part' : 'all'}`)
}

/** Runs a command to its end. */
export function run(command, args, { cwd, timeoutMs = 120_000, env = {} } = {}) {
  const { status, signal, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    env: { ...plainEnvironment(), ...env },
    encoding: 'utf8',
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  })
  if (error !== undefined && signal === null) throw error
  return { status: status ?? signal, stdout, stderr }
}
