/**
 * Stands for the connection of a NATS client, so that the declarations compile without the client.
 * The `NatsConnection` of `@nats-io/nats-core` is one, over each of its transports
 * (`@nats-io/transport-node`, WebSocket …).
 *
 * @example
 * ```js no-run
 * import { connect } from '@nats-io/transport-node'
 *
 * const nats = await connect({ servers: 'nats://127.0.0.1:4222', maxReconnectAttempts: -1 })
 * ```
 */
export interface NatsClient {
  /** What the server says of itself. */
  readonly info?:
    | { readonly max_payload?: number | undefined; readonly jetstream?: boolean | undefined }
    | undefined
  /** Whether the connection has ended for good. */
  isClosed(): boolean
  /** Sends a message. */
  publish(subject: string, data?: Uint8Array | string): void
  /** Sends a message, and resolves with the answer. */
  request(
    subject: string,
    data?: Uint8Array | string,
    options?: { timeout: number; headers?: unknown },
  ): Promise<NatsMessage>
  /** Sends a message, and hands out the answers. */
  requestMany(
    subject: string,
    data?: Uint8Array | string,
    options?: { maxWait: number; noMux: boolean; strategy: 'sentinel' },
  ): Promise<AsyncIterable<NatsMessage>>
  /** Calls back for each message of a subject. */
  subscribe(
    subject: string,
    options?: { callback: (error: Error | null, message: NatsMessage) => void },
  ): { unsubscribe(): void }
  /** Resolves when the server has everything that was sent. */
  flush(): Promise<void>
  /** Tells 'disconnect' and 'reconnect', among others. */
  status?(): AsyncIterable<NatsStatus>
}

/** What a {@link NatsClient} tells about its connection. */
export interface NatsStatus {
  /** What has happened. */
  readonly type: string
}

/** A message of a {@link NatsClient}. */
export interface NatsMessage {
  /** What it is about. */
  readonly subject: string
  /** Where an answer goes to. */
  readonly reply?: string | undefined
  /** What it holds. */
  readonly data: Uint8Array
  /** A status of the server, for example. */
  readonly headers?: { readonly code: number; readonly description: string } | undefined
}
