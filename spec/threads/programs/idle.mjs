/** An idle tracker, with two idle writers: what it costs. */
import { DirtyTracker } from '../../../dist/index.js'
import { Puppet } from './puppet.mjs'
import { args, verdict } from './support.mjs'
import { sleep } from './threads.mjs'

const { ms = 10_000, settleMs = 2000, puppets = 1 } = args

const tracker = await DirtyTracker.create()
const others = Array.from({ length: puppets }, () => new Puppet())
for (const puppet of others) {
  await puppet.call('open', tracker.handle)
  await puppet.call('mark', 1, 1)
}
tracker.openWriter().mark(2)
await sleep(settleMs)
const iterations = tracker.health().iterations
const cpu = process.cpuUsage()
const began = performance.now()
await sleep(ms)
const { user, system } = process.cpuUsage(cpu)
const tookMs = performance.now() - began
const rounds = tracker.health().iterations - iterations
const staged = tracker.stats().staged
for (const puppet of others) await puppet.terminate()
const last = await tracker.stop()
verdict({
  tookMs: Math.round(tookMs),
  cpuPercent: Math.round(((user + system) / tookMs) * 100) / 1000,
  rounds,
  staged,
  size: last.size,
})
