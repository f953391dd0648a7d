/**
 * Starts a browser of this machine, opens pages in it, and ends it. `npm ci --prefix
 * spec/support/browser` installs the driver.
 *
 *     const reason = missing('firefox')
 *     if (reason !== undefined) console.log(`not run: ${reason}`)
 *     else
 *       await withServer({ '/': '<!doctype html>…', '/app.js': code }, ({ origin }) =>
 *         withBrowser('firefox', async (browser) => {
 *           const page = await openPage(browser, origin)
 *           return await resultOf(page, () => globalThis.result)
 *         }),
 *       )
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { extname, join, normalize, sep } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const driver = fileURLToPath(new URL('browser', import.meta.url))

/** Where a browser's program may be; an environment variable names another place. */
const PLACES = {
  chromium: ['CHROMIUM_PATH', '/usr/bin/chromium', '/usr/bin/chromium-browser'],
  firefox: ['FIREFOX_PATH', '/usr/bin/firefox-esr', '/usr/bin/firefox'],
}
const START_MS_MAX = 60_000
const END_MS_MAX = 5_000
const RESULT_MS_MAX = 60_000

const CHROMIUM_ARGS = [
  '--no-sandbox', // Chromium does not start as root otherwise, and CI is root.
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-sync',
  '--disable-dev-shm-usage',
]

/** The program of 'chromium' or 'firefox' on this machine, or undefined. */
export function browserPath(name) {
  const [variable, ...places] = PLACES[name]
  const named = process.env[variable]
  return (named === undefined ? places : [named]).find((place) => existsSync(place))
}

/** Why a browser cannot run here, or undefined if it can. */
export function missing(name) {
  const [variable, ...places] = PLACES[name]
  if (browserPath(name) === undefined)
    return `there is no ${places.join(', no ')} (${variable} names another place)`
  if (!existsSync(join(driver, 'node_modules/puppeteer-core')))
    return 'its driver is not installed: npm ci --prefix spec/support/browser'
  return undefined
}

/**
 * Starts 'chromium' or 'firefox' with an empty profile, and calls `use` with a Browser of
 * puppeteer. When `use` ends, or throws, or this process dies, the browser ends too, and its
 * profile is deleted. `args` are further arguments of the browser's program; `withoutArgs` are
 * arguments of puppeteer's that are left out.
 */
export async function withBrowser(name, use, { args = [], withoutArgs = [], prefs = {} } = {}) {
  const reason = missing(name)
  if (reason !== undefined) throw new Error(`${name} cannot run: ${reason}`)
  const entry = createRequire(join(driver, 'package.json')).resolve('puppeteer-core')
  const { default: puppeteer } = await import(pathToFileURL(entry).href)
  const profile = mkdtempSync(join(tmpdir(), `dirtyring-${name}-`))
  let browser
  let guard
  try {
    browser = await puppeteer.launch({
      executablePath: browserPath(name),
      userDataDir: profile,
      timeout: START_MS_MAX,
      headless: true,
      ...(name === 'chromium'
        ? { pipe: true, args: [...CHROMIUM_ARGS, ...args], ignoreDefaultArgs: withoutArgs }
        : { browser: 'firefox', args, extraPrefsFirefox: prefs }),
    })
    guard = guardOf(browser.process().pid, profile)
    return await use(browser)
  } finally {
    if (browser !== undefined) await end(browser)
    guard?.stdin.end('ended')
    rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
  }
}

/** Ends the browser; if it does not end by itself, kills the processes of its group. */
async function end(browser) {
  const child = browser.process()
  const ended = new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve()
    else child.once('exit', resolve)
  })
  let timer
  const late = new Promise((resolve) => (timer = setTimeout(resolve, END_MS_MAX, 'late')))
  const closed = browser.close().catch(() => undefined)
  if ((await Promise.race([Promise.all([closed, ended]), late])) === 'late') {
    killGroup(child.pid)
    await ended
  }
  clearTimeout(timer)
}

function killGroup(pid) {
  try {
    process.kill(process.platform === 'win32' ? pid : -pid, 'SIGKILL')
  } catch {
    // It has ended.
  }
}

/**
 * A process that ends the browser if this process is killed: its standard input then closes without
 * a word.
 */
function guardOf(pid, profile) {
  const script = `
    let told = ''
    process.stdin.on('data', (text) => (told += text)).on('end', () => {
      if (told !== '') return
      try { process.kill(process.platform === 'win32' ? ${pid} : -${pid}, 'SIGKILL') } catch {}
      fs.rmSync(${JSON.stringify(profile)}, { recursive: true, force: true, maxRetries: 10 })
    })`
  const guard = spawn(process.execPath, ['-e', script], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  guard.unref()
  guard.stdin.on('error', () => undefined)
  return guard
}

/**
 * Opens a page. What it logs, and what it throws, is passed to `onText`: standard error by default.
 */
export async function openPage(browser, url, { onText = (text) => console.error(text) } = {}) {
  const page = await browser.newPage()
  page.on('console', (message) => onText(`${message.type()}: ${message.text()}`))
  page.on('pageerror', (error) => onText(`page error: ${error?.message ?? error}`))
  page.on('requestfailed', (request) => onText(`failed: ${request.url()}`))
  await page.goto(url)
  return page
}

/**
 * Evaluates a function, or an expression, in the page after its load event. Waits for its promise,
 * and returns what it resolves with: a value that JSON can carry. Rejects after `timeoutMs`.
 */
export async function resultOf(page, expression, { timeoutMs = RESULT_MS_MAX } = {}) {
  let timer
  const late = new Promise((_, reject) => {
    const error = new Error(`the page gave no result within ${timeoutMs} ms`)
    timer = setTimeout(reject, timeoutMs, error)
  })
  try {
    return await Promise.race([page.evaluate(expression), late])
  } finally {
    clearTimeout(timer)
  }
}

/** What makes a page cross-origin isolated, so that it has shared memory. */
export const ISOLATED = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
}

const TYPES = {
  '.css': 'text/css',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.mjs': 'text/javascript; charset=utf-8',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
}

/**
 * Serves `source` on a free port of the loopback interface, and calls `use` with { origin, port }.
 * When `use` ends or throws, the server ends. `source` is a folder, or an object from paths to
 * texts. A path that ends in "/" is its index.html, or the object's own entry. `headers` are sent
 * with every answer: a page is cross-origin isolated by default.
 */
export async function withServer(source, use, { headers = ISOLATED } = {}) {
  const bodyOf = typeof source === 'string' ? (path) => fileAt(source, path) : textAt(source)
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url, 'http://localhost').pathname)
    const body = bodyOf(path)
    if (body === undefined) {
      // Browsers ask for an icon by themselves.
      response.writeHead(path === '/favicon.ico' ? 204 : 404, headers).end()
      return
    }
    const type = TYPES[extname(path) || '.html'] ?? 'application/octet-stream'
    response.writeHead(200, { 'Content-Type': type, ...headers }).end(body)
  })
  await new Promise((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', resolve)
  })
  const { port } = server.address()
  try {
    return await use({ origin: `http://127.0.0.1:${port}`, port })
  } finally {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
}

function textAt(texts) {
  return (path) => texts[path] ?? (path.endsWith('/') ? texts[`${path}index.html`] : undefined)
}

function fileAt(folder, path) {
  const file = join(folder, normalize(path.endsWith('/') ? `${path}index.html` : path))
  if (!file.startsWith(join(folder, sep))) return undefined
  return existsSync(file) && statSync(file).isFile() ? readFileSync(file) : undefined
}
