/**
 * The worker that the library starts, for the aggregator only. The tracker's thread, which has the
 * same copy of the library, sends it the layout beside the handle: there is nothing to check.
 */
import type { SharedWords } from '../memory/map.js'
import type { MemoryWithLayout } from '../memory/memory.js'
import { endWorker, onHandle } from '../platform/aggregator-worker.js'
import { runAggregatorAlone } from './run.js'
import { endWith } from './thread-error.js'

onHandle((handle) => {
  const { buffer, layout, native } = handle as MemoryWithLayout
  const words = new Int32Array(buffer) as SharedWords
  runAggregatorAlone({ words, layout, native }).then(endWorker, endWith)
})

export {}
