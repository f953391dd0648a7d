/** What keeps a process alive, and what does not; and other processes. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { DirtyTracker, openWriter } from '../../../dist/index.js'
import { args, verdict } from './support.mjs'
import { within } from './threads.mjs'

const options = { maxWriters: 2, maxKeysPerEpoch: 1000 }

const cases = {
  /**
   * Ends by itself, with a tracker that runs and keys staged under an armed clock. Its spec would
   * time out otherwise.
   */
  async idle({ aggregator: kind, flushIntervalMs }) {
    const aggregator =
      kind === 'function'
        ? () => new Worker(new URL('../../../dist/aggregator/worker.js', import.meta.url))
        : kind
    const tracker = await DirtyTracker.create({ ...options, aggregator, flushIntervalMs })
    const writer = tracker.openWriter()
    writer.mark(1)
    return { staged: writer.staged, state: tracker.health().state }
  },

  /** An advanceEpoch() that waits for a slot is all there is to stay for. */
  async pending() {
    const tracker = await DirtyTracker.create({ ...options, epochSlots: 2 })
    const writer = tracker.openWriter()
    writer.mark(1)
    const first = await tracker.advanceEpoch()
    writer.mark(2)
    setTimeout(() => first.commit(), 300).unref()
    const second = await tracker.advanceEpoch()
    return { ids: [...second.ids()] }
  },

  /**
   * Each call is all there is to stay for; aborted, it is none. Would end with exit status 13
   * otherwise.
   */
  async calls() {
    const tracker = await DirtyTracker.create({
      ...options,
      aggregator: 'none',
      capacity: 4,
      laneCapacity: 8,
      batchSize: 1,
      epochSlots: 2,
    })
    const writer = tracker.openWriter()
    const stayed = []
    process.once('exit', () => verdict(stayed))
    const calls = {
      'advanceEpoch(), its cut made': (signal) => tracker.advanceEpoch({ signal }),
      'epochs()': (signal) => tracker.epochs({ everyMs: 1_000_000, signal }).next(),
      'epochs({ whenDirty })': (signal) =>
        tracker.epochs({ everyMs: 0, whenDirty: true, signal }).next(),
      'flushed()': (signal) => {
        for (let id = 0; id < 8; id++) writer.mark(id)
        return tracker.flushed({ signal })
      },
      'drained()': (signal) => tracker.drained({ signal }),
      'waitForRoom()': (signal) => writer.waitForRoom(8, { signal }),
      'ref()': (signal) => {
        tracker.ref()
        signal.addEventListener('abort', () => tracker.unref())
      },
    }
    for (const [name, call] of Object.entries(calls)) {
      const controller = new AbortController()
      Promise.resolve(call(controller.signal)).catch(() => undefined)
      await new Promise((resolve) => setTimeout(resolve, 60).unref())
      stayed.push(name)
      controller.abort()
    }
    setTimeout(() => stayed.push('nothing'), 5000).unref()
  },

  async fork() {
    const results = {}
    const tracker = await DirtyTracker.create({ ...options, aggregator: 'inline' })
    for (const serialization of ['json', 'advanced']) {
      const child = fork(new URL(import.meta.url), [JSON.stringify({ case: 'child' })], {
        serialization,
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      })
      const answer = once(child, 'message')
      const ended = once(child, 'exit')
      try {
        child.send({ handle: tracker.handle })
        const [{ code, name, message }] = await within(answer, 'an answer')
        results[serialization] = { code, name, says: message.includes('threads of one process') }
      } catch (error) {
        results[serialization] = { code: error.code, name: error.name }
        child.kill()
      }
      await within(ended, 'the end of the child')
    }
    await tracker.stop()
    return results
  },

  async child() {
    const [{ handle }] = await once(process, 'message')
    try {
      openWriter(handle)
      process.send({ code: 'none', name: '', message: '' })
    } catch ({ code, name, message }) {
      process.send({ code, name, message })
    }
    process.disconnect()
    return {}
  },
}

const result = await cases[args.case](args)
if (result !== undefined) verdict(result)
