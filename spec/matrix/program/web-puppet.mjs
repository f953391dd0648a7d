import { answer } from './puppet.mjs'

answer({
  receive: (listener) => addEventListener('message', ({ data }) => listener(data)),
  send: (message) => postMessage(message),
})
