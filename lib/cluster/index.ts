/** What users import from 'dirtyring/cluster'. */
export { decodeEpoch } from './decode-epoch.js'
export type { EpochLimits } from './union.js'
export { ClusterEpoch, type ClusterInstance, type ClusterNode } from './epoch.js'
export type { NodeReason } from './ledger.js'
export type { EpochSink, EpochSource, LogMessage, LogRead } from './log.js'
export {
  ClusterReader,
  type ClusterReaderEvents,
  type LiveInstance,
  openCluster,
} from './reader.js'
export type { ClusterEpochsOptions, ClusterOptions, Excepted } from './reader-options.js'
export { publishEpochs, Publisher, type PublisherEvents, type PublishOptions } from './publisher.js'
