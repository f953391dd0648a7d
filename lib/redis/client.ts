/**
 * Stands for the client of a Redis or Valkey server, so that the declarations compile without it.
 * A `Redis` of `ioredis` is one.
 *
 * @example
 * ```js
 * import { Redis } from 'ioredis'
 *
 * const open = () => new Redis(6379, '127.0.0.1')
 * ```
 */
export interface RedisClient {
  /** 'ready' when it is connected; 'end' when it will not connect again. */
  readonly status: string
  /** Sends a command; the answer holds bytes. */
  callBuffer(command: string, ...args: (string | Uint8Array | number)[]): Promise<unknown>
  /** Makes another client with the same options. */
  duplicate(override?: object): RedisClient
  /** Ends it. */
  disconnect(): void
  /** Calls back for each event. */
  on(event: string, listener: (...args: never[]) => void): unknown
}
