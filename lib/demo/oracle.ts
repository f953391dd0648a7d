/**
 * The proof, which no application needs: every writer keeps a log of its marks, and the main thread
 * holds what the tracker hands out against plain Sets made from these logs, epoch by epoch.
 *
 * In which epoch a mark must be follows from one word of shared memory, the cut clock: 2e while
 * epoch e is open, 2e + 1 while it is being cut. The writer stamps its log with the clock whenever
 * all of its marks are published: what it marks between two stamps is in no epoch before the first,
 * and in none after the second.
 */

const LOG_ENTRIES = 2 ** 17
/** Entries read at once: a writer may be adding them as fast as they are read. */
const READ_MAX = LOG_ENTRIES / 4
const EMPTY = -(2 ** 31)
/** After the entries: how many the reader has taken out. */
const TAKEN = LOG_ENTRIES

export function createLog(): Int32Array {
  return new Int32Array(new SharedArrayBuffer((LOG_ENTRIES + 1) * 4)).fill(EMPTY, 0, LOG_ENTRIES)
}

/**
 * A writer's end of its log. An entry is a row, or ~clock. There is no count of them: whatever is
 * not EMPTY is in, also when the writer is killed.
 */
export class MarkLog {
  #written = 0
  #lastStamp = -1

  constructor(
    readonly log: Int32Array,
    readonly clock: Int32Array,
  ) {}

  /** Whether `marks` fit, with a stamp after each. */
  hasRoom(marks: number): boolean {
    return ((this.#written - Atomics.load(this.log, TAKEN)) | 0) + 2 * marks + 2 <= LOG_ENTRIES
  }

  /**
   * Before the mark: a writer killed between the two has logged a mark too many, and says so in its
   * `hand`.
   */
  add(row: number): void {
    this.#append(row)
  }

  /** All marks so far are published. */
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
  /** Marks that are still to come, and those in `rows`, are in no epoch before this one. */
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
 * Marks that came while an epoch was being cut: each must be in one of the epochs `from` to `to`.
 */
interface Between {
  readonly from: number
  readonly to: number
  readonly rows: Set<number>
  readonly missing: Set<number>
}

/** What was handed out: rows, or every row where the epoch was not exact. */
type HandedOut = ReadonlySet<number> | 'every row'

export class Oracle {
  /** Rows that were marked and not handed out in time, counted once an epoch. */
  lost = 0
  /** Rows handed out in an exact epoch that nobody had marked for it, or twice in one. */
  invented = 0
  /** Marks logged. */
  marks = 0
  /** Epochs looked at so far: 0 up to this one. */
  judged = 0
  readonly #clock: Int32Array
  readonly #readers = new Set<LogReader>()
  readonly #marked = new Map<number, Set<number>>()
  readonly #between = new Map<string, Between>()
  readonly #handedOut = new Map<number, HandedOut>()
  /** Epochs that can't be exact, because one that was not was restored into them. */
  readonly #inexact = new Set<number>()

  constructor(clock: Int32Array) {
    this.#clock = clock
  }

  /** Around a cut of `epoch`. */
  beforeCut(epoch: number): void {
    Atomics.store(this.#clock, 0, 2 * epoch + 1)
  }

  afterCut(epoch: number): void {
    Atomics.store(this.#clock, 0, 2 * epoch + 2)
  }

  /**
   * Read a writer's log, whose marks are in `epoch` at the earliest. Returns the function to call
   * when its thread has ended, with the epoch then open.
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

  /** The main thread marked this row itself. */
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
   * Its keys are to be in the next epoch, as if they had been marked there. Not yet judged: nothing
   * is, between hand-out and restore.
   */
  restored(epoch: number): void {
    const rows = this.#handedOut.get(epoch)
    if (rows === 'every row') this.#inexact.add(epoch + 1)
    else if (rows !== undefined) for (const row of rows) this.#mustBeIn(epoch + 1).add(row)
  }

  /** Read the logs; often enough that no writer has to wait for room in its own. */
  read(): void {
    for (const reader of this.#readers) reader.read(this.#onMarks, READ_MAX)
  }

  /** Judge every epoch that was handed out and of which no writer has anything more to tell. */
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
   * Every log has ended, and every epoch was handed out: what was marked for a later one is lost.
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
