/**
 * What changed, by way of postMessage: each worker gathers the keys of one interval in a Set and
 * posts it. The server's thread drops each Set as soon as it arrives, without an interval of its
 * own.
 */
import { parentPort } from 'node:worker_threads'

export function create() {
  let take
  return {
    listen: (worker) => worker.on('message', (keys) => take(keys)),
    receive: (drop) => (take = drop),
  }
}

export const receive = (changes, _everyMs, drop) => changes.receive(drop)

export const stop = () => undefined

export function open(_changes, everyMs) {
  let keys = new Set()
  const post = () => {
    if (keys.size > 0) parentPort.postMessage(keys)
    keys = new Set()
  }
  const timer = setInterval(post, everyMs)
  return {
    mark: (key) => keys.add(key),
    batch: (use) => use(),
    close() {
      clearInterval(timer)
      post()
    },
  }
}
