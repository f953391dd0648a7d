import { platform } from '#platform'
import { announceSleep } from '../aggregator/park.js'
import { host, unhost, whenWoken } from '../aggregator/run.js'
import { FINISHED_ALL, IDLE, WORKED } from '../aggregator/step.js'
import { cannotGoOn, readError, type Supervisor } from '../aggregator/supervisor.js'
import { DirtyRingError, invalidArg } from '../errors.js'
import { FAILED, FINISHED, HEAD, ITERATIONS, OWNER, PANICS, PARKED, RETRYING, TAIL } from '../memory/map.js'
import { handleOf, type Memory } from '../memory/memory.js'
import type { ResolvedOptions } from '../options.js'
import type { AggregatorThread } from '../platform/platform.js'
import { distance } from '../ring/token.js'
import { clearInterval, clearTimeout, queueMicrotask, setInterval, setTimeout, unref } from '../timers.js'

/** How well the aggregator is: see {@link DirtyTracker.health}. */
export interface AggregatorHealth {
  /** Steps that threw; each was contained and tried again. */
  panics: number
  /** Times that the aggregator's worker died and was started again. */
  restarts: number
  /** Rounds of work, empty ones included. */
  iterations: number
  /** Nothing is wrong right now. */
  healthy: boolean
  /** It has stopped, and everything is delivered. */
  finished: boolean
  /** What the last panic or the last death said. */
  lastError?: string
  /**
   * - 'starting': create() has not resolved yet
   * - 'running'
   * - 'backing-off': a step threw, and is tried again in 10 ms to 1 s
   * - 'restarting': its worker died, and another one is on its way
   * - 'finished': stopped, and everything is delivered
   * - 'absent': nobody runs it: `aggregator: 'none'`, or one that could not be kept running
   */
  state: 'starting' | 'running' | 'backing-off' | 'restarting' | 'finished' | 'absent'
}

const BACKOFF_MS_MIN = 10
const BACKOFF_MS_MAX = 1000
/** Deaths without a sign of life in between, before it is given up. */
const STARTS_MAX = 8
const START_MS_MAX = 30_000
const TOKENS_PER_PUMP = 4096

/** Keeps an aggregator running, of whichever kind the options say; on the tracker's thread. */
export class AggregatorHost {
  /** Told when the aggregator can't be kept running. */
  onFailure: (error: DirtyRingError) => void = () => undefined
  /** Told when its worker has died and another one has taken over. */
  onRestart: (restarts: number, cause: string) => void = () => undefined
  readonly #memory: Memory
  readonly #kind: ResolvedOptions['aggregator']
  #thread: AggregatorThread | undefined
  #inline: Supervisor | undefined
  #listening = false
  #state: 'starting' | 'up' | 'restarting' | 'ended' = 'starting'
  #restarts = 0
  #deaths = 0
  #iterationsAtStart = 0
  #lastCause = ''
  #panicsAtDeath = 0
  #ended = false

  constructor(memory: Memory, kind: ResolvedOptions['aggregator']) {
    this.#memory = memory
    this.#kind = kind
  }

  /** Resolves when an aggregator has taken the role ('none': at once); rejects when none can. */
  async start(): Promise<void> {
    if (this.#kind === 'inline') {
      this.#inline = host(this.#memory)
      this.pump()
    } else if (this.#kind !== 'none') {
      await this.#startThread()
    }
    this.#state = 'up'
  }

  /** 'inline': do what there is to do, on this thread, now. */
  pump(): void {
    const supervisor = this.#inline
    if (supervisor === undefined) return
    let result: number
    try {
      result = supervisor.run(TOKENS_PER_PUMP)
    } catch (error) {
      this.#inline = undefined
      unhost(supervisor)
      this.onFailure(error as DirtyRingError)
      return
    }
    if (result === FINISHED_ALL) {
      this.#inline = undefined
      unhost(supervisor)
    } else {
      this.#pumpLater(supervisor, result === IDLE)
    }
  }

  /** Whether nobody has the role, and nobody is about to. */
  get isAbsent(): boolean {
    return Atomics.load(this.#memory.words, OWNER) === 0 && (this.#kind === 'none' || this.#state === 'ended')
  }

  /** Tokens are waiting in the ring. */
  get hasBacklog(): boolean {
    const { words } = this.#memory
    return distance(Atomics.load(words, TAIL), Atomics.load(words, HEAD)) > 0
  }

  /**
   * Nobody else will: take the role and do what there is to do on the calling thread. False when there is more at once; true when it has come to the end, or
   * to a ring that is empty, or to a step that has to wait. Throws what run() throws.
   */
  takeOver(): boolean {
    const supervisor = host(this.#memory)
    try {
      return supervisor.run(TOKENS_PER_PUMP) !== WORKED
    } finally {
      unhost(supervisor)
    }
  }

  /** A thread has ended: if it had the role, the role is free. */
  release(threadId: number): void {
    Atomics.compareExchange(this.#memory.words, OWNER, threadId + 1, 0)
  }

  /** The aggregator has finished, or nobody needs it any more. */
  async end(): Promise<void> {
    this.#ended = true
    this.#state = 'ended'
    const supervisor = this.#inline
    this.#inline = undefined
    if (supervisor !== undefined) unhost(supervisor)
    await this.#thread?.terminate()
  }

  health(): AggregatorHealth {
    const { words } = this.#memory
    const panics = Atomics.load(words, PANICS)
    const state = this.#describe()
    const lastError = panics > this.#panicsAtDeath ? readError(words) : this.#lastCause
    return {
      panics,
      restarts: this.#restarts,
      iterations: Atomics.load(words, ITERATIONS),
      healthy: Atomics.load(words, FAILED) === 0 && (state === 'running' || state === 'starting' || state === 'finished'),
      finished: state === 'finished',
      ...(lastError === '' ? {} : { lastError }),
      state,
    }
  }

  #describe(): AggregatorHealth['state'] {
    const { words } = this.#memory
    if (Atomics.load(words, FINISHED) !== 0) return 'finished'
    if (this.#state === 'restarting') return 'restarting'
    if (this.#state === 'starting') return 'starting'
    if (Atomics.load(words, OWNER) === 0) return 'absent'
    return Atomics.load(words, RETRYING) !== 0 ? 'backing-off' : 'running'
  }

  async #startThread(): Promise<void> {
    const { words } = this.#memory
    this.#iterationsAtStart = Atomics.load(words, ITERATIONS)
    const thread = await this.#newThread()
    this.#thread = thread
    await new Promise<void>((resolve, reject) => {
      const look = setInterval(() => {
        if (Atomics.load(words, OWNER) !== 0) settle(resolve)
      }, 2)
      const limit = setTimeout(() => {
        void thread.terminate()
        settle(() => reject(cannotStart(`it did not take the tracker's handle for ${START_MS_MAX} ms`)))
      }, START_MS_MAX)
      const settle = (how: () => void): void => {
        clearInterval(look)
        clearTimeout(limit)
        how()
      }
      thread.onExit((cause) => {
        if (thread.threadId !== undefined) this.release(thread.threadId)
        settle(() => reject(cannotStart(cause)))
        if (this.#state === 'up') this.#onDeath(cause)
      })
      thread.postHandle(handleOf(this.#memory))
      const waiting = typeof Atomics.waitAsync === 'function' ? Atomics.waitAsync(words, OWNER, 0, START_MS_MAX) : undefined
      if (waiting?.async === true) void waiting.value.then((outcome) => outcome === 'ok' && settle(resolve))
    })
  }

  async #newThread(): Promise<AggregatorThread> {
    if (typeof this.#kind !== 'function') {
      try {
        return platform.startWorker()
      } catch (cause) {
        throw cannotStart(cause instanceof Error ? cause.message : String(cause), cause)
      }
    }
    const worker: unknown = await this.#kind(handleOf(this.#memory) as object)
    const thread = platform.adoptWorker(worker)
    if (thread === undefined) throw invalidArg('options.aggregator', 'a function that returns a Worker', worker)
    return thread
  }

  /** The worker is gone: start another one, at once the first time, later and later when it does not help. */
  #onDeath(cause: string): void {
    const { words } = this.#memory
    if (this.#ended || Atomics.load(words, FINISHED) !== 0) return
    if (Atomics.load(words, FAILED) !== 0) {
      this.onFailure(cannotGoOn(words))
      return
    }
    this.#lastCause = cause
    this.#panicsAtDeath = Atomics.load(words, PANICS)
    this.#state = 'restarting'
    this.#deaths = Atomics.load(words, ITERATIONS) === this.#iterationsAtStart ? this.#deaths + 1 : 0
    if (this.#deaths >= STARTS_MAX) {
      this.#state = 'ended'
      this.onFailure(cannotStart(`${STARTS_MAX} times in a row, the last time with: ${cause}`))
      return
    }
    const again = (): void => {
      if (this.#ended) return
      this.#startThread().then(
        () => {
          this.#restarts++
          this.#state = 'up'
          this.onRestart(this.#restarts, cause)
          if (this.#ended) void this.#thread?.terminate()
        },
        (error: unknown) => this.#onDeath(error instanceof Error ? error.message : String(error)),
      )
    }
    if (this.#deaths === 0) again()
    else unref(setTimeout(again, Math.min(BACKOFF_MS_MIN * 2 ** (this.#deaths - 1), BACKOFF_MS_MAX)))
  }

  /** 'inline': when a publisher on another thread wakes this one, and every now and then. */
  #pumpLater(supervisor: Supervisor, idle: boolean): void {
    if (this.#listening) return
    this.#listening = true
    let over = false // the timer and the wake-up are both on their way: the first one counts
    const again = (): void => {
      if (over) return
      over = true
      clearTimeout(timer)
      this.#listening = false
      Atomics.store(this.#memory.words, PARKED, 0)
      this.pump()
    }
    const timer = setTimeout(again, idle ? 50 : 1)
    unref(timer)
    if (!idle) return
    if (announceSleep(supervisor.aggregator)) whenWoken(supervisor, again)
    else queueMicrotask(again)
  }
}

function cannotStart(why: string, cause?: unknown): DirtyRingError {
  return new DirtyRingError('ERR_DIRTYRING_AGGREGATOR_FAILED', `the aggregator cannot be started: ${why}`, { cause })
}
