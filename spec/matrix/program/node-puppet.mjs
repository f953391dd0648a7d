import { parentPort } from 'node:worker_threads'
import { answer } from './puppet.mjs'

answer({
  receive: (listener) => parentPort.on('message', listener),
  send: (message) => parentPort.postMessage(message),
})
