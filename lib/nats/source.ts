import { away, unlessAborted } from '../cluster/engine.js'
import type { EpochSource, LogRead } from '../cluster/log.js'
import { type AbortSignalLike, throwIfAborted } from '../signal.js'
import { nowMs } from '../timers.js'
import type { NatsClient } from './client.js'
import { type Delivery, deliveryOf, JetStream, type StreamInfo } from './jetstream.js'
import { type CheckedOptions, checkNatsOptions, type NatsOptions } from './options.js'
import { covers, isMissing, setUp } from './setup.js'

/** The most that one call hands out. */
const BATCH_MESSAGES = 256
const BATCH_BYTES = 4_194_304
/** How long one request for the next message waits at the server. */
const WAIT_MS = 1_000
/** How long an answer may take besides. A reader that the server has forgotten gets none. */
const GRACE_MS = 1_500
/** How long a read waits for a message that the leader has, and the copy that serves it lacks. */
const LAG_MS = 100
/** After so long without a request the server forgets the reader. */
const IDLE_MS = 60_000

/**
 * Makes a source that reads the messages of all publishers from a stream of NATS JetStream, in
 * order. Another reader gets the same messages. The server forgets the source's JetStream consumer
 * a minute after its last request.
 *
 * If the stream has several copies, one of them serves the consumer, and it may lag behind the
 * leader. So a cut asks the leader whether the source has read everything.
 *
 * A position holds the time when the stream was made, and the sequence and time of the last
 * message. So the source notices a stream that was made anew, was restored, lost its tail, or was
 * trimmed.
 *
 * @param nats - an open connection. The caller closes it after the reader. Connect with
 * `maxReconnectAttempts: -1`, because the client gives up after ten attempts by default
 * @param options - the same stream and subject as the sink's
 * @returns a source for one reader
 * @throws as {@link natsSink} does. The source's methods reject as the sink's do
 *
 * @example
 * ```js no-run
 * import { connect } from '@nats-io/transport-node'
 * import { openCluster } from 'dirtyring/cluster'
 * import { natsSource } from 'dirtyring/nats'
 *
 * const nats = await connect({ servers: 'nats://127.0.0.1:4222', maxReconnectAttempts: -1 })
 * const cache = new Map()
 * const cluster = openCluster({ source: natsSource(nats, { stream: 'dirty', create: true }) })
 * for await (const epoch of cluster.epochs({ everyMs: 100 })) {
 *   if (epoch.exact) for (const key of epoch) cache.delete(key)
 *   else cache.clear()
 *   epoch.commit()
 * }
 * ```
 */
export function natsSource(nats: NatsClient, options: NatsOptions): EpochSource {
  return new NatsSource(nats, options)
}

/** After a message: in which stream, its sequence, and when it was stored ('0' if not known). */
interface Position {
  readonly created: string
  readonly seq: number
  readonly time: string
}

interface OpenReader {
  readonly name: string
  position: Position
  /** How many messages the server has given it. */
  given: number
  usedAtMs: number
}

interface Found {
  readonly delivery: Delivery
  readonly subject: string
  readonly bytes: Uint8Array
}

/** Messages that follow one another, after a reader's position. */
interface Intact {
  readonly messages: readonly Found[]
  /** After the last of them. */
  readonly last: Position
  /** Whether these are all that were found. */
  readonly isWhole: boolean
}

class NatsSource implements EpochSource {
  readonly #client: NatsClient
  readonly #options: CheckedOptions
  readonly #stream: JetStream
  #hasLooked = false
  #reader: OpenReader | undefined

  constructor(client: NatsClient, options: NatsOptions) {
    this.#options = checkNatsOptions(client, options)
    this.#client = client
    const { stream, apiPrefix, timeoutMs } = this.#options
    this.#stream = new JetStream(client, stream, apiPrefix, timeoutMs)
  }

  async read(
    after: string | undefined,
    { waitMs, signal }: { readonly waitMs: number; readonly signal?: AbortSignalLike | undefined },
  ): Promise<LogRead> {
    throwIfAborted(signal)
    const abandon = { isTrue: false }
    try {
      return await unlessAborted(signal, this.#read(after, waitMs, abandon), () => {
        abandon.isTrue = true
        this.#forget()
      })
    } catch (error) {
      if (!abandon.isTrue) this.#forget()
      throw error
    }
  }

  nodes(): undefined {
    return undefined
  }

  async requestCut(request: string): Promise<void> {
    const subject = `${this.#options.subject}.cut`
    try {
      this.#client.publish(subject, request)
    } catch (error) {
      throw this.#stream.errorOf(error, subject)
    }
    await this.#stream.flush(subject)
  }

  async close(): Promise<void> {
    this.#forget()
    this.#stream.close()
  }

  async #read(
    after: string | undefined,
    waitMs: number,
    abandon: { readonly isTrue: boolean },
  ): Promise<LogRead> {
    const untilMs = nowMs() + waitMs
    let { reader, isLost } = await this.#readerAt(after, abandon)
    let isSilent = false
    for (;;) {
      let pulled = await this.#pull(reader, {
        batch: BATCH_MESSAGES,
        max_bytes: BATCH_BYTES,
        no_wait: true,
      })
      // A message of another program, perhaps. Alone it passes.
      if (pulled.isTooLarge && !abandon.isTrue)
        pulled = await this.#pull(reader, { batch: 1, no_wait: true })
      if (abandon.isTrue) throw away('the call was given up')
      const leftMs = untilMs - nowMs()
      if (pulled.isAnswered && pulled.found.length === 0 && !isLost && leftMs > 0) {
        const expires = Math.ceil(Math.min(leftMs, WAIT_MS)) * 1e6
        pulled = await this.#pull(reader, { batch: 1, expires })
        if (pulled.isAnswered && pulled.found.length === 0 && !abandon.isTrue) continue
      }
      if (abandon.isTrue) throw away('the call was given up')
      if (isSilent && !pulled.isAnswered) throw away('no answer to a request for messages')
      isSilent = !pulled.isAnswered
      let intact = isSilent ? undefined : await this.#intact(reader, pulled.found)
      let atEnd = intact?.isWhole === true && pulled.isEnd
      if (intact !== undefined && atEnd && (waitMs <= 0 || isLost)) {
        atEnd = !(await this.#leaderHasMore(intact.last.seq))
        if (!atEnd && intact.messages.length === 0) intact = await this.#awaitCopy(reader)
      }
      if (abandon.isTrue) throw away('the call was given up')
      if (intact !== undefined) return this.#answer(reader, intact, atEnd, isLost)
      this.#forget()
      const again = await this.#readerAt(positionOf(reader.position), abandon)
      reader = again.reader
      isLost ||= again.isLost
    }
  }

  /** Whether the stream's leader has a message for this reader after a sequence. */
  async #leaderHasMore(seq: number): Promise<boolean> {
    const filter = this.#filter
    const next = await this.#stream.message({ seq: seq + 1, next_by_subj: filter })
    return next !== undefined && covers(filter, next.subject)
  }

  /**
   * Waits a little for a message that the leader has. If the copy that serves this reader does not
   * get it, the next read opens another reader, which another copy may serve.
   */
  async #awaitCopy(reader: OpenReader): Promise<Intact | undefined> {
    const { found } = await this.#pull(reader, { batch: 1, expires: LAG_MS * 1e6 })
    const intact = await this.#intact(reader, found)
    if (intact?.messages.length === 0) this.#forget()
    return intact
  }

  #answer(reader: OpenReader, intact: Intact, atEnd: boolean, lost: boolean): LogRead {
    const { messages, last } = intact
    const { created } = reader.position
    const { stream, subject } = this.#options
    reader.position = last
    return {
      messages: messages.map(({ subject: name, bytes }) => {
        const [instance, node] = name.split('.').reverse()
        return { node, instance, bytes }
      }),
      position: positionOf(reader.position),
      atEnd,
      log: `${stream}@${created}/${subject}`,
      lost,
    }
  }

  /**
   * The messages up to the first one that does not follow. Undefined if that is the first one of
   * all: then the reader has to be opened again.
   */
  async #intact(reader: OpenReader, found: readonly Found[]): Promise<Intact | undefined> {
    const messages: Found[] = []
    let last = reader.position
    let isChecked = false
    for (const [i, each] of found.entries()) {
      const { given, seq, time } = each.delivery
      const isNext = given === reader.given + 1
      // Sequences between them: of other subjects, deleted, or trimmed just now.
      if (isNext && seq > last.seq + 1 && !isChecked) {
        const { created, state } = await this.#stream.info()
        isChecked = digitsOf(created) === last.created && state.first_seq <= last.seq + 1
      }
      if (!isNext || (seq > last.seq + 1 && !isChecked)) {
        this.#forget()
        return i === 0 ? undefined : { messages, last, isWhole: false }
      }
      reader.given = given
      // A copy that lacks the message after the position begins with its own last ones.
      if (seq <= last.seq && BigInt(time) <= BigInt(last.time)) continue
      last = { created: last.created, seq, time }
      messages.push(each)
    }
    return { messages, last, isWhole: true }
  }

  /**
   * One request for messages.
   *
   * @returns them; whether the server has answered it to its end; whether the copy of the stream
   * that answers held no further one; whether the next one alone is too large
   */
  async #pull(
    reader: OpenReader,
    request: { batch: number; max_bytes?: number; no_wait?: boolean; expires?: number },
  ): Promise<{ found: Found[]; isAnswered: boolean; isEnd: boolean; isTooLarge: boolean }> {
    const waitMs = (request.expires ?? 0) / 1e6 + Math.min(this.#options.timeoutMs, GRACE_MS)
    const found: Found[] = []
    let status: { code: number; description: string } | undefined
    try {
      for await (const message of this.#stream.pull(reader.name, request, waitMs)) {
        const delivery = deliveryOf(message.reply)
        if (delivery === undefined) {
          status = message.headers ?? { code: 0, description: 'an empty message' }
          break
        }
        found.push({ delivery, subject: message.subject, bytes: message.data })
        if (found.length === request.batch) break
      }
    } catch (error) {
      throw this.#stream.errorOf(error, 'a request for messages')
    }
    reader.usedAtMs = nowMs()
    const isFull = found.length === request.batch
    // 409: no room for the next message, which is the end of this request, or something is wrong.
    if (status?.code === 409 && !/max ?bytes|batch completed/i.test(status.description))
      throw away(`a request for messages: ${status.description}`)
    const isEnd = status?.code === 404 || status?.code === 408
    return {
      found,
      isAnswered: isFull || status !== undefined,
      isEnd: isEnd || found.at(-1)?.delivery.pending === 0,
      isTooLarge: status?.code === 409 && found.length === 0,
    }
  }

  /** A reader that goes on after a position, and whether it can't. */
  async #readerAt(
    after: string | undefined,
    abandon: { readonly isTrue: boolean },
  ): Promise<{ reader: OpenReader; isLost: boolean }> {
    const now = this.#reader
    if (
      now !== undefined &&
      after === positionOf(now.position) &&
      nowMs() - now.usedAtMs < IDLE_MS / 2
    )
      return { reader: now, isLost: false }
    this.#forget()
    await this.#look()
    const position = after === undefined ? undefined : parsePosition(after)
    let from = position?.seq ?? 0
    let isLost = after !== undefined && position === undefined
    for (;;) {
      const name = await this.#stream.createConsumer({
        deliver_policy: 'by_start_sequence',
        opt_start_seq: from + 1,
        ack_policy: 'none',
        filter_subject: this.#filter,
        inactive_threshold: IDLE_MS * 1e6,
        mem_storage: true,
        num_replicas: 1,
      })
      // Only now: what is missing from here on, the reader itself finds out.
      const info = await this.#stream.info()
      if (abandon.isTrue) {
        this.#stream.deleteConsumer(name)
        throw away('the call was given up')
      }
      if (isLost || position === undefined || (await this.#reaches(position, info))) {
        const reader = {
          name,
          position:
            isLost || position === undefined
              ? { created: digitsOf(info.created), seq: beforeFirst(info), time: '0' }
              : position,
          given: 0,
          usedAtMs: nowMs(),
        }
        this.#reader = reader
        return { reader, isLost }
      }
      this.#stream.deleteConsumer(name)
      isLost = true
      from = 0
    }
  }

  /** Whether the stream holds every message after a position that it has had. */
  async #reaches({ created, seq, time }: Position, info: StreamInfo): Promise<boolean> {
    const { first_seq: first, last_seq: last } = info.state
    if (created !== digitsOf(info.created) || seq > last || seq + 1 < first) return false
    if (time === '0' || seq < first) return true
    const message = await this.#stream.message({ seq })
    return message !== undefined && nanosecondsOf(message.time) === time
  }

  /** The subjects of messages. */
  get #filter(): string {
    return `${this.#options.subject}.*.*`
  }

  async #look(): Promise<void> {
    try {
      await setUp(this.#stream, this.#options)
      this.#hasLooked = true
    } catch (error) {
      if (this.#hasLooked && isMissing(error))
        throw away(`the stream "${this.#options.stream}" is gone`, error)
      throw error
    }
  }

  #forget(): void {
    if (this.#reader !== undefined) this.#stream.deleteConsumer(this.#reader.name)
    this.#reader = undefined
  }
}

function beforeFirst({ state }: StreamInfo): number {
  return Math.max(0, Math.min(state.first_seq - 1, state.last_seq))
}

/** `<when the stream was made, its digits>.<sequence>.<time of the message in ns>` */
function positionOf({ created, seq, time }: Position): string {
  return `${created}.${seq}.${time}`
}

function parsePosition(text: string): Position | undefined {
  const [, created, seq, time] = /^(.*)\.(\d+)\.(\d+)$/.exec(text) ?? []
  return time === undefined ? undefined : { created, seq: Number(seq), time }
}

function digitsOf(time: string): string {
  return time.replace(/\D/g, '')
}

/** '2026-01-02T03:04:05.000000006Z' in ns since 1970, as text. */
export function nanosecondsOf(time: string): string {
  const [year, month, day, hours, minutes, seconds] = time.split(/\D/, 6).map(Number)
  const fraction = /\.(\d+)/.exec(time)?.[1] ?? ''
  // Years that begin with March, so that the leap day is the last one.
  const y = month > 2 ? year : year - 1
  const days =
    365 * y +
    Math.floor(y / 4) -
    Math.floor(y / 100) +
    Math.floor(y / 400) +
    Math.floor((153 * ((month + 9) % 12) + 2) / 5) +
    (day - 1) -
    719_468
  return `${((days * 24 + hours) * 60 + minutes) * 60 + seconds}${fraction.padEnd(9, '0')}`
}
