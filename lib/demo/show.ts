/**
 * What the demo tells about itself while it runs, and how plain lines show it; live.ts shows the
 * same on a screen.
 */
import { styleText } from 'node:util'
import type { AggregatorHealth, ResolvedOptions } from '../index.js'
import type { DemoSettings } from './demo.js'
import { bytes, milliseconds, whole } from './text.js'

/** What came of one epoch. */
export interface EpochReport {
  readonly id: number
  /** Of all writers together, since the epoch before. */
  readonly marksPerSecond: number
  readonly marks: number
  readonly keys: number
  readonly exact: boolean
  readonly queued: number
  readonly sealMs: number
  readonly outcome: 'committed' | 'restored'
  /** By the oracle, all epochs so far. */
  readonly lost: number
  readonly invented: number
}

/** A part of the proof; `isRight` undefined: only told. */
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

/** The demo at this moment. */
export interface Look {
  readonly elapsedS: number
  readonly writers: readonly WriterLook[]
  readonly queued: number
  readonly queuedPeak: number
  readonly health: AggregatorHealth
}

/** The running demo, for those who show it. */
export interface Shown {
  readonly settings: DemoSettings
  readonly options: ResolvedOptions
  readonly kernel: string
  readonly bytesReserved: number
  look(): Look
  /** Terminate a writer, or let a checkpoint throw, before the next epoch. */
  request(accident: 'kill' | 'fail'): void
}

export interface Show {
  begin(demo: Shown): void
  epoch(report: EpochReport): void
  note(text: string): void
  end(facts: readonly Fact[]): void
  /** Leave the terminal as it was; also after an error, also twice. */
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
    `${writers} writers, ${pace}, on ${whole(rows)} rows of ${rowBytes} bytes (Zipf ${theta}); a checkpoint every ${epochMs} ms`,
    `batches of ${options.batchSize} keys, ring of ${options.capacity} batches, at most ${whole(options.maxKeysPerEpoch)} keys an epoch; ` +
      `kernel ${kernel}, ${bytes(bytesReserved)} reserved`,
  ]
}

/** The facts, one a line, and the verdict below them. */
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

/** One line an epoch, for files, pipes and logs. */
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
      'epoch   marks/s      marks      keys  duplicates        ring  sealed in  checkpoint          lost  invented',
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
    // What arrived includes a few keys of the next epoch: the writers did not stand still for this.
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
    // nothing to put back
  }

  #line(text: string, colour?: Colour): void {
    this.#write(`${paint(text, colour, this.#colours)}\n`)
  }
}
