import {
  BY_LIBRARY,
  bytesOf,
  checkByLibrary,
  checkWhole,
  typedArrayName,
  viewLength,
} from '../check.js'
import type { SealedEpoch } from '../epochs/sealed-epoch.js'
import { DirtyRingError, invalidArg, outOfRange } from '../errors.js'
import type { Key, KeyOf } from '../keys.js'
import { TRACKER_THREAD } from '../memory/map.js'
import { checkHost, createMemory, handleOf, type Memory } from '../memory/memory.js'
import type { KeyKind } from '../memory/settings.js'
import { TIMER_MS_MAX } from '../memory/settings.js'
import { NAMESPACE_MAX } from '../memory/slot.js'
import { threadIdFor } from '../memory/thread.js'
import {
  memoryFootprint,
  type ResolvedOptions,
  resolveOptions,
  type TrackerHandle,
  type TrackerOptions,
} from '../options.js'
import { watching } from '../platform/watching.js'
import { type Start, startAt } from '../ring/start.js'
import { randomSeed, secretsOf } from '../set/mix.js'
import { LEFT_OVER, reserveNative } from '../set/native/native.js'
import { abortable, type AbortSignalLike, signalOf, throwIfAborted } from '../signal.js'
import { clearInterval, setInterval } from '../timers.js'
import { publishOwn } from '../writer/lanes.js'
import { openWriterIn } from '../writer/open.js'
import type { Writer } from '../writer/writer.js'
import { type AggregatorHealth, AggregatorHost } from './aggregator-host.js'
import {
  type AdvanceOptions,
  checkStop,
  type EpochsOptions,
  type StopOptions,
} from './call-options.js'
import type { Consumer } from './consumer.js'
import { type ConsumerOptions, Consumers } from './consumers.js'
import { Control } from './control.js'
import { dump } from './dump.js'
import type { EpochReader } from './epoch-reader.js'
import { Listeners, type TrackerEvents } from './events.js'
import type { Cut } from './handed-out.js'
import { Reader } from './reader.js'
import { decodeState, encodeState } from './saved.js'
import { readShared, type TrackerStats } from './stats.js'
import { sealLastEpoch } from './stop.js'
import { Takeover } from './takeover.js'
import { Watch } from './watch.js'
import { WatchedWorkers } from './watched-workers.js'

export type { AdvanceOptions, EpochsOptions, StopOptions } from './call-options.js'

/**
 * Tells which keys the workers have changed since the last time. A tracker owns the shared memory,
 * keeps the aggregator running, and cuts epochs.
 *
 * It belongs to the thread that created it, and its methods are for that thread. Other threads mark
 * through writers that they open from its {@link DirtyTracker.handle}. It does not keep the process
 * alive, except while a promise of it is pending.
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
export class DirtyTracker<K extends Key = Key>
  implements EpochReader<SealedEpoch<K>>, AsyncDisposable
{
  /** Goes to other threads, in workerData or by postMessage. */
  readonly handle: TrackerHandle
  /** The options, every default filled in. */
  readonly options: ResolvedOptions
  /** The set kernel in use: what 'auto' chose. */
  readonly kernel: 'wasm' | 'js'
  readonly #memory: Memory
  readonly #listeners = new Listeners()
  readonly #control: Control
  readonly #reader: Reader
  readonly #consumers: Consumers
  readonly #host: AggregatorHost
  readonly #takeover: Takeover
  readonly #watch: Watch
  readonly #workers: WatchedWorkers
  #keepAlive: ReturnType<typeof setInterval> | undefined

  private constructor(pass: typeof BY_LIBRARY, options: ResolvedOptions, start: Start) {
    checkByLibrary(pass, 'DirtyTracker', 'Call await DirtyTracker.create(options).')
    checkHost()
    const { total } = memoryFootprint(options)
    const isAsked = options.kernel === 'wasm'
    const leftOver = isAsked ? LEFT_OVER.needed : LEFT_OVER.spare
    const native = options.kernel === 'js' ? undefined : reserveNative(total, leftOver)
    if (isAsked && native === undefined) {
      throw outOfRange(
        'options.kernel',
        `'auto' or 'js'`,
        'wasm',
        `WebAssembly, or ${total} bytes of memory for it, is not available here. If the address ` +
          'space is limited (ulimit -v), raise the limit, ' +
          'or start Node with --disable-wasm-trap-handler.',
      )
    }
    const memory = createMemory(options, secretsOf(randomSeed()), native)
    this.kernel = native === undefined ? 'js' : 'wasm'
    startAt(memory, start)
    memory.words[TRACKER_THREAD] = threadIdFor(memory) + 1
    this.options = options
    this.handle = handleOf(memory) as unknown as TrackerHandle
    this.#memory = memory
    this.#control = new Control(memory, this.#listeners, start.epoch)
    this.#reader = new Reader(
      this.#control,
      this.#control.openHandedOut(start.epoch === undefined ? -1 : start.epoch - 1),
    )
    this.#consumers = new Consumers(this.#control, options.maxConsumers)
    this.#watch = new Watch(memory, this.#control, this.#listeners)
    this.#host = new AggregatorHost(memory, options.aggregator)
    this.#takeover = new Takeover(this.#control, this.#host)
    this.#workers = new WatchedWorkers((threadId) => {
      this.#host.release(threadId)
      this.#control.reapThread(threadId)
    })
  }

  /**
   * Reserves the memory and starts the aggregator.
   *
   * @param options - see {@link TrackerOptions}; all have a default
   * @returns a promise of the tracker, once its aggregator runs
   * @throws (rejects with) TypeError and RangeError if an option is not allowed, RangeError if the
   * memory is not available, `ERR_DIRTYRING_NO_SHARED_MEMORY` where the host has no
   * SharedArrayBuffer, `ERR_DIRTYRING_UNSUPPORTED` on a big-endian host, and
   * `ERR_DIRTYRING_AGGREGATOR_FAILED` if the worker cannot be started
   *
   * @example
   * ```js
   * import { DirtyTracker } from 'dirtyring'
   *
   * // 'inline' starts no thread: for tests, and for small programs.
   * const tracker = await DirtyTracker.create({ aggregator: 'inline' })
   * tracker.openWriter().mark('user:7')
   * await tracker.consume((epoch) => console.log(epoch.has('user:7'))) // true
   * await tracker.stop()
   * ```
   */
  static async create<Kind extends KeyKind = 'any'>(
    options: TrackerOptions & { keys?: Kind | undefined } = {},
  ): Promise<DirtyTracker<KeyOf<Kind>>> {
    return DirtyTracker.createAt<KeyOf<Kind>>(options, {})
  }

  /** @internal create(), with counters that begin elsewhere than at 0. */
  static async createAt<K extends Key = Key>(
    options: TrackerOptions,
    start: Start,
  ): Promise<DirtyTracker<K>> {
    const resolved = resolveOptions(options)
    const resume = checkResume(options.resume)
    const tracker = new DirtyTracker<K>(BY_LIBRARY, resolved, start)
    if (resume !== undefined) tracker.#resume(resume)
    await tracker.#host.start()
    tracker.#workers.watchAll()
    return tracker
  }

  #resume(bytes: Uint8Array): void {
    const state = decodeState(bytes)
    if (typeof state !== 'string') this.#consumers.resume(state)
    else watching.warn(`options.resume: the bytes ${state}. Each consumer is fresh`)
  }

  /** Number of the open epoch; the first is 0. */
  get epoch(): number {
    return this.#control.outbox.epoch
  }

  /**
   * Resolves once the tracker has stopped. Rejects when the aggregator cannot be kept running: then
   * its keys are still in shared memory, and stop() delivers what it can. A program that ignores
   * the rejection gets no warning.
   */
  get closed(): Promise<void> {
    return this.#control.lifecycle.closed
  }

  /**
   * Opens a writer on the tracker's own thread. Other threads call {@link openWriter}.
   *
   * @returns the writer
   * @throws `ERR_DIRTYRING_NO_WRITER_SLOT` if `maxWriters` writers are open, and
   * `ERR_DIRTYRING_STOPPED` after stop()
   */
  openWriter(): Writer {
    return openWriterIn(this.#memory)
  }

  /**
   * Watches a worker: when it ends, also when it is terminated, its writers are harvested and
   * freed.
   *
   * In Node every worker that this thread starts after create() is watched without this call, a
   * pool's workers too. Call it for workers that were there before. Watching twice is watching
   * once. A worker that has ended already is harvested now. Workers that a watched worker starts
   * are not seen from here. If an 'exit' listener of yours was there first, it runs before the
   * harvest is under way.
   *
   * @param worker - a Worker of node:worker_threads
   * @returns the same worker
   * @throws TypeError if the value is not a Worker, and for a worker that was started before the
   * library was loaded and has ended
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
   *   for (;;); // until the main thread terminates this worker
   * })
   * ```
   */
  watch<W>(worker: W): W {
    this.#workers.watch(worker)
    return worker
  }

  /**
   * Harvests and frees one writer whose thread has ended for certain: that of a browser's worker,
   * after it said goodbye. In Node prefer watch().
   *
   * Never do this to a thread that lives. Its marks would go on into memory that belongs to the
   * next writer, and no promise of the library would hold.
   *
   * @param writerId - the writer's number, from 0 to `maxWriters` - 1
   * @returns a promise of the number of keys that were staged there and are now in the open epoch;
   * 0 if no thread has that writer
   * @throws (rejects with) TypeError if `writerId` is not a number, RangeError if it is not a
   * writer's number, and `ERR_DIRTYRING_STOPPED` after stop()
   *
   * @example
   * ```js
   * const id = 3 // the worker told the number of its writer before it ended
   * console.log(await tracker.reap(id)) // 0
   * ```
   */
  async reap(writerId: number): Promise<number> {
    checkWhole('writerId', writerId, 0, this.options.maxWriters - 1, 'maxWriters - 1')
    this.#control.lifecycle.checkRunning()
    return this.#control.reaps.request(writerId)
  }

  /**
   * Closes the open epoch and hands out its distinct keys. Everything published before this call is
   * in it or in an earlier one.
   *
   * If an epoch slot is free and the ring has room, the cut is made before this returns its
   * promise, so it may be called inside a store's write lock. Else the call waits; writers are
   * never held up. Calls are served in order, and two at once give two epochs. The writers of this
   * thread publish first.
   *
   * @param options - `signal` aborts the call, with nothing lost; an abort after stop() comes too
   * late. `onBusy` says what to do when no epoch slot is free
   * @returns a promise of the sealed epoch, for `commit()` or `restore()`
   * @throws (rejects with) `signal.reason` if aborted; `ERR_DIRTYRING_NO_EPOCH_SLOT` if no slot is
   * free and `onBusy` is 'reject'; `ERR_DIRTYRING_BUSY` while an epochs() loop runs, and with
   * `maxConsumers` above 0, because then consumer() gives the readers;
   * `ERR_DIRTYRING_STOPPED` after stop(); `ERR_DIRTYRING_AGGREGATOR_FAILED` or
   * `ERR_DIRTYRING_CORRUPT` if the aggregator cannot continue; TypeError and RangeError if an
   * option is not allowed
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
  async advanceEpoch(options: AdvanceOptions = {}): Promise<SealedEpoch<K>> {
    this.#consumers.checkNone()
    return this.#reader.advanceEpoch(options) as Promise<SealedEpoch<K>>
  }

  /**
   * Makes the cut before it returns, or does nothing and returns undefined. It is for use inside a
   * store's write lock, where nothing may be awaited. The writers of this thread publish first.
   *
   * It returns undefined if the ring has no room for that or for the cut, if no epoch slot is free,
   * and if advanceEpoch() calls wait for one. Then try again later, outside the lock. Inside a
   * batch() of the same thread the cut is made without that batch: its keys are in a later epoch.
   *
   * @returns a promise of the epoch, to be awaited outside the lock, or undefined. The promise
   * rejects as that of advanceEpoch() does
   * @throws `ERR_DIRTYRING_BUSY` while an epochs() loop runs, `ERR_DIRTYRING_STOPPED` after stop(),
   * and errors that the tracker cannot recover from
   *
   * @example
   * ```js
   * const lock = { run: (use) => use() } // your store's
   * store.set(42, 'new')
   * writer.mark(42)
   * const { cut, snapshot } = lock.run(() => ({
   *   cut: tracker.tryAdvanceEpoch(),
   *   snapshot: new Map(store),
   * }))
   * if (cut !== undefined) {
   *   const epoch = await cut
   *   console.log(...epoch.ids(), snapshot.get(42)) // 42 new
   *   epoch.commit()
   * }
   * ```
   */
  tryAdvanceEpoch(): Promise<SealedEpoch<K>> | undefined {
    this.#consumers.checkNone()
    return this.#reader.tryAdvanceEpoch() as Promise<SealedEpoch<K>> | undefined
  }

  /**
   * Seals an epoch, hands it to `use`, and commits it when `use` returns or resolves. If `use`
   * throws or rejects, the epoch is restored. If `use` settles the epoch itself, that stands. This
   * is the form to start with.
   *
   * @param use - deals with the epoch
   * @param options - as for advanceEpoch()
   * @returns a promise of what `use` returns
   * @throws (rejects with) the error of `use`, and with what advanceEpoch() rejects with
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
    use: (epoch: SealedEpoch<K>) => T | PromiseLike<T>,
    options: AdvanceOptions = {},
  ): Promise<T> {
    this.#consumers.checkNone()
    return this.#reader.consume(use as (epoch: SealedEpoch) => T | PromiseLike<T>, options)
  }

  /**
   * Yields an epoch every `everyMs`, never two at once. An epoch that the body left unsettled is
   * restored before the next one, and by break, return and throw.
   *
   * The loop yields the last epoch too. When stop() is called, an epoch that the body left
   * unsettled is yielded once more, because it can no longer be restored. Then the last one comes
   * (`epoch.last`), also when it is empty or not exact, so that one loop deals with every key.
   * stop() does not wait for the body, and the body may await stop(). With `stop({ consume })` the
   * loop ends without the last epoch.
   *
   * With `whenDirty` the loop makes no cut while nothing is marked. The first key that is published
   * after a cut wakes it. Then it waits `everyMs`, so that marks gather, and cuts. A key that is
   * only staged does not wake it: the writer's `flushIntervalMs` publishes it. If a key comes while
   * the body runs, the next cut comes `everyMs` after the last one, or at once if the body took
   * longer. While the loop sleeps, the tracker's thread wakes once a second. The aggregator sleeps
   * in pieces, as it does without a loop: of up to 1 s in its own worker, 0.5 s with 'inline', and
   * 0.1 s in runAggregator(). On a host without `Atomics.waitAsync` the tracker's thread looks every
   * 50 ms.
   *
   * A running loop owns the epochs, from its first next() until it ends: by return, throw, abort,
   * or with the last epoch. Meanwhile advanceEpoch(), tryAdvanceEpoch(), consume() and a second
   * loop are `ERR_DIRTYRING_BUSY`. An iterator that is dropped without return() goes on owning
   * them.
   *
   * @param options - `everyMs` from 0 to 2^31 - 1. `signal` ends the loop, without an error
   * @returns an iterator, for `for await`. Its next() rejects as advanceEpoch() does, and with the
   * error of stop() if that one fails
   * @throws TypeError and RangeError if an option is not allowed, at once
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
  epochs(options: EpochsOptions): AsyncIterableIterator<SealedEpoch<K>> {
    this.#consumers.checkNone()
    return this.#reader.epochs(options) as AsyncIterableIterator<SealedEpoch<K>>
  }

  /**
   * Opens a named consumer, which reads epochs at its own pace. `maxConsumers` says how many may be
   * open at once.
   *
   * With `since`, the clock that it has stored with its data, it goes on where it was. Without one,
   * or with a clock that can't be served (of another tracker, too old, or any other text), it is
   * fresh: its first epoch has the reason 'fresh' and `exact: false`. With `from: 'now'` it begins
   * here: open it inside the store's write lock, where the full copy is made. The call makes a cut
   * then, as tryAdvanceEpoch() does. If the ring has no room for that, the consumer gets some keys
   * that were marked before.
   *
   * @param name - 1 to 128 characters; no open consumer has it
   * @param options - see {@link ConsumerOptions}
   * @returns the consumer
   * @throws `ERR_DIRTYRING_CONSUMER_TAKEN` if an open consumer has the name,
   * `ERR_DIRTYRING_NO_CONSUMER_SLOT` if `maxConsumers` consumers are open,
   * `ERR_DIRTYRING_STOPPED` after stop(), the error that the tracker cannot recover from, TypeError
   * and RangeError if an argument is not allowed
   *
   * @example
   * ```js
   * import { DirtyTracker } from 'dirtyring'
   *
   * const db = new Map() // your database
   * const tracker = await DirtyTracker.create({ maxConsumers: 1 })
   * const rows = tracker.consumer('rows', { since: db.get('clock') })
   * tracker.openWriter().mark(42)
   * for (let i = 0; i < 2; i++) {
   *   await rows.consume((epoch) => {
   *     console.log(epoch.reason, epoch.has(42)) // fresh true | undefined false
   *     db.set('clock', epoch.clock) // in the transaction that saves the rows
   *   })
   * }
   * await tracker.stop()
   * ```
   */
  consumer(name: string, options: ConsumerOptions = {}): Consumer<K> {
    return this.#consumers.open(name, options) as unknown as Consumer<K>
  }

  /**
   * Resolves when everything that open writers had marked before the call is published: the next
   * cut has it all.
   *
   * A writer publishes when its thread marks, or when the event loop of its thread turns. A thread
   * whose event loop does not turn (a long loop, a pool's worker between tasks) holds this up: pass
   * a signal.
   *
   * @param options - `signal` aborts the wait
   * @throws (rejects with) `signal.reason` if aborted, `ERR_DIRTYRING_STOPPED` after stop(), and
   * the error that the tracker cannot recover from
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
    this.#control.lifecycle.checkRunning()
    return this.#control.flushes.request(signal)
  }

  /**
   * Resolves when everything published before the call is in the sets. The writers of this thread
   * publish first.
   *
   * @param options - `signal` aborts the wait
   * @throws (rejects with) `signal.reason` if aborted, `ERR_DIRTYRING_STOPPED` after stop(), and
   * the error that the tracker cannot recover from
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
    this.#control.lifecycle.checkRunning()
    publishOwn(this.#memory)
    return abortable(signal, (waiting) => {
      const forget = this.#control.drains.request(waiting)
      return () => {
        forget()
        return true
      }
    })
  }

  /**
   * Notes a change that no list of keys describes: a bulk load, a truncate. The open epoch then
   * says `exact: false`, reason 'everything'. Calls keep their order: an `advanceEpoch()` after it
   * has it. It cannot be refused.
   *
   * @param namespace - only the pairs with this high half have changed: 0 to 2^22 - 1. Text keys and
   * ids below 2^32 are in namespace 0. An epoch keeps 24 of them apart; with one more, everything
   * has changed
   * @throws TypeError and RangeError for another namespace; `ERR_DIRTYRING_STOPPED` after stop(), and the error that the tracker cannot recover
   * from
   *
   * @example
   * ```js
   * tracker.markEverything()
   * await tracker.consume(({ exact, reason }) => console.log(exact, reason)) // false everything
   * ```
   */
  markEverything(namespace?: number): void {
    this.#control.lifecycle.checkRunning()
    if (namespace !== undefined) checkWhole('namespace', namespace, 0, NAMESPACE_MAX)
    this.#control.markEverything(namespace)
  }

  /**
   * Tells what the tracker and its writers have done so far. The numbers are read one after the
   * other: while writers mark, two of them may be a batch apart. It works after stop(), too.
   *
   * @returns counts, exact to 2^53
   */
  stats(): TrackerStats {
    const { counts, overflows, advances, unsettled, outbox } = this.#control
    return {
      epoch: outbox.epoch,
      ...readShared(this.#memory),
      ...counts,
      ...overflows.open,
      unsettled,
      sealMs: advances.sealTimes.summary(),
      consumers: this.#consumers.lags,
      bytes: memoryFootprint(this.options),
    }
  }

  /**
   * Tells how well the aggregator is now. It works after stop(), too.
   *
   * @returns the state, and how often something went wrong
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
   * Shows the shared memory (ring, lanes, epochs) as text, for bug reports. Other threads go on
   * while it reads.
   *
   * @returns several lines, with no key in them
   *
   * @example
   * ```js
   * console.log(tracker.dump()) // …
   * ```
   */
  dump(): string {
    const consumers = this.#consumers.lags.map(
      ({ name, keys, epochs, precision }) =>
        `consumer    ${JSON.stringify(name)}: ${keys} keys of ${epochs} epochs wait, ${precision}`,
    )
    return [dump(this.#memory), ...consumers].join('\n')
  }

  /**
   * Calls `listener` at each event of that name, in a microtask on the tracker's thread. A listener
   * that throws is reported as an uncaught exception, and harms nothing else. 'overflow', 'panic'
   * and 'stall' are found by a look every 100 ms.
   *
   * @param event - see {@link TrackerEvents}
   * @param listener - called with what the event tells
   * @returns the function that ends it
   * @throws TypeError and RangeError if an argument is not allowed
   *
   * @example
   * ```js
   * const off = tracker.on('stall', ({ what, waitedMs }) => console.warn(what, waitedMs))
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

  /**
   * Keeps the process alive until stop() or unref(). Without this only a pending call does.
   *
   * @returns this tracker
   */
  ref(): this {
    if (!this.#control.lifecycle.isStopCalled)
      this.#keepAlive ??= setInterval(() => undefined, TIMER_MS_MAX)
    return this
  }

  /**
   * Lets the process end although the tracker runs. A new tracker is in this state.
   *
   * @returns this tracker
   */
  unref(): this {
    clearInterval(this.#keepAlive)
    this.#keepAlive = undefined
    return this
  }

  /**
   * Delivers all that is published, ends the aggregator, and refuses later marks. Before that it
   * asks open writers to publish and gives them up to `graceMs`.
   *
   * If writers still had keys staged, the last epoch says `exact: false`, reason 'unpublished'.
   * Cuts already made are served. `advanceEpoch()` calls that wait for a slot reject. Epochs that
   * are not settled stay readable, and restore() on them rejects.
   *
   * The last epoch has one owner, which settles it by `commit()`:
   * - `consume`, if it is given. Then stop() resolves when the epoch is committed, and a running
   *   epochs() loop ends without it.
   * - Else the epochs() loop that was running when stop() was called. It gets the epoch when it
   *   asks for the next one. stop() does not wait for that, and resolves with a read-only copy. If
   *   the loop ends before it got the epoch, the copy's `commit()` settles it.
   * - Else the caller.
   *
   * With named consumers each of them has a last epoch of its own, with the same owners: `consume`,
   * its running loop, or the caller of its next advanceEpoch(). The caller of stop() then gets an
   * epoch that has no keys and is settled.
   *
   * A second stop() is the first. `consume` of a later call is called if the epoch is not settled
   * yet.
   *
   * Afterwards no thread keeps the tracker's memory, unless code of yours holds a tracker, a handle,
   * a writer, an epoch or a view there. The engine frees the memory once each of those threads has
   * collected garbage.
   *
   * @param options - `graceMs` in ms, from 0 (do not ask) to 2^31 - 1. `consume` deals with the
   * last epoch
   * @returns a promise of the last epoch
   * @throws (rejects with) the error of `consume`; errors that the tracker cannot recover from;
   * TypeError and RangeError if an option is not allowed
   *
   * @example
   * ```js
   * writer.mark(42)
   * const last = await tracker.stop({
   *   consume: (epoch) => (epoch.exact ? saveRows(epoch.ids()) : saveAll()),
   * })
   * console.log(last.size, last.exact, last.state) // 1 true committed
   * ```
   */
  async stop(options: StopOptions = {}): Promise<SealedEpoch<K>> {
    const { graceMs, consume } = checkStop(options)
    const { epochsInHand } = this.#reader
    const last =
      this.options.maxConsumers > 0
        ? this.#consumers.stop(consume, (handOut) => this.#sealLast(graceMs, handOut))
        : this.#reader.stop(consume, () =>
            this.#sealLast(graceMs, (cut) => epochsInHand.handOut(cut)),
          )
    return last as Promise<SealedEpoch<K>>
  }

  async #sealLast(graceMs: number, handOut: (last: Cut) => SealedEpoch): Promise<SealedEpoch> {
    try {
      return await sealLastEpoch(this.#control, this.#takeover, handOut, graceMs)
    } finally {
      this.#workers.end()
      this.#watch.end()
      this.unref()
      await this.#host.end()
    }
  }

  /**
   * After stop(): what the named consumers have not dealt with, and where they stand, for the option
   * `resume` of the next tracker. In Node, `saveState()` and `loadState()` of 'dirtyring/node' keep
   * it in a file.
   *
   * Resume from the same bytes once only. A consumer of the next tracker goes on if it is opened
   * with the clock that it stored. Otherwise it is fresh.
   *
   * @returns bytes, a few more than the keys have
   * @throws `ERR_DIRTYRING_BUSY` before stop() has resolved
   *
   * @example
   * ```js
   * import { DirtyTracker } from 'dirtyring'
   *
   * const options = { maxConsumers: 1 }
   * const tracker = await DirtyTracker.create(options)
   * const { clock } = tracker.consumer('index', { from: 'now' }) // stored with the index
   * tracker.openWriter().mark('/users/7')
   * await tracker.stop()
   *
   * const next = await DirtyTracker.create({ ...options, resume: tracker.save() })
   * const index = next.consumer('index', { since: clock })
   * await index.consume((epoch) => console.log(...epoch)) // /users/7
   * await next.stop()
   * ```
   */
  save(): Uint8Array {
    if (this.#control.lifecycle.phase === 'stopped') return encodeState(this.#consumers.save())
    throw new DirtyRingError(
      'ERR_DIRTYRING_BUSY',
      'the tracker runs: await tracker.stop() before tracker.save()',
    )
  }

  /**
   * Drops a consumer that was resumed, and that the program does not open any more. Until then it
   * counts for `maxConsumers`, and its backlog is kept.
   *
   * @param name - the consumer's name
   * @returns false if no consumer of that name waits to be opened
   * @throws TypeError if `name` is not allowed
   */
  forget(name: string): boolean {
    return this.#consumers.forget(name)
  }

  /**
   * Calls stop(). A process warning says so if the last epoch has keys that no owner deals with:
   * stop() was not called before, and no epochs() loop runs.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    const wasStopCalled = this.#control.lifecycle.isStopCalled
    const last = await this.stop()
    const { names, keys } = this.#consumers.left
    if (!wasStopCalled && names.length > 0) {
      const which = names.map((name) => JSON.stringify(name)).join(', ')
      watching.warn(
        `a tracker was disposed of with ${keys} keys in the last epochs of consumers ${which}. ` +
          'Call stop() before, and settle them',
      )
    }
    const hasOwner = wasStopCalled || this.#reader.last.owner !== undefined
    if (hasOwner || (last.exact && last.size === 0)) return
    watching.warn(
      `a tracker was disposed of with ${last.size} keys in its last epoch. ` +
        'Call stop() before, and settle the epoch that it gives you',
    )
  }

  /** One line, never the memory. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    const { state } = this.health()
    const { unsettled } = this.#control
    const parts = [
      `epoch: ${this.epoch}`,
      `unsettled: ${unsettled.length}`,
      `aggregator: '${state}'`,
    ]
    return `DirtyTracker { ${parts.join(', ')} }`
  }
}

function checkResume(resume: unknown): Uint8Array | undefined {
  if (resume === undefined) return undefined
  if (typedArrayName(resume) === 'Uint8Array')
    return bytesOf(resume, viewLength(resume, 'options.resume'))
  const advice = 'Pass what tracker.save() returned, or undefined at the first start.'
  throw invalidArg('options.resume', 'a Uint8Array, or undefined', resume, advice)
}
