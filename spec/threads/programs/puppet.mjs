/** A worker that does what it is told, one thing at a time. */
import { once } from 'node:events'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { openWriter, runAggregator } from '../../../dist/index.js'
import { exitOf, within } from './threads.mjs'

export class Puppet {
  worker
  exit
  #calls = 0

  constructor() {
    this.worker = new Worker(new URL(import.meta.url), { name: 'puppet' })
    this.exit = exitOf(this.worker, 'the end of a puppet')
  }

  /**
   * Resolves with what the call returned; rejects with the code or the message of what it threw.
   */
  async call(name, ...params) {
    const id = ++this.#calls
    const answers = new Promise((resolve, reject) => {
      const listen = (answer) => {
        if (answer.id !== id) return
        this.worker.off('message', listen)
        if ('error' in answer) reject(Object.assign(new Error(answer.error), { code: answer.code }))
        else resolve(answer.value)
      }
      this.worker.on('message', listen)
    })
    this.worker.postMessage({ id, name, params })
    return within(answers, `${name}()`)
  }

  /** No answer is awaited. */
  tell(name, ...params) {
    this.worker.postMessage({ id: ++this.#calls, name, params })
  }

  async terminate() {
    if (this.worker.threadId === -1) return
    await within(this.worker.terminate(), 'terminate()')
    await this.exit
  }

  /** Resolves when its event loop turns. */
  async ready() {
    if (this.worker.threadId !== -1) await once(this.worker, 'online')
    return this
  }
}

const writers = []
let running

const doings = {
  ping: () => 'pong',
  open(handle) {
    const writer = openWriter(handle)
    writers.push(writer)
    return writer.id
  },
  /** Returns how many were stored; what a mark throws, with how many were before it. */
  mark(from, count, writer = 0) {
    for (let i = 0; i < count; i++) {
      try {
        if (!writers[writer].mark(from + i)) return i
      } catch (error) {
        return { stored: i, code: error.code, message: error.message }
      }
    }
    return count
  },
  staged: (writer = 0) => writers[writer].staged,
  flush: (writer = 0) => writers[writer].flush(),
  close: (writer = 0) => writers[writer].close(),
  /** Resolves with 'running', or with the code of what it rejects with at once. */
  async aggregate(handle) {
    running = runAggregator(handle)
    const rejected = running.then(
      () => 'ended',
      (error) => error.code ?? error.message,
    )
    return Promise.race([
      rejected,
      new Promise((resolve) => setTimeout(() => resolve('running'), 20)),
    ])
  },
  /** Resolves with 'ended' when it has. */
  aggregated: () => running.then(() => 'ended'),
  /** Neither its event loop nor anything else goes on. */
  block: (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms),
  /** The same, from when it says so in words[0] until words[1] lets it go. */
  hold(words) {
    Atomics.store(words, 0, 1)
    Atomics.wait(words, 1, 0)
  },
  /**
   * A word of the tracker's memory moves every few ms, so many ms; then this thread runs the
   * aggregator.
   */
  nudge(handle, word, ms) {
    const words = new Int32Array(handle.buffer)
    const sleeper = new Int32Array(new SharedArrayBuffer(4))
    for (
      const end = performance.now() + ms;
      performance.now() < end;
      Atomics.wait(sleeper, 0, 0, 5)
    ) {
      if (word !== undefined) Atomics.add(words, word, 1)
    }
    running = runAggregator(handle)
    running.catch(() => undefined)
    return 'nudged'
  },
  patience: async (values) =>
    void Object.assign((await import('../../../dist/patience.js')).patience, values),
  exit: () => process.exit(0),
  end: () => parentPort.close(),
  crash() {
    setTimeout(() => {
      throw new Error('crashed as told')
    })
  },
}

if (!isMainThread) {
  parentPort.on('message', async ({ id, name, params }) => {
    try {
      parentPort.postMessage({ id, value: await doings[name](...params) })
    } catch (error) {
      parentPort.postMessage({ id, error: error.message, code: error.code })
    }
  })
}
