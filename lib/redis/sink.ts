import { Buffer } from 'node:buffer'
import { tooLarge } from '../cluster/engine.js'
import { openEnvelope } from '../cluster/envelope.js'
import type { EpochSink, LogMessage } from '../cluster/log.js'
import { DirtyRingError } from '../errors.js'
import type { RedisClient } from './client.js'
import { Commands, entriesOf, FIELD, textOf } from './commands.js'
import { newIdentity } from './identity.js'
import { type CheckedOptions, checkRedisOptions, type RedisSinkOptions } from './options.js'

/** What Redis takes as one argument by default. */
const DEFAULT_MAX_BYTES = 536_870_912
/** The longest request for a cut, in bytes. */
const REQUEST_MAX = 256
/** How many entries last() reads at once. */
const PAGE = 16

/** Adds an entry to a stream, and makes the stream, with a new identity, if it does not exist. */
const MAKE = `
if redis.call('EXISTS', KEYS[1]) == 0 then
  local id = redis.call('GET', KEYS[2])
  if id and string.sub(id, 1, 1) == '+' then id = string.sub(id, 2) else id = ARGV[1] end
  redis.call('SET', KEYS[2], id)
end
return redis.call('XADD', KEYS[1], '*', ARGV[2], ARGV[3])`

/**
 * Makes a sink that appends a publisher's messages to a stream of Redis (7.0 or later) or Valkey.
 *
 * Redis does not compare an entry with the one before it. So the sink may add a message twice if an
 * answer was lost. Readers drop the second one.
 *
 * @param redis - a client. The caller closes it after the publisher. Requests for cuts come
 * over another connection, which the sink makes with `redis.duplicate()`
 * @param options - see {@link RedisSinkOptions}
 * @returns a sink for one publisher
 * @throws TypeError or RangeError if an argument is not allowed. The sink's methods reject with:
 *
 * - `ERR_DIRTYRING_UNSUPPORTED` if the server is Redis before 7.0
 * - `ERR_DIRTYRING_AWAY` while the server does not answer or has no memory left
 * - `ERR_DIRTYRING_CLOSED` if the client is closed
 * - the client's error if the server refuses a command
 *
 * @example
 * ```js
 * import { Redis } from 'ioredis'
 * import { DirtyTracker } from 'dirtyring'
 * import { publishEpochs } from 'dirtyring/cluster'
 * import { redisSink } from 'dirtyring/redis'
 *
 * async function start() {
 *   const redis = new Redis(6379, '127.0.0.1')
 *   const tracker = await DirtyTracker.create({ maxConsumers: 1 })
 *   const sink = redisSink(redis, { stream: 'dirty', maxAgeMs: 86_400_000 })
 *   const publisher = await publishEpochs(tracker.consumer('cluster'), { sink, everyMs: 100 })
 *   return { tracker, publisher }
 * }
 * ```
 */
export function redisSink(redis: RedisClient, options: RedisSinkOptions): EpochSink {
  return new RedisSink(redis, options)
}

class RedisSink implements EpochSink {
  readonly #client: RedisClient
  readonly #options: CheckedOptions
  readonly #commands: Commands
  #maxBytes = DEFAULT_MAX_BYTES
  #hasLooked = false
  /** The server's time of the last entry, in ms; 0: none yet. */
  #lastMs = 0
  /** The connection that requests for cuts come over. */
  #listener: RedisClient | undefined
  readonly #cuts = new Set<(request: string) => void>()

  constructor(client: RedisClient, options: RedisSinkOptions) {
    this.#options = checkRedisOptions(client, options, true)
    this.#client = client
    this.#commands = new Commands(client, this.#options.timeoutMs)
  }

  get maxMessageBytes(): number {
    return this.#maxBytes
  }

  async append({ bytes }: LogMessage): Promise<'appended'> {
    if (bytes.length > this.#maxBytes) throw tooLarge(bytes.length, this.#maxBytes)
    await this.#look()
    const { stream, identity } = this.#options
    const message = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    let id = await this.#commands.send('XADD', [
      stream,
      'NOMKSTREAM',
      ...this.#limits(),
      '*',
      FIELD,
      message,
    ])
    id ??= await this.#commands.send('EVAL', [
      MAKE,
      2,
      stream,
      identity,
      newIdentity(),
      FIELD,
      message,
    ])
    this.#lastMs = Number(textOf(id).split('-')[0])
    return 'appended'
  }

  async last(instance: string): Promise<LogMessage | undefined> {
    await this.#look()
    let before = '+'
    for (;;) {
      const args = [this.#options.stream, before, '-', 'COUNT', PAGE]
      const entries = entriesOf(await this.#commands.send('XREVRANGE', args))
      for (const { bytes } of entries) {
        const envelope = openEnvelope(bytes)
        if (envelope?.instance === instance) {
          const { node, n } = envelope
          return { node, instance, n, bytes }
        }
      }
      if (entries.length < PAGE) return undefined
      before = `(${entries.at(-1)!.id}`
    }
  }

  onCut(cut: (request: string) => void): () => void {
    // A function of its own: the caller may pass the same one twice.
    const call = (request: string): void => cut(request)
    this.#cuts.add(call)
    this.#listener ??= this.#listen()
    return () => {
      this.#cuts.delete(call)
      if (this.#cuts.size === 0) this.#hangUp()
    }
  }

  async close(): Promise<void> {
    this.#cuts.clear()
    this.#hangUp()
  }

  #listen(): RedisClient {
    const listener = this.#client.duplicate({ maxRetriesPerRequest: null })
    // The publisher hears of an outage from append().
    listener.on('error', () => undefined)
    listener.on('messageBuffer', (_channel: Uint8Array, request: Uint8Array) => {
      if (request.length === 0 || request.length > REQUEST_MAX) return
      for (const cut of [...this.#cuts]) cut(textOf(request))
    })
    // Requests are repeated, and the client subscribes anew after each outage.
    listener.callBuffer('SUBSCRIBE', this.#options.channel).catch(() => undefined)
    return listener
  }

  #hangUp(): void {
    this.#listener?.disconnect()
    this.#listener = undefined
  }

  /** What XADD takes away from the stream's beginning. */
  #limits(): (string | number)[] {
    const { maxLen, maxAgeMs } = this.#options
    if (maxLen !== undefined) return ['MAXLEN', '~', maxLen]
    if (maxAgeMs === undefined || this.#lastMs <= maxAgeMs) return []
    return ['MINID', '~', this.#lastMs - maxAgeMs]
  }

  async #look(): Promise<void> {
    await this.#commands.ready()
    if (this.#hasLooked) return
    await checkServer(this.#commands)
    try {
      const answer = await this.#commands.send('CONFIG', ['GET', 'proto-max-bulk-len'])
      this.#maxBytes = Math.min(
        this.#maxBytes,
        Number(textOf((answer as unknown[])[1])) || Infinity,
      )
    } catch (error) {
      // Many hosts of Redis forbid CONFIG; they leave the limit as it is.
      if (error instanceof DirtyRingError) throw error
    }
    this.#hasLooked = true
  }
}

/** Refuses a server that does not count the entries of a stream. */
export async function checkServer(commands: Commands): Promise<void> {
  const info = textOf(await commands.send('INFO', ['server']))
  const version = /^redis_version:(\d+)\.(\d+)\S*/m.exec(info)
  if (version !== null && Number(version[1]) < 7)
    throw new DirtyRingError(
      'ERR_DIRTYRING_UNSUPPORTED',
      `this server is Redis ${version[0].slice('redis_version:'.length)}, and 7.0 is the first ` +
        'version that counts what was added to a stream. Use Redis 7.0 or later, or Valkey',
    )
}
