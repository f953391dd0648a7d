import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { pid } from 'node:process'
import {
  BY_LIBRARY,
  bytesOf,
  checkBag,
  checkByLibrary,
  checkChoice,
  checkFunction,
  checkWhole,
  typedArrayName,
  viewLength,
} from '../check.js'
import { encodeKeys } from '../epochs/encode.js'
import type { SealedEpoch } from '../epochs/sealed-epoch.js'
import {
  DirtyRingError,
  invalidArg,
  isDirtyRingError,
  isRevoked,
  messageOf,
  outOfRange,
} from '../errors.js'
import { FLAG_FRESH } from '../memory/map.js'
import { TIMER_MS_MAX } from '../memory/settings.js'
import { EMPTY_SLOT, NAMESPACE_MAX } from '../memory/slot.js'
import { watching } from '../platform/watching.js'
import { type AbortSignalLike, isSignal, throwIfAborted } from '../signal.js'
import { clearTimeout, nowMs, setTimeout, unref, wallMs } from '../timers.js'
import { type Consumer, holdConsumer } from '../tracker/consumer.js'
import type { Hold } from '../tracker/hold.js'
import { DECLARED_MAX, EPOCH_BODY_MAX, TAG_MAX } from './body.js'
import { createEncoder, type EpochEncoder } from './encoder.js'
import { ENVELOPE_MAX, isLabel } from './envelope.js'
import { ClusterListeners } from './events.js'
import type { EpochSink, LogMessage } from './log.js'
import { Publication, type Step } from './publication.js'
import { decodeSavedPublisher, encodeSavedPublisher, type SavedPublisher } from './resumable.js'

/** Options of {@link publishEpochs}. */
export interface PublishOptions {
  /** Where the messages go: what `natsSink()`, `redisSink()` or `ipcSink()` returned. */
  readonly sink: EpochSink
  /**
   * Time between two cuts in ms, a whole number from 1 to 2^31 - 1. Readers that ask for a cut get
   * it at once, and at most 20 of them a second.
   */
  readonly everyMs: number
  /**
   * The label of this process: 1 to 64 letters, digits, `-` and `_`. Two publishers may have the
   * same label. Default: the host's name and the process id.
   */
  readonly node?: string | undefined
  /**
   * After so many ms without a message, the publisher sends one of about 70 bytes, which says that
   * it lives. A whole number from 1 to 2^31 - 1, less than the `silentMs` of the readers. Default
   * 5,000.
   */
  readonly beatMs?: number | undefined
  /**
   * The namespaces that this process marks, 0 to 2^22 - 1 each, at most 4,096 of them. If the
   * process dies, readers take the keys of these namespaces for dirty, and no others. Mark no key
   * outside of them; see {@link Publisher.addNamespaces}. With `resume`, those that were declared
   * before stay declared. Default: those that the consumer was opened for. If it was opened for all,
   * none are declared.
   */
  readonly namespaces?: readonly number[] | undefined
  /**
   * The publisher calls it after each cut that has keys. It sends the result, at most 64 bytes,
   * with the epoch. It can be a position of the database that a replica must have reached before a
   * reader reads there. If it throws, the publisher keeps the keys and tries again.
   */
  readonly tag?: (() => Uint8Array | string) | undefined
  /**
   * 'fingerprint': of text keys only 64-bit fingerprints leave the process. Readers can then ask
   * `has()` for a text, and not list it: an epoch with such texts has `exact: false`, the precision
   * 'superset' and the reason 'overflow'. Default 'exact'.
   */
  readonly text?: 'exact' | 'fingerprint' | undefined
  /**
   * What {@link Publisher.save} returned before the process was restarted. Use the same bytes once
   * only, together with the bytes of `tracker.save()` from the same moment.
   */
  readonly resume?: Uint8Array | undefined
  /**
   * If it aborts before the publisher has begun, publishEpochs() rejects. Later it acts as close().
   */
  readonly signal?: AbortSignalLike | undefined
}

/**
 * Lists what a publisher tells its listeners, by the event's name; see {@link Publisher.on}.
 *
 * @example
 * ```js
 * import { DirtyTracker } from 'dirtyring'
 * import { publishEpochs } from 'dirtyring/cluster'
 * import { ipcHub } from 'dirtyring/ipc'
 *
 * const tracker = await DirtyTracker.create({ maxConsumers: 1 })
 * const sink = ipcHub().sink()
 * const publisher = await publishEpochs(tracker.consumer('cluster'), { sink, everyMs: 100 })
 * publisher.on('away', ({ error }) => console.warn('the log does not answer', error.message))
 * await publisher.close()
 * await tracker.stop()
 * ```
 */
export interface PublisherEvents {
  /** The engine does not answer. The publisher goes on trying, and the consumer keeps the keys. */
  away: {
    /** What the sink rejected with. */
    error: Error
  }
  /** The engine answers again. */
  back: {
    /** How long it was away, in ms. */
    awayMs: number
  }
  /** Something is wrong, and the publisher goes on. */
  warning: {
    /** What it is, in a sentence. */
    message: string
    /** What was thrown, if anything was. */
    error?: unknown
  }
  /**
   * The publisher has ended without its last message. Without a listener it is a process warning.
   */
  error: {
    /** Why. */
    error: unknown
  }
}

/** Keys that are marked and not published have so long, in ms, before a cut that is asked for. */
const FLUSH_MS = 250
const CLOSE_MS = 5000
const BEAT_MS = 5000
/** What one message of an epoch has at most. */
const MESSAGE_MAX = 900_000
const MESSAGE_MIN = 4096
const SINK_MIN = 1 << 16
const OPTIONS = [
  'sink',
  'everyMs',
  'node',
  'beatMs',
  'namespaces',
  'tag',
  'text',
  'resume',
  'signal',
] as const

/**
 * Appends the epochs of a named consumer to a log. Readers in other processes and on other hosts
 * get them from there: see {@link openCluster}.
 *
 * Write no shared data before the promise resolves. It resolves when the log has this publisher's
 * first message. From then on readers notice its death. It retries while the engine is away.
 *
 * From then on the publisher is the consumer's only reader. While the engine is away, the
 * consumer's backlog grows, up to the tracker's `maxKeysPerEpoch`, and no mark ever waits.
 * `tracker.stop()` brings the last epoch into the log, and then the message that this publisher
 * ended cleanly. Await {@link Publisher.close} before the process ends.
 *
 * If the process ends without that, readers take all that it may have written for dirty, once.
 *
 * A publisher keeps the process alive only while one of its promises is pending. It belongs to the
 * tracker's thread.
 *
 * @param consumer - of this process's tracker. Open it before any key is marked. Otherwise the
 * first epoch has the reason 'fresh', and stands for all keys
 * @param options - see {@link PublishOptions}
 * @returns a promise of the publisher
 * @throws The promise rejects with:
 *
 * - `signal.reason` if the signal aborts
 * - TypeError or RangeError if an argument is not allowed
 * - `ERR_DIRTYRING_BUSY` if an epochs() loop or another publisher reads the consumer
 * - `ERR_DIRTYRING_CLOSED` if the consumer is closed
 * - `ERR_DIRTYRING_STOPPED` after stop()
 * - `ERR_DIRTYRING_BAD_STATE` if `resume` is damaged
 * - the sink's errors, except for `ERR_DIRTYRING_AWAY`
 *
 * @example
 * ```js
 * import { DirtyTracker } from 'dirtyring'
 * import { openCluster, publishEpochs } from 'dirtyring/cluster'
 * import { ipcHub } from 'dirtyring/ipc'
 *
 * const hub = ipcHub() // its ends are sinks and sources, as natsSink() and natsSource()
 * const tracker = await DirtyTracker.create({ maxConsumers: 1 })
 * const publisher = await publishEpochs(tracker.consumer('cluster'), {
 *   sink: hub.sink(),
 *   everyMs: 100,
 * })
 * const cluster = openCluster({ source: hub.source(), from: 'now' })
 * await cluster.ready()
 * const writer = tracker.openWriter()
 * writer.mark(42)
 * await cluster.consume((epoch) => console.log(...epoch)) // 42
 * await tracker.stop()
 * await publisher.close()
 * await cluster.close()
 * await hub.close()
 * ```
 */
export async function publishEpochs(
  consumer: Consumer,
  options: PublishOptions,
): Promise<Publisher> {
  const checked = checkOptions(options)
  throwIfAborted(checked.signal)
  const hold = holdConsumer(consumer)
  if (hold === undefined) {
    const advice = 'It comes from the same copy of this package: tracker.consumer("cluster").'
    throw invalidArg('consumer', 'an open Consumer', consumer, advice)
  }
  const publisher = makePublisher(hold, checked)
  return publisher
}

let makePublisher: (hold: Hold, options: CheckedOptions) => Promise<Publisher>

/** Something that a call waits for. */
interface Waiter {
  readonly isDone: () => boolean
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/**
 * Appends epochs to a log: {@link publishEpochs} makes one.
 *
 * @example
 * ```js
 * import { DirtyTracker } from 'dirtyring'
 * import { publishEpochs } from 'dirtyring/cluster'
 * import { ipcHub } from 'dirtyring/ipc'
 *
 * const sink = ipcHub().sink()
 * const tracker = await DirtyTracker.create({ maxConsumers: 1 })
 * const to = { sink, everyMs: 100, node: 'a' }
 * const publisher = await publishEpochs(tracker.consumer('cluster'), to)
 * console.log(publisher.node, publisher.instance.length) // a 32
 * await publisher.close() // the tracker goes on
 * await tracker.stop()
 * ```
 */
export class Publisher implements AsyncDisposable {
  readonly #hold: Hold
  readonly #options: CheckedOptions
  readonly #publication: Publication
  readonly #encoder: EpochEncoder
  readonly #listeners = new ClusterListeners<PublisherEvents>(['away', 'back', 'warning', 'error'])
  readonly #forget: (() => void)[] = []
  readonly #waiters = new Set<Waiter>()
  /** Aborts a cut that is pending when the publisher is over. */
  readonly #over = new AbortController()
  /** Resolves when the loop has ended, whatever came of it. */
  readonly #ran: Promise<void>
  #state: 'running' | 'closed' | 'failed' | 'gave up' = 'running'
  #error: unknown
  /** The epoch of the cut under way, and whether it goes out as everything. */
  #epoch: SealedEpoch | undefined
  #asEverything = false
  /** The keys that were marked before are not all in the consumer: see SavedPublisher. */
  #isUnsure: boolean
  #isClosing = false
  #maxBytes: number
  #awaySinceMs: number | undefined
  /** What the last cut failed of, so that a warning is told once. */
  #cutError: string | undefined
  #wake: () => void = () => undefined
  #closing: Promise<void> | undefined
  #saved: Uint8Array | undefined

  static {
    makePublisher = async (hold, options) => {
      const publisher = Publisher.#make(hold, options)
      await publisher.#begin()
      return publisher
    }
  }

  private constructor(pass: typeof BY_LIBRARY, hold: Hold, options: CheckedOptions) {
    checkByLibrary(pass, 'Publisher', 'Call await publishEpochs(consumer, options).')
    const { node, everyMs, beatMs, sink, resume } = options
    this.#hold = hold
    this.#options = options
    // A clock that is undefined says nothing: two that are undefined are not the same position.
    this.#isUnsure =
      resume?.at !== undefined && (resume.clock === undefined || hold.resumed !== resume.clock)
    this.#maxBytes = Math.min(MESSAGE_MAX, sink.maxMessageBytes - ENVELOPE_MAX - EPOCH_BODY_MAX)
    this.#encoder = createEncoder({ onWarning: (message) => this.#warn(message) })
    this.#publication = new Publication(
      {
        node,
        everyMs,
        beatMs,
        namespaces: options.namespaces ?? hold.wanted,
        resume: resume?.at,
        draw: () => randomBytes(16).toString('hex'),
        wallMs,
        onTrouble: (trouble) => this.#warn(TROUBLE[trouble]),
      },
      nowMs(),
    )
    // The sink comes first: if it throws, there is no listener to forget.
    const forgetCut = sink.onCut((request) => {
      this.#publication.request(request)
      this.#wake()
    })
    this.#forget.push(
      forgetCut,
      hold.onStop(() => {
        this.#publication.close()
        this.#wake()
      }),
    )
    this.#ran = this.#run()
  }

  /** If the sink throws, the consumer is free again. */
  static #make(hold: Hold, options: CheckedOptions): Publisher {
    try {
      return new Publisher(BY_LIBRARY, hold, options)
    } catch (error) {
      hold.end()
      throw error
    }
  }

  /** The label of this process in the log. */
  get node(): string {
    return this.#publication.node
  }

  /**
   * Identifies this publisher in the log: 32 hexadecimal digits. If this process stores it in the
   * rows that it writes, a reader can select them after its death. A copied virtual machine has the
   * same instance as its original. If the log shows that, the publisher draws another one, and
   * tells a 'warning'.
   */
  get instance(): string {
    return this.#publication.instance!
  }

  /**
   * Resolves when the log has all that was published before the call. It also asks writers to
   * publish what they have staged, and waits up to 250 ms for them.
   *
   * @throws (rejects with) `ERR_DIRTYRING_CLOSED` after close(), and the error that has ended the
   * publisher
   */
  async appended(): Promise<void> {
    this.#checkOpen()
    const cut = this.#publication.ask()
    await this.#until(() => this.#publication.isDone(cut))
  }

  /**
   * Declares more namespaces. Await it before you mark the first key of one of them. It does
   * nothing if publishEpochs() declared none, because any key may be marked then.
   *
   * @param namespaces - 0 to 2^22 - 1 each, at most 4,096 with those declared before; of more, none is
   * declared
   * @returns a promise that resolves when the log has them
   * @throws (rejects with) TypeError or RangeError if the list is not allowed,
   * `ERR_DIRTYRING_CLOSED` after close(), and the error that has ended the publisher
   */
  async addNamespaces(namespaces: readonly number[]): Promise<void> {
    const list = checkNamespaces('namespaces', namespaces)
    this.#checkOpen()
    const { size } = this.#publication.declaredWith(list)
    const expected = `at most ${DECLARED_MAX} with those declared before`
    if (size > DECLARED_MAX) throw outOfRange('namespaces', expected, size)
    const ticket = this.#publication.addNamespaces(list)
    await this.#until(() => this.#publication.isDeclared(ticket))
  }

  /**
   * Appends what was published before, and then the message that this publisher ended cleanly. It
   * closes the sink, and leaves the client open. The consumer then has no reader, and another one
   * may read it. Write no more shared data, because readers would not learn of it. A second call
   * returns the promise of the first.
   *
   * @param options - `timeoutMs`: how long it tries while the engine is away, a whole number from 0
   * to 2^31 - 1. Default 5,000
   * @throws (rejects with) `ERR_DIRTYRING_AWAY` if the time was too short, and with the error that
   * has ended the publisher. If the time was too short, the consumer has the keys, and save() lets
   * the next process go on
   */
  async close(options: { readonly timeoutMs?: number | undefined } = {}): Promise<void> {
    const { timeoutMs = CLOSE_MS } = checkBag('options', options, ['timeoutMs'])
    const ms = checkWhole('options.timeoutMs', timeoutMs, 0, TIMER_MS_MAX)
    this.#closing ??= this.#close(ms)
    return this.#closing
  }

  /**
   * Returns what the next process needs to go on as the same publisher. Call it after close(), if
   * the engine was away then. With it, no reader has to take all keys for dirty because of the
   * restart. Save the tracker too, and give both to the next process, once.
   *
   * @returns bytes for the option `resume`: the message under way, and some bytes more
   * @throws `ERR_DIRTYRING_BUSY` before close() has settled
   *
   * @example
   * ```js
   * import { DirtyTracker } from 'dirtyring'
   * import { publishEpochs } from 'dirtyring/cluster'
   *
   * async function end(tracker, consumer, publisher) {
   *   await tracker.stop()
   *   await publisher.close().catch((error) => console.warn(error.message))
   *   return { state: tracker.save(), clock: consumer.clock, position: publisher.save() }
   * }
   * // In the next process:
   * async function goOn({ state, clock, position }, sink) {
   *   const tracker = await DirtyTracker.create({ maxConsumers: 1, resume: state })
   *   const consumer = tracker.consumer('cluster', { since: clock })
   *   return publishEpochs(consumer, { sink, everyMs: 100, resume: position })
   * }
   * ```
   */
  save(): Uint8Array {
    if (this.#saved !== undefined) return this.#saved
    throw new DirtyRingError(
      'ERR_DIRTYRING_BUSY',
      'the publisher runs: await publisher.close() before publisher.save()',
    )
  }

  /**
   * Calls `listener` at each event of that name, in a microtask. A listener that throws is reported
   * as an uncaught exception, and harms nothing else.
   *
   * @param event - see {@link PublisherEvents}
   * @param listener - called with what the event tells
   * @returns the function that ends it
   * @throws TypeError and RangeError if an argument is not allowed
   */
  on<E extends keyof PublisherEvents>(
    event: E,
    listener: (event: PublisherEvents[E]) => void,
  ): () => void {
    return this.#listeners.add(event, listener)
  }

  /** Calls close(). If the engine is away, a process warning says that the end was not clean. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.close()
    } catch (error) {
      if (!isAway(error)) throw error
      watching.warn((error as Error).message)
    }
  }

  /** One line. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    const { node, instance } = this.#publication
    return `Publisher { node: '${node}', instance: '${instance}', state: '${this.#state}' }`
  }

  // ------------------------------------------------------------------------------ beginning and end

  /** Resolves when the log has the first message. */
  async #begin(): Promise<void> {
    const { signal } = this.#options
    const abort = (): void => {
      if (this.#publication.isOpen) this.close().catch(() => undefined)
      else this.#fail(signal?.reason, true)
    }
    signal?.addEventListener('abort', abort)
    this.#forget.push(() => signal?.removeEventListener('abort', abort))
    await this.#until(() => this.#publication.isOpen)
  }

  async #close(timeoutMs: number): Promise<void> {
    if (this.#state === 'failed') throw this.#error as Error
    this.#isClosing = true
    this.#publication.close()
    const isOver = { resolve: (): void => undefined }
    const late = new Promise<void>((resolve) => (isOver.resolve = resolve))
    const timer = setTimeout(isOver.resolve, timeoutMs)
    const waiter = { isDone: () => false, resolve: () => undefined, reject: () => undefined }
    this.#waiters.add(waiter) // keeps the process alive
    this.#wake()
    await Promise.race([this.#ran, late])
    this.#waiters.delete(waiter)
    clearTimeout(timer)
    if (this.#state === 'running') {
      this.#error = new DirtyRingError(
        'ERR_DIRTYRING_AWAY',
        `the engine did not take the last messages of publisher ${this.node} in ${timeoutMs} ms. ` +
          'Their keys are in the consumer. Call tracker.save() and publisher.save() for the next ' +
          'process; otherwise readers take all keys for dirty',
      )
      await this.#end('gave up')
    }
    if (this.#error !== undefined) throw this.#error as Error
  }

  #fail(error: unknown, isSilent = false): void {
    if (this.#state !== 'running') return
    this.#error = error
    void this.#end('failed')
    if (isSilent || this.#listeners.tell('error', { error })) return
    if (!this.#publication.isOpen) return // publishEpochs() rejects with it
    const why = messageOf(error)
    watching.warn(`publisher ${this.node} has ended without its last message: ${why}`)
  }

  /** From here on nothing is appended. An epoch that is not in the log goes back. */
  async #end(state: 'closed' | 'failed' | 'gave up'): Promise<void> {
    this.#state = state
    const at = this.#publication.resumable
    this.#over.abort()
    for (const forget of this.#forget.splice(0)) forget()
    const epoch = this.#epoch
    this.#epoch = undefined
    if (epoch?.last === false && epoch.state === 'sealed' && !this.#hold.isStopCalled)
      await epoch.restore().catch(() => undefined)
    this.#hold.end()
    this.#saved = encodeSavedPublisher({ at, clock: this.#hold.clock })
    this.#settle()
    this.#wake()
    await Promise.allSettled([this.#encoder.close(), this.#options.sink.close()])
  }

  #checkOpen(): void {
    if (this.#state === 'failed') throw this.#error as Error
    if (this.#state === 'running' && !this.#isClosing) return
    throw new DirtyRingError('ERR_DIRTYRING_CLOSED', `publisher ${this.node} is closed`)
  }

  /** Resolves when it is so. Meanwhile the process is kept alive. */
  #until(isDone: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiters.add({ isDone, resolve, reject })
      this.#settle()
      this.#wake()
    })
  }

  #settle(): void {
    for (const waiter of this.#waiters) {
      if (waiter.isDone()) waiter.resolve()
      else if (this.#state !== 'running') {
        const closed = `publisher ${this.node} was closed before`
        waiter.reject(this.#error ?? new DirtyRingError('ERR_DIRTYRING_CLOSED', closed))
      } else continue
      this.#waiters.delete(waiter)
    }
  }

  #warn(message: string, error?: unknown): void {
    this.#listeners.tell('warning', error === undefined ? { message } : { message, error })
  }

  // ------------------------------------------------------------------------------------- the loop

  async #run(): Promise<void> {
    await Promise.resolve() // the constructor has to end first
    try {
      while (this.#state === 'running') {
        const step = this.#publication.next(nowMs())
        if (step.do === 'end') await this.#end('closed')
        else await this.#do(step)
        this.#settle()
      }
    } catch (error) {
      this.#fail(error)
    }
  }

  async #do(step: Exclude<Step, { do: 'end' }>): Promise<void> {
    if (step.do === 'append') await this.#append(step.message)
    else if (step.do === 'last') await this.#askLast(step.instance)
    else if (step.do === 'cut') await this.#cut(step.isAsked)
    else if (step.do === 'commit') this.#commit()
    else await this.#sleep(step.ms)
  }

  async #append(message: LogMessage): Promise<void> {
    let answer
    try {
      answer = await this.#options.sink.append(message)
    } catch (error) {
      if (this.#state !== 'running') return
      if (isAway(error)) this.#noteAway(error as Error)
      else if (isTooLarge(error)) await this.#shrink(error)
      else throw error
      return
    }
    if (this.#state !== 'running') return
    if (answer === 'appended') this.#publication.appended(nowMs())
    else if (answer === 'refused') this.#publication.refused()
    else throw invalidArg('sink.append()', `'appended' or 'refused'`, answer)
    this.#noteBack()
  }

  async #askLast(instance: string): Promise<void> {
    let last
    try {
      last = await this.#options.sink.last(instance)
    } catch (error) {
      if (this.#state !== 'running') return
      if (!isAway(error)) throw error
      this.#noteAway(error as Error)
      return
    }
    if (this.#state !== 'running') return
    this.#publication.found(last, nowMs())
    this.#noteBack()
  }

  #noteAway(error: Error): void {
    this.#publication.away(nowMs())
    if (this.#awaySinceMs !== undefined) return
    this.#awaySinceMs = nowMs()
    this.#listeners.tell('away', { error })
  }

  #noteBack(): void {
    if (this.#awaySinceMs === undefined) return
    this.#listeners.tell('back', { awayMs: nowMs() - this.#awaySinceMs })
    this.#awaySinceMs = undefined
  }

  /** The engine takes less than it said: cuts again, into parts of half the size. */
  async #shrink(error: unknown): Promise<void> {
    const isSmall = this.#maxBytes / 2 < MESSAGE_MIN
    if (isSmall || !this.#publication.tooLarge(nowMs())) throw error
    this.#maxBytes = Math.floor(this.#maxBytes / 2)
    this.#warn(`the engine refuses large messages; from here on they have ${this.#maxBytes} bytes`)
    await this.#giveBack()
  }

  async #cut(isAsked: boolean): Promise<void> {
    try {
      if (isAsked) await this.#flush()
      if (this.#isNothingToDo(isAsked)) {
        this.#publication.sealed([])
        return
      }
      const epoch = (this.#epoch ??= await this.#seal())
      if (this.#state !== 'running') return
      this.#asEverything = this.#isUnsure || !this.#hold.isWhole
      const isEmpty = !this.#asEverything && epoch.exact && epoch.size === 0
      const tag = isEmpty ? undefined : this.#tag()
      const messages = isEmpty ? [] : await this.#encode(epoch)
      if (this.#state !== 'running') return
      if (isEmpty) this.#epoch = undefined // it is settled from the beginning
      this.#publication.sealed(messages, tag)
      this.#cutError = undefined
    } catch (error) {
      if (this.#state !== 'running') return
      await this.#noteCutFailed(error)
    }
  }

  /** A cut that no caller asked for would find nothing. */
  #isNothingToDo(isAsked: boolean): boolean {
    const { isDirty, isWhole, isClosed, isStopCalled } = this.#hold
    const mayBe = isAsked || this.#isClosing || this.#epoch !== undefined || this.#isUnsure
    return !mayBe && !isDirty && isWhole && !isClosed && !isStopCalled
  }

  /** After stop() the last epoch, otherwise the next one. */
  async #seal(): Promise<SealedEpoch> {
    if (!this.#hold.isStopCalled) {
      try {
        return await this.#hold.cut(this.#over.signal)
      } catch (error) {
        if (!this.#hold.isStopCalled) throw error
      }
    }
    const last = await this.#hold.last()
    this.#publication.close(true)
    return last
  }

  /** Has writers publish what they have staged, so that the cut has it, for a while. */
  async #flush(): Promise<void> {
    if (this.#hold.isStopCalled) return
    const patience = new AbortController()
    const timer = setTimeout(() => patience.abort(), FLUSH_MS)
    try {
      await this.#hold.flushed(patience.signal)
    } catch {
      // What is staged is in a later epoch. The cut itself says what else is wrong.
    } finally {
      clearTimeout(timer)
    }
  }

  #tag(): Uint8Array | undefined {
    const tag = this.#options.tag?.()
    if (tag === undefined) return undefined
    const bytes = typeof tag === 'string' ? new TextEncoder().encode(tag) : tag
    if (typedArrayName(bytes) !== 'Uint8Array')
      throw invalidArg('options.tag()', 'a Uint8Array or a string', tag)
    const length = viewLength(bytes, 'options.tag()')
    if (length > TAG_MAX) throw outOfRange('options.tag()', `at most ${TAG_MAX} bytes`, length)
    return bytesOf(bytes, length).slice()
  }

  async #encode(epoch: SealedEpoch): Promise<Uint8Array[]> {
    if (this.#asEverything) return everythingMessages(this.#hold.wanted)
    return this.#encoder.encodeEpoch(epoch, { maxBytes: this.#maxBytes, text: this.#options.text })
  }

  /** The keys stay where they are, and the publisher tries again; unless it cannot get any. */
  async #noteCutFailed(error: unknown): Promise<void> {
    if (this.#isClosing || this.#hold.isClosed || this.#hold.isStopCalled) throw error
    await this.#giveBack()
    this.#publication.cutFailed(nowMs())
    const why = messageOf(error)
    if (this.#cutError === why) return
    this.#cutError = why
    this.#warn(`the keys are kept, and tried again: ${why}`, error)
  }

  async #giveBack(): Promise<void> {
    const epoch = this.#epoch
    if (epoch === undefined || epoch.last) return // it stays in hand
    if (this.#hold.isStopCalled) {
      this.#publication.postponeLast() // it can't be restored now, and stays in hand too
      return
    }
    this.#epoch = undefined
    await epoch.restore()
  }

  #commit(): void {
    this.#hold.settle(this.#epoch!, this.#asEverything)
    this.#epoch = undefined
    this.#isUnsure = false
  }

  /** Until there is something to do, `ms` at most. */
  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake(), Math.min(Math.max(0, ms), TIMER_MS_MAX))
      if (this.#waiters.size === 0) unref(timer)
      this.#wake = () => {
        clearTimeout(timer)
        this.#wake = () => undefined
        resolve()
      }
    })
  }
}

const TROUBLE = {
  lost: 'the log has lost messages of this publisher; readers without them take all keys for dirty',
  taken: 'another process appends as this one does, so this publisher goes on as another instance',
}

/** An epoch that stands for all keys. */
function everythingMessages(wanted: readonly number[] | undefined): Uint8Array[] {
  const header = { ...EMPTY_SLOT, flags: FLAG_FRESH, wanted }
  const words = new Int32Array(0) as never
  const parts = { words, header, log: 0, arena: 0, filter: undefined }
  return encodeKeys({ ...parts, isBigint: false, hasPrints: false }, {})
}

function isAway(error: unknown): boolean {
  return isDirtyRingError(error) && error.code === 'ERR_DIRTYRING_AWAY'
}

function isTooLarge(error: unknown): boolean {
  return isDirtyRingError(error) && error.code === 'ERR_DIRTYRING_TOO_LARGE'
}

// -------------------------------------------------------------------------------------- options

interface CheckedOptions {
  readonly sink: EpochSink
  readonly everyMs: number
  readonly node: string
  readonly beatMs: number
  readonly namespaces: readonly number[] | undefined
  readonly tag: (() => Uint8Array | string) | undefined
  readonly text: 'exact' | 'fingerprint'
  readonly resume: SavedPublisher | undefined
  readonly signal: AbortSignalLike | undefined
}

function checkOptions(options: PublishOptions): CheckedOptions {
  checkBag('options', options, OPTIONS)
  const { sink, everyMs, beatMs = BEAT_MS, text = 'exact', tag, signal } = options
  checkSink(sink)
  checkWhole('options.everyMs', everyMs, 1, TIMER_MS_MAX)
  checkWhole('options.beatMs', beatMs, 1, TIMER_MS_MAX)
  checkChoice('options.text', text, ['exact', 'fingerprint'])
  if (tag !== undefined) checkFunction('options.tag', tag)
  if (signal !== undefined && !isSignal(signal))
    throw invalidArg('options.signal', 'an AbortSignal', signal)
  const namespaces =
    options.namespaces === undefined
      ? undefined
      : checkNamespaces('options.namespaces', options.namespaces)
  const resume = checkResume(options.resume)
  const node = checkNode(options.node)
  return { sink, everyMs, node, beatMs, namespaces, tag, text, resume, signal }
}

function checkSink(sink: unknown): void {
  const expected = 'a sink: what natsSink(), redisSink() or ipcSink() returned'
  if (typeof sink !== 'object' || sink === null || isRevoked(sink))
    throw invalidArg('options.sink', expected, sink)
  for (const name of ['append', 'last', 'onCut', 'close'] as const)
    checkFunction(`options.sink.${name}`, (sink as Partial<EpochSink>)[name])
  const { maxMessageBytes } = sink as EpochSink
  checkWhole('options.sink.maxMessageBytes', maxMessageBytes, SINK_MIN, Number.MAX_SAFE_INTEGER)
}

function checkNode(node: unknown): string {
  if (node === undefined) return `${hostname()}-${pid}`.replace(/[^A-Za-z0-9_-]/g, '-').slice(-64)
  const expected = '1 to 64 letters, digits, - and _'
  if (typeof node !== 'string') throw invalidArg('options.node', expected, node)
  if (isLabel(node)) return node
  const advice = "Replace the others, as in name.replace(/[^A-Za-z0-9_-]/g, '-')."
  throw outOfRange('options.node', expected, node, advice)
}

function checkNamespaces(name: string, list: unknown): readonly number[] {
  const expected = `an array of at most ${DECLARED_MAX} namespaces`
  if (isRevoked(list) || !Array.isArray(list)) throw invalidArg(name, expected, list)
  if (!(list.length <= DECLARED_MAX)) throw outOfRange(name, expected, list.length)
  const namespaces = new Set<number>()
  for (let i = 0; i < list.length; i++)
    namespaces.add(checkWhole(`${name}[${i}]`, list[i], 0, NAMESPACE_MAX))
  return [...namespaces]
}

function checkResume(resume: unknown): SavedPublisher | undefined {
  if (resume === undefined) return undefined
  if (typedArrayName(resume) !== 'Uint8Array') {
    const advice = 'Pass what publisher.save() returned, or undefined at the first start.'
    throw invalidArg('options.resume', 'a Uint8Array, or undefined', resume, advice)
  }
  return decodeSavedPublisher(bytesOf(resume, viewLength(resume, 'options.resume')))
}
