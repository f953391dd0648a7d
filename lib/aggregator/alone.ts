/**
 * The worker that the library starts, for the aggregator only. The tracker's thread, which has the
 * same copy of the library, sends it the attached memory: there is no handle to check.
 */
import type { Memory } from '../memory/memory.js'
import { endWorker, onHandle } from '../platform/aggregator-worker.js'
import { runAggregatorAlone } from './run.js'
import { endWith } from './thread-error.js'

onHandle((memory) => {
  runAggregatorAlone(memory as Memory).then(endWorker, endWith)
})

export {}
