/**
 * The entry `dirtyring/aggregator`, for workers of the user's: importing it in a worker makes that
 * worker wait for a tracker's handle and run the aggregator until the tracker stops.
 */
import type { TrackerHandle } from '../options.js'
import { onHandle } from '../platform/aggregator-worker.js'
import { runAggregator } from './run.js'
import { endWith } from './thread-error.js'

onHandle((handle) => {
  runAggregator(handle as TrackerHandle).catch(endWith)
})

export {}
