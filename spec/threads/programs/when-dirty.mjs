/**
 * A loop of epochs({ whenDirty }) beside the aggregator's own worker and a writer's: how often the
 * tracker's thread wakes in a second without a mark, and what the loop is given, also after the
 * aggregator's worker has died. The process ends by itself when the loop does.
 */
import { DirtyTracker } from '../../../dist/index.js'
import { Puppet } from './puppet.mjs'
import { verdict } from './support.mjs'
import { sleep } from './threads.mjs'

let waits = 0
const { waitAsync } = Atomics
const puppet = new Puppet()
const tracker = await DirtyTracker.create({ maxKeysPerEpoch: 10_000 })
await puppet.call('open', tracker.handle)
await sleep(100)

const seen = []
let idle
const epochs = tracker.epochs({ everyMs: 20, whenDirty: true })
let next = epochs.next()
await sleep(100)
{
  Atomics.waitAsync = (...args) => {
    waits++
    return waitAsync.apply(Atomics, args)
  }
  const { tokens, sealed } = tracker.stats()
  await sleep(1000)
  Atomics.waitAsync = waitAsync
  const after = tracker.stats()
  idle = { waits, tokens: after.tokens - tokens, sealed: after.sealed - sealed }
}
for (let id = 1; id <= 5; id++) {
  await puppet.call('mark', id, 1)
  const { value } = await next
  seen.push(...value.ids())
  value.commit()
  next = epochs.next()
}
await puppet.terminate()
const { sealed } = tracker.stats()
await epochs.return()
verdict({ idle, seen, sealed, done: (await next).done })
