import { execFileSync } from 'node:child_process'
import { afterAll, describe, expect, it } from '@jest/globals'
import { runProgram } from '../support/program.js'
import { startExample } from './start.js'

const driver = new URL('../support/browser.mjs', import.meta.url).href

/** Why a browser does not run here, or ''. */
function missing(name: string): string {
  const { NODE_OPTIONS: _, ...env } = process.env
  const script = `import { missing } from '${driver}'
    process.stdout.write(missing('${name}') ?? '')`
  return execFileSync(process.execPath, ['--input-type=module', '-e', script], {
    env,
    encoding: 'utf8',
  })
}

const browsers = ['chromium', 'firefox'].map((name) => ({ name, reason: missing(name) }))
const servers = browsers.some(({ reason }) => reason === '')
  ? {
      browser: startExample('browser', ['--port', '0']),
      cache: startExample('cache-server', ['--port', '0', '--ttl', '3600000']),
    }
  : undefined
afterAll(() => Promise.all(Object.values(servers ?? {}).map((server) => server.stop())))

for (const { name, reason } of browsers) {
  const itRuns = reason === '' ? it : it.skip
  const note = reason === '' ? '' : ` (not run: ${reason})`

  describe(`the pages of the examples in ${name}${note}`, () => {
    itRuns(
      'draw what changed and nothing else, and show the entries that are stale',
      async () => {
        const addresses = {
          browser: await servers!.browser.address,
          cache: await servers!.cache.address,
        }
        const { painters, advice, cache } = await runProgram(
          '../../examples/pages',
          { name, addresses },
          {
            timeoutMs: 100_000,
          },
        )

        const [marks, epochs, tiles, latency] = painters.running
        expect(marks).toBeGreaterThan(0)
        expect(epochs).toBeGreaterThan(0)
        expect(tiles).toBeGreaterThan(0)
        expect(tiles).toBeLessThan(1536)
        expect(latency).toBeGreaterThanOrEqual(0)
        expect(painters.differing).toBe(0)
        expect(advice).toContain('Cross-Origin-Opener-Policy: same-origin')
        expect(cache.figures).toHaveLength(8)
        expect(cache.figures.filter((text: string) => !/^[\d,.]+( %| ms)?$/.test(text))).toEqual([])
        expect(cache.staleWhilePaused).toBeGreaterThan(0)
        // Neither is wider than a screen of a desk or of a phone, or has anything to complain of.
        expect([painters.wide, cache.wide]).toEqual([
          [0, 0],
          [0, 0],
        ])
        expect([painters.complaints, cache.complaints]).toEqual([[], []])
      },
      120_000,
    )
  })
}
