import { connect, type NatsConnection } from '@nats-io/transport-node'
import { Redis } from 'ioredis'

/** A connection to NATS that never gives up. */
export function connectNats(port: number): Promise<NatsConnection> {
  return connect({
    servers: `nats://127.0.0.1:${port}`,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 50,
    reconnectJitter: 0,
    waitOnFirstConnect: true,
  })
}

/** A client of Redis that never gives up. */
export function connectRedis(port: number): Redis {
  const redis = new Redis(port, '127.0.0.1', { retryStrategy: () => 50 })
  redis.on('error', () => undefined)
  return redis
}
