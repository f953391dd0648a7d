import { Buffer } from 'node:buffer'
import { away, tooLarge } from '../cluster/engine.js'
import { openEnvelope } from '../cluster/envelope.js'
import type { EpochSink, LogMessage } from '../cluster/log.js'
import type { NatsClient, NatsMessage } from './client.js'
import { isJetStreamError, JetStream, JETSTREAM_ERROR, type StreamInfo } from './jetstream.js'
import { checkNatsOptions, type NatsOptions } from './options.js'
import { HEADERS_MAX, isMissing, MIN_MESSAGE_BYTES, setUp } from './setup.js'

/** The longest request for a cut, in bytes. */
const REQUEST_MAX = 256
/** What NATS servers take by default. */
const DEFAULT_MAX_PAYLOAD = 1_048_576

/**
 * Makes a sink that appends a publisher's messages to a stream of NATS JetStream.
 *
 * The server refuses a message that does not follow the last one of its instance. So the publisher
 * finds a lost tail of the log at its next message. It finds a copy of its process likewise.
 *
 * The sink looks at the stream before it publishes anything. The stream must keep each message
 * until a limit on age or size removes the oldest ones. So it needs `retention: limits`,
 * `discard: old`, and no `max_msgs_per_subject`.
 *
 * @param nats - an open connection. The caller closes it after the publisher. Connect with
 * `maxReconnectAttempts: -1`, because the client gives up after ten attempts by default
 * @param options - see {@link NatsOptions}
 * @returns a sink for one publisher
 * @throws TypeError or RangeError if an argument is not allowed. The sink's methods reject with:
 *
 * - RangeError `ERR_DIRTYRING_OUT_OF_RANGE` if the stream is missing or not as described
 * - `ERR_DIRTYRING_UNSUPPORTED` if the server has no JetStream
 * - `ERR_DIRTYRING_AWAY` while the server does not answer
 * - `ERR_DIRTYRING_CLOSED` if the connection is closed
 *
 * @example
 * ```js
 * import { connect } from '@nats-io/transport-node'
 * import { DirtyTracker } from 'dirtyring'
 * import { publishEpochs } from 'dirtyring/cluster'
 * import { natsSink } from 'dirtyring/nats'
 *
 * async function start() {
 *   const nats = await connect({ servers: 'nats://127.0.0.1:4222', maxReconnectAttempts: -1 })
 *   const tracker = await DirtyTracker.create({ maxConsumers: 1 })
 *   const sink = natsSink(nats, { stream: 'dirty', create: true })
 *   const publisher = await publishEpochs(tracker.consumer('cluster'), { sink, everyMs: 100 })
 *   return { tracker, publisher }
 * }
 * ```
 */
export function natsSink(nats: NatsClient, options: NatsOptions): EpochSink {
  return new NatsSink(nats, options)
}

/** The last message of an instance in the log, as far as the sink knows. */
interface Known {
  readonly instance: string
  /** 0: the log has none. */
  seq: number
}

class NatsSink implements EpochSink {
  readonly #client: NatsClient
  readonly #options: ReturnType<typeof checkNatsOptions>
  readonly #stream: JetStream
  readonly #requests = new Set<{ unsubscribe(): void }>()
  #info: StreamInfo | undefined
  /** Look at the stream before the next message, which may be long: the last call failed. */
  #isDoubtful = true
  #known: Known | undefined

  constructor(client: NatsClient, options: NatsOptions) {
    this.#options = checkNatsOptions(client, options)
    this.#client = client
    const { stream, apiPrefix, timeoutMs } = this.#options
    this.#stream = new JetStream(client, stream, apiPrefix, timeoutMs)
  }

  get maxMessageBytes(): number {
    const maxPayload = this.#client.info?.max_payload ?? DEFAULT_MAX_PAYLOAD
    const { max_msg_size: maxSize = -1 } = this.#info?.config ?? {}
    const most = Math.min(maxPayload, maxSize < 0 ? maxPayload : maxSize) - HEADERS_MAX
    // Where it is less, setUp() says what to change.
    return Math.max(MIN_MESSAGE_BYTES, most)
  }

  async append({ node, instance, n, bytes }: LogMessage): Promise<'appended' | 'refused'> {
    return this.#guarded(async () => {
      if (bytes.length > this.maxMessageBytes) throw tooLarge(bytes.length, this.maxMessageBytes)
      const known = await this.#knownOf(instance, n)
      if (known === undefined) return 'refused'
      try {
        known.seq = await this.#stream.publish(
          `${this.#options.subject}.${node}.${instance}`,
          bytes,
          {
            // The checksum, too: a copy of this process may send other keys under this number.
            'Nats-Msg-Id': `${instance}:${n}:${Buffer.from(bytes.subarray(-4)).toString('hex')}`,
            'Nats-Expected-Stream': this.#options.stream,
            'Nats-Expected-Last-Subject-Sequence': String(known.seq),
          },
        )
        return 'appended'
      } catch (error) {
        if (isJetStreamError(error, JETSTREAM_ERROR.WRONG_LAST_SEQUENCE)) return 'refused'
        if (isJetStreamError(error, JETSTREAM_ERROR.MESSAGE_TOO_LARGE))
          throw tooLarge(bytes.length, this.maxMessageBytes, error)
        throw error
      }
    })
  }

  async last(instance: string): Promise<LogMessage | undefined> {
    return this.#guarded(() => this.#lastOf(instance))
  }

  onCut(cut: (request: string) => void): () => void {
    const subject = `${this.#options.subject}.cut`
    const callback = (error: Error | null, message: NatsMessage): void => {
      const { length } = message?.data ?? []
      if (error === null && length > 0 && length <= REQUEST_MAX)
        cut(Buffer.from(message.data).toString())
    }
    let requests: { unsubscribe(): void }
    try {
      requests = this.#client.subscribe(subject, { callback })
    } catch (error) {
      throw this.#stream.errorOf(error, subject)
    }
    this.#requests.add(requests)
    return () => {
      this.#requests.delete(requests)
      end(requests)
    }
  }

  async close(): Promise<void> {
    for (const each of this.#requests) end(each)
    this.#requests.clear()
    this.#stream.close()
  }

  /** Looks at the stream first, if it has not or the last call has failed. */
  async #guarded<T>(call: () => Promise<T>): Promise<T> {
    try {
      if (this.#isDoubtful) await this.#look()
      return await call()
    } catch (error) {
      this.#isDoubtful = true
      throw error
    }
  }

  async #look(): Promise<void> {
    try {
      const info = await setUp(this.#stream, this.#options)
      this.#info = info
      this.#isDoubtful = false
    } catch (error) {
      // A stream that was there comes back: its owner restores it, say.
      if (this.#info !== undefined && isMissing(error))
        throw away(`the stream "${this.#options.stream}" is gone`, error)
      throw error
    }
  }

  /** What the sink knows of an instance; undefined if its last message is not number n - 1. */
  async #knownOf(instance: string, n: number): Promise<Known | undefined> {
    if (this.#known?.instance !== instance) {
      if (n === 0) {
        this.#known = { instance, seq: 0 }
      } else {
        const last = await this.#lastOf(instance)
        if (last?.n !== n - 1) {
          this.#known = undefined
          return undefined
        }
      }
    }
    return this.#known
  }

  async #lastOf(instance: string): Promise<LogMessage | undefined> {
    const { subject } = this.#options
    const found = await this.#stream.message({ last_by_subj: `${subject}.*.${instance}` })
    this.#known = { instance, seq: found?.seq ?? 0 }
    if (found === undefined) return undefined
    const envelope = openEnvelope(found.bytes)
    if (envelope === undefined) return undefined
    return { node: envelope.node, instance, n: envelope.n, bytes: found.bytes }
  }
}

/** Ends a subscription, also one that ended with its connection. */
function end(subscription: { unsubscribe(): void }): void {
  try {
    subscription.unsubscribe()
  } catch {
    // The connection is closed, and the subscription with it.
  }
}
