/** Runs snippets, one after another, each with the free names that CONTRIBUTING.md lists. */
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { DirtyTracker } from '../../../dist/index.js'
import { say } from './print.mjs'

const SNIPPET_MS_MAX = 10_000
const { names, snippets } = JSON.parse(readFileSync(process.argv[2], 'utf8'))

async function freeNames() {
  const tracker = await DirtyTracker.create({ aggregator: 'inline', kernel: 'js' })
  const nothing = async () => {}
  return {
    tracker,
    writer: tracker.openWriter(),
    signal: AbortSignal.timeout(SNIPPET_MS_MAX),
    store: new Map(),
    saveRows: nothing,
    saveAll: nothing,
  }
}

let place = ''
const report = (problem) => say({ place, problem: String(problem?.stack ?? problem) })
process.on('uncaughtException', report)
process.on('warning', report)

for (const snippet of snippets) {
  place = snippet.place
  const given = await freeNames()
  for (const name of new Set([...names, ...Object.keys(given)])) {
    if (!names.includes(name) || !(name in given))
      report(`${name} is a free name in CONTRIBUTING.md only, or here only`)
    globalThis[name] = given[name]
  }
  let timer
  const late = new Promise(
    (_, reject) =>
      (timer = setTimeout(reject, SNIPPET_MS_MAX, `no end after ${SNIPPET_MS_MAX} ms`)),
  )
  await Promise.race([import(pathToFileURL(snippet.script)), late]).catch(report)
  clearTimeout(timer)
  await given.tracker.stop({ graceMs: 0 }).catch(report)
}
process.exit()
