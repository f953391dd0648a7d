/// <reference lib="esnext.disposable" preserve="true" />
export { DirtyRingError, type ErrorCode } from './errors.js'
export { fingerprint } from './fingerprint.js'
export type { Fingerprint, Key, KeyList } from './keys.js'
export {
  memoryFootprint,
  resolveOptions,
  type MemoryFootprint,
  type ResolvedOptions,
  type TrackerHandle,
  type TrackerOptions,
} from './options.js'
export { runtimeSupport, type RuntimeSupport } from './support.js'
export type { AbortSignalLike } from './signal.js'
export {
  DirtyTracker,
  type AdvanceOptions,
  type EpochsOptions,
  type StopOptions,
} from './tracker/tracker.js'
export type { TrackerEvents } from './tracker/events.js'
export type { AggregatorHealth } from './tracker/aggregator-host.js'
export type { TrackerStats, WriterStats } from './tracker/stats.js'
export { openWriter, threadWriter, withWriter, Writer } from './writer/writer.js'
export { watchWorkers } from './writer/watch-workers.js'
export { TxnBuffer } from './writer/txn-buffer.js'
export { SealedEpoch } from './epochs/sealed-epoch.js'
export { runAggregator } from './aggregator/run.js'
export { KeyDictionary } from './dictionary/key-dictionary.js'
export { BatchProducer, BatchRing } from './ring/batch-ring.js'
export { FingerprintSet } from './set/fingerprint-set.js'
