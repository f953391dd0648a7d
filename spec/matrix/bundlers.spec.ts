import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from '@jest/globals'

const here = fileURLToPath(new URL('bundlers', import.meta.url))

/** Rows of the table, in its short form. */
async function shortTable(): Promise<any[]> {
  const { NODE_OPTIONS: _, ...env } = process.env
  const args = [join(here, 'run.mjs'), '--short', '--json']
  const run = promisify(execFile)(process.execPath, args, { env, timeout: 300_000 })
  const { stdout, stderr } = await run.catch((error: unknown) => error as Record<string, string>)
  const last = stdout.trimEnd().split('\n').at(-1)!
  if (!last.startsWith('[')) throw new Error(`run.mjs has given no results\n${stderr}`)
  return JSON.parse(last).map((row: object) => ({ ...row, stderr }))
}

/** Windows has no process groups, which run.mjs ends. */
const rows = process.platform === 'win32' ? [] : await shortTable()
const cells = rows.flatMap(({ name, stderr, build, node }) => [
  { title: `${name}, a page`, stderr, ...build },
  { title: `${name}, a Node server`, stderr, ...node },
])

describe('a bundler that is told nothing of the library', () => {
  for (const { title, state, reason, stderr } of cells)
    if (state === 'not run') it.skip(`builds a program that runs: ${title} (${reason})`, () => {})
    else
      it(`builds a program whose rows are the marked ones: ${title}`, () => {
        expect({ state, stderr }).toEqual({ state: 'exact', stderr })
      })

  it('is told nothing, in each file and each command of the table', () => {
    const files = readdirSync(join(here, 'with'), { recursive: true, encoding: 'utf8' }).filter(
      (name) => /\.config\.js$/.test(name) && !name.includes('node_modules'),
    )
    const read = (name: string) => readFileSync(join(here, name), 'utf8')
    const commands = read('bundlers.mjs').replace(/\/\*\*[^]*?\*\//, '')

    expect(files.toSorted()).toEqual([
      'next/next.config.js',
      'rspack/rspack.config.js',
      'vite/vite.config.js',
      'webpack/webpack.config.js',
    ])
    for (const text of [commands, ...files.map((name) => read(join('with', name)))])
      expect(text).not.toContain('dirtyring')
  })
})
