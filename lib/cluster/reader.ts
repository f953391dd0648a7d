import { BY_LIBRARY, checkByLibrary, checkFunction } from '../check.js'
import type { Clock } from '../epochs/clock.js'
import { DirtyRingError, isDirtyRingError } from '../errors.js'
import type { Key, KeyOf } from '../keys.js'
import type { KeyKind } from '../memory/settings.js'
import { watching } from '../platform/watching.js'
import { randomWords } from '../random-words.js'
import {
  abortable,
  type AbortSignalLike,
  isAborted,
  signalOf,
  throwIfAborted,
  type Waiting,
} from '../signal.js'
import {
  clearInterval,
  clearTimeout,
  nowMs,
  queueMicrotask,
  setImmediate,
  setInterval,
  setTimeout,
  unref,
  wallMs,
} from '../timers.js'
import { type AdvanceOptions, checkAdvance } from '../tracker/call-options.js'
import type { EpochReader } from '../tracker/epoch-reader.js'
import type { ConsumerLag } from '../tracker/lag.js'
import { type Loop, loopOver } from '../tracker/loop.js'
import { clockBytes, clockText, readClock } from './clock.js'
import { type ClusterEpoch, makeClusterEpoch, partsOf } from './epoch.js'
import { ClusterListeners } from './events.js'
import { Intake, type Trouble } from './intake.js'
import { Ledger, type Living, namelessNews } from './ledger.js'
import type { EpochSource, LogRead } from './log.js'
import {
  checkClusterEpochs,
  checkClusterOptions,
  type ClusterEpochsOptions,
  type ClusterOptions,
  type ResolvedClusterOptions,
} from './reader-options.js'

/**
 * Lists what a cluster's reader tells its listeners, by the event's name; see
 * {@link ClusterReader.on}.
 *
 * @example
 * ```js
 * import { openCluster } from 'dirtyring/cluster'
 *
 * function watchNodes(source) {
 *   const cluster = openCluster({ source })
 *   cluster.on('gone', ({ node }) => console.warn(`${node} has died`))
 *   return cluster
 * }
 * ```
 */
export interface ClusterReaderEvents {
  /**
   * Something is wrong, and the reader goes on. Each kind is told once a minute at most. Without a
   * listener it is a process warning.
   */
  warning: {
    /** What it is, in a sentence. */
    message: string
    /** The node that it is about, if there is one. */
    node: string | undefined
    /** The publisher that it is about, if there is one. */
    instance: string | undefined
    /** What was thrown, if anything was. */
    error: unknown
  }
  /** A publisher has ended without a clean stop. Told once, and the next epoch names it. */
  gone: {
    /** The label of its node. */
    node: string
    /** Identifies the publisher. */
    instance: string
    /** The namespaces that it had declared; undefined: none, or not known. */
    namespaces: readonly number[] | undefined
    /** How long the reader had listened without hearing it, in ms. */
    silentMs: number
  }
  /** The engine does not answer. The reader goes on trying, and loses nothing. */
  away: {
    /** What the source rejected with. */
    error: Error
  }
  /** The engine answers again. */
  back: {
    /** How long it was away, in ms. */
    awayMs: number
  }
}

/** A publisher that lives, as far as its messages tell. */
export interface LiveInstance {
  /** See {@link Publisher.instance}. */
  readonly instance: string
  /** The namespaces that it has declared; undefined: none, or they are not known. */
  readonly namespaces: readonly number[] | undefined
  /** How long the reader has listened since it heard the instance last, in ms. */
  readonly silentMs: number
}

/** How long a read waits for messages at most. */
const READ_MS = 1000
/** Reads in the time after which an instance is silent. */
const READS_OF_SILENCE = 8
/** A request for a cut is repeated so often. */
const REPEAT_MS = 250
const RETRY_MS = 100
const RETRY_MAX_MS = 2000
const PRECISIONS = ['exact', 'superset', 'everything'] as const

/** A call that wants an epoch. */
interface Request extends Waiting<ClusterEpoch> {
  readonly isCut: boolean
}

/** A cut over all nodes that is under way. */
interface Cut {
  readonly name: string
  readonly request: Request
  readonly startedAt: number
  /** When it got nearer to the log's end last; then, when it reached it. */
  progressAt: number
  /** The instances that lived at the log's end; undefined: it has not been reached. */
  known: readonly string[] | undefined
  readonly answered: Set<string>
  timer: ReturnType<typeof setTimeout> | undefined
}

/** The constructor, for openCluster(). */
let makeReader: <K extends Key>(options: ResolvedClusterOptions) => ClusterReader<K>

/**
 * Opens a reader of what the publishers of a cluster append to a log. It returns at once, and
 * connects at the first call that needs the log.
 *
 * The reader unites the epochs of all nodes. By the numbers of the messages it knows which ones it
 * has missed, and says so. An exact epoch has all keys that were published between its position and
 * the one before.
 *
 * @param options - where to read, from where on, and how long to wait for nodes
 * @returns the reader. Close it when it is not needed any more
 * @throws TypeError `ERR_DIRTYRING_INVALID_ARG` and RangeError `ERR_DIRTYRING_OUT_OF_RANGE`
 *
 * @example
 * ```js
 * import { openCluster } from 'dirtyring/cluster'
 *
 * // Drops from a cache what other processes have changed. `source`: of natsSource(), say.
 * async function keepFresh(cache, source, publisher) {
 *   const cluster = openCluster({ source, from: 'now', except: publisher })
 *   await cluster.ready() // put nothing into the cache before
 *   for await (const epoch of cluster.epochs({ everyMs: 100 })) {
 *     for (const key of cache.keys()) if (epoch.has(key)) cache.delete(key)
 *     epoch.commit()
 *   }
 * }
 * ```
 */
export function openCluster<Kind extends KeyKind = 'any'>(
  options: ClusterOptions<Kind>,
): ClusterReader<KeyOf<Kind>> {
  return makeReader(checkClusterOptions(options))
}

/**
 * Reads what all nodes of a cluster have published: {@link openCluster} opens one. Like a
 * {@link Consumer} it has one epoch at a time, which the caller commits or restores. Its position
 * is the `clock`, which the caller stores with the data.
 *
 * It reads all the time, and unites what arrives. So a slow caller costs a fixed amount of memory.
 * It is `maxKeysPerEpoch` for what has arrived, and as much for the epoch in hand. Each node that
 * is sending a large epoch adds as much. With more keys, the epoch becomes a superset.
 *
 * It keeps no process alive unless a call waits. It belongs to the thread that opened it.
 *
 * @example
 * ```js
 * import { openCluster } from 'dirtyring/cluster'
 *
 * // The smallest source: an empty log. Those of engines have the same members.
 * const source = {
 *   async read(after, { waitMs }) {
 *     await new Promise((resolve) => setTimeout(resolve, waitMs))
 *     return { messages: [], position: '0', atEnd: true, log: 'empty', lost: false }
 *   },
 *   nodes: () => undefined,
 *   requestCut: async () => {},
 *   close: async () => {},
 * }
 * const cluster = openCluster({ source }) // no clock is stored yet
 * await cluster.consume(({ exact, reason }) => console.log(exact, reason)) // false fresh
 * await cluster.consume(({ exact, reason }) => console.log(exact, reason)) // true undefined
 * await cluster.close()
 * ```
 */
export class ClusterReader<K extends Key = Key>
  implements EpochReader<ClusterEpoch<K>>, Disposable, AsyncDisposable
{
  readonly #options: ResolvedClusterOptions
  /** How long a read waits for messages. */
  readonly #readMs: number
  readonly #ledger: Ledger
  readonly #intake: Intake
  readonly #listeners = new ClusterListeners<ClusterReaderEvents>([
    'warning',
    'gone',
    'away',
    'back',
  ])
  readonly #excepted = new Set<string>()
  /** The next epoch has the reason 'fresh'. */
  #isFresh: boolean
  /** All up to the log's end is read before an epoch is handed out. */
  #isCatchingUp: boolean
  #isStarted = false
  #isClosed = false
  #closed: Promise<void> | undefined
  /** What later calls reject with. */
  #end: { readonly reason: unknown } | undefined
  /** Ends the read under way, so that another one begins at once. */
  #interrupt: AbortController | undefined
  /** Since when the reader listens: it is connected, and has read all. */
  #listensFrom: number | undefined
  /** All that was in the log before this moment was read. */
  #readUpToMs: number | undefined
  #awayFrom: number | undefined
  /** Ends the pause before the next try. */
  #endPause: () => void = () => undefined

  #nextId = 0
  /** Something was read since the last hand-out. */
  #hasRead = false
  #inHand: ClusterEpoch | undefined
  #committedId = -1
  #clock: Uint8Array | Clock | undefined
  #upToDateAt = nowMs()
  #cut: Cut | undefined
  /** A request that waits for the log's end, without a cut. */
  #waiting: Request | undefined
  readonly #queue: Request[] = []
  #loop: Loop | undefined
  readonly #readyWaiters = new Set<Waiting<void>>()
  /** Loops that sleep until something has arrived. */
  readonly #sleepers = new Set<() => void>()
  readonly #forgetSignal: () => void = () => undefined

  static {
    makeReader = (options) => new ClusterReader(BY_LIBRARY, options)
  }

  private constructor(pass: typeof BY_LIBRARY, options: ResolvedClusterOptions) {
    checkByLibrary(pass, 'ClusterReader', 'Call openCluster().')
    this.#options = options
    const { since, isFromNow, silentMs, goneMs, spreadMs, signal, limits, keys } = options
    this.#readMs = Math.min(READ_MS, Math.ceil(silentMs / READS_OF_SILENCE))
    const settings = { goneMs, jitterMs: () => (spreadMs * randomWords(1)[0]) / 2 ** 32 }
    const read = since === undefined ? undefined : readClock(since, settings)
    const isUsable = read !== undefined && 'ledger' in read
    this.#ledger = isUsable ? read.ledger : new Ledger(settings)
    this.#clock = isUsable ? since : undefined
    this.#isFresh = !isUsable && !isFromNow
    this.#isCatchingUp = !isUsable
    this.#intake = new Intake(this.#ledger, {
      limits,
      keys,
      isExcepted: (instance) => this.#isExcepted(instance),
      onAnswer: (request, instance) => {
        if (this.#cut?.name === request) this.#cut.answered.add(instance)
      },
      onTrouble: (trouble) => this.#warn(trouble),
    })
    this.#intake.isSkimming = this.#isCatchingUp
    if (read !== undefined && 'trouble' in read) {
      const message = `the stored clock can't be used, because ${read.trouble}: all keys count as dirty`
      const trouble = { message, node: undefined, instance: undefined, error: undefined }
      queueMicrotask(() => this.#warn(trouble)) // when the caller has added listeners
    }
    if (signal === undefined) return
    const abort = (): void => void this.#close({ reason: signal.reason }).catch(() => undefined)
    if (signal.aborted) {
      abort()
      return
    }
    signal.addEventListener('abort', abort)
    this.#forgetSignal = () => signal.removeEventListener('abort', abort)
  }

  /**
   * Its position: that of the last epoch that was committed. Until then, the one that it was opened
   * with. Undefined while it is fresh. An idle reader's position moves on while an epochs() loop
   * runs. Store it now and then, because the engine keeps its log for a limited time.
   */
  get clock(): Clock | undefined {
    const isFresh = this.#inHand !== undefined && partsOf(this.#inHand).isFresh
    if (this.#isFresh || isFresh || this.#clock === undefined) return undefined
    if (typeof this.#clock !== 'string') this.#clock = clockText(this.#clock)
    return this.#clock
  }

  /**
   * How far it is behind:
   *
   * - `keys`: those that were read and wait, in its epoch in hand too
   * - `epochs`: messages with keys that wait: epochs of nodes, or parts of large ones
   * - `ms`: all that was in the log so long ago is dealt with
   * - `precision`: what its next epoch is at best
   */
  get lag(): ConsumerLag {
    const { keys, epochs } = this.#intake
    const inHand = this.#inHand
    const parts = [keys, ...(inHand === undefined ? [] : [inHand])]
    const worst = Math.max(...parts.map(({ precision }) => PRECISIONS.indexOf(precision)))
    const isIdle = inHand === undefined && epochs === 0 && !this.#isFresh
    const upTo = isIdle ? (this.#readUpToMs ?? this.#upToDateAt) : this.#upToDateAt
    return {
      keys: keys.size + (inHand?.size ?? 0),
      epochs: epochs + (inHand === undefined ? 0 : partsOf(inHand).epochs),
      ms: Math.max(0, nowMs() - upTo),
      precision: this.#isFresh ? 'everything' : PRECISIONS[worst],
    }
  }

  /**
   * The publishers that live, by the label of their node: they have begun, and are neither closed
   * nor gone.
   */
  get nodes(): ReadonlyMap<string, readonly LiveInstance[]> {
    const nodes = new Map<string, LiveInstance[]>()
    for (const { node, instance, namespaces, silentMs } of this.#ledger.living()) {
      const live = { instance, namespaces, silentMs }
      const others = nodes.get(node)
      if (others === undefined) nodes.set(node, [live])
      else others.push(live)
    }
    return nodes
  }

  /**
   * Resolves when the reader has reached the end of the log for the first time. With `from: 'now'`,
   * epochs have what is appended after that. Read nothing into a cache before.
   *
   * @param options - `signal` aborts the call
   * @throws (rejects with) `signal.reason` if aborted, `ERR_DIRTYRING_CLOSED` after close(), and
   * the source's error if the source cannot continue
   */
  async ready(options: { signal?: AbortSignalLike | undefined } = {}): Promise<void> {
    const signal = signalOf(options)
    this.#checkOpen()
    throwIfAborted(signal)
    this.#start()
    if (this.#readUpToMs !== undefined) return
    return abortable(signal, (waiting) => {
      this.#readyWaiters.add(waiting)
      return () => this.#readyWaiters.delete(waiting)
    })
  }

  /**
   * Makes a cut over all nodes. It asks each one to publish what it has, and resolves when all that
   * live have answered. What any node published before the call is in this epoch or an earlier one.
   * Otherwise the epoch names that node, and is not exact (C17).
   *
   * It waits while an earlier epoch of this reader is not settled. It counts a node as living if
   * the log, read to its end after the call, says so.
   *
   * @param options - `signal` aborts the call, with nothing lost. `onBusy: 'reject'` rejects where
   * the call would wait for an epoch to be settled
   * @returns a promise of the epoch, for `commit()` or `restore()`
   * @throws The promise rejects with:
   *
   * - `signal.reason` if the signal aborts
   * - `ERR_DIRTYRING_AWAY` if a node does not answer and `onMissing` is 'wait'
   * - `ERR_DIRTYRING_AWAY` if a reader without a position cannot reach the end of the log
   * - `ERR_DIRTYRING_NO_EPOCH_SLOT` with `onBusy: 'reject'`
   * - `ERR_DIRTYRING_BUSY` while an epochs() loop runs
   * - `ERR_DIRTYRING_CLOSED` after close()
   * - the source's error if the source cannot continue
   * - TypeError or RangeError if an option is not allowed
   */
  async advanceEpoch(options: AdvanceOptions = {}): Promise<ClusterEpoch<K>> {
    const { signal, onBusy } = checkAdvance(options)
    this.#checkOpen()
    this.#checkFree()
    throwIfAborted(signal)
    if (onBusy === 'reject' && (this.#isBusy || this.#inHand !== undefined)) throw this.#noSlot()
    return this.#next(true, signal)
  }

  /**
   * Makes a cut over all nodes, hands the epoch to `use`, and commits it when `use` returns or
   * resolves. If `use` throws or rejects, the epoch is restored: the next one has its keys.
   *
   * @param use - deals with the epoch
   * @param options - as for advanceEpoch()
   * @returns a promise of what `use` returns
   * @throws (rejects with) the error of `use`, and with what advanceEpoch() rejects with
   */
  async consume<T>(
    use: (epoch: ClusterEpoch<K>) => T | PromiseLike<T>,
    options: AdvanceOptions = {},
  ): Promise<T> {
    checkFunction('use', use)
    const epoch = await this.advanceEpoch(options)
    try {
      const result = await use(epoch)
      epoch.commit()
      return result
    } catch (error) {
      await epoch.restore()
      throw error
    }
  }

  /**
   * Yields what has arrived, every `everyMs`. It does not ask the nodes, so that many readers do
   * not cause many cuts. If the loop's body does not settle an epoch, the loop restores it before
   * the next one. The reader's close() ends the loop without an error.
   *
   * @param options - `everyMs` from 0 to 2^31 - 1. `cut: true` asks all nodes each time.
   * `skipEmpty: false` yields epochs without keys too. `whenDirty: true` sleeps until something
   * arrives. `signal` ends the loop, without an error
   * @returns an iterator, for `for await`. It throws what advanceEpoch() rejects with
   * @throws TypeError and RangeError if an option is not allowed, at once
   *
   * @example
   * ```js
   * import { openCluster } from 'dirtyring/cluster'
   *
   * const source = {
   *   async read(after, { waitMs }) {
   *     await new Promise((resolve) => setTimeout(resolve, waitMs))
   *     return { messages: [], position: '0', atEnd: true, log: 'empty', lost: false }
   *   },
   *   nodes: () => undefined,
   *   requestCut: async () => {},
   *   close: async () => {},
   * }
   * const cluster = openCluster({ source, from: 'now' })
   * setTimeout(() => cluster.close(), 50)
   * for await (const epoch of cluster.epochs({ everyMs: 10, skipEmpty: false })) {
   *   console.log(epoch.id, epoch.exact) // 0 true | …
   *   epoch.commit()
   * }
   * ```
   */
  epochs(options: ClusterEpochsOptions): AsyncIterableIterator<ClusterEpoch<K>> {
    const { signal, ...pace } = checkClusterEpochs(options)
    return loopOver(signal, (loop) => this.#generate(loop, pace))
  }

  /**
   * Calls `listener` for each event, in a microtask of its own. What it throws is an uncaught
   * exception.
   *
   * @param event - the name of an event
   * @param listener - called with what happened
   * @returns the function that removes the listener
   * @throws TypeError and RangeError if an argument is not allowed
   */
  on<E extends keyof ClusterReaderEvents>(
    event: E,
    listener: (event: ClusterReaderEvents[E]) => void,
  ): () => void {
    return this.#listeners.add(event, listener)
  }

  /**
   * Ends the reader. Pending calls reject with `ERR_DIRTYRING_CLOSED`, and a running loop ends. An
   * epoch in hand stays readable; its commit() still moves `clock`. A second call does nothing
   * more.
   *
   * @returns a promise that resolves when the source is closed
   */
  close(): Promise<void> {
    return this.#close({
      reason: new DirtyRingError('ERR_DIRTYRING_CLOSED', 'the reader of this cluster is closed'),
    })
  }

  /** Calls close(), without waiting for it. */
  [Symbol.dispose](): void {
    this.close().catch(() => undefined)
  }

  /** Calls close(). */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** One line. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    const { keys, precision } = this.lag
    return `ClusterReader { nodes: ${this.nodes.size}, keys: ${keys}, precision: '${precision}' }`
  }

  // ---------------------------------------------------------------------------------- reading

  #start(): void {
    if (this.#isStarted) return
    this.#isStarted = true
    void this.#readAll()
  }

  async #readAll(): Promise<void> {
    let retryMs = RETRY_MS
    while (!this.#isClosed) {
      const startedAt = nowMs()
      const interrupt = new AbortController()
      this.#interrupt = interrupt
      try {
        const waitMs = this.#wantsEnd ? 0 : this.#readMs
        const { signal } = interrupt
        const found = await this.#options.source.read(this.#ledger.position, { waitMs, signal })
        if (this.#isOver) return
        this.#found(found, startedAt)
        retryMs = RETRY_MS
      } catch (error) {
        if (this.#isOver) return
        if (interrupt.signal.aborted) continue
        this.#listensFrom = undefined
        if (!isDirtyRingError(error) || error.code !== 'ERR_DIRTYRING_AWAY') {
          void this.#close({ reason: error }).catch(() => undefined)
          return
        }
        this.#goAway(error)
        await this.#pause(retryMs)
        retryMs = Math.min(2 * retryMs, RETRY_MAX_MS)
      }
      await new Promise<void>((resolve) => setImmediate(resolve))
    }
  }

  /** Whether it was closed meanwhile. */
  get #isOver(): boolean {
    return this.#isClosed
  }

  /** Whether a call waits for the log's end. */
  get #wantsEnd(): boolean {
    return this.#isCatchingUp || (this.#cut !== undefined && this.#cut.known === undefined)
  }

  #found(found: LogRead, startedAt: number): void {
    const now = nowMs()
    const { messages, atEnd, log, lost } = found
    if (this.#awayFrom !== undefined) {
      this.#listeners.tell('back', { awayMs: now - this.#awayFrom })
      this.#awayFrom = undefined
    }
    if (lost || (this.#ledger.log !== undefined && this.#ledger.log !== log)) this.#losePlace()
    this.#ledger.enter(log)
    this.#leaveOut()
    if (this.#listensFrom !== undefined) {
      // If this thread stood still for longer, the others were not silent for so long.
      this.#ledger.listen(Math.min(now - this.#listensFrom, 2 * this.#readMs))
    }
    this.#listensFrom = atEnd ? now : undefined
    this.#intake.take(found, now)
    if (messages.length > 0) this.#hasRead = true
    if (atEnd) this.#reachedEnd(startedAt, now)
    this.#afterRead(found, startedAt)
  }

  #reachedEnd(startedAt: number, now: number): void {
    const { source } = this.#options
    for (const each of this.#ledger.bury(now, wallMs(), source.nodes())) {
      this.#intake.release(each.instance)
      this.#hasRead = true
      const { node, instance, namespaces, silentMs } = each
      this.#listeners.tell('gone', { node, instance, namespaces, silentMs })
    }
    this.#readUpToMs = startedAt
    if (this.#isCatchingUp) {
      // What was lost before is covered by 'fresh', or was before 'now'.
      this.#ledger.forgive()
      this.#isCatchingUp = false
      this.#intake.isSkimming = false
      this.#hasRead = true
      if (!this.#isFresh && this.#clock === undefined) this.#clock = clockBytes(this.#ledger)
    }
    for (const waiting of [...this.#readyWaiters]) {
      this.#readyWaiters.delete(waiting)
      waiting.resolve()
    }
  }

  #afterRead({ messages, atEnd, lost }: LogRead, startedAt: number): void {
    const cut = this.#cut
    if (cut !== undefined) {
      if (cut.known === undefined) {
        const isKnown = atEnd && startedAt >= cut.startedAt
        // A source that begins anew again and again makes no progress: timeoutMs ends the call.
        if (isKnown || (messages.length > 0 && !lost)) cut.progressAt = nowMs()
        if (isKnown) cut.known = this.#ledger.living().map(({ instance }) => instance)
      }
      this.#checkCut(cut)
    }
    if (this.#waiting !== undefined && !this.#isCatchingUp) {
      const request = this.#waiting
      this.#waiting = undefined
      this.#handOut(request, new Set(), false)
    }
    if (this.#isDirty) for (const wake of [...this.#sleepers]) wake()
  }

  /** The log is another one, or the place in it is not there any more. */
  #losePlace(): void {
    this.#ledger.rewind()
    this.#intake.releaseAll()
    if (!this.#isCatchingUp || this.#clock !== undefined) this.#isFresh = true
    this.#isCatchingUp = true
    this.#intake.isSkimming = true
    if (this.#cut !== undefined) this.#cut.known = undefined
  }

  #goAway(error: Error): void {
    if (this.#awayFrom !== undefined) return
    this.#awayFrom = nowMs()
    this.#listeners.tell('away', { error })
  }

  /** Waits before the next try. Keeps the process alive only if a call waits for the engine. */
  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      if (this.#readyWaiters.size === 0 && !this.#isBusy) unref(timer)
      this.#endPause = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  /** A publisher may go on as another instance: those that it was stay left out. */
  #leaveOut(): void {
    for (const each of this.#options.except) {
      const instance = typeof each === 'string' ? each : each.instance
      if (this.#excepted.has(instance)) continue
      this.#excepted.add(instance)
      this.#ledger.leaveOut(instance) // an earlier reader may not have left it out
    }
  }

  #isExcepted(instance: string): boolean {
    return this.#excepted.has(instance)
  }

  #warn({ message, node, instance, error }: Trouble): void {
    if (!this.#listeners.tell('warning', { message, node, instance, error }))
      watching.warn(`dirtyring: ${message}`)
  }

  // ----------------------------------------------------------------------------- handing out

  /** Whether a call waits for an epoch. */
  get #isBusy(): boolean {
    return this.#cut !== undefined || this.#waiting !== undefined || this.#queue.length > 0
  }

  /** Whether the next epoch would have something. */
  get #isDirty(): boolean {
    const { keys } = this.#intake
    return this.#isFresh || !keys.exact || keys.size > 0 || this.#ledger.dueMs <= nowMs()
  }

  /** Resolves with the next epoch, when it is this call's turn. */
  #next(isCut: boolean, signal: AbortSignalLike | undefined): Promise<ClusterEpoch<K>> {
    return abortable(signal, ({ resolve, reject }) => {
      const request: Request = { isCut, resolve: resolve as Request['resolve'], reject }
      this.#queue.push(request)
      this.#start()
      this.#serve()
      return () => this.#abandon(request)
    })
  }

  /** Begins with the first call that waits, if it is its turn. */
  #serve(): void {
    if (this.#cut !== undefined || this.#waiting !== undefined || this.#inHand !== undefined) return
    const request = this.#queue.shift()
    if (request === undefined) return
    if (request.isCut) this.#beginCut(request)
    else if (this.#isCatchingUp) this.#waiting = request
    else this.#handOut(request, new Set(), false)
  }

  /** Forgets a call that was aborted. Nothing was consumed. False: it has its epoch. */
  #abandon(request: Request): boolean {
    if (this.#cut?.request === request) this.#endCut()
    else if (this.#waiting === request) this.#waiting = undefined
    else {
      const at = this.#queue.indexOf(request)
      if (at < 0) return false
      this.#queue.splice(at, 1)
    }
    this.#serve()
    return true
  }

  #beginCut(request: Request): void {
    const now = nowMs()
    const [a, b] = randomWords(2)
    const cut: Cut = {
      name: a.toString(36) + b.toString(36),
      request,
      startedAt: now,
      progressAt: now,
      known: undefined,
      answered: new Set(),
      timer: undefined,
    }
    this.#cut = cut
    this.#interrupt?.abort()
    this.#ask(cut)
  }

  /** Asks all nodes for a cut, again and again. A fresh reader needs none. */
  #ask(cut: Cut): void {
    const { source, timeoutMs } = this.#options
    if (!this.#isFresh) void requestCut(source, cut.name)
    const left = Math.max(0, cut.progressAt + timeoutMs - nowMs())
    cut.timer = setTimeout(
      () => {
        if (this.#checkCut(cut)) this.#ask(cut)
      },
      Math.min(REPEAT_MS, left + 1),
    )
  }

  /** Hands out if all have answered, or if it has waited long enough. True: it goes on waiting. */
  #checkCut(cut: Cut): boolean {
    const { timeoutMs, silentMs, onMissing } = this.#options
    const isLate = nowMs() - cut.progressAt >= timeoutMs
    if (cut.known === undefined) {
      if (!isLate) return true
      this.#endCut()
      const missing = this.#ledger.living()
      if (this.#isCatchingUp || onMissing === 'wait') {
        this.#refuse(cut.request, `the log has not answered for ${timeoutMs} ms (timeoutMs)`)
      } else this.#handOut(cut.request, new Set(missing.map(({ instance }) => instance)), true)
      return false
    }
    const known = new Set(cut.known)
    const left = this.#isFresh
      ? []
      : this.#ledger
          .living()
          .filter(({ instance }) => known.has(instance) && !cut.answered.has(instance))
    if (!isLate && left.some((each) => each.silentMs < silentMs)) return true
    this.#endCut()
    if (left.length > 0 && onMissing === 'wait') this.#refuse(cut.request, missingText(left))
    else this.#handOut(cut.request, new Set(left.map(({ instance }) => instance)), false)
    return false
  }

  #endCut(): void {
    clearTimeout(this.#cut?.timer)
    this.#cut = undefined
  }

  #refuse(request: Request, why: string): void {
    const advice = "Call again, or open the cluster with onMissing: 'everything'"
    request.reject(new DirtyRingError('ERR_DIRTYRING_AWAY', `${why}. ${advice}`))
    this.#serve()
  }

  /**
   * Hands out what was read. `missing`: instances that did not answer. `isBlind`: the log's end is
   * not known, and so not who else lives.
   */
  #handOut(request: Request, missing: ReadonlySet<string>, isBlind: boolean): void {
    const now = nowMs()
    const isFresh = this.#isFresh
    const since = this.clock
    const { epochs } = this.#intake
    const keys = this.#intake.takeKeys()
    const wall = wallMs()
    const news = this.#ledger.handOut(now, request.isCut || isFresh, missing, wall)
    if (isBlind) news.push(namelessNews('missing', 0, wall))
    if (isFresh) keys.everything('fresh')
    for (const { lost } of news) {
      if (lost === 'everything') keys.everything('fault')
      else for (const namespace of lost ?? []) keys.everythingInNamespace(namespace, 'fault')
    }
    this.#isFresh = false
    this.#hasRead = false
    const clock = clockBytes(this.#ledger)
    if (clock === undefined) {
      this.#intake.warn('clock', now, {
        message:
          'the clock of this cluster would take more than 64 KiB, because there are too many ' +
          'instances: a reader that goes on from it is fresh',
        node: undefined,
        instance: undefined,
        error: undefined,
      })
    }
    const epoch = makeClusterEpoch({
      keys,
      id: this.#nextId++,
      news,
      isFresh,
      since,
      clock,
      epochs,
      asOfMs: this.#readUpToMs ?? this.#upToDateAt,
      keeper: {
        commit: (each) => this.#commit(each),
        restore: (each) => this.#restore(each),
      },
    })
    // One without keys need not be settled.
    if (!epoch.exact || epoch.size > 0) this.#inHand = epoch
    request.resolve(epoch)
    this.#serve()
  }

  #commit(epoch: ClusterEpoch): void {
    const { clock, asOfMs } = partsOf(epoch)
    if (epoch.id > this.#committedId) {
      this.#committedId = epoch.id
      this.#clock = clock ?? clockText(clock)
      this.#upToDateAt = asOfMs
    }
    this.#settle(epoch)
  }

  #restore(epoch: ClusterEpoch): void {
    const { keys, news, isFresh, epochs } = partsOf(epoch)
    if (!this.#isClosed && this.#inHand === epoch) {
      this.#intake.giveBack(keys, epochs)
      this.#ledger.giveBack(news)
      if (isFresh) this.#isFresh = true
      this.#hasRead = true
    }
    this.#settle(epoch)
  }

  #settle(epoch: ClusterEpoch): void {
    if (this.#inHand !== epoch) return
    this.#inHand = undefined
    this.#serve()
  }

  // ------------------------------------------------------------------------------------- loops

  async *#generate(
    loop: Loop,
    { everyMs, skipEmpty, whenDirty, isCut }: Omit<ReturnType<typeof checkClusterEpochs>, 'signal'>,
  ): AsyncGenerator<ClusterEpoch<K>, void> {
    if (loop.aborted) return
    this.#checkOpen()
    this.#checkFree()
    this.#loop = loop
    this.#start()
    try {
      let next = nowMs() + everyMs
      for (;;) {
        if (whenDirty && !this.#isDirty) {
          await this.#untilDirty(loop)
          next = nowMs() + everyMs
        }
        await this.#sleep(next - nowMs(), loop)
        if (this.#isEnded || loop.aborted) return
        next = Math.max(next, nowMs()) + everyMs
        if (skipEmpty && !isCut && !this.#hasRead && !this.#isDirty) continue
        let epoch: ClusterEpoch<K>
        try {
          epoch = await this.#next(isCut, loop)
        } catch (error) {
          if (this.#isEnded || loop.aborted) return
          throw error
        }
        if (skipEmpty && epoch.exact && epoch.size === 0) {
          epoch.commit()
          continue
        }
        try {
          yield epoch
        } finally {
          await epoch.restore()
        }
      }
    } finally {
      if (this.#loop === loop) this.#loop = undefined
    }
  }

  /** Whether close() has ended the loop. Throws if something else has. */
  get #isEnded(): boolean {
    if (this.#end === undefined) return false
    const { reason } = this.#end
    if (isClosing(reason) || isAborted(this.#options.signal)) return true
    throw reason
  }

  /**
   * Sleeps for `ms`, or until the loop is over. Keeps the process alive, because a caller waits.
   */
  #sleep(ms: number, loop: Loop): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer)
        loop.removeEventListener('abort', wake)
        resolve()
      }
      const timer = setTimeout(wake, Math.max(0, ms))
      loop.addEventListener('abort', wake)
      if (loop.aborted || this.#isClosed) wake()
    })
  }

  /** Sleeps until the next epoch would have something, or until the loop is over. */
  #untilDirty(loop: Loop): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearInterval(timer)
        loop.removeEventListener('abort', wake)
        this.#sleepers.delete(wake)
        resolve()
      }
      // A loss that is kept back is due at some time, without a message.
      const timer = setInterval(() => {
        if (this.#isDirty) wake()
      }, READ_MS)
      loop.addEventListener('abort', wake)
      if (loop.aborted || this.#isClosed) wake()
      else this.#sleepers.add(wake)
    })
  }

  // ----------------------------------------------------------------------------------- the end

  #close(end: { readonly reason: unknown }): Promise<void> {
    if (this.#closed !== undefined) return this.#closed
    this.#isClosed = true
    this.#end = end
    this.#forgetSignal()
    const { reason } = end
    const requests = [this.#cut?.request, this.#waiting, ...this.#queue.splice(0)]
    this.#endCut()
    this.#waiting = undefined
    for (const request of requests) request?.reject(reason)
    for (const waiting of this.#readyWaiters) waiting.reject(reason)
    this.#readyWaiters.clear()
    this.#interrupt?.abort()
    this.#endPause()
    this.#closed = this.#closeSource()
    this.#loop?.end()
    return this.#closed
  }

  async #closeSource(): Promise<void> {
    await this.#options.source.close()
  }

  /** Throws what ended the reader. */
  #checkOpen(): void {
    if (this.#end !== undefined) throw this.#end.reason
  }

  /** Throws ERR_DIRTYRING_BUSY while an epochs() loop runs. */
  #checkFree(): void {
    if (this.#loop === undefined || this.#loop.aborted) return
    throw new DirtyRingError(
      'ERR_DIRTYRING_BUSY',
      'a running epochs() loop owns the epochs of this cluster reader. An iterator that was ' +
        'dropped without return() goes on owning them: call its return(). Another loop needs a ' +
        'reader of its own',
    )
  }

  #noSlot(): DirtyRingError {
    const epoch = this.#inHand
    return new DirtyRingError(
      'ERR_DIRTYRING_NO_EPOCH_SLOT',
      'a cluster reader has one epoch at a time. ' +
        (epoch === undefined
          ? 'An earlier call waits for one'
          : `Call commit() or restore() on epoch ${epoch.id} before`),
    )
  }
}

/** Requests may be lost: they are repeated. */
async function requestCut(source: EpochSource, request: string): Promise<void> {
  try {
    await source.requestCut(request)
  } catch {
    // The engine is away, as the reads will tell.
  }
}

function isClosing(reason: unknown): boolean {
  return isDirtyRingError(reason) && reason.code === 'ERR_DIRTYRING_CLOSED'
}

function missingText(missing: readonly Living[]): string {
  const [{ node, instance, silentMs }] = missing
  const others = missing.length > 1 ? ` and ${missing.length - 1} more` : ''
  return (
    `node ${node}, instance ${instance},${others} did not answer the cut; ` +
    `its last message came ${Math.round(silentMs)} ms ago`
  )
}
