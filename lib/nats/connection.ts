import { away, within } from '../cluster/engine.js'
import type { NatsClient, NatsStatus } from './client.js'

/**
 * Knows whether a client is connected. A client drops what is sent while it is not, and its calls
 * wait for an answer that can't come. So a call waits for the connection first, and ends when it is
 * lost.
 */
export class Connection {
  readonly client: NatsClient
  #watched: AsyncIterable<NatsStatus> | undefined
  #isUp = true
  #isOver = false
  /** Calls that wait for an answer. */
  readonly #calls = new Set<(error: Error) => void>()
  /** Calls that wait for the connection. */
  readonly #waiting = new Set<() => void>()

  constructor(client: NatsClient) {
    this.client = client
  }

  /**
   * Makes a call when the connection is there; away() if it does not come, or is lost meanwhile.
   */
  async call<T>(make: () => Promise<T>, ms: number, what: string): Promise<T> {
    this.#watch()
    if (!this.#isUp && !this.client.isClosed()) {
      let go = (): void => undefined
      const isUp = new Promise<void>((resolve) => (go = resolve))
      this.#waiting.add(go)
      try {
        await within(isUp, ms, what)
      } finally {
        this.#waiting.delete(go)
      }
    }
    return this.unlessLost(make())
  }

  /** Waits for an answer, until the connection is lost. */
  async unlessLost<T>(answer: Promise<T>): Promise<T> {
    let lose = (_: Error): void => undefined
    // Of this call alone: a promise that lives as long as the connection would keep every call.
    const loss = new Promise<never>((_, reject) => (lose = reject))
    this.#calls.add(lose)
    try {
      return await Promise.race([answer, loss])
    } finally {
      this.#calls.delete(lose)
    }
  }

  /** Ends the watch, also for calls of a read that was given up and goes on. */
  close(): void {
    this.#isOver = true
    ;(this.#watched as { stop?: () => void } | undefined)?.stop?.()
    this.#watched = undefined
  }

  #watch(): void {
    if (this.#isOver || this.#watched !== undefined || this.client.status === undefined) return
    const watched = this.client.status()
    this.#watched = watched
    const follow = async (): Promise<void> => {
      for await (const { type } of watched) {
        if (type === 'disconnect') this.#setUp(false)
        else if (type === 'reconnect') this.#setUp(true)
      }
      this.#setUp(this.client.isClosed()) // closed: let the calls find out
    }
    follow().catch(() => undefined)
  }

  #setUp(isUp: boolean): void {
    this.#isUp = isUp
    if (isUp) {
      for (const go of this.#waiting) go()
      return
    }
    for (const lose of this.#calls) lose(away('the connection to the server was lost'))
  }
}
