import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { jetstreamManager } from '@nats-io/jetstream'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { Connection } from '../../lib/nats/connection.js'
import { natsSink, natsSource } from '../../lib/nats/index.js'
import { nanosecondsOf } from '../../lib/nats/source.js'
import { connectNats } from '../support/clients.js'
import { itCarriesACluster } from '../support/cluster-over.js'
import {
  type Engine,
  INSTANCE,
  itConforms,
  itRefuses,
  itSurvives,
  message,
} from '../support/engine-specs.js'
import { isInstalled, Server } from '../support/servers.mjs'

describe('without a server, the ends of NATS', () => {
  const nats: any = { isClosed: () => false }
  for (const method of ['publish', 'request', 'requestMany', 'subscribe', 'flush'])
    nats[method] = () => undefined

  itRefuses(
    [natsSink, natsSource],
    [
      [undefined, { stream: 'a' }, 'ERR_DIRTYRING_INVALID_ARG', /^"nats" must be a connection/],
      [{}, { stream: 'a' }, 'ERR_DIRTYRING_INVALID_ARG', /^"nats.publish" must be a function/],
      [nats, {}, 'ERR_DIRTYRING_INVALID_ARG', /^"options.stream" must be a string/],
      [nats, { stream: 'a.b' }, 'ERR_DIRTYRING_OUT_OF_RANGE', /^"options.stream" must be a name/],
      [nats, { stream: 'a', subject: 'a.*' }, 'ERR_DIRTYRING_OUT_OF_RANGE', /^"options.subject"/],
      [nats, { stream: 'a', subject: 7 }, 'ERR_DIRTYRING_INVALID_ARG', /^"options.subject"/],
      [nats, { stream: 'a', create: 1 }, 'ERR_DIRTYRING_INVALID_ARG', /^"options.create"/],
      [nats, { stream: 'a', timeoutMs: 1 }, 'ERR_DIRTYRING_OUT_OF_RANGE', /^"options.timeoutMs"/],
      [nats, { strem: 'a' }, 'ERR_DIRTYRING_INVALID_ARG', /Did you mean "stream"\?$/],
    ],
  )

  it('watch the connection no more after close(), when a call comes late', async () => {
    let watches = 0
    const status = async function* () {
      watches++
      yield { type: 'update' }
      await new Promise(() => undefined)
    }
    const connection = new Connection({ ...nats, status })
    await connection.call(async () => 'answer', 100, 'a call')
    connection.close()
    expect(await connection.call(async () => 'late', 100, 'a call')).toBe('late')
    expect(watches).toBe(1)
  })

  it.each([
    ['1970-01-01T00:00:00Z', '0000000000'],
    ['2026-11-27T18:30:18.710002062Z', '1795804218710002062'],
    ['2024-02-29T23:59:59.5Z', '1709251199500000000'],
    ['2000-03-01T00:00:00Z', '951868800000000000'],
  ])('read the time %s to the nanosecond', (time, nanoseconds) => {
    expect(nanosecondsOf(time)).toBe(nanoseconds)
  })
})

if (isInstalled('nats-server')) {
  describe('NATS JetStream', () => {
    let server: Server
    let nats: NatsConnection
    let manager: Awaited<ReturnType<typeof jetstreamManager>>
    let streams = 0
    beforeAll(async () => {
      server = await Server.nats()
      nats = await connectNats(server.port)
      manager = await jetstreamManager(nats)
    })
    afterAll(async () => {
      await nats.close()
      await server.end()
    })

    /** A stream of its own for each spec. */
    const fresh = (more: object = {}) => {
      const stream = `stream-${++streams}`
      return { stream, subject: stream, create: true, timeoutMs: 1000, ...more }
    }

    const engine: Engine<NatsConnection, ReturnType<typeof fresh>> = {
      name: 'nats',
      get server() {
        return server
      },
      get client() {
        return nats
      },
      options: fresh,
      sink: natsSink,
      source: natsSource,
      trim: (stream) => manager.streams.purge(stream, { keep: 1 }),
      remove: (stream) => manager.streams.delete(stream).catch(() => false),
      durableServer: () => Server.nats(),
      connect: connectNats,
      connectOnce: connectNats,
      close: (client) => client.close(),
      closedText: /maxReconnectAttempts/,
      compares: true,
    }
    itConforms(engine)
    itSurvives(engine)

    describe('a server that takes 100,000 bytes', () => {
      let own: Server
      let client: NatsConnection
      beforeAll(async () => {
        const folder = mkdtempSync(join(tmpdir(), 'dirtyring-nats-'))
        writeFileSync(join(folder, 'server.conf'), 'max_payload: 100000')
        own = await Server.nats(['-c', join(folder, 'server.conf')])
        client = await connectNats(own.port)
      })
      afterAll(async () => {
        await client.close()
        await own.end()
      })
      itCarriesACluster(() => {
        const options = fresh()
        return { sink: () => natsSink(client, options), source: () => natsSource(client, options) }
      })
    })

    it.each([
      [{ max_msgs_per_subject: 1 }, /max_msgs_per_subject is 1, it must be -1: nats stream edit/],
      [{ discard: 'new' }, /discard is "new", it must be "old": nats stream edit/],
      [{ retention: 'workqueue' }, /retention is "workqueue", it must be "limits"/],
      [{ max_msg_size: 1000 }, /max_msg_size is 1000, it must be -1 or at least 66048/],
      [{ subjects: ['other.*.*'] }, /subjects are \["other\.\*\.\*"\], "stream-\d+\.\*\.\*" must/],
      [{ subjects: ['stream-N.>'] }, /they take in "stream-\d+\.cut", which only carries requests/],
    ])('a stream with %j is refused before anything is published', async (config, text) => {
      const options = fresh()
      const { stream } = options
      const subjects = ((config as any).subjects ?? ['stream-N.*.*']).map((each: string) =>
        each.replace('stream-N', stream),
      )
      await manager.streams.add({ name: stream, ...config, subjects } as any)
      const calls = [
        natsSink(nats, options).append(message(0)),
        natsSource(nats, options).read(undefined, { waitMs: 0 }),
      ]
      for (const call of calls)
        await expect(call).rejects.toMatchObject({
          code: 'ERR_DIRTYRING_OUT_OF_RANGE',
          message: expect.stringMatching(text),
        })
      expect((await manager.streams.info(stream)).state.messages).toBe(0)
      await manager.streams.delete(stream)
    })

    it('all that is wrong with a stream is in one error', async () => {
      const options = fresh()
      const name = options.stream
      const subjects = [`${name}.*.*`]
      const more: any = { discard: 'new', max_msgs_per_subject: 2 }
      await manager.streams.add({ name, subjects, ...more })
      await expect(natsSink(nats, options).append(message(0))).rejects.toThrow(
        /discard is "new".*; its max_msgs_per_subject is 2/,
      )
    })

    it('a stream that is missing is refused, and the error says how to make it', async () => {
      const options = fresh({ create: false })
      const expected = {
        code: 'ERR_DIRTYRING_OUT_OF_RANGE',
        message: expect.stringContaining(
          `Pass { create: true }, or make it: nats stream add ${options.stream} --subjects ` +
            `'${options.subject}.*.*' --storage file --retention limits --discard old`,
        ),
      }
      await expect(natsSink(nats, options).append(message(0))).rejects.toMatchObject(expected)
      const reading = natsSource(nats, options).read(undefined, { waitMs: 0 })
      await expect(reading).rejects.toMatchObject(expected)
    })

    it('a stream that is deleted meanwhile is away, until it is made again', async () => {
      const options = fresh({ create: false })
      const config: any = { name: options.stream, subjects: [`${options.subject}.*.*`] }
      await manager.streams.add(config)
      const [sink, source] = [natsSink(nats, options), natsSource(nats, options)]
      await sink.append(message(0))
      const { position } = await source.read(undefined, { waitMs: 0 })
      await manager.streams.delete(options.stream)
      const away = { code: 'ERR_DIRTYRING_AWAY' }
      for (let i = 0; i < 2; i++) {
        await expect(sink.append(message(1))).rejects.toMatchObject(away)
        await expect(source.read(position, { waitMs: 0 })).rejects.toMatchObject(away)
      }
      await manager.streams.add(config)
      expect(await sink.append(message(1))).toBe('refused')
      expect(await sink.last(INSTANCE)).toBeUndefined()
      expect(await sink.append(message(1))).toBe('appended')
      const read = await source.read(position, { waitMs: 0 })
      expect({ lost: read.lost, messages: read.messages.length }).toEqual({
        lost: true,
        messages: 1,
      })
    })

    it('two subjects of one stream are two logs', async () => {
      const options = fresh()
      const name = options.stream
      await manager.streams.add({ name, subjects: [`${name}.a.*.*`, `${name}.b.*.*`] })
      const logs = []
      for (const subject of [`${name}.a`, `${name}.a`, `${name}.b`]) {
        const source = natsSource(nats, { ...options, subject })
        logs.push((await source.read(undefined, { waitMs: 0 })).log)
        await source.close()
      }
      expect(logs[1]).toBe(logs[0])
      expect(logs[2]).not.toBe(logs[0])
    })

    it('a read is not at the end while the copy that serves it lags behind the leader', async () => {
      const options = fresh()
      const lagging = laggingClient(nats)
      const [sink, source] = [natsSink(nats, options), natsSource(lagging.client, options)]
      await sink.append(message(0))
      let read = await source.read(undefined, { waitMs: 0 })
      expect([read.messages.length, read.atEnd]).toEqual([1, true])
      lagging.lags = true
      await sink.append(message(1))
      for (let i = 0; i < 2; i++) {
        read = await source.read(read.position, { waitMs: 0 })
        expect([read.lost, read.messages.length, read.atEnd]).toEqual([false, 0, false])
      }
      lagging.lags = false
      read = await source.read(read.position, { waitMs: 0 })
      expect([read.lost, read.messages.length, read.atEnd]).toEqual([false, 1, true])
      // Another copy may serve the next reader.
      expect(lagging.opened).toBe(3)
      // One that lacks nothing of this subject is at the end, though the stream goes on.
      await manager.streams.update(options.stream, {
        subjects: [`${options.subject}.*.*`, `${options.stream}-other.*.*`],
      })
      const other = { ...options, subject: `${options.stream}-other` }
      await natsSink(nats, other).append(message(0))
      lagging.asked = 0
      read = await source.read(read.position, { waitMs: 0 })
      expect([read.lost, read.messages.length, read.atEnd]).toEqual([false, 0, true])
      expect(lagging.asked).toBe(1)
    })

    it('messages that a lagging copy has again are handed out once', async () => {
      const options = fresh()
      const sink = natsSink(nats, options)
      for (let n = 0; n < 30; n++) await sink.append(message(n))
      const { position } = await natsSource(nats, options).read(undefined, { waitMs: 0 })
      await sink.append(message(30))
      // It begins with its own last message if it lacks the one that was asked for.
      const lagging = laggingClient(nats, { startsAt: 5 })
      const read = await natsSource(lagging.client, options).read(position, { waitMs: 0 })
      expect([read.lost, read.messages.length, read.atEnd]).toEqual([false, 1, true])
      expect(Buffer.from(read.messages[0].bytes)).toEqual(Buffer.from(message(30).bytes))
    })

    it('a copy of a running process is refused, although it sends the same number', async () => {
      const options = fresh()
      const [one, clone] = [natsSink(nats, options), natsSink(nats, options)]
      await one.append(message(0))
      await one.append(message(1))
      expect(await clone.last(INSTANCE)).toMatchObject({ n: 1 })
      await one.append(message(2, 'ours'))
      expect(await clone.append(message(2, 'theirs'))).toBe('refused')
      expect(await clone.last(INSTANCE)).toMatchObject({ bytes: message(2, 'ours').bytes })
    })

    it('a foreign message that is larger than a read stops no reader', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'dirtyring-nats-'))
      writeFileSync(join(folder, 'server.conf'), 'max_payload: 8388608')
      const own = await Server.nats(['-c', join(folder, 'server.conf')])
      const client = await connectNats(own.port)
      const options = fresh()
      const sink = natsSink(client, options)
      await sink.append(message(0))
      await client.request(`${options.subject}.foreign.program`, new Uint8Array(5 << 20))
      await sink.append(message(1))
      const source = natsSource(client, options)
      const sizes: number[] = []
      let position: string | undefined
      for (let reads = 0, isEnd = false; !isEnd && reads < 5; reads++) {
        const read = await source.read(position, { waitMs: 0 })
        sizes.push(...read.messages.map(({ bytes }) => bytes.length))
        ;({ position, atEnd: isEnd } = read)
      }
      expect(sizes).toEqual([message(0).bytes.length, 5 << 20, message(1).bytes.length])
      await client.close()
      await own.end()
    })

    it('a server without JetStream is refused', async () => {
      const bare = await Server.start('nats-server', 'Server is ready', (port) => [
        ...['-a', '127.0.0.1', '-p', `${port}`],
      ])
      const client = await connectNats(bare.port)
      const expected = {
        code: 'ERR_DIRTYRING_UNSUPPORTED',
        message: expect.stringContaining('nats-server -js -sd <folder>'),
      }
      await expect(natsSink(client, fresh()).append(message(0))).rejects.toMatchObject(expected)
      const reading = natsSource(client, fresh()).read(undefined, { waitMs: 0 })
      await expect(reading).rejects.toMatchObject(expected)
      await client.close()
      await bare.end()
    })

    it('a sink whose connection is closed takes no listener for cuts', async () => {
      const client = await connectNats(server.port)
      const sink = natsSink(client, fresh())
      await client.close()
      expect(() => sink.onCut(() => undefined)).toThrow(
        expect.objectContaining({ code: 'ERR_DIRTYRING_CLOSED' }),
      )
    })

    it('what an account may not do is told as the client tells it', async () => {
      const users = join(mkdtempSync(join(tmpdir(), 'dirtyring-nats-')), 'server.conf')
      writeFileSync(
        users,
        `authorization { users = [
          { user: all, password: all }
          { user: one, password: one, permissions: { publish: ["dirty.one.>", "$JS.API.>"] } }
        ] }`,
      )
      const guarded = await Server.nats(['-c', users])
      const [all, one] = await Promise.all(
        ['all', 'one'].map((user) =>
          connect({ servers: `nats://127.0.0.1:${guarded.port}`, user, pass: user }),
        ),
      )
      const options = { stream: 'dirty', create: true, timeoutMs: 1000 }
      expect(await natsSink(one, options).append(message(0, '', 'one'))).toBe('appended')
      expect(await natsSink(all, options).append(message(0, '', 'two'))).toBe('appended')
      await expect(natsSink(one, options).append(message(0, 'x', 'two'))).rejects.toThrow(
        /permissions violation/i,
      )
      await Promise.all([all.close(), one.close()])
      await guarded.end()
    })
  })
} else {
  it.todo('not run: nats-server is not installed')
}

/**
 * A client of a cluster whose copy of the stream lags behind the leader. `startsAt`: where a new
 * reader begins, because its copy does not have the place that was asked for.
 */
function laggingClient(nats: NatsConnection, { startsAt = 0 } = {}) {
  const lagging = {
    lags: false,
    /** How many requests went to the leader. */
    asked: 0,
    /** How many readers were opened. */
    opened: 0,
    client: {
      ...nats,
      isClosed: () => nats.isClosed(),
      publish: (subject: string, data?: any) => nats.publish(subject, data),
      flush: () => nats.flush(),
      subscribe: (subject: string, how?: any) => nats.subscribe(subject, how),
      request(subject: string, data: any, how?: any) {
        lagging.asked++
        if (subject.includes('.CONSUMER.CREATE.')) lagging.opened++
        if (startsAt > 0 && subject.includes('.CONSUMER.CREATE.'))
          data = String(data).replace(/"opt_start_seq":\d+/, `"opt_start_seq":${startsAt}`)
        return nats.request(subject, data, how)
      },
      async requestMany(subject: string, data: any, how?: any): Promise<AsyncIterable<any>> {
        if (!lagging.lags) return nats.requestMany(subject, data, how)
        const { expires = 0 } = JSON.parse(String(data))
        return (async function* () {
          await new Promise((resolve) => setTimeout(resolve, expires / 1e6))
          const headers = { code: 404, description: 'No Messages' }
          yield { subject, data: new Uint8Array(0), headers }
        })()
      },
    } as any,
  }
  return lagging
}
