/**
 * Builds the app with each bundler, runs the result, and checks the keys that come back:
 * node spec/matrix/bundlers/run.mjs [--only TEXT]… [--write].
 *
 * The library comes from its packed tarball. --write puts the table into docs/bundlers.md. A
 * bundler that is not installed is "not run": npm ci --prefix spec/matrix/bundlers.
 */
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
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
  rowsOfPage,
  run,
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
export async function runBundler(bundler, { scratch, tarball, browsers, only }) {
  const home = bundler.package === 'next' ? join(here, 'with/next') : here
  const packages = [bundler.package, ...(bundler.needs ?? [])]
  const result = { name: bundler.name, version: installed(bundler.package, home)?.version }
  const wanted = { dev: bundler.page?.dev, build: bundler.page?.build, node: bundler.node }
  for (const name of Object.keys(wanted))
    if (wanted[name] === undefined || (only && !only.includes(name))) delete wanted[name]
  const missing = packages.find((each) => installed(each, home) === undefined)
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
  const words = (command) => wordsOf(command, { packages, at: home === here ? here : at, node })

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
  const serveAndAsk = async () => {
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
  if (wanted.node)
    result.node = await cell(async () => {
      const { path } = bundler.node
      if (path === undefined) return serveAndAsk()
      if (result.build?.state === 'fails') throw new Error('the build of the page has failed')
      await serving(words(bundler.page.start), options, (address) => ask(address + path.slice(1)))
    })
  if (result.node?.state === 'fails' && bundler.node.path === undefined) {
    // Does the same bundle start threads without the library?
    cpSync(join(here, 'with/control'), at, { recursive: true })
    const control = await cell(serveAndAsk)
    if (control.state !== 'exact') result.node = { state: 'no threads', reason: control.reason }
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
