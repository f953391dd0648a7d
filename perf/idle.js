/** What an idle tracker costs in 10 s: processor time of the whole process, and rounds of the aggregator. Prints one JSON line. */
import { DirtyTracker } from '../dist/index.js'

const SECONDS = 10
const tracker = await DirtyTracker.create()
tracker.openWriter().mark(1)
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
await sleep(10_000) // until the engine has tidied up after the start, once
const before = process.cpuUsage()
const rounds = tracker.health().iterations
await sleep(SECONDS * 1000)
const { user, system } = process.cpuUsage(before)
console.log(
  JSON.stringify({
    '% of a core': ((user + system) / (SECONDS * 1e4)).toFixed(3),
    'rounds a second': ((tracker.health().iterations - rounds) / SECONDS).toFixed(1),
  }),
)
await tracker.stop()
