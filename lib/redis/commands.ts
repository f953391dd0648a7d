import { away, closed, within } from '../cluster/engine.js'
import { DirtyRingError, messageOf } from '../errors.js'
import type { RedisClient } from './client.js'

/** What Redis says while it can't serve a command that it can serve at another time. */
const TRANSIENT =
  /^(LOADING|OOM|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|BUSY|MISCONF|NOREPLICAS|UNBLOCKED)\b/

/**
 * The commands that an adapter sends. A client queues what is sent while it is not connected. So
 * after a failure a short PING goes first: messages do not pile up in an outage.
 */
export class Commands {
  readonly client: RedisClient
  readonly #timeoutMs: number
  #isDoubtful = true

  constructor(client: RedisClient, timeoutMs: number) {
    this.client = client
    this.#timeoutMs = timeoutMs
  }

  /** Resolves when the server answers. */
  async ready(): Promise<void> {
    if (!this.#isDoubtful && this.client.status === 'ready') return
    this.#isDoubtful = true
    await this.send('PING')
    this.#isDoubtful = false
  }

  /** @param waitMs - how long the server may wait before it answers */
  async send(
    command: string,
    args: readonly (string | Uint8Array | number)[] = [],
    waitMs = 0,
  ): Promise<unknown> {
    if (this.client.status === 'end') throw this.#closed()
    try {
      return await within(
        this.client.callBuffer(command, ...args),
        waitMs + this.#timeoutMs,
        command,
      )
    } catch (error) {
      this.#isDoubtful = true
      throw this.#errorOf(error, command)
    }
  }

  /** What an error of the client means to a publisher or a reader. */
  #errorOf(error: unknown, command: string): unknown {
    if (error instanceof DirtyRingError) return error
    if (this.client.status === 'end') return this.#closed(error)
    const isReply = (error as { name?: unknown }).name === 'ReplyError'
    if (isReply && !TRANSIENT.test(messageOf(error))) return error
    return away(`${command}: ${messageOf(error)}`, error)
  }

  #closed(error?: unknown): DirtyRingError {
    return closed(
      'the Redis client is closed: by its owner, or because its retryStrategy gave up. ' +
        'Close the sink and the source before it',
      error,
    )
  }
}

/** Text of an answer. */
export function textOf(answer: unknown): string {
  return answer === null || answer === undefined ? '' : (answer as Uint8Array | number).toString()
}

/** An entry of a stream: its id, and its only field. */
export interface Entry {
  readonly id: string
  readonly bytes: Uint8Array
}

/** The entries of XRANGE and XREVRANGE. One that others have added has no field of ours. */
export function entriesOf(answer: unknown): Entry[] {
  return ((answer ?? []) as [unknown, unknown[]][]).map(([id, fields]) => {
    const at = fields.findIndex((field, i) => i % 2 === 0 && textOf(field) === FIELD)
    return { id: textOf(id), bytes: at < 0 ? new Uint8Array(0) : (fields[at + 1] as Uint8Array) }
  })
}

/**
 * The entries of XREAD from one stream: [[key, entries]], or [key, entries] in a newer protocol.
 */
export function entriesRead(answer: unknown): Entry[] {
  if (answer === null || answer === undefined) return []
  const [first, second] = answer as unknown[]
  return entriesOf(Array.isArray(first) ? (first as unknown[])[1] : second)
}

/** The field of an entry that holds the message. */
export const FIELD = 'm'
