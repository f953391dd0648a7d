/** What users import from 'dirtyring/cluster'. */
export { decodeEpoch } from './decode-epoch.js'
export type { EpochLimits } from './union.js'
