'use client'

import { DirtyTracker } from 'dirtyring'
import { useEffect, useState } from 'react'

/** Starts a worker, and resolves once it has written its rows. */
function write(handle, first) {
  const worker = new Worker(new URL('./writer.js', import.meta.url), { type: 'module' })
  worker.postMessage({ handle, first })
  return new Promise((resolve, reject) => {
    worker.onmessage = resolve
    worker.onerror = reject
  })
}

async function rowsOfTwoWorkers() {
  const tracker = await DirtyTracker.create()
  await Promise.all([write(tracker.handle, 0), write(tracker.handle, 500)])
  const rows = await tracker.consume((epoch) => [...epoch.ids()])
  await tracker.stop()
  return rows
}

export default function Page() {
  const [rows, setRows] = useState()
  useEffect(() => {
    rowsOfTwoWorkers().then(setRows)
  }, [])
  return <output>{JSON.stringify(rows)}</output>
}
