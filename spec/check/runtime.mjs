/**
 * One execution of a scenario: threads as generators over one shared memory, every access of which
 * comes by here.
 *
 * `$` is what the instrumented core calls: $.r, $.w (plain), $.aload, $.astore, $.acas, $.arw,
 * $.await, $.anotify, and $.p at every call and loop back-edge. A hook performs the access, leaves
 * its value in $.v and returns false; or it returns true, and the thread yields: it was taken off,
 * ends here, or sleeps. The code that makes it go on performs the access first and sends its value.
 *
 * The choices are made by a `chooser` (explorer.mjs); this file knows what can be chosen, and what
 * it costs, but not what is.
 */

export const THREADS_MAX = 12

/** Kinds of accesses. */
const READ = 0
const WRITE = 1
const LOAD = 2
const STORE = 3
const CAS = 4
const RMW = 5
const WAIT = 6
const NOTIFY = 7
const KIND_NAMES = ['read', 'write', 'load', 'store', 'compareExchange', 'rmw', 'wait', 'notify']

/** States of a thread. */
export const READY = 0
export const BLOCKED = 1
export const DONE = 2
export const DEAD = 3

/** Choices that are not a thread's number. */
export const GO_ON = -1
export const KILL = 100
export const THROW = 101
/** + a sleeping thread's number: its sleep comes to its end. */
export const TIMEOUT = 200
/** + how many writes back: what a benign race gives. */
export const STALE = 300

/** What a planted exception throws. */
export class Planted extends Error {}
/** What a failed check throws. */
export class Failure extends Error {
  constructor(kind, message, site) {
    super(message)
    this.kind = kind
    this.site = site
  }
}

const STEPS_MAX = 20_000

export let run = null
export let current = null
export let words = new Int32Array(0)
let size = 0
// Per word; what was touched is put back after each execution.
let initial = words
export let version = words
let writer = words // who wrote it last: thread << 22 | its operation; 0: the setup
// 64 numbers a word: each thread's clock when it last wrote it plainly, wrote it atomically, read
// it plainly, read it atomically, and the vector clock that its value carries.
let meta = words
const META = 64
const ATOMIC_WRITE = THREADS_MAX
const PLAIN_READ = 2 * THREADS_MAX
const ATOMIC_READ = 3 * THREADS_MAX
const CARRIED = 4 * THREADS_MAX
let touchedFlag = new Uint8Array(0)
const touched = []
export const racyHistory = new Map() // word → writes, oldest first
let hashA = 0
let hashB = 0
let threadCount = 0

export const $ = { v: 0, r, w, aload, astore, acas, arw, await: await_, anotify, p }

export function mix(a, b) {
  let x = Math.imul(a ^ 0x2545f491, 0x9e3779b1) ^ b
  x = Math.imul(x ^ (x >>> 15), 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
  return x ^ (x >>> 16)
}

/** Take over a memory: its words are the setup that every execution begins with. */
export function adopt(shared) {
  if (words !== shared) {
    words = shared
    size = words.length
    version = new Int32Array(size)
    writer = new Int32Array(size)
    meta = new Int32Array(size * META)
    touchedFlag = new Uint8Array(size)
    touched.length = 0
  }
  initial = words.slice()
}

function reset() {
  for (const i of touched) {
    words[i] = initial[i]
    version[i] = 0
    writer[i] = 0
    touchedFlag[i] = 0
    meta.fill(0, i * META, i * META + META)
  }
  touched.length = 0
  racyHistory.clear()
  hashA = 0
  hashB = 0
  threadCount = 0
}

class Thread {
  constructor(id, name, options) {
    this.id = id
    this.name = name
    /**
     * Threads that are never alive at once (an aggregator and its successor) count as one user of a
     * word.
     */
    this.user = options.user ?? id
    this.killable = options.killable ?? false
    /** Runs for ever: the execution may end while it sleeps. */
    this.daemon = options.daemon ?? false
    this.state = READY
    this.gen = null
    this.clock = new Int32Array(THREADS_MAX)
    this.clock[id] = 1
    this.op = -1
    /** Taken off before `op`, and no thread has touched the word of `op` since. */
    this.idle = false
    this.i = 0
    this.a = 0
    this.b = 0
    this.site = 0
    this.name_ = ''
    this.hist = mix(id + 1, 0x51)
    this.hist2 = mix(id + 1, 0x77)
    this.ops = 0
    this.said = 1
    this.waitAt = -1
    this.waitEnds = false
    this.timedOut = false
    this.timeouts = 0
    this.polled = null
    this.polling = null
    this.seenEvents = 0
    this.onEvent = false
    this.mayThrow = 0
    this.deadSeen = false
  }
}

/** One execution. `scenario.start(run)` spawns the threads. */
export class Run {
  /**
   * @param {any} chooser
   * @param {{
   *   racy?: (word: number) => boolean,
   *   raceNames?: (word: number) => string,
   *   killing?: boolean,
   *   throwing?: boolean,
   *   byValue?: boolean,
   *   unimportant?: (word: number) => boolean,
   *   isPoint?: (word: number, user: number, writes: boolean) => boolean,
   *   note?: (word: number, user: number, writes: boolean) => void,
   *   trace?: any,
   * }} options
   */
  constructor(
    chooser,
    {
      racy = (_word) => false,
      raceNames = (_word) => '',
      killing = false,
      throwing = false,
      byValue = false,
      unimportant = (_word) => false,
      isPoint,
      note,
      trace = null,
    },
  ) {
    this.chooser = chooser
    this.racy = racy
    this.raceNames = raceNames
    this.killing = killing
    this.throwing = throwing
    this.byValue = byValue
    this.unimportant = unimportant
    /** Of what a scenario's models know and no thread does: the oracle's order of tokens. */
    this.known = 0
    /**
     * Whether a word is a point at which threads are taken off, by what is known of who uses it.
     */
    this.isPoint = isPoint
    /** Told of each atomic or listed access: (word, user, is a write). */
    this.note = note
    this.trace = trace
    this.threads = []
    this.steps = 0
    this.deaths = 0
    this.throws = 0
    this.timeouts = 0
    this.stales = 0
    this.aborted = false
    this.events = 0
    this.watch = null
    /** @type {(thread: Thread) => void} */
    this.onDeath = () => undefined
    /** What the execution is told by: what a stranger would see from outside. */
    this.outcome = []
  }

  spawn(name, make, options = {}) {
    if (threadCount === THREADS_MAX) throw new Error('too many threads')
    const thread = new Thread(threadCount++, name, options)
    for (const other of options.after ?? []) joinClock(thread.clock, other.clock)
    thread.gen = make(thread)
    this.threads.push(thread)
    return thread
  }

  /**
   * Something happened outside of shared memory (a thread ended). Threads that wait for such an
   * event look again.
   */
  event() {
    this.events++
    this.known = mix(this.known, 3)
  }

  execute(start) {
    reset()
    run = this
    try {
      start(this)
      let thread = this.#next(null)
      while (thread !== null && !this.aborted) thread = this.#resume(thread)
    } finally {
      run = null
      current = null
    }
  }

  #resume(thread) {
    current = thread
    let value = 0
    if (thread.op >= 0) {
      value = perform(thread, thread.op, thread.i, thread.a, thread.b, thread.site, thread.name_)
      if (thread.state === BLOCKED) return this.#next(thread) // it went to sleep
      thread.op = -1
    }
    this.next = undefined
    const { done } = thread.gen.next(value)
    if (this.aborted) return null
    if (done) {
      thread.state = DONE
      this.event()
      return this.#next(thread)
    }
    // It was taken off for another one, was killed, or sleeps.
    return this.next ?? this.#next(thread)
  }

  /** The thread in hand cannot go on: who does is a free choice. */
  #next(from) {
    const options = []
    const count = this.threads.length
    const first = from === null ? 0 : from.id + 1
    for (let k = 0; k < count; k++) {
      const thread = this.threads[(first + k) % count]
      if (this.enabled(thread)) options.push(thread.id)
    }
    if (++this.steps > STEPS_MAX) throw new Failure('endless', `no end after ${STEPS_MAX} steps`)
    if (options.length === 0) {
      const waiting = this.threads.filter((thread) => thread.state === BLOCKED && !thread.daemon)
      if (waiting.length === 0) return null
      const sleeping = this.threads.filter((thread) => thread.state === BLOCKED && thread.waitEnds)
      if (this.deaths + this.throws === 0 || sleeping.length === 0 || this.timeouts >= 40) {
        const who = waiting.map(({ name }) => name).join(', ')
        const why =
          this.deaths + this.throws === 0
            ? 'no thread died, and only a timeout could go on'
            : 'no thread can go on'
        throw new Failure('blocked', `${who}: blocked for ever (${why})`)
      }
      // Every sleep ends: none comes to its end again and again while another one, begun before,
      // does not.
      sleeping.sort((one, other) => one.timeouts - other.timeouts)
      for (const thread of sleeping)
        if (thread.timeouts < sleeping[0].timeouts + 2) options.push(TIMEOUT + thread.id)
    }
    const choice = this.chooser.choose(this, null, options, 0)
    if (this.aborted) return null
    return this.#take(choice)
  }

  #take(choice) {
    if (choice >= TIMEOUT && choice < STALE) {
      const thread = this.threads[choice - TIMEOUT]
      this.timeouts++
      thread.timeouts++
      thread.timedOut = true
      thread.state = READY
      thread.waitAt = -1
      thread.polled = null
      this.trace?.push({ thread, text: 'its sleep comes to its end' })
      return thread
    }
    const thread = this.threads[choice]
    if (thread.idle && this.chooser.fair === 0) {
      // It might as well have done this access before it was taken off: that execution is another
      // one, which costs no more.
      this.aborted = true
      return null
    }
    if (thread.state === BLOCKED) {
      thread.state = READY
      thread.waitAt = -1
      thread.polled = null
    }
    return thread
  }

  /** Make a choice of who goes on take effect, from within a hook. */
  switchTo(choice) {
    this.next = this.#take(choice)
  }

  kill(thread) {
    thread.state = DEAD
    this.deaths++
    this.trace?.push({ thread, text: 'DIES' })
    this.event()
    this.onDeath(thread)
  }

  enabled(thread) {
    if (thread.state === READY) return true
    if (thread.state !== BLOCKED) return false
    if (thread.onEvent && thread.seenEvents !== this.events) return true
    if (thread.polled === null) return false
    for (const [i, seen] of thread.polled) if (version[i] !== seen) return true
    return false
  }

  /**
   * Two numbers that name the state: the memory by who wrote each word, the threads by what each of
   * them read.
   */
  stateName(from) {
    let a = hashA
    let b = hashB
    for (const thread of this.threads) {
      const status =
        thread.state * 4 +
        (thread.state === BLOCKED && this.enabled(thread) ? 1 : 0) +
        (thread.idle ? 2 : 0)
      // What has ended goes on only in memory, and in what a scenario was told.
      const over = thread.state >= DONE
      a = mix(a ^ (over && this.byValue ? thread.said : thread.hist), status)
      b = mix(b ^ (over && this.byValue ? thread.said : thread.hist2), status + 9)
    }
    a = mix(a ^ this.known, from === null ? -1 : from.id)
    b = mix(b, this.known)
    return (
      (a >>> 0) * 2 ** 21 +
      ((b >>> 11) ^
        (mix(
          b,
          this.deaths + 8 * this.throws + 64 * this.stales + 4096 * Math.min(this.timeouts, 1),
        ) >>>
          11))
    )
  }
}

// ------------------------------------------------------------------------------------------- hooks

function r(memory, i, site) {
  return access(READ, memory, i, 0, 0, site)
}
function w(memory, i, value, site) {
  return access(WRITE, memory, i, value, 0, site)
}
function aload(memory, i, site) {
  return access(LOAD, memory, i, 0, 0, site)
}
function astore(memory, i, value, site) {
  return access(STORE, memory, i, value, 0, site)
}
function acas(memory, i, expected, value, site) {
  return access(CAS, memory, i, expected, value, site)
}
function arw(name, memory, i, value, site) {
  return access(RMW, memory, i, value, 0, site, name)
}
function await_(memory, i, value, ms, site) {
  return access(WAIT, memory, i, value, ms, site)
}
function anotify(memory, i, count, site) {
  return access(NOTIFY, memory, i, count, 0, site)
}

/** A call, or a loop's back-edge: an exception can strike here. */
function p(site) {
  if (run === null || !run.throwing || current === null) return
  run.steps++
  if (current.mayThrow > 0) strike(site)
}

function strike(site) {
  if (run.chooser.choose(run, current, null, 0, THROW) === THROW) {
    run.throws++
    current.hist = mix(current.hist, site ^ 0x5bd1e995)
    current.hist2 = mix(current.hist2, site ^ 0x7ed55d16)
    run.trace?.push({ thread: current, site, text: 'THROWS' })
    throw new Planted(`planted at site ${site}`)
  }
}

function access(kind, memory, i, a, b, site, name) {
  if (i < 0 || i >= memory.length || i !== Math.floor(i))
    throw new Failure('error', `an access to word ${i} of ${memory.length}`)
  if (run === null || current === null) {
    $.v = plainly(kind, memory, i, a, b, name)
    return false
  }
  if (run.aborted) return true
  if (memory !== words) throw new Failure('error', 'an access to another memory')
  const thread = current
  if (++run.steps > STEPS_MAX) throw new Failure('endless', `no end after ${STEPS_MAX} steps`)
  if (run.throwing && kind >= LOAD && thread.mayThrow > 0) strike(site)
  const writes = kind === WRITE || kind >= STORE
  const racy = run.racy(i)
  if (kind >= LOAD || racy) run.note(i, thread.user, writes)
  const isPoint = (kind >= LOAD || racy) && run.isPoint(i, thread.user, writes)
  // A thread that is killed in its sleep or before it looks the same to all others as one that is
  // killed when it next stores something.
  const mayDie = writes && kind !== WAIT && run.killing && thread.killable
  if (isPoint || mayDie) {
    let stale = 0
    if (racy && (kind === READ || kind === LOAD)) stale = staleValues(thread, i, kind)
    const choice = run.chooser.choose(
      run,
      thread,
      isPoint ? others(thread) : null,
      stale,
      mayDie ? KILL : 0,
    )
    if (run.aborted) return true
    if (choice !== GO_ON) {
      if (choice === KILL) {
        run.kill(thread)
        return true
      }
      if (choice >= STALE) {
        run.stales++
        const history = racyHistory.get(i)
        const entry = history[history.length - 1 - (choice - STALE)]
        const value = entry === undefined ? initial[i] : entry.value
        record(thread, site, entry === undefined ? 0 : entry.writer, value)
        run.trace?.push({
          thread,
          site,
          kind: KIND_NAMES[kind],
          i,
          value,
          text: 'a value that was there before',
        })
        $.v = value
        return false
      }
      thread.op = kind
      thread.i = i
      thread.a = a
      thread.b = b
      thread.site = site
      thread.name_ = name
      thread.idle = run.chooser.reduces === true
      run.switchTo(choice)
      return true
    }
  }
  $.v = perform(thread, kind, i, a, b, site, name)
  return thread.state === BLOCKED
}

const otherIds = []
function others(thread) {
  otherIds.length = 0
  for (const other of run.threads)
    if (other !== thread && run.enabled(other)) otherIds.push(other.id)
  if (run.deaths + run.throws > 0) {
    for (const other of run.threads)
      if (other.state === BLOCKED && other.waitEnds && !run.enabled(other))
        otherIds.push(TIMEOUT + other.id)
  }
  return otherIds
}

/** Outside of an execution: setup, and the checks after it. */
function plainly(kind, memory, i, a, b, name) {
  switch (kind) {
    case READ:
    case LOAD:
      return memory[i]
    case WRITE:
    case STORE:
      memory[i] = a
      noteTouched(memory, i)
      return a
    case CAS: {
      const old = memory[i]
      if (old === a) memory[i] = b
      noteTouched(memory, i)
      run0cas?.(i, old, a, b)
      return old
    }
    case RMW: {
      const old = memory[i]
      memory[i] = applyRmw(name, old, a)
      noteTouched(memory, i)
      return old
    }
    case WAIT:
      throw new Failure('blocked', 'a sleep in a part that runs by itself')
    default:
      return 0
  }
}
let run0cas = null
/** Told of each compareExchange outside of an execution. */
export function watchDirect(watch) {
  run0cas = watch
}
function noteTouched(memory, i) {
  if (memory === words && touchedFlag[i] === 0) {
    touchedFlag[i] = 1
    touched.push(i)
  }
}

function applyRmw(name, old, a) {
  switch (name) {
    case 'exchange':
      return a | 0
    case 'or':
      return old | a
    case 'and':
      return old & a
    case 'xor':
      return old ^ a
    case 'add':
      return (old + a) | 0
    default:
      return (old - a) | 0
  }
}

function perform(thread, kind, i, a, b, site, name) {
  const { id } = thread
  if (touchedFlag[i] === 0) {
    touchedFlag[i] = 1
    touched.push(i)
  }
  thread.ops++
  const before = version[i]
  const changes = kind === WRITE || kind >= STORE
  for (const other of run.threads)
    if (other.idle && other.i === i && (changes || other.op === WRITE || other.op >= STORE))
      other.idle = false
  let value
  switch (kind) {
    case READ:
      value = words[i]
      checkPlain(thread, i, false, site)
      meta[i * META + PLAIN_READ + id] = thread.clock[id]
      if (!run.byValue || !run.unimportant(i)) record(thread, site, writer[i], value)
      break
    case WRITE:
      value = a
      checkPlain(thread, i, true, site)
      meta[i * META + id] = thread.clock[id]
      put(thread, i, a | 0)
      if (run.racy(i)) noteRacy(thread, i, a | 0, true)
      thread.hist = mix(thread.hist, site)
      thread.hist2 = mix(thread.hist2, site + 1)
      break
    case LOAD:
      value = words[i]
      checkAtomic(thread, i, false, site)
      acquire(thread, i)
      record(thread, site, writer[i], value)
      break
    case STORE:
      value = a
      checkAtomic(thread, i, true, site)
      release(thread, i)
      put(thread, i, a | 0)
      if (run.racy(i)) noteRacy(thread, i, a | 0, false)
      thread.hist = mix(thread.hist, site)
      thread.hist2 = mix(thread.hist2, site + 1)
      break
    case CAS:
    case RMW: {
      value = words[i]
      const stores = kind === RMW || value === a
      checkAtomic(thread, i, stores, site)
      acquire(thread, i)
      record(thread, site, writer[i], value)
      if (stores) {
        release(thread, i)
        put(thread, i, kind === CAS ? b | 0 : applyRmw(name, value, a))
        if (run.racy(i)) noteRacy(thread, i, words[i], false)
        run.watch?.(thread, i, value, words[i])
      }
      break
    }
    case WAIT:
      if (thread.timedOut || thread.waitAt === -2) {
        // Woken, or at its end: on the second time round.
        value = thread.timedOut ? 'timed-out' : 'ok'
        record(thread, site, 3, thread.timedOut ? 1 : 2)
        thread.timedOut = false
        thread.waitEnds = false
        thread.waitAt = -1
        break
      }
      checkAtomic(thread, i, false, site)
      acquire(thread, i)
      record(thread, site, writer[i], words[i])
      if (words[i] !== a) {
        value = 'not-equal'
        break
      }
      thread.hist = mix(thread.hist, 5)
      value = 'sleeps'
      thread.state = BLOCKED
      thread.waitAt = i
      thread.waitEnds = b !== Infinity
      thread.op = WAIT
      thread.i = i
      thread.a = a
      thread.b = b
      thread.site = site
      break
    default: {
      value = 0
      for (const other of run.threads) {
        if (other.state === BLOCKED && other.waitAt === i && value < a) {
          other.state = READY
          other.waitAt = -2
          other.hist = mix(other.hist, thread.id + 77)
          value++
        }
      }
      record(thread, site, value, value)
    }
  }
  if (thread.polling !== null && (version[i] !== before || !thread.polling.has(i)))
    thread.polling.set(i, version[i])
  run.trace?.push({
    thread,
    site,
    kind: kind === RMW ? name : KIND_NAMES[kind],
    i,
    value,
    a,
    b,
    now: words[i],
  })
  return value
}

/** What a thread was told is all that its own state follows from. */
function record(thread, site, source, value) {
  const told = run.byValue ? value : source
  thread.hist = mix(thread.hist, mix(site, told))
  thread.hist2 = mix(thread.hist2, mix(told, site + 3))
}

function put(thread, i, value) {
  version[i]++
  if (run.byValue && run.unimportant(i)) {
    words[i] = value
    return
  }
  const before = run.byValue ? words[i] : writer[i]
  hashA ^= mix(i, before)
  hashB ^= mix(before, i + 11)
  words[i] = value
  writer[i] = ((thread.id + 1) << 22) | (thread.ops & 0x3fffff)
  const after = run.byValue ? value : writer[i]
  hashA ^= mix(i, after)
  hashB ^= mix(after, i + 11)
}

// ---------------------------------------------------------------------------------- happens-before

function joinClock(into, from) {
  for (let k = 0; k < THREADS_MAX; k++) if (from[k] > into[k]) into[k] = from[k]
}

/** A thread learns, outside of shared memory, that another one has ended. */
export function learnOfEnd(thread, ended) {
  joinClock(thread.clock, ended.clock)
}

/** A message outside of shared memory: what its receiver learns of. */
export function posted(thread) {
  const clock = thread.clock.slice()
  thread.clock[thread.id]++
  return clock
}
export function learnOfMessage(thread, clock) {
  joinClock(thread.clock, clock)
}

function acquire(thread, i) {
  const { clock } = thread
  const at = i * META + CARRIED
  for (let k = 0; k < threadCount; k++) if (meta[at + k] > clock[k]) clock[k] = meta[at + k]
}

function release(thread, i) {
  const { clock } = thread
  const at = i * META + CARRIED
  for (let k = 0; k < threadCount; k++) meta[at + k] = clock[k]
  clock[thread.id]++
}

function checkPlain(thread, i, isWrite, site) {
  const at = i * META
  const { clock, id } = thread
  for (let k = 0; k < threadCount; k++) {
    if (k === id) continue
    const known = clock[k]
    if (meta[at + k] > known || meta[at + ATOMIC_WRITE + k] > known)
      return raced(thread, i, k, isWrite ? 'write' : 'read', site, 'written')
    if (isWrite && (meta[at + PLAIN_READ + k] > known || meta[at + ATOMIC_READ + k] > known))
      return raced(thread, i, k, 'write', site, 'read')
  }
}

function checkAtomic(thread, i, isWrite, site) {
  const at = i * META
  const { clock, id } = thread
  for (let k = 0; k < threadCount; k++) {
    if (k === id) continue
    if (meta[at + k] > clock[k])
      raced(thread, i, k, isWrite ? 'atomic write' : 'atomic read', site, 'written plainly')
    if (isWrite && meta[at + PLAIN_READ + k] > clock[k])
      raced(thread, i, k, 'atomic write', site, 'read plainly')
  }
  if (isWrite) meta[at + ATOMIC_WRITE + id] = clock[id]
  else meta[at + ATOMIC_READ + id] = clock[id]
}

function raced(thread, i, k, how, site, what) {
  // listed, and one of the two only reads
  if (run.racy(i) && !(how.endsWith('write') && what.startsWith('written'))) return
  throw new Failure(
    'race',
    `${thread.name}: ${how} of ${run.raceNames(i)}, which ${run.threads[k].name} has ${what}, unordered`,
    site,
  )
}

function noteRacy(thread, i, value, isPlain) {
  let history = racyHistory.get(i)
  if (history === undefined)
    racyHistory.set(i, (history = [{ value: initial[i], writer: 0, id: 0, at: 0, isPlain: true }]))
  history.push({ value, writer: writer[i], id: thread.id, at: thread.clock[thread.id], isPlain })
}

/** How many writes back a racing read may look: none of the later ones happens before it. */
function staleValues(thread, i, kind) {
  const history = racyHistory.get(i)
  if (history === undefined) return 0
  let back = 0
  for (let k = history.length - 1; k > 0; k--) {
    const { id, at, isPlain } = history[k]
    if (id === thread.id || thread.clock[id] >= at) break
    if (kind === LOAD && !isPlain) break // two atomic accesses do not race
    back++
  }
  return back
}
