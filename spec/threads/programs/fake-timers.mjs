/** Every call under mock timers of node:test, which nothing advances. */
import { mock } from 'node:test'
import { DirtyTracker } from '../../../dist/index.js'
import { args, verdict } from './support.mjs'

const realImmediate = setImmediate
const realTimeout = setTimeout
const guard = realTimeout(() => process.exit(1), 30_000)
mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'setImmediate', 'Date'] })
const tracker = await DirtyTracker.create({
  capacity: 4,
  laneCapacity: 64,
  batchSize: 8,
  maxWriters: 2,
  maxKeysPerEpoch: 4096,
  aggregator: args.kind,
})
const writer = tracker.openWriter()
writer.mark(1)
const consumed = await tracker.consume((epoch) => [...epoch.ids()])
writer.mark(2)
await tracker.drained()
await tracker.flushed()
const { staged } = writer
for (let id = 0; id < 500; id++) writer.mark(id)
await writer.waitForRoom(64)
const { room } = writer
let epochs = 0
for await (const epoch of tracker.epochs({ everyMs: 2, skipEmpty: false })) {
  epoch.commit()
  if (++epochs === 3) break
}
writer.mark(3)
while (writer.staged > 0) await new Promise((resolve) => realImmediate(resolve))
;(await tracker.advanceEpoch()).commit()
writer.mark(9999)
const last = await tracker.stop()
clearTimeout(guard)
mock.timers.reset()
verdict({ consumed, staged, room, epochs, published: true, last: [...last.ids()] })
process.exit(0)
