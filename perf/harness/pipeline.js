/**
 * How a pipeline is timed: writers' threads send streams, and the main thread waits until all of
 * them have arrived. The same streams were sent before, four times where that is quick: what is
 * timed is neither the compiler nor the first touch of memory.
 *
 * A kind is receive(args, seen), on the main thread: { handles, one a writer; settle(count, sent):
 * all of them have arrived; clear(); result(); and perhaps listen(worker), tick(ms) }; and
 * send(handle, buffer, args), on a writer's thread: a function that sends the stream in `buffer`.
 * Or it is alone(args), which gives a function that takes the streams. Or it is load(), which
 * imports it.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { message, sleep, startThread, unlessQuick } from './args.js'

const now = () => performance.timeOrigin + performance.now()
const READY = 'ready'

/** What a writer says about itself, and is no batch. */
function isReport(value) {
  return value === READY || value?.startedAt !== undefined
}

/**
 * What receive() returns for `count` writers that post their keys in batches, into one Set.
 * `resultOf` reads the Set when all keys have arrived, in the time that is taken.
 */
export function postMessages(count, resultOf) {
  const set = new Set()
  let received = 0
  let wake = () => undefined
  let result
  return {
    handles: Array.from({ length: count }),
    listen(writer) {
      writer.on('message', (keys) => {
        if (isReport(keys)) return
        for (let i = 0; i < keys.length; i++) set.add(keys[i])
        received += keys.length
        wake()
      })
    },
    clear() {
      set.clear()
      received = 0
    },
    async settle(count) {
      while (received < count) await new Promise((resolve) => (wake = resolve))
      result = resultOf(set)
    },
    result: () => result,
  }
}

/** Times one kind of `kinds`; the streams are typed arrays of one length, on shared memory. */
export async function timePipeline({ url, kinds, args, streams, seen }) {
  const kind = await kindOf(kinds, args.kind)
  const sent = streams.reduce((sum, { length }) => sum + length, 0)
  const { round, result, clear, tick } = kind.alone
    ? aloneWith(kind.alone(args), streams)
    : await withThreads(url, kind, args, streams, seen)
  for (let i = 0; i < unlessQuick(kind.warmUps, 1); i++) {
    await round()
    await clear()
  }
  await sleep(unlessQuick(300, 0))
  const ticking = args.epochMs > 0 ? tick?.(args.epochMs) : undefined
  const cpuBefore = process.cpuUsage()
  const ms = await round()
  const { user, system } = process.cpuUsage(cpuBefore)
  await ticking?.()
  return {
    ms,
    mKeysPerSecond: sent / ms / 1000,
    cpuSeconds: (user + system) / 1e6,
    cpuNs: ((user + system) * 1000) / sent,
    result: await result(),
  }
}

/** The part of a writer's thread. */
export async function writeStream(kinds) {
  const { args, handle, buffer } = workerData
  const send = (await kindOf(kinds, args.kind)).send(handle, buffer, args)
  parentPort.on('message', () => {
    const startedAt = now()
    send()
    parentPort.postMessage({ startedAt })
  })
  parentPort.postMessage(READY)
}

async function kindOf(kinds, name) {
  const kind = kinds[name]
  return kind.load === undefined ? kind : kind.load()
}

async function withThreads(url, kind, args, streams, seen) {
  const count = streams.reduce((sum, { length }) => sum + length, 0)
  const receiver = await kind.receive(args, seen)
  const threads = receiver.handles.map((handle, i) => {
    const worker = startThread(url, { args, handle, buffer: streams[i].buffer })
    receiver.listen?.(worker)
    return worker
  })
  await Promise.all(threads.map((thread) => message(thread, isReport)))
  const round = async () => {
    const sent = Promise.all(threads.map((thread) => message(thread, isReport)))
    for (const thread of threads) thread.postMessage('go')
    await receiver.settle(count, sent)
    const ended = now()
    return ended - Math.min(...(await sent).map(({ startedAt }) => startedAt))
  }
  return { ...receiver, round }
}

/** Of a kind that has neither threads nor a channel. */
function aloneWith(take, streams) {
  let result
  const round = () => {
    const began = performance.now()
    result = take(streams)
    return performance.now() - began
  }
  return { round, clear: () => undefined, result: () => result }
}
