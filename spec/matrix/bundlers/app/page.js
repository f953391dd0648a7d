import { DirtyTracker } from 'dirtyring'

/** Starts a worker, and resolves once it has written its rows. */
function write(handle, first) {
  const worker = new Worker(new URL('./writer.js', import.meta.url), { type: 'module' })
  worker.postMessage({ handle, first })
  return new Promise((resolve, reject) => {
    worker.onmessage = resolve
    worker.onerror = reject
  })
}

async function main() {
  const tracker = await DirtyTracker.create()
  await Promise.all([write(tracker.handle, 0), write(tracker.handle, 500)])
  const rows = await tracker.consume((epoch) => [...epoch.ids()])
  document.querySelector('output').textContent = JSON.stringify(rows)
}

main()
