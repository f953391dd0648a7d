/** An aggregator on the history's own thread: it runs, dies and is replaced when it is told to. */
import { leaveRole } from '../../../dist/aggregator/state.js'
import { Supervisor } from '../../../dist/aggregator/supervisor.js'
import * as map from '../../../dist/memory/map.js'
import { threadIdFor } from '../../../dist/memory/thread.js'
import { isCoded, Wrong } from './outcomes.mjs'

const WAIT_MS_MAX = 5000
/** On a busy machine that time may be over after a few turns, which prove nothing. */
const TURNS_MIN = 1000

export class Aggregator {
  /** The clock of its supervisor, in ms. */
  now = 0
  /** It threw an error with a code, as one that cannot continue does. */
  ended = false

  constructor(memory, stopwatch, log) {
    this.memory = memory
    this.stopwatch = stopwatch
    this.log = log
    this.#takeRole()
  }

  #takeRole() {
    this.supervisor = new Supervisor(this.memory, threadIdFor(this.memory), () => this.now)
    this.ended = false
  }

  leave() {
    leaveRole(this.supervisor.aggregator)
  }

  /** Another one takes over, which knows nothing but the memory. */
  die() {
    this.leave()
    this.#takeRole()
  }

  /**
   * Starts another aggregator for one that ended, as the tracker's host does unless FAILED says
   * that none can continue.
   */
  restart() {
    const { words } = this.memory
    if (this.ended && words[map.FAILED] === 0 && words[map.FINISHED] === 0) this.die()
  }

  pump(budget = 4096) {
    if (this.ended) return
    try {
      this.stopwatch.time('the aggregator', () => this.supervisor.run(budget))
      this.now = Math.max(this.now, this.supervisor.retryAt)
    } catch (error) {
      this.ended = true
      if (!isCoded(error)) throw error
      this.log(`the aggregator ends: ${error.message}`)
    }
  }

  /** Pumps, with an exception at the n-th atomic store. */
  pumpInterrupted(n) {
    if (this.ended) return
    try {
      interrupted(n, () => this.pump())
    } catch (error) {
      if (error.message !== PLANTED) throw error
      this.die() // the exception struck where the supervisor was about to write one down
    }
  }

  /** Pumps until a promise settles, and returns that promise. */
  async settled(what, promise) {
    let isOver = false
    const over = () => (isOver = true)
    promise.then(over, over)
    const until = performance.now() + WAIT_MS_MAX
    for (let turn = 0; ; turn++) {
      if (turn > 0) this.restart()
      this.pump()
      await Promise.resolve()
      if (isOver) return promise
      if (turn > 20) await new Promise((resolve) => setTimeout(resolve, 1))
      else await new Promise((resolve) => setImmediate(resolve))
      if (!isOver && turn > TURNS_MIN && performance.now() > until)
        throw new Wrong(`${what} does not settle`)
    }
  }
}

const PLANTED = 'planted'
const originals = { store: Atomics.store, compareExchange: Atomics.compareExchange }

/** Throws at the n-th atomic store of `body`: an exception can strike a thread at any of them. */
function interrupted(n, body) {
  for (const [name, original] of Object.entries(originals)) {
    Atomics[name] = (...args) => {
      if (n-- === 0) throw new Error(PLANTED)
      return original(...args)
    }
  }
  try {
    return body()
  } finally {
    Object.assign(Atomics, originals)
  }
}
