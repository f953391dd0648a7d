import type { AbortSignalLike } from '../signal.js'

/**
 * Where a publisher appends its messages: one end of an adapter for an engine. `natsSink()`,
 * `redisSink()` and `ipcSink()` make one, and `clusterConformance()` tries those of others.
 *
 * A sink serves one publisher. It neither reads nor changes what it appends, and it needs to deliver
 * each message at least once or to refuse it: the numbers in the messages tell readers about every
 * loss.
 *
 * @example
 * ```js
 * // The smallest sink: an array. Nobody asks for cuts.
 * const messages = []
 * const sink = {
 *   maxMessageBytes: 1 << 20,
 *   async append(message) {
 *     messages.push(message)
 *     return 'appended'
 *   },
 *   async last(instance) {
 *     return messages.findLast((message) => message.instance === instance)
 *   },
 *   onCut: () => () => {},
 *   async close() {},
 * }
 * ```
 */
export interface EpochSink {
  /** The longest message that the engine takes, in bytes; at least 64 KiB. */
  readonly maxMessageBytes: number
  /**
   * Appends one message. The publisher appends the next one when this is settled, so at most one is
   * under way.
   *
   * - 'appended': the log has it, for good as far as the engine can tell
   * - 'refused': the log certainly does not have it, because the last message of this instance in
   *   the log is not number `n - 1`. The publisher then asks for last(). An engine that can't tell
   *   appends, and readers find out.
   *
   * @returns a promise that rejects with `ERR_DIRTYRING_AWAY` if the engine can't be reached or does
   * not answer, so that nobody knows whether the log has the message: the publisher appends the same
   * bytes again. It rejects with `ERR_DIRTYRING_TOO_LARGE`, and with errors that end the publisher
   */
  append(message: LogMessage): Promise<'appended' | 'refused'>
  /**
   * The last message of an instance that the log holds, by the engine's own leader and not from a
   * cache; undefined if it holds none. Rejects as append() does. The next append() goes behind what
   * this found, whatever its number: readers see a gap if messages in between are lost.
   */
  last(instance: string): Promise<LogMessage | undefined>
  /**
   * Calls `cut` for each request for a cut that arrives. Requests may be lost and repeated.
   *
   * @returns a function that ends it
   */
  onCut(cut: (request: string) => void): () => void
  /** Frees what the sink holds. It leaves the client open, which belongs to the caller. */
  close(): Promise<void>
}

/** A message, with what an engine needs to know about it. */
export interface LogMessage {
  /** The label of the node that publishes: letters, digits, `-` and `_`, at most 64. */
  readonly node: string
  /** Who publishes: 32 hexadecimal digits, drawn by each publisher. */
  readonly instance: string
  /** The number of the message: 0, 1, 2 … of its instance. A number stands for one content. */
  readonly n: number
  /** What readers get. */
  readonly bytes: Uint8Array
}

/**
 * Where a cluster reader reads: the other end of an adapter. A source serves one reader.
 */
export interface EpochSource {
  /**
   * Reads messages in the log's order: those after a position, some MiB at most. If there are none,
   * it waits for the first one, for `waitMs` at most, and resolves without any.
   *
   * It reads a log, not a queue: another reader gets the same messages, and reading removes none.
   *
   * @param after - what an earlier call returned as `position`, perhaps in another process;
   * undefined: from the first message that the log holds
   * @returns a promise that rejects with `ERR_DIRTYRING_AWAY` if the engine can't be reached: the
   * reader calls again. It rejects with errors that end the reader
   */
  read(
    after: string | undefined,
    options: { readonly waitMs: number; readonly signal?: AbortSignalLike | undefined },
  ): Promise<LogRead>
  /**
   * Who lives, as far as the engine itself knows; undefined if it does not, as most. What it says
   * of an instance counts once the reader is at the log's end.
   */
  nodes(): ReadonlyMap<string, 'live' | 'gone'> | undefined
  /** Asks all publishers for a cut. It resolves when the request is sent; requests may be lost. */
  requestCut(request: string): Promise<void>
  /** Frees what the source holds. It leaves the client open, which belongs to the caller. */
  close(): Promise<void>
}

/** What one call of {@link EpochSource.read} finds. */
export interface LogRead {
  /**
   * The messages, in the log's order. `node` and `instance` are what the engine says of a message
   * (its subject, say); undefined if the engine has no opinion. Where they differ from what the
   * message itself says, the reader drops the message.
   */
  readonly messages: readonly {
    readonly node?: string | undefined
    readonly instance?: string | undefined
    readonly bytes: Uint8Array
  }[]
  /** After the last of them; opaque, at most 64 characters. */
  readonly position: string
  /** Whether the log held no further message when the engine answered. */
  readonly atEnd: boolean
  /** Which log it is: its name and when it was made, say. A position is worth nothing in another. */
  readonly log: string
  /**
   * Whether `after` could not be served: its messages were trimmed, it lies behind the log's end, or
   * it belongs to another log. The messages are then those from the log's first one on.
   */
  readonly lost: boolean
}
