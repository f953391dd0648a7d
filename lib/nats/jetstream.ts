import { Buffer } from 'node:buffer'
import { away, closed, within } from '../cluster/engine.js'
import { DirtyRingError, messageOf } from '../errors.js'
import type { NatsClient, NatsMessage } from './client.js'
import { Connection } from './connection.js'

/** Error codes of JetStream. */
export const JETSTREAM_ERROR = {
  NOT_ENABLED_FOR_ACCOUNT: 10039,
  NO_MESSAGE: 10037,
  MESSAGE_TOO_LARGE: 10054,
  NAME_IN_USE: 10058,
  STREAM_NOT_FOUND: 10059,
  OTHER_STREAM: 10060,
  WRONG_LAST_SEQUENCE: 10071,
  NOT_ENABLED: 10076,
  /** Another message with this id is under way. */
  DUPLICATE_UNDER_WAY: 10158,
  /** Another message of this subject is under way. */
  SEQUENCE_UNDER_WAY: 10164,
} as const

/** An answer of JetStream that says what is wrong. */
export class JetStreamError extends Error {
  override readonly name = 'JetStreamError'
  readonly code: number
  readonly errorCode: number

  constructor(what: string, { code, err_code, description }: ApiError) {
    super(`${what}: ${description ?? 'no description'} (${err_code ?? code})`)
    this.code = code
    this.errorCode = err_code ?? 0
  }

  /** Whether the server may answer otherwise in a while: it starts, or the stream is restored. */
  get isTransient(): boolean {
    return (
      this.code >= 500 ||
      this.errorCode === JETSTREAM_ERROR.STREAM_NOT_FOUND ||
      this.errorCode === JETSTREAM_ERROR.DUPLICATE_UNDER_WAY ||
      this.errorCode === JETSTREAM_ERROR.SEQUENCE_UNDER_WAY
    )
  }
}

interface ApiError {
  readonly code: number
  readonly err_code?: number
  readonly description?: string
}

/** What the adapters ask of a stream's configuration. */
export interface StreamConfig {
  readonly name: string
  readonly subjects?: readonly string[]
  readonly retention: string
  readonly discard: string
  readonly max_msgs_per_subject?: number
  readonly max_msg_size?: number
  readonly sealed?: boolean
  readonly mirror?: unknown
}

export interface StreamInfo {
  readonly config: StreamConfig
  /** When it was made, to the nanosecond: tells streams of one name apart. */
  readonly created: string
  readonly state: { readonly first_seq: number; readonly last_seq: number }
}

/** A message as the leader of a stream hands it out. */
export interface StoredMessage {
  readonly subject: string
  readonly seq: number
  readonly bytes: Uint8Array
  /** When it was stored, as text. */
  readonly time: string
}

/**
 * The requests to JetStream that the adapters make. They are part of its protocol, and the same for
 * every client.
 */
export class JetStream {
  readonly client: NatsClient
  readonly stream: string
  readonly #connection: Connection
  readonly #prefix: string
  readonly #timeoutMs: number

  constructor(client: NatsClient, stream: string, prefix: string, timeoutMs: number) {
    this.client = client
    this.#connection = new Connection(client)
    this.stream = stream
    this.#prefix = prefix
    this.#timeoutMs = timeoutMs
  }

  async info(): Promise<StreamInfo> {
    return (await this.#call(`STREAM.INFO.${this.stream}`)) as unknown as StreamInfo
  }

  async create(config: Record<string, unknown>): Promise<void> {
    await this.#call(`STREAM.CREATE.${this.stream}`, config)
  }

  /**
   * A message by the stream's leader, never by a copy that may lag. With `next_by_subj` it is the
   * first one from `seq` on whose subject matches.
   */
  async message(
    which:
      { readonly seq: number; readonly next_by_subj?: string } | { readonly last_by_subj: string },
  ): Promise<StoredMessage | undefined> {
    try {
      const { message } = (await this.#call(`STREAM.MSG.GET.${this.stream}`, which)) as {
        message: { subject: string; seq: number; data?: string; time: string }
      }
      const { subject, seq, data = '', time } = message
      return { subject, seq, bytes: Buffer.from(data, 'base64'), time }
    } catch (error) {
      if (isJetStreamError(error, JETSTREAM_ERROR.NO_MESSAGE)) return undefined
      throw error
    }
  }

  /** Makes a reader that the server forgets when it is not used for a while; returns its name. */
  async createConsumer(config: Record<string, unknown>): Promise<string> {
    const { name } = await this.#call(`CONSUMER.CREATE.${this.stream}`, {
      stream_name: this.stream,
      config,
    })
    return name as string
  }

  deleteConsumer(name: string): void {
    try {
      this.client.publish(`${this.#prefix}.CONSUMER.DELETE.${this.stream}.${name}`)
    } catch {
      // The client is closed. The server forgets the consumer by itself.
    }
  }

  /** Asks for messages. The server's last answer has no data, but a status. */
  async *pull(consumer: string, request: object, maxWaitMs: number): AsyncGenerator<NatsMessage> {
    const subject = `${this.#prefix}.CONSUMER.MSG.NEXT.${this.stream}.${consumer}`
    const options = { maxWait: maxWaitMs, noMux: true, strategy: 'sentinel' as const }
    const ask = (): Promise<AsyncIterable<NatsMessage>> =>
      this.client.requestMany(subject, JSON.stringify(request), options)
    const answers = await this.#connection.call(ask, this.#timeoutMs, subject)
    const iterator = answers[Symbol.asyncIterator]()
    try {
      for (;;) {
        const next = await this.#connection.unlessLost(iterator.next())
        if (next.done === true) return
        yield next.value
      }
    } finally {
      // Not awaited: after a loss it waits for an answer that can't come.
      iterator.return?.().catch(() => undefined)
    }
  }

  /** Sends a message to the stream; returns its sequence in there. */
  async publish(
    subject: string,
    bytes: Uint8Array,
    headers: Record<string, string>,
  ): Promise<number> {
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    // What a client asks of headers: their bytes.
    const encoded = Buffer.from(`NATS/1.0\r\n${lines.join('')}\r\n`)
    const { seq } = await this.#ask(subject, bytes, { encode: () => encoded })
    return seq as number
  }

  /** Ends what the adapter itself has begun. */
  close(): void {
    this.#connection.close()
  }

  /** Resolves when the server has what was sent. */
  async flush(what: string): Promise<void> {
    try {
      const flush = (): Promise<void> => within(this.client.flush(), this.#timeoutMs, what)
      await this.#connection.call(flush, this.#timeoutMs, what)
    } catch (error) {
      throw this.errorOf(error, what)
    }
  }

  /** What an error of the client means to a publisher or a reader. */
  errorOf(error: unknown, what: string): unknown {
    if (error instanceof DirtyRingError) return error
    if (this.client.isClosed() || nameOf(error) === 'DrainingConnectionError')
      return closed(
        'the NATS connection is closed: by its owner, or because the client gave up. ' +
          'Connect with maxReconnectAttempts: -1, and close the sink and the source before it',
        error,
      )
    if (error instanceof JetStreamError)
      return error.isTransient ? away(error.message, error) : error
    // What the account may not do is not mended by another try.
    if (isNamed(error, 'PermissionViolationError')) return error
    return away(`${what}: ${messageOf(error)}`, error)
  }

  async #call(api: string, request?: object): Promise<Record<string, unknown>> {
    return this.#ask(`${this.#prefix}.${api}`, request === undefined ? '' : JSON.stringify(request))
  }

  async #ask(
    subject: string,
    data: Uint8Array | string,
    headers?: unknown,
  ): Promise<Record<string, unknown>> {
    let answer: { error?: ApiError } & Record<string, unknown>
    try {
      const options = {
        timeout: this.#timeoutMs,
        ...(headers === undefined ? {} : { headers }),
      }
      const ask = (): Promise<NatsMessage> => this.client.request(subject, data, options)
      const message = await this.#connection.call(ask, this.#timeoutMs, subject)
      answer = JSON.parse(Buffer.from(message.data).toString()) as typeof answer
    } catch (error) {
      throw this.errorOf(error, subject)
    }
    if (answer.error !== undefined) {
      throw this.errorOf(new JetStreamError(subject, answer.error), subject)
    }
    return answer
  }
}

export function isJetStreamError(error: unknown, code: number): boolean {
  return error instanceof JetStreamError && error.errorCode === code
}

function nameOf(error: unknown): unknown {
  return (error as { name?: unknown } | undefined)?.name
}

/** Whether an error, or the error behind it, has a name. */
export function isNamed(error: unknown, name: string): boolean {
  return (
    nameOf(error) === name || nameOf((error as { cause?: unknown } | undefined)?.cause) === name
  )
}

/** Where a message stands in its stream. */
export interface Delivery {
  /** In the stream. */
  readonly seq: number
  /** Among those that the consumer has been given. */
  readonly given: number
  /** When it was stored, in ns since 1970, as text. */
  readonly time: string
  /** How many more the stream has for the consumer. */
  readonly pending: number
}

/**
 * Reads what the server says of a message in the subject for its answer.
 * `$JS.ACK.<stream>.<consumer>.<deliveries>.<seq>.<given>.<time>.<pending>`; newer servers put a
 * domain and a hash before the stream, and a token after the rest.
 */
export function deliveryOf(reply: string | undefined): Delivery | undefined {
  const parts = reply?.split('.') ?? []
  if (parts.length < 9 || parts[0] !== '$JS' || parts[1] !== 'ACK') return undefined
  const [seq, given, time, pending] = parts.slice(parts.length === 9 ? 5 : 7)
  return { seq: Number(seq), given: Number(given), time, pending: Number(pending) }
}
