/** Writes the rows of each epoch whose handle it receives to the end of a file. */
import { appendFileSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { attachEpoch } from 'dirtyring'

const { file, rows } = workerData

const clock = new Int32Array(new SharedArrayBuffer(4))
/** Rows that are written at once. */
const LINES = 50

function save({ handle, atHalf }) {
  const saved = []
  let lines = ''
  const write = () => {
    appendFileSync(file, lines)
    lines = ''
  }
  try {
    const epoch = attachEpoch(handle)
    for (const key of epoch.strings()) {
      lines += `${key} ${Atomics.load(rows, Number(key.slice('/rows/'.length)))}\n`
      saved.push(key)
      if (saved.length % LINES === 0) write()
      if (saved.length !== Math.ceil(epoch.size / 2)) continue
      if (atHalf === 'fails') return { outcome: 'failed', saved }
      if (atHalf === 'sleeps') Atomics.wait(clock, 0, 0, 20) // the disk is slow
    }
    write()
    return { outcome: 'saved', saved }
  } catch (error) {
    if (error.code !== 'ERR_DIRTYRING_SETTLED') throw error
    return { outcome: 'settled', saved } // the main thread did not wait: a later epoch has them
  }
}

appendFileSync(file, '')
parentPort.on('message', (message) => {
  if (message === undefined) parentPort.close()
  else parentPort.postMessage(save(message))
})
