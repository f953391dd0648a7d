import type { AbortSignalLike } from '../signal.js'

/**
 * Where a publisher appends its messages: one end of an adapter for an engine. `natsSink()`,
 * `redisSink()` and `ipcSink()` make one, and `clusterConformance()` tries those of others.
 *
 * A sink serves one publisher. It neither reads nor changes what it appends. It must deliver each
 * message at least once, or refuse it. By the numbers in the messages, readers notice every loss.
 *
 * @example
 * ```js
 * // The smallest sink: an array. No reader asks for cuts.
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
   * - 'refused': the log does not have it, because the last message of this instance is not number
   *   `n - 1`. The publisher then asks for last(). An engine that cannot compare appends, and
   *   readers notice.
   *
   * @returns a promise. It rejects with `ERR_DIRTYRING_AWAY` if the engine does not answer: the log
   * may have the message or not. The publisher then appends the same bytes again. It rejects with
   * `ERR_DIRTYRING_TOO_LARGE` if the message is too long. Any other error ends the publisher
   */
  append(message: LogMessage): Promise<'appended' | 'refused'>
  /**
   * Finds the last message of an instance in the log; undefined if the log holds none. It asks the
   * engine's leader, and no cache. It rejects as append() does. The next append() goes behind the
   * message that this found, whatever its number. If messages in between are lost, readers see a
   * gap.
   */
  last(instance: string): Promise<LogMessage | undefined>
  /**
   * Calls `cut` for each request for a cut that arrives. A request may be lost, or come twice.
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
  /** Identifies the publisher: 32 hexadecimal digits that it has drawn. */
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
   * @param after - the `position` of an earlier call, perhaps in another process. Undefined: the
   * read begins with the first message in the log
   * @returns a promise. It rejects with `ERR_DIRTYRING_AWAY` if the engine does not answer: the
   * reader calls again. Any other error ends the reader
   */
  read(
    after: string | undefined,
    options: { readonly waitMs: number; readonly signal?: AbortSignalLike | undefined },
  ): Promise<LogRead>
  /**
   * The instances that live and those that are gone, if the engine itself knows; else undefined, as
   * for most engines. It counts once the reader is at the log's end.
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
   * The messages, in the log's order. `node` and `instance` are what the engine says of a message,
   * by its subject for example. They are undefined if the engine says nothing. If they differ from
   * what the message itself says, the reader drops it.
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
  /**
   * Identifies the log, by its name and the time when it was made, for example. A position of
   * another log cannot be served.
   */
  readonly log: string
  /**
   * Whether `after` could not be served. Its messages were trimmed, it lies behind the log's end,
   * or it belongs to another log. The messages then begin with the log's first one.
   */
  readonly lost: boolean
}
