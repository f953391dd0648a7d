/** What users import from 'dirtyring/ipc'. */
export {
  type IpcChild,
  type IpcCluster,
  type IpcHub,
  ipcHub,
  type IpcHubOptions,
  type IpcWarning,
} from './hub.js'
export { type IpcEndOptions, ipcSink } from './sink.js'
export { ipcSource } from './source.js'
