/**
 * Bundles worker.ts, with all that it imports, into one script. As a program it writes the script
 * into dist/aggregator/carried.js, which the library carries: node lib/aggregator/carry.js
 */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

/**
 * Stands for the code of the kernel, which a page would load twice: in this script and beside it.
 * The thread that starts the script puts it in.
 */
const WITHOUT_KERNEL = {
  name: 'without kernel',
  setup: ({ onLoad }) =>
    onLoad({ filter: /native.binary\.ts$/ }, () => ({
      contents: `export const BINARY = '<kernel>'`,
    })),
}

/** Runs as a classic script, as a module, and as CommonJS: it has no import, export or require. */
export async function carriedText() {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('worker.ts', import.meta.url))],
    bundle: true,
    format: 'iife',
    platform: 'neutral',
    target: 'es2022',
    minify: true,
    legalComments: 'none',
    plugins: [WITHOUT_KERNEL],
    footer: { js: '//# sourceURL=dirtyring-aggregator.js' },
    write: false,
  })
  return outputFiles[0].text
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = JSON.stringify(await carriedText())
  writeFileSync(
    new URL('../../dist/aggregator/carried.js', import.meta.url),
    `export const CARRIED =\n  ${text}\n`,
  )
}
