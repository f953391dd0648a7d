/**
 * Workers write a shared table. At every checkpoint the main thread copies the changed rows into
 * its copy of the table. During the run a writer and the aggregator are terminated, a checkpoint
 * fails, and an epoch overflows. At the end the copy must equal the table, byte for byte.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import {
  DirtyTracker,
  type SealedEpoch,
  type TrackerEvents,
  type TrackerOptions,
  type Writer,
  type WriterStats,
} from '../index.js' // you write: from 'dirtyring'
import { createLog, Oracle } from './oracle.js'
import { Rates } from './rates.js'
import {
  type EpochReport,
  type Fact,
  isRight,
  type Look,
  type Show,
  type Shown,
  type WriterLook,
} from './show.js'
import { Store } from './store.js'
import { counted, milliseconds, whole } from './text.js'
import { zetaOf } from './workload.js'
import type { WriterData } from './writer.js'

export interface DemoSettings {
  readonly seconds: number
  readonly writers: number
  readonly rows: number
  readonly rowBytes: number
  readonly epochMs: number
  readonly theta: number
  readonly seed: number
  /** Marks per second of each writer; 0 means as fast as possible. */
  readonly rate: number
  /** The number of rows that the checkpoints leave out, to show that the proof can fail. */
  readonly forgetRows: number
  readonly tracker: TrackerOptions
}

interface RunningWriter {
  readonly number: number
  readonly worker: Worker
  readonly threadId: number
  /** Resolves when the thread has ended, with the row that it was writing, if any. */
  readonly ended: Promise<number | undefined>
  state: 'lives' | 'killed' | 'ended'
}

/**
 * The place of one of the `writers` that mark all the time. If its writer is killed, a new writer
 * takes the place at epoch `vacantUntil`.
 */
interface Place {
  writer: RunningWriter
  vacantUntil: number
}

/**
 * An accident before a checkpoint. Resolves with the error that the checkpoint must throw, or with
 * undefined.
 */
type Accident = () => Promise<Error | undefined>

/** The interval at which the logs are read, and the interval at which a wait looks again. */
const READ_LOGS_MS = 20
const LOOK_MS = 2
const LOOKS_MAX = 50
const RESTART_MS_MAX = 10_000
/** The number of epochs for which the place of a killed writer stays empty. */
const EPOCHS_VACANT = 4

/**
 * Runs the demo. Resolves with true if the copy equals the store at the end, and the tracker has
 * lost no row and invented no row.
 */
export async function runDemo(
  settings: DemoSettings,
  show: Show,
  signal: AbortSignal,
): Promise<boolean> {
  const demo = new Demo(settings, show)
  try {
    await demo.start()
    await demo.run(signal)
    return await demo.end()
  } catch (error) {
    await demo.abandon()
    throw error
  } finally {
    show.close()
  }
}

class Demo implements Shown {
  readonly settings: DemoSettings
  readonly #show: Show
  readonly #store: Store
  readonly #copy: Store
  readonly #zeta: number
  readonly #clock = new Int32Array(new SharedArrayBuffer(4))
  readonly #ending = new Int32Array(new SharedArrayBuffer(4))
  readonly #oracle = new Oracle(this.#clock)
  readonly #rates = new Rates()
  readonly #writers: RunningWriter[] = []
  readonly #places: Place[] = []
  readonly #requests: ('kill' | 'fail')[] = []
  readonly #forgotten = new Set<number>()
  #tracker!: DirtyTracker
  #dirty!: Writer
  #aggregator: Worker | undefined
  #writersStarted = 0
  /** Set when a writer ends with an error of its own. */
  #failure: Error | undefined
  #reading: ReturnType<typeof setInterval> | undefined
  #startedAt = 0
  #last = { at: 0, marked: 0, delivered: 0 }
  /**
   * From the tracker's events: how long the seal of each epoch took, and how many keys of each
   * ended thread were harvested.
   */
  readonly #sealMs = new Map<number, number>()
  readonly #harvested = new Map<number, number>()
  /** Set while the demo waits for the restart of the aggregator that it terminated. */
  #onRestart: ((event: TrackerEvents['restart']) => void) | undefined
  /** Counts the rows handed out, and the rows of restored epochs, which are handed out again. */
  #handedOut = 0
  #restoredRows = 0
  #epochs = 0
  #inexact = 0
  #killed = 0

  constructor(settings: DemoSettings, show: Show) {
    this.settings = settings
    this.#show = show
    this.#store = Store.create(settings.rows, settings.rowBytes)
    this.#copy = Store.create(settings.rows, settings.rowBytes)
    this.#zeta = zetaOf(settings.rows, settings.theta)
  }

  get options(): DirtyTracker['options'] {
    return this.#tracker.options
  }

  get kernel(): string {
    return this.#tracker.kernel
  }

  get bytesReserved(): number {
    return this.#tracker.stats().bytes.total
  }

  async start(): Promise<void> {
    const { writers, tracker } = this.settings
    this.#tracker = await DirtyTracker.create({
      ...tracker,
      ...(tracker.aggregator === 'inline' ? {} : { aggregator: this.#startAggregator }),
    })
    this.#listen()
    this.#dirty = this.#tracker.openWriter()
    this.#reading = setInterval(() => this.#oracle.read(), READ_LOGS_MS)
    this.#startedAt = performance.now()
    this.#show.begin(this)
    for (let i = 0; i < writers; i++)
      this.#places.push({ writer: this.#startWriter(true), vacantUntil: 0 })
    const isUp = (): boolean =>
      this.#tracker.stats().writers.filter(({ open }) => open).length > writers
    while (!isUp() && this.#failure === undefined) await sleep(LOOK_MS)
    this.#last.at = performance.now()
  }

  /**
   * The tracker calls this again when that worker dies. The demo passes a function only because it
   * must terminate the worker on purpose. The default needs no function.
   */
  readonly #startAggregator = (): Worker => {
    this.#aggregator = new Worker(new URL('./aggregator.js', import.meta.url))
    return this.#aggregator
  }

  #listen(): void {
    const tracker = this.#tracker
    tracker.on('epoch', ({ id, sealMs }) => this.#sealMs.set(id, sealMs))
    tracker.on('harvest', ({ threadId, keys }) =>
      this.#harvested.set(threadId, (this.#harvested.get(threadId) ?? 0) + keys),
    )
    tracker.on('overflow', ({ epoch, maxKeysPerEpoch }) =>
      this.#show.note(
        `epoch ${epoch} has more than ${whole(maxKeysPerEpoch)} keys: ` +
          'it says exact: false, so all rows are copied',
      ),
    )
    tracker.on('restart', (event) => {
      if (this.#onRestart === undefined)
        this.#show.note(`the aggregator died (${event.cause}) and was restarted`)
      else this.#onRestart(event)
    })
    tracker.on('panic', ({ error, retryInMs }) =>
      this.#show.note(
        `a step of the aggregator threw "${error.message}", tried again in ${retryInMs} ms`,
      ),
    )
    tracker.on('stall', ({ what, waitedMs }) =>
      this.#show.note(
        `waiting for ${what === 'lane' ? 'room in a lane' : 'an epoch slot'} ` +
          `for ${milliseconds(waitedMs)}`,
      ),
    )
  }

  /**
   * Makes a checkpoint every `epochMs`. Goes on for `seconds`, and until every accident of the
   * script has happened and no place is vacant.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { seconds, epochMs, tracker } = this.settings
    const script: Accident[] = [
      this.#killWriter,
      this.#killAggregator,
      this.#failCheckpoint,
      this.#overflow,
    ]
    // An inline aggregator has no thread that the demo could terminate.
    if (tracker.aggregator === 'inline') script.splice(script.indexOf(this.#killAggregator), 1)
    const spacingMs = (seconds * 1000) / (script.length + 1)
    const startedAt = performance.now()
    let accidents = 0
    let next = startedAt + epochMs
    const goesOn = (): boolean =>
      accidents < script.length ||
      performance.now() - startedAt < seconds * 1000 ||
      this.#places.some(({ writer }) => writer.state === 'killed')
    while (!signal.aborted && goesOn()) {
      await sleep(Math.max(0, next - performance.now()), undefined, { signal }).catch(
        () => undefined,
      )
      next = Math.max(next, performance.now()) + epochMs
      if (this.#failure !== undefined) throw this.#failure
      if (signal.aborted) break
      this.#fillPlaces()
      const isDue =
        accidents < script.length && performance.now() - startedAt >= (accidents + 1) * spacingMs
      const request = this.#requests.shift()
      if (request !== undefined)
        await this.#checkpoint(
          await (request === 'kill' ? this.#killWriter : this.#failCheckpoint)(),
        )
      else await this.#checkpoint(isDue ? await script[accidents++]() : undefined)
    }
    if (signal.aborted)
      this.#show.note(
        `interrupted by ${String(signal.reason)}: ` +
          'the writers end now, the proof is made all the same',
      )
  }

  request(accident: 'kill' | 'fail'): void {
    this.#requests.push(accident)
  }

  look(): Look {
    const { writers, queued, queuedPeak } = this.#tracker.stats()
    const at = performance.now()
    return {
      elapsedS: (at - this.#startedAt) / 1000,
      writers: this.#places.map(({ writer: { number, threadId, state } }): WriterLook => {
        const stats =
          state === 'lives' ? writers.find((each) => each.threadId === threadId) : undefined
        if (stats === undefined)
          return { number, marksPerSecond: 0, state: state === 'lives' ? 'starts' : state }
        const { perSecond, waited } = this.#rates.look(threadId, {
          at,
          marked: stats.marked - stats.rejected,
          waits: stats.waits,
        })
        return { number, marksPerSecond: perSecond, state: waited ? 'waits' : 'marks' }
      }),
      queued,
      queuedPeak,
      health: this.#tracker.health(),
    }
  }

  /** Takes the last epoch, and makes the proof. */
  async end(): Promise<boolean> {
    Atomics.store(this.#ending, 0, 1)
    await Promise.all(this.#writers.map(({ ended }) => ended))
    if (this.#failure !== undefined) throw this.#failure

    this.#oracle.beforeCut(this.#tracker.epoch)
    const last = await this.#tracker.stop()
    this.#oracle.afterCut(last.id)
    const report = this.#measure(last)
    this.#oracle.handOut(last)
    this.#save(last)
    last.commit()
    this.#oracle.end()
    this.#show.epoch(report('committed'))
    clearInterval(this.#reading)
    const facts = this.#facts()
    this.#show.end(facts)
    return isRight(facts)
  }

  /**
   * Ends all that keeps the process alive, after an error. Ignores further errors, because they
   * follow from the first.
   */
  async abandon(): Promise<void> {
    clearInterval(this.#reading)
    for (const { worker, ended } of this.#writers)
      await Promise.allSettled([worker.terminate(), ended])
    await this.#tracker?.stop().catch(() => undefined)
  }

  /** Copies the rows that changed since the last checkpoint. After an accident it then throws. */
  async #checkpoint(accident: Error | undefined): Promise<void> {
    let report: ((outcome: EpochReport['outcome']) => EpochReport) | undefined
    let id = 0
    let rows = 0
    this.#oracle.beforeCut(this.#tracker.epoch)
    try {
      await this.#tracker.consume((epoch) => {
        id = epoch.id
        rows = epoch.size
        this.#oracle.afterCut(id)
        report = this.#measure(epoch)
        this.#oracle.handOut(epoch)
        this.#save(epoch)
        if (accident !== undefined) throw accident // consume() gives the rows back
      })
    } catch (error) {
      if (error !== accident) throw error
      this.#restoredRows += rows
      this.#oracle.restored(id)
    }
    this.#oracle.judge()
    if (report !== undefined)
      this.#show.epoch(report(accident === undefined ? 'committed' : 'restored'))
    if (accident !== undefined) {
      const { epoch } = this.#tracker
      this.#show.note(
        `the checkpoint of epoch ${id} threw "${accident.message}": ` +
          `restored, its ${counted(rows, 'key')} are in epoch ${epoch}`,
      )
    }
  }

  #save(epoch: SealedEpoch): void {
    if (epoch.exact) {
      for (const row of epoch.ids()) {
        if (this.#forgotten.size < this.settings.forgetRows) this.#forgotten.add(row)
        this.#copyRow(row)
      }
    } else {
      for (let row = 0; row < this.#store.rows; row++) this.#copyRow(row)
    }
  }

  #copyRow(row: number): void {
    if (!this.#forgotten.has(row)) this.#store.copyRow(row, this.#copy)
  }

  /** @param skewed - True: few rows are hot. False: the writer writes every row once, and ends. */
  #startWriter(skewed: boolean): RunningWriter {
    const { rowBytes, theta, seed, rate } = this.settings
    const number = this.#writersStarted++
    const hand = new Int32Array(new SharedArrayBuffer(4))
    const log = createLog()
    const stopReading = this.#oracle.follow(log, this.#tracker.epoch)
    const data: WriterData = {
      handle: this.#tracker.handle,
      number,
      store: this.#store.buffer,
      rowBytes,
      hand,
      ending: this.#ending,
      log,
      clock: this.#clock,
      load: skewed ? { theta, zeta: this.#zeta, seed: seed + number, rate } : undefined,
    }
    const worker = new Worker(new URL('./writer.js', import.meta.url), { workerData: data })
    worker.on('error', (error) => {
      this.#failure ??= error instanceof Error ? error : new Error(String(error))
    })
    const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve())).then(() => {
      // The tracker has seen the end of this thread too. So the keys that the thread had staged are
      // in the epoch that is open now, at the latest.
      const { epoch } = this.#tracker
      stopReading(epoch)
      const row = hand[0] - 1
      if (row < 0) return undefined
      this.#mark(row)
      return row
    })
    const writer: RunningWriter = {
      number,
      worker,
      threadId: worker.threadId,
      ended,
      state: 'lives',
    }
    void ended.then(() => {
      if (writer.state === 'lives') writer.state = 'ended'
    })
    this.#writers.push(writer)
    return writer
  }

  /**
   * The main thread marks a row that a terminated writer may not have marked. A second mark does no
   * harm.
   */
  #mark(row: number): void {
    const { epoch } = this.#tracker
    const nap = (): unknown => Atomics.wait(this.#ending, 0, Atomics.load(this.#ending, 0), 1)
    while (!this.#dirty.mark(row)) nap()
    while (!this.#dirty.flush()) nap()
    this.#oracle.markedHere(row, epoch)
  }

  /** Terminates a writer, in the middle of a batch if the demo can catch one. */
  readonly #killWriter: Accident = async () => {
    const laneOf = (threadId: number): WriterStats | undefined =>
      this.#tracker.stats().writers.find((each) => each.threadId === threadId)
    const place = this.#places.find(
      ({ writer }) => writer.state === 'lives' && laneOf(writer.threadId) !== undefined,
    )
    if (place === undefined) return undefined
    const { writer } = place
    const { threadId } = writer
    for (let looks = 0; looks < LOOKS_MAX && laneOf(threadId)?.staged === 0; looks++)
      await sleep(LOOK_MS)
    writer.state = 'killed'
    await writer.worker.terminate()
    const row = await writer.ended
    // After this its staged keys are in the open epoch. The event that says so may come later.
    await this.#tracker.drained()
    for (let looks = 0; looks < LOOKS_MAX && !this.#harvested.has(threadId); looks++)
      await sleep(LOOK_MS)
    this.#killed++
    place.vacantUntil = this.#epochs + EPOCHS_VACANT
    const keys = this.#harvested.get(threadId) ?? 0
    const staged =
      keys === 0
        ? ': it had nothing staged'
        : ` in mid-batch: ${counted(keys, 'key')} it had staged: harvested`
    const inHand =
      row === undefined ? '' : `; it had row ${whole(row)} in hand, which is marked for it`
    this.#show.note(`writer ${writer.number} terminated${staged}${inHand}`)
    return undefined
  }

  /** Starts new writers in the places that have been vacant long enough. */
  #fillPlaces(): void {
    for (const place of this.#places) {
      const { writer } = place
      if (writer.state !== 'killed' || this.#epochs < place.vacantUntil) continue
      place.writer = this.#startWriter(true)
      this.#show.note(`writer ${place.writer.number} takes the place of writer ${writer.number}`)
    }
  }

  readonly #failCheckpoint: Accident = async () => new Error('the disk is full')

  readonly #killAggregator: Accident = async () => {
    const startedAt = performance.now()
    const restarted = new Promise<TrackerEvents['restart']>((resolve, reject) => {
      this.#onRestart = resolve
      this.#tracker.closed.catch(reject)
      setTimeout(
        () => reject(new Error(`no new aggregator after ${RESTART_MS_MAX} ms`)),
        RESTART_MS_MAX,
      ).unref()
    })
    await this.#aggregator!.terminate()
    await restarted
    this.#onRestart = undefined
    const { queued } = this.#tracker.stats()
    const ms = milliseconds(performance.now() - startedAt)
    this.#show.note(
      `aggregator terminated: restarted after ${ms}, ` +
        `with ${whole(queued)} batches in the ring, ${whole(this.#oracle.lost)} lost`,
    )
    return undefined
  }

  /** Writes every row once: these are more keys than an epoch holds. */
  readonly #overflow: Accident = async () => {
    const { maxKeysPerEpoch } = this.#tracker.options
    const isTooMuch = this.#store.rows > maxKeysPerEpoch
    this.#show.note(
      `bulk load of all ${whole(this.#store.rows)} rows: ` +
        `an epoch holds ${whole(maxKeysPerEpoch)}${isTooMuch ? '' : ', so it stays exact'}`,
    )
    await this.#startWriter(false).ended
    return undefined
  }

  /**
   * Takes an epoch's numbers now. The returned function reports them, once the outcome is known.
   */
  #measure(epoch: SealedEpoch): (outcome: EpochReport['outcome']) => EpochReport {
    const at = performance.now()
    const { id, size, exact } = epoch
    const { writers, queued } = this.#tracker.stats()
    const marked = sum(writers.map(({ marked, rejected }) => marked - rejected))
    const delivered = sum(writers.map(({ delivered }) => delivered))
    const marksPerSecond = ((marked - this.#last.marked) / (at - this.#last.at)) * 1000
    const marks = delivered - this.#last.delivered
    this.#last = { at, marked, delivered }
    this.#handedOut += size
    this.#epochs++
    if (!exact) this.#inexact++
    return (outcome) => {
      const { lost, invented } = this.#oracle
      const sealMs = this.#sealMs.get(id)!
      this.#sealMs.delete(id)
      return {
        id,
        marksPerSecond,
        marks,
        keys: size,
        exact,
        queued,
        sealMs,
        outcome,
        lost,
        invented,
      }
    }
  }

  /** The proof. */
  #facts(): Fact[] {
    const { lost, invented, marks } = this.#oracle
    const { writers, committed, restored, harvested, queuedPeak, sealMs } = this.#tracker.stats()
    const { restarts, panics } = this.#tracker.health()
    const delivered = sum(writers.map(({ delivered }) => delivered))
    const waits = sum(writers.map(({ waits }) => waits))
    const rejected = sum(writers.map(({ rejected }) => rejected))
    const differing = this.#store.differingRows(this.#copy)
    // A writer logs a row before it marks it. So each terminated writer may have logged one mark
    // that it did not make. The main thread made that mark.
    const suppressed = sum(writers.map(({ suppressed }) => suppressed))
    const unmade = marks - delivered - suppressed
    const isCounted = unmade >= 0 && unmade <= this.#killed
    const duplicates = delivered + this.#restoredRows - this.#handedOut
    return [
      {
        name: 'marks',
        isRight: isCounted,
        text:
          `${whole(marks)} logged, ${whole(delivered)} delivered, ` +
          `${whole(harvested)} of them harvested` +
          (suppressed === 0 ? '' : `, ${whole(suppressed)} of rows that were staged already`) +
          (unmade === 0 ? '' : `; ${unmade} that a terminated writer had logged and not made`),
      },
      told(
        'duplicates',
        `${whole(duplicates)} removed` +
          (this.#inexact === 0
            ? ''
            : ', at most: an epoch that is not exact holds a part of its keys'),
      ),
      told(
        'epochs',
        `${this.#epochs} sealed, ${committed} committed, ` +
          `${restored} restored, ${this.#inexact} not exact`,
      ),
      told(
        'seal',
        `p50 ${milliseconds(sealMs.p50)}, p99 ${milliseconds(sealMs.p99)}, ` +
          `max ${milliseconds(sealMs.max)}`,
      ),
      told(
        'pressure',
        `the aggregator found at most ${whole(queuedPeak)} batches in the ring; ` +
          `writers waited ${whole(waits)} times, ${whole(rejected)} marks refused and made again`,
      ),
      told('aggregator', `restarts ${restarts}, panics ${panics}`),
      {
        name: 'lost',
        isRight: lost === 0,
        text: `${whole(lost)} rows that were marked and not handed out in time`,
      },
      {
        name: 'invented',
        isRight: invented === 0,
        text: `${whole(invented)} rows that were handed out and not marked`,
      },
      {
        name: 'copy',
        isRight: differing === 0,
        text:
          differing === 0
            ? `equals the store, byte for byte (${whole(this.#store.buffer.byteLength)} bytes)`
            : `${whole(differing)} rows differ from the store`,
      },
    ]
  }
}

function told(name: string, text: string): Fact {
  return { name, isRight: undefined, text }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0)
}
