import type { EpochSink, LogMessage } from '../cluster/log.js'
import { pack, unpack } from './bytes.js'
import { channelOfProcess, HubEnd } from './end.js'
import { ANSWER_MS, hubOf, MESSAGE_BYTES_MAX, tooLarge } from './settings.js'
import type { Channel, Tagged } from './tap.js'

/** Options of {@link ipcSink} and {@link ipcSource}. */
export interface IpcEndOptions {
  /**
   * The `name` of the hub, where the parent has several; 1 to 64 characters. Default 'dirty'.
   */
  readonly hub?: string | undefined
}

/**
 * Makes the sink of a child process, for `publishEpochs()`. It appends to the log of the hub that
 * the parent process made with `ipcHub()`. It uses the channel that Node has opened between the
 * two.
 *
 * The sink adds listeners to `process`, and close() removes them. They do not keep the process
 * alive. The application may use the same channel. Its listeners also get the library's messages,
 * which have the property `dirtyring/ipc`, and must ignore them.
 *
 * While the hub does not answer, append() rejects with `ERR_DIRTYRING_AWAY`, and the publisher
 * keeps what was marked. A parent that has ended never comes back. End the process then, or go on
 * without a cluster.
 *
 * @param options - see {@link IpcEndOptions}
 * @returns a sink for one publisher
 * @throws `ERR_DIRTYRING_AWAY` if this process has no channel. Only a main thread has one, and only
 * if node:cluster or `child_process.fork()` has started the process
 * @throws TypeError or RangeError if an option is not allowed
 *
 * @example
 * ```js no-run
 * import { DirtyTracker } from 'dirtyring'
 * import { publishEpochs } from 'dirtyring/cluster'
 * import { ipcSink } from 'dirtyring/ipc'
 *
 * const tracker = await DirtyTracker.create({ maxConsumers: 1 })
 * const to = { sink: ipcSink(), everyMs: 50 }
 * const publisher = await publishEpochs(tracker.consumer('cluster'), to)
 * tracker.openWriter().mark('user:7')
 * await tracker.stop()
 * await publisher.close()
 * ```
 */
export function ipcSink(options: IpcEndOptions = {}): EpochSink {
  const hub = hubOf(options)
  return sinkOf(channelOfProcess('ipcSink()'), hub)
}

/** A sink over any channel. */
export function sinkOf(channel: Channel, hub: string, answerMs = ANSWER_MS): EpochSink {
  const cuts = new Set<(request: string) => void>()
  const end = new HubEnd(channel, hub, 'sink', answerMs, ({ op, request }) => {
    if (op !== 'cut' || typeof request !== 'string') return
    for (const cut of [...cuts]) cut(request)
  })
  /** An append that waits for its answer. Only one is under way. */
  let underWay: { readonly message: LogMessage; readonly answer: Promise<Tagged> } | undefined
  /** What last() has found, until the next append; -1: no message. */
  let known: { readonly instance: string; readonly n: number } | undefined

  const start = (message: LogMessage): Promise<Tagged> => {
    const { node, instance, n } = message
    const after = known?.instance === instance ? known.n : n - 1
    const answer = end
      .call('append', { node, instance, n, after, bytes: pack(message.bytes, end.carriesBytes) })
      .finally(() => (underWay = undefined))
    underWay = { message, answer }
    return answer
  }

  return {
    maxMessageBytes: MESSAGE_BYTES_MAX,

    async append(message) {
      const { bytes } = message
      if (bytes.length > MESSAGE_BYTES_MAX) throw tooLarge(bytes.length)
      await end.welcomed()
      // The hub may be busy and answer yet: the channel does not fill with repetitions.
      const isUnderWay = underWay !== undefined && isSame(underWay.message, message)
      const { result } = await end.answered(isUnderWay ? underWay!.answer : start(message), 0, true)
      if (result !== 'appended') return 'refused'
      known = undefined
      return 'appended'
    },

    async last(instance) {
      await end.welcomed()
      const answer = await end.answered(end.call('last', { instance }), 0, true)
      const { node, n } = answer as { readonly node: string; readonly n: number }
      const bytes = unpack(answer.bytes)
      known = { instance, n: bytes === undefined ? -1 : n }
      return bytes === undefined ? undefined : { node, instance, n, bytes }
    },

    onCut(cut) {
      // One function that is passed twice is called twice.
      const each = (request: string): void => cut(request)
      cuts.add(each)
      end.listen()
      return () => void cuts.delete(each)
    },

    async close() {
      end.close()
    },
  }
}

function isSame(a: LogMessage, b: LogMessage): boolean {
  return a.instance === b.instance && a.n === b.n && a.bytes === b.bytes
}
