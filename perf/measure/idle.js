/**
 * What an idle tracker costs: processor time of the whole process, and rounds of the aggregator and
 * tokens in a second. floor: the same process without one. loop: with an epochs() loop that
 * 'cuts' every 50 ms, or that 'sleeps' until something is marked. Prints one JSON line.
 */
import { DirtyTracker } from '../../dist/index.js'
import { args, report, sleep, unlessQuick } from '../harness/args.js'

const SECONDS = unlessQuick(5, 0.2)
const tracker = args.floor ? undefined : await DirtyTracker.create()
tracker?.openWriter().mark(1)
const epochs =
  args.loop === undefined
    ? undefined
    : tracker.epochs({ everyMs: 50, whenDirty: args.loop === 'sleeps' })
if (epochs !== undefined) (await epochs.next()).value.commit() // the mark above
void epochs?.next()
await sleep(unlessQuick(5000, 100)) // until the engine has tidied up after the start, once
const before = process.cpuUsage()
const rounds = tracker?.health().iterations
const tokens = tracker?.stats().tokens
await sleep(SECONDS * 1000)
const { user, system } = process.cpuUsage(before)
report({
  share: (user + system) / 1e6 / SECONDS,
  rounds: tracker === undefined ? undefined : (tracker.health().iterations - rounds) / SECONDS,
  tokens: tracker === undefined ? undefined : (tracker.stats().tokens - tokens) / SECONDS,
})
await tracker?.stop()
