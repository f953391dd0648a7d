/**
 * The live screen as a pure function: it turns the demo's state into lines that fit the terminal.
 */
import type { Colour, EpochReport, Look, Shown, WriterLook } from './show.js'
import { bytes, counted, milliseconds, whole } from './text.js'

/** A piece of text in one colour. A line is an array of spans. */
export interface Span {
  readonly text: string
  readonly colour?: Colour
}

export interface Note {
  readonly atS: number
  readonly text: string
}

export interface Screen extends Omit<Shown, 'look' | 'request'> {
  readonly look: Look
  /** The epoch that was settled last. */
  readonly epoch: EpochReport | undefined
  readonly notes: readonly Note[]
  /** The highest rate of any writer so far. A full bar means this rate. */
  readonly fullMarksPerSecond: number
  /** The text that explains the keys; empty without a keyboard. */
  readonly keys: string
}

const LABEL = 11
const GAP = 3
const WRITER_BAR = 10
const RING_BAR = 16
/** Widths of a writer's name (`w12`) and of its whole cell, so that the cells form columns. */
const WRITER_NAME = 4
const WRITER_CELL = WRITER_NAME + WRITER_BAR + 11
const WRITER_LINES_MAX = 6
const NOTE_TIME = 9

/** Returns at most `rows` lines of at most `columns` characters. */
export function screenLines(screen: Screen, columns: number, rows: number): Span[][] {
  const { settings, options, kernel, bytesReserved, look, epoch, keys } = screen
  const above = [
    ...flow(
      'dirtyring',
      [
        text(`${look.elapsedS.toFixed(0)} s of ${settings.seconds}`),
        text(`${whole(settings.rows)} rows of ${settings.rowBytes} bytes, Zipf ${settings.theta}`),
        text(`an epoch every ${settings.epochMs} ms`),
        text(`kernel ${kernel}, ${bytes(bytesReserved)} reserved`),
      ],
      columns,
    ),
    [],
    ...writerLines(screen, columns),
    ...flow(
      'ring',
      [
        text(
          `[${bar(look.queued / options.capacity, RING_BAR, '.')}] ` +
            `${whole(look.queued).padStart(5)}/${whole(options.capacity)} batches`,
        ),
        text(`${whole(look.queuedPeak)} at most`.padEnd(13)),
        aggregator(look),
      ],
      columns,
    ),
    ...(epoch === undefined
      ? flow('epoch', [text('none yet')], columns)
      : epochLines(epoch, columns)),
    [],
  ]
  const below =
    keys === '' ? [] : [[], [{ text: cut(` ${keys}`, columns), colour: 'dim' as const }]]
  const notes = screen.notes.map((note) => noteLines(note, columns))
  // Drop the oldest notes until the rest fits.
  while (notes.length > 0 && above.length + notes.flat().length + below.length > rows) notes.shift()
  return [...above, ...notes.flat(), ...below].slice(0, rows)
}

export function noteLines({ atS, text }: Note, columns: number): Span[][] {
  const width = Math.max(1, columns - NOTE_TIME)
  return wrap(text, width).map((line, i) => [
    {
      text: cut(
        i === 0
          ? `${atS.toFixed(1)} s`.padStart(NOTE_TIME - 2).padEnd(NOTE_TIME)
          : ' '.repeat(NOTE_TIME),
        columns,
      ),
      colour: 'dim',
    },
    { text: line, colour: 'yellow' },
  ])
}

function writerLines({ look, fullMarksPerSecond }: Screen, columns: number): Span[][] {
  const perLine = Math.max(1, Math.floor((columns - LABEL + GAP) / (WRITER_CELL + GAP)))
  const most = perLine * WRITER_LINES_MAX
  const cells = look.writers
    .slice(0, look.writers.length > most ? most - 1 : most)
    .map((writer) => writerCell(writer, fullMarksPerSecond))
  const left = look.writers.length - cells.length
  return flow('writers', left === 0 ? cells : [...cells, text(`and ${left} more`)], columns)
}

function writerCell({ number, marksPerSecond, state }: WriterLook, full: number): Span {
  const name = `w${number}`.padEnd(WRITER_NAME)
  if (state === 'killed') return { text: `${name}x killed`.padEnd(WRITER_CELL), colour: 'red' }
  if (state === 'starts' || state === 'ended')
    return { text: `${name}${state}`.padEnd(WRITER_CELL), colour: 'dim' }
  const rate = `${(marksPerSecond / 1e6).toFixed(2)} M/s`.padStart(10)
  const share = bar(full === 0 ? 0 : marksPerSecond / full, WRITER_BAR, '-')
  return {
    text: `${name}${share}${rate}`.padEnd(WRITER_CELL),
    ...(state === 'waits' ? { colour: 'yellow' } : {}),
  }
}

function aggregator({ health: { state, restarts, panics } }: Look): Span {
  const isWell = state === 'running' || state === 'finished'
  const counts = [
    ...(restarts > 0 ? [counted(restarts, 'restart')] : []),
    ...(panics > 0 ? [counted(panics, 'panic')] : []),
  ]
  return {
    text:
      ['aggregator', state === 'running' ? 'ok' : state].join(' ') +
      counts.map((each) => `, ${each}`).join(''),
    colour: isWell ? 'green' : 'red',
  }
}

function epochLines(
  { id, marks, keys, exact, sealMs, outcome, lost, invented }: EpochReport,
  columns: number,
): Span[][] {
  const how = exact ? outcome : `${outcome}, all rows`
  return flow(
    `epoch ${id}`,
    [
      text(`${whole(marks).padStart(7)} marks -> ${whole(keys).padStart(7)} keys`),
      text(`sealed in ${milliseconds(sealMs).padStart(7)}`),
      { text: how.padEnd(9), ...(outcome === 'restored' || !exact ? { colour: 'yellow' } : {}) },
      {
        text: `lost ${whole(lost)}   invented ${whole(invented)}`,
        colour: lost + invented === 0 ? 'green' : 'red',
      },
    ],
    columns,
  )
}

function text(text: string): Span {
  return { text }
}

/** Puts the items behind the label. Items that do not fit in a line go to the next lines. */
function flow(label: string, items: readonly Span[], columns: number): Span[][] {
  const indent = Math.min(LABEL, Math.max(0, columns - 1))
  const room = columns - indent
  const lines: Span[][] = []
  let line: Span[] = [{ text: cut(` ${label}`, indent - 1).padEnd(indent) }]
  let used = 0
  for (const item of items) {
    const length = item.text.length
    if (used > 0 && used + GAP + length > room) {
      lines.push(line)
      line = [{ text: ' '.repeat(indent) }]
      used = 0
    }
    if (used > 0) line.push({ text: ' '.repeat(GAP) })
    const fitting = cut(item.text, room - used - (used > 0 ? GAP : 0))
    line.push({ ...item, text: fitting })
    used += fitting.length + (used > 0 ? GAP : 0)
  }
  return [...lines, line]
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = ''
    }
    line = cut(line === '' ? word : `${line} ${word}`, width)
  }
  return [...lines, line]
}

function bar(share: number, width: number, empty: string): string {
  return '#'.repeat(Math.round(Math.min(1, Math.max(0, share)) * width)).padEnd(width, empty)
}

function cut(text: string, columns: number): string {
  return text.slice(0, Math.max(0, columns))
}
