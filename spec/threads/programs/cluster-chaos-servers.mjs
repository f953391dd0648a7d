/**
 * What cluster-chaos.mjs needs of engines that are servers: the server itself, a line to it that is
 * cut, what goes wrong with them, and the ends of the adapters.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { headers } from '@nats-io/nats-core'
import { connect } from '@nats-io/transport-node'
import { Redis } from 'ioredis'
import { natsSink, natsSource } from '../../../dist/nats/index.js'
import { redisSink, redisSource } from '../../../dist/redis/index.js'
import { Line, Server } from '../../support/servers.mjs'

const STREAM = 'dirty'
/** How many messages a trimmed stream keeps. */
const KEPT = 5

const connectNats = (port) =>
  connect({
    servers: `nats://127.0.0.1:${port}`,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 50,
    reconnectJitter: 0,
    waitOnFirstConnect: true,
    timeout: 1000,
  })

function connectRedis(port) {
  const redis = new Redis(port, '127.0.0.1', { retryStrategy: () => 50, connectTimeout: 1000 })
  redis.on('error', () => undefined)
  return redis
}

const KINDS = {
  nats: {
    start: () => Server.nats(),
    async ends(port) {
      const client = await connectNats(port)
      const options = { stream: STREAM, create: true, timeoutMs: 500 }
      const request = async (api, body = '') => {
        await client.request(`$JS.API.${api}`, body, { timeout: 500 }).catch(() => undefined)
      }
      return {
        sink: () => natsSink(client, options),
        source: () => natsSource(client, options),
        trim: () => request(`STREAM.PURGE.${STREAM}`, JSON.stringify({ keep: KEPT })),
        delete: () => request(`STREAM.DELETE.${STREAM}`),
        /** Whether the stream, if there is one, takes messages: the server must refuse this one. */
        async isWell() {
          const info = client.request(`$JS.API.STREAM.INFO.${STREAM}`, '', { timeout: 1000 })
          const { error } = JSON.parse(Buffer.from((await info).data).toString())
          if (error !== undefined) return true
          const never = headers()
          never.set('Nats-Expected-Last-Sequence', String(Number.MAX_SAFE_INTEGER))
          await client.request(`${STREAM}.no.message`, '', { timeout: 1000, headers: never })
          return true
        },
        close: () => client.close(),
      }
    },
  },
  redis: {
    // Without it Redis may lose what it has acknowledged when it is killed.
    start: () => Server.redis(['--appendfsync', 'always']),
    async ends(port) {
      const client = connectRedis(port)
      const options = { stream: STREAM, timeoutMs: 500 }
      const run = async (...command) => {
        await Promise.race([client.call(...command), sleep(500)]).catch(() => undefined)
      }
      return {
        sink: () => redisSink(client, options),
        source: () => redisSource(client, options),
        trim: () => run('XTRIM', STREAM, 'MAXLEN', KEPT),
        delete: () => run('DEL', STREAM),
        isWell: () => client.call('EXISTS', STREAM).then(() => true),
        close: async () => client.disconnect(),
      }
    },
  },
}

/** How long each thing lasts, in ms at most. */
const OUTAGE_MS = 300
const FROZEN_MS = 800
const TAIL_MS = 150
/** A server that takes no message for so long hangs. */
const HUNG_MS = 5000

/** What carries the messages, in the process that starts the others. */
export async function serverOfParent(name) {
  const kind = KINDS[name]
  const server = await kind.start()
  const line = await Line.to(server.port)
  const own = await kind.ends(line.port)
  const faults = {}
  let due = []
  const kill = async (random, meanwhile = () => undefined) => {
    await server.kill()
    meanwhile()
    await sleep(random() * OUTAGE_MS)
    await server.start()
  }
  const troubles = {
    kill: (random) => kill(random),
    async mute(random) {
      line.mute()
      await sleep(random() * OUTAGE_MS)
      line.unmute()
    },
    async cut() {
      line.cut()
    },
    async freeze(random) {
      server.freeze()
      await sleep(random() * FROZEN_MS)
      server.thaw()
    },
    trim: () => own.trim(),
    delete: () => own.delete(),
    /** The server comes back with what it had some time ago. Meanwhile no process starts. */
    async tail(random, hold) {
      const go = await hold()
      server.keep()
      await sleep(random() * TAIL_MS)
      await kill(random, () => server.restore())
      go()
    },
  }
  return {
    /** Goes to the children. */
    settings: { name, port: line.port },
    source: () => own.source(),
    add: () => undefined,
    faults,
    /**
     * One thing goes wrong.
     *
     * @param hold - resolves when no process is about to begin, and keeps others from it until the
     * function that it resolves with is called
     */
    async trouble(random, hold) {
      // Each of them once, before one comes again.
      if (due.length === 0) due = Object.keys(troubles)
      const [what] = due.splice(Math.floor(random() * due.length), 1)
      await troubles[what](random, hold)
      faults[what] = (faults[what] ?? 0) + 1
    },
    /**
     * What watches over a server: one that hangs by a fault of its own is started again. NATS 2.9.10
     * does, if its stream is deleted and made again at a bad moment: it then takes no message.
     */
    async heal() {
      const direct = await kind.ends(server.port)
      const until = performance.now() + HUNG_MS
      let isWell = false
      while (!isWell && performance.now() < until) {
        const answer = direct.isWell().catch(() => false)
        isWell = await Promise.race([answer, sleep(HUNG_MS, false)])
        if (!isWell) await sleep(200)
      }
      await direct.close()
      if (isWell) return
      await server.kill()
      await server.start()
      server.deaths.push(`it took no message for ${HUNG_MS} ms`)
    },
    get answersLost() {
      return line.answersLost
    },
    /** What the server said before it ended by itself, each time. */
    get deaths() {
      return server.deaths
    },
    async close() {
      await own.close()
      await line.end()
      await server.end()
    },
  }
}

/** The same in a child. */
export async function serverOfChild({ name, port }) {
  const own = await KINDS[name].ends(port)
  return {
    sink() {
      const sink = own.sink()
      return {
        get maxMessageBytes() {
          return sink.maxMessageBytes
        },
        append: (message) => sink.append(message),
        last: (instance) => sink.last(instance),
        onCut: (cut) => sink.onCut(cut),
        close: () => sink.close(),
      }
    },
    source: () => own.source(),
    close: () => own.close(),
  }
}
