/**
 * What changed, by way of postMessage: arrays of 64 keys, or of those of 10 ms when these are fewer. The server's thread
 * gathers them in a Set until it drops them.
 */
import { parentPort } from 'node:worker_threads'

export function create() {
  let keys = new Set()
  return {
    listen(worker) {
      worker.on('message', (batch) => {
        for (const key of batch) keys.add(key)
      })
    },
    take() {
      const taken = keys
      keys = new Set()
      return taken
    },
  }
}

export function receive(changes, everyMs, drop) {
  const dropAll = () => {
    const keys = changes.take()
    if (keys.size > 0) drop(keys)
  }
  const timer = setInterval(dropAll, everyMs)
  changes.stop = () => {
    clearInterval(timer)
    dropAll()
  }
}

export const stop = (changes) => changes.stop()

export function open() {
  let batch = []
  const post = () => {
    if (batch.length > 0) parentPort.postMessage(batch)
    batch = []
  }
  const timer = setInterval(post, 10)
  return {
    mark: (key) => batch.push(key),
    batch(use) {
      use()
      // Not before all is written: the server could drop the key too early.
      if (batch.length >= 64) post()
    },
    close() {
      clearInterval(timer)
      post()
    },
  }
}
