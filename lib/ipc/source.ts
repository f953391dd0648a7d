import type { EpochSource, LogRead } from '../cluster/log.js'
import { abortable, throwIfAborted } from '../signal.js'
import { unpack } from './bytes.js'
import { channelOfProcess, HubEnd } from './end.js'
import { ANSWER_MS, hubOf } from './settings.js'
import type { IpcEndOptions } from './sink.js'
import type { Channel, Tagged } from './tap.js'

/**
 * Makes the source of a child process, for `openCluster()`. It reads the log of the hub that the
 * parent process made with `ipcHub()`. So a cache in each child learns what all others changed.
 *
 * It shares the channel with the application's messages, as {@link ipcSink} does. It does not keep
 * the process alive while it waits for messages.
 *
 * @param options - see {@link IpcEndOptions}
 * @returns a source for one reader
 * @throws `ERR_DIRTYRING_AWAY` if this process has no channel. Only a main thread has one, and only
 * if node:cluster or `child_process.fork()` has started the process
 * @throws TypeError or RangeError if an option is not allowed
 *
 * @example
 * ```js no-run
 * import { openCluster } from 'dirtyring/cluster'
 * import { ipcSource } from 'dirtyring/ipc'
 *
 * const cache = new Map()
 * const cluster = openCluster({ source: ipcSource(), from: 'now' })
 * await cluster.ready()
 * for await (const epoch of cluster.epochs({ everyMs: 50 })) {
 *   for (const key of cache.keys()) if (epoch.has(key)) cache.delete(key)
 *   epoch.commit()
 * }
 * ```
 */
export function ipcSource(options: IpcEndOptions = {}): EpochSource {
  const hub = hubOf(options)
  return sourceOf(channelOfProcess('ipcSource()'), hub)
}

/** A source over any channel. */
export function sourceOf(channel: Channel, hub: string, answerMs = ANSWER_MS): EpochSource {
  const end = new HubEnd(channel, hub, 'source', answerMs)
  const nodes = new Map<string, 'live' | 'gone'>()

  return {
    async read(after, { waitMs, signal }) {
      throwIfAborted(signal)
      // A caller that does not want to wait for messages waits for this answer.
      const keepsAlive = waitMs === 0
      await end.welcomed(keepsAlive)
      throwIfAborted(signal)
      let call: number | undefined
      const answer = end.answered(
        end
          .call('read', { after, waitMs }, (number) => (call = number))
          // Also from an answer that comes after an abort: the hub tells each change once.
          .then((found) => learn(nodes, found)),
        waitMs,
        keepsAlive,
      )
      const found = await abortable<Tagged>(signal, ({ resolve, reject }) => {
        answer.then(resolve, reject)
        return () => {
          end.tell('stop', { read: call })
          return true
        }
      })
      return readOf(found)
    },

    nodes: () => nodes,

    async requestCut(request) {
      await end.welcomed(false)
      await end.answered(end.call('cut', { request }), 0, false)
    },

    async close() {
      end.close()
    },
  }
}

function readOf({ messages, position, atEnd, log, lost }: Tagged): LogRead {
  return {
    messages: (messages as readonly Tagged[]).map(({ node, instance, bytes }) => ({
      node: node as string,
      instance: instance as string,
      bytes: unpack(bytes)!,
    })),
    position: position as string,
    atEnd: atEnd === true,
    log: log as string,
    lost: lost === true,
  }
}

/**
 * The hub sends what has changed, or everything if some are forgotten. One of another version may
 * leave some of it out.
 */
function learn(nodes: Map<string, 'live' | 'gone'>, found: Tagged): Tagged {
  const { all, live, gone, left } = found
  if (all === true) nodes.clear()
  for (const instance of (live ?? []) as readonly string[]) nodes.set(instance, 'live')
  for (const instance of (gone ?? []) as readonly string[]) nodes.set(instance, 'gone')
  for (const instance of (left ?? []) as readonly string[]) nodes.delete(instance)
  return found
}
