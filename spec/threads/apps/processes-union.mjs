// Two processes with two workers each. One place learns every second what all of them changed.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { isMainThread, threadId, Worker, workerData } from 'node:worker_threads'
import { openCluster, publishEpochs } from '../../../dist/cluster/index.js'
import { DirtyTracker, openWriter } from '../../../dist/index.js'
import { ipcHub, ipcSink } from '../../../dist/ipc/index.js'

if (!isMainThread) {
  const writer = openWriter(workerData)
  for (let n = 0; ; n++, await sleep(1)) writer.mark(`${process.pid}/${threadId}/${n}`)
} else if (process.send) {
  const tracker = await DirtyTracker.create({ maxConsumers: 1, keys: 'string' })
  const to = { node: `${process.pid}`, sink: ipcSink(), everyMs: 50 }
  const publisher = await publishEpochs(tracker.consumer('union'), to)
  const start = () => new Worker(new URL(import.meta.url), { workerData: tracker.handle })
  const workers = [start(), start()]
  while ((await once(process, 'message'))[0] !== 'end');
  for (const worker of workers) await worker.terminate()
  await tracker.stop()
  await publisher.close()
  process.disconnect()
} else {
  const children = [1, 2].map(() => fork(process.argv[1], { serialization: 'advanced' }))
  const reader = openCluster({ source: ipcHub(children), from: 'now' })
  const say = (epoch) =>
    console.log(JSON.stringify([epoch.exact, [...epoch.nodes], [...epoch.listed()]]))
  await reader.ready()
  while (reader.nodes.size < 2) await sleep(10)
  for (let second = 0; second < 4; second++) {
    await sleep(Number(process.argv[2] ?? 1000))
    if (second === 2) children[1].kill('SIGKILL') // a crash
    await reader.consume(say)
  }
  children[0].send('end')
  await once(children[0], 'exit')
  await reader.consume(say)
  await reader.close()
}
