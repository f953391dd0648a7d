/**
 * What is explored. Each scenario is small: two or three threads beside the aggregator, a ring of
 * one or two slots, a few keys. `quick` are the bounds at which `npm test` goes through all of it;
 * without, it is too large for that, and a seeded slice is run. README.md shows how to write one.
 */
import { scenarios as batchRingScenarios } from './batch-ring.mjs'
import { scenarios as dictionaryScenarios } from './dictionary.mjs'
import { scenarios as batchScenarios } from './scenarios/batches.mjs'
import { scenarios as consumerScenarios } from './scenarios/consumers.mjs'
import { scenarios as endScenarios } from './scenarios/ends.mjs'
import { scenarios as epochScenarios } from './scenarios/epochs.mjs'
import { scenarios as exceptionScenarios } from './scenarios/exceptions.mjs'
import { scenarios as namespaceScenarios } from './scenarios/namespaces.mjs'
import { scenarios as parkingScenarios } from './scenarios/parking.mjs'
import { scenarios as readerScenarios } from './scenarios/readers.mjs'
import { scenarios as ringScenarios } from './scenarios/ring-and-lanes.mjs'
import { scenarios as supersetScenarios } from './scenarios/supersets.mjs'
import { scenarios as textScenarios } from './scenarios/texts.mjs'
import { scenarios as wakingScenarios } from './scenarios/waking.mjs'

/** @type {import('./types.js').Scenario<any>[]} */
export const scenarios = [
  ...ringScenarios,
  ...epochScenarios,
  ...endScenarios,
  ...batchScenarios,
  ...parkingScenarios,
  ...wakingScenarios,
  ...exceptionScenarios,
  ...textScenarios,
  ...supersetScenarios,
  ...consumerScenarios,
  ...namespaceScenarios,
  ...readerScenarios,
  ...dictionaryScenarios,
  ...batchRingScenarios,
]
