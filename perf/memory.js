/** How much shared memory one epoch of so many distinct keys makes resident. Prints one JSON line. */
import { DirtyTracker } from '../dist/index.js'

const { distinct } = JSON.parse(process.argv[2])
const tracker = await DirtyTracker.create({ aggregator: 'inline', maxKeysPerEpoch: 2 ** 22 })
const writer = tracker.openWriter()
for (let i = 0; i < 64 * 1024; i++) writer.mark(1, 1) // the lane's own pages
await tracker.drained()
const resident = () => (globalThis.gc(), globalThis.gc(), process.memoryUsage.rss())
const before = resident()
for (let i = 0; i < distinct; i++) writer.mark(Math.imul(i, 0x9e3779b1), i)
await tracker.drained()
const bytes = resident() - before

const set = new Set()
const heapBefore = resident()
for (let i = 0; i < distinct; i++) set.add((BigInt(i) << 32n) | BigInt(Math.imul(i, 0x9e3779b1) >>> 0))
const setBytes = resident() - heapBefore
console.log(
  JSON.stringify({
    'distinct keys': distinct,
    'bytes a key': (bytes / distinct).toFixed(1),
    'Set<bigint>, bytes a key': (setBytes / distinct).toFixed(1),
    MiB: (bytes / 2 ** 20).toFixed(2),
  }),
)
await tracker.stop()
