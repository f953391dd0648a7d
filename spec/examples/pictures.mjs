/** Photographs the pages of the examples: `npm run pictures` writes docs/pictures/*.webp. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openPage, withBrowser } from '../support/browser.mjs'
import { sleep } from '../threads/programs/threads.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = join(root, 'docs/pictures')
const DESK = { width: 1100, height: 750 }
const PHONE = { width: 390, height: 844 }
/** So long does the page run before each picture, so that it has something to show. */
const MS = 16_000

const pictures = [
  { example: 'browser', name: 'browser-light', size: DESK, scheme: 'light' },
  { example: 'browser', name: 'browser-dark', size: DESK, scheme: 'dark' },
  { example: 'browser', name: 'browser-phone', size: PHONE, scheme: 'dark' },
  { example: 'cache-server', name: 'cache-server', size: DESK, scheme: 'light' },
]

async function take(browser, { example, name, size, scheme }) {
  const script = join(root, 'examples', example, 'main.js')
  const server = spawn(process.execPath, [script, '--port', '0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    const [address] = await once(server.stdout.setEncoding('utf8'), 'data')
    const page = await openPage(browser, 'about:blank')
    await page.setViewport(size)
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }])
    await page.goto(address.trim())
    await sleep(MS)
    const path = join(folder, `${name}.webp`)
    await page.screenshot({ path, type: 'webp', quality: 80, fullPage: true })
    await page.close()
    console.log(`docs/pictures/${name}.webp: ${Math.round(statSync(path).size / 1000)} kB`)
  } finally {
    server.kill()
  }
}

mkdirSync(folder, { recursive: true })
await withBrowser('chromium', async (browser) => {
  for (const picture of pictures) await take(browser, picture)
})
