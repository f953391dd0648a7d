import { expect, it } from '@jest/globals'
import { clusterConformance } from '../../lib/cluster/conformance.js'
import { KIND, sealEnvelope } from '../../lib/cluster/envelope.js'
import type { EpochSink, EpochSource, LogMessage, LogRead } from '../../lib/cluster/log.js'
import { runProgram } from './program.js'
import { Line, type Server } from './servers.mjs'

/** An engine with its adapter, as its specs use it. */
export interface Engine<Client, Options> {
  readonly name: 'nats' | 'redis'
  /** The server that runs while the specs do. */
  readonly server: Server
  /** A client of that server. */
  readonly client: Client
  /** Options with a stream of its own. */
  options(): Options & { readonly stream: string }
  sink(client: Client, options: Options): EpochSink
  source(client: Client, options: Options): EpochSource
  /** Leaves the last message of a stream. */
  trim(stream: string): Promise<unknown>
  /** Deletes a stream, if it is there. */
  remove(stream: string): Promise<unknown>
  /** A server that keeps what it has acknowledged when it is killed. */
  durableServer(): Promise<Server>
  connect(port: number): Promise<Client> | Client
  /** A client that sends nothing again by itself. */
  connectOnce(port: number): Promise<Client> | Client
  /** Resolves when the client has ended. */
  close(client: Client): Promise<unknown>
  /** What the ends say when their client is closed. */
  readonly closedText: RegExp
  /** Whether the engine itself refuses a message that does not follow, or that it has. */
  readonly compares: boolean
}

export const INSTANCE = '0123456789abcdef0123456789abcdef'

/** A message of INSTANCE. */
export function message(n: number, text = '', node = 'a'): LogMessage {
  const body = Buffer.from(text)
  const kind = n === 0 ? KIND.OPEN : KIND.EPOCH
  const envelope = { kind, format: 1, flags: 0, node, instance: INSTANCE, n, atMs: 0, body }
  return { node, instance: INSTANCE, n, bytes: sealEnvelope(envelope) }
}

/** What a call resolves with whose engine is away. */
export function away(error: { code?: unknown }): 'away' {
  expect(error).toMatchObject({ code: 'ERR_DIRTYRING_AWAY' })
  return 'away'
}

export async function until(look: () => Promise<boolean>): Promise<void> {
  while (!(await look())) await new Promise((resolve) => setTimeout(resolve, 20))
}

/** Reads, and again while the engine is away. */
async function reading(source: EpochSource, position: string | undefined) {
  for (;;) {
    const read = await source.read(position, { waitMs: 0 }).catch(away)
    if (read !== 'away') return read
  }
}

const hexOf = ({ bytes }: { readonly bytes: Uint8Array }): string =>
  Buffer.from(bytes).toString('hex')

/** Specs of what the makers of an adapter's ends refuse: a client and options each. */
export function itRefuses(
  makers: readonly ((client: any, options: any) => unknown)[],
  cases: readonly (readonly [unknown, object, string, RegExp])[],
): void {
  it.each(cases)('refuse what they cannot work with: %#', (client, options, code, text) => {
    for (const make of makers)
      expect(() => make(client, options)).toThrow(
        expect.objectContaining({ code, message: expect.stringMatching(text) }),
      )
  })
}

/** The cases that every adapter passes. */
export function itConforms<Client, Options>(engine: Engine<Client, Options>): void {
  const cases = clusterConformance(
    () => {
      const options = engine.options()
      const remove = async (): Promise<void> => {
        await engine.remove(options.stream)
      }
      return {
        sink: () => engine.sink(engine.client, options),
        source: () => engine.source(engine.client, options),
        trim: async () => {
          await engine.trim(options.stream)
        },
        replace: remove,
        end: remove,
      }
    },
    { trims: true, replaces: true },
  )
  it.each(cases)('$name', ({ run }) => run())
}

/** Specs of clients that end, lines that are cut, and servers that are killed. */
export function itSurvives<Client, Options>(engine: Engine<Client, Options>): void {
  const { compares } = engine

  it('publishers, readers and the server are killed, and no copy differs from its store', async () => {
    const reading = { silentMs: 400, goneMs: 1000, timeoutMs: 2000 }
    const args = {
      seed: 4,
      ms: 1000,
      faultsMin: 7,
      engine: engine.name,
      wellMs: 200,
      lifeMs: 1000,
      reading,
    }
    const verdict = await runProgram('cluster-chaos', args, { timeoutMs: 120_000 })

    expect(verdict).toMatchObject({ errors: [], differing: 0, differingThere: 0 })
    expect(Object.keys(verdict.faults).sort()).toEqual([
      'cut',
      'delete',
      'freeze',
      'kill',
      'mute',
      'tail',
      'trim',
    ])
    expect(verdict.here.epochs).toBeGreaterThan(0)
  }, 120_000)

  it('a client that is closed ends both ends with an error that says so', async () => {
    const client = await engine.connect(engine.server.port)
    const options = engine.options()
    const [sink, source] = [engine.sink(client, options), engine.source(client, options)]
    await sink.append(message(0))
    const { position } = await source.read(undefined, { waitMs: 0 })
    await engine.close(client)
    const closed = {
      code: 'ERR_DIRTYRING_CLOSED',
      message: expect.stringMatching(engine.closedText),
    }
    await expect(sink.append(message(1))).rejects.toMatchObject(closed)
    await expect(sink.last(INSTANCE)).rejects.toMatchObject(closed)
    await expect(source.read(position, { waitMs: 0 })).rejects.toMatchObject(closed)
    await expect(source.requestCut('x')).rejects.toMatchObject(closed)
    await Promise.all([sink.close(), source.close()])
  })

  const once = compares ? 'once' : 'at least once'
  it(`a message whose answer is lost is in the log ${once}`, async () => {
    const line = await Line.to(engine.server.port)
    const client = await engine.connectOnce(line.port)
    const options = engine.options()
    const [sink, source] = [engine.sink(client, options), engine.source(engine.client, options)]
    await sink.append(message(0))
    for (let n = 1; n <= 3; n++) {
      line.mute()
      await expect(sink.append(message(n))).rejects.toMatchObject({ code: 'ERR_DIRTYRING_AWAY' })
      line.unmute()
      await until(async () => (await sink.append(message(n)).catch(away)) === 'appended')
    }
    const all = (await source.read(undefined, { waitMs: 0 })).messages.map(hexOf)
    expect(line.answersLost).toBeGreaterThanOrEqual(3)
    expect(compares ? all : [...new Set(all)]).toEqual([0, 1, 2, 3].map((n) => hexOf(message(n))))
    await engine.close(client)
    await line.end()
  })

  it('a server that is killed comes back with all of it, and both ends go on', async () => {
    const own = await engine.durableServer()
    const client = await engine.connect(own.port)
    const options = engine.options()
    const [sink, source] = [engine.sink(client, options), engine.source(client, options)]
    let position: string | undefined
    let waiting: Promise<LogRead | 'away'> | undefined
    for (let n = 0; ; n++) {
      await until(async () => (await sink.append(message(n)).catch(away)) === 'appended')
      const waited = await waiting
      const hasWaited = waited !== undefined && waited !== 'away' && waited.messages.length > 0
      const read = hasWaited ? waited : await reading(source, position)
      expect([read.lost, read.atEnd]).toEqual([false, true])
      expect(new Set(read.messages.map(hexOf))).toEqual(new Set([hexOf(message(n))]))
      if (compares) expect(read.messages.length).toBe(1)
      position = read.position
      if (n === 3) break
      waiting = source.read(position, { waitMs: 3000 }).catch(away)
      await own.kill()
      await own.start()
    }
    await source.close()
    await engine.close(client)
    await own.end()
  })

  const by = compares ? 'both ends' : 'the reader'
  it(`a server that comes back without its tail is found out by ${by}`, async () => {
    const own = await engine.durableServer()
    const client = await engine.connect(own.port)
    const options = engine.options()
    const [sink, source] = [engine.sink(client, options), engine.source(client, options)]
    for (let n = 0; n < 3; n++) await sink.append(message(n))
    own.keep()
    for (let n = 3; n < 6; n++) await sink.append(message(n))
    const { position } = await source.read(undefined, { waitMs: 0 })
    await own.kill()
    own.restore()
    await own.start()

    if (compares) await until(async () => (await sink.append(message(6)).catch(away)) === 'refused')
    await until(async () => (await sink.last(INSTANCE).catch(away)) !== 'away')
    expect(await sink.last(INSTANCE)).toMatchObject({ n: 2 })
    // As many messages as before, and others.
    for (let n = 6; n < 9; n++) expect(await sink.append(message(n))).toBe('appended')
    for (const each of [source, engine.source(client, options)]) {
      const read = await reading(each, position)
      expect([read.lost, read.messages.length]).toEqual([true, 6])
    }
    await engine.close(client)
    await own.end()
  })
}
