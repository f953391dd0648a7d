import { away, unlessAborted } from '../cluster/engine.js'
import type { EpochSource, LogRead } from '../cluster/log.js'
import { isDirtyRingError } from '../errors.js'
import { type AbortSignalLike, throwIfAborted } from '../signal.js'
import { nowMs } from '../timers.js'
import type { RedisClient } from './client.js'
import { Commands, entriesOf, entriesRead, type Entry, textOf } from './commands.js'
import { newIdentity } from './identity.js'
import { type CheckedOptions, checkRedisOptions, type RedisSourceOptions } from './options.js'
import { checkServer } from './sink.js'

/** About how much one call hands out. */
const BATCH_BYTES = 4_194_304
const BATCH_MIN = 4
const BATCH_MAX = 512
/** How long one XREAD waits at the server. */
const WAIT_MS = 1_000

/**
 * What a stream is: its identity, which the script draws if there is none yet; how many entries
 * were ever added, how many it has; its last id, and the greatest that was deleted by hand; its
 * first id; whether it has the entry ARGV[2]. XINFO alone would send the first and the last message
 * as well.
 */
const LOOK = `
local id = redis.call('GET', KEYS[2])
if redis.call('EXISTS', KEYS[1]) == 0 then
  if not id then
    id = '+' .. ARGV[1]
    redis.call('SET', KEYS[2], id)
  end
  return {id, 0, 0, '0-0', '0-0', '', 0}
end
if not id then
  id = ARGV[1]
  redis.call('SET', KEYS[2], id)
end
local answer = redis.call('XINFO', 'STREAM', KEYS[1])
local info = {}
for i = 1, #answer, 2 do info[answer[i]] = answer[i + 1] end
local first = info['first-entry']
return {
  id,
  info['entries-added'],
  info['length'],
  info['last-generated-id'],
  info['max-deleted-entry-id'],
  first and first[1] or '',
  #redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])
}`

/**
 * Makes a source that reads the messages of all publishers in order. The stream is one of Redis
 * (7.0 or later) or Valkey. Another reader gets the same messages.
 *
 * A position holds the stream's identity, the id of the last entry, and the number of entries up to
 * it. So the source notices a stream that was deleted, lost its tail, or was trimmed too early.
 *
 * @param redis - a client. The caller closes it after the reader. The source waits for
 * messages over another connection, which it makes with `redis.duplicate()`
 * @param options - see {@link RedisSourceOptions}
 * @returns a source for one reader
 * @throws as {@link redisSink} does. The source's methods reject as the sink's do
 *
 * @example
 * ```js no-run
 * import { Redis } from 'ioredis'
 * import { openCluster } from 'dirtyring/cluster'
 * import { redisSource } from 'dirtyring/redis'
 *
 * const redis = new Redis(6379, '127.0.0.1')
 * const cache = new Map()
 * const cluster = openCluster({ source: redisSource(redis, { stream: 'dirty' }) })
 * for await (const epoch of cluster.epochs({ everyMs: 100 })) {
 *   if (epoch.exact) for (const key of epoch) cache.delete(key)
 *   else cache.clear()
 *   epoch.commit()
 * }
 * ```
 */
export function redisSource(redis: RedisClient, options: RedisSourceOptions): EpochSource {
  return new RedisSource(redis, options)
}

/** After an entry, in a stream; `count`: how many were added up to it. */
interface Position {
  readonly identity: string
  readonly id: string
  readonly count: number
}

interface StreamState {
  readonly identity: string
  readonly added: number
  readonly length: number
  readonly lastId: string
  readonly deletedId: string
  /** '': the stream has no entry. */
  readonly firstId: string
  readonly hasEntry: boolean
}

/** What a read finds; `restartedAt`: it began anew, when this was the last id deleted by hand. */
interface Answer {
  readonly found: LogRead
  readonly restartedAt?: string
}

/** Before every entry. */
const NO_ID = '0-0'

class RedisSource implements EpochSource {
  readonly #client: RedisClient
  readonly #options: CheckedOptions
  readonly #commands: Commands
  #hasLooked = false
  /** Waits for entries. */
  #waiter: { client: RedisClient; commands: Commands } | undefined
  /** How many entries to ask for. */
  #count = 16
  /** The reads since the last restart: after which position they go on, and what it left out. */
  #run: { readonly position: string; readonly deletedId: string } | undefined

  constructor(client: RedisClient, options: RedisSourceOptions) {
    this.#options = checkRedisOptions(client, options, false)
    this.#client = client
    this.#commands = new Commands(client, this.#options.timeoutMs)
  }

  async read(
    after: string | undefined,
    { waitMs, signal }: { readonly waitMs: number; readonly signal?: AbortSignalLike | undefined },
  ): Promise<LogRead> {
    throwIfAborted(signal)
    const abandon = { isTrue: false }
    const deletedId =
      after !== undefined && after === this.#run?.position ? this.#run.deletedId : NO_ID
    const answer = this.#read(after, waitMs, deletedId, abandon)
    const { found, restartedAt } = await unlessAborted(signal, answer, () => {
      abandon.isTrue = true
      this.#hangUp()
    })
    // Only now: the caller has the answer, so it knows of the restart.
    this.#run = { position: found.position, deletedId: restartedAt ?? deletedId }
    return found
  }

  nodes(): undefined {
    return undefined
  }

  async requestCut(request: string): Promise<void> {
    await this.#commands.ready()
    await this.#commands.send('PUBLISH', [this.#options.channel, request])
  }

  async close(): Promise<void> {
    this.#hangUp()
  }

  async #read(
    after: string | undefined,
    waitMs: number,
    deletedId: string,
    abandon: { readonly isTrue: boolean },
  ): Promise<Answer> {
    const untilMs = nowMs() + waitMs
    await this.#commands.ready()
    if (!this.#hasLooked) await checkServer(this.#commands)
    this.#hasLooked = true
    const parsed = after === undefined ? undefined : parsePosition(after)
    if (parsed === undefined) return this.#fromStart(after !== undefined)
    let position = parsed
    let entries: Entry[] = []
    let emptyTo: string | undefined
    for (;;) {
      if (abandon.isTrue) throw away('the call was given up')
      // The entries first: if nothing is missing afterwards, nothing was missing among them.
      const found = entries.length > 0 ? entries : this.#entries(`(${position.id}`)
      const [now, state] = await Promise.all([found, this.#state(position.id)])
      entries = now
      if (isLost(position, state, deletedId)) return this.#fromStart(true)
      if (entries.length > 0) return { found: this.#answer(position, entries, state, false) }
      const isAtEnd = state.lastId === position.id
      if (isAtEnd && untilMs <= nowMs()) return { found: this.#answer(position, [], state, false) }
      if (!isAtEnd) {
        // Entries that came meanwhile; or the last one was deleted.
        if (emptyTo === state.lastId) position = { ...position, id: emptyTo, count: state.added }
        emptyTo = state.lastId
        continue
      }
      if (abandon.isTrue) throw away('the call was given up')
      entries = await this.#wait(position.id, Math.min(WAIT_MS, untilMs - nowMs()))
    }
  }

  /** Reads from the first entry on. */
  async #fromStart(lost: boolean): Promise<Answer> {
    const [entries, state] = await Promise.all([this.#entries('-'), this.#state('0-0')])
    const { identity, added, length } = state
    const position = {
      identity,
      id: entries.length > 0 ? '0-0' : state.lastId,
      count: added - length,
    }
    return {
      found: this.#answer(position, entries, state, lost),
      restartedAt: state.deletedId,
    }
  }

  #answer(after: Position, entries: readonly Entry[], state: StreamState, lost: boolean): LogRead {
    const { identity, lastId, added } = state
    const last = entries.at(-1)
    const id = last?.id ?? after.id
    const atEnd = id === lastId
    const count = atEnd ? added : after.count + entries.length
    return {
      messages: entries.map(({ bytes }) => ({ bytes })),
      position: `${identity}.${id}.${count}`,
      atEnd,
      log: `${this.#options.stream}@${identity}`,
      lost,
    }
  }

  async #entries(from: string): Promise<Entry[]> {
    const args = [this.#options.stream, from, '+', 'COUNT', this.#count]
    return this.#sized(entriesOf(await this.#commands.send('XRANGE', args)))
  }

  /** Waits for entries after one. */
  async #wait(id: string, ms: number): Promise<Entry[]> {
    const { stream, timeoutMs } = this.#options
    if (this.#waiter === undefined) {
      const client = this.#client.duplicate({ commandTimeout: undefined })
      client.on('error', () => undefined) // the command in hand tells
      this.#waiter = { client, commands: new Commands(client, timeoutMs) }
    }
    const waiter = this.#waiter
    const blockMs = Math.max(1, Math.ceil(ms))
    const args = ['COUNT', this.#count, 'BLOCK', blockMs, 'STREAMS', stream, id]
    try {
      return this.#sized(entriesRead(await waiter.commands.send('XREAD', args, blockMs)))
    } catch (error) {
      // The server may go on waiting over this connection. A later read may have one of its own.
      if (this.#waiter === waiter) this.#hangUp()
      const isOurs = this.#client.status !== 'end'
      throw isOurs && isDirtyRingError(error) && error.code === 'ERR_DIRTYRING_CLOSED'
        ? away('the connection that waits for entries was closed', error)
        : error
    }
  }

  /** Asks for as many next time as fit into a batch. */
  #sized(entries: Entry[]): Entry[] {
    const total = entries.reduce((sum, { bytes }) => sum + bytes.length, 0)
    if (entries.length > 0) {
      const fitting = Math.floor((BATCH_BYTES * entries.length) / Math.max(1, total))
      this.#count = Math.min(BATCH_MAX, Math.max(BATCH_MIN, fitting))
    }
    return entries
  }

  async #state(id: string): Promise<StreamState> {
    const { stream, identity } = this.#options
    const answer = await this.#commands.send('EVAL', [LOOK, 2, stream, identity, newIdentity(), id])
    const [name, added, length, lastId, deletedId, firstId, found] = answer as unknown[]
    return {
      // '+': drawn before the stream was made.
      identity: textOf(name).replace('+', ''),
      added: Number(added),
      length: Number(length),
      lastId: textOf(lastId),
      deletedId: textOf(deletedId),
      firstId: textOf(firstId),
      hasEntry: Number(found) > 0,
    }
  }

  #hangUp(): void {
    this.#waiter?.client.disconnect()
    this.#waiter = undefined
  }
}

/**
 * Whether a stream lacks an entry after a position that it has had. `deletedId`: entries up to this
 * one that were deleted by hand do not count, because the reads began after that.
 */
function isLost({ identity, id, count }: Position, state: StreamState, deletedId: string): boolean {
  const { added, length } = state
  if (identity !== state.identity) return true
  // Entries that are missing at the beginning, or were deleted in between.
  if (!state.hasEntry && state.lastId !== id && added - length !== count) return true
  return !isAfter(state.lastId, id) && state.lastId !== id
    ? true // the stream ends before the position
    : isAfter(state.deletedId, isAfter(deletedId, id) ? deletedId : id)
}

/** Whether an id of a stream comes after another one: `<ms>-<number>`. */
export function isAfter(id: string, other: string): boolean {
  const [ms, number = '0'] = id.split('-')
  const [otherMs, otherNumber = '0'] = other.split('-')
  return BigInt(ms) === BigInt(otherMs)
    ? BigInt(number) > BigInt(otherNumber)
    : BigInt(ms) > BigInt(otherMs)
}

function parsePosition(text: string): Position | undefined {
  const [, identity, id, count] = /^([0-9a-f]{16})\.(\d+-\d+)\.(\d+)$/.exec(text) ?? []
  return count === undefined ? undefined : { identity, id, count: Number(count) }
}
