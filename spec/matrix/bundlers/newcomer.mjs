/**
 * Measures a newcomer's minute: how long it takes from `npm install` of the packed tarball to the
 * first epoch, in each tool: node spec/matrix/bundlers/newcomer.mjs [TOOL]….
 *
 * The tools are installed already. No file and no command that it uses configures the library.
 */
import { join } from 'node:path'
import {
  check,
  copyApp,
  here,
  install,
  installed,
  pack,
  rowsOfPage,
  run,
  scratchFolder,
  serving,
  withBrowsers,
  wordsOf,
} from './tools.mjs'

const shownByPage = (command) => async (tool) =>
  serving(tool.words(command), { ...tool, isPage: true }, async (address) =>
    check(await rowsOfPage(tool.browser, address)),
  )
const answered = (command) => async (tool) =>
  serving(tool.words(command), tool, async (address) => check(await (await fetch(address)).text()))
const ended = (command) => async (tool) => run(tool.words(command), tool)

const atPort = ['127.0.0.1', '--port', 'PORT']
const bundle = ['--bundle', '--format=esm', '--platform=node', '--outdir=dist']

const tools = [
  { name: 'Node', package: undefined, steps: [answered(['node', 'server.js'])] },
  {
    name: 'Vite',
    package: 'vite',
    with: 'vite',
    inBrowser: true,
    steps: [shownByPage(['vite', '--host', ...atPort])],
  },
  {
    name: 'Next',
    package: 'next',
    with: 'next',
    inBrowser: true,
    steps: [shownByPage(['next', 'dev', '--hostname', ...atPort])],
  },
  {
    name: 'esbuild for Node',
    package: 'esbuild',
    steps: [
      ended(['esbuild', 'server.js', 'server-writer.js', ...bundle]),
      answered(['node', 'dist/server.js']),
    ],
  },
  { name: 'Bun', package: 'bun', steps: [answered(['bun', 'server.js'])] },
  { name: 'Deno', package: 'deno', steps: [answered(['deno', 'run', '--allow-all', 'server.js'])] },
  {
    name: 'Jest',
    package: 'jest',
    with: 'test',
    env: { NODE_OPTIONS: '--experimental-vm-modules' },
    steps: [ended(['jest'])],
  },
  {
    name: 'Vitest',
    package: 'vitest',
    with: 'test',
    steps: [ended(['vitest', 'run', '--globals'])],
  },
]

/** Seconds until the library is installed, and until the first epoch has come. */
async function minuteOf(tool, { scratch, tarball, browser }) {
  const home = tool.package === 'next' ? join(here, 'with/next') : here
  const row = { tool: tool.name, version: process.version }
  if (tool.package !== undefined) row.version = installed(tool.package, home)?.version
  if (row.version === undefined) return { ...row, result: `not run: ${tool.package} is missing` }
  if (tool.inBrowser && browser === undefined) return { ...row, result: 'not run: no Chromium' }

  const at = join(scratch, tool.name.replace(/\W/g, '-'))
  copyApp(at, tool.with)
  const { NODE_OPTIONS: _, ...env } = { ...process.env, NEXT_TELEMETRY_DISABLED: '1' }
  const packages = [tool.package].filter(Boolean)
  const context = {
    cwd: at,
    env: { ...env, ...tool.env },
    browser,
    words: (command) => wordsOf(command, { packages, at: home === here ? here : at }),
  }
  const began = performance.now()
  const seconds = () => ((performance.now() - began) / 1000).toFixed(1)
  await install(tarball, at)
  row.installed = seconds()
  try {
    for (const step of tool.steps) await step(context)
    return { ...row, result: seconds() }
  } catch (error) {
    console.error(`${tool.name}: ${error.message}`)
    return { ...row, result: 'fails' }
  }
}

const wanted = process.argv.slice(2).map((text) => text.toLowerCase())
const scratch = scratchFolder()
const tarball = await pack(scratch)
await withBrowsers(['chromium'], async (browsers) => {
  console.log('| tool | installed after, s | first epoch after, s |\n| --- | --- | --- |')
  for (const tool of tools) {
    if (wanted.length > 0 && !wanted.includes(tool.name.toLowerCase())) continue
    const row = await minuteOf(tool, { scratch, tarball, browser: browsers[0]?.browser })
    if (row.result === 'fails') process.exitCode = 1
    console.log(`| ${row.tool} ${row.version ?? ''} | ${row.installed ?? ''} | ${row.result} |`)
  }
})
