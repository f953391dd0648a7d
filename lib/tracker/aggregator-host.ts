import { platform } from '#platform'
import { announceSleep } from '../aggregator/park.js'
import { host, unhost, whenWoken } from '../aggregator/run.js'
import { dropRole } from '../aggregator/state.js'
import { FINISHED_ALL, IDLE, WORKED } from '../aggregator/step.js'
import { cannotGoOn, readError, type Supervisor } from '../aggregator/supervisor.js'
import { DirtyRingError, invalidArg } from '../errors.js'
import {
  FAILED,
  FINISHED,
  HEAD,
  ITERATIONS,
  OWNER,
  PANICS,
  PARKED,
  PROGRESS,
  RETRYING,
  STARTING,
  TAIL,
} from '../memory/map.js'
import { handleOf, type Memory } from '../memory/memory.js'
import type { ResolvedOptions, TrackerHandle } from '../options.js'
import { patience } from '../patience.js'
import type { AggregatorThread } from '../platform/platform.js'
import { releaseRole } from '../ring/reap.js'
import { distance } from '../ring/token.js'
import {
  clearInterval,
  clearTimeout,
  nowMs,
  queueMicrotask,
  setInterval,
  setTimeout,
  unref,
} from '../timers.js'

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
/**
 * 'inline', idle: only a publisher that dies between its store and its wake-up needs this timer.
 * Without waitAsync every publisher does.
 */
const IDLE_MS = 500
const IDLE_MS_UNWOKEN = 50
/**
 * How much of the time between two looks counts as silence: a page that was frozen for a while
 * froze its worker as well.
 */
const SILENCE_STEP_MS = 200

/** Keeps an aggregator running, of whichever kind the options say; on the tracker's thread. */
export class AggregatorHost {
  /** Told when the aggregator can't be kept running. */
  onFailure: (error: DirtyRingError) => void = () => undefined
  /** Told when its worker has died and another one has taken over. */
  onRestart: (restarts: number, cause: string) => void = () => undefined
  readonly #memory: Memory
  readonly #kind: ResolvedOptions['aggregator']
  #thread: AggregatorThread | undefined
  /** The end of #thread is known. */
  #isGone = true
  /** Why this thread terminated it; '' if it did not. */
  #cannot = ''
  /** No worker is started any more: the calling thread does the rest. */
  #isGivenUp = false
  /** What moves while the worker lives, since when it has not, and when that was looked at. */
  #life = 0
  #silentMs = 0
  #lookedAt = 0
  #inline: Supervisor | undefined
  /** 'inline': the next pump() is on its way. */
  #next: { readonly isSoon: boolean; readonly cancel: () => void } | undefined
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
      this.#state = 'up'
      this.pump()
      return
    }
    if (this.#kind !== 'none') await this.#startThread()
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
      this.#state = 'ended' // if the role is free, stop() takes it once more
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
    return (
      Atomics.load(this.#memory.words, OWNER) === 0 &&
      (this.#kind === 'none' || this.#state === 'ended')
    )
  }

  /** Tokens are waiting in the ring. */
  get hasBacklog(): boolean {
    const { words } = this.#memory
    return distance(Atomics.load(words, TAIL), Atomics.load(words, HEAD)) > 0
  }

  /**
   * Takes the role where no other thread will, and does what there is to do on the calling thread.
   * False when there is more to do at once. True at the end, with an empty ring, and when a step
   * has to wait. Throws what run() throws.
   */
  takeOver(): boolean {
    const supervisor = host(this.#memory)
    try {
      return supervisor.run(TOKENS_PER_PUMP) !== WORKED
    } finally {
      unhost(supervisor)
    }
  }

  /** A thread has ended: if it had the role, or a thread below it had, the role is free. */
  release(threadId: number): void {
    releaseRole(this.#memory.words, threadId)
  }

  /**
   * To be called now and then while a call is pending. A worker whose end the host does not report
   * is terminated when tokens wait and it shows no sign of life; another one takes its place. While
   * the tracker stops, a start that does not come to its end counts the same, and the calling
   * thread does the rest.
   */
  lookForLife(isStopping: boolean): void {
    const { words } = this.#memory
    const now = nowMs()
    const life =
      (Atomics.load(words, HEAD) +
        Atomics.load(words, PROGRESS) +
        Atomics.load(words, ITERATIONS)) |
      0
    const isUnseen =
      this.#state === 'up' && this.#thread !== undefined && this.#thread.threadId === undefined
    const isDue = isStopping
      ? isUnseen || this.#state === 'restarting'
      : isUnseen && this.hasBacklog
    if (!isDue || life !== this.#life || Atomics.load(words, FINISHED) !== 0) this.#silentMs = 0
    else this.#silentMs += Math.min(now - this.#lookedAt, SILENCE_STEP_MS)
    this.#life = life
    this.#lookedAt = now
    if (this.#silentMs < patience.silenceMs) return
    this.#silentMs = 0
    this.#isGivenUp = isStopping
    this.#cannot = 'it showed no sign of life'
    if (this.#isGone) this.#onDeath(this.#cannot)
    else void this.#thread?.terminate() // its end follows
  }

  /** The aggregator has finished, or nobody needs it any more. */
  async end(): Promise<void> {
    this.#ended = true
    this.#state = 'ended'
    this.#next?.cancel()
    const supervisor = this.#inline
    this.#inline = undefined
    if (supervisor !== undefined) unhost(supervisor)
    // threads that watch their workers for this tracker cease to
    Atomics.notify(this.#memory.words, FINISHED)
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
      healthy:
        Atomics.load(words, FAILED) === 0 &&
        (state === 'running' || state === 'starting' || state === 'finished'),
      finished: state === 'finished',
      ...(lastError === '' ? {} : { lastError }),
      state,
    }
  }

  /**
   * For a call that has waited for long: what the aggregator does instead of an answer, and what
   * helps.
   */
  describeWait(): string {
    const { state, lastError } = this.health()
    const why = lastError === undefined ? '' : ` (${lastError})`
    switch (state) {
      case 'absent':
        return this.#kind === 'none'
          ? 'for the aggregator, which no thread runs. Call runAggregator(tracker.handle) in a worker.'
          : `for the aggregator, which has ended${why}. Call stop(): it delivers what is published.`
      case 'backing-off':
        return `for the aggregator, which fails at a step and tries again${why}. See tracker.dump().`
      case 'restarting':
      case 'starting':
        return `for the aggregator's worker, which has not started yet${why}. Check that its script loads.`
      default:
        return 'for the aggregator, which gives no answer. Check that its thread is not blocked; see tracker.health() and tracker.dump().'
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

  /**
   * Resolves when a new worker has the role; rejects when it has ended, or was terminated, before
   * that.
   */
  async #startThread(): Promise<void> {
    const { words } = this.#memory
    this.#iterationsAtStart = Atomics.load(words, ITERATIONS)
    const thread = await this.#newThread()
    if (this.#ended || this.#isGivenUp) {
      void thread.terminate()
      throw cannotStart('it came too late')
    }
    this.#thread = thread
    this.#isGone = false
    this.#cannot = ''
    await new Promise<void>((resolve, reject) => {
      const isFree = Atomics.load(words, OWNER) === 0
      // What OWNER holds once this worker has the role. Where the host gives no number: what it
      // holds now, if another thread did not have the role before.
      const ownerNow = (): number =>
        thread.threadId !== undefined
          ? thread.threadId + 1
          : isFree
            ? Atomics.load(words, OWNER)
            : 0
      let owner = 0
      let isStarting = true
      const settle = (how: () => void): void => {
        if (!isStarting) return
        isStarting = false
        clearInterval(look)
        clearTimeout(limit)
        owner = ownerNow()
        Atomics.store(words, STARTING, 0)
        how()
      }
      const look = setInterval(() => {
        if (Atomics.load(words, OWNER) !== 0) settle(resolve)
      }, 2)
      const limit = setTimeout(() => {
        this.#cannot = `it did not take the tracker's handle for ${START_MS_MAX} ms`
        void thread.terminate() // its end follows
      }, START_MS_MAX)
      thread.onExit((told) => {
        const cause = this.#cannot === '' ? told : this.#cannot
        const wasUp = !isStarting
        this.#isGone = true
        settle(() => reject(cannotStart(cause)))
        dropRole(words, owner)
        if (wasUp) this.#onDeath(cause)
      })
      Atomics.store(words, STARTING, 1)
      thread.postHandle(handleOf(this.#memory))
      const waiting =
        typeof Atomics.waitAsync === 'function'
          ? Atomics.waitAsync(words, OWNER, 0, START_MS_MAX)
          : undefined
      if (waiting?.async === true)
        void waiting.value.then((outcome) => outcome === 'ok' && settle(resolve))
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
    const worker: unknown = await this.#kind(handleOf(this.#memory) as unknown as TrackerHandle)
    const thread = platform.adoptWorker(worker)
    if (thread === undefined)
      throw invalidArg('options.aggregator', 'a function that returns a Worker', worker)
    return thread
  }

  /**
   * The worker is gone: start another one, at once the first time, later and later when it does not
   * help.
   */
  #onDeath(cause: string): void {
    const { words } = this.#memory
    if (this.#ended || this.#state === 'ended' || Atomics.load(words, FINISHED) !== 0) return
    if (Atomics.load(words, FAILED) !== 0) {
      this.onFailure(cannotGoOn(words))
      return
    }
    this.#lastCause = cause
    this.#panicsAtDeath = Atomics.load(words, PANICS)
    this.#state = 'restarting'
    this.#deaths =
      Atomics.load(words, ITERATIONS) === this.#iterationsAtStart ? this.#deaths + 1 : 0
    if (this.#deaths >= STARTS_MAX || this.#isGivenUp) {
      this.#state = 'ended'
      this.onFailure(
        cannotStart(
          this.#isGivenUp ? cause : `${STARTS_MAX} times in a row, the last time with: ${cause}`,
        ),
      )
      return
    }
    const again = (): void => {
      if (this.#ended || this.#isGivenUp) return
      this.#startThread().then(
        () => {
          if (this.#ended) return
          this.#restarts++
          this.#state = 'up'
          this.onRestart(this.#restarts, cause)
        },
        (error: unknown) => this.#onDeath(error instanceof Error ? error.message : String(error)),
      )
    }
    if (this.#deaths === 0) again()
    else
      unref(setTimeout(again, Math.min(BACKOFF_MS_MIN * 2 ** (this.#deaths - 1), BACKOFF_MS_MAX)))
  }

  /** 'inline': when a publisher on another thread wakes this one, and every now and then. */
  #pumpLater(supervisor: Supervisor, isIdle: boolean): void {
    if (this.#next !== undefined) {
      if (isIdle || this.#next.isSoon) return
      this.#next.cancel()
    }
    let isOver = false // the timer and the wake-up are both on their way: the first one counts
    const cancel = (): void => {
      isOver = true
      clearTimeout(timer)
      this.#next = undefined
    }
    const again = (): void => {
      if (isOver) return
      cancel()
      Atomics.store(this.#memory.words, PARKED, 0)
      this.pump()
    }
    const idleMs = typeof Atomics.waitAsync === 'function' ? IDLE_MS : IDLE_MS_UNWOKEN
    const timer = setTimeout(again, isIdle ? idleMs : 1)
    unref(timer)
    this.#next = { isSoon: !isIdle, cancel }
    if (!isIdle) return
    if (announceSleep(supervisor.aggregator)) whenWoken(supervisor, again, idleMs)
    else queueMicrotask(again)
  }
}

function cannotStart(why: string, cause?: unknown): DirtyRingError {
  return new DirtyRingError(
    'ERR_DIRTYRING_AGGREGATOR_FAILED',
    `the aggregator cannot be started: ${why}`,
    { cause },
  )
}
