/**
 * A real thread of a scenario: the instrumented core on a SharedArrayBuffer, with real accesses,
 * each made when the controller (lockstep.mjs) lets it. It never returns to its event loop; it is
 * terminated in the end, or earlier, where the model's thread dies.
 */
import { parentPort, workerData } from 'node:worker_threads'
import * as at from './lockstep-words.mjs'
import { drive } from './parts.mjs'
import { $, Run } from './runtime.mjs'
import { scenarios } from './scenarios.mjs'
import { Tracker } from './tracker.mjs'

const { number, words, layout, settings, control, output, modules, scenarioName, jobs } = workerData
const core = Object.assign({}, ...(await Promise.all(modules.map((url) => import(url)))))
const scenario = scenarios.find(({ name }) => name === scenarioName)
const memory = { words, layout }
const base = number * at.STRIDE
const noClock = { armed: true, arm: () => undefined }
const LONGEST_MS = 60_000

class Abandoned extends Error {}

/** Stop here, being `status`, until told to go on; the command. */
function stop(status) {
  Atomics.store(control, base + at.STATUS, status)
  Atomics.notify(control, base + at.STATUS)
  for (;;) {
    if (Atomics.wait(control, base + at.COMMAND, 0, LONGEST_MS) === 'timed-out') process.exit(3)
    const command = Atomics.exchange(control, base + at.COMMAND, 0)
    if (command !== 0) return command // 0: woken by the notify of the command before this one
  }
}

function stopInside(status) {
  const command = stop(status)
  if (command === at.ABANDON) throw new Abandoned()
  return command
}

// -------------------------------------------------------------------------- the accesses, for real
let isStepping = false

function access(name, i, a, b) {
  if (!isStepping) {
    $.v = perform(name, i, a, b)
    return false
  }
  control[base + at.ACCESS] = at.ACCESSES.indexOf(name)
  control[base + at.WORD] = i
  control[base + at.A] = at.asWord(a)
  control[base + at.B] = at.asWord(b)
  const command = stopInside(at.AT_ACCESS)
  $.v = command === at.SKIP ? pretend(name, i, a) : perform(name, i, a, b)
  control[base + at.VALUE] = name === 'wait' ? at.WAKES.indexOf(String($.v)) : at.asWord($.v)
  if (name === 'wait') stopInside(at.WOKEN)
  return false
}

function perform(name, i, a, b) {
  switch (name) {
    case 'read':
      return words[i]
    case 'write':
      return (words[i] = a)
    case 'load':
      return Atomics.load(words, i)
    case 'compareExchange':
      return Atomics.compareExchange(words, i, a, b)
    case 'wait':
      Atomics.store(control, base + at.STATUS, at.SLEEPING)
      Atomics.notify(control, base + at.STATUS)
      return Atomics.wait(words, i, a, control[base + at.MS])
    default:
      return Atomics[name](words, i, a)
  }
}

function pretend(name, i, a) {
  return name === 'write' || name === 'store' || name === 'compareExchange'
    ? a
    : name === 'notify'
      ? 0
      : words[i]
}

Object.assign($, {
  r: (_, i) => access('read', i, 0, 0),
  w: (_, i, value) => access('write', i, value, 0),
  aload: (_, i) => access('load', i, 0, 0),
  astore: (_, i, value) => access('store', i, value, 0),
  acas: (_, i, expected, value) => access('compareExchange', i, expected, value),
  arw: (name, _, i, value) => access(name, i, value, 0),
  await: (_, i, value, ms) => access('wait', i, value, ms),
  anotify: (_, i, count) => access('notify', i, count, 0),
})

// ----------------------------------------- what model.mjs does around the core, without its oracle
const threadIdOf = ({ id }) => id + 10

function* until(look) {
  while (!(yield* look())) stopInside(at.BETWEEN_LOOKS)
}

class RealTracker extends Tracker {
  /** @override */
  *wait(isSo, also) {
    for (;;) {
      const heard = Atomics.load(words, core.SIGNAL)
      yield* this.poke()
      if (also !== undefined) yield* also()
      if (isSo()) return
      if (!Atomics.waitAsync(words, core.SIGNAL, heard).async) continue
      try {
        stopInside(at.BETWEEN_LOOKS)
      } finally {
        // However it was woken, it does not listen any more. No other thread listens there.
        Atomics.notify(words, core.SIGNAL)
      }
    }
  }
}

const clock = new Int32Array(12)
const threadOf = (id) => ({
  id,
  name: jobs[control[id * at.STRIDE + at.JOB]],
  clock,
  get state() {
    return control[id * at.STRIDE + at.STATE]
  },
})

class RealWorld {
  constructor(opened) {
    this.core = core
    this.memory = memory
    this.words = words
    this.layout = layout
    this.scenario = scenario
    this.results = {}
    this.opened = opened
    // The tracker asks the model's oracle which epoch comes next; here that is only the next one.
    this.closed = new Proxy([], {
      get: (_, k) => ({ id: (scenario.start?.epoch ?? 0) + Number(k) }),
    })
    this.threadIdOf = threadIdOf
    this.run = {
      get threads() {
        return jobs.map((_, id) => threadOf(id))
      },
    }
    this.tracker = new RealTracker(/** @type {any} */ (this))
  }

  get exits() {
    return Array.from(control.subarray(at.EXITS + 1, at.EXITS + 1 + control[at.EXITS]), threadOf)
  }

  checkEpoch() {}

  /** No epoch of these scenarios is a superset. */
  *checkFilter() {}

  *open() {
    const lane = this.opened ?? (yield* openLane())
    this.opened = undefined
    return lane
  }

  *openWhenFree() {
    let lane
    const open = this.open.bind(this)
    yield* until(function* () {
      lane = yield* open()
      return lane !== 'none-free'
    })
    return lane
  }

  *mark(lane, key) {
    return yield* core.stage(lane, key | 0, Math.floor(key / 2 ** 32) | 0)
  }

  *markMany(lane, keys) {
    const pairs = keys.flatMap((key) => [key | 0, Math.floor(key / 2 ** 32) | 0])
    return yield* core.stageMany(lane, pairs, keys.length)
  }

  *markWaiting(lane, key) {
    while (!(yield* this.mark(lane, key))) if (!(yield* this.#makeRoom(lane, 1))) return false
    return true
  }

  *markManyWaiting(lane, keys) {
    while (!(yield* this.markMany(lane, keys)))
      if (!(yield* this.#makeRoom(lane, keys.length))) return false
    return true
  }

  *flush(lane) {
    return yield* core.publish(lane)
  }

  *flushWaiting(lane) {
    if (yield* this.flush(lane)) return true
    return yield* this.#makeRoom(lane, 0)
  }

  *#makeRoom(lane, count) {
    for (;;) {
      if (yield* core.isStopped(lane)) return false
      if (yield* core.sleepForRoom(lane, count, 0, 10)) return true
    }
  }

  *close(lane) {
    yield* until(function* () {
      return (yield* core.closeLane(lane)) || (yield* core.isStopped(lane))
    })
  }
}

function* openLane() {
  return yield* core.openLane(memory, threadIdOf({ id: number }), settings.batchSize, noClock)
}

function* takeRole() {
  return yield* core.takeRole(memory, threadIdOf({ id: number }))
}

function* aggregate(predecessor, warm) {
  if (predecessor >= 0) yield* core.releaseRole(words, threadIdOf({ id: predecessor }))
  let isRecovered = warm !== undefined
  const a = warm ?? (yield* takeRole())
  for (;;) {
    if (!isRecovered) yield* core.recover(a)
    isRecovered = true
    const result = yield* core.step(a)
    if (result === core.IDLE) yield* core.doChores(a)
    if (result === core.LOST_ROLE) throw new Error('it has met another aggregator')
    if (result === core.FINISHED_ALL) {
      yield* core.leaveRole(a)
      return
    }
    if (result === core.IDLE) yield* core.park(a, 10)
  }
}

/** The job's generator; what the model does before its threads start is done. */
function prepare(results) {
  const name = jobs[control[base + at.JOB]]
  if (name === 'aggregator') {
    const predecessor = control[base + at.PREDECESSOR]
    let warm
    if (predecessor < 0 && scenario.cold !== true) {
      warm = drive(takeRole())
      drive(core.recover(warm))
    }
    return aggregate(predecessor, warm)
  }
  const isWriter = name.startsWith('writer')
  const lane = isWriter && scenario.cold !== true ? drive(openLane()) : undefined
  const world = new RealWorld(typeof lane === 'string' ? undefined : lane)
  return (function* () {
    yield* scenario.threads[name](at.noting(world, results))
    if (scenario.exits === true && isWriter) control[at.EXITS + ++control[at.EXITS]] = number
  })()
}

/**
 * Runs a generator that never yields: the hooks stop its thread instead. What is around it in
 * runtime.mjs wants a run.
 */
function runThrough(generator) {
  new Run({ choose: (_run, _thread, options) => options[0], fair: 0 }, {}).execute((run) =>
    run.spawn('thread', () => generator),
  )
}

function report(text) {
  const bytes = Buffer.from(text)
  output.fill(0)
  output.set(bytes.subarray(0, at.RESULT_BYTES - 1))
}

parentPort.postMessage('here')
for (;;) {
  if (stop(at.IDLE) === at.ABANDON) continue
  const results = []
  let end = at.ENDED
  try {
    isStepping = false
    const generator = prepare(results)
    stopInside(at.READY)
    isStepping = true
    runThrough(generator)
    control[base + at.STATE] = 2
    report(results.join('\n'))
  } catch (error) {
    if (error instanceof Abandoned) continue
    end = at.THREW
    report(error.stack)
  }
  stop(end)
}
