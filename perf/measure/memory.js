/**
 * What a tracker reserves, and how much of it is resident with one epoch of so many distinct keys;
 * the growth of a Set<bigint> and a Set<number> of as many. Prints one JSON line, bytes.
 */
import { DirtyTracker } from '../../dist/index.js'
import { args, report } from '../harness/args.js'

const { distinct, maxKeysPerEpoch } = args
/** Of the process, garbage aside. */
const resident = () => (globalThis.gc(), globalThis.gc(), process.memoryUsage.rss())
const grown = async (act) => {
  const before = resident()
  const kept = await act()
  return { bytes: resident() - before, kept }
}

const { bytes: created, kept: tracker } = await grown(() =>
  DirtyTracker.create({ aggregator: 'inline', maxKeysPerEpoch }),
)
const writer = tracker.openWriter()
const { bytes: lane } = await grown(async () => {
  for (let i = 0; i < 64 * 1024; i++) writer.markPair(1, i & 1) // all of the lane's pages
  await tracker.drained()
})
const { bytes: epoch } = await grown(async () => {
  for (let i = 0; i < distinct; i++) writer.markPair(Math.imul(i, 0x9e3779b1), i)
  await tracker.drained()
})
const setOf = (keyAt) =>
  grown(() => {
    const set = new Set()
    for (let i = 0; i < distinct; i++) set.add(keyAt(i))
    return set
  })
const bigints = await setOf((i) => (BigInt(i) << 32n) | BigInt(Math.imul(i, 0x9e3779b1) >>> 0))
const numbers = await setOf((i) => i * 2 ** 20)
if (bigints.kept.size !== numbers.kept.size) throw new Error('the sets differ')
report({
  reserved: tracker.stats().bytes.total,
  created,
  lane,
  epoch,
  bigints: bigints.bytes,
  numbers: numbers.bytes,
})
await tracker.stop()
