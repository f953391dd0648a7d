/**
 * Bundles alone.ts, with all that it imports, into one script. As a program it writes the script
 * into dist/aggregator/carried.js, which the library carries: node lib/aggregator/carry.js
 */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { minify } from 'terser'

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
    entryPoints: [fileURLToPath(new URL('alone.ts', import.meta.url))],
    bundle: true,
    format: 'iife',
    platform: 'neutral',
    target: 'es2022',
    minify: true,
    legalComments: 'none',
    plugins: [WITHOUT_KERNEL],
    write: false,
  })
  return `${await smaller(outputFiles[0].text)}//# sourceURL=dirtyring-aggregator.js\n`
}

/**
 * What esbuild has minified, 9 % smaller when it is compressed. The functions stay apart: V8
 * inlines small ones, and stops inlining in large ones.
 */
async function smaller(script) {
  const { code } = await minify(script, {
    ecma: 2020,
    compress: { ecma: 2020, passes: 3, inline: 1, reduce_funcs: false },
  })
  return `${code}\n`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = JSON.stringify(await carriedText())
  writeFileSync(
    new URL('../../dist/aggregator/carried.js', import.meta.url),
    `export const CARRIED =\n  ${text}\n`,
  )
}
