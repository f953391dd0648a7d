/** Bundles the page and its worker. `node build.js FOLDER` writes what a static host serves. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const here = fileURLToPath(new URL('.', import.meta.url))

/** The files of the page, by name. */
export async function buildPage() {
  const { outputFiles } = await build({
    entryPoints: ['page.js', 'painter.js'].map((name) => join(here, name)),
    outdir: '.',
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    target: 'es2022',
  })
  const [page, painter] = outputFiles
  return {
    'index.html': readFileSync(join(here, 'index.html')),
    'page.css': readFileSync(join(here, 'page.css')),
    'page.js': page.contents,
    'painter.js': painter.contents,
  }
}

const [, script, folder] = process.argv
if (script === fileURLToPath(import.meta.url)) {
  mkdirSync(folder, { recursive: true })
  for (const [name, contents] of Object.entries(await buildPage())) {
    writeFileSync(join(folder, name), contents)
  }
}
