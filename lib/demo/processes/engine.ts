/** What carries the epochs from the processes to the checkpointer: the one place that knows. */
import type { EpochSink, EpochSource } from '../../cluster/log.js' // you write: from 'dirtyring/cluster'
import { type IpcChild, ipcHub, ipcSink } from '../../ipc/index.js' // you write: from 'dirtyring/ipc'

/** Goes to each process as JSON. */
export interface EngineSettings {
  readonly kind: 'ipc'
}

/** The engine, as the checkpointer's process has it. */
export interface CheckpointerEngine {
  /** What it is, for the first line of the output. */
  readonly name: string
  readonly source: EpochSource
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
        add: (child) => hub.add(child),
        close: () => hub.close(),
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
  }
}
