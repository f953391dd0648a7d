/** A child process: publishes by IPC what it marks, until it is told to end. */
import { DirtyTracker } from 'dirtyring'
import { publishEpochs } from 'dirtyring/cluster'
import { ipcSink } from 'dirtyring/ipc'

const tracker = await DirtyTracker.create({ maxConsumers: 1 })
const consumer = tracker.consumer('cluster', { from: 'now' })
const publisher = await publishEpochs(consumer, { sink: ipcSink(), everyMs: 10 })
const writer = tracker.openWriter()
process.on('message', async ({ task, keys }) => {
  if (task === 'mark') {
    writer.markMany(keys)
    writer.flush()
    process.send({ marked: keys.length })
  }
  if (task !== 'end') return // others are the hub's
  await tracker.stop()
  await publisher.close()
  process.disconnect()
})
process.send({ marked: 0 })
