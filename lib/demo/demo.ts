/**
 * Workers write a shared table; the main thread keeps a copy of it up to date by copying, every now and then, the rows that changed. On the way a writer
 * and the aggregator are terminated, a checkpoint fails, and an epoch overflows. At the end the copy must be the table, byte for byte.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { styleText } from 'node:util'
import { Worker } from 'node:worker_threads'
import { DirtyTracker, type SealedEpoch, type TrackerOptions, type Writer } from '../index.js' // you write: from 'dirtyring'
import { createLog, Oracle } from './oracle.js'
import { Store } from './store.js'
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
  /** Marks a second, of each writer; 0: as fast as possible. */
  readonly rate: number
  /** Rows that the checkpoints leave out, so that the proof is seen to fail. */
  readonly forgetRows: number
  readonly tracker: TrackerOptions
}

export interface Output {
  line(text: string): void
  readonly colours: boolean
}

interface RunningWriter {
  readonly number: number
  readonly worker: Worker
  /** Resolves when the thread has ended, with the row that it had in hand. */
  readonly ended: Promise<number | undefined>
}

/** How soon the logs are read, and how soon something awaited is looked at again. */
const READ_LOGS_MS = 20
const LOOK_MS = 2
const LOOKS_MAX = 50
const RESTART_MS_MAX = 10_000

/** Resolves with true if store and copy are the same at the end, and the tracker lost and invented nothing. */
export async function runDemo(settings: DemoSettings, output: Output, signal: AbortSignal): Promise<boolean> {
  const demo = new Demo(settings, output)
  try {
    await demo.start()
    await demo.run(signal)
    return await demo.end()
  } catch (error) {
    await demo.abandon()
    throw error
  }
}

class Demo {
  readonly #settings: DemoSettings
  readonly #output: Output
  readonly #store: Store
  readonly #copy: Store
  readonly #zeta: number
  readonly #clock = new Int32Array(new SharedArrayBuffer(4))
  readonly #ending = new Int32Array(new SharedArrayBuffer(4))
  readonly #oracle = new Oracle(this.#clock)
  readonly #writers: RunningWriter[] = []
  readonly #forgotten = new Set<number>()
  #tracker!: DirtyTracker
  #dirty!: Writer
  #aggregator: Worker | undefined
  #writersStarted = 0
  /** Set when a writer ends with an error of its own. */
  #failure: Error | undefined
  #reading: ReturnType<typeof setInterval> | undefined
  #last = { at: 0, marked: 0, delivered: 0 }
  /** Rows handed out, and those of restored epochs, which are handed out again. */
  #handedOut = 0
  #restoredRows = 0
  #epochs = 0
  #inexact = 0
  #killed = 0

  constructor(settings: DemoSettings, output: Output) {
    this.#settings = settings
    this.#output = output
    this.#store = Store.create(settings.rows, settings.rowBytes)
    this.#copy = Store.create(settings.rows, settings.rowBytes)
    this.#zeta = zetaOf(settings.rows, settings.theta)
  }

  async start(): Promise<void> {
    const { writers, rows, rowBytes, epochMs, theta, rate, tracker } = this.#settings
    this.#tracker = await DirtyTracker.create({
      ...tracker,
      // Called again whenever that worker dies. Only to have a worker in hand that can be terminated on purpose: the default needs no function.
      aggregator: () => {
        this.#aggregator = new Worker(new URL('./aggregator.js', import.meta.url))
        return this.#aggregator
      },
    })
    this.#dirty = this.#tracker.openWriter()
    this.#reading = setInterval(() => this.#oracle.read(), READ_LOGS_MS)
    const { options, kernel } = this.#tracker
    const mebibytes = (this.#tracker.stats().bytes.total / 2 ** 20).toFixed(1)
    const pace = rate === 0 ? 'as fast as they can' : `${whole(rate)} marks/s each`
    this.#say(`${writers} writers, ${pace}, on ${whole(rows)} rows of ${rowBytes} bytes (Zipf ${theta}); a checkpoint every ${epochMs} ms`)
    this.#say(
      `batches of ${options.batchSize} keys, ring of ${options.capacity} batches, at most ${whole(options.maxKeysPerEpoch)} keys an epoch; ` +
        `kernel ${kernel}, ${mebibytes} MiB reserved`,
    )
    this.#say('')
    this.#say('epoch   marks/s      marks      keys  duplicates        ring  sealed in  checkpoint          lost  invented')
    for (let i = 0; i < writers; i++) this.#startWriter(true)
    const isUp = (): boolean => this.#tracker.stats().writers.filter(({ open }) => open).length > writers
    while (!isUp() && this.#failure === undefined) await sleep(LOOK_MS)
    this.#last.at = performance.now()
  }

  /** A checkpoint every `epochMs` for as many `seconds`, and until every accident of the script has happened. */
  async run(signal: AbortSignal): Promise<void> {
    const { seconds, epochMs } = this.#settings
    const script: (() => Promise<Error | undefined>)[] = [
      () => this.#killWriter(),
      () => this.#failCheckpoint(),
      () => this.#killAggregator(),
      () => this.#overflow(),
    ]
    const spacingMs = (seconds * 1000) / (script.length + 1)
    const startedAt = performance.now()
    let accidents = 0
    let next = startedAt + epochMs
    while (!signal.aborted && (accidents < script.length || performance.now() - startedAt < seconds * 1000)) {
      await sleep(Math.max(0, next - performance.now()), undefined, { signal }).catch(() => undefined)
      next = Math.max(next, performance.now()) + epochMs
      if (this.#failure !== undefined) throw this.#failure
      if (signal.aborted) break
      const isDue = accidents < script.length && performance.now() - startedAt >= (accidents + 1) * spacingMs
      await this.#checkpoint(isDue ? await script[accidents++]() : undefined)
    }
    if (signal.aborted) this.#note('interrupted: the writers end now, the proof is made all the same')
  }

  /** The last epoch, and the proof. */
  async end(): Promise<boolean> {
    Atomics.store(this.#ending, 0, 1)
    await Promise.all(this.#writers.map(({ ended }) => ended))
    if (this.#failure !== undefined) throw this.#failure

    const startedAt = performance.now()
    this.#oracle.beforeCut(this.#tracker.epoch)
    const last = await this.#tracker.stop()
    this.#oracle.afterCut(last.id)
    const line = this.#describe(last, performance.now() - startedAt)
    this.#oracle.handOut(last)
    this.#save(last)
    last.commit()
    this.#oracle.end()
    line('committed')
    clearInterval(this.#reading)
    return this.#verdict()
  }

  /** After an error: leave nothing that keeps the process alive. What else goes wrong here follows from it. */
  async abandon(): Promise<void> {
    clearInterval(this.#reading)
    for (const { worker, ended } of this.#writers) await Promise.allSettled([worker.terminate(), ended])
    await this.#tracker?.stop().catch(() => undefined)
  }

  /** Copy exactly the rows that changed since the last time; with an accident, in vain. */
  async #checkpoint(accident: Error | undefined): Promise<void> {
    const startedAt = performance.now()
    let line: (outcome: string) => void = () => undefined
    let id = 0
    let rows = 0
    this.#oracle.beforeCut(this.#tracker.epoch)
    try {
      await this.#tracker.consume((epoch) => {
        id = epoch.id
        rows = epoch.size
        this.#oracle.afterCut(id)
        line = this.#describe(epoch, performance.now() - startedAt)
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
    line(accident === undefined ? 'committed' : 'restored')
  }

  #save(epoch: SealedEpoch): void {
    if (epoch.exact) {
      for (const row of epoch.ids()) {
        if (this.#forgotten.size < this.#settings.forgetRows) this.#forgotten.add(row)
        this.#copyRow(row)
      }
    } else {
      for (let row = 0; row < this.#store.rows; row++) this.#copyRow(row)
    }
  }

  #copyRow(row: number): void {
    if (!this.#forgotten.has(row)) this.#store.copyRow(row, this.#copy)
  }

  /** @param skewed like the others; else it writes every row once, and ends. */
  #startWriter(skewed: boolean): RunningWriter {
    const { rowBytes, theta, seed, rate } = this.#settings
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
      // The tracker has seen the end of this thread as well, so that what it had staged is in the epoch that is open now, at the latest.
      const { epoch } = this.#tracker
      stopReading(epoch)
      const row = hand[0] - 1
      if (row < 0) return undefined
      this.#mark(row)
      return row
    })
    const writer = { number, worker, ended }
    this.#writers.push(writer)
    return writer
  }

  /** The main thread marks a row that a writer could not mark any more. Marked twice does no harm. */
  #mark(row: number): void {
    const { epoch } = this.#tracker
    const nap = (): unknown => Atomics.wait(this.#ending, 0, Atomics.load(this.#ending, 0), 1)
    while (!this.#dirty.mark(row)) nap()
    while (!this.#dirty.flush()) nap()
    this.#oracle.markedHere(row, epoch)
  }

  /** A writer is terminated, most likely in mid-batch; another one takes its place. */
  async #killWriter(): Promise<undefined> {
    const [victim] = this.#writers
    const { threadId } = victim.worker
    const isMidBatch = (): boolean => this.#tracker.stats().writers.some((writer) => writer.threadId === threadId && writer.staged > 0)
    for (let looks = 0; looks < LOOKS_MAX && !isMidBatch(); looks++) await sleep(LOOK_MS)
    const before = this.#tracker.stats().harvested
    await victim.worker.terminate()
    const row = await victim.ended
    await this.#tracker.drained() // now its staged keys are in the open epoch
    const harvested = this.#tracker.stats().harvested - before
    this.#killed++
    const successor = this.#startWriter(true)
    const inHand = row === undefined ? '' : `; it had row ${whole(row)} in hand, which is marked for it`
    this.#note(
      `writer ${victim.number} terminated: ${keys(harvested)} it had staged, harvested${inHand}; writer ${successor.number} takes over`,
    )
  }

  async #failCheckpoint(): Promise<Error> {
    const accident = new Error('the disk is full')
    this.#note(
      `the checkpoint of epoch ${this.#tracker.epoch} is going to fail ("${accident.message}"): its keys are in epoch ${this.#tracker.epoch + 1}`,
    )
    return accident
  }

  async #killAggregator(): Promise<undefined> {
    const { restarts } = this.#tracker.health()
    const startedAt = performance.now()
    await this.#aggregator!.terminate()
    while (this.#tracker.health().restarts === restarts) {
      if (performance.now() - startedAt > RESTART_MS_MAX) throw new Error(`no new aggregator after ${RESTART_MS_MAX} ms`)
      await sleep(LOOK_MS)
    }
    const { queued } = this.#tracker.stats()
    const ms = milliseconds(performance.now() - startedAt)
    this.#note(`aggregator terminated: restarted after ${ms}, with ${whole(queued)} batches in the ring, ${whole(this.#oracle.lost)} lost`)
  }

  /** A bulk load of every row: more keys than an epoch holds. */
  async #overflow(): Promise<undefined> {
    const { maxKeysPerEpoch } = this.#tracker.options
    const loader = this.#startWriter(false)
    await loader.ended
    this.#note(
      `bulk load of all ${whole(this.#store.rows)} rows: an epoch holds ${whole(maxKeysPerEpoch)}` +
        (this.#store.rows > maxKeysPerEpoch ? ', so it says exact: false, and all rows are copied' : ', so it stays exact'),
    )
  }

  /** The line of an epoch, with the numbers as they are now; to be printed when it is known how it went on. */
  #describe(epoch: SealedEpoch, sealMs: number): (outcome: string) => void {
    const now = performance.now()
    const { writers, queued } = this.#tracker.stats()
    const marked = sum(writers.map(({ marked, rejected }) => marked - rejected))
    const delivered = sum(writers.map(({ delivered }) => delivered))
    const perSecond = ((marked - this.#last.marked) / (now - this.#last.at)) * 1000
    const arrived = delivered - this.#last.delivered
    this.#last = { at: now, marked, delivered }
    this.#handedOut += epoch.size
    this.#epochs++
    if (!epoch.exact) this.#inexact++
    // What arrived includes a few keys of the next epoch: the writers did not stand still for this.
    const duplicates = arrived === 0 ? 0 : Math.max(0, 1 - epoch.size / arrived)
    const columns = [
      String(epoch.id).padStart(5),
      `${(perSecond / 1e6).toFixed(2)} M`.padStart(9),
      whole(arrived).padStart(10),
      whole(epoch.size).padStart(9),
      `${(duplicates * 100).toFixed(1)} %`.padStart(11),
      `${whole(queued)}/${whole(this.#tracker.options.capacity)}`.padStart(11),
      milliseconds(sealMs).padStart(10),
    ]
    return (outcome) => {
      const how = epoch.exact ? outcome : `${outcome}, all rows`
      const { lost, invented } = this.#oracle
      this.#say(
        [...columns, '', how.padEnd(19), whole(lost).padStart(4), whole(invented).padStart(9)].join(' '),
        lost + invented > 0 ? 'red' : undefined,
      )
    }
  }

  #verdict(): boolean {
    const { lost, invented, marks } = this.#oracle
    const { writers, committed, restored, harvested, queuedPeak, sealMs } = this.#tracker.stats()
    const { restarts, panics } = this.#tracker.health()
    const delivered = sum(writers.map(({ delivered }) => delivered))
    const waits = sum(writers.map(({ waits }) => waits))
    const rejected = sum(writers.map(({ rejected }) => rejected))
    const differing = this.#store.differingRows(this.#copy)
    // Logged before it is marked: of each writer that was terminated one mark may be missing, which the main thread then made.
    const suppressed = sum(writers.map(({ suppressed }) => suppressed))
    const unmade = marks - delivered - suppressed
    const isCounted = unmade >= 0 && unmade <= this.#killed
    const duplicates = delivered + this.#restoredRows - this.#handedOut
    const facts: [name: string, isRight: boolean | undefined, text: string][] = [
      [
        'marks',
        isCounted,
        `${whole(marks)} logged, ${whole(delivered)} delivered, ${whole(harvested)} of them harvested` +
          (suppressed === 0 ? '' : `, ${whole(suppressed)} of rows that were staged already`) +
          (unmade === 0 ? '' : `; ${unmade} that a terminated writer had logged and not made`),
      ],
      [
        'duplicates',
        undefined,
        `${whole(duplicates)} removed` + (this.#inexact === 0 ? '' : ', at most: an epoch that is not exact holds a part of its keys'),
      ],
      ['epochs', undefined, `${this.#epochs} sealed, ${committed} committed, ${restored} restored, ${this.#inexact} not exact`],
      ['seal', undefined, `p50 ${milliseconds(sealMs.p50)}, p99 ${milliseconds(sealMs.p99)}, max ${milliseconds(sealMs.max)}`],
      [
        'pressure',
        undefined,
        `the aggregator found at most ${whole(queuedPeak)} batches in the ring; writers waited ${whole(waits)} times, ${whole(rejected)} marks refused and made again`,
      ],
      ['aggregator', undefined, `restarts ${restarts}, panics ${panics}`],
      ['lost', lost === 0, `${whole(lost)} rows that were marked and not handed out in time`],
      ['invented', invented === 0, `${whole(invented)} rows that were handed out and not marked`],
      [
        'copy',
        differing === 0,
        differing === 0
          ? `equals the store, byte for byte (${whole(this.#store.buffer.byteLength)} bytes)`
          : `${whole(differing)} rows differ from the store`,
      ],
    ]
    this.#say('')
    for (const [name, isRight, text] of facts) this.#say(`${name.padEnd(11)} ${text}`, isRight === false ? 'red' : undefined)
    const allAgree = facts.every(([, isRight]) => isRight !== false)
    const wrong = facts.filter(([, isRight]) => isRight === false).map(([name]) => name)
    this.#say(`${'verdict'.padEnd(11)} ${allAgree ? 'all agree' : `WRONG: ${wrong.join(', ')}`}`, allAgree ? 'green' : 'red')
    return allAgree
  }

  #note(text: string): void {
    this.#say(`      ${text}`, 'yellow')
  }

  #say(text: string, colour?: 'red' | 'green' | 'yellow'): void {
    this.#output.line(colour !== undefined && this.#output.colours ? styleText(colour, text) : text)
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0)
}

function whole(count: number): string {
  return count.toLocaleString('en-US')
}

function keys(count: number): string {
  return count === 1 ? '1 key' : `${whole(count)} keys`
}

function milliseconds(ms: number): string {
  return `${ms.toFixed(ms < 10 ? 2 : 0)} ms`
}
