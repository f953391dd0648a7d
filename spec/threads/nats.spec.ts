import { afterAll, beforeAll, describe, it } from '@jest/globals'
import { jetstreamManager } from '@nats-io/jetstream'
import type { NatsConnection } from '@nats-io/transport-node'
import { clusterConformance } from '../../lib/cluster/conformance.js'
import { connectNats, HAS_NATS, natsSink, natsSource, startNats } from '../support/nats.js'
import type { Server } from '../support/servers.js'

if (HAS_NATS) {
  describe('NATS JetStream', () => {
    let server: Server
    let nats: NatsConnection
    let streams = 0
    beforeAll(async () => {
      server = await startNats()
      nats = await connectNats(server.port)
    })
    afterAll(async () => {
      await nats.close()
      await server.end()
    })

    const cases = clusterConformance(
      async () => {
        const stream = `stream-${++streams}`
        const options = { stream, subject: stream, create: true }
        const manager = await jetstreamManager(nats)
        return {
          sink: () => natsSink(nats, options),
          source: () => natsSource(nats, options),
          trim: async () => {
            await manager.streams.purge(stream, { keep: 1 })
          },
          replace: async () => {
            await manager.streams.delete(stream)
          },
          end: async () => {
            await manager.streams.delete(stream).catch(() => false)
          },
        }
      },
      { trims: true, replaces: true },
    )
    it.each(cases)('$name', ({ run }) => run())
  })
} else {
  it.todo('not run: nats-server is not installed')
}
