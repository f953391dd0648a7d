/** The back/forward cache: a page that is left and shown again goes on where it was. */
import { openPage, resultOf, withBrowser } from '../support/browser.mjs'

export const BACK = 'a page to which Back returns goes on marking'

/** A browser of its own: puppeteer's arguments switch the cache off. */
export function backAndForward(name, origin) {
  const options = name === 'chromium' ? { withoutArgs: ['--disable-back-forward-cache'] } : {}
  return withBrowser(
    name,
    async (browser) => {
      const errors = []
      const onText = (text) => errors.push(text)
      const page = await openPage(browser, `${origin}/back.html`, { onText })
      try {
        await page.waitForFunction(() => globalThis.ready === true)
        const before = await resultOf(page, () => globalThis.round(1))
        await resultOf(page, () => globalThis.stage(2))
        await page.goto(`${origin}/away.html`)
        await page.goBack({ waitUntil: [] }).catch(() => undefined)
        await page.waitForFunction(() => globalThis.ready === true)
        const persisted = await resultOf(page, () => globalThis.persisted)
        if (!persisted) return { none: 'the browser did not keep the page in its cache' }
        const after = await resultOf(page, () => globalThis.round(3))
        const got = JSON.stringify([before, after])
        return got === '[[1],[2,3]]' ? 'passed' : { failed: `epochs ${got}` }
      } catch (error) {
        return { failed: [error.message, ...errors].join('; ') }
      }
    },
    options,
  )
}
