/** The thread on which encoder.ts encodes: gets handles, and sends bytes back. */
import { parentPort } from 'node:worker_threads'
import { encodeAttached } from '../epochs/attached-epoch.js'
import type { Job, Outcome } from './encoder.js'

parentPort?.on('message', ({ id, handle, options }: Job) => {
  let outcome: Outcome
  let transfer: ArrayBuffer[] = []
  try {
    const messages = encodeAttached(handle, options)
    transfer = messages.map(({ buffer }) => buffer as ArrayBuffer)
    outcome = { id, messages }
  } catch (error) {
    const { code, message } = error as { code?: unknown; message: string }
    outcome = { id, code: typeof code === 'string' ? code : undefined, message }
  }
  parentPort!.postMessage(outcome, transfer)
})
