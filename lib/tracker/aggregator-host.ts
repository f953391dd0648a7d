import { CARRIED } from '../aggregator/carried.js'
import { announceSleep } from '../aggregator/park.js'
import { host, unhost, whenWoken } from '../aggregator/run.js'
import { dropRole } from '../aggregator/state.js'
import { FINISHED_ALL, IDLE, WORKED } from '../aggregator/step.js'
import type { Supervisor } from '../aggregator/supervisor.js'
import { backoffMs } from '../backoff.js'
import { DirtyRingError, invalidArg, messageOf } from '../errors.js'
import { cannotContinue, readError } from '../memory/failure.js'
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
import { handleOf, type Memory, type MemoryWithLayout } from '../memory/memory.js'
import type { ResolvedOptions, TrackerHandle } from '../options.js'
import { patience } from '../patience.js'
import { adoptWorker, startWorker } from '../platform/aggregator-worker.js'
import type { AggregatorThread } from '../platform/platform.js'
import { releaseRole } from '../ring/reap.js'
import { distance } from '../ring/token.js'
import { BINARY } from '../set/native/binary.js'
import {
  clearInterval,
  clearTimeout,
  nowMs,
  queueMicrotask,
  setInterval,
  setTimeout,
  unref,
} from '../timers.js'
import { canWaitAsync, whenNotified } from '../wait-async.js'

/** Tells how well the aggregator is: see {@link DirtyTracker.health}. */
export interface AggregatorHealth {
  /** Steps that threw; each was tried again. */
  panics: number
  /** Times that the aggregator's worker died and was started again. */
  restarts: number
  /** Rounds of work, empty ones included. */
  iterations: number
  /** Nothing is wrong right now. */
  healthy: boolean
  /** It has stopped, and everything is delivered. */
  finished: boolean
  /** The message of the last panic, or what the worker died of. */
  lastError?: string
  /**
   * - 'starting': create() has not resolved yet
   * - 'running': a thread handles tokens, or sleeps until there are some
   * - 'backing-off': a step threw, and is tried again in 10 ms to 1 s
   * - 'restarting': its worker died, and another one is starting
   * - 'finished': stopped, and everything is delivered
   * - 'absent': no thread runs it: `aggregator` is 'none', or its worker cannot be kept running
   */
  state: 'starting' | 'running' | 'backing-off' | 'restarting' | 'finished' | 'absent'
}

/** Deaths without a sign of life in between, before it is given up. */
const STARTS_MAX = 8
const START_MS_MAX = 30_000
const TOKENS_PER_PUMP = 4096
/**
 * The timer of an idle 'inline' aggregator. With waitAsync a publisher wakes it, unless that one
 * dies between its store and its wake-up. Without waitAsync every publisher depends on this timer.
 */
const IDLE_MS = 500
const IDLE_MS_UNWOKEN = 50
/**
 * The most of the time between two looks that counts as silence. A page that was frozen for a while
 * has frozen its worker as well.
 */
const SILENCE_STEP_MS = 200

/**
 * Keeps an aggregator running, of the kind that the options say; on the tracker's thread.
 *
 * ```text
 *  starting       ──▶ up           the worker has the role
 *  up             ──▶ restarting   the worker has ended
 *  restarting     ──▶ up           another worker has the role
 *  restarting     ──▶ absent       8 workers in a row have ended without a sign of life
 *  up, restarting ──▶ giving-up    the tracker stops, and the worker is silent or does not start
 *  giving-up      ──▶ absent       the worker has ended
 *  up             ──▶ absent       an 'inline' aggregator cannot continue
 *  any state      ──▶ ended        end()
 * ```
 */
export class AggregatorHost {
  /** Called when the aggregator cannot be kept running. */
  onFailure: (error: DirtyRingError) => void = () => undefined
  /** Called when its worker has died and another one has taken over. */
  onRestart: (restarts: number, cause: string) => void = () => undefined
  readonly #memory: Memory
  readonly #kind: ResolvedOptions['aggregator']
  /** The worker; undefined once its end is known. */
  #thread: AggregatorThread | undefined
  /** Why this thread terminated the worker; '' if it did not. */
  #cannot = ''
  /** A number that changes while the worker lives. */
  #life = 0
  /** For how long it has not changed. */
  #silentMs = 0
  /** When this thread last looked at it. */
  #lookedAt = 0
  #inline: Supervisor | undefined
  /** Of an 'inline' aggregator: the next pump(). */
  #next: { readonly isSoon: boolean; readonly cancel: () => void } | undefined
  /**
   * 'giving-up' and later: no worker is started any more, and the tracker's thread does the rest.
   */
  #state: 'starting' | 'up' | 'restarting' | 'giving-up' | 'absent' | 'ended' = 'starting'
  #restarts = 0
  #deaths = 0
  #iterationsAtStart = 0
  #lastCause = ''
  #panicsAtDeath = 0

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

  /** Of an 'inline' aggregator: does now, on this thread, what there is to do. */
  pump(): void {
    const supervisor = this.#inline
    if (supervisor === undefined) return
    let result: number
    try {
      result = supervisor.run(TOKENS_PER_PUMP)
    } catch (error) {
      this.#inline = undefined
      unhost(supervisor)
      this.#state = 'absent' // if the role is free, stop() takes it once more
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

  /** Whether no thread has the role, and the host starts none that takes it. */
  get isAbsent(): boolean {
    const startsNone = this.#kind === 'none' || this.#state === 'absent' || this.#state === 'ended'
    return startsNone && Atomics.load(this.#memory.words, OWNER) === 0
  }

  /** Tokens are waiting in the ring. */
  get hasBacklog(): boolean {
    const { words } = this.#memory
    return distance(Atomics.load(words, TAIL), Atomics.load(words, HEAD)) > 0
  }

  /**
   * Takes the role, and does what there is to do on the calling thread. Call it if no other thread
   * will take the role.
   *
   * @returns false when there is more to do at once; true at the end, with an empty ring, and when
   * a step has to wait
   * @throws what run() throws
   */
  takeOver(): boolean {
    const supervisor = host(this.#memory)
    try {
      return supervisor.run(TOKENS_PER_PUMP) !== WORKED
    } finally {
      unhost(supervisor)
    }
  }

  /** Frees the role if the thread that has ended had it, or a thread below that one. */
  release(threadId: number): void {
    releaseRole(this.#memory.words, threadId)
  }

  /**
   * Call it now and then while a call of the tracker is pending. If the platform does not report a
   * worker's end, a worker that shows no sign of life while tokens wait is terminated, and another
   * one takes its place. While the tracker stops, a start that does not come to its end counts the
   * same. Then no other one is started, and the tracker's thread does the rest.
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
    if (isStopping) this.#state = 'giving-up'
    this.#cannot = 'it showed no sign of life'
    if (this.#thread === undefined) this.#onDeath(this.#cannot)
    else void this.#thread.terminate() // its end follows
  }

  /** The aggregator has finished, or is not needed any more. */
  async end(): Promise<void> {
    this.#state = 'ended'
    this.#next?.cancel()
    const supervisor = this.#inline
    this.#inline = undefined
    if (supervisor !== undefined) unhost(supervisor)
    // Threads that watch their workers for this tracker cease to.
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

  /** Tells a call that has waited for long what the aggregator does, and what helps. */
  describeWait(): string {
    const { state, lastError } = this.health()
    const why = lastError === undefined ? '' : ` (${lastError})`
    switch (state) {
      case 'absent':
        return this.#kind === 'none'
          ? 'for the aggregator, which no thread runs. ' +
              'Call runAggregator(tracker.handle) in a worker.'
          : `for the aggregator, which has ended${why}. Call stop(): it delivers what is published.`
      case 'backing-off':
        return (
          `for the aggregator, which fails at a step and tries again${why}. ` +
          'See tracker.dump().'
        )
      case 'restarting':
      case 'starting':
        return (
          `for the aggregator's worker, which has not started yet${why}. ` +
          'Check that its script loads.'
        )
      default:
        return (
          'for the aggregator, which gives no answer. Check that its thread is not blocked. ' +
          'Look at tracker.health() and tracker.dump().'
        )
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

  /** Resolves when a new worker has the role. Rejects if the worker ends before that. */
  async #startThread(): Promise<void> {
    const { words } = this.#memory
    this.#iterationsAtStart = Atomics.load(words, ITERATIONS)
    const thread = await this.#newThread()
    if (!this.#mayStart) {
      void thread.terminate()
      throw cannotStart('the tracker stopped before its worker was there')
    }
    this.#thread = thread
    this.#cannot = ''
    await new Promise<void>((resolve, reject) => {
      const isFree = Atomics.load(words, OWNER) === 0
      // What OWNER holds once this worker has the role. If the platform gives no thread number,
      // that is what OWNER holds now, unless another thread had the role before.
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
        this.#thread = undefined
        settle(() => reject(cannotStart(cause)))
        dropRole(words, owner)
        if (wasUp) this.#onDeath(cause)
      })
      Atomics.store(words, STARTING, 1)
      const { layout } = this.#memory
      const own = { ...handleOf(this.#memory), layout } satisfies MemoryWithLayout
      const isAdopted = typeof this.#kind === 'function'
      thread.postHandle(isAdopted ? handleOf(this.#memory) : own)
      whenNotified(words, OWNER, 0, START_MS_MAX, (outcome) => {
        if (outcome === 'ok') settle(resolve)
      })
    })
  }

  async #newThread(): Promise<AggregatorThread> {
    if (typeof this.#kind !== 'function') {
      try {
        return startWorker(CARRIED.replace('<kernel>', BINARY))
      } catch (cause) {
        throw cannotStart(messageOf(cause), cause)
      }
    }
    const worker: unknown = await this.#kind(handleOf(this.#memory) as unknown as TrackerHandle)
    const thread = adoptWorker(worker)
    if (thread === undefined) {
      const advice = isWorkerThatEnded(worker)
        ? 'This one has ended: start a new Worker at each call, and return it before it ends.'
        : "Its script is import 'dirtyring/aggregator'."
      throw invalidArg('options.aggregator', 'a function that returns a Worker', worker, advice)
    }
    return thread
  }

  /**
   * The worker has ended: starts another one. It starts at once if the worker had lived, and later
   * and later if none lives.
   */
  #onDeath(cause: string): void {
    const { words } = this.#memory
    if (this.#state === 'ended' || this.#state === 'absent') return
    if (Atomics.load(words, FINISHED) !== 0) return
    if (Atomics.load(words, FAILED) !== 0) {
      this.onFailure(cannotContinue(words))
      return
    }
    this.#lastCause = cause
    this.#panicsAtDeath = Atomics.load(words, PANICS)
    this.#deaths =
      Atomics.load(words, ITERATIONS) === this.#iterationsAtStart ? this.#deaths + 1 : 0
    const isGivenUp = this.#state === 'giving-up'
    if (this.#deaths >= STARTS_MAX || isGivenUp) {
      this.#state = 'absent'
      const inARow = `${STARTS_MAX} times in a row, the last time with: ${cause}`
      this.onFailure(cannotStart(isGivenUp ? cause : inARow))
      return
    }
    this.#state = 'restarting'
    const again = (): void => {
      if (!this.#mayStart) return
      this.#startThread().then(
        () => {
          if (!this.#mayStart) return
          this.#restarts++
          this.#state = 'up'
          this.onRestart(this.#restarts, cause)
        },
        (error: unknown) => this.#onDeath(messageOf(error)),
      )
    }
    if (this.#deaths === 0) again()
    else unref(setTimeout(again, backoffMs(this.#deaths)))
  }

  /** Whether a worker may still be started. */
  get #mayStart(): boolean {
    return this.#state === 'starting' || this.#state === 'restarting'
  }

  /** Calls pump() when a publisher on another thread wakes this one, and now and then. */
  #pumpLater(supervisor: Supervisor, isIdle: boolean): void {
    if (this.#next !== undefined) {
      if (isIdle || this.#next.isSoon) return
      this.#next.cancel()
    }
    let isOver = false // the timer and the wake-up are both pending: the first one counts
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
    const idleMs = canWaitAsync() ? IDLE_MS : IDLE_MS_UNWOKEN
    const timer = setTimeout(again, isIdle ? idleMs : 1)
    unref(timer)
    this.#next = { isSoon: !isIdle, cancel }
    if (!isIdle) return
    if (announceSleep(supervisor.aggregator)) whenWoken(supervisor, again, idleMs)
    else queueMicrotask(again)
  }
}

/** -1 is Node's number of a thread that has ended. */
function isWorkerThatEnded(worker: unknown): boolean {
  return (worker as { threadId?: unknown } | null | undefined)?.threadId === -1
}

function cannotStart(why: string, cause?: unknown): DirtyRingError {
  return new DirtyRingError(
    'ERR_DIRTYRING_AGGREGATOR_FAILED',
    `the aggregator cannot be started: ${why}`,
    { cause },
  )
}
