import { platform } from '#platform'
import { cannotGoOn } from '../aggregator/supervisor.js'
import { threadIdFor } from '../platform/thread.js'
import { DirtyRingError, invalidArg, outOfRange } from '../errors.js'
import type { SealedEpoch } from '../epochs/sealed-epoch.js'
import { FAILED, TRACKER_THREAD } from '../memory/map.js'
import { startAt, type Start } from '../memory/start.js'
import { checkHost, createMemory, handleOf, type Memory } from '../memory/memory.js'
import {
  memoryFootprint,
  resolveOptions,
  settingsFor,
  type ResolvedOptions,
  type TrackerHandle,
  type TrackerOptions,
} from '../options.js'
import { randomSeed, secretsOf } from '../set/mix.js'
import { reserveNative } from '../set/native/native.js'
import { publishOwn } from '../writer/lanes.js'
import type { EpochReader } from './epoch-reader.js'
import { openWriterIn } from '../writer/open.js'
import type { Writer } from '../writer/writer.js'
import { checkBag } from '../check.js'
import {
  abortable,
  isAborted,
  signalOf,
  throwIfAborted,
  until,
  type AbortSignalLike,
} from '../signal.js'
import { AggregatorHost, type AggregatorHealth } from './aggregator-host.js'
import { Control, stopped, type Advance } from './control.js'
import { dump } from './dump.js'
import { Listeners, type TrackerEvents } from './events.js'
import { Loop } from './loop.js'
import { readShared, type TrackerStats } from './stats.js'
import { Watch } from './watch.js'
import { clearInterval, clearTimeout, nowMs, setInterval, setTimeout } from '../timers.js'

/** Options of {@link DirtyTracker.advanceEpoch} and {@link DirtyTracker.consume}. */
export interface AdvanceOptions {
  /**
   * Aborted before the cut: the epoch stays open. Aborted after it: the library gives the keys back
   * by itself, and the number is skipped.
   */
  signal?: AbortSignalLike | undefined
  /** No free epoch slot: wait (default), or reject at once with ERR_DIRTYRING_NO_EPOCH_SLOT. */
  onBusy?: 'wait' | 'reject' | undefined
}

/** Options of {@link DirtyTracker.epochs}. */
export interface EpochsOptions {
  /** Time between two cuts, in ms, 0 to 2^31 - 1; a slow body delays the next. */
  everyMs: number
  /** Ends the iteration, without an error. */
  signal?: AbortSignalLike | undefined
  /**
   * Do not yield epochs without keys. An epoch that is not exact, and the last one, are always
   * yielded. Default true.
   */
  skipEmpty?: boolean | undefined
}

/** Options of {@link DirtyTracker.stop}. */
export interface StopOptions {
  /**
   * How long open writers are given to publish what they have staged, in ms, 0 to 2^31 - 1. Default
   * 100.
   */
  graceMs?: number | undefined
  /**
   * Deals with the last epoch, which is committed when this returns or resolves. When it throws or
   * rejects, stop() rejects with the same error, the epoch stays readable, and stop() may be called
   * again. It must not await another stop(), with `consume` or without, because that one waits for
   * it.
   */
  consume?: ((epoch: SealedEpoch) => unknown) | undefined
}

const GRACE_POLL_MS = 1
/**
 * Between refusing marks and STOP: by then every core's earlier stores have reached the others, see
 * docs/memory-model.md.
 */
const STORE_MS = 1
const FLUSHED_POLL_MS = 10
const INTERVAL_MAX = 2 ** 31 - 1

/**
 * Which keys did the workers change since last time? A tracker owns the shared memory, keeps the
 * aggregator running, and cuts epochs.
 *
 * It belongs to the thread that created it, and its methods are for that thread; other threads mark
 * through writers opened from its {@link DirtyTracker.handle}. It does not keep the process alive,
 * except while a promise of it is pending.
 *
 * @example
 * ```js
 * import { DirtyTracker } from 'dirtyring'
 *
 * const tracker = await DirtyTracker.create({ maxKeysPerEpoch: 100_000 })
 * const writer = tracker.openWriter()
 * writer.mark(1)
 * writer.mark(2)
 * await tracker.consume((epoch) => console.log(...epoch.ids())) // 1 2
 * await tracker.stop()
 * ```
 */
export class DirtyTracker implements EpochReader, AsyncDisposable {
  /** Pass it to other threads, in workerData or postMessage. */
  readonly handle: TrackerHandle
  /** The options, every default filled in. */
  readonly options: ResolvedOptions
  /** The set kernel in use: what 'auto' chose. */
  readonly kernel: 'wasm' | 'js'
  readonly #memory: Memory
  readonly #control: Control
  readonly #host: AggregatorHost
  readonly #watched = new WeakSet<object>()
  /** Of workers that run: a worker does not keep a tracker that has stopped. */
  readonly #unwatch = new Set<() => void>()
  #endWatching: () => void = () => undefined
  #stopCalled = false
  /**
   * The last epoch, once stop() has been called. Only the loop and stop() see this object itself;
   * other callers may get its twin.
   */
  #last: Promise<SealedEpoch> | undefined
  /** What a further stop() without `consume` resolves with. */
  #stopped: Promise<SealedEpoch> | undefined
  /** What deals with the last epoch; undefined: the caller of stop(). */
  #lastOwner: Loop | 'consume' | undefined
  #twin: SealedEpoch | undefined
  /** The epochs() loop that has begun and not ended. */
  #loop: Loop | undefined
  /** Called when stop() is: wakes what sleeps on this thread. */
  readonly #onStop = new Set<() => void>()
  readonly #listeners = new Listeners()
  readonly #watch: Watch
  #keepAlive: ReturnType<typeof setInterval> | undefined
  #hasClosed: (failure?: { reason: unknown }) => void = () => undefined
  readonly #closed = new Promise<void>((resolve, reject) => {
    this.#hasClosed = (failure) => {
      if (failure === undefined) resolve()
      else reject(failure.reason)
    }
  })

  private constructor(options: ResolvedOptions, start: Start) {
    checkHost()
    const { total } = memoryFootprint(options)
    const native = options.kernel === 'js' ? undefined : reserveNative(total)
    if (options.kernel === 'wasm' && native === undefined) {
      throw outOfRange(
        'options.kernel',
        `'auto' or 'js' where WebAssembly, or ${total} bytes of memory for it, is not to be had`,
        'wasm',
      )
    }
    const memory = createMemory(settingsFor(options), secretsOf(randomSeed()), native)
    this.kernel = native === undefined ? 'js' : 'wasm'
    startAt(memory, start)
    memory.words[TRACKER_THREAD] = threadIdFor(memory) + 1
    this.options = options
    this.handle = handleOf(memory) as unknown as TrackerHandle
    this.#memory = memory
    this.#control = new Control(memory, this.#listeners, start.epoch)
    this.#watch = new Watch(memory, this.#control, this.#listeners)
    this.#host = new AggregatorHost(memory, options.aggregator)
    this.#host.onFailure = (error) => {
      if (this.#control.isStopping && this.#host.isAbsent) this.#takeOverIfAlone()
      else this.#control.fail(error)
    }
    this.#host.onRestart = (restarts, cause) => this.#listeners.tell('restart', { restarts, cause })
    this.#control.onFail = (reason) => this.#hasClosed({ reason })
    this.#closed.catch(() => undefined)
    this.#control.onPush = () => this.#host.pump()
    this.#control.describeAggregator = () => this.#host.describeWait()
    this.#control.onPoll = () => {
      this.#host.lookForLife(this.#control.isStopping)
      this.#takeOverIfAlone()
    }
  }

  /**
   * Reserve the memory and start the aggregator; resolves when it runs. Throws (rejects with)
   * TypeError and RangeError for bad options, RangeError when the memory is not to be had,
   * `ERR_DIRTYRING_NO_SHARED_MEMORY`, and `ERR_DIRTYRING_AGGREGATOR_FAILED` when the worker cannot
   * be started.
   *
   * @example
   * ```js
   * import { DirtyTracker } from 'dirtyring'
   *
   * const tracker = await DirtyTracker.create({ aggregator: 'inline' }) // no thread: for tests, and small programs
   * tracker.openWriter().mark('user:7')
   * await tracker.consume((epoch) => console.log(epoch.has('user:7'))) // true
   * await tracker.stop()
   * ```
   */
  static async create(options: TrackerOptions = {}): Promise<DirtyTracker> {
    return DirtyTracker.createAt(options, {})
  }

  /** @internal create(), with counters that begin elsewhere than at 0. */
  static async createAt(options: TrackerOptions, start: Start): Promise<DirtyTracker> {
    const tracker = new DirtyTracker(resolveOptions(options), start)
    await tracker.#start()
    return tracker
  }

  async #start(): Promise<void> {
    await this.#host.start()
    this.#endWatching = platform.onWorkerStart((worker) => this.watch(worker))
  }

  /** Number of the open epoch; the first is 0. */
  get epoch(): number {
    return this.#control.epoch
  }

  /**
   * Resolves once stopped; rejects when the aggregator cannot be kept running: then its keys are
   * still in shared memory, and stop() delivers what it can. Nobody has to listen to it.
   */
  get closed(): Promise<void> {
    return this.#closed
  }

  /**
   * A writer on the tracker's own thread; others have {@link openWriter}. Throws
   * `ERR_DIRTYRING_NO_WRITER_SLOT` and `ERR_DIRTYRING_STOPPED`.
   */
  openWriter(): Writer {
    return openWriterIn(this.#memory)
  }

  /**
   * Harvest and free the writers of this worker when it ends, also when it is terminated. Returns
   * the same worker. In Node every worker that this thread starts after create() is watched by
   * itself, a pool's too; this is for those that were there before. Watching twice is watching
   * once. Workers that a watched worker starts are not seen from here. An 'exit' listener of yours
   * that was there first runs before the harvest is under way.
   *
   * One that has ended already is harvested now. Throws TypeError for what is no Worker, and for
   * one that was started before the library was loaded and has ended.
   *
   * @example
   * ```js
   * // main.js
   * import { Worker } from 'node:worker_threads'
   * import { DirtyTracker } from 'dirtyring'
   *
   * const worker = new Worker(new URL('./writer.js', import.meta.url)) // before there is a tracker
   * const tracker = await DirtyTracker.create()
   * tracker.watch(worker).postMessage(tracker.handle)
   * tracker.on('harvest', ({ keys }) => console.log(keys, 'harvested')) // 3 harvested
   * await new Promise((resolve) => worker.once('message', resolve))
   * await worker.terminate()
   * await tracker.consume((epoch) => console.log(...epoch.ids())) // 1 2 3
   * await tracker.stop()
   * ```
   *
   * ```js
   * // writer.js
   * import { parentPort } from 'node:worker_threads'
   * import { openWriter } from 'dirtyring'
   *
   * parentPort.once('message', (handle) => {
   *   const writer = openWriter(handle)
   *   for (const id of [1, 2, 3]) writer.mark(id)
   *   parentPort.postMessage('marked, and never published')
   *   for (;;); // until somebody terminates it
   * })
   * ```
   */
  watch<W>(worker: W): W {
    if (typeof worker === 'object' && worker !== null && this.#watched.has(worker)) return worker
    let unwatch: (() => void) | undefined
    try {
      unwatch = platform.watchWorker(worker, (threadId) => {
        if (unwatch !== undefined) this.#unwatch.delete(unwatch)
        this.#host.release(threadId)
        this.#control.reapThread(threadId)
      })
    } catch (cause) {
      throw Object.assign(invalidArg('worker', 'a Worker whose number is known', worker), { cause })
    }
    if (unwatch === undefined) throw invalidArg('worker', 'a Worker of node:worker_threads', worker)
    this.#unwatch.add(unwatch)
    this.#watched.add(worker as object)
    return worker
  }

  /**
   * Harvest and free one writer whose thread is gone for certain: a browser's worker after it said
   * goodbye. Resolves with the keys that were staged there, now in the open epoch; 0 if nobody has
   * that writer. Done to a thread that lives it breaks every promise, for its marks go on into
   * memory that is somebody else's; in Node prefer watch().
   *
   * Rejects with TypeError, RangeError for what is no writer's number, and `ERR_DIRTYRING_STOPPED`.
   *
   * @example
   * ```js
   * const id = 3 // what the worker told of its writer, before it ended
   * console.log(await tracker.reap(id)) // 0
   * ```
   */
  async reap(writerId: number): Promise<number> {
    if (typeof writerId !== 'number') throw invalidArg('writerId', 'a number', writerId)
    const { maxWriters } = this.options
    if (!Number.isInteger(writerId) || writerId < 0 || writerId >= maxWriters) {
      throw outOfRange('writerId', `a whole number, 0 to ${maxWriters - 1} (maxWriters)`, writerId)
    }
    this.#checkRunning()
    return this.#control.reapWriter(writerId)
  }

  /**
   * Close the open epoch and hand out its distinct keys. Everything published before this call is
   * in it or in an earlier one. Where an epoch slot is free and the ring has room the cut is made
   * before this returns its promise, so it may be called inside a store's write lock; else it
   * waits, and writers are never held up. Calls are served in order; two at once give two epochs.
   *
   * Rejects with `signal.reason` when aborted, with nothing lost (an abort that comes after stop()
   * is too late); with `ERR_DIRTYRING_NO_EPOCH_SLOT` where `onBusy: 'reject'` and no slot is free;
   * with `ERR_DIRTYRING_BUSY` while an epochs() loop runs; with `ERR_DIRTYRING_STOPPED` after
   * stop(); with `ERR_DIRTYRING_AGGREGATOR_FAILED` or `ERR_DIRTYRING_CORRUPT` when there is no way
   * on; with TypeError and RangeError for bad options.
   *
   * @example
   * ```js
   * writer.mark(42)
   * const epoch = await tracker.advanceEpoch()
   * try {
   *   await saveRows(epoch.ids())
   *   epoch.commit()
   * } finally {
   *   await epoch.restore() // does nothing after commit()
   * }
   * console.log(epoch.id, epoch.state) // 0 committed
   * ```
   */
  async advanceEpoch(options: AdvanceOptions = {}): Promise<SealedEpoch> {
    const { signal, onBusy } = checkAdvance(options)
    this.#checkRunning()
    this.#checkFree()
    return this.#cut(signal, onBusy)
  }

  async #cut(signal: AbortSignalLike | undefined, onBusy: 'wait' | 'reject'): Promise<SealedEpoch> {
    const startedAt = nowMs()
    this.#checkRunning()
    throwIfAborted(signal)
    if (onBusy === 'reject' && !this.#control.canSealNow) {
      const held = this.#control.unsettled.join(', ')
      throw new DirtyRingError(
        'ERR_DIRTYRING_NO_EPOCH_SLOT',
        `no free epoch slot of ${this.options.epochSlots} (epochSlots): unsettled are ${held || 'none yet'}`,
      )
    }
    publishOwn(this.#memory)
    return abortable(signal, (waiting) => {
      const advance: Advance = { ...waiting, startedAt }
      this.#control.advance(advance)
      return () => this.#control.abandon(advance)
    })
  }

  /**
   * Cuts before it returns, or does nothing and returns undefined: for use inside a store's write
   * lock, where nothing may be awaited. It first publishes what this thread's writers have staged.
   * It returns undefined if the ring has no room for that or for the cut, if no epoch slot is free,
   * and if advanceEpoch() calls wait for one. Then try again later, outside the lock.
   *
   * Inside a batch() of the same thread the cut is made without that batch: its keys are in a later
   * epoch.
   *
   * @returns a promise for the epoch, to be awaited outside the lock. It rejects as that of
   * advanceEpoch() does.
   * @throws `ERR_DIRTYRING_BUSY` while an epochs() loop runs, `ERR_DIRTYRING_STOPPED` after stop(),
   * and errors that the tracker cannot recover from.
   *
   * @example
   * ```js
   * const lock = { run: (use) => use() } // your store's
   * store.set(42, 'new')
   * writer.mark(42)
   * const { cut, snapshot } = lock.run(() => ({ cut: tracker.tryAdvanceEpoch(), snapshot: new Map(store) }))
   * if (cut !== undefined) {
   *   const epoch = await cut
   *   console.log(...epoch.ids(), snapshot.get(42)) // 42 new
   *   epoch.commit()
   * }
   * ```
   */
  tryAdvanceEpoch(): Promise<SealedEpoch> | undefined {
    const startedAt = nowMs()
    this.#checkRunning()
    this.#checkFree()
    if (!publishOwn(this.#memory)) return undefined
    let isCut = false
    const epoch = new Promise<SealedEpoch>((resolve, reject) => {
      isCut = this.#control.tryAdvance({ resolve, reject, startedAt })
    })
    if (this.#control.failure === undefined) return isCut ? epoch : undefined
    epoch.catch(() => undefined)
    throw this.#control.failure as Error
  }

  /**
   * Seal, hand the epoch to `use`, commit when it returns or resolves, restore when it throws or
   * rejects, and reject with the same error. If `use` settles the epoch itself, that stands. The
   * form to start with.
   *
   * @example
   * ```js
   * writer.mark(42)
   * await tracker.consume(async (epoch) => {
   *   if (epoch.exact) await saveRows(epoch.ids())
   *   else await saveAll()
   * })
   * console.log(tracker.stats().committed) // 1
   * ```
   */
  async consume<T>(
    use: (epoch: SealedEpoch) => T | PromiseLike<T>,
    options: AdvanceOptions = {},
  ): Promise<T> {
    if (typeof use !== 'function') throw invalidArg('use', 'a function', use)
    const epoch = await this.advanceEpoch(options)
    try {
      const result = await use(epoch)
      epoch.commit()
      return result
    } catch (error) {
      await epoch[Symbol.asyncDispose]()
      throw error
    }
  }

  /**
   * An epoch every `everyMs`, never two at once. An epoch that the body left unsettled is restored
   * before the next one, and by break, return and throw.
   *
   * The loop yields the last epoch too: when stop() is called, an epoch that the body left
   * unsettled is yielded once more, because it can no longer be restored. Then the last one comes
   * (`epoch.last`), also when it is empty or not exact, so that one loop deals with every key.
   * stop() does not wait for the body, which may itself await it. With `stop({ consume })` the loop
   * ends without the last epoch.
   *
   * Ends, without an error, when the signal aborts. Rejects as advanceEpoch() does, and with the
   * error of stop() if that one fails. Throws TypeError and RangeError for bad options, at once.
   *
   * A running loop owns the epochs, from its first next() until it ends: by return, throw, abort,
   * or with the last epoch. Meanwhile advanceEpoch(), tryAdvanceEpoch(), consume() and a second
   * loop are `ERR_DIRTYRING_BUSY`. An iterator that is dropped without return() goes on owning
   * them.
   *
   * @example
   * ```js
   * writer.mark(42)
   * setTimeout(() => tracker.stop(), 50) // a SIGTERM handler, say
   * for await (const epoch of tracker.epochs({ everyMs: 20 })) {
   *   if (epoch.exact) await saveRows(epoch.ids())
   *   else await saveAll()
   *   epoch.commit()
   *   if (epoch.last) console.log('all is saved') // all is saved
   * }
   * ```
   */
  epochs(options: EpochsOptions): AsyncIterableIterator<SealedEpoch> {
    const signal = signalOf(options, 'everyMs', 'skipEmpty')
    const everyMs = wholeNumber('options.everyMs', options.everyMs)
    const { skipEmpty = true } = options
    if (typeof skipEmpty !== 'boolean')
      throw invalidArg('options.skipEmpty', 'a boolean', skipEmpty)
    const loop = new Loop(signal)
    const epochs = this.#generate(everyMs, loop, skipEmpty)
    const end = epochs.return.bind(epochs)
    epochs.return = (value) => {
      loop.end()
      return end(value)
    }
    return epochs
  }

  async *#generate(
    everyMs: number,
    loop: Loop,
    skipEmpty: boolean,
  ): AsyncGenerator<SealedEpoch, void> {
    if (loop.aborted || this.#stopCalled) return
    this.#checkFree()
    this.#loop = loop
    try {
      yield* this.#cuts(everyMs, loop, skipEmpty)
      if (loop.aborted) return
      const last = await this.#last!
      if (loop.aborted || this.#lastOwner !== loop) return
      loop.hasLast = true
      yield last
    } finally {
      if (this.#loop === loop) this.#loop = undefined
      if (this.#lastOwner === loop && !loop.hasLast) this.#lastOwner = undefined
    }
  }

  /** The epochs before the last one: ends when the loop is aborted, and when stop() is called. */
  async *#cuts(everyMs: number, loop: Loop, skipEmpty: boolean): AsyncGenerator<SealedEpoch, void> {
    let next = nowMs() + everyMs
    for (;;) {
      await this.#sleep(next - nowMs(), loop)
      if (loop.aborted || this.#stopCalled) return
      next = Math.max(next, nowMs()) + everyMs
      let epoch: SealedEpoch
      try {
        epoch = await this.#cut(loop, 'wait')
      } catch (error) {
        if (loop.aborted || this.#stopCalled) return // stop() says how it ended
        throw error
      }
      if (skipEmpty && epoch.exact && epoch.size === 0) continue
      try {
        yield epoch
      } finally {
        if (epoch.state === 'sealed') await epoch[Symbol.asyncDispose]()
      }
      // it could not be restored any more
      if (epoch.state === 'sealed' && this.#stopCalled && !loop.aborted) yield epoch
    }
  }

  /**
   * Resolves when everything that any open writer had marked before the call is published: the next
   * cut has it all. A writer publishes when its thread marks, or when its event loop turns; one
   * whose event loop does not (a long loop, a pool's worker between tasks) holds this up: pass a
   * signal. Rejects with `signal.reason`, `ERR_DIRTYRING_STOPPED`, and the error that the tracker
   * cannot recover from.
   *
   * @example
   * ```js
   * writer.mark(42)
   * await tracker.flushed({ signal: AbortSignal.timeout(1000) })
   * const epoch = await tracker.advanceEpoch()
   * console.log(epoch.size, epoch.staged) // 1 0
   * ```
   */
  async flushed(options: { signal?: AbortSignalLike | undefined } = {}): Promise<void> {
    const signal = signalOf(options)
    throwIfAborted(signal)
    this.#checkRunning()
    const marks = this.#control.stagedMarks()
    this.#control.flushing.add(marks)
    const ended = until(
      () => {
        this.#control.poke() // who finds that the aggregator has failed
        this.#checkRunning()
        publishOwn(this.#memory)
        if (marks.every((mark) => this.#control.isPublished(mark))) return true
        this.#control.askToPublish()
        this.#control.lookForLongWaits()
        return false
      },
      FLUSHED_POLL_MS,
      signal,
    )
    await ended.finally(() => this.#control.flushing.delete(marks))
  }

  /**
   * A change that no list of keys describes (a bulk load, a truncate): the open epoch says `exact:
   * false`, reason 'everything'. In the order of the calls: an `advanceEpoch()` after it has it. It
   * cannot be refused. Throws `ERR_DIRTYRING_STOPPED`, and the error that the tracker cannot
   * recover from.
   *
   * @example
   * ```js
   * tracker.markEverything()
   * await tracker.consume((epoch) => console.log(epoch.exact, epoch.reason, epoch.has('any key'))) // false everything true
   * ```
   */
  markEverything(): void {
    this.#checkRunning()
    this.#control.markEverything()
  }

  /**
   * Resolves when everything published before the call is in the sets. Publishes the writers of the
   * calling thread first. Rejects with `signal.reason`, `ERR_DIRTYRING_STOPPED`, and the error that
   * the tracker cannot recover from.
   *
   * @example
   * ```js
   * writer.mark(42)
   * await tracker.drained()
   * console.log(tracker.stats().distinct) // 1
   * ```
   */
  async drained(options: { signal?: AbortSignalLike | undefined } = {}): Promise<void> {
    const signal = signalOf(options)
    throwIfAborted(signal)
    this.#checkRunning()
    publishOwn(this.#memory)
    return abortable(signal, (waiting) => {
      const forget = this.#control.drain(waiting)
      return () => {
        forget()
        return true
      }
    })
  }

  /**
   * What there was so far. Of a moment, not of one instant: while writers mark, two of its numbers
   * may be a batch apart. Also after stop().
   */
  stats(): TrackerStats {
    const { epoch, sealed, restored, committed, unsettled } = this.#control
    const { distinct, overflows } = this.#control.open
    return {
      epoch,
      ...readShared(this.#memory),
      distinct,
      sealed,
      restored,
      committed,
      overflows,
      unsettled,
      sealMs: this.#control.sealTimes.summary(),
      bytes: memoryFootprint(this.options),
    }
  }

  /**
   * How well the aggregator is, right now. Also after stop().
   *
   * @example
   * ```js
   * const { healthy, state, restarts } = tracker.health()
   * console.log(healthy, state, restarts) // true running 0
   * ```
   */
  health(): AggregatorHealth {
    return this.#host.health()
  }

  /**
   * A text picture of the shared memory (ring, lanes, epochs), for bug reports. No key is in it. Of
   * a moment at which other threads go on.
   *
   * @example
   * ```js
   * console.log(tracker.dump()) // …
   * ```
   */
  dump(): string {
    return dump(this.#memory)
  }

  /**
   * Listen to an event; returns the function that ends it. Listeners are called in a microtask, on
   * the tracker's thread. One that throws is reported as an uncaught exception, and harms nothing
   * else. 'overflow', 'panic' and 'stall' are found by a look every 100 ms. Throws TypeError and
   * RangeError.
   *
   * @example
   * ```js
   * const off = tracker.on('stall', ({ what, waitedMs, unsettled }) => console.warn(what, waitedMs, unsettled))
   * // …
   * off()
   * ```
   */
  on<E extends keyof TrackerEvents>(
    event: E,
    listener: (event: TrackerEvents[E]) => void,
  ): () => void {
    return this.#listeners.add(event, listener)
  }

  /** Keep the process alive until stop() or unref(). Without it only a pending call does. */
  ref(): this {
    if (!this.#stopCalled) this.#keepAlive ??= setInterval(() => undefined, INTERVAL_MAX)
    return this
  }

  /** Do not keep the process alive: so it is to begin with. */
  unref(): this {
    clearInterval(this.#keepAlive)
    this.#keepAlive = undefined
    return this
  }

  /**
   * Ask open writers to publish and give them up to `graceMs` (0: do not ask), deliver all that is
   * published, end the aggregator, and refuse later marks. Resolves with the last epoch; if writers
   * still had keys staged it says `exact: false`, reason 'unpublished'. Cuts already made are
   * served, `advanceEpoch()` calls that wait for a slot reject; epochs that are not settled stay
   * readable, and restore() on them rejects.
   *
   * The last epoch has one owner, which settles it by `commit()`:
   * - `consume`, if it is given. Then stop() resolves when the epoch is committed, and an epochs()
   *   loop that runs ends without it.
   * - Else the epochs() loop that was running when stop() was called. It gets the epoch when it
   *   asks for the next one; stop() does not wait for that, and resolves with a read-only copy. If
   *   the loop ends before it got the epoch, the copy's `commit()` settles it.
   * - Else the caller.
   *
   * A second stop() is the first. `consume` of a later call is called if the epoch is not settled
   * yet.
   *
   * Rejects with the error of `consume`; with errors that the tracker cannot recover from; with
   * TypeError and RangeError for bad options.
   *
   * @example
   * ```js
   * writer.mark(42)
   * const last = await tracker.stop({ consume: (epoch) => (epoch.exact ? saveRows(epoch.ids()) : saveAll()) })
   * console.log(last.size, last.exact, last.state) // 1 true committed
   * ```
   */
  async stop(options: StopOptions = {}): Promise<SealedEpoch> {
    checkBag('options', options, ['graceMs', 'consume'])
    const graceMs =
      options.graceMs === undefined ? 100 : wholeNumber('options.graceMs', options.graceMs)
    const { consume } = options
    if (consume !== undefined && typeof consume !== 'function')
      throw invalidArg('options.consume', 'a function', consume)
    if (this.#last === undefined) {
      this.#stopCalled = true
      if (this.#loop?.aborted === false) this.#lastOwner = this.#loop
      this.#last = this.#stop(graceMs)
    }
    if (consume === undefined && this.#stopped !== undefined) return this.#stopped
    const stopped =
      consume === undefined
        ? this.#lastForCaller(this.#last)
        : this.#consumeLast(this.#last, consume, this.#stopped)
    this.#stopped = stopped
    stopped.catch(() => {
      if (this.#stopped === stopped) this.#stopped = undefined // the next one may deal with it
    })
    return stopped
  }

  async #lastForCaller(last: Promise<SealedEpoch>): Promise<SealedEpoch> {
    const epoch = await last
    if (this.#lastOwner !== undefined) {
      this.#twin ??= epoch.twin(() => {
        const owner = this.#lastOwner
        return owner === undefined || (owner !== 'consume' && owner.aborted && !owner.hasLast)
      })
    }
    return this.#twin ?? epoch
  }

  async #consumeLast(
    last: Promise<SealedEpoch>,
    consume: (epoch: SealedEpoch) => unknown,
    before: Promise<SealedEpoch> | undefined,
  ): Promise<SealedEpoch> {
    if (!(this.#lastOwner instanceof Loop && this.#lastOwner.hasLast)) this.#lastOwner = 'consume'
    try {
      const epoch = await last
      await before?.catch(() => undefined) // another call's `consume`
      if (epoch.state === 'sealed') {
        await consume(epoch)
        epoch.commit()
      }
      return epoch
    } finally {
      if (this.#lastOwner === 'consume') this.#lastOwner = undefined
    }
  }

  async #stop(graceMs: number): Promise<SealedEpoch> {
    const startedAt = nowMs()
    this.#control.close()
    for (const wake of this.#onStop) wake()
    try {
      // Half of the time for writers to publish and go on; then marks are refused, and what is
      // still staged has the other half.
      await this.#untilPublished(startedAt + graceMs / 2)
      this.#control.refuseMarks()
      await new Promise((resolve) => setTimeout(resolve, STORE_MS))
      await this.#untilPublished(startedAt + graceMs)
      if (Atomics.load(this.#memory.words, FAILED) !== 0) throw cannotGoOn(this.#memory.words)
      this.#control.forgive()
      const last = this.#control.stop(startedAt)
      this.#takeOverIfAlone()
      const epoch = await last
      this.#hasClosed()
      return epoch
    } catch (reason) {
      this.#hasClosed({ reason })
      throw reason
    } finally {
      this.#endWatching()
      for (const unwatch of this.#unwatch) unwatch()
      this.#watch.end()
      this.unref()
      await this.#host.end()
    }
  }

  /**
   * Asks every writer to publish, again and again, until none has anything staged or the time is
   * over.
   */
  async #untilPublished(deadline: number): Promise<void> {
    for (;;) {
      if (this.#host.isAbsent && this.#host.hasBacklog) this.#workAlone()
      publishOwn(this.#memory)
      if (nowMs() >= deadline || this.#control.askToPublish()) return
      await new Promise((resolve) => setTimeout(resolve, GRACE_POLL_MS))
    }
  }

  /**
   * Once STOP is on its way: if no thread runs the aggregator and none will, this thread does, to
   * the end. A failure ends it, because STOP may not have gone in.
   */
  #takeOverIfAlone(): void {
    while (
      this.#control.isStopping &&
      this.#control.failure === undefined &&
      this.#host.isAbsent &&
      !this.#workAlone()
    );
  }

  /** Handle what is in the ring, on this thread. True when there is no more to handle for now. */
  #workAlone(): boolean {
    try {
      const finished = this.#host.takeOver()
      this.#control.poke()
      return finished
    } catch (error) {
      // Somebody's runAggregator() was faster: then it will come to the end.
      if ((error as DirtyRingError).code !== 'ERR_DIRTYRING_AGGREGATOR_TAKEN')
        this.#control.fail(error)
      return true
    }
  }

  /**
   * stop(). If the last epoch has keys, stop() was not called before, and no epochs() loop deals
   * with it, a process warning says so.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    const asked = this.#stopCalled
    const last = await this.stop()
    if (asked || this.#lastOwner !== undefined || (last.exact && last.size === 0)) return
    platform.warn(
      `a tracker was disposed of with ${last.size} keys in its last epoch that nobody has dealt with: call stop(), and settle what it gives you`,
    )
  }

  /** One line, never the memory. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    const { state } = this.health()
    return `DirtyTracker { epoch: ${this.epoch}, unsettled: ${this.#control.unsettled.length}, aggregator: '${state}' }`
  }

  #checkFree(): void {
    if (this.#loop?.aborted !== false) return
    throw new DirtyRingError(
      'ERR_DIRTYRING_BUSY',
      'a running epochs() loop owns the epochs of this tracker. An iterator that was dropped without return() goes on owning them: call its return()',
    )
  }

  #checkRunning(): void {
    if (this.#control.failure !== undefined) throw this.#control.failure as Error
    if (this.#stopCalled) throw stopped()
  }

  /**
   * Until then, or until somebody aborts or stops. Keeps the process alive: somebody is waiting for
   * an epoch.
   */
  #sleep(ms: number, signal: AbortSignalLike | undefined): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', wake)
        this.#onStop.delete(wake)
        resolve()
      }
      const timer = setTimeout(wake, Math.max(0, ms))
      signal?.addEventListener('abort', wake)
      this.#onStop.add(wake)
      if (isAborted(signal) || this.#stopCalled) wake()
    })
  }
}

function checkAdvance(options: AdvanceOptions): {
  signal: AbortSignalLike | undefined
  onBusy: 'wait' | 'reject'
} {
  const signal = signalOf(options, 'onBusy')
  const { onBusy = 'wait' } = options
  if (typeof onBusy !== 'string') throw invalidArg('options.onBusy', `'wait' or 'reject'`, onBusy)
  if ((onBusy as string) !== 'wait' && (onBusy as string) !== 'reject')
    throw outOfRange('options.onBusy', `'wait' or 'reject'`, onBusy)
  return { signal, onBusy }
}

function wholeNumber(name: string, value: unknown): number {
  if (typeof value !== 'number') throw invalidArg(name, 'a number', value)
  if (!Number.isInteger(value) || value < 0 || value > INTERVAL_MAX)
    throw outOfRange(name, `a whole number of ms, 0 to ${INTERVAL_MAX}`, value)
  return value
}
