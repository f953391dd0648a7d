/**
 * Looks at the built site in Chromium, from a server that sets no headers: whether the live example
 * gets shared memory and moves, also after a hard reload, and whether a page is wider than the
 * screen of a phone or a desk.
 */
/* global crossOriginIsolated, document */
import { openPage, withBrowser, withServer } from '../../support/browser.mjs'
import { args, verdict } from './support.mjs'

const { folder, path, pages } = args
const SIZES = { phone: 390, desk: 1280 }
const LIVE_MS_MAX = 40_000

const problems = []
const result = await withServer(
  folder,
  ({ origin }) =>
    withBrowser(
      'chromium',
      async (browser) => {
        const onText = (text) => problems.push(text)
        const page = await openPage(browser, `${origin}${path}live/index.html`, { onText })
        const live = await moving(page)
        await page.close()
        const again = await openPage(browser, `${origin}${path}live/index.html`, { onText })
        await moving(again)
        const session = await again.createCDPSession()
        await Promise.all([
          again.waitForNavigation({ timeout: LIVE_MS_MAX }),
          session.send('Page.reload', { ignoreCache: true }), // past the service worker
        ])
        const reloaded = await moving(again)
        await again.close()
        return { live, reloaded, wide: await wideOnes(browser, origin, onText) }
      },
      // Puppeteer would go on with a page that a reload has left.
      { args: ['--disable-features=BackForwardCache'] },
    ),
  { headers: {} },
)
verdict({ ...result, problems })

/** Waits until the live page has shared memory and moves. It is loaded once more meanwhile. */
async function moving(page) {
  await page.waitForFunction(
    () =>
      crossOriginIsolated &&
      Number(document.querySelector('#marks output').textContent.replaceAll(',', '')) > 0,
    { timeout: LIVE_MS_MAX, polling: 100 },
  )
  return page.evaluate(() => ({
    isolated: crossOriginIsolated,
    complains: !document.querySelector('#problem').hidden,
  }))
}

/** Pages that have to be moved sideways to be read. */
async function wideOnes(browser, origin, onText) {
  const wide = []
  for (const [name, width] of Object.entries(SIZES)) {
    const page = await browser.newPage()
    page.on('pageerror', (error) => onText(`page error: ${error?.message ?? error}`))
    await page.setViewport({ width, height: 900, isMobile: name === 'phone' })
    for (const each of pages) {
      await page.goto(`${origin}${path}${each}`)
      const has = await page.evaluate(() => document.documentElement.scrollWidth)
      if (has > width) wide.push(`${each} on a ${name}: ${has} of ${width}`)
    }
    await page.close()
  }
  return wide
}
