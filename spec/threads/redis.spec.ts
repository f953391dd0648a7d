import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { Redis } from 'ioredis'
import { redisSink, redisSource } from '../../lib/redis/index.js'
import { isAfter } from '../../lib/redis/source.js'
import { connectRedis } from '../support/clients.js'
import { itCarriesACluster } from '../support/cluster-over.js'
import {
  type Engine,
  INSTANCE,
  itConforms,
  itRefuses,
  itSurvives,
  message,
  until,
} from '../support/engine-specs.js'
import { isInstalled, Server } from '../support/servers.mjs'

describe('without a server, the ends of Redis', () => {
  const redis: any = { status: 'ready' }
  for (const method of ['callBuffer', 'duplicate', 'disconnect', 'on'])
    redis[method] = () => undefined

  itRefuses(
    [redisSink, redisSource],
    [
      [undefined, { stream: 'a' }, 'ERR_DIRTYRING_INVALID_ARG', /^"redis" must be a client/],
      [{}, { stream: 'a' }, 'ERR_DIRTYRING_INVALID_ARG', /^"redis.callBuffer" must be a function/],
      [redis, {}, 'ERR_DIRTYRING_INVALID_ARG', /^"options.stream" must be a string/],
      [redis, { stream: '' }, 'ERR_DIRTYRING_OUT_OF_RANGE', /^"options.stream" must be a key/],
      [redis, { stream: 'a', timeoutMs: 1 }, 'ERR_DIRTYRING_OUT_OF_RANGE', /^"options.timeoutMs"/],
      [redis, { strem: 'a' }, 'ERR_DIRTYRING_INVALID_ARG', /Did you mean "stream"\?$/],
    ],
  )

  it('refuse two limits at once, and limits of a source', () => {
    expect(() => redisSink(redis, { stream: 'a', maxLen: 5, maxAgeMs: 5 })).toThrow(/beside maxLen/)
    expect(() => redisSink(redis, { stream: 'a', maxLen: 0 })).toThrow(/^"options.maxLen"/)
    expect(() => redisSource(redis, { stream: 'a', maxLen: 5 } as any)).toThrow(/not an option/)
  })

  it('open no connection for a read that was given up before close()', async () => {
    let answer = Promise.resolve()
    let opened = 0
    const state = ['0123456789abcdef', 0, 0, '0-0', '0-0', '', 0]
    const answers: Record<string, unknown> = { INFO: 'redis_version:7.0.15', XRANGE: [] }
    const client: any = {
      ...redis,
      callBuffer: async (command: string) => {
        if (command === 'EVAL') await answer
        return command === 'EVAL' ? state : answers[command]
      },
      duplicate: () => {
        opened++
        return client
      },
    }
    const source = redisSource(client, { stream: 'a' })
    const { position } = await source.read(undefined, { waitMs: 0 })
    let go = (): void => undefined
    answer = new Promise((resolve) => (go = resolve))
    const over = new AbortController()
    const reading = source.read(position, { waitMs: 100, signal: over.signal })
    await new Promise((resolve) => setTimeout(resolve, 5))
    over.abort('enough')
    await expect(reading).rejects.toBe('enough')
    await source.close()
    go()
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(opened).toBe(0)
  })

  it('leave the connection of a later read alone when an earlier one fails', async () => {
    const state = ['0123456789abcdef', 0, 0, '0-0', '0-0', '', 0]
    const answers: Record<string, unknown> = { INFO: 'redis_version:7.0.15', XRANGE: [] }
    answers.EVAL = state
    const waiters: { isOpen: boolean; fail: () => void }[] = []
    const client: any = {
      ...redis,
      callBuffer: async (command: string) => answers[command],
      duplicate: () => {
        const waiter = { isOpen: true, fail: (): void => undefined }
        waiters.push(waiter)
        return {
          ...redis,
          callBuffer: () =>
            new Promise((_, reject) => (waiter.fail = () => reject(new Error('closed')))),
          disconnect: () => (waiter.isOpen = false),
        }
      },
    }
    const source = redisSource(client, { stream: 'a' })
    const { position } = await source.read(undefined, { waitMs: 0 })
    const controllers = [new AbortController(), new AbortController()]
    const readings = controllers.map(async ({ signal }, i) => {
      await new Promise((resolve) => setTimeout(resolve, i * 10))
      return source.read(position, { waitMs: 1000, signal })
    })
    await new Promise((resolve) => setTimeout(resolve, 5))
    controllers[0].abort('enough')
    await expect(readings[0]).rejects.toBe('enough')
    await new Promise((resolve) => setTimeout(resolve, 20))
    waiters[0].fail()
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(waiters.map(({ isOpen }) => isOpen)).toEqual([false, true])
    controllers[1].abort('enough')
    await expect(readings[1]).rejects.toBe('enough')
    expect(waiters[1].isOpen).toBe(false)
    for (const { fail } of waiters) fail()
  })

  it('order ids of entries by time and number, not as text', () => {
    expect(isAfter('10-0', '9-9')).toBe(true)
    expect(isAfter('9-10', '9-9')).toBe(true)
    expect(isAfter('9-9', '9-9')).toBe(false)
    expect(isAfter('9-9', '10-0')).toBe(false)
  })
})

if (isInstalled('redis-server')) {
  describe('Redis Streams', () => {
    let server: Server
    let redis: Redis
    let streams = 0
    beforeAll(async () => {
      server = await Server.redis()
      redis = connectRedis(server.port)
    })
    afterAll(async () => {
      redis.disconnect()
      await server.end()
    })

    const fresh = () => ({ stream: `stream-${++streams}`, timeoutMs: 1000 })

    const engine: Engine<Redis, ReturnType<typeof fresh>> = {
      name: 'redis',
      get server() {
        return server
      },
      get client() {
        return redis
      },
      options: fresh,
      sink: redisSink,
      source: redisSource,
      trim: (stream) => redis.xtrim(stream, 'MAXLEN', 1),
      remove: (stream) => redis.del(stream),
      durableServer: () => Server.redis(['--appendfsync', 'always']),
      connect: connectRedis,
      connectOnce: (port) => {
        const client = new Redis(port, '127.0.0.1', {
          retryStrategy: () => 50,
          autoResendUnfulfilledCommands: false,
          maxRetriesPerRequest: 0,
        })
        client.on('error', () => undefined)
        return client
      },
      close: async (client) => {
        const ended = new Promise((resolve) => client.once('end', () => resolve(undefined)))
        client.disconnect()
        await ended
      },
      closedText: /closed/,
      compares: false,
    }
    itConforms(engine)
    itSurvives(engine)

    itCarriesACluster(() => {
      const options = fresh()
      return { sink: () => redisSink(redis, options), source: () => redisSource(redis, options) }
    })

    it.each([[{ maxLen: 100 }], [{ maxAgeMs: 1 }]])('a sink with %j trims', async (limit) => {
      const { stream } = fresh()
      const sink = redisSink(redis, { stream, ...limit })
      // Redis takes whole blocks of about 100 entries away.
      for (let n = 0; n < 500; n++) await sink.append(message(n))
      expect(await redis.xlen(stream)).toBeLessThan(300)
      expect(await redis.xlen(stream)).toBeGreaterThanOrEqual(1)
    })

    it('a sink without a limit trims nothing', async () => {
      const { stream } = fresh()
      const sink = redisSink(redis, { stream })
      for (let n = 0; n < 300; n++) await sink.append(message(n))
      expect(await redis.xlen(stream)).toBe(300)
    })

    it('a stream without entries keeps a position at its end, and one that lost some does not', async () => {
      const options = fresh()
      const sink = redisSink(redis, options)
      await sink.append(message(0))
      const first = await redisSource(redis, options).read(undefined, { waitMs: 0 })
      await sink.append(message(1))
      const last = await redisSource(redis, options).read(first.position, { waitMs: 0 })
      await redis.xtrim(options.stream, 'MAXLEN', 0)
      const lost = await redisSource(redis, options).read(first.position, { waitMs: 0 })
      expect(lost).toMatchObject({ lost: true, messages: [], atEnd: true })
      const kept = await redisSource(redis, options).read(last.position, { waitMs: 0 })
      expect(kept).toMatchObject({ lost: false, messages: [], atEnd: true })
      await sink.append(message(2))
      for (const { position } of [lost, kept]) {
        const read = await redisSource(redis, options).read(position, { waitMs: 0 })
        expect([read.lost, read.messages.length]).toEqual([false, 1])
      }
    })

    it('an entry that is deleted by hand behind a position is a loss', async () => {
      const options = fresh()
      const sink = redisSink(redis, options)
      await sink.append(message(0))
      const { position } = await redisSource(redis, options).read(undefined, { waitMs: 0 })
      for (let n = 1; n < 4; n++) await sink.append(message(n))
      const [, , [id]] = await redis.xrange(options.stream, '-', '+')
      await redis.xdel(options.stream, id)
      const read = await redisSource(redis, options).read(position, { waitMs: 0 })
      expect([read.lost, read.messages.length]).toEqual([true, 3])
      const next = await redisSource(redis, options).read(read.position, { waitMs: 0 })
      expect([next.lost, next.messages.length]).toEqual([false, 0])
    })

    it.each([
      ['beyond the first batch', 40, false],
      ['beyond the first batch', 40, true],
      ['at the end', 59, false],
      ['at the end', 59, true],
    ])('an entry that was deleted %s (%i) is one loss at most: %p', async (_, at, isLater) => {
      const options = fresh()
      const sink = redisSink(redis, options)
      for (let n = 0; n < 60; n++) await sink.append(message(n))
      const ids = (await redis.xrange(options.stream, '-', '+')).map(([id]) => id)
      const { position } = await redisSource(redis, options).read(undefined, { waitMs: 0 })
      await redis.xdel(options.stream, ids[at])

      const source = redisSource(redis, options)
      let read = await source.read(isLater ? position : undefined, { waitMs: 0 })
      let count = read.messages.length
      expect(read.lost).toBe(isLater)
      for (let i = 0; i < 5 && !read.atEnd; i++) {
        read = await source.read(read.position, { waitMs: 0 })
        expect(read.lost).toBe(false)
        count += read.messages.length
      }
      expect([read.atEnd, count]).toEqual([true, 59])

      // A later deletion is a loss again.
      const last = await redis.xadd(options.stream, '*', 'm', 'x')
      await redis.xadd(options.stream, '*', 'm', 'y')
      await redis.xdel(options.stream, last!)
      expect((await source.read(read.position, { waitMs: 0 })).lost).toBe(true)
    })

    it('a restart that the caller has not seen is told by the next read', async () => {
      const options = fresh()
      const sink = redisSink(redis, options)
      for (let n = 0; n < 60; n++) await sink.append(message(n))
      const source = redisSource(redis, options)
      const { position } = await source.read(undefined, { waitMs: 0 })
      const [[id]] = await redis.xrevrange(options.stream, '+', '-', 'COUNT', 1)
      await redis.xdel(options.stream, id)
      const over = new AbortController()
      const reading = source.read(position, { waitMs: 0, signal: over.signal })
      over.abort('enough')
      await expect(reading).rejects.toBe('enough')
      await new Promise((resolve) => setTimeout(resolve, 50))
      expect((await source.read(position, { waitMs: 0 })).lost).toBe(true)
    })

    it('entries of other programs have no bytes of ours, and stop no reader', async () => {
      const options = fresh()
      await redis.xadd(options.stream, '*', 'field', 'value')
      const sink = redisSink(redis, options)
      await sink.append(message(0))
      expect(await sink.last(INSTANCE)).toMatchObject({ n: 0 })
      const { messages } = await redisSource(redis, options).read(undefined, { waitMs: 0 })
      expect(messages.map(({ bytes }) => bytes.length)).toEqual([0, message(0).bytes.length])
    })

    it('a key that holds something else is told as Redis tells it', async () => {
      const options = fresh()
      await redis.set(options.stream, 'text')
      const text = /^WRONGTYPE|Operation against a key holding the wrong kind/
      await expect(redisSink(redis, options).append(message(0))).rejects.toThrow(text)
      const reading = redisSource(redis, options).read(undefined, { waitMs: 0 })
      await expect(reading).rejects.toThrow(text)
    })

    it('a message above proto-max-bulk-len is too large, and a server without memory is away', async () => {
      const small = await Server.redis(['--proto-max-bulk-len', '1048576'])
      const client = connectRedis(small.port)
      const options = fresh()
      const sink = redisSink(client, options)
      await sink.append(message(0))
      expect(sink.maxMessageBytes).toBe(1_048_576)
      const large = message(1, 'x'.repeat(1_048_577))
      await expect(sink.append(large)).rejects.toMatchObject({ code: 'ERR_DIRTYRING_TOO_LARGE' })
      await client.config('SET', 'maxmemory', '1')
      await expect(sink.append(message(1))).rejects.toMatchObject({
        code: 'ERR_DIRTYRING_AWAY',
        message: expect.stringContaining('OOM'),
      })
      await client.config('SET', 'maxmemory', '0')
      expect(await sink.append(message(1))).toBe('appended')
      client.disconnect()
      await small.end()
    })

    it('close() ends the connections that an end has made, and no other', async () => {
      const client = connectRedis(server.port)
      const count = async () => /^connected_clients:(\d+)/m.exec(await client.info('clients'))![1]
      const options = fresh()
      const before = await count()
      const [sink, source] = [redisSink(client, options), redisSource(client, options)]
      sink.onCut(() => undefined)
      await sink.append(message(0))
      const { position } = await source.read(undefined, { waitMs: 0 })
      await source.read(position, { waitMs: 20 })
      expect(Number(await count())).toBe(Number(before) + 2)
      await Promise.all([sink.close(), source.close()])
      await until(async () => (await count()) === before)
      client.disconnect()
    })
  })
} else {
  it.todo('not run: redis-server is not installed')
}
