/** What carries the epochs from the processes to the checkpointer: the one place that knows. */
import type { NatsConnection } from '@nats-io/transport-node'
import type { ClusterOptions } from '../../cluster/index.js'
import type { EpochSink, EpochSource } from '../../cluster/log.js' // you write: from 'dirtyring/cluster'
import { type IpcChild, ipcHub, ipcSink } from '../../ipc/index.js' // you write: from 'dirtyring/ipc'
import { natsSink, natsSource } from '../../nats/index.js' // you write: from 'dirtyring/nats'

/** Goes to each process as JSON. */
export type EngineSettings =
  | { readonly kind: 'ipc' }
  | { readonly kind: 'nats'; readonly servers: string; readonly stream: string }

/** The engine, as the checkpointer's process has it. */
export interface CheckpointerEngine {
  /** What it is, for the first line of the output. */
  readonly name: string
  readonly source: EpochSource
  /** Options of the reader. */
  readonly reading: Pick<ClusterOptions, 'silentMs' | 'goneMs' | 'timeoutMs'>
  /** Called with each process that was started, at once. */
  add(child: IpcChild): void
  close(): Promise<void>
}

/** The engine, as a node's process has it. */
export interface NodeEngine {
  readonly sink: EpochSink
  close(): Promise<void>
}

export async function engineOfCheckpointer(settings: EngineSettings): Promise<CheckpointerEngine> {
  switch (settings.kind) {
    case 'ipc': {
      const hub = ipcHub()
      return {
        name: 'over IPC',
        source: hub.source(),
        reading: {}, // the hub knows at once who is gone
        add: (child) => hub.add(child),
        close: () => hub.close(),
      }
    }
    case 'nats': {
      const { servers, stream } = settings
      const nats = await connectNats(servers)
      return {
        name: `over NATS at ${servers}`,
        source: natsSource(nats, optionsOf(stream)),
        // Only silence tells who is gone. A process of the demo is never silent for so long.
        reading: { silentMs: 700, goneMs: 2000, timeoutMs: 2000 },
        add: () => undefined,
        async close() {
          await nats.request(`$JS.API.STREAM.DELETE.${stream}`).catch(() => undefined)
          await nats.close()
        },
      }
    }
  }
}

export async function engineOfNode(settings: EngineSettings): Promise<NodeEngine> {
  switch (settings.kind) {
    case 'ipc': {
      const sink = ipcSink()
      return { sink, close: () => sink.close() }
    }
    case 'nats': {
      const nats = await connectNats(settings.servers)
      return { sink: natsSink(nats, optionsOf(settings.stream)), close: () => nats.close() }
    }
  }
}

function optionsOf(stream: string): { stream: string; subject: string; create: true } {
  return { stream, subject: stream, create: true }
}

async function connectNats(servers: string): Promise<NatsConnection> {
  let connect
  try {
    ;({ connect } = await import('@nats-io/transport-node'))
  } catch (cause) {
    const packages = '-p dirtyring -p @nats-io/transport-node'
    throw new Error(
      `--nats needs @nats-io/transport-node: npx ${packages} dirtyring demo --nats …`,
      {
        cause,
      },
    )
  }
  return connect({ servers, maxReconnectAttempts: -1 })
}
