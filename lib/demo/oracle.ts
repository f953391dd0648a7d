/**
 * The proof, which no application needs. Every writer keeps a log of its marks. The main thread
 * makes plain Sets from these logs, and compares each epoch from the tracker with them.
 *
 * One word of shared memory, the cut clock, tells in which epoch a mark must be. It is 2e while
 * epoch e is open, and 2e + 1 while epoch e is being cut. The writer stamps its log with the clock
 * whenever all of its marks are published. A mark between two stamps is in no epoch before the
 * first stamp, and in no epoch after the second.
 */

const LOG_ENTRIES = 2 ** 17
/** The most entries read at once, because a writer may add entries as fast as they are read. */
const READ_MAX = LOG_ENTRIES / 4
const EMPTY = -(2 ** 31)
/** The index of the word after the entries. It counts the entries that the reader has taken out. */
const TAKEN = LOG_ENTRIES

export function createLog(): Int32Array {
  return new Int32Array(new SharedArrayBuffer((LOG_ENTRIES + 1) * 4)).fill(EMPTY, 0, LOG_ENTRIES)
}

/**
 * A writer's end of its log. An entry is a row, or ~clock. The log has no count: every word that is
 * not EMPTY is an entry, also after the writer is killed.
 */
export class MarkLog {
  #written = 0
  #lastStamp = -1

  constructor(
    readonly log: Int32Array,
    readonly clock: Int32Array,
  ) {}

  /** Returns whether so many marks fit, with a stamp after each. */
  hasRoom(marks: number): boolean {
    return ((this.#written - Atomics.load(this.log, TAKEN)) | 0) + 2 * marks + 2 <= LOG_ENTRIES
  }

  /**
   * Logs a row. Call it before the mark. A writer that is killed between the two has logged one
   * mark too many, and its `hand` says so.
   */
  add(row: number): void {
    this.#append(row)
  }

  /** Notes that all marks so far are published. */
  stamp(): void {
    this.#lastStamp = Atomics.load(this.clock, 0)
    this.#append(~this.#lastStamp)
  }

  get isStale(): boolean {
    return Atomics.load(this.clock, 0) !== this.#lastStamp
  }

  #append(entry: number): void {
    this.log[this.#written & (LOG_ENTRIES - 1)] = entry
    this.#written = (this.#written + 1) | 0
  }
}

/** The main thread's end of a writer's log. */
class LogReader {
  #taken = 0
  /** The marks in `rows`, and all later ones, are in no epoch before this one. */
  from: number
  rows: number[] = []

  constructor(
    readonly log: Int32Array,
    epoch: number,
  ) {
    this.from = epoch
  }

  read(onMarks: (rows: number[], from: number, to: number) => void, entriesMax: number): void {
    const { log } = this
    for (let i = 0; i < entriesMax; i++) {
      const at = this.#taken & (LOG_ENTRIES - 1)
      const entry = log[at]
      if (entry === EMPTY) break
      log[at] = EMPTY
      this.#taken = (this.#taken + 1) | 0
      if (entry >= 0) {
        this.rows.push(entry)
      } else {
        onMarks(this.rows, this.from, (~entry + 1) >>> 1)
        this.rows = []
        this.from = ~entry >>> 1
      }
    }
    Atomics.store(log, TAKEN, this.#taken)
  }
}

/**
 * Marks made while an epoch was being cut. Each must be in one of the epochs `from` to `to`.
 */
interface Between {
  readonly from: number
  readonly to: number
  readonly rows: Set<number>
  readonly missing: Set<number>
}

/** The rows that were handed out, or 'every row' if the epoch was not exact. */
type HandedOut = ReadonlySet<number> | 'every row'

export class Oracle {
  /** Rows that were marked and not handed out in time, counted once an epoch. */
  lost = 0
  /** Rows that an exact epoch handed out twice, or without a mark for that epoch. */
  invented = 0
  /** Marks logged. */
  marks = 0
  /** The number of epochs judged so far: all epochs below it. */
  judged = 0
  readonly #clock: Int32Array
  readonly #readers = new Set<LogReader>()
  readonly #marked = new Map<number, Set<number>>()
  readonly #between = new Map<string, Between>()
  readonly #handedOut = new Map<number, HandedOut>()
  /** Epochs that can't be exact, because an inexact epoch was restored into them. */
  readonly #inexact = new Set<number>()

  constructor(clock: Int32Array) {
    this.#clock = clock
  }

  /** Call it before a cut of `epoch`, and afterCut() after the cut. */
  beforeCut(epoch: number): void {
    Atomics.store(this.#clock, 0, 2 * epoch + 1)
  }

  afterCut(epoch: number): void {
    Atomics.store(this.#clock, 0, 2 * epoch + 2)
  }

  /**
   * Follows a writer's log. Its marks are in `epoch` at the earliest. Returns a function: call it
   * when the writer's thread has ended, with the epoch that is open then.
   */
  follow(log: Int32Array, epoch: number): (epoch: number) => void {
    const reader = new LogReader(log, epoch)
    this.#readers.add(reader)
    return (lastEpoch) => {
      reader.read(this.#onMarks, LOG_ENTRIES)
      this.#onMarks(reader.rows, reader.from, lastEpoch)
      this.#readers.delete(reader)
    }
  }

  /** Notes that the main thread has marked this row itself. */
  markedHere(row: number, epoch: number): void {
    this.#onMarks([row], epoch, epoch)
  }

  handOut(epoch: { id: number; exact: boolean; size: number; ids(): Iterable<number> }): void {
    if (!epoch.exact) {
      this.#handedOut.set(epoch.id, 'every row')
      return
    }
    const rows = new Set(epoch.ids())
    this.invented += epoch.size - rows.size
    this.#handedOut.set(epoch.id, rows)
  }

  /**
   * Notes that an epoch was restored. Its keys must be in the next epoch, as if they had been
   * marked there. The epoch is not judged yet, because judge() runs only after the restore.
   */
  restored(epoch: number): void {
    const rows = this.#handedOut.get(epoch)
    if (rows === 'every row') this.#inexact.add(epoch + 1)
    else if (rows !== undefined) for (const row of rows) this.#mustBeIn(epoch + 1).add(row)
  }

  /** Reads the logs. Call it so often that no writer waits for room in its log. */
  read(): void {
    for (const reader of this.#readers) reader.read(this.#onMarks, READ_MAX)
  }

  /** Judges every epoch that was handed out and that no further log entry can concern. */
  judge(): void {
    this.read()
    const open = Math.min(...[...this.#readers].map(({ from }) => from))
    for (; this.judged < open; this.judged++) {
      const handedOut = this.#handedOut.get(this.judged)
      if (handedOut === undefined) return
      this.#judge(this.judged, handedOut)
    }
  }

  /**
   * Ends the proof. Every log has ended, and every epoch was handed out. So a row that is marked
   * for a later epoch is lost.
   */
  end(): void {
    this.judge()
    for (const rows of this.#marked.values()) this.lost += rows.size
    for (const { missing } of this.#between.values()) this.lost += missing.size
  }

  #judge(epoch: number, handedOut: HandedOut): void {
    const marked = this.#mustBeIn(epoch)
    const between = [...this.#between.values()].filter(({ from }) => from <= epoch)
    if (handedOut === 'every row') {
      for (const { missing } of between) missing.clear()
    } else {
      if (this.#inexact.has(epoch)) this.lost++
      for (const row of marked) if (!handedOut.has(row)) this.lost++
      for (const row of handedOut) {
        for (const { missing } of between) missing.delete(row)
        if (!marked.has(row) && !between.some(({ rows }) => rows.has(row))) this.invented++
      }
    }
    for (const each of between) {
      if (each.to > epoch) continue
      this.lost += each.missing.size
      this.#between.delete(`${each.from} to ${each.to}`)
    }
    this.#marked.delete(epoch)
    this.#handedOut.delete(epoch)
  }

  readonly #onMarks = (rows: number[], from: number, to: number): void => {
    this.marks += rows.length
    if (from === to) {
      const marked = this.#mustBeIn(from)
      for (const row of rows) marked.add(row)
    } else if (rows.length > 0) {
      const name = `${from} to ${to}`
      let between = this.#between.get(name)
      if (between === undefined)
        this.#between.set(name, (between = { from, to, rows: new Set(), missing: new Set() }))
      for (const row of rows) {
        between.rows.add(row)
        between.missing.add(row)
      }
    }
  }

  #mustBeIn(epoch: number): Set<number> {
    let rows = this.#marked.get(epoch)
    if (rows === undefined) this.#marked.set(epoch, (rows = new Set()))
    return rows
  }
}
