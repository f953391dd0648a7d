/**
 * What an idle tracker costs: processor time of the whole process, and rounds of the aggregator;
 * floor: the same process without one. Prints one JSON line.
 */
import { DirtyTracker } from '../../dist/index.js'
import { args, report, sleep, unlessQuick } from '../harness/args.js'

const SECONDS = unlessQuick(5, 0.2)
const tracker = args.floor ? undefined : await DirtyTracker.create()
tracker?.openWriter().mark(1)
await sleep(unlessQuick(5000, 100)) // until the engine has tidied up after the start, once
const before = process.cpuUsage()
const rounds = tracker?.health().iterations
await sleep(SECONDS * 1000)
const { user, system } = process.cpuUsage(before)
report({
  share: (user + system) / 1e6 / SECONDS,
  rounds: tracker === undefined ? undefined : (tracker.health().iterations - rounds) / SECONDS,
})
await tracker?.stop()
