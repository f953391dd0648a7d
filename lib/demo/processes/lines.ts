/** What the demo with processes prints: a line for each node, notes, and the proof. */
import type { WriteStream } from 'node:tty'
import { type Fact, paint, verdict } from '../show.js'
import { whole } from '../text.js'

/** How a node is at one moment. */
export interface NodeLook {
  readonly name: string
  readonly pid: number | undefined
  readonly state: 'starts' | 'lives' | 'killed' | 'ends'
  /** Rows written a second, of late. */
  readonly perSecond: number
  readonly written: number
  /** Keys that have arrived from it, and rows that were copied because it could not tell. */
  readonly keys: number
  readonly copied: number
  readonly kills: number
}

export interface Look {
  readonly nodes: readonly NodeLook[]
  readonly epochs: number
  readonly exact: number
  /** From the request for a cut to the epoch, in ms: of the last epoch. */
  readonly cutMs: number
}

const REDRAW_MS = 200
const PLAIN_MS = 1000

/** On a terminal it redraws a block of lines in place. Elsewhere it prints the block every second. */
export class NodeLines {
  readonly #output: Pick<WriteStream, 'write'>
  readonly #isLive: boolean
  readonly #colours: boolean
  #look: (() => Look) | undefined
  #drawn = 0
  #timer: ReturnType<typeof setInterval> | undefined

  constructor(output: Pick<WriteStream, 'write'>, isLive: boolean, colours: boolean) {
    this.#output = output
    this.#isLive = isLive
    this.#colours = colours
  }

  begin(about: string, look: () => Look): void {
    this.#line(about)
    this.#look = look
    this.#timer = setInterval(() => this.#draw(), this.#isLive ? REDRAW_MS : PLAIN_MS)
  }

  note(text: string): void {
    this.#erase()
    this.#line(paint(`      ${text}`, 'yellow', this.#colours))
    if (this.#isLive) this.#draw()
  }

  end(facts: readonly Fact[]): void {
    this.#draw()
    this.#drawn = 0
    this.close()
    this.#line('')
    for (const line of verdict(facts, this.#colours)) this.#line(line)
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #draw(): void {
    if (this.#look === undefined) return
    const { nodes, epochs, exact, cutMs } = this.#look()
    this.#erase()
    for (const node of nodes) this.#line(nodeLine(node, this.#colours))
    this.#line(
      `epochs ${whole(epochs)}, ${whole(exact)} of them exact; the last cut ${cutMs.toFixed(1)} ms`,
    )
    this.#drawn = this.#isLive ? nodes.length + 1 : 0
  }

  /** Takes the block away, so that something else can stand there. */
  #erase(): void {
    if (this.#drawn > 0) this.#output.write(`\x1b[${this.#drawn}A\x1b[J`)
    this.#drawn = 0
  }

  #line(text: string): void {
    this.#output.write(`${text}\n`)
  }
}

function nodeLine(
  { name, pid, state, perSecond, written, keys, copied, kills }: NodeLook,
  colours: boolean,
): string {
  const line = [
    name.padEnd(8),
    state.padEnd(7),
    `pid ${pid ?? '-'}`.padEnd(12),
    `${whole(Math.round(perSecond)).padStart(8)} rows/s`,
    `${whole(written).padStart(11)} written`,
    `${whole(keys).padStart(11)} keys`,
    `${whole(copied).padStart(10)} copied unasked`,
    `${whole(kills).padStart(3)} killed`,
  ].join(' ')
  return paint(line, state === 'killed' ? 'red' : undefined, colours)
}
