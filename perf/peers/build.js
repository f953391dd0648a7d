/** Installs and builds what can be had here of the others. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('.', import.meta.url))
/** Where Debian's librust-*-dev packages put the sources of crates. */
const DEBIAN_CRATES = '/usr/share/cargo/registry'

/** { javascript, rust: whether, and where, they are; versions: [{ name, version }] } */
export function buildPeers() {
  const versions = []
  const attempt = (name, make) => {
    try {
      return make()
    } catch (error) {
      versions.push({
        name,
        version: `not measured here: ${
          String(error.stderr ?? error.message)
            .trim()
            .split('\n')[0]
        }`,
      })
      return undefined
    }
  }
  const run = (file, args, cwd) => execFileSync(file, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  const javascript = attempt('ringbuf.js', () => {
    const manifest = `${folder}node_modules/ringbuf.js/package.json`
    if (!existsSync(manifest)) run('npm', ['ci', '--no-audit', '--no-fund'], folder)
    versions.push({ name: 'ringbuf.js', version: JSON.parse(readFileSync(manifest, 'utf8')).version })
    return true
  })
  const rust = attempt('Rust pipelines', () => {
    const offline = [
      '--offline',
      '--config',
      'source.crates-io.replace-with="debian"',
      '--config',
      `source.debian.directory="${DEBIAN_CRATES}"`,
    ]
    const cwd = `${folder}rust`
    run('cargo', ['build', '--release', ...(existsSync(DEBIAN_CRATES) ? offline : [])], cwd)
    for (const [, name, version] of readFileSync(`${cwd}/Cargo.lock`, 'utf8').matchAll(/name = "(crossbeam-\w+)"\nversion = "(.+)"/g))
      versions.push({ name, version })
    versions.push({ name: 'rustc', version: run('rustc', ['--version'], cwd).trim() })
    return `${cwd}/target/release/dirtyring-peers`
  })
  return { javascript, rust, versions }
}
