/**
 * Opens the pages of the examples in a browser, uses them, and says what they showed:
 * `{ name, addresses: { browser, cache } }`.
 */
import { buildPage } from '../../examples/browser/build.js'
import { openPage, withBrowser, withServer } from '../support/browser.mjs'
import { args, verdict } from '../threads/programs/support.mjs'
import { sleep } from '../threads/programs/threads.mjs'

/** Asks the page again and again. */
async function until(isSo, what, ms = 30_000) {
  const started = performance.now()
  while (!(await isSo())) {
    if (performance.now() - started > ms) throw new Error(`${what}: not within ${ms} ms`)
    await sleep(50)
  }
}

const SIZES = [
  { width: 1200, height: 800 },
  { width: 390, height: 844 },
]

/** A page's complaints: an error, a warning, a request that failed. */
async function open(browser, address, before) {
  const complaints = []
  const page = await openPage(browser, 'about:blank', { onText: (text) => complaints.push(text) })
  await page.setViewport(SIZES[0])
  if (before !== undefined) await page.evaluateOnNewDocument(before)
  await page.goto(address)
  return { page, complaints }
}

/** How many pixels the page is wider than the screen, at each size. */
async function tooWide(page) {
  const widths = []
  for (const size of SIZES) {
    await page.setViewport(size)
    widths.push(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth))
  }
  return widths.map((width) => Math.max(0, width))
}

const textsOf = (page, selector) =>
  page.evaluate(
    (all) => [...document.querySelectorAll(all)].map((one) => one.textContent),
    selector,
  )

// ------------------------------------------------------------------------------------- the painters
/** Runs in the page before its scripts: remembers the pixels, and what was drawn of them. */
function watchDrawing() {
  const drawn = new Map()
  globalThis.watched = { drawn, draws: 0 }
  const { postMessage } = Worker.prototype
  Worker.prototype.postMessage = function (message, ...rest) {
    if (message?.pixels !== undefined) globalThis.watched.pixels = message.pixels
    return postMessage.call(this, message, ...rest)
  }
  const { putImageData } = CanvasRenderingContext2D.prototype
  CanvasRenderingContext2D.prototype.putImageData = function (image, x, y) {
    globalThis.watched.draws++
    drawn.set((y / 16) * 48 + x / 16, image.data.slice())
    return putImageData.call(this, image, x, y)
  }
}

/** Runs in the page: how many tiles differ from what was drawn of them last. */
function differing() {
  const { pixels, drawn } = globalThis.watched
  const bytes = 4 * 16 * 16
  let count = 0
  for (let tile = 0; tile < pixels.length / bytes; tile++) {
    const [now, then] = [pixels.subarray(tile * bytes, (tile + 1) * bytes), drawn.get(tile)]
    if (now.some((value, i) => value !== (then?.[i] ?? 0))) count++
  }
  return count
}

async function painters(browser) {
  const { page, complaints } = await open(browser, args.addresses.browser, watchDrawing)
  const figures = async () =>
    (await textsOf(page, 'output')).map((text) => Number(text.replaceAll(',', '')))
  await until(async () => (await figures()).slice(0, 3).every((figure) => figure > 0), 'figures')
  const running = await figures()
  await until(() => page.evaluate(() => globalThis.watched.drawn.size > 200), 'a picture')
  const wide = await tooWide(page)

  await page.click('#paused')
  const draws = () => page.evaluate(() => globalThis.watched.draws)
  await until(async () => {
    const before = await draws()
    await sleep(500)
    return (await draws()) === before && (await figures())[1] > 0
  }, 'epochs without a tile')
  return { running, wide, differing: await page.evaluate(differing), complaints }
}

/** The page where it has no shared memory: what it says. */
async function withoutHeaders(browser) {
  const files = Object.entries(await buildPage()).map(([name, contents]) => [`/${name}`, contents])
  return await withServer(
    Object.fromEntries(files),
    async ({ origin }) => {
      const { page } = await open(browser, origin)
      await until(
        () => page.evaluate(() => !document.querySelector('#problem').hidden),
        'the advice',
      )
      return await page.evaluate(() => document.querySelector('#problem').innerText)
    },
    { headers: {} },
  )
}

// ---------------------------------------------------------------------------------------- the cache
async function cache(browser) {
  const { page, complaints } = await open(browser, args.addresses.cache)
  const stale = (name) =>
    page.evaluate((id) => document.querySelectorAll(`#${id} .stale`).length, name)
  await until(async () => (await stale('ttl')) > 20, 'stale entries')
  const wide = await tooWide(page)
  const figures = await textsOf(page, 'dd')
  await page.click('button')
  await until(async () => (await stale('dirtyring')) === 0, 'no stale entry')
  return { wide, figures, staleWhilePaused: await stale('ttl'), complaints }
}

await withBrowser(args.name, async (browser) => {
  verdict({
    painters: await painters(browser),
    advice: await withoutHeaders(browser),
    cache: await cache(browser),
  })
})
