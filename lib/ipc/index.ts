export { type IpcChild, type IpcCluster, type IpcHub, ipcHub, type IpcHubOptions } from './hub.js'
export { type IpcEndOptions, ipcSink } from './sink.js'
export { ipcSource } from './source.js'
export type { EpochSink, EpochSource, LogMessage, LogRead } from '../cluster/log.js'
