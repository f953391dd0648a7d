/** Hosts that lack something, or were there before the library was loaded: so it is imported here once that is so. */
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { args, verdict } from './support.mjs'
import { codeOf, exitOf, within } from './threads.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
const load = () => import('../../dist/index.js')
const options = { maxWriters: 4, maxKeysPerEpoch: 1000, laneCapacity: 8, capacity: 4, batchSize: 2, flushIntervalMs: 0 }

const cases = {
  /** A worker of which nobody knows the number any more. */
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

  /** Nobody is woken in an event loop: everything comes by a look now and then. */
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
    return { wasm: runtimeSupport().wasm, kernel, asked: await codeOf(() => DirtyTracker.create({ ...options, kernel: 'wasm' })) }
  },

  /** Another copy of the library in the same thread: a writer of its own, errors of its own classes. */
  async copies() {
    const folder = mkdtempSync(join(tmpdir(), 'dirtyring-copy-'))
    try {
      cpSync(join(root, 'dist'), join(folder, 'dist'), { recursive: true })
      cpSync(join(root, 'package.json'), join(folder, 'package.json'))
      const [ours, theirs] = [await load(), await import(pathToFileURL(join(folder, 'dist/index.js')).href)]
      const tracker = await ours.DirtyTracker.create({ ...options, laneCapacity: 64, capacity: 64 })
      const writer = theirs.openWriter(tracker.handle)
      writer.mark(1)
      const txn = new ours.TxnBuffer(1)
      txn.recordMany([2, 3])
      const atomic = txn.flushTo(writer)
      txn.record(4)
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
