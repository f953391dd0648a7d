/**
 * A loop of epochs({ whenDirty }) beside the aggregator's own worker and a writer's: how often the
 * tracker's thread looks in a second without a mark, and what the loop is given. The process ends by
 * itself when the loop does.
 */
import { DirtyTracker } from '../../../dist/index.js'
import { DIRTY_WANTED } from '../../../dist/memory/map.js'
import { Puppet } from './puppet.mjs'
import { verdict } from './support.mjs'
import { sleep } from './threads.mjs'

let looks = 0
const { store } = Atomics
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
  Atomics.store = (words, at, value) => {
    if (at === DIRTY_WANTED) looks++
    return store(words, at, value)
  }
  const { tokens, sealed } = tracker.stats()
  await sleep(1000)
  Atomics.store = store
  const after = tracker.stats()
  idle = { looks, tokens: after.tokens - tokens, sealed: after.sealed - sealed }
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
