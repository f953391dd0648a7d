/**
 * The aggregator's worker, and the entry `dirtyring/aggregator` for workers of the user's:
 * importing it in a worker makes that worker wait for a tracker's handle and run the aggregator
 * until the tracker stops.
 */
import type { TrackerHandle } from '../options.js'
import { endWorker, onHandle } from '../platform/aggregator-worker.js'
import { setTimeout } from '../timers.js'
import { runAggregator, runAggregatorAlone } from './run.js'

onHandle((handle, isAlone) => {
  const running = isAlone ? runAggregatorAlone(handle) : runAggregator(handle as TrackerHandle)
  running.then(
    () => {
      if (isAlone) endWorker()
    },
    (error: unknown) => {
      // No caller awaits this. Let the error end the thread, which the tracker's thread sees.
      setTimeout(() => {
        throw error
      })
    },
  )
})

export {}
