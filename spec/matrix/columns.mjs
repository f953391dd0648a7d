/** The runtimes in which the cases run: a column of the matrix each. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { missing, openPage, withBrowser, withServer } from '../support/browser.mjs'
import { BACK, backAndForward } from './back.mjs'

const runtimes = fileURLToPath(new URL('runtimes', import.meta.url))
const SILENCE_MS_MAX = 90_000
const ERRORS_LENGTH_MAX = 4000

/** A program of the nested package, or why it is not there. */
function nested(path) {
  const program = join(runtimes, 'node_modules', path)
  if (existsSync(program)) return { program }
  const platform = `${process.platform}-${process.arch}`
  return {
    reason:
      platform === 'linux-x64'
        ? 'the runtime is not installed: npm ci --prefix spec/matrix/runtimes'
        : `the package of the runtimes has none for ${platform}`,
  }
}

const node = (version) => ({
  id: `node-${version}`,
  title: 'Node',
  ...nested(`node-${version}/bin/node`),
  versionArgs: ['--version'],
  script: 'node-main.mjs',
})
const bun = {
  title: 'Bun',
  ...nested('@oven/bun-linux-x64/bin/bun'),
  versionArgs: ['--version'],
}
const deno = {
  title: 'Deno',
  ...nested('@deno/linux-x64-glibc/deno'),
  versionArgs: ['eval', 'console.log(Deno.version.deno)'],
  args: ['run', '--allow-all', '--no-lock', '--node-modules-dir=manual', '--cached-only'],
}
const THREADS = 'node:worker_threads'
const WEB = 'Web Workers'

export const columns = [
  ...['20.19', '22', '24', '26'].map(node),
  { ...bun, id: 'bun', threads: THREADS, script: 'node-main.mjs' },
  { ...bun, id: 'bun-web', threads: WEB, script: 'web-main.mjs' },
  { ...deno, id: 'deno', threads: THREADS, script: 'node-main.mjs' },
  { ...deno, id: 'deno-web', threads: WEB, script: 'web-main.mjs' },
  { id: 'chromium', title: 'Chromium', browser: 'chromium', reason: missing('chromium') },
  { id: 'firefox', title: 'Firefox', browser: 'firefox', reason: missing('firefox') },
]

/**
 * Runs one program until it has told all outcomes. If it dies, the case that it was in has failed,
 * and another run does the cases that are left. `start(args, onLine)` resolves with why it ended.
 */
async function outcomesOf(start, args) {
  const outcomes = {}
  let last
  for (;;) {
    let begun
    let isOver = false
    const uncaught = {}
    const why = await start({ ...args, done: Object.keys(outcomes) }, (line) => {
      if (line.begin !== undefined) last = begun = line.begin
      if (line.uncaught !== undefined && last !== undefined) uncaught[last] = line.uncaught
      if (line.end !== undefined) {
        outcomes[line.end] = line.outcome
        begun = undefined
      }
      if (line.over) isOver = true
    })
    for (const [name, error] of Object.entries(uncaught))
      outcomes[name] = { failed: `an uncaught error: ${error}` }
    if (isOver) return outcomes
    // An error that is thrown late belongs to the case before.
    const name = begun ?? last
    last = undefined
    if (name === undefined) throw new Error(`the program ended before its first case: ${why}`)
    outcomes[name] = { failed: `the program ended: ${why}` }
  }
}

/** Calls back when nothing was heard for a while. */
function silence(onSilence) {
  const late = () => onSilence(`not a word for ${SILENCE_MS_MAX} ms`)
  let timer = setTimeout(late, SILENCE_MS_MAX)
  return {
    heard() {
      clearTimeout(timer)
      timer = setTimeout(late, SILENCE_MS_MAX)
    },
    end: () => clearTimeout(timer),
  }
}

/** A line of the program's that is an outcome, or undefined. */
function lineOf(text) {
  if (!text.startsWith('{"')) return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function output(program, args, { cwd, env = {}, onText }) {
  const { NODE_OPTIONS: _, ...inherited } = process.env
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd,
      env: { ...inherited, DENO_NO_UPDATE_CHECK: '1', NO_COLOR: '1', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let errors = ''
    let rest = ''
    child.stdout.setEncoding('utf8').on('data', (text) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop()
      lines.forEach(onText)
    })
    child.stderr.setEncoding('utf8').on('data', (text) => {
      errors = (errors + text).slice(-ERRORS_LENGTH_MAX)
    })
    let late
    const silent = silence((how) => {
      late = how
      child.kill('SIGKILL')
    })
    child.stdout.on('data', silent.heard)
    child.on('error', (error) => {
      silent.end()
      reject(error)
    })
    child.on('close', (code, signal) => {
      silent.end()
      const how = late ?? `exit ${signal ?? code}`
      resolve(errors === '' ? how : `${how}: ${errors.trim()}`)
    })
  })
}

async function runProgram(column, app, places, choice) {
  let version = ''
  await output(column.program, column.versionArgs, { onText: (text) => (version += text) })
  const results = {}
  for (const place of places) {
    const start = (args, onLine) =>
      output(column.program, [...(column.args ?? []), column.script, JSON.stringify(args)], {
        cwd: app,
        env: { DENO_DIR: join(app, 'deno') },
        onText: (text) => onLine(lineOf(text) ?? {}),
      })
    results[place] = await outcomesOf(start, { place, ...choice })
  }
  return { version: version.replace(/^v/, ''), places: results }
}

const pageOf = (script) =>
  `<!doctype html><meta charset="utf-8"><script type="module" src="${script}"></script>`

const PAGES = {
  '/': pageOf('/web-main.mjs'),
  '/scopes.html': pageOf('/scope-main.mjs'),
  '/back.html': pageOf('/scope-back.mjs'),
  '/away.html': '<!doctype html><meta charset="utf-8">away',
}

/** Opens the page of one run, and waits until it is over, or says nothing for long. */
async function runPage(browser, url, args, onLine) {
  const errors = []
  let told
  const over = new Promise((resolve) => (told = resolve))
  const silent = silence(told)
  const onText = (text) => {
    silent.heard()
    const line = lineOf(text.replace(/^log: /, ''))
    if (line?.over) told('over')
    if (line === undefined) errors.push(text)
    if (text.startsWith('page error: ')) onLine({ uncaught: text })
    else onLine(line ?? {})
  }
  const page = await openPage(browser, `${url}?${encodeURIComponent(JSON.stringify(args))}`, {
    onText,
  })
  const why = await over
  silent.end()
  await page.close()
  return [why, ...errors].join('; ')
}

async function runBrowser(column, bundle, places, choice) {
  return withServer({ ...PAGES, ...bundle }, ({ origin }) =>
    withBrowser(column.browser, async (browser) => {
      const results = {}
      for (const place of places) {
        const start = (args, onLine) => runPage(browser, `${origin}/`, args, onLine)
        results[place] = await outcomesOf(start, { place, ...choice })
      }
      const start = (args, onLine) => runPage(browser, `${origin}/scopes.html`, args, onLine)
      results.page = {
        ...(await outcomesOf(start, choice)),
        [BACK]: await backAndForward(column.browser, origin),
      }
      const version = (await browser.version()).split('/').at(-1)
      return { version, places: results }
    }),
  )
}

/** Runs the cases in one column; `app` is a folder with the program and the installed package. */
export async function runColumn(column, { app, bundle, places = ['main', 'worker'], choice }) {
  if (column.reason !== undefined) return { notRun: column.reason }
  if (column.browser !== undefined) return runBrowser(column, await bundle(), places, choice)
  return runProgram(column, app, places, choice)
}
