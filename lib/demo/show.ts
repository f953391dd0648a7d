/**
 * What the demo reports while it runs, and the output of these reports as plain lines. live.ts
 * shows the same reports on a screen.
 */
import { styleText } from 'node:util'
import type { AggregatorHealth, ResolvedOptions } from '../index.js'
import type { DemoSettings } from './demo.js'
import { bytes, milliseconds, whole } from './text.js'

/** The numbers and the outcome of one epoch. */
export interface EpochReport {
  readonly id: number
  /** The rate of all writers together, since the epoch before. */
  readonly marksPerSecond: number
  readonly marks: number
  readonly keys: number
  readonly exact: boolean
  readonly queued: number
  readonly sealMs: number
  readonly outcome: 'committed' | 'restored'
  /** What the oracle counted in all epochs so far. */
  readonly lost: number
  readonly invented: number
}

/** One line of the proof. If `isRight` is undefined, the line only informs. */
export interface Fact {
  readonly name: string
  readonly isRight: boolean | undefined
  readonly text: string
}

export interface WriterLook {
  readonly number: number
  readonly marksPerSecond: number
  readonly state: 'starts' | 'marks' | 'waits' | 'killed' | 'ended'
}

/** The state of the demo at one moment. */
export interface Look {
  readonly elapsedS: number
  readonly writers: readonly WriterLook[]
  readonly queued: number
  readonly queuedPeak: number
  readonly health: AggregatorHealth
}

/** The running demo, as a Show sees it. */
export interface Shown {
  readonly settings: DemoSettings
  readonly options: ResolvedOptions
  readonly kernel: string
  readonly bytesReserved: number
  look(): Look
  /** Asks the demo to terminate a writer, or to let a checkpoint throw, before the next epoch. */
  request(accident: 'kill' | 'fail'): void
}

export interface Show {
  begin(demo: Shown): void
  epoch(report: EpochReport): void
  note(text: string): void
  end(facts: readonly Fact[]): void
  /** Leaves the terminal as it was before. It may be called after an error, and twice. */
  close(): void
}

export type Colour = 'red' | 'green' | 'yellow' | 'dim'

export function paint(text: string, colour: Colour | undefined, colours: boolean): string {
  return colour !== undefined && colours ? styleText(colour, text) : text
}

export const isRight = (facts: readonly Fact[]): boolean =>
  facts.every((fact) => fact.isRight !== false)

export function describe({ settings, options, kernel, bytesReserved }: Shown): string[] {
  const { writers, rate, rows, rowBytes, theta, epochMs } = settings
  const pace = rate === 0 ? 'as fast as they can' : `${whole(rate)} marks/s each`
  return [
    `${writers} writers, ${pace}, on ${whole(rows)} rows of ${rowBytes} bytes (Zipf ${theta}); ` +
      `a checkpoint every ${epochMs} ms`,
    `batches of ${options.batchSize} keys, ring of ${options.capacity} batches, ` +
      `at most ${whole(options.maxKeysPerEpoch)} keys an epoch; ` +
      `kernel ${kernel}, ${bytes(bytesReserved)} reserved`,
  ]
}

/** Returns the facts, one per line, and the verdict below them. */
export function verdict(facts: readonly Fact[], colours: boolean): string[] {
  const wrong = facts.filter(({ isRight }) => isRight === false).map(({ name }) => name)
  const line = (name: string, text: string, colour?: Colour): string =>
    paint(`${name.padEnd(11)} ${text}`, colour, colours)
  return [
    ...facts.map(({ name, isRight, text }) =>
      line(name, text, isRight === false ? 'red' : undefined),
    ),
    wrong.length === 0
      ? line('verdict', 'all agree', 'green')
      : line('verdict', `WRONG: ${wrong.join(', ')}`, 'red'),
  ]
}

/** Prints one line per epoch, for files, pipes and logs. */
export class PlainLines implements Show {
  readonly #write: (text: string) => void
  readonly #colours: boolean
  #capacity = 0

  constructor(write: (text: string) => void, colours: boolean) {
    this.#write = write
    this.#colours = colours
  }

  begin(demo: Shown): void {
    this.#capacity = demo.options.capacity
    for (const line of describe(demo)) this.#line(line)
    this.#line('')
    this.#line(
      'epoch   marks/s      marks      keys  duplicates        ring  sealed in  ' +
        'checkpoint          lost  invented',
    )
  }

  epoch({
    id,
    marksPerSecond,
    marks,
    keys,
    exact,
    queued,
    sealMs,
    outcome,
    lost,
    invented,
  }: EpochReport): void {
    // `marks` includes a few keys of the next epoch, because the writers go on during the cut.
    const duplicates = marks === 0 ? 0 : Math.max(0, 1 - keys / marks)
    const columns = [
      String(id).padStart(5),
      `${(marksPerSecond / 1e6).toFixed(2)} M`.padStart(9),
      whole(marks).padStart(10),
      whole(keys).padStart(9),
      `${(duplicates * 100).toFixed(1)} %`.padStart(11),
      `${whole(queued)}/${whole(this.#capacity)}`.padStart(11),
      milliseconds(sealMs).padStart(10),
      '',
      (exact ? outcome : `${outcome}, all rows`).padEnd(19),
      whole(lost).padStart(4),
      whole(invented).padStart(9),
    ]
    this.#line(columns.join(' '), lost + invented > 0 ? 'red' : undefined)
  }

  note(text: string): void {
    this.#line(`      ${text}`, 'yellow')
  }

  end(facts: readonly Fact[]): void {
    this.#line('')
    for (const line of verdict(facts, this.#colours)) this.#line(line)
  }

  close(): void {
    // Nothing to do: plain lines change no state of the terminal.
  }

  #line(text: string, colour?: Colour): void {
    this.#write(`${paint(text, colour, this.#colours)}\n`)
  }
}
