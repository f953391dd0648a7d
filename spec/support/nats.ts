import { connect, type NatsConnection } from '@nats-io/transport-node'
import { natsSink, natsSource } from '../../lib/nats/index.js'
import { isInstalled, Server } from './servers.js'

export const HAS_NATS = isInstalled('nats-server')

export function startNats(more: readonly string[] = []): Promise<Server> {
  return Server.start('nats-server', (port, folder) => [
    ...['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', folder, ...more],
  ])
}

export function connectNats(port: number): Promise<NatsConnection> {
  return connect({
    servers: `nats://127.0.0.1:${port}`,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 50,
    reconnectJitter: 0,
    waitOnFirstConnect: true,
  })
}

export { natsSink, natsSource }
