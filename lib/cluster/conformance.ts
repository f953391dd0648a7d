import { isDirtyRingError } from '../errors.js'
import { randomWords } from '../random-words.js'
import type { AbortSignalLike } from '../signal.js'
import { nowMs, setTimeout } from '../timers.js'
import { KIND, openEnvelope, sealEnvelope } from './envelope.js'
import type { EpochSink, EpochSource, LogMessage, LogRead } from './log.js'

export type { EpochSink, EpochSource, LogMessage, LogRead } from './log.js'
export type { AbortSignalLike } from '../signal.js'

/** An empty log of an engine. One case of {@link clusterConformance} uses it, and nothing else. */
export interface ConformanceLog {
  /** Makes a sink for it. */
  sink(): EpochSink | PromiseLike<EpochSink>
  /** Makes a source for it. */
  source(): EpochSource | PromiseLike<EpochSource>
  /** Removes all messages but the last one, as the engine's limits do; with `trims: true`. */
  trim?(): PromiseLike<void>
  /** Deletes the log, and makes one of the same name; with `replaces: true`. */
  replace?(): PromiseLike<void>
  /** Frees what make() took. The case has closed the sinks and sources before. */
  end(): PromiseLike<void>
}

/** What {@link clusterConformance} may ask of each log. */
export interface ConformanceOptions {
  /** Each log has trim(). Default false: the cases about lost messages are left out. */
  readonly trims?: boolean | undefined
  /** Each log has replace(). Default false: the case about another log is left out. */
  readonly replaces?: boolean | undefined
}

/** One case of {@link clusterConformance}. */
export interface ConformanceCase {
  /** What an adapter does if the case passes. */
  readonly name: string
  /** Runs it; rejects with an Error that says what was expected and what came. */
  run(): Promise<void>
}

/**
 * Returns the cases that every adapter for an engine must pass, for any test runner. Each case
 * makes a new log, and takes some seconds at most.
 *
 * @param make - makes an empty log of the engine
 * @param options - what a case may do to such a log
 * @returns the cases, each with a `name` and a function `run()` that rejects if the case fails
 *
 * @example
 * ```js
 * import { test } from 'node:test'
 * import { clusterConformance } from 'dirtyring/cluster/conformance'
 * import { ipcHub } from 'dirtyring/ipc'
 *
 * const cases = clusterConformance(() => {
 *   const hub = ipcHub() // stands for a log of your engine
 *   return { sink: () => hub.sink(), source: () => hub.source(), end: () => hub.close() }
 * })
 * for (const { name, run } of cases.slice(0, 2)) test(name, run)
 * ```
 */
export function clusterConformance(
  make: () => ConformanceLog | PromiseLike<ConformanceLog>,
  options: ConformanceOptions = {},
): ConformanceCase[] {
  return CASES.filter(({ needs }) => needs === undefined || options[needs] === true).map(
    ({ name, check }) => ({
      name,
      async run() {
        const bench = new Bench(await make())
        try {
          await check(bench)
        } finally {
          await bench.end()
        }
      },
    }),
  )
}

/** How long a case waits for what has to come, in ms. */
const PATIENCE_MS = 10_000
/** A sink that takes more than this is not tried with its longest message. */
const LARGEST_TRIED = 8_388_608

/** One log, and all that was made for it. */
class Bench {
  readonly log: ConformanceLog
  readonly #made: { close(): Promise<void> }[] = []

  constructor(log: ConformanceLog) {
    this.log = log
  }

  async sink(): Promise<EpochSink> {
    const sink = await this.log.sink()
    this.#made.push(sink)
    return sink
  }

  async source(): Promise<EpochSource> {
    const source = await this.log.source()
    this.#made.push(source)
    return source
  }

  async end(): Promise<void> {
    for (const each of this.#made) await each.close()
    await this.log.end()
  }
}

/** Messages of one instance. */
class Voice {
  readonly node: string
  readonly instance: string

  constructor(node: string) {
    this.node = node
    this.instance = Array.from(randomWords(4), (word) => word.toString(16).padStart(8, '0')).join(
      '',
    )
  }

  /** Number n, with a body of `size` bytes. */
  message(n: number, size = 3): LogMessage {
    const { node, instance } = this
    const body = new Uint8Array(size)
    for (let i = 0; i < size; i++) body[i] = (i * 31 + n) & 255
    const kind = n === 0 ? KIND.OPEN : KIND.EPOCH
    const envelope = { kind, format: 1, flags: 0, node, instance, n, atMs: n, body }
    return { node, instance, n, bytes: sealEnvelope(envelope) }
  }

  /** Number n, `length` bytes long. */
  ofLength(n: number, length: number): LogMessage {
    return this.message(n, length - this.message(n, 0).bytes.length)
  }
}

interface Case {
  readonly name: string
  readonly needs?: keyof ConformanceOptions
  readonly check: (bench: Bench) => Promise<void>
}

const CASES: readonly Case[] = [
  {
    name: 'a reader gets what was appended, in order',
    async check(bench) {
      const [sink, source] = [await bench.sink(), await bench.source()]
      const voice = new Voice('a')
      const sent = Array.from({ length: 50 }, (_, n) => voice.message(n, n))
      for (const message of sent) await append(sink, message)
      const { messages } = await readAll(source)
      same('the messages', namesOf(messages), namesOfSent(sent))
      sameBytes(messages, sent)
    },
  },
  {
    name: 'a source says of a message either nothing or its node and its instance',
    async check(bench) {
      const [sink, source] = [await bench.sink(), await bench.source()]
      const voice = new Voice('node-1_A')
      await append(sink, voice.message(0))
      const [message] = (await readAll(source)).messages
      same('node', message.node ?? voice.node, voice.node)
      same('instance', message.instance ?? voice.instance, voice.instance)
    },
  },
  {
    name: 'messages of 1 byte to 900,000 bytes pass, and one of maxMessageBytes',
    async check(bench) {
      const [sink, source] = [await bench.sink(), await bench.source()]
      const voice = new Voice('a')
      await append(sink, voice.message(0, 1))
      isTrue('maxMessageBytes is 65,536 at least', sink.maxMessageBytes >= 65_536)
      const lengths = [65_536, Math.min(900_000, sink.maxMessageBytes)]
      if (sink.maxMessageBytes <= LARGEST_TRIED) lengths.push(sink.maxMessageBytes)
      const sent = lengths.map((length, i) => voice.ofLength(i + 1, length))
      for (const message of sent) await append(sink, message)
      const { messages } = await readAll(source)
      sameBytes(messages, [voice.message(0, 1), ...sent])
    },
  },
  {
    name: 'a message above maxMessageBytes is refused as too large, and the next one is taken',
    async check(bench) {
      const [sink, source] = [await bench.sink(), await bench.source()]
      const voice = new Voice('a')
      await append(sink, voice.message(0))
      if (sink.maxMessageBytes <= LARGEST_TRIED) {
        const message = voice.ofLength(1, sink.maxMessageBytes + 1)
        await rejects(sink.append(message), 'ERR_DIRTYRING_TOO_LARGE')
      }
      await append(sink, voice.message(1))
      const { messages } = await readAll(source)
      same('the messages', namesOf(messages), ['a 0', 'a 1'])
    },
  },
  {
    name: 'the bytes of a message may be used again once it is appended',
    async check(bench) {
      const [sink, source] = [await bench.sink(), await bench.source()]
      const voice = new Voice('a')
      const message = voice.message(0)
      await append(sink, message)
      message.bytes.fill(0)
      sameBytes((await readAll(source)).messages, [voice.message(0)])
    },
  },
  {
    name: 'last() finds the last message of an instance, and none of an unknown one',
    async check(bench) {
      const [sink, other] = [await bench.sink(), await bench.sink()]
      const [a, b] = [new Voice('a'), new Voice('a')]
      same('last() of an empty log', await sink.last(a.instance), undefined)
      for (let n = 0; n < 3; n++) await append(sink, a.message(n))
      for (let n = 0; n < 30; n++) await append(other, b.message(n))
      const last = await sink.last(a.instance)
      same('last()', [last?.node, last?.instance, last?.n], ['a', a.instance, 2])
      same('the same bytes', hex(last!.bytes), hex(a.message(2).bytes))
      same('last() of another sink', (await other.last(a.instance))?.n, 2)
      same('last() of an unknown instance', await sink.last(new Voice('a').instance), undefined)
    },
  },
  {
    name: 'a message that does not follow is refused, or taken; after last() it is taken',
    async check(bench) {
      const [sink, later, source] = [await bench.sink(), await bench.sink(), await bench.source()]
      const voice = new Voice('a')
      await append(sink, voice.message(0))
      await append(sink, voice.message(1))
      const outcome = await later.append(voice.message(5))
      const before = await later.last(voice.instance)
      same('last()', before?.n, outcome === 'refused' ? 1 : 5)
      if (outcome === 'refused') await append(later, voice.message(5))
      await append(later, voice.message(6))
      const { messages } = await readAll(source)
      same('the messages', namesOf(messages), ['a 0', 'a 1', 'a 5', 'a 6'])
    },
  },
  {
    name: 'the same bytes may be appended again, and the next number follows',
    async check(bench) {
      const [sink, source] = [await bench.sink(), await bench.source()]
      const voice = new Voice('a')
      await append(sink, voice.message(0))
      await append(sink, voice.message(1))
      const outcome = await sink.append(voice.message(1))
      if (outcome === 'refused') same('last()', (await sink.last(voice.instance))?.n, 1)
      await append(sink, voice.message(2))
      const { messages } = await readAll(source)
      same('the messages, each once', [...new Set(namesOf(messages))], ['a 0', 'a 1', 'a 2'])
    },
  },
  {
    name: 'another sink goes on where one has stopped, with the same instance',
    async check(bench) {
      const [sink, source] = [await bench.sink(), await bench.source()]
      const voice = new Voice('a')
      await append(sink, voice.message(0))
      await append(sink, voice.message(1))
      await sink.close()
      await append(await bench.sink(), voice.message(2))
      const { messages } = await readAll(source)
      same('the messages', namesOf(messages), ['a 0', 'a 1', 'a 2'])
    },
  },
  {
    name: 'two instances of one node append in any order, and none is refused',
    async check(bench) {
      const [one, two, source] = [await bench.sink(), await bench.sink(), await bench.source()]
      const [a, b] = [new Voice('same'), new Voice('same')]
      const sent: LogMessage[] = []
      for (const [sink, message] of [
        [one, a.message(0)],
        [two, b.message(0)],
        [two, b.message(1)],
        [one, a.message(1)],
        [two, b.message(2)],
        [one, a.message(2)],
      ] as const) {
        await append(sink, message)
        sent.push(message)
      }
      sameBytes((await readAll(source)).messages, sent)
    },
  },
  {
    name: 'another source goes on at a position, with what came after it only',
    async check(bench) {
      const [sink, source] = [await bench.sink(), await bench.source()]
      const voice = new Voice('a')
      for (let n = 0; n < 5; n++) await append(sink, voice.message(n))
      const { position, log } = await readAll(source)
      await source.close()
      for (let n = 5; n < 8; n++) await append(sink, voice.message(n))
      const later = await readAll(await bench.source(), position)
      same('the messages', namesOf(later.messages), ['a 5', 'a 6', 'a 7'])
      same('log', later.log, log)
      same('lost', later.lost, false)
      isTrue('a position has 64 characters at most', position.length <= 64)
    },
  },
  {
    name: 'a position from the middle of the log leads to the messages behind it',
    async check(bench) {
      const [sink, source] = [await bench.sink(), await bench.source()]
      const voice = new Voice('a')
      await append(sink, voice.message(0))
      const { position } = await readAll(source)
      for (let n = 1; n < 700; n++) await append(sink, voice.message(n))
      const reads = await readsToEnd(source, position)
      const all = reads.flatMap(({ messages }) => messages)
      same('how many', all.length, 699)
      same('the last one', namesOf(all).at(-1), 'a 699')
      let seen = 1
      for (const read of reads) {
        seen += read.messages.length
        const rest = await readAll(await bench.source(), read.position)
        same(`after ${seen}`, rest.messages.length, 700 - seen)
        same('lost', rest.lost, false)
      }
    },
  },
  {
    name: 'two sources get the same messages, from the first one on',
    async check(bench) {
      const sink = await bench.sink()
      const voice = new Voice('a')
      await append(sink, voice.message(0))
      await append(sink, voice.message(1))
      for (let i = 0; i < 2; i++) {
        const { messages, lost } = await readAll(await bench.source())
        same('the messages', namesOf(messages), ['a 0', 'a 1'])
        same('lost', lost, false)
      }
    },
  },
  {
    name: 'a source that waits at the end gets the next message',
    async check(bench) {
      const [sink, source] = [await bench.sink(), await bench.source()]
      const voice = new Voice('a')
      await append(sink, voice.message(0))
      let { position } = await readAll(source)
      for (let n = 1; n < 4; n++) {
        const reading = source.read(position, { waitMs: PATIENCE_MS })
        await passing(n * 5)
        await append(sink, voice.message(n))
        const read = await reading
        same('the messages', namesOf(read.messages), [`a ${n}`])
        same('lost', read.lost, false)
        position = read.position
      }
    },
  },
  {
    name: 'a source that waits in an empty log gets the first message',
    async check(bench) {
      const [sink, source] = [await bench.sink(), await bench.source()]
      const voice = new Voice('a')
      const empty = await source.read(undefined, { waitMs: 0 })
      same('atEnd', empty.atEnd, true)
      same('lost', empty.lost, false)
      const reading = source.read(empty.position, { waitMs: PATIENCE_MS })
      await append(sink, voice.message(0))
      const read = await reading
      same('the messages', namesOf(read.messages), ['a 0'])
      same('lost', read.lost, false)
      same('log', read.log, empty.log)
    },
  },
  {
    name: 'a source at the end resolves without messages when none come, and stays where it is',
    async check(bench) {
      const [sink, source] = [await bench.sink(), await bench.source()]
      const voice = new Voice('a')
      await append(sink, voice.message(0))
      const { position } = await readAll(source)
      for (const waitMs of [0, 30]) {
        const read = await source.read(position, { waitMs })
        same(
          'messages, atEnd, lost',
          [read.messages.length, read.atEnd, read.lost],
          [0, true, false],
        )
        same('position', read.position, position)
      }
      await append(sink, voice.message(1))
      const { messages } = await readAll(source, position)
      same('the messages', namesOf(messages), ['a 1'])
    },
  },
  {
    name: 'atEnd is false before the last message, and true with it',
    async check(bench) {
      const [sink, source] = [await bench.sink(), await bench.source()]
      const voice = new Voice('a')
      const large = Math.min(sink.maxMessageBytes, 900_000)
      for (let n = 0; n < 12; n++) await append(sink, voice.ofLength(n, large))
      const reads = await readsToEnd(source)
      const all = reads.flatMap(({ messages }) => messages)
      same('how many', all.length, 12)
      for (const { messages } of reads) {
        const bytes = messages.reduce((sum, message) => sum + message.bytes.length, 0)
        isTrue('one call hands out some MiB at most', messages.length === 1 || bytes <= 33_554_432)
      }
    },
  },
  {
    name: 'an aborted read rejects with the reason of the signal, and no message is lost',
    async check(bench) {
      const [sink, source] = [await bench.sink(), await bench.source()]
      const voice = new Voice('a')
      await append(sink, voice.message(0))
      const { position } = await readAll(source)
      const reason = new Error('enough')
      for (const aborts of ['before', 'while it waits', 'while a message comes']) {
        const control = new Abort()
        if (aborts === 'before') control.abort(reason)
        const reading = source.read(position, { waitMs: PATIENCE_MS, signal: control })
        const outcome = reading.then(
          () => 'resolved',
          (error: unknown) => error,
        )
        if (aborts === 'while it waits') await passing(30)
        if (aborts === 'while a message comes') await append(sink, voice.message(1))
        control.abort(reason)
        const is = await outcome
        // A message that came first is handed out.
        if (!(aborts === 'while a message comes' && is === 'resolved'))
          same(`aborted ${aborts}`, is, reason)
      }
      await append(sink, voice.message(2))
      const { messages, lost } = await readAll(source, position)
      same('the messages', namesOf(messages), ['a 1', 'a 2'])
      same('lost', lost, false)
    },
  },
  {
    name: 'a request for a cut reaches every sink that listens, and no other',
    async check(bench) {
      const [one, two, source] = [await bench.sink(), await bench.sink(), await bench.source()]
      const got: [Set<string>, Set<string>] = [new Set(), new Set()]
      const offs = [one, two].map((sink, i) => sink.onCut((request) => got[i].add(request)))
      await until('both got the request', async () => {
        await source.requestCut('request-1')
        return got.every((each) => each.has('request-1'))
      })
      offs[0]()
      await until('one got the second request', async () => {
        await source.requestCut('request-2')
        return got[1].has('request-2')
      })
      same('the other one', [...got[0]], ['request-1'])
      offs[1]()
      offs[1]()
    },
  },
  {
    name: 'a request for a cut is no message of the log',
    async check(bench) {
      const [sink, source] = [await bench.sink(), await bench.source()]
      const voice = new Voice('a')
      await append(sink, voice.message(0))
      await source.requestCut('request')
      await append(sink, voice.message(1))
      same('the messages', namesOf((await readAll(source)).messages), ['a 0', 'a 1'])
    },
  },
  {
    name: 'nodes() is undefined or says of each instance whether it lives',
    async check(bench) {
      const nodes = (await bench.source()).nodes()
      for (const state of nodes?.values() ?? [])
        isTrue("'live' or 'gone'", state === 'live' || state === 'gone')
    },
  },
  {
    name: 'close() may be called twice, and leaves the client and the log to others',
    async check(bench) {
      const [sink, source] = [await bench.sink(), await bench.source()]
      const voice = new Voice('a')
      sink.onCut(() => undefined)
      await append(sink, voice.message(0))
      await readAll(source)
      for (let i = 0; i < 2; i++) await Promise.all([sink.close(), source.close()])
      const [another, reader] = [await bench.sink(), await bench.source()]
      await append(another, voice.message(1))
      same('the messages', namesOf((await readAll(reader)).messages), ['a 0', 'a 1'])
    },
  },
  {
    name: 'a position from another log, or nonsense, is lost: the messages begin with the first one',
    async check(bench) {
      const [sink, source] = [await bench.sink(), await bench.source()]
      const voice = new Voice('a')
      await append(sink, voice.message(0))
      for (const position of ['', 'nonsense', '0.0.0', '-1']) {
        const read = await source.read(position, { waitMs: 0 })
        same(`lost after ${JSON.stringify(position)}`, read.lost, true)
        same('the messages', namesOf(read.messages), ['a 0'])
      }
    },
  },
  {
    name: 'a position whose next messages were trimmed is lost',
    needs: 'trims',
    async check(bench) {
      const [sink, source] = [await bench.sink(), await bench.source()]
      const voice = new Voice('a')
      await append(sink, voice.message(0))
      const before = await readAll(source)
      for (let n = 1; n < 300; n++) await append(sink, voice.message(n))
      const { position } = await readAll(await bench.source())
      await bench.log.trim!()
      for (const each of [source, await bench.source()]) {
        const read = await readAll(each, before.position)
        same('lost', read.lost, true)
        same('the messages', namesOf(read.messages), ['a 299'])
      }
      const atEnd = await readAll(await bench.source(), position)
      same('lost at the end', atEnd.lost, false)
      same('how many', atEnd.messages.length, 0)
      await append(sink, voice.message(300))
      const next = await readAll(await bench.source(), position)
      same('the messages', [next.lost, ...namesOf(next.messages)], [false, 'a 300'])
    },
  },
  {
    name: 'a position is lost in a log that was deleted and made anew',
    needs: 'replaces',
    async check(bench) {
      const [sink, source] = [await bench.sink(), await bench.source()]
      const [voice, other] = [new Voice('a'), new Voice('b')]
      for (let n = 0; n < 3; n++) await append(sink, voice.message(n))
      const before = await readAll(source)
      await bench.log.replace!()
      const later = await bench.sink()
      for (let n = 0; n < 6; n++) await append(later, other.message(n))
      for (const each of [source, await bench.source()]) {
        const read = await readAll(each, before.position)
        same('lost', read.lost, true)
        isTrue('it has another name', read.log !== before.log)
        same(
          'the messages',
          namesOf(read.messages),
          [0, 1, 2, 3, 4, 5].map((n) => `b ${n}`),
        )
      }
      same('last() of what is gone', await later.last(voice.instance), undefined)
      // A publisher that was there before goes on.
      const outcome = await sink.append(voice.message(3))
      if (outcome === 'refused') {
        same('last()', await sink.last(voice.instance), undefined)
        await append(sink, voice.message(4))
      }
    },
  },
]

async function append(sink: EpochSink, message: LogMessage): Promise<void> {
  same(`append() of ${message.node} ${message.n}`, await sink.append(message), 'appended')
}

/** Reads up to the log's end, as a reader does: a call that finds the engine away is repeated. */
async function readsToEnd(source: EpochSource, from?: string): Promise<LogRead[]> {
  const reads: LogRead[] = []
  const startMs = nowMs()
  let after = from
  for (;;) {
    let read: LogRead
    try {
      read = await source.read(after, { waitMs: 0 })
    } catch (error) {
      if (!isDirtyRingError(error) || error.code !== 'ERR_DIRTYRING_AWAY') throw error
      isTrue('the engine comes back', nowMs() - startMs < PATIENCE_MS)
      continue
    }
    reads.push(read)
    after = read.position
    if (read.atEnd) return reads
    isTrue('a call that is not at the end hands out a message', read.messages.length > 0)
  }
}

async function readAll(
  source: EpochSource,
  from?: string,
): Promise<Pick<LogRead, 'messages' | 'position' | 'log' | 'lost'>> {
  const reads = await readsToEnd(source, from)
  const { position, log } = reads.at(-1)!
  return {
    messages: reads.flatMap(({ messages }) => messages),
    position,
    log,
    lost: reads.some(({ lost }) => lost),
  }
}

function namesOf(messages: LogRead['messages']): string[] {
  return messages.map(({ bytes }) => {
    const envelope = openEnvelope(bytes)
    return envelope === undefined ? 'damaged' : `${envelope.node} ${envelope.n}`
  })
}

function namesOfSent(messages: readonly LogMessage[]): string[] {
  return messages.map(({ node, n }) => `${node} ${n}`)
}

function sameBytes(messages: LogRead['messages'], sent: readonly LogMessage[]): void {
  same('how many', messages.length, sent.length)
  for (const [i, { bytes }] of messages.entries()) {
    const wanted = sent[i].bytes
    isTrue(
      `message ${i} has its ${wanted.length} bytes`,
      bytes.length === wanted.length && bytes.every((byte, at) => byte === wanted[at]),
    )
  }
}

async function rejects(call: Promise<unknown>, code: string): Promise<void> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  same('it rejects with', isDirtyRingError(error) ? error.code : String(error), code)
}

function same(what: string, got: unknown, wanted: unknown): void {
  if (got === wanted) return
  const [is, expected] = [inWords(got), inWords(wanted)]
  if (is !== expected || got instanceof Error)
    throw new Error(`${what}: expected ${expected}, got ${is}`)
}

function isTrue(what: string, is: boolean): void {
  if (!is) throw new Error(`expected: ${what}`)
}

function inWords(value: unknown): string {
  return value instanceof Error ? String(value) : (JSON.stringify(value) ?? String(value))
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

function passing(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms))
}

async function until(what: string, look: () => Promise<boolean>): Promise<void> {
  const startMs = nowMs()
  while (!(await look())) {
    isTrue(what, nowMs() - startMs < PATIENCE_MS)
    await passing(10)
  }
}

/** A signal. Some hosts have no AbortController. */
class Abort implements AbortSignalLike {
  aborted = false
  reason: unknown
  readonly #listeners = new Set<() => void>()

  abort(reason: unknown): void {
    if (this.aborted) return
    this.aborted = true
    this.reason = reason
    for (const each of [...this.#listeners]) each()
  }

  addEventListener(_type: 'abort', listener: () => void): void {
    this.#listeners.add(listener)
  }

  removeEventListener(_type: 'abort', listener: () => void): void {
    this.#listeners.delete(listener)
  }
}
