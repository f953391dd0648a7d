import { afterAll, beforeAll, describe, it } from '@jest/globals'
import type { Redis } from 'ioredis'
import { clusterConformance } from '../../lib/cluster/conformance.js'
import { connectRedis, HAS_REDIS, redisSink, redisSource, startRedis } from '../support/redis.js'
import type { Server } from '../support/servers.js'

if (HAS_REDIS) {
  describe('Redis Streams', () => {
    let server: Server
    let redis: Redis
    let streams = 0
    beforeAll(async () => {
      server = await startRedis()
      redis = connectRedis(server.port)
    })
    afterAll(async () => {
      redis.disconnect()
      await server.end()
    })

    const cases = clusterConformance(
      () => {
        const stream = `stream-${++streams}`
        return {
          sink: () => redisSink(redis, { stream }),
          source: () => redisSource(redis, { stream }),
          trim: async () => {
            await redis.xtrim(stream, 'MAXLEN', 1)
          },
          replace: async () => {
            await redis.del(stream)
          },
          end: async () => {
            await redis.del(stream)
          },
        }
      },
      { trims: true, replaces: true },
    )
    it.each(cases)('$name', ({ run }) => run())
  })
} else {
  it.todo('not run: redis-server is not installed')
}
