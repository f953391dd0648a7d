/// <reference lib="esnext.disposable" preserve="true" />
export { DirtyRingError, isDirtyRingError, type ErrorCode } from './errors.js'
export { fingerprint } from './fingerprint.js'
export type { Fingerprint, Key, KeyList, KeyOf, ReadonlyBigints, ReadonlyPairs } from './keys.js'
export type { KeyKind } from './memory/settings.js'
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
export { Consumer } from './tracker/consumer.js'
export type { ConsumerOptions } from './tracker/consumers.js'
export type { ConsumerLag } from './tracker/lag.js'
export type { EpochReader } from './tracker/epoch-reader.js'
export type { TrackerEvents } from './tracker/events.js'
export type { AggregatorHealth } from './tracker/aggregator-host.js'
export type { TrackerStats, WriterStats } from './tracker/stats.js'
export { openWriter } from './writer/open.js'
export { threadWriter, withWriter } from './writer/pool.js'
export { Writer, type Markable } from './writer/writer.js'
export { watchWorkers } from './writer/watch-workers.js'
export { TxnBuffer } from './writer/txn-buffer.js'
export type { Clock } from './epochs/clock.js'
export type { Epoch, EpochKeys, InexactReason } from './epochs/epoch.js'
export { SealedEpoch } from './epochs/sealed-epoch.js'
export { attachEpoch } from './epochs/attached-epoch.js'
export type { EpochHandle } from './epochs/handle.js'
export { runAggregator } from './aggregator/run.js'
export { KeyDictionary, type DictionaryHandle } from './dictionary/key-dictionary.js'
export { BatchProducer, BatchRing, type RingBatch, type RingHandle } from './ring/batch-ring.js'
export { FingerprintSet } from './set/fingerprint-set.js'
