/** A child of ipc.mjs: appends raw messages, or shows what keeps it alive. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { appendFileSync, openSync, writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { KIND } from '../../../dist/cluster/envelope.js'
import { ipcSink, ipcSource } from '../../../dist/ipc/index.js'
import { messageOf } from './ipc-messages.mjs'
import { args } from './support.mjs'

const cases = {
  /** Appends as fast as it can, and writes down what was acknowledged. Closes when it is told to. */
  async append({ path, sizes, node }) {
    const instance = randomBytes(16).toString('hex')
    const sink = ipcSink()
    const acknowledged = openSync(path, 'a')
    let isEnding = false
    process.on('message', (message) => {
      if (message === 'end') isEnding = true
    })
    for (let n = 0; ; n++) {
      const kind = isEnding ? KIND.CLOSE : n === 0 ? KIND.OPEN : KIND.EPOCH
      const result = await sink.append(messageOf(node, instance, n, sizes[n % sizes.length], kind))
      writeSync(acknowledged, `${JSON.stringify({ instance, n, result, kind })}\n`)
      if (kind === KIND.CLOSE) break
    }
    await sink.close()
    process.disconnect()
  },

  /** Has an idle sink that listens, and nothing else to stay for. */
  async idle({ node, isClosed }) {
    const sink = ipcSink()
    sink.onCut(() => {})
    const instance = randomBytes(16).toString('hex')
    await sink.append(messageOf(node, instance, 0, 10, KIND.OPEN))
    // The answer to this is all that there is to stay for.
    process.once('exit', (code) => writeSync(1, `exit ${code}\n`))
    await sink.last(instance)
    if (isClosed) await sink.close()
  },

  /** Its own listener keeps it alive, also after the library's have come and gone. */
  async listener({ node }) {
    const instance = randomBytes(16).toString('hex')
    for (let i = 0; i < 3; i++) {
      const sink = ipcSink()
      await sink.append(messageOf(node, instance, i, 10, KIND.OPEN))
      await sink.close()
    }
    const [first] = await once(process, 'message')
    appendFileSync(1, `${JSON.stringify(first)}\n`)
    const [second] = await once(process, 'message')
    appendFileSync(1, `${JSON.stringify(second)}\n`)
  },

  /** Outlives its parent. */
  async orphan({ node, path }) {
    const stays = setInterval(() => {}, 1000) // a waiting read does not keep it alive
    const sink = ipcSink()
    const source = ipcSource()
    const instance = randomBytes(16).toString('hex')
    await sink.append(messageOf(node, instance, 0, 10, KIND.OPEN))
    const { position } = await source.read(undefined, { waitMs: 0 })
    const waiting = source.read(position, { waitMs: 60_000 }).catch(({ code }) => code)
    process.send('ready')
    const codes = [await waiting]
    for (const call of [
      () => sink.append(messageOf(node, instance, 1, 10, KIND.EPOCH)),
      () => sink.last(instance),
      () => source.read(undefined, { waitMs: 0 }),
      () => source.requestCut('x'),
      () => ipcSink().append(messageOf(node, instance, 1, 10, KIND.EPOCH)),
    ])
      codes.push(await call().catch(({ code }) => code))
    await sink.close()
    await source.close()
    appendFileSync(path, `${JSON.stringify(codes)}\n`)
    clearInterval(stays)
  },

  /** Measures appends of one size. */
  async latency({ node, size, count }) {
    const sink = ipcSink()
    const instance = randomBytes(16).toString('hex')
    const messages = Array.from({ length: count }, (_, n) =>
      messageOf(node, instance, n, size, KIND.EPOCH),
    )
    const times = []
    for (const message of messages) {
      const began = performance.now()
      await sink.append(message)
      times.push(performance.now() - began)
      await sleep(1)
    }
    process.send({ times })
    await sink.close()
    process.disconnect()
  },
}

await cases[args.case](args)
