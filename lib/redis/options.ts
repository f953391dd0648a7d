import { checkBag, checkWhole } from '../check.js'
import { invalidArg, isRevoked, outOfRange } from '../errors.js'
import type { RedisClient } from './client.js'

/** Options of {@link redisSource}. */
export interface RedisSourceOptions {
  /**
   * The key of the stream, 1 to 1,024 characters. For `dirty`, the adapter also uses the key
   * `{dirty}:log` to identify the stream. Requests for cuts go over the channel `dirty:cut`.
   */
  readonly stream: string
  /** How long a call waits for the server's answer, in ms, 100 to 600,000. Default 5,000. */
  readonly timeoutMs?: number | undefined
}

/** Options of {@link redisSink}. */
export interface RedisSinkOptions extends RedisSourceOptions {
  /**
   * About how many messages the stream keeps, 1 to 2^53 - 1. A reader that has missed some of them
   * gets everything once. Default: the sink trims nothing.
   */
  readonly maxLen?: number | undefined
  /**
   * About how long the stream keeps messages, in ms, 1 to 2^53 - 1. It excludes `maxLen`. Default:
   * the sink trims nothing.
   */
  readonly maxAgeMs?: number | undefined
}

export interface CheckedOptions {
  readonly stream: string
  /** Says which stream it is. It lies in the same slot of a cluster as the stream. */
  readonly identity: string
  /** The channel of requests for cuts. */
  readonly channel: string
  readonly timeoutMs: number
  readonly maxLen: number | undefined
  readonly maxAgeMs: number | undefined
}

/** Checks the arguments of an adapter. */
export function checkRedisOptions(
  client: RedisClient,
  options: RedisSinkOptions,
  isSink: boolean,
): CheckedOptions {
  if (typeof client !== 'object' || client === null || isRevoked(client))
    throw invalidArg('redis', 'a client of Redis', client, ADVICE)
  for (const method of ['callBuffer', 'duplicate', 'disconnect', 'on']) {
    const found: unknown = (client as unknown as Record<string, unknown>)[method]
    if (typeof found !== 'function')
      throw invalidArg(`redis.${method}`, 'a function', found, ADVICE)
  }
  checkBag('options', options, ['stream', 'timeoutMs', ...(isSink ? ['maxLen', 'maxAgeMs'] : [])])
  const { stream, timeoutMs = 5_000, maxLen, maxAgeMs } = options
  if (typeof stream !== 'string') throw invalidArg('options.stream', 'a string', stream)
  if (stream === '' || stream.length > 1024)
    throw outOfRange('options.stream', 'a key of 1 to 1024 characters', stream)
  for (const [name, value] of Object.entries({ maxLen, maxAgeMs }))
    if (value !== undefined) checkWhole(`options.${name}`, value, 1, Number.MAX_SAFE_INTEGER)
  if (maxLen !== undefined && maxAgeMs !== undefined)
    throw outOfRange('options.maxAgeMs', 'undefined beside maxLen', maxAgeMs)
  const tagged = /\{[^}]+\}/.test(stream) ? stream : `{${stream}}`
  return {
    stream,
    identity: `${tagged}:log`,
    channel: `${stream}:cut`,
    timeoutMs: checkWhole('options.timeoutMs', timeoutMs, 100, 600_000),
    maxLen,
    maxAgeMs,
  }
}

const ADVICE = 'Pass a Redis of ioredis.'
