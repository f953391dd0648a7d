/**
 * Hosts that lack something, or were there before the library was loaded: so it is imported here
 * once that is so.
 */
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { createContext, Script } from 'node:vm'
import { Worker } from 'node:worker_threads'
import { build } from 'esbuild'
import { args, verdict } from './support.mjs'
import { codeOf, exitOf, within } from './threads.mjs'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const load = () => import('../../../dist/index.js')
const options = {
  maxWriters: 4,
  maxKeysPerEpoch: 1000,
  laneCapacity: 8,
  capacity: 4,
  batchSize: 2,
  flushIntervalMs: 0,
}

const cases = {
  /** A worker that has ended, and of which the library never learned the number. */
  async late() {
    const worker = new Worker('', { eval: true })
    await exitOf(worker)
    const { DirtyTracker } = await load()
    const tracker = await DirtyTracker.create({ ...options, aggregator: 'inline' })
    const error = await Promise.resolve()
      .then(() => tracker.watch(worker))
      .catch((thrown) => thrown)
    await tracker.stop()
    return { name: error.name, code: error.code, cause: error.cause?.message }
  },

  async bigEndian() {
    globalThis.Uint32Array = class extends Uint32Array {
      constructor(...given) {
        super(...given)
        new Uint8Array(this.buffer).reverse()
      }
    }
    const error = await load().catch((thrown) => thrown)
    return { code: error.code, message: error.message }
  },

  /** Every prototype is frozen, as a hardened host has it. */
  async frozen() {
    for (const name of Object.getOwnPropertyNames(globalThis)) {
      const { value } = Object.getOwnPropertyDescriptor(globalThis, name)
      if (typeof value === 'function' && typeof value.prototype === 'object')
        Object.freeze(value.prototype)
    }
    for (const generator of [function* () {}, async function* () {}])
      Object.freeze(Object.getPrototypeOf(generator.prototype)) // no global names it
    const { BatchRing, DirtyTracker, KeyDictionary } = await load()
    const tracker = await within(DirtyTracker.create(options), 'create()')
    const writer = tracker.openWriter()
    writer.mark(1)
    const epoch = await within(tracker.advanceEpoch(), 'an epoch')
    const waiting = codeOf(() => writer.waitForRoom(9))
    const last = await within(tracker.stop(), 'stop()')
    const error = await Promise.resolve()
      .then(() => writer.mark(2))
      .catch((thrown) => thrown)
    const ring = BatchRing.create({ capacity: 2, laneCapacity: 8 })
    ring.openProducer().push(BigUint64Array.of(5n))
    const words = []
    for await (const { keys } of ring.batches()) {
      words.push(...keys)
      break
    }
    return {
      ids: [...epoch.ids(), ...last.ids()],
      words,
      waiting: await waiting,
      error: { name: error.name, code: error.code },
      full: await codeOf(() =>
        KeyDictionary.create({ maxKeys: 1, maxBytes: 8 }).id('a text that is longer'),
      ),
    }
  },

  /** Programs delete `process` so that other code takes their host for a browser. */
  async withoutProcess() {
    const { DirtyTracker } = await load()
    const { process } = globalThis
    delete globalThis.process
    const ids = []
    try {
      for (const aggregator of ['worker', 'inline']) {
        const tracker = await within(DirtyTracker.create({ ...options, aggregator }), 'create()')
        tracker.openWriter().mark(ids.length)
        tracker.watch(new Worker('', { eval: true }))
        await within(
          tracker.consume((epoch) => ids.push(...epoch.ids())),
          'an epoch',
        )
        await within(tracker.stop(), 'stop()')
      }
    } finally {
      globalThis.process = process
    }
    return ids
  },

  /** Node's permissions forbid threads. */
  async withoutThreads() {
    const { DirtyTracker } = await load()
    const error = await within(DirtyTracker.create(options), 'create()').catch((thrown) => thrown)
    const tracker = await DirtyTracker.create({ ...options, aggregator: 'inline' })
    tracker.openWriter().mark(1)
    let ids
    await within(
      tracker.consume((epoch) => (ids = [...epoch.ids()])),
      'an epoch',
    )
    await within(tracker.stop(), 'stop()')
    return { code: error.code, message: error.message, cause: error.cause?.cause?.code, ids }
  },

  /**
   * What a bundler for pages makes, in a realm that has the language and nothing else, and in one that
   * has timers too.
   * Test environments lack TextEncoder (jsdom), and a page's worklets lack nearly everything.
   */
  async bare() {
    const { outputFiles } = await build({
      entryPoints: [join(root, 'dist/index.js')],
      bundle: true,
      write: false,
      format: 'iife',
      globalName: 'library',
      platform: 'browser',
      target: 'es2022',
      logLevel: 'error',
    })
    const script = new Script(`${outputFiles[0].text}\nlibrary`)
    const bare = script.runInContext(createContext({}))
    const set = new bare.FingerprintSet()
    const dictionary = bare.KeyDictionary.create({ maxKeys: 4 })
    const timed = script.runInContext(
      createContext({ setTimeout, clearTimeout, setInterval, clearInterval }),
    )
    const epochs = []
    for (const library of [bare, timed]) {
      const tracker = await within(
        library.DirtyTracker.create({ ...options, aggregator: 'inline' }),
        'create()',
      )
      const stopListening = tracker.on('overflow', () => undefined)
      const writer = tracker.openWriter()
      writer.markMany([1, 2, 'text'])
      const epoch = await within(tracker.advanceEpoch(), 'an epoch')
      const has = [1, 2, 'text', 3].map((key) => epoch.has(key))
      epoch.commit()
      await within(tracker.flushed(), 'flushed()')
      stopListening()
      const last = await within(tracker.stop(), 'stop()')
      epochs.push({ has, last: last.size })
    }
    const aggregator = await Promise.resolve(timed.DirtyTracker.create(options)).catch(
      (error) => error,
    )
    return {
      bare: {
        canBlock: bare.runtimeSupport().canBlock,
        added: set.addMany([1, 'text', 1]),
        fingerprint: bare.fingerprint('é') === bare.fingerprint(Uint8Array.of(0xc3, 0xa9)),
        ids: [dictionary.id('a'), dictionary.id(Uint8Array.of(98)), dictionary.id('a')],
        text: [dictionary.key(dictionary.id('é')), dictionary.key(0)],
        pushed: bare.BatchRing.create({ capacity: 2, laneCapacity: 2, maxWriters: 1 })
          .openProducer()
          .push(BigUint64Array.of(1n)),
      },
      epochs,
      aggregator: { code: aggregator.code, cause: aggregator.cause?.message ?? aggregator.message },
    }
  },

  /** No event loop can be woken by another thread, so each looks now and then. */
  async withoutWaitAsync() {
    delete Atomics.waitAsync
    const { DirtyTracker, runtimeSupport } = await load()
    const results = { waitAsync: runtimeSupport().waitAsync }
    for (const aggregator of ['worker', 'inline']) {
      const tracker = await within(DirtyTracker.create({ ...options, aggregator }), 'create()')
      const writer = tracker.openWriter()
      for (let id = 0; id < 100; id++) writer.mark(id)
      await within(writer.waitForRoom(8), 'waitForRoom()')
      await within(tracker.drained(), 'drained()')
      const epoch = await within(tracker.advanceEpoch(), 'an epoch')
      const size = epoch.size
      await within(epoch.restore(), 'restore()')
      writer.mark(100)
      await within(tracker.flushed(), 'flushed()')
      const last = await within(tracker.stop(), 'stop()')
      results[aggregator] = [size, last.size]
    }
    return results
  },

  async withoutWebAssembly({ how }) {
    if (how === 'missing') delete globalThis.WebAssembly
    if (how === 'forbidden') {
      WebAssembly.Module = class {
        constructor() {
          throw new WebAssembly.CompileError('not by this policy')
        }
      }
    }
    const { DirtyTracker, runtimeSupport } = await load()
    const tracker = await DirtyTracker.create({ ...options, aggregator: 'inline' })
    const { kernel } = tracker
    await tracker.stop()
    return {
      wasm: runtimeSupport().wasm,
      kernel,
      asked: await codeOf(() => DirtyTracker.create({ ...options, kernel: 'wasm' })),
    }
  },

  /**
   * Another copy of the library in the same thread: a writer of its own, errors of its own classes.
   */
  async copies() {
    const folder = mkdtempSync(join(tmpdir(), 'dirtyring-copy-'))
    try {
      cpSync(join(root, 'dist'), join(folder, 'dist'), { recursive: true })
      cpSync(join(root, 'package.json'), join(folder, 'package.json'))
      const [ours, theirs] = [
        await load(),
        await import(pathToFileURL(join(folder, 'dist/index.js')).href),
      ]
      const tracker = await ours.DirtyTracker.create({ ...options, laneCapacity: 64, capacity: 64 })
      const writer = theirs.openWriter(tracker.handle)
      writer.mark(1)
      const txn = new ours.TxnBuffer(1)
      txn.markMany([2, 3])
      const atomic = txn.flushTo(writer)
      txn.mark(4)
      const inParts = await codeOf(() => txn.flushTo(writer, { atomic: false }))
      const left = txn.size
      writer.close()
      const error = await Promise.resolve()
        .then(() => writer.mark(5))
        .catch((thrown) => thrown)
      const last = await within(tracker.stop(), 'stop()')
      return {
        ids: [...last.ids()],
        atomic,
        inParts,
        left,
        error: {
          code: error.code,
          name: error.name,
          isOurs: error instanceof ours.DirtyRingError,
          isTheirs: error instanceof theirs.DirtyRingError,
        },
      }
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  },
}

verdict(await cases[args.case](args))
