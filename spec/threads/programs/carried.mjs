/** The aggregator's code as the package carries it, and what a bundler makes of the package. */
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { CARRIED } from '../../../dist/aggregator/carried.js'
import { carriedText } from '../../../lib/aggregator/carry.js'
import { verdict } from './support.mjs'

const library = fileURLToPath(new URL('../../../dist/index.js', import.meta.url))

/** What a page loads for a name of the library, minified. */
async function pageWith(name) {
  const { outputFiles } = await build({
    stdin: { contents: `export { ${name} } from ${JSON.stringify(library)}`, resolveDir: '/' },
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    write: false,
  })
  return outputFiles[0].text
}

const [tracker, writer] = [await pageWith('DirtyTracker'), await pageWith('openWriter')]
const kB = (text) => gzipSync(text, { level: 9 }).length / 1000
verdict({
  isOfTheSources: CARRIED === (await carriedText()),
  imports: CARRIED.match(/\b(?:import|require)\s*\(|\bimport\.meta\b/g) ?? [],
  inPage: {
    tracker: { kB: kB(tracker), hasCarried: tracker.includes('dirtyring-aggregator.js') },
    writer: { kB: kB(writer), hasCarried: writer.includes('dirtyring-aggregator.js') },
    findsFiles: [tracker, writer].some((text) => /import\.meta|new Worker\(new URL/.test(text)),
  },
})
