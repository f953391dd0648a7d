/** Installs and builds what can be had here of the others. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('.', import.meta.url))
const JAVASCRIPT = ['ringbuf.js', 'multithreading']
const RUST = ['rust siphash', 'rust identity', 'rust strings']
/** Where Debian's librust-*-dev packages put the sources of crates. */
const DEBIAN_CRATES = '/usr/share/cargo/registry'

/**
 * { rust: where the built program is; missing: why, by kind of pipeline; versions: [{ name, version
 * }] }. install: false takes what is there already.
 */
export function buildPeers({ install }) {
  const versions = []
  const missing = new Map()
  const attempt = (kinds, make) => {
    try {
      return make()
    } catch (error) {
      for (const kind of kinds) missing.set(kind, reasonOf(error))
      return undefined
    }
  }
  const run = (file, args, cwd) =>
    execFileSync(file, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })

  const manifestOf = (name) => `${folder}node_modules/${name}/package.json`
  attempt(JAVASCRIPT, () => {
    if (install && !JAVASCRIPT.every((name) => existsSync(manifestOf(name))))
      run('npm', ['ci', '--no-audit', '--no-fund'], folder)
  })
  for (const name of JAVASCRIPT) {
    if (existsSync(manifestOf(name)))
      versions.push({ name, version: JSON.parse(readFileSync(manifestOf(name), 'utf8')).version })
    else if (!missing.has(name)) missing.set(name, 'not installed')
  }

  const cwd = `${folder}rust`
  const program = `${cwd}/target/release/dirtyring-peers`
  const rust = attempt(RUST, () => {
    const offline = [
      '--offline',
      '--config',
      'source.crates-io.replace-with="debian"',
      '--config',
      `source.debian.directory="${DEBIAN_CRATES}"`,
    ]
    if (install)
      run('cargo', ['build', '--release', ...(existsSync(DEBIAN_CRATES) ? offline : [])], cwd)
    else if (!existsSync(program)) throw new Error('not built')
    for (const [, name, version] of readFileSync(`${cwd}/Cargo.lock`, 'utf8').matchAll(
      /name = "(crossbeam-\w+)"\nversion = "(.+)"/g,
    ))
      versions.push({ name, version })
    versions.push({
      name: 'rustc',
      version: run('rustc', ['--version'], cwd).trim().replace('rustc ', ''),
    })
    return program
  })
  return { rust, missing, versions }
}

/** One line, and of several the one that says what is wrong. */
function reasonOf({ code, path, stderr, message }) {
  if (code === 'ENOENT') return `${path} is not installed`
  const lines = String(stderr ?? message)
    .trim()
    .split('\n')
  return lines.find((line) => /error/i.test(line)) ?? lines[0]
}
