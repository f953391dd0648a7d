import type { LogRead } from '../cluster/log.js'

export type Entry = LogRead['messages'][number]

/** What an entry takes beside its bytes, about. */
const ENTRY_BYTES = 256

/**
 * A bounded list of messages, each with a position. The oldest ones go when the list takes more
 * than `maxBytes`; the newest one stays.
 */
export class MessageLog {
  readonly identity: string
  readonly #maxBytes: number
  readonly #onTrim: (entry: Entry) => void
  /** Those before `#begin` are trimmed. They leave the array many at a time. */
  readonly #entries: Entry[] = []
  #begin = 0
  /** How many messages have left the array. */
  #left = 0
  #bytes = 0

  /** @param onTrim - called with each message that the log no longer holds */
  constructor(identity: string, maxBytes: number, onTrim: (entry: Entry) => void) {
    this.identity = identity
    this.#maxBytes = maxBytes
    this.#onTrim = onTrim
  }

  append(entry: Entry): void {
    this.#entries.push(entry)
    this.#bytes += sizeOf(entry)
    while (this.#bytes > this.#maxBytes && this.#begin < this.#entries.length - 1) {
      const oldest = this.#entries[this.#begin++]
      this.#bytes -= sizeOf(oldest)
      this.#onTrim(oldest)
    }
    if (this.#begin * 2 < this.#entries.length) return
    this.#left += this.#begin
    this.#entries.splice(0, this.#begin)
    this.#begin = 0
  }

  /** Messages after a position: at least one if there is one, and about `maxBytes` at most. */
  read(after: string | undefined, maxBytes: number): LogRead {
    const from = after === undefined ? undefined : this.#indexOf(after)
    const messages: Entry[] = []
    let index = from ?? this.#begin
    let bytes = 0
    while (index < this.#entries.length) {
      bytes += sizeOf(this.#entries[index])
      if (bytes > maxBytes && messages.length > 0) break
      messages.push(this.#entries[index++])
    }
    return {
      messages,
      position: `${this.identity}.${this.#left + index}`,
      atEnd: index === this.#entries.length,
      log: this.identity,
      lost: after !== undefined && from === undefined,
    }
  }

  /** Where a position is in the array; undefined if the log has no such position any more. */
  #indexOf(position: string): number | undefined {
    const dot = position.lastIndexOf('.')
    if (position.slice(0, dot) !== this.identity) return undefined
    const digits = position.slice(dot + 1)
    if (!/^\d{1,16}$/.test(digits)) return undefined
    const index = Number(digits) - this.#left
    return index >= this.#begin && index <= this.#entries.length ? index : undefined
  }
}

function sizeOf({ bytes }: Entry): number {
  return bytes.length + ENTRY_BYTES
}
