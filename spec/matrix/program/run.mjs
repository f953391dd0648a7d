/** Runs the cases on the calling thread, one after the other, and tells each one's outcome. */
import { cases } from './cases.mjs'
import { within } from './check.mjs'

const END_MS_MAX = 10_000

/** A puppet's thread, as a case sees it. */
class Puppet {
  #worker
  #calls = new Map()
  #last = 0
  constructor(worker, fail) {
    this.#worker = worker
    worker.receive(({ call, result, error }) => {
      const pending = this.#calls.get(call)
      this.#calls.delete(call)
      if (error === undefined) pending?.resolve(result)
      else pending?.reject(Object.assign(new Error(`in a worker: ${error.message}`), error))
    })
    worker.onError((message) => fail(new Error(`a worker failed: ${message}`)))
  }
  /** The runtime's own worker object, for watch(). */
  get worker() {
    return this.#worker.worker
  }
  call(act, args) {
    const call = ++this.#last
    return new Promise((resolve, reject) => {
      this.#calls.set(call, { resolve, reject })
      this.#worker.send({ call, act, args })
    })
  }
  async terminate() {
    await this.#worker.terminate()
  }
}

/** What one case gets. Whatever it started ends when the case ends. */
function caseContext(library, host) {
  const puppets = []
  const trackers = []
  let fail
  const failed = new Promise((_, reject) => (fail = reject))
  failed.catch(() => undefined)
  return {
    library,
    host,
    failed,
    async tracker(options) {
      const tracker = await library.DirtyTracker.create({
        maxWriters: 8,
        maxKeysPerEpoch: 65_536,
        laneCapacity: 1024,
        capacity: 64,
        flushIntervalMs: 0,
        ...options,
      })
      trackers.push(tracker)
      tracker.closed.catch(() => undefined)
      return tracker
    },
    async puppet() {
      const puppet = new Puppet(await host.start('puppet'), fail)
      puppets.push(puppet)
      await puppet.call('support') // it has loaded
      return puppet
    },
    async end() {
      for (const tracker of trackers) {
        const stopping = tracker.stop({ graceMs: 0 })
        await within(stopping, 'stop() after the case', END_MS_MAX).catch(() => undefined)
      }
      for (const puppet of puppets) await puppet.terminate()
      if (trackers.length > 0) await host.settled()
    },
  }
}

/**
 * Runs the cases whose names contain `text`, without those in `done`; `isQuick` leaves out the ones
 * that take long. `tell` gets { begin }, then { end, outcome } for each:
 * 'passed', { failed: why } or { none: why } where the host has nothing to show.
 */
export async function runCases({ library, host, tell, done = [], text = '', isQuick = false }) {
  for (const [name, { applies, takesLong = false, run }] of Object.entries(cases)) {
    if (done.includes(name) || !name.includes(text) || (isQuick && takesLong)) continue
    const none = applies?.(host, library)
    if (none !== undefined) {
      tell({ end: name, outcome: { none } })
      continue
    }
    tell({ begin: name })
    const context = caseContext(library, host)
    const started = Date.now()
    let outcome = 'passed'
    try {
      await within(Promise.race([run(context), context.failed]), 'the case')
    } catch (error) {
      outcome = { failed: String(error?.message ?? error), stack: error?.stack }
    }
    await context.end()
    tell({ end: name, outcome, ms: Date.now() - started })
  }
}
