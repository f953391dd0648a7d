import { Redis } from 'ioredis'
import { redisSink, redisSource } from '../../lib/redis/index.js'
import { isInstalled, Server } from './servers.js'

export const HAS_REDIS = isInstalled('redis-server')

export function startRedis(more: readonly string[] = []): Promise<Server> {
  return Server.start('redis-server', (port, folder) => [
    ...['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', ''],
    ...['--appendonly', 'yes', ...more],
  ])
}

export function connectRedis(port: number): Redis {
  const redis = new Redis(port, '127.0.0.1', { retryStrategy: () => 50 })
  redis.on('error', () => undefined)
  return redis
}

export { redisSink, redisSource }
