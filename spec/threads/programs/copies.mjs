/**
 * Two installations of the package in one process. `first` and `second` are the folders of two
 * projects that have it; a case may change the second one before it is loaded.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { args, verdict } from './support.mjs'
import { codeOf, exitOf, within } from './threads.mjs'

const options = { maxWriters: 4, maxKeysPerEpoch: 1000, flushIntervalMs: 0 }
const entryOf = (folder) => pathToFileURL(join(folder, 'node_modules/dirtyring/dist/index.js')).href
const idsOf = (epoch) => [...epoch.ids()].sort((a, b) => a - b)

/** A worker that loads one of the two, marks `id`, and ends. */
function marker(folder, handle, id) {
  const code = `
    const { workerData } = require('node:worker_threads')
    import(workerData.entry).then(({ openWriter }) => openWriter(workerData.handle).mark(workerData.id))`
  return new Worker(code, { eval: true, workerData: { entry: entryOf(folder), handle, id } })
}

/**
 * Raises a constant of the second installation by one, where it is declared and where the build has
 * written it. Returns its old and its new value.
 */
function raise(file, name) {
  const dist = join(args.second, 'node_modules/dirtyring/dist')
  const declared = new RegExp(`^export const ${name} = (\\d+);$`, 'gm')
  const found = [...readFileSync(join(dist, file), 'utf8').matchAll(declared)]
  if (found.length !== 1) throw new Error(`${file} has ${found.length} times ${name}`)
  const value = Number(found[0][1])
  for (const each of readdirSync(dist, { recursive: true })) {
    if (!each.endsWith('.js')) continue
    const path = join(dist, each)
    const text = readFileSync(path, 'utf8')
    const raised = text
      .replace(declared, `export const ${name} = ${value + 1};`)
      .replaceAll(`${value} /* ${name} */`, `${value + 1} /* ${name} */`)
    if (raised !== text) writeFileSync(path, raised)
  }
  return [value, value + 1]
}

const messageOf = (call) => {
  try {
    call()
  } catch (error) {
    return error.message
  }
  return 'nothing'
}

const cases = {
  async together() {
    const [one, other] = [await import(entryOf(args.first)), await import(entryOf(args.second))]
    const trackers = [
      await within(one.DirtyTracker.create(options), 'create() of the first'),
      await within(other.DirtyTracker.create(options), 'create() of the second'),
    ]
    // On this thread: each copy marks for its own tracker and for the other's.
    one.openWriter(trackers[0].handle).mark(1)
    other.openWriter(trackers[0].handle).mark(2)
    other.openWriter(trackers[1].handle).mark(3)
    one.openWriter(trackers[1].handle).mark(4)
    // On worker threads: the same.
    await Promise.all([
      exitOf(marker(args.first, trackers[0].handle, 11)),
      exitOf(marker(args.second, trackers[0].handle, 12)),
      exitOf(marker(args.second, trackers[1].handle, 13)),
      exitOf(marker(args.first, trackers[1].handle, 14)),
    ])
    const first = idsOf(await within(trackers[0].stop(), 'stop() of the first'))
    // The other tracker goes on.
    trackers[1].openWriter().mark(5)
    const second = idsOf(await within(trackers[1].stop(), 'stop() of the second'))
    return { isTwo: one.DirtyTracker !== other.DirtyTracker, first, second }
  },

  async layouts() {
    const tracker = raise('memory/map.js', 'VERSION_VALUE')
    const dictionary = raise('dictionary/core.js', 'DICTIONARY_VERSION')
    const [one, other] = [await import(entryOf(args.first)), await import(entryOf(args.second))]
    const inline = { ...options, aggregator: 'inline' }
    const [old, young] = [
      await one.DirtyTracker.create(inline),
      await other.DirtyTracker.create(inline),
    ]
    const [oldKeys, youngKeys] = [one.KeyDictionary.create(), other.KeyDictionary.create()]
    const refusals = {
      'new writer, old tracker': () => other.openWriter(old.handle),
      'old writer, new tracker': () => one.openWriter(young.handle),
      'new copy, old dictionary': () => other.KeyDictionary.attach(oldKeys.handle),
      'old copy, new dictionary': () => one.KeyDictionary.attach(youngKeys.handle),
    }
    const codes = {}
    const messages = {}
    for (const [title, call] of Object.entries(refusals)) {
      codes[title] = await codeOf(call)
      messages[title] = messageOf(call)
    }
    // Neither refusal has changed anything.
    old.openWriter().mark(1)
    young.openWriter().mark(2)
    const taken = [idsOf(await old.stop()), idsOf(await young.stop())]
    return { versions: { tracker, dictionary }, codes, messages, taken }
  },
}

verdict(await cases[args.case]())
