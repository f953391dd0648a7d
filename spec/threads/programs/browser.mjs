/**
 * The library as a page has it, in Node: a copy of the package whose only platform is the
 * browser's, and a Worker that tells errors and no end. The worker's end without an error is a
 * thread that is terminated behind the page's back.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { Worker as Thread } from 'node:worker_threads'
import { args, verdict } from './support.mjs'
import { codeOf, until, within } from './threads.mjs'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'dirtyring-page-'))
const options = { maxWriters: 4, maxKeysPerEpoch: 1000, flushIntervalMs: 0, batchSize: 4 }

/**
 * Runs in the thread before the worker's script: what a worker's scope has and a thread has not.
 */
const PRELUDE = `
const { parentPort, workerData } = require('node:worker_threads')
const listeners = new Set()
globalThis.addEventListener = (type, listener) => type === 'message' && listeners.add(listener)
globalThis.removeEventListener = (type, listener) => listeners.delete(listener)
const early = []
parentPort.on('message', (data) => {
  if (data === 'throw') setTimeout(() => { throw new Error('as told') })
  else if (listeners.size === 0) early.push(data)
  else for (const listener of [...listeners]) listener({ data })
})
delete process.getBuiltinModule
if (workerData.text !== undefined) {
  new Function(workerData.text)()
  for (const data of early) for (const listener of [...listeners]) listener({ data })
}
`

/** The text behind each address that createObjectURL() gave. */
const scripts = new Map()
globalThis.Blob = class {
  constructor([text]) {
    this.text = text
  }
}
URL.createObjectURL = ({ text }) => {
  const url = `blob:${scripts.size}`
  scripts.set(url, text)
  return url
}

const workers = []
/** What the next workers do: 'run' (the default), 'nothing', 'throw'. */
const plans = []

class PageWorker {
  #listeners = []
  constructor(url) {
    this.plan = plans.shift() ?? 'run'
    const script = this.plan === 'throw' ? 'throw new Error("does not load")' : PRELUDE
    this.thread = new Thread(script, {
      eval: true,
      workerData: { text: this.plan === 'run' ? scripts.get(url) : undefined },
    })
    this.thread.unref()
    this.thread.on('error', ({ message }) =>
      this.#listeners.forEach((listener) => listener({ message })),
    )
    workers.push(this)
  }
  postMessage(message) {
    this.words = new Int32Array(message.dirtyringAggregate.buffer)
    this.thread.postMessage(message)
  }
  terminate() {
    this.isTerminated = true
    void this.thread.terminate()
  }
  addEventListener(type, listener) {
    if (type === 'error') this.#listeners.push(listener)
  }
}

async function load() {
  cpSync(join(root, 'dist'), join(folder, 'dist'), { recursive: true })
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest))
  delete process.getBuiltinModule // by which the library knows Node
  globalThis.addEventListener ??= () => undefined
  globalThis.removeEventListener ??= () => undefined
  const at = (path) => import(pathToFileURL(join(folder, 'dist', path)).href)
  const { patience } = await at('patience.js')
  Object.assign(patience, { silenceMs: 400, noProgressMs: 500 })
  return { ...(await at('index.js')), OWNER: (await at('memory/map.js')).OWNER }
}

/** Marks and cuts: what the epoch has. */
async function round(tracker, writer, id) {
  writer.mark(id)
  writer.flush()
  const epoch = await within(tracker.advanceEpoch(), 'an epoch')
  const ids = [...epoch.ids()]
  epoch.commit()
  return ids
}

async function settled(tracker) {
  const last = await within(tracker.stop(), 'stop()')
  await until(() => workers.every(({ isTerminated }) => isTerminated), 'the end of the workers')
  return {
    last: [...last.ids()].sort((a, b) => a - b),
    exact: last.exact,
    state: tracker.health().state,
  }
}

const cases = {
  /** By an error, which the page is told, after it took the role: another one takes its place. */
  async error(library) {
    const tracker = await within(library.DirtyTracker.create(options), 'create()')
    const restarts = []
    tracker.on('restart', (restart) => restarts.push(restart))
    const writer = tracker.openWriter()
    const first = await round(tracker, writer, 1)
    workers[0].thread.postMessage('throw')
    await until(() => tracker.health().state !== 'running', 'a death that is seen')
    const dead = tracker.health().state
    const second = await round(tracker, writer, 2)
    await until(() => restarts.length > 0, 'a restart')
    writer.mark(3)
    return {
      first,
      dead,
      second,
      restarts,
      ...(await settled(tracker)),
      terminated: workers.map(({ isTerminated }) => isTerminated),
    }
  },

  /** Without a word, while tokens wait: its silence tells. */
  async silence(library) {
    const tracker = await within(library.DirtyTracker.create(options), 'create()')
    const writer = tracker.openWriter()
    await round(tracker, writer, 1)
    await workers[0].thread.terminate()
    const second = await round(tracker, writer, 2)
    const { restarts, lastError } = tracker.health()
    writer.mark(3)
    return { second, restarts, lastError, ...(await settled(tracker)), workers: workers.length }
  },

  /** Without a word before stop(): the page's own thread does the rest. */
  async stopping(library) {
    const tracker = await within(library.DirtyTracker.create(options), 'create()')
    const writer = tracker.openWriter()
    await round(tracker, writer, 1)
    await workers[0].thread.terminate()
    for (let id = 2; id < 10; id++) writer.mark(id)
    const result = await settled(tracker)
    return {
      ...result,
      terminated: workers.map(({ isTerminated }) => isTerminated),
      later: await codeOf(() => writer.mark(11)),
    }
  },

  /**
   * While it starts: the first one makes create() reject, a later one is tried again, and stop()
   * does not wait for it.
   */
  async starting(library) {
    plans.push('throw')
    const rejected = await codeOf(() => library.DirtyTracker.create(options))
    plans.push('run', 'throw', 'run', 'nothing', 'nothing')
    const tracker = await within(library.DirtyTracker.create(options), 'create()')
    const writer = tracker.openWriter()
    workers.at(-1).thread.postMessage('throw')
    await until(() => tracker.health().state === 'restarting', 'a death that is seen')
    const again = await round(tracker, writer, 1)
    workers.at(-1).thread.postMessage('throw')
    await until(() => workers.at(-1).plan === 'nothing', 'a start that comes to nothing')
    writer.mark(2)
    return { rejected, again, ...(await settled(tracker)) }
  },

  /**
   * It takes the role and dies before the page has noticed either: what OWNER holds then is
   * released.
   */
  async unnoticed(library) {
    plans.push('nothing')
    const creating = library.DirtyTracker.create(options)
    await until(() => workers[0]?.words !== undefined, 'a memory')
    Atomics.store(workers[0].words, library.OWNER, 77)
    workers[0].thread.emit('error', new Error('as told'))
    const tracker = await within(creating, 'create()')
    const first = await round(tracker, tracker.openWriter(), 1)
    return { first, ...(await settled(tracker)), restarts: tracker.health().restarts }
  },

  async undeclared(library) {
    delete globalThis.Worker
    const error = await library.DirtyTracker.create(options).catch((thrown) => thrown)
    return { code: error.code, message: error.message }
  },
}

try {
  globalThis.Worker = PageWorker
  verdict(await cases[args.case](await load()))
} finally {
  for (const { thread } of workers) await thread.terminate()
  rmSync(folder, { recursive: true, force: true })
}
