/** A page that uses the library in the scopes that only a page has. Prints one line an outcome. */
import { DirtyTracker } from 'dirtyring'
import { same, truthy, within } from './check.mjs'

const options = { maxWriters: 4, laneCapacity: 8, capacity: 8, flushIntervalMs: 0 }

/** A tracker that no aggregator serves until it stops: its lanes stay full. */
const unserved = () => DirtyTracker.create({ ...options, aggregator: 'none' })

async function idsOf(tracker) {
  const epoch = await within(tracker.advanceEpoch(), 'an epoch')
  same(epoch.exact, true, 'exact')
  const ids = [...epoch.ids()]
  epoch.commit()
  return ids
}

/** What comes from `port` next. */
const messageOf = (port) =>
  within(
    new Promise((resolve, reject) => {
      port.onmessage = ({ data }) => resolve(data)
      port.onmessageerror = () => reject(new Error('a message could not be read'))
    }),
    'a message',
  )

/** The library says so, and the case has nothing to show. */
function withoutMemory({ code, message }, scope) {
  same(code, 'ERR_DIRTYRING_NO_SHARED_MEMORY', 'create()')
  truthy(message.includes(scope), `the error names the scope: ${message}`)
  return `the browser gives a ${scope} no SharedArrayBuffer; create() says so`
}

const cases = {
  'an AudioWorklet marks, and a full lane there is an error with a code': async () => {
    const tracker = await DirtyTracker.create({ ...options, laneCapacity: 64 })
    const full = await unserved()
    const context = new OfflineAudioContext(1, 128 * 20, 44_100)
    await context.audioWorklet.addModule('/scope-audio.mjs')
    const processorOptions = { handle: tracker.handle, full: full.handle }
    const node = new AudioWorkletNode(context, 'marks', { processorOptions })
    node.connect(context.destination)
    node.onprocessorerror = ({ message }) => console.error(`the processor failed: ${message}`)
    const answer = messageOf(node.port)
    await within(context.startRendering(), 'the rendering')
    const { support, code, marks } = await answer
    same([support.sharedMemory, support.canBlock], [true, false], 'runtimeSupport()')
    same(code, 'ERR_DIRTYRING_WOULD_BLOCK', 'a mark in a full lane')
    same(await idsOf(tracker), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 'keys')
    same(marks, 10, 'marks that answered true')
    for (const each of [tracker, full]) await within(each.stop({ graceMs: 0 }), 'stop()')
  },

  'a ServiceWorker marks, and a full lane there is an error with a code': async () => {
    const registration = await navigator.serviceWorker.register('/scope-service.mjs')
    try {
      await within(navigator.serviceWorker.ready, 'a service worker')
      const { port1, port2 } = new MessageChannel()
      const answer = messageOf(port1)
      registration.active.postMessage('run', [port2])
      const told = await answer
      if (told.sharedMemory === false) return withoutMemory(told, 'service worker')
      same(
        told,
        {
          sharedMemory: true,
          canBlock: false,
          ids: [1, 2, 3],
          stored: 8,
          full: 'ERR_DIRTYRING_WOULD_BLOCK',
          worker: 'ERR_DIRTYRING_AGGREGATOR_FAILED',
        },
        'what it tells',
      )
      return undefined
    } finally {
      await registration.unregister()
    }
  },

  'a SharedWorker takes epochs': async () => {
    const worker = new SharedWorker('/scope-shared.mjs', { type: 'module' })
    const told = await messageOf(worker.port)
    if (told.sharedMemory === false) return withoutMemory(told, 'SharedWorker')
    same(told, { sharedMemory: true, ids: [1, 2, 3] }, 'what it tells')
    return undefined
  },
}

async function main() {
  const { done = [], text = '' } = JSON.parse(decodeURIComponent(location.search.slice(1)))
  const tell = (line) => console.log(JSON.stringify(line))
  for (const [name, run] of Object.entries(cases)) {
    if (done.includes(name) || !name.includes(text)) continue
    tell({ begin: name })
    let outcome = 'passed'
    try {
      const none = await within(run(), 'the case')
      if (none !== undefined) outcome = { none }
    } catch (error) {
      outcome = { failed: String(error?.message ?? error) }
    }
    tell({ end: name, outcome })
  }
  tell({ over: true })
}

void main()
