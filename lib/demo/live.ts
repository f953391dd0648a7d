/** The demo on a terminal: one screen, redrawn in place five times a second, and the keyboard. */
import type { ReadStream, WriteStream } from 'node:tty'
import { type Note, noteLines, screenLines, type Span } from './screen.js'
import {
  describe,
  type EpochReport,
  type Fact,
  paint,
  type Show,
  type Shown,
  verdict,
} from './show.js'

const REDRAW_MS = 200
const COLUMNS = 80
const ROWS = 24

// Escape codes of the VT100 and xterm. BEGIN and END show a frame at once; a terminal that does not
// know them ignores them. ENTER switches to the second screen and hides the cursor, so that LEAVE
// brings the first screen back unchanged.
const ENTER = '\x1b[?1049h\x1b[?25l'
const LEAVE = '\x1b[?25h\x1b[?1049l'
const BEGIN = '\x1b[?2026h\x1b[H'
const END = '\x1b[J\x1b[?2026l'
const END_OF_LINE = '\x1b[K'

export interface Keyboard {
  readonly input: ReadStream
  /** Called on q and on Ctrl-C. In raw mode Ctrl-C sends no signal, but a character. */
  onEnd(why: string): void
}

export class LiveScreen implements Show {
  readonly #output: WriteStream
  readonly #colours: boolean
  readonly #keyboard: Keyboard | undefined
  readonly #notes: Note[] = []
  #demo!: Shown
  #startedAt = 0
  #epoch: EpochReport | undefined
  #full = 0
  #redraw: ReturnType<typeof setInterval> | undefined

  constructor(output: WriteStream, colours: boolean, keyboard: Keyboard | undefined) {
    this.#output = output
    this.#colours = colours
    this.#keyboard = keyboard
  }

  begin(demo: Shown): void {
    this.#demo = demo
    this.#startedAt = performance.now()
    this.#output.write(ENTER)
    this.#keyboard?.input.setRawMode(true).setEncoding('utf8').on('data', this.#onKeys)
    this.#output.on('resize', this.#draw)
    process.on('exit', this.#leave)
    this.#redraw = setInterval(this.#draw, REDRAW_MS)
    this.#draw()
  }

  epoch(report: EpochReport): void {
    this.#epoch = report
  }

  note(text: string): void {
    this.#notes.push({ atS: (performance.now() - this.#startedAt) / 1000, text })
  }

  /** Prints all notes and the proof on the first screen, where they stay. */
  end(facts: readonly Fact[]): void {
    this.close()
    const happened = this.#notes
      .flatMap((note) => noteLines(note, this.#output.columns || COLUMNS))
      .map((line) => this.#paint(line))
    this.#output.write(
      [...describe(this.#demo), '', ...happened, '', ...verdict(facts, this.#colours), ''].join(
        '\n',
      ),
    )
  }

  close(): void {
    if (this.#redraw === undefined) return
    clearInterval(this.#redraw)
    this.#redraw = undefined
    this.#output.off('resize', this.#draw)
    this.#keyboard?.input.off('data', this.#onKeys).pause()
    process.off('exit', this.#leave)
    this.#leave()
  }

  readonly #leave = (): void => {
    this.#keyboard?.input.setRawMode(false)
    this.#output.write(LEAVE)
  }

  readonly #draw = (): void => {
    const keys =
      this.#keyboard === undefined ? '' : 'k kill a writer   f fail the next checkpoint   q end'
    const { settings, options, kernel, bytesReserved } = this.#demo
    const look = this.#demo.look()
    this.#full = Math.max(this.#full, ...look.writers.map(({ marksPerSecond }) => marksPerSecond))
    const lines = screenLines(
      {
        settings,
        options,
        kernel,
        bytesReserved,
        look,
        epoch: this.#epoch,
        notes: this.#notes,
        fullMarksPerSecond: this.#full,
        keys,
      },
      this.#output.columns || COLUMNS,
      this.#output.rows || ROWS,
    )
    this.#output.write(
      BEGIN + lines.map((line) => this.#paint(line) + END_OF_LINE).join('\r\n') + END,
    )
  }

  #paint(line: readonly Span[]): string {
    return line.map(({ text, colour }) => paint(text, colour, this.#colours)).join('')
  }

  readonly #onKeys = (pressed: string): void => {
    for (const key of pressed) {
      if (key === 'k') this.#demo.request('kill')
      else if (key === 'f') this.#demo.request('fail')
      else if (key === 'q') this.#keyboard?.onEnd('q')
      else if (key === '\x03') this.#keyboard?.onEnd('Ctrl-C')
    }
  }
}
